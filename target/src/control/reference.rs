//! The reference of the control socket, for people: `docs/control-socket.md`. All that it says of methods and reports is what
//! `rpc.schema` tells programs.

use std::fmt::Write;

use serde_json::Value;

use super::client::{MAX_WATCHERS, WRITE_TIMEOUT};
use super::json::MOST_VALUES;
use super::lines::MAX_REQUEST;
use super::methods::MOST_CHANGES;
use super::rpc::{LONGEST_ANSWERS, LONGEST_BATCH};
use super::schema::{self, MethodSchema, ParamSchema, RpcSchema, TypeSchema};
use super::server::MAX_CLIENTS;
use crate::events;

/// Requests, and what comes back. Tests send them.
pub(super) const EXAMPLE: [(&str, &str); 4] = [
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"config.save","params":{"file":"/root/copy.json"}}"#,
        r#"{"id":1,"jsonrpc":"2.0","result":{"bytes":1234,"file":"/root/copy.json"}}"#,
    ),
    (
        r#"{"jsonrpc":"2.0","id":2,"method":"session.show","params":{"ID":2}}"#,
        r#"{"error":{"code":-32602,"message":"session.show has no parameter \"ID\"; did you mean `id`?"},"id":2,"jsonrpc":"2.0"}"#,
    ),
    (
        r#"{"jsonrpc":"2.0","id":3,"method":"events"}"#,
        r#"{"id":3,"jsonrpc":"2.0","result":{"subscribed":true}}"#,
    ),
    (
        r#"{"jsonrpc":"2.0","id":4,"method":"transaction","params":{"changes":[{"method":"group.unmap","params":{"target":"store","group":"web","lun":7}},{"method":"device.remove","params":{"name":"ram0"}}]}}"#,
        r#"{"id":4,"jsonrpc":"2.0","result":{"file":"/etc/pagecast/pagecast.json","restart_needed":[],"sessions":[{"closed":null,"group":"web","group_before":"web","id":2,"initiator":"iqn.1993-08.org.debian:01:web","luns_added":[],"luns_removed":[7],"peer":"10.99.0.3","target":"store","transport":"iser"}],"warnings":[]}}"#,
    ),
];

/// The text of `docs/control-socket.md`.
pub fn reference() -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut out, &schema::schema());
    out
}

fn write(out: &mut String, schema: &RpcSchema) -> std::fmt::Result {
    introduction(out)?;
    errors(out, schema)?;
    example(out)?;
    out.write_str("## Methods\n\n")?;
    for method in &schema.methods {
        let (name, anchor) = (method.name, method.name.replace('.', ""));
        writeln!(out, "- [`{name}`](#{anchor}): {}", method.description)?;
    }
    for one in &schema.methods {
        method(out, one)?;
    }
    event_kinds(out, schema)?;
    out.write_str("\n## Reports\n\nWhat methods answer with, by name.\n")?;
    for (name, definition) in &schema.definitions {
        if name != "Event" {
            report(out, name, definition)?;
        }
    }
    Ok(())
}

fn introduction(out: &mut String) -> std::fmt::Result {
    let patience = WRITE_TIMEOUT.as_secs();
    let room = events::ROOM;
    let (largest, answers) = (MAX_REQUEST >> 20, LONGEST_ANSWERS >> 20);
    write!(
        out,
        "# The control socket

<!-- Made by `pagecastd::control::reference()`. To make it again: UPDATE_DOCS=1 cargo test -p pagecastd control_reference -->

`pagecastd` listens on a Unix socket, `/run/pagecast/control.sock` unless `--socket` says otherwise. Its mode is 0660: its owner and its
group may ask and change everything, others may not connect. Whoever connects all the same, because somebody has changed the mode, has to be root, the
daemon's user or a member of the group that the socket has; others are told so (`refused`), and the connection is closed. The command line `pagecast` uses nothing but this socket, and
has a command for each method: `pagecast device show disk0` is `device.show`, and with `--json` it prints the result as it came.

## Protocol

[JSON-RPC 2.0](https://www.jsonrpc.org/specification) over a stream: each request is one line, and so is each answer; a line ends with a line feed, and
blank lines are nothing. Requests of one connection are carried out in their order, one after the other; several connections are served at the
same time, and their changes are made one after the other.

- Parameters are given by name (an object), or by position (a list, in the order of the tables below). One that is not required may be `null`, which is as
  if it were not there. Names that a method does not know, and keys that are there twice, are errors.
- A batch (a list of requests) is carried out in its order, each request on its own; the answers come as a list on one line. What is to be done as a whole
  or not at all is a [`transaction`](#transaction).
- A request without an id is a notification: it is carried out, and not answered.
- The names of methods, parameters and reports' fields stay; there may be more of them with time, so that callers should ignore what they do not
  know.
- A change is in force, and durable in the configuration file, when it is answered. A client that goes away before does not take it back.
- What a client changes is logged with its process, user and group, and never with secrets.

| limit | |
|---|---|
| bytes of a request | {MAX_REQUEST} ({largest} MiB); a longer one is answered with an error and skipped |
| values in a request | {MOST_VALUES}, those in lists and objects counted |
| requests in a batch | {LONGEST_BATCH} |
| bytes of the answers to a batch | {LONGEST_ANSWERS} ({answers} MiB); what is left of it then is refused |
| changes in a transaction | {MOST_CHANGES} |
| clients at a time | {MAX_CLIENTS}; one more takes the place of the one that has asked for nothing for longest and does not watch events. If all are waiting for answers, it is told so (`busy`) and its connection is closed |
| clients that watch events at a time | {MAX_WATCHERS} |
| time to read an answer or an event | {patience} s; then the connection is closed |
| events that wait for a client | {room}; then the oldest are dropped, and the client is told how many |

Types of parameters:

| type | |
|---|---|
| string, boolean, integer | as in JSON |
| size | bytes: an integer, or a string such as `\"10GiB\"` |
| duration | seconds: a number, or a string such as `\"500ms\"` |
| list of ... | a list whose items are that |
| object | with the keys in the rows below it |
| map of ... | an object whose keys are free, and whose values are that |

`rpc.schema` describes all of it for programs: parameters, and JSON Schemas of what comes back.

"
    )
}

fn errors(out: &mut String, schema: &RpcSchema) -> std::fmt::Result {
    out.write_str(
        "## Errors\n\nThe message is for people; it names what is wrong and what to do about it. Where there is more to say for programs, it is in \
         `data`: see [`ErrorData`](#report-errordata).\n\n| code | | |\n|---|---|---|\n",
    )?;
    for error in &schema.errors {
        let (code, name, description) = (error.code, error.name, error.description);
        writeln!(out, "| {code} | {name} | {description} |")?;
    }
    out.write_char('\n')
}

fn example(out: &mut String) -> std::fmt::Result {
    out.write_str(
        "## An example\n\n`nc -U /run/pagecast/control.sock`, or `socat - UNIX-CONNECT:/run/pagecast/control.sock`, and type; `>` is what is sent, \
         and `<` what comes back. (Where the input of socat is not a terminal, `-t 10` has it wait for the answer.)\n\n```text\n",
    )?;
    for (request, answer) in EXAMPLE {
        writeln!(out, "> {request}\n< {answer}")?;
    }
    out.write_str(
        "< {\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{\"by\":\"transaction\",\"event\":\"configured\",\"sequence\":118,\"time_ms\":1795503037000}}\n```\n\n",
    )
}

fn method(out: &mut String, method: &MethodSchema) -> std::fmt::Result {
    writeln!(
        out,
        "\n### {}\n\n{}.\n",
        method.name,
        capital(method.description)
    )?;
    if !method.params.is_empty() {
        out.write_str("| parameter | type | |\n|---|---|---|\n")?;
        for param in &method.params {
            parameter(out, "", param)?;
        }
        out.write_char('\n')?;
    }
    writeln!(out, "Result: {}.", type_of(method.result.as_value()))?;
    if method.transaction {
        out.write_str("Changes the configuration; may be part of a transaction.\n")?;
    } else if method.changes {
        out.write_str("Changes something; may not be part of a transaction.\n")?;
    }
    Ok(())
}

/// The row of a parameter, and those of what is in it.
fn parameter(out: &mut String, within: &str, param: &ParamSchema) -> std::fmt::Result {
    let name = format!("{within}{}", param.name);
    let needed = if param.required { ", required" } else { "" };
    let (kind, description) = (words(&param.kind), cell(param.description));
    writeln!(out, "| `{name}` | {kind}{needed} | {description} |")?;
    parts(out, &name, &param.kind)
}

fn parts(out: &mut String, name: &str, kind: &TypeSchema) -> std::fmt::Result {
    for key in kind.keys.iter().flatten() {
        parameter(out, &format!("{name}."), key)?;
    }
    if let Some(items) = &kind.items {
        parts(out, &format!("{name}[]"), items)?;
    }
    if let Some(values) = &kind.values {
        parts(out, &format!("{name}.*"), values)?;
    }
    for choice in kind.any_of.iter().flatten() {
        parts(out, name, choice)?;
    }
    Ok(())
}

/// A parameter's type in words.
fn words(kind: &TypeSchema) -> String {
    if let Some(words) = kind.words {
        let words: Vec<String> = words.iter().map(|word| format!("`\"{word}\"`")).collect();
        return words.join(", ");
    }
    if let Some(choices) = &kind.any_of {
        let choices: Vec<String> = choices.iter().map(words).collect();
        return choices.join(" or ");
    }
    match (&kind.items, &kind.values, kind.minimum, kind.maximum) {
        (Some(items), ..) => format!("list of {}", words(items)),
        (_, Some(values), ..) => format!("map of {}", words(values)),
        (.., Some(low), Some(high)) => format!("{} from {low} to {high}", kind.name),
        _ => kind.name.to_owned(),
    }
}

fn event_kinds(out: &mut String, schema: &RpcSchema) -> std::fmt::Result {
    out.write_str(
        "\n## Kinds of events\n\nAfter [`events`](#events) the connection carries notifications with the method `event`, beside the answers to whatever else is asked on it. Their \
         params say what happened; these members are in all of them:\n\n",
    )?;
    let Some(event) = schema.definitions.get("Event") else {
        return Ok(());
    };
    fields(out, event)?;
    for kind in choices(event) {
        let name = kind
            .pointer("/properties/event/const")
            .and_then(Value::as_str);
        let name = name.unwrap_or_default();
        writeln!(out, "\n### event `{name}`\n\n{}\n", description(kind))?;
        fields(out, kind)?;
    }
    Ok(())
}

fn report(out: &mut String, name: &str, definition: &Value) -> std::fmt::Result {
    writeln!(out, "\n### Report {name}\n\n{}\n", description(definition))?;
    let choices = choices(definition);
    for choice in choices {
        let (kind, description) = (type_of(choice), description(choice));
        writeln!(out, "- {kind}: {description}")?;
    }
    if choices.is_empty() {
        fields(out, definition)?;
    }
    Ok(())
}

/// The table of an object's members: those that are always there first.
fn fields(out: &mut String, schema: &Value) -> std::fmt::Result {
    let properties = schema.get("properties").and_then(Value::as_object);
    let Some(properties) = properties else {
        return writeln!(out, "Type: {}.", type_of(schema));
    };
    let required = schema.get("required").and_then(Value::as_array);
    let required = required.into_iter().flatten().filter_map(Value::as_str);
    let required: Vec<&str> = required.collect();
    let others = properties.keys().map(String::as_str);
    let others = others.filter(|name| !required.contains(name));
    out.write_str("| field | type | |\n|---|---|---|\n")?;
    for name in required.iter().copied().chain(others) {
        let Some(field) = properties.get(name) else {
            continue;
        };
        let mut kind = type_of(field);
        if !required.contains(&name) {
            // Not there is how these say that there is nothing.
            kind = kind.replace(" or null", "") + ", or not there";
        }
        let text = cell(&description(field));
        writeln!(out, "| `{name}` | {kind} | {text} |")?;
    }
    Ok(())
}

/// What a value may be instead of one thing.
fn choices(schema: &Value) -> &[Value] {
    let choices = schema.get("oneOf").or_else(|| schema.get("anyOf"));
    choices.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A JSON Schema's type in words.
fn type_of(schema: &Value) -> String {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
        let name = name.rsplit('/').next().unwrap_or(name);
        return format!("[{name}](#report-{})", name.to_lowercase());
    }
    if let Some(word) = schema.get("const") {
        return format!("`{word}`");
    }
    let choices = choices(schema);
    if !choices.is_empty() {
        let choices: Vec<String> = choices.iter().map(type_of).collect();
        return choices.join(" or ");
    }
    match schema.get("type") {
        Some(Value::String(name)) => named(name, schema),
        Some(Value::Array(names)) => {
            let names = names.iter().filter_map(Value::as_str);
            let names: Vec<String> = names.map(|name| named(name, schema)).collect();
            names.join(" or ")
        }
        _ => "anything".to_owned(),
    }
}

fn named(name: &str, schema: &Value) -> String {
    let inner = |key: &str| schema.get(key).filter(|inner| inner.is_object());
    match name {
        "array" => match inner("items") {
            Some(items) => format!("list of {}", type_of(items)),
            None => "list".to_owned(),
        },
        "object" => match inner("additionalProperties") {
            Some(values) => format!("map of {}", type_of(values)),
            None => "object".to_owned(),
        },
        other => other.to_owned(),
    }
}

fn description(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}

/// On one line of a table.
fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}
