//! Preempting (SPC-4 sections 5.13.11.2.4 to 5.13.11.2.6).

use super::Draft;
use crate::reservations::kind::ReservationType;
use crate::reservations::registrant::Registrant;
use crate::reservations::request::{Notice, Refusal};
use crate::reservations::table::{Applied, Table};

/// What a key stands for (SPC-4 table 72 and figure 9).
enum Victims {
    /// The reservation is taken over; those with the key lose their registrations, or all if there is none, but not who asks.
    Holder(Option<u64>),
    /// Those with the key lose their registrations, who asks as well.
    Registrants(u64),
}

pub(super) fn preempt(
    table: &Table,
    by: &Registrant,
    key: Option<u64>,
    victim: u64,
    kind: ReservationType,
    abort: bool,
) -> Result<Applied, Refusal> {
    table.authorize(by, key)?;
    let victims = victims(table, victim)?;
    let gone: Vec<_> = table
        .registrations
        .iter()
        .filter(|(one, key)| match victims {
            Victims::Holder(Some(victim)) => **key == victim && *one != by,
            Victims::Holder(None) => *one != by,
            Victims::Registrants(victim) => **key == victim,
        })
        .map(|(one, _)| one)
        .collect();

    let mut draft = Draft::of(table);
    draft.count();
    for one in &gone {
        // Only the last one of all registrants takes a reservation along here, or a holder whose place is taken below.
        draft.unregister(one);
        if *one != by {
            draft.tell(one, Notice::RegistrationPreempted);
        }
    }
    if let Victims::Holder(_) = victims {
        draft.hold(by, kind);
        if table.holder.as_ref().is_some_and(|old| old.kind != kind) {
            draft.tell_all_but(by, Notice::ReservationReleased);
        }
    }
    if abort {
        draft.aborted = gone.into_iter().cloned().collect();
    }
    Ok(draft.finish())
}

fn victims(table: &Table, victim: u64) -> Result<Victims, Refusal> {
    let is_a_key = table.registrations.values().any(|key| *key == victim);
    if table.is_held_by_key(victim) {
        Ok(Victims::Holder((victim != 0).then_some(victim)))
    } else if victim == 0 && table.holder.is_some() {
        Err(Refusal::ZeroKey)
    } else if is_a_key {
        Ok(Victims::Registrants(victim))
    } else {
        Err(Refusal::Conflict)
    }
}
