//! Connect and authentication: what comes before commands.

use std::time::Duration;

use pagecast_core::nvme::{Command, Completion, Queue, Status};

use super::super::Shard;
use super::super::connection::Connection;
use super::super::messages::{
    CloseReason, ConnectionKey, ControlMessage, NvmeAdmission, NvmeConnect,
};
use super::super::protocol::Protocol;
use super::super::task::{Phase, TaskId};
use super::{Auth, Channel, HostData, Next, State};
use crate::iscsi::login::LoginFailure;
use crate::nvme::auth::{Exchange, Progress};
use crate::nvme::connect::{ConnectCommand, ConnectData, fctype};

/// AUTHREQ in Connect's result: the host has to authenticate by DH-HMAC-CHAP (ATR; NVMe base 2.0 figure 393).
const AUTHENTICATION_TRANSACTION_REQUIRED: u64 = 1 << 17;

/// SECP of Authentication Send and Receive (NVMe base 2.0 section 6.1): the security protocol that NVMe's own messages have.
const NVME_AUTHENTICATION: u8 = 0xe9;

/// Longest message that a host may send: with the largest public value it is 1 KiB and a few headers.
const MAX_MESSAGE: u32 = 4096;

impl Channel {
    /// Authentication Send and Receive: bytes 43 to 40 have SECP, SPSP1, SPSP0, and bytes 47 to 44 a length.
    pub(super) fn authenticate(&mut self, kind: u8, command: &Command, entry: &[u8; 64]) -> Next {
        let refuse = |status: Status| Next::Plan(status.into());
        if entry[43] != NVME_AUTHENTICATION || entry[41] != 1 || entry[42] != 1 {
            return refuse(Status::INVALID_FIELD);
        }
        let length = command.cdw::<11>();
        if length == 0 || length > MAX_MESSAGE {
            return refuse(Status::INVALID_FIELD);
        }
        let State::Connected { auth, .. } = &self.state else {
            return refuse(Status::COMMAND_SEQUENCE_ERROR);
        };
        if matches!(auth, Auth::Computing { .. }) {
            return refuse(Status::COMMAND_SEQUENCE_ERROR);
        }
        if kind == fctype::AUTH_SEND {
            Next::Fetch(length, HostData::Authentication)
        } else {
            Next::Challenge(length)
        }
    }
}

impl Shard {
    /// The data of Connect are here.
    pub(super) fn connect(
        &mut self,
        slot: usize,
        id: TaskId,
        command: ConnectCommand,
        data: &[u8],
    ) {
        let data = match ConnectData::parse(data) {
            Ok(data) => data,
            Err(completion) => return self.end_nvme(id, completion),
        };
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return;
        };
        let key = connection.key;
        let Protocol::Nvme(channel) = &mut connection.protocol else {
            return;
        };
        // A second one, while the first was on its way.
        if !matches!(channel.state, State::New) {
            return self.end_nvme(id, Status::COMMAND_SEQUENCE_ERROR.into());
        }
        channel.state = State::Connecting(id, command);
        self.tasks.get(id).phase = Phase::Decision;
        let now = Duration::from_nanos(self.clock);
        let connect = Box::new(NvmeConnect { command, data, now });
        self.control.send(ControlMessage::Connect { key, connect });
    }

    /// The control thread has decided about Connect.
    pub(in super::super) fn nvme_connected(
        &mut self,
        key: ConnectionKey,
        outcome: Result<Box<NvmeAdmission>, Completion>,
    ) {
        let tasks = &mut self.tasks;
        let connections = self.connections.get_mut(usize::from(key.slot));
        let connection = connections.and_then(Option::as_deref_mut);
        // One that closes has let its tasks go.
        let open =
            |connection: &&mut Connection| connection.key == key && connection.closing.is_none();
        let Some(connection) = connection.filter(open) else {
            return;
        };
        let Protocol::Nvme(channel) = &mut connection.protocol else {
            return;
        };
        let State::Connecting(id, command) = channel.state else {
            return;
        };
        let completion = match outcome {
            Ok(admission) => {
                let mut result = u64::from(admission.controller.id());
                if admission.credentials.is_some() {
                    result |= AUTHENTICATION_TRANSACTION_REQUIRED;
                }
                // The answer may have waited for earlier queues to go, during which the host could say nothing.
                channel.heard = true;
                channel.size = command.entries;
                channel.head = 1 % command.entries as u16;
                channel.state = State::Connected {
                    queue: Queue::new(admission.controller, command.queue),
                    auth: match admission.credentials {
                        Some(_) => Auth::Required,
                        None => Auth::Passed,
                    },
                    credentials: admission.credentials,
                };
                // What was refused before is counted where it began.
                for &other in &connection.tasks {
                    if std::mem::take(&mut tasks.get(other).counted) {
                        connection.session.command_ended();
                    }
                }
                connection.scsi = admission.session.scsi.channel();
                connection.session = admission.session;
                Completion::with_result(result)
            }
            Err(completion) => {
                channel.state = State::New;
                completion
            }
        };
        self.end_nvme(id, completion);
    }

    /// A message of the host's is here. It is looked at elsewhere, since that takes long.
    pub(super) fn compute_authentication(&mut self, slot: usize, id: TaskId, message: &[u8]) {
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return;
        };
        let key = connection.key;
        let Protocol::Nvme(channel) = &mut connection.protocol else {
            return;
        };
        let State::Connected {
            queue,
            credentials: Some(credentials),
            auth,
        } = &mut channel.state
        else {
            return self.end_nvme(id, Status::COMMAND_SEQUENCE_ERROR.into());
        };
        let passed = auth.has_passed();
        let controller = queue.controller();
        let begin = || {
            let (subsystem, host) = (controller.subsystem(), &controller.host().nqn);
            Box::new(Exchange::new(credentials.clone(), subsystem, host))
        };
        let exchange = match std::mem::replace(auth, Auth::Computing { task: id, passed }) {
            Auth::Going { exchange, .. } => exchange,
            Auth::Passed | Auth::Required => begin(),
            Auth::Computing { task, passed } => {
                // Two at once; the first of them goes on.
                *auth = Auth::Computing { task, passed };
                return self.end_nvme(id, Status::COMMAND_SEQUENCE_ERROR.into());
            }
        };
        self.tasks.get(id).phase = Phase::Decision;
        self.control.send(ControlMessage::Authenticate {
            key,
            exchange,
            message: message.to_vec(),
        });
    }

    /// A message of the host's was looked at.
    pub(in super::super) fn nvme_authenticated(
        &mut self,
        key: ConnectionKey,
        exchange: Box<Exchange>,
        completion: Completion,
    ) {
        let connection = self.by_key(key);
        let Some(connection) = connection.filter(|connection| connection.closing.is_none()) else {
            return;
        };
        let Protocol::Nvme(channel) = &mut connection.protocol else {
            return;
        };
        let State::Connected { auth, .. } = &mut channel.state else {
            return;
        };
        let Auth::Computing { task, passed } = *auth else {
            return;
        };
        *auth = Auth::Going { exchange, passed };
        if self.tasks.get(task).phase == Phase::Decision {
            self.end_nvme(task, completion);
        }
        self.settle_authentication(usize::from(key.slot));
    }

    /// The host asks for the next message.
    pub(super) fn challenge(&mut self, slot: usize, id: TaskId, room: u32) {
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return;
        };
        let Protocol::Nvme(channel) = &mut connection.protocol else {
            return;
        };
        let State::Connected {
            auth: Auth::Going { exchange, .. },
            ..
        } = &mut channel.state
        else {
            return self.end_nvme(id, Status::COMMAND_SEQUENCE_ERROR.into());
        };
        let room = u64::from(room).min(self.tasks.get(id).offered_in) as usize;
        match exchange.send(room) {
            Ok(message) => self.reply(id, message),
            Err(status) => self.end_nvme(id, status.into()),
        }
        self.settle_authentication(slot);
    }

    /// Lets the host in if it has proved who it is. If it could not, it is told so first, and then the queue ends with its time.
    fn settle_authentication(&mut self, slot: usize) {
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return;
        };
        let (host, peer) = (&connection.session.initiator, &connection.session.peer);
        let Protocol::Nvme(channel) = &mut connection.protocol else {
            return;
        };
        let State::Connected { auth, .. } = &mut channel.state else {
            return;
        };
        let Auth::Going { exchange, .. } = auth else {
            return;
        };
        match exchange.progress() {
            Progress::Going => {}
            Progress::Authenticated => {
                tracing::info!(%host, %peer, queue = channel.number, "authenticated");
                *auth = Auth::Passed;
                let key = connection.key;
                self.control.send(ControlMessage::Proven { key });
            }
            Progress::Failed(why) => {
                let queue = channel.number;
                let failure = Box::new(LoginFailure {
                    initiator: Some(host.clone()),
                    target: Some(connection.session.target.clone()),
                    why: format!("queue {queue}: authentication failed: {why}"),
                });
                *auth = Auth::Required;
                let key = connection.key;
                (self.control).send(ControlMessage::LoginFailed { key, failure });
                self.leave_soon(slot);
            }
        }
    }

    /// Closes a queue once its last response has left.
    fn leave_soon(&mut self, slot: usize) {
        if let Some(Some(connection)) = self.connections.get_mut(slot) {
            connection.leaving = Some((CloseReason::NotAuthenticated, self.now));
        }
    }
}
