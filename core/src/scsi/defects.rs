//! READ DEFECT DATA (SBC-3): a disk that is a file has no defects to list.

use super::cdb::Cdb;
use super::plan::{Context, Planned};
use super::sense::Sense;

/// READ DEFECT DATA (10).
pub(crate) fn read10(context: &Context<'_>, cdb: &Cdb) -> Planned {
    let lists = lists(cdb, 2)?;
    context.data(vec![0, lists, 0, 0], cdb.u16(7).into())
}

/// READ DEFECT DATA (12).
pub(crate) fn read12(context: &Context<'_>, cdb: &Cdb) -> Planned {
    let lists = lists(cdb, 1)?;
    // No GENERATION CODE, and no descriptors from whichever ADDRESS DESCRIPTOR INDEX on.
    context.data(vec![0, lists, 0, 0, 0, 0, 0, 0], cdb.u32(6))
}

/// REQ_PLIST, REQ_GLIST and DEFECT LIST FORMAT in a CDB are where the data have PLISTV, GLISTV and the format.
fn lists(cdb: &Cdb, at: u16) -> Result<u8, Sense> {
    let lists = cdb.byte(at.into()) & 0x1f;
    // Reserved; an empty list is the same in each of the others.
    if lists & 0x07 == 0x07 {
        return Err(Sense::cdb_bits(at, 2));
    }
    Ok(lists)
}
