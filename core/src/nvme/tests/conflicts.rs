//! What reservations let others do: every command that there is, against what the standard says of it (NVMe base 2.0 figure 422).

use std::collections::BTreeMap;

use super::io_fixture::{HOST, Io, THIN, command, status};
use crate::nvme::command::{Command, Fuse};
use crate::nvme::opcodes;
use crate::nvme::plan::Plan;
use crate::nvme::status::Status;
use crate::nvme::testing::registrant;
use crate::reservations::{Holder, Registrant, ReservationType, Table};

const OTHER: [u8; 16] = [7; 16];

/// To which group a command belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    /// Conflicts unless the host may write.
    Write,
    /// Conflicts unless the host may read.
    Read,
    /// Has rules of its own.
    Reservation,
}

/// Every command, by name. One that is new has to come in here.
const GROUPS: [(&str, u8, Group); 12] = [
    ("Flush", 0x00, Group::Write),
    ("Write", 0x01, Group::Write),
    ("Read", 0x02, Group::Read),
    ("Compare", 0x05, Group::Read),
    ("Write Zeroes", 0x08, Group::Write),
    ("Dataset Management", 0x09, Group::Write),
    ("Verify", 0x0c, Group::Read),
    ("Reservation Register", 0x0d, Group::Reservation),
    ("Reservation Report", 0x0e, Group::Reservation),
    ("Reservation Acquire", 0x11, Group::Reservation),
    ("Reservation Release", 0x15, Group::Reservation),
    // It reads and writes: both are here, of one namespace.
    ("Copy", 0x19, Group::Write),
];

/// A command that is all right but for conflicts, on a thin namespace.
fn example(opcode: u8) -> Command {
    let mut example = command(opcode, THIN, 0, 1);
    match opcode {
        // Deallocate, one range.
        0x09 => example.cdw10 = [0, 4, 0, 0, 0, 0],
        // The extended form, with room for its header.
        0x0e => example.cdw10 = [15, 1, 0, 0, 0, 0],
        // Write Exclusive.
        0x11 | 0x15 => example.cdw10 = [1 << 8, 0, 0, 0, 0, 0],
        _ => {}
    }
    example
}

/// Reserves the namespace for one of the registrants, the first.
fn restore(io: &Io, kind: ReservationType, registrants: &[Registrant]) {
    let registrations: BTreeMap<_, _> = registrants.iter().map(|one| (one.clone(), 5)).collect();
    let holder = Holder {
        kind,
        registrant: (!kind.is_held_by_all()).then(|| registrants[0].clone()),
    };
    let table = Table::restore(9, registrations, Some(holder)).expect("a possible table");
    io.disks[1].1.reservations().restore(table);
}

fn conflicts(io: &mut Io, opcode: u8) -> bool {
    match io.plan(&example(opcode)) {
        Plan::Respond(completion) => {
            assert_eq!(completion.status, Status::RESERVATION_CONFLICT);
            true
        }
        _ => false,
    }
}

#[test]
fn every_command_is_in_the_list() {
    let rows: Vec<_> = opcodes::IO
        .iter()
        .map(|row| (row.name, row.opcode))
        .collect();
    let listed: Vec<_> = GROUPS
        .iter()
        .map(|(name, opcode, _)| (*name, *opcode))
        .collect();
    assert_eq!(rows, listed);
}

#[test]
fn every_command_conflicts_as_its_group_does() {
    use ReservationType::{
        ExclusiveAccess, ExclusiveAccessAllRegistrants, ExclusiveAccessRegistrantsOnly,
        WriteExclusive, WriteExclusiveAllRegistrants, WriteExclusiveRegistrantsOnly,
    };
    let me = registrant(HOST);
    let other = registrant(OTHER);
    // Whether a stranger may read, and whether registrants may do everything.
    for (kind, stranger_reads, registrants_may) in [
        (WriteExclusive, true, false),
        (ExclusiveAccess, false, false),
        (WriteExclusiveRegistrantsOnly, true, true),
        (ExclusiveAccessRegistrantsOnly, false, true),
        (WriteExclusiveAllRegistrants, true, true),
        (ExclusiveAccessAllRegistrants, false, true),
    ] {
        let mut io = Io::new();
        for (name, opcode, group) in GROUPS {
            let as_stranger = match group {
                Group::Write => true,
                Group::Read => !stranger_reads,
                Group::Reservation => false,
            };
            restore(&io, kind, std::slice::from_ref(&other));
            assert_eq!(conflicts(&mut io, opcode), as_stranger, "{kind:?} {name}");
            // Whoever has no identity is a stranger.
            let mut nobody = io.other(None);
            assert_eq!(
                conflicts(&mut nobody, opcode),
                as_stranger,
                "{kind:?} {name}"
            );
            restore(&io, kind, &[other.clone(), me.clone()]);
            let as_registrant = as_stranger && !registrants_may;
            assert_eq!(conflicts(&mut io, opcode), as_registrant, "{kind:?} {name}");
            restore(&io, kind, &[me.clone(), other.clone()]);
            assert!(!conflicts(&mut io, opcode), "{kind:?} {name}");
        }
    }
}

#[test]
fn everything_conflicts_with_reserve_of_scsi() {
    let mut io = Io::new();
    let other = io.other(None);
    let (_, nexuses) = other.session.snapshot();
    let seat = nexuses[1].1.seat();
    io.disks[1]
        .1
        .reservations()
        .reserve(seat)
        .expect("nobody has");
    for (name, opcode, _) in GROUPS {
        assert!(conflicts(&mut io, opcode), "{name}");
    }
    // Other namespaces are not reserved.
    assert!(matches!(io.plan(&command(0x02, 1, 0, 1)), Plan::Block(_)));
}

#[test]
fn fused_commands_conflict_as_writes() {
    let mut io = Io::new();
    let mut compare = command(0x05, THIN, 0, 1);
    let mut write = command(0x01, THIN, 0, 1);
    compare.fuse = Fuse::First;
    write.fuse = Fuse::Second;
    for (kind, holder, conflict) in [
        (ReservationType::WriteExclusive, OTHER, true),
        (ReservationType::ExclusiveAccess, OTHER, true),
        (ReservationType::ExclusiveAccess, HOST, false),
    ] {
        restore(&io, kind, &[registrant(holder)]);
        let plan = io.queue.plan_fused(&compare, &write, &mut io.units);
        if conflict {
            assert_eq!(status(plan), Status::RESERVATION_CONFLICT);
        } else {
            assert!(matches!(plan, Plan::Block(_)));
        }
    }
}

#[test]
fn who_is_fenced_while_its_data_are_under_way_is_too_late() {
    for (opcode, data) in [(0x09, 16), (0x19, 32)] {
        let mut io = Io::new();
        let Plan::Fetch { pending, .. } = io.plan(&example(opcode)) else {
            panic!("nothing is fetched");
        };
        restore(&io, ReservationType::WriteExclusive, &[registrant(OTHER)]);
        let plan = io.queue.data(pending, &vec![0; data], &mut io.units);
        assert_eq!(status(plan), Status::RESERVATION_CONFLICT, "{opcode:02x}");
    }
}
