//! What a command ends with.

use super::sense::Sense;
use super::unit::LogicalUnit;

/// How a command ended (SAM-5 5.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Done.
    Good = 0x00,
    /// There is sense data.
    CheckCondition = 0x02,
    /// The logical unit is busy.
    Busy = 0x08,
    /// Somebody else holds a reservation.
    ReservationConflict = 0x18,
    /// No room for another command.
    TaskSetFull = 0x28,
    /// Aborted by another I_T nexus.
    TaskAborted = 0x40,
}

/// A finished command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// How it ended.
    pub status: Status,
    /// Why, if `status` is CHECK CONDITION.
    pub sense: Option<Sense>,
    /// Parameter data for the initiator, already cut to the allocation length. Empty for block operations.
    pub data: Vec<u8>,
}

impl From<Status> for Response {
    fn from(status: Status) -> Self {
        Self {
            status,
            sense: None,
            data: Vec::new(),
        }
    }
}

impl Response {
    /// Done, without parameter data.
    pub fn good() -> Self {
        Status::Good.into()
    }

    /// Done, with parameter data of at most `allocation_length` bytes.
    pub(crate) fn with_data(mut data: Vec<u8>, allocation_length: u32) -> Self {
        data.truncate(usize::try_from(allocation_length).unwrap_or(usize::MAX));
        Self {
            status: Status::Good,
            sense: None,
            data,
        }
    }

    /// Failed, with sense data as given.
    pub fn check_condition(sense: impl Into<Sense>) -> Self {
        Self {
            status: Status::CheckCondition,
            sense: Some(sense.into()),
            data: Vec::new(),
        }
    }

    /// Failed, with sense data in the format that the logical unit is set to.
    pub fn check_condition_of(unit: &LogicalUnit, sense: impl Into<Sense>) -> Self {
        Self::check_condition(Sense {
            format: unit.sense_format(),
            ..sense.into()
        })
    }
}
