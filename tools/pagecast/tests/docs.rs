//! What docs/cli.md says that commands print is what they print.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use common::{answer, answering, scratch};

/// As [`answer`], with changes that are as large as people make them.
fn example(request: &Value) -> Value {
    let session = |change: Value| {
        let mut session = json!({
            "id": 2, "initiator": "iqn.1993-08.org.debian:01:web", "target": "store", "transport": "iser", "peer": "10.99.0.3",
            "group_before": "web", "group": "web", "luns_added": [], "luns_removed": [],
        });
        for (key, value) in change.as_object().expect("an object") {
            session[key] = value.clone();
        }
        json!([session])
    };
    let none = json!([]);
    let (sessions, restart, warnings) = match request["method"].as_str().expect("a method") {
        "initiator.move" => (
            session(json!({ "group": "lab", "luns_added": [1], "luns_removed": [7] })),
            none.clone(),
            none,
        ),
        "group.map" if request["params"]["replace"] == true => {
            let change = json!({ "luns_added": [7], "luns_removed": [7] });
            (session(change), none.clone(), none)
        }
        "group.map" | "transaction" => (session(json!({ "luns_added": [1] })), none.clone(), none),
        "initiator.remove" => (
            session(json!({ "group": null, "closed": "not-admitted" })),
            none.clone(),
            none,
        ),
        "chap.set" => {
            let change = json!({ "group": null, "closed": "not-authenticated" });
            (session(change), none.clone(), none)
        }
        "config.reload" => (none.clone(), json!(["settings.shards"]), none),
        "device.add" | "group.add" | "portal.add" | "chap.remove" => {
            (none.clone(), none.clone(), none)
        }
        _ => return answer(request),
    };
    let result = json!({
        "file": "/etc/pagecast/config.json", "sessions": sessions, "restart_needed": restart, "warnings": warnings,
    });
    json!({ "jsonrpc": "2.0", "id": request["id"], "result": result })
}

#[test]
fn examples_are_what_commands_print() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let guide = fs::read_to_string(guide).expect("the guide");
    let socket = answering("docs", example);
    let dir = scratch("docs-files");
    fs::write(dir.join("web.secret"), "correct horse battery\n").expect("written");
    let mut examples = 0;
    for block in guide.split("```").skip(1).step_by(2) {
        for example in format!("\n{block}").split("\n$ ").skip(1) {
            let (line, expected) = example
                .split_once('\n')
                .expect("a command and what it prints");
            // The shell takes quotes apart, as it does for people.
            let script = "pagecast() { \"$BINARY\" --socket \"$SOCKET\" \"$@\"; }; eval \"$LINE\"";
            let output = Command::new("sh")
                .args(["-c", script])
                .env("BINARY", env!("CARGO_BIN_EXE_pagecast"))
                .env("SOCKET", &socket)
                .env("LINE", line)
                .env("TZ", "UTC")
                .current_dir(&dir)
                .output()
                .expect("run");
            let mut printed = String::from_utf8(output.stdout).expect("text");
            printed.push_str(&String::from_utf8(output.stderr).expect("text"));
            assert_eq!(printed.trim_end(), expected.trim_end(), "{line}");
            examples += 1;
        }
    }
    assert!(examples >= 15, "{examples}");
}
