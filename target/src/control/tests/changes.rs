//! Methods that change something: what the daemon is asked for, and what is told of refusals.

use super::*;
use crate::config::edit::{Edit, EditError, Scheme};
use crate::config::{ConfigError, Problem};

fn owned(text: &str) -> String {
    text.to_owned()
}

#[test]
fn each_method_is_one_edit() {
    let server = Server::start("edits");
    let mut client = server.client();
    let portal = json!({ "transport": "srp", "address": "::", "port": 5555 });
    for (method, params, expected) in [
        (
            "device.add",
            json!({ "name": "d", "backend": "file", "path": "/d", "serial": null, "blok_size": 512 }),
            // Whatever else is wrong is for the configuration's reader; null is as if it were not there.
            Edit::AddDevice(
                json!({ "name": "d", "backend": "file", "path": "/d", "blok_size": 512 }),
            ),
        ),
        (
            "device.add",
            json!(["d", "memory", null, "1GiB"]),
            Edit::AddDevice(json!({ "name": "d", "backend": "memory", "size": "1GiB" })),
        ),
        (
            "device.remove",
            json!({ "name": "d", "force": true }),
            Edit::RemoveDevice {
                name: owned("d"),
                force: true,
            },
        ),
        (
            "device.remove",
            json!(["d"]),
            Edit::RemoveDevice {
                name: owned("d"),
                force: false,
            },
        ),
        (
            "target.add",
            json!({ "name": "t", "portals": [portal], "groups": [{ "name": "g", "initiators": ["*"] }] }),
            Edit::AddTarget(
                json!({ "name": "t", "portals": [portal], "groups": [{ "name": "g", "initiators": ["*"] }] }),
            ),
        ),
        (
            "target.remove",
            json!(["unused"]),
            Edit::RemoveTarget {
                name: owned("unused"),
            },
        ),
        (
            "target.remove",
            json!(["store", true]),
            Edit::RemoveTarget {
                name: owned("store"),
            },
        ),
        (
            "portal.add",
            json!(["store", "srp", "::", 5555]),
            Edit::AddPortal {
                target: owned("store"),
                portal: portal.clone(),
            },
        ),
        (
            "portal.remove",
            json!({ "target": "store", "transport": "srp", "service_id": "0x1" }),
            Edit::RemovePortal {
                target: owned("store"),
                portal: json!({ "transport": "srp", "service_id": "0x1" }),
            },
        ),
        (
            "group.add",
            json!({ "target": "store", "name": "g", "initiators": ["a*", "!ab"], "default": true, "before": "web",
                    "luns": { "0": "disk0", "1": { "device": "ram0", "read_only": true } },
                    "chap": { "user": "u", "secret": "s" } }),
            Edit::AddGroup {
                target: owned("store"),
                group: json!({ "name": "g", "initiators": ["a*", "!ab"], "default": true,
                               "luns": { "0": "disk0", "1": { "device": "ram0", "read_only": true } },
                               "chap": { "user": "u", "secret": "s" } }),
                before: Some(owned("web")),
            },
        ),
        (
            "group.add",
            json!(["store", "g"]),
            Edit::AddGroup {
                target: owned("store"),
                group: json!({ "name": "g" }),
                before: None,
            },
        ),
        (
            "group.remove",
            json!(["store", "g"]),
            Edit::RemoveGroup {
                target: owned("store"),
                name: owned("g"),
            },
        ),
        (
            "group.map",
            json!(["store", "g", 16383, "d", true]),
            Edit::Map {
                target: owned("store"),
                group: owned("g"),
                lun: 16383,
                device: owned("d"),
                read_only: true,
                replace: false,
            },
        ),
        (
            "group.map",
            json!({ "target": "store", "group": "g", "lun": 7, "device": "d", "replace": true }),
            Edit::Map {
                target: owned("store"),
                group: owned("g"),
                lun: 7,
                device: owned("d"),
                read_only: false,
                replace: true,
            },
        ),
        (
            "group.unmap",
            json!({ "target": "store", "group": "g", "lun": 0 }),
            Edit::Unmap {
                target: owned("store"),
                group: owned("g"),
                lun: 0,
            },
        ),
        (
            "chap.set",
            json!({ "target": "store", "group": "g", "user": "u", "secret": "s", "mutual_user": null }),
            Edit::SetCredentials {
                target: owned("store"),
                group: Some(owned("g")),
                scheme: Scheme::Chap,
                credentials: json!({ "user": "u", "secret": "s" }),
            },
        ),
        (
            "dhchap.set",
            json!({ "target": "store", "key": "k", "hashes": ["sha384"], "groups": ["null"] }),
            Edit::SetCredentials {
                target: owned("store"),
                group: None,
                scheme: Scheme::Dhchap,
                credentials: json!({ "key": "k", "hashes": ["sha384"], "groups": ["null"] }),
            },
        ),
        (
            "chap.remove",
            json!(["store", "g"]),
            Edit::RemoveCredentials {
                target: owned("store"),
                group: Some(owned("g")),
                scheme: Scheme::Chap,
            },
        ),
        (
            "dhchap.remove",
            json!(["store"]),
            Edit::RemoveCredentials {
                target: owned("store"),
                group: None,
                scheme: Scheme::Dhchap,
            },
        ),
        (
            "initiator.add",
            json!(["store", "g", "10.*"]),
            Edit::AddInitiator {
                target: owned("store"),
                group: owned("g"),
                initiator: owned("10.*"),
            },
        ),
        (
            "initiator.move",
            json!({ "target": "store", "initiator": "10.*", "to": "h" }),
            Edit::MoveInitiator {
                target: owned("store"),
                initiator: owned("10.*"),
                from: None,
                to: owned("h"),
            },
        ),
        (
            "initiator.move",
            json!(["store", "10.*", "h", "g"]),
            Edit::MoveInitiator {
                target: owned("store"),
                initiator: owned("10.*"),
                from: Some(owned("g")),
                to: owned("h"),
            },
        ),
        (
            "initiator.remove",
            json!(["store", "g", "10.*"]),
            Edit::RemoveInitiator {
                target: owned("store"),
                group: owned("g"),
                initiator: owned("10.*"),
            },
        ),
    ] {
        let answer = client.call(method, params);
        assert!(answer.get("result").is_some(), "{method}: {answer}");
        assert_eq!(server.daemon.taken(), [expected], "{method}");
    }
}

#[test]
fn parameters_of_other_kinds() {
    let server = Server::start("kinds");
    let mut client = server.client();
    for (method, params, message) in [
        (
            "group.map",
            json!(["store", "g", 16384, "d"]),
            "the parameter \"lun\" must be a number from 0 to 16383, not 16384",
        ),
        (
            "group.map",
            json!(["store", "g", "1", "d"]),
            "the parameter \"lun\" must be a number from 0 to 16383, not \"1\"",
        ),
        (
            "group.map",
            json!(["store", "g", 1.5, "d"]),
            "the parameter \"lun\" must be a number from 0 to 16383, not 1.5",
        ),
        (
            "group.map",
            json!(["store", "g", 1]),
            "group.map needs the parameter \"device\"",
        ),
        (
            "group.add",
            json!(["store", "g", "10.*"]),
            "the parameter \"initiators\" must be a list of strings, not \"10.*\"",
        ),
        (
            "group.add",
            json!(["store", "g", ["10.*", 7]]),
            "the parameter \"initiators\" must be a list of strings, not one with 7 in it",
        ),
        (
            "group.add",
            json!(["store", "g", [], ["disk0"]]),
            "the parameter \"luns\" must be an object: { ... }, not a list",
        ),
        (
            "session.close",
            json!([-1]),
            "the parameter \"id\" must be a number, 0 or more, not -1",
        ),
        (
            "portal.add",
            json!({ "target": "store", "transport": "srp", "adress": "::" }),
            "portal.add has no parameter \"adress\"; did you mean `address`?",
        ),
        (
            "transaction",
            json!([["group.map"]]),
            "the parameter \"changes\" must be a list of objects, not one with \"group.map\" in it",
        ),
        (
            "transaction",
            json!({ "changes": {} }),
            "the parameter \"changes\" must be a list of objects, not an object",
        ),
        (
            "config.save",
            json!(["copy.json"]),
            "the parameter \"file\" must be an absolute path: the daemon's directory is not the caller's",
        ),
        (
            "device.add",
            json!("disk0"),
            "params is neither an object nor a list",
        ),
    ] {
        let answer = client.call(method, params.clone());
        assert_eq!(answer["error"], error(-32602, message), "{method} {params}");
    }
    assert_eq!(server.daemon.taken(), []);
}

#[test]
fn a_target_with_sessions_is_only_removed_with_force() {
    let server = Server::start("in-use");
    let mut client = server.client();
    let answer = client.call("target.remove", json!(["store"]));
    let expected = "target store: 2 sessions are logged in, and would be closed; log them out first, or say so (\"force\", --force)";
    assert_eq!(answer["error"], error(-32002, expected));
    // In a transaction as well.
    let change =
        json!({ "method": "target.remove", "params": { "name": "store", "force": false } });
    let answer = client.call("transaction", json!({ "changes": [change] }));
    assert_eq!(answer["error"]["code"], -32002);
    assert_eq!(server.daemon.taken(), []);
}

#[test]
fn why_a_change_is_refused() {
    let server = Server::start("refused");
    let mut client = server.client();
    let problems = || {
        vec![Problem {
            path: owned("block_size"),
            what: owned("513 is not what belongs here"),
            remedy: owned("give 512 or 4096"),
        }]
    };
    let reports = json!([{ "path": "block_size", "what": "513 is not what belongs here", "remedy": "give 512 or 4096" }]);
    let config = || ConfigError::Invalid {
        origin: owned("the configuration after the change"),
        problems: problems(),
    };
    let not_found = || EditError::NotFound {
        kind: "group",
        name: owned("\"wbe\""),
        remedy: owned("did you mean `web`?"),
    };
    let cases: [(ChangeError, i32, &str, Value); 9] = [
        (
            not_found().into(),
            -32001,
            "there is no group \"wbe\"; did you mean `web`?",
            Value::Null,
        ),
        (
            EditError::Refused {
                what: owned("LUN 1 is mapped"),
                remedy: owned("unmap it first"),
            }
            .into(),
            -32002,
            "LUN 1 is mapped; unmap it first",
            Value::Null,
        ),
        (
            EditError::Invalid(problems()).into(),
            -32602,
            "block_size: 513 is not what belongs here; give 512 or 4096",
            json!({ "problems": reports }),
        ),
        (
            EditError::Config(config()).into(),
            -32002,
            "the configuration after the change: block_size: 513 is not what belongs here; give 512 or 4096",
            json!({ "problems": reports }),
        ),
        (
            config().into(),
            -32002,
            "the configuration after the change: block_size: 513 is not what belongs here; give 512 or 4096",
            json!({ "problems": reports }),
        ),
        (
            EditError::OneOf {
                index: 3,
                error: Box::new(not_found()),
            }
            .into(),
            -32001,
            "changes[3]: there is no group \"wbe\"; did you mean `web`?",
            json!({ "change": 3 }),
        ),
        (
            EditError::OneOf {
                index: 0,
                error: Box::new(EditError::Invalid(problems())),
            }
            .into(),
            -32602,
            "changes[0]: block_size: 513 is not what belongs here; give 512 or 4096",
            json!({ "change": 0, "problems": reports }),
        ),
        (
            ChangeError::Failed(owned("device d: No such file or directory")),
            -32002,
            "device d: No such file or directory",
            Value::Null,
        ),
        (
            ChangeError::Stopping,
            -32002,
            "the daemon is stopping",
            Value::Null,
        ),
    ];
    for (why, code, message, data) in cases {
        server.daemon.refuse(why);
        let answer = client.call("group.remove", json!(["store", "wbe"]));
        let refusal = &answer["error"];
        assert_eq!(refusal["code"], code, "{answer}");
        assert_eq!(refusal["message"], message);
        assert_eq!(refusal["data"], data);
        assert_eq!(refusal.get("data").is_none(), data.is_null());
    }
    server.daemon.refuse(ChangeError::NoFile);
    let answer = client.call("config.reload", json!({}));
    assert_eq!(answer["error"]["code"], -32002);
    server.daemon.refuse(ChangeError::Stopping);
    let answer = client.call("config.save", json!(["/root/copy.json"]));
    assert_eq!(answer["error"]["code"], -32002);
}

#[test]
fn what_is_not_an_edit() {
    let server = Server::start("others");
    let mut client = server.client();
    for (method, params) in [
        ("config.reload", json!([])),
        ("config.reload", json!({ "force": true })),
        ("config.save", json!(["/root/copy.json"])),
        (
            "config.save",
            json!({ "file": "/root/copy.json", "force": true }),
        ),
        ("session.close", json!([2])),
    ] {
        let answer = client.call(method, params);
        assert!(answer.get("result").is_some(), "{method}: {answer}");
    }
    let done = std::mem::take(&mut *server.daemon.done.lock().expect("nobody panicked"));
    assert_eq!(
        done,
        [
            "reload false",
            "reload true",
            "save /root/copy.json false",
            "save /root/copy.json true",
            "close 2"
        ]
    );
    for method in ["session.show", "session.close"] {
        let answer = client.call(method, json!([3]));
        let expected =
            "there is no session 3 (any more); see those that there are with session.list";
        assert_eq!(answer["error"], error(-32001, expected));
    }
    let answer = client.call("group.list", json!(["stor"]));
    let expected = "there is no target \"stor\"; did you mean `store`?";
    assert_eq!(answer["error"], error(-32001, expected));
}

/// In its order, each on its own: one that is refused keeps nobody from being carried out.
#[test]
fn changes_in_a_batch() {
    let server = Server::start("batch-changes");
    let mut client = server.client();
    let request = |id: u32, lun: u32| {
        json!({ "jsonrpc": "2.0", "id": id, "method": "group.unmap",
                "params": { "target": "store", "group": "web", "lun": lun } })
    };
    let batch = json!([request(1, 1), request(2, 70000), request(3, 2)]);
    let answers = client.ask(&batch.to_string());
    let answers = answers.as_array().expect("a list");
    let ids: Vec<&Value> = answers.iter().map(|answer| &answer["id"]).collect();
    assert_eq!(ids, [1, 2, 3]);
    assert_eq!(answers[1]["error"]["code"], -32602);
    let changes = server.daemon.changes.lock().expect("nobody panicked");
    assert_eq!(changes.len(), 2);
    let lun = |edits: &[Edit]| match edits {
        [Edit::Unmap { lun, .. }] => *lun,
        other => panic!("{other:?}"),
    };
    assert_eq!(lun(&changes[0]), 1);
    assert_eq!(lun(&changes[1]), 2);
}

#[test]
fn many_clients_change_at_once() {
    let server = Server::start("concurrent");
    let clients: Vec<_> = (0..16)
        .map(|n| {
            let mut client = server.client();
            thread::spawn(move || {
                for lun in 0..25 {
                    let group = format!("g{n}");
                    let answer = client.call("group.unmap", json!(["store", group, lun]));
                    assert!(answer.get("result").is_some(), "{answer}");
                }
            })
        })
        .collect();
    for client in clients {
        client.join().expect("no panic");
    }
    // All of them, and those of each client in its order.
    let taken = server.daemon.taken();
    assert_eq!(taken.len(), 16 * 25);
    for n in 0..16 {
        let name = format!("g{n}");
        let luns: Vec<u16> = taken
            .iter()
            .filter_map(|edit| match edit {
                Edit::Unmap { group, lun, .. } if *group == name => Some(*lun),
                _ => None,
            })
            .collect();
        assert_eq!(luns, (0..25).collect::<Vec<u16>>());
    }
}

/// What was asked for as a whole is done, though nobody waits for the answer; what was not is not.
#[test]
fn a_client_that_goes_in_the_middle() {
    let server = Server::start("gone");
    let request =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "group.remove", "params": ["store", "a"] });
    let request = request.to_string();
    let mut client = server.client();
    client.send(&request[..request.len() / 2]);
    drop(client);
    let mut client = server.client();
    client.send(format!("{request}\n"));
    drop(client);
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let taken = server.daemon.taken();
        if !taken.is_empty() {
            assert_eq!(taken.len(), 1);
            break;
        }
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(1));
    }
    let answer = server.client().call("stats", json!({}));
    assert!(answer.get("result").is_some());
    assert_eq!(server.daemon.taken(), []);
}
