//! Login Responses, and what they can say.

use super::request::LoginRequest;

/// The version of the protocol: RFC 7143's, and every RFC's before.
pub(super) const VERSION: u8 = 0;

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

impl LoginResponse {
    /// Goes on in the same stage, with nothing to say.
    pub(super) fn to(request: &LoginRequest<'_>, stage: Stage) -> Self {
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

    pub(super) fn failed(self, status: LoginStatus) -> Self {
        Self {
            transit: false,
            nsg: Stage::Security,
            status,
            data: Vec::new(),
            ..self
        }
    }

    /// What is sent if somebody decides on a login that nobody has asked about.
    pub(super) fn unasked() -> Self {
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
