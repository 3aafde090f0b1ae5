#!/bin/bash
# Reading a disk whose file is in the page cache: every byte right, and next to none of them copied by the daemon.
# shellcheck source=../../../ci/lib/guest.sh
. "$(dirname "$0")/../../../ci/lib/guest.sh"

scenario "zero copy"
size=192
file=$(backing $size)
# what io_uring reads does not count in rchar; what preadv reads does
CONFIG_EXTRA='{"io_engine": "threads"}' target_start "$file"
srp_module
check "login" srp_login "$(target_line)"

[ "$TARGET" != lio ] || { check "every byte is right" same "$DISK" "$file"; exit 0; }

step "first read: staged, for the most part"
before=$(rchar "$PAGECASTD")
check "every byte is right" same "$DISK" "$file"
staged=$(($(rchar "$PAGECASTD") - before))
check "the daemon's rchar grew with what it staged ($staged bytes)" [ $staged -gt $((1 << 20)) ]

step "second read: from the page cache"
warm() { [ "$(device_counter disk0 pinned_bytes)" -ge $((size << 20)) ]; }
check "all of the file is in registered windows" until_true 60 warm
before=$(rchar "$PAGECASTD")
counted=$(device_counter disk0 read_bytes_zero_copy)
cpu=$(cpu_ms "$PAGECASTD")
check "every byte is right again" same "$DISK" "$file"
grown=$(($(rchar "$PAGECASTD") - before))
counted=$(($(device_counter disk0 read_bytes_zero_copy) - counted))
step "$counted of $((size << 20)) bytes zero-copy, rchar grew by $grown, CPU time by $(($(cpu_ms "$PAGECASTD") - cpu)) ms"
check "at least 99 % were read without a copy" [ $((counted * 100)) -ge $(((size << 20) * 99)) ]
check "the daemon's rchar grew by less than 1 MiB" [ $grown -lt $((1 << 20)) ]

step "what is written is what is read next"
offset=$((size / 2))
dd if=/run/random.bin of="$DISK" bs=1M count=8 seek=$offset oflag=direct conv=notrunc status=none
check "through the disk" cmp -n $((8 << 20)) <(dd if="$DISK" bs=1M count=8 skip=$offset iflag=direct status=none) /run/random.bin
check "and in the file" cmp -n $((8 << 20)) <(dd if="$file" bs=1M count=8 skip=$offset status=none) /run/random.bin

step "nothing to do, with a session open"
cpu=$(cpu_ms "$PAGECASTD")
sleep 5
cpu=$(($(cpu_ms "$PAGECASTD") - cpu))
check "the idle daemon takes less than 1 % of a CPU ($cpu ms in 5 s)" [ $cpu -lt 50 ]
check "the kernel's log has no warning" dmesg_clean
