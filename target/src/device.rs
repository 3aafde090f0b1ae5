//! A device: one backing store with one identity, shared by every shard.

pub mod range_locks;
pub mod reservations;
pub mod resize;
mod size;
mod statistics;
pub mod table;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use pagecast_backends::{Backend, BackendError, Misplaced, Place};
use pagecast_core::block::BlockFault;
use pagecast_core::scsi::LogicalUnit;
use pagecast_rdma::fabric::Adapter;
use pagecast_rdma::windows::{DeviceWindows, RevokedRange, WindowCache};
use thiserror::Error;

use crate::config::DeviceConfig;
use crate::metrics::meter::{Measured, Meter};
use range_locks::RangeLocks;
use reservations::ReservationFile;
use resize::LockWaiter;
pub use size::ServedSize;
use size::SizeLease;
use statistics::DeviceStatistics;

/// Adapters that a process can serve at once. Their numbers index fixed tables, which the hot path reads without a lock.
pub const MAX_ADAPTERS: usize = 16;

/// One exported device.
#[derive(Debug)]
pub struct Device {
    /// Its number in the [`DeviceTable`](table::DeviceTable); its logical unit carries it as its tag.
    pub index: usize,
    /// Its name in the configuration.
    pub name: String,
    /// What SCSI initiators see.
    pub unit: Arc<LogicalUnit>,
    /// Where its reservations are kept.
    pub reservations: ReservationFile,
    /// What keeps its bytes.
    pub backend: Arc<dyn Backend>,
    /// Where the store is; empty for memory.
    pub path: PathBuf,
    /// What the configuration asks for.
    pub config: DeviceConfig,
    /// The windows on its page cache, on all adapters; none where zero copy is off.
    pub windows: Option<DeviceWindows>,
    /// Who writes where, for those who must be alone there.
    pub locks: RangeLocks<LockWaiter>,
    /// Counters by shard, so that shards do not fight over a cache line.
    pub counters: Arc<[Counters]>,
    size: SizeLease,
    /// Held by whoever changes the size, which takes a while.
    resizing: Mutex<()>,
    /// Times that written data was lost on the way to the medium.
    lost_writes: AtomicU64,
    /// Of stores that have a path.
    place: Option<Place>,
}

/// What became of a store that was served.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Lost {
    /// It is not there any more.
    #[error("its store is gone ({0})")]
    Gone(BackendError),
    /// It was cut off.
    #[error("its store has {size} bytes left of {served}")]
    Cut {
        /// Bytes that it has.
        size: u64,
        /// Bytes that are served.
        served: u64,
    },
}

/// What a device did, as one shard saw it.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    /// READ commands, and pieces that were read to be copied.
    pub reads: AtomicU64,
    /// Bytes sent to initiators, or copied from here.
    pub read_bytes: AtomicU64,
    /// Those of them that came straight from the page cache.
    pub read_bytes_zero_copy: AtomicU64,
    /// WRITE commands and their like, and pieces that were copied to here.
    pub writes: AtomicU64,
    /// Bytes taken from initiators, or copied to here.
    pub write_bytes: AtomicU64,
    /// Those of them that landed in the page cache straight away.
    pub write_bytes_zero_copy: AtomicU64,
    /// SYNCHRONIZE CACHE commands.
    pub flushes: AtomicU64,
    /// Discard and write-zeroes operations.
    pub discards: AtomicU64,
    /// Operations that ended in an error of the store.
    pub errors: AtomicU64,
    /// Reads that the store failed.
    pub read_errors: AtomicU64,
    /// Writes that the store failed, and whatever else changes it.
    pub write_errors: AtomicU64,
    /// Commands in flight.
    pub in_flight: AtomicU64,
    /// The longest that a command took in this period, in microseconds.
    pub worst_us: AtomicU64,
    /// The same of the period before.
    pub worst_us_before: AtomicU64,
    /// How long commands took.
    pub meter: Meter,
}

impl Counters {
    /// Adds to a counter that only this shard writes: no locked instruction needed.
    pub fn add(counter: &AtomicU64, value: u64) {
        counter.store(counter.load(Relaxed).wrapping_add(value), Relaxed);
    }

    /// Notes how long a command took.
    pub fn note_time(&self, microseconds: u64) {
        if microseconds > self.worst_us.load(Relaxed) {
            self.worst_us.store(microseconds, Relaxed);
        }
    }

    /// Ends a period.
    pub fn next_period(&self) {
        let worst = self.worst_us.swap(0, Relaxed);
        self.worst_us_before.store(worst, Relaxed);
    }

    /// Subtracts from a counter that only this shard writes.
    pub fn subtract(counter: &AtomicU64, value: u64) {
        counter.store(counter.load(Relaxed).wrapping_sub(value), Relaxed);
    }
}

impl Device {
    /// Puts a device together.
    #[expect(
        clippy::too_many_arguments,
        reason = "one caller, which has them all at hand"
    )]
    pub fn new(
        index: usize,
        name: String,
        unit: Arc<LogicalUnit>,
        reservations: ReservationFile,
        backend: Arc<dyn Backend>,
        path: PathBuf,
        config: DeviceConfig,
        size: ServedSize,
        windows: Option<DeviceWindows>,
        shards: usize,
    ) -> Self {
        let counters: Arc<[Counters]> = (0..shards).map(|_| Counters::default()).collect();
        unit.set_statistics(Arc::new(DeviceStatistics {
            counters: Arc::clone(&counters),
            backend: Arc::clone(&backend),
        }));
        let has_path = !path.as_os_str().is_empty();
        let place = has_path.then(|| Place::of(&path, backend.descriptor()));
        Self {
            index,
            name,
            unit,
            reservations,
            backend,
            path,
            config,
            windows,
            locks: RangeLocks::new(shards),
            counters,
            size: SizeLease::new(size),
            resizing: Mutex::new(()),
            lost_writes: AtomicU64::new(0),
            place,
        }
    }

    /// Whether `length` bytes at `offset` are still there, so that they may be served from registered pages. `now` is in
    /// nanoseconds on a clock that all shards share.
    pub fn check_range(&self, offset: u64, length: u64, now: u64) -> Result<(), BlockFault> {
        let size = self.current_size(now)?;
        match offset.checked_add(length) {
            Some(end) if end <= size => Ok(()),
            _ => Err(BlockFault::PastEnd),
        }
    }

    fn current_size(&self, now: u64) -> Result<u64, BlockFault> {
        if let Some(size) = self.size.fresh(now) {
            return Ok(size);
        }
        self.renewed_size(now).map_err(|error| fault(error, false))
    }

    /// Looks what its store has now, and says what is wrong with that, if anything is. `now` as for
    /// [`check_range`](Self::check_range).
    pub fn look(&self, now: u64) -> Result<(), Lost> {
        let size = self.renewed_size(now).map_err(Lost::Gone)?;
        match self.size() {
            served if size < served => Err(Lost::Cut { size, served }),
            _ => Ok(()),
        }
    }

    /// Looks whether its path still leads to its store, which serves as well if it does not; an error if that cannot be told.
    pub fn look_for_place(&self) -> io::Result<Option<Misplaced>> {
        match &self.place {
            Some(place) => place.look(self.backend.descriptor()),
            None => Ok(None),
        }
    }

    fn renewed_size(&self, now: u64) -> Result<u64, BackendError> {
        let there = || self.backend.current_size();
        let note = |before, size| {
            tracing::warn!(device = %self.name, before, now = size, "the backing store changed its size");
            if let Some(windows) = &self.windows {
                if size < before {
                    windows.invalidate_beyond(size, Box::new(|| ()));
                } else {
                    windows.grown_to(size);
                }
            }
        };
        self.size.renew(now, there, note)
    }

    /// Bytes that it is known to have, whether or not its store still does.
    pub fn size(&self) -> u64 {
        self.size.served()
    }

    /// Gets windows out of the way of an operation that takes pages out of the file; `done` is called, perhaps on another
    /// thread, when none is left in the range, and none comes back before its argument is dropped.
    pub fn revoke(
        &self,
        offset: u64,
        length: u64,
        done: impl FnOnce(Option<RevokedRange>) + Send + 'static,
    ) {
        match &self.windows {
            Some(windows) => windows.revoke(
                offset..offset.saturating_add(length),
                Box::new(|range| done(Some(range))),
            ),
            None => done(None),
        }
    }

    /// Serves the device's page cache over an adapter as well. Slow: it tries what works.
    pub fn attach(&self, adapter: &Arc<dyn Adapter>) {
        if let Some(windows) = &self.windows {
            windows.attach(adapter);
        }
    }

    /// Lets go of an adapter.
    pub fn detach(&self, adapter: &Arc<dyn Adapter>) {
        if let Some(windows) = &self.windows {
            windows.detach(adapter, Box::new(|| ()));
        }
    }

    /// The windows that connections over an adapter are served from, if there can be any.
    pub fn cache(&self, adapter: &Arc<dyn Adapter>) -> Option<Arc<WindowCache>> {
        let cache = self.windows.as_ref()?.cache(adapter)?;
        cache.mode().works().then_some(cache)
    }

    /// Data that was acknowledged without being durable was lost.
    pub fn lose_writes(&self) {
        self.lost_writes.fetch_add(1, Relaxed);
    }

    /// How often that happened.
    pub fn lost_writes(&self) -> u64 {
        self.lost_writes.load(Relaxed)
    }

    /// Whether its store has less than the device is known to have, or is gone.
    pub fn is_failed(&self) -> bool {
        self.size.is_cut()
    }

    /// The longest that a command took in this period or the last, in microseconds.
    pub fn worst_time_us(&self) -> u64 {
        let worst = |counters: &Counters| {
            let now = counters.worst_us.load(Relaxed);
            now.max(counters.worst_us_before.load(Relaxed))
        };
        self.counters.iter().map(worst).max().unwrap_or(0)
    }

    /// How long commands took.
    pub fn measured(&self) -> Measured {
        let mut sum = Measured::default();
        for counters in self.counters.iter() {
            sum.add(&counters.meter.read());
        }
        sum
    }

    /// The sum of a counter over the shards.
    pub fn total(&self, counter: impl Fn(&Counters) -> &AtomicU64) -> u64 {
        statistics::total(&self.counters, counter)
    }
}

/// What core is told of a backend's error.
pub fn fault(error: BackendError, write: bool) -> BlockFault {
    match error {
        BackendError::PastEnd => BlockFault::PastEnd,
        BackendError::NoSpace => BlockFault::NoSpace,
        BackendError::Medium(_) => BlockFault::Medium { write },
        BackendError::ReadOnly => BlockFault::ReadOnly,
        BackendError::Unsupported => BlockFault::Unsupported,
        BackendError::Busy => BlockFault::Busy,
        BackendError::Failed(_) => BlockFault::Hardware,
    }
}
