#!/bin/bash
# CHAP, one way and mutual, for logins and for discovery; what must be refused, with the status that the standard has for it;
# IPv6, TCP beside RDMA on the same port, an orderly end.
# shellcheck source=../../../ci/lib/guest.sh
. "$(dirname "$0")/../../../ci/lib/guest.sh"
# shellcheck source=../../../ci/lib/iscsi.sh
. "$ROOT/ci/lib/iscsi.sh"

[ "$TARGET" = pagecast ] || { step "$NAME: this is about pagecast's configuration"; exit 0; }
scenario "CHAP, refusals, SIGTERM"
file=$(backing 16)
other=$(backing 16)
check "open-iscsi is up" iscsi_up

secret=open-sesame-now own=close-it-again finder=ask-me-nothing
one_way='{"chap": {"user": "web", "secret": "'$secret'"}}'
mutual='{"chap": {"user": "web", "secret": "'$secret'", "mutual_user": "store", "mutual_secret": "'$own'"}}'
refused() { ! iscsi_login iser "$@"; }
# attempt TEXT STATUS WORDS: `refused` must find the login refused, and open-iscsi's daemon have a word for the status
attempt() {
    local before
    before=$(wc -l </run/iscsid.log)
    check "$1" refused
    tail -n +$((before + 1)) /run/iscsid.log >/run/told
    check "with status $2" said "$3"
}
said() { cat /run/told; grep -Eiq "$1" /run/told; }
# told_of WORDS: one line of the daemon's log has them and the initiator's name
told_of() { grep -F "$INITIATOR" $LOG | grep -Eq "$1"; }
no_secret() { ! grep -Eq "$secret|$own|$finder|wrong-secret" $LOG; }

step "one-way CHAP"
TARGET_EXTRA=$one_way target_start "$file" "$other"
# shellcheck disable=SC2034 # for iscsi_login
CREDENTIALS="USER=web SECRET=wrong-secret-x"
attempt "a wrong secret is refused" 0201 'failed authentication|02/01'
check "the daemon's log names the initiator" told_of 'wrong CHAP name or secret'
CREDENTIALS="USER=bew SECRET=$secret"
attempt "a wrong name is refused" 0201 'failed authentication|02/01'
CREDENTIALS="USER=web SECRET=$secret"
check "name and secret log in" iscsi_login iser 2
# shellcheck disable=SC2016 # eval expands it
check "both disks have their own bytes" eval 'same "${DISKS[0]}" "$file" && same "${DISKS[1]}" "$other"'
check "logout" iscsi_logout
# in a new record: open-iscsi uses the names and secrets that it has, whatever authmethod says
plain() {
    node -p "$IPV4:$ISCSI_PORT" -I iser -o delete && node -p "$IPV4:$ISCSI_PORT" -I iser -o new &&
        ! node -p "$IPV4:$ISCSI_PORT" -I iser --login
}
check "no CHAP at all is refused" plain
check "they log in over TCP as well, on the same port" iscsi_login iscsi-tcp 2
check "and the bytes are right" same "$DISK" "$file"
check "logout" iscsi_logout
check "they log in over IPv6" iscsi_login iser 2 "[$IPV6]"
check "and the bytes are right" same "$DISK" "$file"
check "logout" iscsi_logout
check "no secret is in the log" no_secret
check "the control socket shows none" eval "! ctl target show store | grep -E '$secret|$own'"
target_stop

step "mutual CHAP"
TARGET_EXTRA=$mutual target_start "$file"
CREDENTIALS="USER=web SECRET=$secret TARGET_USER=store TARGET_SECRET=$own"
check "both sides prove themselves" iscsi_login iser
check "and the bytes are right" same "$DISK" "$file"
check "logout" iscsi_logout
CREDENTIALS="USER=web SECRET=$secret TARGET_USER=store TARGET_SECRET=something-else"
check "an initiator that expects another secret of the target stays away" refused
check "no secret is in the log" no_secret
target_stop

step "discovery with CHAP"
CONFIG_EXTRA='{"discovery_chap": {"user": "finder", "secret": "'$finder'"}}' target_start "$file"
found() { iscsiadm -m discovery -t sendtargets -p "$IPV4:$ISCSI_PORT" -I iser; }
rm -rf /etc/iscsi/{nodes,send_targets}
check "is refused without" eval '! found'
CREDENTIALS="USER=finder SECRET=$finder"
check "and tells of the target with" iscsi_login iser
check "logout" iscsi_logout
CREDENTIALS=
target_stop

step "an initiator that no group admits"
rm -rf /etc/iscsi/{nodes,send_targets}
INITIATORS='["iqn.2026-11.org.example:*"]' target_start "$file"
check "is told of no target" eval '! found | grep -F "$(target_iqn)"'
uninvited() { node -p "$IPV4:$ISCSI_PORT" -I iser -o new && node -p "$IPV4:$ISCSI_PORT" -I iser --login; }
refused() { ! uninvited; }
attempt "is refused" 0202 'failed authorization|02/02'
check "the daemon's log names it" told_of .
target_stop

step "a target that is not there"
target_start "$file"
nobody() { iscsiadm -m node -T iqn.2026-11.io.pagecast:nobody -p "$IPV4:$ISCSI_PORT" -I iser -o new && iscsiadm -m node -T iqn.2026-11.io.pagecast:nobody -p "$IPV4:$ISCSI_PORT" -I iser --login; }
refused() { ! nobody; }
attempt "is refused" 0203 'not found|02/03'
rm -rf /etc/iscsi/{nodes,send_targets}

step "SIGTERM with a session open"
check "login" iscsi_login iser
node -o update -n node.session.timeo.replacement_timeout -v 1 >/dev/null
check "pagecastd exits with 0" pagecastd_stop
check "the session ends" iscsi_logout
check "the kernel's log has no warning" dmesg_clean
