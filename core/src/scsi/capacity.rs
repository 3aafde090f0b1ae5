//! READ CAPACITY (SBC-3).

use super::cdb::Cdb;
use super::plan::{Context, Planned};

/// READ CAPACITY (10).
pub(crate) fn read10(context: &Context<'_>, _: &Cdb) -> Planned {
    let last = context.unit.capacity().saturating_sub(1);
    // All ones: too large, ask READ CAPACITY (16).
    let last = u32::try_from(last).unwrap_or(u32::MAX);
    let block_size = context.unit.block_size();
    let data = [last.to_be_bytes(), block_size.to_be_bytes()].concat();
    context.data(data, 8)
}

/// READ CAPACITY (16).
pub(crate) fn read16(context: &Context<'_>, cdb: &Cdb) -> Planned {
    let model = context.unit.model();
    let mut data = vec![0; 32];
    let last = context.unit.capacity().saturating_sub(1);
    data[..8].copy_from_slice(&last.to_be_bytes());
    data[8..12].copy_from_slice(&model.block_size.to_be_bytes());
    data[13] = model.physical_exponent;
    if let Some(provisioning) = model.provisioning {
        // LBPME, LBPRZ.
        data[14] = 0x80 | if provisioning.zeroes { 0x40 } else { 0 };
    }
    context.data(data, cdb.u32(10))
}
