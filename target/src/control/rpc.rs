//! JSON-RPC 2.0: from a line to the line that answers it. No sockets here.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tracing::{debug, info};

use super::Management;
use super::json as strict;
use super::methods::{self, Method, Outcome};
use super::peer::Peer;
use super::reports::Subscribed;
use crate::config::Problem;
use crate::events::Event;

/// Requests in one batch, at most.
pub(super) const LONGEST_BATCH: usize = 100;
/// Bytes of answers in one batch; when there are more, what is left of it is refused.
pub(super) const LONGEST_ANSWERS: usize = 16 << 20;

/// Why a call failed, as the caller is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Error")]
pub(super) struct RpcError {
    /// What kind of failure it is.
    #[serde(serialize_with = "as_number")]
    #[schemars(with = "i32")]
    code: Code,
    /// For people: what is wrong, and what to do about it.
    message: String,
    /// For programs, where there is more to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<ErrorData>>,
}

/// More about a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct ErrorData {
    /// Everything that is wrong with a configuration, or with what was to be added to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<ProblemReport>,
    /// Which change of a transaction it is, from 0, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<usize>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(super) struct ProblemReport {
    /// Where: the key, such as `targets[0].portals[1].port`. Of what was to be added, from there; empty for all of it.
    path: String,
    /// What is wrong with it.
    what: String,
    /// What to do.
    remedy: String,
}

/// What kinds of failure there are (JSON-RPC 2.0 section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(super) enum Code {
    /// Not JSON.
    Parse = -32700,
    /// JSON, but not a request.
    InvalidRequest = -32600,
    /// No such method.
    MethodNotFound = -32601,
    /// Not the parameters of that method.
    InvalidParams = -32602,
    /// Our own mistake.
    Internal = -32603,
    /// More clients than we serve at a time. Ours, as are the next.
    Busy = -32000,
    /// What the parameters name is not there.
    NotFound = -32001,
    /// What was asked for cannot be done, or not now.
    Refused = -32002,
    /// It was done, but not all that goes with it.
    Incomplete = -32003,
}

impl Code {
    pub(super) const ALL: [Self; 9] = [
        Self::Parse,
        Self::InvalidRequest,
        Self::MethodNotFound,
        Self::InvalidParams,
        Self::Internal,
        Self::Busy,
        Self::NotFound,
        Self::Refused,
        Self::Incomplete,
    ];

    pub(super) fn number(self) -> i32 {
        self as i32
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Parse => "parse error",
            Self::InvalidRequest => "invalid request",
            Self::MethodNotFound => "method not found",
            Self::InvalidParams => "invalid params",
            Self::Internal => "internal error",
            Self::Busy => "busy",
            Self::NotFound => "not found",
            Self::Refused => "refused",
            Self::Incomplete => "incomplete",
        }
    }

    pub(super) fn description(self) -> &'static str {
        match self {
            Self::Parse => "the line is not JSON, or has a key twice",
            Self::InvalidRequest => "it is JSON, but not a request, or too long",
            Self::MethodNotFound => "there is no such method",
            Self::InvalidParams => "these are not the parameters of that method",
            Self::Internal => "a mistake of the daemon's own",
            Self::Busy => "more clients, or more that watch, than are served at a time",
            Self::NotFound => "what the parameters name is not there",
            Self::Refused => "what was asked for cannot be done, or not now; nothing has changed",
            Self::Incomplete => "it was done, but not all that goes with it, as the message says",
        }
    }
}

fn as_number<S: serde::Serializer>(code: &Code, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_i32(code.number())
}

impl RpcError {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            data: None,
        }
    }

    /// With what is wrong in a configuration.
    pub(super) fn with_problems(mut self, problems: &[Problem]) -> Self {
        if !problems.is_empty() {
            let report = |problem: &Problem| ProblemReport {
                path: problem.path.clone(),
                what: problem.what.clone(),
                remedy: problem.remedy.clone(),
            };
            self.data.get_or_insert_default().problems = problems.iter().map(report).collect();
        }
        self
    }

    /// As the failure of that change of a transaction.
    pub(super) fn of_change(mut self, index: usize) -> Self {
        self.message = format!("changes[{index}]: {}", self.message);
        self.data.get_or_insert_default().change = Some(index);
        self
    }

    /// The line that tells it, to whoever cannot be told which request it was.
    pub(super) fn line(&self) -> Vec<u8> {
        finish(&failure(self, &Value::Null))
    }
}

/// Who asks, and what is asked of.
pub(super) struct Caller<'a> {
    pub(super) daemon: &'a dyn Management,
    pub(super) peer: &'a Peer,
    /// Has the connection carry events, once the answer is sent.
    pub(super) watch: &'a mut dyn FnMut() -> Result<(), RpcError>,
}

/// Answers one line, which comes without its end. `None` if nobody waits for an answer.
pub(super) fn answer(caller: &mut Caller<'_>, line: &[u8]) -> Option<Vec<u8>> {
    let message = match strict::parse(line) {
        Ok(message) => message,
        Err(error) => {
            let message = format!("this line is not JSON: {error}");
            return Some(RpcError::new(Code::Parse, message).line());
        }
    };
    let answer = match message {
        Value::Array(batch) if batch.is_empty() => failure(
            &RpcError::new(Code::InvalidRequest, "an empty batch"),
            &Value::Null,
        ),
        Value::Array(batch) if batch.len() > LONGEST_BATCH => {
            let message = format!("more than {LONGEST_BATCH} requests in a batch");
            failure(&RpcError::new(Code::InvalidRequest, message), &Value::Null)
        }
        Value::Array(batch) => return caller.answer_batch(batch),
        request => caller.answer(request, true)?,
    };
    Some(finish(&answer))
}

impl Caller<'_> {
    /// Answers requests in their order, each on its own. Answers are kept as text: as values they would be many times as large.
    fn answer_batch(&mut self, batch: Vec<Value>) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        for request in batch {
            let answer = if text.len() <= LONGEST_ANSWERS {
                self.answer(request, false)
            } else {
                too_much(request)
            };
            if let Some(answer) = answer {
                text.push(if text.is_empty() { b'[' } else { b',' });
                text.extend_from_slice(answer.to_string().as_bytes());
            }
        }
        if text.is_empty() {
            return None;
        }
        text.extend_from_slice(b"]\n");
        Some(text)
    }

    /// Answers one request, which is `alone` on its line or not.
    fn answer(&mut self, request: Value, alone: bool) -> Option<Value> {
        let request = match Request::parse(request) {
            Ok(request) => request,
            Err((message, id)) => {
                return Some(failure(&RpcError::new(Code::InvalidRequest, message), &id));
            }
        };
        let result = match self.call(&request.method, request.params) {
            Ok(Outcome::Result(result)) => Ok(result),
            Ok(Outcome::Watch) if alone && request.id.is_some() => {
                (self.watch)().map(|()| subscribed())
            }
            Ok(Outcome::Watch) => {
                let method = &request.method;
                let message =
                    format!("{method} is a request of its own, with an id, and in no batch");
                let error = RpcError::new(Code::InvalidRequest, message);
                // As a notification it is no request that there is.
                return Some(failure(&error, &request.id.unwrap_or_default()));
            }
            Err(error) => Err(error),
        };
        // Without an id it was a notification: it is carried out, and never answered.
        let id = request.id?;
        Some(match result {
            Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
            Err(error) => failure(&error, &id),
        })
    }

    /// Finds a method, carries it out, and has the log say so.
    fn call(&self, name: &str, params: Option<Value>) -> Result<Outcome, RpcError> {
        let Some(method) = Method::find(name) else {
            debug!("{}: no such method", self.peer);
            return Err(methods::unknown(name));
        };
        let (mut summary, mut parts) = (String::new(), Vec::new());
        let result = method.params(params).and_then(|params| {
            if method.changes() {
                summary = params.summary();
                parts = method.parts(&params);
            }
            method.call(self.daemon, params)
        });
        // Messages are not logged: they could quote a secret.
        let outcome = match &result {
            Ok(_) => "done",
            Err(error) => error.code.name(),
        };
        if method.changes() {
            info!("{}: {name}{summary}: {outcome}", self.peer);
            // Of those that were not made the caller is told which one is wrong.
            for (index, part) in parts.iter().enumerate().filter(|_| result.is_ok()) {
                info!("{}: {name} changes[{index}]: {part}", self.peer);
            }
        } else {
            debug!("{}: {name}: {outcome}", self.peer);
        }
        result
    }
}

/// Refuses what is left of a batch.
fn too_much(request: Value) -> Option<Value> {
    let id = Request::parse(request).map_or(Some(Value::Null), |request| request.id)?;
    let message = format!(
        "not carried out: the answers of this batch are longer than {LONGEST_ANSWERS} bytes; ask for less at a time"
    );
    Some(failure(&RpcError::new(Code::Refused, message), &id))
}

fn subscribed() -> Value {
    serde_json::to_value(Subscribed { subscribed: true }).unwrap_or_default()
}

/// The line that tells of an event.
pub(super) fn event(event: &Event) -> Vec<u8> {
    finish(&json!({ "jsonrpc": "2.0", "method": "event", "params": event }))
}

/// A request object (JSON-RPC 2.0 section 4).
struct Request {
    method: String,
    params: Option<Value>,
    id: Option<Value>,
}

impl Request {
    /// On failure: why, and the id to answer to.
    fn parse(request: Value) -> Result<Self, (&'static str, Value)> {
        let Value::Object(mut members) = request else {
            return Err(("a request is an object", Value::Null));
        };
        let id = members.remove("id");
        let known_id = match &id {
            None => Value::Null,
            Some(Value::Null | Value::String(_) | Value::Number(_)) => {
                id.clone().unwrap_or_default()
            }
            Some(_) => return Err(("the id is not a string or a number", Value::Null)),
        };
        Self::parse_rest(members, id).map_err(|message| (message, known_id))
    }

    fn parse_rest(
        mut members: Map<String, Value>,
        id: Option<Value>,
    ) -> Result<Self, &'static str> {
        if members.remove("jsonrpc") != Some(Value::from("2.0")) {
            return Err("a request has \"jsonrpc\": \"2.0\"");
        }
        let method = match members.remove("method") {
            Some(Value::String(method)) => method,
            Some(_) => return Err("the method is not a string"),
            None => return Err("a request has a method"),
        };
        let params = members.remove("params");
        if !members.is_empty() {
            return Err("a request has jsonrpc, method, params and id, and nothing else");
        }
        Ok(Self { method, params, id })
    }
}

fn failure(error: &RpcError, id: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": error })
}

/// One line, with its end.
fn finish(answer: &Value) -> Vec<u8> {
    let mut line = answer.to_string().into_bytes();
    line.push(b'\n');
    line
}
