#!/bin/bash
# mpathpersist: one disk by two paths, over SRP and over iSER, which register alike; a path that comes back registers by itself.
TRANSPORTS="srp iser nvme-rdma"
# shellcheck source=../../../ci/lib/guest.sh
. "$(dirname "$0")/../../../ci/lib/guest.sh"
# shellcheck source=../../../ci/lib/iscsi.sh
. "$ROOT/ci/lib/iscsi.sh"
# shellcheck source=../../../ci/lib/nvme.sh
. "$ROOT/ci/lib/nvme.sh"
# shellcheck source=../../../ci/lib/reservations.sh
. "$ROOT/ci/lib/reservations.sh"

[ "$TARGET" = pagecast ] || { step "$NAME: no other target has all three"; exit 0; }
command -v mpathpersist >/dev/null || { step "$NAME: mpathpersist is not installed: ci/deps guest"; exit 0; }
scenario "mpathpersist"

# udev_up: multipathd wants to hear of disks from udev
udev_up() {
    local daemon=/usr/lib/systemd/systemd-udevd
    [ -x $daemon ] || daemon=/lib/systemd/systemd-udevd
    $daemon >/run/udevd.log 2>&1 &
    UDEVD=$!
    until_true 10 udevadm control --ping
    udevadm trigger --subsystem-match=block && udevadm settle -t 30
}
multipath_up() {
    modprobe dm_multipath
    mkdir -p /etc/multipath
    cat >/etc/multipath.conf <<'CONF'
defaults {
    user_friendly_names no
    find_multipaths greedy
    path_grouping_policy multibus
    path_selector "round-robin 0"
    rr_min_io_rq 1
    no_path_retry 30
    polling_interval 2
    reservation_key 0xd1
}
blacklist {
    devnode "^(ram|loop|nvme|vd|sr)"
}
CONF
    multipathd -d >/run/multipathd.log 2>&1 &
    MULTIPATHD=$!
    until_true 60 map_is_there || { multipathd show paths; multipathd show maps; udevadm info --query=property "$SRP"; tail -n 20 /run/multipathd.log; return 1; }
}
map_is_there() {
    MAP=$(compgen -G '/dev/mapper/[0-9]*') && [ "$(paths)" = 2 ]
}
# paths: how many of them are in use
paths() { multipathd show paths format '%d %t' 2>/dev/null | grep -c 'sd.* active'; }
three_logout=$(declare -f initiator_logout)
eval "others_${three_logout}"
initiator_logout() {
    if [ -n "${MULTIPATHD:-}" ]; then
        kill "$MULTIPATHD" 2>/dev/null || true
        wait "$MULTIPATHD" 2>/dev/null || true
        dmsetup remove_all --force || true
    fi
    [ -z "${UDEVD:-}" ] || { kill "$UDEVD" && wait "$UDEVD"; } 2>/dev/null || true
    others_initiator_logout
}

file=$(backing 8)
target_start "$file"
check "udev is there" udev_up
check "ib_srp, ib_iser and nvme-rdma log in" hosts_up
udevadm settle -t 30 || true
check "multipathd makes one disk of two" multipath_up
step "$MAP: $(multipathd show maps format '%n %w %N' | tail -n 1)"
check "its bytes are those in the file" same "$MAP" "$file" 4

mp() { timeout 60 mpathpersist "$@" "$MAP"; }
# mp_says PATTERN ARG...: its answer has that
mp_says() {
    mp --in "${@:2}" >/run/mp || { cat /run/mp; return 1; }
    cat /run/mp
    grep -Eiq "$1" /run/mp
}
step "registering"
check "register" mp --out --register --param-sark=0xd1
check "both paths have the key" registered "$ISER" 0xd1 0xd1
check "read keys" mp_says '2 registered reservation key' -k
check "read full status" eval 'mp --in -s && [ "$(full_status "$SRP" | grep -c "^0xd1 ")" = 2 ]'
check "report capabilities" mp_says 'TMV.*1' -c
check "a stranger registers, over NVMe" resv register "$NVM" --nrkey=0xe1 --rrega=0

step "reserving"
for type in 5 6 7 8; do
    check "reserve: $(type_words $type)" mp --out --reserve --param-rk=0xd1 --prout-type=$type
    check "read reservation" mp_says "type = $(type_words $type)" -r
    check "both paths write" eval 'for _ in 1 2 3 4 5 6; do may "$MAP" "read write" || false; done'
    check "the registrant too" may "$NVM" 'read write'
    check "release" mp --out --release --param-rk=0xd1 --prout-type=$type
done

step "preempting"
check "the registrant reserves, over NVMe" resv acquire "$NVM" --crkey=0xe1 --rtype=1 --racqa=0
check "the disk may only be read" may "$MAP" read
check "preempt-abort" mp --out --preempt-abort --param-rk=0xd1 --param-sark=0xe1 --prout-type=5
check "the reservation is the disk's" held "$SRP" 0xd1 5
check "which writes" may "$MAP" 'read write'
check "and the other only reads" may "$NVM" read

step "a path that goes and comes back"
check "the iSER session ends" eval 'iscsiadm -m node -u && until_true 30 eval "[ \"\$(paths)\" = 1 ]"'
check "the disk writes by the other" may "$MAP" 'read write'
check "it logs in again" eval 'iscsi_login iser && ISER=$DISK && until_true 30 eval "[ \"\$(paths)\" = 2 ]"'
# the session that ended is still registered: the new one is another nexus
check "multipathd has registered it" until_true 20 registered "$SRP" 0xd1 0xd1 0xd1
check "and both paths write" eval 'for _ in 1 2 3 4 5 6; do may "$MAP" "read write" || false; done'

check "clear" mp --out --clear --param-rk=0xd1
check "nothing is left" eval 'registered "$SRP" && held "$SRP"'
check "the other writes" writes "$NVM"
check "the target is well" target_alive
check "no kernel has an oops" eval '! dmesg_has "BUG:|Oops|WARNING:"'
