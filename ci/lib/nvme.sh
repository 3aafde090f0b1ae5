# What guest tests of NVMe over RDMA share: the kernel's nvme-rdma and nvme-cli, without udev. Sourced after guest.sh.
# shellcheck shell=bash
TRANSPORTS=${TRANSPORTS:-nvme-rdma}
NVME_PORT=4420
# The kernel's own NVMe target stands in for LIO.
[ "$TARGET" != lio ] || TARGET=nvmet
# shellcheck source=nvmet.sh
. "$ROOT/ci/lib/nvmet.sh"

# two hosts that this machine may be
HOSTID=3a0f9a46-0d6e-4d43-9a3c-2f3cf3b1a001
HOSTNQN=nqn.2014-08.org.nvmexpress:uuid:$HOSTID
OTHER_HOSTID=3a0f9a46-0d6e-4d43-9a3c-2f3cf3b1a002
# shellcheck disable=SC2034 # for those who source this
OTHER_HOSTNQN=nqn.2014-08.org.nvmexpress:uuid:$OTHER_HOSTID
# where the target is; what nvme-cli is told later wins
NVME_AT=(-t rdma -a "$IPV4" -s "$NVME_PORT")

# nvme_up: the initiator, as after its installation
nvme_up() {
    modprobe nvme_rdma
    rm -rf /etc/nvme
    mkdir -p /etc/nvme
    echo "$HOSTNQN" >/etc/nvme/hostnqn
    echo "$HOSTID" >/etc/nvme/hostid
    until_true 10 test -c /dev/nvme-fabrics
}

# target_nqn
target_nqn() { if [ "$TARGET" = nvmet ]; then echo $NVMET_NQN; else echo nqn.2026-11.io.pagecast:store; fi; }

# nvme_discover [ARG...]: the discovery log page as JSON
nvme_discover() { timeout 60 nvme discover "${NVME_AT[@]}" -o json "$@"; }

# nvme_commands VERB: what the target says to type
nvme_commands() {
    if [ "$TARGET" = pagecast ]; then
        ctl target show store | jq -r '.initiator_commands["nvme-rdma"][]' | grep "^nvme $1 " | grep -F -- "-a $IPV4 "
    else
        echo "nvme $1 ${NVME_AT[*]}$([ "$1" != connect ] || echo " -n $NVMET_NQN")"
    fi
}

# nvme_connect [ARG...]: NVME is the controller then (/dev/nvme0), DISK its first namespace, DISKS all of them, by number.
# NAMESPACES (1) is how many there must be.
nvme_connect() {
    local answer
    answer=$(timeout 60 nvme connect "${NVME_AT[@]}" -n "$(target_nqn)" -i 2 -o json "$@" 2>&1) || { echo "$answer"; return 1; }
    NVME=/dev/$(grep -o 'nvme[0-9]*' <<<"$answer" | head -n 1)
    [ -c "$NVME" ] || { echo "$answer"; return 1; }
    nvme_disks_wait "$(target_nqn)" "${NAMESPACES:-1}"
}
nvme_disks_wait() { until_true 30 nvme_disks "$@" && nvme_disks "$@"; }

# nvme_disks NQN [LEAST]: DISKS are the namespaces of that subsystem then, by number, DISK the first. They are found by what
# they say of themselves: nvme0n1 may well be namespace 2, and of another subsystem than the controller nvme0.
nvme_disks() {
    local subsystem
    # shellcheck disable=SC2034 # for those who source this
    mapfile -t DISKS < <(for subsystem in /sys/class/nvme-subsystem/*; do
        [ "$(cat "$subsystem/subsysnqn" 2>/dev/null)" = "$1" ] || continue
        # with several paths the disk is the subsystem's, without it is the controller's
        for disk in "$subsystem"/nvme*n* "$subsystem"/nvme*/nvme*n*; do
            case ${disk##*/} in *c*n*) continue ;; esac
            [ -e "$disk/size" ] && [ "$(cat "$disk/size")" != 0 ] && printf '%s /dev/%s\n' "$(cat "$disk/nsid")" "${disk##*/}"
        done
    done | sort -nu | awk '{print $2}')
    # shellcheck disable=SC2034
    DISK=${DISKS[0]:-}
    [ "${#DISKS[@]}" -ge "${2:-1}" ] && blockdev --getsize64 "${DISKS[@]}" >/dev/null
}

# nvme_controllers NQN: the controllers that this machine has of it
nvme_controllers() {
    local controller
    for controller in /sys/class/nvme/*; do
        [ "$(cat "$controller/subsysnqn" 2>/dev/null)" = "$1" ] && echo "/dev/${controller##*/}"
    done
    return 0
}

# nvme_attribute NAME: of NVME, in sysfs; nvme_live: its state
nvme_attribute() { cat "/sys/class/nvme/${NVME#/dev/}/$1"; }
nvme_live() { [ "$(nvme_attribute state)" = live ]; }

# nvme_disconnect: leaves the target with every controller
nvme_disconnect() {
    local answer
    answer=$(timeout 60 nvme disconnect -n "$(target_nqn)") || { echo "$answer"; return 1; }
    until_true 30 no_controllers || return 1
    [ "$TARGET" != pagecast ] || until_true 15 no_sessions
}
no_controllers() { [ -z "$(nvme_controllers "$(target_nqn)")" ]; }

# nvme_logout: leaves whatever there is, discovery controllers too
nvme_logout() {
    [ -d /sys/class/nvme ] || return 0
    timeout 60 nvme disconnect-all || true
    until_true 60 nvme_gone || return 1
    [ "$TARGET" != pagecast ] || until_true 15 no_sessions
}
nvme_gone() { [ -z "$(ls /sys/class/nvme)" ]; }

initiator_logout() { nvme_logout; }
