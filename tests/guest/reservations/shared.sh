#!/bin/bash
# One table for hosts of all protocols: what ib_srp, ib_iser or nvme-rdma registers and reserves the others see and keep to, preempting one
# another; by the kernel's own calls, by sg_persist and by nvme-cli; and all of it outlives a daemon that was killed.
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
scenario "three transports, one table"
file=$(backing 8)
target_start "$file"
check "ib_srp, ib_iser and nvme-rdma log in" hosts_up

step "the kernel's own calls, over each transport"
# block_calls OWN OTHER: the same for all of them
block_calls() {
    local own=$1 other=$2
    block_pr "$own" register a1 && block_pr "$other" register b1 &&
        conflicting block_pr "$own" register a2 && block_pr "$own" register a2 a1 &&
        block_pr "$own" reserve a2 0 3 && conflicting block_pr "$other" reserve b1 0 3 &&
        may "$own" 'read write' && may "$other" 'read write' && block_pr "$own" release a2 0 3 || return 1
    block_pr "$own" reserve a2 0 2 && may "$other" nothing &&
        block_pr "$other" preempt a2 b1 1 && may "$own" read && conflicting block_pr "$own" release a2 0 1 &&
        block_pr "$own" register a3 && block_pr "$own" preempt-abort b1 a3 4 && may "$other" nothing &&
        block_pr "$own" clear a3 && may "$other" 'read write' && registered "$SRP" && held "$ISER"
}
for pair in "$SRP $ISER" "$ISER $NVM" "$NVM $SRP"; do
    # shellcheck disable=SC2086 # two words
    check "register, reserve, release, preempt, preempt-abort, clear: $pair" block_calls $pair
done

step "everybody registers"
check "over SRP" out "$SRP" -I -Z -S a1
check "over iSER" out "$ISER" -I -Z -S b1
check "over NVMe" resv register "$NVM" --nrkey=0xc1 --rrega=0 --cptpl=3
three_keys() { registered "$SRP" 0xa1 0xb1 0xc1 && registered "$ISER" 0xa1 0xb1 0xc1; }
check "SCSI hosts see three keys" three_keys
check "with three names of three protocols" eval '[ "$(full_status "$SRP" | awk "{ print substr(\$6, 1, 2) }" | sort -u | wc -l)" = 3 ]'
check "the NVMe host sees them too" report "$NVM" \
    '.regctl == 3 and ([.regctlext[].rkey] | sort) == [161, 177, 193] and ([.regctlext[].hostid | tostring] | unique | length) == 3'
same_generation() {
    local of_scsi
    of_scsi=$(generation "$SRP")
    report "$NVM" ".gen == $of_scsi"
}
check "and the same generation" same_generation

step "six types, reserved by each in turn"
# reserve DISK KEY TYPE, release DISK KEY TYPE: in the host's own way
reserve() {
    case $1 in
    "$NVM") resv acquire "$1" --crkey="0x$2" --rtype="$(nvme_type "$3")" --racqa=0 ;;
    *) out "$1" -R -K "$2" -T "$3" ;;
    esac
}
release() {
    case $1 in
    "$NVM") resv release "$1" --crkey="0x$2" --rtype="$(nvme_type "$3")" --rrela=0 ;;
    *) out "$1" -L -K "$2" -T "$3" ;;
    esac
}
unregister() { case $1 in "$NVM") resv register "$1" --crkey="0x$2" --rrega=1 ;; *) out "$1" -G -K "$2" ;; esac; }
register() { case $1 in "$NVM") resv register "$1" --nrkey="0x$2" --rrega=0 --cptpl=3 ;; *) out "$1" -G -Z -S "$2" ;; esac; }
# seen TYPE KEY: by all hosts; several hold what all registrants hold
seen() {
    local key=$2
    [ "$1" -lt 7 ] || key=0x0
    held "$SRP" "$key" "$1" && held "$ISER" "$key" "$1" && report "$NVM" ".rtype == $(nvme_type "$1")" || return 1
    [ "$1" -ge 7 ] || jq -e --argjson key $((key)) '[.regctlext[] | select(.rcsts % 2 == 1).rkey] == [$key]' /run/report.json
}
# turn TYPE HOLDER KEY REGISTRANT STRANGER KEY
turn() {
    unregister "$5" "$6" && reserve "$2" "$3" "$1" && seen "$1" "0x$3" &&
        may "$2" 'read write' && may "$4" "$(for_others "$1" registrant)" && may "$5" "$(for_others "$1" stranger)" &&
        release "$2" "$3" "$1" && register "$5" "$6"
}
check "SRP: $(type_words 1)" turn 1 "$SRP" a1 "$NVM" "$ISER" b1
check "SRP: $(type_words 6)" turn 6 "$SRP" a1 "$ISER" "$NVM" c1
check "iSER: $(type_words 3)" turn 3 "$ISER" b1 "$SRP" "$NVM" c1
check "iSER: $(type_words 7)" turn 7 "$ISER" b1 "$NVM" "$SRP" a1
check "NVMe: $(type_words 5)" turn 5 "$NVM" c1 "$SRP" "$ISER" b1
check "NVMe: $(type_words 8)" turn 8 "$NVM" c1 "$ISER" "$SRP" a1
check "all are registered again" three_keys

step "preempting across protocols"
check "what was notified before is read" eval 'until_true 20 no_notification "$NVME" && calm "$SRP" && calm "$ISER"'
check "NVMe reserves" reserve "$NVM" c1 5
check "SRP preempts it" out "$SRP" -P -K a1 -S c1 -T 5
check "the NVMe host finds a notification: registration preempted" notified "$NVME" 1
check "the reservation is SRP's" seen 5 0xa1
check "the NVMe host may only read" may "$NVM" read
check "its kernel says why" dmesg_has 'reservation conflict.*nvme|nvme.*[Rr]eservation [Cc]onflict'
check "it registers again" register "$NVM" c2
check "and writes" may "$NVM" 'read write'
check "it preempts SRP" resv acquire "$NVM" --crkey=0xc2 --prkey=0xa1 --rtype=4 --racqa=2
check "which is told" attention "$SRP" 'Registrations preempted'
check "the reservation is NVMe's" seen 6 0xc2
check "SRP may do nothing" may "$SRP" nothing
check "its kernel says why" dmesg_has 'reservation conflict.*sd|sd.*reservation conflict'
check "iSER still may" may "$ISER" 'read write'
check "and preempts NVMe" out "$ISER" -A -K b1 -S c2 -T 1
check "which finds a notification: registration preempted" notified "$NVME" 1
check "the reservation is iSER's" seen 1 0xb1
check "nobody else writes" eval 'may "$NVM" read && may "$SRP" read'
check "SRP registers again" register "$SRP" a3
check "and clears" out "$SRP" -C -K a3
check "of which iSER is told" attention "$ISER" 'Reservations preempted'
check "everybody writes" eval 'for disk in "$SRP" "$ISER" "$NVM"; do may "$disk" "read write" || false; done'

step "a daemon that is killed"
check "all register, to outlive it" eval 'register "$SRP" a4 && register "$ISER" b4 && register "$NVM" c4'
check "iSER reserves" reserve "$ISER" b4 1
full_status "$SRP" | sort >/run/before
target_crash
target_again
all_again() { ctl session list | jq -e '[.sessions[].transport] | unique | sort == ["iser", "nvme-rdma", "srp"]'; }
check "all hosts are back" until_true 90 all_again
check "their commands too" eval 'reads "$SRP" && reads "$ISER" && reads "$NVM"'
check "with the registrations, the reservation and its holder that they had" eval 'full_status "$SRP" | sort | diff /run/before -'
check "as NVMe sees it, too" eval 'seen 1 0xb4 && jq -e ".regctl == 3 and .ptpls == 1" /run/report.json'
check "which hold for all" eval 'may "$ISER" "read write" && may "$SRP" read && may "$NVM" read'
check "the holder releases" release "$ISER" b4 1
check "NVMe reserves" reserve "$NVM" c4 3
target_crash
target_again
check "all hosts are back once more" until_true 90 all_again
check "NVMe has its reservation" eval 'may "$NVM" "read write" && seen 3 0xc4'
check "which keeps the others out" eval 'may "$SRP" nothing && may "$ISER" nothing'
check "NVMe clears" resv release "$NVM" --crkey=0xc4 --rrela=1
check "what is cleared is gone after another restart" eval 'target_crash; target_again; until_true 90 all_again && registered "$SRP" && may "$ISER" "read write"'
check "the target is well" target_alive
check "no kernel has an oops" eval '! dmesg_has "BUG:|Oops|WARNING:"'
