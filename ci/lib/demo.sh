#!/bin/bash
# The guest's part of ci/demo.
# shellcheck source=guest.sh
. "$(dirname "$0")/guest.sh"

tell() { printf '[%4d s] %s\n' "$(cut -d. -f1 /proc/uptime)" "$*"; }
mib() { echo $(($1 >> 20)); }

BACKING=ext4 size=192
scenario "demo" >/dev/null
net_up >/dev/null
tell "Linux $(uname -r) is up, with the software RDMA device rxe0 on $IPV4."

file=$(backing $size)
CONFIG_EXTRA='{"io_engine": "threads"}' target_start "$file" # so that /proc counts what the daemon reads
tell "pagecastd serves $file ($size MiB on ext4) as the SRP target 'store'."

line=$(target_line)
srp_module
tell "The kernel's initiator logs in with the line that 'pagecast target show store' prints:"
printf '           echo "%s" > add_target\n' "$line"
srp_login "$line" || fail "login"
tell "$DISK is there: $(lsscsi -s | grep "$DISK" | tr -s ' ')"

mkfs.ext4 -q -F "$DISK"
mkdir -p /run/mnt
mount "$DISK" /run/mnt
cp -r /usr/include/linux /run/tree
head -c 32M /run/random.bin >/run/tree/large
cp -r /run/tree /run/mnt/
umount /run/mnt
tell "Made an ext4 file system on it and copied $(find /run/tree -type f | wc -l) files to it, $(du -sm /run/tree | cut -f1) MiB."
blockdev --flushbufs "$DISK"
mount "$DISK" /run/mnt
diff -r /run/tree /run/mnt/tree || fail "the files are the same after a remount"
umount /run/mnt
tell "Unmounted, mounted again, compared: every byte of every file is right."

all_warm() { [ "$(device_counter disk0 pinned_bytes)" -ge $((size << 20)) ]; }
for pass in first second; do
    [ $pass = first ] || until_true 60 all_warm || true
    read_before=$(device_counter disk0 read_bytes)
    zero_before=$(device_counter disk0 read_bytes_zero_copy)
    rchar_before=$(rchar "$PAGECASTD") cpu_before=$(cpu_ms "$PAGECASTD") began=$SECONDS
    same "$DISK" "$file" || fail "the disk's bytes are the file's"
    read=$(($(device_counter disk0 read_bytes) - read_before))
    zero=$(($(device_counter disk0 read_bytes_zero_copy) - zero_before))
    tell "Read the whole disk a $pass time, $(mib "$read") MiB in $((SECONDS - began + 1)) s, and compared it with the file: the same."
    printf '           Straight from the page cache, without a copy: %d %%. The daemon used %d ms of CPU time,\n' \
        $((zero * 100 / read)) $(($(cpu_ms "$PAGECASTD") - cpu_before))
    printf '           and its read calls returned %d MiB (rchar in /proc/PID/io).\n' \
        "$(mib $(($(rchar "$PAGECASTD") - rchar_before)))"
done

dmesg_clean || fail "the kernel's log has no warning"
srp_logout
pagecastd_stop || fail "pagecastd ends with status 0"
tell "Logged out; pagecastd ended in order; the kernel's log has no warning. That was it."
