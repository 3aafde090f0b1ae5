#!/bin/bash
# Families of libiscsi's suite through the SCSI generic driver: what they say of a disk over TCP holds over SRP.
# ci/conformance runs all of them natively. Left out here is what needs iSCSI, two nexuses, or more in one command than the tool
# sends to /dev/sg (120 KiB), and what an emulated machine takes minutes for.
# shellcheck source=../../../ci/lib/guest.sh
. "$(dirname "$0")/../../../ci/lib/guest.sh"

scenario "libiscsi's suite"
file=$(backing 64)
target_start "$file"
srp_module
check "login" srp_login "$(target_line)"
sg=/dev/$(ls "/sys/block/${DISK#/dev/}/device/scsi_generic")
families=(Inquiry Mandatory ModeSense6 Read16 ReadCapacity16 ReportLUNs ReportSupportedOpcodes TestUnitReady Verify16 Write16)
"$ROOT/ci/conformance" --url "$sg" "${families[@]/#/SCSI.}" || fail "the suite has nothing to say against it"
check "the target is well" target_alive
check "the disk's bytes are those in the file" same "$DISK" "$file"
