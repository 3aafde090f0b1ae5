//! What two samples say together.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::latency::{Histogram, Percentiles};
use super::sample::Sample;
use crate::human::clean;

/// What there is to show.
#[derive(Clone, Debug, Serialize)]
pub(super) struct View {
    /// Seconds between the samples; none if there is one only.
    pub(super) interval_seconds: Option<f64>,
    /// The daemon was started in between, and there are no differences.
    pub(super) restarted: bool,
    pub(super) uptime_seconds: u64,
    pub(super) connections: u64,
    pub(super) registered_bytes: u64,
    pub(super) pinned_bytes: u64,
    pub(super) pinned_limit_bytes: u64,
    pub(super) staged_bytes: u64,
    pub(super) staged_limit_bytes: u64,
    /// Of all devices.
    pub(super) total: Rates,
    pub(super) devices: Vec<Device>,
    pub(super) sessions: Vec<Session>,
}

/// What was done in a second. None if that cannot be said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Rates {
    pub(super) read_iops: Option<f64>,
    pub(super) write_iops: Option<f64>,
    pub(super) read_bytes_per_second: Option<f64>,
    pub(super) write_bytes_per_second: Option<f64>,
}

/// How long commands took that ended in the interval. None if there were none, or it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Latencies {
    /// READs and WRITEs.
    pub(super) latency: Option<Percentiles>,
    pub(super) read_latency: Option<Percentiles>,
    pub(super) write_latency: Option<Percentiles>,
    pub(super) other_latency: Option<Percentiles>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Device {
    pub(super) name: String,
    pub(super) state: String,
    #[serde(flatten)]
    pub(super) rates: Rates,
    /// Of the bytes in the interval, those that were moved without a copy, from 0 to 1.
    pub(super) zero_copy_share: Option<f64>,
    #[serde(flatten)]
    pub(super) latencies: Latencies,
    pub(super) queue_depth: Option<u64>,
    pub(super) queue_depth_max: Option<u64>,
    pub(super) in_flight: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Session {
    pub(super) id: u64,
    pub(super) initiator: String,
    pub(super) peer: String,
    pub(super) transport: String,
    pub(super) target: String,
    pub(super) group: String,
    #[serde(flatten)]
    pub(super) rates: Rates,
    #[serde(flatten)]
    pub(super) latencies: Latencies,
    pub(super) in_flight: u64,
}

impl Rates {
    pub(super) fn iops(&self) -> Option<f64> {
        Some(self.read_iops? + self.write_iops?)
    }

    pub(super) fn bytes_per_second(&self) -> Option<f64> {
        Some(self.read_bytes_per_second? + self.write_bytes_per_second?)
    }

    /// Together with others; what cannot be said of one counts for nothing in the sum.
    fn plus(self, other: Self) -> Self {
        let sum = |one: Option<f64>, other: Option<f64>| match (one, other) {
            (Some(one), Some(other)) => Some(one + other),
            (one, other) => one.or(other),
        };
        Self {
            read_iops: sum(self.read_iops, other.read_iops),
            write_iops: sum(self.write_iops, other.write_iops),
            read_bytes_per_second: sum(self.read_bytes_per_second, other.read_bytes_per_second),
            write_bytes_per_second: sum(self.write_bytes_per_second, other.write_bytes_per_second),
        }
    }
}

impl View {
    /// With one sample only there are no rates.
    pub(super) fn new(before: Option<&Sample>, now: &Sample) -> Self {
        let uptime = |sample: &Sample| number(&sample.stats, "uptime_seconds").unwrap_or(0);
        let elapsed = before.and_then(|before| seconds(before.devices_at, now.devices_at));
        let restarted = match (before, elapsed) {
            // Whole seconds: two of them may be lost to rounding.
            (Some(before), Some(elapsed)) => {
                uptime(now) as f64 + 2.0 < uptime(before) as f64 + elapsed
            }
            _ => false,
        };
        let before = before.filter(|_| !restarted);

        let span = before.and_then(|before| seconds(before.devices_at, now.devices_at));
        let known = by(before.map(|before| before.devices.as_slice()), "name");
        let devices: Vec<Device> = now
            .devices
            .iter()
            .map(|device| {
                let name = device.get("name").and_then(Value::as_str).unwrap_or("-");
                Device::new(span, known.get(name).copied(), device)
            })
            .collect();
        let span = before.and_then(|before| seconds(before.sessions_at, now.sessions_at));
        let known = by(before.map(|before| before.sessions.as_slice()), "id");
        let sessions: Vec<Session> = now
            .sessions
            .iter()
            .map(|session| {
                let id = key(session, "id");
                Session::new(span, known.get(&id).copied(), session)
            })
            .collect();
        let gauge = |key| number(&now.stats, key).unwrap_or(0);
        Self {
            interval_seconds: elapsed.map(rounded),
            restarted,
            uptime_seconds: uptime(now),
            connections: gauge("connections"),
            registered_bytes: gauge("registered_bytes"),
            pinned_bytes: gauge("pinned_bytes"),
            pinned_limit_bytes: gauge("pinned_limit_bytes"),
            staged_bytes: gauge("staged_bytes"),
            staged_limit_bytes: gauge("staged_limit_bytes"),
            total: devices
                .iter()
                .fold(Rates::default(), |sum, device| sum.plus(device.rates)),
            devices,
            sessions,
        }
    }

    pub(super) fn to_json(&self) -> Value {
        // Texts and numbers: nothing that could fail.
        serde_json::to_value(self).unwrap_or_default()
    }
}

impl Device {
    fn new(span: Option<f64>, before: Option<&Value>, now: &Value) -> Self {
        let moved = ["read_bytes", "write_bytes"].map(|key| since(before, now, key));
        let uncopied =
            ["read_bytes_zero_copy", "write_bytes_zero_copy"].map(|key| since(before, now, key));
        let sum = |counts: [Option<u64>; 2]| Some(counts[0]? as f64 + counts[1]? as f64);
        let share = match (span, sum(uncopied), sum(moved)) {
            (Some(_), Some(uncopied), Some(moved)) if moved > 0.0 => {
                Some(rounded(uncopied / moved))
            }
            _ => None,
        };
        Self {
            name: text(now, "name"),
            state: text(now, "state"),
            rates: rates(span, before, now),
            zero_copy_share: share,
            latencies: latencies(span, before, now),
            queue_depth: number(now, "queue_depth"),
            queue_depth_max: number(now, "queue_depth_max"),
            in_flight: number(now, "in_flight").unwrap_or(0),
        }
    }
}

impl Session {
    fn new(span: Option<f64>, before: Option<&Value>, now: &Value) -> Self {
        Self {
            id: number(now, "id").unwrap_or(0),
            initiator: text(now, "initiator"),
            peer: text(now, "peer"),
            transport: text(now, "transport"),
            target: text(now, "target"),
            group: text(now, "group"),
            rates: rates(span, before, now),
            latencies: latencies(span, before, now),
            in_flight: number(now, "in_flight").unwrap_or(0),
        }
    }
}

fn rates(span: Option<f64>, before: Option<&Value>, now: &Value) -> Rates {
    let rate = |key| Some(rounded(since(before, now, key)? as f64 / span?));
    Rates {
        read_iops: rate("reads"),
        write_iops: rate("writes"),
        read_bytes_per_second: rate("read_bytes"),
        write_bytes_per_second: rate("write_bytes"),
    }
}

fn latencies(span: Option<f64>, before: Option<&Value>, now: &Value) -> Latencies {
    let histogram = |kind| {
        span?;
        let histogram = Histogram::read(now, kind)?;
        match before {
            Some(before) => histogram.since(&Histogram::read(before, kind)?),
            None => Some(histogram),
        }
    };
    let percentiles = |histogram: &Option<Histogram>| histogram.as_ref()?.percentiles();
    let (read, write) = (histogram("read"), histogram("write"));
    Latencies {
        read_latency: percentiles(&read),
        write_latency: percentiles(&write),
        other_latency: percentiles(&histogram("other")),
        latency: match (read, write) {
            (Some(read), Some(write)) => read.with(&write).percentiles(),
            _ => None,
        },
    }
}

/// What has come to a counter: all of it if the device or the session is new. None if there is no such counter, or it has gone back,
/// as when a device was removed and one of the same name added.
fn since(before: Option<&Value>, now: &Value, key: &str) -> Option<u64> {
    let now = number(now, key)?;
    match before {
        Some(before) => now.checked_sub(number(before, key)?),
        None => Some(now),
    }
}

fn by<'a>(list: Option<&'a [Value]>, name: &str) -> HashMap<String, &'a Value> {
    let items = list.unwrap_or_default().iter();
    items.map(|item| (key(item, name), item)).collect()
}

fn key(item: &Value, name: &str) -> String {
    match item.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "-".to_owned(),
    }
}

fn number(item: &Value, key: &str) -> Option<u64> {
    item.get(key)?.as_u64()
}

fn text(item: &Value, key: &str) -> String {
    clean(item.get(key).and_then(Value::as_str).unwrap_or("-"))
}

/// None if no time has passed.
fn seconds(before: Duration, now: Duration) -> Option<f64> {
    let span = now.checked_sub(before)?.as_secs_f64();
    (span > 0.0).then_some(span)
}

/// To thousandths.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
