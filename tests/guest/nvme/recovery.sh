#!/bin/bash
# Resets, paths that come and go, a target that dies, comes back or stops to answer, and a host that does: nothing is lost.
# shellcheck source=../../../ci/lib/guest.sh
. "$(dirname "$0")/../../../ci/lib/guest.sh"
# shellcheck source=../../../ci/lib/nvme.sh
. "$ROOT/ci/lib/nvme.sh"

scenario "recovery"
file=$(backing 64)
target_start "$file"
check "the host is up" nvme_up
# I/O waits for the target, for two minutes
patient=(--reconnect-delay=1 --ctrl-loss-tmo=120 --keep-alive-tmo=5)
check "connect" nvme_connect "${patient[@]}"

controller_resets() {
    local _
    for _ in 1 2 3; do
        timeout 60 nvme reset "$NVME" && until_true 30 nvme_live || return 1
        sleep 1
    done
}
check "fio verifies beside controller resets" beside controller_resets
check "no error reached the file system's side" no_io_error

step "a target that dies"
check "fio verifies beside a target that was killed and came back" beside crash_and_return
check "the target is well" target_alive
check "the controller is live again" until_true 30 nvme_live
check "it is the same" [ "$(nvme_controllers "$(target_nqn)")" = "$NVME" ]
check "the bytes are those in the file" same "$DISK" "$file"
check "no error reached the file system's side" no_io_error

step "two paths"
first=$NVME disk=$DISK
check "a second controller for the same disk" eval 'nvme_connect -a "$IPV6" "${patient[@]}" && [ "$DISK" = "$disk" ] && [ "$NVME" != "$first" ]'
leave_and_reset() { timeout 60 nvme disconnect -d "$first" && timeout 60 nvme reset "$NVME" && until_true 30 nvme_live; }
check "fio verifies while one leaves and the other is reset" beside leave_and_reset
check "one is left" [ "$(nvme_controllers "$(target_nqn)")" = "$NVME" ]
check "no error reached the file system's side" no_io_error

step "a host that leaves in the middle"
# fio fails then, as it must
fio_verify --loops=50 >/run/fio.log 2>&1 &
fio=$!
check "fio writes" busy
check "disconnect" nvme_disconnect
wait $fio || true
check "the target is well" target_alive
check "connect" nvme_connect "${patient[@]}"
check "the bytes are those in the file" same "$DISK" "$file"
[ "$TARGET" = pagecast ] || exit 0

step "fewer queues than before"
jq '.shards = 1' $STATE/config.json >$STATE/fewer.json
fewer() {
    target_crash
    pagecastd_start --config $STATE/fewer.json
}
check "fio verifies beside a target that comes back with one shard" beside fewer
check "the controller is live" until_true 30 nvme_live
check "the bytes are those in the file" same "$DISK" "$file"

step "a target that does not answer"
stop_and_continue() {
    kill -STOP "$PAGECASTD"
    until_true 60 dmesg_has 'keep.alive|I/O timeout|starting error recovery'
    local status=$?
    kill -CONT "$PAGECASTD"
    return $status
}
dmesg_mark
check "fio verifies beside one that the host gave up, and that went on" beside stop_and_continue
check "the controller is live again" until_true 60 nvme_live
check "one session is left" until_true 30 eval 'ctl session list | jq -e ".sessions | length == 1"'
check "the bytes are those in the file" same "$DISK" "$file"
check "disconnect" nvme_disconnect

step "a host that does not answer"
# The kernel's keep-alives are work of one queue, which another target's silence can hold: with one place in it, a scan of
# that target waits there for an answer.
places=/sys/devices/virtual/workqueue/nvme-wq/max_active
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
    kill -STOP $mute
    echo 1 >"$places"
    timeout 30 nvme ns-rescan "$MUTE"
}
check "and falls silent" silence
check "the target drops it" until_true 40 no_sessions
echo 256 >"$places"
kill -CONT $mute
check "it connects again when it can" until_true 90 eval 'nvme_live && ! no_sessions'
check "the bytes are those in the file" same "$DISK" "$file" 4
timeout 60 nvme disconnect-all
kill $mute
wait $mute || true
