#!/bin/bash
# What administrators' tools make of a disk: identity, capabilities, and the commands that file systems and clusters use.
# shellcheck source=../../../ci/lib/guest.sh
. "$(dirname "$0")/../../../ci/lib/guest.sh"

scenario "SCSI commands"
file=$(backing 32)
other=$(backing 32)
target_start "$file" "$other"
srp_module
check "login" srp_login "$(target_line)" 2
sg_of() { printf '/dev/%s\n' "$(ls "/sys/block/${1#/dev/}/device/scsi_generic")"; }
SG=$(sg_of "${DISKS[0]}") OTHER=$(sg_of "${DISKS[1]}")

# says WORDS COMMAND...: it succeeds, and its output has the words
says() {
    local words=$1
    shift
    "$@" >/run/says.out 2>&1 || { cat /run/says.out; return 1; }
    grep -Eq "$words" /run/says.out || { cat /run/says.out; return 1; }
}
# ends_with STATUS COMMAND...
ends_with() {
    local wanted=$1 status=0
    shift
    "$@" || status=$?
    [ $status = "$wanted" ] || { echo "exit status $status, not $wanted"; return 1; }
}
# in_file FILE LBA BLOCKS BYTES: the file has there what the file BYTES begins with
in_file() { cmp -n $(($3 * 512)) <(dd if="$1" bs=512 skip="$2" count="$3" status=none) "$4"; }

step "what it is"
check "INQUIRY" says 'Peripheral device type: disk' sg_inq "$SG"
for page in sv sn di bl bdc lbpv ei; do
    check "VPD page $page" sg_vpd -p $page "$SG"
done
check "it is thin provisioned" says 'Unmap command supported \(LBPU\): 1' sg_vpd -p lbpv "$SG"
check "REPORT LUNS" says 'Lun list length = 16' sg_luns "$SG"
check "TEST UNIT READY" sg_turs -n 20 "$SG"
check "READ CAPACITY (16)" says 'Last LBA=65535' sg_readcap -l "$SG"
check "mode pages" says 'Caching' sg_modes -a "$SG"
check "log pages" sg_logs -a "$SG"
check "REPORT SUPPORTED OPERATION CODES" says 'Compare and write' sg_opcodes "$SG"
check "with timeouts" sg_opcodes --rctd "$SG"
check "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS" says 'Logical unit reset' sg_opcodes --tmf "$SG"
check "REPORT TARGET PORT GROUPS" says 'active/optimized' sg_rtpg -d "$SG"

step "what changes it"
head -c 4096 /run/random.bin | tr '\0-\377' '\1-\377\0' >/run/new
tr '\0-\377' '\377' </run/new >/run/ones
(head -c 512 "$file" && head -c 512 /run/new) >/run/exchange
check "COMPARE AND WRITE of what is there" sg_compare_and_write \
    --in=/run/exchange --lba=0 --num=1 --xferlen=1024 "$SG"
check "writes" in_file "$file" 0 1 /run/new
check "of what is not there is a miscompare" ends_with 14 sg_compare_and_write \
    --in=/dev/zero --lba=0 --num=1 --xferlen=1024 "$SG"
check "and writes nothing" in_file "$file" 0 1 /run/new
check "VERIFY" sg_verify --lba=0 --count=128 "$SG"
check "VERIFY of bytes that are there" sg_verify --ndo=512 --count=1 --lba=0 --in=/run/new "$SG"
check "of others is a miscompare" ends_with 14 sg_verify --ndo=512 --count=1 --lba=1 --in=/run/new "$SG"
check "WRITE SAME (16)" sg_write_same --16 --lba=16 --num=8 --in=/run/new --xferlen=512 "$SG"
check "writes every block" in_file "$file" 23 1 /run/new
check "WRITE SAME (10)" sg_write_same --10 --lba=24 --num=1 --in=/run/new --xferlen=512 "$SG"
check "WRITE SAME with UNMAP" sg_write_same --16 --unmap --lba=2048 --num=2048 --in=/dev/zero --xferlen=512 "$SG"
check "reads as zeros" in_file "$file" 2048 2048 /dev/zero
check "UNMAP" sg_unmap --lba=8192 --num=8192 "$SG"
check "reads as zeros" in_file "$file" 8192 8192 /dev/zero
check "GET LBA STATUS knows that it is unmapped" says 'deallocated|1  ' sg_get_lba_status --lba=8192 "$SG"
check "SYNCHRONIZE CACHE" sg_sync "$SG"
check "PRE-FETCH" sg_seek --pre-fetch --lba=0 --num-blocks=2048 "$SG"
check "WRITE AND VERIFY" sg_write_verify --16 --lba=40 --num=8 --in=/run/new "$SG"
check "writes" in_file "$file" 40 8 /run/new
check "ORWRITE" sg_write_x --or --16 --lba=40 --num=8 --in=/run/ones --bs=512 "$SG"
check "ors" in_file "$file" 40 8 /run/ones

step "EXTENDED COPY"
check "from disk to disk" sg_xcopy if="$SG" of="$OTHER" bs=512 count=2048 seek=4096
check "the bytes are the same" cmp -n $((2048 * 512)) "$file" <(dd if="$other" bs=512 skip=4096 count=2048 status=none)

step "what it does not know"
check "an unknown command is an illegal request" ends_with 9 sg_raw "$SG" ee 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
check "a read past the end as well" ends_with 22 sg_raw -r 512 "$SG" 28 00 ff ff ff fe 00 00 01 00

step "resets"
for kind in -d -H; do
    check "sg_reset $kind" sg_reset -N $kind "$SG"
    check "the disk is there" until_true 20 sg_turs "$SG"
done
check "the first disk's bytes are those in the file" same "${DISKS[0]}" "$file"
check "the second's too" same "${DISKS[1]}" "$other"
check "the target is well" target_alive
