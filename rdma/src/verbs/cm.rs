//! The connection manager, over one event channel of librdmacm.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rdma_sys::{rdma_conn_param, rdma_port_space};

use super::adapter::VerbsAdapter;
use super::address::RawAddress;
use super::cm_event::{Report, Request};
use super::cm_id::{CmId, Event, EventChannel, IdKey};
use super::completion_queue::VerbsCompletionQueue;
use super::queue_pair::VerbsQueuePair;
use super::registry::Registry;
use crate::fabric::{
    Adapter, Capabilities, CmEvent, CompletionQueue, ConnectParams, ConnectRequest, ConnectionId,
    ConnectionManager, FabricError, ListenAddress, ListenerId, QueuePair, QueuePairConfig,
};

/// For the address, and again for the route.
const RESOLVE_TIMEOUT_MS: i32 = 2000;

/// Private data of a reject (IBTA 1.4, 12.6.7: REJ). iWARP has room for more, which nobody needs.
const MAX_REJECT_DATA: usize = 148;

/// Connections and listeners of one event channel.
#[derive(Debug)]
pub(super) struct VerbsConnectionManager {
    registry: Arc<Registry>,
    channel: Arc<EventChannel>,
    listeners: HashMap<ListenerId, CmId>,
    connections: HashMap<ConnectionId, Connection>,
    // Whose events are whose. Ids of forgotten connections are not in it, though a queue pair may keep them alive.
    owners: HashMap<IdKey, Owner>,
    last: u64,
}

#[derive(Clone, Copy, Debug)]
enum Owner {
    Listener(ListenerId),
    Connection(ConnectionId),
}

#[derive(Debug)]
struct Connection {
    id: Arc<CmId>,
    // Known from the request on, or from resolution on.
    adapter: Option<Arc<VerbsAdapter>>,
    side: Side,
}

#[derive(Clone, Copy, Debug)]
enum Side {
    Active,
    Passive {
        peer_responder_resources: u8,
        peer_initiator_depth: u8,
    },
}

impl VerbsConnectionManager {
    pub(super) fn new(registry: Arc<Registry>) -> Result<Self, FabricError> {
        Ok(Self {
            registry,
            channel: EventChannel::open()?,
            listeners: HashMap::new(),
            connections: HashMap::new(),
            owners: HashMap::new(),
            last: 0,
        })
    }

    fn next_number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn connection(&self, connection: ConnectionId) -> Result<&Connection, FabricError> {
        self.connections
            .get(&connection)
            .ok_or(FabricError::UnknownConnection)
    }

    fn adopt(&mut self, id: CmId, adapter: Option<Arc<VerbsAdapter>>, side: Side) -> ConnectionId {
        let connection = ConnectionId(self.next_number());
        self.owners.insert(id.key(), Owner::Connection(connection));
        self.connections.insert(
            connection,
            Connection {
                id: Arc::new(id),
                adapter,
                side,
            },
        );
        connection
    }

    /// What an event means to the caller, if anything.
    fn dispatch(&mut self, event: Event) -> Option<CmEvent> {
        let Event { id, report, new } = event;
        match (self.owners.get(&id).copied(), report, new) {
            (Some(Owner::Listener(listener)), Report::Request(request), Some(new)) => {
                self.request(listener, request, new)
            }
            (_, Report::Ignored(number), _) => {
                tracing::debug!(number, "connection manager event without consequence");
                None
            }
            (Some(Owner::Listener(listener)), Report::Removed, _) => {
                Some(CmEvent::ListenerRemoved { listener })
            }
            (Some(Owner::Connection(connection)), report, _) => self.report(connection, report),
            // Of a connection that was forgotten or a listener that stopped. A request goes with its id: the kernel
            // rejects it.
            (_, report, _) => {
                tracing::debug!(?report, "event of nobody");
                None
            }
        }
    }

    fn request(&mut self, listener: ListenerId, request: Request, new: CmId) -> Option<CmEvent> {
        let Some(adapter) = new.context().and_then(|at| self.registry.find(at)) else {
            tracing::warn!("connect request over an unknown device");
            return None;
        };
        let Some((peer, local)) = new.addresses() else {
            tracing::warn!("connect request from an unknown address family");
            return None;
        };
        let Request {
            private_data,
            peer_responder_resources,
            peer_initiator_depth,
        } = request;
        let side = Side::Passive {
            peer_responder_resources,
            peer_initiator_depth,
        };
        Some(CmEvent::ConnectRequest(ConnectRequest {
            connection: self.adopt(new, Some(Arc::clone(&adapter)), side),
            listener,
            adapter,
            peer,
            local,
            private_data,
            peer_responder_resources,
            peer_initiator_depth,
        }))
    }

    fn report(&mut self, connection: ConnectionId, report: Report) -> Option<CmEvent> {
        let found = self.connections.get_mut(&connection)?;
        let event = match (report, found.side) {
            (Report::AddressResolved, _) => {
                let error = found.id.resolve_route(RESOLVE_TIMEOUT_MS).err()?;
                CmEvent::Failed {
                    connection,
                    why: error.to_string(),
                }
            }
            (Report::RouteResolved, _) => {
                let context = found.id.context();
                match context.and_then(|at| self.registry.find(at)) {
                    Some(adapter) => {
                        found.adapter = Some(Arc::clone(&adapter));
                        CmEvent::Resolved {
                            connection,
                            adapter,
                        }
                    }
                    None => CmEvent::Failed {
                        connection,
                        why: "the route leads over an unknown device".to_owned(),
                    },
                }
            }
            (Report::Established { private_data }, Side::Active) => CmEvent::Established {
                connection,
                private_data,
            },
            // A ready-to-use message has no private data of interest.
            (Report::Established { .. }, Side::Passive { .. }) => CmEvent::Established {
                connection,
                private_data: Vec::new(),
            },
            (
                Report::Rejected {
                    reason,
                    private_data,
                },
                Side::Active,
            ) => CmEvent::Rejected {
                connection,
                reason,
                private_data,
            },
            (Report::Rejected { reason, .. }, Side::Passive { .. }) => CmEvent::Failed {
                connection,
                why: format!("the peer rejected our reply (reason {reason})"),
            },
            (Report::Failed { why }, _) => CmEvent::Failed { connection, why },
            (Report::Disconnected, _) => CmEvent::Disconnected { connection },
            (Report::Removed, _) => CmEvent::AdapterRemoved { connection },
            // No listener is a connection, and what is ignored never comes this far.
            (Report::Request(_) | Report::Ignored(_), _) => return None,
        };
        Some(event)
    }
}

impl ConnectionManager for VerbsConnectionManager {
    fn listen(&mut self, at: ListenAddress, backlog: u32) -> Result<ListenerId, FabricError> {
        let (address, space) = RawAddress::to_listen_at(at);
        let id = CmId::new(&self.channel, space)?;
        id.listen(&address, backlog)?;
        let listener = ListenerId(self.next_number());
        self.owners.insert(id.key(), Owner::Listener(listener));
        self.listeners.insert(listener, id);
        Ok(listener)
    }

    fn unlisten(&mut self, listener: ListenerId) {
        if let Some(id) = self.listeners.remove(&listener) {
            self.owners.remove(&id.key());
        }
    }

    fn resolve(&mut self, to: SocketAddr) -> Result<ConnectionId, FabricError> {
        let id = CmId::new(&self.channel, rdma_port_space::RDMA_PS_TCP)?;
        id.resolve_address(&RawAddress::ip(to), RESOLVE_TIMEOUT_MS)?;
        Ok(self.adopt(id, None, Side::Active))
    }

    fn create_queue_pair(
        &mut self,
        connection: ConnectionId,
        config: QueuePairConfig,
        completions: &Arc<dyn CompletionQueue>,
    ) -> Result<Box<dyn QueuePair>, FabricError> {
        let connection = self.connection(connection)?;
        let adapter = connection.adapter()?;
        let completions = completions
            .as_any()
            .downcast_ref::<VerbsCompletionQueue>()
            .ok_or(FabricError::Invalid(
                "completion queue of another provider than the connection's",
            ))?;
        let pair = VerbsQueuePair::new(
            &connection.id,
            adapter.device(),
            adapter.capabilities(),
            config,
            completions.queue(),
        )?;
        Ok(Box::new(pair))
    }

    fn connect(
        &mut self,
        connection: ConnectionId,
        params: &ConnectParams<'_>,
    ) -> Result<(), FabricError> {
        let connection = self.connection(connection)?;
        let mut param = connection.param(params)?;
        connection.id.connect(&mut param)
    }

    fn accept(
        &mut self,
        connection: ConnectionId,
        params: &ConnectParams<'_>,
    ) -> Result<(), FabricError> {
        let connection = self.connection(connection)?;
        let mut param = connection.param(params)?;
        connection.id.accept(&mut param)
    }

    fn reject(&mut self, connection: ConnectionId, private_data: &[u8]) -> Result<(), FabricError> {
        if private_data.len() > MAX_REJECT_DATA {
            return Err(FabricError::Invalid(
                "more private data than a reject carries",
            ));
        }
        let result = self.connection(connection)?.id.reject(private_data);
        self.forget(connection);
        result
    }

    fn notify_established(&mut self, connection: ConnectionId) -> Result<(), FabricError> {
        match self.connection(connection)?.id.notify_established() {
            // The peer's own word came in between: the event is on its way.
            Err(FabricError::Call { source, .. })
                if source.raw_os_error() == Some(libc::EISCONN) =>
            {
                Ok(())
            }
            result => result,
        }
    }

    fn disconnect(&mut self, connection: ConnectionId) -> Result<(), FabricError> {
        self.connection(connection)?.id.disconnect()
    }

    fn forget(&mut self, connection: ConnectionId) {
        if let Some(connection) = self.connections.remove(&connection) {
            self.owners.remove(&connection.id.key());
        }
    }

    fn next_event(&mut self) -> Result<Option<CmEvent>, FabricError> {
        while let Some(event) = self.channel.next()? {
            if let Some(event) = self.dispatch(event) {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    fn event_fd(&self) -> BorrowedFd<'_> {
        self.channel.fd()
    }
}

impl Connection {
    fn adapter(&self) -> Result<&Arc<VerbsAdapter>, FabricError> {
        self.adapter.as_ref().ok_or(FabricError::Invalid(
            "the connection has no adapter before it is resolved",
        ))
    }

    /// What we offer: never more than the adapter can do, nor, in a reply, than the peer asked for.
    fn param(&self, params: &ConnectParams<'_>) -> Result<rdma_conn_param, FabricError> {
        let (responder_resources, initiator_depth) =
            read_depths(params, self.adapter()?.capabilities(), self.side);
        let private_data_len = u8::try_from(params.private_data.len())
            .map_err(|_| FabricError::Invalid("too much private data"))?;
        Ok(rdma_conn_param {
            private_data: params.private_data.as_ptr().cast(),
            private_data_len,
            responder_resources,
            initiator_depth,
            flow_control: 1,
            retry_count: params.retry_count.min(7),
            rnr_retry_count: params.rnr_retry_count.min(7),
            ..rdma_conn_param::default()
        })
    }
}

fn read_depths(params: &ConnectParams<'_>, can: &Capabilities, side: Side) -> (u8, u8) {
    let responder = params.responder_resources.min(can.max_responder_resources);
    let initiator = params.initiator_depth.min(can.max_initiator_depth);
    match side {
        Side::Active => (responder, initiator),
        Side::Passive {
            peer_responder_resources,
            peer_initiator_depth,
        } => (
            responder.min(peer_initiator_depth),
            initiator.min(peer_responder_resources),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_depths_are_the_least_of_all_wishes() {
        let can = Capabilities {
            node_guid: 0,
            max_work_requests: 1,
            max_sge: 1,
            max_completions: 1,
            max_responder_resources: 16,
            max_initiator_depth: 8,
            max_region: 1,
            on_demand_paging: false,
            send_with_invalidate: false,
        };
        let params = ConnectParams {
            responder_resources: 255,
            initiator_depth: 255,
            ..ConnectParams::default()
        };
        assert_eq!(read_depths(&params, &can, Side::Active), (16, 8));
        let side = Side::Passive {
            peer_responder_resources: 2,
            peer_initiator_depth: 3,
        };
        assert_eq!(read_depths(&params, &can, side), (3, 2));
        let modest = ConnectParams {
            responder_resources: 1,
            initiator_depth: 0,
            ..params
        };
        assert_eq!(read_depths(&modest, &can, side), (1, 0));
    }
}
