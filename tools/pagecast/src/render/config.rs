//! Configuration documents.

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::{Map, Value};

use super::fields::Fields;
use crate::human::bytes;

/// Keys that come first in an object, in the order in which people read them.
const FIRST: [&str; 15] = [
    "name",
    "backend",
    "path",
    "size",
    "block_size",
    "transport",
    "address",
    "port",
    "iqn",
    "nqn",
    "default",
    "initiators",
    "devices",
    "targets",
    "portals",
];

/// A configuration as people write one.
pub(crate) fn document(config: &Value) -> String {
    // Strings are all that could fail, and these keys are.
    let text = serde_json::to_string_pretty(&Ordered(config));
    let mut text = text.unwrap_or_else(|_| format!("{config:#}"));
    text.push('\n');
    text
}

pub(super) fn saved(report: Fields<'_>) -> String {
    format!(
        "saved in {}, {}\n",
        report.text("file"),
        bytes(report.number("bytes"))
    )
}

/// A value whose objects have their keys in the order of [`FIRST`], then by number, then by name.
struct Ordered<'a>(&'a Value);

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(map) => {
                let entries = in_order(map);
                let mut object = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    object.serialize_entry(key, &Ordered(value))?;
                }
                object.end()
            }
            Value::Array(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(&Ordered(item))?;
                }
                list.end()
            }
            other => other.serialize(serializer),
        }
    }
}

fn in_order(map: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by_cached_key(|(key, _)| {
        let rank = FIRST.iter().position(|first| first == key);
        let number: Option<u64> = key.parse().ok();
        (
            rank.unwrap_or(FIRST.len()),
            number.unwrap_or(u64::MAX),
            (*key).clone(),
        )
    });
    entries
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_where_people_look_for_them() {
        let config = json!({
            "targets": [{ "groups": [{ "luns": { "10": "b", "9": "a" }, "name": "g" }], "name": "t" }],
            "devices": [{ "backend": "file", "serial": "x", "path": "/a", "name": "a" }],
        });
        let text = document(&config);
        let at = |key: &str| text.find(key).unwrap_or_else(|| panic!("{key}: {text}"));
        for (one, other) in [
            ("\"devices\"", "\"targets\""),
            ("\"name\": \"a\"", "\"backend\""),
            ("\"path\"", "\"serial\""),
            ("\"name\": \"t\"", "\"groups\""),
            ("\"9\"", "\"10\""),
        ] {
            assert!(at(one) < at(other), "{one} after {other}: {text}");
        }
        let same: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(same, config);
        assert!(text.ends_with("}\n"));
    }
}
