//! The seam between devices and what keeps their bytes.

use std::fmt::Debug;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};

use pagecast_memory::{Memory, Slice};
use thiserror::Error;

/// What keeps a device's bytes.
///
/// `execute` may block and may be called from any thread, several at a time. A backend that also has a `descriptor` is
/// one whose operations io_uring can execute on that descriptor, with the same meaning.
pub trait Backend: Send + Sync + Debug {
    /// What it is and can do. Constant while it is open.
    fn properties(&self) -> &Properties;

    /// Bytes that are there now; one quick system call at most. Fails when the store is gone.
    fn current_size(&self) -> Result<u64, BackendError>;

    /// Makes the store `size` bytes long: what is added reads as zeros, what is cut off is lost. It must be a multiple of 512.
    ///
    /// Whoever cuts first sees to it that nobody changes anything beyond `size` any more: a write that has begun would make
    /// the store longer again. [`BackendError::Unsupported`] where the size is somebody else's to say (block devices),
    /// [`BackendError::PastEnd`] if the store cannot become as large.
    fn set_size(&self, size: u64) -> Result<(), BackendError>;

    /// How much of its store it occupies; a few quick system calls at most. None if that is not known.
    fn usage(&self) -> Option<Usage> {
        None
    }

    /// Executes one operation to its end.
    fn execute(&self, operation: &Operation) -> Result<(), BackendError>;

    /// The descriptor on which io_uring may execute reads, writes and flushes.
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;

    /// What [`Backend::settle`] wants to know of the moment before an operation started on the descriptor.
    fn mark(&self) -> u64 {
        0
    }

    /// What to report for an operation that an engine executed on the descriptor, with what it came to there: the
    /// backend may know more, such as a failed write-back that the kernel told somebody else about.
    fn settle(
        &self,
        _operation: &Operation,
        _mark: u64,
        result: Result<(), BackendError>,
    ) -> Result<(), BackendError> {
        result
    }

    /// The page cache of the store as memory, if it can be had.
    fn page_cache(&self) -> Option<Arc<dyn PageCache>>;
}

/// A shared mapping of a store's page cache, from offset 0 on.
pub trait PageCache: Send + Sync + Debug {
    /// The mapping, which reaches at least as far as the store does now. Offsets in it are offsets in the store. One that was
    /// made before the store grew stays as it is, and valid.
    ///
    /// `writable` asks for a mapping that may be written through as well, which kernels before 6.2 want even for a
    /// registration that only reads. The writable mapping is never written by the CPU.
    fn memory(&self, writable: bool) -> Result<Arc<dyn Memory>, BackendError>;

    /// Brings a range into the page cache and reports what a read would: an I/O error is an error here and not a signal
    /// later. Blocks.
    fn populate(&self, offset: u64, length: u64) -> Result<(), BackendError>;
}

/// What a backend is and can do.
#[derive(Clone, Debug)]
pub struct Properties {
    /// Bytes, when it was opened.
    pub size: u64,
    /// Smallest unit that the store writes without reading first, in bytes (a power of two, at least 512).
    pub physical_block_size: u32,
    /// Opened without the right to write.
    pub read_only: bool,
    /// [`Backend::set_size`] works.
    pub can_resize: bool,
    /// [`Operation::Discard`] works.
    pub can_discard: bool,
    /// After a discard, the range reads as zeros.
    pub discard_zeroes: bool,
    /// Smallest range worth a discard, in bytes; 0 if unknown.
    pub discard_granularity: u32,
    /// The store spins.
    pub rotational: bool,
    /// What kind of store it is, for people: `file on ext4`, `block device`.
    pub description: String,
}

/// Room in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Bytes that are occupied now.
    pub used: u64,
    /// Bytes that could still be occupied, if that is known.
    pub available: Option<u64>,
}

/// One request to a backend. Buffers are filled or written in order; their lengths add up to the length of the range.
#[derive(Debug)]
pub enum Operation {
    /// Fill the buffers from `offset` on.
    Read {
        /// First byte.
        offset: u64,
        /// Where to.
        buffers: Vec<Slice>,
    },
    /// Write the buffers at `offset`.
    Write {
        /// First byte.
        offset: u64,
        /// Where from.
        buffers: Vec<Slice>,
        /// On stable storage before it is done (RWF_DSYNC).
        durable: bool,
    },
    /// Every write that was done before this was submitted is on stable storage when this is done (fdatasync).
    Flush,
    /// The range is not needed any more; it reads as zeros if [`Properties::discard_zeroes`].
    Discard {
        /// First byte.
        offset: u64,
        /// Bytes.
        length: u64,
    },
    /// The range reads as zeros. The store stays allocated where the backend can do that.
    WriteZeroes {
        /// First byte.
        offset: u64,
        /// Bytes.
        length: u64,
        /// On stable storage before it is done.
        durable: bool,
    },
    /// Move the range into a pipe, by reference to the page cache where the store allows that. It is all of the range or
    /// an error, after which the pipe holds anything and is of no more use.
    ///
    /// The pipe must be empty and have a slot for each page that the range touches: nobody waits for room in it.
    Splice {
        /// First byte.
        offset: u64,
        /// Bytes.
        length: u64,
        /// The end that is written to.
        pipe: Arc<OwnedFd>,
    },
    /// Start to bring the range into the cache. Advice: what goes wrong shows when somebody reads.
    Prefetch {
        /// First byte.
        offset: u64,
        /// Bytes.
        length: u64,
    },
    /// Find out which bytes of the range are stored and which are holes that read as zeros.
    Extents {
        /// First byte.
        offset: u64,
        /// Bytes.
        length: u64,
        /// Stop after so many extents.
        most: usize,
        /// The answer, when it is done: extents in order from `offset` on, without gaps, each unlike its neighbours.
        found: OnceLock<Vec<StoredExtent>>,
    },
}

/// Bytes that are all stored, or all in a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredExtent {
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// Whether they are stored.
    pub mapped: bool,
}

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BackendError {
    /// The store does not reach that far (any more).
    #[error("the backing store ends before the range")]
    PastEnd,
    /// The store has no room left (ENOSPC, EDQUOT).
    #[error("no space left in the backing store")]
    NoSpace,
    /// The medium failed in that range (EIO, EBADMSG, EUCLEAN, ...).
    #[error("the backing store reported a medium error (errno {0})")]
    Medium(i32),
    /// The store was opened for reading only, or was made so (EROFS, EPERM).
    #[error("the backing store is read-only")]
    ReadOnly,
    /// The backend cannot do that.
    #[error("not supported by the backing store")]
    Unsupported,
    /// There was no thread or memory for the operation. Nothing is wrong with the store, and the same may succeed later.
    #[error("no thread or memory for the operation just now")]
    Busy,
    /// The store is gone, or failed in another way (errno).
    #[error("the backing store failed (errno {0})")]
    Failed(i32),
}

/// Names a submitted operation; comes back in [`Done`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub u64);

/// A finished operation, with its buffers given back.
#[derive(Debug)]
pub struct Done {
    /// As submitted.
    pub token: Token,
    /// How it ended.
    pub result: Result<(), BackendError>,
    /// The operation itself, so that its buffers can be reused.
    pub operation: Operation,
}

/// Executes operations for one shard.
///
/// Dropping it waits for what is in flight: the kernel never keeps a buffer that was freed.
pub trait IoQueue: Send + Debug {
    /// Starts an operation. It ends in [`Done`], also when it fails at once.
    fn submit(&mut self, backend: &Arc<dyn Backend>, operation: Operation, token: Token);

    /// Makes the kernel see what was submitted since the last call: one system call for all, none if there is nothing.
    fn flush(&mut self);

    /// Takes what is done.
    fn poll(&mut self, done: &mut Vec<Done>);

    /// Operations in flight.
    fn in_flight(&self) -> usize;

    /// Readable when something is done.
    fn event_fd(&self) -> BorrowedFd<'_>;
}
