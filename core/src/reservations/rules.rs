//! The rules by which a table changes: those of SPC-4 section 5.13, as far as the protocols agree.
//!
//! A rule looks at everything that may refuse a change before it changes a [`Draft`]. A draft has the registrations in common with the
//! table as long as they stay as they are: only what changes them costs a copy.

mod movement;
mod preempt;
mod register;
mod reserve;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::kind::ReservationType;
use super::registrant::Registrant;
use super::request::{Action, Change, Notice, Refusal};
use super::table::{Applied, Holder, Table};

impl Table {
    /// What would become of it by a change.
    pub fn apply(&self, change: &Change) -> Result<Applied, Refusal> {
        let by = &change.by;
        match &change.action {
            Action::Register {
                expected,
                key,
                others,
                persist,
            } => register::register(self, by, *expected, *key, others, *persist),
            Action::Reserve { key, kind } => reserve::reserve(self, by, *key, *kind),
            Action::Release { key, kind } => reserve::release(self, by, *key, *kind),
            Action::Clear { key } => reserve::clear(self, by, *key),
            Action::Preempt {
                key,
                victim,
                kind,
                abort,
            } => preempt::preempt(self, by, *key, *victim, *kind, *abort),
            Action::Move {
                key,
                new_key,
                to,
                unregister,
                persist,
            } => {
                let end = movement::Destination {
                    to,
                    key: *new_key,
                    unregister: *unregister,
                };
                movement::register_and_move(self, by, *key, &end, *persist)
            }
            Action::Persist(persist) => {
                let mut draft = Draft::of(self);
                draft.table.persistent = *persist;
                Ok(draft.finish())
            }
            Action::Wipe => Ok(reserve::wipe(self)),
        }
    }

    /// Whether somebody is registered, with the key that it gives if it gives one.
    fn authorize(&self, by: &Registrant, key: Option<u64>) -> Result<(), Refusal> {
        match self.registrations.get(by) {
            Some(own) if key.is_none_or(|key| key == *own) => Ok(()),
            _ => Err(Refusal::Conflict),
        }
    }
}

/// A table while it changes, and what follows from that.
struct Draft {
    table: Table,
    notices: Vec<(Registrant, Notice)>,
    aborted: Vec<Registrant>,
}

impl Draft {
    fn of(table: &Table) -> Self {
        Self {
            table: table.clone(),
            notices: Vec::new(),
            aborted: Vec::new(),
        }
    }

    fn finish(self) -> Applied {
        Applied {
            table: self.table,
            notices: self.notices,
            aborted: self.aborted,
        }
    }

    /// PRGENERATION counts what may change registrations (SPC-4 section 6.15.2), but neither RESERVE nor RELEASE.
    fn count(&mut self) {
        self.table.generation = self.table.generation.wrapping_add(1);
    }

    /// The registrations, to change them.
    fn registrations(&mut self) -> &mut BTreeMap<Registrant, u64> {
        Arc::make_mut(&mut self.table.registrations)
    }

    fn tell(&mut self, to: &Registrant, notice: Notice) {
        self.notices.push((to.clone(), notice));
    }

    /// Tells every registrant but one.
    fn tell_all_but(&mut self, by: &Registrant, notice: Notice) {
        let others = self.table.registrations.keys().filter(|one| *one != by);
        self.notices
            .extend(others.map(|other| (other.clone(), notice)));
    }

    fn hold(&mut self, by: &Registrant, kind: ReservationType) {
        self.table.holder = Some(Holder {
            kind,
            registrant: (!kind.is_held_by_all()).then(|| by.clone()),
        });
    }

    /// Takes a registration away, and a reservation that nobody holds then (SPC-4 table 71). Returns the type of that one.
    fn unregister(&mut self, one: &Registrant) -> Option<ReservationType> {
        self.registrations().remove(one);
        let ends = self
            .table
            .holder
            .as_ref()
            .is_some_and(|holder| match &holder.registrant {
                Some(registrant) => registrant == one,
                None => self.table.registrations.is_empty(),
            });
        if !ends {
            return None;
        }
        self.table.holder.take().map(|holder| holder.kind)
    }
}
