//! What can go wrong for an initiator.

use pagecast_rdma::fabric::{FabricError, PostError};
use thiserror::Error;

use crate::channel::ChannelState;
use crate::codec::DecodeError;
use crate::iscsi::ProtocolError;
use crate::iser::State;

/// Why a call failed.
#[derive(Debug, Error)]
pub enum InitiatorError {
    /// The provider failed.
    #[error(transparent)]
    Fabric(#[from] FabricError),
    /// A work request was not taken.
    #[error(transparent)]
    Post(#[from] PostError),
    /// The target sent something that SRP does not allow.
    #[error("the target broke the protocol: {0}")]
    Protocol(#[from] DecodeError),
    /// The target sent something that iSCSI or iSER does not allow.
    #[error("the target broke the protocol: {0}")]
    Iscsi(#[from] ProtocolError),
    /// The controller sent something that NVMe does not allow.
    #[error("the controller broke the protocol: {0}")]
    Nvme(#[from] crate::nvme::ProtocolError),
    /// The host, or the controller, could not prove who it is.
    #[error("authentication: {0}")]
    Authentication(crate::nvme::auth::AuthError),
    /// The NVMe queue is not up (any more).
    #[error("the queue is not up: {0:?}")]
    QueueDown(crate::nvme::QueueState),
    /// A command that had to work did not.
    #[error("{what} ended with {status:?}")]
    CommandFailed {
        /// Which.
        what: &'static str,
        /// How it ended.
        status: crate::nvme::Status,
    },
    /// The connection is not up (any more).
    #[error("the connection is not up: {0:?}")]
    NotConnected(State),
    /// The channel is not logged in (any more).
    #[error("the channel is not up: {0:?}")]
    NotUp(ChannelState),
    /// Sending would exceed the request limit, or the receives that we have posted for answers.
    #[error("no credit")]
    NoCredit,
    /// Every send buffer is in use.
    #[error("no send buffer")]
    NoBuffer,
    /// The information unit is longer than the channel's send buffers.
    #[error("information unit of {0} bytes is too long")]
    TooLong(usize),
    /// The command cannot be put into an information unit.
    #[error("{0}")]
    Invalid(&'static str),
    /// What was waited for did not happen within the given number of turns.
    #[error("nothing came of {0} turns")]
    Stalled(u64),
}
