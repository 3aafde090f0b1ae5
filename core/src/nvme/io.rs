//! I/O commands (NVM command set 1.0 section 3).

use super::command::Command;
use super::controller::Controller;
use super::plan::{Plan, Planned};
use super::status::Status;
use crate::block::{BlockOp, BlockRange};
use crate::scsi::{BlockCommand, ScsiChannel};

/// Plans a command of an I/O queue.
#[inline]
pub(crate) fn plan(
    _controller: &Controller,
    command: &Command,
    units: &mut ScsiChannel,
) -> Planned {
    let index = command
        .nsid
        .checked_sub(1)
        .and_then(|lun| units.unit_numbered(lun))
        .ok_or(Status::INVALID_NAMESPACE)?;
    let unit = units.unit(index);
    let blocks = u64::from(command.cdw::<12>() & 0xffff) + 1;
    let range = BlockRange::within(command.slba(), blocks, unit.capacity())
        .ok_or(Status::LBA_OUT_OF_RANGE)?;
    let op = match command.opcode {
        0x02 => BlockOp::Read(range),
        0x01 => BlockOp::Write(range),
        _ => return Err(Status::INVALID_OPCODE),
    };
    let transfer = op.transfer(unit.block_size());
    Ok(Plan::Block(BlockCommand {
        unit: index,
        op,
        fua: command.cdw::<12>() & 1 << 30 != 0,
        dpo: false,
        transfer,
    }))
}

/// Goes on with a command whose data have come.
pub(crate) fn data(
    _controller: &Controller,
    _command: &Command,
    _data: &[u8],
    _units: &mut ScsiChannel,
) -> Planned {
    Err(Status::INVALID_OPCODE)
}

/// Plans a compare that is fused with a write.
pub(crate) fn plan_fused(
    _controller: &Controller,
    _compare: &Command,
    _write: &Command,
    _units: &mut ScsiChannel,
) -> Planned {
    Err(Status::INVALID_OPCODE)
}
