//! What LIO has and pagecast has not.

use crate::import::notes::Fact;

const fn fact(
    name: &'static str,
    same: &'static [&'static str],
    why: &'static str,
    remedy: &'static str,
) -> Fact {
    Fact {
        name,
        same,
        why,
        remedy,
    }
}

const NOTHING: &str = "nothing has to be done";
const ZERO: &[&str] = &["0", "false"];
const NONE: &[&str] = &[];

pub(super) const ALUA_REMEDY: &str = "in pagecast every path is active/optimized; for a cluster of targets that pass a disk on, keep LIO, or \
     start pagecast on the node that is active";

const COMMANDS: &str = "pagecast always has these commands and bits, as its device report says";
const MEDIUM: &str = "pagecast reports what the backing store is: whether it rotates, and whether it can give blocks back";
const LIMITS: &str = "pagecast reports limits of its own";
const DIF: &str = "pagecast has no protection information (T10-PI)";
const DIF_REMEDY: &str = "format the disk without it at its hosts";
const RESERVATIONS: &str =
    "pagecast keeps registrations by initiator port, and through a restart, as it is asked to";
const NEGOTIATION: &str =
    "pagecast has its own limits and default values for what iSCSI negotiates";
const NAMES: &str = "it is a name inside LIO";
const TIMES: &str = "pagecast has one value for all targets, and takes its default";
const DEMO: &str = "pagecast matches each login anew against its groups";

/// Of storage objects.
pub(super) const STORAGE: &[Fact] = &[
    fact(
        "size",
        NONE,
        "a device is as large as its file; LIO shows this many bytes of it",
        "compare with the file (stat -c %s): truncate a larger one only if you are sure that nothing is behind",
    ),
    fact(
        "aio",
        NONE,
        "pagecast chooses how it does I/O",
        "set \"io_engine\" to have it another way",
    ),
    fact(
        "alua_tpgs",
        NONE,
        "pagecast has no ALUA groups",
        ALUA_REMEDY,
    ),
    fact(
        "exclusive",
        NONE,
        "pagecast opens a block device for itself",
        NOTHING,
    ),
    fact(
        "buffered_mode",
        NONE,
        "pagecast goes by write_back",
        NOTHING,
    ),
];

/// Of `attributes` of storage objects.
pub(super) const STORAGE_ATTRIBUTES: &[Fact] = &[
    fact(
        "alua_support",
        &["1"],
        "pagecast always reports one target port group",
        NOTHING,
    ),
    fact(
        "pgr_support",
        &["1"],
        "pagecast goes by emulate_pr",
        NOTHING,
    ),
    fact("emulate_3pc", &["1"], COMMANDS, NOTHING),
    fact("emulate_caw", &["1"], COMMANDS, NOTHING),
    fact("emulate_dpo", &["1"], COMMANDS, NOTHING),
    fact("emulate_fua_read", &["1"], COMMANDS, NOTHING),
    fact("emulate_fua_write", &["1"], COMMANDS, NOTHING),
    fact("emulate_rsoc", &["1"], COMMANDS, NOTHING),
    fact("emulate_rest_reord", ZERO, COMMANDS, NOTHING),
    fact("emulate_tas", &["1"], COMMANDS, NOTHING),
    fact("emulate_ua_intlck_ctrl", ZERO, COMMANDS, NOTHING),
    fact(
        "emulate_model_alias",
        NONE,
        "hosts see pagecast's own vendor, product and revision",
        "change what hosts choose by them: device sections of multipath.conf, udev rules",
    ),
    fact("emulate_tpu", NONE, MEDIUM, NOTHING),
    fact("emulate_tpws", NONE, MEDIUM, NOTHING),
    fact("unmap_granularity", NONE, MEDIUM, NOTHING),
    fact("unmap_granularity_alignment", NONE, MEDIUM, NOTHING),
    fact("unmap_zeroes_data", NONE, MEDIUM, NOTHING),
    fact("max_unmap_block_desc_count", NONE, MEDIUM, NOTHING),
    fact("max_unmap_lba_count", NONE, MEDIUM, NOTHING),
    fact("is_nonrot", NONE, MEDIUM, NOTHING),
    fact("max_write_same_len", NONE, LIMITS, NOTHING),
    fact("optimal_sectors", NONE, LIMITS, NOTHING),
    fact("max_sectors", NONE, LIMITS, NOTHING),
    fact("fabric_max_sectors", NONE, LIMITS, NOTHING),
    fact("hw_block_size", NONE, LIMITS, NOTHING),
    fact("hw_max_sectors", NONE, LIMITS, NOTHING),
    fact("hw_queue_depth", NONE, LIMITS, NOTHING),
    fact("hw_pi_prot_type", ZERO, DIF, DIF_REMEDY),
    fact(
        "queue_depth",
        NONE,
        LIMITS,
        "set the device's \"queue_depth_max\" if it is to be another than 256",
    ),
    fact("submit_cqs", NONE, LIMITS, NOTHING),
    fact("complete_type", NONE, LIMITS, NOTHING),
    fact("enforce_pr_isids", &["1"], RESERVATIONS, NOTHING),
    fact("force_pr_aptpl", ZERO, RESERVATIONS, NOTHING),
    fact("pi_prot_type", ZERO, DIF, DIF_REMEDY),
    fact("pi_prot_format", ZERO, DIF, DIF_REMEDY),
    fact("pi_prot_verify", ZERO, DIF, DIF_REMEDY),
];

/// Of targets.
pub(super) const TARGET: &[Fact] = &[
    fact("parameters", &["{}"], TIMES, NOTHING),
    fact("attributes", &["{}"], TIMES, NOTHING),
];

/// Of portal groups.
pub(super) const TPG: &[Fact] = &[
    fact("parameters", &["{}"], NEGOTIATION, NOTHING),
    fact(
        "nexus",
        NONE,
        "it is for fabrics that pagecast has not",
        NOTHING,
    ),
    fact(
        "nexus_wwn",
        NONE,
        "it is for fabrics that pagecast has not",
        NOTHING,
    ),
    fact(
        "authenticate_target",
        NONE,
        "the target proves itself whenever the initiator asks and it has a secret",
        NOTHING,
    ),
];

/// Of `attributes` of portal groups.
pub(super) const TPG_ATTRIBUTES: &[Fact] = &[
    fact("cache_dynamic_acls", NONE, DEMO, NOTHING),
    fact(
        "demo_mode_discovery",
        NONE,
        "pagecast tells initiators of the targets that would admit them, and of no others",
        NOTHING,
    ),
    fact("default_cmdsn_depth", NONE, TIMES, "set \"queue_depth\""),
    fact("default_erl", ZERO, NEGOTIATION, NOTHING),
    fact("fabric_prot_type", ZERO, DIF, DIF_REMEDY),
    fact("t10_pi", ZERO, DIF, DIF_REMEDY),
    fact(
        "login_keys_workaround",
        NONE,
        "pagecast answers login keys as RFC 7143 has it",
        NOTHING,
    ),
    fact("login_timeout", NONE, TIMES, NOTHING),
    fact("netif_timeout", NONE, TIMES, NOTHING),
    fact(
        "tpg_enabled_sendtargets",
        &["1"],
        "pagecast tells initiators of the targets that would admit them, and of no others",
        NOTHING,
    ),
    fact("srp_max_rdma_size", NONE, LIMITS, NOTHING),
    fact("srp_max_rsp_size", NONE, LIMITS, NOTHING),
    fact("srp_sq_size", NONE, LIMITS, NOTHING),
    fact("use_srq", NONE, LIMITS, NOTHING),
];

/// Of LUNs and mapped LUNs.
pub(super) const LUN: &[Fact] = &[
    fact("alias", NONE, NAMES, NOTHING),
    fact("tag", NONE, NAMES, NOTHING),
    fact(
        "alua_tg_pt_gp_name",
        &["", "null", "default_tg_pt_gp"],
        "pagecast has no ALUA groups: the path is active/optimized",
        ALUA_REMEDY,
    ),
];

/// Of portals.
pub(super) const PORTAL: &[Fact] = &[fact(
    "offload",
    ZERO,
    "pagecast has no offload of iSCSI to an adapter",
    "use iSER with an adapter that has RDMA",
)];

/// Of ACLs.
pub(super) const ACL: &[Fact] = &[
    fact(
        "tag",
        NONE,
        "every ACL is a group of its own here, whatever LIO's groups of ACLs are",
        "make one group of those that see the same: `pagecast initiator move`",
    ),
    fact("tcq_depth", NONE, TIMES, "set \"queue_depth\""),
    fact("alias", NONE, NAMES, NOTHING),
    fact(
        "authenticate_target",
        NONE,
        "the target proves itself whenever the initiator asks and it has a secret",
        NOTHING,
    ),
];

/// Of `attributes` of ACLs.
pub(super) const ACL_ATTRIBUTES: &[Fact] = &[
    fact("dataout_timeout", NONE, TIMES, NOTHING),
    fact("dataout_timeout_retries", NONE, TIMES, NOTHING),
    fact("default_erl", ZERO, NEGOTIATION, NOTHING),
    fact("nopin_response_timeout", NONE, TIMES, "set \"nop_timeout\""),
    fact("nopin_timeout", NONE, TIMES, "set \"nop_interval\""),
    fact(
        "random_datain_pdu_offsets",
        ZERO,
        "it is for tests",
        NOTHING,
    ),
    fact(
        "random_datain_seq_offsets",
        ZERO,
        "it is for tests",
        NOTHING,
    ),
    fact("random_r2t_offsets", ZERO, "it is for tests", NOTHING),
];

/// Of fabric modules.
pub(super) const FABRIC: &[Fact] = &[
    fact("path", NONE, NAMES, NOTHING),
    fact("version", NONE, NAMES, NOTHING),
];

/// Why storage objects of a plugin are not imported, and what to do.
pub(super) fn plugin(name: &str) -> (&'static str, &'static str) {
    match name {
        "pscsi" => (
            "pagecast does not pass SCSI commands on to a disk",
            "add it with \"backend\": \"block\" and the path of its block device; hosts see a disk of pagecast's then, with another identity",
        ),
        "user" => (
            "what holds its data is a program (tcmu-runner)",
            "if that is a file or a block device (or rbd, mapped as one), add it by hand",
        ),
        _ => (
            "pagecast has files, block devices and memory, and this is another kind",
            "find out what holds its data, and add that",
        ),
    }
}

/// Why targets of a fabric are not imported, and what to do.
pub(super) fn fabric(name: &str) -> (&'static str, &'static str) {
    match name {
        "loopback" => (
            "pagecast has no target for the machine that it runs on",
            "use the file or block device itself, or log in over the loopback interface",
        ),
        "vhost" | "xen-pvscsi" | "xen_pvscsi" => (
            "pagecast has no target for virtual machines of this machine",
            "give the virtual machine the file or block device, or have it log in over iSCSI",
        ),
        "qla2xxx" | "tcm_qla2xxx" | "tcm_fc" | "fc" | "efct" | "lpfc" => (
            "pagecast has no Fibre Channel",
            "make targets that hosts reach over SRP, iSER, iSCSI or NVMe over RDMA",
        ),
        _ => (
            "pagecast has SRP, iSER, iSCSI and NVMe over RDMA",
            "make targets that hosts reach over one of them",
        ),
    }
}
