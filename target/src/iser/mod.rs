//! iSER (RFC 7145) without I/O: what is around an iSCSI PDU when a queue pair carries it.
//!
//! - [`header`]: the 28 bytes in front of every PDU, with the memory that the initiator offers.
//! - [`message`]: a whole message, cut into its parts and bounded by what arrived.
//! - [`negotiation`]: what both sides say of themselves in the connection manager's private data.
//!
//! # Facts about initiators
//!
//! - Linux (ib_iser) and libiscsi advance the write base offset past the unsolicited data: it names the first byte that the
//!   target has to fetch. Neither sends TaggedBufferForSolicitedDataOnly (RFC 7145 6.9), with which an initiator could say
//!   so, and kernel targets take the offset as it comes too. So do we.
//! - Linux sets WSV only if there is something left to fetch. libiscsi sets it for every write.
//! - Neither sends Hello, and neither needs it: it is for iWARP (RFC 7145 5.1).
//! - Neither posts a receive for what it does not expect: Linux has one buffer posted before the full feature phase (and in a
//!   discovery session for ever), libiscsi posts its first one when the connection is established.
//! - Linux takes at most 128 bytes of data behind the headers in the full feature phase.
//!
//! # Panics
//!
//! Nothing here panics, whatever the bytes are.

pub mod header;
pub mod message;
pub mod negotiation;

#[cfg(test)]
mod tests;
