//! Registering and unregistering (SPC-4 sections 5.13.7 and 5.13.11.2.3, NVMe base 2.0 section 8.19.3).

use std::collections::BTreeSet;

use super::Draft;
use crate::reservations::registrant::Registrant;
use crate::reservations::request::{Expected, Notice, Refusal};
use crate::reservations::table::{Applied, Table};

pub(super) fn register(
    table: &Table,
    by: &Registrant,
    expected: Expected,
    key: u64,
    others: &[Registrant],
    persist: Option<bool>,
) -> Result<Applied, Refusal> {
    let own = table.registrations.get(by).copied();
    let met = match expected {
        Expected::Key(key) => own.unwrap_or(0) == key,
        Expected::Registered(key) => own == Some(key),
        Expected::AnyRegistered => own.is_some(),
        Expected::Unregistered => own.is_none_or(|own| own == key),
        Expected::Any => true,
    };
    if !met {
        return Err(Refusal::Conflict);
    }
    if own.is_none() && key == 0 {
        // "Do nothing except return GOOD status" (SPC-4 tables 67 and 68): nothing is counted, and APTPL is not looked at.
        return match expected {
            Expected::Unregistered => Err(Refusal::ZeroKey),
            _ => Ok(Draft::of(table).finish()),
        };
    }
    // Others are for who comes first (table 67, notes b and c).
    if !others.is_empty()
        && (own.is_some()
            || others
                .iter()
                .any(|other| table.registrations.contains_key(other)))
    {
        return Err(Refusal::AlreadyRegistered);
    }
    // Who is named twice is registered once.
    let all: BTreeSet<_> = others.iter().chain([by]).collect();
    if own.is_none() && all.len() > table.room() {
        return Err(Refusal::NoRoom);
    }

    let mut draft = Draft::of(table);
    if let Some(persist) = persist {
        draft.table.persistent = persist;
    }
    draft.count();
    if key == 0 {
        unregister(&mut draft, by);
        return Ok(draft.finish());
    }
    if own != Some(key) {
        let added = all.into_iter().map(|one| (one.clone(), key));
        draft.registrations().extend(added);
    }
    Ok(draft.finish())
}

/// Whoever remains hears of it if what it was allowed as a registrant has changed (SPC-4 section 5.13.11.2.3).
fn unregister(draft: &mut Draft, by: &Registrant) {
    if let Some(kind) = draft.unregister(by)
        && !kind.is_for_the_holder()
    {
        // Nobody remains of those who held a reservation of all registrants.
        draft.tell_all_but(by, Notice::ReservationReleased);
    }
}
