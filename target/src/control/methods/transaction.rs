//! `transaction`: several changes, or none.

use serde_json::Value;

use super::{Answer, CHANGE_ERRORS, MOST_CHANGES, Method, Run, all, refusal, shape, to_value};
use crate::config::edit::{Edit, EditError};
use crate::config::nearest::suggestion;
use crate::control::params::{Kind, Param, Params, invalid, shorten};
use crate::control::reports::ChangeReport;
use crate::control::rpc::RpcError;
use crate::control::{ChangeError, Management};

const CHANGE: &[Param] = &[
    Param::required(
        "method",
        Kind::String,
        "a method that changes the configuration",
    ),
    Param::optional("params", Kind::Object(&[]), "its parameters"),
];

pub(super) const METHODS: &[Method] = &[Method {
    name: "transaction",
    description: "several changes of the configuration, one after the other: all of them or none",
    params: &[Param::required(
        "changes",
        Kind::List(&Kind::Object(CHANGE)),
        "what to change: 1 to 1000 calls of methods that change the configuration",
    )],
    result: shape::<ChangeReport>,
    errors: CHANGE_ERRORS,
    run: Run::Transaction,
}];

pub(super) fn run(daemon: &dyn Management, mut params: Params) -> Answer {
    let changes = params.list("changes");
    if changes.is_empty() {
        return Err(invalid("\"changes\" is empty; give at least one change"));
    }
    if changes.len() > MOST_CHANGES {
        let message = format!(
            "\"changes\" has {} changes, and {MOST_CHANGES} are the most at a time; make several transactions of them",
            changes.len()
        );
        return Err(invalid(message));
    }
    let mut edits = Vec::with_capacity(changes.len());
    for (index, change) in changes.into_iter().enumerate() {
        edits.push(edit(daemon, change).map_err(|error| error.of_change(index))?);
    }
    let report = daemon.change(&edits).map_err(|error| match &error {
        // One of several says itself which one it is.
        ChangeError::Edit(
            EditError::NotFound { .. } | EditError::Refused { .. } | EditError::Invalid(_),
        ) if edits.len() == 1 => refusal(&error).of_change(0),
        _ => refusal(&error),
    })?;
    to_value(&report)
}

/// What a log may say of each change; nothing of a transaction that is too long to be one.
pub(in crate::control) fn summaries(params: &Params) -> Vec<String> {
    let changes = params.items("changes");
    if changes.len() > MOST_CHANGES {
        return Vec::new();
    }
    changes.iter().map(summary).collect()
}

fn summary(change: &Value) -> String {
    let name = change.get("method").and_then(Value::as_str);
    let Some(method) = name.and_then(Method::find) else {
        return "no method".to_owned();
    };
    let params = method.params(change.get("params").cloned());
    let summary = params.map(|params| params.summary()).unwrap_or_default();
    format!("{}{summary}", method.name)
}

fn edit(daemon: &dyn Management, change: Value) -> Result<Edit, RpcError> {
    let Value::Object(mut change) = change else {
        return Err(invalid(
            "a change is an object with \"method\" and \"params\"",
        ));
    };
    let name = match change.remove("method") {
        Some(Value::String(name)) => name,
        Some(_) => return Err(invalid("\"method\" is not a string")),
        None => return Err(invalid("a change has a \"method\"")),
    };
    let values = change.remove("params").filter(|params| !params.is_null());
    if let Some(key) = change.keys().next() {
        let message = format!(
            "a change has no {}; {}",
            shorten(key),
            suggestion(key, &["method", "params"])
        );
        return Err(invalid(message));
    }
    let known = || all().filter(|method| method.is_edit()).map(|m| m.name);
    let Some(method) = Method::find(&name) else {
        let known: Vec<&str> = known().collect();
        let message = format!(
            "no method {}; {}",
            shorten(&name),
            suggestion(&name, &known)
        );
        return Err(invalid(message));
    };
    if !method.is_edit() {
        let known: Vec<String> = known().map(|name| format!("`{name}`")).collect();
        let message = format!(
            "{name} cannot be part of a transaction; what can are {}",
            known.join(", ")
        );
        return Err(invalid(message));
    }
    method.edit(daemon, method.params(values)?)
}
