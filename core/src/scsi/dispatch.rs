//! From a command to the row of the command set that plans it.

use super::attention::Nexus;
use super::cdb::Cdb;
use super::channel::{LunMap, Slot};
use super::copy;
use super::inquiry;
use super::lun::Lun;
use super::luns;
use super::mode;
use super::opcodes::{self, Flags, Row};
use super::plan::{
    Command, Context, ParameterList, PendingParameters, Plan, Planned, TaskAttribute,
};
use super::provisioning;
use super::request_sense;
use super::reserve;
use super::response::{Response, Status};
use super::sense::{Sense, codes};
use super::session::ScsiSession;
use super::unit::{LogicalUnit, Modes};

/// Plans a command for whatever its LUN says.
pub(crate) fn plan(session: &ScsiSession, map: &LunMap, command: &Command<'_>) -> Plan {
    let lun = Lun::decode(command.lun);
    if let Lun::Unit(number) = lun
        && let Some(slot) = map.find(number)
    {
        let unit = &*slot.nexus.unit;
        return plan_for_unit(session, map, slot, unit, command)
            .unwrap_or_else(|sense| Plan::Respond(Response::check_condition_of(unit, sense)));
    }
    plan_without_unit(session, map, lun, command)
        .unwrap_or_else(|sense| Plan::Respond(Response::check_condition(sense)))
}

/// Goes on with parameter data, of which there have to be as many as the CDB said.
pub(crate) fn parameters(
    session: &ScsiSession,
    map: &LunMap,
    pending: PendingParameters,
    data: &[u8],
) -> Plan {
    let nexus = pending.nexus.clone();
    let Some(data) = data.get(..pending.length as usize) else {
        let sense = codes::PARAMETER_LIST_LENGTH;
        return Plan::Respond(Response::check_condition_of(&nexus.unit, sense));
    };
    // Somebody else may have reserved the unit while the data were on their way.
    if !nexus.allows(pending.list.access()) {
        return Plan::Respond(Status::ReservationConflict.into());
    }
    // Or it may have been write protected, or mapped so.
    if matches!(pending.list, ParameterList::Unmap)
        && let Err(sense) = check_writable(&nexus)
    {
        return Plan::Respond(Response::check_condition_of(&nexus.unit, sense));
    }
    let planned = match pending.list {
        ParameterList::ModeSelect6 => mode::selected(&pending, data, mode::HeaderForm::Six),
        ParameterList::ModeSelect10 => mode::selected(&pending, data, mode::HeaderForm::Ten),
        ParameterList::Unmap => provisioning::unmap_list(&pending, data),
        ParameterList::ExtendedCopy => copy::extended_copy_list(session, map, &pending, data),
        ParameterList::ReserveOut(request) => {
            reserve::reserve_out_list(session, &pending, request, data)
        }
    };
    planned.unwrap_or_else(|sense| Plan::Respond(Response::check_condition_of(&nexus.unit, sense)))
}

fn plan_for_unit(
    session: &ScsiSession,
    map: &LunMap,
    slot: &Slot,
    unit: &LogicalUnit,
    command: &Command<'_>,
) -> Planned {
    let row = match opcodes::plain(command.cdb) {
        Some(row) => row,
        None => match opcodes::find(command.cdb, unit.model()) {
            Ok(row) => row,
            Err(sense) => return Err(slot.nexus.take(Flags::NO_MEDIUM).map_or(sense, Sense::from)),
        },
    };
    if !row.flags.has(Flags::ANY_TIME)
        && let Some(attention) = slot.nexus.take(row.flags)
    {
        return Err(attention.into());
    }
    if !slot.nexus.allows(row.access) {
        return Ok(Plan::Respond(Status::ReservationConflict.into()));
    }
    let cdb = checked_cdb(row, command)?;
    if row.flags.has(Flags::WRITES) {
        check_writable(&slot.nexus)?;
    }
    (row.plan)(
        &Context {
            session,
            map,
            slot,
            unit,
            command,
        },
        &cdb,
    )
}

/// Well-known and incorrect logical units (SPC-4, SAM-5).
fn plan_without_unit(
    session: &ScsiSession,
    map: &LunMap,
    lun: Lun,
    command: &Command<'_>,
) -> Planned {
    let row = opcodes::find_anywhere(command.cdb);
    let answers = match lun {
        Lun::ReportLuns => Flags::WELL_KNOWN,
        // LUN 0 tells what else there is, mapped or not.
        Lun::Unit(0) => Flags::LUN_ZERO,
        Lun::Unit(_) | Lun::Unknown => Flags::INCORRECT_LUN,
    };
    let row = match row {
        Ok(row) if row.flags.has(answers) => row,
        Ok(_) | Err(_) if lun != Lun::ReportLuns => return Err(codes::LUN_NOT_SUPPORTED.into()),
        Ok(_) => return Err(codes::INVALID_OPCODE.into()),
        Err(sense) => return Err(sense),
    };
    let cdb = checked_cdb(row, command)?;
    match row.opcode {
        opcodes::INQUIRY => inquiry::without_unit(session.port(), lun, &cdb),
        opcodes::REPORT_LUNS => luns::report(map, &cdb),
        opcodes::REQUEST_SENSE => request_sense::without_unit(lun, &cdb),
        _ => Ok(Plan::Respond(Response::good())),
    }
}

/// Bits of the CONTROL byte.
const NACA: u8 = 0x04;
const LINK: u8 = 0x01;

/// What is common to all commands.
fn checked_cdb(row: &Row, command: &Command<'_>) -> Result<Cdb, Sense> {
    let length = row.usage.len();
    let cdb = Cdb::new(command.cdb, length).ok_or(codes::INVALID_FIELD_IN_CDB)?;
    // In the CONTROL byte, which is the last one (SAM-5 5.2), there are NACA, and LINK as long as there were linked
    // commands. Neither is supported (NORMACA is zero), and a command that wants them must not be done without (SPC-4).
    let control = cdb.byte(length - 1);
    if control & (NACA | LINK) != 0 {
        let bit = if control & NACA != 0 { 2 } else { 0 };
        return Err(Sense::cdb_bits(length as u16 - 1, bit));
    }
    // Without an ACA condition, nothing can be done during one (SAM-5, ACA task attribute).
    if command.attribute == TaskAttribute::Aca {
        return Err(codes::INVALID_MESSAGE.into());
    }
    Ok(cdb)
}

fn check_writable(nexus: &Nexus) -> Result<(), Sense> {
    let unit = &*nexus.unit;
    if unit.model().read_only || nexus.read_only() {
        return Err(codes::WRITE_PROTECTED.into());
    }
    if unit.modes().has(Modes::WRITE_PROTECT) {
        return Err(codes::SOFTWARE_WRITE_PROTECTED.into());
    }
    Ok(())
}
