//! REPORT LUNS (SPC-4).

use super::cdb::Cdb;
use super::channel::LunMap;
use super::lun::{Lun, REPORT_LUNS_ADDRESS};
use super::plan::{Context, Plan, Planned};
use super::response::Response;
use super::sense::Sense;

/// REPORT LUNS at a logical unit.
pub(crate) fn report_luns(context: &Context<'_>, cdb: &Cdb) -> Planned {
    report(context.map, cdb)
}

/// REPORT LUNS anywhere.
pub(crate) fn report(map: &LunMap, cdb: &Cdb) -> Planned {
    // SELECT REPORT: units, well-known units, or both (SPC-4).
    let (units, well_known) = match cdb.byte(2) {
        0 => (true, false),
        1 => (false, true),
        2 => (true, true),
        _ => return Err(Sense::cdb_byte(2)),
    };
    let allocation_length = cdb.u32(6);
    if allocation_length < 16 {
        return Err(Sense::cdb_byte(6));
    }
    let mut data = vec![0; 8];
    if units {
        data.extend(map.slots.iter().flat_map(|slot| Lun::encode(slot.number)));
    }
    if well_known {
        data.extend(REPORT_LUNS_ADDRESS);
    }
    let length = (data.len() - 8) as u32;
    data[..4].copy_from_slice(&length.to_be_bytes());
    // Who asks needs not be told that the answer has changed (SPC-4).
    map.slots
        .iter()
        .for_each(|slot| slot.nexus.luns_seen(map.generation));
    Ok(Plan::Respond(Response::with_data(data, allocation_length)))
}
