#!/bin/bash
# Reading a disk whose file is in the page cache: every byte right, and next to none of them copied by the daemon.
# shellcheck source=../../../ci/lib/guest.sh
. "$(dirname "$0")/../../../ci/lib/guest.sh"
# shellcheck source=../../../ci/lib/nvme.sh
. "$ROOT/ci/lib/nvme.sh"

scenario "zero copy"
size=128
file=$(backing $size)
CONFIG_EXTRA='{"io_engine": "threads"}' target_start "$file"
check "the host is up" nvme_up
check "connect" nvme_connect

[ "$TARGET" != nvmet ] || { check "every byte is right" same "$DISK" "$file"; exit 0; }

checks_of_zero_copy "$file" $size
