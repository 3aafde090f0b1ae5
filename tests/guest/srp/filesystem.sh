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

step "mkfs, copy, unmount, remount, compare"
tree=/run/tree
if [ ! -d $tree ]; then
    mkdir -p $tree
    # some thousand small files in nested folders, and a few large ones
    cp -a /usr/include/linux /etc $tree/ 2>/dev/null || true
    head -c 20000000 /run/random.bin >$tree/large
fi
check "mkfs.ext4" mkfs.ext4 -q -F "$DISK"
mkdir -p /run/mnt
mount "$DISK" /run/mnt
check "a tree is copied" cp -a $tree /run/mnt/
check "unmount" umount /run/mnt
blockdev --flushbufs "$DISK"
mount "$DISK" /run/mnt
check "the tree is the same after a remount" diff -r --no-dereference $tree /run/mnt/tree
umount /run/mnt
check "fsck finds nothing" fsck.ext4 -f -n "$DISK"

check "fio's random writes of mixed sizes verify" fio_verify
check "the kernel's log still has no warning" dmesg_clean
