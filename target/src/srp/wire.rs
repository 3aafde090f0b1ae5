//! Numbers of the wire format, and reads that cannot leave the bytes that arrived.

use std::fmt;

/// Information unit types (SRP r16a 6.1, first byte of every information unit).
pub mod opcode {
    /// SRP_LOGIN_REQ
    pub const LOGIN_REQ: u8 = 0x00;
    /// SRP_TSK_MGMT
    pub const TSK_MGMT: u8 = 0x01;
    /// SRP_CMD
    pub const CMD: u8 = 0x02;
    /// SRP_I_LOGOUT
    pub const I_LOGOUT: u8 = 0x03;
    /// SRP_CRED_RSP
    pub const CRED_RSP: u8 = 0x41;
    /// SRP_AER_RSP
    pub const AER_RSP: u8 = 0x42;
    /// SRP_T_LOGOUT
    pub const T_LOGOUT: u8 = 0x80;
    /// SRP_CRED_REQ
    pub const CRED_REQ: u8 = 0x81;
    /// SRP_AER_REQ
    pub const AER_REQ: u8 = 0x82;
    /// SRP_LOGIN_RSP
    pub const LOGIN_RSP: u8 = 0xc0;
    /// SRP_RSP
    pub const RSP: u8 = 0xc1;
    /// SRP_LOGIN_REJ
    pub const LOGIN_REJ: u8 = 0xc2;
}

/// Shortest length that either side may set as the limit of an information unit, in bytes.
pub const MIN_IU_LENGTH: u32 = 64;

/// Buffer formats of login, as a bit set: direct descriptors.
pub const BUFFER_FORMAT_DIRECT: u16 = 1 << 1;
/// Buffer formats of login, as a bit set: indirect descriptors.
pub const BUFFER_FORMAT_INDIRECT: u16 = 1 << 2;

/// The tag by which an initiator knows one of its requests. Opaque: it is compared and echoed, nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Tag(pub u64);

impl Tag {
    /// The eight bytes, as they go over the wire.
    pub fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// From the eight bytes of the wire.
    pub fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(bytes))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#018x}", self.0)
    }
}

/// The `N` bytes at `at`, if they arrived.
pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    let end = at.checked_add(N)?;
    bytes.get(at..end)?.try_into().ok()
}

/// The big-endian 16-bit number at `at`, if it arrived.
pub(super) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

/// The big-endian 32-bit number at `at`, if it arrived.
pub(super) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_be_bytes)
}

/// The big-endian 64-bit number at `at`, if it arrived.
pub(super) fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_be_bytes)
}

/// The tag, which every information unit except login over RDMA/CM has at offset 8.
pub(super) fn tag(bytes: &[u8]) -> Option<Tag> {
    array(bytes, 8).map(Tag::from_bytes)
}

/// Copies `from` to `at` of `out`; does nothing if it does not fit, which callers exclude by their length check.
pub(super) fn put(out: &mut [u8], at: usize, from: &[u8]) {
    if let Some(to) = at
        .checked_add(from.len())
        .and_then(|end| out.get_mut(at..end))
    {
        to.copy_from_slice(from);
    }
}
