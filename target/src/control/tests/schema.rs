//! What programs are told of the methods, and people in docs/control-socket.md.

use super::*;

const METHODS: [&str; 32] = [
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
