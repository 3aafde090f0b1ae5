//! The connection manager as its owner has it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use super::cm::{Dial, Event, Listener, Manager, Phase};
use super::completion_queue::SimCompletionQueue;
use super::net::{Link, Traffic};
use super::node::SimAdapter;
use super::queue_pair::{self, SimQueuePair};
use crate::event_fd::EventFd;
use crate::fabric::{
    Adapter, CmEvent, CompletionQueue, ConnectParams, ConnectRequest, ConnectionId,
    ConnectionManager, FabricError, Gid, ListenAddress, ListenerId, QueuePair, QueuePairConfig,
    ServiceId,
};

/// What the kernel takes for a backlog of zero.
const DEFAULT_BACKLOG: u32 = 1024;

/// Service ids that user space may listen on: the prefixes of RDMA_PS_TCP and RDMA_PS_IB.
const SERVICE_PREFIXES: [u64; 2] = [0x0000_0000_0106_0000, 0x0000_0000_013f_0000];

/// A connection manager of one node.
#[derive(Debug)]
pub struct SimConnectionManager {
    adapter: Arc<SimAdapter>,
    id: u64,
    event: Arc<EventFd>,
}

impl SimConnectionManager {
    pub(super) fn new(adapter: Arc<SimAdapter>) -> Result<Self, FabricError> {
        let event = Arc::new(EventFd::new()?);
        let mut state = adapter.net.lock();
        let id = state.cm.new_id();
        state.cm.managers.insert(
            id,
            Manager {
                events: VecDeque::new(),
                event: Arc::clone(&event),
            },
        );
        drop(state);
        Ok(Self { adapter, id, event })
    }

    /// Dials a service id over the native InfiniBand CM (AF_IB), as `resolve` does an IP address: private data goes
    /// without the RDMA/CM's header, and both ends are known by their GIDs.
    pub fn resolve_service(
        &mut self,
        to: Gid,
        service: ServiceId,
    ) -> Result<ConnectionId, FabricError> {
        self.dial(Dial::Service(to, service))
    }

    fn dial(&mut self, dial: Dial) -> Result<ConnectionId, FabricError> {
        let id = self
            .adapter
            .net
            .lock()
            .cm
            .dial(self.id, self.adapter.node, dial);
        self.adapter.net.kick();
        Ok(ConnectionId(id))
    }

    /// Runs `call` on a connection of ours.
    fn on<T>(
        &self,
        connection: ConnectionId,
        call: impl FnOnce(&mut super::net::State) -> Result<T, FabricError>,
    ) -> Result<T, FabricError> {
        let mut state = self.adapter.net.lock();
        if state.endpoint(connection.0)?.manager != self.id {
            return Err(FabricError::UnknownConnection);
        }
        let result = call(&mut state);
        drop(state);
        self.adapter.net.kick();
        result
    }

    fn to_cm_event(&self, event: Event) -> CmEvent {
        let adapter = || -> Arc<dyn Adapter> { self.adapter.clone() };
        match event {
            Event::Request {
                connection,
                listener,
                peer,
                local,
                private_data,
                responder_resources,
                initiator_depth,
            } => CmEvent::ConnectRequest(ConnectRequest {
                connection: ConnectionId(connection),
                listener: ListenerId(listener),
                adapter: adapter(),
                peer,
                local,
                private_data,
                peer_responder_resources: responder_resources,
                peer_initiator_depth: initiator_depth,
            }),
            Event::Resolved(connection) => CmEvent::Resolved {
                connection: ConnectionId(connection),
                adapter: adapter(),
            },
            Event::Established(connection, private_data) => CmEvent::Established {
                connection: ConnectionId(connection),
                private_data,
            },
            Event::Rejected(connection, reason, private_data) => CmEvent::Rejected {
                connection: ConnectionId(connection),
                reason,
                private_data,
            },
            Event::Failed(connection, why) => CmEvent::Failed {
                connection: ConnectionId(connection),
                why: why.to_owned(),
            },
            Event::Disconnected(connection) => CmEvent::Disconnected {
                connection: ConnectionId(connection),
            },
            Event::AdapterRemoved(connection) => CmEvent::AdapterRemoved {
                connection: ConnectionId(connection),
            },
            Event::ListenerRemoved(listener) => CmEvent::ListenerRemoved {
                listener: ListenerId(listener),
            },
        }
    }
}

impl ConnectionManager for SimConnectionManager {
    fn listen(&mut self, at: ListenAddress, backlog: u32) -> Result<ListenerId, FabricError> {
        let refuse = |errno| Err(FabricError::from_errno("rdma_listen", errno));
        let mut state = self.adapter.net.lock();
        let node = &state.nodes[self.adapter.node];
        match at {
            _ if node.removed => return refuse(libc::ENODEV),
            ListenAddress::Ip(ip) if ip.port() == 0 => return refuse(libc::EINVAL),
            ListenAddress::Ip(ip)
                if !ip.ip().is_unspecified() && !node.addresses.contains(&ip.ip()) =>
            {
                return refuse(libc::EADDRNOTAVAIL);
            }
            ListenAddress::Service(ServiceId(id))
                if !SERVICE_PREFIXES.contains(&(id & !0xffff)) =>
            {
                return refuse(libc::EPROTONOSUPPORT);
            }
            _ => {}
        }
        let mut there = state.cm.listeners.values();
        if there.any(|other| other.node == self.adapter.node && overlap(other.at, at)) {
            return refuse(libc::EADDRINUSE);
        }
        let id = state.cm.new_id();
        state.cm.listeners.insert(
            id,
            Listener {
                manager: self.id,
                node: self.adapter.node,
                at,
                backlog: if backlog == 0 {
                    DEFAULT_BACKLOG
                } else {
                    backlog
                },
                waiting: 0,
            },
        );
        Ok(ListenerId(id))
    }

    fn unlisten(&mut self, listener: ListenerId) {
        let mut state = self.adapter.net.lock();
        let ours = state.cm.listeners.get(&listener.0);
        if ours.is_some_and(|listener| listener.manager == self.id) {
            state.cm.unlisten(listener.0);
        }
        drop(state);
        self.adapter.net.kick();
    }

    fn resolve(&mut self, to: SocketAddr) -> Result<ConnectionId, FabricError> {
        self.dial(Dial::Ip(to))
    }

    fn create_queue_pair(
        &mut self,
        connection: ConnectionId,
        config: QueuePairConfig,
        completions: &Arc<dyn CompletionQueue>,
    ) -> Result<Box<dyn QueuePair>, FabricError> {
        let refuse = |errno| Err(FabricError::from_errno("rdma_create_qp", errno));
        let queue = completions
            .as_any()
            .downcast_ref::<SimCompletionQueue>()
            .filter(|queue| queue.0.node == self.adapter.node)
            .ok_or(FabricError::Invalid("completion queue of another adapter"))?;
        let queue = Arc::clone(&queue.0);
        let net = Arc::clone(&self.adapter.net);
        let node = self.adapter.node;
        let core = self.on(connection, |state| {
            let limits = &state.nodes[node].capabilities;
            if state.nodes[node].removed {
                return refuse(libc::ENODEV);
            }
            let depths = [config.send_requests, config.receive_requests];
            if depths.contains(&0)
                || depths.iter().any(|&depth| depth > limits.max_work_requests)
                || config.send_sge == 0
                || config.send_sge > limits.max_sge
            {
                return refuse(libc::EINVAL);
            }
            let faults = Arc::clone(&state.nodes[node].post_faults);
            let number = state.next_queue_pair;
            let endpoint = state.endpoint(connection.0)?;
            if endpoint.queue_pair.is_some()
                || !matches!(endpoint.phase, Phase::Resolved | Phase::Requested)
            {
                return refuse(libc::EINVAL);
            }
            endpoint.queue_pair = Some(number);
            state.next_queue_pair += 1;
            let core = Arc::new(queue_pair::Core::new(number, config, queue, faults));
            state.links.insert(
                number,
                Link {
                    core: Arc::clone(&core),
                    node,
                    peer: None,
                    initiator_depth: 0,
                    responder_resources: 0,
                    rnr_retry: 0,
                    rnr_left: 0,
                    paused: false,
                    delayed_until: 0,
                    dry: 0,
                    traffic: Traffic::default(),
                },
            );
            Ok(core)
        })?;
        Ok(Box::new(SimQueuePair { core, net }))
    }

    fn connect(
        &mut self,
        connection: ConnectionId,
        params: &ConnectParams<'_>,
    ) -> Result<(), FabricError> {
        self.on(connection, |state| state.cm_connect(connection.0, params))
    }

    fn accept(
        &mut self,
        connection: ConnectionId,
        params: &ConnectParams<'_>,
    ) -> Result<(), FabricError> {
        self.on(connection, |state| state.cm_accept(connection.0, params))
    }

    fn reject(&mut self, connection: ConnectionId, private_data: &[u8]) -> Result<(), FabricError> {
        self.on(connection, |state| {
            state.cm_reject(connection.0, private_data)
        })
    }

    fn notify_established(&mut self, connection: ConnectionId) -> Result<(), FabricError> {
        self.on(connection, |state| {
            state.cm_notify_established(connection.0)
        })
    }

    fn disconnect(&mut self, connection: ConnectionId) -> Result<(), FabricError> {
        self.on(connection, |state| state.cm_disconnect(connection.0))
    }

    fn forget(&mut self, connection: ConnectionId) {
        // One that is not known is forgotten already.
        let _ = self.on(connection, |state| {
            state.cm.forget(connection.0);
            Ok(())
        });
    }

    fn next_event(&mut self) -> Result<Option<CmEvent>, FabricError> {
        let mut state = self.adapter.net.lock();
        let Some(manager) = state.cm.managers.get_mut(&self.id) else {
            return Ok(None);
        };
        let event = manager.events.pop_front();
        if manager.events.is_empty() {
            manager.event.drain();
        }
        if let Some(Event::Request { listener, .. }) = &event
            && let Some(listener) = state.cm.listeners.get_mut(listener)
        {
            listener.waiting = listener.waiting.saturating_sub(1);
        }
        drop(state);
        Ok(event.map(|event| self.to_cm_event(event)))
    }

    fn event_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

impl Drop for SimConnectionManager {
    fn drop(&mut self) {
        let mut state = self.adapter.net.lock();
        let cm = &mut state.cm;
        let mine = |manager: u64| manager == self.id;
        let listeners: Vec<_> = cm.listeners.iter().filter(|l| mine(l.1.manager)).collect();
        let listeners: Vec<_> = listeners.into_iter().map(|(&id, _)| id).collect();
        listeners.into_iter().for_each(|id| cm.unlisten(id));
        let connections = cm.connections.iter().filter(|c| mine(c.1.manager));
        let connections: Vec<_> = connections.map(|(&id, _)| id).collect();
        connections.into_iter().for_each(|id| cm.forget(id));
        cm.managers.remove(&self.id);
        drop(state);
        self.adapter.net.kick();
    }
}

/// Whether both would get the same request. The address families are apart, as with `RDMA_OPTION_ID_AFONLY`.
fn overlap(one: ListenAddress, other: ListenAddress) -> bool {
    match (one, other) {
        (ListenAddress::Service(one), ListenAddress::Service(other)) => one == other,
        (ListenAddress::Ip(one), ListenAddress::Ip(other)) => {
            one.port() == other.port()
                && one.is_ipv4() == other.is_ipv4()
                && (one.ip() == other.ip()
                    || one.ip().is_unspecified()
                    || other.ip().is_unspecified())
        }
        _ => false,
    }
}
