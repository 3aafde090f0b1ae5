//! What the daemon tells about itself, field by field. The names are part of the interface: add, but do not rename.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::shapes;
use crate::config::{ChapConfig, DhchapConfig, GroupConfig, Portal, Transport};
use crate::events::Closed;

/// `status`: the daemon at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Status {
    /// Whether it still takes logins.
    pub state: DaemonState,
    /// Of the daemon.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// Seconds since it was ready.
    pub uptime_seconds: u64,
    /// How many there are.
    pub devices: usize,
    /// How many there are.
    pub targets: usize,
    /// How many are logged in.
    pub sessions: usize,
    /// Connections that are up.
    pub connections: u64,
    /// RDMA devices in use.
    pub adapters: Vec<AdapterReport>,
    /// What people should know, such as a portal that is not served; empty if all is well.
    pub warnings: Vec<String>,
}

/// Where the daemon is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DaemonState {
    /// Serving.
    Running,
    /// Draining; no new logins.
    Stopping,
}

/// One RDMA device.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct AdapterReport {
    /// Such as `rxe0`.
    pub name: String,
    /// 16 hex digits.
    pub node_guid: String,
    /// Whether it says that it pages on demand.
    pub on_demand_paging: bool,
}

/// `device show`: one device.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct DeviceReport {
    /// As configured.
    pub name: String,
    /// `file`, `block` or `memory`.
    pub backend: String,
    /// Of stores that have one.
    pub path: Option<String>,
    /// What the store turned out to be, such as `file on ext4`.
    pub store: String,
    /// Whether it works.
    pub state: DeviceState,
    /// Why it does not work; of one that does, that its path does not lead to its store any more. None if all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Bytes.
    pub size: u64,
    /// Bytes of a logical block.
    pub block_size: u32,
    /// Writes are refused.
    pub read_only: bool,
    /// A volatile write cache is reported.
    pub write_cache: bool,
    /// Hex digits.
    pub naa: String,
    /// Unit serial number.
    pub serial: String,
    /// With hyphens.
    pub uuid: String,
    /// How copies are avoided.
    pub zero_copy: ZeroCopyReport,
    /// Who keeps whom out, in short.
    pub reservations: DeviceReservations,
    /// Commands that may be in flight now.
    pub queue_depth: u32,
    /// Commands that may ever be in flight.
    pub queue_depth_max: u32,
    /// Commands in flight.
    pub in_flight: u64,
    /// Longest execution of a command in the last period, in microseconds.
    pub worst_time_us: u64,
    /// What it has done since it was opened.
    #[serde(flatten)]
    pub counters: DeviceCounters,
    /// How long commands took.
    pub latency: Latency,
    /// The same in full.
    pub latency_buckets: LatencyBuckets,
}

/// How long commands took, from when they were received to when the initiator had their response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Latency {
    /// Reads.
    pub read: LatencySummary,
    /// Writes, and their like.
    pub write: LatencySummary,
    /// Everything else.
    pub other: LatencySummary,
}

/// How long commands of one kind took, in microseconds. Percentiles are as good as the buckets that they are from: wrong by less than
/// a factor of two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LatencySummary {
    /// How many commands.
    pub count: u64,
    /// The sum of their times.
    pub sum_us: u64,
    /// One half took no longer.
    pub p50_us: u64,
    /// Of ten, nine took no longer.
    pub p90_us: u64,
    /// Of a hundred, 99 took no longer.
    pub p99_us: u64,
    /// Of a thousand, 999 took no longer.
    pub p999_us: u64,
    /// The longest.
    pub max_us: u64,
}

/// How many commands took how long. Number `i`, from 0, counts those of less than 2^`i` microseconds and no less than 2^(`i` - 1); the
/// last one also what took longer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LatencyBuckets {
    /// Reads.
    pub read: [u64; 32],
    /// Writes, and their like.
    pub write: [u64; 32],
    /// Everything else.
    pub other: [u64; 32],
}

/// `device list`.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct DeviceList {
    /// All devices, in the order of the configuration.
    pub devices: Vec<DeviceReport>,
}

/// The reservations of a device, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DeviceReservations {
    /// Whether there may be any.
    pub enabled: bool,
    /// Type of the reservation; none if there is none.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// How many are registered.
    pub registrants: usize,
}

/// `reservation show`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ReservationList {
    /// Those of each device that was asked for.
    pub reservations: Vec<ReservationReport>,
}

/// The reservations of one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ReservationReport {
    /// The device's name.
    pub name: String,
    /// Whether there may be any.
    pub enabled: bool,
    /// Type of the reservation, such as `write-exclusive-registrants-only`; none if there is none.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Every registrant holds it.
    pub held_by_all: bool,
    /// Who holds it, if not all do.
    pub holders: Vec<String>,
    /// How often it has changed since the start: PRGENERATION.
    pub generation: u32,
    /// Whether it outlives a restart: APTPL, PTPL.
    pub persistent: bool,
    /// Registrants that there may be.
    pub registrants_max: u32,
    /// Who is registered.
    pub registrants: Vec<RegistrantReport>,
}

/// Somebody who is registered with a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RegistrantReport {
    /// `0x` and 16 hex digits.
    pub key: String,
    /// `srp`, `iscsi` (iSER as well) or `nvme`.
    pub protocol: String,
    /// SRP port identifier, iSCSI name and ISID, or NVMe host identifier.
    pub initiator: String,
    /// The target's name, for SCSI.
    pub target: Option<String>,
    /// The relative identifier of its port, for SCSI.
    pub target_port: Option<u16>,
    /// Whether it holds the reservation.
    pub holder: bool,
    /// Whether it is logged in.
    pub live: bool,
}

/// `reservation clear`: what there was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ReservationsCleared {
    /// The device's name.
    pub name: String,
    /// Type of the reservation; none if there was none.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// How many were registered.
    pub registrants: usize,
}

/// `device resize`: what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ResizeReport {
    /// As configured.
    pub name: String,
    /// Bytes now.
    pub size: u64,
    /// Bytes before.
    pub size_before: u64,
    /// Bytes of a logical block.
    pub block_size: u32,
}

/// Whether a device works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeviceState {
    /// It does.
    Online,
    /// Its store is gone, or shrank. Initiators see it, and their commands end in errors.
    Failed,
    /// Its store cannot be opened, and is tried again. Initiators do not see it.
    Offline,
}

/// How a device avoids copies.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ZeroCopyReport {
    /// In force: `pinned`, `odp` or `off`.
    pub mode: String,
    /// Why this and not another.
    pub why: String,
}

/// What a device has done. The bytes include those that were moved without a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DeviceCounters {
    /// Read commands.
    pub reads: u64,
    /// Bytes sent to initiators.
    pub read_bytes: u64,
    /// Of them, straight from the page cache or memory.
    pub read_bytes_zero_copy: u64,
    /// Write commands.
    pub writes: u64,
    /// Bytes received from initiators.
    pub write_bytes: u64,
    /// Of them, straight into the page cache or memory.
    pub write_bytes_zero_copy: u64,
    /// Flush commands.
    pub flushes: u64,
    /// Discard commands.
    pub discards: u64,
    /// Ranges served from windows.
    pub window_hits: u64,
    /// Ranges staged for want of a window.
    pub window_misses: u64,
    /// Windows registered since the start.
    pub window_registrations: u64,
    /// Windows given up for others.
    pub window_evictions: u64,
    /// Windows registered now.
    pub windows: u64,
    /// Bytes that they pin.
    pub pinned_bytes: u64,
    /// Commands that failed for another reason than the initiator's own mistake.
    pub errors: u64,
    /// Reads that the store failed.
    pub read_errors: u64,
    /// Writes and other changes that the store failed.
    pub write_errors: u64,
    /// Flushes that failed: data that was acknowledged before may be lost.
    pub lost_writes: u64,
}

/// `target list`.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct TargetList {
    /// All targets, in the order of the configuration.
    pub targets: Vec<TargetReport>,
}

/// `target show`: one target.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct TargetReport {
    /// As configured.
    pub name: String,
    /// iSCSI name.
    pub iqn: String,
    /// NVMe qualified name.
    pub nqn: String,
    /// SRP target port identifier.
    pub srp: SrpReport,
    /// What iSCSI and iSER initiators of groups without CHAP of their own prove themselves with. Secrets are not in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<shapes::Chap>")]
    pub chap: Option<ChapConfig>,
    /// What NVMe hosts of groups without DH-HMAC-CHAP of their own prove themselves with. Keys are not in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<shapes::Dhchap>")]
    pub dhchap: Option<DhchapConfig>,
    /// Where it listens.
    pub portals: Vec<PortalReport>,
    /// Who sees what.
    #[schemars(with = "Vec<shapes::Group>")]
    pub groups: Vec<GroupConfig>,
    /// Sessions that are logged in.
    pub sessions: usize,
    /// What to type on an initiator, by transport, for each way to reach the target: the commands of open-iscsi in their order,
    /// with words in capital letters for secrets. For SRP one line each: what to write to `add_target`.
    #[schemars(with = "BTreeMap<String, Vec<String>>")]
    pub initiator_commands: BTreeMap<Transport, Vec<String>>,
}

/// An SRP target port identifier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SrpReport {
    /// 16 hex digits.
    pub id_ext: String,
    /// 16 hex digits.
    pub ioc_guid: String,
}

/// A portal and whether it works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PortalReport {
    /// The keys of the configuration.
    #[serde(flatten)]
    #[schemars(with = "shapes::Portal")]
    pub portal: Portal,
    /// Whether it listens.
    pub listening: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// `group list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct GroupList {
    /// Target by target, in the order in which initiators are matched.
    pub groups: Vec<GroupReport>,
}

/// An access group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct GroupReport {
    /// The target's name.
    pub target: String,
    /// The group's name.
    pub name: String,
    /// Whether it admits whoever no other group admits.
    pub default: bool,
    /// Patterns of initiator names.
    pub initiators: Vec<String>,
    /// The name that its iSCSI and iSER initiators give to prove who they are, by CHAP of its own or of its target; none if they need not.
    pub chap: Option<String>,
    /// Whether its NVMe hosts have to prove who they are, by a key of its own or of its target.
    pub dhchap: bool,
    /// What its initiators see: the name of a device by LUN, or an object where there is more to say.
    #[schemars(with = "BTreeMap<String, shapes::Lun>")]
    pub luns: Value,
    /// Sessions that are in it.
    pub sessions: usize,
}

/// `session list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SessionList {
    /// All that are logged in, oldest first.
    pub sessions: Vec<SessionReport>,
}

/// `session show`, `session close`: one initiator logged in to one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SessionReport {
    /// Unique while the daemon runs.
    pub id: u64,
    /// By the name that groups match.
    pub initiator: String,
    /// The target's name.
    pub target: String,
    /// The access group that let it in.
    pub group: String,
    /// `srp`, `iser`, ...
    pub transport: String,
    /// Address of the initiator.
    pub peer: String,
    /// Connections that are up.
    pub connections: u32,
    /// Commands in flight.
    pub in_flight: u32,
    /// What it has done since it logged in.
    #[serde(flatten)]
    pub counters: SessionCounters,
    /// How long commands took.
    pub latency: Latency,
    /// The same in full.
    pub latency_buckets: LatencyBuckets,
}

/// What a session has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SessionCounters {
    /// Read commands that have ended.
    pub reads: u64,
    /// Bytes sent for them.
    pub read_bytes: u64,
    /// Write commands, and their like, that have ended.
    pub writes: u64,
    /// Bytes received for them.
    pub write_bytes: u64,
    /// Other commands that have ended.
    pub other: u64,
}

/// `stats`: what the process as a whole uses and has done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Stats {
    /// Seconds since the daemon was ready.
    pub uptime_seconds: u64,
    /// I/O threads.
    pub shards: usize,
    /// In use: `io_uring` or `threads`.
    pub io_engine: String,
    /// Why this and not the other.
    pub io_engine_why: String,
    /// Sessions that are logged in.
    pub sessions: usize,
    /// Connections that are up.
    pub connections: u64,
    /// Logins accepted.
    pub logins: u64,
    /// Logins refused.
    pub refusals: u64,
    /// Bytes registered with RDMA devices: windows, staging, message slots.
    pub registered_bytes: u64,
    /// Bytes of staging buffers in use.
    pub staged_bytes: u64,
    /// Bytes of staging buffers that there are.
    pub staged_limit_bytes: u64,
    /// Times that a command had to wait for a staging buffer.
    pub staging_waits: u64,
    /// Bytes of windows' page cache that are pinned.
    pub pinned_bytes: u64,
    /// Bytes that windows may pin.
    pub pinned_limit_bytes: u64,
    /// The sums over all devices.
    pub total: DeviceCounters,
}

/// What came of a change: `device add`, `group map`, `initiator move`, `transaction`, `config reload` and their like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ChangeReport {
    /// The configuration file that has it now; none if there is no file (`--file`), and it lasts until the daemon ends.
    pub file: Option<String>,
    /// Sessions that see something else now, or were closed.
    pub sessions: Vec<SessionChange>,
    /// Settings that are in the file and take effect when the daemon is started again.
    pub restart_needed: Vec<String>,
    /// What people should know.
    pub warnings: Vec<String>,
}

/// What a change did to a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SessionChange {
    /// As in `session list`.
    pub id: u64,
    /// The initiator.
    pub initiator: String,
    /// The target's name.
    pub target: String,
    /// `srp`, `iser`, ...
    pub transport: String,
    /// Its address.
    pub peer: String,
    /// The access group that it was in.
    pub group_before: String,
    /// The access group that it is in now; none if it was closed.
    pub group: Option<String>,
    /// Why it was closed; none if it was not.
    pub closed: Option<Closed>,
    /// LUNs that are there now and were not, or are another device than before.
    pub luns_added: Vec<u32>,
    /// LUNs that are there no more, or are another device now.
    pub luns_removed: Vec<u32>,
}

/// `config show`: the configuration in force.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ConfigReport {
    /// The file that changes are kept in; none with `--file`.
    pub file: Option<String>,
    /// The document, without secrets.
    #[schemars(with = "BTreeMap<String, Value>")]
    pub config: Value,
}

/// `config save`: where the configuration is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SaveReport {
    /// The file.
    pub file: String,
    /// Bytes of it.
    pub bytes: u64,
}

/// `events`: the connection carries them from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Subscribed {
    /// Always true.
    pub subscribed: bool,
}
