//! The server over a real socket, with a daemon that is made up.

mod changes;
mod clients;
mod devices;
mod events;
mod fake;
mod logs;
mod reports;
mod requests;
mod schema;
mod socket;
mod transactions;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::initiator_commands::Login;
use super::reports::*;
use super::server::MAX_CLIENTS;
use super::*;
use crate::config::{Config, Endpoint, Guid, Portal, ServiceId, TargetConfig, Transport};
use crate::events::{Closed, Event, EventKind, Events};
use fake::Fake;

/// What the command line's tests take for answers.
const REPORTS: &str = include_str!("../../../tools/pagecast/tests/reports.json");

/// A path for a socket of this test alone.
fn socket_path(test: &str) -> PathBuf {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let (process, serial) = (std::process::id(), SERIAL.fetch_add(1, Relaxed));
    let dir = std::env::temp_dir().join(format!("pagecast-rpc-{process}-{serial}-{test}"));
    let _ = fs::remove_dir_all(&dir);
    dir.join("run/control.sock")
}

fn remove(path: &Path) {
    let _ = path.ancestors().nth(2).map(fs::remove_dir_all);
}

/// A server of a made up daemon, and its directory.
struct Server {
    daemon: Arc<Fake>,
    server: Option<ControlServer>,
    path: PathBuf,
}

impl Server {
    fn start(test: &str) -> Self {
        Self::with(test, Fake::default())
    }

    fn with(test: &str, daemon: Fake) -> Self {
        let path = socket_path(test);
        let daemon = Arc::new(daemon);
        let started = ControlServer::start(&path, daemon.clone()).expect("started");
        Self {
            daemon,
            server: Some(started),
            path,
        }
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
