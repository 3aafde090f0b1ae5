//! Reservation Report (NVMe base 2.0 section 7.5).

use super::{Namespace, check_data};
use crate::nvme::command::Command;
use crate::nvme::controller::Controller;
use crate::nvme::plan::{Plan, Planned};
use crate::nvme::reservations::host_id;
use crate::nvme::status::Status;
use crate::reservations::{Registrant, Table};

/// Its opcode.
pub(crate) const RESERVATION_REPORT: u8 = 0x0e;

/// Extended Data Structure, of dword 11.
const EDS: u32 = 1;
/// Bytes of the extended data structure's header, and of each of its registered controllers.
const HEADER: usize = 64;
const ENTRY: usize = 64;
/// CNTLID of whoever has no controller that could be named: controllers are dynamic, and SCSI hosts have none.
const NO_CONTROLLER: u16 = u16::MAX;

/// Reservation Report.
pub(crate) fn report(
    controller: &Controller,
    command: &Command,
    namespace: &Namespace<'_>,
) -> Planned {
    namespace.check_reservable()?;
    // The short form has no room for host identifiers of 128 bits, which all hosts have over fabrics.
    if command.cdw::<11>() & EDS == 0 {
        return Err(Status::HOST_ID_INCONSISTENT);
    }
    // NUMD, counted from zero.
    let bytes = (u64::from(command.cdw::<10>()) + 1) * 4;
    if bytes > u64::from(controller.setup.max_transfer) {
        return Err(Status::INVALID_FIELD);
    }
    check_data(command, bytes)?;
    let table = namespace.unit.reservations().table();
    Ok(Plan::Reply(status(&table, bytes as usize)))
}

/// Reservation Status, extended data structure (figure 409), as much of it as there is room for.
fn status(table: &Table, room: usize) -> Vec<u8> {
    let registrations = table.registrations();
    let kind = table.holder().map_or(0, |holder| holder.kind.nvme());
    // REGCTL: all of them, whether or not they are in here.
    let count = u16::try_from(registrations.len()).unwrap_or(u16::MAX);
    let [count_low, count_high] = count.to_le_bytes();
    let mut header = [0; HEADER];
    let (fields, _) = header.split_at_mut(10);
    let [g0, g1, g2, g3] = table.generation().to_le_bytes();
    let persistent = u8::from(table.persistent());
    fields.copy_from_slice(&[
        g0, g1, g2, g3, kind, count_low, count_high, 0, 0, persistent,
    ]);
    let mut data = header.to_vec();
    let visible = room.saturating_sub(HEADER).div_ceil(ENTRY);
    for (registrant, key) in registrations.iter().take(visible) {
        data.extend(entry(registrant, *key, table.is_holder(registrant)));
    }
    data.truncate(room);
    data
}

/// Registered Controller, extended data structure (figure 410).
fn entry(registrant: &Registrant, key: u64, holds: bool) -> impl Iterator<Item = u8> {
    // CNTLID, RCSTS, five reserved bytes; RKEY; HOSTID; 32 reserved bytes.
    NO_CONTROLLER
        .to_le_bytes()
        .into_iter()
        .chain([holds.into(), 0, 0, 0, 0, 0])
        .chain(key.to_le_bytes())
        .chain(host_id(registrant))
        .chain([0; 32])
}
