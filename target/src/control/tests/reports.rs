//! What reports look like: as the command line's tests expect them.

use super::*;

#[test]
fn every_report_has_the_documented_shape() {
    let expected: Value = serde_json::from_str(REPORTS).expect("JSON");
    let server = Server::start("reports");
    let mut client = server.client();
    for (method, params, expected) in [
        ("status", json!({}), expected["status"].clone()),
        (
            "device.list",
            json!({}),
            json!({ "devices": [expected["device.show"]] }),
        ),
        (
            "device.show",
            json!({ "name": "disk0" }),
            expected["device.show"].clone(),
        ),
        (
            "device.show",
            json!(["disk0"]),
            expected["device.show"].clone(),
        ),
        (
            "target.list",
            json!([]),
            json!({ "targets": [expected["target.show"]] }),
        ),
        (
            "target.show",
            json!({ "name": "store" }),
            expected["target.show"].clone(),
        ),
        (
            "device.resize",
            json!({ "name": "disk0" }),
            expected["device.resize"].clone(),
        ),
        (
            "reservation.show",
            json!({}),
            expected["reservation.show"].clone(),
        ),
        (
            "reservation.show",
            json!([null]),
            expected["reservation.show"].clone(),
        ),
        (
            "reservation.show",
            json!({ "name": "ram0" }),
            json!({ "reservations": [expected["reservation.show"]["reservations"][1]] }),
        ),
        (
            "reservation.clear",
            json!({ "name": "disk0", "force": true }),
            expected["reservation.clear"].clone(),
        ),
        ("session.list", json!({}), expected["session.list"].clone()),
        (
            "session.show",
            json!({ "id": 2 }),
            expected["session.show"].clone(),
        ),
        (
            "session.close",
            json!([2]),
            expected["session.close"].clone(),
        ),
        ("group.list", json!({}), expected["group.list"].clone()),
        (
            "group.list",
            json!(["store"]),
            expected["group.list"].clone(),
        ),
        (
            "group.unmap",
            json!(["store", "web", 7]),
            expected["change"].clone(),
        ),
        ("config.show", json!({}), expected["config.show"].clone()),
        (
            "config.save",
            json!(["/root/copy.json"]),
            expected["config.save"].clone(),
        ),
        ("config.reload", json!({}), expected["change"].clone()),
        ("events", json!({}), expected["events"].clone()),
        ("stats", json!({}), expected["stats"].clone()),
    ] {
        let answer = client.call(method, params);
        assert_eq!(answer["result"], expected, "{method}");
        assert_eq!(answer.get("error"), None);
    }
}

#[test]
fn every_event_has_the_documented_shape() {
    let expected: Value = serde_json::from_str(REPORTS).expect("JSON");
    let mut expected = expected["event"].as_array().expect("a list").clone();
    let events = Events::default();
    let watcher = events.subscribe();
    for kind in fake::every_event() {
        events.tell(kind);
    }
    let next = || watcher.next(Duration::ZERO);
    let mut told: Vec<Value> = std::iter::from_fn(next)
        .map(|event| serde_json::to_value(event).expect("JSON"))
        .collect();
    for event in &mut told {
        event["time_ms"] = expected[0]["time_ms"].clone();
    }
    let missed = expected.pop().expect("the last one");
    assert_eq!(told, expected);
    let missed_is = Event {
        sequence: 12,
        time_ms: missed["time_ms"].as_u64().expect("a number"),
        kind: EventKind::Missed { events: 10 },
    };
    assert_eq!(serde_json::to_value(missed_is).expect("JSON"), missed);
}
