#!/bin/bash
# The printed line gives a disk that sd likes; a file system on it keeps what is copied there.
# shellcheck source=../../../ci/lib/guest.sh
. "$(dirname "$0")/../../../ci/lib/guest.sh"

scenario "disk and file system"
file=$(backing 128)
target_start "$file"
srp_module
check "the line that the target prints logs in" srp_login "$(target_line)"
check "the disk has the file's size" [ "$(blockdev --getsize64 "$DISK")" = "$(stat -c %s "$file")" ]
check "and its first bytes" same "$DISK" "$file" 8
check "the kernel's log has no warning" dmesg_clean

checks_of_a_file_system
