#!/bin/bash
# PERSISTENT RESERVE IN and OUT by sg_persist: every service action and all six types, from one nexus over SRP and one over iSER, and back;
# what the other may do, and what it is told. An NVMe host that has not registered is the stranger.
TRANSPORTS="srp iser nvme-rdma"
# shellcheck source=../../../ci/lib/guest.sh
. "$(dirname "$0")/../../../ci/lib/guest.sh"
# shellcheck source=../../../ci/lib/iscsi.sh
. "$ROOT/ci/lib/iscsi.sh"
# shellcheck source=../../../ci/lib/nvme.sh
[ "$TARGET" = lio ] || . "$ROOT/ci/lib/nvme.sh"
# shellcheck source=../../../ci/lib/reservations.sh
. "$ROOT/ci/lib/reservations.sh"

scenario "PERSISTENT RESERVE"
file=$(backing 8)
NVM='' SRP=''
if [ "$TARGET" = lio ]; then
    # it has a table for each transport: a second session stands in
    # shellcheck disable=SC2034 # for lio_start
    TRANSPORTS=iser
    # where it keeps its tables
    mkdir -p /var/target/pr
    target_start "$file"
    second() {
        iscsiadm -m iface -I other -o new && iscsiadm -m iface -I other -o update -n iface.transport_name -v iser &&
            iscsiadm -m iface -I other -o update -n iface.initiatorname -v "$INITIATOR-other" &&
            node -p "$IPV4:$ISCSI_PORT" -I other -o new && node -p "$IPV4:$ISCSI_PORT" -I other --login &&
            iscsi_session "$(sessions | sort -V | tail -n 1)" && SRP=$DISK
    }
    check "ib_iser logs in" hosts_up iser
    check "and once more" second
else
    target_start "$file"
    check "ib_srp, ib_iser and nvme-rdma log in" hosts_up
fi
others() {
    may "$1" "$(for_others "$2" registrant)" && { [ -z "$NVM" ] || may "$NVM" "$(for_others "$2" stranger)"; }
}

step "what it can"
capable() { calm "$SRP" && sg_persist -n -c "$SRP" >/run/capable && cat /run/capable && grep -Eq "$1" /run/capable; }
for ability in 'PTPL_C\): 1' 'ATP_C\): 1' 'SIP_C\): 1' 'TMV\): 1'; do check "it reports ${ability%%\\*}" capable "$ability"; done
check "all six types" eval "capable . && [ \$(grep -cE '(Exclusive|Access)(, (registrants only|all registrants))?: 1\$' /run/capable) = 6 ]"
check "nothing is registered" registered "$SRP"
check "or reserved" held "$SRP"

step "registrations"
before=$(generation "$SRP")
check "REGISTER" out "$SRP" -G -S a1
check "of another key without the present one conflicts" refused 24 "$SRP" -G -S a2
check "with a wrong one as well" refused 24 "$SRP" -G -K bad -S a2
check "with the right one changes it" out "$SRP" -G -K a1 -S a2
check "the other nexus that shows a key that it has not conflicts" refused 24 "$ISER" -G -K a2 -S b2
check "REGISTER AND IGNORE EXISTING KEY" out "$ISER" -I -S b1
check "changes it" out "$ISER" -I -K bad -S b2
check "both see both keys" eval 'registered "$SRP" 0xa2 0xb2 && registered "$ISER" 0xa2 0xb2'
check "the generation counts what was registered" [ "$(generation "$ISER")" = $((before + 4)) ]
check "READ FULL STATUS has both" eval '[ "$(full_status "$SRP" | awk "{ print \$1, \$2, \$3 }" | sort)" = "0xa2 registrant 0
0xb2 registrant 0" ]'
check "REGISTER of key zero unregisters" out "$ISER" -G -K b2
check "one is left" registered "$ISER" 0xa2
check "nobody without a key may reserve" refused 24 "$ISER" -R -K b2 -T 1
check "nor release" refused 24 "$ISER" -L -K b2 -T 1
check "nor clear" refused 24 "$ISER" -C -K b2
check "nor preempt" refused 24 "$ISER" -P -K b2 -S a2 -T 1
check "REGISTER again" out "$ISER" -G -S b2

step "six types"
for type in $TYPES; do
    words=$(type_words "$type")
    # held by SRP, then by iSER
    if [ "$type" -lt 6 ]; then own=$SRP key=a2 other=$ISER other_key=b2; else own=$ISER key=b2 other=$SRP other_key=a2; fi
    check "RESERVE: $words" out "$own" -R -K $key -T "$type"
    check "again is the same" out "$own" -R -K $key -T "$type"
    if [ "$type" -gt 6 ]; then reported=0x0; else reported=0x$key; fi
    check "READ RESERVATION" held "$other" $reported "$type"
    check "the holder reads and writes" may "$own" 'read write'
    check "others do as the type says" others "$other" "$type"
    check "another type conflicts" refused 24 "$own" -R -K $key -T $((type == 1 ? 3 : 1))
    check "RELEASE of another type is an illegal request" refused 5 "$own" -L -K $key -T $((type == 1 ? 3 : 1))
    if [ "$type" -le 6 ]; then
        check "the other's RESERVE conflicts" refused 24 "$other" -R -K $other_key -T "$type"
        check "its RELEASE does nothing" out "$other" -L -K $other_key -T "$type"
        check "and it is still reserved" held "$other" $reported "$type"
    fi
    check "RELEASE" out "$own" -L -K $key -T "$type"
    # who was shut out is not told; who shared it is
    if [ "$type" -gt 3 ]; then check "the other is told" attention "$other" 'Reservations released'; else check "the other is not told" sg_turs "$other"; fi
    check "it is reserved no more" held "$other"
done
check "everybody reads and writes" eval 'for disk in "$SRP" "$ISER" $NVM; do may "$disk" "read write" || false; done'

step "CLEAR"
check "RESERVE" out "$SRP" -R -K a2 -T 3
check "CLEAR by who does not hold it" out "$ISER" -C -K b2
check "the other is told" attention "$SRP" 'Reservations preempted'
check "no key is left" registered "$ISER"
check "and no reservation" held "$ISER"

step "PREEMPT"
check "both register" eval 'out "$SRP" -I -S a3 && out "$ISER" -I -S b3'
check "one reserves" out "$SRP" -R -K a3 -T 5
check "PREEMPT of a key that nobody has conflicts" refused 24 "$ISER" -P -K b3 -S bad -T 5
check "PREEMPT of none is an illegal request" refused 5 "$ISER" -P -K b3 -T 5
check "PREEMPT" out "$ISER" -P -K b3 -S a3 -T 6
check "the other is told" attention "$SRP" 'Registrations preempted'
check "it is registered no more" registered "$ISER" 0xb3
check "the reservation is the preemptor's, of its type" held "$SRP" 0xb3 6
check "and keeps the other out" may "$SRP" nothing
check "it registers again" out "$SRP" -I -S a3
check "PREEMPT AND ABORT takes it back" out "$SRP" -A -K a3 -S b3 -T 1
check "the other is told" attention "$ISER" 'Registrations preempted'
check "and may only read" may "$ISER" read
check "RELEASE" out "$SRP" -L -K a3 -T 1
check "it registers again" out "$ISER" -I -S b3
check "PREEMPT without a reservation takes a registration" out "$ISER" -P -K b3 -S a3 -T 1
check "of which the other is told" attention "$SRP" 'Registrations preempted'
check "and nothing is reserved" held "$ISER"

step "all registrants"
check "both register" eval 'out "$SRP" -I -S a4 && out "$ISER" -I -S b4'
check "RESERVE" out "$SRP" -R -K a4 -T 8
check "both hold it" eval '[ "$(full_status "$SRP" | awk "{ print \$1, \$2, \$3 }" | sort)" = "0xa4 holder 8
0xb4 holder 8" ]'
check "who reserved it unregisters" out "$SRP" -G -K a4
check "it is still reserved" held "$ISER" 0x0 8
check "for the other" eval 'may "$ISER" "read write" && may "$SRP" nothing'
check "who unregisters too" out "$ISER" -G -K b4
check "then it is not" eval 'held "$SRP" && may "$SRP" "read write"'

step "REGISTER AND MOVE"
check "both register" eval 'out "$SRP" -I -S a5 && out "$ISER" -I -S b5'
read -r _ _ _ _ port id < <(full_status "$SRP" | grep '^0xb5 ')
step "to port $port, $id"
check "without a reservation it is an illegal request" refused 5 "$SRP" -M -K a5 -S c5 -Q "$port" -X "$id"
check "RESERVE" out "$SRP" -R -K a5 -T 5
check "it does not move by who does not hold it" refused 24 "$ISER" -M -K b5 -S c5 -Q "$port" -X "$id"
check "REGISTER AND MOVE" out "$SRP" -M -U -K a5 -S c5 -Q "$port" -X "$id"
check "the key is the new one" registered "$ISER" 0xc5
check "the reservation is the other's" held "$ISER" 0xc5 5
check "who writes" may "$ISER" 'read write'
check "and who moved it may only read" may "$SRP" read
check "RELEASE" out "$ISER" -L -K c5 -T 5
check "nobody" nobody "$SRP" "$ISER"

step "APTPL, SPEC_I_PT, ALL_TG_PT"
check "it does not outlive a loss of power" capable 'PTPL_A\): 0'
check "REGISTER with APTPL" out "$SRP" -G -Z -S a6
check "it does" capable 'PTPL_A\): 1'
check "REGISTER AND IGNORE EXISTING KEY without it" out "$SRP" -I -S a6
check "it does not" capable 'PTPL_A\): 0'
check "nobody" nobody "$SRP" "$ISER"
check "REGISTER with ALL_TG_PT" out "$SRP" -G -Y -S a7
check "registers" eval 'registered "$SRP" 0xa7 && out "$SRP" -R -K a7 -T 1 && may "$SRP" "read write"'
check "CLEAR" out "$SRP" -C -K a7
if [ "$TARGET" != lio ]; then
    # only names of the same protocol: the second nexus is another one of SRP's
    spec=04,00,00,00,00,00,00,00,00,00,00,00,00,00,00,00,00,00,00,00,00,00,00,99
    check "REGISTER with SPEC_I_PT" out "$SRP" -G -S a8 -X $spec
    check "registers who was named" eval 'full_status "$SRP" | grep -F "0xa8 registrant 0 " | grep -F $spec'
    check "beside who named it" [ "$(full_status "$SRP" | grep -c '^0xa8 ')" = 2 ]
    check "nobody" nobody "$SRP" "$ISER"
fi
check "the target is well" target_alive
check "the kernel's log has no oops" eval '! dmesg_has "BUG:|Oops|WARNING:"'
