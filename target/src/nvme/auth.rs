//! DH-HMAC-CHAP in-band authentication (NVMe base 2.0 section 8.13).
//!
//! One [`Exchange`] is one authentication transaction on one queue, without I/O: messages in, messages out, random bytes passed in.

use std::fmt;
use std::sync::Arc;

use pagecast_core::nvme::Status;

/// What a host has to prove to know, and what we prove to know if it asks.
#[derive(Debug)]
pub struct Credentials {}

/// One authentication transaction.
pub struct Exchange {}

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It goes on.
    Going,
    /// The host has proved who it is, and the exchange is over.
    Authenticated,
    /// It is over, and the host has not; the reason is for the log.
    Failed(&'static str),
}

impl Exchange {
    /// Nothing was said yet.
    pub fn new(_credentials: Arc<Credentials>, _subsystem: &str, _host: &str) -> Self {
        Self {}
    }

    /// Takes a message of the host's (Authentication Send), as long as its transfer length says. May compute for milliseconds.
    pub fn receive(
        &mut self,
        _message: &[u8],
        _entropy: &mut dyn FnMut(&mut [u8]),
    ) -> Result<(), Status> {
        Err(Status::INVALID_FIELD)
    }

    /// The message that is due (Authentication Receive), if one is and it has no more than `room` bytes.
    pub fn send(&mut self, _room: usize) -> Result<Vec<u8>, Status> {
        Err(Status::COMMAND_SEQUENCE_ERROR)
    }

    /// How it stands.
    pub fn progress(&self) -> Progress {
        Progress::Going
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exchange")
    }
}
