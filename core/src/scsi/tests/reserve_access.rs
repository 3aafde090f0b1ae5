//! What each command may do under somebody else's reservation, by name: a new command has to be decided on here as well.

use std::sync::Arc;

use super::super::opcodes::{ROWS, Row};
use super::super::sense::codes;
use super::super::testing::*;
use super::super::*;
use super::reserve_hosts::*;
use crate::block::BlockOp;
use crate::reservations::Access::{self, Always, Informs, Reads, Writes};

/// SPC-4 table 66 and SBC-3 table 13; what is `Always` is allowed by SPC-2 tables 10 and B.1 as well, where RESERVE has reserved.
const TABLE: &[(&str, Access)] = &[
    ("TEST UNIT READY", Informs),
    ("REQUEST SENSE", Always),
    ("READ (6)", Reads),
    ("WRITE (6)", Writes),
    ("INQUIRY", Always),
    ("MODE SELECT (6)", Writes),
    ("RESERVE (6)", Informs),
    ("RELEASE (6)", Always),
    ("MODE SENSE (6)", Reads),
    // START set; otherwise it conflicts.
    ("START STOP UNIT", Always),
    ("SEND DIAGNOSTIC", Writes),
    // PREVENT zero; otherwise it conflicts.
    ("PREVENT ALLOW MEDIUM REMOVAL", Always),
    ("READ CAPACITY (10)", Always),
    ("READ (10)", Reads),
    ("WRITE (10)", Writes),
    ("WRITE AND VERIFY (10)", Writes),
    ("VERIFY (10)", Reads),
    ("PRE-FETCH (10)", Reads),
    ("SYNCHRONIZE CACHE (10)", Writes),
    ("READ DEFECT DATA (10)", Reads),
    ("WRITE SAME (10)", Writes),
    ("UNMAP", Writes),
    ("LOG SENSE", Always),
    ("MODE SELECT (10)", Writes),
    ("RESERVE (10)", Informs),
    ("RELEASE (10)", Always),
    ("MODE SENSE (10)", Reads),
    ("PERSISTENT RESERVE IN, READ KEYS", Informs),
    ("PERSISTENT RESERVE IN, READ RESERVATION", Informs),
    ("PERSISTENT RESERVE IN, REPORT CAPABILITIES", Informs),
    ("PERSISTENT RESERVE IN, READ FULL STATUS", Informs),
    // The table of registrations says what of these is a conflict.
    ("PERSISTENT RESERVE OUT, REGISTER", Informs),
    ("PERSISTENT RESERVE OUT, RESERVE", Informs),
    ("PERSISTENT RESERVE OUT, RELEASE", Informs),
    ("PERSISTENT RESERVE OUT, CLEAR", Informs),
    ("PERSISTENT RESERVE OUT, PREEMPT", Informs),
    ("PERSISTENT RESERVE OUT, PREEMPT AND ABORT", Informs),
    (
        "PERSISTENT RESERVE OUT, REGISTER AND IGNORE EXISTING KEY",
        Informs,
    ),
    ("PERSISTENT RESERVE OUT, REGISTER AND MOVE", Informs),
    ("EXTENDED COPY", Writes),
    ("RECEIVE COPY STATUS", Informs),
    ("RECEIVE COPY OPERATING PARAMETERS", Informs),
    ("RECEIVE COPY FAILURE DETAILS", Informs),
    ("READ (16)", Reads),
    ("COMPARE AND WRITE", Writes),
    ("WRITE (16)", Writes),
    ("ORWRITE (16)", Writes),
    ("WRITE AND VERIFY (16)", Writes),
    ("VERIFY (16)", Reads),
    ("PRE-FETCH (16)", Reads),
    ("SYNCHRONIZE CACHE (16)", Writes),
    ("WRITE SAME (16)", Writes),
    ("WRITE ATOMIC (16)", Writes),
    ("READ CAPACITY (16)", Always),
    ("GET LBA STATUS", Reads),
    ("REPORT LUNS", Always),
    ("REPORT TARGET PORT GROUPS", Informs),
    ("REPORT SUPPORTED OPERATION CODES", Reads),
    ("REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", Reads),
    ("READ (12)", Reads),
    ("WRITE (12)", Writes),
    ("WRITE AND VERIFY (12)", Writes),
    ("VERIFY (12)", Reads),
    ("READ DEFECT DATA (12)", Reads),
];

#[test]
fn every_command_is_decided_on() {
    let rows: Vec<_> = ROWS.iter().map(|row| (row.name, row.access)).collect();
    for (row, decided) in rows.iter().zip(TABLE) {
        assert_eq!(row, decided);
    }
    assert_eq!(rows.len(), TABLE.len());
}

/// A disk that has every command.
fn whole_disk() -> Arc<LogicalUnit> {
    let mut model = thin_model();
    model.limits.max_atomic_blocks = 8;
    disk_of(model)
}

/// A plain CDB for a row, which would be allowed.
fn cdb_of(row: &Row) -> Vec<u8> {
    let mut cdb = vec![0; row.usage.len()];
    cdb[0] = row.opcode;
    if let Some(action) = row.service_action {
        cdb[1] = action;
    }
    if row.name == "START STOP UNIT" {
        cdb[4] = 1;
    }
    if row.name.starts_with("PERSISTENT RESERVE OUT") {
        (cdb[2], cdb[8]) = (1, 24);
    }
    cdb
}

fn is_conflict(plan: &Plan) -> bool {
    matches!(plan, Plan::Respond(response) if response.status == Status::ReservationConflict)
}

#[test]
fn commands_conflict_as_the_tables_say() {
    let legacy = |name: &str| name.starts_with("RESERVE (") || name.starts_with("RELEASE (");
    for (code, kind) in TYPES {
        let unit = whole_disk();
        let mut holder = host(&unit, &srp(1));
        let mut registered = host(&unit, &srp(2));
        let mut stranger = host(&unit, &srp(3));
        let mut nameless = ScsiSession::new(port(), None, &luns(&[(0, &unit)])).channel();
        register(&mut holder, 1);
        register(&mut registered, 2);
        good(&mut holder, 1, code, &list(1, 0, 0));
        let most = if kind.is_write_exclusive() {
            Reads
        } else {
            Informs
        };
        let registrants = if kind.is_for_the_holder() {
            most
        } else {
            Writes
        };
        for (row, (name, access)) in ROWS.iter().zip(TABLE) {
            // These know more than a class, and have tests of their own.
            if legacy(name) {
                continue;
            }
            let cdb = cdb_of(row);
            for (channel, most) in [
                (&mut holder, Writes),
                (&mut registered, registrants),
                (&mut stranger, most),
                (&mut nameless, most),
            ] {
                let plan = channel.plan(&command(&cdb));
                assert_eq!(is_conflict(&plan), *access > most, "{name}, {kind:?}");
            }
        }
    }
}

#[test]
fn commands_conflict_where_it_is_reserved() {
    let unit = whole_disk();
    let (mut holder, mut other) = (host(&unit, &srp(1)), host(&unit, &srp(2)));
    assert_eq!(status(&mut holder, &[0x16, 0, 0, 0, 0, 0]), Status::Good);
    for (row, (name, access)) in ROWS.iter().zip(TABLE) {
        let cdb = cdb_of(row);
        if !name.starts_with("RELEASE (") {
            let persistent = name.starts_with("PERSISTENT");
            assert_eq!(
                is_conflict(&holder.plan(&command(&cdb))),
                persistent,
                "{name}"
            );
        }
        assert_eq!(
            is_conflict(&other.plan(&command(&cdb))),
            *access != Always,
            "{name}"
        );
        status(&mut holder, &[0x16, 0, 0, 0, 0, 0]);
    }
}

#[test]
fn what_depends_on_a_field() {
    let unit = disk();
    let (mut holder, mut stranger) = (host(&unit, &srp(1)), host(&unit, &srp(2)));
    register(&mut holder, 1);
    for (code, _) in TYPES {
        good(&mut holder, 1, code, &list(1, 0, 0));
        for (cdb, allowed) in [
            // START; STOP, with and without NO_FLUSH; a power condition; LOEJ.
            ([0x1b, 0, 0, 0, 0x01, 0], Status::Good),
            ([0x1b, 1, 0, 0, 0x01, 0], Status::Good),
            ([0x1b, 0, 0, 0, 0x00, 0], Status::ReservationConflict),
            ([0x1b, 0, 0, 0, 0x04, 0], Status::ReservationConflict),
            ([0x1b, 0, 0, 0, 0x11, 0], Status::ReservationConflict),
            ([0x1b, 0, 0, 0, 0x02, 0], Status::ReservationConflict),
            ([0x1b, 0, 0, 0, 0x03, 0], Status::CheckCondition),
            // PREVENT.
            ([0x1e, 0, 0, 0, 0, 0], Status::Good),
            ([0x1e, 0, 0, 0, 1, 0], Status::ReservationConflict),
            ([0x1e, 0, 0, 0, 2, 0], Status::ReservationConflict),
        ] {
            assert_eq!(status(&mut stranger, &cdb), allowed, "{cdb:x?}");
            assert_ne!(status(&mut holder, &cdb), Status::ReservationConflict);
            // It was not stopped by whom it conflicts for.
            assert_eq!(status(&mut stranger, &[0; 6]), Status::Good);
            status(&mut holder, &[0x1b, 0, 0, 0, 1, 0]);
        }
        good(&mut holder, 2, code, &list(1, 0, 0));
    }
}

#[test]
fn what_waits_for_its_data_is_looked_at_again() {
    let cdbs: [&[u8]; 4] = [
        &[0x15, 0x10, 0, 0, 4, 0],
        &[0x55, 0x10, 0, 0, 0, 0, 0, 0, 8, 0],
        &[0x42, 0, 0, 0, 0, 0, 0, 0, 8, 0],
        &[0x83, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0],
    ];
    for cdb in cdbs {
        let unit = disk();
        let (mut holder, mut stranger) = (host(&unit, &srp(1)), host(&unit, &srp(2)));
        let Plan::Parameters { length, pending } = stranger.plan(&command(cdb)) else {
            panic!("{cdb:x?}");
        };
        register(&mut holder, 1);
        good(&mut holder, 1, 1, &list(1, 0, 0));
        let plan = stranger.parameters(pending, &vec![0; length as usize]);
        assert!(is_conflict(&plan), "{cdb:x?}");
    }
    // Whoever is reserved for by RESERVE meanwhile lets nobody register.
    let unit = disk();
    let (mut holder, mut stranger) = (host(&unit, &srp(1)), host(&unit, &srp(2)));
    let Plan::Parameters { pending, .. } = stranger.plan(&command(&out_cdb(6, 0, 24))) else {
        panic!("no parameters");
    };
    assert_eq!(status(&mut holder, &[0x16, 0, 0, 0, 0, 0]), Status::Good);
    assert!(is_conflict(&stranger.parameters(pending, &list(0, 1, 0))));
}

/// Two disks, and EXTENDED COPY from the one to the other.
struct Copies {
    units: [Arc<LogicalUnit>; 2],
    copier: ScsiChannel,
}

impl Copies {
    fn new() -> Self {
        let unit = |number: u8| {
            let naa = Naa::local(number.into());
            let model = DiskModel::new(Identity::new(format!("s{number}"), naa), 512, CAPACITY);
            let id = UnitId(number.into());
            Arc::new(LogicalUnit::new(id, model).expect("a valid model"))
        };
        let units = [unit(1), unit(2)];
        let map = luns(&[(0, &units[0]), (1, &units[1])]);
        let copier = ScsiSession::new(port(), Some(srp(9)), &map).channel();
        Self { units, copier }
    }

    /// Reserves a disk for somebody else.
    fn reserve(&self, unit: usize, code: u8) {
        let mut holder = host(&self.units[unit], &srp(1));
        register(&mut holder, 1);
        good(&mut holder, 1, code, &list(1, 0, 0));
    }

    /// Copies from one disk to another, as a command to either.
    fn copy(&mut self, lun: u8, source: u8, destination: u8) -> Plan {
        let mut list = vec![7, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 28, 0, 0, 0, 0];
        for unit in &self.units {
            list.extend([0xe4, 0, 0, 0, 1, 3, 0, 8]);
            list.extend(unit.model().identity.naa.as_bytes());
            list.extend([0; 12]);
            list.extend([0, 0, 2, 0]);
        }
        list.extend([2, 0, 0, 24, 0, source, 0, destination, 0, 0, 0, 8]);
        list.extend([0; 16]);
        let mut cdb = [0; 16];
        (cdb[0], cdb[13]) = (0x83, list.len() as u8);
        let command = Command {
            lun: [0, lun, 0, 0, 0, 0, 0, 0],
            ..command(&cdb)
        };
        match self.copier.plan(&command) {
            Plan::Parameters { pending, .. } => self.copier.parameters(pending, &list),
            other => other,
        }
    }
}

#[test]
fn a_copy_reads_and_writes_for_who_asks() {
    let mut copies = Copies::new();
    assert!(matches!(block(copies.copy(0, 0, 1)).op, BlockOp::Copy(_)));
    // A source that may be read, and not written.
    copies.reserve(0, 1);
    assert!(is_conflict(&copies.copy(0, 0, 1)));
    assert!(matches!(block(copies.copy(1, 0, 1)).op, BlockOp::Copy(_)));
    let sense = sense_of(&respond(copies.copy(1, 1, 0)));
    assert_eq!(
        (sense.code, sense.segment),
        (codes::COPY_DEVICE_FAILURE, Some(0))
    );
    assert_eq!(sense.field.map(|field| field.byte), Some(6));

    let mut copies = Copies::new();
    copies.reserve(0, 3);
    let sense = sense_of(&respond(copies.copy(1, 0, 1)));
    assert_eq!(sense.code, codes::COPY_DEVICE_FAILURE);
    assert_eq!(sense.field.map(|field| field.byte), Some(4));

    // A registrant may do both.
    let mut copies = Copies::new();
    copies.reserve(0, 6);
    let mut own = host(&copies.units[0], &srp(9));
    register(&mut own, 9);
    for (lun, source) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
        assert!(matches!(
            block(copies.copy(lun, source, 1 - source)).op,
            BlockOp::Copy(_)
        ));
    }
}
