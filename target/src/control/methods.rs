//! The methods that there are: one row each, in the files of their nouns.

mod config;
mod credentials;
mod device;
mod group;
mod reservation;
mod session;
mod target;
mod transaction;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::Value;

use super::params::{Param, Params, shorten};
use super::reports::{Stats, Status, Subscribed};
use super::rpc::{Code, RpcError};
use super::schema::{self, RpcSchema};
use super::{ChangeError, Management};
use crate::config::edit::{Edit, EditError};
use crate::config::nearest::suggestion;
use crate::config::{ConfigError, Problem};

/// Changes in one transaction, at most.
pub(super) const MOST_CHANGES: usize = 1000;

/// One method.
pub(super) struct Method {
    /// `noun.verb`.
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    pub(super) params: &'static [Param],
    /// Of what comes out.
    pub(super) result: fn(&mut SchemaGenerator) -> Schema,
    /// How it may fail, beyond the ways that every method may.
    pub(super) errors: &'static [Code],
    pub(super) run: Run,
}

/// How a method is carried out.
pub(super) enum Run {
    /// It changes nothing.
    Tell(fn(&dyn Management, &Params) -> Answer),
    /// It changes something that is not in the configuration, or not only there.
    Do(fn(&dyn Management, &Params) -> Answer),
    /// It changes the configuration, and may be part of a transaction.
    Edit(fn(&dyn Management, Params) -> Result<Edit, RpcError>),
    /// The same; the parameters are an object of the configuration, whose reader checks them.
    Add(fn(Value) -> Edit),
    /// Several of those.
    Transaction,
    /// The connection carries events from now on.
    Watch,
}

pub(super) type Answer = Result<Value, RpcError>;

/// What came of a call.
pub(super) enum Outcome {
    Result(Value),
    /// The connection is to carry events.
    Watch,
}

/// What change the configuration may fail with.
const CHANGE_ERRORS: &[Code] = &[Code::NotFound, Code::Refused];

const DAEMON: &[Method] = &[Method {
    name: "status",
    description: "the daemon at a glance",
    params: &[],
    result: shape::<Status>,
    errors: &[],
    run: Run::Tell(|daemon, _| to_value(&daemon.status())),
}];

const REST: &[Method] = &[
    Method {
        name: "stats",
        description: "what the process as a whole uses and has done",
        params: &[],
        result: shape::<Stats>,
        errors: &[],
        run: Run::Tell(|daemon, _| to_value(&daemon.stats())),
    },
    Method {
        name: "events",
        description: "from now on this connection also carries events: notifications with the method \"event\"; not in a batch",
        params: &[],
        result: shape::<Subscribed>,
        errors: &[Code::Busy],
        run: Run::Watch,
    },
    Method {
        name: "rpc.schema",
        description: "the methods that there are, with their parameters and results",
        params: &[],
        result: shape::<RpcSchema>,
        errors: &[],
        run: Run::Tell(|_, _| to_value(&schema::schema())),
    },
];

const ALL: [&[Method]; 10] = [
    DAEMON,
    device::METHODS,
    reservation::METHODS,
    target::METHODS,
    group::METHODS,
    credentials::METHODS,
    session::METHODS,
    config::METHODS,
    transaction::METHODS,
    REST,
];

/// All methods.
pub(super) fn all() -> impl Iterator<Item = &'static Method> {
    ALL.into_iter().flatten()
}

impl Method {
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        all().find(|method| method.name == name)
    }

    /// Whether anything is different afterwards.
    pub(super) fn changes(&self) -> bool {
        !matches!(self.run, Run::Tell(_) | Run::Watch)
    }

    /// Whether it may be part of a transaction.
    pub(super) fn is_edit(&self) -> bool {
        matches!(self.run, Run::Edit(_) | Run::Add(_))
    }

    pub(super) fn params(&self, values: Option<Value>) -> Result<Params, RpcError> {
        Params::new(self.name, self.params, values)
    }

    /// What a log may say of the changes that it is made of, if it is made of several.
    pub(super) fn parts(&self, params: &Params) -> Vec<String> {
        match self.run {
            Run::Transaction => transaction::summaries(params),
            _ => Vec::new(),
        }
    }

    /// Carries it out.
    pub(super) fn call(
        &self,
        daemon: &dyn Management,
        params: Params,
    ) -> Result<Outcome, RpcError> {
        let checked = |params: Params| params.checked(self.name, self.params);
        let result = match self.run {
            Run::Tell(run) | Run::Do(run) => run(daemon, &checked(params)?),
            Run::Edit(_) | Run::Add(_) => change(daemon, &[self.edit(daemon, params)?]),
            Run::Transaction => transaction::run(daemon, checked(params)?),
            Run::Watch => {
                checked(params)?;
                return Ok(Outcome::Watch);
            }
        };
        result.map(Outcome::Result)
    }

    /// What it would change; only for those that [may](Self::is_edit) be asked.
    fn edit(&self, daemon: &dyn Management, params: Params) -> Result<Edit, RpcError> {
        match self.run {
            Run::Edit(edit) => edit(daemon, params.checked(self.name, self.params)?),
            Run::Add(edit) => Ok(edit(params.into_object())),
            _ => Err(RpcError::new(
                Code::Internal,
                format!("{} is no change", self.name),
            )),
        }
    }
}

/// There is no such method.
pub(super) fn unknown(name: &str) -> RpcError {
    let known: Vec<&str> = all().map(|method| method.name).collect();
    let message = format!("no method {}; {}", shorten(name), suggestion(name, &known));
    RpcError::new(Code::MethodNotFound, message)
}

/// Makes changes.
fn change(daemon: &dyn Management, edits: &[Edit]) -> Answer {
    let report = daemon.change(edits).map_err(|error| refusal(&error))?;
    to_value(&report)
}

/// What a caller is told of a change that was not made.
fn refusal(error: &ChangeError) -> RpcError {
    let (code, problems): (_, &[Problem]) = match error {
        ChangeError::Edit(error) => return refused_edit(error),
        ChangeError::Config(ConfigError::Invalid { problems, .. }) => (Code::Refused, problems),
        _ => (Code::Refused, &[]),
    };
    RpcError::new(code, error.to_string()).with_problems(problems)
}

fn refused_edit(error: &EditError) -> RpcError {
    let (code, problems): (_, &[Problem]) = match error {
        EditError::OneOf { index, error } => return refused_edit(error).of_change(*index),
        EditError::NotFound { .. } => (Code::NotFound, &[]),
        EditError::Invalid(problems) => (Code::InvalidParams, problems),
        EditError::Config(ConfigError::Invalid { problems, .. }) => (Code::Refused, problems),
        EditError::Config(_) | EditError::Refused { .. } => (Code::Refused, &[]),
    };
    RpcError::new(code, error.to_string()).with_problems(problems)
}

fn no_device(daemon: &dyn Management, name: &str) -> RpcError {
    let devices = daemon.devices();
    let known = devices.iter().map(|device| device.name.as_str());
    not_found("device", name, &known.collect::<Vec<_>>())
}

/// The report with the name in the parameters.
fn one<T: Serialize>(
    kind: &str,
    reports: Vec<T>,
    name_of: fn(&T) -> &String,
    params: &Params,
) -> Answer {
    let name = params.text("name");
    if let Some(report) = reports.iter().find(|report| name_of(report) == name) {
        return to_value(report);
    }
    let known: Vec<&str> = reports
        .iter()
        .map(|report| name_of(report).as_str())
        .collect();
    Err(not_found(kind, name, &known))
}

fn not_found(kind: &str, name: &str, known: &[&str]) -> RpcError {
    let message = format!(
        "there is no {kind} {}; {}",
        shorten(name),
        suggestion(name, known)
    );
    RpcError::new(Code::NotFound, message)
}

fn to_value<T: Serialize + ?Sized>(report: &T) -> Answer {
    serde_json::to_value(report).map_err(|error| RpcError::new(Code::Internal, error.to_string()))
}

/// A row's column for a report.
fn shape<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}
