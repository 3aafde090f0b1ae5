//! PDUs (RFC 7143 section 11).
//!
//! - [`Lengths`]: what eight bytes say of how long a PDU is, before anything else of it is looked at.
//! - [`Pdu`]: one that is complete. [`request`] reads what initiators send, with the [additional header segments](ahs) of a command.
//! - [`response`]: what targets send.
//!
//! Digests and padding are the datamover's (RFC 5047): a [`Pdu`] has neither, and what is emitted here is padded, without digests.

pub mod ahs;
pub mod request;
pub mod response;

#[cfg(test)]
mod tests;

pub use request::{
    DataOut, FieldError, Logout, ManagementFunction, NopOut, Request, ScsiCommand, TaskAttribute,
    TaskManagement, TextRequest,
};
pub use response::{
    AsyncEvent, AsyncMessage, DataIn, LogoutResponse, ManagementResponse, NopIn, Numbers, R2T,
    Reject, RejectReason, Residual, ScsiResponse, TextResponse,
};

use thiserror::Error;

/// Bytes of a basic header segment (section 11.2.1).
pub const BHS_LENGTH: usize = 48;
/// No task: what tags are when there is none (sections 11.2.1.8 and 11.18).
pub const RESERVED_TAG: u32 = 0xffff_ffff;

/// Operation codes (section 11.2.1.2).
pub mod opcode {
    /// NOP-Out
    pub const NOP_OUT: u8 = 0x00;
    /// SCSI Command
    pub const SCSI_COMMAND: u8 = 0x01;
    /// SCSI Task Management Function Request
    pub const TASK_MANAGEMENT: u8 = 0x02;
    /// Login Request
    pub const LOGIN: u8 = 0x03;
    /// Text Request
    pub const TEXT: u8 = 0x04;
    /// SCSI Data-Out
    pub const DATA_OUT: u8 = 0x05;
    /// Logout Request
    pub const LOGOUT: u8 = 0x06;
    /// SNACK Request
    pub const SNACK: u8 = 0x10;
    /// NOP-In
    pub const NOP_IN: u8 = 0x20;
    /// SCSI Response
    pub const SCSI_RESPONSE: u8 = 0x21;
    /// SCSI Task Management Function Response
    pub const TASK_MANAGEMENT_RESPONSE: u8 = 0x22;
    /// Login Response
    pub const LOGIN_RESPONSE: u8 = 0x23;
    /// Text Response
    pub const TEXT_RESPONSE: u8 = 0x24;
    /// SCSI Data-In
    pub const DATA_IN: u8 = 0x25;
    /// Logout Response
    pub const LOGOUT_RESPONSE: u8 = 0x26;
    /// Ready To Transfer
    pub const R2T: u8 = 0x31;
    /// Asynchronous Message
    pub const ASYNC_MESSAGE: u8 = 0x32;
    /// Reject
    pub const REJECT: u8 = 0x3f;
    /// The bits of an operation code in byte 0.
    pub const MASK: u8 = 0x3f;
}

/// I: for immediate delivery (section 11.2.1.1).
const IMMEDIATE: u8 = 0x40;

/// How long the parts of a PDU are (sections 11.2.1.5 and 11.2.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    /// Additional header segments; at most 1020, a multiple of four.
    pub ahs: usize,
    /// The data segment without padding; below 2^24.
    pub data: usize,
}

impl Lengths {
    /// From the first eight bytes of a PDU, whatever its operation code.
    pub fn of(start: &[u8; 8]) -> Self {
        let [_, _, _, _, ahs, high, middle, low] = *start;
        Self {
            ahs: usize::from(ahs) * 4,
            data: usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low),
        }
    }

    /// The data segment with its padding.
    pub fn padded_data(self) -> usize {
        padded(self.data)
    }

    /// All of the PDU but for digests.
    pub fn pdu(self) -> usize {
        BHS_LENGTH + self.ahs + self.padded_data()
    }
}

/// A data segment's length with padding to four bytes (section 11.2.3).
pub const fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// A complete PDU; its digests were right, and are gone with its padding.
#[derive(Clone, Copy, Debug)]
pub struct Pdu<'a> {
    /// The basic header segment.
    pub bhs: &'a [u8; BHS_LENGTH],
    /// Additional header segments.
    pub ahs: &'a [u8],
    /// The data segment.
    pub data: &'a [u8],
}

impl<'a> Pdu<'a> {
    /// From one message with nothing but a PDU in it (RFC 7145: a Send). Padding may be missing.
    #[inline]
    pub fn of_message(bytes: &'a [u8]) -> Result<Self, PduError> {
        let too_short = PduError {
            arrived: bytes.len(),
        };
        let (bhs, rest) = bytes.split_first_chunk().ok_or(too_short)?;
        let (start, _) = bhs.split_first_chunk().ok_or(too_short)?;
        let lengths = Lengths::of(start);
        let (ahs, rest) = rest.split_at_checked(lengths.ahs).ok_or(too_short)?;
        let data = rest.get(..lengths.data).ok_or(too_short)?;
        Ok(Self { bhs, ahs, data })
    }

    /// The operation code.
    #[inline]
    pub fn opcode(&self) -> u8 {
        self.bhs[0] & opcode::MASK
    }

    /// Whether it is for immediate delivery: outside of the order of commands.
    #[inline]
    pub fn immediate(&self) -> bool {
        self.bhs[0] & IMMEDIATE != 0
    }

    /// The initiator task tag, at the same place in all PDUs of an initiator.
    #[inline]
    pub fn itt(&self) -> u32 {
        word::<16>(self.bhs)
    }

    /// CmdSN, in PDUs that have one.
    #[inline]
    pub fn cmd_sn(&self) -> u32 {
        word::<24>(self.bhs)
    }
}

/// A message that ends before the PDU in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a PDU that says it is longer than the {arrived} bytes that arrived")]
pub struct PduError {
    /// Bytes of the message.
    pub arrived: usize,
}

/// A field of four bytes.
#[inline]
fn word<const AT: usize>(bhs: &[u8; BHS_LENGTH]) -> u32 {
    const { assert!(AT + 4 <= BHS_LENGTH) };
    u32::from_be_bytes([bhs[AT], bhs[AT + 1], bhs[AT + 2], bhs[AT + 3]])
}

/// A field of two bytes.
#[inline]
fn half<const AT: usize>(bhs: &[u8; BHS_LENGTH]) -> u16 {
    const { assert!(AT + 2 <= BHS_LENGTH) };
    u16::from_be_bytes([bhs[AT], bhs[AT + 1]])
}

/// The logical unit number, at the same place in all PDUs.
#[inline]
fn lun(bhs: &[u8; BHS_LENGTH]) -> [u8; 8] {
    [
        bhs[8], bhs[9], bhs[10], bhs[11], bhs[12], bhs[13], bhs[14], bhs[15],
    ]
}
