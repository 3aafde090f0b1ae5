//! Login Requests: what the login has to know of them, and what one of them has to do with those before it.

use super::error::LoginError;
use super::response::Stage;

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

impl LoginRequest<'_> {
    /// Where the initiator wants to go from the stage that the login is in (RFC 7143 sections 6.3.3 and 11.12.1 to 11.12.3).
    pub(super) fn transition(&self, stage: Stage) -> Result<Option<Stage>, LoginError> {
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

/// What stays the same from the first request to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opening {
    pub(super) isid: [u8; 6],
    pub(super) tsih: u16,
    pub(super) cid: u16,
    /// The stage that the login begins with.
    pub(super) stage: Stage,
}

impl Opening {
    pub(super) fn of(request: &LoginRequest<'_>) -> Result<Self, LoginError> {
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

    pub(super) fn is_of(&self, request: &LoginRequest<'_>) -> bool {
        (self.isid, self.tsih, self.cid) == (request.isid, request.tsih, request.cid)
    }
}
