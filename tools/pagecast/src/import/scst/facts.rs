//! What SCST has and pagecast has not.

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
const ZERO: &[&str] = &["0"];
const NONE: &[&str] = &[];

pub(super) const ALUA_REMEDY: &str = "in pagecast every path is active/optimized; for a cluster of targets that pass a disk on, keep SCST, or \
     start pagecast on the node that is active";

const THREADS: &str = "pagecast has threads of its own, whose number does not depend on devices";
const THREADS_REMEDY: &str =
    "set \"shards\" if the number of its I/O threads is to be another one than that of CPUs";
const CPUS: &str = "pagecast places its threads itself";
const DEBUGGING: &str = "it is for those who look into SCST itself";
const DEBUGGING_REMEDY: &str =
    "use `pagecastd --log debug`, `pagecast stats` and `pagecast events`";
const INQUIRY: &str = "hosts see pagecast's own vendor, product and revision";
const INQUIRY_REMEDY: &str =
    "change what hosts choose by them: device sections of multipath.conf, udev rules";
const IDENTITY: &str = "pagecast has no such designator: hosts know a disk by its NAA designator, serial number and UUID";
const IDENTITY_REMEDY: &str =
    "if hosts have used this one to name the disk, it is another one to them; see docs/migrate.md";
const DIF: &str = "pagecast has no protection information (T10-PI)";
const DIF_REMEDY: &str =
    "format the disk without it at its hosts; what was stored with tags in blocks needs copying";
const MEDIUM: &str = "pagecast reports what the backing store is: whether it rotates, and whether it can give blocks back";
const CLUSTER: &str = "pagecast does not share reservations between machines";
const CLUSTER_REMEDY: &str = "serve the device from one machine";
const NEGOTIATION: &str =
    "pagecast has its own limits and default values for what iSCSI negotiates";
const PROCESS_WIDE: &str = "pagecast has one value for all targets, and takes its default";

/// Attributes of vdisk_fileio and vdisk_blockio devices.
pub(super) const DEVICE: &[Fact] = &[
    fact(
        "active",
        &["1"],
        "pagecast opens a device when it starts, or as soon as it is there",
        "leave the device out until it is needed",
    ),
    fact(
        "async",
        NONE,
        "pagecast chooses how it does I/O",
        "set \"io_engine\" to have it another way",
    ),
    fact(
        "o_direct",
        ZERO,
        "pagecast serves everything from the page cache",
        NOTHING,
    ),
    fact(
        "bind_alua_state",
        NONE,
        "pagecast has no ALUA states that could follow",
        ALUA_REMEDY,
    ),
    fact(
        "expl_alua",
        ZERO,
        "pagecast has implicit ALUA alone, with every path active/optimized",
        ALUA_REMEDY,
    ),
    fact("cluster_mode", ZERO, CLUSTER, CLUSTER_REMEDY),
    fact("dif_mode", &["0", "none"], DIF, DIF_REMEDY),
    fact("dif_type", ZERO, DIF, DIF_REMEDY),
    fact("dif_static_app_tag", NONE, DIF, DIF_REMEDY),
    fact("dif_filename", NONE, DIF, DIF_REMEDY),
    fact("rotational", NONE, MEDIUM, NOTHING),
    fact("thin_provisioned", NONE, MEDIUM, NOTHING),
    fact(
        "removable",
        ZERO,
        "disks of pagecast are not removable",
        "hosts that expect a medium to be changed need the device added and removed instead",
    ),
    fact("size", NONE, "a device is as large as its file", NOTHING),
    fact("size_mb", NONE, "a device is as large as its file", NOTHING),
    fact("numa_node_id", NONE, CPUS, NOTHING),
    fact("threads_num", NONE, THREADS, THREADS_REMEDY),
    fact("threads_pool_type", NONE, THREADS, THREADS_REMEDY),
    fact(
        "max_tgt_dev_commands",
        NONE,
        "pagecast limits commands per device and per connection",
        "set the device's \"queue_depth_max\", or \"queue_depth\" for all",
    ),
    fact(
        "opt_trans_len",
        NONE,
        "pagecast reports the transfer length that suits it",
        NOTHING,
    ),
    fact(
        "lb_per_pb_exp",
        NONE,
        "pagecast reports the physical blocks of the backing store",
        NOTHING,
    ),
    fact(
        "tst",
        NONE,
        "pagecast has one task set for each initiator",
        "check that no host relies on a task set for all initiators",
    ),
    fact(
        "resync_size",
        NONE,
        "it is a command, not a setting",
        "use `pagecast device resize` when the file has grown",
    ),
    fact("sync", NONE, "it is a command, not a setting", NOTHING),
    fact("t10_vend_id", NONE, INQUIRY, INQUIRY_REMEDY),
    fact("prod_id", NONE, INQUIRY, INQUIRY_REMEDY),
    fact("prod_rev_lvl", NONE, INQUIRY, INQUIRY_REMEDY),
    fact("inq_vend_specific", NONE, INQUIRY, INQUIRY_REMEDY),
    fact("vend_specific_id", NONE, IDENTITY, IDENTITY_REMEDY),
    fact("scsi_device_name", NONE, IDENTITY, IDENTITY_REMEDY),
    fact("eui64_id", NONE, IDENTITY, IDENTITY_REMEDY),
    fact(
        "pr_state",
        NONE,
        "reservations and registrations are not carried over",
        "have hosts register again (restart what reserves the disk: cluster software, multipathd)",
    ),
    fact(
        "pr_file_name",
        NONE,
        "reservations and registrations are not carried over",
        "have hosts register again (restart what reserves the disk: cluster software, multipathd)",
    ),
    fact(
        "gen_tp_soft_threshold_reached_UA",
        NONE,
        "pagecast has no thresholds of space",
        "watch the file system that holds the device",
    ),
    fact(
        "comment",
        NONE,
        "there is no room for comments in JSON",
        NOTHING,
    ),
];

/// Attributes of handlers.
pub(super) const HANDLER: &[Fact] = &[
    fact("trace_level", NONE, DEBUGGING, DEBUGGING_REMEDY),
    fact("type", NONE, DEBUGGING, DEBUGGING_REMEDY),
];

/// Attributes of any target.
pub(super) const TARGET: &[Fact] = &[
    fact(
        "rel_tgt_id",
        NONE,
        "pagecast numbers its ports itself",
        "clusters that tell paths apart by relative target port need the new numbers",
    ),
    fact(
        "addr_method",
        NONE,
        "pagecast chooses the form of LUNs by their numbers (SAM-5)",
        NOTHING,
    ),
    fact(
        "black_hole",
        ZERO,
        "pagecast has no way to drop commands on purpose",
        "leave it, unless it was there for a test",
    ),
    fact("cpu_mask", NONE, CPUS, NOTHING),
    fact(
        "io_grouping_type",
        NONE,
        "pagecast leaves I/O of all initiators to one scheduler of the kernel",
        NOTHING,
    ),
    fact(
        "aen_disabled",
        NONE,
        "pagecast tells initiators of changes by unit attentions",
        NOTHING,
    ),
    fact("forward_src", ZERO, CLUSTER, CLUSTER_REMEDY),
    fact("forward_dst", ZERO, CLUSTER, CLUSTER_REMEDY),
    fact("forwarding", ZERO, CLUSTER, CLUSTER_REMEDY),
    fact("dif_capabilities", NONE, DIF, DIF_REMEDY),
    fact("dif_checks_failed", NONE, DIF, DIF_REMEDY),
    fact(
        "comment",
        NONE,
        "there is no room for comments in JSON",
        NOTHING,
    ),
    fact(
        "HW_TARGET",
        NONE,
        "it says that SCST did not make the target",
        NOTHING,
    ),
    fact("comp_v_mask", NONE, CPUS, NOTHING),
];

/// Attributes of iSCSI targets.
pub(super) const ISCSI_TARGET: &[Fact] = &[
    fact(
        "HeaderDigest",
        NONE,
        "pagecast does digests when the initiator asks for them",
        NOTHING,
    ),
    fact(
        "DataDigest",
        NONE,
        "pagecast does digests when the initiator asks for them",
        NOTHING,
    ),
    fact("InitialR2T", NONE, NEGOTIATION, NOTHING),
    fact("ImmediateData", NONE, NEGOTIATION, NOTHING),
    fact("MaxRecvDataSegmentLength", NONE, NEGOTIATION, NOTHING),
    fact("MaxXmitDataSegmentLength", NONE, NEGOTIATION, NOTHING),
    fact("MaxBurstLength", NONE, NEGOTIATION, NOTHING),
    fact("FirstBurstLength", NONE, NEGOTIATION, NOTHING),
    fact("MaxOutstandingR2T", NONE, NEGOTIATION, NOTHING),
    fact("MaxConnections", NONE, NEGOTIATION, NOTHING),
    fact("DefaultTime2Wait", NONE, NEGOTIATION, NOTHING),
    fact("DefaultTime2Retain", NONE, NEGOTIATION, NOTHING),
    fact("ErrorRecoveryLevel", NONE, NEGOTIATION, NOTHING),
    fact("DataPDUInOrder", NONE, NEGOTIATION, NOTHING),
    fact("DataSequenceInOrder", NONE, NEGOTIATION, NOTHING),
    fact("MaxSessions", ZERO, PROCESS_WIDE, "set \"max_sessions\""),
    fact("QueuedCommands", NONE, PROCESS_WIDE, "set \"queue_depth\""),
    fact("NopInInterval", NONE, PROCESS_WIDE, "set \"nop_interval\""),
    fact("NopInTimeout", NONE, PROCESS_WIDE, "set \"nop_timeout\""),
    fact("RspTimeout", NONE, PROCESS_WIDE, "set \"nop_timeout\""),
    fact(
        "alias",
        NONE,
        "targets of pagecast have no alias",
        "choose the target's name so that it says what it is",
    ),
    fact("tid", NONE, "pagecast numbers its targets itself", NOTHING),
    fact(
        "redirect",
        NONE,
        "pagecast does not send initiators elsewhere",
        "configure the other portal at the initiators",
    ),
];

/// Attributes of drivers.
pub(super) const DRIVER: &[Fact] = &[
    fact("trace_level", NONE, DEBUGGING, DEBUGGING_REMEDY),
    fact("version", NONE, DEBUGGING, DEBUGGING_REMEDY),
    fact("open_state", NONE, DEBUGGING, DEBUGGING_REMEDY),
    fact("type", NONE, DEBUGGING, DEBUGGING_REMEDY),
];

/// Attributes of the driver iscsi.
pub(super) const ISCSI_DRIVER: &[Fact] = &[
    fact(
        "iSNSServer",
        NONE,
        "pagecast does not register with iSNS",
        "have initiators find targets by SendTargets",
    ),
    fact(
        "link_local",
        NONE,
        "portals of pagecast are not link-local",
        NOTHING,
    ),
    fact(
        "internal_portal",
        NONE,
        "it is for traffic between the nodes of a cluster",
        NOTHING,
    ),
];

/// Attributes of groups.
pub(super) const GROUP: &[Fact] = &[
    fact(
        "addr_method",
        NONE,
        "pagecast chooses the form of LUNs by their numbers (SAM-5)",
        NOTHING,
    ),
    fact(
        "black_hole",
        ZERO,
        "pagecast has no way to drop commands on purpose",
        "leave it, unless it was there for a test",
    ),
    fact("cpu_mask", NONE, CPUS, NOTHING),
    fact(
        "io_grouping_type",
        NONE,
        "pagecast leaves I/O of all initiators to one scheduler of the kernel",
        NOTHING,
    ),
    fact(
        "comment",
        NONE,
        "there is no room for comments in JSON",
        NOTHING,
    ),
];

/// Attributes of LUNs.
pub(super) const LUN: &[Fact] = &[];

/// Attributes of SCST as a whole.
pub(super) const GLOBAL: &[Fact] = &[
    fact(
        "setup_id",
        NONE,
        "pagecast's identities follow from names and its machine id",
        NOTHING,
    ),
    fact("cluster_name", NONE, CLUSTER, CLUSTER_REMEDY),
    fact("max_tasklet_cmd", NONE, THREADS, THREADS_REMEDY),
    fact("threads", NONE, THREADS, THREADS_REMEDY),
    fact(
        "poll_us",
        NONE,
        "pagecast polls in its own way",
        "set \"poll_time\"",
    ),
    fact(
        "force_global_sgv_pool",
        NONE,
        "pagecast has staging memory of a fixed size",
        "set \"staging_memory\"",
    ),
    fact("measure_latency", NONE, "pagecast always measures", NOTHING),
    fact(
        "async_lun_replace",
        NONE,
        "pagecast changes LUNs without suspending others",
        NOTHING,
    ),
    fact("suspend", NONE, "it is a command, not a setting", NOTHING),
    fact("trace_level", NONE, DEBUGGING, DEBUGGING_REMEDY),
    fact("trace_cmds", NONE, DEBUGGING, DEBUGGING_REMEDY),
    fact("trace_mcmds", NONE, DEBUGGING, DEBUGGING_REMEDY),
    fact("last_sysfs_mgmt_res", NONE, DEBUGGING, DEBUGGING_REMEDY),
    fact("version", NONE, DEBUGGING, DEBUGGING_REMEDY),
    fact(
        "ALUA",
        NONE,
        "pagecast has no settings of ALUA",
        ALUA_REMEDY,
    ),
];

/// Why devices of a handler are not imported, and what to do.
pub(super) fn handler(name: &str) -> (&'static str, &'static str) {
    match name {
        "vdisk_nullio" => (
            "it stores nothing, and pagecast's devices store what is written",
            "for tests, add a device with \"backend\": \"memory\"",
        ),
        "vcdrom" => (
            "pagecast serves disks alone",
            "serve the image as a disk with \"read_only\": true, if its hosts can use it",
        ),
        name if name.starts_with("dev_disk") => (
            "pagecast does not pass SCSI commands on to a disk",
            "add it with \"backend\": \"block\" and the path of its block device; hosts see a disk of pagecast's then, with another identity",
        ),
        name if name.starts_with("dev_") => (
            "pagecast serves disks alone, and passes no SCSI commands on",
            "keep SCST for it",
        ),
        _ => (
            "pagecast has files, block devices and memory, and this is another kind",
            "find out what holds its data, and add that",
        ),
    }
}

/// Why targets of a driver are not imported, and what to do.
pub(super) fn driver(name: &str) -> (&'static str, &'static str) {
    match name {
        "copy_manager" => (
            "EXTENDED COPY needs no target of its own in pagecast",
            "nothing has to be done",
        ),
        "scst_local" => (
            "pagecast has no target for the machine that it runs on",
            "use the file or block device itself, or log in over the loopback interface",
        ),
        "iser" | "isert" | "isert_scst" => (
            "iSER belongs to the driver iscsi, whose targets get an iser portal here",
            "make a target with an iser portal for what is in it",
        ),
        "qla2x00t" | "qla_isp" | "qla2xxx" | "fcst" | "lpfc" | "lpfc_scst" | "emlxs"
        | "ocs_fc_scst" | "mvsas_tgt" | "fcoe" | "tcm_fc" => (
            "pagecast has no Fibre Channel and no SAS",
            "make targets for its groups that hosts reach over SRP, iSER, iSCSI or NVMe over RDMA",
        ),
        _ => (
            "pagecast has SRP, iSER, iSCSI and NVMe over RDMA",
            "make targets for its groups that hosts reach over one of them",
        ),
    }
}
