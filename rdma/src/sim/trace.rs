//! What happened, in order: the last few thousand steps, for whoever has to understand a failing seed.

use std::collections::VecDeque;
use std::fmt;

use super::faults::CmMessage;
use crate::fabric::{CompletionStatus, ConnectionId, Operation, WorkId};

/// One thing that a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceEntry {
    /// The step's number, from 1. One step may leave more than one entry.
    pub step: u64,
    /// What happened.
    pub event: TraceEvent,
}

/// What a [`TraceEntry`] tells. Without addresses, so that equal seeds leave equal traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceEvent {
    /// A work request was carried out (for a READ: arrived at the peer).
    Executed {
        /// Of which queue pair.
        queue_pair: u32,
        /// As posted.
        id: WorkId,
        /// What it was.
        kind: OperationKind,
        /// Bytes that it named.
        bytes: u64,
    },
    /// The data of a READ came back.
    ReadDone {
        /// Of which queue pair.
        queue_pair: u32,
        /// As posted.
        id: WorkId,
    },
    /// A work request ended in an error; its queue pair is in the error state now.
    WorkFailed {
        /// Of which queue pair.
        queue_pair: u32,
        /// As posted.
        id: WorkId,
        /// Why.
        status: CompletionStatus,
    },
    /// A SEND found no receive.
    NotReady {
        /// The sender.
        queue_pair: u32,
        /// Retries left (7 = for ever).
        left: u8,
    },
    /// A queue pair in the error state gave work back.
    Flushed {
        /// Which one.
        queue_pair: u32,
        /// Send requests.
        sends: u32,
        /// Receives.
        receives: u32,
    },
    /// A delayed queue pair moves again.
    DelayOver {
        /// Which one.
        queue_pair: u32,
    },
    /// A queue pair moved to the error state.
    QueuePairError {
        /// Which one.
        queue_pair: u32,
    },
    /// A completion queue overran.
    CompletionQueueOverrun {
        /// Its number, counted from zero over the whole net.
        queue: u64,
    },
    /// An address was resolved (or not, which the connection's owner is told).
    Resolved {
        /// Whose.
        connection: ConnectionId,
    },
    /// A message of the connection manager arrived, or was lost to a fault.
    Cm {
        /// Which message.
        message: CmMessage,
        /// Its sender.
        from: ConnectionId,
        /// Whether a fault swallowed it.
        lost: bool,
    },
    /// The connection manager gave up waiting for a message.
    CmTimeout {
        /// For whom.
        connection: ConnectionId,
    },
}

/// The kind of an [`Operation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationKind {
    /// SEND
    Send,
    /// SEND with invalidate
    SendWithInvalidate,
    /// RDMA WRITE
    RdmaWrite,
    /// RDMA READ
    RdmaRead,
}

impl From<Operation> for OperationKind {
    fn from(operation: Operation) -> Self {
        match operation {
            Operation::Send => Self::Send,
            Operation::SendWithInvalidate { .. } => Self::SendWithInvalidate,
            Operation::RdmaWrite { .. } => Self::RdmaWrite,
            Operation::RdmaRead { .. } => Self::RdmaRead,
        }
    }
}

impl fmt::Display for TraceEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>8} {:?}", self.step, self.event)
    }
}

/// Entries that are kept; the oldest go first.
const KEPT: usize = 8192;

/// The bounded log.
#[derive(Debug)]
pub(super) struct Trace(VecDeque<TraceEntry>);

impl Trace {
    pub(super) fn new() -> Self {
        Self(VecDeque::with_capacity(KEPT))
    }

    pub(super) fn push(&mut self, step: u64, event: TraceEvent) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(TraceEntry { step, event });
    }

    pub(super) fn to_vec(&self) -> Vec<TraceEntry> {
        self.0.iter().copied().collect()
    }
}
