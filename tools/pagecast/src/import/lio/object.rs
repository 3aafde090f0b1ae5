//! Objects of a JSON document that know where they are.

use serde_json::{Map, Value};

use super::{Notes, Place, show};
use crate::import::notes::Fact;

pub(super) struct Object<'a> {
    pub(super) place: Place,
    fields: &'a Map<String, Value>,
}

fn place(path: String) -> Place {
    Place {
        short: path.clone(),
        full: path,
        line: 0,
    }
}

impl<'a> Object<'a> {
    pub(super) fn top(fields: &'a Map<String, Value>) -> Self {
        Self {
            place: place(String::new()),
            fields,
        }
    }

    pub(super) fn value(&self, key: &str) -> Option<&'a Value> {
        // Python writes what is not set as null.
        self.fields.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn place_of(&self, key: &str) -> Place {
        const LONGEST: usize = 64;
        let key: String = key
            .chars()
            .filter(|c| !c.is_control())
            .take(LONGEST)
            .collect();
        place(match self.place.full.is_empty() {
            true => key,
            false => format!("{}.{key}", self.place.full),
        })
    }

    /// The objects of a list. What is no object is noted.
    pub(super) fn list(&self, notes: &mut Notes, key: &str) -> Vec<Object<'a>> {
        let at = self.place_of(key);
        let items = match self.value(key) {
            None => return Vec::new(),
            Some(Value::Array(items)) => items,
            Some(_) => {
                notes.add(
                    &at,
                    format!("{key} is no list, and not imported"),
                    "look up what it should be",
                );
                return Vec::new();
            }
        };
        let mut objects = Vec::new();
        for (i, item) in items.iter().enumerate() {
            let place = place(format!("{}[{i}]", at.full));
            match item {
                Value::Object(fields) => objects.push(Object { place, fields }),
                _ => notes.add(
                    &place,
                    "this is no object, and not imported",
                    "look up what it should be",
                ),
            }
        }
        objects
    }

    /// The object at `key`; an empty one if there is none.
    pub(super) fn object(&self, notes: &mut Notes, key: &str) -> Option<Object<'a>> {
        let place = self.place_of(key);
        match self.value(key)? {
            Value::Object(fields) => Some(Object { place, fields }),
            _ => {
                notes.add(
                    &place,
                    format!("{key} is no object, and not imported"),
                    "look up what it should be",
                );
                None
            }
        }
    }

    /// A text that is not empty.
    pub(super) fn text(&self, notes: &mut Notes, key: &str) -> Option<&'a str> {
        match self.value(key)? {
            Value::String(text) => (!text.is_empty()).then_some(text),
            _ => {
                self.wrong(notes, key, "a text");
                None
            }
        }
    }

    /// A number. LIO's files have them as texts as well.
    pub(super) fn number(&self, notes: &mut Notes, key: &str) -> Option<u64> {
        let found = match self.value(key)? {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        if found.is_none() {
            self.wrong(notes, key, "a number");
        }
        found
    }

    /// True or false, which may be a number.
    pub(super) fn flag(&self, notes: &mut Notes, key: &str) -> Option<bool> {
        let found = match self.value(key)? {
            Value::Bool(flag) => Some(*flag),
            Value::Number(number) => number.as_u64().filter(|n| *n < 2).map(|n| n == 1),
            Value::String(text) => match text.to_ascii_lowercase().as_str() {
                "0" | "false" | "no" => Some(false),
                "1" | "true" | "yes" => Some(true),
                _ => None,
            },
            _ => None,
        };
        if found.is_none() {
            self.wrong(notes, key, "true or false");
        }
        found
    }

    fn wrong(&self, notes: &mut Notes, key: &str, wanted: &str) {
        notes.add(
            &self.place_of(key),
            format!("{key} is not {wanted}, and not imported"),
            "set by hand what it was to be",
        );
    }

    /// Every key that is not one of `handled`, by what the tables say of it.
    pub(super) fn rest(&self, notes: &mut Notes, handled: &[&str], tables: &[&'static [Fact]]) {
        for (key, value) in self.fields {
            if handled.contains(&key.as_str()) {
                continue;
            }
            let at = self.place_of(key);
            let text = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            if !notes.known(tables, &at, key, &text) {
                notes.add(
                    &at,
                    format!("{} is not known here, and not imported", show(key)),
                    "look up what it does, and whether it is needed",
                );
            }
        }
    }
}
