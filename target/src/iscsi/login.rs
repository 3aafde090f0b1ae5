//! The login phase (RFC 7143 sections 6.3, 11.12 and 11.13): who an initiator is, whether it may come in, and what holds afterwards.
//!
//! PDUs are decoded and numbered by the connection; this is what they mean.

mod name;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::mem;
use std::sync::Arc;

use thiserror::Error;

use self::name::iscsi_name;
use super::chap::{Chap, ChapError, Proof};
use super::directory::{Credentials, Directory, Lookup, PORTAL_GROUP};
use super::negotiation::{Negotiation, NegotiationError};
use super::parameters::{Datamover, Limits, Parameters};
use super::text::{
    self, Assembler, IRRELEVANT, NONE, NOT_UNDERSTOOD, Pair, REJECT, TextError, TextWriter,
};

/// A stage of the login phase, as CSG and NSG have it (RFC 7143 section 11.12.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// SecurityNegotiation: proving who one is.
    Security = 0,
    /// LoginOperationalNegotiation: agreeing to parameters.
    Operational = 1,
    /// FullFeaturePhase: the login is over.
    FullFeature = 3,
}

impl Stage {
    /// Its two bits.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

/// A Login Request: what the login has to know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginRequest<'a> {
    /// T: the initiator is ready for the next stage.
    pub transit: bool,
    /// C: the text goes on in the next request.
    pub continue_: bool,
    /// CSG, its two bits as they came.
    pub csg: u8,
    /// NSG, its two bits as they came; means something with T only.
    pub nsg: u8,
    /// Highest version of the protocol that the initiator speaks.
    pub version_max: u8,
    /// Lowest.
    pub version_min: u8,
    /// The initiator's part of the session's identifier.
    pub isid: [u8; 6],
    /// The session that the connection is to join; zero for a new one.
    pub tsih: u16,
    /// Initiator task tag, as in the PDU.
    pub itt: u32,
    /// The connection, within its session.
    pub cid: u16,
    /// The session's first command number.
    pub cmd_sn: u32,
    /// The status number that the initiator expects.
    pub exp_stat_sn: u32,
    /// The data segment, without its padding.
    pub data: &'a [u8],
}

/// A Login Response, but for the numbers (StatSN, ExpCmdSN, MaxCmdSN), which are the connection's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginResponse {
    /// T: on to the next stage.
    pub transit: bool,
    /// C: the text goes on in the next response. Ours never does.
    pub continue_: bool,
    /// CSG.
    pub csg: Stage,
    /// NSG; means something with T only.
    pub nsg: Stage,
    /// As requested.
    pub isid: [u8; 6],
    /// As requested, or the new session's in the last response.
    pub tsih: u16,
    /// As requested.
    pub itt: u32,
    /// Highest version of the protocol that we speak.
    pub version_max: u8,
    /// The version in use.
    pub version_active: u8,
    /// How the login stands.
    pub status: LoginStatus,
    /// The data segment, without padding; at most [`MAX_RESPONSE`] bytes.
    pub data: Vec<u8>,
}

/// Longest data segment of a response: what an initiator takes before it has said otherwise (RFC 7143 section 13.12).
pub const MAX_RESPONSE: usize = 8192;

/// Status-Class and Status-Detail (RFC 7143 section 11.13.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginStatus {
    /// 0 success, 1 redirection, 2 the initiator's error, 3 the target's.
    pub class: u8,
    /// Which.
    pub detail: u8,
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
    /// The name under which the initiator has proved who it is.
    pub user: Option<String>,
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
    /// Send and close. The line for the log names the initiator, and never a secret.
    Fail(LoginResponse, String),
}

/// Requests that a login may take. Those of the field take four at most.
const MAX_REQUESTS: u32 = 64;
/// Different keys that a login may bring.
const MAX_KEYS: usize = 256;
/// Longest text value but for names and what is binary (RFC 7143 section 6.1).
const MAX_VALUE: usize = 255;
/// The version of the protocol: RFC 7143's, and every RFC's before.
const VERSION: u8 = 0;
/// TSIH of every discovery session: nothing can join one, but zero would say that there is none.
const DISCOVERY_TSIH: u16 = u16::MAX;

/// Keys that say who speaks to whom. libiscsi repeats them in the operational stage.
const IDENTITY: [&str; 4] = [
    "InitiatorName",
    "InitiatorAlias",
    "TargetName",
    "SessionType",
];
/// Keys of the security stage (RFC 7143 section 12).
const SECURITY: [&str; 6] = [
    "AuthMethod",
    "CHAP_A",
    "CHAP_N",
    "CHAP_R",
    "CHAP_I",
    "CHAP_C",
];
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

/// What stays the same from the first request to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Opening {
    isid: [u8; 6],
    tsih: u16,
    cid: u16,
    /// The stage that the login begins with.
    stage: Stage,
}

#[derive(Debug)]
struct Exchange {
    opening: Opening,
    stage: Stage,
    identity: Identity,
    gate: Gate,
    negotiation: Negotiation,
}

/// Who speaks to whom.
#[derive(Clone, Debug)]
struct Identity {
    initiator: String,
    alias: Option<String>,
    target: Option<String>,
    session_type: SessionType,
}

/// Whether the initiator may leave the security stage.
#[derive(Debug)]
enum Gate {
    /// It has to prove who it is, and has not said how it will.
    Closed(Arc<Credentials>),
    /// It is at it.
    Proving(Chap),
    /// It may: it has proved to be that user, or need not.
    Open(Option<String>),
}

/// Why a login fails.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
enum LoginError {
    #[error("it speaks no version of iSCSI below {0}")]
    Version(u8),
    #[error("stage {csg} out of order")]
    Stage { csg: u8 },
    #[error("a transition from stage {csg} to {nsg}")]
    Transition { csg: u8, nsg: u8 },
    #[error("a transition in the middle of a text")]
    TransitContinued,
    #[error("ISID, TSIH or CID other than in its first request")]
    Changed,
    #[error("more than {MAX_REQUESTS} requests")]
    TooManyRequests,
    #[error("more than {MAX_KEYS} keys")]
    TooManyKeys,
    #[error("a request after the end of the login")]
    Over,
    #[error(transparent)]
    Text(#[from] TextError),
    #[error("{0} again")]
    Repeated(String),
    #[error("an answer to {0}, which was not asked")]
    UnaskedAnswer(String),
    #[error("{0} in the wrong stage")]
    WrongStage(String),
    #[error("no {0}")]
    Missing(&'static str),
    #[error("{0} that is none")]
    BadIdentity(&'static str),
    #[error("a SessionType that does not exist")]
    SessionType,
    #[error("no target of the name {0:?} here")]
    NotFound(String),
    #[error("target {0} is not for it")]
    Forbidden(String),
    #[error("a discovery session that does not exist")]
    NoSession,
    #[error("it has to authenticate, and offers no AuthMethod but {0:?}")]
    NoCommonMethod(String),
    #[error("it wants to authenticate, and nothing is known of it to do that with")]
    NoCredentials,
    #[error("it has to authenticate")]
    AuthenticationRequired,
    #[error(transparent)]
    Chap(#[from] ChapError),
    #[error(transparent)]
    Negotiation(#[from] NegotiationError),
    #[error("the answer would be too long")]
    AnswerTooLong,
}

impl LoginError {
    fn status(&self) -> LoginStatus {
        match self {
            Self::Version(_) => LoginStatus::UNSUPPORTED_VERSION,
            Self::Missing(_) => LoginStatus::MISSING_PARAMETER,
            Self::SessionType => LoginStatus::SESSION_TYPE_NOT_SUPPORTED,
            Self::NotFound(_) => LoginStatus::NOT_FOUND,
            Self::Forbidden(_) => LoginStatus::FORBIDDEN,
            Self::NoSession => LoginStatus::SESSION_DOES_NOT_EXIST,
            Self::NoCommonMethod(_) | Self::NoCredentials | Self::AuthenticationRequired => {
                LoginStatus::AUTHENTICATION_FAILURE
            }
            Self::Chap(error) if !error.is_protocol_error() => LoginStatus::AUTHENTICATION_FAILURE,
            Self::AnswerTooLong => LoginStatus::TARGET_ERROR,
            _ => LoginStatus::INITIATOR_ERROR,
        }
    }
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
                let who = self.initiator().unwrap_or("an initiator without a name");
                Step::Fail(
                    LoginResponse::to(request, Stage::Security).failed(error.status()),
                    format!("login of {who} failed: {error}"),
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

impl Exchange {
    /// Answers what came. Operational keys do no harm in the security stage; those of security come too late afterwards.
    fn negotiate(
        &mut self,
        pairs: &[Pair<'_>],
        entropy: &mut dyn FnMut(&mut [u8]),
        answer: &mut TextWriter,
    ) -> Result<(), LoginError> {
        self.identity.again(pairs)?;
        let pairs = pairs.iter().filter(|pair| !IDENTITY.contains(&pair.key));
        let (security, others): (Vec<Pair<'_>>, Vec<Pair<'_>>) =
            pairs.partition(|pair| SECURITY.contains(&pair.key));
        match self.stage {
            Stage::Security => {
                self.authenticate(&security, entropy, answer)?;
                self.negotiation.offers(&others, answer)?;
            }
            Stage::Operational | Stage::FullFeature => {
                if !matches!(self.gate, Gate::Open(_)) {
                    return Err(LoginError::AuthenticationRequired);
                }
                if let Some(pair) = security.first() {
                    return Err(LoginError::WrongStage(pair.key.to_owned()));
                }
                self.negotiation.offers(&others, answer)?;
                self.negotiation.declare(answer);
            }
        }
        Ok(())
    }

    /// RFC 7143 section 12.1.
    fn authenticate(
        &mut self,
        pairs: &[Pair<'_>],
        entropy: &mut dyn FnMut(&mut [u8]),
        answer: &mut TextWriter,
    ) -> Result<(), LoginError> {
        let value = |key| find(pairs, key);
        if let Some(offered) = value("AuthMethod") {
            self.choose_method(offered, answer)?;
        }
        if let Some(algorithms) = value("CHAP_A") {
            self.chap()?.challenge(algorithms, entropy, answer)?;
        }
        let keys = (
            value("CHAP_N"),
            value("CHAP_R"),
            value("CHAP_I"),
            value("CHAP_C"),
        );
        let (name, response, challenge) = match keys {
            (None, None, None, None) => return Ok(()),
            (Some(name), Some(response), None, None) => (name, response, None),
            (Some(name), Some(response), Some(id), Some(challenge)) => {
                (name, response, Some((id, challenge)))
            }
            _ => return Err(ChapError::OutOfOrder.into()),
        };
        let proof = Proof {
            name,
            response,
            challenge,
        };
        let user = self.chap()?.verify(&proof, answer)?;
        self.gate = Gate::Open(Some(user));
        Ok(())
    }

    fn chap(&mut self) -> Result<&mut Chap, LoginError> {
        match &mut self.gate {
            Gate::Proving(chap) => Ok(chap),
            Gate::Closed(_) | Gate::Open(_) => Err(ChapError::OutOfOrder.into()),
        }
    }

    fn choose_method(&mut self, offered: &str, answer: &mut TextWriter) -> Result<(), LoginError> {
        let offers = |method| text::list(offered).any(|offered| offered == method);
        match &self.gate {
            Gate::Closed(credentials) if offers("CHAP") => {
                answer.pair("AuthMethod", "CHAP");
                self.gate = Gate::Proving(Chap::new(credentials.clone()));
            }
            Gate::Closed(_) => {
                let offered = offered.chars().take(MAX_VALUE).collect();
                return Err(LoginError::NoCommonMethod(offered));
            }
            Gate::Open(_) if offers(NONE) => answer.pair("AuthMethod", NONE),
            Gate::Open(_) | Gate::Proving(_) => return Err(LoginError::NoCredentials),
        }
        Ok(())
    }

    fn may_leave(&self) -> bool {
        matches!(self.gate, Gate::Open(_))
    }

    fn summary(&self) -> Result<LoginSummary, LoginError> {
        let Opening {
            isid, tsih, cid, ..
        } = self.opening;
        let Identity {
            initiator,
            alias,
            target,
            session_type,
        } = self.identity.clone();
        Ok(LoginSummary {
            initiator,
            alias,
            target,
            session_type,
            isid,
            tsih,
            cid,
            parameters: self.negotiation.finish()?,
            user: match &self.gate {
                Gate::Open(user) => user.clone(),
                Gate::Closed(_) | Gate::Proving(_) => None,
            },
        })
    }
}

fn find<'a>(pairs: &[Pair<'a>], key: &str) -> Option<&'a str> {
    pairs
        .iter()
        .find(|pair| pair.key == key)
        .map(|pair| pair.value)
}

impl Identity {
    /// Notes a later InitiatorAlias. The other keys may come again only as they came before.
    fn again(&mut self, pairs: &[Pair<'_>]) -> Result<(), LoginError> {
        for &Pair { key, value } in pairs {
            let same = match key {
                "InitiatorName" => iscsi_name(value).as_ref() == Some(&self.initiator),
                "TargetName" => self.target.is_none() || iscsi_name(value) == self.target,
                "SessionType" => SessionType::of(value) == Some(self.session_type),
                "InitiatorAlias" => {
                    self.set_alias(value)?;
                    true
                }
                _ => true,
            };
            if !same {
                return Err(LoginError::Repeated(key.to_owned()));
            }
        }
        Ok(())
    }

    fn set_alias(&mut self, alias: &str) -> Result<(), LoginError> {
        if alias.len() > MAX_VALUE {
            return Err(LoginError::BadIdentity("InitiatorAlias"));
        }
        self.alias = Some(alias.to_owned());
        Ok(())
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

impl Opening {
    fn of(request: &LoginRequest<'_>) -> Result<Self, LoginError> {
        let stage = match request.csg {
            0 => Stage::Security,
            1 => Stage::Operational,
            csg => return Err(LoginError::Stage { csg }),
        };
        Ok(Self {
            isid: request.isid,
            tsih: request.tsih,
            cid: request.cid,
            stage,
        })
    }

    fn is_of(&self, request: &LoginRequest<'_>) -> bool {
        (self.isid, self.tsih, self.cid) == (request.isid, request.tsih, request.cid)
    }
}

impl LoginRequest<'_> {
    /// Where the initiator wants to go from the stage that the login is in (RFC 7143 sections 6.3.3 and 11.12.1 to 11.12.3).
    fn transition(&self, stage: Stage) -> Result<Option<Stage>, LoginError> {
        let (csg, nsg) = (self.csg, self.nsg);
        if csg != stage.code() {
            return Err(LoginError::Stage { csg });
        }
        if !self.transit {
            return Ok(None);
        }
        if self.continue_ {
            return Err(LoginError::TransitContinued);
        }
        match (stage, nsg) {
            (Stage::Security, 1) => Ok(Some(Stage::Operational)),
            (Stage::Security | Stage::Operational, 3) => Ok(Some(Stage::FullFeature)),
            _ => Err(LoginError::Transition { csg, nsg }),
        }
    }
}

impl LoginResponse {
    /// Goes on in the same stage, with nothing to say.
    fn to(request: &LoginRequest<'_>, stage: Stage) -> Self {
        Self {
            transit: false,
            continue_: false,
            csg: stage,
            nsg: Stage::Security,
            isid: request.isid,
            tsih: request.tsih,
            itt: request.itt,
            version_max: VERSION,
            version_active: VERSION,
            status: LoginStatus::SUCCESS,
            data: Vec::new(),
        }
    }

    fn failed(self, status: LoginStatus) -> Self {
        Self {
            transit: false,
            nsg: Stage::Security,
            status,
            data: Vec::new(),
            ..self
        }
    }

    /// What is sent if somebody decides on a login that nobody has asked about.
    fn unasked() -> Self {
        Self {
            transit: false,
            continue_: false,
            csg: Stage::Security,
            nsg: Stage::Security,
            isid: [0; 6],
            tsih: 0,
            itt: 0,
            version_max: VERSION,
            version_active: VERSION,
            status: LoginStatus::TARGET_ERROR,
            data: Vec::new(),
        }
    }
}

impl LoginStatus {
    /// The login goes on, or is complete.
    pub const SUCCESS: Self = Self::of(0, 0);
    /// Something that the protocol does not allow.
    pub const INITIATOR_ERROR: Self = Self::of(2, 0);
    /// The initiator has not proved who it is.
    pub const AUTHENTICATION_FAILURE: Self = Self::of(2, 1);
    /// The target is not for this initiator.
    pub const FORBIDDEN: Self = Self::of(2, 2);
    /// No such target.
    pub const NOT_FOUND: Self = Self::of(2, 3);
    /// There was such a target.
    pub const TARGET_REMOVED: Self = Self::of(2, 4);
    /// No version of the protocol in common.
    pub const UNSUPPORTED_VERSION: Self = Self::of(2, 5);
    /// The session has all its connections.
    pub const TOO_MANY_CONNECTIONS: Self = Self::of(2, 6);
    /// A key is missing, such as InitiatorName.
    pub const MISSING_PARAMETER: Self = Self::of(2, 7);
    /// Nothing is known of this SessionType.
    pub const SESSION_TYPE_NOT_SUPPORTED: Self = Self::of(2, 9);
    /// TSIH of no session.
    pub const SESSION_DOES_NOT_EXIST: Self = Self::of(2, 0x0a);
    /// Another request than Login came during the login.
    pub const INVALID_DURING_LOGIN: Self = Self::of(2, 0x0b);
    /// Something is wrong on our side.
    pub const TARGET_ERROR: Self = Self::of(3, 0);
    /// Not now.
    pub const SERVICE_UNAVAILABLE: Self = Self::of(3, 1);
    /// No room for another session.
    pub const OUT_OF_RESOURCES: Self = Self::of(3, 2);

    const fn of(class: u8, detail: u8) -> Self {
        Self { class, detail }
    }

    /// Whether the login goes on.
    pub const fn is_success(self) -> bool {
        self.class == 0
    }
}
