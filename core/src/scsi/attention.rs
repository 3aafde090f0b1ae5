//! Unit attention conditions (SAM-5 5.14).
//!
//! Nothing is queued. A nexus remembers which events of its logical unit it was told about, and the difference is what is
//! pending. A unit with a thousand sessions does the same work for an event as one with a single session.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::mapping::Mapping;
use super::model::Identity;
use super::opcodes::Flags;
use super::sense::{SenseCode, codes};
use super::unit::{EventCounts, LogicalUnit, ResetKind};
use crate::reservations::{Access, Notice, Registrant, Seat};

/// The sum of events that no unit reaches: look closer.
const UNSEEN: u64 = u64::MAX;

/// One session's view of one logical unit (an I_T_L nexus), shared by the session's channels.
#[derive(Debug)]
pub(crate) struct Nexus {
    pub(crate) unit: Arc<LogicalUnit>,
    seat: Arc<Seat>,
    /// Write protected for this initiator.
    read_only: AtomicBool,
    /// Its number meant another unit to the initiator, which has not looked since who is there: what it sends may be meant for that.
    strange: AtomicBool,
    /// The generation of the LUN map that it came with: no other nexus that had its number has the same.
    since: u64,
    /// The unit's sum of events when nothing was pending.
    seen_events: AtomicU64,
    seen: Mutex<Seen>,
}

/// What the initiator knows.
#[derive(Debug)]
struct Seen {
    /// It has to be told of a power-on.
    power_on: bool,
    /// It has to be told that there is another unit than it knows.
    replaced: bool,
    /// It has to be told of this generation of the LUN map.
    luns_changed: Option<u64>,
    /// It has to be told that the nexus was write protected, or is not any more.
    protection_changed: bool,
    /// It has stopped the unit.
    stopped: bool,
    counts: EventCounts,
}

/// What an initiator knows of a unit that a number does not stand for any more.
#[derive(Debug)]
pub(crate) struct Departed {
    unit: Weak<LogicalUnit>,
    identity: Identity,
    /// It did not even know that it was that unit.
    strange: bool,
    replaced: bool,
    read_only: bool,
    counts: EventCounts,
}

impl Nexus {
    /// `since` is the generation of the LUN map that it comes with.
    pub(crate) fn new(mapping: &Mapping, registrant: Option<Registrant>, since: u64) -> Self {
        let unit = mapping.unit.clone();
        let seat = Arc::new(Seat::new(registrant));
        unit.reservations().join(&seat);
        // The sum before the counts: what happens in between is looked at once too often, but not missed.
        let events = unit.events();
        let seen = Seen {
            power_on: false,
            replaced: false,
            luns_changed: None,
            protection_changed: false,
            stopped: false,
            counts: unit.counts(),
        };
        Self {
            unit,
            seat,
            read_only: AtomicBool::new(mapping.read_only),
            strange: AtomicBool::new(false),
            since,
            seen_events: AtomicU64::new(events),
            seen: Mutex::new(seen),
        }
    }

    /// Takes the next unit attention condition, if there is one. Otherwise says whether the initiator has yet to look who is there, or
    /// the unit is stopped, unless that does not matter to a command with these flags. Two loads if there is nothing.
    pub(crate) fn take(&self, flags: Flags) -> Option<SenseCode> {
        if self.seen_events.load(Ordering::Acquire) == self.unit.events()
            && !self.seat.has_notices()
        {
            return None;
        }
        self.take_pending(flags)
    }

    #[cold]
    fn take_pending(&self, flags: Flags) -> Option<SenseCode> {
        let mut seen = self.lock();
        // The sum before the counts: an event that comes in between makes the sums differ again.
        let events = self.unit.events();
        let now = self.unit.counts();
        let code = seen.next(now, &self.seat);
        let strange = self.is_strange();
        if !seen.is_pending(now) && !strange {
            self.seen_events.store(events, Ordering::Release);
        }
        let needs_medium = !flags.has(Flags::NO_MEDIUM);
        let needs_unit = needs_medium || flags.has(Flags::CHANGES);
        code.or((strange && needs_unit).then_some(codes::LUN_NOT_SUPPORTED))
            .or((seen.stopped && needs_medium).then_some(codes::UNIT_STOPPED))
    }

    /// Whether reservations let the initiator do this.
    #[inline]
    pub(crate) fn allows(&self, access: Access) -> bool {
        self.seat.allows(access)
    }

    /// Its place at the unit's table of reservations.
    pub(crate) fn seat(&self) -> &Arc<Seat> {
        &self.seat
    }

    /// The initiator stops or starts the unit.
    ///
    /// That is between the two of them: the unit stays ready for everybody else. One of several hosts that share a disk
    /// stops it when it shuts down, and must not take it from the others.
    pub(crate) fn set_stopped(&self, stopped: bool) {
        self.note(|seen| seen.stopped = stopped);
    }

    /// Everything that the initiator knows of the unit may have been lost.
    pub(crate) fn power_on(&self) {
        self.note(|seen| {
            seen.power_on = true;
            seen.stopped = false;
        });
    }

    /// Whether the initiator may not write, whatever others may.
    pub(crate) fn read_only(&self) -> bool {
        self.read_only.load(Ordering::Relaxed)
    }

    /// Whether the initiator may not write, as it is mapped, or as the model or an initiator has it.
    pub(crate) fn write_protected(&self) -> bool {
        self.read_only() || self.unit.write_protected()
    }

    /// Tells it from others that had or will have its number in the session.
    pub(crate) fn since(&self) -> u64 {
        self.since
    }

    /// It is mapped with this. The initiator is told if that is not as it was.
    pub(crate) fn set_read_only(&self, read_only: bool) {
        if self.read_only.swap(read_only, Ordering::Relaxed) != read_only {
            self.note(|seen| seen.protection_changed = true);
        }
    }

    /// The LUN map of the session has changed to this generation.
    pub(crate) fn luns_changed(&self, generation: u64) {
        self.note(|seen| seen.luns_changed = Some(generation));
    }

    /// The initiator read the LUN map as it was in this generation.
    pub(crate) fn luns_seen(&self, generation: u64) {
        let mut seen = self.lock();
        if seen
            .luns_changed
            .is_some_and(|changed| changed <= generation)
        {
            seen.luns_changed = None;
        }
    }

    /// Another unit had its number until now. One of another name is a stranger to the initiator; a disk that was closed and opened again
    /// is none.
    pub(crate) fn took_number(&self, before: &Self) {
        let strange = before.is_strange() || !self.has_identity(before.identity());
        self.strange.store(strange, Ordering::Relaxed);
        self.note(|seen| seen.replaced = true);
    }

    fn identity(&self) -> &Identity {
        &self.unit.model().identity
    }

    fn has_identity(&self, identity: &Identity) -> bool {
        self.identity() == identity
    }

    /// Whether commands that come may be meant for another unit.
    #[inline]
    pub(crate) fn is_strange(&self) -> bool {
        self.strange.load(Ordering::Relaxed)
    }

    /// The initiator is told which unit it is.
    pub(crate) fn introduce(&self) {
        self.strange.store(false, Ordering::Relaxed);
    }

    /// Its number stood for nothing, and before that for what has departed: if that was this unit, the initiator is told of what has
    /// become of it since, and otherwise that it is another one.
    pub(crate) fn took_number_of(&self, departed: &Departed) {
        let same = std::ptr::eq(departed.unit.as_ptr(), Arc::as_ptr(&self.unit));
        let strange = departed.strange || !self.has_identity(&departed.identity);
        self.strange.store(strange, Ordering::Relaxed);
        self.note(|seen| {
            seen.replaced = !same || departed.replaced;
            if same {
                seen.counts = departed.counts;
                seen.protection_changed = departed.read_only != self.read_only();
            }
        });
    }

    /// What is to be remembered of it when its number stands for nothing.
    pub(crate) fn departed(&self) -> Departed {
        let seen = self.lock();
        Departed {
            unit: Arc::downgrade(&self.unit),
            identity: self.identity().clone(),
            strange: self.is_strange(),
            replaced: seen.replaced,
            read_only: self.read_only() != seen.protection_changed,
            counts: seen.counts,
        }
    }

    /// There may be something to tell.
    fn note(&self, change: impl FnOnce(&mut Seen)) {
        let mut seen = self.lock();
        change(&mut seen);
        self.seen_events.store(UNSEEN, Ordering::Release);
    }

    /// The initiator itself caused one change of mode parameters: it needs not be told.
    pub(crate) fn own_mode_change(&self) {
        let mut seen = self.lock();
        seen.counts.mode_changes = seen.counts.mode_changes.wrapping_add(1);
    }

    /// Every state of `Seen` is a good one, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Nexus {
    fn drop(&mut self) {
        self.unit.reservations().leave(&self.seat);
    }
}

impl Seen {
    /// Resets go before the rest, the largest of them for all (SAM-5 5.14). They say that mode parameters have their
    /// defaults and that the unit is ready, but not that the capacity is what it was.
    fn next(&mut self, now: EventCounts, seat: &Seat) -> Option<SenseCode> {
        let counts = &mut self.counts;
        let reset = ResetKind::ALL
            .into_iter()
            .find(|kind| counts.resets[*kind as usize] != now.resets[*kind as usize]);
        if self.power_on || reset.is_some() {
            let power_on = self.power_on.then_some(codes::RESET_OCCURRED);
            self.power_on = false;
            self.stopped = false;
            counts.resets = now.resets;
            counts.mode_changes = now.mode_changes;
            return power_on.or(reset.map(ResetKind::code));
        }
        // All else is about the unit that there is now.
        if std::mem::take(&mut self.replaced) {
            return Some(codes::INQUIRY_DATA_CHANGED);
        }
        if let Some(notice) = seat.take_notice() {
            return Some(match notice {
                Notice::ReservationPreempted => codes::RESERVATIONS_PREEMPTED,
                Notice::ReservationReleased => codes::RESERVATIONS_RELEASED,
                Notice::RegistrationPreempted => codes::REGISTRATIONS_PREEMPTED,
            });
        }
        if counts.capacity_changes != now.capacity_changes {
            counts.capacity_changes = now.capacity_changes;
            return Some(codes::CAPACITY_CHANGED);
        }
        let protection_changed = std::mem::take(&mut self.protection_changed);
        if protection_changed || counts.mode_changes != now.mode_changes {
            counts.mode_changes = now.mode_changes;
            return Some(codes::MODE_PARAMETERS_CHANGED);
        }
        self.luns_changed.take().map(|_| codes::LUNS_CHANGED)
    }

    fn is_pending(&self, now: EventCounts) -> bool {
        // While it is stopped, every command has to be looked at.
        self.power_on
            || self.replaced
            || self.luns_changed.is_some()
            || self.protection_changed
            || self.stopped
            || self.counts != now
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn nexus() -> Nexus {
        nexus_of(Arc::new(testing::unit()))
    }

    fn nexus_of(unit: Arc<LogicalUnit>) -> Nexus {
        Nexus::new(&unit.into(), None, 0)
    }

    fn all(nexus: &Nexus) -> Vec<SenseCode> {
        std::iter::from_fn(|| nexus.take(Flags::NO_MEDIUM)).collect()
    }

    #[test]
    fn a_new_nexus_hears_of_what_comes_after_it() {
        let unit = Arc::new(testing::unit());
        unit.reset();
        let nexus = nexus_of(unit);
        assert_eq!(all(&nexus), []);
        nexus.unit.set_capacity(7);
        assert_eq!(all(&nexus), [codes::CAPACITY_CHANGED]);
    }

    #[test]
    fn a_power_on_is_reported_first() {
        let nexus = nexus();
        nexus.unit.set_capacity(7);
        nexus.unit.reset();
        nexus.power_on();
        assert_eq!(
            all(&nexus),
            [codes::RESET_OCCURRED, codes::CAPACITY_CHANGED]
        );
        assert_eq!(all(&nexus), []);
    }

    #[test]
    fn events_of_a_kind_are_reported_once() {
        let nexus = nexus();
        nexus.unit.set_capacity(7);
        nexus.unit.set_capacity(8);
        nexus.luns_changed(1);
        assert_eq!(all(&nexus), [codes::CAPACITY_CHANGED, codes::LUNS_CHANGED]);
        nexus.unit.set_capacity(8);
        assert_eq!(all(&nexus), []);
        nexus.unit.reset();
        assert_eq!(all(&nexus), [codes::UNIT_RESET_OCCURRED]);
    }

    #[test]
    fn every_nexus_of_a_unit_hears_of_its_events() {
        let first = nexus();
        let second = nexus_of(first.unit.clone());
        first.unit.reset();
        assert_eq!(all(&first), [codes::UNIT_RESET_OCCURRED]);
        assert_eq!(all(&second), [codes::UNIT_RESET_OCCURRED]);
    }

    #[test]
    fn the_largest_of_several_resets_is_reported() {
        let nexus = nexus();
        nexus.unit.reset();
        nexus.unit.reset_as(ResetKind::TargetWarm);
        nexus.unit.reset();
        assert_eq!(all(&nexus), [codes::TARGET_RESET_OCCURRED]);
        nexus.unit.reset_as(ResetKind::TargetWarm);
        nexus.unit.reset_as(ResetKind::TargetCold);
        assert_eq!(all(&nexus), [codes::POWER_ON_OCCURRED]);
    }

    #[test]
    fn a_unit_is_stopped_for_one_nexus_until_it_is_started_or_reset() {
        let first = nexus();
        let second = nexus_of(first.unit.clone());
        first.set_stopped(true);
        for _ in 0..2 {
            assert_eq!(first.take(Flags::NONE), Some(codes::UNIT_STOPPED));
            assert_eq!(first.take(Flags::NO_MEDIUM), None);
            assert_eq!(second.take(Flags::NONE), None);
        }
        first.unit.set_capacity(7);
        assert_eq!(first.take(Flags::NONE), Some(codes::CAPACITY_CHANGED));
        assert_eq!(first.take(Flags::NONE), Some(codes::UNIT_STOPPED));
        first.set_stopped(false);
        assert_eq!(first.take(Flags::NONE), None);

        first.set_stopped(true);
        first.unit.reset();
        assert_eq!(first.take(Flags::NONE), Some(codes::UNIT_RESET_OCCURRED));
        assert_eq!(first.take(Flags::NONE), None);
    }

    #[test]
    fn a_change_of_luns_that_was_read_is_not_reported() {
        let nexus = nexus();
        nexus.luns_changed(1);
        nexus.luns_seen(1);
        assert_eq!(all(&nexus), []);
    }
}
