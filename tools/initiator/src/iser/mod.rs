//! iSER (RFC 7145) as an initiator speaks it: [`crate::iscsi`] over queue pairs.
//!
//! Buffers are posted as Linux posts them: one for the response to each login request, all the others when the last one is
//! sent, and for a discovery session never more than that one. A target that sends more than it was asked for runs into
//! receiver-not-ready here as it would there.

mod command;
mod connection;
mod initiator;
mod options;
pub mod wire;

pub use command::{Command, Data, Reply};
pub use connection::{Event, State};
pub use initiator::{ConnectionHandle, IserInitiator};
pub use options::Options;
