//! Devices.

use super::fields::{Fields, List};
use super::reservation::reservations_in_short;
use crate::human::{bytes, micros, share};
use crate::table::Table;

pub(super) fn device_list(result: Fields<'_>) -> String {
    let mut table = Table::new(&[
        "NAME",
        "STATE",
        "BACKEND",
        "SIZE",
        "ZERO COPY",
        "READ",
        "WRITTEN",
        "PATH",
    ]);
    for device in result.items("devices") {
        table.row(vec![
            device.text("name"),
            state_in_short(device),
            device.text("backend"),
            bytes(device.number("size")),
            device.inner("zero_copy").text("mode"),
            bytes(device.number("read_bytes")),
            bytes(device.number("write_bytes")),
            device.text("path"),
        ]);
    }
    table.lines("")
}

pub(super) fn device(device: Fields<'_>) -> String {
    let mut list = List::default();
    list.add("state", state(device));
    list.add("store", device.text("store"));
    if device.has("path") {
        list.add("path", device.text("path"));
    }
    list.add(
        "size",
        format!(
            "{} ({} bytes), blocks of {}",
            bytes(device.number("size")),
            device.text("size"),
            device.text("block_size")
        ),
    );
    let access = if device.flag("read_only") {
        "read only"
    } else {
        "read and write"
    };
    let cache = if device.flag("write_cache") {
        "volatile write cache"
    } else {
        "no write cache"
    };
    list.add("access", format!("{access}, {cache}"));
    list.add("naa", device.text("naa"));
    list.add("serial", device.text("serial"));
    list.add("uuid", device.text("uuid"));
    let zero_copy = device.inner("zero_copy");
    list.add(
        "zero copy",
        format!("{}: {}", zero_copy.text("mode"), zero_copy.text("why")),
    );
    list.add(
        "reservations",
        reservations_in_short(device.inner("reservations")),
    );
    list.add(
        "queue depth",
        format!(
            "{} (at most {}), {} in flight",
            device.text("queue_depth"),
            device.text("queue_depth_max"),
            device.text("in_flight")
        ),
    );
    list.add("worst time", micros(device.number("worst_time_us")));
    latencies(&mut list, device);
    counters(&mut list, device);
    format!("{}\n{}", device.text("name"), list.lines("  "))
}

pub(super) fn resize(result: Fields<'_>) -> String {
    let size = |key| format!("{} ({} bytes)", bytes(result.number(key)), result.text(key));
    let mut list = List::default();
    list.add("size", size("size"));
    list.add("before", size("size_before"));
    format!("{}\n{}", result.text("name"), list.lines("  "))
}

pub(super) fn counters(list: &mut List, counters: Fields<'_>) {
    for (label, count, moved, uncopied) in [
        ("read", "reads", "read_bytes", "read_bytes_zero_copy"),
        ("written", "writes", "write_bytes", "write_bytes_zero_copy"),
    ] {
        let (moved, uncopied) = (counters.number(moved), counters.number(uncopied));
        list.add(
            label,
            format!(
                "{} in {} commands, {} of it without a copy",
                bytes(moved),
                counters.text(count),
                share(uncopied, moved)
            ),
        );
    }
    list.add("flushes", counters.text("flushes"));
    list.add("discards", counters.text("discards"));
    list.add(
        "windows",
        format!(
            "{} with {} pinned; {} hits, {} misses, {} registered, {} evicted",
            counters.text("windows"),
            bytes(counters.number("pinned_bytes")),
            counters.text("window_hits"),
            counters.text("window_misses"),
            counters.text("window_registrations"),
            counters.text("window_evictions")
        ),
    );
    list.add("errors", counters.text("errors"));
}

/// `online`, `offline`; why it is so does not fit in.
fn state_in_short(device: Fields<'_>) -> String {
    match &*device.text("state") {
        "online" if device.has("why") => "online, misplaced".to_owned(),
        state => state.to_owned(),
    }
}

/// `online`, `offline: why`.
fn state(device: Fields<'_>) -> String {
    match device.has("why") {
        true => format!("{}: {}", device.text("state"), device.text("why")),
        false => device.text("state"),
    }
}

/// What percentiles of execution times there are, of devices and of sessions.
pub(super) fn latencies(list: &mut List, report: Fields<'_>) {
    let latency = report.inner("latency");
    for (label, key) in [
        ("read time", "read"),
        ("write time", "write"),
        ("other time", "other"),
    ] {
        let times = latency.inner(key);
        if times.number("count") == 0 {
            continue;
        }
        let time = |key| times.rounded(key).map_or_else(|| "-".to_owned(), micros);
        list.add(
            label,
            format!(
                "half within {}, 90 % {}, 99 % {}, 99.9 % {}, worst {}",
                time("p50_us"),
                time("p90_us"),
                time("p99_us"),
                time("p999_us"),
                time("max_us")
            ),
        );
    }
}
