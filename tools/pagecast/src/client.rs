//! Calls over the control socket.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

/// How long the daemon may take to answer. What it has to wait for, such as commands in flight, it waits for a few times 10 seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes of an answer, at most.
const LONGEST_ANSWER: u64 = 256 << 20;

/// Why there is no result.
#[derive(Debug)]
pub(crate) enum ClientError {
    /// No daemon at the socket.
    Connect { socket: PathBuf, cause: io::Error },
    /// No answer for so long.
    Silent(Duration),
    /// The connection broke.
    Broken(io::Error),
    /// One of these two, after a change was asked for.
    InDoubt(Box<ClientError>),
    /// What came was no answer.
    Nonsense(String),
    /// The daemon said no, and why.
    Refused(Refusal),
}

/// The error object of an answer.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// For people.
    message: String,
    /// All of it.
    error: Value,
}

impl ClientError {
    /// As an object, for programs: that of the daemon if it has said something.
    pub(crate) fn object(&self) -> Value {
        match self {
            Self::Refused(refusal) => refusal.error.clone(),
            error => json!({ "message": error.to_string() }),
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { socket, cause } => {
                let socket = socket.display();
                match cause.kind() {
                    io::ErrorKind::NotFound => write!(
                        f,
                        "there is no control socket {socket}; is pagecastd running? \
                         Start it, or name its socket with --socket"
                    ),
                    io::ErrorKind::ConnectionRefused => write!(
                        f,
                        "nobody serves the control socket {socket}; pagecastd has ended without removing it: \
                         start it again, or name another socket with --socket"
                    ),
                    io::ErrorKind::PermissionDenied => write!(
                        f,
                        "may not use the control socket {socket}; run this as root, \
                         or as a member of the socket's group"
                    ),
                    _ => write!(
                        f,
                        "cannot connect to the control socket {socket}: {cause}; \
                         name the socket of a running pagecastd with --socket"
                    ),
                }
            }
            Self::Silent(patience) => write!(
                f,
                "pagecastd did not answer within {} seconds",
                patience.as_secs()
            ),
            Self::Broken(cause) => write!(f, "the connection to pagecastd broke: {cause}"),
            Self::InDoubt(cause) => write!(
                f,
                "{cause}; the change may have been made, or may still be: see what there is before asking for it again"
            ),
            Self::Nonsense(what) => write!(
                f,
                "pagecastd answered with {what}; are both of the same version?"
            ),
            Self::Refused(Refusal { message, .. }) => f.write_str(message),
        }
    }
}

/// A connection to the daemon.
#[derive(Debug)]
pub(crate) struct Client {
    stream: BufReader<UnixStream>,
    patience: Duration,
}

impl Client {
    pub(crate) fn connect(socket: &Path, patience: Duration) -> Result<Self, ClientError> {
        let stream = connect(socket)?;
        stream
            .set_read_timeout(Some(patience))
            .and_then(|()| stream.set_write_timeout(Some(patience)))
            .map_err(|cause| broken(cause, patience))?;
        Ok(Self {
            stream: BufReader::new(stream),
            patience,
        })
    }

    /// Calls a method and returns its result. After an error other than [`ClientError::Refused`] the connection is of no more use.
    pub(crate) fn call(&mut self, method: &str, params: &Value) -> Result<Value, ClientError> {
        let request = request(method, params);
        let lost = |cause| {
            let error = broken(cause, self.patience);
            if only_looks(method) {
                error
            } else {
                ClientError::InDoubt(Box::new(error))
            }
        };
        // A daemon that turns us away answers without having read this: its answer counts, and not that this failed.
        let sent = self.stream.get_mut().write_all(request.as_bytes());
        let mut line = Vec::new();
        let received = (&mut self.stream)
            .take(LONGEST_ANSWER)
            .read_until(b'\n', &mut line);
        if line.is_empty() {
            sent.and(received).map_err(lost)?;
            return Err(lost(io::ErrorKind::UnexpectedEof.into()));
        }
        result_of(&line)
    }
}

/// A connection and nothing more.
pub(crate) fn connect(socket: &Path) -> Result<UnixStream, ClientError> {
    UnixStream::connect(socket).map_err(|cause| ClientError::Connect {
        socket: socket.to_owned(),
        cause,
    })
}

/// The line that calls a method.
pub(crate) fn request(method: &str, params: &Value) -> String {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    format!("{request}\n")
}

/// Whether a method changes nothing.
fn only_looks(method: &str) -> bool {
    let verb = method.rsplit('.').next().unwrap_or(method);
    ["status", "stats", "list", "show", "schema", "events"].contains(&verb)
}

fn broken(cause: io::Error, patience: Duration) -> ClientError {
    match cause.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ClientError::Silent(patience),
        _ => ClientError::Broken(cause),
    }
}

/// The result in an answer.
pub(crate) fn result_of(line: &[u8]) -> Result<Value, ClientError> {
    let answer: Value = serde_json::from_slice(line)
        .map_err(|error| ClientError::Nonsense(format!("something that is not JSON ({error})")))?;
    let Value::Object(mut answer) = answer else {
        return Err(ClientError::Nonsense(
            "something that is not an object".to_owned(),
        ));
    };
    match (answer.remove("result"), answer.remove("error")) {
        (Some(result), None) => Ok(result),
        (None, Some(error)) => Err(match error.get("message").and_then(Value::as_str) {
            Some(message) => ClientError::Refused(Refusal {
                message: message.to_owned(),
                error,
            }),
            None => ClientError::Nonsense("an error without a message".to_owned()),
        }),
        _ => Err(ClientError::Nonsense(
            "neither a result nor an error".to_owned(),
        )),
    }
}
