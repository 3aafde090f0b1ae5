//! The login phase (RFC 7143 sections 6.3, 11.12 and 11.13): who an initiator is, whether it may come in, and what holds afterwards.
//!
//! PDUs are decoded and numbered by the connection; this is what they mean.

use super::directory::Directory;
use super::parameters::{Datamover, Limits, Parameters};

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

/// One connection's login.
#[derive(Debug)]
pub struct Login {
    datamover: Datamover,
    limits: Limits,
}

impl Login {
    /// Before the first request.
    pub fn new(datamover: Datamover, limits: Limits) -> Self {
        Self { datamover, limits }
    }

    /// Takes a request. `entropy` fills with bytes that nobody can foresee.
    pub fn request(
        &mut self,
        request: &LoginRequest<'_>,
        directory: &dyn Directory,
        entropy: &mut dyn FnMut(&mut [u8]),
    ) -> Step {
        let _ = (request, directory, entropy, self.datamover, self.limits);
        todo!()
    }

    /// The last response, after [`Step::Admit`]: the session is `tsih`.
    pub fn admitted(&mut self, tsih: u16) -> LoginResponse {
        let _ = tsih;
        todo!()
    }

    /// The last response, after [`Step::Admit`]: the session is not to be.
    pub fn refused(&mut self, status: LoginStatus) -> LoginResponse {
        let _ = status;
        todo!()
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
