//! Results for people.
//!
//! A field that is not there is shown as `-`: the daemon may be older than we are.

use serde_json::Value;

use crate::human::{bytes, clean, micros, seconds, share};
use crate::table::Table;

/// The text for the result of a method.
pub(crate) fn render(method: &str, result: &Value) -> String {
    let result = Fields(result);
    match method {
        "status" => status(result),
        "device.list" => device_list(result),
        "device.show" => device(result),
        "device.resize" => resize(result),
        "reservation.show" => reservations(result),
        "reservation.clear" => cleared(result),
        "target.list" => target_list(result),
        "target.show" => target(result),
        "session.list" => session_list(result),
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

fn device_list(result: Fields<'_>) -> String {
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
            device.text("state"),
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

fn device(device: Fields<'_>) -> String {
    let mut list = List::default();
    list.add("state", device.text("state"));
    list.add("store", device.text("store"));
    if !device.inner("path").0.is_null() {
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
    counters(&mut list, device);
    format!("{}\n{}", device.text("name"), list.lines("  "))
}

fn resize(result: Fields<'_>) -> String {
    let size = |key| format!("{} ({} bytes)", bytes(result.number(key)), result.text(key));
    let mut list = List::default();
    list.add("size", size("size"));
    list.add("before", size("size_before"));
    format!("{}\n{}", result.text("name"), list.lines("  "))
}

/// `write-exclusive, 2 registrants`.
fn reservations_in_short(short: Fields<'_>) -> String {
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

fn reservations(result: Fields<'_>) -> String {
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

fn cleared(result: Fields<'_>) -> String {
    let mut list = List::default();
    list.add("was reserved", reservation_type(result));
    list.add("had", registrants(result.number("registrants")));
    format!("{}\n{}", result.text("name"), list.lines("  "))
}

fn counters(list: &mut List, counters: Fields<'_>) {
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

fn target_list(result: Fields<'_>) -> String {
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

fn target(target: Fields<'_>) -> String {
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
    if !chap.0.is_null() {
        list.add("chap", chap_names(chap));
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
    let mut groups = Table::new(&["GROUP", "INITIATORS", "CHAP", "LUNS"]);
    for group in target.items("groups") {
        let initiators: Vec<String> = group.items("initiators").map(|i| i.own_text()).collect();
        let mut luns: Vec<(u64, String)> = group
            .entries("luns")
            .map(|(lun, device)| {
                (
                    lun.parse().unwrap_or(u64::MAX),
                    format!("{}={}", clean(lun), device.own_text()),
                )
            })
            .collect();
        luns.sort();
        let luns: Vec<String> = luns.into_iter().map(|(_, text)| text).collect();
        groups.row(vec![
            group.text("name"),
            initiators.join(" "),
            match group.inner("chap") {
                Fields(Value::Null) => String::new(),
                chap => chap.text("user"),
            },
            luns.join(" "),
        ]);
    }
    text.push_str(&groups.lines("  "));

    for (transport, lines) in target.entries("initiator_commands") {
        text.push_str(&initiator_commands(transport, lines));
    }
    text
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

fn session_list(result: Fields<'_>) -> String {
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

fn stats(stats: Fields<'_>) -> String {
    let mut list = List::default();
    list.add("up", seconds(stats.number("uptime_seconds")));
    list.add(
        "shards",
        format!(
            "{}, I/O by {}",
            stats.text("shards"),
            stats.text("io_engine")
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

/// Labels and what they stand for.
#[derive(Default)]
struct List(Vec<(&'static str, String)>);

impl List {
    fn add(&mut self, label: &'static str, text: String) {
        self.0.push((label, text));
    }

    fn lines(&self, indent: &str) -> String {
        let width = self
            .0
            .iter()
            .map(|(label, _)| label.len())
            .max()
            .unwrap_or(0);
        self.0
            .iter()
            .map(|(label, text)| format!("{indent}{label:width$}  {text}\n"))
            .collect()
    }
}

/// A value whose fields may be missing.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a Value);

impl<'a> Fields<'a> {
    fn inner(self, key: &str) -> Self {
        Self(self.0.get(key).unwrap_or(&Value::Null))
    }

    fn text(self, key: &str) -> String {
        self.inner(key).own_text()
    }

    fn own_text(self) -> String {
        match self.0 {
            Value::Null => "-".to_owned(),
            Value::String(text) => clean(text),
            other => clean(&other.to_string()),
        }
    }

    fn number(self, key: &str) -> u64 {
        self.inner(key).0.as_u64().unwrap_or(0)
    }

    fn flag(self, key: &str) -> bool {
        self.inner(key).0.as_bool().unwrap_or(false)
    }

    fn items(self, key: &str) -> impl Iterator<Item = Fields<'a>> {
        self.inner(key).own_items()
    }

    fn own_items(self) -> impl Iterator<Item = Fields<'a>> {
        self.0.as_array().into_iter().flatten().map(Fields)
    }

    fn entries(self, key: &str) -> impl Iterator<Item = (&'a str, Fields<'a>)> {
        let object = self.inner(key).0.as_object();
        object
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.as_str(), Fields(value)))
    }
}
