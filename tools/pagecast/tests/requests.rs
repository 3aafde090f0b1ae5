//! What each command asks the daemon for.

mod common;

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use common::{answering, command, complaint, echo, printed, scratch};

#[test]
fn every_command_has_its_method_and_parameters() {
    let socket = answering("requests", echo);
    let here = std::env::current_dir().expect("a directory");
    let here = here.to_str().expect("UTF-8");
    let anywhere = |transport: &str| json!({ "transport": transport, "address": "::" });
    for (line, method, params) in [
        ("status", "status", json!({})),
        ("device list", "device.list", json!({})),
        ("device show a", "device.show", json!({ "name": "a" })),
        (
            "device add a --file /srv/a.img",
            "device.add",
            json!({ "name": "a", "backend": "file", "path": "/srv/a.img" }),
        ),
        (
            "device add a --file a.img --read-only --no-write-cache --no-reservations",
            "device.add",
            json!({ "name": "a", "backend": "file", "path": format!("{here}/a.img"), "read_only": true,
                    "write_cache": false, "reservations": false }),
        ),
        (
            "device add a --block /dev/sdx --block-size 4096 --zero-copy off --command-timeout 10s --queue-depth-max 64 \
             --max-registrants 9 --serial s --naa 3000000000000001 --uuid f86491d4-f922-8592-a9c3-147d80a5c7f4",
            "device.add",
            json!({ "name": "a", "backend": "block", "path": "/dev/sdx", "block_size": 4096, "zero_copy": "off",
                    "command_timeout": "10s", "queue_depth_max": 64, "max_registrants": 9, "serial": "s",
                    "naa": "3000000000000001", "uuid": "f86491d4-f922-8592-a9c3-147d80a5c7f4" }),
        ),
        (
            "device add a --memory 1GiB",
            "device.add",
            json!({ "name": "a", "backend": "memory", "size": "1GiB" }),
        ),
        (
            "device add a --backend file --path a.img",
            "device.add",
            json!({ "name": "a", "backend": "file", "path": format!("{here}/a.img") }),
        ),
        (
            "device add a --backend memory --size 4096",
            "device.add",
            json!({ "name": "a", "backend": "memory", "size": "4096" }),
        ),
        ("device remove a", "device.remove", json!({ "name": "a" })),
        (
            "device remove a --force",
            "device.remove",
            json!({ "name": "a", "force": true }),
        ),
        (
            "device resize a 1G --force",
            "device.resize",
            json!({ "name": "a", "size": "1G", "force": true }),
        ),
        ("target list", "target.list", json!({})),
        ("target show t", "target.show", json!({ "name": "t" })),
        (
            "target add t",
            "target.add",
            json!({ "name": "t", "portals": [
                anywhere("srp"), anywhere("iser"), anywhere("nvme-rdma"), anywhere("iscsi-tcp"),
            ] }),
        ),
        (
            "target add t --portal iser:[::1]:3260 --portal srp:service_id=0000000001060001 --iqn iqn.2026-11.x:t \
             --nqn nqn.2026-11.x:t --srp-id-ext 0000000000000001 --srp-ioc-guid 0000000000000002",
            "target.add",
            json!({ "name": "t", "iqn": "iqn.2026-11.x:t", "nqn": "nqn.2026-11.x:t",
                    "srp_id_ext": "0000000000000001", "srp_ioc_guid": "0000000000000002", "portals": [
                { "transport": "iser", "address": "::1", "port": 3260 },
                { "transport": "srp", "service_id": "0000000001060001" },
            ] }),
        ),
        (
            "target remove t --force",
            "target.remove",
            json!({ "name": "t", "force": true }),
        ),
        (
            "portal add t nvme-rdma",
            "portal.add",
            json!({ "target": "t", "transport": "nvme-rdma", "address": "::" }),
        ),
        (
            "portal remove t iser:10.0.0.1:3261",
            "portal.remove",
            json!({ "target": "t", "transport": "iser", "address": "10.0.0.1", "port": 3261 }),
        ),
        ("group list", "group.list", json!({})),
        ("group list t", "group.list", json!({ "target": "t" })),
        (
            "group add t g",
            "group.add",
            json!({ "target": "t", "name": "g", "initiators": [] }),
        ),
        (
            "group add t g 10.0.0.* !10.0.0.9 --before h --lun 0=a --lun 16383=b:ro",
            "group.add",
            json!({ "target": "t", "name": "g", "initiators": ["10.0.0.*", "!10.0.0.9"], "before": "h",
                    "luns": { "0": "a", "16383": { "device": "b", "read_only": true } } }),
        ),
        (
            "group add t g --default",
            "group.add",
            json!({ "target": "t", "name": "g", "default": true }),
        ),
        (
            "group add t g --default !x",
            "group.add",
            json!({ "target": "t", "name": "g", "default": true, "initiators": ["!x"] }),
        ),
        (
            "group remove t g",
            "group.remove",
            json!({ "target": "t", "name": "g" }),
        ),
        (
            "group map t g 7 a",
            "group.map",
            json!({ "target": "t", "group": "g", "lun": 7, "device": "a" }),
        ),
        (
            "group map t g 7 a --read-only",
            "group.map",
            json!({ "target": "t", "group": "g", "lun": 7, "device": "a", "read_only": true }),
        ),
        (
            "group map t g 7 a --replace",
            "group.map",
            json!({ "target": "t", "group": "g", "lun": 7, "device": "a", "replace": true }),
        ),
        (
            "group unmap t g 7",
            "group.unmap",
            json!({ "target": "t", "group": "g", "lun": 7 }),
        ),
        (
            "initiator add t g iqn.x:*",
            "initiator.add",
            json!({ "target": "t", "group": "g", "initiator": "iqn.x:*" }),
        ),
        (
            "initiator remove t g !x",
            "initiator.remove",
            json!({ "target": "t", "group": "g", "initiator": "!x" }),
        ),
        (
            "initiator move t x h",
            "initiator.move",
            json!({ "target": "t", "initiator": "x", "to": "h" }),
        ),
        (
            "initiator move t x h --from g",
            "initiator.move",
            json!({ "target": "t", "initiator": "x", "to": "h", "from": "g" }),
        ),
        (
            "chap remove t g",
            "chap.remove",
            json!({ "target": "t", "group": "g" }),
        ),
        ("dhchap remove t", "dhchap.remove", json!({ "target": "t" })),
        ("session list", "session.list", json!({})),
        ("session show 3", "session.show", json!({ "id": 3 })),
        ("session close 3", "session.close", json!({ "id": 3 })),
        ("reservation show", "reservation.show", json!({})),
        (
            "reservation clear a --force",
            "reservation.clear",
            json!({ "name": "a", "force": true }),
        ),
        ("config show", "config.show", json!({})),
        (
            "config save copy.json",
            "config.save",
            json!({ "file": format!("{here}/copy.json") }),
        ),
        (
            "config save /a/b --force",
            "config.save",
            json!({ "file": "/a/b", "force": true }),
        ),
        ("config reload", "config.reload", json!({})),
        (
            "config reload --force",
            "config.reload",
            json!({ "force": true }),
        ),
        ("stats", "stats", json!({})),
        ("rpc schema", "rpc.schema", json!({})),
    ] {
        let asked: Value =
            serde_json::from_str(&printed(&socket, &format!("--json {line}"))).expect("JSON");
        assert_eq!(
            asked,
            json!({ "method": method, "params": params }),
            "{line}"
        );
    }
}

#[test]
fn transactions_come_from_files_and_standard_input() {
    let socket = answering("transaction", echo);
    let changes = json!([{ "method": "device.remove", "params": { "name": "a" } }]);
    let expected = json!({ "method": "transaction", "params": { "changes": changes } });
    let dir = scratch("transaction-files");
    let file = dir.join("changes.json");
    std::fs::write(&file, changes.to_string()).expect("written");
    let text = printed(&socket, &format!("--json transaction {}", file.display()));
    assert_eq!(
        serde_json::from_str::<Value>(&text).expect("JSON"),
        expected
    );

    for line in [
        &["--json", "transaction"][..],
        &["--json", "transaction", "-"],
    ] {
        let mut child = command(&socket)
            .args(line)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("run");
        let mut input = child.stdin.take().expect("a pipe");
        input
            .write_all(changes.to_string().as_bytes())
            .expect("taken");
        drop(input);
        let output = child.wait_with_output().expect("ended");
        assert!(output.status.success());
        let asked: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(asked, expected);
    }

    for (content, expected) in [
        ("{}", "not a list; a transaction is a list such as ["),
        (
            "[",
            "not JSON (EOF while parsing a list at line 1 column 1); a transaction",
        ),
    ] {
        std::fs::write(&file, content).expect("written");
        let (code, text) = complaint(&socket, &format!("transaction {}", file.display()));
        assert_eq!(code, Some(1));
        let expected = format!("pagecast: {}: {expected}", file.display());
        assert!(text.starts_with(&expected), "{text}");
    }
    let (code, text) = complaint(&socket, "transaction /nowhere/x");
    assert_eq!(code, Some(1));
    assert!(
        text.starts_with("pagecast: cannot read /nowhere/x: "),
        "{text}"
    );
}

/// Everybody on the machine can read a command line: no option takes a secret itself.
#[test]
fn secrets_come_from_files_and_standard_input() {
    let socket = answering("secrets", echo);
    let dir = scratch("secret-files");
    let file = |name: &str, content: &str| {
        let file = dir.join(name);
        std::fs::write(&file, content).expect("written");
        file.display().to_string()
    };
    let (one, two) = (file("one", " open sesame\n"), file("two", "close it\r\n"));
    let asked = |line: &str| -> Value {
        serde_json::from_str(&printed(&socket, &format!("--json {line}"))).expect("JSON")
    };
    assert_eq!(
        asked(&format!("chap set t g --user u --secret-file {one}")),
        json!({ "method": "chap.set",
                "params": { "target": "t", "group": "g", "user": "u", "secret": " open sesame" } })
    );
    assert_eq!(
        asked(&format!(
            "chap set t --user u --secret-file {one} --mutual-user m --mutual-secret-file {two}"
        )),
        json!({ "method": "chap.set",
                "params": { "target": "t", "user": "u", "secret": " open sesame",
                            "mutual_user": "m", "mutual_secret": "close it" } })
    );
    assert_eq!(
        asked(&format!(
            "dhchap set t g --key-file {one} --controller-key-file {two} --hash sha256 --hash sha512 --dh-group null"
        )),
        json!({ "method": "dhchap.set",
                "params": { "target": "t", "group": "g", "key": " open sesame", "controller_key": "close it",
                            "hashes": ["sha256", "sha512"], "groups": ["null"] } })
    );

    let mut child = command(&socket)
        .args("--json dhchap set t --key-file -".split(' '))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("run");
    let mut input = child.stdin.take().expect("a pipe");
    // Only the end of the last line goes.
    input.write_all(b"a\nb\n\n").expect("taken");
    drop(input);
    let output = child.wait_with_output().expect("ended");
    let asked: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(asked["params"], json!({ "target": "t", "key": "a\nb\n" }));

    for (line, code, expected) in [
        (
            "chap set t --user u --secret-file /nowhere/x",
            1,
            "cannot read /nowhere/x: ",
        ),
        (
            "dhchap set t --key-file - --controller-key-file -",
            2,
            "only one of them can be on standard input",
        ),
        ("chap set t --user u", 2, "--secret-file"),
        (
            "chap set t --user u --secret-file x --mutual-user m",
            2,
            "--mutual-secret-file",
        ),
    ] {
        let (found, text) = complaint(&socket, line);
        assert_eq!(found, Some(code), "{line}: {text}");
        assert!(text.contains(expected), "{line}: {text}");
    }
}
