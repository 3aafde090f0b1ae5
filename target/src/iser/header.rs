//! The iSER header (RFC 7145 section 9).

use pagecast_rdma::fabric::RemoteBuffer;
use thiserror::Error;

/// Bytes of the header of an iSCSI control-type PDU (RFC 7145 9.2).
pub const HEADER_SIZE: usize = 28;

/// Bits of the first byte, and values of its upper half (RFC 7145 9.1).
mod bits {
    /// The upper half: what follows is an iSCSI PDU.
    pub(super) const CONTROL: u8 = 0x10;
    /// The upper half: Hello.
    pub(super) const HELLO: u8 = 0x20;
    /// The upper half: HelloReply.
    pub(super) const HELLO_REPLY: u8 = 0x30;
    /// Write STag valid.
    pub(super) const WSV: u8 = 0x08;
    /// Read STag valid.
    pub(super) const RSV: u8 = 0x04;
}

/// Memory of the initiator that a command offers: where the target may read its data-out, or write its data-in. How long it is
/// only the command says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tagged {
    /// Steering tag: the remote key.
    pub stag: u32,
    /// Virtual address of the first byte that is to be moved.
    pub base_offset: u64,
}

impl Tagged {
    /// The first `length` bytes.
    pub fn buffer(self, length: u32) -> RemoteBuffer {
        RemoteBuffer {
            address: self.base_offset,
            key: self.stag,
            length,
        }
    }
}

/// What the header of a control-type PDU offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    /// Where the data-out that did not come with PDUs is to be read.
    pub write: Option<Tagged>,
    /// Where the data-in is to be written.
    pub read: Option<Tagged>,
}

impl Tags {
    /// The remote key that a response may invalidate (RFC 7145 7.3.2: one, of a command with two the one for reading data
    /// in). Whether it may at all is [`negotiated`](super::negotiation::Initiator).
    pub fn invalidatable(&self) -> Option<u32> {
        self.read.or(self.write).map(|tagged| tagged.stag)
    }

    /// Writes the header in front of a PDU. Those of a target offer nothing: its own are all zeros but the type.
    pub fn encode(&self) -> [u8; HEADER_SIZE] {
        let mut out = [0; HEADER_SIZE];
        let mut put = |flag, at: usize, tagged: Option<Tagged>| {
            if let Some(tagged) = tagged {
                out[0] |= flag;
                out[at..at + 4].copy_from_slice(&tagged.stag.to_be_bytes());
                out[at + 4..at + 12].copy_from_slice(&tagged.base_offset.to_be_bytes());
            }
        };
        put(bits::WSV, 4, self.write);
        put(bits::RSV, 16, self.read);
        out[0] |= bits::CONTROL;
        out
    }

    /// Reads the header of a control-type PDU. Fields that are not valid by their flags are not looked at.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let short = HeaderError::Short(bytes.len());
        let header: &[u8; HEADER_SIZE] = bytes.first_chunk().ok_or(short)?;
        let flags = header[0];
        match flags & 0xf0 {
            bits::CONTROL => {}
            bits::HELLO => return Err(HeaderError::Hello),
            bits::HELLO_REPLY => return Err(HeaderError::HelloReply),
            _ => return Err(HeaderError::Type(flags)),
        }
        let tagged = |flag, at: usize| {
            let fields = header.get(at..)?;
            let (stag, offset) = fields.split_first_chunk()?;
            (flags & flag != 0).then_some(Tagged {
                stag: u32::from_be_bytes(*stag),
                base_offset: u64::from_be_bytes(*offset.first_chunk()?),
            })
        };
        Ok(Self {
            write: tagged(bits::WSV, 4),
            read: tagged(bits::RSV, 16),
        })
    }
}

/// The header of what we send.
pub const TARGET_HEADER: [u8; HEADER_SIZE] = {
    let mut header = [0; HEADER_SIZE];
    header[0] = bits::CONTROL;
    header
};

/// What arrived does not start with the header of an iSCSI PDU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// Not even a header.
    #[error("iSER header cut short: {0} bytes")]
    Short(usize),
    /// Only legal after iSERHelloRequired=Yes, which we do not agree to (RFC 7145 6.8).
    #[error("iSER Hello, which was not negotiated")]
    Hello,
    /// Only a target sends it.
    #[error("iSER HelloReply from an initiator")]
    HelloReply,
    /// Neither of those.
    #[error("unknown iSER header type {0:#04x}")]
    Type(u8),
}
