//! Fused operations (NVM command set 1.0 section 3.4): Compare and Write is the only one.

use super::{Namespace, check_data, check_queue, check_reservations, fua};
use crate::block::BlockOp;
use crate::nvme::command::{Command, Fuse};
use crate::nvme::controller::Controller;
use crate::nvme::opcodes::{COMPARE, WRITE};
use crate::nvme::plan::Planned;
use crate::nvme::status::Status;
use crate::reservations::Access;
use crate::scsi::ScsiChannel;

/// Plans a compare that is fused with a write.
pub(crate) fn plan_fused(
    controller: &Controller,
    compare: &Command,
    write: &Command,
    units: &mut ScsiChannel,
) -> Planned {
    check_queue(controller)?;
    if (compare.opcode, compare.fuse) != (COMPARE, Fuse::First)
        || (write.opcode, write.fuse) != (WRITE, Fuse::Second)
    {
        return Err(Status::INVALID_FIELD);
    }
    let blocks = |command: &Command| command.cdw::<12>() & 0xffff;
    if compare.nsid != write.nsid
        || compare.slba() != write.slba()
        || blocks(compare) != blocks(write)
    {
        return Err(Status::INVALID_FIELD);
    }
    // Both are for the same namespace, and whoever may write may compare.
    let namespace = Namespace::find(write, units);
    check_reservations(&namespace, Access::Writes)?;
    let namespace = namespace.ok_or(Status::INVALID_NAMESPACE)?;
    namespace.check_writable()?;
    let unit = namespace.unit;
    let range = namespace.range(write)?;
    // Atomic Compare and Write Unit: what is longer may be refused.
    let limit = unit.model().limits.compare_and_write_blocks();
    let bytes = range.length(unit.block_size());
    if range.blocks > limit.into() || bytes > u64::from(controller.setup.max_transfer) {
        return Err(Status::INVALID_FIELD);
    }
    check_data(compare, bytes)?;
    check_data(write, bytes)?;
    let durable = fua(write) || !unit.write_cache();
    namespace.plan(BlockOp::CompareAndWrite(range), durable)
}
