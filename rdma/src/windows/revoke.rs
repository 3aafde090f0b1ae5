//! Windows that have to go, and what waits for that.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::cache::WindowCache;
use super::device::Device;
use super::slot::State;

/// A range of a device without windows. While it is held nothing in the range is registered, on any adapter, so that the
/// range's pages may be detached from the file.
#[must_use = "windows come back as soon as this is dropped"]
#[derive(Debug)]
pub struct RevokedRange {
    device: Arc<Device>,
    id: u64,
    range: Range<u64>,
}

impl RevokedRange {
    pub(super) fn new(device: Arc<Device>, id: u64, range: Range<u64>) -> Self {
        Self { device, id, range }
    }

    /// The bytes that were to be revoked. Whole windows are.
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }
}

impl Drop for RevokedRange {
    fn drop(&mut self) {
        self.device.unblock(self.id);
    }
}

/// Windows on their way out, and what happens when the last one is gone.
pub(super) struct Drain {
    waiting: Vec<(Arc<WindowCache>, u64)>,
    done: Option<Box<dyn FnOnce() + Send>>,
}

impl Drain {
    /// `waiting` must be kept from becoming ready again by a block, a smaller size or a closed cache until `done` has run;
    /// otherwise the drain only ends later, when it sees one of them in another state.
    pub(super) fn new(
        waiting: Vec<(Arc<WindowCache>, u64)>,
        done: Box<dyn FnOnce() + Send>,
    ) -> Self {
        Self {
            waiting,
            done: Some(done),
        }
    }

    /// Deregisters up to `limit` windows that are free of leases.
    pub(super) fn advance(&mut self, limit: usize) -> Progress {
        let mut deregistered = 0;
        let mut more = false;
        self.waiting.retain(|(cache, index)| {
            let Some(slot) = cache.slots().get(*index) else {
                return false;
            };
            if slot.is_drained() {
                if deregistered == limit {
                    more = true;
                    return true;
                }
                // If it is gone already, an eviction took it and will say when it is done.
                deregistered += usize::from(cache.deregister(*index));
            }
            matches!(slot.word().state(), State::Filling | State::Retiring)
        });
        match (self.waiting.is_empty(), more) {
            (true, _) => Progress::Done,
            (false, true) => Progress::More,
            (false, false) => Progress::Waiting,
        }
    }

    /// Tells whoever waits. To be called once, after [`Progress::Done`].
    pub(super) fn finish(&mut self) {
        if let Some(done) = self.done.take() {
            done();
        }
    }
}

/// How far a [`Drain`] has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Everything is deregistered.
    Done,
    /// There is more to deregister at once.
    More,
    /// Leases or a registrar hold the rest.
    Waiting,
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Drain of {} windows", self.waiting.len())
    }
}
