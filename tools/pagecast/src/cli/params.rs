//! Parameters of a call, put together from what the command line has.

use std::path::{self, Path};

use serde_json::{Map, Value, json};

use super::UsageError;

/// Parameters by name. What the command line leaves out is left out here: the daemon knows the defaults.
#[derive(Debug, Default)]
pub(crate) struct Params(Map<String, Value>);

impl Params {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.insert(key.to_owned(), value.into());
        self
    }

    pub(crate) fn maybe(self, key: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// A flag that is off unless it is there.
    pub(crate) fn flag(self, key: &str, on: bool) -> Self {
        if on { self.with(key, true) } else { self }
    }

    pub(crate) fn merge(mut self, other: Value) -> Self {
        if let Value::Object(other) = other {
            self.0.extend(other);
        }
        self
    }
}

impl From<Params> for Value {
    fn from(params: Params) -> Self {
        Self::Object(params.0)
    }
}

/// A path that means the same to the daemon, which has another working directory.
pub(crate) fn absolute(path: &Path) -> Result<Value, UsageError> {
    let whole = path::absolute(path)
        .map_err(|cause| UsageError(format!("cannot make {path:?} an absolute path: {cause}")))?;
    match whole.to_str() {
        Some(text) => Ok(json!(text)),
        None => Err(UsageError(format!(
            "{whole:?} is not UTF-8, as a path in the configuration has to be; rename it, or make a symbolic link to it"
        ))),
    }
}
