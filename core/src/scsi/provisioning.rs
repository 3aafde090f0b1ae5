//! UNMAP and WRITE SAME (SBC-3).

use super::cdb::Cdb;
use super::plan::{BlockCommand, Context, ParameterList, PendingParameters, Plan, Planned};
use super::read_write::{self, Form, SIXTEEN, TEN};
use super::response::Response;
use super::sense::{Sense, codes};
use crate::block::{BlockOp, BlockRange, Transfer};

/// WRITE SAME (10).
pub(crate) fn write_same10(context: &Context<'_>, cdb: &Cdb) -> Planned {
    write_same(context, cdb, &TEN, false)
}

/// WRITE SAME (16).
pub(crate) fn write_same16(context: &Context<'_>, cdb: &Cdb) -> Planned {
    write_same(context, cdb, &SIXTEEN, cdb.bit(1, 0))
}

fn write_same(context: &Context<'_>, cdb: &Cdb, form: &Form, zero_data: bool) -> Planned {
    read_write::check_protect(cdb)?;
    // ANCHOR, and obsolete PBDATA and LBDATA.
    for bit in [4, 2, 1] {
        if cdb.bit(1, bit) {
            return Err(Sense::cdb_bits(1, bit));
        }
    }
    let model = context.unit.model();
    let unmap = cdb.bit(1, 3);
    if unmap && model.provisioning.is_none() {
        return Err(Sense::cdb_bits(1, 3));
    }
    let range = read_write::range(context, cdb, form)?;
    // WSNZ is set, so zero blocks does not mean "to the end".
    if range.blocks == 0 || range.blocks > model.limits.max_write_same_blocks.into() {
        return Err(Sense::cdb_byte(form.blocks_at));
    }
    let op = BlockOp::WriteSame {
        range,
        unmap,
        zero_data,
    };
    if !zero_data {
        context.check_data_out(&op)?;
    }
    context.block(op, !context.unit.write_cache(), false)
}

/// UNMAP, before its parameter list is there.
pub(crate) fn unmap(context: &Context<'_>, cdb: &Cdb) -> Planned {
    // ANCHOR: ANC_SUP is zero.
    if cdb.bit(1, 0) {
        return Err(Sense::cdb_bits(1, 0));
    }
    match cdb.u16(7) {
        0 => context.good(),
        1..=7 => Err(codes::PARAMETER_LIST_LENGTH.into()),
        length => context.fetch(ParameterList::Unmap, length.into()),
    }
}

const HEADER: usize = 8;
const DESCRIPTOR: usize = 16;

/// UNMAP with its parameter list (SBC-3). A descriptor that was cut is ignored.
pub(crate) fn unmap_list(pending: &PendingParameters, data: &[u8]) -> Planned {
    let unit = &*pending.nexus.unit;
    let header: &[u8; HEADER] = data.first_chunk().ok_or(codes::PARAMETER_LIST_LENGTH)?;
    let [_, _, high, low, ..] = *header;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let end = (HEADER + length).min(data.len());
    let descriptors = data[HEADER..end].chunks_exact(DESCRIPTOR);

    // A disk without provisioning has no UNMAP command at all.
    let limits = unit.model().provisioning.unwrap_or_default();
    if descriptors.len() as u64 > u64::from(limits.max_unmap_descriptors) {
        return Err(Sense::parameter(2, None));
    }
    let capacity = unit.capacity();
    let mut total: u64 = 0;
    let mut ranges = Vec::with_capacity(descriptors.len());
    for (index, descriptor) in descriptors.enumerate() {
        let (lba, blocks) = descriptor_fields(descriptor);
        // No blocks are not an error (SBC-3), not even right behind the last one.
        if blocks == 0 && lba <= capacity {
            continue;
        }
        let range =
            BlockRange::within(lba, blocks.into(), capacity).ok_or(codes::LBA_OUT_OF_RANGE)?;
        total += range.blocks;
        if total > limits.max_unmap_blocks.into() {
            return Err(Sense::parameter(HEADER + index * DESCRIPTOR + 8, None));
        }
        ranges.push(range);
    }
    if ranges.is_empty() {
        return Ok(Plan::Respond(Response::good()));
    }
    Ok(Plan::Block(BlockCommand {
        unit: pending.unit,
        op: BlockOp::Unmap(ranges),
        fua: !unit.write_cache(),
        dpo: false,
        transfer: Transfer::None,
    }))
}

/// LBA and number of blocks of an UNMAP block descriptor.
fn descriptor_fields(descriptor: &[u8]) -> (u64, u32) {
    let field = descriptor.iter().take(12);
    let value = field.fold(0_u128, |value, byte| value << 8 | u128::from(*byte));
    ((value >> 32) as u64, value as u32)
}
