//! Reservations as SCSI has them: PERSISTENT RESERVE IN and OUT (SPC-4 sections 6.15 and 6.16).

use super::response::{Response, Status};
use super::sense::codes;
use super::unit::LogicalUnit;
use crate::reservations::Refusal;

/// The response for a change that was made, or not.
pub(crate) fn complete(unit: &LogicalUnit, result: Result<(), Refusal>) -> Response {
    let code = match result {
        Ok(()) => return Response::good(),
        Err(Refusal::Conflict) => return Status::ReservationConflict.into(),
        Err(Refusal::Busy) => return Status::Busy.into(),
        Err(Refusal::WrongType) => codes::INVALID_RELEASE,
        Err(Refusal::ZeroKey | Refusal::AlreadyRegistered | Refusal::BadMove) => {
            codes::INVALID_FIELD_IN_PARAMETERS
        }
        Err(Refusal::NothingToMove) => codes::INVALID_FIELD_IN_CDB,
        Err(Refusal::NoRoom) => codes::NO_REGISTRATION_RESOURCES,
        Err(Refusal::NotSaved) => codes::INTERNAL_FAILURE,
    };
    Response::check_condition_of(unit, code)
}
