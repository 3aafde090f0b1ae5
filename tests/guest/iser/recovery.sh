#!/bin/bash
# Resets while I/O runs, and a target that dies and comes back, to one session and to eight: nothing is lost.
# shellcheck source=../../../ci/lib/guest.sh
. "$(dirname "$0")/../../../ci/lib/guest.sh"
# shellcheck source=../../../ci/lib/iscsi.sh
. "$ROOT/ci/lib/iscsi.sh"

scenario "recovery"
file=$(backing 64)
target_start "$file"
check "open-iscsi is up" iscsi_up
check "login" iscsi_login iser
# What a reset aborts, the target may well not answer: then the initiator finds out when its timer ends.
echo 10 >"/sys/block/${DISK#/dev/}/device/timeout"

check "fio verifies beside LUN resets" beside resets -N -d
check "fio verifies beside target resets" beside resets -N -t
check "fio verifies beside a target that was killed and came back" beside crash_and_return
check "the target is well" target_alive
check "the bytes are those in the file" same "$DISK" "$file"
check "no error reached the file system's side" no_io_error
check "logout" iscsi_logout

step "eight initiators, each with a session of its own"
# so that all read and write something else
eight() {
    local n
    discovery -t sendtargets -p "$IPV4:$ISCSI_PORT" -I iser || return 1
    for n in 1 2 3 4 5 6 7 8; do
        iscsiadm -m iface -I "i$n" -o new &&
            iscsiadm -m iface -I "i$n" -o update -n iface.transport_name -v iser &&
            iscsiadm -m iface -I "i$n" -o update -n iface.initiatorname -v "$INITIATOR-$n" &&
            node -p "$IPV4:$ISCSI_PORT" -I "i$n" -o new &&
            node -p "$IPV4:$ISCSI_PORT" -I "i$n" --login || return 1
    done
    SESSIONS=$(sessions)
    [ "$(wc -l <<<"$SESSIONS")" = 8 ] && disks_of_all
}
disks_of_all() {
    local session
    ALL=()
    for session in $SESSIONS; do
        iscsi_session "$session" || return 1
        ALL+=("$DISK")
    done
}
check "they log in" eight
[ "$TARGET" = lio ] || {
    names() { ctl session list | jq -r '.sessions[] | "\(.transport) \(.initiator)"' | sort; }
    wanted() { for n in 1 2 3 4 5 6 7 8; do echo "iser $INITIATOR-$n"; done; }
    check "the daemon knows them by their names" diff <(names) <(wanted)
}

# every_session COMMAND...: with fio on each of the disks, each on its own eighth of it
every_session() {
    local n=0 disk status=0 pids=()
    for disk in "${ALL[@]}"; do
        fio --name=eighth --filename="$disk" --direct=1 --ioengine=libaio --iodepth=4 --rw=randwrite --bs=16k \
            --offset=$((n * 8))m --size=8m --io_size=$((SMALLER > 1 ? 4 : 16))m --loops=2 --verify=crc32c --verify_fatal=1 \
            --output=/run/fio.$n >/dev/null 2>&1 &
        pids+=($!) n=$((n + 1))
    done
    DISK=${ALL[0]}
    busy || status=1
    "$@" || status=1
    for n in "${!pids[@]}"; do wait "${pids[n]}" || { status=1; tail -n 20 /run/fio.$n; }; done
    return $status
}
recovered() { [ "$(cat /sys/class/iscsi_session/*/state | grep -c LOGGED_IN)" = 8 ]; }
check "fio verifies on all of them beside a target that was killed and came back" every_session crash_and_return
check "all sessions are logged in again" until_true 60 recovered
check "they are the same sessions" [ "$SESSIONS" = "$(sessions)" ]
check "no error reached the file system's side" no_io_error
check "logout" iscsi_logout
