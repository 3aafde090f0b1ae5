#!/bin/bash
# A target that does not answer until the host gives it up, and a host that does not until the target gives it up: both go on.
# shellcheck source=../../../ci/lib/guest.sh
. "$(dirname "$0")/../../../ci/lib/guest.sh"
# shellcheck source=../../../ci/lib/nvme.sh
. "$ROOT/ci/lib/nvme.sh"

[ "$TARGET" = pagecast ] || { step "$NAME: the kernel's target cannot be stopped"; exit 0; }
scenario "keep-alive"
file=$(backing 64)
target_start "$file"
check "the host is up" nvme_up
check "connect" nvme_connect --reconnect-delay=1 --ctrl-loss-tmo=120 --keep-alive-tmo=5

step "a target that does not answer"
stop_and_continue() {
    kill -STOP "$PAGECASTD"
    until_true 60 dmesg_has 'keep.alive|I/O timeout|starting error recovery'
    local status=$?
    kill -CONT "$PAGECASTD"
    return $status
}
check "fio verifies beside one that the host gave up, and that went on" beside stop_and_continue
check "the controller is live again" until_true 60 nvme_live
check "one session is left" until_true 30 eval 'ctl session list | jq -e ".sessions | length == 1"'
check "the bytes are those in the file" same "$DISK" "$file"
check "disconnect" nvme_disconnect

step "a host that does not answer"
# The kernel's keep-alives are work of one queue, which another target's silence can hold: with one place in it, a scan of
# that target waits there for an answer.
places=/sys/devices/virtual/workqueue/nvme-wq/max_active
usual=$(cat $places)
# also when a check fails before
initiator_logout() {
    echo "$usual" >$places
    if [ -n "${mute:-}" ]; then kill -CONT "$mute"; fi
    nvme_logout
}
mute_state=/run/mute
mkdir -p $mute_state
jq '.targets[0].portals |= map(.port = 4421) | .targets[0].nqn = "nqn.2026-11.org.example:mute" | .devices[0] |= {name, backend: "memory", size: "1MiB"}' \
    $STATE/config.json >$mute_state/config.json
"$ROOT/build/release/pagecastd" --state-dir $mute_state --socket $mute_state/socket --config $mute_state/config.json >$mute_state/out 2>&1 &
mute=$!
check "a second target is there" until_true 30 grep -qx ready $mute_state/out
check "a host with a short keep-alive time-out connects to the first" nvme_connect -c 1 -l 120 -k 2
silence() {
    timeout 60 nvme connect "${NVME_AT[@]}" -s 4421 -n nqn.2026-11.org.example:mute -i 1 -k 60 -c 1 -l 30 || return 1
    sleep 2
    MUTE=$(nvme_controllers nqn.2026-11.org.example:mute)
    kill -STOP "$mute"
    echo 1 >$places
    timeout 30 nvme ns-rescan "$MUTE"
}
check "and falls silent" silence
check "the target drops it" until_true 40 no_sessions
echo "$usual" >$places
kill -CONT "$mute"
check "it connects again when it can" until_true 90 eval 'nvme_live && ! no_sessions'
check "the bytes are those in the file" same "$DISK" "$file" 4
check "disconnect" initiator_logout
kill "$mute"
wait "$mute" || true
mute=
