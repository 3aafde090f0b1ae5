//! iSCSI (RFC 7143) as an initiator speaks it, without I/O: PDUs, the login, numbers and tags. [`crate::iser`] carries it over
//! queue pairs; [`stream`] frames it for a TCP stream.
//!
//! It is as strict as RFC 7143 lets an initiator be: numbers that jump, reserved values, tags that nobody gave out are
//! errors. Requests are [`Pdu`]s with public bytes, so that a test may break them before they are sent.

pub mod chap;
pub mod client;
pub mod login;
pub mod pdu;
pub mod request;
pub mod response;
pub mod stream;
pub mod text;

pub use client::{Client, Kind};
pub use login::{Chap, Login, LoginOptions, Negotiated, Step};
pub use pdu::Pdu;
pub use response::{Incoming, ProtocolError, ScsiResponse};

#[cfg(test)]
mod tests;
