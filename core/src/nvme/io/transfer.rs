//! Commands on one range of blocks (NVM command set 1.0 section 3.2).

use super::{Namespace, PAGE, WZSL, check_data, fua};
use crate::block::{BlockOp, BlockRange, Compare};
use crate::nvme::command::Command;
use crate::nvme::controller::Controller;
use crate::nvme::plan::Planned;
use crate::nvme::status::Status;

/// Read.
pub(crate) fn read(
    controller: &Controller,
    command: &Command,
    namespace: &Namespace<'_>,
) -> Planned {
    let range = transferred(controller, command, namespace)?;
    namespace.plan(BlockOp::Read(range), fua(command))
}

/// Write.
pub(crate) fn write(
    controller: &Controller,
    command: &Command,
    namespace: &Namespace<'_>,
) -> Planned {
    namespace.check_writable()?;
    let range = transferred(controller, command, namespace)?;
    namespace.change(BlockOp::Write(range), command)
}

/// Compare.
pub(crate) fn compare(
    controller: &Controller,
    command: &Command,
    namespace: &Namespace<'_>,
) -> Planned {
    let range = transferred(controller, command, namespace)?;
    let compare = Compare::Blocks;
    namespace.plan(BlockOp::Verify { range, compare }, fua(command))
}

/// Verify.
pub(crate) fn verify(
    _controller: &Controller,
    command: &Command,
    namespace: &Namespace<'_>,
) -> Planned {
    let range = namespace.range(command)?;
    let compare = Compare::Medium;
    namespace.plan(BlockOp::Verify { range, compare }, fua(command))
}

/// Deallocate, if that leaves zeros.
const DEAC: u32 = 1 << 25;

/// Write Zeroes. The unit's limits for WRITE SAME are about a field of that, and do not count here.
pub(crate) fn write_zeroes(
    _controller: &Controller,
    command: &Command,
    namespace: &Namespace<'_>,
) -> Planned {
    namespace.check_writable()?;
    let unit = namespace.unit;
    let range = namespace.range(command)?;
    if range.length(unit.block_size()) > u64::from(PAGE) << WZSL {
        return Err(Status::INVALID_FIELD);
    }
    let provisioning = unit.model().provisioning;
    let zeroes = provisioning.is_some_and(|provisioning| provisioning.zeroes);
    let op = BlockOp::WriteSame {
        range,
        unmap: zeroes && command.cdw::<12>() & DEAC != 0,
        zero_data: true,
    };
    namespace.change(op, command)
}

/// Flush (NVM command set 1.0 section 3; NVMe base 2.0 section 7.1).
pub(crate) fn flush(
    _controller: &Controller,
    _command: &Command,
    namespace: &Namespace<'_>,
) -> Planned {
    namespace.plan(BlockOp::Flush, false)
}

/// The range of a command that moves it. It is no longer than the host was told, and than the unit can take.
#[inline]
fn transferred(
    controller: &Controller,
    command: &Command,
    namespace: &Namespace<'_>,
) -> Result<BlockRange, Status> {
    let unit = namespace.unit;
    let range = namespace.range(command)?;
    let bytes = range.length(unit.block_size());
    let limit = unit.model().limits.max_transfer_blocks;
    if bytes > u64::from(controller.setup.max_transfer)
        || (limit != 0 && range.blocks > u64::from(limit))
    {
        return Err(Status::INVALID_FIELD);
    }
    check_data(command, bytes)?;
    Ok(range)
}
