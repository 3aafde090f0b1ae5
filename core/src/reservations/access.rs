//! What a command does, as far as reservations care, and what a nexus may do.

use super::kind::ReservationType;

/// What a command does, for conflict checks. Every command of every protocol has one (SPC-4 table 64, SBC-3 table 13, NVMe base 2.0
/// figure 422).
///
/// Whoever may do one of them may do those before it as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Access {
    /// Allowed whatever is reserved, by SCSI-2's RESERVE as well.
    Always = 0,
    /// Allowed whatever is reserved persistently: it looks at no blocks and changes nothing that others see.
    Informs = 1,
    /// It reads blocks.
    Reads = 2,
    /// It changes blocks, or something else that others see.
    Writes = 3,
}

/// What the commands of a nexus may do at most.
pub type Verdict = Access;

impl Access {
    /// Everything: there is no reservation, or it is the nexus's own.
    pub const EVERYTHING: Verdict = Self::Writes;

    #[cfg(test)]
    pub(crate) fn from_bits(bits: u8) -> Self {
        match bits {
            0 => Self::Always,
            1 => Self::Informs,
            2 => Self::Reads,
            _ => Self::Writes,
        }
    }
}

/// What is allowed under a reservation of somebody else's.
pub(super) fn under(kind: ReservationType, registered: bool) -> Verdict {
    if registered && !kind.is_for_the_holder() {
        Access::EVERYTHING
    } else if kind.is_write_exclusive() {
        Access::Reads
    } else {
        Access::Informs
    }
}
