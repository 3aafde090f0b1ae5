//! PDUs out.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use pagecast_backends::{Piece, send};
use pagecast_memory::Slice;
use rustix::io::Errno;
use rustix::pipe::{SpliceFlags, splice};

use super::{Digests, Flow};
use crate::iscsi::digest::{DIGEST, Digest, padding};
use crate::iscsi::pdu::{BHS_LENGTH, Lengths};

/// A header with its digest.
const HEADER: usize = BHS_LENGTH + DIGEST;

/// What a PDU carries. Its length is what the header says.
#[derive(Debug)]
pub enum Payload {
    /// Bytes.
    Bytes(Vec<u8>),
    /// Shared memory, which must stay as it is until the PDU was sent.
    Memory(Vec<Slice>),
    /// So many of the next bytes in a pipe. There is no digest of what nobody looks at, so none may be asked for.
    Pipe(Arc<OwnedFd>, usize),
}

/// Says that all up to here is with the kernel: whatever it was told when the PDU was queued.
pub type Sent = u64;

/// PDUs that are to be sent, in order.
#[derive(Debug, Default)]
pub struct Output {
    pub(super) digests: Digests,
    segments: VecDeque<Segment>,
    /// Bytes of the first segment that are gone, if it is one that is not made shorter itself.
    gone: usize,
    queued: usize,
    sent: Vec<Sent>,
}

#[derive(Debug)]
enum Segment {
    /// Header with digest, or padding with digest.
    Short {
        bytes: [u8; HEADER],
        length: u8,
    },
    Bytes(Vec<u8>),
    Memory(Slice),
    /// So many bytes of a pipe are left.
    Pipe(Arc<OwnedFd>, usize),
    /// No bytes: a mark that something is over.
    Mark(Sent),
}

impl Segment {
    /// What is left of it after `gone` bytes; nothing that could be sent with others if it is a pipe.
    fn piece(&self, gone: usize) -> Option<Piece<'_>> {
        match self {
            Self::Short { bytes, length } => Some(Piece::Bytes(&bytes[gone..usize::from(*length)])),
            Self::Bytes(bytes) => Some(Piece::Bytes(&bytes[gone..])),
            Self::Memory(slice) => Some(Piece::Memory(slice)),
            Self::Pipe(..) | Self::Mark(_) => None,
        }
    }

    fn length(&self) -> usize {
        match self {
            Self::Short { length, .. } => usize::from(*length),
            Self::Bytes(bytes) => bytes.len(),
            Self::Memory(slice) => slice.len(),
            Self::Pipe(_, left) => *left,
            Self::Mark(_) => 0,
        }
    }
}

impl Output {
    /// Queues a PDU that has no additional header. What the payload adds up to must be the DataSegmentLength in `header`, which
    /// is the reader's only way to the next PDU; `false`, and nothing is queued, if it does not.
    #[must_use]
    pub fn push(&mut self, header: &[u8; BHS_LENGTH], payload: Option<Payload>) -> bool {
        let lengths = lengths(header);
        let length = payload.as_ref().map_or(0, Payload::length);
        let no_digest = matches!(payload, Some(Payload::Pipe(..))) && self.digests.data;
        if lengths.data != length || lengths.ahs != 0 || no_digest {
            return false;
        }
        let mut digest = Digest::new();
        if self.digests.header {
            digest.update(header);
            self.push_short(&[header, &digest.value()]);
        } else {
            self.push_short(&[header]);
        }
        if length > 0 {
            self.push_payload(payload, length);
        }
        true
    }

    /// Queues a whole PDU as it was emitted: padded or not, without digests or additional headers.
    #[must_use]
    pub fn push_bytes(&mut self, pdu: &[u8]) -> bool {
        let Some((header, rest)) = pdu.split_first_chunk::<BHS_LENGTH>() else {
            return false;
        };
        let Some(data) = rest.get(..lengths(header).data) else {
            return false;
        };
        let payload = (!data.is_empty()).then(|| Payload::Bytes(data.to_vec()));
        self.push(header, payload)
    }

    /// Asks to be told when everything that is queued now is with the kernel.
    pub fn mark(&mut self, sent: Sent) {
        if self.segments.is_empty() {
            self.sent.push(sent);
        } else {
            self.segments.push_back(Segment::Mark(sent));
        }
    }

    /// Forgets what was not sent, marks included.
    pub fn clear(&mut self) {
        self.segments.clear();
        self.sent.clear();
        (self.gone, self.queued) = (0, 0);
    }

    /// Bytes that are queued.
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// Moves the marks that were reached to `into`.
    pub fn take_sent(&mut self, into: &mut Vec<Sent>) {
        into.append(&mut self.sent);
    }

    /// Sends as much as the socket takes.
    pub(super) fn flush(&mut self, socket: BorrowedFd<'_>) -> io::Result<Flow> {
        loop {
            self.pass_marks();
            let result = match self.segments.front() {
                None => return Ok(Flow::Done),
                Some(Segment::Pipe(pipe, left)) => {
                    let more = self.segments.iter().skip(1).any(|next| next.length() > 0);
                    let result = splice_out(pipe.as_fd(), socket, *left, more);
                    if let Ok(0) = result {
                        // It was to hold that much. What is missing cannot be made up for.
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    result
                }
                Some(_) => self.send(socket),
            };
            match result {
                Ok(bytes) => self.advance(bytes),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(Flow::Blocked),
                    io::ErrorKind::Interrupted => {}
                    _ => return Err(error),
                },
            }
        }
    }

    /// Sends what comes before the next pipe.
    fn send(&self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let is_pipe = |segment: &&Segment| matches!(segment, Segment::Pipe(..));
        let more = self.segments.iter().any(|segment| is_pipe(&segment));
        let mut gone = self.gone;
        let pieces = self
            .segments
            .iter()
            .take_while(|segment| !is_pipe(segment))
            .filter_map(|segment| segment.piece(std::mem::take(&mut gone)));
        send(socket, pieces, more)
    }

    /// Takes what is gone off the queue.
    fn advance(&mut self, mut bytes: usize) {
        self.queued -= bytes;
        while let Some(front) = self.segments.front_mut() {
            let left = front.length() - self.gone;
            if bytes < left {
                match front {
                    Segment::Pipe(_, left) => *left -= bytes,
                    Segment::Memory(slice) => {
                        if let Ok(rest) = slice.part(bytes..left) {
                            *slice = rest;
                        }
                    }
                    Segment::Short { .. } | Segment::Bytes(_) | Segment::Mark(_) => {
                        self.gone += bytes;
                    }
                }
                return;
            }
            bytes -= left;
            self.gone = 0;
            if let Some(Segment::Mark(sent)) = self.segments.pop_front() {
                self.sent.push(sent);
            }
        }
    }

    /// Marks at the front are reached.
    fn pass_marks(&mut self) {
        while let Some(Segment::Mark(sent)) = self.segments.front() {
            self.sent.push(*sent);
            self.segments.pop_front();
        }
    }

    fn push_payload(&mut self, payload: Option<Payload>, length: usize) {
        let mut digest = Digest::new();
        let zeros = &[0; 3][..padding(length)];
        match payload {
            None => {}
            Some(Payload::Bytes(bytes)) => {
                if self.digests.data {
                    digest.update(&bytes);
                }
                self.push_segment(Segment::Bytes(bytes));
            }
            Some(Payload::Memory(slices)) => {
                for slice in slices.into_iter().filter(|slice| !slice.is_empty()) {
                    if self.digests.data {
                        digest.update_slice(&slice);
                    }
                    self.push_segment(Segment::Memory(slice));
                }
            }
            Some(Payload::Pipe(pipe, length)) => self.push_segment(Segment::Pipe(pipe, length)),
        }
        if self.digests.data {
            digest.update(zeros);
            self.push_short(&[zeros, &digest.value()]);
        } else if !zeros.is_empty() {
            self.push_short(&[zeros]);
        }
    }

    fn push_short(&mut self, parts: &[&[u8]]) {
        let mut bytes = [0; HEADER];
        let mut length = 0;
        for part in parts {
            bytes[length..length + part.len()].copy_from_slice(part);
            length += part.len();
        }
        self.push_segment(Segment::Short {
            bytes,
            length: length as u8,
        });
    }

    fn push_segment(&mut self, segment: Segment) {
        self.queued += segment.length();
        self.segments.push_back(segment);
    }
}

impl Payload {
    fn length(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Memory(slices) => slices.iter().map(Slice::len).sum(),
            Self::Pipe(_, length) => *length,
        }
    }
}

fn lengths(header: &[u8; BHS_LENGTH]) -> Lengths {
    let &[a, b, c, d, e, f, g, h, ..] = header;
    Lengths::of(&[a, b, c, d, e, f, g, h])
}

fn splice_out(
    pipe: BorrowedFd<'_>,
    socket: BorrowedFd<'_>,
    length: usize,
    more: bool,
) -> io::Result<usize> {
    let mut flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
    flags.set(SpliceFlags::MORE, more);
    splice(pipe, None, socket, None, length, flags).map_err(Errno::into)
}
