//! NVMe over RDMA as a shard speaks it: between capsules and tasks.
//!
//! A connection is one queue. It begins without a controller: nothing but Connect is taken then, and the control thread decides
//! about that (NVMe base 2.0 section 6.3). A host that has to prove who it is does so next, over the same queue. After that
//! commands are `pagecast_core::nvme`'s to plan, and what they move goes the way of all protocols.

mod admission;
mod events;
mod fused;

use std::sync::Arc;
use std::time::Duration;

use pagecast_core::block::{BlockFault, Transfer};
use pagecast_core::nvme::{
    Command, Completion, Fuse, Moves, Pending, Plan, Queue, Status, complete, moves,
};
use pagecast_core::reservations::Refusal;
use pagecast_core::scsi::ScsiChannel;
use pagecast_rdma::fabric::Operation;

use super::Shard;
use super::manage::{AbortRequest, AbortScope, AbortTicket};
use super::messages::{CloseReason, ControlMessage};
use super::protocol::Protocol;
use super::task::{Ending, Phase, Task, TaskId, Work};
use crate::nvme::auth::{Credentials, Exchange};
use crate::nvme::capsule::{self, Capsule, Data};
use crate::nvme::connect::{self, ConnectCommand, FABRICS, fctype};

/// How long a host may take to connect and to prove who it is.
const ADMISSION_TIMEOUT: Duration = Duration::from_secs(30);

/// Abort commands that a host may have under way (ACL of Identify Controller, which counts from zero, is 3).
const ABORT_LIMIT: usize = 4;

/// One queue's state.
#[derive(Debug)]
pub struct Channel {
    /// Its number, as the connection request had it.
    number: u16,
    /// Entries that it has room for.
    entries: u16,
    /// Responses may invalidate the host's keys.
    invalidates: bool,
    state: State,
    /// Entries of the submission queue, once connected.
    size: u32,
    /// How many of them were taken, modulo their number (SQHD).
    head: u16,
    /// A command came since the last look.
    heard: bool,
    /// When the shard took it over.
    since: u64,
    /// The first half of a fused operation, whose second half has to come next.
    first: Option<(TaskId, Command)>,
    /// Asynchronous Event Requests that wait, oldest first.
    events: std::collections::VecDeque<TaskId>,
}

/// How far a queue is.
#[derive(Debug)]
enum State {
    /// It waits for Connect.
    New,
    /// The control thread decides about Connect.
    Connecting(TaskId, ConnectCommand),
    /// It takes commands; but authentication alone, as long as the host has not proved who it is.
    Connected {
        queue: Queue,
        credentials: Option<Arc<Credentials>>,
        auth: Auth,
    },
}

/// How far a host is with proving who it is.
#[derive(Debug)]
enum Auth {
    /// It has nothing to prove, or has proved it.
    Passed,
    /// It has to begin.
    Required,
    /// It is at it, or proves it again.
    Going {
        exchange: Box<Exchange>,
        passed: bool,
    },
    /// A message of its is being looked at.
    Computing { task: TaskId, passed: bool },
}

/// What a command brings beside blocks.
#[derive(Debug)]
pub enum HostData {
    /// Data of Connect.
    Connect(Box<ConnectCommand>),
    /// A message of Authentication Send.
    Authentication,
    /// What core wants to see. In a box, so that tasks do not grow by what is rare.
    Core(Box<Pending>),
}

/// What a capsule leads to.
#[derive(Debug)]
pub(super) enum Next {
    /// As core planned.
    Plan(Plan),
    /// Its data have to be fetched first.
    Fetch(u32, HostData),
    /// The host wants the next message of its authentication.
    Challenge(u32),
    /// The first half of a fused operation.
    First(Command),
    /// The second half of one.
    Second(Command),
    /// The host broke the protocol.
    Violation(String),
}

impl Channel {
    /// A queue that was accepted: its number and room are those of the connection request and its answer.
    pub fn new(number: u16, entries: u16, invalidates: bool) -> Self {
        Self {
            number,
            entries,
            invalidates,
            state: State::New,
            size: u32::from(entries),
            head: 0,
            heard: false,
            since: 0,
            first: None,
            events: std::collections::VecDeque::new(),
        }
    }

    /// Its number.
    pub fn id(&self) -> u16 {
        self.number
    }

    /// Ends a change of reservations that its queue planned; none if it is not connected any more.
    pub(super) fn reserved(&self, result: Result<(), Refusal>) -> Option<Completion> {
        match &self.state {
            State::Connected { queue, .. } => Some(queue.reserved(result)),
            State::New | State::Connecting(..) => None,
        }
    }

    /// Commands that wait for an event.
    pub fn waiting(&self) -> usize {
        self.events.len()
    }

    /// A shard serves it from now on: its time starts.
    pub(super) fn begin(&mut self, clock: u64) {
        self.since = clock;
    }

    /// Decodes a capsule, and fills `task` with what concerns the transport.
    #[inline]
    pub(super) fn receive(
        &mut self,
        message: &[u8],
        task: &mut Task,
        units: &mut ScsiChannel,
    ) -> Next {
        let capsule = match Capsule::parse(message) {
            Ok(capsule) => capsule,
            Err(error) => return Next::Violation(error.to_string()),
        };
        let command = &capsule.command;
        task.tag = tag(command);
        self.heard = true;
        self.head += 1;
        if u32::from(self.head) >= self.size {
            self.head = 0;
        }
        let moves = match command.opcode {
            FABRICS => moves(capsule.entry[4]),
            opcode => moves(opcode),
        };
        if let Err(status) = take_data(capsule.data, moves, task) {
            return Next::Plan(self.refused(&capsule.command, status));
        }
        match &self.state {
            State::Connected {
                queue,
                auth: Auth::Passed,
                ..
            } if command.opcode != FABRICS && command.fuse == Fuse::Normal => {
                Next::Plan(queue.plan(command, units))
            }
            _ => self.rarely_received(&capsule.command, capsule.entry, units),
        }
    }

    #[cold]
    fn rarely_received(
        &mut self,
        command: &Command,
        entry: &[u8; 64],
        units: &mut ScsiChannel,
    ) -> Next {
        let kind = (command.opcode == FABRICS).then_some(entry[4]);
        let (queue, credentials, auth) = match &self.state {
            State::Connected {
                queue,
                credentials,
                auth,
            } => (queue, credentials, auth),
            // Connect comes first (NVMe base 2.0 section 3.3.2.2).
            State::New if kind == Some(fctype::CONNECT) => return self.connect(entry),
            State::New | State::Connecting(..) => {
                return Next::Plan(Status::COMMAND_SEQUENCE_ERROR.into());
            }
        };
        match kind {
            Some(fctype::CONNECT) => {
                Next::Plan(self.refused(command, Status::COMMAND_SEQUENCE_ERROR))
            }
            Some(kind @ (fctype::AUTH_SEND | fctype::AUTH_RECEIVE)) => {
                if credentials.is_none() {
                    return Next::Plan(self.refused(command, Status::INVALID_OPCODE));
                }
                self.authenticate(kind, command, entry)
            }
            _ if !auth.has_passed() => Next::Plan(Status::AUTHENTICATION_REQUIRED.into()),
            Some(_) => Next::Plan(queue.plan(command, units)),
            None => match command.fuse {
                Fuse::First if self.number != 0 => Next::First(*command),
                Fuse::Second if self.number != 0 => Next::Second(*command),
                _ => Next::Plan(queue.plan(command, units)),
            },
        }
    }

    /// Fields of the command itself; what only the control thread knows comes after its data.
    fn connect(&self, entry: &[u8; 64]) -> Next {
        let command = match ConnectCommand::parse(entry) {
            Ok(command) => command,
            Err(completion) => return Next::Plan(completion.into()),
        };
        if command.queue != self.number {
            return Next::Plan(connect::invalid_in_command(42).into());
        }
        if command.entries > u32::from(self.entries) {
            return Next::Plan(connect::invalid_in_command(44).into());
        }
        Next::Fetch(connect::DATA_LENGTH, HostData::Connect(Box::new(command)))
    }

    #[cold]
    fn refused(&self, command: &Command, status: Status) -> Plan {
        if let State::Connected { queue, .. } = &self.state {
            queue.failed(command.cid, command.nsid, status);
        }
        status.into()
    }

    /// Writes the completion queue entry that a task ended in; returns its length and how it is sent.
    #[inline]
    pub(super) fn respond(&mut self, task: &Task, out: &mut [u8]) -> (usize, Operation) {
        let completion = match &task.ending {
            Ending::Nvme(completion) => *completion,
            _ => Status::INTERNAL_ERROR.into(),
        };
        let length = capsule::emit(&completion, task.tag as u16, self.head, out);
        match task.remote.first() {
            Some(remote) if task.invalidate && self.invalidates => {
                let key = remote.key;
                (length, Operation::SendWithInvalidate { key })
            }
            _ => (length, Operation::Send),
        }
    }

    /// Notes how a task ended whose blocks, or other data, were moved or could not be.
    #[inline]
    pub(super) fn end(&self, task: &mut Task, result: Result<(), BlockFault>) {
        let completion = match &task.command {
            Some((_, op)) => {
                let capacity = task
                    .device
                    .as_ref()
                    .map_or(0, |device| device.unit.capacity());
                complete(op, capacity, result)
            }
            None => match result {
                Ok(()) => return,
                Err(_) => Status::DATA_TRANSFER_ERROR.into(),
            },
        };
        if !completion.status.is_success()
            && let State::Connected { queue, .. } = &self.state
        {
            let nsid = (task.tag >> 32) as u32;
            queue.failed(task.tag as u16, nsid, completion.status);
        }
        task.ending = Ending::Nvme(completion);
    }

    /// Timeouts, and what has changed since the last look. Returns why the connection has to be closed, if it has to.
    pub(super) fn tick(&mut self, clock: u64, units: &mut ScsiChannel) -> Option<CloseReason> {
        let now = Duration::from_nanos(clock);
        let heard = std::mem::take(&mut self.heard);
        match &self.state {
            State::Connected { queue, auth, .. } if auth.has_passed() => {
                let controller = queue.controller();
                if heard {
                    controller.heard(now);
                }
                if self.number != 0 {
                    return None;
                }
                if controller.tick(now) {
                    return Some(CloseReason::KeepAlive);
                }
                controller.look(units);
                None
            }
            _ => {
                let late = now.saturating_sub(Duration::from_nanos(self.since)) > ADMISSION_TIMEOUT;
                late.then_some(CloseReason::NotAuthenticated)
            }
        }
    }
}

impl Auth {
    fn has_passed(&self) -> bool {
        match self {
            Self::Passed => true,
            Self::Required => false,
            Self::Going { passed, .. } | Self::Computing { passed, .. } => *passed,
        }
    }
}

/// How a task names its command: by identifier, and by the namespace that it is about.
#[inline]
fn tag(command: &Command) -> u64 {
    u64::from(command.nsid) << 32 | u64::from(command.cid)
}

/// Notes where a command's data are.
#[inline]
fn take_data(data: Result<Data, Status>, moves: Moves, task: &mut Task) -> Result<(), Status> {
    let length = match data? {
        Data::None => return Ok(()),
        Data::InCapsule(range) => {
            if moves != Moves::ToController {
                return Err(Status::INVALID_FIELD);
            }
            let length = range.len() as u64;
            task.immediate = Some(range);
            length
        }
        Data::Keyed { remote, invalidate } => {
            task.remote.push(remote);
            task.invalidate = invalidate;
            u64::from(remote.length)
        }
    };
    match moves {
        Moves::ToController => task.offered_out = length,
        Moves::ToHost => task.offered_in = length,
        Moves::Nothing | Moves::BothWays => {}
    }
    Ok(())
}

/// Whether a task is a command of that name that can still be aborted.
pub(super) fn is_abortable(task: &Task, cid: u16) -> bool {
    // What another thread decides about comes back, and has to find its task.
    let over = matches!(
        task.phase,
        Phase::Free | Phase::Response | Phase::Aborts | Phase::Decision
    );
    task.tag as u16 == cid && !task.aborted && !over
}

impl Shard {
    /// Whatever a capsule leads to.
    #[inline]
    pub(super) fn capsule(&mut self, slot: usize, id: TaskId, receive: u32, next: Next) {
        let Some(Some(connection)) = self.connections.get(slot) else {
            return self.tasks.release(id);
        };
        if let Protocol::Nvme(channel) = &connection.protocol
            && channel.first.is_some()
            && (self.draining.is_some() || !matches!(next, Next::Second(_)))
        {
            self.miss_second(slot);
            if self.is_closing(slot) {
                return self.tasks.release(id);
            }
        }
        // No answer: the host tries again when the connection is gone, where a status could end in an error.
        if self.draining.is_some() {
            self.tasks.release(id);
            return self.consumed(slot, Some(receive));
        }
        match next {
            Next::Plan(plan) => {
                self.admit(slot, id, Some(receive));
                self.follow_nvme(id, plan);
            }
            next => self.rarer_capsule(slot, id, receive, next),
        }
    }

    #[cold]
    fn rarer_capsule(&mut self, slot: usize, id: TaskId, receive: u32, next: Next) {
        match next {
            Next::Plan(plan) => self.follow_nvme(id, plan),
            Next::Fetch(length, data) => {
                self.enlist_nvme(slot, id, receive);
                self.fetch_host_data(id, length, data);
            }
            Next::Challenge(room) => {
                self.enlist_nvme(slot, id, receive);
                self.challenge(slot, id, room);
            }
            Next::First(command) => {
                self.admit(slot, id, Some(receive));
                self.fused_first(slot, id, command);
            }
            Next::Second(command) => {
                self.admit(slot, id, Some(receive));
                self.fused_second(slot, id, &command);
            }
            Next::Violation(why) => {
                self.tasks.release(id);
                if let Some(Some(connection)) = self.connections.get(slot) {
                    tracing::warn!(initiator = %connection.session.initiator, peer = %connection.session.peer, %why, "protocol violation");
                }
                self.close(slot, CloseReason::Violation);
            }
        }
    }

    /// A command of a queue that may have no session yet: it is not counted as one of a session's.
    fn enlist_nvme(&mut self, slot: usize, id: TaskId, receive: u32) {
        self.tasks.get(id).receive_slot = Some(receive);
        if let Some(Some(connection)) = self.connections.get_mut(slot) {
            connection.tasks.push(id);
        }
    }

    /// Does what core planned.
    #[inline]
    pub(super) fn follow_nvme(&mut self, id: TaskId, plan: Plan) {
        match plan {
            Plan::Block(command) => self.start_block(id, command),
            plan => self.follow_rarer(id, plan),
        }
    }

    #[cold]
    fn follow_rarer(&mut self, id: TaskId, plan: Plan) {
        let slot = usize::from(self.tasks.get(id).connection);
        match plan {
            Plan::Block(command) => self.start_block(id, command),
            Plan::Respond(completion) => self.end_nvme(id, completion),
            Plan::Reply(data) => self.reply(id, data),
            Plan::Fetch { length, pending } => {
                self.fetch_host_data(id, length, HostData::Core(Box::new(pending)));
            }
            Plan::Reserve(command) => self.start_reservation(id, command),
            Plan::Event => self.park_event(id),
            Plan::Abort { queue, cid } => self.abort_command(id, queue, cid),
            Plan::Reset => {
                if let Some(Some(connection)) = self.connections.get(slot) {
                    let key = connection.key;
                    self.control.send(ControlMessage::ControllerReset { key });
                }
                self.drop_events(slot);
                self.end_nvme(id, Completion::SUCCESS);
            }
        }
        // A log page that was read may have been what kept the next event.
        self.tell_events(slot);
    }

    fn reply(&mut self, id: TaskId, mut data: Vec<u8>) {
        let task = self.tasks.get(id);
        // Core has seen that there is room.
        data.truncate(usize::try_from(task.offered_in).unwrap_or(usize::MAX));
        task.ending = Ending::Nvme(Completion::SUCCESS);
        if data.is_empty() {
            return self.transmit(id);
        }
        task.transfer = Transfer::In(data.len() as u64);
        task.transferred = data.len() as u64;
        task.work = Work::Reply(data);
        self.start(id);
    }

    fn fetch_host_data(&mut self, id: TaskId, length: u32, data: HostData) {
        let task = self.tasks.get(id);
        if task.offered_out < u64::from(length) {
            return self.end_nvme(id, Status::DATA_SGL_LENGTH_INVALID.into());
        }
        task.transfer = Transfer::Out(u64::from(length));
        task.work = Work::HostData {
            length,
            data: Some(data),
        };
        self.start(id);
    }

    /// The data of a command have come.
    pub(super) fn host_data(&mut self, id: TaskId, what: HostData, data: &[u8]) {
        let task = self.tasks.get(id);
        task.immediate = None;
        task.work = Work::None;
        let slot = usize::from(task.connection);
        match what {
            HostData::Connect(command) => self.connect(slot, id, *command, data),
            HostData::Authentication => self.compute_authentication(slot, id, data),
            HostData::Core(pending) => {
                let Some(Some(connection)) = self.connections.get_mut(slot) else {
                    return;
                };
                let Protocol::Nvme(channel) = &connection.protocol else {
                    return;
                };
                let State::Connected { queue, .. } = &channel.state else {
                    return;
                };
                let plan = queue.data(*pending, data, &mut connection.scsi);
                self.follow_nvme(id, plan);
            }
        }
    }

    /// Ends a command that moves no more data.
    pub(super) fn end_nvme(&mut self, id: TaskId, completion: Completion) {
        let task = self.tasks.get(id);
        task.work = Work::None;
        task.transferred = 0;
        task.cursor.left = 0;
        task.ending = Ending::Nvme(completion);
        self.end_partner(id);
        self.transmit(id);
    }

    /// Abort (NVMe base 2.0 section 5.1): the command may be on a queue of another shard's. Its completion goes before that
    /// of Abort.
    fn abort_command(&mut self, id: TaskId, queue: u16, cid: u16) {
        let slot = usize::from(self.tasks.get(id).connection);
        let Some(Some(connection)) = self.connections.get(slot) else {
            return;
        };
        let session = connection.session.id;
        let tasks = &mut self.tasks;
        let going = connection.tasks.iter();
        let going = going.filter(|&&id| tasks.get(id).phase == Phase::Aborts);
        if going.count() >= ABORT_LIMIT {
            return self.end_nvme(id, Status::ABORT_LIMIT_EXCEEDED.into());
        }
        let task = self.tasks.get(id);
        task.work = Work::Management;
        task.phase = Phase::Aborts;
        let request = AbortRequest {
            scope: AbortScope::Command {
                session,
                queue,
                cid,
            },
            ticket: AbortTicket::new(id, self.address.clone()),
        };
        self.abort_on_all_shards(&request);
    }

    /// Ends an aborted command, now that nothing of it is in flight.
    pub(super) fn end_aborted(&mut self, id: TaskId) {
        let task = self.tasks.get(id);
        let slot = usize::from(task.connection);
        task.aborted = false;
        let status = match std::mem::take(&mut task.preempted) {
            true => Status::PREEMPTED,
            false => Status::ABORT_REQUESTED,
        };
        task.lease = None;
        task.revoked = None;
        task.local.clear();
        task.table = None;
        let waited = std::mem::replace(&mut task.phase, Phase::Running);
        self.release_chunks(id);
        if let Some(Some(connection)) = self.connections.get_mut(slot) {
            connection.fetch_queue.retain(|&other| other != id);
            connection.room_queue.retain(|&other| other != id);
            if let Protocol::Nvme(channel) = &mut connection.protocol {
                channel.forget(id, waited);
            }
        }
        self.end_nvme(id, status.into());
    }
}
