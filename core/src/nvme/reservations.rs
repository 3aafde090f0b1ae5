//! Reservations as NVMe has them (NVMe base 2.0 section 8.19), beside the commands, which are among the others.

mod features;
mod identity;
mod notices;

use super::plan::Completion;
use super::status::Status;
use crate::reservations::{Refusal, Registrant};
use crate::scsi::{LogicalUnit, ScsiChannel, Slot};

pub(crate) use features::{Masks, persistence, set_mask, set_persistence};
pub(crate) use identity::host_id;
pub(crate) use notices::{ReservationLog, SIZE as NOTIFICATION_SIZE};

/// RESCAP of a namespace that can be reserved: it persists through power loss, has all six types, and ignores keys as NVMe 1.3 has
/// it.
const ALL_CAPABILITIES: u8 = u8::MAX;

/// Reservation Capabilities (RESCAP of Identify CNS 00h and 08h).
pub(crate) fn capabilities(unit: &LogicalUnit) -> u8 {
    if can_reserve(unit) {
        ALL_CAPABILITIES
    } else {
        0
    }
}

/// Whether a namespace can be reserved at all.
pub(crate) fn can_reserve(unit: &LogicalUnit) -> bool {
    unit.model().limits.can_reserve()
}

/// The namespaces that can be reserved, of those that the host sees.
pub(crate) fn reservable(units: &mut ScsiChannel) -> impl Iterator<Item = &Slot> {
    let slots = units.slots().iter();
    slots.filter(|slot| can_reserve(&slot.nexus.unit))
}

/// Whom registrations of the host belong to.
///
/// A host identifier of zero is no identifier: two hosts that have it are different ones (NVMe base 2.0 section 5.27.1.25), and
/// nobody could tell them apart.
pub(crate) fn host(registrant: Option<&Registrant>) -> Result<Registrant, Status> {
    match registrant {
        Some(Registrant::Nvme {
            host: [0, rest @ ..],
        }) if *rest == [0; 15] => Err(Status::RESERVATION_CONFLICT),
        Some(registrant @ Registrant::Nvme { .. }) => Ok(registrant.clone()),
        Some(Registrant::Scsi { .. }) | None => Err(Status::RESERVATION_CONFLICT),
    }
}

/// The completion for a change that was made, or not.
pub(crate) fn complete(result: Result<(), Refusal>) -> Completion {
    let status = match result {
        Ok(()) => return Completion::SUCCESS,
        Err(Refusal::Conflict) => Status::RESERVATION_CONFLICT,
        // RTYPE of Reservation Release, for one, has to be the type that is held (section 7.4).
        Err(
            Refusal::WrongType
            | Refusal::ZeroKey
            | Refusal::AlreadyRegistered
            | Refusal::BadMove
            | Refusal::NothingToMove,
        ) => Status::INVALID_FIELD,
        // NVMe has no status for that. To try again would not help.
        Err(Refusal::NoRoom) => Status::NO_RESOURCES,
        Err(Refusal::Busy | Refusal::NotSaved) => Status::INTERNAL_ERROR,
    };
    status.into()
}
