#!/bin/bash
# libiscsi's suite through the SCSI generic driver: what it says of a disk over TCP holds over SRP.
# shellcheck source=../../../ci/lib/guest.sh
. "$(dirname "$0")/../../../ci/lib/guest.sh"

scenario "libiscsi's suite"
file=$(backing 64)
target_start "$file"
srp_module
check "login" srp_login "$(target_line)"
sg=/dev/$(ls "/sys/block/${DISK#/dev/}/device/scsi_generic")
"$ROOT/ci/conformance" --url "$sg" --expected "$ROOT/tests/conformance/libiscsi-sg.expected" || fail "the suite has nothing to say against it"
check "the target is well" target_alive
check "the disk's bytes are those in the file" same "$DISK" "$file"
