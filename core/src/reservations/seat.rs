//! What a nexus has at hand of a table.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::access::{Access, Verdict};
use super::registrant::Registrant;
use super::request::Notice;

/// A nexus's place at the table of a device. The table writes; the nexus reads, without a lock as long as there is nothing to tell.
#[derive(Debug)]
pub(crate) struct Seat {
    registrant: Option<Registrant>,
    verdict: AtomicU8,
    /// No command comes to it any more. The table says so, under its lock.
    retired: AtomicBool,
    has_notices: AtomicBool,
    notices: Mutex<Notices>,
}

/// What a nexus was not told yet.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    /// For SCSI, which has a condition or has it not, one of each kind at most, the gravest first. For NVMe, where each is told by
    /// itself (NVMe base 2.0 section 8.19.1), as they came.
    pub(crate) queued: VecDeque<Notice>,
    /// Those that came after them, and for which there was no room.
    pub(crate) lost: Lost,
}

/// Notices that are only counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    preempted: u64,
    released: u64,
    unregistered: u64,
}

impl Lost {
    /// How many of each kind there were.
    pub(crate) fn kinds(self) -> [(Notice, u64); 3] {
        [
            (Notice::ReservationPreempted, self.preempted),
            (Notice::ReservationReleased, self.released),
            (Notice::RegistrationPreempted, self.unregistered),
        ]
    }

    fn add(&mut self, notice: Notice) {
        let count = match notice {
            Notice::ReservationPreempted => &mut self.preempted,
            Notice::ReservationReleased => &mut self.released,
            Notice::RegistrationPreempted => &mut self.unregistered,
        };
        *count = count.saturating_add(1);
    }
}

/// Notices that wait for an NVMe host: as many as it can be told of.
pub(crate) const MOST_NOTICES: usize = 256;

impl Seat {
    /// For a nexus whose registration belongs to `registrant`; without one it cannot register.
    pub(crate) fn new(registrant: Option<Registrant>) -> Self {
        Self {
            registrant,
            verdict: AtomicU8::new(Access::EVERYTHING as u8),
            retired: AtomicBool::new(false),
            has_notices: AtomicBool::new(false),
            notices: Mutex::default(),
        }
    }

    pub(crate) fn registrant(&self) -> Option<&Registrant> {
        self.registrant.as_ref()
    }

    /// Whether a command that does this may be done.
    #[inline]
    pub(crate) fn allows(&self, access: Access) -> bool {
        access as u8 <= self.verdict.load(Ordering::Acquire)
    }

    /// What the commands of the nexus may do.
    #[cfg(test)]
    pub(crate) fn verdict(&self) -> Verdict {
        Access::from_bits(self.verdict.load(Ordering::Acquire))
    }

    /// Whether there is something to tell.
    #[inline]
    pub(crate) fn has_notices(&self) -> bool {
        self.has_notices.load(Ordering::Acquire)
    }

    /// Takes the next notice.
    #[cold]
    pub(crate) fn take_notice(&self) -> Option<Notice> {
        let mut notices = self.lock();
        let first = notices.queued.pop_front();
        self.has_notices
            .store(!notices.queued.is_empty(), Ordering::Release);
        first
    }

    /// Takes all notices, and what became of those for which there was no room.
    #[cold]
    pub(crate) fn take_notices(&self) -> Notices {
        let mut notices = self.lock();
        self.has_notices.store(false, Ordering::Release);
        std::mem::take(&mut notices)
    }

    /// Whether no command comes to it any more.
    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// No command comes to it any more, so that there is nobody to be told of anything.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
        self.take_notices();
    }

    pub(super) fn judge(&self, verdict: Verdict) {
        self.verdict.store(verdict as u8, Ordering::Release);
    }

    pub(super) fn notify(&self, notice: Notice) {
        let mut notices = self.lock();
        let queued = &mut notices.queued;
        if matches!(self.registrant, Some(Registrant::Nvme { .. })) {
            if queued.len() < MOST_NOTICES {
                queued.push_back(notice);
            } else {
                notices.lost.add(notice);
            }
        } else if let Err(place) = queued.binary_search(&notice) {
            queued.insert(place, notice);
        }
        self.has_notices.store(true, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Notices> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
