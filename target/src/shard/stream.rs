//! The socket of an iSCSI connection over TCP: a stream of bytes in, [`input`], that is cut into PDUs, and PDUs out,
//! [`output`], with what they carry (RFC 7143 section 4.2).
//!
//! Neither side ever waits. What PDUs mean is none of its business, nor is time.

pub mod input;
pub mod output;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use thiserror::Error;

pub use input::{Frame, Input};
pub use output::{Output, Payload, Sent};

use super::task::TaskId;

/// A socket with its two buffers.
#[derive(Debug)]
pub struct Stream {
    socket: OwnedFd,
    /// What arrived.
    pub input: Input,
    /// What is to be sent.
    pub output: Output,
    /// What its shard has to remember.
    pub(super) books: Books,
}

/// What a shard has to remember of a connection's socket.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// There may be something to read.
    pub(super) readable: bool,
    /// It is in the shard's list of sockets to read from.
    pub(super) to_read: bool,
    /// It is in the shard's list of sockets to send to.
    pub(super) to_send: bool,
    /// Since when the socket takes nothing, though there is something to send.
    pub(super) blocked: Option<Instant>,
    /// The command that is being taken in, while its data is still in the input.
    pub(super) immediate: Option<(TaskId, Frame)>,
    /// Bytes of unsolicited data that are kept for tasks which have no memory for it yet.
    pub(super) held: usize,
    /// Sequences of Data-Out PDUs that have begun, or were asked for.
    pub(super) sequences: usize,
    /// When the last of them was asked for, or got data.
    pub(super) progress: Option<Instant>,
    /// The Target Transfer Tag of the next R2T.
    pub(super) next_ttt: u32,
}

impl Stream {
    /// Takes over a connected socket that does not block.
    pub fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            input: Input::default(),
            output: Output::default(),
            books: Books::default(),
        }
    }

    /// Reads once, as much as there is and the input has room for.
    pub fn fill(&mut self) -> io::Result<Arrival> {
        self.input.fill(self.socket.as_fd())
    }

    /// Sends as much as the socket takes.
    pub fn flush(&mut self) -> io::Result<Flow> {
        self.output.flush(self.socket.as_fd())
    }

    /// Switches digests: for all PDUs that are sent or cut from now on.
    pub fn set_digests(&mut self, header: bool, data: bool) {
        let digests = Digests { header, data };
        self.input.digests = digests;
        self.output.digests = digests;
    }

    /// Says that nothing more is sent. What was sent arrives.
    pub fn finish(&self) {
        // It fails if the peer was first.
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Write);
    }

    /// Ends the connection for both sides, whoever else still has the socket.
    pub fn shut_down(&self) {
        // It fails if the peer was first.
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Which digests there are (RFC 7143 section 13.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digests {
    /// After the header.
    pub header: bool,
    /// After the data segment, if there is one.
    pub data: bool,
}

/// What a read came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Bytes came, and there may be more.
    Bytes(usize),
    /// There is nothing more now.
    Nothing,
    /// The buffer is full of PDUs that nobody has taken yet.
    Full,
    /// The peer has closed its side.
    End,
}

/// What a flush came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// All is with the kernel.
    Done,
    /// The socket takes no more now; some bytes may have gone.
    Blocked,
}

/// Bytes that cannot be a PDU. Where the next one starts is not known then, so the connection has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum StreamError {
    /// More data than we said that we take.
    #[error("a data segment of {declared} bytes, where {limit} are allowed")]
    TooLong {
        /// What the header says.
        declared: usize,
        /// What it may say.
        limit: usize,
    },
    /// The header does not have the digest that follows it.
    #[error("wrong header digest")]
    HeaderDigest,
    /// The data segment does not have the digest that follows it.
    #[error("wrong data digest")]
    DataDigest,
}

#[cfg(test)]
mod tests;
