#!/bin/bash
# open-iscsi finds the target over RDMA and logs in with the commands that it prints; a file system keeps what is copied there.
# shellcheck source=../../../ci/lib/guest.sh
. "$(dirname "$0")/../../../ci/lib/guest.sh"
# shellcheck source=../../../ci/lib/iscsi.sh
. "$ROOT/ci/lib/iscsi.sh"

scenario "discovery, disk and file system"
file=$(backing 128)
target_start "$file"
check "open-iscsi is up" iscsi_up
check "the commands that the target prints log in" iscsi_login iser
# shellcheck disable=SC2016 # eval expands it
check "over iSER" eval 'iscsiadm -m session | grep "^iser:"'
check "the disk has the file's size" [ "$(blockdev --getsize64 "$DISK")" = "$(stat -c %s "$file")" ]
check "and its first bytes" same "$DISK" "$file" 8
check "the kernel's log has no warning" dmesg_clean

checks_of_a_file_system
check "logout" iscsi_logout
