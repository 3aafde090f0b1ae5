#!/bin/bash
# What comes and goes under a daemon that serves: RDMA devices, and a backing file that is not there at the start. Whoever does not need
# them does not notice.
TRANSPORTS="srp iser nvme-rdma iscsi-tcp"
# shellcheck source=../../../ci/lib/guest.sh
. "$(dirname "$0")/../../../ci/lib/guest.sh"
# shellcheck source=../../../ci/lib/together.sh
. "$ROOT/ci/lib/together.sh"

[ "$TARGET" = pagecast ] || { step "$NAME: other targets are not asked"; exit 0; }
scenario "devices come and go"
first=$(backing 48)
second=$(backing 16)
mv "$second" "$second.away"

rxe_gone() { ! [ -e "/sys/class/infiniband/$1" ]; }
# The driver waits for its users to let go.
unplug() { timeout 60 rdma link delete "$1" && until_true 5 rxe_gone "$1"; }
plug_in() { rdma link add "$1" type rxe netdev "$2"; }
adapters() { ctl status | jq -e --arg names "$1" '[.adapters[].name] | sort | join(" ") == $names'; }
listens() { ctl status | jq -e '.warnings == []'; }
status_says() { ctl status | jq -r '.warnings[]' | grep -q "$1"; }

step "a daemon that starts before its RDMA device, and without a file"
unplug rxe0
check "it starts, and serves what needs neither" target_start "$first" "$second"
check "the status says what does not listen" status_says "^srp .*not listening"
check "the status says what is missing" status_says disk1
check "open-iscsi is up" iscsi_up
check "a host comes in over TCP" iscsi_login iscsi-tcp
tcp=$DISK
check "it reads what is there" same "$tcp" "$first" 4
check "the RDMA device comes" plug_in rxe0 d0
check "the daemon has it" until_true 20 adapters rxe0
srp_module
check "NVMe's host is up" nvme_up
everybody_in
check "the file comes" mv "$second.away" "$second"
check "all is well" until_true 20 listens
look() { dd if="$1" of=/dev/null bs=4096 count=1 iflag=direct status=none; }
for disk in "$SRP_DISK" "$ISER_DISK"; do look "$disk"; done
check "a host sees the disk that came" eval 'echo "- - -" >"/sys/class/scsi_host/$SRP_HOST/scan"; until_true 20 disks_of "$SRP_HOST" 2'
check "with what is in the file" eval 'same "${DISKS[1]}" "$second" 4'

step "one of two RDMA devices goes, while a host writes over the other and over TCP"
ip link add d1 type dummy
ip link set d1 mtu 9000 up
ip addr add 10.98.0.1/24 dev d1
check "a second one comes" plug_in rxe1 d1
check "the daemon has both" until_true 20 adapters "rxe0 rxe1"
second_path() { NAMESPACES=2 nvme_connect -a 10.98.0.1; }
check "NVMe's host has a second path" until_true 20 second_path
nvme=$DISK
# beside fio's writes to the disk of NVMe, and to that of TCP beyond them
one_goes() {
    local status=0 over_tcp
    rm -f /run/fio.enough
    DISK=$tcp rounds --offset=24m --size=12m &
    over_tcp=$!
    SMALLER=2 DISK=$nvme beside unplug rxe0 || status=1
    wait $over_tcp || status=1
    return $status
}
check "what both write verifies" one_goes
left() { ctl session list | jq -e '[.sessions[].transport] | sort == ["iscsi-tcp", "nvme-rdma"]'; }
check "its sessions are gone, the others are not" until_true 20 left
check "the daemon has the other" adapters rxe1
no_error() { ! dmesg_has "I/O error, dev (${tcp#/dev/}|${nvme#/dev/}),"; }
check "no command on the others' disks failed" no_error
check "what was written is in the file" eval 'sync; same "$tcp" "$first" && same "$nvme" "$first"'

step "the last one goes, and one comes back"
check "it goes" unplug rxe1
check "the daemon has none" until_true 20 adapters ""
over_tcp() { ctl session list | jq -e '[.sessions[].transport] == ["iscsi-tcp"]'; }
check "who needs none is served" eval 'until_true 20 over_tcp && same "$tcp" "$first" 4'
check "one comes back" plug_in rxe0 d0
check "the daemon has it" until_true 20 adapters rxe0
check "everything listens" until_true 20 listens
check "ib_srp logs in" until_true 20 srp_login "$(target_line)" 2
check "it reads what is there" same "$DISK" "$first" 4
# Linux may still have been trying to get its own one back, and does not connect to the same subsystem twice.
nvme_in() {
    ctl session list | jq -e 'any(.sessions[]; .transport == "nvme-rdma")' >/dev/null || nvme_connect || return 1
    nvme_disks_wait "$(target_nqn)"
}
check "nvme-rdma connects, or is back by itself" until_true 20 nvme_in
check "it reads what is there, too" same "$DISK" "$first" 4
iser_is_back() { ctl session list | jq -e 'any(.sessions[]; .transport == "iser")'; }
check "iSER's session is back by itself" until_true 60 iser_is_back
