//! Every opcode that is known, and nothing else is served.
//!
//! I/O commands are planned by their row of the table. Admin commands have their dispatch beside their planners; their rows say
//! what there is, for names and for the log page of what commands do.

use super::command::Command;
use super::controller::{Controller, Kind};
use super::io::{self, Namespace};
use super::plan::Planned;
use crate::reservations::Access;

/// Optional NVM commands that there are (ONCS, NVMe base 2.0 figure 275): Compare, Dataset Management, Write Zeroes, Verify and
/// Copy. Save and Select in Set Features, timestamps and Write Uncorrectable are not here, nor are reservations, which not every
/// namespace has.
pub(crate) const ONCS: u16 = 1 | 1 << 2 | 1 << 3 | 1 << 7 | 1 << 8;

/// Reservations, in the same.
pub(crate) const ONCS_RESERVATIONS: u16 = 1 << 5;

/// Fused operations that there are (FUSES, NVMe base 2.0 figure 275): Compare and Write.
pub(crate) const FUSES: u16 = 1;

pub(crate) const WRITE: u8 = 0x01;
pub(crate) const COMPARE: u8 = 0x05;

/// A command of I/O queues.
pub(crate) struct IoRow {
    pub(crate) opcode: u8,
    pub(crate) name: &'static str,
    pub(crate) effects: Effects,
    /// What it does, as far as reservations care. Commands about reservations have rules of their own, which are the table's.
    pub(crate) access: Access,
    pub(crate) plan: fn(&Controller, &Command, &Namespace<'_>) -> Planned,
}

/// A command of admin queues.
pub(crate) struct AdminRow {
    pub(crate) opcode: u8,
    pub(crate) name: &'static str,
    pub(crate) effects: Effects,
    /// Whether discovery controllers have it, too (NVMe base 2.0 section 3.1.2).
    pub(crate) discovery: bool,
}

/// What a command does beside what it says in its completion (NVMe base 2.0 section 5.16.1.6, Commands Supported and Effects data
/// structure). No command here is of those that have to be submitted alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Effects(pub(crate) u32);

impl Effects {
    /// CSUPP: it is supported.
    pub(crate) const NONE: Self = Self(1);
    /// LBCC as well: it may change what is in logical blocks.
    pub(crate) const CONTENT: Self = Self(1 | 1 << 1);
    /// Fabrics commands are not in the log page: what supports NVMe over fabrics has them.
    pub(crate) const UNLISTED: Self = Self(0);
}

const fn io(
    opcode: u8,
    name: &'static str,
    effects: Effects,
    access: Access,
    plan: fn(&Controller, &Command, &Namespace<'_>) -> Planned,
) -> IoRow {
    IoRow {
        opcode,
        name,
        effects,
        access,
        plan,
    }
}

const fn admin(opcode: u8, name: &'static str, effects: Effects, discovery: bool) -> AdminRow {
    AdminRow {
        opcode,
        name,
        effects,
        discovery,
    }
}

/// NVM command set 1.0 section 3 and NVMe base 2.0 section 7, sorted by opcode.
#[rustfmt::skip]
pub(crate) static IO: &[IoRow] = &[
    io(0x00, "Flush", Effects::NONE, Access::Writes, io::flush),
    io(WRITE, "Write", Effects::CONTENT, Access::Writes, io::write),
    io(0x02, "Read", Effects::NONE, Access::Reads, io::read),
    io(COMPARE, "Compare", Effects::NONE, Access::Reads, io::compare),
    io(0x08, "Write Zeroes", Effects::CONTENT, Access::Writes, io::write_zeroes),
    io(io::DATASET_MANAGEMENT, "Dataset Management", Effects::CONTENT, Access::Writes, io::dataset_management),
    io(0x0c, "Verify", Effects::NONE, Access::Reads, io::verify),
    io(io::RESERVATION_REGISTER, "Reservation Register", Effects::NONE, Access::Informs, io::change_reservation),
    io(io::RESERVATION_REPORT, "Reservation Report", Effects::NONE, Access::Informs, io::report),
    io(io::RESERVATION_ACQUIRE, "Reservation Acquire", Effects::NONE, Access::Informs, io::change_reservation),
    io(io::RESERVATION_RELEASE, "Reservation Release", Effects::NONE, Access::Informs, io::change_reservation),
    io(io::COPY, "Copy", Effects::CONTENT, Access::Writes, io::copy),
];

/// NVMe base 2.0 section 5, sorted by opcode.
#[rustfmt::skip]
pub(crate) static ADMIN: &[AdminRow] = &[
    admin(0x02, "Get Log Page", Effects::NONE, true),
    admin(0x06, "Identify", Effects::NONE, true),
    admin(0x08, "Abort", Effects::NONE, false),
    admin(0x09, "Set Features", Effects::NONE, true),
    admin(0x0a, "Get Features", Effects::NONE, true),
    admin(0x0c, "Asynchronous Event Request", Effects::NONE, true),
    admin(0x18, "Keep Alive", Effects::NONE, true),
    admin(0x7f, "Fabrics", Effects::UNLISTED, true),
];

/// The I/O commands that a controller has. Those about reservations are only there if any namespace can be reserved.
pub(crate) fn io_rows(reservations: bool) -> impl Iterator<Item = &'static IoRow> {
    IO.iter()
        .filter(move |row| reservations || !is_about_reservations(row.opcode))
}

fn is_about_reservations(opcode: u8) -> bool {
    matches!(
        opcode,
        io::RESERVATION_REGISTER
            | io::RESERVATION_REPORT
            | io::RESERVATION_ACQUIRE
            | io::RESERVATION_RELEASE
    )
}

/// The row of each I/O opcode; `IO.len()` where there is none.
static IO_ROWS: [u8; 256] = {
    let mut rows = [IO.len() as u8; 256];
    let mut index = 0;
    while index < IO.len() {
        rows[IO[index].opcode as usize] = index as u8;
        index += 1;
    }
    rows
};

/// The I/O command with an opcode.
#[inline]
pub(crate) fn io_row(opcode: u8) -> Option<&'static IoRow> {
    IO.get(usize::from(IO_ROWS[usize::from(opcode)]))
}

/// The admin commands that a controller has.
pub(crate) fn admin_rows(kind: &Kind) -> impl Iterator<Item = &'static AdminRow> {
    let discovery = matches!(kind, Kind::Discovery(_));
    ADMIN.iter().filter(move |row| row.discovery || !discovery)
}

/// The name of a command, for logs.
pub fn command_name(admin: bool, opcode: u8) -> Option<&'static str> {
    if admin {
        let row = ADMIN.iter().find(|row| row.opcode == opcode);
        row.map(|row| row.name)
    } else {
        io_row(opcode).map(|row| row.name)
    }
}

/// Which way an opcode's data go (NVMe base 2.0 figure 87: its lower two bits).
#[inline]
pub fn moves(opcode: u8) -> Moves {
    match opcode & 3 {
        0 => Moves::Nothing,
        1 => Moves::ToController,
        2 => Moves::ToHost,
        _ => Moves::BothWays,
    }
}

/// Which way data go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moves {
    /// There are none.
    Nothing,
    /// From the host.
    ToController,
    /// To the host.
    ToHost,
    /// No command that is known does that.
    BothWays,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_found() {
        assert!(IO.windows(2).all(|rows| rows[0].opcode < rows[1].opcode));
        assert!(ADMIN.windows(2).all(|rows| rows[0].opcode < rows[1].opcode));
        for row in IO {
            assert_eq!(io_row(row.opcode).map(|row| row.name), Some(row.name));
        }
        let known = (0..=u8::MAX).filter(|opcode| io_row(*opcode).is_some());
        assert_eq!(known.count(), IO.len());
        assert_eq!(command_name(false, 0x02), Some("Read"));
        assert_eq!(command_name(true, 0x02), Some("Get Log Page"));
        // Write Uncorrectable.
        assert_eq!(command_name(false, 0x04), None);
    }

    #[test]
    fn only_commands_that_take_data_take_data() {
        for (opcode, expected) in [
            (0x00, Moves::Nothing),
            (0x01, Moves::ToController),
            (0x02, Moves::ToHost),
            (0x05, Moves::ToController),
            (0x08, Moves::Nothing),
            (0x09, Moves::ToController),
            (0x0c, Moves::Nothing),
            (0x0d, Moves::ToController),
            (0x0e, Moves::ToHost),
            (0x11, Moves::ToController),
            (0x15, Moves::ToController),
            (0x19, Moves::ToController),
        ] {
            assert_eq!(moves(opcode), expected, "{opcode:02x}");
        }
    }

    #[test]
    fn optional_commands_are_announced() {
        let bits = [
            (0x05, 0),
            (0x04, 1),
            (0x09, 2),
            (0x08, 3),
            (0x0d, 5),
            (0x0e, 5),
            (0x11, 5),
            (0x15, 5),
            (0x0c, 7),
            (0x19, 8),
        ];
        for (opcode, bit) in bits {
            let announced = (ONCS | ONCS_RESERVATIONS) & 1 << bit != 0;
            assert_eq!(announced, io_row(opcode).is_some(), "{opcode:02x}");
        }
    }
}
