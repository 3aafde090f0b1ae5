//! Protocol data units, whole.

use super::response::ProtocolError;

/// Bytes of a basic header segment (RFC 7143 11.2).
pub const BHS_SIZE: usize = 48;
/// A tag that stands for none.
pub const NO_TAG: u32 = 0xffff_ffff;

/// Operation codes (RFC 7143 11.2.1.2).
#[allow(missing_docs, reason = "the standard's names")]
pub mod opcode {
    pub const NOP_OUT: u8 = 0x00;
    pub const SCSI_COMMAND: u8 = 0x01;
    pub const TASK_MANAGEMENT: u8 = 0x02;
    pub const LOGIN: u8 = 0x03;
    pub const TEXT: u8 = 0x04;
    pub const DATA_OUT: u8 = 0x05;
    pub const LOGOUT: u8 = 0x06;
    pub const SNACK: u8 = 0x10;
    pub const NOP_IN: u8 = 0x20;
    pub const SCSI_RESPONSE: u8 = 0x21;
    pub const TASK_MANAGEMENT_RESPONSE: u8 = 0x22;
    pub const LOGIN_RESPONSE: u8 = 0x23;
    pub const TEXT_RESPONSE: u8 = 0x24;
    pub const DATA_IN: u8 = 0x25;
    pub const LOGOUT_RESPONSE: u8 = 0x26;
    pub const R2T: u8 = 0x31;
    pub const ASYNC: u8 = 0x32;
    pub const REJECT: u8 = 0x3f;
}

/// A PDU. Its header says what was put there, right or wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pdu {
    /// Basic header segment.
    pub bhs: [u8; BHS_SIZE],
    /// Additional header segments, padded to words.
    pub ahs: Vec<u8>,
    /// Data segment, not padded.
    pub data: Vec<u8>,
}

impl Pdu {
    /// All zeros but the operation code.
    pub fn new(opcode: u8) -> Self {
        let mut bhs = [0; BHS_SIZE];
        bhs[0] = opcode;
        Self {
            bhs,
            ahs: Vec::new(),
            data: Vec::new(),
        }
    }

    /// The operation code, without the immediate bit.
    pub fn opcode(&self) -> u8 {
        self.bhs[0] & 0x3f
    }

    /// Whether it asks for immediate delivery.
    pub fn immediate(&self) -> bool {
        self.bhs[0] & 0x40 != 0
    }

    /// Initiator task tag.
    pub fn itt(&self) -> u32 {
        self.word(16)
    }

    /// The 32-bit number at `at`, which must be in the header.
    pub fn word(&self, at: usize) -> u32 {
        self.bhs[at..]
            .first_chunk()
            .copied()
            .map_or(0, u32::from_be_bytes)
    }

    /// Sets the 32-bit number at `at`, which must be in the header.
    pub fn set_word(&mut self, at: usize, value: u32) {
        self.bhs[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }

    /// Sets the data segment and its length.
    pub fn set_data(&mut self, data: Vec<u8>) {
        self.bhs[5..8].copy_from_slice(&(data.len() as u32).to_be_bytes()[1..]);
        self.data = data;
    }

    /// Sets the additional header segments, padded, and their length.
    pub fn set_ahs(&mut self, mut ahs: Vec<u8>) {
        ahs.resize(ahs.len().next_multiple_of(4), 0);
        self.bhs[4] = (ahs.len() / 4) as u8;
        self.ahs = ahs;
    }

    /// Bytes of additional header segments, by the header.
    pub fn ahs_length(&self) -> usize {
        usize::from(self.bhs[4]) * 4
    }

    /// Bytes of the data segment, by the header.
    pub fn data_length(&self) -> usize {
        (self.word(4) & 0x00ff_ffff) as usize
    }

    /// Headers and data one behind the other.
    pub fn encode(&self) -> Vec<u8> {
        [&self.bhs[..], &self.ahs, &self.data].concat()
    }

    /// Reads exactly one PDU. Up to three bytes of padding may follow it.
    pub fn decode(bytes: &[u8]) -> Result<Self, ProtocolError> {
        let short = ProtocolError::Length(bytes.len());
        let (bhs, rest) = bytes.split_first_chunk().ok_or(short)?;
        let mut pdu = Self {
            bhs: *bhs,
            ahs: Vec::new(),
            data: Vec::new(),
        };
        let short = ProtocolError::Length(bytes.len());
        let (ahs, rest) = rest.split_at_checked(pdu.ahs_length()).ok_or(short)?;
        let short = ProtocolError::Length(bytes.len());
        let (data, padding) = rest.split_at_checked(pdu.data_length()).ok_or(short)?;
        if padding.len() > 3 {
            return Err(ProtocolError::Length(bytes.len()));
        }
        pdu.ahs = ahs.to_vec();
        pdu.data = data.to_vec();
        Ok(pdu)
    }
}
