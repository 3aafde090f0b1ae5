//! What a disk did, as its log pages tell.

use std::fmt;

/// Numbers that LOG SENSE reports. They only grow, except where it says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Commands that sent blocks to initiators.
    pub reads: u64,
    /// Bytes sent to initiators.
    pub read_bytes: u64,
    /// Commands that took blocks from initiators.
    pub writes: u64,
    /// Bytes taken from initiators.
    pub write_bytes: u64,
    /// Reads that the store failed.
    pub read_errors: u64,
    /// Writes that the store failed.
    pub write_errors: u64,
    /// Bytes that the disk occupies in its store now, if that is known.
    pub used_bytes: Option<u64>,
    /// Bytes that it could still occupy now, if that is known.
    pub available_bytes: Option<u64>,
}

/// Knows what a disk did. Asked when an initiator wants to know, not for every command.
pub trait StatisticsSource: fmt::Debug + Send + Sync {
    /// The numbers as they are now.
    fn statistics(&self) -> Statistics;
}
