#!/bin/bash
# Every way in which ib_srp describes a buffer: direct, indirect, indirect with the table in its own memory, immediate.
# shellcheck source=../../../ci/lib/guest.sh
. "$(dirname "$0")/../../../ci/lib/guest.sh"

scenario "data descriptors and channels"
file=$(backing 64)
target_start "$file"
line=$(target_line)

# A buffer of pages that do not follow one another in memory: fio maps this file. Each page is a descriptor then.
scattered() {
    local buffer=/dev/shm/scattered
    [ -e $buffer ] || perl -MList::Util=shuffle -e '
        open(my $f, "+>", $ARGV[0]) or die; truncate($f, 4096 * $ARGV[1]);
        for my $page (shuffle 0 .. $ARGV[1] - 1) { sysseek($f, 4096 * $page, 0); syswrite($f, "x" x 4096) }
    ' $buffer 4096
    fio_verify --bsrange=32k-256k --mem=mmapshared:$buffer "$@"
}

step "one registered region for each command: direct descriptors"
for immediate in Y N; do
    srp_module use_imm_data=$immediate
    check "login, use_imm_data=$immediate" srp_login "$line"
    check "fio verifies" fio_verify --size="$(fio_mib 24)"
    check "fio of small writes verifies" fio_verify --size=1m --bsrange=512-8k
    check "logout" srp_logout
done

step "no registration: a descriptor for each run of pages, all in the command"
srp_module never_register=Y cmd_sg_entries=255 use_imm_data=N
check "login, ch_count=4, cmd_sg_entries=255, allow_ext_sg=1" \
    srp_login "$line,ch_count=4,cmd_sg_entries=255,allow_ext_sg=1"
check "there are 4 channels" [ "$(cat "/sys/class/scsi_host/$HOST/ch_count")" = 4 ]
check "fio verifies" scattered
check "fio verifies on all channels" fio_verify --size="$(fio_mib 8)" --numjobs=4 --offset_increment=8m --group_reporting
check "logout" srp_logout
check "the kernel's log has no warning" dmesg_clean

# LIO's kernel oopses on such a command (seen on 7.2: "0 out + 2 in != 1952 / 16", then target_send_busy):
# that is how we know that these parameters make the initiator keep its tables.
[ "$TARGET" != lio ] || exit 0
for parameters in "cmd_sg_entries=2 never_register=Y" "cmd_sg_entries=1 never_register=Y use_imm_data=N"; do
    step "tables in the initiator's memory: $parameters"
    # shellcheck disable=SC2086
    srp_module $parameters indirect_sg_entries=128 allow_ext_sg=Y
    check "login" srp_login "$line"
    check "fio verifies" scattered
    check "the bytes are those in the file" same "$DISK" "$file"
    check "logout" srp_logout
done
check "the kernel's log has no warning" dmesg_clean
