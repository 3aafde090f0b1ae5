#!/bin/bash
# Resets while I/O runs, and a target that dies and comes back while I/O runs: nothing is lost.
# shellcheck source=../../../ci/lib/guest.sh
. "$(dirname "$0")/../../../ci/lib/guest.sh"

scenario "recovery"
file=$(backing 64)
target_start "$file"
# I/O waits for the target, for two minutes
srp_module reconnect_delay=1 fast_io_fail_tmo=off dev_loss_tmo=120
check "login" srp_login "$(target_line),ch_count=2"

# What a reset aborts, the target may well not answer: then the initiator finds out when its timer ends.
echo 10 >"/sys/block/${DISK#/dev/}/device/timeout"

# beside COMMAND...: runs it while fio writes, and waits for fio's verdict
beside() {
    local status=0
    # long enough for what happens beside it
    fio_verify --loops=3 --size=$((SMALLER > 1 ? 24 : 48))m >/run/fio.log 2>&1 &
    local fio=$!
    busy || status=1
    "$@" || status=1
    if ! kill -0 $fio; then echo "fio was through before the reset"; status=1; fi
    wait $fio || { cat /run/fio.log; status=1; }
    return $status
}
resets() {
    local _
    for _ in 1 2 3; do
        timeout 60 sg_reset "$@" "$DISK" || return 1
        sleep 1
    done
}
check "fio verifies beside LUN resets" beside resets -N -d
check "fio verifies beside host resets" beside resets -N -H
no_io_error() { ! dmesg_has 'I/O error, dev sd'; }
crash_and_return() { target_crash; sleep 3; target_again; }
check "fio verifies beside a target that was killed and came back" beside crash_and_return
check "the target is well" target_alive
check "the bytes are those in the file" same "$DISK" "$file"
check "no error reached the file system's side" no_io_error
