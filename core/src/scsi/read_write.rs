//! Commands that read, write, verify and flush blocks (SBC-3, and SBC-4 for atomic writes).

use super::cdb::Cdb;
use super::plan::{Context, Planned};
use super::sense::{Sense, codes};
use crate::block::{BlockOp, BlockRange, Compare};

/// READ (6), SBC-3.
pub(crate) fn read6(context: &Context<'_>, cdb: &Cdb) -> Planned {
    transfer(context, cdb, &SIX, BlockOp::Read)
}

/// READ (10), SBC-3.
pub(crate) fn read10(context: &Context<'_>, cdb: &Cdb) -> Planned {
    transfer(context, cdb, &TEN, BlockOp::Read)
}

/// READ (12), SBC-3.
pub(crate) fn read12(context: &Context<'_>, cdb: &Cdb) -> Planned {
    transfer(context, cdb, &TWELVE, BlockOp::Read)
}

/// READ (16), SBC-3.
pub(crate) fn read16(context: &Context<'_>, cdb: &Cdb) -> Planned {
    transfer(context, cdb, &SIXTEEN, BlockOp::Read)
}

/// WRITE (6), SBC-3.
pub(crate) fn write6(context: &Context<'_>, cdb: &Cdb) -> Planned {
    transfer(context, cdb, &SIX, BlockOp::Write)
}

/// WRITE (10), SBC-3.
pub(crate) fn write10(context: &Context<'_>, cdb: &Cdb) -> Planned {
    transfer(context, cdb, &TEN, BlockOp::Write)
}

/// WRITE (12), SBC-3.
pub(crate) fn write12(context: &Context<'_>, cdb: &Cdb) -> Planned {
    transfer(context, cdb, &TWELVE, BlockOp::Write)
}

/// WRITE (16), SBC-3.
pub(crate) fn write16(context: &Context<'_>, cdb: &Cdb) -> Planned {
    transfer(context, cdb, &SIXTEEN, BlockOp::Write)
}

/// ORWRITE (16), SBC-3. ORPROTECT is where WRITE has WRPROTECT.
pub(crate) fn orwrite16(context: &Context<'_>, cdb: &Cdb) -> Planned {
    transfer(context, cdb, &SIXTEEN, BlockOp::Or)
}

/// WRITE ATOMIC (16), SBC-4: a write, but for limits of its own. That it is whole or not at all is the data path's
/// business, which is why a disk has to say that it can.
pub(crate) fn write_atomic16(context: &Context<'_>, cdb: &Cdb) -> Planned {
    // ATOMIC BOUNDARY: there is no MAXIMUM ATOMIC BOUNDARY SIZE.
    if cdb.u16(10) != 0 {
        return Err(Sense::cdb_byte(10));
    }
    if (ATOMIC.blocks)(cdb) > context.unit.model().limits.max_atomic_blocks.into() {
        return Err(Sense::cdb_byte(ATOMIC.blocks_at));
    }
    transfer(context, cdb, &ATOMIC, BlockOp::Write)
}

/// WRITE AND VERIFY (10), SBC-3.
pub(crate) fn write_verify10(context: &Context<'_>, cdb: &Cdb) -> Planned {
    write_verify(context, cdb, &TEN)
}

/// WRITE AND VERIFY (12), SBC-3.
pub(crate) fn write_verify12(context: &Context<'_>, cdb: &Cdb) -> Planned {
    write_verify(context, cdb, &TWELVE)
}

/// WRITE AND VERIFY (16), SBC-3.
pub(crate) fn write_verify16(context: &Context<'_>, cdb: &Cdb) -> Planned {
    write_verify(context, cdb, &SIXTEEN)
}

/// VERIFY (10), SBC-3.
pub(crate) fn verify10(context: &Context<'_>, cdb: &Cdb) -> Planned {
    verify(context, cdb, &TEN)
}

/// VERIFY (12), SBC-3.
pub(crate) fn verify12(context: &Context<'_>, cdb: &Cdb) -> Planned {
    verify(context, cdb, &TWELVE)
}

/// VERIFY (16), SBC-3.
pub(crate) fn verify16(context: &Context<'_>, cdb: &Cdb) -> Planned {
    verify(context, cdb, &SIXTEEN)
}

/// SYNCHRONIZE CACHE (10), SBC-3.
pub(crate) fn synchronize10(context: &Context<'_>, cdb: &Cdb) -> Planned {
    synchronize(context, cdb, &TEN)
}

/// SYNCHRONIZE CACHE (16), SBC-3.
pub(crate) fn synchronize16(context: &Context<'_>, cdb: &Cdb) -> Planned {
    synchronize(context, cdb, &SIXTEEN)
}

/// Where a CDB form has its fields.
pub(crate) struct Form {
    lba: fn(&Cdb) -> u64,
    blocks: fn(&Cdb) -> u64,
    /// First byte of the number of blocks.
    pub(crate) blocks_at: u16,
    /// Byte 1 has flags and not a part of the address.
    flags: bool,
}

const SIX: Form = Form {
    lba: |cdb| (cdb.u24(1) & 0x1f_ffff).into(),
    // Zero means 256 (SBC-3).
    blocks: |cdb| match cdb.byte(4) {
        0 => 256,
        blocks => blocks.into(),
    },
    blocks_at: 4,
    flags: false,
};
pub(crate) const TEN: Form = Form {
    lba: |cdb| cdb.u32(2).into(),
    blocks: |cdb| cdb.u16(7).into(),
    blocks_at: 7,
    flags: true,
};
const TWELVE: Form = Form {
    lba: |cdb| cdb.u32(2).into(),
    blocks: |cdb| cdb.u32(6).into(),
    blocks_at: 6,
    flags: true,
};
pub(crate) const SIXTEEN: Form = Form {
    lba: |cdb| cdb.u64(2),
    blocks: |cdb| cdb.u32(10).into(),
    blocks_at: 10,
    flags: true,
};

/// WRITE ATOMIC has a number of blocks of 16 bits, after the boundary.
const ATOMIC: Form = Form {
    lba: |cdb| cdb.u64(2),
    blocks: |cdb| cdb.u16(12).into(),
    blocks_at: 12,
    flags: true,
};

/// The range that a CDB names, if the unit has all of it.
#[inline(always)]
pub(crate) fn range(context: &Context<'_>, cdb: &Cdb, form: &Form) -> Result<BlockRange, Sense> {
    BlockRange::within((form.lba)(cdb), (form.blocks)(cdb), context.unit.capacity())
        .ok_or(codes::LBA_OUT_OF_RANGE.into())
}

/// The same for commands where no number of blocks means all that follow. Never empty.
pub(crate) fn range_or_rest(
    context: &Context<'_>,
    cdb: &Cdb,
    form: &Form,
) -> Result<BlockRange, Sense> {
    // It may change between two looks.
    let capacity = context.unit.capacity();
    let lba = (form.lba)(cdb);
    let blocks = match (form.blocks)(cdb) {
        0 => capacity.saturating_sub(lba),
        blocks => blocks,
    };
    BlockRange::within(lba, blocks, capacity).ok_or(codes::LBA_OUT_OF_RANGE.into())
}

/// RDPROTECT, WRPROTECT and VRPROTECT: the medium has no protection information (SBC-3).
pub(crate) fn check_protect(cdb: &Cdb) -> Result<(), Sense> {
    if cdb.byte(1) & 0xe0 == 0 {
        Ok(())
    } else {
        Err(Sense::cdb_bits(1, 7))
    }
}

/// Inlined, as are its parts: each command then has its form's offsets in its code, and calls nothing.
#[inline(always)]
fn transfer(
    context: &Context<'_>,
    cdb: &Cdb,
    form: &Form,
    op: impl FnOnce(BlockRange) -> BlockOp,
) -> Planned {
    let (mut fua, mut dpo) = (false, false);
    if form.flags {
        check_protect(cdb)?;
        fua = cdb.bit(1, 3);
        dpo = cdb.bit(1, 4);
    }
    let range = range(context, cdb, form)?;
    check_length(context, range, form)?;
    if range.blocks == 0 {
        return context.good();
    }
    let op = op(range);
    let durable = op.is_write() && !context.unit.write_cache();
    context.block(op, fua || durable, dpo)
}

/// MAXIMUM TRANSFER LENGTH of the block limits VPD page (SBC-3).
fn check_length(context: &Context<'_>, range: BlockRange, form: &Form) -> Result<(), Sense> {
    let limit = context.unit.model().limits.max_transfer_blocks;
    if limit != 0 && range.blocks > limit.into() {
        return Err(Sense::cdb_byte(form.blocks_at));
    }
    Ok(())
}

/// What is verified has to be on the medium (SBC-3), so that it is written there whatever the cache is set to.
fn write_verify(context: &Context<'_>, cdb: &Cdb, form: &Form) -> Planned {
    check_protect(cdb)?;
    // BYTCHK (SBC-3)
    let compare = match cdb.byte(1) >> 1 & 0x03 {
        0 => false,
        1 => true,
        _ => return Err(Sense::cdb_bits(1, 2)),
    };
    let range = range(context, cdb, form)?;
    check_length(context, range, form)?;
    if range.blocks == 0 {
        return context.good();
    }
    context.block(BlockOp::WriteVerify { range, compare }, true, cdb.bit(1, 4))
}

fn verify(context: &Context<'_>, cdb: &Cdb, form: &Form) -> Planned {
    check_protect(cdb)?;
    // BYTCHK (SBC-3)
    let compare = match cdb.byte(1) >> 1 & 0x03 {
        0 => Compare::Medium,
        1 => Compare::Blocks,
        3 => Compare::OneBlock,
        _ => return Err(Sense::cdb_bits(1, 2)),
    };
    let range = range(context, cdb, form)?;
    if compare == Compare::Blocks {
        check_length(context, range, form)?;
    }
    if range.blocks == 0 {
        return context.good();
    }
    context.block(BlockOp::Verify { range, compare }, false, cdb.bit(1, 4))
}

/// Everything is flushed, whatever the range. IMMED may be ignored: the status then comes when it is done.
fn synchronize(context: &Context<'_>, cdb: &Cdb, form: &Form) -> Planned {
    range(context, cdb, form)?;
    context.block(BlockOp::Flush, false, false)
}
