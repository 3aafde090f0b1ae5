#!/bin/bash
# Reading a disk whose file is in the page cache: every byte right, and next to none of them copied by the daemon.
# shellcheck source=../../../ci/lib/guest.sh
. "$(dirname "$0")/../../../ci/lib/guest.sh"

scenario "zero copy"
size=128
file=$(backing $size)
CONFIG_EXTRA='{"io_engine": "threads"}' target_start "$file"
srp_module
check "login" srp_login "$(target_line)"

[ "$TARGET" != lio ] || { check "every byte is right" same "$DISK" "$file"; exit 0; }

checks_of_zero_copy "$file" $size
