//! From the end of a block operation to a response.

use super::response::{Response, Status};
use super::sense::{Sense, SenseCode, codes};
use super::unit::LogicalUnit;
use crate::block::{BlockFault, BlockOp};

/// The response for a block operation that has ended.
pub fn complete(unit: &LogicalUnit, op: &BlockOp, result: Result<(), BlockFault>) -> Response {
    match result {
        Ok(()) => Response::good(),
        // Nothing was promised.
        Err(BlockFault::Unsupported) if matches!(op, BlockOp::Prefetch(_)) => Response::good(),
        // The disk has shrunk since the command was planned, as its sessions are told.
        Err(BlockFault::PastEnd) if op.is_beyond(unit.capacity()) => {
            Response::check_condition_of(unit, codes::LBA_OUT_OF_RANGE)
        }
        Err(fault) => match sense(op, fault) {
            Some(sense) => Response::check_condition_of(unit, sense),
            None => Status::Busy.into(),
        },
    }
}

/// None where nothing has failed, and the same may succeed later: BUSY has no sense data (SAM-5 5.3.1).
fn sense(op: &BlockOp, fault: BlockFault) -> Option<Sense> {
    if let BlockOp::Copy(_) = op {
        return Some(copy_code(fault).into());
    }
    let code = match fault {
        BlockFault::PastEnd => medium(op.is_write()),
        BlockFault::Medium { write } => medium(write),
        BlockFault::NoSpace => codes::SPACE_ALLOCATION_FAILED,
        BlockFault::ReadOnly => codes::WRITE_PROTECTED,
        BlockFault::Unsupported => codes::INVALID_FIELD_IN_CDB,
        BlockFault::Busy => return None,
        BlockFault::Hardware => codes::INTERNAL_FAILURE,
        BlockFault::TransferFailed => codes::DATA_PHASE_ERROR,
        BlockFault::Aborted => codes::COMMAND_ABORTED,
        BlockFault::Miscompare { offset } => {
            return Some(Sense {
                information: Some(offset),
                ..codes::MISCOMPARE.into()
            });
        }
    };
    Some(code.into())
}

/// A copy has failed once it got to one of its segments (SPC-4, errors while segment descriptors are processed).
fn copy_code(fault: BlockFault) -> SenseCode {
    match fault {
        BlockFault::NoSpace => codes::COPY_SPACE_ALLOCATION_FAILED,
        BlockFault::ReadOnly => codes::COPY_WRITE_PROTECTED,
        BlockFault::Aborted => codes::COMMAND_ABORTED,
        BlockFault::PastEnd
        | BlockFault::Medium { .. }
        | BlockFault::Unsupported
        | BlockFault::Busy
        | BlockFault::Hardware
        | BlockFault::Miscompare { .. }
        | BlockFault::TransferFailed => codes::COPY_DEVICE_FAILURE,
    }
}

fn medium(write: bool) -> SenseCode {
    if write {
        codes::WRITE_ERROR
    } else {
        codes::READ_ERROR
    }
}
