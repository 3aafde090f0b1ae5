//! `pagecast events`: what happens, line by line.

use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use jiff::tz::TimeZone;
use rustix::event::{PollFd, PollFlags, poll};
use serde_json::{Value, json};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::client::{self, ClientError};
use crate::failure::Failure;
use crate::render::EventLines;

/// Bytes of an event, at most.
const LONGEST_LINE: usize = 16 << 20;

/// Prints events until somebody interrupts it, nobody reads it any more, or the daemon ends.
pub(crate) fn events(socket: &Path, json: bool) -> Result<(), Failure> {
    let (interrupted, signals) = UnixStream::pair().map_err(broken)?;
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let signals = signals.try_clone().map_err(broken)?;
        signal_hook::low_level::pipe::register(signal, signals).map_err(broken)?;
    }
    let stream = client::connect(socket)?;
    let sent = (&stream).write_all(client::request("events", &json!({})).as_bytes());
    let output = io::stdout();
    let colour = output.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let mut printer = Printer {
        json,
        lines: EventLines::new(TimeZone::system(), colour),
        subscribed: false,
    };
    let mut lines = Lines::default();
    loop {
        match wait(&stream, &output, &interrupted).map_err(broken)? {
            Woken::Enough => return Ok(()),
            Woken::Readable => {}
        }
        if !lines.read(&stream).map_err(broken)? {
            let cause = match sent {
                Err(cause) if !printer.subscribed => cause,
                _ => io::ErrorKind::UnexpectedEof.into(),
            };
            return Err(broken(cause));
        }
        while let Some(line) = lines.next() {
            let text = printer.text(&line)?;
            let mut output = output.lock();
            match output
                .write_all(text.as_bytes())
                .and_then(|()| output.flush())
            {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                Err(error) => return Err(Failure::Output(error)),
            }
        }
    }
}

fn broken(cause: io::Error) -> Failure {
    ClientError::Broken(cause).into()
}

enum Woken {
    /// Somebody has interrupted us, or there is nobody left to tell.
    Enough,
    /// The daemon has something to say, or has gone.
    Readable,
}

fn wait(stream: &UnixStream, output: &impl AsFd, signals: &UnixStream) -> io::Result<Woken> {
    loop {
        let mut fds = [
            PollFd::new(signals, PollFlags::IN),
            // Nothing is asked for: POLLERR, which a pipe without a reader has, always comes.
            PollFd::new(output, PollFlags::empty()),
            PollFd::new(stream, PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let [signals, output, stream] = fds.map(|fd| fd.revents());
        if !signals.is_empty() || output.intersects(PollFlags::ERR | PollFlags::NVAL) {
            return Ok(Woken::Enough);
        }
        if !stream.is_empty() {
            return Ok(Woken::Readable);
        }
    }
}

struct Printer {
    json: bool,
    lines: EventLines,
    subscribed: bool,
}

impl Printer {
    /// What to print for a line of the daemon.
    fn text(&mut self, line: &[u8]) -> Result<String, ClientError> {
        if let Ok(Value::Object(mut message)) = serde_json::from_slice(line)
            && message.get("method").and_then(Value::as_str) == Some("event")
        {
            let event = message.remove("params").unwrap_or_default();
            return Ok(if self.json {
                format!("{event}\n")
            } else {
                self.lines.line(&event)
            });
        }
        client::result_of(line)?;
        self.subscribed = true;
        Ok(String::new())
    }
}

/// Bytes as they come, and the lines in them.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    /// Where there is no end of a line before.
    searched: usize,
}

impl Lines {
    /// Takes what is there. False if there will be no more.
    fn read(&mut self, mut stream: &UnixStream) -> io::Result<bool> {
        let mut chunk = [0; 1 << 16];
        let count = loop {
            match stream.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        if self.bytes.len() > LONGEST_LINE {
            return Err(io::Error::other("an event has no end"));
        }
        self.bytes.extend(chunk.iter().take(count));
        Ok(count > 0)
    }

    /// The next whole line, without its end.
    fn next(&mut self) -> Option<Vec<u8>> {
        let unsearched = self.bytes.get(self.searched..).unwrap_or_default();
        match unsearched.iter().position(|&byte| byte == b'\n') {
            Some(at) => {
                let rest = self.bytes.split_off(self.searched + at + 1);
                let mut line = std::mem::replace(&mut self.bytes, rest);
                line.pop();
                self.searched = 0;
                Some(line)
            }
            None => {
                self.searched = self.bytes.len();
                None
            }
        }
    }
}
