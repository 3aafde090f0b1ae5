//! iSCSI (RFC 7143) without I/O, for either datamover (RFC 5047): TCP or iSER.
//!
//! - [`pdu`]: what is on the wire. [`text`]: its key=value pairs.
//! - [`digest`]: what guards them on TCP.
//! - [`login`]: the login phase, with [`chap`] and the [`negotiation`] of [`parameters`]. [`directory`] is what it asks about targets
//!   and secrets.
//! - [`connection`]: one connection from its first PDU to its last; numbers, windows, and what PDUs mean.

pub mod chap;
pub mod connection;
pub mod digest;
pub mod directory;
pub mod login;
pub mod negotiation;
pub mod parameters;
pub mod pdu;
pub mod text;
