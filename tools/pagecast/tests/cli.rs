//! The binary against a daemon that is made up: it answers what `reports.json` says.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;

use serde_json::{Value, json};

fn reports() -> Value {
    serde_json::from_str(include_str!("reports.json")).expect("JSON")
}

/// The answer of the made up daemon.
fn answer(request: &Value) -> Value {
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
        _ => reports[method].clone(),
    };
    assert_eq!(request["jsonrpc"], "2.0");
    json!({ "jsonrpc": "2.0", "id": request["id"], "result": result })
}

fn scratch(test: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("pagecast-cli-{}-{test}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir(&dir).expect("made");
    dir
}

/// A socket that `serve` is called with every connection of.
fn serve(test: &str, serve: impl Fn(UnixStream) + Send + 'static) -> PathBuf {
    let path = scratch(test).join("s");
    let listener = UnixListener::bind(&path).expect("bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            serve(stream.expect("a client"));
        }
    });
    path
}

fn daemon(test: &str) -> PathBuf {
    serve(test, |mut stream| {
        let mut line = String::new();
        BufReader::new(stream.try_clone().expect("cloned"))
            .read_line(&mut line)
            .expect("read");
        let request = serde_json::from_str(&line).expect("JSON");
        stream
            .write_all(format!("{}\n", answer(&request)).as_bytes())
            .expect("written");
    })
}

fn run(socket: &Path, line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pagecast"))
        .arg("--socket")
        .arg(socket)
        .args(line.split_whitespace())
        .output()
        .expect("run")
}

/// What it prints when all is well.
fn printed(socket: &Path, line: &str) -> String {
    let output = run(socket, line);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {complaint}");
    assert_eq!(complaint, "");
    String::from_utf8(output.stdout).expect("text")
}

/// The exit code and what it says when something is wrong.
fn complaint(socket: &Path, line: &str) -> (Option<i32>, String) {
    let output = run(socket, line);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    (
        output.status.code(),
        String::from_utf8(output.stderr).expect("text"),
    )
}

#[test]
fn json_is_the_result_object() {
    let socket = daemon("json");
    let expected = reports();
    for (line, expected) in [
        ("--json status", &expected["status"]),
        ("device show disk0 --json", &expected["device.show"]),
        (
            "device list --json",
            &json!({ "devices": [expected["device.show"]] }),
        ),
        ("device resize disk0 --json", &expected["device.resize"]),
        (
            "device resize disk0 20GiB --json",
            &json!({ "name": "disk0", "size": "20GiB" }),
        ),
        (
            "device resize --force disk0 --json",
            &json!({ "name": "disk0", "force": true }),
        ),
        (
            "--json device resize disk0 512 --force",
            &json!({ "name": "disk0", "size": "512", "force": true }),
        ),
        ("reservation show --json", &expected["reservation.show"]),
        ("--json reservation show ram0", &json!({ "name": "ram0" })),
        (
            "reservation clear disk0 --json",
            &expected["reservation.clear"],
        ),
        (
            "reservation clear --force disk0 --json",
            &json!({ "name": "disk0", "force": true }),
        ),
        ("target show store --json", &expected["target.show"]),
        ("session list --json", &expected["session.list"]),
        ("stats --json", &expected["stats"]),
    ] {
        let value: Value = serde_json::from_str(&printed(&socket, line)).expect("JSON");
        assert_eq!(value, *expected, "{line}");
    }
}

#[test]
fn tables_for_people() {
    let socket = daemon("tables");
    for line in [
        "status",
        "device list",
        "device show disk0",
        "device resize disk0",
        "reservation show",
        "reservation clear disk0",
        "target list",
        "target show store",
        "session list",
        "stats",
        "rpc schema",
    ] {
        let text = printed(&socket, line);
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/snapshots")
            .join(line.replace(' ', "-"))
            .with_extension("txt");
        let expected = fs::read_to_string(&file).unwrap_or_default();
        assert!(
            text == expected,
            "{line}: {} has\n{expected}\nand not\n{text}",
            file.display()
        );
    }
}

#[test]
fn fields_that_are_not_there_are_shown_as_such() {
    let socket = daemon("bare");
    let text = printed(&socket, "device show bare");
    assert!(
        text.starts_with("bare\\u{1b}[2J\n  state         -\n"),
        "{text}"
    );
    assert!(
        text.contains("\n  read          0 B in - commands, - of it without a copy\n"),
        "{text}"
    );
}

#[test]
fn the_daemon_says_no() {
    let socket = daemon("no");
    let (code, text) = complaint(&socket, "device show odd");
    assert_eq!(code, Some(1));
    assert_eq!(
        text,
        "pagecast: there is no \"odd\";\\ndid you mean `disk0`?\n"
    );
}

#[test]
fn wrong_command_lines() {
    let socket = scratch("usage").join("s");
    for line in [
        "",
        "device",
        "device show",
        "device show a b",
        "device resize",
        "device resize a 1 b",
        "device resize a --forced",
        "reservation",
        "reservation clear",
        "reservation show a b",
        "frob",
        "stats now",
        "status --jsn",
    ] {
        let (code, text) = complaint(&socket, line);
        assert_eq!(code, Some(2), "{line}: {text}");
    }
    let (_, text) = complaint(&socket, "devise list");
    assert!(text.contains("device"), "{text}");
}

#[test]
fn no_daemon() {
    let dir = scratch("none");
    let socket = dir.join("s");
    let shown = socket.display();
    assert_eq!(
        complaint(&socket, "status"),
        (
            Some(3),
            format!(
                "pagecast: there is no control socket {shown}; is pagecastd running? \
                 Start it, or name its socket with --socket\n"
            )
        )
    );

    drop(UnixListener::bind(&socket).expect("bound"));
    let (code, text) = complaint(&socket, "status");
    assert_eq!(code, Some(3));
    assert!(
        text.starts_with(&format!(
            "pagecast: nobody serves the control socket {shown};"
        )),
        "{text}"
    );
    fs::remove_file(&socket).expect("removed");

    // Root may use any socket.
    let _listener = UnixListener::bind(&socket).expect("bound");
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o0)).expect("set");
    if UnixStream::connect(&socket).is_err() {
        let (code, text) = complaint(&socket, "status");
        assert_eq!(code, Some(3));
        assert!(
            text.contains("run this as root, or as a member of the socket's group"),
            "{text}"
        );
    }
}

#[test]
fn answers_that_make_no_sense() {
    for (test, sent, expected) in [
        ("empty", "", "the connection to pagecastd broke: "),
        (
            "text",
            "hello\n",
            "pagecastd answered with something that is not JSON",
        ),
        (
            "list",
            "[]\n",
            "pagecastd answered with something that is not an object",
        ),
        (
            "neither",
            "{}\n",
            "pagecastd answered with neither a result nor an error",
        ),
        (
            "error",
            "{\"error\":{}}\n",
            "pagecastd answered with an error without a message",
        ),
    ] {
        let socket = serve(test, move |mut stream| {
            // Read what was asked first: closing a socket with bytes in it is another error.
            let mut line = String::new();
            BufReader::new(stream.try_clone().expect("cloned"))
                .read_line(&mut line)
                .expect("read");
            stream.write_all(sent.as_bytes()).expect("written");
        });
        let (code, text) = complaint(&socket, "status");
        assert_eq!(code, Some(3), "{test}");
        assert!(
            text.starts_with(&format!("pagecast: {expected}")),
            "{test}: {text}"
        );
    }
}

/// A daemon with too many clients says so at once, and hangs up.
#[test]
fn turned_away() {
    let socket = serve("busy", |mut stream| {
        let line = b"{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32000,\"message\":\"try again\"}}\n";
        stream.write_all(line).expect("written");
    });
    assert_eq!(
        complaint(&socket, "status"),
        (Some(1), "pagecast: try again\n".to_owned())
    );
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let socket = daemon("pipe");
    let status = Command::new("sh")
        .arg("-c")
        .arg("exec 3>&1; { \"$0\" --socket \"$1\" stats; echo $? >&3; } | true")
        .arg(env!("CARGO_BIN_EXE_pagecast"))
        .arg(&socket)
        .output()
        .expect("run");
    assert_eq!(String::from_utf8_lossy(&status.stdout), "0\n");
}

#[test]
fn help_says_how_it_ends() {
    let output = run(Path::new("s"), "--help");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success());
    for expected in [
        "Exit codes:",
        "3  no daemon",
        "--socket <PATH>",
        "/run/pagecast/control.sock",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}
