//! The connection manager: listeners, handshakes, private data, disconnects.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::{
    Adapter, CompletionQueue, FabricError, ListenAddress, PeerAddress, QueuePair, QueuePairConfig,
};

/// Most private data that any CM message carries (`rdma_conn_param.private_data_len` is a `u8`).
pub const MAX_PRIVATE_DATA: usize = 255;

/// A listener of one [`ConnectionManager`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub u64);

/// A connection, or an attempt at one, of one [`ConnectionManager`]. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// Makes and breaks connections. Used by one thread.
///
/// Passive side: `listen`, then for each [`CmEvent::ConnectRequest`] either `reject`, or `create_queue_pair`, post
/// receives, and `accept`. Active side: `resolve`, on [`CmEvent::Resolved`] `create_queue_pair`, post receives, `connect`.
/// Both sides: `disconnect` when done, and `forget` once the queue pair is dropped. Every call returns at once.
pub trait ConnectionManager: Send + Debug {
    /// Starts to listen. `backlog` bounds the requests that wait for us.
    fn listen(&mut self, at: ListenAddress, backlog: u32) -> Result<ListenerId, FabricError>;

    /// Stops listening. Connections that it brought stay.
    fn unlisten(&mut self, listener: ListenerId);

    /// Finds the way to a listener at `to`; ends in [`CmEvent::Resolved`] or [`CmEvent::Failed`].
    fn resolve(&mut self, to: SocketAddr) -> Result<ConnectionId, FabricError>;

    /// Creates the connection's queue pair; its sends and receives complete on `completions`, which must be of the same
    /// adapter as the connection.
    fn create_queue_pair(
        &mut self,
        connection: ConnectionId,
        config: QueuePairConfig,
        completions: &Arc<dyn CompletionQueue>,
    ) -> Result<Box<dyn QueuePair>, FabricError>;

    /// Active side: sends the connect request; ends in `Established`, `Rejected` or `Failed`.
    fn connect(
        &mut self,
        connection: ConnectionId,
        params: &ConnectParams<'_>,
    ) -> Result<(), FabricError>;

    /// Passive side: sends the reply.
    fn accept(
        &mut self,
        connection: ConnectionId,
        params: &ConnectParams<'_>,
    ) -> Result<(), FabricError>;

    /// Passive side: refuses, with private data (reason 28, consumer defined), and forgets the connection.
    fn reject(&mut self, connection: ConnectionId, private_data: &[u8]) -> Result<(), FabricError>;

    /// Passive side: a receive completed before `Established` came, so take the connection as established
    /// (`rdma_notify` with IBV_EVENT_COMM_EST).
    fn notify_established(&mut self, connection: ConnectionId) -> Result<(), FabricError>;

    /// Starts an orderly disconnect; the queue pair flushes. Ends in `Disconnected` (which may already be on its way).
    fn disconnect(&mut self, connection: ConnectionId) -> Result<(), FabricError>;

    /// Releases the connection. Later events for it are swallowed. Its queue pair may be dropped before or after.
    fn forget(&mut self, connection: ConnectionId);

    /// The next event, or `None` when there is none now.
    fn next_event(&mut self) -> Result<Option<CmEvent>, FabricError>;

    /// Readable when [`next_event`](Self::next_event) may have something.
    fn event_fd(&self) -> BorrowedFd<'_>;
}

/// What either side puts into its REQ or REP.
#[derive(Clone, Copy, Debug)]
pub struct ConnectParams<'a> {
    /// Private data, at most what the transport leaves (56 bytes in a REQ over RDMA/CM, 196 in a REP).
    pub private_data: &'a [u8],
    /// RDMA READs that the peer may have in flight towards us.
    pub responder_resources: u8,
    /// RDMA READs that we will have in flight towards the peer.
    pub initiator_depth: u8,
    /// Retries after a lost packet (0..=7).
    pub retry_count: u8,
    /// Retries while the peer has no receive posted (7 = for ever).
    pub rnr_retry_count: u8,
}

impl Default for ConnectParams<'_> {
    fn default() -> Self {
        Self {
            private_data: &[],
            responder_resources: 4,
            initiator_depth: 4,
            retry_count: 7,
            rnr_retry_count: 7,
        }
    }
}

/// A peer that wants in.
#[derive(Debug)]
pub struct ConnectRequest {
    /// Names the connection from now on.
    pub connection: ConnectionId,
    /// Where it came in.
    pub listener: ListenerId,
    /// The adapter it came over.
    pub adapter: Arc<dyn Adapter>,
    /// The peer's address.
    pub peer: PeerAddress,
    /// Our address, as the peer dialled it.
    pub local: PeerAddress,
    /// The consumer's private data as it arrived: without the RDMA/CM's own header. May be padded with zeros to the CM's
    /// maximum, so test for at least, never for exactly, a length.
    pub private_data: Vec<u8>,
    /// RDMA READs that the peer says it answers at once: our initiator depth must not exceed it.
    pub peer_responder_resources: u8,
    /// RDMA READs that the peer wants to have in flight towards us.
    pub peer_initiator_depth: u8,
}

/// What the connection manager reports.
#[derive(Debug)]
pub enum CmEvent {
    /// A peer wants in.
    ConnectRequest(ConnectRequest),
    /// Active side: address and route are known; the connection now has an adapter.
    Resolved {
        /// Which one.
        connection: ConnectionId,
        /// The adapter that reaches the peer.
        adapter: Arc<dyn Adapter>,
    },
    /// Both sides are up. `private_data` is the REP's on the active side, empty on the passive.
    Established {
        /// Which one.
        connection: ConnectionId,
        /// The peer's private data.
        private_data: Vec<u8>,
    },
    /// Active side: the peer refused.
    Rejected {
        /// Which one.
        connection: ConnectionId,
        /// The CM's reason code; 28 is the consumer's own refusal.
        reason: i32,
        /// The peer's private data.
        private_data: Vec<u8>,
    },
    /// The attempt, or the connection, failed.
    Failed {
        /// Which one.
        connection: ConnectionId,
        /// Why, in the provider's words.
        why: String,
    },
    /// The peer disconnected, or our own disconnect is done.
    Disconnected {
        /// Which one.
        connection: ConnectionId,
    },
    /// The adapter under a connection is going away: drop the queue pair and forget the connection.
    AdapterRemoved {
        /// Which one.
        connection: ConnectionId,
    },
    /// The adapter under a listener is going away. The listener hears nothing any more; `unlisten` it.
    ListenerRemoved {
        /// Which one.
        listener: ListenerId,
    },
}
