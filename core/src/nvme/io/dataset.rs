//! Dataset Management (NVM command set 1.0 section 3.2.3).

use super::{Namespace, fetch, u64_at};
use crate::block::{BlockOp, BlockRange};
use crate::nvme::command::Command;
use crate::nvme::controller::Controller;
use crate::nvme::plan::{Completion, Planned};
use crate::nvme::status::Status;

/// Its opcode.
pub(crate) const DATASET_MANAGEMENT: u8 = 0x09;

/// Bytes of a range.
const RANGE: usize = 16;
/// Attribute Deallocate, in dword 11. The others are hints, which nothing follows.
const DEALLOCATE: u32 = 1 << 2;

/// Dataset Management, before its ranges are there.
pub(crate) fn dataset_management(
    _controller: &Controller,
    command: &Command,
    namespace: &Namespace<'_>,
) -> Planned {
    if command.cdw::<11>() & DEALLOCATE == 0 {
        return Ok(Completion::SUCCESS.into());
    }
    namespace.check_writable()?;
    if namespace.unit.model().provisioning.is_none() {
        return Ok(Completion::SUCCESS.into());
    }
    fetch(command, namespace, length(command) as u32)
}

/// Dataset Management with its ranges.
pub(super) fn ranges(command: &Command, data: &[u8], namespace: &Namespace<'_>) -> Planned {
    // That may have changed while the data were under way.
    namespace.check_writable()?;
    let data = data
        .get(..length(command))
        .ok_or(Status::DATA_SGL_LENGTH_INVALID)?;
    let capacity = namespace.unit.capacity();
    let mut ranges = Vec::with_capacity(data.len() / RANGE);
    for range in data.chunks_exact(RANGE) {
        // Context attributes, number of blocks (not counted from zero), starting LBA.
        let blocks = u64_at(range, 0) >> 32;
        if blocks == 0 {
            continue;
        }
        let range = BlockRange::within(u64_at(range, 8), blocks, capacity);
        ranges.push(range.ok_or(Status::LBA_OUT_OF_RANGE)?);
    }
    if ranges.is_empty() {
        return Ok(Completion::SUCCESS.into());
    }
    // Dword 12 is not this command's, so there is no FUA.
    namespace.plan(BlockOp::Unmap(ranges), !namespace.unit.write_cache())
}

/// Bytes of all ranges, the number of which is counted from zero.
fn length(command: &Command) -> usize {
    ((command.cdw::<10>() & 0xff) as usize + 1) * RANGE
}
