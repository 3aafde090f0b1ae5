#!/bin/bash
# An initiator moves between two access groups, a hundred times, while it writes to LUN 0 over SRP, iSER and NVMe at once: LUN 0 does not
# notice, LUN 1 comes and goes. Then no group admits it any more, and its sessions are closed; admitted again, it is back by itself.
TRANSPORTS="srp iser nvme-rdma"
# shellcheck source=../../../ci/lib/guest.sh
. "$(dirname "$0")/../../../ci/lib/guest.sh"
# shellcheck source=../../../ci/lib/together.sh
. "$ROOT/ci/lib/together.sh"

MOVES=100

[ "$TARGET" = pagecast ] || { step "$NAME: no other target has all three"; exit 0; }
scenario "an initiator moves between access groups"
first=$(backing 48)
second=$(backing 16)
groups='[ { "name": "small", "initiators": ["'$IPV4'"], "luns": { "0": "disk0" } },
          { "name": "large", "initiators": [], "luns": { "0": "disk0", "1": "disk1" } } ]'
TARGET_EXTRA="{\"groups\": $groups}" target_start "$first" "$second"

# What a Linux host has that scans by itself: udev, and the rule of its distribution for this unit attention.
scanner_up() {
    mkdir -p /run/udev-rules
    mount --bind /run/udev-rules /usr/lib/udev/rules.d
    cat >/run/scan <<'SCAN'
#!/bin/bash
# $1 is a disk in sysfs, such as /devices/.../target3:0:0/3:0:0:0
IFS=: read -r host channel id _ <<<"${1##*/}"
echo "$channel $id -" >"/sys/class/scsi_host/host$host/scan"
SCAN
    chmod +x /run/scan
    echo 'ACTION=="change", SUBSYSTEM=="scsi", ENV{SDEV_UA}=="REPORTED_LUNS_DATA_HAS_CHANGED", RUN+="/run/scan $env{DEVPATH}"' \
        >/run/udev-rules/90-scsi-ua.rules
    /lib/systemd/systemd-udevd --daemon
}
initiators_up
check "udev is up" scanner_up
everybody_in
srp=$SRP_DISK iser=$ISER_DISK nvme=$NVME_DISK srp_host=$SRP_HOST iser_host=$ISER_HOST

disks() { disks_of "$1" "${2:-1}" && [ "${#DISKS[@]}" = "${2:-1}" ]; }
namespaces() { nvme_disks "$(target_nqn)" "$1" && [ "${#DISKS[@]}" = "$1" ]; }
move_to() { ctl initiator move store "$IPV4" "$1"; }
sessions_in() { ctl session list | jq -e --arg group "$1" '[.sessions[] | select(.group == $group)] | length == 3'; }
check "all three are in the group that has one LUN" sessions_in small
ids=$(ctl session list | jq -c '[.sessions[].id]')

step "LUN 1 comes"
check "the initiator moves" move_to large
check "the sessions are in the other group" sessions_in large
# SRP's host is told with its next command, the others are at once
look() { dd if="$1" of=/dev/null bs=4096 count=1 iflag=direct status=none; }
look "$srp"
check "SRP's host finds it by itself" until_true 20 disks "$srp_host" 2
check "it is the second device" eval 'same "${DISKS[1]}" "$second" 4'
srp_second=${DISKS[1]}
check "iSER's host finds it by itself" until_true 20 disks "$iser_host" 2
check "it is the second device there, too" eval 'same "${DISKS[1]}" "$second" 4'
check "NVMe's host finds it by itself" until_true 20 namespaces 2
check "it is the second device as well" eval 'same "${DISKS[1]}" "$second" 4'

step "LUN 1 goes"
check "the initiator moves back" move_to small
gone() { ! dd if="$1" of=/dev/null bs=4096 count=1 iflag=direct status=none; }
check "what SRP's host has of it answers no more" gone "$srp_second"
check "NVMe's host removes it by itself" until_true 20 namespaces 1
# Linux leaves SCSI disks that are gone to its administrator.
listed() { sg_luns --decode "$1" | grep -c 'lun=1$'; }
not_listed() { [ "$(listed "$1" || true)" = 0 ]; }
check "SRP's target lists it no more" not_listed "$srp"
check "nor does iSER's" not_listed "$iser"
forget() {
    local host disk
    for host in "$srp_host" "$iser_host"; do
        for disk in /sys/class/scsi_device/"${host#host}":*:*:1; do
            [ ! -e "$disk" ] || echo 1 >"$disk/device/delete"
        done
        until_true 20 disks "$host" 1 || return 1
    done
}
check "its disks are taken away" forget

step "$MOVES moves while fio writes to LUN 0 over all three"
# Each has a third of the disk, which it writes and reads back, over and over until it is told to stop.
writer() {
    local disk=$1 number=$2 name=$3 pass=0
    while [ ! -e /run/enough ] || [ $pass = 0 ]; do
        pass=$((pass + 1))
        fio --name="part$number" --filename="$disk" --direct=1 --ioengine=libaio --iodepth=8 --rw=randwrite --bsrange=4k-64k \
            --offset=$((number * 16))m --size=$((16 / SMALLER))m --verify=crc32c --verify_fatal=1 \
            --output-format=json --output="/run/fio.$name.$number.$pass" >"/run/fio.log.$number" 2>&1 || { cat "/run/fio.log.$number"; return 1; }
    done
    echo "$disk: $pass passes"
}
write_all() {
    local name=$1 number=0 disk pids=() status=0
    for disk in "$srp" "$iser" "$nvme"; do
        writer "$disk" $number "$name" &
        pids+=($!) number=$((number + 1))
    done
    for number in "${pids[@]}"; do wait "$number" || status=1; done
    return $status
}
beside_writers() {
    local name=$1 status=0
    shift
    rm -f /run/enough
    write_all "$name" &
    local writers=$!
    "$@" || status=1
    kill -0 $writers || { echo "the writers ended too early"; status=1; }
    touch /run/enough
    wait $writers || status=1
    return $status
}
# waits NAME WHICH: of all writes that fio made, in milliseconds: their mean, or the longest
waits() {
    local figure='[.[] | .clat_ns.mean * .total_ios] | add'
    if [ "$2" = mean ]; then figure="($figure) / ([.[].total_ios] | add)"; else figure='[.[].clat_ns.max] | max'; fi
    cat /run/fio."$1".* | jq -s "[.[].jobs[].write] | $figure | . / 1e6 | floor"
}
# writes NAME: how many there were
writes() { cat /run/fio."$1".* | jq -s '[.[].jobs[].write.total_ios] | add'; }
moves() {
    local number group=small
    sleep 2
    for ((number = 1; number <= MOVES; number++)); do
        if [ $group = small ]; then group=large; else group=small; fi
        move_to $group >/dev/null || { echo "move $number"; return 1; }
        sleep 0.1
    done
}
check "what is written verifies without moves" beside_writers still sleep 15
check "what is written verifies with $MOVES moves" beside_writers moving moves
# The longest of all writes is no measure here: it is what emulated CPUs make of it, which scan for LUNs and start programs meanwhile.
# What a move costs by itself is in tests/sim/reassign.rs, where time is virtual, and in what ci/bench-control measures.
step "$(writes still) writes took $(waits still mean) ms (mean), $(waits still max) ms (longest) without moves," \
    "$(writes moving) took $(waits moving mean) ms and $(waits moving max) ms with them"
check "writes do not wait for moves" [ "$(waits moving mean)" -le $(($(waits still mean) + 100)) ]
no_error() { ! dmesg_has "I/O error, dev (${srp#/dev/}|${iser#/dev/}|${nvme#/dev/}),"; }
check "no command on LUN 0 failed" no_error
check "it is the sessions of before" [ "$(ctl session list | jq -c '[.sessions[].id]')" = "$ids" ]
check "the hosts are those of before" eval '[ -e "/sys/class/scsi_host/$srp_host" ] && [ -e "/sys/class/scsi_host/$iser_host" ] && [ -c "$NVME" ]'
check "the daemon saw all moves" eval '[ "$(grep -c "session reassigned" $LOG)" -ge $((3 * (MOVES + 2))) ]'
check "what was written is in the file" eval 'sync; same "$srp" "$first" && same "$nvme" "$first"'

step "nobody admits it any more"
# where it is after an even number of moves
check "its name goes from the group" ctl initiator remove store small "$IPV4"
check "its sessions are closed" until_true 15 no_sessions
refused() { grep 'no access group' $LOG | grep -q "$1"; }
for transport in srp iser nvme-rdma; do
    check "it tries again over $transport and is refused, with a reason in the log" until_true 60 refused "transport=$transport"
done
check "its name comes back" ctl initiator add store small "$IPV4"
back() { ctl session list | jq -e '[.sessions[].transport] | sort == ["iser", "srp"]'; }
check "its sessions over SRP and iSER are back by themselves" until_true 60 back
# Connect Invalid Host tells a host not to try again, and Linux gives the controller up.
check "NVMe's host has given up, and connects when it is told to" nvme_connect
nvme=$DISK
check "all three are back" sessions_in small
for disk in "$srp" "$iser" "$nvme"; do check "$disk works" until_true 60 same "$disk" "$first" 4; done
pkill systemd-udevd || true
umount /usr/lib/udev/rules.d || true
