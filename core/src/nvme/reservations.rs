//! Reservations as NVMe has them (NVMe base 2.0 section 8.19).

use super::plan::Completion;
use super::status::Status;
use crate::reservations::Refusal;

/// The completion for a change that was made, or not.
pub(crate) fn complete(result: Result<(), Refusal>) -> Completion {
    let status = match result {
        Ok(()) => return Completion::SUCCESS,
        Err(Refusal::Conflict | Refusal::WrongType) => Status::RESERVATION_CONFLICT,
        Err(
            Refusal::ZeroKey
            | Refusal::AlreadyRegistered
            | Refusal::BadMove
            | Refusal::NothingToMove,
        ) => Status::INVALID_FIELD,
        Err(Refusal::NoRoom | Refusal::Busy | Refusal::NotSaved) => Status::INTERNAL_ERROR,
    };
    status.into()
}
