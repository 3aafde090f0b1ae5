# The kernel's own NVMe target (nvmet-rdma) behind the same functions as pagecast, for ci/lib/guest.sh.
# shellcheck shell=bash
NVMET=/sys/kernel/config/nvmet
NVMET_NQN=nqn.2026-11.org.example:store
# it offers Write Zeroes on tmpfs as well, which then refuses it
# shellcheck disable=SC2034 # for guest.sh
[ "$TARGET" != nvmet ] || LIO_NOISE='I/O Cmd\(0x8\)|op 0x9:\(WRITE_ZEROES\)'

# nvmet_start FILE...: through the page cache, on both address families, at NVMET_PORT or where pagecast would be
nvmet_start() {
    local file number=0 subsystem=$NVMET/subsystems/$NVMET_NQN namespace
    mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config
    modprobe -a nvmet nvmet_rdma
    mkdir "$subsystem"
    echo 1 >"$subsystem/attr_allow_any_host"
    for file; do
        number=$((number + 1))
        namespace=$subsystem/namespaces/$number
        mkdir "$namespace"
        echo "$file" >"$namespace/device_path"
        echo 1 >"$namespace/buffered_io"
        echo 1 >"$namespace/enable"
    done
    nvmet_port 1 ipv4 "$IPV4"
    nvmet_port 2 ipv6 "$IPV6"
    nvmet_again
}

# nvmet_port NUMBER FAMILY ADDRESS: a place to listen, for no subsystem yet
nvmet_port() {
    local port=$NVMET/ports/$1
    mkdir "$port"
    echo rdma >"$port/addr_trtype"
    echo "$2" >"$port/addr_adrfam"
    echo "$3" >"$port/addr_traddr"
    echo "${NVMET_PORT:-$NVME_PORT}" >"$port/addr_trsvcid"
}

# What listens nowhere ends its controllers.
nvmet_crash() { rm -f $NVMET/ports/*/subsystems/*; }
nvmet_again() {
    local port
    for port in $NVMET/ports/*/; do
        ln -s "$NVMET/subsystems/$NVMET_NQN" "${port}subsystems/"
    done
}
nvmet_alive() { [ -n "$(ls $NVMET/ports/1/subsystems)" ]; }

# nvmet_secrets KEY [CONTROLLER_KEY [GROUP]]: what HOSTNQN proves itself with; nobody else is let in
nvmet_secrets() {
    local host=$NVMET/hosts/$HOSTNQN subsystem=$NVMET/subsystems/$NVMET_NQN
    mkdir -p "$host"
    echo "$1" >"$host/dhchap_key"
    [ -z "${2:-}" ] || echo "$2" >"$host/dhchap_ctrl_key"
    echo "${3:-null}" >"$host/dhchap_dhgroup"
    echo 0 >"$subsystem/attr_allow_any_host"
    [ -e "$subsystem/allowed_hosts/$HOSTNQN" ] || ln -s "$host" "$subsystem/allowed_hosts/"
}

nvmet_stop() {
    [ -d $NVMET/subsystems/$NVMET_NQN ] || return 0
    nvmet_crash
    rm -f $NVMET/subsystems/$NVMET_NQN/allowed_hosts/*
    rmdir $NVMET/ports/*/ $NVMET/subsystems/$NVMET_NQN/namespaces/*/ $NVMET/subsystems/$NVMET_NQN
    rmdir $NVMET/hosts/* 2>/dev/null || true
}
