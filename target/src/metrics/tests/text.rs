use std::collections::{BTreeMap, BTreeSet};

use super::super::families::{Family, Kind, all};
use super::*;
use crate::config::{Endpoint, Portal, Transport};
use crate::control::reports::{
    AdapterReport, DaemonState, DeviceCounters, DeviceReservations, DeviceState, Latency,
    LatencyBuckets, LatencySummary, PortalReport, SessionCounters, SrpReport, ZeroCopyReport,
};

// --- a strict reader of the format --------------------------------------------------------------------------------

/// Names and values.
type LabelSet = Vec<(String, String)>;

/// A family as it was read.
#[derive(Debug, Default)]
struct Read {
    help: Option<String>,
    kind: Option<String>,
    /// Name, labels in their order, value.
    samples: Vec<(String, LabelSet, f64)>,
}

/// Reads the text, and is content with nothing that the format does not allow.
fn parse(text: &str) -> BTreeMap<String, Read> {
    assert!(text.ends_with('\n'), "the last line has no end");
    let mut families: BTreeMap<String, Read> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        assert_eq!(line.trim(), line, "spaces at the ends");
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help text");
            assert!(!families.contains_key(name), "{name} comes twice");
            assert_valid_name(name);
            current = name.to_owned();
            families.entry(current.clone()).or_default().help = Some(unescaped(help, false));
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert_eq!(name, current, "TYPE is not where HELP is");
            let family = families.get_mut(name).expect("HELP comes first");
            assert!(family.kind.is_none() && family.samples.is_empty());
            assert!(matches!(kind, "counter" | "gauge" | "histogram"), "{kind}");
            family.kind = Some(kind.to_owned());
        } else {
            let (name, labels, value) = sample(line);
            let family = families.get_mut(&current).expect("HELP comes first");
            let kind = family.kind.as_deref().expect("TYPE comes first");
            let suffix = name.strip_prefix(&current).expect("samples of its family");
            match kind {
                "histogram" => assert!(matches!(suffix, "_bucket" | "_sum" | "_count"), "{line}"),
                _ => assert_eq!(suffix, "", "{line}"),
            }
            family.samples.push((name, labels, value));
        }
    }
    let mut seen = BTreeSet::new();
    for (name, family) in &families {
        for (name, labels, _) in &family.samples {
            let mut labels = labels.clone();
            labels.sort();
            assert!(
                seen.insert((name.clone(), labels.clone())),
                "{name}{labels:?} comes twice"
            );
        }
        if family.kind.as_deref() == Some("histogram") {
            check_histogram(name, family);
        }
    }
    families
}

fn assert_valid_name(name: &str) {
    let good = |c: char| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit();
    assert!(name.chars().all(good) && !name.starts_with(|c: char| c.is_ascii_digit()));
}

fn sample(line: &str) -> (String, Vec<(String, String)>, f64) {
    let end = line.find(['{', ' ']).expect("a name");
    let (name, mut rest) = line.split_at(end);
    assert_valid_name(name);
    let mut labels = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, more) = rest.split_once("=\"").expect("a label");
            assert_valid_name(label);
            // The next quote that is not escaped.
            let mut escaped = false;
            let end = more.find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            let (value, more) = more.split_at(end.expect("a closing quote"));
            labels.push((label.to_owned(), unescaped(value, true)));
            rest = more.strip_prefix('"').expect("a quote");
            if let Some(more) = rest.strip_prefix('}') {
                rest = more;
                break;
            }
            rest = rest.strip_prefix(',').expect("a comma");
        }
    }
    let value = rest.strip_prefix(' ').expect("one space");
    assert!(!value.contains(' '), "no timestamps: {line}");
    let value: f64 = value.parse().expect("a number");
    assert!(value >= 0.0, "{line}");
    (name.to_owned(), labels, value)
}

fn unescaped(text: &str, quoted: bool) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quoted) {
            ('\\', _) => match (chars.next(), quoted) {
                (Some('\\'), _) => out.push('\\'),
                (Some('n'), _) => out.push('\n'),
                (Some('"'), true) => out.push('"'),
                other => panic!("escaped {other:?}"),
            },
            ('"', true) => panic!("a quote in {text}"),
            _ => out.push(c),
        }
    }
    out
}

/// Bounds rise, counts do not fall, and the last is all of them.
fn check_histogram(name: &str, family: &Read) {
    let mut series: BTreeMap<LabelSet, Vec<(f64, f64)>> = BTreeMap::new();
    let mut ends: BTreeMap<Vec<(String, String)>, Vec<&str>> = BTreeMap::new();
    for (sample, labels, value) in &family.samples {
        let mut labels = labels.clone();
        if sample.ends_with("_bucket") {
            let (label, bound) = labels.pop().expect("le");
            assert_eq!(label, "le");
            let bound = bound.parse().expect("a bound");
            series.entry(labels).or_default().push((bound, *value));
        } else {
            assert!(labels.iter().all(|(label, _)| label != "le"));
            if sample.ends_with("_count") {
                let last = series[&labels].last().expect("buckets");
                assert_eq!(last.1, *value, "{name}: _count is +Inf's");
            }
            ends.entry(labels).or_default().push(sample);
        }
    }
    for (labels, buckets) in series {
        assert!(
            buckets
                .windows(2)
                .all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1),
            "{name}{labels:?}: {buckets:?}"
        );
        assert_eq!(buckets.last().expect("buckets").0, f64::INFINITY);
        assert_eq!(ends[&labels].len(), 2, "{name}{labels:?}: _sum and _count");
    }
}

// --- what it reads ------------------------------------------------------------------------------------------------

const NASTY: &str = "a\"b\\c\nd{e}=,é";

fn device(name: &str) -> DeviceReport {
    let latency = Latency {
        read: LatencySummary {
            count: 7,
            sum_us: 1_500_000,
            ..LatencySummary::default()
        },
        ..Latency::default()
    };
    let mut buckets = LatencyBuckets::default();
    buckets.read[0] = 1;
    buckets.read[3] = 2;
    buckets.read[24] = 3;
    buckets.read[31] = 1;
    DeviceReport {
        name: name.to_owned(),
        backend: "file".to_owned(),
        path: None,
        store: NASTY.to_owned(),
        state: DeviceState::Online,
        why: None,
        size: 1 << 40,
        block_size: 512,
        read_only: false,
        write_cache: true,
        naa: String::new(),
        serial: String::new(),
        uuid: String::new(),
        zero_copy: ZeroCopyReport {
            mode: "pinned".to_owned(),
            why: String::new(),
        },
        reservations: DeviceReservations {
            enabled: true,
            kind: Some("write-exclusive".to_owned()),
            registrants: 3,
        },
        queue_depth: 128,
        queue_depth_max: 256,
        in_flight: 5,
        worst_time_us: 1_500,
        counters: DeviceCounters {
            reads: 10,
            errors: 2,
            ..DeviceCounters::default()
        },
        latency,
        latency_buckets: buckets,
    }
}

fn session(id: u64, initiator: &str, peer: &str) -> SessionReport {
    let mut latency = Latency::default();
    latency.write.sum_us = 250_000;
    let mut buckets = LatencyBuckets::default();
    buckets.write[10] = 4;
    SessionReport {
        id,
        initiator: initiator.to_owned(),
        target: "store".to_owned(),
        group: "web".to_owned(),
        transport: "srp".to_owned(),
        peer: peer.to_owned(),
        connections: 2,
        in_flight: 1,
        counters: SessionCounters {
            writes: 4,
            write_bytes: 4096,
            ..SessionCounters::default()
        },
        latency,
        latency_buckets: buckets,
    }
}

fn snapshot() -> Snapshot {
    let endpoint = Endpoint::Ip {
        address: "::".parse().expect("an address"),
        port: 5555,
    };
    Snapshot {
        process: Process {
            status: Status {
                state: DaemonState::Running,
                version: "0.1.0".to_owned(),
                pid: 1,
                uptime_seconds: 93_784,
                devices: 2,
                targets: 1,
                sessions: 3,
                connections: 6,
                adapters: vec![AdapterReport {
                    name: "rxe0".to_owned(),
                    node_guid: "505400fffe000001".to_owned(),
                    on_demand_paging: true,
                }],
                warnings: vec!["one".to_owned()],
            },
            stats: Stats {
                uptime_seconds: 93_784,
                logins: 9,
                refusals: 4,
                ..Stats::default()
            },
        },
        targets: vec![TargetReport {
            name: "store".to_owned(),
            iqn: String::new(),
            nqn: String::new(),
            srp: SrpReport {
                id_ext: String::new(),
                ioc_guid: String::new(),
            },
            chap: None,
            dhchap: None,
            portals: vec![PortalReport {
                portal: Portal {
                    transport: Transport::Srp,
                    endpoint,
                },
                listening: true,
                why: None,
            }],
            groups: Vec::new(),
            sessions: 3,
            initiator_commands: BTreeMap::new(),
        }],
        devices: vec![device("disk0"), device("disk1")],
        sessions: {
            let sessions = [
                session(1, NASTY, "10.99.0.2:41000"),
                session(2, NASTY, "10.99.0.2:41001"),
                session(3, "other", "fe80::1"),
            ];
            let mut sums = SessionSums::default();
            sums.look(&sessions, labels_of).clone()
        },
    }
}

/// The value with these labels.
fn value(families: &BTreeMap<String, Read>, sample: &str, labels: &[(&str, &str)]) -> f64 {
    let found: Vec<f64> = families
        .values()
        .flat_map(|family| &family.samples)
        .filter(|(name, has, _)| {
            let has = |(label, value): &(&str, &str)| {
                has.iter().any(|(name, is)| name == label && is == value)
            };
            name == sample && labels.iter().all(has)
        })
        .map(|(_, _, value)| *value)
        .collect();
    assert_eq!(found.len(), 1, "{sample}{labels:?}: {found:?}");
    found[0]
}

#[test]
fn the_text_is_good_and_complete() {
    let families = parse(&snapshot().text());
    let expected: BTreeSet<&str> = all().iter().map(|family| family.name).collect();
    let told: BTreeSet<&str> = families.keys().map(String::as_str).collect();
    assert_eq!(told, expected);
    for family in all() {
        let read = &families[family.name];
        assert_eq!(read.help.as_deref(), Some(family.help));
        assert_eq!(read.kind.as_deref(), Some(family.kind.as_str()));
        assert!(!read.samples.is_empty(), "{}", family.name);
        for (_, labels, _) in &read.samples {
            let labels: Vec<&str> = labels.iter().map(|(label, _)| label.as_str()).collect();
            let labels: Vec<&str> = labels.into_iter().filter(|&label| label != "le").collect();
            assert_eq!(labels, family.labels, "{}", family.name);
        }
    }
}

#[test]
fn values_are_those_of_the_reports() {
    let families = parse(&snapshot().text());
    let get = |name, labels: &[(&str, &str)]| value(&families, name, labels);
    assert_eq!(get("pagecast_uptime_seconds", &[]), 93_784.0);
    assert_eq!(get("pagecast_refusals_total", &[]), 4.0);
    assert_eq!(get("pagecast_running", &[]), 1.0);
    let paging = [("adapter", "rxe0"), ("on_demand_paging", "yes")];
    assert_eq!(get("pagecast_adapter_info", &paging), 1.0);
    assert_eq!(
        get("pagecast_portal_listening", &[("portal", "srp [::]:5555")]),
        1.0
    );
    let disk = ("device", "disk1");
    assert_eq!(get("pagecast_device_online", &[disk]), 1.0);
    assert_eq!(
        get("pagecast_device_size_bytes", &[disk]),
        (1u64 << 40) as f64
    );
    assert_eq!(get("pagecast_device_errors_total", &[disk]), 2.0);
    assert_eq!(get("pagecast_device_registrants", &[disk]), 3.0);
    assert_eq!(get("pagecast_device_reserved", &[disk]), 1.0);
    assert_eq!(get("pagecast_device_worst_time_seconds", &[disk]), 0.0015);
}

#[test]
fn histograms_are_cumulative_and_in_seconds() {
    let families = parse(&snapshot().text());
    let read = [("device", "disk0"), ("command", "read")];
    let name = "pagecast_device_command_duration_seconds";
    let bucket = |le: &str| {
        let labels = [read[0], read[1], ("le", le)];
        value(&families, &format!("{name}_bucket"), &labels)
    };
    assert_eq!(bucket("0.000001"), 1.0);
    assert_eq!(bucket("0.000004"), 1.0);
    assert_eq!(bucket("0.000008"), 3.0);
    assert_eq!(bucket("8.388608"), 3.0);
    assert_eq!(bucket("16.777216"), 6.0);
    assert_eq!(bucket("+Inf"), 7.0);
    assert_eq!(value(&families, &format!("{name}_sum"), &read), 1.5);
    assert_eq!(value(&families, &format!("{name}_count"), &read), 7.0);
}

#[test]
fn sessions_with_the_same_labels_are_one_series() {
    let families = parse(&snapshot().text());
    let both = [("initiator", NASTY), ("peer", "10.99.0.2")];
    let get = |name: &str, labels: &[(&str, &str)]| value(&families, name, labels);
    assert_eq!(get("pagecast_session_up", &both), 2.0);
    assert_eq!(get("pagecast_session_connections", &both), 4.0);
    assert_eq!(get("pagecast_session_write_bytes_total", &both), 8192.0);
    let name = "pagecast_session_command_duration_seconds";
    let writes = [both[0], both[1], ("command", "write")];
    assert_eq!(get(&format!("{name}_count"), &writes), 8.0);
    assert_eq!(get(&format!("{name}_sum"), &writes), 0.5);
    let other = [("initiator", "other"), ("peer", "fe80::1")];
    assert_eq!(get("pagecast_session_up", &other), 1.0);
}

#[test]
fn nobody_and_nothing_is_text_as_well() {
    let mut empty = snapshot();
    empty.devices.clear();
    empty.sessions.clear();
    empty.targets.clear();
    empty.process.status.adapters.clear();
    let families = parse(&empty.text());
    assert!(families["pagecast_device_reads_total"].samples.is_empty());
}

#[test]
fn names_are_as_prometheus_wants_them() {
    let mut seen = BTreeSet::new();
    for Family {
        name,
        kind,
        help,
        labels,
    } in all()
    {
        assert!(seen.insert(name), "{name} comes twice");
        assert!(name.starts_with("pagecast_"));
        assert_valid_name(name);
        assert_eq!(name.ends_with("_total"), kind == Kind::Counter, "{name}");
        assert!(help.ends_with('.'), "{name}: {help}");
        // The last three belong to histograms.
        for wrong in [
            "_us", "_ms", "_kb", "_mb", "_percent", "_count", "_sum", "_bucket",
        ] {
            assert!(!name.ends_with(wrong), "{name}");
        }
        if kind == Kind::Histogram {
            assert!(name.ends_with("_seconds"));
        }
        assert!(!labels.contains(&"le"));
    }
}

#[test]
fn the_reader_is_strict() {
    let good = "# HELP a_total A.\n# TYPE a_total counter\na_total{b=\"c\"} 1\n";
    parse(good);
    let bad = [
        good.replace("\"c\"", "\"c"),
        good.replace("} 1", "}  1"),
        good.replace("} 1", "} one"),
        good.replace("} 1", "} 1 2"),
        good.replace("# TYPE a_total counter\n", ""),
        good.replace("counter", "count"),
        good.replace("a_total{", "b_total{"),
        good.replace("\"c\"", "\"\\c\""),
        format!("{good}{good}"),
        format!("{good}a_total{{b=\"c\"}} 2\n"),
        good.trim_end().to_owned(),
    ];
    for bad in bad {
        assert!(
            std::panic::catch_unwind(|| parse(&bad)).is_err(),
            "taken: {bad}"
        );
    }
}

#[test]
fn promtool_agrees() {
    let Some(promtool) = std::env::var_os("PROMTOOL") else {
        return;
    };
    let mut child = std::process::Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("promtool");
    let text = snapshot().text();
    std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), text.as_bytes())
        .expect("written");
    let said = child.wait_with_output().expect("an end");
    assert!(said.status.success(), "{said:?}");
}
