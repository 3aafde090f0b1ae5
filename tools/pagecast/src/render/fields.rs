//! Fields of a report, and lists of them.

use serde_json::Value;

use crate::human::clean;

/// Labels and what they stand for.
#[derive(Default)]
pub(super) struct List(Vec<(&'static str, String)>);

impl List {
    pub(super) fn add(&mut self, label: &'static str, text: String) {
        self.0.push((label, text));
    }

    pub(super) fn lines(&self, indent: &str) -> String {
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
pub(super) struct Fields<'a>(pub(super) &'a Value);

impl<'a> Fields<'a> {
    pub(super) fn inner(self, key: &str) -> Self {
        Self(self.0.get(key).unwrap_or(&Value::Null))
    }

    /// Whether the field is there, and says something.
    pub(super) fn has(self, key: &str) -> bool {
        !self.inner(key).0.is_null()
    }

    pub(super) fn text(self, key: &str) -> String {
        self.inner(key).own_text()
    }

    pub(super) fn own_text(self) -> String {
        match self.0 {
            Value::Null => "-".to_owned(),
            Value::String(text) => clean(text),
            other => clean(&other.to_string()),
        }
    }

    pub(super) fn number(self, key: &str) -> u64 {
        self.inner(key).0.as_u64().unwrap_or(0)
    }

    /// As [`number`](Self::number), of a field that may have a fraction.
    pub(super) fn rounded(self, key: &str) -> Option<u64> {
        let value = self.inner(key).0;
        // A cast of a float saturates.
        value
            .as_u64()
            .or_else(|| value.as_f64().map(|value| value.round() as u64))
    }

    pub(super) fn flag(self, key: &str) -> bool {
        self.inner(key).0.as_bool().unwrap_or(false)
    }

    pub(super) fn items(self, key: &str) -> impl Iterator<Item = Fields<'a>> {
        self.inner(key).own_items()
    }

    pub(super) fn own_items(self) -> impl Iterator<Item = Fields<'a>> {
        self.0.as_array().into_iter().flatten().map(Fields)
    }

    pub(super) fn entries(self, key: &str) -> impl Iterator<Item = (&'a str, Fields<'a>)> {
        let object = self.inner(key).0.as_object();
        object
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.as_str(), Fields(value)))
    }
}
