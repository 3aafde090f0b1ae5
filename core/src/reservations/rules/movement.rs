//! Registering another one and moving the reservation to it (SPC-4 section 5.13.8).

use super::Draft;
use crate::reservations::registrant::Registrant;
use crate::reservations::request::Refusal;
use crate::reservations::table::{Applied, Table};

/// Where a reservation moves to.
pub(super) struct Destination<'a> {
    pub(super) to: &'a Registrant,
    pub(super) key: u64,
    /// Who had it is no registrant any more.
    pub(super) unregister: bool,
}

pub(super) fn register_and_move(
    table: &Table,
    by: &Registrant,
    key: u64,
    end: &Destination<'_>,
    persist: bool,
) -> Result<Applied, Refusal> {
    table.authorize(by, Some(key))?;
    let Some(holder) = &table.holder else {
        return Err(Refusal::NothingToMove);
    };
    // What all registrants hold cannot move.
    if holder.registrant.as_ref() != Some(by) {
        return Err(Refusal::Conflict);
    }
    if end.key == 0 || is_same_initiator(by, end.to) {
        return Err(Refusal::BadMove);
    }
    let is_new = !table.registrations.contains_key(end.to);
    if is_new && !end.unregister && table.room() == 0 {
        return Err(Refusal::NoRoom);
    }

    let mut draft = Draft::of(table);
    draft.table.persistent = persist;
    draft.count();
    draft.registrations().insert(end.to.clone(), end.key);
    draft.hold(end.to, holder.kind);
    if end.unregister {
        draft.unregister(by);
    }
    Ok(draft.finish())
}

/// It is the initiator port that counts, through whichever target port.
fn is_same_initiator(one: &Registrant, other: &Registrant) -> bool {
    match (one, other) {
        (
            Registrant::Scsi { initiator: one, .. },
            Registrant::Scsi {
                initiator: other, ..
            },
        ) => one == other,
        _ => one == other,
    }
}
