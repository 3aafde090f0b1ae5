//! NVMe hosts: connection requests of queues, and Connect, which makes controllers (NVMe base 2.0 section 6.3).
//!
//! Every Connect to an admin queue makes a controller of its own (the dynamic controller model), and with it a session. I/O
//! queues join it later, each over a connection of its own, and all of them go when the admin queue goes.

use std::net::SocketAddr;
use std::sync::Arc;

use pagecast_core::nvme::{
    ADMIN_QUEUE_DEPTH, Completion, Controller, ControllerSetup, DISCOVERY_NQN, Host, Kind,
    SQE_SIZE, Status,
};
use pagecast_core::scsi::PortName;
use pagecast_rdma::fabric::{ConnectRequest, PeerAddress};

use super::adapters::staging_share;
use super::logins::{AdmitError, Answer, Arrival, Identity, Newcomer, SPARE_RECEIVES};
use super::nvme_controllers::Association;
use super::nvme_discovery::DiscoveryLog;
use super::targets::relative_port;
use super::tell::{Stranger, no_group};
use super::{Control, Entry, Nexus, Origin, devices};
use crate::config::{Portal, Transport};
use crate::iscsi::directory::PORTAL_GROUP;
use crate::nvme::capsule::IN_CAPSULE;
use crate::nvme::cm::{self, Reject};
use crate::nvme::connect::{ANY_CONTROLLER, invalid_in_command, invalid_in_data};
use crate::session::Session;
use crate::shard::messages::{ConnectionKey, NvmeAdmission, NvmeConnect, ShardMessage};
use crate::shard::nvme::Channel;
use crate::shard::protocol::Protocol;

/// The longest message that a host sends: a submission queue entry with data.
pub(super) const CAPSULE: usize = SQE_SIZE + IN_CAPSULE as usize;

/// Discovery controllers, of all hosts; some hosts keep theirs for as long as they run.
const MAX_DISCOVERY: usize = 512;
/// The same from one address, so that nobody takes all the room.
const MAX_DISCOVERY_OF_ONE: usize = 16;

/// Byte offsets in Connect's submission queue entry and in its data, for those who are told what was wrong.
mod at {
    pub(super) const QUEUE: u16 = 42;
    pub(super) const HOST_ID: u16 = 0;
    pub(super) const CONTROLLER: u16 = 16;
    pub(super) const SUBSYSTEM: u16 = 256;
    pub(super) const HOST_NQN: u16 = 512;
}

/// What an admitted Connect has to wait for, and its answer.
type Admitted = (Vec<ConnectionKey>, NvmeAdmission);

impl Control {
    /// Accepts a queue's connection request. Connect comes after that.
    pub(super) fn open_nvme(
        &mut self,
        request: &ConnectRequest,
        portal: Portal,
    ) -> Result<(), Reject> {
        let peer = match request.peer.ip() {
            Some(ip) => ip.to_string(),
            None => request.peer.to_string(),
        };
        let stranger = Stranger {
            initiator: None,
            target: None,
            transport: Transport::NvmeRdma,
            peer: &peer,
        };
        let refused = |why: &dyn std::fmt::Display| self.shared.tell_refused(stranger, why);
        let wanted = cm::Request::parse(&request.private_data).inspect_err(|why| refused(why))?;
        let entries = self
            .entries(&wanted, request)
            .inspect_err(|why| refused(why))?;
        self.open_queue(request, portal, &peer, wanted.queue, entries)
            .map_err(|error| {
                self.shared.tell_refused(stranger, &error);
                Reject::NoResources
            })
    }

    /// The entries that a queue will have.
    fn entries(&self, wanted: &cm::Request, request: &ConnectRequest) -> Result<u16, Reject> {
        let limit = match wanted.queue {
            0 => ADMIN_QUEUE_DEPTH,
            queue if queue <= self.io_queues() => self.io_queue_depth(),
            _ => return Err(Reject::InvalidQueue),
        };
        // A queue of one entry can hold none: head and tail tell a full one from an empty one by it.
        if wanted.send_entries < 2 || wanted.queue == 0 && wanted.send_entries > ADMIN_QUEUE_DEPTH {
            return Err(Reject::InvalidSendEntries);
        }
        if wanted.receive_entries == 0 {
            return Err(Reject::InvalidReceiveEntries);
        }
        if request.peer_responder_resources == 0 {
            return Err(Reject::InvalidIrd);
        }
        Ok(limit.min(wanted.send_entries).min(wanted.receive_entries))
    }

    fn io_queues(&self) -> u16 {
        u16::try_from(self.shared.settings.nvme_io_queues).unwrap_or(u16::MAX)
    }

    fn io_queue_depth(&self) -> u16 {
        u16::try_from(self.shared.settings.queue_depth).unwrap_or(u16::MAX)
    }

    fn open_queue(
        &mut self,
        request: &ConnectRequest,
        portal: Portal,
        peer: &str,
        queue: u16,
        entries: u16,
    ) -> Result<(), AdmitError> {
        let expected = queue != 0 && self.expects_queue(peer);
        if !expected || self.draining {
            self.check_room(peer)?;
        }
        let port = self.port_for(&request.adapter)?;
        let invalidates = request.adapter.capabilities().send_with_invalidate;
        let newcomer = Newcomer {
            session: self.stranger(portal.transport, peer.to_owned()),
            protocol: Protocol::Nvme(Box::new(Channel::new(queue, entries, invalidates))),
            port,
            commands: entries.into(),
            receives: u32::from(entries) + SPARE_RECEIVES,
        };
        let (connection, completions) = self.make_connection(request, newcomer)?;
        let (key, depth) = (connection.key, connection.reads_free);
        let origin = Origin {
            local: match request.local {
                PeerAddress::Ip(at) => Some(SocketAddr::new(at.ip().to_canonical(), at.port())),
                PeerAddress::Gid(_) => None,
            },
            expected,
            ..Origin::of(portal, peer.to_owned())
        };
        self.enter(
            connection,
            Some(request.connection),
            None,
            completions,
            origin,
        );
        let answer = Answer::accept(request, cm::accept(entries).to_vec(), depth);
        self.answer_after(key, Vec::new(), answer);
        Ok(())
    }

    /// Whether an I/O queue from there is not a stranger's: hosts open all of them at once, and connect them then.
    fn expects_queue(&self, peer: &str) -> bool {
        let (mut room, mut pending) = (0, 0);
        for association in self.controllers.by_id.values() {
            let controller = &association.controller;
            if association.session.peer == peer && controller.is_enabled() {
                room += usize::from(controller.queues());
            }
        }
        for entry in self.connections.values() {
            let waits = entry.origin.expected && entry.nexus.is_none();
            pending += usize::from(waits && entry.origin.peer == peer);
        }
        pending < room
    }

    /// A shard asks whether a host may connect.
    pub(super) fn nvme_connect(&mut self, key: ConnectionKey, connect: &NvmeConnect) {
        let admitted = match connect.command.queue {
            0 => self.connect_admin(key, connect),
            _ => self.connect_io(key, connect),
        };
        match admitted {
            Ok((after, admission)) => {
                self.answer_after(key, after, Answer::Connect(Box::new(admission)));
            }
            Err(completion) => {
                self.shared.count_refused();
                self.tell(key, ShardMessage::Connected(key, Err(completion)));
            }
        }
    }

    /// A host is known by its identifier to those who share its devices. Where one of another name uses it already, as copies of
    /// machines do, that one stays who it is, and this one has no reservations.
    fn reservation_identity(&self, host: &Host) -> Option<Identity> {
        let admin = |association: &Association| {
            let key = association.queues.get(&0)?;
            self.connections.get(key)
        };
        let mut others = self.controllers.by_id.values().filter(|association| {
            let other = association.controller.host();
            other.id == host.id
                && other.nqn != host.nqn
                && association.session.scsi.registrant().is_some()
                && admin(association).is_some_and(|entry| !entry.unproven)
        });
        match others.next() {
            None => Some(Identity::Nvme(host.id)),
            Some(other) => {
                tracing::warn!(host = %host.nqn, other = %other.controller.host().nqn,
                    "two hosts have one host identifier: the later one can have no reservations; give it an identifier of its own (/etc/nvme/hostid on Linux)");
                None
            }
        }
    }

    /// Makes a controller, if the host may have one.
    fn connect_admin(
        &mut self,
        key: ConnectionKey,
        connect: &NvmeConnect,
    ) -> Result<Admitted, Completion> {
        let inventory = self.shared.inventory();
        let data = &connect.data;
        let host = &data.host;
        let (peer, origin) = self.newcomer(key)?;
        let mut here = inventory.targets_at(origin.portal);
        let target = here.find(|target| target.identity.nqn == data.subsystem);
        let address = peer.clone();
        let stranger = Stranger {
            initiator: Some(&host.nqn),
            target: Some(target.map_or(&data.subsystem, |target| &target.name)),
            transport: Transport::NvmeRdma,
            peer: &address,
        };
        let refused = |why: &str| self.shared.tell_refused(stranger, &why);
        if data.controller != ANY_CONTROLLER {
            refused("it asks for a certain controller, where controllers are dynamic");
            return Err(invalid_in_data(at::CONTROLLER));
        }
        // Hosts have to be told apart (NVMe base 2.0 section 5.27.1.25).
        if host.id == [0; 16] {
            refused("its host identifier is zero");
            return Err(invalid_in_data(at::HOST_ID));
        }
        if self.draining {
            return Err(Status::CONNECT_BUSY.into());
        }
        if data.subsystem == DISCOVERY_NQN {
            return self.connect_discovery(key, connect, peer, &origin);
        }
        let Some(target) = target else {
            refused("no target of this portal has that name");
            return Err(invalid_in_data(at::SUBSYSTEM));
        };
        let names = vec![host.nqn.clone(), peer.clone()];
        let Some(group) = target.group_of(&names) else {
            refused(&no_group(&target.name, &host.nqn, &peer));
            return Err(Status::CONNECT_INVALID_HOST.into());
        };
        if self.is_full() {
            refused("\"max_sessions\" initiators are logged in already");
            return Err(Status::CONNECT_BUSY.into());
        }
        let id = (self.controllers.free_id()).ok_or(Completion::from(Status::CONNECT_BUSY))?;
        let after = self.leaving(&target.name, &host.nqn);
        let arrival = Arrival {
            transport: Transport::NvmeRdma,
            initiator: host.nqn.clone(),
            peer,
            // Nobody sees it: namespaces have no port.
            port: PortName::Iscsi {
                target: target.identity.nqn.clone(),
                portal_group: PORTAL_GROUP,
            },
            identity: self.reservation_identity(host),
        };
        let session = self.new_session(target, group, arrival);
        let serial = target.identity.nvme_serial.clone();
        let controller = Controller::new(self.setup(id, connect, Kind::Io, serial));
        let association = Association {
            controller,
            session: Arc::clone(&session),
            queues: [(0, key)].into(),
        };
        let admission = association.admission(group.dhchap.clone());
        self.controllers.by_id.insert(id, association);
        self.log_in(key, Nexus::Nvme(id), &session, names);
        if let Some(entry) = self.connections.get_mut(&key) {
            entry.unproven = group.dhchap.is_some();
        }
        Ok((after, admission))
    }

    /// Makes a discovery controller, which anybody may have: what it shows depends on the host. It is no session of anybody's.
    fn connect_discovery(
        &mut self,
        key: ConnectionKey,
        connect: &NvmeConnect,
        peer: String,
        origin: &Origin,
    ) -> Result<Admitted, Completion> {
        let host = &connect.data.host;
        let (mut all, mut of_one) = (0, 0);
        for association in self.controllers.by_id.values() {
            if association.controller.is_discovery() {
                all += 1;
                of_one += usize::from(association.session.peer == peer);
            }
        }
        if all >= MAX_DISCOVERY || of_one >= MAX_DISCOVERY_OF_ONE {
            let who = Stranger {
                initiator: Some(&host.nqn),
                target: None,
                transport: Transport::NvmeRdma,
                peer: &peer,
            };
            self.shared
                .tell_refused(who, &"too many discovery controllers");
            return Err(Status::CONNECT_BUSY.into());
        }
        let id = (self.controllers.free_id()).ok_or(Completion::from(Status::CONNECT_BUSY))?;
        tracing::info!(host = %host.nqn, %peer, "discovery");
        let names = vec![host.nqn.clone(), peer.clone()];
        let log = DiscoveryLog::new(Arc::clone(&self.shared), names, origin.local);
        let kind = Kind::Discovery(Arc::new(log));
        let session = self.session_without_units(Transport::NvmeRdma, host.nqn.clone(), peer);
        let association = Association {
            controller: Controller::new(self.setup(id, connect, kind, "pagecast".to_owned())),
            session,
            queues: [(0, key)].into(),
        };
        let admission = association.admission(None);
        self.controllers.by_id.insert(id, association);
        if let Some(entry) = self.connections.get_mut(&key) {
            entry.nexus = Some(Nexus::Nvme(id));
        }
        Ok((Vec::new(), admission))
    }

    fn setup(&self, id: u16, connect: &NvmeConnect, kind: Kind, serial: String) -> ControllerSetup {
        ControllerSetup {
            kind,
            id,
            subsystem: connect.data.subsystem.clone(),
            host: connect.data.host.clone(),
            serial,
            port: relative_port(Transport::NvmeRdma),
            queue_depth: self.io_queue_depth(),
            queues: self.io_queues(),
            in_capsule: IN_CAPSULE,
            // MDTS is a power of two, and nothing beyond it is served.
            max_transfer: 1 << devices::max_transfer(staging_share(&self.shared.settings)).ilog2(),
            keep_alive: connect.command.keep_alive,
            now: connect.now,
        }
    }

    /// Adds an I/O queue to a controller.
    fn connect_io(
        &mut self,
        key: ConnectionKey,
        connect: &NvmeConnect,
    ) -> Result<Admitted, Completion> {
        let inventory = self.shared.inventory();
        let (peer, origin) = self.newcomer(key)?;
        let (data, queue) = (&connect.data, connect.command.queue);
        let shared = Arc::clone(&self.shared);
        let refused = |why: &str| {
            let who = Stranger {
                initiator: Some(&data.host.nqn),
                target: Some(&data.subsystem),
                transport: Transport::NvmeRdma,
                peer: &peer,
            };
            let why = format!("queue {queue} of controller {}: {why}", data.controller);
            shared.tell_refused(who, &why);
        };
        let ending = |key: &ConnectionKey| {
            let entry = self.connections.get(key);
            entry.is_none_or(|entry| entry.ending)
        };
        // A host that has lost queues, or has reset its controller, connects them again, maybe before all of the old ones are gone. A
        // write of theirs that came to the device late would overwrite what it writes from now on.
        // Whoever knows a controller's names may come only from where the controller could have come from.
        let mut here = inventory.targets_at(origin.portal);
        let target = here.find(|target| target.identity.nqn == data.subsystem);
        let names = vec![data.host.nqn.clone(), peer.clone()];
        let group = target.and_then(|target| target.group_of(&names));
        let admits = |session: &Session| group.is_some_and(|group| *group.name == *session.group());
        let nexus = Nexus::Nvme(data.controller);
        let all = self.connections.iter();
        let after = all
            .filter(|(_, entry)| entry.ending && entry.nexus.as_ref() == Some(&nexus))
            .map(|(&key, _)| key)
            .collect();
        let association = self.controllers.by_id.get_mut(&data.controller);
        let Some(association) = association.filter(|association| {
            // A controller whose admin queue goes is none any more.
            let admin = association.queues.get(&0);
            association.controller.subsystem() == data.subsystem
                && admin.is_some_and(|admin| !ending(admin))
        }) else {
            refused("there is no such controller");
            return Err(invalid_in_data(at::CONTROLLER));
        };
        let controller = &association.controller;
        let wrong = if controller.host().nqn != data.host.nqn {
            Some((
                "the controller is another host's",
                invalid_in_data(at::HOST_NQN),
            ))
        } else if controller.host().id != data.host.id {
            Some((
                "the controller is another host's",
                invalid_in_data(at::HOST_ID),
            ))
        } else if controller.is_discovery() || queue > controller.queues() {
            let result = invalid_in_command(at::QUEUE);
            Some(("the controller has no such queue", result))
        } else if !admits(&association.session) {
            let result = Status::CONNECT_INVALID_HOST.into();
            Some(("no access group admits it from there", result))
        } else if !controller.is_enabled() {
            Some((
                "the controller is not enabled",
                invalid_in_command(at::QUEUE),
            ))
        } else {
            None
        };
        if let Some((why, completion)) = wrong {
            refused(why);
            return Err(completion);
        }
        if let Some(other) = association.queues.get(&queue)
            && !ending(other)
        {
            refused("it has that queue already");
            return Err(Status::COMMAND_SEQUENCE_ERROR.into());
        }
        association.queues.insert(queue, key);
        // As the group asks for it now: whoever has moved here did not come in by it.
        let admission = association.admission(group.and_then(|group| group.dhchap.clone()));
        self.join(key, nexus, &admission.session, names);
        if let Some(entry) = self.connections.get_mut(&key) {
            entry.unproven = admission.credentials.is_some();
        }
        Ok((after, admission))
    }

    /// Where a connection that connects a queue came from.
    fn newcomer(&self, key: ConnectionKey) -> Result<(String, Origin), Completion> {
        let entry = self.connections.get(&key);
        let entry = entry.filter(|entry| !entry.ending && entry.nexus.is_none());
        let entry = entry.ok_or(Completion::from(Status::COMMAND_SEQUENCE_ERROR))?;
        Ok((entry.origin.peer.clone(), entry.origin.clone()))
    }

    /// Queues of earlier controllers of a host's that are on their way out. It must not hear of its new one before they are gone: a
    /// write of theirs that came to the device late would overwrite what it writes from now on.
    fn leaving(&self, target: &str, nqn: &str) -> Vec<ConnectionKey> {
        let theirs = |entry: &Entry| {
            let session = entry.session.as_ref();
            entry.transport == Transport::NvmeRdma
                && session
                    .is_some_and(|session| session.target == target && session.initiator == nqn)
        };
        let all = self.connections.iter();
        all.filter(|(_, entry)| entry.ending && theirs(entry))
            .map(|(&key, _)| key)
            .collect()
    }
}
