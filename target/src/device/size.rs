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
