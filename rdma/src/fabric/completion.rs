//! Completions and the queues that they come from.

use std::fmt::{self, Debug};
use std::os::fd::BorrowedFd;

use super::{FabricError, WorkId};

/// Where finished work is reported. Shared by the queue pairs of one shard on one adapter; polled by that shard alone.
pub trait CompletionQueue: Send + Sync + Debug {
    /// Takes up to `out.len()` completions, oldest first, and returns how many.
    fn poll(&self, out: &mut [Completion]) -> Result<usize, FabricError>;

    /// Asks for [`event_fd`](Self::event_fd) to become readable at the next completion. Poll once more after arming: what
    /// came before is not announced.
    fn arm(&self) -> Result<(), FabricError>;

    /// Takes the announcements that made the descriptor readable.
    fn acknowledge(&self) -> Result<(), FabricError>;

    /// Readable after a completion came to an armed queue.
    fn event_fd(&self) -> BorrowedFd<'_>;

    /// How many completions it can hold.
    fn capacity(&self) -> u32;

    /// The provider's own object, so that `create_queue_pair` can check that the queue is its own.
    fn as_any(&self) -> &dyn std::any::Any;
}

/// One finished work request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The identifier it was posted with.
    pub id: WorkId,
    /// How it ended. Unless it is success, nothing but `id` and `queue_pair` has a meaning.
    pub status: CompletionStatus,
    /// Bytes that arrived, for receives.
    pub byte_len: u32,
    /// The queue pair's number.
    pub queue_pair: u32,
    /// The key of ours that the peer's SEND has invalidated, for receives.
    pub invalidated: Option<u32>,
}

impl Default for Completion {
    fn default() -> Self {
        Self {
            id: WorkId(0),
            status: CompletionStatus::SUCCESS,
            byte_len: 0,
            queue_pair: 0,
            invalidated: None,
        }
    }
}

/// `enum ibv_wc_status`, open ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CompletionStatus(pub u32);

impl CompletionStatus {
    /// IBV_WC_SUCCESS
    pub const SUCCESS: Self = Self(0);
    /// IBV_WC_LOC_LEN_ERR
    pub const LOCAL_LENGTH: Self = Self(1);
    /// IBV_WC_LOC_PROT_ERR
    pub const LOCAL_PROTECTION: Self = Self(4);
    /// IBV_WC_WR_FLUSH_ERR
    pub const FLUSHED: Self = Self(5);
    /// IBV_WC_REM_INV_REQ_ERR
    pub const REMOTE_INVALID_REQUEST: Self = Self(9);
    /// IBV_WC_REM_ACCESS_ERR
    pub const REMOTE_ACCESS: Self = Self(10);
    /// IBV_WC_REM_OP_ERR
    pub const REMOTE_OPERATION: Self = Self(11);
    /// IBV_WC_RETRY_EXC_ERR
    pub const RETRY_EXCEEDED: Self = Self(12);
    /// IBV_WC_RNR_RETRY_EXC_ERR
    pub const RNR_RETRY_EXCEEDED: Self = Self(13);

    /// Whether the work was done.
    pub fn is_success(self) -> bool {
        self == Self::SUCCESS
    }
}

impl Debug for CompletionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Self::SUCCESS => "success",
            Self::LOCAL_LENGTH => "local length error",
            Self::LOCAL_PROTECTION => "local protection error",
            Self::FLUSHED => "flushed",
            Self::REMOTE_INVALID_REQUEST => "remote invalid request",
            Self::REMOTE_ACCESS => "remote access error",
            Self::REMOTE_OPERATION => "remote operation error",
            Self::RETRY_EXCEEDED => "retries exceeded",
            Self::RNR_RETRY_EXCEEDED => "receiver-not-ready retries exceeded",
            Self(other) => return write!(f, "work completion status {other}"),
        };
        f.write_str(name)
    }
}

impl fmt::Display for CompletionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Debug::fmt(self, f)
    }
}
