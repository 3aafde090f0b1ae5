#!/bin/bash
# One device, seen over SRP, iSER and NVMe at once: what any of them writes is what the others read.
TRANSPORTS="srp iser nvme-rdma"
# shellcheck source=../../../ci/lib/guest.sh
. "$(dirname "$0")/../../../ci/lib/guest.sh"
# shellcheck source=../../../ci/lib/together.sh
. "$ROOT/ci/lib/together.sh"

[ "$TARGET" = pagecast ] || { step "$NAME: no other target has all three"; exit 0; }
scenario "three transports, one device"
file=$(backing 32)
target_start "$file"
initiators_up
everybody_in
srp=$SRP_DISK iser=$ISER_DISK nvme=$NVME_DISK
check "the daemon has three sessions, one each" eval "ctl session list | jq -e '[.sessions[].transport] | sort == [\"iser\", \"nvme-rdma\", \"srp\"]'"
for disk in "$srp" "$iser" "$nvme"; do check "$disk is the file" same "$disk" "$file" 8; done

identity() { cat "/sys/block/${1#/dev/}/device/wwid" 2>/dev/null || cat "/sys/block/${1#/dev/}/wwid"; }
check "SRP and iSER know it by one name" [ "$(identity "$srp")" = "$(identity "$iser")" ]

# Each writes a third of the first 6 MiB, and then all read it all; then over again with others' thirds, so that what was read before is
# what changes.
round() {
    local shift=$1 number=0 disk pids=() status=0
    for disk in "$srp" "$iser" "$nvme"; do
        dd if=/run/random.bin of="$disk" bs=256k count=8 seek=$((((number + shift) % 3) * 8)) skip=$((100 + shift * 50 + number * 8)) \
            oflag=direct conv=notrunc status=none &
        pids+=($!) number=$((number + 1))
    done
    for number in "${pids[@]}"; do wait "$number" || status=1; done
    return $status
}
expected() {
    local third number
    for third in 0 1 2; do
        number=$(((third - $1 + 3) % 3))
        dd if=/run/random.bin bs=256k count=8 skip=$((100 + $1 * 50 + number * 8)) status=none
    done
}
everywhere() {
    local disk
    expected "$1" >/run/expected
    for disk in "$srp" "$iser" "$nvme"; do
        dd if="$disk" iflag=direct bs=1M count=6 status=none | cmp - /run/expected || return 1
    done
    cmp -n 6291456 "$file" /run/expected
}
for rounds in 0 1 2; do
    check "they write side by side ($rounds)" round $rounds
    check "all of them read what any of them wrote ($rounds)" everywhere $rounds
done

step "one writes, another reads it, block by block"
# handed from one transport to the next: each adds one to what it reads
relay() {
    local disk value=0 turn
    printf '%-4096s' 0 | dd of="$srp" oflag=direct bs=4096 count=1 status=none
    for turn in 1 2 3 4 5; do
        for disk in "$iser" "$nvme" "$srp"; do
            value=$(dd if="$disk" iflag=direct bs=4096 count=1 status=none | tr -d ' ')
            printf '%-4096s' $((value + 1)) | dd of="$disk" oflag=direct bs=4096 count=1 status=none
        done
    done
    value=$(dd if="$nvme" iflag=direct bs=4096 count=1 status=none | tr -d ' ')
    echo "$turn: $value"
    [ "$value" = 15 ]
}
check "nothing that one wrote is missed by the next" relay
check "the kernel's log has no warning" dmesg_clean
