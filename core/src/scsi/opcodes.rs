//! The command set: one row for each operation code and service action.

use super::capacity;
use super::cdb::Cdb;
use super::compare_write;
use super::copy;
use super::defects;
use super::inquiry;
use super::lba_status;
use super::log;
use super::luns;
use super::mode;
use super::model::DiskModel;
use super::plan::{Context, Planned};
use super::power;
use super::prefetch;
use super::provisioning;
use super::read_write;
use super::report_opcodes;
use super::request_sense;
use super::reserve;
use super::sense::{Sense, codes};
use super::target_port_groups;
use crate::reservations::Access;

pub(crate) const REQUEST_SENSE: u8 = 0x03;
pub(crate) const INQUIRY: u8 = 0x12;
pub(crate) const REPORT_LUNS: u8 = 0xa0;
const SERVICE_ACTION_IN_16: u8 = 0x9e;
const MAINTENANCE_IN: u8 = 0xa3;
const PERSISTENT_RESERVE_IN: u8 = 0x5e;
const PERSISTENT_RESERVE_OUT: u8 = 0x5f;
pub(crate) const THIRD_PARTY_COPY_OUT: u8 = 0x83;
pub(crate) const THIRD_PARTY_COPY_IN: u8 = 0x84;

/// One command.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) opcode: u8,
    /// For an operation code that has them.
    pub(crate) service_action: Option<u8>,
    /// The CDB USAGE DATA of REPORT SUPPORTED OPERATION CODES (SPC-4): after the operation code, a one for each bit
    /// that is looked at. As long as the CDB.
    pub(crate) usage: &'static [u8],
    pub(crate) flags: Flags,
    /// What it does, as far as reservations care (SPC-4 table 66, SBC-3 table 13; SPC-2 tables 10 and B.1 where it is reserved by RESERVE).
    /// If that depends on its fields it is the least of all, and the rest is up to its planner.
    pub(crate) access: Access,
    pub(crate) plan: Planner,
    /// As the standard writes it.
    pub(crate) name: &'static str,
}

type Planner = fn(&Context<'_>, &Cdb) -> Planned;

/// When a command is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flags(u16);

impl Flags {
    pub(crate) const NONE: Self = Self(0);
    /// Also while a unit attention condition is pending (SAM-5 5.14).
    pub(crate) const ANY_TIME: Self = Self(1);
    /// Not if the unit is write protected.
    pub(crate) const WRITES: Self = Self(2);
    /// Only if the unit can deallocate blocks.
    const UNMAPS: Self = Self(4);
    /// Only if the unit has WRITE SAME.
    const REPEATS: Self = Self(8);
    /// At LUN 0 even if nothing is mapped there.
    pub(crate) const LUN_ZERO: Self = Self(16);
    /// At every LUN even if nothing is mapped there.
    pub(crate) const INCORRECT_LUN: Self = Self(32);
    /// At the REPORT LUNS well-known logical unit.
    pub(crate) const WELL_KNOWN: Self = Self(64);
    /// May take much longer than a read.
    pub(crate) const SLOW: Self = Self(128);
    /// Also while the unit is stopped: it does not look at the medium (SPC-4, power conditions).
    pub(crate) const NO_MEDIUM: Self = Self(256);

    pub(crate) const fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }

    /// Only if the unit has COMPARE AND WRITE.
    const COMPARES: Self = Self(512);
    /// Only if the unit can write blocks whole or not at all.
    const ATOMIC: Self = Self(1024);
    /// One of several with its operation code.
    const ACTION: Self = Self(2048);
    /// Only if the unit can hold reservations.
    const RESERVES: Self = Self(4096);
    /// Changes the unit, or what it does: not for one that the initiator takes for another one, though it does not look at the medium.
    pub(crate) const CHANGES: Self = Self(8192);
    /// What a disk may be without.
    const OPTIONAL: Self = Self::UNMAPS
        .and(Self::REPEATS)
        .and(Self::COMPARES)
        .and(Self::ATOMIC)
        .and(Self::RESERVES);

    const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

const fn row(
    opcode: u8,
    name: &'static str,
    usage: &'static [u8],
    flags: Flags,
    access: Access,
    plan: Planner,
) -> Row {
    Row {
        opcode,
        service_action: None,
        usage,
        flags,
        access,
        plan,
        name,
    }
}

const fn action(
    opcode: u8,
    service_action: u8,
    name: &'static str,
    usage: &'static [u8],
    flags: Flags,
    access: Access,
    plan: Planner,
) -> Row {
    Row {
        opcode,
        service_action: Some(service_action),
        usage,
        flags: flags.and(Flags::ACTION),
        access,
        plan,
        name,
    }
}

/// Masks of whole fields, so that the usage data below can be read.
mod masks {
    pub(super) const FF: u8 = 0xff;
    /// DPO and FUA.
    pub(super) const CACHE: u8 = 0x18;
    /// BYTCHK, and DPO.
    pub(super) const CHECK: u8 = 0x16;
}
use masks::{CACHE, CHECK, FF};

const EVERYWHERE: Flags = Flags::ANY_TIME
    .and(Flags::LUN_ZERO)
    .and(Flags::INCORRECT_LUN)
    .and(Flags::WELL_KNOWN);
const INVENTORY: Flags = Flags::ANY_TIME.and(Flags::LUN_ZERO).and(Flags::WELL_KNOWN);
const UNMAP: Flags = Flags::WRITES.and(Flags::UNMAPS).and(Flags::SLOW);
const REPORT: Flags = Flags::NO_MEDIUM;
const REPEAT: Flags = Flags::WRITES.and(Flags::REPEATS).and(Flags::SLOW);

const MODES: Flags = REPORT.and(Flags::CHANGES);
const RESERVE: Flags = Flags::RESERVES.and(Flags::NO_MEDIUM);
const RESERVE_OUT: Flags = RESERVE.and(Flags::CHANGES);
const COMPARE: Flags = Flags::WRITES.and(Flags::COMPARES);
const ATOMIC: Flags = Flags::WRITES.and(Flags::ATOMIC);

const ALWAYS: Access = Access::Always;
const INFORMS: Access = Access::Informs;
const READS: Access = Access::Reads;
const WRITES: Access = Access::Writes;

/// Sorted by operation code and service action.
#[rustfmt::skip]
pub(crate) static ROWS: &[Row] = &[
    row(0x00, "TEST UNIT READY", &[0x00, 0, 0, 0, 0, 0], Flags::WELL_KNOWN, INFORMS, power::test_unit_ready),
    row(0x03, "REQUEST SENSE", &[0x03, 1, 0, 0, FF, 0], EVERYWHERE, ALWAYS, request_sense::of_unit),
    row(0x08, "READ (6)", &[0x08, 0x1f, FF, FF, FF, 0], Flags::NONE, READS, read_write::read6),
    row(0x0a, "WRITE (6)", &[0x0a, 0x1f, FF, FF, FF, 0], Flags::WRITES, WRITES, read_write::write6),
    row(0x12, "INQUIRY", &[0x12, 1, FF, FF, FF, 0], EVERYWHERE, ALWAYS, inquiry::of_unit),
    row(0x15, "MODE SELECT (6)", &[0x15, 0x11, 0, 0, FF, 0], MODES, WRITES, mode::select6),
    row(0x16, "RESERVE (6)", &[0x16, 0x11, 0, 0, 0, 0], RESERVE_OUT, INFORMS, reserve::reserve),
    row(0x17, "RELEASE (6)", &[0x17, 0x11, 0, 0, 0, 0], RESERVE_OUT, ALWAYS, reserve::release),
    row(0x1a, "MODE SENSE (6)", &[0x1a, 0x08, FF, FF, FF, 0], REPORT, READS, mode::sense6),
    row(0x1b, "START STOP UNIT", &[0x1b, 1, 0, 0, 0xf7, 0], Flags::SLOW.and(MODES), ALWAYS, power::start_stop_unit),
    row(0x1d, "SEND DIAGNOSTIC", &[0x1d, 0xf7, 0, FF, FF, 0], MODES, WRITES, power::send_diagnostic),
    row(0x1e, "PREVENT ALLOW MEDIUM REMOVAL", &[0x1e, 0, 0, 0, 3, 0], REPORT, ALWAYS, power::prevent_allow),
    row(0x25, "READ CAPACITY (10)", &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], REPORT, ALWAYS, capacity::read10),
    row(0x28, "READ (10)", &[0x28, 0xe0 | CACHE, FF, FF, FF, FF, 0, FF, FF, 0], Flags::NONE, READS, read_write::read10),
    row(0x2a, "WRITE (10)", &[0x2a, 0xe0 | CACHE, FF, FF, FF, FF, 0, FF, FF, 0], Flags::WRITES, WRITES, read_write::write10),
    row(0x2e, "WRITE AND VERIFY (10)", &[0x2e, 0xe0 | CHECK, FF, FF, FF, FF, 0, FF, FF, 0], Flags::WRITES, WRITES, read_write::write_verify10),
    row(0x2f, "VERIFY (10)", &[0x2f, 0xe0 | CHECK, FF, FF, FF, FF, 0, FF, FF, 0], Flags::NONE, READS, read_write::verify10),
    row(0x34, "PRE-FETCH (10)", &[0x34, 2, FF, FF, FF, FF, 0, FF, FF, 0], Flags::SLOW, READS, prefetch::prefetch10),
    row(0x35, "SYNCHRONIZE CACHE (10)", &[0x35, 2, FF, FF, FF, FF, 0, FF, FF, 0], Flags::SLOW, WRITES, read_write::synchronize10),
    row(0x37, "READ DEFECT DATA (10)", &[0x37, 0, 0x1f, 0, 0, 0, 0, FF, FF, 0], Flags::NONE, READS, defects::read10),
    row(0x41, "WRITE SAME (10)", &[0x41, 0xf8, FF, FF, FF, FF, 0, FF, FF, 0], REPEAT, WRITES, provisioning::write_same10),
    row(0x42, "UNMAP", &[0x42, 1, 0, 0, 0, 0, 0, FF, FF, 0], UNMAP, WRITES, provisioning::unmap),
    row(0x4d, "LOG SENSE", &[0x4d, 1, FF, FF, 0, FF, FF, FF, FF, 0], REPORT, ALWAYS, log::log_sense),
    row(0x55, "MODE SELECT (10)", &[0x55, 0x11, 0, 0, 0, 0, 0, FF, FF, 0], MODES, WRITES, mode::select10),
    row(0x56, "RESERVE (10)", &[0x56, 0x13, 0, 0, 0, 0, 0, 0, 0, 0], RESERVE_OUT, INFORMS, reserve::reserve),
    row(0x57, "RELEASE (10)", &[0x57, 0x13, 0, 0, 0, 0, 0, 0, 0, 0], RESERVE_OUT, ALWAYS, reserve::release),
    row(0x5a, "MODE SENSE (10)", &[0x5a, 0x18, FF, FF, 0, 0, 0, FF, FF, 0], REPORT, READS, mode::sense10),
    action(PERSISTENT_RESERVE_IN, 0x00, "PERSISTENT RESERVE IN, READ KEYS", &[0x5e, 0, 0, 0, 0, 0, 0, FF, FF, 0], RESERVE, INFORMS, reserve::read_keys),
    action(PERSISTENT_RESERVE_IN, 0x01, "PERSISTENT RESERVE IN, READ RESERVATION", &[0x5e, 1, 0, 0, 0, 0, 0, FF, FF, 0], RESERVE, INFORMS, reserve::read_reservation),
    action(PERSISTENT_RESERVE_IN, 0x02, "PERSISTENT RESERVE IN, REPORT CAPABILITIES", &[0x5e, 2, 0, 0, 0, 0, 0, FF, FF, 0], RESERVE, INFORMS, reserve::report_capabilities),
    action(PERSISTENT_RESERVE_IN, 0x03, "PERSISTENT RESERVE IN, READ FULL STATUS", &[0x5e, 3, 0, 0, 0, 0, 0, FF, FF, 0], RESERVE, INFORMS, reserve::read_full_status),
    action(PERSISTENT_RESERVE_OUT, 0x00, "PERSISTENT RESERVE OUT, REGISTER", &[0x5f, 0, 0, 0, 0, FF, FF, FF, FF, 0], RESERVE_OUT, INFORMS, reserve::persistent_reserve_out),
    action(PERSISTENT_RESERVE_OUT, 0x01, "PERSISTENT RESERVE OUT, RESERVE", &[0x5f, 1, FF, 0, 0, FF, FF, FF, FF, 0], RESERVE_OUT, INFORMS, reserve::persistent_reserve_out),
    action(PERSISTENT_RESERVE_OUT, 0x02, "PERSISTENT RESERVE OUT, RELEASE", &[0x5f, 2, FF, 0, 0, FF, FF, FF, FF, 0], RESERVE_OUT, INFORMS, reserve::persistent_reserve_out),
    action(PERSISTENT_RESERVE_OUT, 0x03, "PERSISTENT RESERVE OUT, CLEAR", &[0x5f, 3, 0, 0, 0, FF, FF, FF, FF, 0], RESERVE_OUT, INFORMS, reserve::persistent_reserve_out),
    action(PERSISTENT_RESERVE_OUT, 0x04, "PERSISTENT RESERVE OUT, PREEMPT", &[0x5f, 4, FF, 0, 0, FF, FF, FF, FF, 0], RESERVE_OUT, INFORMS, reserve::persistent_reserve_out),
    action(PERSISTENT_RESERVE_OUT, 0x05, "PERSISTENT RESERVE OUT, PREEMPT AND ABORT", &[0x5f, 5, FF, 0, 0, FF, FF, FF, FF, 0], RESERVE_OUT.and(Flags::SLOW), INFORMS, reserve::persistent_reserve_out),
    action(PERSISTENT_RESERVE_OUT, 0x06, "PERSISTENT RESERVE OUT, REGISTER AND IGNORE EXISTING KEY", &[0x5f, 6, 0, 0, 0, FF, FF, FF, FF, 0], RESERVE_OUT, INFORMS, reserve::persistent_reserve_out),
    action(PERSISTENT_RESERVE_OUT, 0x07, "PERSISTENT RESERVE OUT, REGISTER AND MOVE", &[0x5f, 7, 0xf0, 0, 0, FF, FF, FF, FF, 0], RESERVE_OUT, INFORMS, reserve::persistent_reserve_out),
    action(THIRD_PARTY_COPY_OUT, 0x00, "EXTENDED COPY", &[0x83, 0, 0, 0, 0, 0, 0, 0, 0, 0, FF, FF, FF, FF, 0, 0], Flags::SLOW, WRITES, copy::extended_copy),
    action(THIRD_PARTY_COPY_IN, 0x00, "RECEIVE COPY STATUS", &[0x84, 0, FF, 0, 0, 0, 0, 0, 0, 0, FF, FF, FF, FF, 0, 0], REPORT, INFORMS, copy::status),
    action(THIRD_PARTY_COPY_IN, 0x03, "RECEIVE COPY OPERATING PARAMETERS", &[0x84, 3, 0, 0, 0, 0, 0, 0, 0, 0, FF, FF, FF, FF, 0, 0], REPORT, INFORMS, copy::operating_parameters),
    action(THIRD_PARTY_COPY_IN, 0x04, "RECEIVE COPY FAILURE DETAILS", &[0x84, 4, FF, 0, 0, 0, 0, 0, 0, 0, FF, FF, FF, FF, 0, 0], REPORT, INFORMS, copy::failed_segment_details),
    row(0x88, "READ (16)", &[0x88, 0xe0 | CACHE, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, 0, 0], Flags::NONE, READS, read_write::read16),
    row(0x89, "COMPARE AND WRITE", &[0x89, 0xe0 | CACHE, FF, FF, FF, FF, FF, FF, FF, FF, 0, 0, 0, FF, 0, 0], COMPARE, WRITES, compare_write::compare_and_write),
    row(0x8a, "WRITE (16)", &[0x8a, 0xe0 | CACHE, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, 0, 0], Flags::WRITES, WRITES, read_write::write16),
    row(0x8b, "ORWRITE (16)", &[0x8b, 0xe0 | CACHE, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, 0, 0], Flags::WRITES, WRITES, read_write::orwrite16),
    row(0x8e, "WRITE AND VERIFY (16)", &[0x8e, 0xe0 | CHECK, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, 0, 0], Flags::WRITES, WRITES, read_write::write_verify16),
    row(0x8f, "VERIFY (16)", &[0x8f, 0xe0 | CHECK, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, 0, 0], Flags::NONE, READS, read_write::verify16),
    row(0x90, "PRE-FETCH (16)", &[0x90, 2, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, 0, 0], Flags::SLOW, READS, prefetch::prefetch16),
    row(0x91, "SYNCHRONIZE CACHE (16)", &[0x91, 2, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, 0, 0], Flags::SLOW, WRITES, read_write::synchronize16),
    row(0x93, "WRITE SAME (16)", &[0x93, 0xf9, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, 0, 0], REPEAT, WRITES, provisioning::write_same16),
    row(0x9c, "WRITE ATOMIC (16)", &[0x9c, 0xe0 | CACHE, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, 0, 0], ATOMIC, WRITES, read_write::write_atomic16),
    action(SERVICE_ACTION_IN_16, 0x10, "READ CAPACITY (16)", &[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, FF, FF, FF, FF, 0, 0], REPORT, ALWAYS, capacity::read16),
    action(SERVICE_ACTION_IN_16, 0x12, "GET LBA STATUS", &[0x9e, 0x12, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, 0, 0], Flags::SLOW, READS, lba_status::get_lba_status),
    row(0xa0, "REPORT LUNS", &[0xa0, 0, FF, 0, 0, 0, FF, FF, FF, FF, 0, 0], INVENTORY, ALWAYS, luns::report_luns),
    action(MAINTENANCE_IN, 0x0a, "REPORT TARGET PORT GROUPS", &[0xa3, 0xea, 0, 0, 0, 0, FF, FF, FF, FF, 0, 0], REPORT, INFORMS, target_port_groups::report),
    action(MAINTENANCE_IN, 0x0c, "REPORT SUPPORTED OPERATION CODES", &[0xa3, 0x0c, 0x87, FF, FF, FF, FF, FF, FF, FF, 0, 0], REPORT, READS, report_opcodes::operation_codes),
    action(MAINTENANCE_IN, 0x0d, "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", &[0xa3, 0x0d, 0x80, 0, 0, 0, FF, FF, FF, FF, 0, 0], REPORT, READS, report_opcodes::task_management),
    row(0xa8, "READ (12)", &[0xa8, 0xe0 | CACHE, FF, FF, FF, FF, FF, FF, FF, FF, 0, 0], Flags::NONE, READS, read_write::read12),
    row(0xaa, "WRITE (12)", &[0xaa, 0xe0 | CACHE, FF, FF, FF, FF, FF, FF, FF, FF, 0, 0], Flags::WRITES, WRITES, read_write::write12),
    row(0xae, "WRITE AND VERIFY (12)", &[0xae, 0xe0 | CHECK, FF, FF, FF, FF, FF, FF, FF, FF, 0, 0], Flags::WRITES, WRITES, read_write::write_verify12),
    row(0xaf, "VERIFY (12)", &[0xaf, 0xe0 | CHECK, FF, FF, FF, FF, FF, FF, FF, FF, 0, 0], Flags::NONE, READS, read_write::verify12),
    row(0xb7, "READ DEFECT DATA (12)", &[0xb7, 0x1f, FF, FF, FF, FF, FF, FF, FF, FF, 0, 0], Flags::NONE, READS, defects::read12),
];

/// The first row of each operation code; `ROWS.len()` where there is none.
static FIRST: [u8; 256] = {
    let mut first = [ROWS.len() as u8; 256];
    let mut index = ROWS.len();
    while index > 0 {
        index -= 1;
        first[ROWS[index].opcode as usize] = index as u8;
    }
    first
};

impl Row {
    /// Whether a disk has the command.
    pub(crate) fn available(&self, model: &DiskModel) -> bool {
        !self.flags.has(Flags::OPTIONAL) || self.option_available(model)
    }

    #[cold]
    fn option_available(&self, model: &DiskModel) -> bool {
        let limits = &model.limits;
        (!self.flags.has(Flags::UNMAPS) || model.provisioning.is_some())
            && (!self.flags.has(Flags::REPEATS) || limits.max_write_same_blocks != 0)
            && (!self.flags.has(Flags::COMPARES) || limits.compare_and_write_blocks() != 0)
            && (!self.flags.has(Flags::ATOMIC) || limits.max_atomic_blocks != 0)
            && (!self.flags.has(Flags::RESERVES) || limits.can_reserve())
    }

    /// What an initiator should wait for the command, in seconds.
    pub(crate) fn timeout(&self, model: &DiskModel) -> u32 {
        let slow = self.flags.has(Flags::SLOW);
        model
            .command_timeout
            .saturating_mul(if slow { 2 } else { 1 })
    }
}

/// The row for a CDB if its operation code is enough to find it and every disk has it, as with nearly all commands that
/// are sent.
pub(crate) fn plain(cdb: &[u8]) -> Option<&'static Row> {
    let first = FIRST[usize::from(*cdb.first()?)];
    ROWS.get(usize::from(first))
        .filter(|row| !row.flags.has(Flags::OPTIONAL.and(Flags::ACTION)))
}

/// The row for a CDB that a disk has.
pub(crate) fn find(cdb: &[u8], model: &DiskModel) -> Result<&'static Row, Sense> {
    let with_opcode = || cdb.first().map(|opcode| available(*opcode, model).next());
    match find_anywhere(cdb) {
        Ok(row) if row.available(model) => Ok(row),
        // It is only the service action that there is not.
        Err(sense) if with_opcode().flatten().is_some() => Err(sense),
        _ => Err(codes::INVALID_OPCODE.into()),
    }
}

/// The row for a CDB, whether or not some disk has it.
pub(crate) fn find_anywhere(cdb: &[u8]) -> Result<&'static Row, Sense> {
    let first = cdb.first().and_then(|opcode| with_opcode(*opcode).first());
    let row = first.ok_or(codes::INVALID_OPCODE)?;
    if row.service_action.is_none() {
        return Ok(row);
    }
    let service_action = cdb.get(1).map(|byte| byte & 0x1f);
    with_opcode(row.opcode)
        .iter()
        .take_while(|other| other.opcode == row.opcode)
        .find(|row| row.service_action == service_action)
        .ok_or(Sense::cdb_bits(1, 4))
}

/// The rows of an operation code that a disk has.
pub(crate) fn available(opcode: u8, model: &DiskModel) -> impl Iterator<Item = &'static Row> {
    with_opcode(opcode)
        .iter()
        .take_while(move |row| row.opcode == opcode)
        .filter(|row| row.available(model))
}

/// What the standard calls the command in a CDB, for people. Unknown ones have no name.
pub fn command_name(cdb: &[u8]) -> Option<&'static str> {
    find_anywhere(cdb).ok().map(|row| row.name)
}

/// The rows from the first one with an operation code on; none if there is no such row.
pub(crate) fn with_opcode(opcode: u8) -> &'static [Row] {
    ROWS.get(usize::from(FIRST[usize::from(opcode)])..)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_and_their_usage_fits() {
        for pair in ROWS.windows(2) {
            let key = |row: &Row| (row.opcode, row.service_action);
            assert!(key(&pair[0]) < key(&pair[1]), "{}", pair[1].name);
        }
        for row in ROWS {
            // SAM-5 5.2: the group code says how long the CDB is.
            let length = match row.opcode >> 5 {
                0 => 6,
                1 | 2 => 10,
                4 => 16,
                5 => 12,
                _ => panic!("{}", row.name),
            };
            assert_eq!(row.usage.len(), length, "{}", row.name);
            assert_eq!(row.usage[0], row.opcode, "{}", row.name);
            if let Some(action) = row.service_action {
                assert_eq!(row.usage[1] & 0x1f, action, "{}", row.name);
            }
        }
    }

    #[test]
    fn every_row_is_found() {
        for row in ROWS {
            let cdb = [row.opcode, row.service_action.unwrap_or(0)];
            assert_eq!(find_anywhere(&cdb).expect("known").name, row.name);
            let optional = row.flags.has(Flags::OPTIONAL);
            let plain_name = plain(&cdb).map(|row| row.name);
            let expected = (!optional && row.service_action.is_none()).then_some(row.name);
            assert_eq!(plain_name, expected);
        }
        assert!(plain(&[]).is_none() && plain(&[0xff]).is_none());
        assert_eq!(find_anywhere(&[]).unwrap_err().code, codes::INVALID_OPCODE);
        assert_eq!(
            find_anywhere(&[0xff]).unwrap_err().code,
            codes::INVALID_OPCODE
        );
        assert_eq!(
            find_anywhere(&[0xa3, 0x01]).unwrap_err(),
            Sense::cdb_bits(1, 4)
        );
        assert_eq!(find_anywhere(&[0xa3]).unwrap_err(), Sense::cdb_bits(1, 4));
    }
}
