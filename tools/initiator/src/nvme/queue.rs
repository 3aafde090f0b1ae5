//! One queue: a queue pair, its buffers, and the commands that are outstanding on it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use pagecast_rdma::fabric::{Adapter, Completion, ConnectParams, ConnectionId, ConnectionManager};

use super::codec::{self, CQE_SIZE, Cqe, ProtocolError};
use super::command::{Command, Data, Reply};
use super::connect::{Connect, Connected};
use crate::endpoints::{Ending, Endpoint};
use crate::error::InitiatorError;
use crate::link::{Link, Pool, Receive};
use crate::memory::{Buffer, Piece};

/// How to connect a queue.
#[derive(Clone, Debug)]
pub struct QueueOptions {
    /// Queue identifier; 0 for the admin queue.
    pub queue: u16,
    /// Entries, counted from one: what the host says in private data and Connect.
    pub entries: u16,
    /// Sent once the queue pair is up; none if the test does that itself, or never.
    pub connect: Option<Connect>,
    /// Whether Connect's data go in its capsule, or by RDMA. Linux does the former on I/O queues, the latter on the admin queue.
    pub connect_in_capsule: bool,
    /// Private data in place of what follows from the rest.
    pub private_data: Option<Vec<u8>>,
    /// RDMA READs of the controller's that we answer at a time.
    pub responder_resources: u8,
    /// RDMA READs that we say to have in flight; Linux has none.
    pub initiator_depth: u8,
    /// Receives posted for responses.
    pub receives: u32,
    /// Bytes of each of them.
    pub receive_size: usize,
    /// Commands that may be on their way; more than `entries` to exceed the queue.
    pub sends: u32,
    /// Bytes of each send buffer.
    pub send_size: usize,
    /// Whether at most as many commands are outstanding as the controller takes.
    pub keep_within: bool,
    /// Completions that match nothing become [`Event`]s, and neither the queue head nor invalidated keys are checked: for tests
    /// that change a capsule behind our back.
    pub tolerant: bool,
}

impl QueueOptions {
    /// A queue as Linux connects it; without Connect.
    pub fn new(queue: u16, entries: u16) -> Self {
        Self {
            queue,
            entries,
            connect: None,
            connect_in_capsule: queue != 0,
            private_data: None,
            responder_resources: 16,
            initiator_depth: 0,
            receives: u32::from(entries),
            receive_size: CQE_SIZE,
            sends: u32::from(entries) + 8,
            // Room for what is too long for the controller, so that it can be sent.
            send_size: 64 + 8192,
            keep_within: true,
            tolerant: false,
        }
    }

    /// With a Connect that is sent at once.
    pub fn connecting(mut self, connect: Connect) -> Self {
        self.connect = Some(connect);
        self
    }
}

/// Where a queue is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueState {
    /// On its way, or Connect is not answered yet.
    Connecting,
    /// The queue pair is up; no Connect was sent by itself.
    Established,
    /// Connect has succeeded, whoever sent it.
    Up,
    /// Connect was refused. The queue pair is still there: disconnect it.
    Refused(Cqe),
    /// The connection manager refused.
    Rejected {
        /// Its reason; 28 is the controller's own refusal.
        reason: i32,
        /// The status in the private data (RDMA transport 1.0 figure 10), if they are well-formed.
        status: Option<u16>,
    },
    /// The attempt failed.
    Failed(String),
    /// We disconnect.
    Closing,
    /// It was up once, and is over.
    Closed(String),
}

/// Something that no command of ours has asked for, on a tolerant queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A completion of a command that is not outstanding.
    Unexpected(Cqe),
    /// A message that is no response capsule.
    Malformed(Vec<u8>),
}

#[derive(Debug)]
pub(super) struct Queue {
    pub(super) id: ConnectionId,
    pub(super) state: QueueState,
    pub(super) adapter: Option<Arc<dyn Adapter>>,
    pub(super) connected: Option<Connected>,
    /// Entries of the controller's receive queue.
    pub(super) receive_entries: u16,
    pub(super) events: Vec<Event>,
    options: QueueOptions,
    link: Option<Link>,
    outstanding: HashMap<u16, Outstanding>,
    /// Memory of commands that were abandoned: the controller may still access it.
    abandoned: Vec<Piece>,
    replies: VecDeque<(u16, Reply)>,
    next_cid: u16,
    connect_cid: Option<u16>,
    /// Commands that were sent, ever.
    sent: u64,
    /// Commands that the controller says to have taken, ever.
    taken: u64,
    /// The controller does without submission queue flow control, so its head means nothing.
    headless: bool,
}

/// A command that waits for its completion.
#[derive(Debug)]
struct Outstanding {
    piece: Option<Piece>,
    invalidate: Option<u32>,
    /// How many were sent before it.
    position: u64,
    /// It is a Connect; whether that asks to do without flow control.
    connects: Option<bool>,
}

impl Queue {
    pub(super) fn new(id: ConnectionId, options: QueueOptions) -> Self {
        Self {
            id,
            state: QueueState::Connecting,
            adapter: None,
            connected: None,
            receive_entries: 0,
            events: Vec::new(),
            options,
            link: None,
            outstanding: HashMap::new(),
            abandoned: Vec::new(),
            replies: VecDeque::new(),
            next_cid: 0,
            connect_cid: None,
            sent: 0,
            taken: 0,
            headless: false,
        }
    }

    pub(super) fn options(&self) -> &QueueOptions {
        &self.options
    }

    /// The Connect of this queue, with its data.
    pub(super) fn connect_command(&self, connect: &Connect) -> Result<Command, InitiatorError> {
        let command = connect.command(self.options.queue, self.options.entries);
        let bytes = connect.data();
        if self.options.connect_in_capsule {
            return Ok(command.with(Data::InCapsule(bytes.to_vec())));
        }
        let buffer = self.allocate(bytes.len())?;
        let filled = buffer.write(0, &bytes);
        let piece = filled.and_then(|()| buffer.piece(0, bytes.len()));
        let piece = piece.map_err(|_| InitiatorError::Invalid("connect data"))?;
        Ok(command.with(Data::keyed(piece)))
    }

    pub(super) fn allocate(&self, length: usize) -> Result<Buffer, InitiatorError> {
        let adapter = self.adapter.as_ref().ok_or_else(|| self.not_up())?;
        Ok(Buffer::allocate(&**adapter, length)?)
    }

    /// Whether there is a connection, or an attempt at one.
    pub(super) fn is_alive(&self) -> bool {
        let over = matches!(
            self.state,
            QueueState::Rejected { .. } | QueueState::Failed(_) | QueueState::Closed(_)
        );
        let refused = matches!(self.state, QueueState::Refused(_));
        !over && (!refused || self.link.is_some())
    }

    // --- what comes ----------------------------------------------------------------------------------------------

    fn handle(&mut self, message: &[u8], invalidated: Option<u32>) -> Result<(), InitiatorError> {
        let entry = match Cqe::decode(message) {
            Ok(entry) => entry,
            Err(_) if self.options.tolerant => {
                self.events.push(Event::Malformed(message.to_vec()));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let Some(command) = self.outstanding.remove(&entry.cid) else {
            if self.options.tolerant {
                self.events.push(Event::Unexpected(entry));
                return Ok(());
            }
            return Err(ProtocolError::UnknownCommand(entry.cid).into());
        };
        if let Some(without_head) = command.connects.filter(|_| entry.status.is_success()) {
            self.connect_succeeded(&entry, command.position, without_head);
        }
        if self.connected.is_some() {
            let first = command.connects.is_some();
            self.check_head(&entry, if first { 0 } else { command.position })?;
        }
        let unwanted = invalidated != command.invalidate && !self.options.tolerant;
        if let Some(found) = invalidated.filter(|_| unwanted) {
            let wanted = command.invalidate;
            return Err(ProtocolError::Invalidated { wanted, found }.into());
        }
        if self.connect_cid == Some(entry.cid) {
            self.connect_cid = None;
            if !entry.status.is_success() {
                self.state = QueueState::Refused(entry);
            }
            return Ok(());
        }
        let reply = Reply {
            completion: entry,
            invalidated,
            piece: command.piece,
        };
        self.replies.push_back((entry.cid, reply));
        Ok(())
    }

    /// The queue begins with its Connect. A controller that does without flow control says FFFFh there (NVMe base 2.0
    /// section 6.3).
    fn connect_succeeded(&mut self, entry: &Cqe, position: u64, without_head: bool) {
        self.connected = Some(Connected::from(entry));
        self.headless = without_head && entry.head == u16::MAX;
        self.taken = 0;
        self.sent -= position;
        for command in self.outstanding.values_mut() {
            command.position = command.position.saturating_sub(position);
        }
        if matches!(self.state, QueueState::Connecting | QueueState::Established) {
            self.state = QueueState::Up;
        }
    }

    /// The head must be beyond the command that is complete, and not beyond what was sent (NVMe base 2.0 section 3.3.1.2).
    fn check_head(&mut self, entry: &Cqe, position: u64) -> Result<(), ProtocolError> {
        if self.headless || self.options.tolerant || !self.options.keep_within {
            return Ok(());
        }
        let wrong = || ProtocolError::Head {
            head: entry.head,
            entries: u32::from(self.options.entries),
            sent: self.sent,
        };
        let entries = u64::from(self.options.entries.max(1));
        let head = u64::from(entry.head);
        if head >= entries {
            return Err(wrong());
        }
        let least = self.taken.max(position + 1);
        let behind = least % entries;
        let taken = least + (head + entries - behind) % entries;
        if taken > self.sent {
            return Err(wrong());
        }
        self.taken = taken;
        Ok(())
    }

    // --- what goes -----------------------------------------------------------------------------------------------

    /// Whether a command could be sent now.
    pub(super) fn can_send(&self) -> bool {
        let established = matches!(self.state, QueueState::Up | QueueState::Established);
        let room = self.link.as_ref().is_some_and(|link| link.room() > 0);
        let most = self.options.entries.min(self.receive_entries);
        let within = self.outstanding.len() < usize::from(most);
        established && room && (within || !self.options.keep_within)
    }

    /// Sends a command, and returns its identifier.
    pub(super) fn send(&mut self, command: &Command) -> Result<u16, InitiatorError> {
        let (cid, message) = self.prepare(command)?;
        if let Err(error) = self.transmit(&message) {
            self.outstanding.remove(&cid);
            return Err(error);
        }
        Ok(cid)
    }

    /// The capsule of a command, which is outstanding from now on.
    pub(super) fn prepare(&mut self, command: &Command) -> Result<(u16, Vec<u8>), InitiatorError> {
        let cid = self.free_cid()?;
        self.expect(cid, command);
        Ok((cid, command.capsule(cid)))
    }

    /// Makes a command outstanding that is about to be sent by hand.
    pub(super) fn expect(&mut self, cid: u16, command: &Command) {
        let outstanding = Outstanding {
            piece: command.piece().cloned(),
            invalidate: command.key_to_invalidate(),
            position: self.sent,
            connects: is_connect(command).then(|| command.entry.0[46] & 1 << 2 != 0),
        };
        self.outstanding.insert(cid, outstanding);
    }

    fn free_cid(&mut self) -> Result<u16, InitiatorError> {
        // FFFFh means something else in places, so no command has it.
        for _ in 0..=u16::MAX {
            let cid = self.next_cid;
            self.next_cid = (cid + 1) % u16::MAX;
            if !self.outstanding.contains_key(&cid) {
                return Ok(cid);
            }
        }
        Err(InitiatorError::NoCredit)
    }

    /// Sends any bytes as a message.
    pub(super) fn transmit(&mut self, message: &[u8]) -> Result<(), InitiatorError> {
        let Some(link) = self.link.as_mut() else {
            return Err(self.not_up());
        };
        link.transmit(message)?;
        self.sent += 1;
        Ok(())
    }

    pub(super) fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    pub(super) fn take_reply(&mut self, cid: Option<u16>) -> Option<(u16, Reply)> {
        match cid {
            None => self.replies.pop_front(),
            Some(cid) => {
                let at = self.replies.iter().position(|(of, _)| *of == cid)?;
                self.replies.remove(at)
            }
        }
    }

    /// No completion is expected any more. The memory stays while there is a connection.
    pub(super) fn abandon(&mut self, cid: u16) {
        let command = self.outstanding.remove(&cid);
        self.abandoned.extend(command.and_then(|c| c.piece));
    }

    pub(super) fn fail(&mut self) -> Result<(), InitiatorError> {
        match self.link.as_mut() {
            Some(link) => link.fail(),
            None => Err(self.not_up()),
        }
    }

    pub(super) fn not_up(&self) -> InitiatorError {
        InitiatorError::QueueDown(self.state.clone())
    }
}

impl Endpoint for Queue {
    fn id(&self) -> ConnectionId {
        self.id
    }

    fn is_alive(&self) -> bool {
        self.is_alive()
    }

    fn resolved(
        &mut self,
        manager: &mut dyn ConnectionManager,
        adapter: Arc<dyn Adapter>,
    ) -> Result<(), InitiatorError> {
        let sends = Pool {
            count: self.options.sends.max(1),
            size: self.options.send_size,
        };
        let receives = Pool {
            count: self.options.receives.max(1),
            size: self.options.receive_size,
        };
        let mut link = Link::open(manager, &*adapter, self.id, sends, &[receives])?;
        link.post_all(0)?;
        self.link = Some(link);
        self.adapter = Some(adapter);
        let private_data = match &self.options.private_data {
            Some(raw) => raw.clone(),
            None => codec::request(self.options.queue, self.options.entries).to_vec(),
        };
        let params = ConnectParams {
            private_data: &private_data,
            responder_resources: self.options.responder_resources,
            initiator_depth: self.options.initiator_depth,
            retry_count: 7,
            rnr_retry_count: 7,
        };
        Ok(manager.connect(self.id, &params)?)
    }

    fn established(&mut self, private_data: Vec<u8>) -> Result<(), InitiatorError> {
        self.receive_entries = codec::accepted(&private_data)?;
        let Some(connect) = self.options.connect.clone() else {
            self.state = QueueState::Established;
            return Ok(());
        };
        let command = self.connect_command(&connect)?;
        self.connect_cid = Some(self.send(&command)?);
        Ok(())
    }

    fn link(&mut self) -> Option<&mut Link> {
        self.link.as_mut()
    }

    fn is_closing(&self) -> bool {
        self.state == QueueState::Closing
    }

    fn received(&mut self, at: Receive, completion: &Completion) -> Result<(), InitiatorError> {
        let Some(link) = &mut self.link else {
            return Ok(());
        };
        let message = link.message(at, completion).to_vec();
        link.post_receive(at)?;
        self.handle(&message, completion.invalidated)
    }

    fn end(&mut self, manager: &mut dyn ConnectionManager, ending: Ending) {
        let state = match ending {
            Ending::Rejected {
                reason,
                private_data,
            } => {
                let status = codec::refused(&private_data).ok();
                QueueState::Rejected { reason, status }
            }
            Ending::Failed(why) if self.connected.is_none() => QueueState::Failed(why),
            Ending::Failed(why) | Ending::Closed(why) => QueueState::Closed(why),
        };
        // A refused Connect stays refused, whoever disconnects then.
        if !matches!(self.state, QueueState::Refused(_)) {
            self.state = state;
        }
        self.link = None;
        self.outstanding.clear();
        self.abandoned.clear();
        manager.forget(self.id);
    }
}

fn is_connect(command: &Command) -> bool {
    let entry = &command.entry.0;
    entry[0] == super::admin::opcode::FABRICS && entry[4] == 1
}
