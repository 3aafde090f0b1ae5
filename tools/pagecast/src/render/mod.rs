//! Results for people.
//!
//! A field that is not there is shown as `-`: the daemon may be older than we are.

mod change;
mod config;
mod device;
mod event;
mod fields;
mod reservation;
mod session;
mod target;

use serde_json::Value;

use crate::human::{bytes, seconds};
use crate::table::Table;
pub(crate) use config::document;
use device::counters;
pub(crate) use event::EventLines;
use fields::{Fields, List};

/// The text for the result of a method.
pub(crate) fn render(method: &str, result: &Value) -> String {
    let result = Fields(result);
    match method {
        "status" => status(result),
        "device.list" => device::device_list(result),
        "device.show" => device::device(result),
        "device.resize" => device::resize(result),
        "device.add" | "device.remove" | "target.add" | "target.remove" | "portal.add"
        | "portal.remove" | "group.add" | "group.remove" | "group.map" | "group.unmap"
        | "initiator.add" | "initiator.move" | "initiator.remove" | "chap.set" | "chap.remove"
        | "dhchap.set" | "dhchap.remove" | "transaction" => change::change(result),
        "config.reload" => change::reload(result),
        "reservation.show" => reservation::reservations(result),
        "reservation.clear" => reservation::cleared(result),
        "target.list" => target::target_list(result),
        "target.show" => target::target(result),
        "group.list" => target::group_list(result),
        "session.list" => session::session_list(result),
        "session.show" => session::session(result),
        "session.close" => session::closed(result),
        "config.show" => document(result.inner("config").0),
        "config.save" => config::saved(result),
        "stats" => stats(result),
        "rpc.schema" => schema(result),
        _ => format!("{:#}\n", result.0),
    }
}

fn status(status: Fields<'_>) -> String {
    let mut list = List::default();
    list.add(
        "state",
        format!(
            "{}, for {}",
            status.text("state"),
            seconds(status.number("uptime_seconds"))
        ),
    );
    list.add(
        "version",
        format!("{}, process {}", status.text("version"), status.text("pid")),
    );
    list.add("devices", status.text("devices"));
    list.add("targets", status.text("targets"));
    list.add("sessions", status.text("sessions"));
    list.add("connections", status.text("connections"));
    let adapters: Vec<String> = status.items("adapters").map(|a| a.text("name")).collect();
    let adapters = if adapters.is_empty() {
        "none".to_owned()
    } else {
        adapters.join(", ")
    };
    list.add("adapters", adapters);
    for warning in status.items("warnings") {
        list.add("warning", warning.own_text());
    }
    list.lines("")
}

fn stats(stats: Fields<'_>) -> String {
    let mut list = List::default();
    list.add("up", seconds(stats.number("uptime_seconds")));
    list.add(
        "shards",
        format!(
            "{}, I/O by {} ({})",
            stats.text("shards"),
            stats.text("io_engine"),
            stats.text("io_engine_why")
        ),
    );
    list.add("sessions", stats.text("sessions"));
    list.add("connections", stats.text("connections"));
    list.add("registered", bytes(stats.number("registered_bytes")));
    for (label, used, limit) in [
        ("staged", "staged_bytes", "staged_limit_bytes"),
        ("pinned", "pinned_bytes", "pinned_limit_bytes"),
    ] {
        let (used, limit) = (stats.number(used), stats.number(limit));
        list.add(label, format!("{} of {}", bytes(used), bytes(limit)));
    }
    counters(&mut list, stats.inner("total"));
    list.lines("")
}

fn schema(result: Fields<'_>) -> String {
    let mut table = Table::new(&["METHOD", "PARAMETERS", "DESCRIPTION"]);
    for method in result.items("methods") {
        let params: Vec<String> = method
            .items("params")
            .map(|param| {
                let name = param.text("name");
                if param.flag("required") {
                    name
                } else {
                    format!("[{name}]")
                }
            })
            .collect();
        table.row(vec![
            method.text("name"),
            params.join(" "),
            method.text("description"),
        ]);
    }
    table.lines("")
}
