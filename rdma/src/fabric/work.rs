//! Work requests.

use super::PostError;

/// The identifier that comes back with a completion. Its meaning belongs to whoever posts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WorkId(pub u64);

/// What a registration allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Access {
    /// The adapter may write here on our behalf (receives, RDMA READ responses).
    pub local_write: bool,
    /// The peer may read with the remote key.
    pub remote_read: bool,
    /// The peer may write with the remote key. Needs `local_write`.
    pub remote_write: bool,
    /// Pages are faulted in by the adapter instead of being pinned.
    pub on_demand: bool,
}

impl Access {
    /// A source of sends and RDMA WRITEs, nothing else.
    pub const LOCAL_READ: Self = Self {
        local_write: false,
        remote_read: false,
        remote_write: false,
        on_demand: false,
    };
    /// A target of receives and RDMA READs as well.
    pub const LOCAL_WRITE: Self = Self {
        local_write: true,
        ..Self::LOCAL_READ
    };
}

/// A piece of registered local memory, as a work request names it. Made by [`Region`](crate::region::Region) alone; the adapter
/// checks key and bounds again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sge {
    pub(crate) address: u64,
    pub(crate) length: u32,
    pub(crate) key: u32,
}

impl Sge {
    /// Length in bytes.
    pub fn len(&self) -> u32 {
        self.length
    }

    /// Whether it names no bytes.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The first `len` bytes, and the rest. `None` if there are fewer.
    pub fn split_at(self, len: u32) -> Option<(Self, Self)> {
        let rest = self.length.checked_sub(len)?;
        Some((
            Self {
                length: len,
                ..self
            },
            Self {
                address: self.address + u64::from(len),
                length: rest,
                ..self
            },
        ))
    }
}

/// A piece of the peer's memory, as the peer described it. Nothing about it is to be trusted; the peer's adapter checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteBuffer {
    /// Virtual address, in the peer's words.
    pub address: u64,
    /// Remote key.
    pub key: u32,
    /// Length in bytes.
    pub length: u32,
}

/// What a work request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Consumes a receive of the peer.
    Send,
    /// The same, and invalidates one of the peer's keys.
    SendWithInvalidate {
        /// The remote key.
        key: u32,
    },
    /// Writes the gathered bytes to the peer.
    RdmaWrite {
        /// Where to.
        address: u64,
        /// The peer's key for it.
        key: u32,
    },
    /// Reads from the peer into the listed local memory.
    RdmaRead {
        /// Where from.
        address: u64,
        /// The peer's key for it.
        key: u32,
    },
}

/// One work request of a [`Chain`].
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Comes back with the completion.
    pub id: WorkId,
    /// What to do.
    pub operation: Operation,
    /// Whether success is reported; failure always is.
    pub signaled: bool,
    /// First of its entries in [`Chain::sges`].
    first_sge: u32,
    /// How many.
    sge_count: u32,
}

/// Work requests that go to the adapter together: one doorbell, executed in order. Reused, so that building one allocates
/// nothing once it has grown.
#[derive(Debug, Default)]
pub struct Chain {
    requests: Vec<Request>,
    sges: Vec<Sge>,
}

impl Chain {
    /// An empty chain with room for `requests` requests of a few entries each.
    pub fn with_capacity(requests: usize) -> Self {
        Self {
            requests: Vec::with_capacity(requests),
            sges: Vec::with_capacity(requests * 4),
        }
    }

    /// Forgets everything, keeps the room.
    pub fn clear(&mut self) {
        self.requests.clear();
        self.sges.clear();
    }

    /// Appends a request over `sges`.
    pub fn push(
        &mut self,
        id: WorkId,
        operation: Operation,
        signaled: bool,
        sges: impl IntoIterator<Item = Sge>,
    ) {
        let first = self.sges.len();
        self.sges.extend(sges);
        self.requests.push(Request {
            id,
            operation,
            signaled,
            first_sge: first as u32,
            sge_count: (self.sges.len() - first) as u32,
        });
    }

    /// Asks for a completion of the last request, under `id`.
    pub fn signal_last(&mut self, id: WorkId) {
        if let Some(last) = self.requests.last_mut() {
            last.signaled = true;
            last.id = id;
        }
    }

    /// The requests, in order.
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }

    /// The gather or scatter list of one of this chain's requests.
    pub fn sges(&self, request: &Request) -> &[Sge] {
        let first = request.first_sge as usize;
        self.sges
            .get(first..first + request.sge_count as usize)
            .unwrap_or(&[])
    }

    /// How many requests there are.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether there is nothing to post.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Checks the limits that every provider has.
    pub fn check(&self, max_sge: u32) -> Result<(), PostError> {
        if self.requests.is_empty() {
            return Err(PostError::Invalid("empty chain"));
        }
        if self.requests.iter().any(|r| r.sge_count > max_sge) {
            return Err(PostError::Invalid("too many gather entries"));
        }
        Ok(())
    }
}
