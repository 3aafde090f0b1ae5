//! The connection manager's private data (InfiniBand architecture, annex A12: support for iSCSI extensions for RDMA).

/// Bytes of the private data: one of flags, three reserved.
const SIZE: usize = 4;

/// The initiator has no zero-based virtual addresses; the target uses none.
const NO_ZERO_BASED: u8 = 0x80;
/// The initiator does not want its keys invalidated; the target does not invalidate them.
const NO_INVALIDATION: u8 = 0x40;

/// What an initiator says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Initiator {
    /// Whether SENDs may invalidate the keys that it offers.
    pub takes_invalidation: bool,
}

impl Initiator {
    /// Reads the private data of a connect request.
    ///
    /// Peers without any, and connection managers that pad with zeros, look like an initiator that takes everything. None that
    /// really does is known: Linux says 0x80 (0xc0 with always_register=N), libiscsi 0xc0. So no flag at all counts as
    /// nothing said, and then no key is invalidated, which is always right.
    pub fn decode(private_data: &[u8]) -> Self {
        let flags = private_data.first().copied().unwrap_or(0);
        Self {
            takes_invalidation: flags & NO_ZERO_BASED != 0 && flags & NO_INVALIDATION == 0,
        }
    }
}

/// The private data of our answer: virtual addresses are always real ones, and `invalidates` says whether SENDs will take
/// keys away. Linux goes down when that happens unannounced.
pub fn answer(invalidates: bool) -> [u8; SIZE] {
    let invalidation = if invalidates { 0 } else { NO_INVALIDATION };
    [NO_ZERO_BASED | invalidation, 0, 0, 0]
}
