//! Every opcode that is known, and nothing else is served.

/// The name of a command, for logs.
pub fn command_name(admin: bool, opcode: u8) -> Option<&'static str> {
    match (admin, opcode) {
        (false, 0x01) => Some("Write"),
        (false, 0x02) => Some("Read"),
        _ => None,
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
