//! The fabric seam: what a storage protocol needs of RDMA, and nothing else.
//!
//! A [`Fabric`] finds [`Adapter`]s (one device context and its protection domain) and opens
//! [`ConnectionManager`]s. A connection gets a [`QueuePair`] whose work completes on [`CompletionQueue`]s that the
//! shards poll. All of it is object safe, so that the rest of the program is written once for both providers.
//!
//! Nothing here blocks: requests of the connection manager are answered by [`CmEvent`]s, work requests by
//! [`Completion`]s. Both sources have a file descriptor to sleep on.

mod address;
mod cm;
mod completion;
mod error;
mod work;

use std::fmt::Debug;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

pub use address::{Gid, ListenAddress, PeerAddress, ServiceId};
pub use cm::{
    CmEvent, ConnectParams, ConnectRequest, ConnectionId, ConnectionManager, ListenerId,
    MAX_PRIVATE_DATA,
};
pub use completion::{Completion, CompletionQueue, CompletionStatus};
pub use error::{FabricError, PostError};
pub use work::{Access, Chain, Operation, RemoteBuffer, Request, Sge, WorkId};

use crate::region::Region;
use pagecast_memory::Memory;

/// A provider of RDMA.
pub trait Fabric: Send + Sync + Debug {
    /// The adapters that are there now. The same adapter is the same `Arc` in every call.
    fn adapters(&self) -> Result<Vec<Arc<dyn Adapter>>, FabricError>;

    /// Opens a connection manager: its own event channel, its own connections.
    fn connection_manager(&self) -> Result<Box<dyn ConnectionManager>, FabricError>;
}

/// One RDMA device, opened, with one protection domain for everything we do on it.
pub trait Adapter: Send + Sync + Debug {
    /// The device's name, such as `rxe0`.
    fn name(&self) -> &str;

    /// What it can do.
    fn capabilities(&self) -> &Capabilities;

    /// Registers `range` of `memory`. Slow (it faults in and pins every page): never call it on the I/O path.
    fn register(
        &self,
        memory: Arc<dyn Memory>,
        range: Range<usize>,
        access: Access,
    ) -> Result<Region, FabricError>;

    /// Creates a completion queue with room for `capacity` completions.
    fn completion_queue(&self, capacity: u32) -> Result<Arc<dyn CompletionQueue>, FabricError>;

    /// The next asynchronous event, if one has come. Never blocks.
    fn next_event(&self) -> Option<AdapterEvent>;

    /// Readable when [`next_event`](Self::next_event) has something.
    fn event_fd(&self) -> BorrowedFd<'_>;
}

/// What an adapter can do (`ibv_query_device`, `ibv_query_port`).
#[derive(Clone, Debug)]
pub struct Capabilities {
    /// Node GUID, in host order.
    pub node_guid: u64,
    /// Work requests that a queue may hold (`max_qp_wr`).
    pub max_work_requests: u32,
    /// Scatter/gather entries of one work request (`max_sge`).
    pub max_sge: u32,
    /// Completions that a completion queue may hold (`max_cqe`).
    pub max_completions: u32,
    /// RDMA READs that a peer may have in flight towards us (`max_qp_rd_atom`).
    pub max_responder_resources: u8,
    /// RDMA READs that we may have in flight towards a peer (`max_qp_init_rd_atom`).
    pub max_initiator_depth: u8,
    /// Bytes of a single registration (`max_mr_size`).
    pub max_region: u64,
    /// Whether the adapter claims on-demand paging for reliable connections. A claim, not a fact: see the probe.
    pub on_demand_paging: bool,
    /// Whether SENDs may invalidate one of the peer's keys (`IBV_DEVICE_MEM_MGT_EXTENSIONS`).
    pub send_with_invalidate: bool,
}

/// How a queue pair is to be made. All queue pairs are reliable connected.
#[derive(Clone, Copy, Debug)]
pub struct QueuePairConfig {
    /// Send queue depth, in work requests.
    pub send_requests: u32,
    /// Receive queue depth, in work requests.
    pub receive_requests: u32,
    /// Gather entries of one send work request.
    pub send_sge: u32,
}

/// A reliable connected queue pair, used by the one shard that owns the connection.
///
/// Dropping it destroys it: the provider flushes what is left, and no completion comes after the drop.
pub trait QueuePair: Send + Debug {
    /// The queue pair number, unique on its adapter while it lives.
    fn number(&self) -> u32;

    /// Posts the whole chain with one doorbell, or nothing of it.
    fn post_send(&mut self, chain: &Chain) -> Result<(), PostError>;

    /// Posts one receive.
    fn post_receive(&mut self, id: WorkId, into: Sge) -> Result<(), PostError>;

    /// Moves the queue pair to the error state: what is posted completes flushed, nothing new reaches the peer.
    fn fail(&mut self) -> Result<(), FabricError>;
}

/// Something that happened to an adapter, outside of any work request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdapterEvent {
    /// The device is going away; everything on it must be released.
    Fatal,
    /// The port came up.
    PortActive(u8),
    /// The port went down.
    PortError(u8),
    /// A completion queue overran: the connections on it are lost.
    CompletionQueueError,
    /// This queue pair failed (number).
    QueuePairError(u32),
    /// The provider's own number of an event that needs no action here.
    Other(i32),
}
