//! A view as lines of text.

use super::grid::{Column, Fit, Grid, Span, Tone, plain};
use super::latency::Percentiles;
use super::model::{Device, Rates, Session, View};
use crate::human::{bytes, micros, seconds};

/// All of a view, for `--once`.
pub(super) fn text(view: &View) -> String {
    let mut text = plain(&summary(view));
    for grid in [devices(&view.devices), sessions(&view.sessions)] {
        text.push('\n');
        text.push_str(&plain(&grid.lines(None)));
    }
    text
}

/// What the daemon as a whole does.
pub(super) fn summary(view: &View) -> Vec<Vec<Span>> {
    let mut first = vec![
        (format!("up {}", seconds(view.uptime_seconds)), Tone::Plain),
        (
            counted(view.sessions.len(), "session", "sessions"),
            Tone::Plain,
        ),
        (
            counted(view.connections, "connection", "connections"),
            Tone::Plain,
        ),
    ];
    if view.restarted {
        first.push(("pagecastd was started again".to_owned(), Tone::Warn));
    }
    let total = &view.total;
    let second = vec![
        (format!("{} IOPS", count(total.iops())), Tone::Plain),
        (
            format!(
                "read {} IOPS, {} MB/s",
                count(total.read_iops),
                megabytes(total.read_bytes_per_second)
            ),
            Tone::Plain,
        ),
        (
            format!(
                "write {} IOPS, {} MB/s",
                count(total.write_iops),
                megabytes(total.write_bytes_per_second)
            ),
            Tone::Plain,
        ),
    ];
    let of = |used, limit| format!("{} of {}", bytes(used), bytes(limit));
    let third = vec![
        (
            format!("registered {}", bytes(view.registered_bytes)),
            Tone::Plain,
        ),
        (
            format!("pinned {}", of(view.pinned_bytes, view.pinned_limit_bytes)),
            nearly_full(view.pinned_bytes, view.pinned_limit_bytes),
        ),
        (
            format!("staged {}", of(view.staged_bytes, view.staged_limit_bytes)),
            nearly_full(view.staged_bytes, view.staged_limit_bytes),
        ),
    ];
    [first, second, third].map(spaced).to_vec()
}

/// Windows fill up and are given up for others: that alone is no worry. To be at the limit is worth a look.
fn nearly_full(used: u64, limit: u64) -> Tone {
    if used > 0 && u128::from(used) * 100 >= u128::from(limit) * 95 {
        Tone::Warn
    } else {
        Tone::Plain
    }
}

fn spaced(spans: Vec<Span>) -> Vec<Span> {
    let mut line = Vec::new();
    for span in spans {
        if !line.is_empty() {
            line.push(("   ".to_owned(), Tone::Plain));
        }
        line.push(span);
    }
    line
}

const fn column(title: &'static str, fit: Fit, leaves: u8) -> Column {
    Column { title, fit, leaves }
}

pub(super) fn devices(devices: &[Device]) -> Grid {
    let rows = devices.iter().map(|device| {
        let rates = &device.rates;
        let times = device.latencies.latency.as_ref();
        let state = match device.state.as_str() {
            "online" => Tone::Good,
            _ => Tone::Bad,
        };
        let depth = |depth: Option<u64>| depth.map_or_else(|| "-".to_owned(), |d| d.to_string());
        let full = device
            .queue_depth
            .is_some_and(|depth| device.in_flight >= depth);
        vec![
            (device.name.clone(), Tone::Plain),
            (device.state.clone(), state),
            number(count(rates.read_iops)),
            number(count(rates.write_iops)),
            number(megabytes(rates.read_bytes_per_second)),
            number(megabytes(rates.write_bytes_per_second)),
            number(time(times, |times| times.p50_us)),
            number(time(times, |times| times.p99_us)),
            number(time(times, |times| times.max_us)),
            (
                format!(
                    "{}/{}",
                    depth(device.queue_depth),
                    depth(device.queue_depth_max)
                ),
                Tone::Plain,
            ),
            in_flight(device.in_flight, full),
            match device.zero_copy_share {
                Some(share) => (
                    format!("{:.1} %", (share * 1000.0).floor() / 10.0),
                    if share < 0.5 { Tone::Warn } else { Tone::Good },
                ),
                None => number("-".to_owned()),
            },
        ]
    });
    Grid {
        columns: vec![
            column("DEVICE", Fit::Shrink(8), 0),
            column("STATE", Fit::Left, 2),
            column("READ/s", Fit::Right, 0),
            column("WRITE/s", Fit::Right, 0),
            column("READ MB/s", Fit::Right, 0),
            column("WRITE MB/s", Fit::Right, 0),
            column("P50", Fit::Right, 1),
            column("P99", Fit::Right, 0),
            column("WORST", Fit::Right, 3),
            column("DEPTH", Fit::Right, 4),
            column("IN FLIGHT", Fit::Right, 6),
            column("ZERO COPY", Fit::Right, 5),
        ],
        rows: rows.collect(),
    }
}

pub(super) fn sessions(sessions: &[Session]) -> Grid {
    let rows = sessions.iter().map(|session| {
        let Rates {
            read_bytes_per_second,
            write_bytes_per_second,
            ..
        } = session.rates;
        let times = session.latencies.latency.as_ref();
        vec![
            (session.id.to_string(), Tone::Plain),
            (session.initiator.clone(), Tone::Plain),
            (session.peer.clone(), Tone::Plain),
            (session.transport.clone(), Tone::Plain),
            (session.target.clone(), Tone::Plain),
            (session.group.clone(), Tone::Plain),
            number(count(session.rates.iops())),
            number(megabytes(read_bytes_per_second)),
            number(megabytes(write_bytes_per_second)),
            number(time(times, |times| times.p50_us)),
            number(time(times, |times| times.p99_us)),
            number(time(times, |times| times.max_us)),
            in_flight(session.in_flight, false),
        ]
    });
    Grid {
        columns: vec![
            column("ID", Fit::Right, 7),
            column("INITIATOR", Fit::Shrink(18), 0),
            column("PEER", Fit::Left, 6),
            column("TRANSPORT", Fit::Left, 3),
            column("TARGET", Fit::Left, 5),
            column("GROUP", Fit::Left, 2),
            column("IOPS", Fit::Right, 0),
            column("READ MB/s", Fit::Right, 0),
            column("WRITE MB/s", Fit::Right, 0),
            column("P50", Fit::Right, 1),
            column("P99", Fit::Right, 0),
            column("WORST", Fit::Right, 4),
            column("IN FLIGHT", Fit::Right, 4),
        ],
        rows: rows.collect(),
    }
}

/// What says nothing is not what the eye should fall on.
fn number(text: String) -> Span {
    let tone = match text.as_str() {
        "-" | "0" | "0.0" => Tone::Dim,
        _ => Tone::Plain,
    };
    (text, tone)
}

fn in_flight(commands: u64, full: bool) -> Span {
    match full {
        true => (commands.to_string(), Tone::Warn),
        false => number(commands.to_string()),
    }
}

/// `9999`, `12.3k`, `1.23M`.
fn count(rate: Option<f64>) -> String {
    match rate {
        None => "-".to_owned(),
        Some(rate) if rate < 9_999.5 => format!("{rate:.0}"),
        Some(rate) if rate < 999_950.0 => format!("{:.1}k", rate / 1e3),
        Some(rate) => format!("{:.2}M", rate / 1e6),
    }
}

/// Millions of bytes, as networks and disks are sold.
fn megabytes(rate: Option<f64>) -> String {
    rate.map_or_else(|| "-".to_owned(), |rate| format!("{:.1}", rate / 1e6))
}

fn time(times: Option<&Percentiles>, which: impl Fn(&Percentiles) -> f64) -> String {
    // A cast of a float saturates.
    times.map_or_else(
        || "-".to_owned(),
        |times| micros(which(times).round() as u64),
    )
}

fn counted(count: impl TryInto<u64>, one: &str, several: &str) -> String {
    match count.try_into().unwrap_or(u64::MAX) {
        1 => format!("1 {one}"),
        count => format!("{count} {several}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (rate, text) in [
            (0.0, "0"),
            (0.4, "0"),
            (9999.4, "9999"),
            (9999.5, "10.0k"),
            (123_456.0, "123.5k"),
            (999_949.0, "999.9k"),
            (999_950.0, "1.00M"),
            (2_345_678.0, "2.35M"),
        ] {
            assert_eq!(count(Some(rate)), text, "{rate}");
        }
        assert_eq!(megabytes(Some(1_234_567_890.0)), "1234.6");
        assert_eq!(
            (count(None), megabytes(None)),
            ("-".to_owned(), "-".to_owned())
        );
    }
}
