//! Reports as text that Prometheus reads (its text exposition format, version 0.0.4).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use super::families::{
    ADAPTER, BUILD, DEVICE, DEVICE_INFO, DEVICE_TIMES, Family, Number, PORTAL, PROCESS, SESSION,
    SESSION_TIMES, Series, TARGET,
};
use super::sums::{SessionLabels, SessionSum, SessionSums, Times};
use crate::control::Management;
use crate::control::reports::{DeviceReport, SessionReport, Stats, Status, TargetReport};

/// What the text is called in HTTP.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The highest bound of the histograms is 2 to this power, in microseconds: 16 seconds. What takes longer is in `+Inf` alone.
const LAST_BOUND: usize = 24;

/// What the daemon tells about itself at some moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The process.
    pub process: Process,
    /// Its targets.
    pub targets: Vec<TargetReport>,
    /// Its devices.
    pub devices: Vec<DeviceReport>,
    /// Who is logged in.
    pub sessions: BTreeMap<SessionLabels, SessionSum>,
}

/// The process.
#[derive(Clone, Debug)]
pub struct Process {
    /// At a glance.
    pub status: Status,
    /// What it uses and has done.
    pub stats: Stats,
}

impl Snapshot {
    /// Asks the daemon. `sums` is what sessions had done before.
    pub fn take(daemon: &dyn Management, sums: &Mutex<SessionSums>) -> Self {
        Self {
            process: Process {
                status: daemon.status(),
                stats: daemon.stats(),
            },
            targets: daemon.targets(),
            devices: daemon.devices(),
            sessions: {
                // Held meanwhile: who looks later sees no less.
                let mut sums = sums.lock().unwrap_or_else(PoisonError::into_inner);
                sums.look(&daemon.sessions(), labels_of).clone()
            },
        }
    }

    /// The text.
    pub fn text(&self) -> String {
        let mut text = Text::default();
        let status = &self.process.status;
        text.family(&BUILD);
        text.sample(&BUILD, "", &[&status.version], Number::Whole(1));
        text.series(PROCESS, &[(Vec::new(), &self.process)]);
        text.family(&ADAPTER);
        for adapter in &status.adapters {
            let paging = if adapter.on_demand_paging {
                "yes"
            } else {
                "no"
            };
            let labels = [&adapter.name, &adapter.node_guid, paging];
            text.sample(&ADAPTER, "", &labels, Number::Whole(1));
        }
        text.targets(&self.targets);
        text.devices(&self.devices);
        text.sessions(&self.sessions);
        text.out
    }
}

#[derive(Debug, Default)]
struct Text {
    out: String,
}

/// What tells a series from others of its family, in the order of the family's labels.
type Labels<'a> = Vec<&'a str>;

impl Text {
    fn targets(&mut self, targets: &[TargetReport]) {
        self.family(&PORTAL);
        for target in targets {
            for portal in &target.portals {
                let labels = [target.name.as_str(), &portal.portal.to_string()];
                self.sample(&PORTAL, "", &labels, portal.listening.into());
            }
        }
        let of = |target| (vec![TargetReport::name(target)], target);
        self.series(TARGET, &targets.iter().map(of).collect::<Vec<_>>());
    }

    fn devices(&mut self, devices: &[DeviceReport]) {
        self.family(&DEVICE_INFO);
        for device in devices {
            let labels = [
                device.name.as_str(),
                &device.backend,
                &device.store,
                &device.zero_copy.mode,
            ];
            self.sample(&DEVICE_INFO, "", &labels, Number::Whole(1));
        }
        let of = |device| (vec![DeviceReport::name(device)], device);
        self.series(DEVICE, &devices.iter().map(of).collect::<Vec<_>>());
        self.family(&DEVICE_TIMES);
        for device in devices {
            let times = Times::of(&device.latency, &device.latency_buckets);
            self.histograms(&DEVICE_TIMES, &[&device.name], &times);
        }
    }

    fn sessions(&mut self, sums: &BTreeMap<SessionLabels, SessionSum>) {
        let of = |(labels, sum)| {
            (
                <[String; 5]>::each_ref(labels).map(String::as_str).to_vec(),
                sum,
            )
        };
        let sums: Vec<(Labels<'_>, &SessionSum)> = sums.iter().map(of).collect();
        self.series(SESSION, &sums);
        self.family(&SESSION_TIMES);
        for (labels, sum) in &sums {
            self.histograms(&SESSION_TIMES, labels, &sum.done.times);
        }
    }

    /// What comes before the samples of a family.
    fn family(&mut self, family: &Family) {
        let Family {
            name, kind, help, ..
        } = family;
        self.line(format_args!("# HELP {name} {}", Escaped(help, false)));
        self.line(format_args!("# TYPE {name} {}", kind.as_str()));
    }

    fn series<T>(&mut self, table: &[Series<T>], of: &[(Labels<'_>, &T)]) {
        for series in table {
            self.family(&series.family);
            for (labels, one) in of {
                self.sample(&series.family, "", labels, (series.value)(one));
            }
        }
    }

    /// The histograms of the three kinds of commands.
    fn histograms(&mut self, family: &Family, labels: &[&str], times: &Times) {
        for (kind, command) in ["read", "write", "other"].into_iter().enumerate() {
            let mut labels = labels.to_vec();
            labels.push(command);
            let mut sum: u64 = 0;
            for (i, count) in times.buckets[kind].iter().enumerate() {
                sum = sum.wrapping_add(*count);
                if i <= LAST_BOUND {
                    let bound = Seconds(1 << i).to_string();
                    self.bucket(family, &labels, &bound, sum);
                }
            }
            self.bucket(family, &labels, "+Inf", sum);
            let time = Number::Micros(times.sums_us[kind]);
            self.sample(family, "_sum", &labels, time);
            self.sample(family, "_count", &labels, Number::Whole(sum));
        }
    }

    fn bucket(&mut self, family: &Family, labels: &[&str], bound: &str, count: u64) {
        let labels = family.labels.iter().zip(labels);
        let labels = labels.map(|(name, value)| (*name, *value));
        self.labelled(family.name, "_bucket", labels.chain([("le", bound)]));
        self.line(format_args!(" {count}"));
    }

    fn sample(&mut self, family: &Family, suffix: &str, labels: &[&str], value: Number) {
        let labels = family.labels.iter().zip(labels);
        self.labelled(
            family.name,
            suffix,
            labels.map(|(name, value)| (*name, *value)),
        );
        match value {
            Number::Whole(value) => self.line(format_args!(" {value}")),
            Number::Micros(value) => self.line(format_args!(" {}", Seconds(value))),
        }
    }

    fn labelled<'a>(
        &mut self,
        name: &str,
        suffix: &str,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
    ) {
        self.out.push_str(name);
        self.out.push_str(suffix);
        let mut before = '{';
        for (name, value) in labels {
            // Writing to a string does not fail.
            let _ = write!(self.out, "{before}{name}=\"{}\"", Escaped(value, true));
            before = ',';
        }
        if before == ',' {
            self.out.push('}');
        }
    }

    /// The rest of a line.
    fn line(&mut self, rest: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.out, "{rest}");
    }
}

impl TargetReport {
    fn name(&self) -> &str {
        &self.name
    }
}

impl DeviceReport {
    fn name(&self) -> &str {
        &self.name
    }
}

/// Not the number of the session, which is another one at every login.
fn labels_of(session: &SessionReport) -> SessionLabels {
    [
        session.initiator.clone(),
        session.target.clone(),
        session.transport.clone(),
        session.group.clone(),
        without_port(&session.peer),
    ]
}

/// The initiator's port is another one at every login.
fn without_port(peer: &str) -> String {
    match peer.parse::<SocketAddr>() {
        Ok(at) => at.ip().to_canonical().to_string(),
        Err(_) => peer.to_owned(),
    }
}

/// Microseconds, as seconds without an exponent.
struct Seconds(u64);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, part) = (self.0 / 1_000_000, self.0 % 1_000_000);
        if part == 0 {
            return write!(f, "{whole}");
        }
        let part = format!("{part:06}");
        write!(f, "{whole}.{}", part.trim_end_matches('0'))
    }
}

/// Text as HELP lines and, in quotes, label values have it.
struct Escaped<'a>(&'a str, bool);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '"' if self.1 => f.write_str("\\\"")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "tests/text.rs"]
mod tests;
