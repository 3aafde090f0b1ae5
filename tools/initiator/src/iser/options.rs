//! How to connect.

use super::wire;
use crate::iscsi::LoginOptions;

/// Data segment of a login response (RFC 7143 13.12).
pub(super) const LOGIN_DATA: usize = 8192;

/// How to connect.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who, where, with which keys.
    pub login: LoginOptions,
    /// Private data of the connect request.
    pub private_data: Vec<u8>,
    /// Receives posted in the full feature phase.
    pub receives: u32,
    /// Data segment that fits into each of them.
    pub receive_data: usize,
    /// Bytes of each send buffer.
    pub send_size: usize,
    /// Whether the target's own NOP-Ins are answered.
    pub answer_pings: bool,
    /// Whether messages that this side cannot place are left alone, for tests that ask for them.
    pub tolerant: bool,
    /// No login: what arrives is an [`Event::Message`](super::Event::Message), and everything is posted from the start.
    pub raw: bool,
}

impl Options {
    /// As Linux does it, but with the flags of libiscsi: the keys of our buffers last longer than one command.
    pub fn new(login: LoginOptions) -> Self {
        Self {
            login,
            private_data: wire::LIBISCSI.to_vec(),
            receives: 128,
            receive_data: 128,
            // Room for what is too long for the target, so that it can be sent.
            send_size: 16_384,
            answer_pings: true,
            tolerant: false,
            raw: false,
        }
    }

    /// The same without a login: bytes in, bytes out.
    pub fn raw() -> Self {
        Self {
            raw: true,
            receive_data: LOGIN_DATA,
            receives: 16,
            ..Self::new(LoginOptions::discovery("iqn.2026-11.test:raw"))
        }
    }
}
