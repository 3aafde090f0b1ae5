//! What is to be done for the operations that are not READ, WRITE and their like.

use pagecast_core::block::{BlockOp, BlockRange, Compare};

use super::copy::Copying;
use super::task::{Change, Work};
use crate::session::Session;

/// The work that an operation means on a device with blocks of `size` bytes. None if it cannot be done.
pub(super) fn rarer_work(
    op: &BlockOp,
    size: u32,
    durable: bool,
    session: &Session,
) -> Option<Work> {
    // Core bounds transfers by the limits that the device was made with, which fit 32 bits.
    let length = |range: &BlockRange| u32::try_from(range.length(size)).unwrap_or(u32::MAX);
    let modify = |change, range: &BlockRange| Work::Modify {
        change,
        offset: range.offset(size),
        length: length(range),
        durable,
        writing: false,
    };
    Some(match op {
        BlockOp::CompareAndWrite(range) => modify(Change::CompareAndWrite, range),
        BlockOp::Or(range) => modify(Change::Or, range),
        BlockOp::WriteVerify { range, compare } => Work::WriteVerify {
            offset: range.offset(size),
            length: length(range),
            compare: *compare,
            written: false,
        },
        BlockOp::Verify {
            range,
            compare: Compare::OneBlock,
        } => Work::VerifySame {
            offset: range.offset(size),
            left: range.length(size),
            block: size,
        },
        BlockOp::Prefetch(range) => Work::Prefetch {
            offset: range.offset(size),
            length: range.length(size),
        },
        &BlockOp::Extents { range, most, .. } => Work::Extents { range, most },
        BlockOp::Copy(segments) => Work::Copy(Copying::new(segments, durable, session)?),
        _ => return None,
    })
}
