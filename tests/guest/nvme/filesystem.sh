#!/bin/bash
# nvme-cli finds the target and connects, by itself and with what the target prints; a file system keeps what is copied there.
# shellcheck source=../../../ci/lib/guest.sh
. "$(dirname "$0")/../../../ci/lib/guest.sh"
# shellcheck source=../../../ci/lib/nvme.sh
. "$ROOT/ci/lib/nvme.sh"

scenario "discovery, disk and file system"
file=$(backing 128)
target_start "$file"
check "the host is up" nvme_up

step "discovery"
nqn=$(target_nqn)
# an entry for the subsystem, at the address that was asked
found() {
    nvme_discover | tee /run/discovered |
        jq -e --arg nqn "$nqn" --arg at "$IPV4" '.records[] |
            select(.subnqn == $nqn and .traddr == $at and .trsvcid == "4420" and .trtype == "rdma" and .subtype == "nvme subsystem")' ||
        { cat /run/discovered; return 1; }
}
check "nvme discover finds the target" found
check "no controller of it stays" nvme_gone
typed() {
    local line
    line=$(nvme_commands "$1") || { echo "no such command is printed"; return 1; }
    echo "$line"
    # shellcheck disable=SC2086 # as a shell would split it
    timeout 60 $line </dev/null
}
check "the discovery command that the target prints works" typed discover
check "so does its command to connect" typed connect
check "the disk is there" nvme_disks_wait "$nqn"
check "disconnect" nvme_disconnect

step "connect"
check "with two I/O queues" nvme_connect
check "there are two" [ "$(nvme_attribute queue_count)" = 3 ]
check "the controller is live" until_true 10 nvme_live
listed() {
    nvme list -o json | tee /run/listed | jq -e --arg disk "$DISK" --argjson size "$(stat -c %s "$file")" \
        '[.. | objects | select(.DevicePath? == $disk and .PhysicalSize? == $size)] | length == 1' || { cat /run/listed; return 1; }
}
check "nvme list shows the disk with the file's size" listed
check "the kernel has the same" [ "$(blockdev --getsize64 "$DISK")" = "$(stat -c %s "$file")" ]
check "and the first bytes are the file's" same "$DISK" "$file" 8
check "the kernel's log has no warning" dmesg_clean

checks_of_a_file_system
check "disconnect" nvme_disconnect

step "connect-all"
# The discovery log page has both portals of ours, nvmet's has the one that was asked. Over IPv6 ours has one: what an IPv4
# wildcard stands for is known only to who came by it.
paths=$([ "$TARGET" = pagecast ] && echo 2 || echo 1)
everything() {
    timeout 60 nvme connect-all "${NVME_AT[@]}" -i 2 "$@" && nvme_disks_wait "$nqn" && [ "$(nvme_controllers "$nqn" | wc -l)" = "$paths" ]
}
check "connects to every portal, once" everything
check "the bytes are the file's" same "$DISK" "$file" 8
check "disconnect" nvme_disconnect
paths=1
check "so does it over IPv6" everything -a "$IPV6"
check "the bytes are the file's" same "$DISK" "$file" 8
check "disconnect" nvme_logout
check "the kernel's log has no warning" dmesg_clean
