//! Watching what happens.

use super::*;
use crate::control::client::MAX_WATCHERS;

fn what(text: impl ToString) -> EventKind {
    EventKind::Error {
        what: text.to_string(),
    }
}

/// A client that watches.
fn watcher(server: &Server) -> Client {
    let mut client = server.client();
    let answer = client.call("events", json!({}));
    assert_eq!(answer["result"], json!({ "subscribed": true }));
    client
}

#[test]
fn events_are_notifications() {
    let server = Server::start("events");
    server.daemon.events.tell(what("before"));
    let mut client = watcher(&server);
    for kind in fake::every_event() {
        server.daemon.events.tell(kind);
    }
    for (n, _) in fake::every_event().iter().enumerate() {
        let line = client.receive();
        assert_eq!(line["jsonrpc"], "2.0");
        assert_eq!(line["method"], "event");
        assert_eq!(line.get("id"), None);
        assert_eq!(line["params"]["sequence"], n + 2, "{line}");
    }
}

#[test]
fn an_event_comes_at_once() {
    let server = Server::start("latency");
    let mut client = watcher(&server);
    // The best of several: the machine may be busy with other tests.
    let best = (0..20)
        .map(|n| {
            thread::sleep(Duration::from_millis(10));
            let before = Instant::now();
            server.daemon.events.tell(what(n));
            assert_eq!(client.receive()["params"]["what"], n.to_string());
            before.elapsed()
        })
        .min();
    assert!(best < Some(Duration::from_millis(50)), "{best:?}");
}

#[test]
fn answers_and_events_are_whole_lines() {
    let server = Server::start("mixed");
    let mut client = watcher(&server);
    let daemon = Arc::clone(&server.daemon);
    let teller = thread::spawn(move || {
        for n in 0..2000 {
            daemon.events.tell(what(format!("{n} {}", "x".repeat(200))));
            if n % 100 == 0 {
                thread::sleep(Duration::from_millis(1));
            }
        }
    });
    let (mut answers, mut events) = (0, 0);
    let request = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"stats\"}\n";
    client.send(request);
    while answers < 200 || events < 2000 {
        let line = client.receive();
        if line["method"] == "event" {
            let text = line["params"]["what"].as_str().expect("a string");
            assert!(text.starts_with(&format!("{events} x")), "{text}");
            events += 1;
        } else {
            assert_eq!(line["result"]["shards"], 2);
            answers += 1;
            if answers < 200 {
                client.send(request);
            }
        }
    }
    teller.join().expect("no panic");
}

#[test]
fn once_is_enough() {
    let server = Server::start("twice");
    let mut client = watcher(&server);
    let answer = client.call("events", json!([]));
    assert_eq!(answer["result"], json!({ "subscribed": true }));
    server.daemon.events.tell(what(1));
    assert_eq!(client.receive()["params"]["what"], "1");
    assert!(client.call("stats", json!({})).get("result").is_some());
}

#[test]
fn not_in_a_batch_nor_without_an_id() {
    let server = Server::start("events-alone");
    let mut client = server.client();
    let message = "events is a request of its own, with an id, and in no batch";
    let request = r#"{"jsonrpc":"2.0","id":1,"method":"events"}"#;
    let answer = client.ask(&format!("[{request}]"));
    assert_eq!(answer[0]["error"], error(-32600, message));
    assert_eq!(answer[0]["id"], 1);
    let answer = client.ask(r#"{"jsonrpc":"2.0","method":"events"}"#);
    assert_eq!(answer["error"], error(-32600, message));
    assert_eq!(answer["id"], Value::Null);
    let answer = client.call("events", json!([1]));
    assert_eq!(answer["error"]["code"], -32602);
    // It does not watch.
    server.daemon.events.tell(what(1));
    assert!(client.call("stats", json!({})).get("result").is_some());
}

/// Such as `printf ... | socat`: it has nothing more to ask, and listens on.
#[test]
fn a_client_that_only_listens() {
    let server = Server::start("half");
    let mut client = watcher(&server);
    let stream = client.lines.get_ref();
    stream.shutdown(Shutdown::Write).expect("shut");
    thread::sleep(Duration::from_millis(20));
    for n in 0..3 {
        server.daemon.events.tell(what(n));
        assert_eq!(client.receive()["params"]["what"], n.to_string());
    }
}

#[test]
fn watchers_are_bounded_and_leave_room_for_others() {
    let server = Server::start("watchers");
    let mut watchers: Vec<Client> = (0..MAX_WATCHERS).map(|_| watcher(&server)).collect();
    let mut client = server.client();
    let answer = client.call("events", json!({}));
    let expected = format!("{MAX_WATCHERS} clients watch events; try again later");
    assert_eq!(answer["error"], error(-32000, &expected));
    assert!(client.call("stats", json!({})).get("result").is_some());
    const { assert!(MAX_WATCHERS + 32 <= MAX_CLIENTS) };

    server.daemon.events.tell(what(1));
    for watcher in &mut watchers {
        assert_eq!(watcher.receive()["params"]["what"], "1");
    }
    // The seats of those that go are free again.
    watchers.clear();
    let deadline = Instant::now() + Duration::from_secs(10);
    while client.call("events", json!({})).get("result").is_none() {
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_watcher_that_does_not_read_holds_up_nobody() {
    let server = Server::start("deaf");
    let _deaf = watcher(&server);
    let mut client = watcher(&server);
    let before = Instant::now();
    let text = "x".repeat(1000);
    for n in 0..3000 {
        server.daemon.events.tell(what(format!("{n} {text}")));
        let line = client.receive();
        let told = line["params"]["what"].as_str().expect("a string");
        assert!(told.starts_with(&format!("{n} x")), "{line}");
    }
    // Nor the end of the daemon.
    drop(server);
    assert!(
        before.elapsed() < Duration::from_secs(9),
        "{:?}",
        before.elapsed()
    );
}
