//! `session`: who is logged in.

use super::{Answer, Method, Run, shape, to_value};
use crate::control::Management;
use crate::control::params::{Kind, Param, Params};
use crate::control::reports::{SessionList, SessionReport};
use crate::control::rpc::{Code, RpcError};

const ID: &[Param] = &[Param::required(
    "id",
    Kind::Integer(0, u64::MAX),
    "which one, by its number in session.list",
)];

pub(super) const METHODS: &[Method] = &[
    Method {
        name: "session.list",
        description: "who is logged in",
        params: &[],
        result: shape::<SessionList>,
        errors: &[],
        run: Run::Tell(|daemon, _| {
            to_value(&SessionList {
                sessions: daemon.sessions(),
            })
        }),
    },
    Method {
        name: "session.show",
        description: "one session",
        params: ID,
        result: shape::<SessionReport>,
        errors: &[Code::NotFound],
        run: Run::Tell(show),
    },
    Method {
        name: "session.close",
        description: "ends a session; its initiator may log in again, and most do by themselves",
        params: ID,
        result: shape::<SessionReport>,
        errors: &[Code::NotFound],
        run: Run::Do(close),
    },
];

fn show(daemon: &dyn Management, params: &Params) -> Answer {
    let id = params.number("id");
    let sessions = daemon.sessions();
    match sessions.iter().find(|session| session.id == id) {
        Some(session) => to_value(session),
        None => Err(no_session(id)),
    }
}

fn close(daemon: &dyn Management, params: &Params) -> Answer {
    let id = params.number("id");
    match daemon.close_session(id) {
        Some(session) => to_value(&session),
        None => Err(no_session(id)),
    }
}

fn no_session(id: u64) -> RpcError {
    let message =
        format!("there is no session {id} (any more); see those that there are with session.list");
    RpcError::new(Code::NotFound, message)
}
