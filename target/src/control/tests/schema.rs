//! What programs are told of the methods, and people in docs/control-socket.md.

use super::*;
use crate::config::{ChapConfig, DeviceConfig, DhchapConfig, GroupConfig};

pub(super) const METHODS: [&str; 36] = [
    "status",
    "device.list",
    "device.show",
    "device.add",
    "device.resize",
    "device.remove",
    "reservation.show",
    "reservation.clear",
    "target.list",
    "target.show",
    "target.add",
    "target.remove",
    "portal.add",
    "portal.remove",
    "group.list",
    "group.add",
    "group.remove",
    "group.map",
    "group.unmap",
    "initiator.add",
    "initiator.move",
    "initiator.remove",
    "chap.set",
    "chap.remove",
    "dhchap.set",
    "dhchap.remove",
    "session.list",
    "session.show",
    "session.close",
    "config.show",
    "config.save",
    "config.reload",
    "transaction",
    "stats",
    "events",
    "rpc.schema",
];

fn schema() -> Value {
    let server = Server::start("schema");
    server.client().call("rpc.schema", json!({}))["result"].take()
}

fn method<'a>(schema: &'a Value, name: &str) -> &'a Value {
    let methods = schema["methods"].as_array().expect("a list");
    let found = methods.iter().find(|method| method["name"] == name);
    found.unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn it_lists_every_method() {
    let schema = schema();
    let methods = schema["methods"].as_array().expect("a list");
    let names: Vec<&str> = methods.iter().filter_map(|m| m["name"].as_str()).collect();
    assert_eq!(names, METHODS);
    assert_eq!(
        *method(&schema, "device.show"),
        json!({ "name": "device.show",
                "description": "one device: size, zero-copy mode, queue depth, counters",
                "params": [ { "name": "name", "type": "string", "required": true,
                              "description": "which one" } ],
                "result": { "$ref": "#/$defs/DeviceReport" },
                "changes": false,
                "transaction": false,
                "errors": [-32001] })
    );
    for (name, changes, transaction) in [
        ("status", false, false),
        ("events", false, false),
        ("device.resize", true, false),
        ("session.close", true, false),
        ("config.save", true, false),
        ("config.reload", true, false),
        ("transaction", true, false),
        ("device.add", true, true),
        ("initiator.move", true, true),
    ] {
        let method = method(&schema, name);
        assert_eq!(method["changes"], changes, "{name}");
        assert_eq!(method["transaction"], transaction, "{name}");
    }
}

#[test]
fn parameters_have_types() {
    let schema = schema();
    let param = |of: &str, name: &str| {
        let params = method(&schema, of)["params"].as_array().expect("a list");
        let is = |param: &&Value| param["name"] == name;
        let mut param = params.iter().find(is).expect(name).clone();
        let members = param.as_object_mut().expect("an object");
        assert!(members.remove("description").is_some_and(|text| text != ""));
        members.remove("name");
        param
    };
    let optional = |mut kind: Value| {
        kind["required"] = json!(false);
        kind
    };
    for (of, name, expected) in [
        ("device.resize", "size", optional(json!({ "type": "size" }))),
        (
            "device.resize",
            "force",
            optional(json!({ "type": "boolean" })),
        ),
        (
            "device.add",
            "command_timeout",
            optional(json!({ "type": "duration" })),
        ),
        (
            "device.add",
            "backend",
            json!({ "type": "string", "enum": ["file", "block", "memory"], "required": true }),
        ),
        (
            "group.map",
            "lun",
            json!({ "type": "integer", "minimum": 0, "maximum": 16383, "required": true }),
        ),
        (
            "session.close",
            "id",
            json!({ "type": "integer", "minimum": 0, "required": true }),
        ),
        (
            "group.add",
            "initiators",
            optional(json!({ "type": "list", "items": { "type": "string" } })),
        ),
    ] {
        assert_eq!(param(of, name), expected, "{of} {name}");
    }
    let luns = param("group.add", "luns");
    assert_eq!(luns["type"], "map");
    assert_eq!(luns["values"]["type"], "any");
    assert_eq!(luns["values"]["any_of"][0], json!({ "type": "string" }));
    assert_eq!(luns["values"]["any_of"][1]["keys"][1]["name"], "read_only");
    let changes = param("transaction", "changes");
    assert_eq!(changes["items"]["keys"][0]["name"], "method");
    let portals = param("target.add", "portals");
    assert_eq!(portals["items"]["keys"][3]["name"], "service_id");
}

/// What the configuration's reader knows is what is told of, and no more.
#[test]
fn parameters_are_the_keys_of_the_configuration() {
    let schema = schema();
    let names = |params: &Value, besides: &[&str]| {
        let params = params.as_array().expect("a list");
        let names = params
            .iter()
            .map(|param| param["name"].as_str().expect("a name"));
        let mut names: Vec<String> = names
            .filter(|name| !besides.contains(name))
            .map(str::to_owned)
            .collect();
        names.sort();
        names
    };
    let sorted = |keys: &[&str]| {
        let mut keys: Vec<String> = keys.iter().map(|&key| key.to_owned()).collect();
        keys.sort();
        keys
    };
    let params = |of: &str| &method(&schema, of)["params"];
    assert_eq!(
        names(params("device.add"), &[]),
        sorted(&DeviceConfig::KEYS)
    );
    let target = params("target.add");
    assert_eq!(names(target, &[]), sorted(&TargetConfig::KEYS));
    let within = |name: &str| {
        let params = target.as_array().expect("a list");
        let list = params.iter().find(|param| param["name"] == name);
        &list.expect("there")["items"]["keys"]
    };
    assert_eq!(names(within("portals"), &[]), sorted(&Portal::KEYS));
    assert_eq!(names(within("groups"), &[]), sorted(&GroupConfig::KEYS));
    for (method, expected, besides) in [
        ("portal.add", sorted(&Portal::KEYS), &["target"][..]),
        ("portal.remove", sorted(&Portal::KEYS), &["target"]),
        (
            "group.add",
            sorted(&GroupConfig::KEYS),
            &["target", "before"],
        ),
        ("chap.set", sorted(&ChapConfig::KEYS), &["target", "group"]),
        (
            "dhchap.set",
            sorted(&DhchapConfig::KEYS),
            &["target", "group"],
        ),
    ] {
        assert_eq!(names(params(method), besides), expected, "{method}");
    }
}

/// What is wrong with a value, for a schema of the kinds that we make.
fn check(root: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{what}: {value} for {schema}"));
    if *schema == Value::Bool(true) {
        return Ok(());
    }
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.strip_prefix("#/$defs/").expect("a definition");
        return check(root, &root["$defs"][name], value);
    }
    // Members beside the choices, as events have them, belong to every choice.
    let beside = |choice: &Value| {
        let mut choice = choice.clone();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            choice["properties"][name] = property.clone();
        }
        for name in schema["required"].as_array().into_iter().flatten() {
            let required = choice["required"].as_array_mut().expect("a list");
            required.push(name.clone());
        }
        choice
    };
    for several in ["anyOf", "oneOf"] {
        if let Some(choices) = schema[several].as_array() {
            let fit = |choice: &Value| check(root, &beside(choice), value).is_ok();
            if choices.iter().filter(|choice| fit(choice)).count() != 1 {
                return wrong("not one of the choices");
            }
            return Ok(());
        }
    }
    if let Some(word) = schema.get("const")
        && word != value
    {
        return wrong("another word");
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let kinds = &schema["type"];
    let named = kinds
        .as_array()
        .is_some_and(|kinds| kinds.iter().any(|k| k == kind));
    if kinds != kind && !named {
        return wrong("another type");
    }
    for item in value.as_array().into_iter().flatten() {
        check(root, &schema["items"], item)?;
    }
    let Some(members) = value.as_object() else {
        return Ok(());
    };
    if let Some(values) = schema.get("additionalProperties") {
        return members
            .values()
            .try_for_each(|value| check(root, values, value));
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        if !members.contains_key(name.as_str().expect("a name")) {
            return wrong(&format!("{name} is missing"));
        }
    }
    // A JSON Schema within the schema may be any.
    if kinds.is_array() && schema.get("properties").is_none() {
        return Ok(());
    }
    for (name, value) in members {
        match schema["properties"].get(name) {
            Some(property) => check(root, property, value)?,
            None => return wrong(&format!("{name:?} is not described")),
        }
    }
    Ok(())
}

/// Every object in it has a description for each of its members.
fn check_described(schema: &Value, path: &str) {
    if let Some(properties) = schema["properties"].as_object() {
        for (name, property) in properties {
            let described = property["description"]
                .as_str()
                .is_some_and(|text| !text.is_empty());
            let known = property.get("const").is_some() || *property == Value::Bool(true);
            assert!(described || known, "{path}.{name} has no description");
        }
    }
    match schema {
        Value::Object(members) => members
            .iter()
            .for_each(|(k, v)| check_described(v, &format!("{path}.{k}"))),
        Value::Array(items) => items.iter().for_each(|v| check_described(v, path)),
        _ => {}
    }
}

#[test]
fn results_are_as_described() {
    let server = Server::start("described");
    let mut client = server.client();
    let schema = schema();
    check_described(&schema["$defs"], "");
    let arguments = |name: &str| match name {
        "device.show" | "device.resize" | "device.remove" => json!(["disk0"]),
        "device.add" => json!({ "name": "ram1", "backend": "memory", "size": "1GiB" }),
        "reservation.clear" => json!(["disk0", true]),
        "target.show" => json!(["store"]),
        "target.add" => json!({ "name": "other" }),
        "target.remove" => json!(["other"]),
        "portal.add" | "portal.remove" => json!(["store", "srp", "::"]),
        "group.add" | "group.remove" => json!(["store", "new"]),
        "group.map" => json!(["store", "web", 1, "disk0"]),
        "group.unmap" => json!(["store", "web", 1]),
        "initiator.add" | "initiator.remove" => json!(["store", "web", "*"]),
        "initiator.move" => json!(["store", "*", "web"]),
        "chap.set" => json!(["store", "web", "user", "open sesame now"]),
        "dhchap.set" => json!(["store", null, "DHHC-1:00:...:"]),
        "chap.remove" | "dhchap.remove" => json!(["store"]),
        "session.show" | "session.close" => json!([1]),
        "config.save" => json!(["/root/copy.json"]),
        "transaction" => json!([[{ "method": "device.remove", "params": ["ram0"] }]]),
        _ => json!([]),
    };
    for name in METHODS {
        let answer = client.call(name, arguments(name));
        let result = answer
            .get("result")
            .unwrap_or_else(|| panic!("{name}: {answer}"));
        let described = &method(&schema, name)["result"];
        assert!(described["$ref"].is_string(), "{name}");
        if let Err(wrong) = check(&schema, described, result) {
            panic!("{name}: {wrong}");
        }
    }
    let events: Value = serde_json::from_str(REPORTS).expect("JSON");
    for event in events["event"].as_array().expect("a list") {
        check(&schema, &schema["event"], event).expect("as described");
    }
    let error = client.call("device.show", json!(["disk1"]));
    check(&schema, &schema["error"], &error["error"]).expect("as described");
}

/// All that a target may have, the other forms of things included.
#[test]
fn a_target_with_everything_is_as_described() {
    let server = Server::with(
        "rich",
        Fake {
            rich: true,
            ..Fake::default()
        },
    );
    let mut client = server.client();
    let schema = schema();
    for (name, params) in [("target.show", json!(["store"])), ("group.list", json!([]))] {
        let answer = client.call(name, params);
        check(&schema, &method(&schema, name)["result"], &answer["result"]).expect("as described");
    }
    let answer = client.call("group.list", json!([]));
    let groups = &answer["result"]["groups"];
    let luns = json!({ "0": { "device": "disk0", "read_only": true }, "1": "disk0" });
    assert_eq!(groups[0]["luns"], luns);
    assert_eq!(groups[0]["default"], false);
    assert_eq!(groups[1]["default"], true);
    assert_eq!(groups[1]["initiators"], json!([]));
}

/// The check above can fail.
#[test]
fn what_is_not_as_described_is_found() {
    let schema = schema();
    let saved = &method(&schema, "config.save")["result"];
    let good = json!({ "file": "/root/copy.json", "bytes": 1 });
    assert_eq!(check(&schema, saved, &good), Ok(()));
    for wrong in [
        json!({ "file": "/root/copy.json" }),
        json!({ "file": "/root/copy.json", "bytes": "1" }),
        json!({ "file": null, "bytes": 1 }),
        json!({ "file": "/root/copy.json", "bytes": 1, "lines": 1 }),
        json!([]),
    ] {
        assert!(check(&schema, saved, &wrong).is_err(), "{wrong}");
    }
    for wrong in [
        json!({ "sequence": 1, "time_ms": 1, "event": "configured" }),
        json!({ "sequence": 1, "event": "configured", "by": "start" }),
        json!({ "sequence": 1, "time_ms": 1, "event": "misconfigured", "by": "start" }),
    ] {
        assert!(check(&schema, &schema["event"], &wrong).is_err(), "{wrong}");
    }
    let good = json!({ "sequence": 1, "time_ms": 1, "event": "configured", "by": "start" });
    assert_eq!(check(&schema, &schema["event"], &good), Ok(()));
}

/// What people may read is what the daemon says of itself.
#[test]
fn control_reference() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/control-socket.md");
    let made = reference();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&file, &made).expect("written");
    }
    let there = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        there == made,
        "docs/control-socket.md is not what the daemon says of itself; make it again with: \
         UPDATE_DOCS=1 cargo test -p pagecastd control_reference"
    );
}

/// The example in it works.
#[test]
fn the_example_in_the_reference() {
    let server = Server::start("example");
    let mut client = server.client();
    let mut report = fake::change_report();
    report.sessions.remove(0);
    report.sessions[0].group = Some("web".to_owned());
    report.sessions[0].closed = None;
    report.sessions[0].luns_removed = vec![7];
    report.restart_needed.clear();
    report.warnings.clear();
    server.daemon.reply(report);
    for (request, answer) in reference::EXAMPLE {
        client.send(format!("{request}\n"));
        let mut line = String::new();
        client.lines.read_line(&mut line).expect("received");
        assert_eq!(line.trim_end(), answer);
    }
}
