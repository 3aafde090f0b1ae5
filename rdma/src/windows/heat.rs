//! How much a window is used: a small counter that halves as time goes by, where time is counted in misses.
//!
//! Nothing decays while everything is served from windows: then nothing has to be chosen either.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// Where the counter stops; it takes eight epochs of neglect to fall from here to nothing.
pub(super) const HOTTEST: u16 = 255;

/// Uses, in the low half, as of the epoch in the high half. Updates may get lost between threads, which only makes it a little
/// less exact.
#[derive(Debug, Default)]
pub(super) struct Heat(AtomicU32);

impl Heat {
    /// Counts a use; the heat with it.
    #[inline]
    pub(super) fn bump(&self, epoch: u16) -> u16 {
        let old = self.0.load(Relaxed);
        let heat = decayed(old, epoch).saturating_add(1).min(HOTTEST);
        let new = packed(heat, epoch);
        // The hottest windows are not written to at each use, so that their cache lines stay shared a little longer.
        if new != old {
            self.0.store(new, Relaxed);
        }
        heat
    }

    /// The heat now.
    pub(super) fn at(&self, epoch: u16) -> u16 {
        decayed(self.0.load(Relaxed), epoch)
    }

    /// Sets the heat.
    pub(super) fn set(&self, heat: u16, epoch: u16) {
        self.0.store(packed(heat.min(HOTTEST), epoch), Relaxed);
    }
}

#[inline]
fn packed(heat: u16, epoch: u16) -> u32 {
    u32::from(epoch) << 16 | u32::from(heat)
}

#[inline]
fn decayed(packed: u32, epoch: u16) -> u16 {
    let age = epoch.wrapping_sub((packed >> 16) as u16);
    (packed as u16).checked_shr(u32::from(age)).unwrap_or(0)
}

/// Time, in misses, for all caches of a service.
#[derive(Debug)]
pub(super) struct MissClock {
    misses: AtomicU64,
    epoch_shift: u32,
}

impl MissClock {
    /// An epoch has about as many misses as there are windows in the budget: long enough to tell hot from cold, short
    /// enough to follow a change of the working set.
    pub(super) fn new(windows: u64) -> Self {
        Self {
            misses: AtomicU64::new(0),
            epoch_shift: windows.clamp(16, 1 << 20).ilog2(),
        }
    }

    /// Counts a miss; the epoch that it falls in.
    pub(super) fn tick(&self) -> u16 {
        (self.misses.fetch_add(1, Relaxed) >> self.epoch_shift) as u16
    }

    /// The epoch now.
    #[inline]
    pub(super) fn epoch(&self) -> u16 {
        (self.misses.load(Relaxed) >> self.epoch_shift) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heat_rises_with_use_and_halves_with_each_epoch() {
        let heat = Heat::default();
        for uses in 1..=8 {
            assert_eq!(heat.bump(5), uses);
        }
        assert_eq!(heat.at(6), 4);
        assert_eq!(heat.at(8), 1);
        assert_eq!(heat.at(9), 0);
        assert_eq!(heat.at(5 + 40), 0, "more epochs than the counter has bits");
        assert_eq!(heat.bump(7), 3);
        for _ in 0..1000 {
            heat.bump(7);
        }
        assert_eq!(heat.at(7), HOTTEST);
    }

    #[test]
    fn epochs_wrap() {
        let heat = Heat::default();
        heat.set(16, u16::MAX);
        assert_eq!(heat.at(1), 4);
    }

    #[test]
    fn the_clock_runs_on_misses() {
        let clock = MissClock::new(20);
        for _ in 0..16 {
            assert_eq!(clock.tick(), 0);
        }
        assert_eq!(clock.epoch(), 1);
    }
}
