#!/bin/bash
# Resets, paths that come and go, a target that dies and comes back, a host that leaves in the middle: nothing is lost.
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

step "fewer queues than before, and as many again"
jq '.shards = 1 | .nvme_io_queues = 1' $STATE/config.json >$STATE/fewer.json
fewer() {
    target_crash
    pagecastd_start --config $STATE/fewer.json
}
as_many() {
    target_crash
    pagecastd_start --config $STATE/config.json
}
# with the admin queue
queues() { nvme_live && [ "$(cat "/sys/class/nvme/${NVME##*/}/queue_count")" = "$1" ]; }
check "there are two" queues 3
check "fio verifies beside a target that comes back with one queue" beside fewer
check "there is one" until_true 30 queues 2
check "fio verifies beside a target that comes back with all of them" beside as_many
check "there are two" until_true 30 queues 3
check "the bytes are those in the file" same "$DISK" "$file"
