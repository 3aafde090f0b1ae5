#!/bin/bash
# Fencing: a host under full write load is preempted, and after the status of the command nothing of it arrives any more; and
# fence_scsi, as a cluster runs it.
TRANSPORTS="srp iser nvme-rdma"
# shellcheck source=../../../ci/lib/guest.sh
. "$(dirname "$0")/../../../ci/lib/guest.sh"
# shellcheck source=../../../ci/lib/iscsi.sh
. "$ROOT/ci/lib/iscsi.sh"
# shellcheck source=../../../ci/lib/nvme.sh
. "$ROOT/ci/lib/nvme.sh"
# shellcheck source=../../../ci/lib/reservations.sh
. "$ROOT/ci/lib/reservations.sh"

[ "$TARGET" = pagecast ] || { step "$NAME: no other target has all three"; exit 0; }
scenario "fencing"
file=$(backing 16)
target_start "$file"
check "ib_srp, ib_iser and nvme-rdma log in" hosts_up
# what is aborted is not answered: the initiator finds out when its timer ends
for disk in "$SRP" "$ISER"; do echo 5 >"/sys/block/${disk#/dev/}/device/timeout"; done

# Every write of the victim's differs from what was there, so that one more shows; and they are large, so that there is much on its way.
# Ends with fio's status and its words in /run/victim.
victim() {
    fio --name=victim --filename="$1" --direct=1 --ioengine=libaio --iodepth=32 --rw=randwrite --bs=512k --size=16m \
        --time_based --runtime=120 --refill_buffers --randseed="$RANDOM" --output=/run/victim >/dev/null 2>/run/victim.err
}
# fence FENCER VICTIM KEY_OF_FENCER KEY_OF_VICTIM: it must be seen to write before
fence() {
    local fencer=$1 disk=$2 key=$3 other=$4 writer status=0 before
    block_pr "$disk" register "$other" && block_pr "$fencer" register "$key" && block_pr "$fencer" reserve "$key" 0 3 || return 1
    victim "$disk" &
    writer=$!
    DISK=$disk busy || { echo "the victim does not write"; return 1; }
    before=$(date +%s%N)
    # the copy is made the moment that the command has its status
    block_pr "$fencer" preempt-abort "$other" "$key" 3 && cp "$file" /run/after || status=1
    echo "preempted and copied within $((($(date +%s%N) - before) / 1000000)) ms"
    writes "$fencer" || { echo "the fencer cannot write"; status=1; }
    dd if=/run/random.bin of=/run/after bs=4096 count=1 seek=$PLACE conv=notrunc status=none
    sleep 3
    cmp "$file" /run/after || { echo "something arrived after the status"; status=1; }
    until_true 90 ended "$writer" || { echo "the victim goes on"; kill "$writer"; status=1; }
    if wait "$writer"; then echo "the victim has no error"; status=1; fi
    grep -hE 'Invalid exchange|err=' /run/victim.err /run/victim | head -n 3
    cmp "$file" /run/after || { echo "something arrived later"; status=1; }
    may "$disk" read && registered "$SRP" "0x$key" && block_pr "$fencer" clear "$key" || status=1
    return $status
}
ended() { ! kill -0 "$1" 2>/dev/null; }
step "preempt-abort under full write load"
check "NVMe fences SRP" fence "$NVM" "$SRP" c1 a1
check "SRP fences NVMe" fence "$SRP" "$NVM" a2 c2
check "iSER fences SRP" fence "$ISER" "$SRP" b4 a4
check "NVMe fences iSER" fence "$NVM" "$ISER" c5 b5
check "everybody writes again" eval 'for disk in "$SRP" "$ISER" "$NVM"; do writes "$disk" || false; done'

step "fence_scsi: the SRP disk is node 1, the iSER disk node 2"
command -v fence_scsi >/dev/null || { step "fence_scsi is not installed: ci/deps guest"; exit 0; }
rm -f /var/run/cluster.*
agent() { timeout 60 fence_scsi "$@"; }
# state KEY DISK: on or off
state() {
    local status=0
    agent -o status -k "$1" -d "$2" || status=$?
    case $status in 0) echo on ;; 2) echo off ;; *) echo "status $status" ;; esac | tee /run/state
}
check "node 1 is unfenced" agent -o on -k d1 -d "$SRP"
check "node 2 is unfenced" agent -o on -k d2 -d "$ISER"
check "both are on" eval 'state d1 "$ISER"; grep -qx on /run/state && state d2 "$ISER" && grep -qx on /run/state'
check "both are registered" registered "$SRP" 0xd1 0xd2
check "node 1 holds" held "$ISER" 0xd1 5
check "both write" eval 'writes "$SRP" && writes "$ISER"'
check "who is no node may only read" may "$NVM" read
check "node 2 fences node 1" agent -o off -k d1 -d "$ISER"
check "node 1 is off" eval 'state d1 "$ISER"; grep -qx off /run/state'
check "it is registered no more" registered "$ISER" 0xd2
check "it may only read" may "$SRP" read
check "node 2 writes" may "$ISER" 'read write'
check "and holds" held "$ISER" 0xd2 5
check "node 1 is unfenced again" agent -o on -k d1 -d "$SRP"
check "and writes" may "$SRP" 'read write'
check "the target is well" target_alive
check "no kernel has an oops" eval '! dmesg_has "BUG:|Oops|WARNING:"'
