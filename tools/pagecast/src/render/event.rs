//! Events, a line each.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::change::reassignment;
use super::fields::Fields;
use super::session::who;

/// Writes events as lines.
#[derive(Debug)]
pub(crate) struct EventLines {
    zone: TimeZone,
    colour: bool,
}

/// Columns of the longest kind.
const KIND_WIDTH: usize = "adapter-removed".len();

impl EventLines {
    pub(crate) fn new(zone: TimeZone, colour: bool) -> Self {
        Self { zone, colour }
    }

    /// One line, with its end.
    pub(crate) fn line(&self, event: &Value) -> String {
        let event = Fields(event);
        let kind = event.text("event");
        let padded = format!("{kind:KIND_WIDTH$}");
        let padded = match colour(&kind).filter(|_| self.colour) {
            Some(code) => format!("\x1b[{code}m{padded}\x1b[0m"),
            None => padded,
        };
        let line = format!("{}  {padded}  {}", self.time(event), what(&kind, event));
        format!("{}\n", line.trim_end())
    }

    fn time(&self, event: Fields<'_>) -> String {
        let millis = event.inner("time_ms").0.as_i64();
        match millis.and_then(|millis| Timestamp::from_millisecond(millis).ok()) {
            Some(time) => time
                .to_zoned(self.zone.clone())
                .strftime("%Y-%m-%d %H:%M:%S%.3f")
                .to_string(),
            None => "-".to_owned(),
        }
    }
}

/// The parameter of ECMA-48's SELECT GRAPHIC RENDITION.
fn colour(kind: &str) -> Option<u8> {
    match kind {
        "login" | "device-online" | "adapter-added" => Some(32),
        "refused" | "error" | "device-offline" | "adapter-removed" => Some(31),
        "reassigned" | "queue-depth" | "missed" => Some(33),
        "configured" | "reservation" => Some(36),
        _ => None,
    }
}

fn what(kind: &str, event: Fields<'_>) -> String {
    let text = |key| event.text(key);
    match kind {
        "login" => format!(
            "{} to {}, group {}, session {}",
            who(event),
            text("target"),
            text("group"),
            text("session")
        ),
        "logout" => format!(
            "{} from {}, session {}",
            who(event),
            text("target"),
            text("session")
        ),
        "refused" if event.has("target") => {
            format!("{} by {}: {}", who(event), text("target"), text("why"))
        }
        "refused" => format!("{}: {}", who(event), text("why")),
        "reassigned" => format!(
            "{} of {}, session {}: {}",
            who(event),
            text("target"),
            text("session"),
            reassignment(event, &text("group_before"))
        ),
        "configured" => format!("by {}", text("by")),
        "reservation" => {
            let by = match event.has("initiator") {
                true => text("initiator"),
                false => "an operator".to_owned(),
            };
            let kind = match event.has("kind") {
                true => text("kind"),
                false => "none".to_owned(),
            };
            let registrants = match event.number("registrants") {
                0 => "nobody is registered".to_owned(),
                1 => "1 registrant".to_owned(),
                count => format!("{count} registrants"),
            };
            format!(
                "{}: {} by {by}; now {kind}, {registrants}",
                text("device"),
                text("action")
            )
        }
        "queue-depth" => format!(
            "{}: {} -> {}: {}",
            text("device"),
            text("before"),
            text("now"),
            text("why")
        ),
        "device-online" => text("device"),
        "device-offline" => format!("{}: {}", text("device"), text("why")),
        "adapter-added" | "adapter-removed" => text("adapter"),
        "error" => text("what"),
        "missed" => format!("{} events: this is read too slowly", text("events")),
        // Of a daemon that is newer than we are.
        _ => {
            let skip = ["event", "sequence", "time_ms"];
            let fields = event.0.as_object().into_iter().flatten();
            let fields = fields.filter(|(key, _)| !skip.contains(&key.as_str()));
            let fields: Vec<String> = fields
                .map(|(key, value)| {
                    format!("{} {}", crate::human::clean(key), Fields(value).own_text())
                })
                .collect();
            fields.join(", ")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_local() {
        let event = json!({ "time_ms": 1_795_503_037_042_u64, "event": "device-online", "device": "a\x1b[0m" });
        let zone = TimeZone::fixed(jiff::tz::offset(-5));
        assert_eq!(
            EventLines::new(zone, false).line(&event),
            "2026-11-24 01:50:37.042  device-online    a\\u{1b}[0m\n"
        );
    }

    #[test]
    fn colours() {
        let lines = EventLines::new(TimeZone::UTC, true);
        for (event, expected) in [
            (
                json!({ "event": "refused" }),
                "-  \x1b[31mrefused        \x1b[0m  somebody: -\n",
            ),
            (
                json!({ "event": "logout", "target": "t", "session": 1 }),
                "-  logout           somebody from t, session 1\n",
            ),
        ] {
            assert_eq!(lines.line(&event), expected);
        }
    }

    #[test]
    fn what_is_new_is_shown_as_it_is() {
        let event = json!({ "event": "later", "sequence": 1, "time_ms": 0, "a": "b\n", "c": [1] });
        assert_eq!(
            EventLines::new(TimeZone::UTC, false).line(&event),
            "1970-01-01 00:00:00.000  later            a b\\n, c [1]\n"
        );
    }
}
