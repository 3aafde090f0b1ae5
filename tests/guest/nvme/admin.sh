#!/bin/bash
# nvme-cli's view of controllers and namespaces: identity, log pages, features, properties, commands that the block layer never
# sends, each checked in the file; and who sees which namespace.
# shellcheck source=../../../ci/lib/guest.sh
. "$(dirname "$0")/../../../ci/lib/guest.sh"
# shellcheck source=../../../ci/lib/nvme.sh
. "$ROOT/ci/lib/nvme.sh"

scenario "admin and I/O commands, access groups"
file=$(backing 16)
other=$(backing 16)
target_start "$file" "$other"
check "the host is up" nvme_up
check "connect" eval 'NAMESPACES=2 nvme_connect'

# told COMMAND DEVICE [ARG...]: nvme-cli's answer is in /run/told
told() { timeout 60 nvme "$@" >/run/told 2>&1 || { cat /run/told; return 1; }; }
# json FILTER COMMAND DEVICE [ARG...]: the filter must hold of the answer; NUMBER is a variable for it
json() {
    local filter=$1
    shift
    told "$@" -o json && jq -e --argjson number "${NUMBER:-0}" "$filter" /run/told >/dev/null || { cat /run/told; return 1; }
}
# says PATTERN COMMAND DEVICE [ARG...]
says() {
    local pattern=$1
    shift
    told "$@" && grep -Eiq "$pattern" /run/told || { cat /run/told; return 1; }
}
# refuses PATTERN COMMAND DEVICE [ARG...]: the controller does, with that status
refuses() {
    local pattern=$1
    shift
    ! timeout 60 nvme "$@" >/run/told 2>&1 && grep -Eiq "$pattern" /run/told || { cat /run/told; return 1; }
}
ours() { [ "$TARGET" = pagecast ]; }

step "identity"
NUMBER=$(nvme_attribute cntlid 2>/dev/null || jq .cntlid < <(nvme id-ctrl "$NVME" -o json))
check "id-ctrl" json '.cntlid == $number and .cntrltype == 1 and .kas > 0 and .maxcmd > 0 and .icdoff == 0 and .ioccsz >= 4 and
    .iorcsz == 1 and .sqes == 102 and .cqes == 68' id-ctrl "$NVME"
# keyed SGLs, offsets in capsules; several controllers in the subsystem
check "with what the transport needs" json '((.sgls / 4 | floor) % 2 == 1) and ((.sgls / 1048576 | floor) % 2 == 1) and
    ((.cmic / 2 | floor) % 2 == 1)' id-ctrl "$NVME"
NUMBER=$(($(stat -c %s "$file") / $(cat "/sys/block/${DISK#/dev/}/queue/logical_block_size")))
check "id-ns: the file's size" json '.nsze == $number and .ncap == $number' id-ns "$NVME" -n 1
check "ns-descs: a UUID" json '.. | strings | select(test("^[0-9a-f]{8}-[0-9a-f]{4}-"))' ns-descs "$NVME" -n 1
uuid() { nvme ns-descs "$NVME" -n "$1" -o json | jq -r '.. | .uuid? // empty'; }
check "of each namespace its own" [ "$(uuid 1)" != "$(uuid 2)" ]
check "the kernel knows the namespace by it" [ "$(cat "/sys/block/${DISK#/dev/}/uuid")" = "$(uuid 1)" ]
check "list-ns" json '[.. | .nsid? // empty] == [1, 2]' list-ns "$NVME"
check "no namespace 3" refuses 'Invalid Namespace' ns-descs "$NVME" -n 3
check "id-ns of what is not there is zeros" json '.nsze == 0' id-ns "$NVME" -n 3
check "nvm-id-ctrl" told nvm-id-ctrl "$NVME"
if ours; then
    check "id-ns has an NGUID" json '.nguid | test("[1-9a-f]")' id-ns "$NVME" -n 1
    check "cmdset-ind-id-ns" told cmdset-ind-id-ns "$NVME" -n 1
fi

step "log pages"
check "smart-log" json 'has("critical_warning") and .critical_warning == 0' smart-log "$NVME"
check "effects-log: reads, writes and flushes are supported" says '(Read|Write|Flush)' effects-log "$NVME" -c 0
check "ana-log: every namespace is optimized" says 'optimized' ana-log "$NVME"
check "error-log" told error-log "$NVME"
check "fw-log" told fw-log "$NVME"
check "changed-ns-list-log" told changed-ns-list-log "$NVME"
! ours || check "supported-log-pages" told supported-log-pages "$NVME"
check "a page that is not there is refused" refuses 'Invalid (Log|Field)' get-log "$NVME" -i 0x7d -l 512
! ours || check "so is a command that is not there" refuses 'Invalid Command Opcode' admin-passthru "$NVME" -o 0x7d
# the last entry is that refusal
! ours || check "and error-log tells of them" json '[.. | .status_field? // empty][0] % 32768 != 0' error-log "$NVME" -e 4

step "features"
feature() { says "Current value: *(0x)?$2\$" get-feature "$NVME" -f "$1"; }
check "volatile write cache" feature 6 0*1
check "number of queues" feature 7 '[0-9a-f]+'
check "asynchronous events" feature 0x0b '[0-9a-f]+'
check "keep-alive" feature 0x0f 0*1388
check "the host identifier is this host's" says "$(cut -c1-2 <<<"$HOSTID")" get-feature "$NVME" -f 0x81 -l 16 -c 1
if ours; then
    for id in 1 2 4; do check "feature $id" feature $id '[0-9a-f]+'; done
    check "the timestamp" told get-feature "$NVME" -f 0x0e -l 8
    check "host behaviour" told get-feature "$NVME" -f 0x16 -l 512
    check "a threshold may be set" told set-feature "$NVME" -f 4 -v 0x15a
    check "and is remembered" feature 4 0*15a
    check "the write cache is not for hosts to switch off" refuses 'Not Changeable' set-feature "$NVME" -f 6 -v 0
    # newer kernels do not let anybody ask
    check "the number of queues is settled once there are some" refuses 'Command Sequence Error|Permission denied' set-feature "$NVME" -f 7 -v 0x10001
fi
check "the keep-alive timeout may be set" told set-feature "$NVME" -f 0x0f -v 10000
check "and is remembered" feature 0x0f 0*2710
check "a feature that is not there is refused" refuses 'Invalid Field|SGL Length Invalid' get-feature "$NVME" -f 0x7d

step "properties"
property() { says "$2" get-property "$NVME" -o "$1"; }
check "CAP" property 0 'value: *[0-9a-f]+'
check "VS" property 8 'value: *[12]0[0-9]00'
check "CC is enabled" property 0x14 'value: *[0-9a-f]*[13579bdf]$'
check "CSTS is ready" property 0x1c 'value: *1$'
check "a property that is not there is refused" refuses 'Invalid Field' get-property "$NVME" -o 0x1000

step "commands on the medium"
cmp_file() { cmp -n "$3" -i "$1:$2" "$file" "${4:-/run/data}"; }
head -c 8192 /run/random.bin | tac -rs . | head -c 4096 >/run/data
blocks=$((4096 / $(blockdev --getss "$DISK")))
# the first block of 4 KiB number N, and how many there are less one
at() { echo "-s $(($1 * blocks)) -c $((blocks - 1))"; }
on() {
    # shellcheck disable=SC2046 # words
    told "$1" "$DISK" $(at "$2") "${@:3}"
}
refused_on() {
    # shellcheck disable=SC2046 # words
    refuses "$3" "$1" "$DISK" $(at "$2") "${@:4}"
}
check "flush" told flush "$DISK" -n 1
check "write" on write 1 -z 4096 -d /run/data
check "is in the file" cmp_file 4096 0 4096
check "read" on read 1 -z 4096 -d /run/back
check "gives the same" cmp /run/data /run/back
check "dsm deallocates" told dsm "$DISK" -n 1 -d -s $((2 * blocks)) -b $blocks
check "beyond the end is refused" refuses 'LBA Out of Range|Capacity Exceeded' read "$DISK" -s 0x7fffffff -c $((blocks - 1)) -z 4096 -d /run/back
check "and the end's last block is not" told read "$DISK" -s $((NUMBER - 1)) -c 0 -z $((4096 / blocks)) -d /run/back
if ours; then
    check "compare finds the same" on compare 1 -z 4096 -d /run/data
    check "and what differs" refused_on compare 3 'Compare Fail' -z 4096 -d /run/data
    check "write-zeroes" on write-zeroes 1
    check "is in the file" cmp_file 4096 0 4096 /dev/zero
    check "write-zeroes may deallocate" on write-zeroes 4 -d
    check "which reads as zeros" cmp_file 16384 0 4096 /dev/zero
    check "write with FUA" on write 5 -f -z 4096 -d /run/data
    check "is in the file" cmp_file 20480 0 4096
    check "verify" on verify 5
    check "copy" told copy "$DISK" --sdlba=$((6 * blocks)) --slbs=$((5 * blocks)) --blocks=$((blocks - 1)) --format=0
    check "is in the file" cmp_file 24576 0 4096
    check "write-uncor is refused" refused_on write-uncor 5 'Invalid Command Opcode'
    check "its blocks still read" on read 5 -z 4096 -d /run/back
    check "as they were" cmp /run/data /run/back
    check "an opcode that is not there is refused" refuses 'Invalid Command Opcode' io-passthru "$DISK" -o 0x7d -n 1
fi

step "rescan, reset"
check "ns-rescan" told ns-rescan "$NVME"
check "reset" told reset "$NVME"
check "the controller is live" until_true 20 nvme_live
check "and has its disks" nvme_disks "$(target_nqn)" 2
check "with their bytes" eval 'same "${DISKS[0]}" "$file" 4 && same "${DISKS[1]}" "$other" 4'

step "a second controller"
check "is not made by mistake" refuses 'already connected|already in progress' connect "${NVME_AT[@]}" -n "$(target_nqn)"
check "but by another address" told connect "${NVME_AT[@]}" -a "$IPV6" -n "$(target_nqn)" -i 2
check "there are two" [ "$(nvme_controllers "$(target_nqn)" | wc -l)" = 2 ]
check "for the same disks" eval 'nvme_disks "$(target_nqn)" 2 && [ ${#DISKS[@]} = 2 ]'
check "disconnect" nvme_disconnect

step "what is not there"
check "another subsystem is refused" refuses 'failed|could not' connect "${NVME_AT[@]}" -n nqn.2026-11.org.example:nobody
check "with a word from the kernel" dmesg_has 'Connect Invalid Data Parameter|Connect command failed|Connect.*subsysnqn'
check "the target is well" target_alive
ours || exit 0
target_stop

step "access groups"
GROUPS_OF_HOSTS=$(jq -nc --arg one "$HOSTNQN" --arg two "$OTHER_HOSTNQN" '{groups: [
    {name: "one", initiators: [$one], luns: {"0": "disk0"}}, {name: "two", initiators: [$two], luns: {"1": "disk1"}}]}')
TARGET_EXTRA=$GROUPS_OF_HOSTS target_start "$file" "$other"
check "a host connects" nvme_connect
check "and sees its own namespace alone" json '[.. | .nsid? // empty] == [1]' list-ns "$NVME"
check "with its bytes" same "$DISK" "$file" 4
check "the other's is not there" json '.nsze == 0' id-ns "$NVME" -n 2
check "disconnect" nvme_disconnect
check "the other host connects" nvme_connect -q "$OTHER_HOSTNQN" -I "$OTHER_HOSTID"
check "and sees its own" json '[.. | .nsid? // empty] == [2]' list-ns "$NVME"
check "with its bytes" same "$DISK" "$other" 4
check "disconnect" nvme_disconnect
stranger=nqn.2014-08.org.nvmexpress:uuid:3a0f9a46-0d6e-4d43-9a3c-2f3cf3b1a003
check "a host without a group is refused" refuses 'failed|could not' connect "${NVME_AT[@]}" -n "$(target_nqn)" -q $stranger -I "${stranger##*:}"
check "because of its name" dmesg_has 'is not allowed|Invalid Host'
check "and finds nothing" eval 'nvme_discover -q $stranger -I "${stranger##*:}" | jq -e "[.records[] | select(.subtype == \"nvme subsystem\")] == []"'
