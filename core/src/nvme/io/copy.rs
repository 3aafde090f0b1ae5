//! Copy (NVM command set 1.0 section 3.2.2): within a namespace, one range after the other to where the last one ended.

use super::{CopyLimits, Namespace, fetch, u64_at};
use crate::block::{BlockOp, BlockRange, CopySegment};
use crate::nvme::command::Command;
use crate::nvme::controller::Controller;
use crate::nvme::plan::Planned;
use crate::nvme::status::Status;

/// Its opcode.
pub(crate) const COPY: u8 = 0x19;

/// Bytes of a source range in format 0.
const RANGE: usize = 32;

/// Copy, before its source ranges are there.
pub(crate) fn copy(
    _controller: &Controller,
    command: &Command,
    namespace: &Namespace<'_>,
) -> Planned {
    namespace.check_writable()?;
    // Descriptor format 0 is the one without wide protection information, and of the same namespace.
    if command.cdw::<12>() >> 8 & 0x0f != 0 {
        return Err(Status::INVALID_FIELD);
    }
    let limits = CopyLimits::of(namespace.unit.block_size());
    if command.cdw::<12>() & 0xff > limits.msrc.into() {
        return Err(Status::COMMAND_SIZE_LIMIT);
    }
    fetch(command, namespace, length(command) as u32)
}

/// Copy with its source ranges. All of them are checked before anything is copied.
pub(super) fn ranges(command: &Command, data: &[u8], namespace: &Namespace<'_>) -> Planned {
    // That may have changed while the data were under way.
    namespace.check_writable()?;
    let unit = namespace.unit;
    let (capacity, block_size) = (unit.capacity(), unit.block_size());
    let limits = CopyLimits::of(block_size);
    let data = data
        .get(..length(command))
        .ok_or(Status::DATA_SGL_LENGTH_INVALID)?;

    let mut sources = Vec::with_capacity(data.len() / RANGE);
    let mut total = 0;
    for descriptor in data.chunks_exact(RANGE) {
        let blocks = (u64_at(descriptor, 16) & 0xffff) + 1;
        total += blocks;
        if blocks > limits.mssrl.into() || total > limits.mcl.into() {
            return Err(Status::COMMAND_SIZE_LIMIT);
        }
        let source = BlockRange::within(u64_at(descriptor, 8), blocks, capacity);
        sources.push(source.ok_or(Status::LBA_OUT_OF_RANGE)?);
    }
    let all =
        BlockRange::within(command.slba(), total, capacity).ok_or(Status::LBA_OUT_OF_RANGE)?;
    // It could be copied over before it is copied.
    if sources.iter().any(|source| overlap(*source, all)) {
        return Err(Status::INVALID_FIELD);
    }

    let mut destination = all.offset(block_size);
    let segment = |source: &BlockRange| {
        let segment = CopySegment {
            source: unit.id(),
            source_offset: source.offset(block_size),
            destination: unit.id(),
            destination_offset: destination,
            bytes: source.length(block_size),
        };
        destination += segment.bytes;
        segment
    };
    let segments = sources.iter().map(segment).collect();
    namespace.change(BlockOp::Copy(segments), command)
}

/// Bytes of all source ranges, the number of which is counted from zero.
fn length(command: &Command) -> usize {
    ((command.cdw::<12>() & 0xff) as usize + 1) * RANGE
}

/// Both are within the capacity, so that their ends can be counted.
fn overlap(one: BlockRange, other: BlockRange) -> bool {
    one.lba < other.lba + other.blocks && other.lba < one.lba + one.blocks
}
