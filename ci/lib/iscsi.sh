# What guest tests of iSER and of iSCSI over TCP share: open-iscsi, without a service manager. Sourced after guest.sh.
# shellcheck shell=bash
TRANSPORTS=${TRANSPORTS:-iser iscsi-tcp}
ISCSI_PORT=3260
INITIATOR=iqn.2026-11.io.pagecast.test:guest

# iscsi_up: open-iscsi as after its installation, and its daemon
iscsi_up() {
    modprobe -a ib_iser iscsi_tcp
    rm -rf /etc/iscsi/{nodes,send_targets,ifaces,isns,static,slp,fw}
    mkdir -p /etc/iscsi /run/lock/iscsi
    echo "InitiatorName=$INITIATOR" >/etc/iscsi/initiatorname.iscsi
    # Emulated machines are slow to answer, and nobody wants to wait for two minutes where an answer never comes.
    cat >/etc/iscsi/iscsid.conf <<'CONF'
node.startup = manual
node.session.timeo.replacement_timeout = 120
node.conn[0].timeo.login_timeout = 30
node.conn[0].timeo.logout_timeout = 15
node.conn[0].timeo.noop_out_interval = 5
node.conn[0].timeo.noop_out_timeout = 15
node.session.initial_login_retry_max = 1
node.session.scan = auto
CONF
    # in a group of its own: when it is told to end, it tells its whole group
    setsid iscsid -f >/run/iscsid.log 2>&1 &
    ISCSID=$!
    # its socket is there a moment later; error 20 is "iscsid is not running"
    until_true 10 iscsid_answers
}
iscsid_answers() { local status=0; iscsiadm -m session || status=$?; [ $status = 21 ] || [ $status = 0 ]; }

# target_iqn
target_iqn() { if [ "$TARGET" = lio ]; then echo "$LIO_IQN"; else echo iqn.2026-11.io.pagecast:store; fi; }

# iscsi_commands TRANSPORT [ADDRESS]: what the target says to type, for the address
iscsi_commands() {
    local transport=$1 at=${2:-$IPV4}:$ISCSI_PORT interface=default
    if [ "$TARGET" = pagecast ]; then
        ctl target show store | jq -r --arg transport "$transport" '.initiator_commands[$transport][]' |
            grep -F " -p $at " | grep -v '^iscsi-inq'
        return
    fi
    [ "$transport" != iser ] || interface=iser
    echo "iscsiadm -m discovery -t sendtargets -p $at -I $interface"
    echo "iscsiadm -m node -T $(target_iqn) -p $at -I $interface --login"
}

# iscsi_login TRANSPORT [DISKS [ADDRESS]]: types that. CREDENTIALS fill in the words in capital letters: USER=...
iscsi_login() {
    local lines line word before
    before=$(sessions)
    lines=$(iscsi_commands "$1" "${3:-$IPV4}")
    [ -n "$lines" ] || { echo "no commands for $1"; return 1; }
    for word in ${CREDENTIALS:-}; do lines=$(sed "s|\\b${word%%=*}\\b|${word#*=}|g" <<<"$lines"); done
    while read -r line; do
        echo "$line"
        # shellcheck disable=SC2086 # as a shell would split it
        case $line in
        iscsiadm\ -m\ discovery\ *) discovery ${line#iscsiadm -m discovery} || return 1 ;;
        *) timeout 60 $line </dev/null || return 1 ;;
        esac
    done <<<"$lines"
    iscsi_session "$(comm -13 <(echo "$before") <(sessions) | tail -n 1)" "${2:-1}"
}

# discovery ARG...: iscsiadm's, and again if it fails. Where CPUs are busy, iscsiadm 2.1.8 misses the answer to its login now and then (over iSER
# 1 time in 40, beside two loops): it never asks for targets, gives up after login_timeout, and crashes in cleaning up.
discovery() {
    local _
    for _ in 1 2; do
        if timeout 60 iscsiadm -m discovery "$@" </dev/null; then return 0; fi
    done
    return 1
}

# sessions: those with a target. A discovery that crashed leaves one behind that has none.
sessions() {
    local session
    for session in /sys/class/iscsi_session/*; do
        if cat "$session/targetname" >/dev/null 2>&1; then basename "$session"; fi
    done | sort
}

# iscsi_session SESSION [DISKS]: HOST is its SCSI host then, DISK its first disk, DISKS all
iscsi_session() {
    [ -n "$1" ] || return 1
    HOST=$(readlink -f "/sys/class/iscsi_session/$1" | grep -o 'host[0-9]*' | tail -n 1)
    until_true 30 disks_of "$HOST" "${2:-1}" || return 1
    disks_of "$HOST" "${2:-1}"
}

# node ARG...: iscsiadm on the record of the target
node() { iscsiadm -m node -T "$(target_iqn)" "$@"; }

# iscsi_logout: leaves every target
iscsi_logout() {
    [ -z "$(sessions)" ] || timeout 120 iscsiadm -m node -u || true
    until_true 30 iscsi_gone || return 1
    [ "$TARGET" != pagecast ] || until_true 15 no_sessions
}
iscsi_gone() { [ -z "$(sessions)" ] && ! compgen -G '/sys/block/sd*'; }

initiator_logout() {
    local status=0
    iscsi_logout || status=1
    if [ -n "${ISCSID:-}" ]; then
        kill "$ISCSID" 2>/dev/null || true
        wait "$ISCSID" 2>/dev/null || true
    fi
    return $status
}
