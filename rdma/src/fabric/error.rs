//! What can go wrong between us and a provider.

use std::io;

use thiserror::Error;

/// A request to the provider failed.
#[derive(Debug, Error)]
pub enum FabricError {
    /// A verbs or RDMA/CM call failed.
    #[error("{call}: {source}")]
    Call {
        /// The call, in the provider's words.
        call: &'static str,
        /// Its errno.
        source: io::Error,
    },
    /// There is no RDMA on this machine, or none that we may use.
    #[error("no RDMA device: {0}")]
    NoDevice(String),
    /// The connection or listener is not known (any more).
    #[error("unknown connection")]
    UnknownConnection,
    /// The request does not fit the object's state or limits.
    #[error("{0}")]
    Invalid(&'static str),
}

impl FabricError {
    /// The call `call` failed with the calling thread's errno.
    pub fn last_os_error(call: &'static str) -> Self {
        Self::Call {
            call,
            source: io::Error::last_os_error(),
        }
    }

    /// The call `call` returned `errno`.
    pub fn from_errno(call: &'static str, errno: i32) -> Self {
        Self::Call {
            call,
            source: io::Error::from_raw_os_error(errno),
        }
    }

    /// Whether the cause is too little lockable memory (RLIMIT_MEMLOCK) or memory at all.
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self, Self::Call { source, .. }
            if matches!(source.raw_os_error(), Some(libc::ENOMEM | libc::EAGAIN)))
    }
}

/// A work request was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PostError {
    /// The queue is full: wait for completions.
    #[error("work queue full")]
    Full,
    /// The chain breaks a limit of the queue pair (too many gather entries, empty chain, ...).
    #[error("work request not allowed: {0}")]
    Invalid(&'static str),
    /// The provider refused (errno); take the connection down.
    #[error("post failed, errno {0}")]
    Failed(i32),
}
