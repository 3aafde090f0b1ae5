//! SRP logins: connection requests that bring everything that a login needs (SRP r16a section 5, annex B).

use std::sync::Arc;

use pagecast_core::reservations::InitiatorPort;
use pagecast_core::scsi::PortName;
use pagecast_rdma::fabric::{ConnectRequest, PeerAddress};

use super::logins::{AdmitError, Answer, Arrival, Identity, Newcomer};
use super::targets::Target;
use super::tell::{Stranger, no_group};
use super::{Control, Nexus, Origin};
use crate::config::{Portal, Transport};
use crate::session::Session;
use crate::shard::messages::{CloseReason, ConnectionKey};
use crate::shard::protocol::Protocol;
use crate::shard::srp::Channel;
use crate::srp::credits::Credits;
use crate::srp::login::{
    self, Login, LoginReject, LoginRequest, LoginSettings, MultichannelAction, RejectReason,
};
use crate::srp::names::initiator_names;
use crate::srp::nexus::NexusId;

/// Channels that one session may have.
const MAX_CHANNELS: usize = 64;

impl Control {
    /// Admits an initiator or says what to answer; `None` is a refusal without private data.
    pub(super) fn admit_srp(
        &mut self,
        request: &ConnectRequest,
        portal: Portal,
    ) -> Result<(), Option<LoginReject>> {
        let peer = request.peer;
        let over = match peer {
            PeerAddress::Ip(_) => login::Transport::RdmaCm,
            PeerAddress::Gid(_) => login::Transport::NativeIb,
        };
        let address = peer.to_string();
        let stranger = Stranger {
            initiator: None,
            target: None,
            transport: Transport::Srp,
            peer: &address,
        };
        let login = LoginRequest::parse(&request.private_data, over).map_err(|error| {
            self.shared.tell_refused(stranger, &error);
            None
        })?;
        let inventory = self.shared.inventory();
        let candidates: Vec<&Arc<Target>> = inventory.targets_at(portal).collect();
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
        let stranger = Stranger {
            initiator: names.first().map(String::as_str),
            target: Some(&target.name),
            ..stranger
        };
        let checked = login.check(&settings).map_err(|reject| {
            self.shared.tell_refused(stranger, &reject.reason);
            Some(reject)
        })?;
        self.open_srp(request, portal, target, &checked, &names)
            .map_err(|error| {
                match &error {
                    AdmitError::NoGroup => {
                        let name = stranger.initiator.unwrap_or_default();
                        let why = no_group(&target.name, name, stranger.peer);
                        self.shared.tell_refused(stranger, &why);
                    }
                    error => self.shared.tell_refused(stranger, error),
                }
                let reason = match error {
                    AdmitError::NoGroup | AdmitError::OtherGroup | AdmitError::Channels(_) => {
                        RejectReason::ChannelLimitReached
                    }
                    AdmitError::Full(_) | AdmitError::Fabric(_) => {
                        RejectReason::InsufficientResources
                    }
                };
                Some(login.reject(reason))
            })
    }

    fn open_srp(
        &mut self,
        request: &ConnectRequest,
        portal: Portal,
        target: &Target,
        login: &Login,
        names: &[String],
    ) -> Result<(), AdmitError> {
        let group = target.group_of(names).ok_or(AdmitError::NoGroup)?;
        let port = self.port_for(&request.adapter)?;
        let nexus = NexusId {
            initiator: login.initiator_port,
            target: login.target_port,
        };
        let joins = login.action == MultichannelAction::Maintain;
        // Not one that is on its way out, as when an operator has ended it: the new channel takes its place.
        let existing = (self.sessions.get(&Nexus::Srp(nexus)))
            .filter(|session| joins && self.is_alive(session))
            .cloned();
        let action = match existing {
            Some(_) => login.action,
            None => MultichannelAction::Terminate,
        };
        // The name alone opens no door: a channel joins only from where its session could come as well.
        if let Some(session) = &existing
            && (*session.group() != *group.name || session.target != target.name)
        {
            return Err(AdmitError::OtherGroup);
        }
        if existing.is_some() && self.nexuses.channels(nexus).len() >= MAX_CHANNELS {
            return Err(AdmitError::Channels(MAX_CHANNELS));
        }
        // An initiator that is in already takes its own session's place.
        if self.is_full() && !self.sessions.contains_key(&Nexus::Srp(nexus)) {
            return Err(AdmitError::Full(
                "\"max_sessions\" initiators are logged in already",
            ));
        }
        let arrival = Arrival {
            transport: Transport::Srp,
            initiator: names.first().cloned().unwrap_or_default(),
            peer: request.peer.to_string(),
            port: PortName::Srp(login.target_port.0),
            identity: Some(Identity::Scsi(InitiatorPort::Srp(login.initiator_port.0))),
        };
        let session = existing.unwrap_or_else(|| self.new_session(target, group, arrival));
        let credits = Credits::new(self.shared.settings.queue_depth, 0);
        let (initial, receives) = (credits.initial(), credits.receives());
        let newcomer = Newcomer {
            session: Arc::clone(&session),
            protocol: Protocol::Srp(Channel::new(login, credits)),
            port,
            commands: initial,
            receives,
        };
        let (connection, completions) = self.make_connection(request, newcomer)?;
        let key = connection.key;
        let depth = connection.reads_free;

        // Nothing can refuse the login any more but the accept itself.
        let joined = self.nexuses.join(nexus, key, action);
        for displaced in &joined.displaced {
            self.end(*displaced, CloseReason::Replaced);
        }
        self.enter(
            connection,
            Some(request.connection),
            Some(Nexus::Srp(nexus)),
            completions,
            Origin::of(portal, request.peer.to_string()),
        );
        self.log_in(key, Nexus::Srp(nexus), &session, names.to_vec());
        let after = self.replaced_by(nexus, key, action);
        let answer = login.accept(initial, joined.result).to_vec();
        let answer = Answer::accept(request, answer, depth);
        self.answer_after(key, after, answer);
        Ok(())
    }

    /// Whether a session has a channel that is not about to end.
    fn is_alive(&self, session: &Arc<Session>) -> bool {
        let own = |other: &Arc<Session>| Arc::ptr_eq(other, session);
        (self.connections.values())
            .any(|entry| !entry.ending && entry.session.as_ref().is_some_and(own))
    }

    /// Connections of the nexus that a login ends. The initiator must not hear of its login before they are gone: a write of
    /// theirs that came to the device late would overwrite what it writes from now on.
    fn replaced_by(
        &self,
        nexus: NexusId,
        login: ConnectionKey,
        action: MultichannelAction,
    ) -> Vec<ConnectionKey> {
        let session_of = |key| {
            let session = self.connections.get(&key)?.session.as_ref()?;
            Some(session.id)
        };
        let session = session_of(login);
        self.connections
            .iter()
            .filter(|&(&key, entry)| entry.nexus == Some(Nexus::Srp(nexus)) && key != login)
            .filter(|&(&key, _)| {
                action == MultichannelAction::Terminate || session_of(key) != session
            })
            .map(|(&key, _)| key)
            .collect()
    }
}
