//! A daemon that is made up, and the binary that asks it.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test program uses some of this"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;

use serde_json::{Value, json};

pub fn reports() -> Value {
    serde_json::from_str(include_str!("../reports.json")).expect("JSON")
}

/// The answer of the made up daemon.
pub fn answer(request: &Value) -> Value {
    let reports = reports();
    let method = request["method"].as_str().expect("a method");
    let result = match method {
        "device.list" => json!({ "devices": [reports["device.show"]] }),
        "target.list" => json!({ "targets": [reports["target.show"]] }),
        "rpc.schema" => json!({ "methods": [
            { "name": "stats", "description": "what is used", "params": [] },
            { "name": "device.show", "description": "one device",
              "params": [ { "name": "name", "required": true }, { "name": "how", "required": false } ] },
        ] }),
        "device.show" | "target.show" if request["params"]["name"] == "odd" => {
            let error =
                json!({ "code": -32001, "message": "there is no \"odd\";\ndid you mean `disk0`?" });
            return json!({ "jsonrpc": "2.0", "id": request["id"], "error": error });
        }
        "device.show" if request["params"]["name"] == "bare" => json!({ "name": "bare\u{1b}[2J" }),
        "device.show" => {
            assert_eq!(request["params"], json!({ "name": "disk0" }));
            reports[method].clone()
        }
        // Says what it was asked for.
        "reservation.clear" | "reservation.show"
            if request["params"]["name"] == "ram0" || request["params"]["force"] == true =>
        {
            request["params"].clone()
        }
        "device.resize" if request["params"] != json!({ "name": "disk0" }) => {
            request["params"].clone()
        }
        "target.show" => {
            assert_eq!(request["params"], json!({ "name": "store" }));
            reports[method].clone()
        }
        // What changes something.
        _ => reports.get(method).unwrap_or(&reports["change"]).clone(),
    };
    assert_eq!(request["jsonrpc"], "2.0");
    json!({ "jsonrpc": "2.0", "id": request["id"], "result": result })
}

pub fn scratch(test: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("pagecast-cli-{}-{test}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir(&dir).expect("made");
    dir
}

/// A socket that `serve` is called with every connection of.
pub fn serve(test: &str, serve: impl Fn(UnixStream) + Send + 'static) -> PathBuf {
    let path = scratch(test).join("s");
    let listener = UnixListener::bind(&path).expect("bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            serve(stream.expect("a client"));
        }
    });
    path
}

pub fn daemon(test: &str) -> PathBuf {
    answering(test, answer)
}

/// A socket where every request is answered so.
pub fn answering(test: &str, answer: impl Fn(&Value) -> Value + Send + 'static) -> PathBuf {
    serve(test, move |mut stream| {
        let reader = BufReader::new(stream.try_clone().expect("cloned"));
        for line in reader.lines() {
            let request = serde_json::from_str(&line.expect("read")).expect("JSON");
            let line = format!("{}\n", answer(&request));
            stream.write_all(line.as_bytes()).expect("written");
        }
    })
}

/// Says what it was asked for.
pub fn echo(request: &Value) -> Value {
    let result = json!({ "method": request["method"], "params": request["params"] });
    json!({ "jsonrpc": "2.0", "id": request["id"], "result": result })
}

/// Compares a text with what it was. With BLESS in the environment, makes it so.
pub fn snapshot(name: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/snapshots")
        .join(name);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&file, text).expect("written");
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        text == expected,
        "{} has\n{expected}\nand not\n{text}",
        file.display()
    );
}

pub fn command(socket: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pagecast"));
    command.env("TZ", "UTC").arg("--socket").arg(socket);
    command
}

pub fn run(socket: &Path, line: &str) -> Output {
    command(socket)
        .args(line.split_whitespace())
        .output()
        .expect("run")
}

/// What it prints when all is well.
pub fn printed(socket: &Path, line: &str) -> String {
    let output = run(socket, line);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {complaint}");
    assert_eq!(complaint, "");
    String::from_utf8(output.stdout).expect("text")
}

/// The exit code and what it says when something is wrong.
pub fn complaint(socket: &Path, line: &str) -> (Option<i32>, String) {
    let output = run(socket, line);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    (
        output.status.code(),
        String::from_utf8(output.stderr).expect("text"),
    )
}
