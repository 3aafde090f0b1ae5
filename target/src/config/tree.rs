//! Ways through a document. What is not there, or is something else, is empty: documents were checked before they get here.

use serde_json::Value;

use super::document::Node;
use super::target::{GroupConfig, TargetConfig};

/// The keys of an object and their values, in order.
pub(super) type Fields = Vec<(String, Node)>;

/// The value of a key.
pub(super) fn field<'n>(object: &'n Node, key: &str) -> Option<&'n Node> {
    match object {
        Node::Object(fields) => fields.iter().find(|(k, _)| k == key).map(|(_, node)| node),
        _ => None,
    }
}

/// The same, to be changed.
pub(super) fn field_mut<'n>(object: &'n mut Node, key: &str) -> Option<&'n mut Node> {
    match object {
        Node::Object(fields) => (fields.iter_mut().find(|(k, _)| k == key)).map(|(_, node)| node),
        _ => None,
    }
}

/// The text at a key.
pub(super) fn text<'n>(object: &'n Node, key: &str) -> Option<&'n str> {
    match field(object, key) {
        Some(Node::String(text)) => Some(text),
        _ => None,
    }
}

/// The name of a device, a target or a group.
pub(super) fn name(object: &Node) -> &str {
    text(object, "name").unwrap_or_default()
}

/// The items of the list at a key.
pub(super) fn items<'n>(object: &'n Node, key: &str) -> &'n [Node] {
    match field(object, key) {
        Some(Node::Array(items)) => items,
        _ => &[],
    }
}

/// The entries of the object at a key.
pub(super) fn fields<'n>(object: &'n Node, key: &str) -> &'n [(String, Node)] {
    match field(object, key) {
        Some(Node::Object(fields)) => fields,
        _ => &[],
    }
}

/// The same, to be changed.
pub(super) fn fields_mut<'n>(object: &'n mut Node, key: &str) -> Option<&'n mut Fields> {
    match field_mut(object, key) {
        Some(Node::Object(fields)) => Some(fields),
        _ => None,
    }
}

/// The items of the list at a key, to be changed.
pub(super) fn items_mut<'n>(object: &'n mut Node, key: &str) -> &'n mut [Node] {
    match field_mut(object, key) {
        Some(Node::Array(items)) => items,
        _ => &mut [],
    }
}

/// One more item of the list at a key, which is made if it is not there. Beyond the end is at the end.
pub(super) fn insert(object: &mut Node, key: &str, at: usize, item: Node) {
    if let Some(Node::Array(items)) = made(object, key, || Node::Array(Vec::new())) {
        items.insert(at.min(items.len()), item);
    }
}

/// One more item at the end.
pub(super) fn push(object: &mut Node, key: &str, item: Node) {
    insert(object, key, usize::MAX, item);
}

/// An item less of the list at a key.
pub(super) fn remove(object: &mut Node, key: &str, at: usize) {
    if let Some(Node::Array(items)) = field_mut(object, key)
        && at < items.len()
    {
        items.remove(at);
    }
}

/// Keeps the items of the list at a key that are to be kept.
pub(super) fn retain(object: &mut Node, key: &str, keep: impl FnMut(&Node) -> bool) {
    if let Some(Node::Array(items)) = field_mut(object, key) {
        items.retain(keep);
    }
}

/// The object at a key, which is made if it is not there.
pub(super) fn object<'n>(object: &'n mut Node, key: &str) -> Option<&'n mut Fields> {
    match made(object, key, || Node::Object(Vec::new())) {
        Some(Node::Object(fields)) => Some(fields),
        _ => None,
    }
}

/// Gives a key a value. One that is not there yet comes to its place in the `order` of keys.
pub(super) fn set(object: &mut Node, key: &str, order: &[&str], value: Node) {
    if let Some(there) = made_in(object, key, order, || Node::Null) {
        *there = value;
    }
}

/// A key less. Says whether it was there.
pub(super) fn take(object: &mut Node, key: &str) -> bool {
    let Node::Object(fields) = object else {
        return false;
    };
    let before = fields.len();
    fields.retain(|(k, _)| k != key);
    fields.len() < before
}

/// The value of a key, which is made in its usual place if it is not there.
fn made<'n>(object: &'n mut Node, key: &str, make: impl FnOnce() -> Node) -> Option<&'n mut Node> {
    let order: &[&str] = match key {
        "portals" | "groups" => &TargetConfig::KEYS,
        "initiators" | "luns" => &GroupConfig::KEYS,
        _ => &["devices", "targets"],
    };
    made_in(object, key, order, make)
}

fn made_in<'n>(
    object: &'n mut Node,
    key: &str,
    order: &[&str],
    make: impl FnOnce() -> Node,
) -> Option<&'n mut Node> {
    let Node::Object(fields) = object else {
        return None;
    };
    let at = match fields.iter().position(|(k, _)| k == key) {
        Some(at) => at,
        None => {
            let own = place(key, order);
            let after = fields.iter().position(|(k, _)| place(k, order) > own);
            let at = after.unwrap_or(fields.len());
            fields.insert(at, (key.to_owned(), make()));
            at
        }
    };
    fields.get_mut(at).map(|(_, node)| node)
}

/// Puts the keys of an object in this order; others stay behind them.
pub(super) fn sort(object: &mut Node, order: &[&str]) {
    if let Node::Object(fields) = object {
        fields.sort_by_key(|(key, _)| place(key, order));
    }
}

fn place(key: &str, order: &[&str]) -> usize {
    let place = order.iter().position(|known| *known == key);
    place.unwrap_or(order.len())
}

impl From<&Value> for Node {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => {
                let integer = number.as_u64().map(i128::from);
                let integer = integer.or_else(|| number.as_i64().map(i128::from));
                match (integer, number.as_f64()) {
                    (Some(integer), _) => Self::Integer(integer),
                    (None, Some(number)) => Self::Number(number),
                    (None, None) => Self::Null,
                }
            }
            Value::String(text) => Self::String(text.clone()),
            Value::Array(items) => Self::Array(items.iter().map(Self::from).collect()),
            Value::Object(fields) => {
                let fields = fields.iter();
                Self::Object(
                    fields
                        .map(|(key, value)| (key.clone(), value.into()))
                        .collect(),
                )
            }
        }
    }
}
