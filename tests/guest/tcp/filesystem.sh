#!/bin/bash
# The kernel's own iSCSI initiator over TCP, with digests and without: a file system, verified writes, reads without a copy.
# shellcheck source=../../../ci/lib/guest.sh
. "$(dirname "$0")/../../../ci/lib/guest.sh"
# shellcheck source=../../../ci/lib/iscsi.sh
. "$ROOT/ci/lib/iscsi.sh"

scenario "iSCSI over TCP"
file=$(backing 64)
target_start "$file"
check "open-iscsi is up" iscsi_up
check "the commands that the target prints log in" iscsi_login iscsi-tcp
check "the disk has the file's bytes" same "$DISK" "$file"
checks_of_a_file_system
check "logout" iscsi_logout

step "header and data digests"
digests() {
    node -p "$IPV4:$ISCSI_PORT" -I default -o update -n 'node.conn[0].iscsi.HeaderDigest' -v CRC32C \
        -n 'node.conn[0].iscsi.DataDigest' -v CRC32C && node -p "$IPV4:$ISCSI_PORT" -I default --login
}
check "login" digests
check "the disk is there" iscsi_session "$(sessions)"
in_force() { [ "$(cat /sys/class/iscsi_connection/*/header_digest /sys/class/iscsi_connection/*/data_digest | tr '\n' ' ')" = "1 1 " ]; }
check "digests are in force" in_force
check "fio verifies" fio_verify
check "the bytes are those in the file" same "$DISK" "$file"
check "the kernel's log has no warning" dmesg_clean
check "logout" iscsi_logout
