//! What the log says of who asked for what.

use super::*;
use crate::control::peer::Peer;
use crate::control::rpc::{self, Caller};
use crate::logged;

/// What is logged, and answered, when these are asked for.
fn logged(level: tracing::Level, daemon: &Fake, requests: &[(&str, Value)]) -> String {
    let (stream, _other) = UnixStream::pair().expect("a pair");
    let peer = Peer::new(5, &stream);
    let answers = || {
        for (method, params) in requests {
            let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
            let mut caller = Caller {
                daemon,
                peer: &peer,
                watch: &mut || Ok(()),
            };
            rpc::answer(&mut caller, request.to_string().as_bytes());
        }
    };
    logged::logged(level, answers).1
}

#[test]
fn changes_are_logged_with_who_made_them() {
    let daemon = Fake::default();
    daemon.refuse(ChangeError::Stopping);
    let requests = [
        ("device.remove", json!({ "name": "disk0", "force": true })),
        ("group.map", json!(["store", "web\n", 1, "disk0"])),
        ("group.map", json!(["store", "web", 70000, "disk0"])),
        ("session.close", json!([77])),
        ("config.reload", json!([false, false])),
        ("status", json!([])),
        ("nonsense", json!([])),
    ];
    let text = logged(tracing::Level::INFO, &daemon, &requests);
    let pid = std::process::id();
    let who = format!("client 5 (pid {pid}, uid ");
    assert!(text.lines().all(|line| line.contains(&who)), "{text}");
    let ends = [
        "device.remove name=\"disk0\" force=true: refused",
        "group.map target=\"store\" group=\"web\\n\" lun=1 device=\"disk0\": done",
        "group.map target=\"store\" group=\"web\" lun=70000 device=\"disk0\": invalid params",
        "session.close id=77: not found",
        "config.reload: invalid params",
    ];
    assert_eq!(text.lines().count(), ends.len(), "{text}");
    for (line, end) in text.lines().zip(ends) {
        assert!(line.contains(" INFO "), "{line}");
        assert!(line.ends_with(end), "{line}");
    }
    let text = logged(tracing::Level::DEBUG, &daemon, &[("status", json!([]))]);
    assert!(
        text.contains("DEBUG ") && text.trim_end().ends_with("status: done"),
        "{text}"
    );
}

#[test]
fn each_change_of_a_transaction_is_logged() {
    let daemon = Fake::default();
    let changes = json!({ "changes": [
        { "method": "group.map", "params": ["store", "web", 3, "disk0"] },
        { "method": "device.remove", "params": { "name": "ram0", "force": true } },
    ] });
    let many: Vec<&Value> = vec![&changes["changes"][0]; 1001];
    let many = json!({ "changes": many });
    let wrong = json!({ "changes": [{ "method": "status" }] });
    let requests = [
        ("transaction", changes),
        ("transaction", many),
        ("transaction", wrong),
    ];
    let text = logged(tracing::Level::INFO, &daemon, &requests);
    let ends = [
        ": transaction changes=2: done",
        ": transaction changes[0]: group.map target=\"store\" group=\"web\" lun=3 device=\"disk0\"",
        ": transaction changes[1]: device.remove name=\"ram0\" force=true",
        ": transaction changes=1001: invalid params",
        ": transaction changes=1: invalid params",
    ];
    assert_eq!(text.lines().count(), ends.len(), "{text}");
    for (line, end) in text.lines().zip(ends) {
        assert!(line.ends_with(end) && line.contains("client 5 ("), "{line}");
    }
}

#[test]
fn secrets_are_never_logged() {
    let daemon = Fake::default();
    let hidden = "hidden";
    let chap = json!({ "user": hidden, "secret": hidden });
    let group = json!({ "name": "g", "chap": chap, "dhchap": { "key": hidden } });
    let mut requests = vec![
        (
            "target.add",
            json!({ "name": "t", "chap": chap, "groups": [group] }),
        ),
        (
            "target.add",
            json!({ "name": "t", "chap": hidden, "secret": hidden }),
        ),
        (
            "group.add",
            json!({ "target": "t", "name": "g", "chap": chap, "dhchap": { "key": hidden } }),
        ),
        (
            "group.add",
            json!({ "target": "t", "name": "g", "chap": hidden }),
        ),
        (
            "transaction",
            json!({ "changes": [{ "method": "group.add", "params": group }] }),
        ),
        (
            "transaction",
            json!({ "changes": [{ "method": "group.add", "params": { "target": "t", "name": "g", "chap": chap } }] }),
        ),
    ];
    requests.push(("target.add", json!({ "name": { "chap": hidden } })));
    requests.push((
        "chap.set",
        json!(["t", "g", hidden, hidden, hidden, hidden]),
    ));
    requests.push(("dhchap.set", json!(["t", null, hidden, hidden])));
    requests.push(("dhchap.set", json!(["t", null, hidden, [hidden]])));
    let text = logged(tracing::Level::TRACE, &daemon, &requests);
    // One more for the change of the transaction that is made.
    assert_eq!(text.lines().count(), requests.len() + 1, "{text}");
    assert!(!text.contains(hidden), "{text}");
    assert!(text.contains("target.add name=\"t\": done"), "{text}");
    assert!(text.contains("transaction changes=1: "), "{text}");
    let set = "chap.set target=\"t\" group=\"g\": done";
    assert!(text.contains(set), "{text}");
}
