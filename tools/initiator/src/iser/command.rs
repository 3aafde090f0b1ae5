//! SCSI commands, and what comes of them and of other requests.

use crate::iscsi::text::{self, Pairs};
use crate::iscsi::{Incoming, ScsiResponse};
use crate::memory::Piece;

/// A SCSI command.
#[derive(Clone, Debug)]
pub struct Command {
    /// The logical unit: see [`crate::scsi::lun`].
    pub lun: [u8; 8],
    /// The CDB.
    pub cdb: Vec<u8>,
    /// Task attribute: 0 untagged, 1 simple, 2 ordered, 3 head of queue, 4 ACA.
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
    In(Piece),
    /// To the target.
    Out {
        /// All of it.
        piece: Piece,
        /// How much of it goes with the command.
        immediate: usize,
    },
}

impl Command {
    /// A simple command to `lun`.
    pub fn new(lun: u16, cdb: Vec<u8>, data: Data) -> Self {
        Self {
            lun: crate::scsi::lun(lun),
            cdb,
            attribute: 1,
            data,
        }
    }
}

/// What came of a request.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The response. A text is whole.
    pub incoming: Incoming,
    /// Where the data of a command with data-in is.
    pub piece: Option<Piece>,
}

impl Reply {
    /// The SCSI response, if it is one.
    pub fn response(&self) -> Option<&ScsiResponse> {
        match &self.incoming {
            Incoming::Response(response) => Some(response),
            _ => None,
        }
    }

    /// SCSI status; 0xff if the command did not complete at the target.
    pub fn status(&self) -> u8 {
        match self.response() {
            Some(response) if response.response == 0 => response.status,
            _ => 0xff,
        }
    }

    /// Whether the status is GOOD and there was no residual.
    pub fn is_good(&self) -> bool {
        self.status() == 0 && self.response().is_some_and(|r| r.residual == 0)
    }

    /// Sense key, additional sense code and qualifier, of fixed or descriptor format sense data.
    pub fn sense(&self) -> Option<(u8, u8, u8)> {
        crate::scsi::sense(&self.response()?.sense)
    }

    /// Copies out the data in that arrived: all that was offered, less the residual.
    pub fn data(&self) -> Vec<u8> {
        let Some(piece) = &self.piece else {
            return Vec::new();
        };
        let length = piece.remote.length as usize;
        let mut bytes = piece.buffer.read(piece.offset, length).unwrap_or_default();
        let residual = self.response().map_or(0, |response| response.residual);
        let unused = usize::try_from(residual.max(0)).unwrap_or(0);
        bytes.truncate(bytes.len().saturating_sub(unused));
        bytes
    }

    /// The pairs of a text response.
    pub fn text(&self) -> Option<Pairs> {
        match &self.incoming {
            Incoming::Text { data, .. } => text::decode(data).ok(),
            _ => None,
        }
    }

    /// The response code of task management or logout.
    pub fn code(&self) -> Option<u8> {
        match self.incoming {
            Incoming::Task { response, .. } | Incoming::Logout { response, .. } => Some(response),
            _ => None,
        }
    }
}
