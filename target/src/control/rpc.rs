//! JSON-RPC 2.0: from a line to the line that answers it. No sockets here.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Management;
use super::methods;

/// Requests in one batch, at most.
const LONGEST_BATCH: usize = 100;

/// Why a call failed, as the caller is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct RpcError {
    code: i32,
    message: String,
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
}

impl RpcError {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code: code as i32,
            message: message.into(),
        }
    }

    /// The line that tells it, to whoever cannot be told which request it was.
    pub(super) fn line(&self) -> Vec<u8> {
        finish(&failure(self, &Value::Null))
    }
}

/// Answers one line, which comes without its end. `None` if nobody waits for an answer.
pub(super) fn answer(daemon: &dyn Management, line: &[u8]) -> Option<Vec<u8>> {
    let message = match serde_json::from_slice(line) {
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
        Value::Array(batch) => {
            let answers: Vec<Value> = batch
                .into_iter()
                .filter_map(|request| answer_one(daemon, request))
                .collect();
            if answers.is_empty() {
                return None;
            }
            Value::Array(answers)
        }
        request => answer_one(daemon, request)?,
    };
    Some(finish(&answer))
}

fn answer_one(daemon: &dyn Management, request: Value) -> Option<Value> {
    let request = match Request::parse(request) {
        Ok(request) => request,
        Err((message, id)) => {
            return Some(failure(&RpcError::new(Code::InvalidRequest, message), &id));
        }
    };
    let result = methods::call(daemon, &request.method, request.params);
    // Without an id it was a notification: it is carried out, and never answered.
    let id = request.id?;
    Some(match result {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err(error) => failure(&error, &id),
    })
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
