//! Commands about a disk that can be stopped, but not taken out.

use super::cdb::Cdb;
use super::plan::{Context, Planned};
use super::sense::Sense;
use crate::block::BlockOp;
use crate::reservations::Access;

/// TEST UNIT READY (SPC-4).
pub(crate) fn test_unit_ready(context: &Context<'_>, _: &Cdb) -> Planned {
    context.good()
}

/// START STOP UNIT (SBC-3). A unit is stopped for its initiator alone.
pub(crate) fn start_stop_unit(context: &Context<'_>, cdb: &Cdb) -> Planned {
    // Whatever is reserved, a unit may be started (SBC-3 table 13).
    let starts = cdb.byte(4) & 0xf0 == 0 && cdb.bit(4, 0);
    if !starts && !context.slot.nexus.allows(Access::Writes) {
        return context.conflict();
    }
    // POWER CONDITION: none is supported.
    if cdb.byte(4) & 0xf0 != 0 {
        return Err(Sense::cdb_bits(4, 7));
    }
    // LOEJ: there is nothing to load or eject.
    if cdb.bit(4, 1) {
        return Err(Sense::cdb_bits(4, 1));
    }
    let (no_flush, start) = (cdb.bit(4, 2), cdb.bit(4, 0));
    context.slot.nexus.set_stopped(!start);
    if start || no_flush {
        context.good()
    } else {
        context.block(BlockOp::Flush, false, false)
    }
}

/// SEND DIAGNOSTIC (SPC-4): the default self-test, which has nothing to test.
pub(crate) fn send_diagnostic(context: &Context<'_>, cdb: &Cdb) -> Planned {
    // SELF-TEST CODE: only the default one.
    if cdb.byte(1) & 0xe0 != 0 {
        return Err(Sense::cdb_bits(1, 7));
    }
    // There are no diagnostic pages.
    if cdb.u16(3) != 0 {
        return Err(Sense::cdb_byte(3));
    }
    context.good()
}

/// PREVENT ALLOW MEDIUM REMOVAL (SPC-4).
pub(crate) fn prevent_allow(context: &Context<'_>, cdb: &Cdb) -> Planned {
    // Whatever is reserved, removal may be allowed (SPC-4 table 66).
    if cdb.byte(4) & 3 != 0 && !context.slot.nexus.allows(Access::Writes) {
        return context.conflict();
    }
    // PREVENT values 2 and 3 are obsolete.
    if cdb.bit(4, 1) {
        Err(Sense::cdb_bits(4, 1))
    } else {
        context.good()
    }
}
