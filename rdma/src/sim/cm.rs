//! The connection manager's protocol: messages between endpoints, each sender's in order, delivered by steps.
//!
//! It is RDMA/CM over InfiniBand as the kernel has it: private data arrives padded to the message's maximum, the queue
//! pair of the side that was told of a disconnect keeps going until its owner does something about it, and the backlog
//! bounds the requests that nobody took yet.

mod calls;
mod delivery;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::faults::CmMessage;
use super::net::Node;
use crate::event_fd::EventFd;
use crate::fabric::{Gid, ListenAddress, PeerAddress, ServiceId};

/// Private data that a REQ has for the consumer under RDMA/CM (92 less the 36 of `struct cma_hdr`).
pub(super) const REQUEST_DATA: usize = 56;
/// The same of the native InfiniBand CM (IBTA 12.6.5).
pub(super) const NATIVE_REQUEST_DATA: usize = 92;
/// Private data of a REP (IBTA 12.6.8).
pub(super) const REPLY_DATA: usize = 196;
/// Private data of a REJ (IBTA 12.6.7).
pub(super) const REJECT_DATA: usize = 148;

/// REJ reasons, IBTA table 108.
pub(super) mod reason {
    pub(in crate::sim) const TIMEOUT: i32 = 4;
    pub(in crate::sim) const INVALID_SERVICE_ID: i32 = 8;
    pub(in crate::sim) const CONSUMER_DEFINED: i32 = 28;
}

/// All managers, listeners and connections of a net.
#[derive(Debug)]
pub(super) struct Cm {
    pub(super) managers: BTreeMap<u64, Manager>,
    pub(super) listeners: BTreeMap<u64, Listener>,
    pub(super) connections: BTreeMap<u64, Endpoint>,
    pub(super) messages: VecDeque<Message>,
    pub(super) timers: Vec<Timer>,
    /// Messages to lose, and how many of each.
    pub(super) losses: Vec<(CmMessage, u64)>,
    next_id: u64,
    next_port: u16,
}

/// What one `ConnectionManager` has to report.
#[derive(Debug)]
pub(super) struct Manager {
    pub(super) events: VecDeque<Event>,
    pub(super) event: Arc<EventFd>,
}

/// A `CmEvent` without the adapter, which the manager adds.
#[derive(Debug)]
pub(super) enum Event {
    Request {
        connection: u64,
        listener: u64,
        peer: PeerAddress,
        local: PeerAddress,
        private_data: Vec<u8>,
        responder_resources: u8,
        initiator_depth: u8,
    },
    Resolved(u64),
    Established(u64, Vec<u8>),
    Rejected(u64, i32, Vec<u8>),
    Failed(u64, &'static str),
    Disconnected(u64),
    AdapterRemoved(u64),
    ListenerRemoved(u64),
}

#[derive(Debug)]
pub(super) struct Listener {
    pub(super) manager: u64,
    pub(super) node: usize,
    pub(super) at: ListenAddress,
    pub(super) backlog: u32,
    /// Requests whose event was not taken yet.
    pub(super) waiting: u32,
}

/// One side of a connection, or of an attempt.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) manager: u64,
    pub(super) node: usize,
    pub(super) phase: Phase,
    pub(super) peer: Option<u64>,
    pub(super) queue_pair: Option<u32>,
    /// Where an active side goes to.
    dial: Option<Dial>,
    /// RNR retries that the peer asked of our sends.
    rnr_retry: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Resolving,
    Resolved,
    /// REQ sent.
    Connecting,
    /// REQ received.
    Requested,
    /// REP sent.
    Accepted,
    Established,
    /// DREQ sent.
    Disconnecting,
    /// The other side said so, and waits for our DREP.
    Disconnected,
    /// Rejected, failed, or disconnected by both.
    Over,
}

/// What an active side dials.
#[derive(Clone, Copy, Debug)]
pub(super) enum Dial {
    Ip(SocketAddr),
    Service(Gid, ServiceId),
}

#[derive(Debug)]
pub(super) struct Message {
    /// The sender, whose messages keep their order. Sent messages outlive it.
    pub(super) from: u64,
    /// The receiver; a REQ has none yet.
    pub(super) to: Option<u64>,
    pub(super) body: Body,
}

#[derive(Debug)]
pub(super) enum Body {
    /// Not a message: the answer to `resolve`.
    Resolve,
    Request {
        private_data: Vec<u8>,
        responder_resources: u8,
        initiator_depth: u8,
        rnr_retry: u8,
    },
    Reply {
        private_data: Vec<u8>,
        responder_resources: u8,
        initiator_depth: u8,
        rnr_retry: u8,
    },
    ReadyToUse,
    Reject {
        reason: i32,
        private_data: Vec<u8>,
    },
    DisconnectRequest,
    DisconnectReply,
}

/// Something that an endpoint waits for in vain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timer {
    pub(super) connection: u64,
    /// It only fires if the endpoint is still there.
    pub(super) phase: Phase,
}

impl Body {
    fn kind(&self) -> Option<CmMessage> {
        Some(match self {
            Self::Resolve => return None,
            Self::Request { .. } => CmMessage::Request,
            Self::Reply { .. } => CmMessage::Reply,
            Self::ReadyToUse => CmMessage::ReadyToUse,
            Self::Reject { .. } => CmMessage::Reject,
            Self::DisconnectRequest => CmMessage::DisconnectRequest,
            Self::DisconnectReply => CmMessage::DisconnectReply,
        })
    }
}

impl Cm {
    pub(super) fn new() -> Self {
        Self {
            managers: BTreeMap::new(),
            listeners: BTreeMap::new(),
            connections: BTreeMap::new(),
            messages: VecDeque::new(),
            timers: Vec::new(),
            losses: Vec::new(),
            next_id: 1,
            next_port: 40_000,
        }
    }

    /// A name for a manager, listener or connection: never used twice.
    pub(super) fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    pub(super) fn is_first_of_its_sender(&self, at: usize) -> bool {
        let from = self.messages[at].from;
        self.messages
            .iter()
            .take(at)
            .all(|earlier| earlier.from != from)
    }

    pub(super) fn drop_stale_timers(&mut self) {
        let connections = &self.connections;
        self.timers.retain(|timer| {
            connections
                .get(&timer.connection)
                .is_some_and(|endpoint| endpoint.phase == timer.phase)
        });
    }

    pub(super) fn queue_pair_destroyed(&mut self, number: u32) {
        for endpoint in self.connections.values_mut() {
            if endpoint.queue_pair == Some(number) {
                endpoint.queue_pair = None;
            }
        }
    }

    pub(super) fn report(&mut self, manager: u64, event: Event) {
        if let Some(manager) = self.managers.get_mut(&manager) {
            manager.events.push_back(event);
            manager.event.signal();
        }
    }

    pub(super) fn send(&mut self, from: u64, to: Option<u64>, body: Body) {
        self.messages.push_back(Message { from, to, body });
    }

    /// Starts an active endpoint.
    pub(super) fn dial(&mut self, manager: u64, node: usize, dial: Dial) -> u64 {
        let id = self.new_id();
        self.connections.insert(
            id,
            Endpoint {
                manager,
                node,
                phase: Phase::Resolving,
                peer: None,
                queue_pair: None,
                dial: Some(dial),
                rnr_retry: 0,
            },
        );
        self.send(id, None, Body::Resolve);
        id
    }

    /// Lets go of an endpoint in whatever phase it is, and tells its peer.
    pub(super) fn forget(&mut self, id: u64) {
        let Some(endpoint) = self.connections.remove(&id) else {
            return;
        };
        if let Some(manager) = self.managers.get_mut(&endpoint.manager) {
            manager
                .events
                .retain(|event| event.connection() != Some(id));
        }
        let farewell = match endpoint.phase {
            Phase::Connecting => Body::Reject {
                reason: reason::TIMEOUT,
                private_data: vec![0; REJECT_DATA],
            },
            Phase::Requested => Body::Reject {
                reason: reason::CONSUMER_DEFINED,
                private_data: vec![0; REJECT_DATA],
            },
            Phase::Accepted | Phase::Established => Body::DisconnectRequest,
            Phase::Disconnected => Body::DisconnectReply,
            Phase::Resolving | Phase::Resolved | Phase::Disconnecting | Phase::Over => return,
        };
        if endpoint.peer.is_some() {
            self.send(id, endpoint.peer, farewell);
        }
    }

    /// Stops a listener; the requests that nobody took are refused.
    pub(super) fn unlisten(&mut self, id: u64) {
        let Some(listener) = self.listeners.remove(&id) else {
            return;
        };
        let mut refused = Vec::new();
        if let Some(manager) = self.managers.get(&listener.manager) {
            for event in &manager.events {
                match event {
                    Event::Request {
                        connection,
                        listener,
                        ..
                    } if *listener == id => refused.push(*connection),
                    _ => {}
                }
            }
        }
        for connection in refused {
            self.forget(connection);
        }
    }

    fn take_loss(&mut self, kind: CmMessage) -> bool {
        let Some(loss) = self
            .losses
            .iter_mut()
            .find(|loss| loss.0 == kind && loss.1 > 0)
        else {
            return false;
        };
        loss.1 -= 1;
        true
    }

    /// The listener of `node` for what was dialled: an exact address before a wildcard.
    fn listener_for(&self, node: usize, dial: Dial) -> Option<u64> {
        let find = |wanted: &dyn Fn(ListenAddress) -> bool| {
            self.listeners
                .iter()
                .find(|(_, listener)| listener.node == node && wanted(listener.at))
                .map(|(&id, _)| id)
        };
        match dial {
            Dial::Service(_, service) => find(&|at| at == ListenAddress::Service(service)),
            Dial::Ip(to) => {
                let at = |ip: IpAddr| ListenAddress::Ip(SocketAddr::new(ip, to.port()));
                let any_of_family = match to {
                    SocketAddr::V4(_) => IpAddr::from([0_u8; 4]),
                    SocketAddr::V6(_) => IpAddr::from([0_u8; 16]),
                };
                find(&|listening| listening == at(to.ip()))
                    .or_else(|| find(&|listening| listening == at(any_of_family)))
                    .or_else(|| find(&|listening| listening == at(IpAddr::from([0_u8; 16]))))
            }
        }
    }
}

impl Event {
    pub(super) fn connection(&self) -> Option<u64> {
        match *self {
            Self::Request { connection, .. }
            | Self::Resolved(connection)
            | Self::Established(connection, _)
            | Self::Rejected(connection, ..)
            | Self::Failed(connection, _)
            | Self::Disconnected(connection)
            | Self::AdapterRemoved(connection) => Some(connection),
            Self::ListenerRemoved(_) => None,
        }
    }
}

/// A node's only port GID: the link-local prefix and its GUID.
pub(super) fn gid_of(guid: u64) -> Gid {
    let mut gid = [0; 16];
    gid[..2].copy_from_slice(&[0xfe, 0x80]);
    gid[8..].copy_from_slice(&guid.to_be_bytes());
    Gid(gid)
}

/// `data` as the CM delivers it: with zeros up to what the message has room for.
fn padded(data: &[u8], length: usize) -> Vec<u8> {
    let mut padded = vec![0; length.max(data.len())];
    padded[..data.len()].copy_from_slice(data);
    padded
}

impl Node {
    /// The address from which it reaches `to`.
    fn address_towards(&self, to: SocketAddr) -> Option<IpAddr> {
        self.addresses
            .iter()
            .copied()
            .find(|own| own.is_ipv4() == to.is_ipv4())
    }
}
