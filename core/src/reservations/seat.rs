//! What a nexus has at hand of a table.

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
    has_notices: AtomicBool,
    /// One of each kind at most.
    notices: Mutex<Vec<Notice>>,
}

impl Seat {
    /// For a nexus whose registration belongs to `registrant`; without one it cannot register.
    pub(crate) fn new(registrant: Option<Registrant>) -> Self {
        Self {
            registrant,
            verdict: AtomicU8::new(Access::EVERYTHING as u8),
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
        let first = (!notices.is_empty()).then(|| notices.remove(0));
        self.has_notices
            .store(!notices.is_empty(), Ordering::Release);
        first
    }

    pub(super) fn judge(&self, verdict: Verdict) {
        self.verdict.store(verdict as u8, Ordering::Release);
    }

    pub(super) fn notify(&self, notice: Notice) {
        let mut notices = self.lock();
        if !notices.contains(&notice) {
            notices.push(notice);
            notices.sort_unstable();
        }
        self.has_notices.store(true, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Notice>> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
