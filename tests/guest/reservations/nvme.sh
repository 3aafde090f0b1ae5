#!/bin/bash
# Reservations of NVMe by nvme-cli: Register, Acquire, Release and Report by two hosts, the features and the log page of notifications.
# shellcheck source=../../../ci/lib/guest.sh
. "$(dirname "$0")/../../../ci/lib/guest.sh"
# shellcheck source=../../../ci/lib/nvme.sh
. "$ROOT/ci/lib/nvme.sh"
# shellcheck source=../../../ci/lib/reservations.sh
. "$ROOT/ci/lib/reservations.sh"

# Two hosts of one machine: without multipath each has a disk of its own.
apart() {
    modprobe -r nvmet_rdma nvmet 2>/dev/null || true
    modprobe -r nvme_rdma nvme_fabrics nvme_core 2>/dev/null || true
    modprobe nvme_core "multipath=$1"
    [ "$(cat /sys/module/nvme_core/parameters/multipath)" = "$1" ]
}
initiator_logout() {
    local status=0
    [ -z "${WATCH:-}" ] || kill "$WATCH" 2>/dev/null || true
    nvme_logout || status=1
    # the kernel's own target keeps the module
    apart Y || [ "$TARGET" = nvmet ] || status=1
    return $status
}

scenario "nvme-cli's reservations"
file=$(backing 8)
check "the kernel keeps paths apart" apart N
check "the host is up" nvme_up
target_start "$file"
if [ "$TARGET" = nvmet ]; then
    space=$NVMET/subsystems/$NVMET_NQN/namespaces/1
    [ -e "$space/resv_enable" ] || { step "this kernel's target has no reservations"; exit 0; }
    echo 0 >"$space/enable" && echo 1 >"$space/resv_enable" && echo 1 >"$space/enable"
fi
ours() { [ "$TARGET" = pagecast ]; }
disk_of() { printf '/dev/%s\n' "$(cd "/sys/class/nvme/${1#/dev/}" && compgen -G 'nvme*n*')"; }
check "a host connects" nvme_connect
ONE=$NVME FIRST=$(disk_of "$NVME")
# by another address: some versions of nvme-cli know no two hosts at one
check "and another one" nvme_connect -a "$IPV6" -q "$OTHER_HOSTNQN" -I "$OTHER_HOSTID"
TWO=$NVME SECOND=$(disk_of "$NVME")
check "each has its disk" eval '[ "$FIRST" != "$SECOND" ] && same "$FIRST" "$file" 1 && same "$SECOND" "$file" 1'
# notifications reach programs as events of the controller
udevadm monitor --kernel --property --subsystem-match=nvme >/run/events 2>&1 &
WATCH=$!

step "what it can"
told() { timeout 60 nvme "$@" >/run/told 2>&1 || { cat /run/told; return 1; }; }
check "id-ctrl has the commands" eval 'told id-ctrl "$ONE" -o json && jq -e "(.oncs / 32 | floor) % 2 == 1" /run/told'
# all six types, Ignore Existing Key as of 1.3
check "id-ns has all types" eval 'told id-ns "$FIRST" -n 1 -o json && jq -e "(.rescap / 2 | floor) % 64 == 63" /run/told'
! ours || check "which outlive a loss of power" jq -e '.rescap % 2 == 1 and (.rescap / 128 | floor) == 1' /run/told
check "nobody is registered" report "$FIRST" '.regctl == 0 and .rtype == 0'

step "Register"
check "register" resv register "$FIRST" --nrkey=0xa1 --rrega=0 --cptpl=3
check "another key conflicts" nvme_conflict register "$FIRST" --nrkey=0xa2 --rrega=0
check "replace with a wrong key conflicts" nvme_conflict register "$FIRST" --crkey=0xbad --nrkey=0xa2 --rrega=2
check "replace with the right one" resv register "$FIRST" --crkey=0xa1 --nrkey=0xa2 --rrega=2
check "replace of any key" resv register "$FIRST" --nrkey=0xa3 --rrega=2 --iekey
check "the other registers" resv register "$SECOND" --nrkey=0xb1 --rrega=0
check "report has both, with their host identifiers" report "$SECOND" \
    '.regctl == 2 and ([.regctlext[].rkey] | sort) == [163, 177] and ([.regctlext[].hostid | tostring] | unique | length) == 2'
! ours || check "and that they outlive a loss of power" report "$SECOND" '.ptpls == 1'
check "without the extended structure it is refused" eval '! resv report "$FIRST" -o json'
check "unregister" resv register "$SECOND" --crkey=0xb1 --rrega=1
check "one is left" report "$FIRST" '.regctl == 1'
check "who is not registered may not acquire" nvme_conflict acquire "$SECOND" --crkey=0xb1 --rtype=1 --racqa=0
check "it registers again" resv register "$SECOND" --nrkey=0xb1 --rrega=0

step "Acquire and Release"
for type in $TYPES; do
    rtype=$(nvme_type "$type")
    check "acquire: $(type_words "$type")" resv acquire "$FIRST" --crkey=0xa3 --rtype="$rtype" --racqa=0
    check "report has it" report "$SECOND" ".rtype == $rtype"
    check "the holder reads and writes" may "$FIRST" 'read write'
    check "the other does as the type says" may "$SECOND" "$(for_others "$type" registrant)"
    check "another type conflicts" nvme_conflict acquire "$FIRST" --crkey=0xa3 --rtype=$((rtype == 1 ? 2 : 1)) --racqa=0
    check "release" resv release "$FIRST" --crkey=0xa3 --rtype="$rtype" --rrela=0
done
check "a type that is none is refused" eval '! resv acquire "$FIRST" --crkey=0xa3 --rtype=7 --racqa=0'
check "everybody reads and writes" eval 'may "$FIRST" "read write" && may "$SECOND" "read write"'

step "preempt, abort, clear"
# those of the releases above
check "what was notified before is read" eval 'until_true 20 no_notification "$ONE" && until_true 20 no_notification "$TWO"'
: >/run/events
# told_of CONTROLLER TYPE: an event came, and the log has an entry of that type for namespace 1
told_of() {
    until_true 5 grep -q 'NVME_AEN=0x800006' /run/events || { echo "no event"; return 1; }
    : >/run/events
    notified "$1" "$2"
}
check "acquire" resv acquire "$FIRST" --crkey=0xa3 --rtype=3 --racqa=0
check "the other's acquire conflicts" nvme_conflict acquire "$SECOND" --crkey=0xb1 --rtype=3 --racqa=0
check "preempt of a key that nobody has conflicts" nvme_conflict acquire "$SECOND" --crkey=0xb1 --prkey=0xbad --rtype=3 --racqa=1
check "preempt" resv acquire "$SECOND" --crkey=0xb1 --prkey=0xa3 --rtype=1 --racqa=1
check "the other is notified: registration preempted" told_of "$ONE" 1
check "it is registered no more" report "$SECOND" '.regctl == 1 and .rtype == 1 and (.regctlext[0].rcsts % 2) == 1'
check "it may only read" may "$FIRST" read
check "it registers again" resv register "$FIRST" --nrkey=0xa4 --rrega=0
check "preempt and abort" resv acquire "$FIRST" --crkey=0xa4 --prkey=0xb1 --rtype=4 --racqa=2
check "the other is notified: registration preempted" told_of "$TWO" 1
check "and may do nothing" may "$SECOND" nothing
check "it registers again" resv register "$SECOND" --nrkey=0xb2 --rrega=0
check "and shares the reservation" may "$SECOND" 'read write'
check "release" resv release "$FIRST" --crkey=0xa4 --rtype=4 --rrela=0
check "the other is notified: reservation released" told_of "$TWO" 2
check "acquire" resv acquire "$FIRST" --crkey=0xa4 --rtype=5 --racqa=0
check "the other clears" resv release "$SECOND" --crkey=0xb2 --rrela=1
check "which the first is told: reservation preempted" told_of "$ONE" 3
check "nobody is registered" report "$FIRST" '.regctl == 0 and .rtype == 0'
check "the log is empty then" no_notification "$ONE"

step "features"
feature() { told get-feature "$1" -n 1 -f "$2" && cat /run/told && grep -Eiq "Current value: *(0x)?0*$3\$" /run/told; }
check "no notification is masked" feature "$ONE" 0x82 0
check "they can be" told set-feature "$ONE" -n 1 -f 0x82 -v 2
check "which is remembered" feature "$ONE" 0x82 2
check "for this controller" feature "$TWO" 0x82 0
check "both register" eval 'resv register "$FIRST" --nrkey=0xa5 --rrega=0 && resv register "$SECOND" --nrkey=0xb5 --rrega=0'
check "one is preempted" resv acquire "$SECOND" --crkey=0xb5 --prkey=0xa5 --rtype=1 --racqa=1
sleep 1
check "of which it is not notified" eval '! grep -q "NVME_AEN=0x800006" /run/events'
if ours; then
    check "reservations outlive a loss of power" feature "$ONE" 0x83 1
    check "which can be switched off" told set-feature "$ONE" -n 1 -f 0x83 -v 0
    check "then they do not" feature "$TWO" 0x83 0
    check "as report says" report "$SECOND" '.ptpls == 0'
fi
check "unregister" resv register "$SECOND" --crkey=0xb5 --rrega=1
check "nobody is registered" report "$FIRST" '.regctl == 0 and .rtype == 0'
check "the target is well" target_alive
check "the kernel's log has no oops" eval '! dmesg_has "BUG:|Oops|WARNING:"'
