//! Submission and completion queue entries, SGL descriptors, and the private data of RDMA/CM messages, from the host's side
//! (NVMe base 2.0 sections 3.3.3 and 4.3.2; RDMA transport 1.0 section 3).

use std::fmt;

use pagecast_rdma::fabric::RemoteBuffer;
use thiserror::Error;

/// Bytes of a submission queue entry.
pub const SQE_SIZE: usize = 64;
/// Bytes of a completion queue entry.
pub const CQE_SIZE: usize = 16;

/// Where the data pointer of a submission queue entry is.
pub const DATA_POINTER: usize = 24;

/// What a controller has said that it may not say.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// Response capsules have one length.
    #[error("a response capsule of {0} bytes")]
    Length(usize),
    /// Fabrics have no phase tag (NVMe base 2.0 section 3.3.3.2).
    #[error("the phase tag of the completion of command {0} is set")]
    Phase(u16),
    /// A field that must be zero.
    #[error("a field that is reserved is not zero: {0}")]
    Reserved(&'static str),
    /// No command of this name is outstanding.
    #[error("a completion for command {0}, which is not outstanding")]
    UnknownCommand(u16),
    /// The submission queue head.
    #[error("submission queue head {head} of {entries} when {sent} commands were sent")]
    Head {
        /// As it came.
        head: u16,
        /// Size of the queue.
        entries: u32,
        /// Since the queue was made.
        sent: u64,
    },
    /// A key was invalidated that was not to be.
    #[error("key {found:#x} was invalidated, and {wanted:x?} was to be")]
    Invalidated {
        /// What the command said.
        wanted: Option<u32>,
        /// What the adapter says.
        found: u32,
    },
    /// Private data of the acceptance or refusal.
    #[error("private data: {0}")]
    PrivateData(&'static str),
    /// Data of a command that make no sense.
    #[error("data: {0}")]
    Data(&'static str),
}

/// A submission queue entry, byte by byte.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sqe(pub [u8; SQE_SIZE]);

impl Sqe {
    /// An entry whose data pointer is an SGL (PSDT 01b), as every host on a fabric says.
    pub fn new(opcode: u8, nsid: u32) -> Self {
        let mut entry = Self([0; SQE_SIZE]);
        entry.0[0] = opcode;
        entry.0[1] = 0x40;
        entry.put(4, &nsid.to_le_bytes());
        entry
    }

    /// The opcode.
    pub fn opcode(&self) -> u8 {
        self.0[0]
    }

    /// Command identifier.
    pub fn cid(&self) -> u16 {
        u16::from_le_bytes([self.0[2], self.0[3]])
    }

    /// Sets the command identifier.
    pub fn set_cid(&mut self, cid: u16) {
        self.put(2, &cid.to_le_bytes());
    }

    /// Sets a dword, by its number; none beyond 15.
    pub fn set_dword(&mut self, number: usize, value: u32) {
        self.put(number.saturating_mul(4), &value.to_le_bytes());
    }

    /// Sets the data pointer.
    pub fn set_data_pointer(&mut self, descriptor: [u8; 16]) {
        self.put(DATA_POINTER, &descriptor);
    }

    /// Copies bytes in, as far as there is room.
    pub fn put(&mut self, at: usize, bytes: &[u8]) {
        for (to, from) in self.0.iter_mut().skip(at).zip(bytes) {
            *to = *from;
        }
    }
}

impl fmt::Debug for Sqe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sqe({:02x?})", self.0)
    }
}

/// SGL descriptors (NVMe base 2.0 section 4.3.2; RDMA transport 1.0 figure 4).
pub mod sgl {
    use super::RemoteBuffer;

    /// Keyed data block, address.
    pub const KEYED: u8 = 0x40;
    /// Keyed data block whose key is to be invalidated.
    pub const KEYED_INVALIDATE: u8 = 0x4f;
    /// Data block at an offset into the capsule.
    pub const IN_CAPSULE: u8 = 0x01;

    /// Memory of ours. The length has 24 bits.
    pub fn keyed(remote: RemoteBuffer, invalidate: bool) -> [u8; 16] {
        let mut descriptor = [0; 16];
        descriptor[..8].copy_from_slice(&remote.address.to_le_bytes());
        descriptor[8..11].copy_from_slice(&remote.length.to_le_bytes()[..3]);
        descriptor[11..15].copy_from_slice(&remote.key.to_le_bytes());
        descriptor[15] = if invalidate { KEYED_INVALIDATE } else { KEYED };
        descriptor
    }

    /// Bytes that follow the entry in its capsule.
    pub fn in_capsule(offset: u64, length: u32) -> [u8; 16] {
        let mut descriptor = [0; 16];
        descriptor[..8].copy_from_slice(&offset.to_le_bytes());
        descriptor[8..12].copy_from_slice(&length.to_le_bytes());
        descriptor[15] = IN_CAPSULE;
        descriptor
    }

    /// No data, as Linux says it.
    pub fn none() -> [u8; 16] {
        let mut descriptor = [0; 16];
        descriptor[15] = KEYED;
        descriptor
    }
}

/// A completion queue entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cqe {
    /// Dwords 0 and 1.
    pub result: u64,
    /// Submission queue head pointer.
    pub head: u16,
    /// Which command.
    pub cid: u16,
    /// How it ended.
    pub status: Status,
}

impl Cqe {
    /// Reads a response capsule.
    pub fn decode(message: &[u8]) -> Result<Self, ProtocolError> {
        let entry: &[u8; CQE_SIZE] = message
            .try_into()
            .map_err(|_| ProtocolError::Length(message.len()))?;
        let word = |at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
        let (cid, field) = (word(12), word(14));
        if field & 1 != 0 {
            return Err(ProtocolError::Phase(cid));
        }
        // NVMe base 2.0 figure 90: reserved over fabrics.
        if word(10) != 0 {
            return Err(ProtocolError::Reserved("submission queue identifier"));
        }
        let [a, b, c, d, e, f, g, h, ..] = *entry;
        Ok(Self {
            result: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            head: word(8),
            cid,
            status: Status(field >> 1),
        })
    }
}

/// Status of a completion: the status field without the phase tag.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Status(pub u16);

impl Status {
    /// All went well.
    pub const SUCCESS: Self = Self(0);

    /// Whether all went well.
    pub fn is_success(self) -> bool {
        self.code() == (0, 0)
    }

    /// Status code type and status code.
    pub fn code(self) -> (u8, u8) {
        ((self.0 >> 8) as u8 & 7, self.0 as u8)
    }

    /// Whether the host is told not to retry.
    pub fn do_not_retry(self) -> bool {
        self.0 & 1 << 14 != 0
    }

    /// Whether the error log has more.
    pub fn more(self) -> bool {
        self.0 & 1 << 13 != 0
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, code) = self.code();
        write!(f, "{kind:x}h/{code:02x}h")?;
        f.write_str(if self.do_not_retry() { " DNR" } else { "" })
    }
}

/// Private data of a connection request (RDMA transport 1.0 figure 7). `entries` counts from one, as HRQSIZE does.
pub fn request(queue: u16, entries: u16) -> [u8; 32] {
    let mut data = [0; 32];
    data[2..4].copy_from_slice(&queue.to_le_bytes());
    data[4..6].copy_from_slice(&entries.to_le_bytes());
    data[6..8].copy_from_slice(&entries.saturating_sub(1).to_le_bytes());
    data
}

/// Reads the private data of an acceptance: entries of the controller's receive queue.
pub(super) fn accepted(data: &[u8]) -> Result<u16, ProtocolError> {
    let data: &[u8; 32] = data
        .first_chunk()
        .ok_or(ProtocolError::PrivateData("shorter than 32 bytes"))?;
    if data[..2] != [0, 0] || data[4..] != [0; 28] {
        return Err(ProtocolError::PrivateData("format, or reserved bytes"));
    }
    match u16::from_le_bytes([data[2], data[3]]) {
        0 => Err(ProtocolError::PrivateData("a receive queue of no entries")),
        entries => Ok(entries),
    }
}

/// Reads the private data of a refusal: its status.
pub(super) fn refused(data: &[u8]) -> Result<u16, ProtocolError> {
    let data: &[u8; 4] = data
        .first_chunk()
        .ok_or(ProtocolError::PrivateData("shorter than 4 bytes"))?;
    if data[..2] != [0, 0] {
        return Err(ProtocolError::PrivateData("format"));
    }
    Ok(u16::from_le_bytes([data[2], data[3]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_and_descriptors() {
        let mut entry = Sqe::new(2, 0x0102_0304);
        entry.set_cid(0x0506);
        entry.set_dword(10, 0x0708_090a);
        entry.set_data_pointer(sgl::keyed(
            RemoteBuffer {
                address: 0x1122_3344_5566_7788,
                key: 0x99aa_bbcc,
                length: 0x0012_3456,
            },
            true,
        ));
        assert_eq!(entry.0[..8], [2, 0x40, 6, 5, 4, 3, 2, 1]);
        assert_eq!(
            entry.0[24..40],
            [
                0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0x56, 0x34, 0x12, 0xcc, 0xbb, 0xaa,
                0x99, 0x4f
            ]
        );
        assert_eq!(entry.0[40..44], [0x0a, 9, 8, 7]);
        assert_eq!(
            sgl::in_capsule(0, 4096),
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 1]
        );
        // Beyond the end is nowhere.
        entry.set_dword(16, 1);
        entry.set_dword(usize::MAX, 1);
    }

    #[test]
    fn completions() {
        let mut bytes = [1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0x04, 0x83];
        let entry = Cqe::decode(&bytes).expect("an entry");
        assert_eq!(entry.result, 0x2_0000_0001);
        assert_eq!((entry.head, entry.cid), (3, 4));
        assert_eq!(entry.status.code(), (1, 0x82));
        assert!(entry.status.do_not_retry() && !entry.status.more());
        bytes[14] |= 1;
        assert_eq!(Cqe::decode(&bytes), Err(ProtocolError::Phase(4)));
        bytes[14] &= !1;
        bytes[10] = 1;
        assert!(matches!(
            Cqe::decode(&bytes),
            Err(ProtocolError::Reserved(_))
        ));
        assert_eq!(Cqe::decode(&bytes[1..]), Err(ProtocolError::Length(15)));
    }

    #[test]
    fn private_data() {
        assert_eq!(request(1, 128)[..8], [0, 0, 1, 0, 128, 0, 127, 0]);
        let mut reply = [0; 40];
        assert!(accepted(&reply).is_err());
        reply[2] = 32;
        assert_eq!(accepted(&reply), Ok(32));
        reply[4] = 1;
        assert!(accepted(&reply).is_err());
        assert!(accepted(&reply[..31]).is_err());
        assert_eq!(refused(&[0, 0, 4, 0, 0]), Ok(4));
        assert!(refused(&[1, 0, 4, 0]).is_err());
        assert!(refused(&[0, 0, 4]).is_err());
    }
}
