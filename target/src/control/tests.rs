//! The server over a real socket, with a daemon that is made up.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::initiator_commands::Login;
use super::reports::*;
use super::server::MAX_CLIENTS;
use super::*;
use crate::config::{Config, Endpoint, Guid, Portal, ServiceId, TargetConfig, Transport};
use crate::events::Events;

struct Fake;

const COUNTERS: DeviceCounters = DeviceCounters {
    reads: 200,
    read_bytes: 200 << 20,
    read_bytes_zero_copy: 198 << 20,
    writes: 10,
    write_bytes: 40960,
    write_bytes_zero_copy: 0,
    flushes: 2,
    discards: 0,
    window_hits: 198,
    window_misses: 2,
    window_registrations: 96,
    window_evictions: 0,
    windows: 96,
    pinned_bytes: 192 << 20,
    errors: 0,
};

impl Management for Fake {
    fn status(&self) -> Status {
        Status {
            state: DaemonState::Running,
            version: "0.1.0".to_owned(),
            pid: 4711,
            uptime_seconds: 93784,
            devices: 2,
            targets: 1,
            sessions: 1,
            connections: 4,
            adapters: vec![AdapterReport {
                name: "rxe0".to_owned(),
                node_guid: Guid(0x5054_00ff_fe00_0001).to_string(),
                on_demand_paging: false,
            }],
            warnings: vec!["targets[0].portals[1]: iser is not served".to_owned()],
        }
    }

    fn devices(&self) -> Vec<DeviceReport> {
        vec![DeviceReport {
            name: "disk0".to_owned(),
            backend: "file".to_owned(),
            path: Some("/srv/disk0.img".to_owned()),
            store: "file on ext4".to_owned(),
            state: DeviceState::Online,
            size: 192 << 20,
            block_size: 512,
            read_only: false,
            write_cache: true,
            naa: "37eb8b81d3ef3b1b".to_owned(),
            serial: "5af1d05e7a5ff7ae".to_owned(),
            uuid: "f86491d4-f922-8592-a9c3-147d80a5c7f4".to_owned(),
            zero_copy: ZeroCopyReport {
                mode: "pinned".to_owned(),
                why: "read-only registration of the page cache works".to_owned(),
            },
            reservations: DeviceReservations {
                enabled: true,
                kind: Some("write-exclusive-registrants-only".to_owned()),
                registrants: 3,
            },
            queue_depth: 128,
            queue_depth_max: 256,
            in_flight: 3,
            worst_time_us: 1500,
            counters: COUNTERS,
        }]
    }

    fn resize(
        &self,
        name: &str,
        size: Option<u64>,
        force: bool,
    ) -> Result<ResizeReport, ResizeError> {
        match (name, size) {
            ("disk0", Some(0)) => Err(ResizeError::Empty),
            ("disk0", Some(512)) if !force => Err(ResizeError::Destructive {
                size: 512,
                present: 192 << 20,
            }),
            ("disk0", size) => Ok(ResizeReport {
                name: name.to_owned(),
                size: size.unwrap_or(256 << 20),
                size_before: 192 << 20,
                block_size: 512,
            }),
            _ => Err(ResizeError::NoDevice),
        }
    }

    fn reservations(&self) -> Vec<ReservationReport> {
        let registrant =
            |key: u64, protocol: &str, initiator: &str, port: Option<u16>| RegistrantReport {
                key: format!("{key:#018x}"),
                protocol: protocol.to_owned(),
                initiator: initiator.to_owned(),
                target: port.map(|_| "store".to_owned()),
                target_port: port,
                holder: port == Some(2),
                live: port.is_some(),
            };
        let iscsi = "iqn.1993-08.org.debian:01:web,i,0x00023d000001";
        let none = ReservationReport {
            name: "ram0".to_owned(),
            enabled: false,
            kind: None,
            held_by_all: false,
            holders: Vec::new(),
            generation: 0,
            persistent: false,
            registrants_max: 0,
            registrants: Vec::new(),
        };
        let some = ReservationReport {
            name: "disk0".to_owned(),
            enabled: true,
            kind: Some("write-exclusive-registrants-only".to_owned()),
            held_by_all: false,
            holders: vec![iscsi.to_owned()],
            generation: 7,
            persistent: true,
            registrants_max: 4096,
            registrants: vec![
                registrant(1, "srp", "0x0000000000000000505400fffe000002", Some(1)),
                registrant(u64::MAX, "iscsi", iscsi, Some(2)),
                registrant(0xabc, "nvme", "f86491d4-f922-4592-a9c3-147d80a5c7f4", None),
            ],
        };
        vec![some, none]
    }

    fn clear_reservations(
        &self,
        name: &str,
        force: bool,
    ) -> Result<ReservationsCleared, ClearError> {
        match name {
            "disk0" if !force => Err(ClearError::InUse {
                one: "0x0000000000000000505400fffe000002".to_owned(),
                more: 1,
            }),
            "disk0" => Ok(ReservationsCleared {
                name: name.to_owned(),
                kind: Some("write-exclusive-registrants-only".to_owned()),
                registrants: 3,
            }),
            _ => Err(ClearError::NoDevice),
        }
    }

    fn targets(&self) -> Vec<TargetReport> {
        let config = target();
        let guid = Guid(0x7667_f24a_bc42_0cde);
        let lines = ["10.99.0.1:5555", "[2001:db8::1]:5555"]
            .map(|at| format!("id_ext={guid},ioc_guid={guid},dest={at}"));
        let service_id = ServiceId::new(0x0106_15b3).expect("good");
        let iqn = "iqn.2026-11.io.pagecast:store";
        let login = Login {
            transport: Transport::Iser,
            iqn,
            chap: None,
            discovery_chap: None,
        };
        let mut commands = login.commands("10.99.0.1:3260".parse().expect("an address"));
        commands.truncate(2);
        vec![TargetReport {
            name: config.name.to_string(),
            iqn: iqn.to_owned(),
            nqn: "nqn.2026-11.io.pagecast:store".to_owned(),
            srp: SrpReport {
                id_ext: guid.to_string(),
                ioc_guid: guid.to_string(),
            },
            portals: vec![
                PortalReport {
                    portal: config.portals[0],
                    listening: true,
                    why: None,
                },
                PortalReport {
                    portal: Portal {
                        transport: Transport::Srp,
                        endpoint: Endpoint::Service { service_id },
                    },
                    listening: false,
                    why: Some("no InfiniBand port".to_owned()),
                },
                PortalReport {
                    portal: config.portals[1],
                    listening: true,
                    why: None,
                },
            ],
            chap: config.chap,
            groups: config.groups,
            sessions: 1,
            initiator_commands: [
                (Transport::Srp, lines.to_vec()),
                (Transport::Iser, commands),
            ]
            .into(),
        }]
    }

    fn sessions(&self) -> Vec<SessionReport> {
        let web = SessionReport {
            id: 2,
            initiator: "iqn.1993-08.org.debian:01:web".to_owned(),
            target: "store".to_owned(),
            group: "web".to_owned(),
            transport: "iser".to_owned(),
            peer: "10.99.0.3".to_owned(),
            connections: 1,
            in_flight: 0,
        };
        let old = SessionReport {
            id: 1,
            initiator: "0x0000000000000000505400fffe000002".to_owned(),
            target: "store".to_owned(),
            group: "web".to_owned(),
            transport: "srp".to_owned(),
            peer: "10.99.0.2".to_owned(),
            connections: 4,
            in_flight: 3,
        };
        vec![old, web]
    }

    fn stats(&self) -> Stats {
        Stats {
            uptime_seconds: 93784,
            shards: 2,
            io_engine: "io_uring".to_owned(),
            sessions: 1,
            connections: 4,
            registered_bytes: 336_592_896,
            staged_bytes: 1 << 20,
            staged_limit_bytes: 128 << 20,
            pinned_bytes: 192 << 20,
            pinned_limit_bytes: 2 << 30,
            total: COUNTERS,
        }
    }

    fn change(&self, _: &[Edit]) -> Result<ChangeReport, ChangeError> {
        Err(ChangeError::Stopping)
    }

    fn reload(&self, _: bool) -> Result<ChangeReport, ChangeError> {
        Err(ChangeError::NoFile)
    }

    fn config(&self) -> ConfigReport {
        ConfigReport {
            file: None,
            config: json!({}),
        }
    }

    fn save_config(&self, _: &Path, _: bool) -> Result<SaveReport, ChangeError> {
        Err(ChangeError::Stopping)
    }

    fn close_session(&self, _: u64) -> Option<SessionReport> {
        None
    }

    fn events(&self) -> Subscription {
        Events::default().subscribe()
    }
}

fn target() -> TargetConfig {
    let text = r#"{
        "devices": [ { "name": "disk0", "backend": "memory", "size": "1MiB" },
                     { "name": "ram0", "backend": "memory", "size": "1MiB" } ],
        "targets": [ { "name": "store",
            "chap": { "user": "web", "secret": "open sesame now",
                      "mutual_user": "store", "mutual_secret": "close it again" },
            "portals": [ { "transport": "srp", "address": "0.0.0.0" },
                         { "transport": "iser", "address": "10.99.0.1" } ],
            "groups": [ { "name": "web", "initiators": ["10.99.0.?", "!10.99.0.9"],
                          "luns": { "0": "disk0", "7": "ram0" } },
                        { "name": "nobody", "initiators": [], "chap": { "user": "none", "secret": "open sesame now" } } ] } ] }"#;
    Config::parse(text, "test").expect("good").targets.remove(0)
}

/// A path for a socket of this test alone.
fn socket_path(test: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("pagecast-rpc-{}-{test}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    dir.join("run/control.sock")
}

fn remove(path: &Path) {
    let _ = path.ancestors().nth(2).map(fs::remove_dir_all);
}

/// A server of a made up daemon, and its directory.
struct Server {
    server: Option<ControlServer>,
    path: PathBuf,
}

impl Server {
    fn start(test: &str) -> Self {
        Self::with(test, Arc::new(Fake))
    }

    fn with(test: &str, daemon: Arc<dyn Management>) -> Self {
        let path = socket_path(test);
        let server = Some(ControlServer::start(&path, daemon).expect("started"));
        Self { server, path }
    }

    fn client(&self) -> Client {
        let stream = UnixStream::connect(&self.path).expect("connected");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("set");
        Client {
            lines: BufReader::new(stream),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.server = None;
        remove(&self.path);
    }
}

struct Client {
    lines: BufReader<UnixStream>,
}

impl Client {
    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.lines
            .get_mut()
            .write_all(bytes.as_ref())
            .expect("sent");
    }

    fn receive(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("received");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    fn ask(&mut self, line: &str) -> Value {
        self.send(format!("{line}\n"));
        self.receive()
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        let request = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        let answer = self.ask(&request.to_string());
        assert_eq!(
            (&answer["jsonrpc"], &answer["id"]),
            (&json!("2.0"), &json!(7))
        );
        answer
    }
}

fn error(code: i32, message: &str) -> Value {
    json!({ "code": code, "message": message })
}

#[test]
fn every_report_has_the_documented_shape() {
    let expected: Value =
        serde_json::from_str(include_str!("../../../tools/pagecast/tests/reports.json")).unwrap();
    let server = Server::start("reports");
    let mut client = server.client();
    for (method, params, expected) in [
        ("status", json!({}), expected["status"].clone()),
        (
            "device.list",
            json!({}),
            json!({ "devices": [expected["device.show"]] }),
        ),
        (
            "device.show",
            json!({ "name": "disk0" }),
            expected["device.show"].clone(),
        ),
        (
            "device.show",
            json!(["disk0"]),
            expected["device.show"].clone(),
        ),
        (
            "target.list",
            json!([]),
            json!({ "targets": [expected["target.show"]] }),
        ),
        (
            "target.show",
            json!({ "name": "store" }),
            expected["target.show"].clone(),
        ),
        (
            "device.resize",
            json!({ "name": "disk0" }),
            expected["device.resize"].clone(),
        ),
        (
            "reservation.show",
            json!({}),
            expected["reservation.show"].clone(),
        ),
        (
            "reservation.show",
            json!([null]),
            expected["reservation.show"].clone(),
        ),
        (
            "reservation.show",
            json!({ "name": "ram0" }),
            json!({ "reservations": [expected["reservation.show"]["reservations"][1]] }),
        ),
        (
            "reservation.clear",
            json!({ "name": "disk0", "force": true }),
            expected["reservation.clear"].clone(),
        ),
        ("session.list", json!({}), expected["session.list"].clone()),
        ("stats", json!({}), expected["stats"].clone()),
    ] {
        let answer = client.call(method, params);
        assert_eq!(answer["result"], expected, "{method}");
        assert_eq!(answer.get("error"), None);
    }
}

#[test]
fn the_schema_lists_every_method() {
    let server = Server::start("schema");
    let mut client = server.client();
    let answer = client.call("rpc.schema", json!({}));
    let methods = answer["result"]["methods"].as_array().expect("a list");
    let names: Vec<&str> = methods.iter().filter_map(|m| m["name"].as_str()).collect();
    assert_eq!(
        names,
        [
            "status",
            "device.list",
            "device.show",
            "device.resize",
            "reservation.show",
            "reservation.clear",
            "target.list",
            "target.show",
            "session.list",
            "stats",
            "rpc.schema"
        ]
    );
    let of = |param: &str| {
        let params = methods[3]["params"].as_array().expect("a list");
        let is = |p: &&Value| p["name"] == param;
        params.iter().find(is).expect("a parameter").clone()
    };
    assert_eq!(of("size")["type"], "size");
    assert_eq!(of("size")["required"], false);
    assert_eq!(of("force")["type"], "boolean");
    assert_eq!(
        methods[2],
        json!({ "name": "device.show",
                "description": "one device: size, zero-copy mode, queue depth, counters",
                "params": [ { "name": "name", "type": "string", "required": true,
                              "description": "which one" } ] })
    );
}

#[test]
fn sizes_and_flags() {
    let server = Server::start("sizes");
    let mut client = server.client();
    for (params, size) in [
        (json!({ "name": "disk0", "size": 4096 }), 4096),
        (json!({ "name": "disk0", "size": "4096" }), 4096),
        (json!({ "name": "disk0", "size": "1 GiB" }), 1 << 30),
        (json!({ "name": "disk0", "size": null }), 256 << 20),
        (json!({ "name": "disk0", "force": true }), 256 << 20),
        (json!({ "name": "disk0", "force": true, "size": 512 }), 512),
        (json!(["disk0", null, true]), 256 << 20),
        (json!(["disk0", "512", true]), 512),
    ] {
        let answer = client.call("device.resize", params.clone());
        assert_eq!(answer["result"]["size"], size, "{params}: {answer}");
    }
    let refused = -32002;
    let invalid = -32602;
    for (params, code, message) in [
        (json!({}), invalid, "device.resize needs the parameter"),
        (
            json!([null]),
            invalid,
            "the parameter \"name\" must be a string",
        ),
        (
            json!(["disk0", "much"]),
            invalid,
            "the parameter \"size\" must be a number of bytes, or a size such as \"10GiB\"",
        ),
        (json!(["disk0", -1]), invalid, "the parameter \"size\""),
        (json!(["disk0", 1.5]), invalid, "the parameter \"size\""),
        (json!(["disk0", true]), invalid, "the parameter \"size\""),
        (
            json!(["disk0", 512, "yes"]),
            invalid,
            "the parameter \"force\" must be true or false",
        ),
        (
            json!(["disk0", 512]),
            refused,
            "device disk0: 512 bytes are less than",
        ),
        (json!(["disk0", 512, false]), refused, "device disk0: "),
        (
            json!(["disk0", 0, true]),
            refused,
            "device disk0: a disk without",
        ),
        (
            json!(["disk1"]),
            -32001,
            "there is no device \"disk1\"; did you mean `disk0`?",
        ),
    ] {
        let answer = client.call("device.resize", params.clone());
        assert_eq!(answer["error"]["code"], code, "{params}: {answer}");
        let text = answer["error"]["message"].as_str().expect("a message");
        assert!(text.starts_with(message), "{params}: {text}");
    }
}

#[test]
fn reservations_that_are_not_cleared() {
    let server = Server::start("clear");
    let mut client = server.client();
    for (method, params, code, message) in [
        (
            "reservation.clear",
            json!(["disk0"]),
            -32002,
            "device disk0: 0x0000000000000000505400fffe000002 and 1 more are logged in and registered, and other hosts could write \
             as soon as the reservation is gone; log them out first, or say so (\"force\", --force)",
        ),
        (
            "reservation.clear",
            json!(["disk1", true]),
            -32001,
            "there is no device \"disk1\"; did you mean `disk0`?",
        ),
        (
            "reservation.show",
            json!(["ram1"]),
            -32001,
            "there is no device \"ram1\"; did you mean `ram0`?",
        ),
        (
            "reservation.clear",
            json!({}),
            -32602,
            "reservation.clear needs the parameter \"name\"",
        ),
    ] {
        let answer = client.call(method, params.clone());
        assert_eq!(answer["error"], error(code, message), "{params}");
    }
}

#[test]
fn wrong_requests() {
    let server = Server::start("wrong");
    let mut client = server.client();
    for (line, id, expected) in [
        (
            "nonsense",
            Value::Null,
            error(
                -32700,
                "this line is not JSON: expected ident at line 1 column 2",
            ),
        ),
        (
            "{\"jsonrpc\":",
            Value::Null,
            error(
                -32700,
                "this line is not JSON: EOF while parsing a value at line 1 column 11",
            ),
        ),
        ("7", Value::Null, error(-32600, "a request is an object")),
        ("[]", Value::Null, error(-32600, "an empty batch")),
        (
            r#"{"id":1,"method":"status"}"#,
            json!(1),
            error(-32600, "a request has \"jsonrpc\": \"2.0\""),
        ),
        (
            r#"{"jsonrpc":"1.0","id":1,"method":"status"}"#,
            json!(1),
            error(-32600, "a request has \"jsonrpc\": \"2.0\""),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1}"#,
            json!(1),
            error(-32600, "a request has a method"),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":2}"#,
            json!(1),
            error(-32600, "the method is not a string"),
        ),
        (
            r#"{"jsonrpc":"2.0","id":{},"method":"status"}"#,
            Value::Null,
            error(-32600, "the id is not a string or a number"),
        ),
        (
            r#"{"jsonrpc":"2.0","id":"a","method":"status","parms":[]}"#,
            json!("a"),
            error(
                -32600,
                "a request has jsonrpc, method, params and id, and nothing else",
            ),
        ),
        (
            r#"{"jsonrpc":"2.0","id":"a","method":"device.shwo"}"#,
            json!("a"),
            error(
                -32601,
                "no method \"device.shwo\"; did you mean `device.show`?",
            ),
        ),
        (
            r#"{"jsonrpc":"2.0","id":2,"method":"frob"}"#,
            json!(2),
            error(
                -32601,
                "no method \"frob\"; known are `status`, `device.list`, `device.show`, `device.resize`, `reservation.show`, `reservation.clear`, `target.list`, `target.show`, `session.list`, `stats`, `rpc.schema`",
            ),
        ),
        (
            r#"{"jsonrpc":"2.0","id":2,"method":"device.show"}"#,
            json!(2),
            error(-32602, "device.show needs the parameter \"name\""),
        ),
        (
            r#"{"jsonrpc":"2.0","id":2,"method":"device.show","params":{"nmae":"a"}}"#,
            json!(2),
            error(
                -32602,
                "device.show has no parameter \"nmae\"; did you mean `name`?",
            ),
        ),
        (
            r#"{"jsonrpc":"2.0","id":2,"method":"device.show","params":{"name":7}}"#,
            json!(2),
            error(-32602, "the parameter \"name\" must be a string"),
        ),
        (
            r#"{"jsonrpc":"2.0","id":2,"method":"device.show","params":["a","b"]}"#,
            json!(2),
            error(-32602, "device.show takes 1 parameters, not 2"),
        ),
        (
            r#"{"jsonrpc":"2.0","id":2,"method":"device.show","params":"a"}"#,
            json!(2),
            error(-32602, "params is neither an object nor a list"),
        ),
        (
            r#"{"jsonrpc":"2.0","id":2,"method":"status","params":{"name":"a"}}"#,
            json!(2),
            error(-32602, "status has no parameter \"name\"; it takes none"),
        ),
        (
            r#"{"jsonrpc":"2.0","id":2,"method":"device.show","params":{"name":"disk1"}}"#,
            json!(2),
            error(
                -32001,
                "there is no device \"disk1\"; did you mean `disk0`?",
            ),
        ),
        (
            r#"{"jsonrpc":"2.0","id":2,"method":"target.show","params":{"name":"x"}}"#,
            json!(2),
            error(-32001, "there is no target \"x\"; known are `store`"),
        ),
    ] {
        let answer = client.ask(line);
        assert_eq!(
            answer,
            json!({ "jsonrpc": "2.0", "id": id, "error": expected }),
            "{line}"
        );
    }
    // The same connection still works.
    assert!(client.call("status", json!({})).get("result").is_some());

    client.send(b"\xff\xfe\n");
    assert_eq!(client.receive()["error"]["code"], -32700);
    client.send(format!("{}\n", "[".repeat(100_000)));
    assert_eq!(client.receive()["error"]["code"], -32700);
}

#[test]
fn batches_and_notifications() {
    let server = Server::start("batch");
    let mut client = server.client();
    let answer = client.ask(
        r#"[{"jsonrpc":"2.0","id":1,"method":"stats"},{"jsonrpc":"2.0","method":"stats"},1,{"jsonrpc":"2.0","id":2,"method":"x"}]"#,
    );
    let codes: Vec<&Value> = answer
        .as_array()
        .unwrap()
        .iter()
        .map(|a| &a["error"]["code"])
        .collect();
    assert_eq!(codes, [&Value::Null, &json!(-32600), &json!(-32601)]);

    // Nobody is told of notifications; blank lines are nothing.
    client.send("{\"jsonrpc\":\"2.0\",\"method\":\"stats\"}\n\n \r\n");
    client.send("[{\"jsonrpc\":\"2.0\",\"method\":\"nonsense\"}]\n");
    assert_eq!(client.call("status", json!({}))["result"]["pid"], 4711);

    let many = format!("[{}]", vec!["1"; 101].join(","));
    assert_eq!(client.ask(&many)["error"]["code"], -32600);
}

#[test]
fn requests_may_come_in_any_pieces() {
    let server = Server::start("pieces");
    let mut client = server.client();
    for byte in b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}\r\n" {
        client.send([*byte]);
    }
    assert_eq!(client.receive()["id"], 1);

    let two = r#"{"jsonrpc":"2.0","id":1,"method":"status"}"#;
    client.send(format!("{two}\n{two}\n{two}"));
    client
        .lines
        .get_ref()
        .shutdown(Shutdown::Write)
        .expect("shut");
    for _ in 0..3 {
        assert_eq!(client.receive()["id"], 1);
    }
    let mut rest = String::new();
    assert_eq!(client.lines.read_to_string(&mut rest).expect("the end"), 0);
}

#[test]
fn long_lines_are_refused_and_the_next_served() {
    let server = Server::start("long");
    let mut client = server.client();
    client.send(vec![b' '; (1 << 20) + 1]);
    // Before the line has ended.
    let answer = client.receive();
    assert_eq!(
        answer["error"],
        error(-32600, "a request of more than 1048576 bytes")
    );
    client.send(vec![b' '; 3 << 20]);
    client.send("\n");
    assert_eq!(client.call("status", json!({}))["result"]["pid"], 4711);
}

/// Answers with more than a socket buffers.
struct Chatty(Arc<AtomicU32>);

impl Management for Chatty {
    fn status(&self) -> Status {
        self.0.fetch_add(1, Relaxed);
        Status {
            warnings: vec!["x".repeat(4 << 20)],
            ..Fake.status()
        }
    }

    fn devices(&self) -> Vec<DeviceReport> {
        panic!("a report that panics")
    }

    fn resize(&self, _: &str, _: Option<u64>, _: bool) -> Result<ResizeReport, ResizeError> {
        Err(ResizeError::Busy)
    }

    fn reservations(&self) -> Vec<ReservationReport> {
        Vec::new()
    }

    fn clear_reservations(&self, _: &str, _: bool) -> Result<ReservationsCleared, ClearError> {
        Err(ClearError::Stopping)
    }

    fn targets(&self) -> Vec<TargetReport> {
        Vec::new()
    }

    fn sessions(&self) -> Vec<SessionReport> {
        Vec::new()
    }

    fn stats(&self) -> Stats {
        Fake.stats()
    }

    fn change(&self, _: &[Edit]) -> Result<ChangeReport, ChangeError> {
        Err(ChangeError::Stopping)
    }

    fn reload(&self, _: bool) -> Result<ChangeReport, ChangeError> {
        Err(ChangeError::NoFile)
    }

    fn config(&self) -> ConfigReport {
        ConfigReport {
            file: None,
            config: json!({}),
        }
    }

    fn save_config(&self, _: &Path, _: bool) -> Result<SaveReport, ChangeError> {
        Err(ChangeError::Stopping)
    }

    fn close_session(&self, _: u64) -> Option<SessionReport> {
        None
    }

    fn events(&self) -> Subscription {
        Events::default().subscribe()
    }
}

#[test]
fn a_client_that_does_not_read_holds_up_nobody() {
    let asked = Arc::new(AtomicU32::new(0));
    let server = Server::with("slow", Arc::new(Chatty(Arc::clone(&asked))));
    let mut slow = server.client();
    slow.send("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}\n");
    while asked.load(Relaxed) == 0 {
        thread::sleep(Duration::from_millis(1));
    }
    let before = Instant::now();
    assert_eq!(
        server.client().call("stats", json!({}))["result"]["shards"],
        2
    );
    assert!(
        before.elapsed() < Duration::from_secs(5),
        "{:?}",
        before.elapsed()
    );
    // Nor the end of the daemon.
    let before = Instant::now();
    drop(server);
    assert!(
        before.elapsed() < Duration::from_secs(5),
        "{:?}",
        before.elapsed()
    );
}

#[test]
fn a_report_that_panics_costs_that_client_alone() {
    let server = Server::with("panic", Arc::new(Chatty(Arc::default())));
    let mut client = server.client();
    client.send("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"device.list\"}\n");
    let mut rest = String::new();
    assert_eq!(client.lines.read_to_string(&mut rest).expect("the end"), 0);
    assert_eq!(
        server.client().call("stats", json!({}))["result"]["shards"],
        2
    );
}

#[test]
fn clients_are_bounded() {
    let server = Server::start("bounded");
    let mut clients: Vec<Client> = (0..MAX_CLIENTS).map(|_| server.client()).collect();
    for client in &mut clients {
        client.call("stats", json!({}));
    }
    let answer = server.client().receive();
    assert_eq!(
        answer["error"],
        error(-32000, "64 clients are connected; try again later")
    );
    // The places of those that go are free again.
    clients.clear();
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let mut client = server.client();
        // The one that is turned away may find its socket closed already.
        let request = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"stats\"}\n";
        let _ = client.lines.get_mut().write_all(request);
        if client.receive().get("result").is_some() {
            break;
        }
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_socket_is_for_owner_and_group_and_goes_with_the_server() {
    let mut server = Server::start("mode");
    let mode = fs::metadata(&server.path)
        .expect("there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o660);
    let mut idle = server.client();
    idle.call("status", json!({}));
    server.server = None;
    assert!(!server.path.exists());
    let mut rest = String::new();
    assert_eq!(idle.lines.read_to_string(&mut rest).expect("the end"), 0);
}

#[test]
fn a_live_socket_is_refused_and_a_dead_one_replaced() {
    let server = Server::start("live");
    let second = ControlServer::start(&server.path, Arc::new(Fake)).expect_err("taken");
    assert!(matches!(second, SocketError::Taken { .. }), "{second}");
    assert!(
        second
            .to_string()
            .contains("give this one another with --socket"),
        "{second}"
    );
    assert_eq!(
        server.client().call("stats", json!({}))["result"]["shards"],
        2
    );

    let path = socket_path("dead");
    fs::create_dir_all(path.parent().expect("a parent")).unwrap();
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let server = ControlServer::start(&path, Arc::new(Fake)).expect("replaced");
    UnixStream::connect(&path).expect("connected");
    drop(server);
    remove(&path);
}

#[test]
fn what_is_not_a_socket_is_left_alone() {
    let path = socket_path("file");
    fs::create_dir_all(path.parent().expect("a parent")).unwrap();
    fs::write(&path, "precious").unwrap();
    let error = ControlServer::start(&path, Arc::new(Fake)).expect_err("refused");
    assert!(matches!(error, SocketError::NotASocket { .. }), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");

    let long = path.with_file_name("x".repeat(200));
    let error = ControlServer::start(&long, Arc::new(Fake)).expect_err("refused");
    assert!(matches!(error, SocketError::TooLong { .. }), "{error}");

    let below = path.join("control.sock");
    let error = ControlServer::start(&below, Arc::new(Fake)).expect_err("refused");
    assert!(matches!(error, SocketError::System { .. }), "{error}");
    remove(&path);
}

/// A file that another daemon made in the meantime is not ours to remove.
#[test]
fn only_our_own_file_is_removed() {
    let path = socket_path("replaced");
    let server = ControlServer::start(&path, Arc::new(Fake)).expect("started");
    fs::remove_file(&path).unwrap();
    let other = UnixListener::bind(&path).unwrap();
    drop(server);
    assert!(path.exists());
    drop(other);
    remove(&path);
}
