//! iSCSI logins. A connection is served before its login is over: its shard leads the login phase, and asks here whether the
//! initiator may come in (RFC 7143 section 6).

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use pagecast_core::reservations::InitiatorPort;
use pagecast_core::scsi::PortName;
use pagecast_rdma::fabric::ConnectRequest;

use super::directory::PortalDirectory;
use super::listeners;
use super::logins::{AdmitError, Answer, Arrival, Identity, Newcomer, SPARE_RECEIVES};
use super::tell::{Stranger, no_group};
use super::{Control, IscsiNexus, Nexus, Origin, SEND_SIZE};
use crate::config::Portal;
use crate::iscsi::connection::Timers;
use crate::iscsi::directory::PORTAL_GROUP;
use crate::iscsi::login::{LoginStatus, LoginSummary};
use crate::iscsi::parameters::{Datamover, Limits};
use crate::iser;
use crate::session::Proof;
use crate::shard::connection::Connection;
use crate::shard::iscsi::Channel;
use crate::shard::messages::{Admission, CloseReason, ConnectionKey, ShardMessage};
use crate::shard::protocol::Protocol;
use crate::shard::stream::Stream;

/// Bytes of a data segment that an iSER initiator may send, and of its message with a few additional headers.
const ISER_SEGMENT: usize = 8192;
pub(super) const ISER_MESSAGE: usize = iser::message::MESSAGE_HEADERS + ISER_SEGMENT + 48;

impl Control {
    /// Accepts a connection request of an iSER initiator (RFC 7145 section 5.1). Logging in comes after that.
    pub(super) fn open_iser(
        &mut self,
        request: &ConnectRequest,
        portal: Portal,
    ) -> Result<(), AdmitError> {
        let peer = match request.peer.ip() {
            Some(ip) => ip.to_string(),
            None => request.peer.to_string(),
        };
        self.check_room(&peer)?;
        let theirs = iser::negotiation::Initiator::decode(&request.private_data);
        let invalidates =
            theirs.takes_invalidation && request.adapter.capabilities().send_with_invalidate;
        let port = self.port_for(&request.adapter)?;
        let limits = self.iscsi_limits(Datamover::Iser);
        let local = request.local.ip().map(|ip| SocketAddr::new(ip, 0));
        let channel = self.channel(Datamover::Iser, limits, portal, local, &peer);
        let newcomer = Newcomer {
            session: self.stranger(portal.transport, peer.clone()),
            protocol: Protocol::Iscsi(Box::new(channel.with_invalidation(invalidates))),
            port,
            commands: limits.commands,
            receives: limits.commands + SPARE_RECEIVES,
        };
        let (connection, completions) = self.make_connection(request, newcomer)?;
        let (key, depth) = (connection.key, connection.reads_free);
        let id = Some(request.connection);
        let origin = Origin::of(portal, peer);
        self.enter(connection, id, None, completions, origin);
        let answer = Answer::accept(
            request,
            iser::negotiation::answer(invalidates).to_vec(),
            depth,
        );
        self.answer_after(key, Vec::new(), answer);
        Ok(())
    }

    /// Takes a TCP connection in.
    pub(super) fn adopt_stream(
        &mut self,
        socket: TcpStream,
        peer: SocketAddr,
        portal: Portal,
    ) -> Result<(), io::Error> {
        let full = |error: AdmitError| io::Error::other(error.to_string());
        let peer = peer.ip().to_string();
        self.check_room(&peer).map_err(full)?;
        listeners::prepare(&socket)?;
        let local = socket.local_addr().ok();
        let limits = self.iscsi_limits(Datamover::Tcp);
        let channel = self.channel(Datamover::Tcp, limits, portal, local, &peer);
        tracing::debug!(%peer, "connected");
        let session = self.stranger(portal.transport, peer.clone());
        let none = || full(AdmitError::Full("no I/O thread takes it"));
        let port = self.local_port.ok_or_else(none)?;
        let shard = self.least_busy(port, 0).ok_or_else(none)?;
        let place = self.ports.get_mut(port).and_then(Option::as_mut);
        let buffers = place
            .ok_or_else(none)?
            .stock
            .take()
            .map_err(|error| full(error.into()))?;
        let Some(key) = self.shards[shard].take_slot(shard as u16) else {
            self.keep(port, buffers);
            return Err(none());
        };
        let protocol = Protocol::Iscsi(Box::new(channel));
        let connection = Connection {
            stream: Some(Box::new(Stream::new(socket.into()))),
            established: true,
            ..Connection::new(key, port, session, protocol, buffers)
        };
        let origin = Origin::of(portal, peer);
        self.enter(Box::new(connection), None, None, 0, origin);
        Ok(())
    }

    /// A shard asks whether an initiator may come in.
    pub(super) fn iscsi_login(&mut self, key: ConnectionKey, summary: &LoginSummary) {
        match self.admit_iscsi(key, summary) {
            Ok((after, admission)) => self.answer_after(key, after, Answer::Admit(admission)),
            Err(status) => {
                self.shared.count_refused();
                self.tell(key, ShardMessage::Admitted(key, Err(status)));
            }
        }
    }

    fn admit_iscsi(
        &mut self,
        key: ConnectionKey,
        summary: &LoginSummary,
    ) -> Result<(Vec<ConnectionKey>, Admission), LoginStatus> {
        let entry = (self.connections.get(&key)).ok_or(LoginStatus::SERVICE_UNAVAILABLE)?;
        let (transport, portal) = (entry.transport, entry.origin.portal);
        let peer = entry.origin.peer.clone();
        if self.draining {
            return Err(LoginStatus::SERVICE_UNAVAILABLE);
        }
        let wanted = summary.target.as_deref().unwrap_or_default();
        let inventory = self.shared.inventory();
        let target = (inventory.targets_at(portal))
            .find(|target| target.identity.iqn.eq_ignore_ascii_case(wanted))
            .ok_or(LoginStatus::NOT_FOUND)?;
        let stranger = Stranger {
            initiator: Some(&summary.initiator),
            target: Some(&target.name),
            transport,
            peer: &peer.clone(),
        };
        let refused = |why: &str| self.shared.tell_refused(stranger, &why);
        let Some(group) = target.group_of_iscsi(&summary.initiator, &peer) else {
            refused(&no_group(&target.name, &summary.initiator, &peer));
            return Err(LoginStatus::FORBIDDEN);
        };
        // The directory was asked with the same names, but groups and secrets may have changed since; and nobody comes in by a mistake there.
        let proved = summary.proved.clone().map_or(Proof::Nothing, Proof::Chap);
        if !proved.is_good_for(&group.proof(transport)) {
            refused("it has not proved who it is to the access group that admits it");
            return Err(LoginStatus::AUTHENTICATION_FAILURE);
        }
        let nexus = Nexus::Iscsi(IscsiNexus {
            initiator: summary.initiator.clone(),
            isid: summary.isid,
            target: target.name.clone(),
        });
        // A connection more for a session: it may have one only (MaxConnections).
        if summary.tsih != 0 {
            refused("it asks for another connection of a session, which may have one only");
            let known = self.sessions.contains_key(&nexus);
            return Err(if known {
                LoginStatus::TOO_MANY_CONNECTIONS
            } else {
                LoginStatus::SESSION_DOES_NOT_EXIST
            });
        }
        // An initiator that is in already takes its own session's place (session reinstatement, RFC 7143 section 6.3.5).
        if self.is_full() && !self.sessions.contains_key(&nexus) {
            refused("\"max_sessions\" initiators are logged in already");
            return Err(LoginStatus::OUT_OF_RESOURCES);
        }
        let after: Vec<_> = (self.connections.iter())
            .filter(|&(&other, entry)| entry.nexus.as_ref() == Some(&nexus) && other != key)
            .map(|(&other, _)| other)
            .collect();
        for &other in &after {
            self.end(other, CloseReason::Replaced);
        }
        let arrival = Arrival {
            transport,
            initiator: summary.initiator.clone(),
            peer: peer.clone(),
            port: PortName::Iscsi {
                target: target.identity.iqn.clone(),
                portal_group: PORTAL_GROUP,
            },
            identity: Some(Identity::Scsi(InitiatorPort::Iscsi {
                name: summary.initiator.clone(),
                isid: summary.isid,
            })),
        };
        let session = self.new_session(target, group, arrival);
        let names = vec![summary.initiator.clone(), peer];
        self.log_in(key, nexus, &session, names);
        let tsih = u16::try_from(session.id.0 % 0xffff).unwrap_or_default() + 1;
        Ok((after, Admission { session, tsih }))
    }

    fn channel(
        &self,
        datamover: Datamover,
        limits: Limits,
        portal: Portal,
        local: Option<SocketAddr>,
        peer: &str,
    ) -> Channel {
        let directory = PortalDirectory {
            shared: Arc::clone(&self.shared),
            portal,
            local,
            peer: peer.to_owned(),
        };
        let settings = &self.shared.settings;
        let timers = Timers {
            nop_interval: settings.nop_interval.duration(),
            nop_timeout: settings.nop_timeout.duration(),
            ..Timers::default()
        };
        let mut channel = Channel::new(datamover, limits, Arc::new(directory), timers);
        if datamover == Datamover::Iser {
            channel
                .connection
                .set_room(SEND_SIZE - iser::message::MESSAGE_HEADERS);
        }
        channel
    }

    fn iscsi_limits(&self, datamover: Datamover) -> Limits {
        let settings = &self.shared.settings;
        Limits {
            commands: settings.iscsi_queue_depth(),
            receive_data_segment: match datamover {
                Datamover::Iser => ISER_SEGMENT as u32,
                Datamover::Tcp => 256 << 10,
            },
            max_burst: 1 << 20,
            first_burst: 64 << 10,
        }
    }
}
