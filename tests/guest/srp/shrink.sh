#!/bin/bash
# A backing file that shrinks under the daemon: errors where there is nothing to read, and nothing else goes wrong.
# shellcheck source=../../../ci/lib/guest.sh
. "$(dirname "$0")/../../../ci/lib/guest.sh"

scenario "a backing file that shrinks"
file=$(backing 64)
other=$(backing 16)
target_start "$file" "$other"
srp_module
check "login" srp_login "$(target_line)" 2
# a part that was read before, and so may be registered, and a part that was not
check "the last quarter is readable" cmp <(dd if="$DISK" iflag=direct bs=1M skip=48 status=none) <(tail -c 16M "$file")
sleep 2
truncate -s 32M "$file"

unreadable() { ! dd if="$DISK" of=/dev/null iflag=direct bs=64k count=1 skip="$(($1 * 16))"; }
check "a read past the end that is new fails" unreadable 40
check "a read past the end that worked before fails" unreadable 50
check "with a medium or hardware error" dmesg_has 'Sense Key : (Medium|Hardware) Error'
check "a read before the end is right" same "$DISK" "$file" 32
check "the other disk is right" same "${DISKS[1]}" "$other"
check "the target is well" target_alive
