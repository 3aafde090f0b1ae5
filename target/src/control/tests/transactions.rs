//! Several changes, or none.

use super::*;
use crate::config::edit::{Edit, EditError};

fn unmap(lun: usize) -> Value {
    json!({ "method": "group.unmap", "params": { "target": "store", "group": "web", "lun": lun } })
}

#[test]
fn all_of_them_are_one_change() {
    let server = Server::start("transaction");
    let mut client = server.client();
    let changes = json!([
        { "method": "device.add", "params": { "name": "d", "backend": "memory", "size": "1GiB" } },
        { "method": "group.map", "params": ["store", "web", 3, "d"] },
        { "method": "initiator.remove", "params": { "target": "store", "group": "web", "initiator": "*" } },
    ]);
    let answer = client.call("transaction", json!({ "changes": changes }));
    assert_eq!(answer["result"]["sessions"][0]["luns_added"], json!([1, 2]));
    let expected: [Edit; 3] = [
        Edit::AddDevice(json!({ "name": "d", "backend": "memory", "size": "1GiB" })),
        Edit::Map {
            target: "store".to_owned(),
            group: "web".to_owned(),
            lun: 3,
            device: "d".to_owned(),
            read_only: false,
            replace: false,
        },
        Edit::RemoveInitiator {
            target: "store".to_owned(),
            group: "web".to_owned(),
            initiator: "*".to_owned(),
        },
    ];
    let changes = server.daemon.changes.lock().expect("nobody panicked");
    assert_eq!(*changes, [expected]);
}

#[test]
fn one_that_is_wrong_is_named_and_none_is_made() {
    let server = Server::start("transaction-wrong");
    let mut client = server.client();
    for (change, code, message) in [
        (
            json!({ "method": "status" }),
            -32602,
            "status cannot be part of a transaction; what can are `device.add`, `device.remove`, `target.add`, `target.remove`, \
             `portal.add`, `portal.remove`, `group.add`, `group.remove`, `group.map`, `group.unmap`, `initiator.add`, \
             `initiator.move`, `initiator.remove`",
        ),
        (
            json!({ "method": "transaction", "params": { "changes": [] } }),
            -32602,
            "transaction cannot be part of a transaction; what can are ",
        ),
        (
            json!({ "method": "events" }),
            -32602,
            "events cannot be part of a transaction; what can are ",
        ),
        (
            json!({ "method": "group.mpa" }),
            -32602,
            "no method \"group.mpa\"; did you mean `group.map`?",
        ),
        (json!({}), -32602, "a change has a \"method\""),
        (json!({ "method": 1 }), -32602, "\"method\" is not a string"),
        (
            json!({ "method": "group.map", "parms": [] }),
            -32602,
            "a change has no \"parms\"; did you mean `params`?",
        ),
        (
            json!({ "method": "group.remove", "params": ["store"] }),
            -32602,
            "group.remove needs the parameter \"name\"",
        ),
        (
            json!({ "method": "group.remove", "params": "store" }),
            -32602,
            "params is neither an object nor a list",
        ),
        (
            json!({ "method": "target.remove", "params": ["store"] }),
            -32002,
            "target store: 2 sessions are logged in",
        ),
    ] {
        let answer = client.call(
            "transaction",
            json!({ "changes": [unmap(1), change, unmap(2)] }),
        );
        let refusal = &answer["error"];
        assert_eq!(refusal["code"], code, "{answer}");
        assert_eq!(refusal["data"], json!({ "change": 1 }), "{answer}");
        let text = refusal["message"].as_str().expect("a message");
        let expected = format!("changes[1]: {message}");
        assert!(text.starts_with(&expected), "{text}");
    }
    assert_eq!(server.daemon.taken(), []);
}

#[test]
fn the_only_one_is_named_too() {
    let server = Server::start("transaction-one");
    let mut client = server.client();
    let refused = || EditError::Refused {
        what: "LUN 1 is taken".to_owned(),
        remedy: "choose another".to_owned(),
    };
    server.daemon.refuse(refused());
    let answer = client.call("transaction", json!({ "changes": [unmap(1)] }));
    let expected = json!({ "code": -32002, "message": "changes[0]: LUN 1 is taken; choose another", "data": { "change": 0 } });
    assert_eq!(answer["error"], expected);
    // Of several the daemon says which; and what has nothing to do with one of them is of none.
    server.daemon.refuse(EditError::OneOf {
        index: 1,
        error: Box::new(refused()),
    });
    let answer = client.call("transaction", json!({ "changes": [unmap(1), unmap(2)] }));
    assert_eq!(answer["error"]["data"], json!({ "change": 1 }));
    server.daemon.refuse(ChangeError::Stopping);
    let answer = client.call("transaction", json!({ "changes": [unmap(1)] }));
    assert_eq!(answer["error"], error(-32002, "the daemon is stopping"));
}

#[test]
fn how_many_there_may_be() {
    let server = Server::start("transaction-many");
    let mut client = server.client();
    let answer = client.call("transaction", json!({ "changes": [] }));
    let expected = "\"changes\" is empty; give at least one change";
    assert_eq!(answer["error"], error(-32602, expected));
    let many: Vec<Value> = (0..1001).map(unmap).collect();
    let answer = client.call("transaction", json!({ "changes": many }));
    let expected = "\"changes\" has 1001 changes, and 1000 are the most at a time; make several transactions of them";
    assert_eq!(answer["error"], error(-32602, expected));
    assert_eq!(server.daemon.taken(), []);
    let answer = client.call("transaction", json!({ "changes": many[1..] }));
    assert!(answer.get("result").is_some(), "{answer}");
    assert_eq!(server.daemon.taken().len(), 1000);
}
