//! Status values (NVMe base 2.0 section 3.3.3.2.1).

use std::fmt;

use crate::block::BlockFault;

/// What a completion says: status code, status code type and flags, as in bits 15 to 1 of its last dword's upper half.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Status(u16);

/// Do not retry.
const DNR: u16 = 1 << 14;

impl Status {
    /// All went well.
    pub const SUCCESS: Self = Self(0);

    // Generic command status (type 0h).
    /// An opcode that is not there.
    pub const INVALID_OPCODE: Self = Self::generic(0x01);
    /// A field that is wrong, or asks for what is not there.
    pub const INVALID_FIELD: Self = Self::generic(0x02);
    /// Data could not be moved.
    pub const DATA_TRANSFER_ERROR: Self = Self::retry(0, 0x04);
    /// Something broke in here.
    pub const INTERNAL_ERROR: Self = Self::retry(0, 0x06);
    /// There is no room for what is asked for: the same as something that broke, but trying again does not help.
    pub const NO_RESOURCES: Self = Self::generic(0x06);
    /// The host aborted it.
    pub const ABORT_REQUESTED: Self = Self::retry(0, 0x07);
    /// The other half of a fused operation failed.
    pub const ABORTED_FAILED_FUSED: Self = Self::retry(0, 0x09);
    /// The other half of a fused operation is not there.
    pub const ABORTED_MISSING_FUSED: Self = Self::generic(0x0a);
    /// No such namespace, or not for this host.
    pub const INVALID_NAMESPACE: Self = Self::generic(0x0b);
    /// Not now.
    pub const COMMAND_SEQUENCE_ERROR: Self = Self::generic(0x0c);
    /// An SGL that makes no sense.
    pub const INVALID_SGL_SEGMENT: Self = Self::generic(0x0d);
    /// An SGL that does not fit the data.
    pub const DATA_SGL_LENGTH_INVALID: Self = Self::generic(0x0f);
    /// An SGL descriptor of a type that is not supported.
    pub const SGL_TYPE_INVALID: Self = Self::generic(0x11);
    /// In-capsule data beyond the capsule.
    pub const SGL_OFFSET_INVALID: Self = Self::generic(0x16);
    /// The host was preempted, and its commands aborted. Tried again it ends in a conflict, if it has to.
    pub const PREEMPTED: Self = Self::retry(0, 0x1b);
    /// A host identifier of the other length is expected.
    pub const HOST_ID_INCONSISTENT: Self = Self::generic(0x18);
    /// The namespace may not be written.
    pub const NAMESPACE_WRITE_PROTECTED: Self = Self::generic(0x20);
    /// Beyond the last block.
    pub const LBA_OUT_OF_RANGE: Self = Self::generic(0x80);
    /// No space left where blocks are stored.
    pub const CAPACITY_EXCEEDED: Self = Self::generic(0x81);
    /// The namespace cannot do that just now.
    pub const NAMESPACE_NOT_READY: Self = Self::retry(0, 0x82);
    /// Somebody else's reservation, or a wrong key.
    pub const RESERVATION_CONFLICT: Self = Self::generic(0x83);

    // Command specific status (type 1h).
    /// More Abort commands than announced.
    pub const ABORT_LIMIT_EXCEEDED: Self = Self::specific(0x03);
    /// More Asynchronous Event Requests than announced.
    pub const EVENT_LIMIT_EXCEEDED: Self = Self::specific(0x05);
    /// A log page that is not there.
    pub const INVALID_LOG_PAGE: Self = Self::specific(0x09);
    /// A feature that cannot be saved.
    pub const FEATURE_NOT_SAVEABLE: Self = Self::specific(0x0d);
    /// A feature that cannot be changed.
    pub const FEATURE_NOT_CHANGEABLE: Self = Self::specific(0x0e);
    /// A feature that no namespace has on its own.
    pub const FEATURE_NOT_NAMESPACE_SPECIFIC: Self = Self::specific(0x0f);
    /// A combination of command sets that is not there.
    pub const COMMAND_SETS_REJECTED: Self = Self::specific(0x2b);
    /// A command set that is not there.
    pub const INVALID_COMMAND_SET: Self = Self::specific(0x2c);
    /// Fused, or in sizes, that are not possible (NVM command set).
    pub const COMMAND_SIZE_LIMIT: Self = Self::specific(0x83);
    /// Connect: a record format that is unknown.
    pub const CONNECT_FORMAT: Self = Self::specific(0x80);
    /// Connect: not now.
    pub const CONNECT_BUSY: Self = Self::retry(1, 0x81);
    /// Connect: a parameter that is wrong; the result says which.
    pub const CONNECT_INVALID_PARAMETERS: Self = Self::specific(0x82);
    /// Connect: this host may not.
    pub const CONNECT_INVALID_HOST: Self = Self::specific(0x84);
    /// The host has to prove who it is first.
    pub const AUTHENTICATION_REQUIRED: Self = Self::specific(0x91);

    // Media and data integrity errors (type 2h).
    /// A write that the store failed.
    pub const WRITE_FAULT: Self = Self::retry(2, 0x80);
    /// A read that the store failed.
    pub const UNRECOVERED_READ_ERROR: Self = Self::retry(2, 0x81);
    /// What is stored is not what the host compares with.
    pub const COMPARE_FAILURE: Self = Self::media(0x85);

    const fn generic(code: u8) -> Self {
        Self(code as u16 | DNR)
    }

    const fn specific(code: u8) -> Self {
        Self(code as u16 | 1 << 8 | DNR)
    }

    const fn media(code: u8) -> Self {
        Self(code as u16 | 2 << 8 | DNR)
    }

    /// One that may go away by itself.
    const fn retry(kind: u16, code: u8) -> Self {
        Self(code as u16 | kind << 8)
    }

    /// Whether all went well.
    #[inline]
    pub const fn is_success(self) -> bool {
        self.0 == 0
    }

    /// Status code type.
    pub const fn kind(self) -> u8 {
        (self.0 >> 8) as u8 & 7
    }

    /// Status code.
    pub const fn code(self) -> u8 {
        self.0 as u8
    }

    /// Whether the host should not try again.
    pub const fn do_not_retry(self) -> bool {
        self.0 & DNR != 0
    }

    /// The status field of a completion queue entry, its phase tag (which fabrics do not use) cleared.
    #[inline]
    pub const fn field(self) -> u16 {
        self.0 << 1
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Status({:x}h/{:02x}h", self.kind(), self.code())?;
        f.write_str(if self.do_not_retry() { ", DNR)" } else { ")" })
    }
}

impl From<BlockFault> for Status {
    /// NVM command set 1.0, and NVMe base 2.0 figures 94 to 98.
    fn from(fault: BlockFault) -> Self {
        match fault {
            BlockFault::PastEnd => Self::LBA_OUT_OF_RANGE,
            BlockFault::NoSpace => Self::CAPACITY_EXCEEDED,
            BlockFault::Medium { write: true } => Self::WRITE_FAULT,
            BlockFault::Medium { write: false } => Self::UNRECOVERED_READ_ERROR,
            BlockFault::ReadOnly => Self::NAMESPACE_WRITE_PROTECTED,
            BlockFault::Unsupported => Self::INVALID_OPCODE,
            BlockFault::Busy => Self::NAMESPACE_NOT_READY,
            BlockFault::Hardware => Self::INTERNAL_ERROR,
            BlockFault::Miscompare { .. } => Self::COMPARE_FAILURE,
            BlockFault::TransferFailed => Self::DATA_TRANSFER_ERROR,
            BlockFault::Aborted => Self::ABORT_REQUESTED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_the_standard_has_them() {
        // Figure 92: status code in bits 24:17 of dword 3, type in 27:25, do not retry in 31.
        assert_eq!(Status::SUCCESS.field(), 0);
        assert_eq!(Status::INVALID_OPCODE.field(), 0x8002);
        assert_eq!(Status::CONNECT_INVALID_PARAMETERS.field(), 0x8304);
        assert_eq!(Status::COMPARE_FAILURE.field(), 0x850a);
        assert_eq!(Status::WRITE_FAULT.field(), 0x0500);
    }
}
