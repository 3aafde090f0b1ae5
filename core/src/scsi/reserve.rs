//! Reservations as SCSI has them: PERSISTENT RESERVE IN and OUT (SPC-4 sections 6.15 and 6.16), RESERVE and RELEASE (SPC-2).

mod change;
mod legacy;
mod report;
mod transport_id;

use super::response::{Response, Status};
use super::sense::{Sense, codes};
use super::unit::LogicalUnit;
use crate::reservations::Refusal;

pub(crate) use change::{Request, persistent_reserve_out, reserve_out_list};
pub(crate) use legacy::{release, reserve};
pub(crate) use report::{read_full_status, read_keys, read_reservation, report_capabilities};

/// The response for a change that was made, or not.
pub(crate) fn complete(unit: &LogicalUnit, result: Result<(), Refusal>) -> Response {
    let code = match result {
        Ok(()) => return Response::good(),
        Err(Refusal::Conflict) => return Status::ReservationConflict.into(),
        Err(Refusal::Busy) => return Status::Busy.into(),
        Err(Refusal::WrongType) => codes::INVALID_RELEASE,
        // SERVICE ACTION RESERVATION KEY.
        Err(Refusal::ZeroKey) => {
            return Response::check_condition_of(unit, Sense::parameter(8, None));
        }
        Err(Refusal::AlreadyRegistered | Refusal::BadMove) => codes::INVALID_FIELD_IN_PARAMETERS,
        Err(Refusal::NothingToMove) => codes::INVALID_FIELD_IN_CDB,
        Err(Refusal::NoRoom) => codes::NO_REGISTRATION_RESOURCES,
        Err(Refusal::NotSaved) => codes::INTERNAL_FAILURE,
    };
    Response::check_condition_of(unit, code)
}
