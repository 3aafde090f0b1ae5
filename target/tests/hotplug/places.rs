//! Files that are deleted, moved and replaced while they are served.

use std::net::TcpStream;
use std::os::unix::fs::symlink;

use pagecast_initiator::iscsi::client::Client;
use pagecast_initiator::iscsi::login::{Login, LoginOptions, Step};
use pagecast_initiator::iscsi::pdu::Pdu;
use pagecast_initiator::iscsi::request::Direction;
use pagecast_initiator::iscsi::response::Incoming;
use pagecast_initiator::iscsi::stream::Digests;

use super::*;

const SIZE: usize = 1 << 20;

const PATIENCE: Duration = Duration::from_secs(60);

/// An initiator with one session, whose commands go to LUN 0.
struct Host {
    socket: TcpStream,
    digests: Digests,
    arrived: Vec<u8>,
    client: Option<Client>,
}

impl Host {
    fn log_in(port: u16, target: &str) -> Self {
        let socket = TcpStream::connect(("127.0.0.1", port)).expect("a portal");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time");
        let mut host = Self {
            socket,
            digests: Digests::default(),
            arrived: Vec::new(),
            client: None,
        };
        let options = LoginOptions::tcp("iqn.2026-11.io.pagecast:host", target);
        let (mut login, mut step) = Login::start(options);
        let negotiated = loop {
            match step {
                Step::Send { pdu, .. } => host.send(&pdu),
                Step::Done(negotiated) => break negotiated,
                Step::Refused { class, detail } => panic!("refused: {class} {detail}"),
            }
            let answer = host.next();
            step = login.receive(&answer).expect("an answer");
        };
        host.digests = Digests {
            header: negotiated.value("HeaderDigest") == Some("CRC32C"),
            data: negotiated.value("DataDigest") == Some("CRC32C"),
        };
        host.client = Some(Client::new(&negotiated));
        // Unit attentions of the start.
        while !host.execute(&[0; 6], Direction::None, 0, &[]).0.is_empty() {}
        host
    }

    fn send(&mut self, pdu: &Pdu) {
        let bytes = self.digests.encode(pdu);
        self.socket.write_all(&bytes).expect("sent");
    }

    fn next(&mut self) -> Pdu {
        loop {
            if let Some(pdu) = self.digests.take(&mut self.arrived).expect("a PDU") {
                return pdu;
            }
            let mut buffer = [0; 65_536];
            let length = self.socket.read(&mut buffer).expect("bytes");
            assert!(length > 0, "the session is closed");
            self.arrived.extend(&buffer[..length]);
        }
    }

    /// Sense data, of which there is none if all is well, and what was read.
    fn execute(
        &mut self,
        cdb: &[u8],
        direction: Direction,
        expected: u32,
        data: &[u8],
    ) -> (Vec<u8>, Vec<u8>) {
        let client = self.client.as_mut().expect("logged in");
        let pdu = client.command([0; 8], 0, cdb, direction, expected, data.to_vec());
        self.send(&pdu);
        let mut read = Vec::new();
        loop {
            let pdu = self.next();
            let client = self.client.as_mut().expect("logged in");
            match client.receive(&pdu).expect("an answer") {
                Incoming::Response(response) => return (response.sense, read),
                Incoming::DataIn { data, status, .. } => {
                    read.extend(data);
                    if let Some(response) = status {
                        return (response.sense, read);
                    }
                }
                Incoming::Ping(answer) => self.send(&answer),
                _ => {}
            }
        }
    }

    /// One block is `fill`, and reads as that.
    fn write(&mut self, lba: u8, fill: u8) {
        let cdb = |opcode| [opcode, 0, 0, 0, 0, lba, 0, 0, 1, 0];
        let data = [fill; 512];
        let (sense, _) = self.execute(&cdb(0x2a), Direction::Out, 512, &data);
        assert!(sense.is_empty(), "WRITE: {sense:02x?}");
        let (sense, read) = self.execute(&cdb(0x28), Direction::In, 512, &[]);
        assert!(sense.is_empty(), "READ: {sense:02x?}");
        assert_eq!(read, data);
    }
}

/// What one daemon says of itself while it runs.
struct Watched {
    scratch: Scratch,
    daemon: Daemon,
    events: BufReader<UnixStream>,
    port: u16,
}

impl Watched {
    /// Serves files of the scratch directory: the first as LUN 0.
    fn new(scratch: Scratch, files: &[&str]) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let device = |name: &&str| {
            let path = scratch.path(name);
            format!(r#"{{ "name": "{name}", "backend": "file", "path": {path:?} }}"#)
        };
        let devices: Vec<_> = files.iter().map(device).collect();
        let text = format!(
            r#"{{ "shards": 1, "staging_memory": "4MiB", "devices": [ {} ],
                "targets": [ {{ "name": "store", "iqn": "iqn.2026-11.io.pagecast:places",
                  "portals": [ {{ "transport": "iscsi-tcp", "address": "127.0.0.1", "port": {port} }} ],
                  "groups": [ {{ "name": "all", "initiators": ["*"], "luns": {{ "0": "{}" }} }} ] }} ] }}"#,
            devices.join(", "),
            files[0]
        );
        fs::write(scratch.path("config.json"), text).expect("written");
        let daemon = scratch.start();
        let mut events = UnixStream::connect(scratch.path("sock")).expect("a control socket");
        events
            .write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"events\"}\n")
            .expect("sent");
        events.set_read_timeout(Some(PATIENCE)).expect("a time");
        let mut watched = Self {
            scratch,
            daemon,
            events: BufReader::new(events),
            port,
        };
        let answer = watched.line();
        assert_eq!(answer["result"]["subscribed"], true, "{answer}");
        watched
    }

    fn host(&self) -> Host {
        Host::log_in(self.port, "iqn.2026-11.io.pagecast:places")
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.events.read_line(&mut line).expect("a line");
        serde_json::from_str(&line).expect("JSON")
    }

    /// The next event about devices: its kind, and its text or the device.
    fn event(&mut self) -> (String, String) {
        loop {
            let params = self.line()["params"].take();
            let text = |key: &str| params[key].as_str().unwrap_or_default().to_owned();
            match &*text("event") {
                "error" => return (text("event"), text("what")),
                kind @ ("device-online" | "device-offline") => {
                    return (kind.to_owned(), text("device"));
                }
                _ => {}
            }
        }
    }

    fn trouble(&mut self, name: &str) -> Option<String> {
        let params = format!(r#"{{"name":"{name}"}}"#);
        let shown = self.daemon.call("device.show", &params);
        assert_eq!(shown["state"], "online", "{shown}");
        let listed = self.daemon.devices();
        let listed = listed.iter().find(|it| it["name"] == name).expect("listed");
        assert_eq!(listed["state"], "online", "{listed}");
        shown["why"].as_str().map(str::to_owned)
    }

    /// Those about devices.
    fn warnings(&mut self) -> Vec<String> {
        warnings(&mut self.daemon)
    }

    /// It comes to be in trouble, of which everybody hears: returns what it is.
    fn expect(&mut self, name: &str, what: &str) -> String {
        let (kind, text) = self.event();
        assert_eq!(kind, "error", "{text}");
        let why = self.trouble(name).expect("trouble");
        assert_eq!(text, format!("device {name}: {why}"));
        assert!(why.contains(what), "{why}");
        let warnings = self.warnings();
        assert_eq!(warnings, [text]);
        let log = self.scratch.log();
        let line = log.lines().find(|line| line.contains(&why));
        let line = line.unwrap_or_else(|| panic!("not in the log: {why}\n{log}"));
        assert!(line.contains("ERROR") && line.contains(name), "{line}");
        why
    }

    /// It is out of trouble again.
    fn expect_back(&mut self, name: &str) {
        let event = self.event();
        assert_eq!(event, ("device-online".to_owned(), name.to_owned()));
        assert_eq!(self.trouble(name), None);
        assert!(self.warnings().is_empty());
        assert!(self.scratch.log().contains("its store is back at its path"));
    }
}

fn warnings(daemon: &mut Daemon) -> Vec<String> {
    let status = daemon.call("status", "{}");
    let all = status["warnings"].as_array().expect("a list").iter();
    let text = all.map(|it| it.as_str().expect("text").to_owned());
    text.filter(|it| it.starts_with("device ")).collect()
}

fn fill(scratch: &Scratch, name: &str, fill: u8) {
    fs::write(scratch.path(name), vec![fill; SIZE]).expect("a file");
}

#[test]
fn a_file_that_is_deleted_while_it_is_served() {
    let scratch = Scratch::new("deleted");
    fill(&scratch, "disk", 1);
    let mut watched = Watched::new(scratch, &["disk"]);
    let path = watched.scratch.path("disk");
    let mut host = watched.host();
    host.write(0, 2);
    assert_eq!(watched.trouble("disk"), None);
    fs::remove_file(&path).expect("removed");
    let why = watched.expect("disk", "was deleted");
    assert!(why.contains(&path.display().to_string()), "{why}");
    // Nothing has changed for those who are logged in.
    host.write(1, 3);
    // The remedy is one.
    let copy = watched.scratch.path("copy");
    let (_, command) = why.split_once("(cp ").expect("a command");
    let (command, _) = command.split_once(" COPY)").expect("a command");
    let mut copies = Command::new("cp");
    copies.args(command.split(' ')).arg(&copy);
    assert!(copies.status().expect("cp").success(), "{command}");
    fs::rename(&copy, &path).expect("renamed");
    watched.expect("disk", "is another one");
    host.write(1, 3);
    let Watched {
        scratch, daemon, ..
    } = watched;
    drop((host, daemon));
    let mut expected = vec![1; SIZE];
    expected[..512].fill(2);
    expected[512..1024].fill(3);
    assert!(fs::read(&path).expect("the copy") == expected);
    let mut daemon = scratch.start();
    assert_eq!(daemon.devices()[0]["state"], "online");
    assert!(warnings(&mut daemon).is_empty());
}

#[test]
fn a_file_that_is_replaced_while_it_is_served_and_put_back() {
    let scratch = Scratch::new("replaced");
    fill(&scratch, "disk", 1);
    fill(&scratch, "other", 9);
    let mut watched = Watched::new(scratch, &["disk"]);
    let at = |name: &str| watched.scratch.path(name);
    let (path, away, other) = (at("disk"), at("away"), at("other"));
    let mut host = watched.host();
    fs::rename(&path, &away).expect("renamed");
    watched.expect("disk", "is not at");
    // One trouble may follow on another.
    fs::rename(&other, &path).expect("renamed");
    watched.expect("disk", "there is another one");
    // Asking for the same configuration again changes nothing about it.
    let reloaded = watched.daemon.call("config.reload", r#"{"force":true}"#);
    assert!(!reloaded.is_null());
    assert!(watched.trouble("disk").is_some());
    host.write(0, 2);
    fs::rename(&path, &other).expect("renamed");
    fs::rename(&away, &path).expect("renamed");
    watched.expect_back("disk");
    host.write(1, 3);
    let there = fs::read(&path).expect("the file");
    assert!(there[..512] == [2; 512] && there[512..1024] == [3; 512]);
    assert!(fs::read(&other).expect("the other") == vec![9; SIZE]);
}

/// Nothing is said of paths that change and lead to the same file.
#[test]
fn files_that_are_still_there() {
    let scratch = Scratch::new("still");
    for (name, byte) in [("canary", 1), ("one", 2)] {
        fill(&scratch, name, byte);
    }
    symlink("one", scratch.path("link")).expect("a link");
    let mut watched = Watched::new(scratch, &["canary", "link"]);
    let at = |name: &str| watched.scratch.path(name);
    let (canary, away) = (at("canary"), at("away"));
    fs::hard_link(at("one"), at("two")).expect("a name");
    symlink("two", at("new")).expect("a link");
    fs::rename(at("new"), at("link")).expect("renamed");
    fs::remove_file(at("one")).expect("removed");
    // Looks are over when that of the first device has been twice.
    fs::rename(&canary, &away).expect("renamed");
    watched.expect("canary", "is not at");
    fs::rename(&away, &canary).expect("renamed");
    watched.expect_back("canary");
    assert_eq!(watched.trouble("link"), None);
    assert!(watched.warnings().is_empty());
}
