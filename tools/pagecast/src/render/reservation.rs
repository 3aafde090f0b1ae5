//! Reservations.

use serde_json::Value;

use super::fields::{Fields, List};
use crate::table::Table;

/// `write-exclusive, 2 registrants`.
pub(super) fn reservations_in_short(short: Fields<'_>) -> String {
    if short.0.is_null() {
        return "-".to_owned();
    }
    if !short.flag("enabled") {
        return "off".to_owned();
    }
    format!(
        "{}, {}",
        reservation_type(short),
        registrants(short.number("registrants"))
    )
}

fn reservation_type(report: Fields<'_>) -> String {
    match report.inner("type") {
        Fields(Value::Null) => "none".to_owned(),
        kind => kind.own_text(),
    }
}

fn registrants(count: u64) -> String {
    match count {
        0 => "nobody is registered".to_owned(),
        1 => "1 registrant".to_owned(),
        count => format!("{count} registrants"),
    }
}

pub(super) fn reservations(result: Fields<'_>) -> String {
    let devices: Vec<String> = result.items("reservations").map(reservation).collect();
    devices.join("\n")
}

fn reservation(report: Fields<'_>) -> String {
    let mut list = List::default();
    if !report.flag("enabled") {
        list.add(
            "type",
            "none: reservations are off for this device".to_owned(),
        );
        return format!("{}\n{}", report.text("name"), list.lines("  "));
    }
    list.add("type", reservation_type(report));
    let holders: Vec<String> = report.items("holders").map(Fields::own_text).collect();
    if report.flag("held_by_all") {
        list.add("holder", "all registrants".to_owned());
    } else if !holders.is_empty() {
        list.add("holder", holders.join(", "));
    }
    let count = report.items("registrants").count();
    list.add(
        "registrants",
        format!("{count} (at most {})", report.text("registrants_max")),
    );
    list.add("generation", report.text("generation"));
    let restart = if report.flag("persistent") {
        "kept"
    } else {
        "not kept"
    };
    list.add(
        "restart",
        format!("{restart} across a restart of the daemon"),
    );
    let mut text = format!("{}\n{}", report.text("name"), list.lines("  "));
    if count == 0 {
        return text;
    }
    text.push('\n');
    let mut table = Table::new(&[
        "KEY",
        "PROTOCOL",
        "INITIATOR",
        "TARGET",
        "PORT",
        "HOLDER",
        "LIVE",
    ]);
    for one in report.items("registrants") {
        let yes_or_no = |key| if one.flag(key) { "yes" } else { "no" }.to_owned();
        table.row(vec![
            one.text("key"),
            one.text("protocol"),
            one.text("initiator"),
            one.text("target"),
            one.text("target_port"),
            yes_or_no("holder"),
            yes_or_no("live"),
        ]);
    }
    text.push_str(&table.lines("  "));
    text
}

pub(super) fn cleared(result: Fields<'_>) -> String {
    let mut list = List::default();
    list.add("was reserved", reservation_type(result));
    list.add("had", registrants(result.number("registrants")));
    format!("{}\n{}", result.text("name"), list.lines("  "))
}
