//! RESERVE and RELEASE as SCSI-2 had them (SPC-2 sections 7.16, 7.17, 7.21 and 7.22). Beside persistent reservations they do nothing: GOOD to
//! whom such a reservation serves, a conflict to everybody else (SPC-4 section 5.13.3, which is what CRH says).

use crate::reservations::Refusal;
use crate::scsi::cdb::Cdb;
use crate::scsi::plan::{Context, Plan, Planned};
use crate::scsi::response::Status;
use crate::scsi::sense::Sense;

/// RESERVE (6) and RESERVE (10).
pub(crate) fn reserve(context: &Context<'_>, cdb: &Cdb) -> Planned {
    check_whole_unit(cdb)?;
    let seat = context.slot.nexus.seat();
    answer(context, context.unit.reservations().reserve(seat))
}

/// RELEASE (6) and RELEASE (10). To release what somebody else has reserved is no error, and does nothing.
pub(crate) fn release(context: &Context<'_>, cdb: &Cdb) -> Planned {
    check_whole_unit(cdb)?;
    let seat = context.slot.nexus.seat();
    answer(context, context.unit.reservations().release(seat))
}

fn answer(context: &Context<'_>, result: Result<(), Refusal>) -> Planned {
    match result {
        Ok(()) => context.good(),
        Err(Refusal::Busy) => Ok(Plan::Respond(Status::Busy.into())),
        Err(_) => context.conflict(),
    }
}

/// Only whole units can be reserved, and only for who asks.
fn check_whole_unit(cdb: &Cdb) -> Result<(), Sense> {
    // 3RDPTY, EXTENT, and LONGID of the ten-byte commands.
    let bits: &[u8] = if cdb.byte(0) >> 5 == 0 {
        &[4, 0]
    } else {
        &[4, 1, 0]
    };
    match bits.iter().find(|bit| cdb.bit(1, **bit)) {
        Some(bit) => Err(Sense::cdb_bits(1, *bit)),
        None => Ok(()),
    }
}
