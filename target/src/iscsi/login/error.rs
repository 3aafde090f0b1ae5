//! Why a login fails, and with which status.

use thiserror::Error;

use super::response::LoginStatus;
use super::{MAX_KEYS, MAX_REQUESTS};
use crate::iscsi::chap::ChapError;
use crate::iscsi::negotiation::NegotiationError;
use crate::iscsi::text::TextError;

/// Why a login fails.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum LoginError {
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
    #[error(
        "no access group of target {0} admits it; add its name to \"initiators\" of one (pagecast initiator add TARGET GROUP NAME)"
    )]
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
    pub(super) fn status(&self) -> LoginStatus {
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
