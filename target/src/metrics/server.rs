//! Where Prometheus reads: a small HTTP/1.1 server that knows two pages.
//!
//! One thread accepts, and each client has one of its own for its one request: no more than so many at a time, and none for longer
//! than so long. What it asks of the daemon are snapshots, so that nothing here holds up anything.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use thiserror::Error;
use tracing::{debug, warn};

use super::sums::SessionSums;
use super::text::{CONTENT_TYPE, Snapshot};
use crate::acceptor::Acceptor;
use crate::config::MetricsConfig;
use crate::control::Management;

/// Clients at a time.
const MAX_CLIENTS: usize = 16;
/// How long a client may take for its request, and again for the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of a request.
const MAX_REQUEST: usize = 8 << 10;
/// Header lines of a request.
const MAX_HEADERS: usize = 64;
/// Bytes that are read of what a client sends beyond its request, so that it is not reset before it has read the answer.
const MAX_REST: usize = 64 << 10;

/// Why the metrics are not served.
#[derive(Debug, Error)]
pub enum MetricsError {
    /// The port cannot be had.
    #[error(
        "\"metrics\": cannot listen on {at}: {source}; give it another \"address\" or \"port\", or remove \"metrics\""
    )]
    Listen {
        /// Where.
        at: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The system refused something basic.
    #[error("\"metrics\": {0}")]
    System(io::Error),
}

/// Serves metrics until it is dropped, which ends every client.
#[derive(Debug)]
pub struct MetricsServer {
    address: SocketAddr,
    _acceptor: Acceptor,
}

impl MetricsServer {
    /// Listens as configured, and serves what the daemon tells. It does not keep the daemon, which may keep it.
    pub fn start(
        config: &MetricsConfig,
        daemon: Weak<dyn Management>,
    ) -> Result<Self, MetricsError> {
        let at = SocketAddr::new(config.address, config.port);
        let listen = |source| MetricsError::Listen { at, source };
        let listener = TcpListener::bind(at).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let clients = Serving::default();
        let mut serial = 0;
        let accept = move |listener: &TcpListener| {
            let (stream, _) = listener.accept()?;
            serial += 1;
            clients.0.admit(serial, stream, &daemon);
            Ok(())
        };
        let acceptor =
            Acceptor::start("metrics", listener, accept).map_err(MetricsError::System)?;
        tracing::info!(%address, "metrics are served");
        Ok(Self {
            address,
            _acceptor: acceptor,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Ends all clients when nobody accepts any more.
#[derive(Default)]
struct Serving(Arc<Clients>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// The clients that are being served, by serial number.
#[derive(Default)]
struct Clients {
    list: Mutex<HashMap<u64, Client>>,
    /// What they were told of sessions.
    sums: Mutex<SessionSums>,
}

/// What it takes to end a client.
struct Client {
    stream: TcpStream,
    /// Set once it runs.
    thread: Option<JoinHandle<()>>,
}

impl Clients {
    fn admit(self: &Arc<Self>, serial: u64, stream: TcpStream, daemon: &Weak<dyn Management>) {
        if self.lock().len() >= MAX_CLIENTS {
            // This thread waits for nobody: the answer is short and fits the socket's buffer, and if the request has yet to come, the
            // client may see a reset instead.
            let _ = stream.set_nonblocking(true);
            let _ = (&stream).read(&mut [0; 1024]);
            let _ = Answer::plain("503 Service Unavailable", "too many clients\n").send(&stream);
            return;
        }
        let Ok(copy) = stream.try_clone() else {
            return;
        };
        let client = Client {
            stream: copy,
            thread: None,
        };
        self.lock().insert(serial, client);
        let leave = Leave {
            clients: Arc::clone(self),
            serial,
        };
        let daemon = Weak::clone(daemon);
        let serve = move || {
            let leave = leave;
            if let Err(error) = serve(&stream, &daemon, &leave.clients.sums) {
                debug!(%error, "a client of the metrics port");
            }
        };
        let thread = thread::Builder::new()
            .name("metrics client".to_owned())
            .spawn(serve);
        match (thread, self.lock().get_mut(&serial)) {
            (Ok(thread), Some(client)) => client.thread = Some(thread),
            // It is done already.
            (Ok(_), None) => {}
            (Err(error), _) => warn!(%error, "cannot serve a client of the metrics port"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Client>> {
        // The map is whole at every moment, whoever panicked.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends all of them and waits for their threads.
    fn end(&self) {
        let all: Vec<Client> = self.lock().drain().map(|(_, client)| client).collect();
        for client in &all {
            // One that has gone by itself is as good.
            let _ = client.stream.shutdown(Shutdown::Both);
        }
        for thread in all.into_iter().filter_map(|client| client.thread) {
            // It has nothing to say, not even if it panicked.
            let _ = thread.join();
        }
    }
}

/// Removes a client from the list when its thread ends, however it ends.
struct Leave {
    clients: Arc<Clients>,
    serial: u64,
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.clients.lock().remove(&self.serial);
    }
}

/// One request, one answer, and the connection is closed.
fn serve(
    stream: &TcpStream,
    daemon: &Weak<dyn Management>,
    sums: &Mutex<SessionSums>,
) -> io::Result<()> {
    // Whether an accepted socket blocks is not the listener's to say on Linux; on others it is.
    stream.set_nonblocking(false)?;
    let _ = stream.set_nodelay(true);
    let answer = match read_request(stream)? {
        Request::Page { path, head } => Answer {
            head,
            ..match daemon.upgrade() {
                Some(daemon) => page(&path, &*daemon, sums),
                None => Answer::plain("503 Service Unavailable", "the daemon is stopping\n"),
            }
        },
        Request::Method => Answer {
            more: "Allow: GET, HEAD\r\n",
            ..Answer::plain(
                "405 Method Not Allowed",
                "only GET and HEAD are served here\n",
            )
        },
        Request::TooLong => Answer::plain(
            "431 Request Header Fields Too Large",
            "the request is too long\n",
        ),
        Request::Malformed => Answer::plain("400 Bad Request", "this is not HTTP/1.1\n"),
        Request::Gone => return Ok(()),
    };
    answer.send(stream)?;
    stream.shutdown(Shutdown::Write)?;
    // A socket that is closed with something unread resets the connection, and with it what was sent last.
    drain(stream)
}

fn page(path: &str, daemon: &dyn Management, sums: &Mutex<SessionSums>) -> Answer {
    match path {
        "/metrics" => Answer {
            content_type: CONTENT_TYPE,
            ..Answer::plain("200 OK", &Snapshot::take(daemon, sums).text())
        },
        "/" => Answer {
            content_type: "text/html; charset=utf-8",
            ..Answer::plain(
                "200 OK",
                "<!DOCTYPE html><title>pagecast</title><p>pagecast: the metrics are at <a href=\"/metrics\">/metrics</a>.\n",
            )
        },
        _ => Answer::plain("404 Not Found", "there is /metrics\n"),
    }
}

/// What a client wants.
#[derive(Debug, PartialEq, Eq)]
enum Request {
    /// A page.
    Page {
        /// The path without its query.
        path: String,
        /// Only what would come before it (RFC 9110 section 9.3.2).
        head: bool,
    },
    /// Something else.
    Method,
    /// No request, as it does not end.
    TooLong,
    /// No request.
    Malformed,
    /// It has gone without one.
    Gone,
}

/// Reads a request's head. Bodies are of no interest.
fn read_request(stream: &TcpStream) -> io::Result<Request> {
    let until = Instant::now() + PATIENCE;
    let mut head = Vec::with_capacity(1024);
    let mut piece = [0; 1024];
    loop {
        let bytes = read_before(stream, until, &mut piece)?;
        if bytes == 0 && head.is_empty() {
            return Ok(Request::Gone);
        }
        if bytes == 0 {
            return Ok(Request::Malformed);
        }
        head.extend_from_slice(piece.get(..bytes).unwrap_or_default());
        // Whatever is beyond that belongs to a body, or makes the head too long.
        let within = head.get(..MAX_REQUEST).unwrap_or(&head);
        if let Some(request) = parse(within) {
            return Ok(request);
        }
        if head.len() >= MAX_REQUEST {
            return Ok(Request::TooLong);
        }
    }
}

/// Makes a request of what has come so far; none if that is not all of it.
fn parse(head: &[u8]) -> Option<Request> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Partial) => return None,
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Some(Request::TooLong),
        Err(_) => return Some(Request::Malformed),
    }
    let path = path_of(request.path.unwrap_or_default()).to_owned();
    Some(match request.method {
        Some("GET") => Request::Page { path, head: false },
        Some("HEAD") => Request::Page { path, head: true },
        _ => Request::Method,
    })
}

/// The path in a request's target, without its query. The target may be a whole URL: every server takes those (RFC 9112 section 3.2.2),
/// and here it is of no matter whose name is in it.
fn path_of(target: &str) -> &str {
    let target = target.split_once('?').map_or(target, |(path, _)| path);
    match target.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => {
            rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/")
        }
        _ => target,
    }
}

/// Reads before it is too late, however slowly the bytes come.
fn read_before(mut stream: &TcpStream, until: Instant, into: &mut [u8]) -> io::Result<usize> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    stream.set_read_timeout(Some(left))?;
    match stream.read(into) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            read_before(stream, until, into)
        }
        read => read,
    }
}

/// Reads what is left until the client has closed its end, within reason.
fn drain(stream: &TcpStream) -> io::Result<()> {
    let until = Instant::now() + PATIENCE;
    let mut piece = [0; 1024];
    let mut left = MAX_REST;
    loop {
        let bytes = read_before(stream, until, &mut piece)?;
        left = left.saturating_sub(bytes);
        if bytes == 0 || left == 0 {
            return Ok(());
        }
    }
}

/// An answer.
struct Answer {
    status: &'static str,
    content_type: &'static str,
    /// Further header lines.
    more: &'static str,
    body: String,
    /// The body is not sent.
    head: bool,
}

impl Answer {
    fn plain(status: &'static str, body: &str) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            more: "",
            body: body.to_owned(),
            head: false,
        }
    }

    fn send(&self, mut stream: &TcpStream) -> io::Result<()> {
        let Self {
            status,
            content_type,
            more,
            body,
            head: without_body,
        } = self;
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n{more}Connection: close\r\n\r\n",
            body.len()
        );
        let body = if *without_body { "" } else { body };
        let message = [head.as_bytes(), body.as_bytes()].concat();
        let until = Instant::now() + PATIENCE;
        let mut rest = &message[..];
        while !rest.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            stream.set_write_timeout(Some(left))?;
            match stream.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => rest = rest.get(bytes..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "tests/server.rs"]
mod tests;
