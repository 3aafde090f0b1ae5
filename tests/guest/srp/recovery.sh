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

check "fio verifies beside LUN resets" beside resets -N -d
check "fio verifies beside host resets" beside resets -N -H
check "fio verifies beside a target that was killed and came back" beside crash_and_return
check "the target is well" target_alive
check "the bytes are those in the file" same "$DISK" "$file"
check "no error reached the file system's side" no_io_error
