//! Every metric that there is: its name, its unit, its meaning, and where its value comes from.
//!
//! Names are part of the interface: add, but do not rename. `docs/metrics.md` and the dashboard in `docs/grafana` are tested against
//! these tables.

use crate::control::reports::{DaemonState, DeviceReport, DeviceState, TargetReport};
use crate::metrics::sums::SessionSum;
use crate::metrics::text::Process;

/// What Prometheus calls a metric of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// With its unit, as Prometheus wants it.
    pub name: &'static str,
    /// What can be reckoned with it.
    pub kind: Kind,
    /// For people.
    pub help: &'static str,
    /// What tells its series apart.
    pub labels: &'static [&'static str],
}

/// The types of Prometheus's text format that are used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until the daemon, or what it counts for, begins anew.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts of what is no larger than each of some bounds.
    Histogram,
}

impl Kind {
    /// As a TYPE line has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// Bytes, or how many.
    Whole(u64),
    /// Microseconds, which are told in seconds.
    Micros(u64),
}

impl From<bool> for Number {
    fn from(yes: bool) -> Self {
        Self::Whole(yes.into())
    }
}

/// A metric that has one value for each `T`.
#[derive(Debug)]
pub struct Series<T> {
    /// Its name.
    pub family: Family,
    /// Where the value is.
    pub value: fn(&T) -> Number,
}

const fn counter<T>(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    value: fn(&T) -> Number,
) -> Series<T> {
    let kind = Kind::Counter;
    let family = Family {
        name,
        kind,
        help,
        labels,
    };
    Series { family, value }
}

const fn gauge<T>(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    value: fn(&T) -> Number,
) -> Series<T> {
    let kind = Kind::Gauge;
    let family = Family {
        name,
        kind,
        help,
        labels,
    };
    Series { family, value }
}

use Number::Whole;

/// Of the process.
pub const PROCESS: &[Series<Process>] = &[
    gauge(
        "pagecast_uptime_seconds",
        &[],
        "Seconds since the daemon was ready.",
        |p| Whole(p.stats.uptime_seconds),
    ),
    gauge(
        "pagecast_running",
        &[],
        "1 while logins are taken, 0 while the daemon drains.",
        |p| (p.status.state == DaemonState::Running).into(),
    ),
    gauge(
        "pagecast_warnings",
        &[],
        "Warnings that `pagecast status` shows.",
        |p| Whole(p.status.warnings.len() as u64),
    ),
    gauge("pagecast_shards", &[], "I/O threads.", |p| {
        Whole(p.stats.shards as u64)
    }),
    gauge(
        "pagecast_sessions",
        &[],
        "Sessions that are logged in.",
        |p| Whole(p.stats.sessions as u64),
    ),
    gauge(
        "pagecast_connections",
        &[],
        "Connections of sessions that are up.",
        |p| Whole(p.stats.connections),
    ),
    counter("pagecast_logins_total", &[], "Logins accepted.", |p| {
        Whole(p.stats.logins)
    }),
    counter("pagecast_refusals_total", &[], "Logins refused.", |p| {
        Whole(p.stats.refusals)
    }),
    gauge(
        "pagecast_registered_bytes",
        &[],
        "Memory registered with RDMA devices: windows, staging, message slots.",
        |p| Whole(p.stats.registered_bytes),
    ),
    gauge(
        "pagecast_staging_used_bytes",
        &[],
        "Staging buffers in use.",
        |p| Whole(p.stats.staged_bytes),
    ),
    gauge(
        "pagecast_staging_limit_bytes",
        &[],
        "Staging buffers that there are.",
        |p| Whole(p.stats.staged_limit_bytes),
    ),
    counter(
        "pagecast_staging_waits_total",
        &[],
        "Times that a command had to wait for a staging buffer.",
        |p| Whole(p.stats.staging_waits),
    ),
    gauge(
        "pagecast_pinned_bytes",
        &[],
        "Page cache that windows pin.",
        |p| Whole(p.stats.pinned_bytes),
    ),
    gauge(
        "pagecast_pinned_limit_bytes",
        &[],
        "Page cache that windows may pin.",
        |p| Whole(p.stats.pinned_limit_bytes),
    ),
];

const BY_TARGET: &[&str] = &["target"];

/// Of each target.
pub const TARGET: &[Series<TargetReport>] = &[gauge(
    "pagecast_target_sessions",
    BY_TARGET,
    "Sessions that are logged in to the target.",
    |t| Whole(t.sessions as u64),
)];

const BY_DEVICE: &[&str] = &["device"];

/// Of each device.
pub const DEVICE: &[Series<DeviceReport>] = &[
    gauge(
        "pagecast_device_online",
        BY_DEVICE,
        "1 if the device works, 0 if its store is gone, or shrank.",
        |d| (d.state == DeviceState::Online).into(),
    ),
    gauge(
        "pagecast_device_misplaced",
        BY_DEVICE,
        "1 if the device works, but its path does not lead to its store any more: it was deleted, moved or replaced.",
        |d| (d.state == DeviceState::Online && d.why.is_some()).into(),
    ),
    gauge(
        "pagecast_device_size_bytes",
        BY_DEVICE,
        "Size that initiators see.",
        |d| Whole(d.size),
    ),
    counter(
        "pagecast_device_reads_total",
        BY_DEVICE,
        "Read commands begun, and pieces read to be copied.",
        |d| Whole(d.counters.reads),
    ),
    counter(
        "pagecast_device_read_bytes_total",
        BY_DEVICE,
        "Bytes read for initiators.",
        |d| Whole(d.counters.read_bytes),
    ),
    counter(
        "pagecast_device_read_zero_copy_bytes_total",
        BY_DEVICE,
        "Of the bytes read, those that came straight from the page cache or memory.",
        |d| Whole(d.counters.read_bytes_zero_copy),
    ),
    counter(
        "pagecast_device_writes_total",
        BY_DEVICE,
        "Write commands begun, and pieces written by copies.",
        |d| Whole(d.counters.writes),
    ),
    counter(
        "pagecast_device_write_bytes_total",
        BY_DEVICE,
        "Bytes written for initiators.",
        |d| Whole(d.counters.write_bytes),
    ),
    counter(
        "pagecast_device_write_zero_copy_bytes_total",
        BY_DEVICE,
        "Of the bytes written, those that landed straight in the page cache or memory.",
        |d| Whole(d.counters.write_bytes_zero_copy),
    ),
    counter(
        "pagecast_device_flushes_total",
        BY_DEVICE,
        "Flush commands.",
        |d| Whole(d.counters.flushes),
    ),
    counter(
        "pagecast_device_discards_total",
        BY_DEVICE,
        "Discard and write-zeroes operations.",
        |d| Whole(d.counters.discards),
    ),
    counter(
        "pagecast_device_errors_total",
        BY_DEVICE,
        "Commands that failed for another reason than the initiator's own mistake.",
        |d| Whole(d.counters.errors),
    ),
    counter(
        "pagecast_device_read_errors_total",
        BY_DEVICE,
        "Reads that the store failed.",
        |d| Whole(d.counters.read_errors),
    ),
    counter(
        "pagecast_device_write_errors_total",
        BY_DEVICE,
        "Writes and other changes that the store failed.",
        |d| Whole(d.counters.write_errors),
    ),
    counter(
        "pagecast_device_lost_writes_total",
        BY_DEVICE,
        "Flushes that failed: data that was acknowledged before may be lost.",
        |d| Whole(d.counters.lost_writes),
    ),
    counter(
        "pagecast_device_window_hits_total",
        BY_DEVICE,
        "Ranges served from windows.",
        |d| Whole(d.counters.window_hits),
    ),
    counter(
        "pagecast_device_window_misses_total",
        BY_DEVICE,
        "Ranges staged for want of a window.",
        |d| Whole(d.counters.window_misses),
    ),
    counter(
        "pagecast_device_window_registrations_total",
        BY_DEVICE,
        "Windows registered.",
        |d| Whole(d.counters.window_registrations),
    ),
    counter(
        "pagecast_device_window_evictions_total",
        BY_DEVICE,
        "Windows given up for others.",
        |d| Whole(d.counters.window_evictions),
    ),
    gauge(
        "pagecast_device_windows",
        BY_DEVICE,
        "Windows registered now.",
        |d| Whole(d.counters.windows),
    ),
    gauge(
        "pagecast_device_pinned_bytes",
        BY_DEVICE,
        "Page cache that the device's windows pin.",
        |d| Whole(d.counters.pinned_bytes),
    ),
    gauge(
        "pagecast_device_in_flight",
        BY_DEVICE,
        "Commands in flight.",
        |d| Whole(d.in_flight),
    ),
    gauge(
        "pagecast_device_queue_depth",
        BY_DEVICE,
        "Commands that may be in flight now.",
        |d| Whole(d.queue_depth.into()),
    ),
    gauge(
        "pagecast_device_queue_depth_max",
        BY_DEVICE,
        "Commands that may ever be in flight (\"queue_depth_max\").",
        |d| Whole(d.queue_depth_max.into()),
    ),
    gauge(
        "pagecast_device_worst_time_seconds",
        BY_DEVICE,
        "Longest execution of a command in the last period, which is some seconds.",
        |d| Number::Micros(d.worst_time_us),
    ),
    gauge(
        "pagecast_device_reserved",
        BY_DEVICE,
        "1 if there is a persistent reservation.",
        |d| d.reservations.kind.is_some().into(),
    ),
    gauge(
        "pagecast_device_registrants",
        BY_DEVICE,
        "Initiators registered for reservations.",
        |d| Whole(d.reservations.registrants as u64),
    ),
];

/// Not the number of the session, which would make a series of its own for every login.
pub const BY_SESSION: &[&str] = &["initiator", "target", "transport", "group", "peer"];

/// Of each initiator at each target, by what it came in over. If it is logged in several times over, the sum.
pub const SESSION: &[Series<SessionSum>] = &[
    gauge(
        "pagecast_session_up",
        BY_SESSION,
        "Sessions with these labels that are logged in.",
        |s| Whole(s.sessions),
    ),
    gauge(
        "pagecast_session_connections",
        BY_SESSION,
        "Connections that are up.",
        |s| Whole(s.connections),
    ),
    gauge(
        "pagecast_session_in_flight",
        BY_SESSION,
        "Commands in flight.",
        |s| Whole(s.in_flight),
    ),
    counter(
        "pagecast_session_reads_total",
        BY_SESSION,
        "Read commands that have ended.",
        |s| Whole(s.done.counters.reads),
    ),
    counter(
        "pagecast_session_read_bytes_total",
        BY_SESSION,
        "Bytes sent for them.",
        |s| Whole(s.done.counters.read_bytes),
    ),
    counter(
        "pagecast_session_writes_total",
        BY_SESSION,
        "Write commands that have ended.",
        |s| Whole(s.done.counters.writes),
    ),
    counter(
        "pagecast_session_write_bytes_total",
        BY_SESSION,
        "Bytes received for them.",
        |s| Whole(s.done.counters.write_bytes),
    ),
    counter(
        "pagecast_session_other_commands_total",
        BY_SESSION,
        "Other commands that have ended.",
        |s| Whole(s.done.counters.other),
    ),
];

/// The version.
pub const BUILD: Family = info(
    "pagecast_build_info",
    &["version"],
    "Always 1; the label says which version runs.",
);

/// RDMA devices.
pub const ADAPTER: Family = info(
    "pagecast_adapter_info",
    &["adapter", "node_guid", "on_demand_paging"],
    "Always 1, for each RDMA device in use.",
);

/// What a device is.
pub const DEVICE_INFO: Family = info(
    "pagecast_device_info",
    &["device", "backend", "store", "zero_copy"],
    "Always 1; the labels say what the device is and how copies are avoided.",
);

/// Portals.
pub const PORTAL: Family = info(
    "pagecast_portal_listening",
    &["target", "portal"],
    "1 if the portal listens, 0 if it does not.",
);

/// How long commands of a device took.
pub const DEVICE_TIMES: Family = Family {
    name: "pagecast_device_command_duration_seconds",
    kind: Kind::Histogram,
    help: "How long commands took, from when they were received to when the initiator had their response.",
    labels: &["device", "command"],
};

/// How long commands of a session took.
pub const SESSION_TIMES: Family = Family {
    name: "pagecast_session_command_duration_seconds",
    kind: Kind::Histogram,
    help: "How long commands took, from when they were received to when the initiator had their response.",
    labels: &[
        "initiator",
        "target",
        "transport",
        "group",
        "peer",
        "command",
    ],
};

const fn info(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family {
        name,
        kind: Kind::Gauge,
        help,
        labels,
    }
}

/// All of them, in the order of the text.
pub fn all() -> Vec<Family> {
    let mut all = vec![BUILD];
    all.extend(PROCESS.iter().map(|series| series.family));
    all.push(ADAPTER);
    all.push(PORTAL);
    all.extend(TARGET.iter().map(|series| series.family));
    all.push(DEVICE_INFO);
    all.extend(DEVICE.iter().map(|series| series.family));
    all.push(DEVICE_TIMES);
    all.extend(SESSION.iter().map(|series| series.family));
    all.push(SESSION_TIMES);
    all
}
