//! Commands, as tests and benchmarks state them, and what came of them.

use pagecast_rdma::fabric::RemoteBuffer;

use crate::codec::Response;
use crate::memory::{Buffer, Piece};

/// A SCSI command.
#[derive(Clone, Debug)]
pub struct Command {
    /// The logical unit: see [`crate::scsi::lun`].
    pub lun: [u8; 8],
    /// The CDB. What is beyond 16 bytes goes into the additional CDB.
    pub cdb: Vec<u8>,
    /// The task attribute: 0 simple, 1 head of queue, 2 ordered, 4 ACA.
    pub attribute: u8,
    /// The data.
    pub data: Data,
}

/// The data of a command.
#[derive(Clone, Debug)]
pub enum Data {
    /// None.
    None,
    /// From the target.
    In(Vec<Piece>, Format),
    /// To the target.
    Out(Vec<Piece>, Format),
    /// To the target, in the command's own information unit.
    Immediate(Vec<u8>),
}

/// How data that is not immediate is described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One piece.
    Direct,
    /// Up to 255 pieces in the information unit.
    Indirect,
    /// A table in our memory; this many of its entries in the information unit as well.
    External(u8),
}

impl Command {
    /// A simple command to `lun`.
    pub fn new(lun: u16, cdb: Vec<u8>, data: Data) -> Self {
        Self {
            lun: crate::scsi::lun(lun),
            cdb,
            attribute: 0,
            data,
        }
    }
}

/// A task management request.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    /// The logical unit.
    pub lun: [u8; 8],
    /// The function code: 1 abort task, 2 abort task set, 4 clear task set, 8 logical unit reset, 0x40 clear ACA.
    pub function: u8,
    /// Which command to abort.
    pub tag: u64,
}

/// What came of a command or a task management request.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The response.
    pub response: Response,
    /// Where the data of a command with data in is; not moved, so that it may be compared in place.
    pub pieces: Vec<Piece>,
}

impl Reply {
    /// SCSI status.
    pub fn status(&self) -> u8 {
        self.response.status
    }

    /// Whether the status is GOOD and there was no residual.
    pub fn is_good(&self) -> bool {
        self.response.status == 0
            && self.response.residual_out == 0
            && self.response.residual_in == 0
    }

    /// Sense key, additional sense code and qualifier, of fixed or descriptor format sense data.
    pub fn sense(&self) -> Option<(u8, u8, u8)> {
        crate::scsi::sense(&self.response.sense)
    }

    /// Copies out the data in that arrived: all that was offered, less the residual.
    pub fn data(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for piece in &self.pieces {
            let length = piece.remote.length as usize;
            // A piece that lies about its length has no data of its own.
            bytes.extend(piece.buffer.read(piece.offset, length).unwrap_or_default());
        }
        let unused = usize::try_from(self.response.residual_in.max(0)).unwrap_or(0);
        bytes.truncate(bytes.len().saturating_sub(unused));
        bytes
    }
}

/// A command that waits for its reply: keeps alive what the target may still access.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) tag: u64,
    pub(crate) data_in: bool,
    pub(crate) pieces: Vec<Piece>,
    pub(crate) _table: Option<Buffer>,
}

impl Pending {
    pub(crate) fn reply(self, response: Response) -> Reply {
        Reply {
            response,
            pieces: if self.data_in {
                self.pieces
            } else {
                Vec::new()
            },
        }
    }
}

pub(crate) fn remotes(pieces: &[Piece]) -> Vec<RemoteBuffer> {
    pieces.iter().map(|piece| piece.remote).collect()
}
