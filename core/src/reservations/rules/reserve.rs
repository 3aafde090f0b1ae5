//! Reserving, and what ends a reservation (SPC-4 sections 5.13.9, 5.13.11.2.2 and 5.13.11.2.7).

use std::sync::Arc;

use super::Draft;
use crate::reservations::kind::ReservationType;
use crate::reservations::registrant::Registrant;
use crate::reservations::request::{Notice, Refusal};
use crate::reservations::table::{Applied, Table};

pub(super) fn reserve(
    table: &Table,
    by: &Registrant,
    key: Option<u64>,
    kind: ReservationType,
) -> Result<Applied, Refusal> {
    table.authorize(by, key)?;
    if let Some(holder) = &table.holder {
        // A holder may say again what it holds, and nothing else.
        return if table.is_holder(by) && holder.kind == kind {
            Ok(Draft::of(table).finish())
        } else {
            Err(Refusal::Conflict)
        };
    }
    let mut draft = Draft::of(table);
    draft.hold(by, kind);
    Ok(draft.finish())
}

pub(super) fn release(
    table: &Table,
    by: &Registrant,
    key: Option<u64>,
    kind: ReservationType,
) -> Result<Applied, Refusal> {
    table.authorize(by, key)?;
    let mut draft = Draft::of(table);
    if let Some(holder) = &table.holder
        && table.is_holder(by)
    {
        if holder.kind != kind {
            return Err(Refusal::WrongType);
        }
        draft.table.holder = None;
        // What other registrants may do changes by it only if the reservation let them do more than strangers.
        if !kind.is_for_the_holder() {
            draft.tell_all_but(by, Notice::ReservationReleased);
        }
    }
    Ok(draft.finish())
}

pub(super) fn clear(table: &Table, by: &Registrant, key: Option<u64>) -> Result<Applied, Refusal> {
    table.authorize(by, key)?;
    Ok(end_all(table, Some(by)))
}

/// An operator is nobody of the table: every registrant hears of it.
pub(super) fn wipe(table: &Table) -> Applied {
    end_all(table, None)
}

fn end_all(table: &Table, by: Option<&Registrant>) -> Applied {
    let mut draft = Draft::of(table);
    draft.table.holder = None;
    draft.table.registrations = Arc::default();
    draft.count();
    for registrant in table.registrations.keys().filter(|one| Some(*one) != by) {
        draft.tell(registrant, Notice::ReservationPreempted);
    }
    draft.finish()
}
