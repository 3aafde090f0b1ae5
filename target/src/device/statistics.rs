//! What a device tells initiators about itself in log pages.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use pagecast_backends::Backend;
use pagecast_core::scsi::{Statistics, StatisticsSource};

use super::Counters;

/// Adds up a device's counters when somebody asks. It does not keep the device: that keeps the unit, which keeps this.
#[derive(Debug)]
pub(super) struct DeviceStatistics {
    pub(super) counters: Arc<[Counters]>,
    pub(super) backend: Arc<dyn Backend>,
}

impl StatisticsSource for DeviceStatistics {
    fn statistics(&self) -> Statistics {
        let total = |counter: fn(&Counters) -> &AtomicU64| total(&self.counters, counter);
        let usage = self.backend.usage();
        Statistics {
            reads: total(|c| &c.reads),
            read_bytes: total(|c| &c.read_bytes),
            writes: total(|c| &c.writes),
            write_bytes: total(|c| &c.write_bytes),
            read_errors: total(|c| &c.read_errors),
            write_errors: total(|c| &c.write_errors),
            used_bytes: usage.map(|usage| usage.used),
            available_bytes: usage.and_then(|usage| usage.available),
        }
    }
}

/// The sum of a counter over the shards.
pub(super) fn total(counters: &[Counters], counter: impl Fn(&Counters) -> &AtomicU64) -> u64 {
    counters
        .iter()
        .map(|c| counter(c).load(Relaxed))
        .fold(0, u64::wrapping_add)
}
