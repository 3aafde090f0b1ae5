//! Sessions.

use super::device::latencies;
use super::fields::{Fields, List};
use crate::human::bytes;
use crate::table::Table;

pub(super) fn session_list(result: Fields<'_>) -> String {
    let mut table = Table::new(&[
        "ID",
        "INITIATOR",
        "TARGET",
        "GROUP",
        "TRANSPORT",
        "PEER",
        "CONNECTIONS",
        "IN FLIGHT",
    ]);
    for session in result.items("sessions") {
        let cells = [
            "id",
            "initiator",
            "target",
            "group",
            "transport",
            "peer",
            "connections",
            "in_flight",
        ];
        table.row(cells.iter().map(|key| session.text(key)).collect());
    }
    table.lines("")
}

pub(super) fn session(session: Fields<'_>) -> String {
    let mut list = List::default();
    for key in ["initiator", "target", "group"] {
        list.add(key, session.text(key));
    }
    let connections = match session.number("connections") {
        1 => "1 connection".to_owned(),
        count => format!("{count} connections"),
    };
    list.add(
        "transport",
        format!(
            "{}, {connections} from {}",
            session.text("transport"),
            session.text("peer")
        ),
    );
    list.add("in flight", session.text("in_flight"));
    // Of daemons that count by session.
    for (label, count, moved) in [
        ("read", "reads", "read_bytes"),
        ("written", "writes", "write_bytes"),
    ] {
        if session.has(count) {
            list.add(
                label,
                format!(
                    "{} in {} commands",
                    bytes(session.number(moved)),
                    session.text(count)
                ),
            );
        }
    }
    if session.has("other") {
        list.add("other", format!("{} commands", session.text("other")));
    }
    latencies(&mut list, session);
    format!("session {}\n{}", session.text("id"), list.lines("  "))
}

pub(super) fn closed(session: Fields<'_>) -> String {
    format!(
        "closed session {}: {} of {}, group {}\n",
        session.text("id"),
        who(session),
        session.text("target"),
        session.text("group")
    )
}

/// `iser iqn.1993-08.org.debian:01:web at 10.99.0.3`.
pub(super) fn who(report: Fields<'_>) -> String {
    let mut who = String::new();
    for key in ["transport", "initiator"] {
        if report.has(key) {
            if !who.is_empty() {
                who.push(' ');
            }
            who.push_str(&report.text(key));
        }
    }
    if who.is_empty() {
        who.push_str("somebody");
    }
    if report.has("peer") {
        who.push_str(&format!(" at {}", report.text("peer")));
    }
    who
}
