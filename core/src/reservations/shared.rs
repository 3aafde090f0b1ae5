//! A device's table as all of its nexuses share it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::access::{Access, Verdict};
use super::registrant::Registrant;
use super::request::{Action, Change, Refusal};
use super::seat::Seat;
use super::table::{Applied, Table};

/// The reservations of a device.
#[derive(Debug)]
pub struct Reservations {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    table: Arc<Table>,
    /// Everybody who may send commands.
    nexuses: Vec<Weak<Seat>>,
    /// Who has reserved the unit by SCSI-2's RESERVE; that lasts no longer than the nexus.
    reserved: Option<Weak<Seat>>,
    /// There is a [`Prepared`] change.
    changing: bool,
    /// A change was to be saved and was not made: what is saved may be that one.
    doubtful: bool,
}

impl Reservations {
    /// Reservations as they are at first.
    pub fn new(table: Table) -> Self {
        Self {
            state: Mutex::new(State {
                table: Arc::new(table),
                nexuses: Vec::new(),
                reserved: None,
                changing: false,
                doubtful: false,
            }),
        }
    }

    /// The table in force.
    pub fn table(&self) -> Arc<Table> {
        Arc::clone(&self.lock().table)
    }

    /// Puts a table in force that was saved before, at start.
    pub fn restore(&self, table: Table) {
        let mut state = self.lock();
        state.table = Arc::new(table);
        state.judge_all();
    }

    /// Everybody who may send commands and can register, once each, in order.
    pub fn live(&self) -> Vec<Registrant> {
        let seats: Vec<_> = self.lock().live().collect();
        let registrants: BTreeSet<_> = seats.iter().filter_map(|seat| seat.registrant()).collect();
        registrants.into_iter().cloned().collect()
    }

    /// Makes the table that a change leads to. One change at a time.
    pub fn begin(&self, change: &Change) -> Result<Prepared<'_>, Refusal> {
        let mut state = self.lock();
        if state.changing {
            return Err(Refusal::Busy);
        }
        // While a unit is reserved by RESERVE, PERSISTENT RESERVE OUT conflicts, whoever sends it (SPC-2 section 5.5.1).
        let by_command = !matches!(change.action, Action::Persist(_) | Action::Wipe);
        if by_command && state.is_reserved() {
            return Err(Refusal::Conflict);
        }
        let applied = state.table.apply(change)?;
        let save = state.doubtful || applied.table.differs_when_saved(&state.table);
        state.changing = true;
        Ok(Prepared {
            of: self,
            applied: Some(applied),
            save,
        })
    }

    /// A nexus that may send commands from now on.
    pub(crate) fn join(&self, seat: &Arc<Seat>) {
        let mut state = self.lock();
        let weak = Arc::downgrade(seat);
        seat.judge(state.verdict_of(seat, &weak));
        state.nexuses.push(weak);
    }

    /// A nexus is going away, and with it what it had reserved.
    pub(crate) fn leave(&self, seat: &Arc<Seat>) {
        let mut state = self.lock();
        let (left, seat) = (seat, Arc::downgrade(seat));
        state.end_reserve_of(&seat);
        // No change reaches it any more: whoever still has it is to do nothing by a verdict of the past.
        left.judge(Access::Always);
        if let Some(place) = state.nexuses.iter().position(|one| one.ptr_eq(&seat)) {
            state.nexuses.swap_remove(place);
        }
    }

    /// A nexus does not get any more commands, and what it had reserved is free. Those that it has run to their ends, by verdicts that
    /// are kept up to date until it leaves.
    pub(crate) fn retire(&self, seat: &Arc<Seat>) {
        let mut state = self.lock();
        seat.retire();
        state.end_reserve_of(&Arc::downgrade(seat));
    }

    /// RESERVE of SCSI-2 (SPC-2 section 7.21). If that is good, either the unit is reserved for the nexus, or there is a
    /// persistent reservation that serves it.
    pub(crate) fn reserve(&self, seat: &Arc<Seat>) -> Result<(), Refusal> {
        let mut state = self.lock();
        // A change that is not durable yet may yet fail: there is no saying which of the two comes first.
        if state.changing {
            return Err(Refusal::Busy);
        }
        // It would never be free again. Who tries again finds that there is no such unit.
        if seat.is_retired() {
            return Err(Refusal::Busy);
        }
        if let Some(answer) = state.compatible(seat) {
            return answer;
        }
        let seat = Arc::downgrade(seat);
        if state.is_reserved() && !state.is_reserved_for(&seat) {
            return Err(Refusal::Conflict);
        }
        state.reserved = Some(seat);
        state.judge_all();
        Ok(())
    }

    /// RELEASE of SCSI-2 (SPC-2 section 7.16): nothing happens if somebody else has reserved.
    pub(crate) fn release(&self, seat: &Arc<Seat>) -> Result<(), Refusal> {
        let mut state = self.lock();
        if let Some(answer) = state.compatible(seat) {
            return answer;
        }
        state.end_reserve_of(&Arc::downgrade(seat));
        Ok(())
    }

    /// Whether anybody has reserved the unit by SCSI-2's RESERVE.
    pub(crate) fn is_reserved(&self) -> bool {
        self.lock().is_reserved()
    }

    /// A reset ends what SCSI-2's RESERVE has reserved (SPC-2 section 5.5.1).
    pub(crate) fn reset(&self) {
        let mut state = self.lock();
        if state.reserved.take().is_some() {
            state.judge_all();
        }
    }

    /// Every state is a good one, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whoever has a seat and may send commands.
    fn live(&self) -> impl Iterator<Item = Arc<Seat>> {
        let seats = self.nexuses.iter().filter_map(Weak::upgrade);
        seats.filter(|seat| !seat.is_retired())
    }

    fn judge_all(&self) {
        for weak in &self.nexuses {
            if let Some(seat) = weak.upgrade() {
                seat.judge(self.verdict_of(&seat, weak));
            }
        }
    }

    fn verdict_of(&self, seat: &Seat, weak: &Weak<Seat>) -> Verdict {
        if self.is_reserved() && !self.is_reserved_for(weak) {
            Access::Always
        } else {
            self.table.verdict(seat.registrant())
        }
    }

    /// By RESERVE.
    fn is_reserved(&self) -> bool {
        self.reserved
            .as_ref()
            .is_some_and(|holder| holder.strong_count() != 0)
    }

    fn is_reserved_for(&self, seat: &Weak<Seat>) -> bool {
        self.reserved
            .as_ref()
            .is_some_and(|holder| holder.ptr_eq(seat))
    }

    fn end_reserve_of(&mut self, seat: &Weak<Seat>) {
        if self.is_reserved_for(seat) {
            self.reserved = None;
            self.judge_all();
        }
    }

    /// What RESERVE and RELEASE come to where hosts reserve persistently; none if they do not.
    fn compatible(&self, seat: &Seat) -> Option<Result<(), Refusal>> {
        if self.table.registrations().is_empty() {
            return None;
        }
        // Whom the persistent reservation lets do everything is told that all is well (SPC-4 section 5.13.3).
        let serves = self.table.holder().is_some()
            && self.table.verdict(seat.registrant()) == Access::EVERYTHING;
        // Both conflict for everybody else, as long as anybody is registered (SPC-2 section 5.5.1).
        Some(if serves {
            Ok(())
        } else {
            Err(Refusal::Conflict)
        })
    }
}

/// A change that is yet to be made. Dropped, it never was.
#[derive(Debug)]
pub struct Prepared<'a> {
    of: &'a Reservations,
    applied: Option<Applied>,
    save: bool,
}

impl Prepared<'_> {
    /// The table that is to be.
    pub fn table(&self) -> Option<&Table> {
        self.applied.as_ref().map(|applied| &applied.table)
    }

    /// Whether it has to be saved before it is in force: also if it is the first that need not outlive a loss of power, since
    /// the one before must not come back then.
    pub fn must_be_saved(&self) -> bool {
        self.save
    }

    /// Puts it in force. Returns whose commands are to be aborted: from now on none of theirs is admitted against it.
    pub fn commit(mut self) -> Vec<Registrant> {
        let Some(applied) = self.applied.take() else {
            return Vec::new();
        };
        let mut state = self.of.lock();
        state.table = Arc::new(applied.table);
        state.doubtful = false;
        // The verdict first: who hears of a change is under it already.
        state.judge_all();
        let notices: HashMap<_, _> = applied
            .notices
            .iter()
            .map(|(to, what)| (to, *what))
            .collect();
        if !notices.is_empty() {
            for seat in state.live() {
                if let Some(notice) = seat.registrant().and_then(|one| notices.get(one)) {
                    seat.notify(*notice);
                }
            }
        }
        applied.aborted
    }
}

impl Drop for Prepared<'_> {
    fn drop(&mut self) {
        let mut state = self.of.lock();
        state.changing = false;
        if self.applied.is_some() && self.save {
            state.doubtful = true;
        }
    }
}
