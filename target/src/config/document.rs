//! A JSON document as it was written, and readers that say where in it something is wrong.
//!
//! `serde_json::Value` would do, but for keys that occur twice: it keeps the last one and says nothing.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::error::Problem;
use super::nearest::suggestion;

/// A JSON value that keeps the keys of objects in order, repeated ones too.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Null,
    Bool(bool),
    /// An integer of at most 64 bits.
    Integer(i128),
    /// Any other number.
    Number(f64),
    String(String),
    Array(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Node {
    /// The value as it should appear in a message: short, on one line.
    pub(super) fn show(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Number(value) => value.to_string(),
            Self::String(text) => show(text),
            Self::Array(_) => "a list".to_owned(),
            Self::Object(_) => "an object".to_owned(),
        }
    }
}

/// `text` in quotes, escaped, and cut when it is long.
pub(super) fn show(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Integer(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Integer(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Node::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            list.push(entry);
        }
        Ok(Node::Object(list))
    }
}

/// Why a value will not do. The reader adds where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) what: String,
    pub(super) remedy: String,
}

impl Fault {
    pub(super) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    /// `value` is of another type or form than the one described.
    pub(super) fn expected(value: &Node, wanted: &str) -> Self {
        Self::new(
            format!("{} is not what belongs here", value.show()),
            format!("give {wanted}"),
        )
    }
}

/// Collects what is wrong, so that all of it is reported at once.
#[derive(Debug, Default)]
pub(super) struct Problems {
    list: Vec<Problem>,
}

impl Problems {
    /// More than this many are cut: the rest follows from the first ones more often than not.
    const MOST: usize = 50;

    pub(super) fn add(&mut self, path: &str, fault: Fault) {
        if self.list.len() < Self::MOST {
            let Fault { what, remedy } = fault;
            self.list.push(Problem {
                path: path.to_owned(),
                what,
                remedy,
            });
        }
    }

    pub(super) fn into_list(self) -> Vec<Problem> {
        self.list
    }

    /// Checks that `node` is an object with none but the `known` keys, each at most once.
    pub(super) fn object<'n>(
        &mut self,
        node: &'n Node,
        path: &str,
        known: &[&'static str],
    ) -> Option<Object<'n>> {
        let fields = self.entries(node, path)?;
        for (key, _) in fields {
            if !known.contains(&key.as_str()) {
                let what = format!("unknown key {}", show(key));
                self.add(&join(path, key), Fault::new(what, suggestion(key, known)));
            }
        }
        Some(Object {
            path: path.to_owned(),
            fields,
        })
    }

    /// The entries of an object whose keys are free; each occurs at most once.
    pub(super) fn entries<'n>(
        &mut self,
        node: &'n Node,
        path: &str,
    ) -> Option<&'n [(String, Node)]> {
        let Node::Object(fields) = node else {
            self.add(path, Fault::expected(node, "an object: { ... }"));
            return None;
        };
        let mut seen = std::collections::HashSet::new();
        for (key, _) in fields {
            if !seen.insert(key) {
                let what = format!("the key {} is there more than once", show(key));
                self.add(&join(path, key), Fault::new(what, "keep one of them"));
            }
        }
        Some(fields)
    }
}

/// An object whose keys have been checked.
#[derive(Debug)]
pub(super) struct Object<'n> {
    path: String,
    fields: &'n [(String, Node)],
}

impl<'n> Object<'n> {
    /// Where the value of `key` is.
    pub(super) fn path(&self, key: &str) -> String {
        join(&self.path, key)
    }

    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        self.fields
            .iter()
            .find(|(k, _)| k == key)
            .map(|(_, node)| node)
    }

    /// The value of `key` if it is there and good. A bad one is a problem.
    pub(super) fn optional<T>(
        &self,
        problems: &mut Problems,
        key: &str,
        parse: impl FnOnce(&Node) -> Result<T, Fault>,
    ) -> Option<T> {
        match parse(self.get(key)?) {
            Ok(value) => Some(value),
            Err(fault) => {
                problems.add(&self.path(key), fault);
                None
            }
        }
    }

    /// The value of `key`; a problem if it is not there. `example` is shown then.
    pub(super) fn required<T>(
        &self,
        problems: &mut Problems,
        key: &str,
        example: &str,
        parse: impl FnOnce(&Node) -> Result<T, Fault>,
    ) -> Option<T> {
        if self.get(key).is_none() {
            let what = format!("the key {key:?} is missing");
            problems.add(
                &self.path,
                Fault::new(what, format!("add {key:?}: {example}")),
            );
        }
        self.optional(problems, key, parse)
    }

    /// The items of the list at `key`, each read by `parse`. Not there is empty.
    pub(super) fn list<T>(
        &self,
        problems: &mut Problems,
        key: &str,
        mut parse: impl FnMut(&mut Problems, &Node, &str) -> Option<T>,
    ) -> Vec<T> {
        let path = self.path(key);
        match self.get(key) {
            None => Vec::new(),
            Some(Node::Array(items)) => items
                .iter()
                .enumerate()
                .filter_map(|(i, item)| parse(problems, item, &format!("{path}[{i}]")))
                .collect(),
            Some(other) => {
                problems.add(&path, Fault::expected(other, "a list: [ ... ]"));
                Vec::new()
            }
        }
    }
}

/// The path of `key` in the object at `path`.
pub(super) fn join(path: &str, key: &str) -> String {
    let plain = !key.is_empty()
        && key.len() <= 64
        && key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
        && !key.starts_with(|c: char| c.is_ascii_digit());
    match (path.is_empty(), plain) {
        (true, true) => key.to_owned(),
        (false, true) => format!("{path}.{key}"),
        (_, false) => format!("{path}[{}]", show(key)),
    }
}

/// `true` or `false`.
pub(super) fn boolean(node: &Node) -> Result<bool, Fault> {
    match node {
        Node::Bool(value) => Ok(*value),
        other => Err(Fault::expected(other, "true or false, without quotes")),
    }
}

/// Any string.
pub(super) fn string(node: &Node) -> Result<&str, Fault> {
    match node {
        Node::String(text) => Ok(text),
        other => Err(Fault::expected(other, "a string in double quotes")),
    }
}

/// An integer between bounds, both included.
pub(super) fn integer(node: &Node, low: u64, high: u64) -> Result<u64, Fault> {
    let wanted = || format!("a number from {low} to {high}");
    match node {
        Node::Integer(value) => u64::try_from(*value)
            .ok()
            .filter(|value| (low..=high).contains(value))
            .ok_or_else(|| {
                let side = if *value < i128::from(low) {
                    "small"
                } else {
                    "large"
                };
                Fault::new(
                    format!("{value} is too {side}"),
                    format!("give {}", wanted()),
                )
            }),
        other => Err(Fault::expected(other, &wanted())),
    }
}

/// [`integer`] for 32 bits.
pub(super) fn integer32(node: &Node, low: u32, high: u32) -> Result<u32, Fault> {
    let value = integer(node, low.into(), high.into())?;
    // In bounds, so it fits.
    Ok(u32::try_from(value).unwrap_or(high))
}

/// One of a fixed set of words.
pub(super) fn word<T: Copy>(node: &Node, words: &[(&'static str, T)]) -> Result<T, Fault> {
    let known: Vec<&str> = words.iter().map(|&(word, _)| word).collect();
    let text = match node {
        Node::String(text) => text,
        other => {
            return Err(Fault::expected(
                other,
                &format!("one of \"{}\"", known.join("\", \"")),
            ));
        }
    };
    match words.iter().find(|&&(word, _)| word == text) {
        Some(&(_, value)) => Ok(value),
        None => Err(Fault::new(
            format!("{} is not known here", show(text)),
            suggestion(text, &known),
        )),
    }
}
