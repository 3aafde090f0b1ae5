#!/bin/bash
# Reading a disk whose file is in the page cache: every byte right, and next to none of them copied by the daemon.
# shellcheck source=../../../ci/lib/guest.sh
. "$(dirname "$0")/../../../ci/lib/guest.sh"
# shellcheck source=../../../ci/lib/iscsi.sh
. "$ROOT/ci/lib/iscsi.sh"

scenario "zero copy"
size=128
file=$(backing $size)
CONFIG_EXTRA='{"io_engine": "threads"}' target_start "$file"
check "open-iscsi is up" iscsi_up
check "login" iscsi_login iser

[ "$TARGET" != lio ] || { check "every byte is right" same "$DISK" "$file"; exit 0; }

checks_of_zero_copy "$file" $size
