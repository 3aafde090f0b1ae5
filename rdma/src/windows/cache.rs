//! The windows of one device on one adapter: what the hot path acquires and what the workers fill and empty.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};

use super::budget::Reservation;
use super::device::Device;
use super::probe::Mode;
use super::registrar::{Cause, Miss};
use super::service::Shared;
use super::slot::{SlotTable, State};
use super::{Source, locked};
use crate::fabric::{Adapter, Sge};
use crate::region::Region;
use pagecast_memory::Memory;

/// Windows that one miss heats at most; far more than any transfer touches at sensible window sizes.
const HEATED_AT_ONCE: usize = 64;

/// Windows that any device may grow by: 2 TiB's worth of 2 MiB each.
const ROOM: u64 = 1 << 20;

/// The page-cache windows of one device on one adapter.
pub struct WindowCache {
    // Declared first, so dropped first: normally empty by then, as closing the cache deregisters everything. What is left
    // (the service ended while leases were out) is deregistered before mapping, source and adapter can go.
    regions: Mutex<HashMap<u64, Registered>>,
    mapping: Mutex<Option<Arc<dyn Memory>>>,
    slots: SlotTable,
    mode: Mode,
    closed: AtomicBool,
    counters: Counters,
    name: String,
    device: Arc<Device>,
    shared: Arc<Shared>,
    source: Arc<dyn Source>,
    adapter: Arc<dyn Adapter>,
}

/// A registered window. Only its removal from the map deregisters it, so whoever removes it owns that.
#[derive(Debug)]
pub(super) struct Registered {
    // Before the reservation: the bytes are free again once the adapter has let go of them, not earlier.
    region: Region,
    reservation: Reservation,
}

impl Registered {
    pub(super) fn new(region: Region, reservation: Reservation) -> Self {
        Self {
            region,
            reservation,
        }
    }
}

impl WindowCache {
    pub(super) fn new(
        device: Arc<Device>,
        shared: Arc<Shared>,
        source: Arc<dyn Source>,
        adapter: Arc<dyn Adapter>,
        mode: Mode,
    ) -> Self {
        // Room to grow to a multiple of the size and then some; a device that grows beyond is served staged there. It costs a
        // pointer for each 512 windows.
        let windows = source.size().div_ceil(shared.window_bytes());
        Self {
            regions: Mutex::default(),
            mapping: Mutex::default(),
            slots: SlotTable::new(windows.saturating_mul(4).saturating_add(ROOM)),
            mode,
            closed: AtomicBool::new(false),
            counters: Counters::default(),
            name: format!("{} on {}", device.name(), adapter.name()),
            device,
            shared,
            source,
            adapter,
        }
    }

    /// Leases the windows under `length` bytes from `offset` on and appends one entry for each of them to `sges`.
    ///
    /// `None`, with `sges` as it was, if any of them is not there (yet): the range has to be served staged, and is on its way
    /// to be registered. Never waits: no lock, no system call but perhaps one to wake the background worker after a miss, and no
    /// allocation while `sges` has room.
    ///
    /// The lease must be held until every work request over the entries has completed.
    #[inline]
    pub fn acquire(
        self: &Arc<Self>,
        offset: u64,
        length: u32,
        sges: &mut Vec<Sge>,
    ) -> Option<Lease> {
        let end = offset.checked_add(u64::from(length))?;
        if length == 0 {
            return None;
        }
        let shift = self.shared.window_shift();
        let (first, last) = (offset >> shift, (end - 1) >> shift);
        let epoch = self.shared.clock.epoch();
        let kept = sges.len();
        let mut skip = (offset & (self.shared.window_bytes() - 1)) as u32;
        let mut left = length;
        for index in first..=last {
            let here = left.min(self.shared.window_bytes() as u32 - skip);
            let Some(sge) = self.lease_one(index, skip, here, epoch) else {
                self.unlease(first..index);
                sges.truncate(kept);
                self.miss(first, last);
                return None;
            };
            sges.push(sge);
            left -= here;
            skip = 0;
        }
        self.counters.hits.fetch_add(1, Relaxed);
        Some(Lease {
            cache: Arc::clone(self),
            first,
            end: last + 1,
        })
    }

    #[inline]
    fn lease_one(&self, index: u64, skip: u32, length: u32, epoch: u16) -> Option<Sge> {
        let slot = self.slots.get(index)?;
        if !slot.pin() {
            return None;
        }
        slot.heat.bump(epoch);
        let sge = slot.sge(skip, length);
        if sge.is_none() {
            // The registration ends before the range: the last window of a device that has grown since.
            self.unlease(index..index + 1);
        }
        sge
    }

    #[inline]
    fn unlease(&self, windows: std::ops::Range<u64>) {
        let mut awaited = false;
        for index in windows {
            awaited |= self.slots.get(index).is_some_and(|slot| slot.unpin());
        }
        if awaited {
            self.shared.kick();
        }
    }

    /// Counts and heats what was not there, and has it registered if it is worth it.
    #[cold]
    fn miss(self: &Arc<Self>, first: u64, last: u64) {
        self.counters.misses.fetch_add(1, Relaxed);
        let epoch = self.shared.clock.tick();
        if !self.mode.works() || self.is_closed() {
            return;
        }
        for index in (first..=last).take(HEATED_AT_ONCE) {
            let Some(slot) = self.slots.get(index) else {
                // Its chunk has to be allocated first, which is not for us to do.
                if self.slots.covers(index) {
                    self.request(index, Cause::FirstMiss);
                }
                continue;
            };
            if slot.word().state() == State::Ready {
                continue;
            }
            let heat = slot.heat.bump(epoch);
            if self.shared.is_worth_it(heat, epoch)
                && slot.enqueue()
                && !self.request(index, Cause::Miss)
            {
                slot.dequeue();
            }
        }
    }

    fn request(self: &Arc<Self>, index: u64, cause: Cause) -> bool {
        self.shared.request(Miss {
            cache: Arc::clone(self),
            index,
            cause,
        })
    }

    /// How windows are made here, or why they cannot be.
    pub fn mode(&self) -> &Mode {
        &self.mode
    }

    /// The adapter that the windows are registered with.
    pub fn adapter(&self) -> &Arc<dyn Adapter> {
        &self.adapter
    }

    /// What happened so far.
    pub fn statistics(&self) -> Statistics {
        self.counters.read()
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn device(&self) -> &Arc<Device> {
        &self.device
    }

    pub(super) fn source(&self) -> &Arc<dyn Source> {
        &self.source
    }

    pub(super) fn slots(&self) -> &SlotTable {
        &self.slots
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    /// Nothing is registered from now on. Called with the device locked.
    pub(super) fn close(&self) {
        self.closed.store(true, Relaxed);
    }

    /// The mapping of the source, renewed if it does not reach `end`.
    pub(super) fn mapping(&self, end: u64) -> std::io::Result<Arc<dyn Memory>> {
        let mut mapping = locked(&self.mapping);
        if let Some(mapping) = &*mapping
            && mapping.len() as u64 >= end
        {
            return Ok(Arc::clone(mapping));
        }
        // Windows over the old mapping keep it alive as long as they need it.
        let new = self.source.memory(self.mode.needs_writable_mapping())?;
        *mapping = Some(Arc::clone(&new));
        Ok(new)
    }

    /// Makes a window that the caller filled available; its generation. Called with the device locked.
    pub(super) fn publish(&self, index: u64, registered: Registered) -> Option<u32> {
        let slot = self.slots.get(index)?;
        let sge = registered.region.sge(0, registered.region.len())?;
        let bytes = registered.reservation.bytes();
        locked(&self.regions).insert(index, registered);
        slot.failures.store(0, Relaxed);
        self.counters.registrations.fetch_add(1, Relaxed);
        self.counters.windows.fetch_add(1, Relaxed);
        self.counters.pinned_bytes.fetch_add(bytes, Relaxed);
        Some(slot.publish(sge))
    }

    /// Deregisters a window that is retired and drained. False if somebody else is at it.
    pub(super) fn deregister(&self, index: u64) -> bool {
        let Some(registered) = locked(&self.regions).remove(&index) else {
            return false;
        };
        let bytes = registered.reservation.bytes();
        drop(registered);
        self.counters.windows.fetch_sub(1, Relaxed);
        self.counters.pinned_bytes.fetch_sub(bytes, Relaxed);
        self.shared.room_was_made();
        if let Some(slot) = self.slots.get(index) {
            slot.clear();
        }
        true
    }

    /// Ends the use of the windows from `first` to `last` and returns those that are not out of the way yet: registered ones,
    /// and ones that a registrar is at. Called with the device locked, so that no window becomes ready meanwhile.
    pub(super) fn retire(&self, first: u64, last: u64) -> Vec<u64> {
        let mut waiting = Vec::new();
        for (index, slot) in self.slots.present(first, last) {
            match slot.retire().state() {
                State::Ready => {
                    self.counters.revocations.fetch_add(1, Relaxed);
                    waiting.push(index);
                }
                State::Retiring | State::Filling => waiting.push(index),
                State::Empty | State::Queued | State::Failed => {}
            }
        }
        waiting
    }
}

impl fmt::Debug for WindowCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WindowCache")
            .field("name", &self.name)
            .field("mode", &self.mode)
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}

/// The right to have the adapter read from some windows. They stay registered until it is dropped, which is cheap.
#[must_use = "the windows may be deregistered as soon as the lease is dropped"]
pub struct Lease {
    cache: Arc<WindowCache>,
    first: u64,
    end: u64,
}

impl Lease {
    /// How many windows it holds.
    pub fn windows(&self) -> u64 {
        self.end - self.first
    }
}

impl Drop for Lease {
    #[inline]
    fn drop(&mut self) {
        self.cache.unlease(self.first..self.end);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Lease({}, windows {:?})",
            self.cache.name,
            self.first..self.end
        )
    }
}

/// The live counters behind [`Statistics`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    registrations: AtomicU64,
    pub(super) registration_failures: AtomicU64,
    pub(super) denials: AtomicU64,
    pub(super) evictions: AtomicU64,
    revocations: AtomicU64,
    windows: AtomicU64,
    pinned_bytes: AtomicU64,
}

impl Counters {
    fn read(&self) -> Statistics {
        Statistics {
            hits: self.hits.load(Relaxed),
            misses: self.misses.load(Relaxed),
            registrations: self.registrations.load(Relaxed),
            registration_failures: self.registration_failures.load(Relaxed),
            denials: self.denials.load(Relaxed),
            evictions: self.evictions.load(Relaxed),
            revocations: self.revocations.load(Relaxed),
            windows: self.windows.load(Relaxed),
            pinned_bytes: self.pinned_bytes.load(Relaxed),
        }
    }
}

/// What happened in a cache, or in several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Ranges that were served from windows.
    pub hits: u64,
    /// Ranges that had to be staged.
    pub misses: u64,
    /// Windows that were registered.
    pub registrations: u64,
    /// Windows that could not be read in or registered.
    pub registration_failures: u64,
    /// Windows that were not registered because nothing colder was left to evict.
    pub denials: u64,
    /// Windows that made room for others.
    pub evictions: u64,
    /// Windows that were revoked.
    pub revocations: u64,
    /// Windows that are registered now.
    pub windows: u64,
    /// Bytes that they pin.
    pub pinned_bytes: u64,
}

impl std::ops::AddAssign for Statistics {
    fn add_assign(&mut self, other: Self) {
        self.hits += other.hits;
        self.misses += other.misses;
        self.registrations += other.registrations;
        self.registration_failures += other.registration_failures;
        self.denials += other.denials;
        self.evictions += other.evictions;
        self.revocations += other.revocations;
        self.windows += other.windows;
        self.pinned_bytes += other.pinned_bytes;
    }
}
