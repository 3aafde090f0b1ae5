//! Bytes in, PDUs out.

use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::net::RecvFlags;

use super::{Arrival, Digests, StreamError};
use crate::iscsi::digest::{DIGEST, Digest};
use crate::iscsi::pdu::{BHS_LENGTH, Lengths, Pdu};

/// Room that is made for bytes to come: many commands, or a usual PDU of data.
const ROOM: usize = 64 * 1024;

/// What we take before the parameters are known (MaxRecvDataSegmentLength, RFC 7143 section 13.12).
const LIMIT_INITIAL: usize = 8192;

/// The bytes of a peer that have arrived.
///
/// There is no buffer while there are no bytes, and no larger one than the PDU that is arriving needs; the limit bounds
/// that.
#[derive(Debug)]
pub struct Input {
    pub(super) digests: Digests,
    limit: usize,
    bytes: Vec<u8>,
    /// Before it is what was cut already.
    start: usize,
    /// From `start` on, the header was found to be right.
    header_checked: bool,
}

impl Default for Input {
    fn default() -> Self {
        Self {
            digests: Digests::default(),
            limit: LIMIT_INITIAL,
            bytes: Vec::new(),
            start: 0,
            header_checked: false,
        }
    }
}

/// Where in the input a PDU is. Valid until the input is filled again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    header: Range<usize>,
    data: Range<usize>,
}

impl Input {
    /// Sets the longest data segment that is taken.
    pub fn set_limit(&mut self, data_segment: usize) {
        self.limit = data_segment;
    }

    /// Reads once from a socket.
    pub(super) fn fill(&mut self, socket: BorrowedFd<'_>) -> io::Result<Arrival> {
        self.make_room();
        if self.bytes.capacity() == self.bytes.len() {
            return Ok(Arrival::Full);
        }
        let room = rustix::buffer::spare_capacity(&mut self.bytes);
        match rustix::net::recv(socket, room, RecvFlags::DONTWAIT) {
            Ok((0, _)) => Ok(Arrival::End),
            Ok((received, _)) => Ok(Arrival::Bytes(received)),
            Err(Errno::AGAIN) => {
                self.release();
                Ok(Arrival::Nothing)
            }
            Err(Errno::INTR) => Ok(Arrival::Bytes(0)),
            Err(error) => Err(error.into()),
        }
    }

    /// The next PDU, if all of it is there.
    pub fn cut(&mut self) -> Result<Option<Frame>, StreamError> {
        let Some(lengths) = self.check_header()? else {
            return Ok(None);
        };
        let data = self.start + self.header_length(lengths);
        let digest = data + lengths.padded_data();
        let end = self.start + self.length(lengths);
        if self.bytes.len() < end {
            return Ok(None);
        }
        // The digest covers the padding (section 11.2.3 and 13.1).
        if end > digest && Digest::of(&self.bytes[data..digest]) != self.bytes[digest..end] {
            return Err(StreamError::DataDigest);
        }
        let header = self.start..self.start + BHS_LENGTH + lengths.ahs;
        self.start = end;
        self.header_checked = false;
        Ok(Some(Frame {
            header,
            data: data..data + lengths.data,
        }))
    }

    /// The bytes of a PDU that [`cut`](Self::cut) found.
    pub fn pdu(&self, frame: &Frame) -> Option<Pdu<'_>> {
        let (bhs, ahs) = self
            .bytes
            .get(frame.header.clone())?
            .split_first_chunk::<BHS_LENGTH>()?;
        let data = self.bytes.get(frame.data.clone())?;
        Some(Pdu { bhs, ahs, data })
    }

    /// Forgets what has arrived.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.start = 0;
        self.header_checked = false;
    }

    /// Bytes that have arrived and were not cut yet.
    pub fn pending(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// What the PDU at `start` says of its lengths, once all of its header is there. Nothing that it says is believed before
    /// its digest, if there is one, was found to be right.
    fn check_header(&mut self) -> Result<Option<Lengths>, StreamError> {
        let Some(lengths) = self.lengths() else {
            return Ok(None);
        };
        if self.header_checked {
            return Ok(Some(lengths));
        }
        // No more than 1020 bytes that are not vouched for, thanks to the width of the field.
        let length = self.header_length(lengths);
        let Some(header) = self.bytes.get(self.start..self.start + length) else {
            return Ok(None);
        };
        if self.digests.header {
            let (header, digest) = header.split_at(length - DIGEST);
            if Digest::of(header) != digest {
                return Err(StreamError::HeaderDigest);
            }
        }
        if lengths.data > self.limit {
            return Err(StreamError::TooLong {
                declared: lengths.data,
                limit: self.limit,
            });
        }
        self.header_checked = true;
        Ok(Some(lengths))
    }

    fn lengths(&self) -> Option<Lengths> {
        let bytes = self.bytes.get(self.start..)?;
        bytes.get(..BHS_LENGTH)?.first_chunk().map(Lengths::of)
    }

    /// The header with its digest.
    fn header_length(&self, lengths: Lengths) -> usize {
        let digest = if self.digests.header { DIGEST } else { 0 };
        BHS_LENGTH + lengths.ahs + digest
    }

    /// All of a PDU as it is on the wire.
    fn length(&self, lengths: Lengths) -> usize {
        let digest = self.digests.data && lengths.data > 0;
        self.header_length(lengths) + lengths.padded_data() + if digest { DIGEST } else { 0 }
    }

    /// Makes the buffer large enough for the PDU at `start`, and moves that to the front if it does not fit where it is.
    fn make_room(&mut self) {
        let pending = self.pending();
        let whole = match self.lengths() {
            Some(lengths) if self.header_checked => self.length(lengths),
            Some(lengths) => self.header_length(lengths),
            None => BHS_LENGTH,
        };
        if pending == 0 {
            self.bytes.clear();
            self.start = 0;
        } else if self.start > 0 && self.bytes.capacity() - self.start < whole.max(ROOM / 2) {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        let capacity = self.start + whole.max(if self.start == 0 { ROOM } else { 0 });
        if self.bytes.capacity() < capacity {
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
    }

    /// Gives back what a silent connection does not need.
    fn release(&mut self) {
        if self.pending() == 0 {
            self.bytes = Vec::new();
            self.start = 0;
        }
    }
}

#[cfg(test)]
impl Input {
    /// Bytes that it could hold now.
    pub(super) fn room(&self) -> usize {
        self.bytes.capacity()
    }
}
