//! COMPARE AND WRITE (SBC-3).

use super::cdb::Cdb;
use super::plan::{Context, Planned};
use super::read_write;
use super::sense::{Sense, codes};
use crate::block::{BlockOp, BlockRange};

/// Where the number of blocks is: one byte.
const BLOCKS_AT: u16 = 13;

/// COMPARE AND WRITE: the first half of the data is what the blocks should hold, the second what they are to hold.
pub(crate) fn compare_and_write(context: &Context<'_>, cdb: &Cdb) -> Planned {
    read_write::check_protect(cdb)?;
    let blocks = cdb.byte(BLOCKS_AT.into());
    if blocks > context.unit.model().limits.compare_and_write_blocks() {
        return Err(Sense::cdb_byte(BLOCKS_AT));
    }
    let range = BlockRange::within(cdb.u64(2), blocks.into(), context.unit.capacity())
        .ok_or(codes::LBA_OUT_OF_RANGE)?;
    if blocks == 0 {
        // No blocks is no error, but data for them is: 256 blocks do not fit the field, and GOOD would say that they were
        // compared and stored.
        if context.command.data_out_length > 0 {
            return Err(Sense::cdb_byte(BLOCKS_AT));
        }
        return context.good();
    }
    let op = BlockOp::CompareAndWrite(range);
    context.check_data_out(&op)?;
    let fua = cdb.bit(1, 3) || !context.unit.write_cache();
    context.block(op, fua, cdb.bit(1, 4))
}
