//! A daemon in a process of its own that is asked to change itself, and what is in its way.
#![forbid(unsafe_code)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

struct Daemon {
    child: Child,
    directory: PathBuf,
    lines: BufReader<UnixStream>,
}

impl Daemon {
    fn start(name: &str, config: &str) -> Self {
        let name = format!("pagecast-control-{name}-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir(&directory).expect("a directory");
        let path = |name: &str| directory.join(name);
        fs::write(path("config.json"), config).expect("written");
        let mut child = Command::new(env!("CARGO_BIN_EXE_pagecastd"))
            .arg("--config")
            .arg(path("config.json"))
            .arg("--state-dir")
            .arg(path("state"))
            .arg("--socket")
            .arg(path("sock"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        let mut ready = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        output.read_line(&mut ready).expect("a line");
        assert_eq!(ready, "ready\n", "it starts");
        let stream = UnixStream::connect(path("sock")).expect("a control socket");
        Self {
            child,
            lines: BufReader::new(stream),
            directory,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn configure(&self, config: &str) {
        fs::write(self.path("config.json"), config).expect("written");
    }

    fn answer(&mut self, method: &str, params: Value) -> Value {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let line = format!("{request}\n");
        (self.lines.get_mut().write_all(line.as_bytes())).expect("sent");
        let mut answer = String::new();
        self.lines.read_line(&mut answer).expect("an answer");
        serde_json::from_str(&answer).expect("JSON")
    }

    fn made(&mut self, method: &str, params: Value) -> Value {
        let mut answer = self.answer(method, params);
        assert!(answer.get("result").is_some(), "{method}: {answer}");
        answer["result"].take()
    }

    fn refused(&mut self, method: &str, params: Value) -> String {
        let answer = self.answer(method, params);
        assert_eq!(answer["error"]["code"], -32002, "{method}: {answer}");
        answer["error"]["message"]
            .as_str()
            .expect("text")
            .to_owned()
    }

    /// The size that a device has, and that the configuration in force says.
    fn sizes(&mut self) -> (Value, Value) {
        let device = self.made("device.show", json!(["ram0"]))["size"].take();
        let config = self.made("config.show", json!([]))["config"]["devices"][0]["size"].take();
        (device, config)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn ram(size: &str) -> String {
    format!(
        r#"{{ "shards": 1, "staging_memory": "4MiB",
              "devices": [ {{ "name": "ram0", "backend": "memory", "size": "{size}" }} ] }}"#
    )
}

#[test]
fn a_memory_device_has_the_size_that_the_configuration_says() {
    let mut daemon = Daemon::start("sizes", &ram("4MiB"));
    let has = |bytes: u64, text: &str| (json!(bytes), json!(text));
    assert_eq!(daemon.sizes(), has(4 << 20, "4MiB"));
    daemon.configure(&ram("2MiB"));
    for _ in 0..2 {
        let why = daemon.refused("config.reload", json!([]));
        assert_eq!(
            why,
            "device ram0: 2097152 bytes are less than the 4194304 that are there, and what is beyond would be lost for good; shrink \
             the file systems on it first, and then force it (--force, or \"force\": true) in `config reload` or `device resize`"
        );
        assert_eq!(daemon.sizes(), has(4 << 20, "4MiB"));
    }
    let report = daemon.made("config.reload", json!([true]));
    assert_eq!(report["warnings"], json!([]));
    assert_eq!(daemon.sizes(), has(2 << 20, "2MiB"));
    daemon.configure(&ram("8MiB"));
    daemon.made("config.reload", json!([]));
    assert_eq!(daemon.sizes(), has(8 << 20, "8MiB"));

    // What could not be kept is not done.
    fs::create_dir(daemon.path("config.json~new")).expect("in its way");
    let why = daemon.refused("device.resize", json!(["ram0", "16MiB"]));
    let expected = "device ram0: its new size could not be kept: cannot write ";
    assert!(why.starts_with(expected), "{why}");
    assert!(why.ends_with("the configuration is as it was"), "{why}");
    assert_eq!(daemon.sizes(), has(8 << 20, "8MiB"));
    fs::remove_dir(daemon.path("config.json~new")).expect("removed");
    daemon.made("device.resize", json!(["ram0", "16MiB"]));
    assert_eq!(daemon.sizes(), has(16 << 20, "16MiB"));
}

#[test]
fn what_waits_for_a_restart_is_not_forgotten() {
    let mut daemon = Daemon::start("restart", &ram("1MiB"));
    let warned = |daemon: &mut Daemon| daemon.made("status", json!([]))["warnings"].to_string();
    let text =
        "changed in the configuration, and in force when the daemon is started again: queue_depth";
    assert!(!warned(&mut daemon).contains(text));
    let edited = ram("1MiB").replace("\"shards\": 1", "\"shards\": 1, \"queue_depth\": 17");
    daemon.configure(&edited);
    for _ in 0..2 {
        let report = daemon.made("config.reload", json!([]));
        assert_eq!(report["restart_needed"], json!(["queue_depth"]));
        let told = warned(&mut daemon);
        assert!(told.contains(text), "{told}");
    }
    let report = daemon.made("target.add", json!({ "name": "t" }));
    assert_eq!(report["restart_needed"], json!(["queue_depth"]));
    daemon.configure(&ram("1MiB"));
    let report = daemon.made("config.reload", json!([]));
    assert_eq!(report["restart_needed"], json!([]));
    assert!(!warned(&mut daemon).contains(text));
}

/// The next start would read it.
#[test]
fn what_a_hand_has_edited_is_in_the_status() {
    let mut daemon = Daemon::start("edited", &ram("1MiB"));
    let warned = |daemon: &mut Daemon| daemon.made("status", json!([]))["warnings"].to_string();
    let edited = "it was edited by hand since it was read";
    assert!(!warned(&mut daemon).contains("config.json"));
    for (text, good) in [("garbage", false), (&*ram("2MiB"), true)] {
        daemon.configure(text);
        for _ in 0..2 {
            assert!(warned(&mut daemon).contains(edited), "{text}");
        }
        assert_eq!(
            daemon
                .answer("config.reload", json!([]))
                .get("result")
                .is_some(),
            good
        );
        assert_eq!(warned(&mut daemon).contains(edited), !good, "{text}");
    }
    daemon.made("target.add", json!({ "name": "t" }));
    assert!(!warned(&mut daemon).contains("config.json"));
}

/// What initiators write would be the daemon's identity, its reservations, or whom it admits.
#[test]
fn no_disk_is_a_file_of_the_daemon() {
    let mut daemon = Daemon::start("own", &ram("1MiB"));
    let file = |path: PathBuf| json!({ "name": "d", "backend": "file", "path": path });
    symlink("config.json", daemon.path("link")).expect("a link");
    fs::hard_link(daemon.path("config.json"), daemon.path("hard")).expect("a link");
    for name in [
        "config.json",
        "link",
        "hard",
        "state/machine-id",
        "state/reservations/d",
    ] {
        let path = daemon.path(name);
        let why = daemon.refused("device.add", file(path.clone()));
        let whose = match name.starts_with("state/") {
            true => "state",
            false => "configuration",
        };
        assert_eq!(
            why,
            format!(
                "device d: {} is the daemon's own {whose}; name the disk's file",
                path.display()
            )
        );
    }

    // Nor in place of another one, nor by hand, nor when it starts.
    let image = daemon.path("disk.img");
    fs::write(&image, [0; 4096]).expect("written");
    let path = daemon.path("state/machine-id");
    daemon.made("device.add", file(image.clone()));
    let of = |path: &PathBuf, backend: &str| {
        ram("1MiB").replace(
            "\"devices\": [",
            &format!(
                r#""devices": [ {{ "name": "d", "backend": "{backend}", "path": "{}" }},"#,
                path.display()
            ),
        )
    };
    for (path, backend, expected) in [
        (&path, "file", "the daemon's own state"),
        (
            &image,
            "block",
            "is a regular file, and no block device; name a block device",
        ),
    ] {
        daemon.configure(&of(path, backend));
        let why = daemon.refused("config.reload", json!([]));
        assert!(why.contains(expected), "{why}");
        for check in [true, false] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_pagecastd"));
            let command = command
                .arg("--config")
                .arg(daemon.path("config.json"))
                .arg("--state-dir")
                .arg(daemon.path("state"))
                .arg("--socket")
                .arg(daemon.path("other"))
                .args(check.then_some("--check"));
            let output = command.output().expect("started");
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(
                said.contains("device d: ") && said.contains(expected),
                "{said}"
            );
        }
    }
    let other = daemon.path("other.img");
    fs::write(&other, [0; 4096]).expect("written");
    let why = daemon.refused(
        "device.add",
        json!({ "name": "e", "backend": "block", "path": other }),
    );
    assert!(why.contains("use \"backend\": \"file\""), "{why}");
}

#[test]
fn copies_are_not_written_where_something_else_is() {
    let mut daemon = Daemon::start("copies", &ram("1MiB"));
    let state = fs::canonicalize(daemon.path("state")).expect("a state directory");
    let machine = fs::read(state.join("machine-id")).expect("an identity");
    symlink(state.join("machine-id"), daemon.path("link")).expect("a link");
    symlink(&state, daemon.path("directory")).expect("a link");
    for file in ["state/machine-id", "state/new", "link", "directory/new"] {
        for force in [false, true] {
            let path = daemon.path(file);
            let why = daemon.refused("config.save", json!([path, force]));
            let expected = "the daemon keeps there what has to last; name another directory";
            assert!(why.ends_with(expected), "{why}");
        }
    }
    assert_eq!(fs::read(state.join("machine-id")).expect("kept"), machine);
    assert!(!state.join("new").exists());
    let path = daemon.path("none/copy.json");
    let why = daemon.refused("config.save", json!([path]));
    assert!(
        why.ends_with("; make its directory first, or name another file"),
        "{why}"
    );
    let path = daemon.path("copy.json");
    daemon.made("config.save", json!([path]));
    daemon.made("config.save", json!([path, true]));
    let mode = fs::metadata(path).expect("written").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Its own file is what it was.
    let path = daemon.path("config.json");
    daemon.made("config.save", json!([path, true]));
}

#[test]
fn a_pipe_in_place_of_the_file_holds_up_nothing() {
    let mut daemon = Daemon::start("pipe", &ram("1MiB"));
    let file = daemon.path("config.json");
    fs::remove_file(&file).expect("removed");
    let made = Command::new("mkfifo").arg(&file).status().expect("mkfifo");
    assert!(made.success());
    let why = daemon.refused("config.reload", json!([]));
    assert!(why.contains("it is not a plain file"), "{why}");
    daemon.refused("target.add", json!({ "name": "t" }));
    fs::remove_file(&file).expect("removed");
    daemon.made("target.add", json!({ "name": "t" }));
}
