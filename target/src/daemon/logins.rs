//! Connection requests: who may come in, and where it is served.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64};

use pagecast_core::access::first_group;
use pagecast_core::scsi::{PortName, ScsiSession, TargetPort};
use pagecast_rdma::fabric::{
    ConnectParams, ConnectRequest, ConnectionId, FabricError, ListenAddress, PeerAddress,
    QueuePairConfig, ServiceId,
};
use thiserror::Error;

use super::targets::{Group, Target};
use super::{BACKLOG, Control, Entry, StartError};
use crate::config::{Config, Endpoint, Transport};
use crate::session::{Session, SessionId};
use crate::shard::connection::{Connection, MessageBuffers};
use crate::shard::messages::CloseReason;
use crate::shard::srp::Channel;
use crate::srp::credits::Credits;
use crate::srp::login::{
    self, Login, LoginReject, LoginRequest, LoginSettings, MultichannelAction, RejectReason,
};
use crate::srp::names::initiator_names;
use crate::srp::nexus::NexusId;

/// Send queue entries per credit: room for a response and a few data requests each.
const SENDS_PER_CREDIT: u32 = 4;
/// Gather entries that we ask of a queue pair.
const GATHER: u32 = 16;

/// Channels that one session may have.
const MAX_CHANNELS: usize = 64;

/// A login that is accepted once what it replaces is gone. If that takes too long, the initiator gives up, or the shard does:
/// a connection that is not established in time is closed.
#[derive(Debug)]
pub(super) struct PendingAccept {
    connection: ConnectionId,
    after: Vec<ConnectionId>,
    answer: [u8; login::LOGIN_RESPONSE_SIZE],
    responder_resources: u8,
    initiator_depth: u8,
}

/// What went wrong after the protocol had agreed to a login.
#[derive(Debug, Error)]
enum AdmitError {
    /// Nobody with such a name is admitted.
    #[error("no access group admits it")]
    NoGroup,
    /// More channels than a session may have.
    #[error("it has {MAX_CHANNELS} channels already")]
    Channels,
    /// The bounds of this process.
    #[error("{0}")]
    Full(&'static str),
    /// The provider refused.
    #[error(transparent)]
    Fabric(#[from] FabricError),
}

impl Control {
    /// Listens on every portal.
    pub(super) fn listen(&mut self, config: &Config) -> Result<(), StartError> {
        let all = config.listeners();
        let has_ipv4 = |port: u16| {
            all.iter().any(|listener| {
                matches!(listener.portal.endpoint, Endpoint::Ip { address: IpAddr::V4(_), port: other } if other == port)
            })
        };
        let served = all
            .iter()
            .filter(|listener| Transport::SERVED.contains(&listener.portal.transport));
        for listener in served {
            let addresses = match listener.portal.endpoint {
                // An IPv6 listener takes IPv6 only, so the wildcard for both is two listeners.
                Endpoint::Ip { address, port }
                    if address.is_unspecified() && address.is_ipv6() && !has_ipv4(port) =>
                {
                    let both = [Ipv4Addr::UNSPECIFIED.into(), address];
                    both.map(|address| ListenAddress::Ip(SocketAddr::new(address, port)))
                        .to_vec()
                }
                Endpoint::Ip { address, port } => {
                    vec![ListenAddress::Ip(SocketAddr::new(address, port))]
                }
                Endpoint::Service { service_id } => {
                    vec![ListenAddress::Service(ServiceId(service_id.value()))]
                }
            };
            for address in addresses {
                let id = self.manager.listen(address, BACKLOG).map_err(|source| {
                    let hint = hint(&source);
                    StartError::Listen {
                        portal: listener.portal.to_string(),
                        source,
                        hint,
                    }
                })?;
                self.listeners.insert(id, listener.targets.clone());
            }
            tracing::info!(portal = %listener.portal, "listening");
        }
        self.shared.ready.store(true, SeqCst);
        Ok(())
    }

    /// Answers a connection request.
    pub(super) fn login(&mut self, request: ConnectRequest) {
        let connection = request.connection;
        match self.admit(&request) {
            Ok(()) => {}
            Err(reject) => {
                self.shared.refused.fetch_add(1, Relaxed);
                let private_data = reject.map(|reject| reject.emit());
                let private_data = private_data.as_ref().map_or(&[][..], |data| &data[..]);
                if let Err(error) = self.manager.reject(connection, private_data) {
                    tracing::debug!(?connection, %error, "reject");
                }
            }
        }
    }

    /// Admits an initiator or says what to answer; `None` is a refusal without private data.
    fn admit(&mut self, request: &ConnectRequest) -> Result<(), Option<LoginReject>> {
        let peer = request.peer;
        let over = match peer {
            PeerAddress::Ip(_) => login::Transport::RdmaCm,
            PeerAddress::Gid(_) => login::Transport::NativeIb,
        };
        let login = LoginRequest::parse(&request.private_data, over).map_err(|error| {
            tracing::warn!(%peer, %error, "refused a login");
            None
        })?;
        let shared = Arc::clone(&self.shared);
        let targets = self.listeners.get(&request.listener);
        let candidates: Vec<&Target> = targets
            .into_iter()
            .flatten()
            .filter_map(|&index| shared.targets.get(index))
            .collect();
        let wanted = candidates
            .iter()
            .find(|target| target.port_id() == login.target_port)
            .or(candidates.first());
        let Some(target) = wanted else {
            return Err(Some(login.reject(RejectReason::InsufficientResources)));
        };
        let settings = LoginSettings {
            max_it_iu_length: self.shared.settings.max_it_iu_len,
            enabled: !self.draining,
            ..LoginSettings::new(target.port_id())
        };
        let names = initiator_names(login.initiator_port, peer.ip());
        let refused = |why: &dyn std::fmt::Display| {
            tracing::warn!(target = %target.name, %peer, ?names, %why, "refused a login");
        };
        let checked = login.check(&settings).map_err(|reject| {
            refused(&reject.reason);
            Some(reject)
        })?;
        self.open(request, target, &checked, &names)
            .map_err(|error| {
                match &error {
                    AdmitError::NoGroup => refused(&format_args!(
                        "no access group admits it; add one of its names to \"initiators\" of a group of this target"
                    )),
                    error => refused(error),
                }
                let reason = match error {
                    AdmitError::NoGroup | AdmitError::Channels => {
                        RejectReason::ChannelLimitReached
                    }
                    AdmitError::Full(_) | AdmitError::Fabric(_) => {
                        RejectReason::InsufficientResources
                    }
                };
                Some(login.reject(reason))
            })
    }

    fn open(
        &mut self,
        request: &ConnectRequest,
        target: &Target,
        login: &Login,
        names: &[String],
    ) -> Result<(), AdmitError> {
        let groups = target
            .groups
            .iter()
            .map(|group| (group, &group.patterns[..]));
        let group = first_group(groups, names).ok_or(AdmitError::NoGroup)?;
        let port = match self.port_of(&request.adapter) {
            Some(port) if self.ports[port].as_ref().is_some_and(|port| port.gone) => {
                return Err(AdmitError::Full("its adapter is going away"));
            }
            Some(port) => port,
            // It was plugged in after we last looked.
            None => self
                .add_adapter(Arc::clone(&request.adapter))
                .map_err(|_| AdmitError::Full("its adapter cannot be served"))?,
        };
        let nexus = NexusId {
            initiator: login.initiator_port,
            target: login.target_port,
        };
        let joins = login.action == MultichannelAction::Maintain;
        let existing = self.sessions.get(&nexus).filter(|_| joins).cloned();
        // The name alone opens no door: a channel joins only from where its session could come as well.
        if let Some(session) = &existing
            && (session.group != group.name || session.target != target.name)
        {
            return Err(AdmitError::NoGroup);
        }
        if joins && self.nexuses.channels(nexus).len() >= MAX_CHANNELS {
            return Err(AdmitError::Channels);
        }
        // An initiator that is in already takes its own session's place.
        let full = self.sessions.len() >= self.shared.settings.max_sessions as usize;
        if full && !self.sessions.contains_key(&nexus) {
            return Err(AdmitError::Full(
                "\"max_sessions\" initiators are logged in already",
            ));
        }
        let session =
            existing.unwrap_or_else(|| self.new_session(request, target, group, login, names));

        let (connection, completions) = self.make_connection(request, &session, login, port)?;
        let (id, key) = (connection.id, connection.key);
        let credits = connection.protocol.credits.initial();
        let depth = connection.reads_free;

        // Nothing can refuse the login any more but the accept itself.
        let joined = self.nexuses.join(nexus, id, login.action);
        for displaced in &joined.displaced {
            self.lost(*displaced, CloseReason::Replaced);
        }
        session.connections.fetch_add(1, Relaxed);
        self.shared
            .sessions()
            .insert(session.id, Arc::clone(&session));
        self.sessions.insert(nexus, Arc::clone(&session));
        let shard = &mut self.shards[usize::from(key.shard)];
        shard.connections += 1;
        shard.promised[port] += completions;
        shard.adopt(connection);
        tracing::info!(initiator = %session.initiator, target = %target.name, group = %group.name, peer = %request.peer, "login");
        self.connections.insert(
            id,
            Entry {
                key,
                nexus,
                session,
                port,
                completions,
            },
        );
        self.shared.logins.fetch_add(1, Relaxed);
        let capabilities = request.adapter.capabilities();
        let pending = PendingAccept {
            connection: id,
            after: self.replaced_by(nexus, id, login.action),
            answer: login.accept(credits, joined.result),
            responder_resources: request
                .peer_initiator_depth
                .min(capabilities.max_responder_resources),
            initiator_depth: u8::try_from(depth).unwrap_or(u8::MAX),
        };
        if pending.after.is_empty() {
            self.accept(&pending);
        } else {
            self.waiting.push(pending);
        }
        Ok(())
    }

    /// Connections of the nexus that a login ends. The initiator must not hear of its login before they are gone: a write of
    /// theirs that came to the device late would overwrite what it writes from now on.
    fn replaced_by(
        &self,
        nexus: NexusId,
        login: ConnectionId,
        action: MultichannelAction,
    ) -> Vec<ConnectionId> {
        let session = self.connections.get(&login).map(|entry| entry.session.id);
        self.connections
            .iter()
            .filter(|&(&id, entry)| entry.nexus == nexus && id != login)
            .filter(|(_, entry)| {
                action == MultichannelAction::Terminate || Some(entry.session.id) != session
            })
            .map(|(&id, _)| id)
            .collect()
    }

    /// A connection is gone: logins that waited for it alone are accepted.
    pub(super) fn accept_after(&mut self, gone: ConnectionId) {
        let mut still_waiting = Vec::new();
        for mut pending in std::mem::take(&mut self.waiting) {
            pending.after.retain(|&other| other != gone);
            if pending.connection == gone {
                continue;
            }
            if pending.after.is_empty() {
                self.accept(&pending);
            } else {
                still_waiting.push(pending);
            }
        }
        self.waiting = still_waiting;
    }

    fn accept(&mut self, pending: &PendingAccept) {
        let params = ConnectParams {
            private_data: &pending.answer,
            responder_resources: pending.responder_resources,
            initiator_depth: pending.initiator_depth,
            ..ConnectParams::default()
        };
        let id = pending.connection;
        if let Err(error) = self.manager.accept(id, &params) {
            tracing::warn!(connection = ?id, %error, "cannot accept");
            self.lost(id, CloseReason::HandshakeFailed);
        }
    }

    fn new_session(
        &mut self,
        request: &ConnectRequest,
        target: &Target,
        group: &Group,
        login: &Login,
        names: &[String],
    ) -> Arc<Session> {
        let id = SessionId(self.next_session);
        self.next_session += 1;
        let port = TargetPort {
            relative_identifier: 1,
            group: 1,
            name: PortName::Srp(login.target_port.0),
        };
        Arc::new(Session {
            id,
            initiator: names.first().cloned().unwrap_or_default(),
            target: target.name.clone(),
            group: group.name.clone(),
            transport: "srp",
            peer: request.peer.to_string(),
            scsi: ScsiSession::new(port, &group.luns),
            devices: Arc::clone(&self.shared.devices),
            connections: AtomicU32::new(0),
            in_flight: AtomicU32::new(0),
            known_losses: (self.shared.devices.iter())
                .map(|device| AtomicU64::new(device.lost_writes()))
                .collect(),
        })
    }

    fn make_connection(
        &mut self,
        request: &ConnectRequest,
        session: &Arc<Session>,
        login: &Login,
        port: usize,
    ) -> Result<(Box<Connection>, u32), AdmitError> {
        let capabilities = request.adapter.capabilities();
        let credits = Credits::new(self.shared.settings.queue_depth, 0);
        let receives = credits.receives();
        let depth = (credits.initial() * SENDS_PER_CREDIT)
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
        let caches = (self.shared.devices.iter())
            .map(|device| device.cache(&request.adapter))
            .collect();
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
            free_sends: (0..buffers.send.count() as u32).rev().collect(),
            buffers,
            key,
            id: request.connection,
            port,
            caches,
            scsi: session.scsi.channel(),
            session: Arc::clone(session),
            protocol: Channel::new(login, credits),
            adopted: None,
            established: false,
            announced: false,
            stalled: None,
            leaving: None,
            closing: None,
            room: depth,
            depth,
            max_sge: config.send_sge as usize,
            reads_free: u32::from(reads),
            signaled: 0,
            receives: 0,
            fetch_queue: VecDeque::with_capacity(receives as usize),
            room_queue: VecDeque::with_capacity(receives as usize),
            tasks: Vec::with_capacity(receives as usize),
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

    fn keep(&mut self, port: usize, buffers: MessageBuffers) {
        if let Some(Some(port)) = self.ports.get_mut(port) {
            port.stock.give_back(buffers);
        }
    }

    /// The shard with the fewest connections among those whose completion queue has room.
    fn least_busy(&self, port: usize, completions: u32) -> Option<usize> {
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
    pub(super) fn leave(&mut self, entry: &Entry, connection: ConnectionId) {
        self.nexuses.leave(entry.nexus, connection);
        if entry.session.connections.fetch_sub(1, Relaxed) > 1 {
            return;
        }
        tracing::info!(initiator = %entry.session.initiator, target = %entry.session.target, "logout");
        self.shared.sessions().remove(&entry.session.id);
        // A newer session of the same nexus stays.
        if let Some(current) = self.sessions.get(&entry.nexus)
            && Arc::ptr_eq(current, &entry.session)
        {
            self.sessions.remove(&entry.nexus);
        }
    }
}

/// What to do when a portal cannot listen.
fn hint(error: &FabricError) -> &'static str {
    match error {
        FabricError::Call { source, .. } => match source.kind() {
            std::io::ErrorKind::AddrInUse => {
                "; another program listens there: stop it, or choose another \"port\""
            }
            std::io::ErrorKind::AddrNotAvailable => {
                "; no RDMA-capable interface of this machine has that address: use one that has, or \"0.0.0.0\""
            }
            _ => "",
        },
        _ => "",
    }
}
