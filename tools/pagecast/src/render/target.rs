//! Targets, their portals and groups.

use serde_json::Value;

use super::fields::{Fields, List};
use crate::human::clean;
use crate::table::Table;

pub(super) fn target_list(result: Fields<'_>) -> String {
    let mut table = Table::new(&["NAME", "SESSIONS", "PORTALS", "GROUPS"]);
    for target in result.items("targets") {
        let portals: Vec<String> = target.items("portals").map(portal).collect();
        let groups: Vec<String> = target.items("groups").map(|g| g.text("name")).collect();
        table.row(vec![
            target.text("name"),
            target.text("sessions"),
            portals.join(", "),
            groups.join(", "),
        ]);
    }
    table.lines("")
}

/// `srp 10.99.0.1:5555`.
fn portal(portal: Fields<'_>) -> String {
    format!("{} {}", portal.text("transport"), endpoint(portal))
}

fn endpoint(portal: Fields<'_>) -> String {
    let address = portal.text("address");
    if !portal.inner("service_id").0.is_null() {
        format!("service id {}", portal.text("service_id"))
    } else if address.contains(':') {
        format!("[{address}]:{}", portal.text("port"))
    } else {
        format!("{address}:{}", portal.text("port"))
    }
}

pub(super) fn target(target: Fields<'_>) -> String {
    let mut list = List::default();
    list.add("iqn", target.text("iqn"));
    list.add("nqn", target.text("nqn"));
    let srp = target.inner("srp");
    list.add(
        "srp",
        format!(
            "id_ext {}, ioc_guid {}",
            srp.text("id_ext"),
            srp.text("ioc_guid")
        ),
    );
    let chap = target.inner("chap");
    if target.has("chap") {
        list.add("chap", chap_names(chap));
    }
    if target.has("dhchap") {
        let both = target.inner("dhchap").has("controller_key");
        let text = match both {
            true => "hosts have a key, and the target has one",
            false => "hosts have a key",
        };
        list.add("dhchap", text.to_owned());
    }
    list.add("sessions", target.text("sessions"));
    let mut text = format!("{}\n{}", target.text("name"), list.lines("  "));

    text.push_str("\nPortals\n");
    let mut portals = Table::new(&["TRANSPORT", "ADDRESS", "STATE"]);
    for portal in target.items("portals") {
        let state = match portal.inner("why") {
            _ if portal.flag("listening") => "listening".to_owned(),
            Fields(Value::Null) => "not listening".to_owned(),
            _ => format!("not listening: {}", portal.text("why")),
        };
        portals.row(vec![portal.text("transport"), endpoint(portal), state]);
    }
    text.push_str(&portals.lines("  "));

    text.push_str("\nGroups\n");
    let mut groups = Table::new(&["GROUP", "INITIATORS", "CHAP", "DHCHAP", "LUNS"]);
    for group in target.items("groups") {
        groups.row(vec![
            group.text("name"),
            initiators(group),
            match group.inner("chap") {
                Fields(Value::Null) => String::new(),
                chap => chap.text("user"),
            },
            match group.has("dhchap") {
                true => "yes".to_owned(),
                false => String::new(),
            },
            luns(group),
        ]);
    }
    text.push_str(&groups.lines("  "));

    for (transport, lines) in target.entries("initiator_commands") {
        text.push_str(&initiator_commands(transport, lines));
    }
    text
}

pub(super) fn group_list(result: Fields<'_>) -> String {
    let header = [
        "TARGET",
        "GROUP",
        "SESSIONS",
        "CHAP",
        "DHCHAP",
        "INITIATORS",
        "LUNS",
    ];
    let mut table = Table::new(&header);
    for group in result.items("groups") {
        table.row(vec![
            group.text("target"),
            group.text("name"),
            group.text("sessions"),
            match group.has("chap") {
                true => group.text("chap"),
                false => "-".to_owned(),
            },
            yes_or_dash(group.flag("dhchap")),
            initiators(group),
            luns(group),
        ]);
    }
    table.lines("")
}

fn yes_or_dash(yes: bool) -> String {
    if yes { "yes" } else { "-" }.to_owned()
}

/// Whom a group admits.
fn initiators(group: Fields<'_>) -> String {
    let mut patterns: Vec<String> = group.items("initiators").map(Fields::own_text).collect();
    if group.flag("default") {
        patterns.push("(whoever no other group admits)".to_owned());
    }
    patterns.join(" ")
}

/// `0=disk0 7=ram0:ro`, by number.
fn luns(group: Fields<'_>) -> String {
    let mut luns: Vec<(u64, String)> = group
        .entries("luns")
        .map(|(lun, device)| {
            let device = match device {
                Fields(Value::Object(_)) if device.flag("read_only") => {
                    format!("{}:ro", device.text("device"))
                }
                Fields(Value::Object(_)) => device.text("device"),
                _ => device.own_text(),
            };
            let number = lun.parse().unwrap_or(u64::MAX);
            (number, format!("{}={device}", clean(lun)))
        })
        .collect();
    luns.sort();
    let luns: Vec<String> = luns.into_iter().map(|(_, text)| text).collect();
    luns.join(" ")
}

/// Who proves who they are. The secrets themselves are nowhere in a report.
fn chap_names(chap: Fields<'_>) -> String {
    let user = format!("initiators are {}", chap.text("user"));
    if chap.inner("mutual_user").0.is_null() {
        return user;
    }
    format!("{user}, the target is {}", chap.text("mutual_user"))
}

/// What to type on an initiator, one command a line and nothing before it but spaces.
fn initiator_commands(transport: &str, lines: Fields<'_>) -> String {
    let lines: Vec<String> = lines.own_items().map(|line| line.own_text()).collect();
    let mut text = format!("\nOn an initiator, as root, with {}", clean(transport));
    if transport != "srp" {
        text.push_str(":\n");
        for line in lines {
            text.push_str(&format!("  {line}\n"));
        }
        return text;
    }
    text.push_str(
        " (ls /sys/class/infiniband_srp shows its <hca> and <port>):\n  modprobe ib_srp\n",
    );
    for line in lines {
        text.push_str(&format!(
            "  echo \"{line}\" > /sys/class/infiniband_srp/srp-<hca>-<port>/add_target\n"
        ));
    }
    text
}
