//! A daemon in a process of its own.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// A directory that goes with the test.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("pagecast-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("a directory");
        let scratch = Self(path);
        // Without a portal it needs no port and no RDMA.
        let text = r#"{ "shards": 1, "staging_memory": "4MiB",
            "devices": [ { "name": "d0", "backend": "memory", "size": "1MiB" }, { "name": "d1", "backend": "memory", "size": "1MiB" } ],
            "targets": [ { "name": "t0", "groups": [ { "name": "g0", "initiators": [ "*" ] } ] },
                         { "name": "t1", "groups": [ { "name": "g1", "initiators": [ "iqn.x:i1" ], "luns": { "0": "d0" } } ] } ] }"#;
        fs::write(scratch.config(), text).expect("written");
        scratch
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.0.join("config.json")
    }

    fn socket(&self) -> PathBuf {
        self.0.join("sock")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running daemon, with a client connected.
pub(crate) struct Daemon {
    child: Child,
    stream: UnixStream,
    lines: BufReader<UnixStream>,
}

impl Daemon {
    /// Starts it and waits until it is ready.
    pub(crate) fn start(scratch: &Scratch) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pagecastd"))
            .arg("--config")
            .arg(scratch.config())
            .arg("--state-dir")
            .arg(scratch.0.join("state"))
            .arg("--socket")
            .arg(scratch.socket())
            .args(["--log", "error"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let mut ready = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        output.read_line(&mut ready).expect("a line");
        assert_eq!(ready, "ready\n", "it starts with the file as it is");
        let stream = connect(&scratch.socket());
        let lines = BufReader::new(stream.try_clone().expect("cloned"));
        Self {
            child,
            stream,
            lines,
        }
    }

    /// Calls a method and waits for the answer.
    pub(crate) fn call(&mut self, method: &str, params: &str) -> Value {
        self.send(method, params);
        self.answer().expect("an answer")
    }

    /// Calls a method, waits so long, and kills the daemon. Says whether it had answered, and whether that was with a result.
    pub(crate) fn ask_and_kill(
        mut self,
        method: &str,
        params: &str,
        wait: Duration,
    ) -> Option<bool> {
        self.send(method, params);
        thread::sleep(wait);
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
        // What it wrote before is still in the socket.
        let answer = self.answer()?;
        Some(answer.get("result").is_some())
    }

    fn send(&mut self, method: &str, params: &str) {
        let line = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{method}\",\"params\":{params}}}\n"
        );
        self.stream.write_all(line.as_bytes()).expect("sent");
    }

    fn answer(&mut self) -> Option<Value> {
        let mut line = String::new();
        let read = self.lines.read_line(&mut line);
        if read.ok()? == 0 {
            return None;
        }
        serde_json::from_str(&line).ok()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The socket is there a moment after `ready`, or before.
fn connect(path: &Path) -> UnixStream {
    for _ in 0..500 {
        if let Ok(stream) = UnixStream::connect(path) {
            return stream;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("nobody listens on {}", path.display());
}
