//! The binary against a daemon that is made up: it answers what `reports.json` says.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use common::{answering, complaint, daemon, printed, reports, run, scratch, serve, snapshot};

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
        ("group list --json", &expected["group.list"]),
        ("--json session show 2", &expected["session.show"]),
        ("--json config show", &expected["config.show"]),
        ("config reload --json", &expected["change"]),
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
        "group list",
        "group map store web 1 disk0",
        "session list",
        "session show 2",
        "session close 2",
        "config show",
        "config save /root/copy.json",
        "config reload",
        "stats",
        "rpc schema",
    ] {
        let text = printed(&socket, line);
        let name = line.replace(' ', "-").replace('/', "");
        snapshot(&format!("{name}.txt"), &text);
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
        "pagecast: there is no \"odd\";\ndid you mean `disk0`?\n"
    );
}

/// A line for each, and nothing in them that a terminal would act on.
#[test]
fn mistakes_have_lines_of_their_own() {
    let socket = answering("mistakes", |request| {
        let message = "c.json: devices[0]: one\nc.json: devices[1]: \u{1b}[2Jtwo\r";
        let error = json!({ "code": -32002, "message": message });
        json!({ "jsonrpc": "2.0", "id": request["id"], "error": error })
    });
    let (code, text) = complaint(&socket, "config reload");
    assert_eq!(code, Some(1));
    assert_eq!(
        text,
        "pagecast: c.json: devices[0]: one\nc.json: devices[1]: \\u{1b}[2Jtwo\\r\n"
    );
}

#[test]
fn the_daemon_says_no_to_a_program() {
    let socket = answering("no-json", |request| {
        let data =
            json!({ "problems": [{ "path": "size", "what": "0", "remedy": "more" }], "change": 1 });
        let error = json!({ "code": -32002, "message": "no", "data": data });
        json!({ "jsonrpc": "2.0", "id": request["id"], "error": error })
    });
    for line in [
        "--json device show odd",
        "--json group map t g 1 d",
        "--json events",
        "--json top --once",
    ] {
        let (code, text) = complaint(&socket, line);
        assert_eq!(code, Some(1), "{line}");
        assert_eq!(text.lines().count(), 1, "{line}: {text}");
        let error: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(error["code"], -32002, "{line}");
        assert_eq!(error["message"], "no", "{line}");
        assert_eq!(error["data"]["problems"][0]["path"], "size", "{line}");
        assert_eq!(error["data"]["change"], 1, "{line}");
    }
    // What does not come from the daemon has a message as well.
    for (line, expected) in [
        ("--json status", 3),
        ("--json config import-lio /nowhere/x", 1),
    ] {
        let (code, text) = complaint(Path::new("/nowhere/socket"), line);
        assert_eq!(code, Some(expected), "{line}");
        let error: Value = serde_json::from_str(&text).expect("JSON");
        let message = error["message"].as_str().expect("a message");
        assert!(message.contains("/nowhere/"), "{message}");
    }
}

/// Nobody knows whether it was made.
#[test]
fn a_change_that_gets_no_answer() {
    let socket = serve("mute", |stream| {
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).expect("read");
    });
    for (line, in_doubt) in [
        ("group map t g 1 d", true),
        ("device resize a 1G", true),
        ("config reload", true),
        ("config show", false),
        ("status", false),
    ] {
        let (code, text) = complaint(&socket, line);
        assert_eq!(code, Some(3), "{line}");
        assert!(text.contains("the connection to pagecastd broke"), "{text}");
        let said = text.contains("the change may have been made, or may still be");
        assert_eq!(said, in_doubt, "{line}: {text}");
    }
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
        "device add x",
        "device add x --file a --memory 1G",
        "device add x --file a --path b",
        "device add x --memory 1G --size 1G",
        "device add x --file a --block-size 4k",
        "target add x --portal iser:::1",
        "portal add x",
        "portal remove x iser:10.0.0.1:y",
        "group add t",
        "group add t g --lun 1=a --lun 1=b",
        "group add t g --lun a",
        "group map t g x disk0",
        "group map t g -1 disk0",
        "group unmap t g",
        "initiator move t x",
        "initiator add t g",
        "session show x",
        "config save",
        "config import-scst a --force",
        "top --interval 0",
        "top --interval 3601",
        "completions cmd",
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
