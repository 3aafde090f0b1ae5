//! Parameters of methods: what they may be, and reading them.

use serde_json::{Map, Value};

use super::rpc::{Code, RpcError};
use crate::config::ByteSize;
use crate::config::nearest::suggestion;

/// One parameter, or one key of an object.
pub(super) struct Param {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) required: bool,
    pub(super) description: &'static str,
}

impl Param {
    pub(super) const fn required(
        name: &'static str,
        kind: Kind,
        description: &'static str,
    ) -> Self {
        Self {
            name,
            kind,
            required: true,
            description,
        }
    }

    pub(super) const fn optional(
        name: &'static str,
        kind: Kind,
        description: &'static str,
    ) -> Self {
        Self {
            name,
            kind,
            required: false,
            description,
        }
    }
}

/// What a parameter may be. One that is not required may also be `null`, which is as if it were not there.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    String,
    /// One of these strings. Others are refused by whoever knows what is near them.
    Word(&'static [&'static str]),
    Boolean,
    /// Between bounds, both included.
    Integer(u64, u64),
    /// A number of bytes, or a string such as `"512MiB"`.
    Size,
    /// A number of seconds, or a string such as `"500ms"`.
    Duration,
    List(&'static Kind),
    /// An object with these keys.
    Object(&'static [Param]),
    /// An object with free keys.
    Map(&'static Kind),
    /// Either of two.
    Either(&'static Kind, &'static Kind),
}

impl Kind {
    /// Whether a value is of this kind. What is within objects is for those who read them: they know what is wrong there, and say
    /// where.
    fn takes(self, value: &Value) -> bool {
        match self {
            Self::String | Self::Word(_) => value.is_string(),
            Self::Boolean => value.is_boolean(),
            Self::Integer(low, high) => value
                .as_u64()
                .is_some_and(|number| (low..=high).contains(&number)),
            Self::Size => size(value).is_some(),
            Self::Duration => value.is_string() || value.is_number(),
            Self::List(kind) => value
                .as_array()
                .is_some_and(|items| items.iter().all(|item| kind.takes(item))),
            Self::Object(_) | Self::Map(_) => value.is_object(),
            Self::Either(one, other) => one.takes(value) || other.takes(value),
        }
    }

    fn wanted(self) -> String {
        match self {
            Self::String => "a string".to_owned(),
            Self::Word(words) => format!("one of \"{}\"", words.join("\", \"")),
            Self::Boolean => "true or false".to_owned(),
            Self::Integer(low, u64::MAX) => format!("a number, {low} or more"),
            Self::Integer(low, high) => format!("a number from {low} to {high}"),
            Self::Size => "a number of bytes, or a size such as \"10GiB\"".to_owned(),
            Self::Duration => "a number of seconds, or a time such as \"500ms\"".to_owned(),
            Self::List(Kind::String) => "a list of strings".to_owned(),
            Self::List(Kind::Object(_)) => "a list of objects".to_owned(),
            Self::List(kind) => format!("a list, each item {}", kind.wanted()),
            Self::Object(_) | Self::Map(_) => "an object: { ... }".to_owned(),
            Self::Either(one, other) => format!("{}, or {}", one.wanted(), other.wanted()),
        }
    }
}

impl Kind {
    /// What a value that is not of this kind is, for a message to whoever sent it.
    fn found(self, value: &Value) -> String {
        match (self, value) {
            (Self::List(kind), Value::Array(items)) => {
                let wrong = items.iter().find(|item| !kind.takes(item));
                let item = wrong.map_or_else(|| "that".to_owned(), |item| kind.found(item));
                format!("one with {item} in it")
            }
            (_, Value::String(text)) => shorten(text),
            (_, Value::Array(_)) => "a list".to_owned(),
            (_, Value::Object(_)) => "an object".to_owned(),
            (_, plain) => plain.to_string(),
        }
    }
}

/// Parameters of one call, by name, without those that are `null`.
#[derive(Clone, Debug, Default)]
pub(super) struct Params(Map<String, Value>);

impl Params {
    /// By name or by position. Too many by position, and what is neither a list nor an object, are refused; nothing else is
    /// checked.
    pub(super) fn new(
        method: &str,
        params: &[Param],
        values: Option<Value>,
    ) -> Result<Self, RpcError> {
        let mut values = match values {
            None => Map::new(),
            Some(Value::Object(values)) => values,
            Some(Value::Array(values)) if values.len() <= params.len() => params
                .iter()
                .map(|param| param.name.to_owned())
                .zip(values)
                .collect(),
            Some(Value::Array(values)) => {
                let (most, got) = (params.len(), values.len());
                let message = format!("{method} takes {most} parameters, not {got}");
                return Err(invalid(message));
            }
            Some(_) => return Err(invalid("params is neither an object nor a list")),
        };
        values.retain(|name, value| {
            let optional = |param: &Param| param.name == name && !param.required;
            !(value.is_null() && params.iter().any(optional))
        });
        Ok(Self(values))
    }

    /// All of them are known and of their kind, and all that are required are there.
    pub(super) fn checked(self, method: &str, params: &[Param]) -> Result<Self, RpcError> {
        let known: Vec<&str> = params.iter().map(|param| param.name).collect();
        if let Some(name) = self.0.keys().find(|name| !known.contains(&name.as_str())) {
            let hint = if known.is_empty() {
                "it takes none".to_owned()
            } else {
                suggestion(name, &known)
            };
            let message = format!("{method} has no parameter {}; {hint}", shorten(name));
            return Err(invalid(message));
        }
        for param in params {
            let name = param.name;
            match self.0.get(name) {
                Some(value) if param.kind.takes(value) => {}
                Some(value) => {
                    let (wanted, found) = (param.kind.wanted(), param.kind.found(value));
                    let message = format!("the parameter {name:?} must be {wanted}, not {found}");
                    return Err(invalid(message));
                }
                None if param.required => {
                    return Err(invalid(format!("{method} needs the parameter {name:?}")));
                }
                None => {}
            }
        }
        Ok(self)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(super) fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn owned(&self, name: &str) -> String {
        self.text(name).to_owned()
    }

    pub(super) fn optional_text(&self, name: &str) -> Option<String> {
        self.0.get(name).and_then(Value::as_str).map(str::to_owned)
    }

    pub(super) fn size(&self, name: &str) -> Option<u64> {
        self.0.get(name).and_then(size)
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    pub(super) fn number(&self, name: &str) -> u64 {
        self.0.get(name).and_then(Value::as_u64).unwrap_or_default()
    }

    /// A LUN, which was checked to be one.
    pub(super) fn lun(&self, name: &str) -> u16 {
        u16::try_from(self.number(name)).unwrap_or(u16::MAX)
    }

    pub(super) fn list(&mut self, name: &str) -> Vec<Value> {
        match self.0.remove(name) {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        }
    }

    pub(super) fn items(&self, name: &str) -> &[Value] {
        let items = self.0.get(name).and_then(Value::as_array);
        items.map(Vec::as_slice).unwrap_or_default()
    }

    /// An object of those of these keys that are there.
    pub(super) fn object(&self, keys: &[&str]) -> Value {
        let entries = keys.iter().filter_map(|&key| {
            let value = self.0.get(key)?;
            Some((key.to_owned(), value.clone()))
        });
        Value::Object(entries.collect())
    }

    /// All of them.
    pub(super) fn into_object(self) -> Value {
        Value::Object(self.0)
    }

    /// What a log may say, each with a blank before it: which things they name. Never more than that: others hold secrets.
    pub(super) fn summary(&self) -> String {
        const NAMES: [&str; 13] = [
            "name",
            "target",
            "group",
            "lun",
            "device",
            "initiator",
            "from",
            "to",
            "transport",
            "address",
            "id",
            "file",
            "force",
        ];
        let mut words = String::new();
        for name in NAMES {
            match self.0.get(name) {
                Some(Value::String(text)) => words += &format!(" {name}={}", shorten(text)),
                Some(value @ (Value::Number(_) | Value::Bool(_))) => {
                    words += &format!(" {name}={value}");
                }
                _ => {}
            }
        }
        if let Some(Value::Array(changes)) = self.0.get("changes") {
            words += &format!(" changes={}", changes.len());
        }
        words
    }
}

fn size(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => ByteSize::parse(text).map(ByteSize::bytes),
        number => number.as_u64(),
    }
}

pub(super) fn invalid(message: impl Into<String>) -> RpcError {
    RpcError::new(Code::InvalidParams, message)
}

/// In quotes, and not longer than a message should be.
pub(super) fn shorten(text: &str) -> String {
    const LONGEST: usize = 64;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}...", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}
