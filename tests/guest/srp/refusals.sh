#!/bin/bash
# Logins that must be refused, with the reason that the standard has for them; an address family; an orderly end.
# shellcheck source=../../../ci/lib/guest.sh
. "$(dirname "$0")/../../../ci/lib/guest.sh"

scenario "refusals, IPv6, SIGTERM"
file=$(backing 16)
other=$(backing 16)
target_start "$file" "$other"
line=$(target_line)
srp_module

refused() { ! srp_login "$1"; }
wrong=$(sed -E 's/id_ext=(0x)?[0-9a-fA-F]{4}/id_ext=dead/' <<<"$line")
check "a wrong id_ext is refused" refused "$wrong"
check "with reason 0x00010003, unable to associate" dmesg_has 'LOGIN REJECTED, reason 0x00010003'
wrong=$(sed -E 's/ioc_guid=(0x)?[0-9a-fA-F]{4}/ioc_guid=dead/' <<<"$line")
check "a wrong ioc_guid is refused" refused "$wrong"
check "the listener lives on" srp_login "$line" 2
# shellcheck disable=SC2016 # eval expands it
check "both disks have their own bytes" eval 'same "${DISKS[0]}" "$file" && same "${DISKS[1]}" "$other"'
check "logout" srp_logout

check "login over IPv6" srp_login "$(target_line ipv6)" 2
check "and the bytes are right" same "$DISK" "$file"
[ "$TARGET" != lio ] || exit 0

step "SIGTERM with a session open"
for port in /sys/class/srp_remote_ports/port-*; do echo 1 >"$port/fast_io_fail_tmo"; done
check "pagecastd exits with 0" pagecastd_stop
check "logout" srp_logout

step "an initiator that no group admits"
INITIATORS='["0x00000000000000000000000000000001"]' target_start "$file" "$other"
check "is refused" refused "$(target_line)"
check "with reason 0x00010006" dmesg_has 'LOGIN REJECTED, reason 0x00010006'
check "pagecastd is well" target_alive
