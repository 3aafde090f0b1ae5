# What guest tests share that have SRP, iSER and NVMe side by side. Sourced after guest.sh, with TRANSPORTS set.
# shellcheck shell=bash
# shellcheck source=iscsi.sh
. "$ROOT/ci/lib/iscsi.sh"
# shellcheck source=nvme.sh
. "$ROOT/ci/lib/nvme.sh"

# initiators_up: ib_srp, open-iscsi and nvme-cli are ready
initiators_up() {
    srp_module
    check "NVMe's host is up" nvme_up
    check "open-iscsi is up" iscsi_up
}

# everybody_in: SRP_DISK, ISER_DISK, NVME_DISK are LUN 0 then, SRP_HOST and ISER_HOST the SCSI hosts, NVME the controller
everybody_in() {
    check "ib_srp logs in" srp_login "$(target_line)"
    # shellcheck disable=SC2034 # for those who source this
    SRP_DISK=$DISK SRP_HOST=$HOST
    check "ib_iser logs in" iscsi_login iser
    # shellcheck disable=SC2034
    ISER_DISK=$DISK ISER_HOST=$HOST
    check "nvme-rdma connects" nvme_connect
    # shellcheck disable=SC2034
    NVME_DISK=$DISK
}

initiator_logout() {
    local status=0
    timeout 60 nvme disconnect-all || true
    [ -z "${ISCSID:-}" ] || timeout 60 iscsiadm -m node -u || true
    srp_logout || status=1
    if [ -n "${ISCSID:-}" ]; then
        kill "$ISCSID" 2>/dev/null || true
        wait "$ISCSID" 2>/dev/null || true
    fi
    return $status
}
