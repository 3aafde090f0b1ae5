//! `pagecast top` without a terminal, against a daemon that is made up and works a little for every look.

mod common;

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use common::{answering, command, complaint, printed};

/// Answers what `top` asks for; 100 reads of 4 KiB come to every look.
fn answer(looks: &AtomicU64, request: &Value) -> Value {
    let done = looks.load(Ordering::Relaxed) * 100;
    let counters = json!({
        "name": "disk0", "state": "online", "queue_depth": 64, "queue_depth_max": 128, "in_flight": 3,
        "id": 1, "initiator": "iqn.x:web", "peer": "10.0.0.7", "transport": "iser", "target": "store", "group": "web",
        "reads": done, "read_bytes": done * 4096, "read_bytes_zero_copy": done * 4096,
        "writes": 0, "write_bytes": 0, "write_bytes_zero_copy": 0,
        "latency_buckets": { "read": [0, 0, 0, 0, 0, done], "write": [], "other": [] },
    });
    let result = match request["method"].as_str() {
        Some("stats") => {
            looks.fetch_add(1, Ordering::Relaxed);
            json!({ "uptime_seconds": 60, "connections": 1 })
        }
        Some("device.list") => json!({ "devices": [counters] }),
        Some("session.list") => json!({ "sessions": [counters] }),
        other => panic!("{other:?}"),
    };
    json!({ "jsonrpc": "2.0", "id": request["id"], "result": result })
}

fn daemon(test: &str) -> std::path::PathBuf {
    let looks = AtomicU64::new(0);
    answering(test, move |request| answer(&looks, request))
}

/// 100 reads in an interval of 0.1 s or somewhat more.
fn check(view: &Value) {
    let interval = view["interval_seconds"].as_f64().expect("a number");
    assert!(interval >= 0.1, "{view}");
    for list in ["devices", "sessions"] {
        let rate = view[list][0]["read_iops"].as_f64().expect("a number");
        assert!((0.5..=100.5).contains(&(rate * 0.1)), "{view}");
        assert_eq!(view[list][0]["latency"]["count"], 100, "{view}");
        assert_eq!(view[list][0]["latency"]["p50_us"], 24.0, "{view}");
    }
    assert_eq!(view["devices"][0]["zero_copy_share"], 1.0, "{view}");
}

#[test]
fn once() {
    let socket = daemon("once");
    let text = printed(&socket, "top --once --interval 0.1");
    for expected in [
        "up 1min 0s   1 session   1 connection\n",
        "iqn.x:web",
        "64/128",
        "24 us",
        "100.0 %",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let text = printed(&socket, "--json top --once --interval 0.1");
    check(&serde_json::from_str(&text).expect("JSON"));
}

#[test]
fn an_object_a_line_until_nobody_reads() {
    let socket = daemon("stream");
    let mut child = command(&socket)
        .args(["--json", "top", "--interval", "0.1"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("run");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    for _ in 0..3 {
        let line = lines.next().expect("a line").expect("read");
        check(&serde_json::from_str(&line).expect("JSON"));
    }
    drop(lines);
    assert!(child.wait().expect("ended").success());
}

#[test]
fn no_terminal() {
    let (code, text) = complaint(&daemon("pipe"), "top");
    assert_eq!(code, Some(2));
    assert!(
        text.contains("standard output is not a terminal; use --once"),
        "{text}"
    );
}

#[test]
fn a_daemon_that_cannot_be_asked() {
    let socket = answering(
        "odd",
        |request| json!({ "id": request["id"], "result": {} }),
    );
    let (code, text) = complaint(&socket, "top --once --interval 0.1");
    assert_eq!(code, Some(3));
    assert!(text.contains("no list \"devices\""), "{text}");
}
