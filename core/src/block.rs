//! Block operations as every protocol plans them, and what the data path reports back.

use thiserror::Error;

use crate::scsi::UnitId;

/// A range of logical blocks. Whoever plans an operation has checked it against the capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockRange {
    /// First logical block.
    pub lba: u64,
    /// Number of logical blocks.
    pub blocks: u64,
}

impl BlockRange {
    /// The range if all of it lies below `capacity`. Its first block has to exist even if it is empty (SBC-3).
    pub fn within(lba: u64, blocks: u64, capacity: u64) -> Option<Self> {
        (lba < capacity && blocks <= capacity - lba).then_some(Self { lba, blocks })
    }

    /// First byte of the range, for a device with blocks of that size.
    pub fn offset(&self, block_size: u32) -> u64 {
        self.lba.saturating_mul(u64::from(block_size))
    }

    /// Bytes in the range, for a device with blocks of that size.
    pub fn length(&self, block_size: u32) -> u64 {
        self.blocks.saturating_mul(u64::from(block_size))
    }
}

/// What the data path has to do. Planned ranges are never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockOp {
    /// Send the range to the initiator.
    Read(BlockRange),
    /// Fetch the range from the initiator and store it.
    Write(BlockRange),
    /// Fetch twice the range from the initiator. If the first half is what is stored, store the second half, with no other
    /// write to the range in between; otherwise [`BlockFault::Miscompare`].
    CompareAndWrite(BlockRange),
    /// Fetch the range from the initiator and store its bits together with those that are set already.
    Or(BlockRange),
    /// Fetch the range from the initiator, store it, and check that it can be read back.
    WriteVerify {
        /// Where to.
        range: BlockRange,
        /// Also compare what is read with what was fetched.
        compare: bool,
    },
    /// Check that the range can be read.
    Verify {
        /// What to check.
        range: BlockRange,
        /// Also fetch from the initiator, and compare.
        compare: Compare,
    },
    /// Bring the range into the cache.
    Prefetch(BlockRange),
    /// Find out which blocks of the range are stored and which are holes; ends in `extents` and not in `complete`.
    Extents {
        /// Where to look.
        range: BlockRange,
        /// Stop after so many extents.
        most: u32,
        /// Bytes that the initiator has asked for.
        allocation_length: u32,
    },
    /// Copy blocks between logical units of the session, one segment after the other.
    Copy(Vec<CopySegment>),
    /// Store one block again and again.
    WriteSame {
        /// Where to.
        range: BlockRange,
        /// The range may be deallocated instead if it then reads as the block would (zeros).
        unmap: bool,
        /// The block is all zeros and is not fetched from the initiator.
        zero_data: bool,
    },
    /// The ranges are not needed any more.
    Unmap(Vec<BlockRange>),
    /// Everything written before is on stable storage when this is done.
    Flush,
}

/// What a verification compares with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// Nothing: the medium is read, that is all (BYTCHK 00b).
    Medium,
    /// As many blocks from the initiator (BYTCHK 01b).
    Blocks,
    /// One block from the initiator, with every block of the range (BYTCHK 11b).
    OneBlock,
}

/// Blocks to be copied. Both ranges were checked against their units' capacities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopySegment {
    /// Where the data are.
    pub source: UnitId,
    /// First byte there.
    pub source_offset: u64,
    /// Where they go.
    pub destination: UnitId,
    /// First byte there.
    pub destination_offset: u64,
    /// How many; whole blocks of both units.
    pub bytes: u64,
}

/// A stretch of blocks that are all stored, or all holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where.
    pub range: BlockRange,
    /// Whether blocks are stored there; a hole otherwise, which reads as zeros.
    pub mapped: bool,
}

/// Which way a command moves data, and how many bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transfer {
    /// No data phase.
    #[default]
    None,
    /// To the initiator.
    In(u64),
    /// From the initiator.
    Out(u64),
}

impl Transfer {
    /// Bytes to the initiator.
    pub fn data_in(self) -> u64 {
        match self {
            Self::In(bytes) => bytes,
            Self::None | Self::Out(_) => 0,
        }
    }

    /// Bytes from the initiator.
    pub fn data_out(self) -> u64 {
        match self {
            Self::Out(bytes) => bytes,
            Self::None | Self::In(_) => 0,
        }
    }
}

impl BlockOp {
    /// The data phase that the operation has, for a device with blocks of that size.
    pub fn transfer(&self, block_size: u32) -> Transfer {
        match self {
            Self::Read(range) => Transfer::In(range.length(block_size)),
            Self::Write(range)
            | Self::Or(range)
            | Self::WriteVerify { range, .. }
            | Self::Verify {
                range,
                compare: Compare::Blocks,
            } => Transfer::Out(range.length(block_size)),
            Self::CompareAndWrite(range) => {
                Transfer::Out(range.length(block_size).saturating_mul(2))
            }
            Self::WriteSame {
                zero_data: false, ..
            }
            | Self::Verify {
                compare: Compare::OneBlock,
                ..
            } => Transfer::Out(u64::from(block_size)),
            Self::Extents {
                allocation_length, ..
            } => Transfer::In(u64::from(*allocation_length)),
            Self::Verify { .. }
            | Self::WriteSame { .. }
            | Self::Unmap(_)
            | Self::Flush
            | Self::Prefetch(_)
            | Self::Copy(_) => Transfer::None,
        }
    }

    /// Whether it would not be planned at all with that capacity. Copies, which may be about other units, say so in their own way.
    pub(crate) fn is_beyond(&self, capacity: u64) -> bool {
        let ranges = match self {
            Self::Read(range)
            | Self::Write(range)
            | Self::CompareAndWrite(range)
            | Self::Or(range)
            | Self::WriteVerify { range, .. }
            | Self::Verify { range, .. }
            | Self::Prefetch(range)
            | Self::Extents { range, .. }
            | Self::WriteSame { range, .. } => std::slice::from_ref(range),
            Self::Unmap(ranges) => ranges,
            Self::Copy(_) | Self::Flush => &[],
        };
        let is_beyond = |r: &BlockRange| BlockRange::within(r.lba, r.blocks, capacity).is_none();
        ranges.iter().any(is_beyond)
    }

    /// Whether it changes what is stored.
    pub fn is_write(&self) -> bool {
        matches!(
            self,
            Self::Write(_)
                | Self::CompareAndWrite(_)
                | Self::Or(_)
                | Self::WriteVerify { .. }
                | Self::WriteSame { .. }
                | Self::Unmap(_)
                | Self::Copy(_)
        )
    }
}

/// How an operation failed, as the data path reports it. Each protocol has its own words for these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BlockFault {
    /// The store does not reach that far (any more).
    #[error("the backing store ends before the range")]
    PastEnd,
    /// The store has no room left.
    #[error("no space left in the backing store")]
    NoSpace,
    /// The medium failed.
    #[error("medium error")]
    Medium {
        /// While writing, not while reading.
        write: bool,
    },
    /// The store cannot be written.
    #[error("the backing store is read-only")]
    ReadOnly,
    /// The store cannot do that operation.
    #[error("not supported by the backing store")]
    Unsupported,
    /// The store had no means for it just now; the same may succeed later.
    #[error("the backing store is busy")]
    Busy,
    /// The store is gone, or failed as a whole.
    #[error("the backing store failed")]
    Hardware,
    /// A comparison found a difference.
    #[error("miscompare at byte {offset}")]
    Miscompare {
        /// First byte that differs, counted from the first byte of the data from the initiator.
        offset: u64,
    },
    /// The data could not be moved between initiator and target.
    #[error("data transfer failed")]
    TransferFailed,
    /// The operation was given up before its end.
    #[error("aborted")]
    Aborted,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_bounded_by_the_capacity() {
        let cases = [
            (0, 0, 10, true),
            (0, 10, 10, true),
            (9, 1, 10, true),
            (9, 2, 10, false),
            (10, 0, 10, false),
            (0, 11, 10, false),
            (u64::MAX, 1, 10, false),
            (1, u64::MAX, u64::MAX, false),
            (0, 0, 0, false),
        ];
        for (lba, blocks, capacity, fits) in cases {
            let range = BlockRange::within(lba, blocks, capacity);
            assert_eq!(range.is_some(), fits, "{lba} {blocks} {capacity}");
        }
    }

    #[test]
    fn transfers_follow_the_operation() {
        let range = BlockRange { lba: 8, blocks: 3 };
        assert_eq!(BlockOp::Read(range).transfer(512), Transfer::In(1536));
        assert_eq!(BlockOp::Write(range).transfer(4096), Transfer::Out(12288));
        let same = |zero_data| BlockOp::WriteSame {
            range,
            unmap: false,
            zero_data,
        };
        assert_eq!(same(false).transfer(512), Transfer::Out(512));
        assert_eq!(same(true).transfer(512), Transfer::None);
        let verify = |compare| BlockOp::Verify { range, compare };
        assert_eq!(verify(Compare::Blocks).transfer(512), Transfer::Out(1536));
        assert_eq!(verify(Compare::Medium).transfer(512), Transfer::None);
    }
}
