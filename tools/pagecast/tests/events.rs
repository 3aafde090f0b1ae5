//! `pagecast events` against a daemon that is made up.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use common::{command, complaint, reports, run, serve, snapshot};

/// Subscribes a client and tells it of all kinds of events.
fn tell(stream: &mut UnixStream) {
    let mut line = String::new();
    BufReader::new(stream.try_clone().expect("cloned"))
        .read_line(&mut line)
        .expect("read");
    let request: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(request["method"], "events");
    let answer = json!({ "jsonrpc": "2.0", "id": request["id"], "result": { "subscribed": true } });
    let mut text = format!("{answer}\n");
    for event in reports()["event"].as_array().expect("a list") {
        let note = json!({ "jsonrpc": "2.0", "method": "event", "params": event });
        text.push_str(&format!("{note}\n"));
    }
    // In pieces: lines end where they end.
    for piece in text.as_bytes().chunks(1000) {
        stream.write_all(piece).expect("written");
    }
}

const LOST: &str = "pagecast: the connection to pagecastd broke: unexpected end of file\n";

#[test]
fn a_line_each_and_the_end_of_the_daemon() {
    let socket = serve("events", |mut stream| tell(&mut stream));
    let output = run(&socket, "events");
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(String::from_utf8_lossy(&output.stderr), LOST);
    // No colours: this is no terminal.
    snapshot("events.txt", &String::from_utf8_lossy(&output.stdout));

    let output = run(&socket, "--json events");
    let lines = String::from_utf8(output.stdout).expect("text");
    let events: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(json!(events), reports()["event"]);
}

/// Watches a daemon that goes on, up to the first event.
fn watch(test: &str) -> (Child, BufReader<impl Read>) {
    let socket = serve(test, |mut stream| {
        tell(&mut stream);
        // Until the client goes.
        let _ = stream.read(&mut [0]);
    });
    let mut child = command(&socket)
        .arg("events")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run");
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    // It is there at once, though there is no more to come.
    output.read_line(&mut line).expect("read");
    assert!(line.contains("login"), "{line}");
    (child, output)
}

fn ended(mut child: Child) -> Option<i32> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("there") {
            return status.code();
        }
        if begun.elapsed() > Duration::from_secs(10) {
            child.kill().expect("killed");
            panic!("does not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn interrupted() {
    for signal in ["INT", "TERM"] {
        let (child, _output) = watch(signal);
        let killed = Command::new("kill")
            .args(["-s", signal, &child.id().to_string()])
            .status()
            .expect("run");
        assert!(killed.success());
        assert_eq!(ended(child), Some(0), "{signal}");
    }
}

#[test]
fn a_reader_that_goes_ends_it_without_another_event() {
    let (child, output) = watch("reader");
    drop(output);
    assert_eq!(ended(child), Some(0));
}

#[test]
fn not_subscribed() {
    let socket = serve("refuses", |mut stream| {
        let mut line = String::new();
        BufReader::new(stream.try_clone().expect("cloned"))
            .read_line(&mut line)
            .expect("read");
        stream
            .write_all(b"{\"id\":1,\"error\":{\"code\":-32601,\"message\":\"there is no method events\"}}\n")
            .expect("written");
    });
    assert_eq!(
        complaint(&socket, "events"),
        (Some(1), "pagecast: there is no method events\n".to_owned())
    );
    let socket = serve("nonsense", |mut stream| {
        stream.write_all(b"hello\n").expect("written");
    });
    let (code, text) = complaint(&socket, "events");
    assert_eq!(code, Some(3));
    assert!(text.contains("something that is not JSON"), "{text}");
}
