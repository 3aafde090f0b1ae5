//! REPORT SUPPORTED OPERATION CODES and TASK MANAGEMENT FUNCTIONS (SPC-4).

use super::cdb::Cdb;
use super::model::DiskModel;
use super::opcodes::{self, ROWS, Row};
use super::plan::{Context, Planned};
use super::sense::Sense;

/// REPORT SUPPORTED OPERATION CODES.
pub(crate) fn operation_codes(context: &Context<'_>, cdb: &Cdb) -> Planned {
    let model = context.unit.model();
    let timeouts = cdb.bit(2, 7);
    let opcode = cdb.byte(3);
    let action = cdb.u16(4);
    let rows = || opcodes::available(opcode, model);
    let has_actions = rows().any(|row| row.service_action.is_some());
    let with_action = || rows().find(|row| row.service_action.map(u16::from) == Some(action));
    // REPORTING OPTIONS (SPC-4).
    let row = match cdb.byte(2) & 0x07 {
        0 => return context.data(all(model, timeouts), cdb.u32(6)),
        // By operation code alone, by service action too, or by whichever it has.
        1 if has_actions => return Err(Sense::cdb_bits(2, 2)),
        1 => rows().next(),
        2 if rows().next().is_some() && !has_actions => return Err(Sense::cdb_bits(2, 2)),
        2 => with_action(),
        3 if has_actions => with_action(),
        3 => rows().next().filter(|_| action == 0),
        _ => return Err(Sense::cdb_bits(2, 2)),
    };
    context.data(one(row, model, timeouts), cdb.u32(6))
}

/// The all_commands format (SPC-4).
fn all(model: &DiskModel, timeouts: bool) -> Vec<u8> {
    let mut data = vec![0; 4];
    for row in ROWS.iter().filter(|row| row.available(model)) {
        // CTDP, SERVACTV.
        let flags = u8::from(timeouts) << 1 | u8::from(row.service_action.is_some());
        let action = row.service_action.unwrap_or(0);
        data.extend([row.opcode, 0, 0, action, 0, flags, 0, row.usage.len() as u8]);
        if timeouts {
            data.extend(timeouts_descriptor(row, model));
        }
    }
    let length = (data.len() - 4) as u32;
    data[..4].copy_from_slice(&length.to_be_bytes());
    data
}

/// The one_command format (SPC-4).
fn one(row: Option<&Row>, model: &DiskModel, timeouts: bool) -> Vec<u8> {
    // SUPPORT: 1 is "not supported", 3 is "as the standard says".
    let Some(row) = row else {
        return vec![0, 0x01, 0, 0];
    };
    let mut data = vec![0, u8::from(timeouts) << 7 | 0x03, 0, row.usage.len() as u8];
    data.extend(row.usage);
    if timeouts {
        data.extend(timeouts_descriptor(row, model));
    }
    data
}

/// The command timeouts descriptor (SPC-4). There is no nominal time; what is recommended is what the disk was configured for.
fn timeouts_descriptor(row: &Row, model: &DiskModel) -> [u8; 12] {
    let [a, b, c, d] = row.timeout(model).to_be_bytes();
    [0, 0x0a, 0, 0, 0, 0, 0, 0, a, b, c, d]
}

/// REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS.
pub(crate) fn task_management(context: &Context<'_>, cdb: &Cdb) -> Planned {
    let extended = cdb.bit(2, 7);
    let allocation_length = cdb.u32(6);
    if allocation_length < 4 {
        return Err(Sense::cdb_byte(6));
    }
    // ABORT TASK, ABORT TASK SET, CLEAR TASK SET, LOGICAL UNIT RESET.
    let mut data = vec![0x80 | 0x40 | 0x10 | 0x08, 0, 0, 0];
    if extended {
        // No timeouts are reported for them.
        data[3] = 0x0c;
        data.resize(16, 0);
    }
    context.data(data, allocation_length)
}
