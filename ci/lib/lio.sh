# LIO's targets (ib_srpt; iscsi_target_mod with ib_isert) behind the same functions as pagecast, for ci/lib/guest.sh.
# shellcheck shell=bash
LIO=/sys/kernel/config/target
# what it writes to the kernel's log in passing
# shellcheck disable=SC2034 # for guest.sh
[ "$TARGET" != lio ] || LIO_NOISE='MODE SENSE: unimpl|WRITE_SAME sectors|ib_srpt|srpt_recv_done|db_root|LUN assignments on this target'

LIO_IQN=iqn.2003-01.org.linux-iscsi.guest:store

lio_start() {
    mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config
    modprobe -a target_core_mod target_core_file
    case ${TRANSPORTS:-srp} in srp) lio_srp "$@" ;; *) lio_iscsi "$@" ;; esac
}

# lio_disk NUMBER FILE: prints where it is
lio_disk() {
    local core=$LIO/core/fileio_0/disk$1
    mkdir -p "$core"
    echo "fd_dev_name=$2,fd_dev_size=$(stat -c %s "$2"),fd_buffered_io=1" >"$core/control"
    echo 1 >"$core/enable"
    echo "$core"
}

lio_srp() {
    local file core number=0 gid tpg
    modprobe ib_srpt
    gid=$(tr -d : </sys/class/infiniband/rxe0/ports/1/gids/0)
    # the port must be set before the first target is enabled, and stays for the life of the module
    mkdir -p $LIO/srpt
    [ "$(cat $LIO/srpt/discovery_auth/rdma_cm_port)" = "$PORT" ] || echo "$PORT" >$LIO/srpt/discovery_auth/rdma_cm_port
    tpg=$LIO/srpt/0x$gid/0x$gid
    mkdir -p "$tpg/acls/0x$gid"
    for file; do
        core=$(lio_disk $number "$file")
        mkdir -p "$tpg/lun/lun_$number"
        ln -s "$core" "$tpg/lun/lun_$number/"
        # `acls` makes the mapping itself unless it was told not to
        mkdir -p "$tpg/acls/0x$gid/lun_$number"
        ln -s "$tpg/lun/lun_$number" "$tpg/acls/0x$gid/lun_$number/" 2>/dev/null || true
        number=$((number + 1))
    done
    echo 1 >"$tpg/enable"
    LIO_TPG=$tpg
}

lio_iscsi() {
    local file core number=0 tpg=$LIO/iscsi/$LIO_IQN/tpgt_1 address
    modprobe -a iscsi_target_mod ib_isert
    # the first directory loads the fabric, and may not have a name of its own yet
    mkdir -p $LIO/iscsi
    mkdir -p "$tpg"
    echo 0 >"$tpg/attrib/authentication"
    echo 1 >"$tpg/attrib/generate_node_acls"
    echo 1 >"$tpg/attrib/cache_dynamic_acls"
    echo 0 >"$tpg/attrib/demo_mode_write_protect"
    for address in "$IPV4" "[$IPV6]"; do
        mkdir -p "$tpg/np/$address:3260"
        echo 1 >"$tpg/np/$address:3260/iser"
    done
    for file; do
        core=$(lio_disk $number "$file")
        mkdir -p "$tpg/lun/lun_$number"
        ln -s "$core" "$tpg/lun/lun_$number/"
        number=$((number + 1))
    done
    echo 1 >"$tpg/enable"
    LIO_TPG=$tpg
}

lio_line() {
    local id gid dest="$IPV4:$PORT"
    [ "${1:-}" != ipv6 ] || dest="[$IPV6]:$PORT"
    id=$(cat /sys/module/ib_srpt/parameters/srpt_service_guid)
    gid=$(tr -d : </sys/class/infiniband/rxe0/ports/1/gids/0)
    printf 'id_ext=%s,initiator_ext=%s,ioc_guid=%s,dest=%s\n' "$id" "${gid:0:16}" "$id" "$dest"
}

lio_crash() { echo 0 >"$LIO_TPG/enable"; }
lio_again() { echo 1 >"$LIO_TPG/enable"; }
lio_alive() { [ "$(cat "$LIO_TPG/enable")" = 1 ]; }

lio_stop() {
    local tpg=${LIO_TPG:-}
    [ -n "$tpg" ] || return 0
    echo 0 >"$tpg/enable"
    rmdir "$tpg"/np/* 2>/dev/null || true
    find "$tpg" -type l \( -path '*/acls/*' -o -path '*/lun/*' \) -delete
    rmdir "$tpg"/acls/*/lun_* "$tpg"/acls/* 2>/dev/null || true
    rmdir "$tpg"/lun/lun_* "$tpg" "${tpg%/*}"
    rmdir $LIO/core/fileio_0/disk* $LIO/core/fileio_0
    LIO_TPG=
}
