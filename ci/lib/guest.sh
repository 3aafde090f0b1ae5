# What guest tests share. Sourced by the scripts in tests/guest, which ci/guest runs as root in a throw-away guest.
#
# A scenario is a process: `step` and `check` print TAP lines, the first check that fails ends it and shows the
# target's log and the kernel's messages, and whatever it started goes away with it.
#
# Set by the runner: BACKING (tmpfs or ext4) and TARGET (pagecast; or lio, the kernel's own target, which for NVMe is nvmet, to
# tell whether a failure is the test's or ours).
# shellcheck shell=bash
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# refuses to run anywhere else: the scripts make file systems and load modules
[ "${GUEST:-}" = 1 ] || { echo "run this with ci/guest run KERNEL $0" >&2; exit 2; }

BACKING=${BACKING:-tmpfs} TARGET=${TARGET:-pagecast}
# what sizes of fio's are divided by
SMALLER=${SMALLER:-1}
STATE=/run/pagecast
SOCKET=$STATE/control.sock
LOG=$STATE/log
IPV4=10.99.0.1 IPV6=fd00:99::1 PORT=5555
# such as iser/filesystem
NAME=$(basename "$(dirname "$0")")/$(basename "$0" .sh)

# --- reporting -------------------------------------------------------------------------------------------------

step() { printf '# %s\n' "$*"; }

ok() { printf 'ok - %s/%s: %s\n' "$NAME" "$BACKING" "$*"; }

# Ends the scenario with what one needs to understand it.
fail() {
    FAILED=1
    printf 'not ok - %s/%s: %s\n' "$NAME" "$BACKING" "$*"
    if [ -s "$LOG" ]; then echo "# the end of the daemon's log:"; tail -n 40 "$LOG" | sed 's/^/#   /'; fi
    echo "# the kernel's messages since the scenario began:"
    dmesg_since_mark | tail -n 40 | sed 's/^/#   /'
    exit 1
}

# check TEXT COMMAND...: the command must succeed. It runs in this shell, so that it may set variables, and without
# `set -e`, as in any condition: a function of several commands returns its failures itself.
check() {
    local text=$1
    shift
    if "$@" >/run/check.out 2>&1; then ok "$text"; else
        tail -n 30 /run/check.out | sed 's/^/#   /'
        fail "$text"
    fi
}

# until_true SECONDS COMMAND...: tries again until the command succeeds
until_true() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.2
    done
}

# --- the kernel's log ------------------------------------------------------------------------------------------

MARK=none
dmesg_mark() {
    MARK="pagecast-mark-$$-$SECONDS-$RANDOM"
    echo "<3>$MARK" >/dev/kmsg
}
dmesg_since_mark() { dmesg | sed "1,/$MARK/d"; }

# dmesg_clean: no warning or worse since the mark, from the initiator's side
dmesg_clean() {
    # what emulation on a busy machine looks like from inside, and what software RDMA and its global key are warned of
    local found harmless='hrtimer: interrupt took|clocksource:|perf: interrupt took|RT throttling|hogged CPU'
    # open-iscsi may be faster with the next step of a login than the kernel with the last; it tries again
    harmless+="|Login/Text in progress"
    # a keep-alive that waited for its turn on an emulated CPU behind fio's writes; one that is lost resets the controller
    harmless+="|long keepalive RTT"
    harmless+="|enabling unsafe global rkey|speed is unknown${LIO_NOISE:+|$LIO_NOISE}"
    found=$({
        dmesg --level emerg,alert,crit,err,warn | sed "1,/$MARK/d"
        # what sd and the block layer say at lesser levels when a target is not what they hoped for
        dmesg_since_mark | grep -E 'Asking for cache data failed|Assuming drive cache|I/O error|Sense Key'
    } | grep -Ev "$harmless" || true)
    [ -z "$found" ] || { printf '%s\n' "$found"; return 1; }
}

# dmesg_has PATTERN. All of it is read: who is cut off in the middle fails, and the pipe with it.
dmesg_has() { [ "$(dmesg_since_mark | grep -Ec "$1" || true)" != 0 ]; }

# --- the network -----------------------------------------------------------------------------------------------

net_up() {
    modprobe -a dummy rdma_rxe rdma_ucm ib_umad sd_mod sg ib_srp loop ext4
    ip link set lo up
    ip link add d0 type dummy
    ip link set d0 mtu 9000 up
    ip addr add "$IPV4/24" dev d0
    ip addr add "$IPV6/64" dev d0 nodad
    rdma link add rxe0 type rxe netdev d0
    ulimit -l unlimited
    # The GID table follows the addresses a moment later; without its entry nothing listens on that address.
    until_true 10 grep -qi '0000:0000:ffff:0a63:0001' /sys/class/infiniband/rxe0/ports/1/gids/*
}

# --- backing files ---------------------------------------------------------------------------------------------

# backing SIZE_MIB: makes a file of random bytes on a new file system of kind BACKING and prints its path
backing() {
    local size=$1 dir
    mkdir -p /run/backing
    dir=$(mktemp -d /run/backing/XXXXXX)
    case $BACKING in
    tmpfs) mount -t tmpfs -o "size=$((size + 16))m" tmpfs "$dir" ;;
    ext4)
        truncate -s "$((size + size / 8 + 32))m" "$dir.img"
        mkfs.ext4 -q -m 0 -E lazy_itable_init=0,nodiscard "$dir.img"
        mount -o loop "$dir.img" "$dir" ;;
    *) echo "no such backing: $BACKING" >&2; return 1 ;;
    esac
    random_bytes "$size" >"$dir/disk.img"
    printf '%s\n' "$dir/disk.img"
}

# random_bytes SIZE_MIB: the same for all, made once in a boot, since emulated machines make them slowly
random_bytes() {
    local pool=/run/random.bin
    [ -s $pool ] || head -c 201326592 /dev/urandom >$pool
    head -c "$1M" $pool
}

# --- the target ------------------------------------------------------------------------------------------------

# target_start FILE...: serves them, in order, as the LUNs of one target
target_start() { "${TARGET}_start" "$@"; }
# target_line [ipv6]: the line that logs in to it
target_line() { "${TARGET}_line" "$@"; }
# target_crash: takes it away without a word; target_again: brings it back with what it had
target_crash() { "${TARGET}_crash"; }
target_again() { "${TARGET}_again"; }
# target_alive
target_alive() { "${TARGET}_alive"; }
target_stop() { "${TARGET}_stop"; }

# shellcheck source=lio.sh
. "$ROOT/ci/lib/lio.sh"

# All JSON: CONFIG_EXTRA, more top-level keys of the configuration; TARGET_EXTRA, more keys of the target; INITIATORS, the group's
# patterns. TRANSPORTS: what the target listens for, on all addresses.
pagecast_start() {
    local file
    mkdir -p "$STATE"
    for file; do printf '%s\n' "$file"; done | jq -Rn \
        --argjson extra "${CONFIG_EXTRA:-"{}"}" --argjson target "${TARGET_EXTRA:-"{}"}" \
        --argjson initiators "${INITIATORS:-[\"*\"]}" --arg transports "${TRANSPORTS:-srp}" --arg ipv6 "$IPV6" '
        [inputs] as $files | [$files | keys[] | {name: "disk\(.)", number: .}] as $disks | {
          devices: [$disks[] | {name, backend: "file", path: $files[.number]}],
          targets: [{
            name: "store",
            portals: [($transports / " ")[] as $transport | ("0.0.0.0", $ipv6) | {transport: $transport, address: .}],
            groups: [{name: "everyone", initiators: $initiators,
                      luns: ($disks | map({(.number | tostring): .name}) | add)}]
          } * $target]} * $extra' >$STATE/config.json
    chmod 600 $STATE/config.json
    pagecastd_start --config $STATE/config.json
}

# pagecastd_start [ARG...]: returns once the daemon says that it is ready
pagecastd_start() {
    mkdir -p "$STATE/state"
    PAGECASTD_ARGS=("$@")
    : >$STATE/out
    NO_COLOR=1 "$ROOT/build/release/pagecastd" --state-dir $STATE/state --socket $SOCKET "$@" >$STATE/out 2>>$LOG &
    PAGECASTD=$!
    until_true 30 pagecastd_settled || fail "pagecastd says that it is ready"
    grep -qx ready $STATE/out || fail "pagecastd says that it is ready before it exits"
}
pagecastd_settled() { grep -qx ready $STATE/out || ! kill -0 "$PAGECASTD"; }

# pagecastd_stop: SIGTERM; the daemon must exit with 0
pagecastd_stop() {
    local pid=$PAGECASTD
    PAGECASTD=
    kill -TERM "$pid"
    (sleep 30; kill -KILL "$pid") 2>/dev/null &
    local watchdog=$! status=0
    wait "$pid" || status=$?
    kill "$watchdog" 2>/dev/null || true
    [ "$status" = 0 ] || { echo "pagecastd's exit status is $status"; return 1; }
}
pagecast_stop() { if [ -n "${PAGECASTD:-}" ]; then pagecastd_stop; fi; }
pagecast_crash() { kill -KILL "$PAGECASTD"; wait "$PAGECASTD" 2>/dev/null || true; PAGECASTD=; }
pagecast_again() { pagecastd_start "${PAGECASTD_ARGS[@]}"; }
pagecast_alive() { kill -0 "$PAGECASTD" && ctl status >/dev/null; }

# ctl ARG...: the control client; its result is JSON
ctl() { "$ROOT/build/release/pagecast" --socket $SOCKET --json "$@"; }

# One of the login lines that the daemon prints.
pagecast_line() {
    local dest="$IPV4:$PORT"
    [ "${1:-}" != ipv6 ] || dest="[$IPV6]:$PORT"
    ctl target show store | jq -r '.initiator_commands.srp[]' | grep -o 'id_ext=[^" ]*' |
        grep -F "dest=$dest" | head -n 1
}

# device_counter DEVICE FIELD
device_counter() { ctl device show "$1" | jq -e --arg field "$2" '.[$field] // .counters[$field]'; }

# rchar PID: bytes that its read calls returned; cpu_ms PID: user and system time
rchar() { awk '/^rchar:/{print $2}' "/proc/$1/io"; }
cpu_ms() { awk -v hz="$(getconf CLK_TCK)" '{sub(/.*\) /, ""); print int(($12 + $13) * 1000 / hz)}' "/proc/$1/stat"; }

# --- the initiator ---------------------------------------------------------------------------------------------

# srp_module [PARAMETER=VALUE...]: loads ib_srp anew
srp_module() {
    modprobe -r ib_srp
    modprobe ib_srp "$@"
    until_true 10 test -e /sys/class/infiniband_srp/srp-rxe0-1/add_target
}

# srp_login LINE [DISKS]: logs in; HOST is the SCSI host then, DISK its first disk, DISKS all of them, in LUN order
srp_login() {
    local before after
    before=$(cd /sys/class/scsi_host && echo host*)
    until_true 10 srp_add "$1" || return 1
    [ -z "$ADD_ERROR" ] || { echo "$ADD_ERROR"; return 1; }
    after=$(cd /sys/class/scsi_host && echo host*)
    HOST=$(comm -13 <(tr ' ' '\n' <<<"$before" | sort) <(tr ' ' '\n' <<<"$after" | sort) | tail -n 1)
    [ -n "$HOST" ] || return 1
    until_true 15 disks_of "$HOST" "${2:-1}" || return 1
    disks_of "$HOST" "${2:-1}"
}
# After a logout the kernel needs a moment to forget the target: it says that the target is there already until then.
srp_add() {
    local error
    ADD_ERROR=
    # shellcheck disable=SC2016
    error=$(LC_ALL=C bash -c 'echo "$1" >/sys/class/infiniband_srp/srp-rxe0-1/add_target' - "$1" 2>&1) && return 0
    case $error in *'File exists'*) return 1 ;; esac
    ADD_ERROR=$error
}
# disks_of HOST [LEAST]: DISK is the first disk of that SCSI host then, DISKS all of them, in LUN order
disks_of() {
    local host=$1
    # shellcheck disable=SC2034 # for those who source this
    mapfile -t DISKS < <(for disk in /sys/block/sd*; do
        disk=$(readlink -f "$disk")
        case $disk in */"$host"/*) printf '%s /dev/%s\n' "${disk%/block/*}" "${disk##*/}" ;; esac
    done | sort -V | awk '{print $2}')
    DISK=${DISKS[0]:-}
    # no udev here: a disk is there when its node opens
    [ "${#DISKS[@]}" -ge "${2:-1}" ] && blockdev --getsize64 "${DISKS[@]}" >/dev/null
}

# srp_logout: leaves every target
#
# Linux 7.2 uses freed memory, and panics, when the connection to a target that is being removed fails or has failed a moment
# ago (srp_remove_work ends in scsi_host_busy_iter after the host's tags are gone). So this waits for timers of failed
# connections first, and afterwards for the target to have seen the end of the sessions.
srp_logout() {
    local port
    until_true 30 srp_not_blocked || return 1
    for port in /sys/class/srp_remote_ports/port-*; do
        [ -e "$port" ] && echo 1 >"$port/delete"
    done
    until_true 30 srp_gone || return 1
    [ "$TARGET" != pagecast ] || until_true 15 no_sessions
}
srp_not_blocked() { ! grep -qsx blocked /sys/class/srp_remote_ports/port-*/state; }
# also when there is no daemon to ask
no_sessions() {
    [ -n "${PAGECASTD:-}" ] && kill -0 "$PAGECASTD" || return 0
    ctl session list | jq -e '.sessions == []'
}
srp_gone() { [ -z "$(ls /sys/class/srp_remote_ports)" ] && ! compgen -G '/sys/block/sd*'; }

# fio_verify [ARG...]: random writes of mixed sizes to DISK, queue depth 32, every one read back and checked. Without
# --blockalign, fio keeps a map of what it wrote: no two writes overlap, and each byte has one right value.
fio_verify() {
    local log status=0
    log=$(mktemp)
    fio --name=verify --filename="$DISK" --direct=1 --ioengine=libaio --iodepth=32 --rw=randwrite \
        --bsrange="$(blockdev --getss "$DISK")-256k" --size="$(fio_mib 48)" --verify=crc32c --verify_fatal=1 \
        --output-format=terse --output="$log" "$@" || { status=1; cat "$log"; }
    rm -f "$log"
    return $status
}
# fio_mib N: N MiB for fio, or less where SMALLER says so
fio_mib() { printf '%dm\n' $(($1 / SMALLER > 0 ? $1 / SMALLER : 1)); }
# beside COMMAND...: runs it while fio writes, and waits for fio's verdict. fio starts again as often as it takes.
beside() {
    local status=0 fio
    rm -f /run/fio.enough
    rounds --size=$((SMALLER > 1 ? 24 : 48))m &
    fio=$!
    busy || status=1
    "$@" || status=1
    touch /run/fio.enough
    wait $fio || status=1
    return $status
}
# rounds ARG...: fio_verify from the start to the end, and again until there is a file /run/fio.enough
rounds() {
    until [ -e /run/fio.enough ]; do
        fio_verify --loops=3 "$@" || return 1
    done
}
# resets OPTION...: three times, what sg_reset's options say
resets() {
    local _
    for _ in 1 2 3; do
        timeout 60 sg_reset "$@" "$DISK" || return 1
        sleep 1
    done
}
no_io_error() { ! dmesg_has 'I/O error, dev (sd|nvme[0-9]+n)'; }
crash_and_return() { target_crash; sleep 3; target_again; }

# busy: waits until DISK has seen some more writes
busy() {
    local from
    from=$(awk '{print $5}' "/sys/block/${DISK#/dev/}/stat")
    until_true 60 eval "[ \$(awk '{print \$5}' /sys/block/${DISK#/dev/}/stat) -gt $((from + 20)) ]"
}

# same DISK FILE [MIB]: O_DIRECT reads of the disk give the file's bytes
same() { dd if="$1" iflag=direct,fullblock bs=1M ${3:+count="$3"} status=none | cmp - "$2" ${3:+-n "$3M"}; }

# --- what holds for every transport ----------------------------------------------------------------------------

# checks_of_a_file_system: a tree survives a file system on DISK, and so do fio's writes
checks_of_a_file_system() {
    local tree=/run/tree
    step "mkfs, copy, unmount, remount, compare"
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
}

# checks_of_zero_copy FILE SIZE_MIB: DISK, whose file is FILE, is read twice, and the second time without a copy. The daemon
# must run with "io_engine": "threads": what io_uring reads does not count in rchar; what preadv reads does.
checks_of_zero_copy() {
    local file=$1 size=$2 before counted cpu staged grown offset=$(($2 / 2))
    step "first read: staged, for the most part"
    before=$(rchar "$PAGECASTD")
    check "every byte is right" same "$DISK" "$file"
    staged=$(($(rchar "$PAGECASTD") - before))
    check "the daemon's rchar grew with what it staged ($staged bytes)" [ $staged -gt $((1 << 20)) ]

    step "second read: from the page cache"
    warm() { [ "$(device_counter disk0 pinned_bytes)" -ge $((size << 20)) ]; }
    check "all of the file is in registered windows" until_true 60 warm
    before=$(rchar "$PAGECASTD")
    counted=$(device_counter disk0 read_bytes_zero_copy)
    cpu=$(cpu_ms "$PAGECASTD")
    check "every byte is right again" same "$DISK" "$file"
    grown=$(($(rchar "$PAGECASTD") - before))
    counted=$(($(device_counter disk0 read_bytes_zero_copy) - counted))
    step "$counted of $((size << 20)) bytes zero-copy, rchar grew by $grown, CPU time by $(($(cpu_ms "$PAGECASTD") - cpu)) ms"
    check "at least 99 % were read without a copy" [ $((counted * 100)) -ge $(((size << 20) * 99)) ]
    check "the daemon's rchar grew by less than 1 MiB" [ $grown -lt $((1 << 20)) ]

    step "what is written is what is read next"
    dd if=/run/random.bin of="$DISK" bs=1M count=8 seek=$offset oflag=direct conv=notrunc status=none
    check "through the disk" cmp -n $((8 << 20)) <(dd if="$DISK" bs=1M count=8 skip=$offset iflag=direct status=none) /run/random.bin
    check "and in the file" cmp -n $((8 << 20)) <(dd if="$file" bs=1M count=8 skip=$offset status=none) /run/random.bin

    step "nothing to do, with a session open"
    # The least of several: whatever else the machine under the emulation does is counted too.
    local try least=5000
    for try in 1 2 3 4; do
        cpu=$(cpu_ms "$PAGECASTD")
        sleep 5
        cpu=$(($(cpu_ms "$PAGECASTD") - cpu))
        [ $cpu -ge $least ] || least=$cpu
        [ $least -ge 50 ] || break
    done
    check "the idle daemon takes less than 1 % of a CPU ($least ms in 5 s, try $try)" [ $least -lt 50 ]
    check "the kernel's log has no warning" dmesg_clean
}

# --- setting up and clearing away ------------------------------------------------------------------------------

# what leaves every target; ci/lib/iscsi.sh has its own
initiator_logout() { srp_logout; }

# scenario TEXT: every scenario begins with it
scenario() {
    step "$NAME on $BACKING: $*"
    rm -rf "$STATE"
    mkdir -p "$STATE"
    dmesg_mark
    trap scenario_end EXIT
    set -E
    trap 'printf "# %s:%s: failed: %s\n" "${BASH_SOURCE[0]##*/}" "$LINENO" "$BASH_COMMAND"' ERR
}
scenario_end() {
    local status=$? mounted
    trap - EXIT ERR
    if [ "$status" != 0 ] && [ -z "${FAILED:-}" ]; then (fail "it runs to its end"); fi
    grep -o ' /run/mnt[^ ]*' /proc/mounts | xargs -r umount -l || true
    initiator_logout || echo "# could not log out"
    target_stop >/dev/null 2>&1 || true
    for mounted in /run/backing/*/; do
        umount -l "$mounted" 2>/dev/null || true
    done
    rm -rf /run/backing
    exit "$status"
}
