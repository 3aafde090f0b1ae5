//! A daemon in a process of its own whose devices and portals are missing at the start, or come while it runs; and one that is told to
//! read its configuration again.
#![forbid(unsafe_code)]

mod places;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// A directory that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("pagecast-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("a directory");
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A configuration with a disk in memory, these devices, and a target with these portals.
    fn configure(&self, devices: &str, portals: &str) {
        let text = format!(
            r#"{{ "shards": 1, "staging_memory": "4MiB",
                "devices": [ {{ "name": "ram0", "backend": "memory", "size": "1MiB" }} {devices} ],
                "targets": [ {{ "name": "store", "portals": [ {portals} ] }} ] }}"#
        );
        fs::write(self.path("config.json"), text).expect("written");
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pagecastd"));
        command
            .arg("--state-dir")
            .arg(self.path("state"))
            .arg("--socket")
            .arg(self.path("sock"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Starts a daemon, which must come to be ready.
    fn start(&self) -> Daemon {
        let mut command = self.command();
        command.arg("--config").arg(self.path("config.json"));
        Daemon::wait_for(command, &self.path("sock"))
    }

    /// Starts a daemon that does not come to be ready, and returns what it says.
    fn refused(&self, arguments: &[&str]) -> String {
        let mut child = self
            .command()
            .args(["--log", "off"])
            .args(arguments)
            .spawn()
            .expect("started");
        let mut ready = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        output.read_line(&mut ready).expect("a line or none");
        let _ = child.kill();
        let mut said = String::new();
        let mut errors = child.stderr.take().expect("piped");
        errors.read_to_string(&mut said).expect("text");
        child.wait().expect("gone");
        assert_eq!(ready, "", "it starts");
        said
    }

    /// What the last daemon has logged.
    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).expect("a log")
    }

    fn refused_with_config(&self) -> String {
        let config = self.path("config.json").display().to_string();
        self.refused(&["--config", &config])
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Daemon {
    child: Child,
    stream: UnixStream,
    lines: BufReader<UnixStream>,
}

impl Daemon {
    fn wait_for(mut command: Command, socket: &Path) -> Self {
        let log = File::create(socket.with_file_name("log")).expect("a log");
        let mut child = command.stderr(log).spawn().expect("started");
        let mut ready = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        output.read_line(&mut ready).expect("a line");
        assert_eq!(ready, "ready\n", "it starts");
        let stream = UnixStream::connect(socket).expect("a control socket");
        let lines = BufReader::new(stream.try_clone().expect("cloned"));
        Self {
            child,
            stream,
            lines,
        }
    }

    fn call(&mut self, method: &str, params: &str) -> Value {
        self.answer(method, params)["result"].take()
    }

    fn answer(&mut self, method: &str, params: &str) -> Value {
        let line = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{method}\",\"params\":{params}}}\n"
        );
        self.stream.write_all(line.as_bytes()).expect("sent");
        let mut answer = String::new();
        self.lines.read_line(&mut answer).expect("an answer");
        serde_json::from_str(&answer).expect("JSON")
    }

    fn devices(&mut self) -> Vec<Value> {
        let list = self.call("device.list", "{}");
        list["devices"].as_array().expect("a list").clone()
    }

    fn hang_up(&self) {
        let pid = self.child.id().to_string();
        let killed = Command::new("kill").args(["-HUP", &pid]).status();
        assert!(killed.expect("kill").success());
    }

    /// Asks until the answer is as it should be.
    fn until(&mut self, what: &str, mut is_so: impl FnMut(&mut Self) -> bool) {
        let began = Instant::now();
        while !is_so(self) {
            assert!(began.elapsed() < Duration::from_secs(60), "{what}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A device whose file may come later.
fn late(path: &Path) -> String {
    format!(
        r#", {{ "name": "late", "backend": "file", "path": "{}" }}"#,
        path.display()
    )
}

#[test]
fn a_device_that_is_missing_is_waited_for() {
    let scratch = Scratch::new("late");
    let path = scratch.path("late.img");
    scratch.configure(&late(&path), "");
    let mut daemon = scratch.start();
    let devices = daemon.devices();
    assert_eq!(devices[0]["state"], "online");
    assert_eq!(devices[1]["state"], "offline");
    let why = devices[1]["why"].as_str().expect("a reason");
    assert!(why.contains("does not exist"), "{why}");
    let warnings = daemon.call("status", "{}")["warnings"].to_string();
    assert!(warnings.contains("device late: offline"), "{warnings}");
    // It is part of the configuration, and stays so.
    let config = daemon.call("config.show", "{}").to_string();
    assert!(config.contains("late.img"), "{config}");

    let file = File::create(&path).expect("a file");
    file.set_len(1 << 20).expect("its size");
    daemon.until("it comes", |daemon| {
        daemon.devices()[1]["state"] == "online"
    });
    assert_eq!(daemon.devices()[1]["size"], 1 << 20);
    assert!(daemon.devices()[1].get("why").is_none());

    // It is cut off, and somebody looks.
    file.set_len(4096).expect("cut off");
    daemon.until("it fails", |daemon| {
        daemon.devices()[1]["state"] == "failed"
    });
    file.set_len(1 << 20).expect("its size");
    daemon.until("it works", |daemon| {
        daemon.devices()[1]["state"] == "online"
    });
}

/// It is there, whoever asks.
#[test]
fn a_device_that_is_missing_is_not_unknown() {
    let scratch = Scratch::new("offline");
    let path = scratch.path("late.img");
    scratch.configure(&late(&path), "");
    let mut daemon = scratch.start();
    let why = format!("{} does not exist; create it first", path.display());
    for (method, params, refused) in [
        (
            "device.resize",
            r#"{"name":"late"}"#,
            "it is offline, and takes the size that its store has when that comes",
        ),
        (
            "device.resize",
            r#"{"name":"late","size":"1MiB","force":true}"#,
            "it is offline, and takes the size that its store has when that comes",
        ),
        (
            "reservation.show",
            r#"{"name":"late"}"#,
            "it is offline, and its reservations are shown when its store is there",
        ),
        (
            "reservation.clear",
            r#"{"name":"late","force":true}"#,
            "it is offline, and its reservations stay as they are; try again when its store is there",
        ),
    ] {
        let answer = daemon.answer(method, params);
        assert_eq!(answer["error"]["code"], -32002, "{method}: {answer}");
        let message = answer["error"]["message"].as_str().expect("text");
        let expected = format!("device late: {refused}: {why}");
        assert!(message.starts_with(&expected), "{method}: {message}");
        let unknown = daemon.answer(method, r#"{"name":"never"}"#);
        assert_eq!(unknown["error"]["code"], -32001, "{method}: {unknown}");
    }
    let shown = daemon.call("device.show", r#"{"name":"late"}"#);
    assert_eq!(shown["state"], "offline", "{shown}");
    assert!(shown["why"].as_str().is_some_and(|it| it.starts_with(&why)));
    let stats = daemon.call("stats", "{}");
    assert_eq!(stats["total"]["reads"], 0, "{stats}");
    let all = daemon.call("reservation.show", "{}")["reservations"].take();
    assert_eq!(all[0]["name"], "ram0", "{all}");

    let file = File::create(&path).expect("a file");
    file.set_len(3 << 20).expect("its size");
    daemon.until("it comes", |daemon| {
        let resized = daemon.call("device.resize", r#"{"name":"late"}"#);
        resized["size"] == 3 << 20
    });
    for method in ["reservation.show", "reservation.clear"] {
        let answer = daemon.call(method, r#"{"name":"late"}"#);
        assert!(!answer.is_null(), "{method}");
    }
}

#[test]
fn what_waiting_does_not_mend_stops_the_start() {
    let scratch = Scratch::new("mistakes");
    let path = scratch.path("disk");
    let device = format!(
        r#", {{ "name": "disk", "backend": "file", "path": "{}" }}"#,
        path.display()
    );
    scratch.configure(&device, "");
    let said = |what: &str| {
        let said = scratch.refused_with_config();
        assert!(
            said.contains("device disk: ") && said.contains(what),
            "{said}"
        );
    };
    fs::create_dir(&path).expect("a directory");
    said("is a directory");
    fs::remove_dir(&path).expect("removed");
    let socket = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
    said("is a socket");
    drop(socket);
    fs::remove_file(&path).expect("removed");
    fs::write(&path, [0; 1000]).expect("a file");
    said("not a multiple of 512");
    fs::write(&path, [0; 4096]).expect("a file");
    let options = pagecast_backends::FileOptions {
        path: path.clone(),
        read_only: false,
    };
    let other = pagecast_backends::FileBackend::open(&options).expect("locked");
    said("is in use by");
    drop(other);
    drop(scratch.start());
    // Whoever names a file on the command line means that one.
    let missing = scratch.path("missing").display().to_string();
    let said = scratch.refused(&["--file", &missing, "--allow", "*"]);
    assert!(
        said.contains("does not exist") || said.contains("cannot listen"),
        "{said}"
    );
}

#[test]
fn a_portal_whose_address_is_not_there() {
    let scratch = Scratch::new("portals");
    // TEST-NET-2 (RFC 5737) is nobody's.
    let absent = r#"{ "transport": "iscsi-tcp", "address": "198.51.100.1", "port": 3260 }"#;
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let here =
        format!(r#", {{ "transport": "iscsi-tcp", "address": "127.0.0.1", "port": {port} }}"#);
    scratch.configure("", &format!("{absent}{here}"));
    let said = scratch.refused_with_config();
    assert!(said.contains("another program listens there"), "{said}");
    drop(taken);
    let mut daemon = scratch.start();
    let portals = daemon.call("target.show", r#"{"name":"store"}"#)["portals"].clone();
    assert_eq!(portals[0]["listening"], false, "{portals}");
    assert!(portals[0]["why"].is_string(), "{portals}");
    assert_eq!(portals[1]["listening"], true, "{portals}");
    let warnings = daemon.call("status", "{}")["warnings"].to_string();
    assert!(warnings.contains("198.51.100.1"), "{warnings}");
    // Somebody who asks for one wants to know at once.
    let params = r#"{"target":"store","transport":"iscsi-tcp","address":"198.51.100.2"}"#;
    assert!(daemon.call("portal.add", params).is_null());
    // What is taken away is not waited for.
    let params =
        r#"{"target":"store","transport":"iscsi-tcp","address":"198.51.100.1","port":3260}"#;
    assert!(!daemon.call("portal.remove", params).is_null());
    let warnings = daemon.call("status", "{}")["warnings"].to_string();
    assert!(!warnings.contains("198.51.100.1"), "{warnings}");
}

/// `[::]` takes IPv4 as well, but where another portal does; whatever comes and goes.
#[test]
fn wildcard_portals_over_tcp() {
    let scratch = Scratch::new("wildcards");
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    let portal = |address: &str| {
        format!(r#"{{ "transport": "iscsi-tcp", "address": "{address}", "port": {port} }}"#)
    };
    // IPv4, IPv6.
    let heard = |address: &str| std::net::TcpStream::connect((address, port)).is_ok();
    let heard = || (heard("127.0.0.1"), heard("::1"));
    scratch.configure("", &portal("::"));
    let mut daemon = scratch.start();
    if !heard().1 {
        return;
    }
    assert_eq!(heard(), (true, true));
    let mut reload = |address: &str| {
        scratch.configure("", &portal(address));
        daemon.call("config.reload", "{}")
    };
    for (address, expected) in [
        ("127.0.0.1", (true, false)),
        ("::", (true, true)),
        ("0.0.0.0", (true, false)),
        ("::1", (false, true)),
        ("::", (true, true)),
    ] {
        assert!(!reload(address).is_null(), "{address}");
        assert_eq!(heard(), expected, "{address}");
    }
    let params = format!(
        r#"{{"target":"store","transport":"iscsi-tcp","address":"127.0.0.1","port":{port}}}"#
    );
    assert!(!daemon.call("portal.add", &params).is_null());
    assert_eq!(heard(), (true, true));
    assert!(!daemon.call("portal.remove", &params).is_null());
    assert_eq!(heard(), (true, true));
    // What cannot be made leaves all as it was.
    let absent = portal("198.51.100.1");
    scratch.configure("", &format!("{}, {absent}", portal("127.0.0.1")));
    assert!(daemon.call("config.reload", "{}").is_null());
    assert_eq!(heard(), (true, true));
}

#[test]
fn hanging_up_reads_the_configuration_again() {
    let scratch = Scratch::new("hangup");
    scratch.configure("", "");
    let notified = UnixDatagram::bind(scratch.path("notify")).expect("a socket");
    let mut command = scratch.command();
    command
        .arg("--config")
        .arg(scratch.path("config.json"))
        .env("NOTIFY_SOCKET", scratch.path("notify"));
    let mut daemon = Daemon::wait_for(command, &scratch.path("sock"));
    notified
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("a time");
    let heard = || {
        let mut text = [0; 256];
        let length = notified.recv(&mut text).expect("a datagram");
        String::from_utf8_lossy(&text[..length]).into_owned()
    };
    assert!(heard().starts_with("READY=1"));
    assert_eq!(daemon.devices().len(), 1);
    let more = r#", { "name": "ram1", "backend": "memory", "size": "1MiB" }"#;
    scratch.configure(more, "");
    daemon.hang_up();
    let reloading = heard();
    assert!(
        reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="),
        "{reloading}"
    );
    assert!(heard().starts_with("READY=1"));
    assert_eq!(daemon.devices().len(), 2);
    // A bad file changes nothing, and ends nothing.
    fs::write(scratch.path("config.json"), "{").expect("written");
    daemon.hang_up();
    assert!(heard().starts_with("RELOADING=1"));
    assert!(heard().starts_with("READY=1"));
    assert_eq!(daemon.devices().len(), 2);
    // As often as anybody likes.
    scratch.configure("", "");
    for _ in 0..20 {
        daemon.hang_up();
    }
    daemon.until("the last one counts", |daemon| daemon.devices().len() == 1);
}

/// The remedy fits the transport.
#[test]
fn portals_that_cannot_be() {
    let scratch = Scratch::new("nowhere");
    scratch.configure("", "");
    let mut daemon = scratch.start();
    let mut add = |transport: &str, address: &str| {
        let portal = format!(
            r#"{{ "target": "store", "transport": "{transport}", "address": "{address}" }}"#
        );
        let answer = daemon.answer("portal.add", &portal);
        let message = answer["error"]["message"].as_str();
        message.map(str::to_owned)
    };
    // RFC 5737: nobody has it.
    let message = add("iscsi-tcp", "192.0.2.1").expect("refused");
    let remedy = "no interface of this machine has that address: use one that has";
    assert!(message.contains(remedy), "{message}");
    // For machines without RDMA, such as most that build this.
    if !Path::new("/sys/class/infiniband").exists() {
        let message = add("srp", "0.0.0.0").expect("refused");
        assert!(message.contains("no RDMA device"), "{message}");
        assert!(message.contains("--portal iscsi-tcp"), "{message}");
    }
}
