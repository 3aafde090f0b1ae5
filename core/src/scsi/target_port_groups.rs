//! REPORT TARGET PORT GROUPS (SPC-4 6.37): every port is as good as any other.

use super::cdb::Cdb;
use super::plan::{Context, Planned};
use super::sense::Sense;

/// REPORT TARGET PORT GROUPS: one group, with all ports of the disk.
pub(crate) fn report(context: &Context<'_>, cdb: &Cdb) -> Planned {
    let port = context.session.port();
    let mut ports = context.unit.ports();
    ports.push(port.relative_identifier);
    ports.sort_unstable();
    ports.dedup();
    // TARGET PORT COUNT has one byte.
    ports.truncate(u8::MAX.into());

    let mut data = match cdb.byte(1) >> 5 {
        LENGTH_ONLY => vec![0; 4],
        // IMPLICIT TRANSITION TIME is 0: not reported, as there is no transition.
        EXTENDED => vec![0, 0, 0, 0, EXTENDED << 4, 0, 0, 0],
        _ => return Err(Sense::cdb_bits(1, 7)),
    };
    let [high, low] = port.group.to_be_bytes();
    data.extend([
        ACTIVE_OPTIMIZED,
        AO_SUP,
        high,
        low,
        0,
        0,
        0,
        ports.len() as u8,
    ]);
    for port in ports {
        let [high, low] = port.to_be_bytes();
        data.extend([0, 0, high, low]);
    }
    let length = (data.len() - 4) as u32;
    data[..4].copy_from_slice(&length.to_be_bytes());
    context.data(data, cdb.u32(6))
}

/// PARAMETER DATA FORMAT.
const LENGTH_ONLY: u8 = 0;
const EXTENDED: u8 = 1;

/// ASYMMETRIC ACCESS STATE, and the bit that says that the state exists.
const ACTIVE_OPTIMIZED: u8 = 0;
const AO_SUP: u8 = 0x01;
