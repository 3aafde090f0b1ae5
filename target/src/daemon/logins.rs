//! Connections that come in: where they are served, and what answers wait for.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use pagecast_core::reservations::{InitiatorPort, Registrant};
use pagecast_core::scsi::{PortName, ScsiSession, TargetPort};
use pagecast_rdma::fabric::{
    Adapter, ConnectParams, ConnectRequest, ConnectionId, FabricError, QueuePairConfig,
};
use thiserror::Error;

use super::adapters::Presence;
use super::targets::{Group, Target, relative_port};
use super::tell::Stranger;
use super::{Control, Entry, Nexus, Origin};
use crate::config::Transport;
use crate::iscsi::directory::PORTAL_GROUP;
use crate::session::{Parties, Proof, Session, SessionId};
use crate::shard::connection::{Connection, MessageBuffers};
use crate::shard::messages::{Admission, CloseReason, ConnectionKey, NvmeAdmission, ShardMessage};
use crate::shard::protocol::Protocol;

/// Send queue entries per command: room for a response and a few data requests each.
const SENDS_PER_COMMAND: u32 = 4;
/// Gather entries that we ask of a queue pair.
const GATHER: u32 = 16;

/// Connections that have not logged in, of all portals. Each of them has a limited time for it, and so have discovery sessions.
const MAX_STRANGERS: usize = 128;
/// The same from one address, so that nobody takes all the room.
const MAX_STRANGERS_OF_ONE: usize = 32;

/// Receives beyond what the peer may have in flight: for immediate PDUs of iSCSI, and for logins.
pub(super) const SPARE_RECEIVES: u32 = 8;

/// An answer to a login that waits until what it replaces is gone. If that takes too long, the initiator gives up, or the
/// shard does: a connection that is not established in time is closed.
#[derive(Debug)]
pub(super) struct Waiting {
    connection: ConnectionKey,
    after: Vec<ConnectionKey>,
    answer: Answer,
}

/// What to answer.
#[derive(Debug)]
pub(super) enum Answer {
    /// The connection manager's reply.
    Accept {
        private_data: Vec<u8>,
        responder_resources: u8,
        initiator_depth: u8,
    },
    /// A login over an established connection.
    Admit(Admission),
    /// An NVMe Connect.
    Connect(Box<NvmeAdmission>),
}

impl Answer {
    /// A reply to a connection request.
    pub(super) fn accept(request: &ConnectRequest, private_data: Vec<u8>, depth: u32) -> Self {
        let capabilities = request.adapter.capabilities();
        Self::Accept {
            private_data,
            responder_resources: request
                .peer_initiator_depth
                .min(capabilities.max_responder_resources),
            initiator_depth: u8::try_from(depth).unwrap_or(u8::MAX),
        }
    }
}

/// What a new connection is to be.
#[derive(Debug)]
pub(super) struct Newcomer {
    /// Its session, or one without logical units until it has logged in.
    pub(super) session: Arc<Session>,
    pub(super) protocol: Protocol,
    /// The number of its adapter.
    pub(super) port: usize,
    /// Commands that it may have in flight.
    pub(super) commands: u32,
    /// Receives that are always posted.
    pub(super) receives: u32,
}

/// An initiator that may come in.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) transport: Transport,
    /// By the name that people know it by.
    pub(super) initiator: String,
    pub(super) peer: String,
    /// The target's port.
    pub(super) port: PortName,
    /// Whom its reservations belong to; none if it may have none.
    pub(super) identity: Option<Identity>,
}

/// What tells an initiator from others, for reservations.
#[derive(Debug)]
pub(super) enum Identity {
    /// A SCSI initiator port.
    Scsi(InitiatorPort),
    /// An NVMe host identifier.
    Nvme([u8; 16]),
}

impl Identity {
    fn registrant(self, target: &Target, transport: Transport) -> Registrant {
        match self {
            Self::Scsi(initiator) => Registrant::Scsi {
                initiator,
                target: target.name.as_str().into(),
                port: relative_port(transport),
            },
            Self::Nvme(host) => Registrant::Nvme { host },
        }
    }
}

/// What went wrong after the protocol had agreed to a login.
#[derive(Debug, Error)]
pub(super) enum AdmitError {
    /// Nobody with such a name is admitted.
    #[error("no access group admits it")]
    NoGroup,
    /// It would have to be where its session is.
    #[error(
        "from there it would be in another access group than the session that it is to join: admit it to one, wherever it comes from"
    )]
    OtherGroup,
    /// More channels than a session may have.
    #[error("it has {0} channels already")]
    Channels(usize),
    /// The bounds of this process.
    #[error("{0}")]
    Full(&'static str),
    /// The provider refused.
    #[error(transparent)]
    Fabric(#[from] FabricError),
}

impl Control {
    /// Answers a connection request.
    pub(super) fn login(&mut self, request: &ConnectRequest) {
        let connection = request.connection;
        let refused = match self
            .listeners
            .get(&request.listener)
            .map(|place| place.portal)
        {
            Some(portal) if self.is_early(portal) => Some(Vec::new()),
            Some(portal) if portal.transport == Transport::Srp => {
                let refused = self.admit_srp(request, portal).err();
                refused.map(|reject| reject.map_or_else(Vec::new, |reject| reject.emit().to_vec()))
            }
            Some(portal) if portal.transport == Transport::NvmeRdma => {
                let refused = self.open_nvme(request, portal).err();
                refused.map(|reject| reject.emit().to_vec())
            }
            Some(portal) => self.open_iser(request, portal).err().map(|error| {
                let who = Stranger {
                    initiator: None,
                    target: None,
                    transport: portal.transport,
                    peer: &request.peer.to_string(),
                };
                self.shared.tell_refused(who, &error);
                Vec::new()
            }),
            None => Some(Vec::new()),
        };
        if let Some(private_data) = refused {
            self.shared.count_refused();
            if let Err(error) = self.manager.reject(connection, &private_data) {
                tracing::debug!(?connection, %error, "reject");
            }
        }
    }

    /// Strangers are many or few, but never all that there is room for.
    pub(super) fn check_room(&self, peer: &str) -> Result<(), AdmitError> {
        if self.draining {
            return Err(AdmitError::Full("the daemon is stopping"));
        }
        let strangers = self.connections.values();
        let strangers = strangers.filter(|entry| match entry.nexus {
            None => !entry.origin.expected,
            Some(_) => entry.unproven,
        });
        let (mut all, mut of_one) = (0, 0);
        for stranger in strangers {
            all += 1;
            of_one += usize::from(stranger.origin.peer == peer);
        }
        if all >= MAX_STRANGERS || of_one >= MAX_STRANGERS_OF_ONE {
            return Err(AdmitError::Full(
                "too many connections that have not logged in",
            ));
        }
        Ok(())
    }

    /// Whether there are as many sessions as there may be. Those who cannot prove who they are take no room from those who can:
    /// they are strangers.
    pub(super) fn is_full(&self) -> bool {
        // Not those on their way out, nor those who have yet to prove who they are.
        let stays = |entry: &&Entry| entry.session.is_some() && !entry.ending && !entry.unproven;
        let entries = self.connections.values().filter(stays);
        let nexuses: HashSet<&Nexus> = entries.filter_map(|entry| entry.nexus.as_ref()).collect();
        nexuses.len() >= self.shared.settings.max_sessions as usize
    }

    /// The session of a connection that has not logged in: it has no logical unit.
    pub(super) fn stranger(&mut self, transport: Transport, peer: String) -> Arc<Session> {
        self.session_without_units(transport, "(not logged in)".to_owned(), peer)
    }

    /// A session that belongs to no target.
    pub(super) fn session_without_units(
        &mut self,
        transport: Transport,
        initiator: String,
        peer: String,
    ) -> Arc<Session> {
        let port = TargetPort {
            relative_identifier: relative_port(transport),
            group: 1,
            name: PortName::Iscsi {
                target: String::new(),
                portal_group: PORTAL_GROUP,
            },
        };
        let scsi = ScsiSession::new(port, None, &std::collections::BTreeMap::new());
        let parties = Parties {
            initiator,
            target: String::new(),
            group: String::new(),
            proof: Proof::Nothing,
            transport,
            peer,
        };
        self.session(scsi, parties)
    }

    /// The number of an adapter that a connection came in over.
    pub(super) fn port_for(&mut self, adapter: &Arc<dyn Adapter>) -> Result<usize, AdmitError> {
        match self.port_of(adapter) {
            Some(port)
                if self.ports[port]
                    .as_ref()
                    .is_some_and(|port| port.presence == Presence::Gone) =>
            {
                Err(AdmitError::Full("its adapter is going away"))
            }
            Some(port) => Ok(port),
            // It was plugged in after we last looked.
            None => self
                .add_adapter(Arc::clone(adapter))
                .map_err(|_| AdmitError::Full("its adapter cannot be served")),
        }
    }

    /// A connection is the control thread's to know of, and its shard's to serve.
    pub(super) fn enter(
        &mut self,
        connection: Box<Connection>,
        id: Option<ConnectionId>,
        nexus: Option<Nexus>,
        completions: u32,
        origin: Origin,
    ) {
        let (key, port) = (connection.key, connection.port);
        let number = self.next_connection;
        self.next_connection += 1;
        self.connections.insert(
            key,
            Entry {
                id,
                number,
                nexus,
                session: None,
                names: Vec::new(),
                port,
                completions,
                origin,
                ending: false,
                unproven: false,
                transport: connection.session.transport,
                meter: Arc::clone(&connection.meter),
                awaited: None,
            },
        );
        if let Some(id) = id {
            self.by_id.insert(id, key);
        }
        let shard = &mut self.shards[usize::from(key.shard)];
        shard.connections += 1;
        shard.promised[port] += completions;
        shard.adopt(connection);
    }

    /// A connection belongs to a session from now on, to which an access group admitted it by one of these names.
    pub(super) fn join(
        &mut self,
        key: ConnectionKey,
        nexus: Nexus,
        session: &Arc<Session>,
        names: Vec<String>,
    ) {
        if let Some(entry) = self.connections.get_mut(&key) {
            session.connections.fetch_add(1, Relaxed);
            session.meters.join(&entry.meter);
            entry.session = Some(Arc::clone(session));
            entry.nexus = Some(nexus);
            entry.names = names;
        }
    }

    /// A connection belongs to a session from now on, and with it its initiator is logged in.
    pub(super) fn log_in(
        &mut self,
        key: ConnectionKey,
        nexus: Nexus,
        session: &Arc<Session>,
        names: Vec<String>,
    ) {
        if !self.connections.contains_key(&key) {
            return;
        }
        self.join(key, nexus.clone(), session, names);
        let known = (self.shared.sessions()).insert(session.id, Arc::clone(session));
        if known.is_none() {
            self.shared.tell_login(session);
        }
        self.sessions.insert(nexus, Arc::clone(session));
        self.shared.logins.fetch_add(1, Relaxed);
        tracing::info!(initiator = %session.initiator, target = %session.target, group = %session.group(),
            peer = %session.peer, transport = %session.transport, "login");
    }

    /// Answers a login once the connections that it replaces are gone. The initiator must not hear of its login before: a write of
    /// theirs that came to the device late would overwrite what it writes from now on.
    pub(super) fn answer_after(
        &mut self,
        connection: ConnectionKey,
        after: Vec<ConnectionKey>,
        answer: Answer,
    ) {
        if after.is_empty() {
            return self.answer(connection, answer);
        }
        self.waiting.push(Waiting {
            connection,
            after,
            answer,
        });
    }

    /// A connection is gone: logins that waited for it alone are answered.
    pub(super) fn gone(&mut self, gone: ConnectionKey) {
        let mut still_waiting = Vec::new();
        for mut waiting in std::mem::take(&mut self.waiting) {
            waiting.after.retain(|&other| other != gone);
            if waiting.connection == gone {
                continue;
            }
            if waiting.after.is_empty() {
                self.answer(waiting.connection, waiting.answer);
            } else {
                still_waiting.push(waiting);
            }
        }
        self.waiting.append(&mut still_waiting);
    }

    fn answer(&mut self, key: ConnectionKey, answer: Answer) {
        match answer {
            Answer::Admit(admission) => self.tell(key, ShardMessage::Admitted(key, Ok(admission))),
            Answer::Connect(admission) => {
                self.tell(key, ShardMessage::Connected(key, Ok(admission)));
            }
            Answer::Accept {
                private_data,
                responder_resources,
                initiator_depth,
            } => {
                let params = ConnectParams {
                    private_data: &private_data,
                    responder_resources,
                    initiator_depth,
                    ..ConnectParams::default()
                };
                let Some(id) = self.connections.get(&key).and_then(|entry| entry.id) else {
                    return;
                };
                if let Err(error) = self.manager.accept(id, &params) {
                    tracing::warn!(connection = ?id, %error, "cannot accept");
                    self.end(key, CloseReason::HandshakeFailed);
                }
            }
        }
    }

    /// A session of an initiator that may come in.
    pub(super) fn new_session(
        &mut self,
        target: &Target,
        group: &Group,
        arrival: Arrival,
    ) -> Arc<Session> {
        let Arrival {
            transport,
            initiator,
            peer,
            port,
            identity,
        } = arrival;
        let port = TargetPort {
            relative_identifier: relative_port(transport),
            group: 1,
            name: port,
        };
        let registrant = identity.map(|identity| identity.registrant(target, transport));
        let scsi = ScsiSession::new(port, registrant, &group.luns);
        let parties = Parties {
            initiator,
            target: target.name.clone(),
            group: group.name.clone(),
            proof: group.proof(transport),
            transport,
            peer,
        };
        self.session(scsi, parties)
    }

    fn session(&mut self, scsi: Arc<ScsiSession>, parties: Parties) -> Arc<Session> {
        let id = SessionId(self.next_session);
        self.next_session += 1;
        let devices = Arc::clone(&self.shared.table);
        Arc::new(Session::new(id, parties, scsi, devices))
    }

    pub(super) fn make_connection(
        &mut self,
        request: &ConnectRequest,
        newcomer: Newcomer,
    ) -> Result<(Box<Connection>, u32), AdmitError> {
        let capabilities = request.adapter.capabilities();
        let (port, receives) = (newcomer.port, newcomer.receives);
        let depth = (newcomer.commands * SENDS_PER_COMMAND)
            .max(64)
            .min(capabilities.max_work_requests);
        let config = QueuePairConfig {
            send_requests: depth,
            receive_requests: receives,
            send_sge: GATHER.min(capabilities.max_sge),
        };
        let reads = request
            .peer_responder_resources
            .min(capabilities.max_initiator_depth);
        if reads == 0 {
            return Err(AdmitError::Full(
                "it answers no RDMA READ (responder resources 0), so it could never write",
            ));
        }
        let completions = depth + receives;
        let shard = self
            .least_busy(port, completions)
            .ok_or(AdmitError::Full("no completion queue has room"))?;
        let Some(Some(adapter)) = self.ports.get_mut(port) else {
            return Err(AdmitError::Full("its adapter cannot be served"));
        };
        let queue = (adapter.queues.get(shard).map(Arc::clone))
            .ok_or(AdmitError::Full("its adapter cannot be served"))?;
        let buffers = adapter.stock.take()?;
        let queue_pair = self
            .manager
            .create_queue_pair(request.connection, config, &queue);
        let queue_pair = match queue_pair {
            Ok(queue_pair) => queue_pair,
            Err(error) => {
                self.keep(port, buffers);
                return Err(error.into());
            }
        };
        let Some(key) = self.shards[shard].take_slot(shard as u16) else {
            self.keep(port, buffers);
            return Err(AdmitError::Full("too many connections"));
        };
        let mut connection = Box::new(Connection {
            queue_pair: Some(queue_pair),
            room: depth,
            depth,
            max_sge: config.send_sge as usize,
            reads_free: u32::from(reads),
            ..Connection::new(key, port, newcomer.session, newcomer.protocol, buffers)
        });
        for slot in 0..receives {
            if let Err(error) = connection.post_receive(slot) {
                tracing::warn!(%error, "cannot post receives");
                self.shards[shard].free_slots.push(key.slot);
                let mut connection = *connection;
                connection.queue_pair = None;
                connection.buffers.receive.take_all_back();
                self.keep(port, connection.buffers);
                return Err(AdmitError::Full("the adapter takes no receives"));
            }
        }
        Ok((connection, completions))
    }

    pub(super) fn keep(&mut self, port: usize, buffers: MessageBuffers) {
        if let Some(Some(port)) = self.ports.get_mut(port) {
            port.stock.give_back(buffers);
        }
    }

    /// The shard with the fewest connections among those whose completion queue has room.
    pub(super) fn least_busy(&self, port: usize, completions: u32) -> Option<usize> {
        (0..self.shards.len())
            .filter(|&shard| {
                let queues = self.ports.get(port).and_then(Option::as_ref);
                let capacity = queues
                    .and_then(|port| port.queues.get(shard))
                    .map_or(0, |queue| queue.capacity());
                self.shards[shard].promised[port].saturating_add(completions) <= capacity
            })
            .min_by_key(|&shard| self.shards[shard].connections)
    }

    /// A connection is gone from its nexus and session.
    pub(super) fn leave(&mut self, entry: &Entry, connection: ConnectionKey) {
        match entry.nexus {
            Some(Nexus::Srp(nexus)) => self.nexuses.leave(nexus, connection),
            Some(Nexus::Nvme(controller)) => self.queue_gone(controller, connection),
            Some(Nexus::Iscsi(_)) | None => {}
        }
        let (Some(session), Some(nexus)) = (&entry.session, &entry.nexus) else {
            return;
        };
        session.meters.leave(&entry.meter);
        if session.connections.fetch_sub(1, Relaxed) > 1 {
            return;
        }
        tracing::info!(initiator = %session.initiator, target = %session.target, "logout");
        if self.shared.sessions().remove(&session.id).is_some() {
            self.shared.tell_logout(session);
        }
        session.scsi.end();
        // A newer session of the same nexus stays.
        if let Some(current) = self.sessions.get(nexus)
            && Arc::ptr_eq(current, session)
        {
            self.sessions.remove(nexus);
        }
    }
}
