//! How large a device is, and how large its store is found to be.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

/// How old the knowledge of the store's size may be. A file that somebody truncates leaves registered pages behind that
/// still hold the old bytes; looking this often bounds how long they can be served, at the cost of at most a thousand
/// `fstat` calls a second while the device is busy and none while it is idle.
const SIZE_LEASE_NS: u64 = 1_000_000;

/// The bytes that a device is known to have: those that its store had when it was opened or last resized. Shared with the
/// windows, which reach that far.
#[derive(Clone, Debug)]
pub struct ServedSize(Arc<AtomicU64>);

impl ServedSize {
    /// Begins with what the store has.
    pub fn new(bytes: u64) -> Self {
        Self(Arc::new(AtomicU64::new(bytes)))
    }

    /// Right now.
    pub fn bytes(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What was last found to be there of a device's bytes.
#[derive(Debug)]
pub(super) struct SizeLease {
    /// When `found` was true, in nanoseconds; 0 for never.
    checked: AtomicU64,
    /// The lesser of what the store has and what is served; 0 if the store is gone.
    found: AtomicU64,
    served: ServedSize,
    /// Held by whoever changes `found`. Nobody who serves commands waits for it.
    changing: Mutex<()>,
}

impl SizeLease {
    pub(super) fn new(served: ServedSize) -> Self {
        Self {
            checked: AtomicU64::new(0),
            found: AtomicU64::new(served.bytes()),
            served,
            changing: Mutex::new(()),
        }
    }

    /// What was found, unless that was too long ago.
    #[inline]
    pub(super) fn fresh(&self, now: u64) -> Option<u64> {
        let checked = self.checked.load(Relaxed);
        (checked != 0 && now.saturating_sub(checked) < SIZE_LEASE_NS)
            .then(|| self.found.load(Relaxed))
    }

    /// Looks again. `changed` is told what was found before and now, if that differs.
    #[cold]
    pub(super) fn renew<E>(
        &self,
        now: u64,
        there: impl FnOnce() -> Result<u64, E>,
        changed: impl FnOnce(u64, u64),
    ) -> Result<u64, E> {
        let _changing = match self.changing.try_lock() {
            Ok(changing) => changing,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Another thread looks right now, or knows better.
            Err(TryLockError::WouldBlock) => return Ok(self.found.load(Relaxed)),
        };
        let there = there().inspect_err(|_| self.found.store(0, Relaxed))?;
        let found = there.min(self.served.bytes());
        let before = self.found.swap(found, Relaxed);
        self.checked.store(now.max(1), Relaxed);
        if found != before {
            changed(before, found);
        }
        Ok(found)
    }

    /// From now on `size` bytes are served, of which `there` are there.
    pub(super) fn take_over(&self, size: u64, there: u64) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.found.store(size.min(there), Relaxed);
        self.served.0.store(size, Relaxed);
    }

    pub(super) fn served(&self) -> u64 {
        self.served.bytes()
    }

    pub(super) fn is_cut(&self) -> bool {
        self.found.load(Relaxed) < self.served()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: u64 = 5 * SIZE_LEASE_NS;

    fn renewed(lease: &SizeLease, there: Result<u64, ()>) -> (Result<u64, ()>, Option<(u64, u64)>) {
        let mut changed = None;
        let found = lease.renew(LATER, || there, |before, now| changed = Some((before, now)));
        (found, changed)
    }

    #[test]
    fn what_was_found_is_believed_for_a_while() {
        let lease = SizeLease::new(ServedSize::new(100));
        assert_eq!(lease.fresh(LATER), None, "nobody has looked yet");
        assert_eq!(renewed(&lease, Ok(100)), (Ok(100), None));
        assert_eq!(lease.fresh(LATER + SIZE_LEASE_NS - 1), Some(100));
        assert_eq!(lease.fresh(LATER + SIZE_LEASE_NS), None);
    }

    #[test]
    fn less_is_a_failure_and_more_is_nothing_yet() {
        let lease = SizeLease::new(ServedSize::new(100));
        assert_eq!(renewed(&lease, Ok(200)), (Ok(100), None));
        assert!(!lease.is_cut());
        assert_eq!(renewed(&lease, Ok(60)), (Ok(60), Some((100, 60))));
        assert!(lease.is_cut());
        assert_eq!(renewed(&lease, Err(())), (Err(()), None));
        assert_eq!(lease.fresh(LATER), Some(0));
        assert_eq!(renewed(&lease, Ok(200)), (Ok(100), Some((0, 100))));
        assert!(!lease.is_cut());
    }

    #[test]
    fn what_is_taken_over_is_no_change() {
        let served = ServedSize::new(100);
        let lease = SizeLease::new(served.clone());
        assert_eq!(renewed(&lease, Ok(100)), (Ok(100), None));
        // About to be cut.
        lease.take_over(40, 100);
        assert_eq!((lease.fresh(LATER), served.bytes()), (Some(40), 40));
        assert_eq!(renewed(&lease, Ok(100)), (Ok(40), None));
        assert_eq!(renewed(&lease, Ok(40)), (Ok(40), None));
        lease.take_over(300, 300);
        assert_eq!((lease.fresh(LATER), served.bytes()), (Some(300), 300));
        assert_eq!(renewed(&lease, Ok(300)), (Ok(300), None));
        assert!(!lease.is_cut());
        // It was not possible, and the store had been cut by somebody else.
        lease.take_over(300, 40);
        assert!(lease.is_cut());
    }

    /// Who serves commands waits for nobody who looks or changes something.
    #[test]
    fn somebody_else_is_at_it() {
        let lease = SizeLease::new(ServedSize::new(100));
        let _changing = lease.changing.lock().unwrap();
        let found = lease.renew(LATER, || Err(()), |_, _| panic!("nobody looked"));
        assert_eq!(found, Ok(100));
    }
}
