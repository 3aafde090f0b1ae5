//! Commands, as tests and benchmarks state them, and what came of them.

use pagecast_rdma::fabric::RemoteBuffer;

use super::codec::{Cqe, Sqe, Status, sgl};
use crate::memory::Piece;

/// A command: an entry without its identifier, and its data.
#[derive(Clone, Debug)]
pub struct Command {
    /// The submission queue entry; identifier and data pointer are set when it is sent.
    pub entry: Sqe,
    /// The data.
    pub data: Data,
}

/// The data of a command.
#[derive(Clone, Debug)]
pub enum Data {
    /// None.
    None,
    /// Memory of ours, whichever way the data go.
    Keyed {
        /// The memory.
        piece: Piece,
        /// Whether the response is to invalidate its key; the memory is of no use to the controller then.
        invalidate: bool,
    },
    /// In the command's own capsule.
    InCapsule(Vec<u8>),
    /// Whatever a test likes.
    Raw {
        /// The data pointer.
        pointer: [u8; 16],
        /// What follows the entry.
        capsule: Vec<u8>,
        /// Memory to keep alive, and to show in the reply.
        piece: Option<Piece>,
    },
}

impl Data {
    /// Memory whose key stays good.
    pub fn keyed(piece: Piece) -> Self {
        let invalidate = false;
        Self::Keyed { piece, invalidate }
    }

    /// Memory that is for this command alone.
    pub fn once(piece: Piece) -> Self {
        let invalidate = true;
        Self::Keyed { piece, invalidate }
    }
}

/// Which half of a fused operation a command is (NVMe base 2.0 figure 87).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fuse {
    /// None: a command of its own.
    Normal = 0,
    /// The first.
    First = 1,
    /// The second.
    Second = 2,
    /// A value that is not defined.
    Reserved = 3,
}

impl Command {
    /// A command without data.
    pub fn new(opcode: u8, nsid: u32) -> Self {
        Self {
            entry: Sqe::new(opcode, nsid),
            data: Data::None,
        }
    }

    /// With a dword set, by its number.
    pub fn dword(mut self, number: usize, value: u32) -> Self {
        self.entry.set_dword(number, value);
        self
    }

    /// With two dwords set, the lower one of this number.
    pub fn quad(self, number: usize, value: u64) -> Self {
        self.dword(number, value as u32)
            .dword(number + 1, (value >> 32) as u32)
    }

    /// With these data.
    pub fn with(mut self, data: Data) -> Self {
        self.data = data;
        self
    }

    /// As half of a fused operation.
    pub fn fused(mut self, fuse: Fuse) -> Self {
        self.entry.0[1] = self.entry.0[1] & !3 | fuse as u8;
        self
    }

    /// With forced unit access (bit 30 of dword 12 of commands that move blocks).
    pub fn force_unit_access(mut self) -> Self {
        self.entry.0[51] |= 0x40;
        self
    }

    /// The capsule under this identifier.
    pub(super) fn capsule(&self, cid: u16) -> Vec<u8> {
        let mut entry = self.entry;
        entry.set_cid(cid);
        let (pointer, data): (_, &[u8]) = match &self.data {
            Data::None => (sgl::none(), &[]),
            Data::Keyed { piece, invalidate } => (sgl::keyed(piece.remote, *invalidate), &[]),
            Data::InCapsule(bytes) => {
                let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                (sgl::in_capsule(0, length), bytes)
            }
            Data::Raw {
                pointer, capsule, ..
            } => (*pointer, capsule),
        };
        entry.set_data_pointer(pointer);
        let mut message = entry.0.to_vec();
        message.extend_from_slice(data);
        message
    }

    /// The memory that the controller may access while it works.
    pub(super) fn piece(&self) -> Option<&Piece> {
        match &self.data {
            Data::Keyed { piece, .. } => Some(piece),
            Data::Raw { piece, .. } => piece.as_ref(),
            Data::None | Data::InCapsule(_) => None,
        }
    }

    /// The key that the response is to invalidate.
    pub(super) fn key_to_invalidate(&self) -> Option<u32> {
        match &self.data {
            Data::Keyed {
                piece,
                invalidate: true,
            } => Some(piece.remote.key),
            Data::Raw { pointer, .. } if pointer[15] == sgl::KEYED_INVALIDATE => {
                let [.., a, b, c, d, _] = *pointer;
                Some(u32::from_le_bytes([a, b, c, d]))
            }
            _ => None,
        }
    }
}

/// What came of a command.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The completion.
    pub completion: Cqe,
    /// The key that the response has invalidated.
    pub invalidated: Option<u32>,
    /// The command's memory, if it had any.
    pub piece: Option<Piece>,
}

impl Reply {
    /// Whether it worked.
    pub fn is_success(&self) -> bool {
        self.completion.status.is_success()
    }

    /// How it ended.
    pub fn status(&self) -> Status {
        self.completion.status
    }

    /// Status code type and status code.
    pub fn code(&self) -> (u8, u8) {
        self.completion.status.code()
    }

    /// Dword 0.
    pub fn result(&self) -> u32 {
        self.completion.result as u32
    }

    /// Copies out the command's memory; nothing if it has none, or if a test lied about it.
    pub fn data(&self) -> Vec<u8> {
        let Some(piece) = &self.piece else {
            return Vec::new();
        };
        let RemoteBuffer { length, .. } = piece.remote;
        let bytes = piece.buffer.read(piece.offset, length as usize);
        bytes.unwrap_or_default()
    }
}
