//! The login phase (RFC 7143 sections 6.3, 11.12 and 11.13): who an initiator is, whether it may come in, and what holds afterwards.
//!
//! PDUs are decoded and numbered by the connection; this is what they mean.

mod error;
mod exchange;
mod request;
mod response;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::mem;
use std::sync::Arc;

use self::error::LoginError;
use self::exchange::{Exchange, Gate, IDENTITY, Identity, MAX_VALUE, SECURITY, find};
pub use self::request::LoginRequest;
use self::request::Opening;
use self::response::VERSION;
pub use self::response::{LoginResponse, LoginStatus, MAX_RESPONSE, Stage};
use super::directory::{Credentials, Directory, Lookup, PORTAL_GROUP};
use super::negotiation::Negotiation;
use super::parameters::{Datamover, Limits, Parameters};
use super::text::{self, Assembler, IRRELEVANT, NOT_UNDERSTOOD, Pair, REJECT, TextWriter};
use pagecast_core::names::iscsi_name;

/// Requests that a login may take. Those of the field take four at most.
const MAX_REQUESTS: u32 = 64;
/// Different keys that a login may bring.
const MAX_KEYS: usize = 256;
/// TSIH of every discovery session: nothing can join one, but zero would say that there is none.
const DISCOVERY_TSIH: u16 = u16::MAX;

/// Keys that we declare, which an initiator may say something about.
const DECLARED: [&str; 2] = ["TargetPortalGroupTag", "MaxRecvDataSegmentLength"];

/// One connection's login.
#[derive(Debug)]
pub struct Login {
    datamover: Datamover,
    limits: Limits,
    state: State,
    requests: u32,
    text: Assembler,
    /// The initiator's name, as soon as it has given a valid one.
    initiator: Option<String>,
    /// The target that it asks for, in the same way.
    target: Option<String>,
    /// Keys that may not come again.
    seen: BTreeSet<String>,
}

#[derive(Debug)]
enum State {
    /// Nothing has come.
    New,
    /// The first text is on its way; who it is from is not known.
    Nameless(Opening),
    /// Security or operational negotiation.
    Negotiating(Box<Exchange>),
    /// The daemon decides.
    Deciding(LoginResponse),
    /// Done, or failed.
    Over,
}

impl Login {
    /// Before the first request.
    pub fn new(datamover: Datamover, limits: Limits) -> Self {
        Self {
            datamover,
            limits,
            state: State::New,
            requests: 0,
            text: Assembler::default(),
            initiator: None,
            target: None,
            seen: BTreeSet::new(),
        }
    }

    /// Takes a request. `entropy` fills with bytes that nobody can foresee.
    pub fn request(
        &mut self,
        request: &LoginRequest<'_>,
        directory: &dyn Directory,
        entropy: &mut dyn FnMut(&mut [u8]),
    ) -> Step {
        self.take(request, directory, entropy)
            .unwrap_or_else(|error| {
                self.state = State::Over;
                let failure = LoginFailure {
                    initiator: self.initiator.clone(),
                    target: self.target.clone(),
                    why: error.to_string(),
                };
                Step::Fail(
                    LoginResponse::to(request, Stage::Security).failed(error.status()),
                    Box::new(failure),
                )
            })
    }

    /// The last response, after [`Step::Admit`]: the session is `tsih`.
    pub fn admitted(&mut self, tsih: u16) -> LoginResponse {
        match mem::replace(&mut self.state, State::Over) {
            State::Deciding(response) => LoginResponse { tsih, ..response },
            _ => LoginResponse::unasked(),
        }
    }

    /// The last response, after [`Step::Admit`]: the session is not to be.
    pub fn refused(&mut self, status: LoginStatus) -> LoginResponse {
        match mem::replace(&mut self.state, State::Over) {
            State::Deciding(response) => response.failed(status),
            _ => LoginResponse::unasked(),
        }
    }

    /// The initiator's name, once it has given one.
    pub fn initiator(&self) -> Option<&str> {
        self.initiator.as_deref()
    }

    fn take(
        &mut self,
        request: &LoginRequest<'_>,
        directory: &dyn Directory,
        entropy: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Step, LoginError> {
        self.requests += 1;
        if self.requests > MAX_REQUESTS {
            return Err(LoginError::TooManyRequests);
        }
        // RFC 7143 section 11.12.4.
        if request.version_min > VERSION {
            return Err(LoginError::Version(request.version_min));
        }
        let (opening, stage) = match &self.state {
            State::New => {
                let opening = Opening::of(request)?;
                self.state = State::Nameless(opening);
                (opening, opening.stage)
            }
            State::Nameless(opening) => (*opening, opening.stage),
            State::Negotiating(exchange) => (exchange.opening, exchange.stage),
            State::Deciding(_) | State::Over => return Err(LoginError::Over),
        };
        if !opening.is_of(request) {
            return Err(LoginError::Changed);
        }
        let next = request.transition(stage)?;
        let response = LoginResponse::to(request, stage);
        let Some(text) = self.text.push(request.data, request.continue_)? else {
            return Ok(Step::Reply(response));
        };
        let pairs = text::parse(&text)?;

        let mut answer = TextWriter::default();
        if matches!(self.state, State::Nameless(_)) {
            let exchange = self.identify(opening, &pairs, directory)?;
            if exchange.identity.session_type == SessionType::Normal {
                // RFC 7143 section 13.9: in the first response.
                answer.pair("TargetPortalGroupTag", PORTAL_GROUP);
            }
            self.state = State::Negotiating(Box::new(exchange));
        }
        let pairs = self.fresh(pairs)?;
        let State::Negotiating(exchange) = &mut self.state else {
            return Err(LoginError::Over);
        };
        exchange.negotiate(&pairs, entropy, &mut answer)?;

        let next = next.filter(|_| exchange.may_leave());
        if answer.len() > MAX_RESPONSE {
            return Err(LoginError::AnswerTooLong);
        }
        let response = LoginResponse {
            transit: next.is_some(),
            nsg: next.unwrap_or(Stage::Security),
            data: answer.into_bytes(),
            ..response
        };
        match next {
            Some(Stage::FullFeature) => self.finish(response),
            Some(stage) => {
                exchange.stage = stage;
                Ok(Step::Reply(response))
            }
            None => Ok(Step::Reply(response)),
        }
    }

    /// The first text has come: who it is from, and what that one has to prove.
    fn identify(
        &mut self,
        opening: Opening,
        pairs: &[Pair<'_>],
        directory: &dyn Directory,
    ) -> Result<Exchange, LoginError> {
        let value = |key| find(pairs, key);
        let initiator = value("InitiatorName").ok_or(LoginError::Missing("InitiatorName"))?;
        let initiator = iscsi_name(initiator).ok_or(LoginError::BadIdentity("InitiatorName"))?;
        self.initiator = Some(initiator.clone());
        let session_type = match value("SessionType") {
            None => SessionType::Normal,
            Some(value) => SessionType::of(value).ok_or(LoginError::SessionType)?,
        };
        let target = match session_type {
            SessionType::Normal => {
                let target = value("TargetName").ok_or(LoginError::Missing("TargetName"))?;
                let unknown = || LoginError::NotFound(target.chars().take(MAX_VALUE).collect());
                Some(iscsi_name(target).ok_or_else(unknown)?)
            }
            SessionType::Discovery => None,
        };
        let identity = Identity {
            initiator,
            alias: None,
            target,
            session_type,
        };
        self.target = identity.target.clone();
        let credentials = match &identity.target {
            None => directory.discovery_credentials(),
            Some(target) => match directory.target(target, &identity.initiator) {
                Lookup::Admitted(credentials) => credentials,
                Lookup::NotFound => return Err(LoginError::NotFound(target.clone())),
                Lookup::Forbidden => return Err(LoginError::Forbidden(target.clone())),
            },
        };
        if identity.session_type == SessionType::Discovery && opening.tsih != 0 {
            return Err(LoginError::NoSession);
        }
        Ok(Exchange {
            opening,
            stage: opening.stage,
            gate: credentials.map_or(Gate::Open(None), Gate::Closed),
            negotiation: Negotiation::new(self.datamover, self.limits, identity.session_type),
            identity,
        })
    }

    /// The pairs that are offers or declarations that have not been made before (RFC 7143 section 6.2).
    fn fresh<'a>(&mut self, pairs: Vec<Pair<'a>>) -> Result<Vec<Pair<'a>>, LoginError> {
        let mut fresh = Vec::with_capacity(pairs.len());
        for pair in pairs {
            let is_answer = [NOT_UNDERSTOOD, IRRELEVANT, REJECT].contains(&pair.value);
            if is_answer && DECLARED.contains(&pair.key) {
                continue;
            }
            if is_answer && !SECURITY.contains(&pair.key) {
                return Err(LoginError::UnaskedAnswer(pair.key.to_owned()));
            }
            if !IDENTITY.contains(&pair.key) && !self.seen.insert(pair.key.to_owned()) {
                return Err(LoginError::Repeated(pair.key.to_owned()));
            }
            fresh.push(pair);
        }
        if self.seen.len() > MAX_KEYS {
            return Err(LoginError::TooManyKeys);
        }
        Ok(fresh)
    }

    fn finish(&mut self, response: LoginResponse) -> Result<Step, LoginError> {
        let State::Negotiating(exchange) = &self.state else {
            return Err(LoginError::Over);
        };
        let summary = exchange.summary()?;
        match summary.session_type {
            SessionType::Normal => {
                self.state = State::Deciding(response);
                Ok(Step::Admit(summary))
            }
            SessionType::Discovery => {
                self.state = State::Over;
                let tsih = DISCOVERY_TSIH;
                Ok(Step::Done(LoginResponse { tsih, ..response }, summary))
            }
        }
    }
}

/// What to do after a Login Request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send; the login goes on.
    Reply(LoginResponse),
    /// A normal session is agreed to. The daemon decides, and [`Login::admitted`] or [`Login::refused`] has the answer to send.
    Admit(LoginSummary),
    /// A discovery session is agreed to. Send; the login is over.
    Done(LoginResponse, LoginSummary),
    /// Send and close.
    Fail(LoginResponse, Box<LoginFailure>),
}

/// A login, or an authentication, that failed, for people. There is no secret in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginFailure {
    /// The initiator's name, if it came so far as to give a valid one.
    pub initiator: Option<String>,
    /// The target that it asked for, in the same way; by its iSCSI name for iSCSI.
    pub target: Option<String>,
    /// Why.
    pub why: String,
}

impl std::fmt::Display for LoginFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let who = (self.initiator.as_deref()).unwrap_or("an initiator without a name");
        write!(f, "login of {who} failed: {}", self.why)
    }
}

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionType {
    /// SCSI commands.
    Normal,
    /// SendTargets, and nothing else.
    Discovery,
}

/// What a login has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginSummary {
    /// The initiator's iSCSI name, in lower case.
    pub initiator: String,
    /// What people call it.
    pub alias: Option<String>,
    /// The target's iSCSI name, in lower case; none in a discovery session.
    pub target: Option<String>,
    /// What the session is for.
    pub session_type: SessionType,
    /// The initiator's part of the session's identifier.
    pub isid: [u8; 6],
    /// The session that the connection wants to join; zero for a new one.
    pub tsih: u16,
    /// The connection, within its session.
    pub cid: u16,
    /// What holds from now on.
    pub parameters: Parameters,
    /// What the initiator has proved who it is with.
    pub proved: Option<Arc<Credentials>>,
}

impl LoginSummary {
    /// The name under which the initiator has proved who it is.
    pub fn user(&self) -> Option<&str> {
        self.proved.as_ref().map(|proved| proved.user.as_str())
    }
}

impl SessionType {
    fn of(value: &str) -> Option<Self> {
        match value {
            "Normal" => Some(Self::Normal),
            "Discovery" => Some(Self::Discovery),
            _ => None,
        }
    }
}
