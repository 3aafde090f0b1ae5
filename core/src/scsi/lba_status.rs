//! GET LBA STATUS (SBC-3).

use super::cdb::Cdb;
use super::plan::{Context, Planned};
use super::response::Response;
use super::sense::codes;
use crate::block::{BlockOp, BlockRange, Extent};

const HEADER: u32 = 8;
const DESCRIPTOR: u32 = 16;
/// More are not looked for, whatever room there is: a command takes bounded time, and the initiator asks for the rest.
const MOST_DESCRIPTORS: u32 = 256;

/// GET LBA STATUS. A disk that cannot deallocate blocks has them all.
pub(crate) fn get_lba_status(context: &Context<'_>, cdb: &Cdb) -> Planned {
    let lba = cdb.u64(2);
    let allocation_length = cdb.u32(10);
    let capacity = context.unit.capacity();
    let range = BlockRange::within(lba, 0, capacity).ok_or(codes::LBA_OUT_OF_RANGE)?;
    let range = BlockRange {
        blocks: capacity - lba,
        ..range
    };
    if context.unit.model().provisioning.is_none() {
        return context.data(parameter_data(range, &[], 1), allocation_length);
    }
    let op = BlockOp::Extents {
        range,
        most: most(allocation_length),
        allocation_length,
    };
    context.block(op, false, false)
}

/// What [`BlockOp::Extents`] found, for the initiator.
pub(crate) fn report(range: BlockRange, extents: &[Extent], allocation_length: u32) -> Response {
    let data = parameter_data(range, extents, most(allocation_length));
    Response::with_data(data, allocation_length)
}

/// Descriptors that there is room for. One is made in any case: it may be cut, but its length is told.
fn most(allocation_length: u32) -> u32 {
    let room = allocation_length.saturating_sub(HEADER) / DESCRIPTOR;
    room.clamp(1, MOST_DESCRIPTORS)
}

/// Descriptors without gaps between them, of which the first begins where the range does. What nothing is known of counts
/// as mapped: PROVISIONING STATUS 0h is "mapped or unknown".
fn parameter_data(range: BlockRange, extents: &[Extent], most: u32) -> Vec<u8> {
    let end = range.lba.saturating_add(range.blocks);
    let mut data = vec![0; HEADER as usize];
    let mut next = range.lba;
    let mut extents = extents
        .iter()
        .filter_map(|extent| clipped(extent, end))
        .peekable();
    for _ in 0..most {
        // Extents that are behind us are not looked at again.
        while extents.next_if(|(_, stop, _)| *stop <= next).is_some() {}
        let (stop, mapped) = match extents.peek() {
            Some((start, stop, mapped)) if *start <= next => (*stop, *mapped),
            Some((start, ..)) => (*start, true),
            // The last extent is not the end of the range, only of what was looked for.
            None if next == range.lba => (end, true),
            None => break,
        };
        // The field has 32 bits; a longer extent is several descriptors.
        let blocks = u32::try_from(stop - next).unwrap_or(u32::MAX);
        data.extend(next.to_be_bytes());
        data.extend(blocks.to_be_bytes());
        data.extend([u8::from(!mapped), 0, 0, 0]);
        next += u64::from(blocks);
        if next == end {
            break;
        }
    }
    // PARAMETER DATA LENGTH counts what follows it.
    let length = (data.len() - 4) as u32;
    data[..4].copy_from_slice(&length.to_be_bytes());
    data
}

/// First block, the block after the last one, and whether they are mapped; nothing of an extent without blocks.
fn clipped(extent: &Extent, end: u64) -> Option<(u64, u64, bool)> {
    let start = extent.range.lba;
    let stop = start.saturating_add(extent.range.blocks).min(end);
    (start < stop).then_some((start, stop, extent.mapped))
}
