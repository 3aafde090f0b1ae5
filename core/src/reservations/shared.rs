//! A device's table as all of its nexuses share it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::access::{Access, Verdict};
use super::registrant::Registrant;
use super::request::{Change, Refusal};
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
    /// Everybody who may send commands. Who is gone is forgotten at the next change.
    nexuses: Vec<Weak<Seat>>,
    /// Who has reserved the unit by SCSI-2's RESERVE; that lasts no longer than the nexus.
    reserved: Option<Weak<Seat>>,
    /// There is a [`Prepared`] change.
    changing: bool,
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

    /// Makes the table that a change leads to. One change at a time.
    pub fn begin(&self, change: &Change) -> Result<Prepared<'_>, Refusal> {
        let mut state = self.lock();
        if state.changing {
            return Err(Refusal::Busy);
        }
        let applied = state.table.apply(change)?;
        let save = state.table.persistent() || applied.table.persistent();
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
        state.nexuses.retain(|seat| seat.strong_count() != 0);
        state.nexuses.push(weak);
    }

    /// A nexus is going away, and with it what it had reserved.
    pub(crate) fn leave(&self, seat: &Arc<Seat>) {
        self.release(seat);
    }

    /// RESERVE of SCSI-2 (SPC-2 section 7.21). Whether it is reserved for the nexus now.
    pub(crate) fn reserve(&self, seat: &Arc<Seat>) -> Result<(), Refusal> {
        let mut state = self.lock();
        if state.changing {
            return Err(Refusal::Busy);
        }
        let seat = Arc::downgrade(seat);
        if state
            .reserved
            .as_ref()
            .is_some_and(|holder| !holder.ptr_eq(&seat))
        {
            return Err(Refusal::Conflict);
        }
        state.reserved = Some(seat);
        state.judge_all();
        Ok(())
    }

    /// RELEASE of SCSI-2 (SPC-2 section 7.16): nothing happens if somebody else has reserved.
    pub(crate) fn release(&self, seat: &Arc<Seat>) {
        let mut state = self.lock();
        let seat = Arc::downgrade(seat);
        if state
            .reserved
            .as_ref()
            .is_some_and(|holder| holder.ptr_eq(&seat))
        {
            state.reserved = None;
            state.judge_all();
        }
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
    fn judge_all(&mut self) {
        self.nexuses.retain(|nexus| nexus.strong_count() != 0);
        for weak in &self.nexuses {
            if let Some(nexus) = weak.upgrade() {
                nexus.judge(self.verdict_of(&nexus, weak));
            }
        }
    }

    fn verdict_of(&self, seat: &Seat, weak: &Weak<Seat>) -> Verdict {
        match &self.reserved {
            Some(holder) if !holder.ptr_eq(weak) => Access::Always,
            _ => self.table.verdict(seat.registrant()),
        }
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

    /// Whether it has to be saved before it is in force.
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
        state.judge_all();
        for nexus in state.nexuses.iter().filter_map(Weak::upgrade) {
            let Some(registrant) = nexus.registrant() else {
                continue;
            };
            for (_, notice) in applied.notices.iter().filter(|(to, _)| to == registrant) {
                nexus.notify(*notice);
            }
        }
        applied.aborted
    }
}

impl Drop for Prepared<'_> {
    fn drop(&mut self) {
        self.of.lock().changing = false;
    }
}
