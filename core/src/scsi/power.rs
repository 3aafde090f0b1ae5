//! Commands about a disk that is always ready and cannot be taken out.

use super::cdb::Cdb;
use super::plan::{Context, Planned};
use super::sense::Sense;
use crate::block::BlockOp;

/// TEST UNIT READY (SPC-4).
pub(crate) fn test_unit_ready(context: &Context<'_>, _: &Cdb) -> Planned {
    context.good()
}

/// START STOP UNIT (SBC-3).
///
/// Other initiators may use the disk, so none of them can stop it; what was written is made durable nevertheless.
pub(crate) fn start_stop_unit(context: &Context<'_>, cdb: &Cdb) -> Planned {
    // POWER CONDITION: none is supported.
    if cdb.byte(4) & 0xf0 != 0 {
        return Err(Sense::cdb_bits(4, 7));
    }
    // LOEJ: there is nothing to load or eject.
    if cdb.bit(4, 1) {
        return Err(Sense::cdb_bits(4, 1));
    }
    let (no_flush, start) = (cdb.bit(4, 2), cdb.bit(4, 0));
    if start || no_flush {
        context.good()
    } else {
        context.block(BlockOp::Flush, false, false)
    }
}

/// PREVENT ALLOW MEDIUM REMOVAL (SPC-4).
pub(crate) fn prevent_allow(context: &Context<'_>, cdb: &Cdb) -> Planned {
    // PREVENT values 2 and 3 are obsolete.
    if cdb.bit(4, 1) {
        Err(Sense::cdb_bits(4, 1))
    } else {
        context.good()
    }
}
