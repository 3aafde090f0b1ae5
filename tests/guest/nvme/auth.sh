#!/bin/bash
# DH-HMAC-CHAP: the right key and no other, both ways, with and without a Diffie-Hellman group, when a controller comes back too.
# shellcheck source=../../../ci/lib/guest.sh
. "$(dirname "$0")/../../../ci/lib/guest.sh"
# shellcheck source=../../../ci/lib/nvme.sh
. "$ROOT/ci/lib/nvme.sh"

scenario "DH-HMAC-CHAP"
file=$(backing 16)
check "the host is up" nvme_up

# key [ARG...]: a new one, as an administrator makes it
key() { nvme gen-dhchap-key -n "$HOSTNQN" "$@" | grep -o 'DHHC-1:[^ ]*'; }
# serve KEY [CONTROLLER_KEY [GROUP]]: the target, which wants that key of everybody
serve() {
    if [ "$TARGET" = pagecast ]; then
        TARGET_EXTRA=$(jq -nc --arg key "$1" --arg own "${2:-}" --arg group "${3:-}" '{dhchap: ({key: $key}
            + if $own == "" then {} else {controller_key: $own} end
            + {groups: [if $group == "" then "null" else $group end]})}') target_start "$file"
    else
        target_start "$file" && nvmet_secrets "$@"
    fi
}
refused() {
    ! nvme_connect "$@" || return 1
    # it is over, not to be tried again later
    no_controllers
}
no_secret() { ! grep -E "$(printf '%s|' "$@" | sed 's/|$//; s/DHHC-1://g')" $LOG; }
plain=$(key -m 0) hashed=$(key -m 1) long=$(key -m 3 -l 64) wrong=$(key -m 1)

step "one way"
serve "$hashed"
check "no key is refused" refused
check "a wrong key is refused" refused -S "$wrong"
check "the right key connects" nvme_connect -S "$hashed" -c 1 -l 60
check "the bytes are the file's" same "$DISK" "$file"
reconnects() { timeout 90 nvme reset "$NVME" && until_true 60 nvme_live; }
check "a reset authenticates again" reconnects
check "so does a host whose target was away" eval 'target_crash; sleep 2; target_again; until_true 60 nvme_live'
check "the bytes are the file's" same "$DISK" "$file" 4
check "disconnect" nvme_disconnect
check "a host that wants proof does not get any" refused -S "$hashed" -C "$long"
target_stop

step "both ways"
serve "$plain" "$long"
check "both sides prove themselves" nvme_connect -S "$plain" -C "$long"
check "the bytes are the file's" same "$DISK" "$file" 4
check "disconnect" nvme_disconnect
# The kernel's target does not answer a host that says so, which then waits for it for minutes.
[ "$TARGET" = nvmet ] || check "a target with another key than the host knows is left" refused -S "$plain" -C "$wrong"
check "a host that asks for no proof connects" nvme_connect -S "$plain"
check "disconnect" nvme_disconnect
target_stop

step "with a Diffie-Hellman group"
serve "$long" "$hashed" ffdhe2048
check "the right keys connect" nvme_connect -i 1 -S "$long" -C "$hashed"
check "the bytes are the file's" same "$DISK" "$file" 4
check "disconnect" nvme_disconnect
check "a wrong one is refused" refused -i 1 -S "$wrong"
check "the target is well" target_alive
[ "$TARGET" != pagecast ] || check "no key is in its log" no_secret "$plain" "$hashed" "$long" "$wrong"
