//! One connection: a queue pair, its buffers, its login, and what is outstanding on it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use pagecast_rdma::fabric::{
    Adapter, Chain, Completion, CompletionQueue, CompletionStatus, ConnectParams, ConnectionId,
    ConnectionManager, Operation, QueuePair, QueuePairConfig, RemoteBuffer, WorkId,
};
use pagecast_rdma::slots::Slots;

use super::wire::{self, MESSAGE_HEADERS};
use crate::endpoints::{Ending, Endpoint};
use crate::error::InitiatorError;
use crate::iscsi::pdu::opcode;
use crate::iscsi::request::Direction;
use crate::iscsi::text::{self, Pairs};
use crate::iscsi::{Client, Incoming, Login, LoginOptions, Negotiated, Pdu, ScsiResponse, Step};
use crate::memory::Piece;

/// Marks the identifiers of receives.
const RECEIVE: u64 = 1 << 63;
/// Marks those of the buffer for login responses.
const LARGE: u64 = 1 << 62;
/// Data segment of a login response (RFC 7143 13.12).
const LOGIN_DATA: usize = 8192;
/// Send buffers beyond those that the receives allow for.
const SPARE_SENDS: u32 = 8;

/// How to connect.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who, where, with which keys.
    pub login: LoginOptions,
    /// Private data of the connect request.
    pub private_data: Vec<u8>,
    /// Receives posted in the full feature phase.
    pub receives: u32,
    /// Data segment that fits into each of them.
    pub receive_data: usize,
    /// Bytes of each send buffer.
    pub send_size: usize,
    /// Whether the target's own NOP-Ins are answered.
    pub answer_pings: bool,
    /// Whether messages that this side cannot place are left alone, for tests that ask for them.
    pub tolerant: bool,
    /// No login: what arrives is an [`Event::Message`], and everything is posted from the start.
    pub raw: bool,
}

impl Options {
    /// As Linux does it, but with the flags of libiscsi: the keys of our buffers last longer than one command.
    pub fn new(login: LoginOptions) -> Self {
        Self {
            login,
            private_data: wire::LIBISCSI.to_vec(),
            receives: 128,
            receive_data: 128,
            // Room for what is too long for the target, so that it can be sent.
            send_size: 16_384,
            answer_pings: true,
            tolerant: false,
            raw: false,
        }
    }

    /// The same without a login: bytes in, bytes out.
    pub fn raw() -> Self {
        Self {
            raw: true,
            receive_data: LOGIN_DATA,
            receives: 16,
            ..Self::new(LoginOptions::discovery("iqn.2026-11.test:raw"))
        }
    }
}

/// Where a connection is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// On its way.
    Connecting,
    /// The queue pair is up.
    LoggingIn,
    /// Full feature phase, or a connection without login.
    Up,
    /// The target refused the login.
    Refused {
        /// Status class.
        class: u8,
        /// Status detail.
        detail: u8,
    },
    /// The connection manager refused, with this reason.
    Rejected(i32),
    /// The attempt failed.
    Failed(String),
    /// We disconnect.
    Closing,
    /// It was up once, and is over.
    Closed(String),
}

/// A SCSI command.
#[derive(Clone, Debug)]
pub struct Command {
    /// The logical unit: see [`crate::scsi::lun`].
    pub lun: [u8; 8],
    /// The CDB.
    pub cdb: Vec<u8>,
    /// Task attribute: 0 untagged, 1 simple, 2 ordered, 3 head of queue, 4 ACA.
    pub attribute: u8,
    /// The data.
    pub data: Data,
}

/// The data of a command.
#[derive(Clone, Debug)]
pub enum Data {
    /// None.
    None,
    /// From the target.
    In(Piece),
    /// To the target.
    Out {
        /// All of it.
        piece: Piece,
        /// How much of it goes with the command.
        immediate: usize,
    },
}

impl Command {
    /// A simple command to `lun`.
    pub fn new(lun: u16, cdb: Vec<u8>, data: Data) -> Self {
        Self {
            lun: crate::scsi::lun(lun),
            cdb,
            attribute: 1,
            data,
        }
    }
}

/// What came of a request.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The response. A text is whole.
    pub incoming: Incoming,
    /// Where the data of a command with data-in is.
    pub piece: Option<Piece>,
}

impl Reply {
    /// The SCSI response, if it is one.
    pub fn response(&self) -> Option<&ScsiResponse> {
        match &self.incoming {
            Incoming::Response(response) => Some(response),
            _ => None,
        }
    }

    /// SCSI status; 0xff if the command did not complete at the target.
    pub fn status(&self) -> u8 {
        match self.response() {
            Some(response) if response.response == 0 => response.status,
            _ => 0xff,
        }
    }

    /// Whether the status is GOOD and there was no residual.
    pub fn is_good(&self) -> bool {
        self.status() == 0 && self.response().is_some_and(|r| r.residual == 0)
    }

    /// Sense key, additional sense code and qualifier, of fixed or descriptor format sense data.
    pub fn sense(&self) -> Option<(u8, u8, u8)> {
        crate::scsi::sense(&self.response()?.sense)
    }

    /// Copies out the data in that arrived: all that was offered, less the residual.
    pub fn data(&self) -> Vec<u8> {
        let Some(piece) = &self.piece else {
            return Vec::new();
        };
        let length = piece.remote.length as usize;
        let mut bytes = piece.buffer.read(piece.offset, length).unwrap_or_default();
        let residual = self.response().map_or(0, |response| response.residual);
        let unused = usize::try_from(residual.max(0)).unwrap_or(0);
        bytes.truncate(bytes.len().saturating_sub(unused));
        bytes
    }

    /// The pairs of a text response.
    pub fn text(&self) -> Option<Pairs> {
        match &self.incoming {
            Incoming::Text { data, .. } => text::decode(data).ok(),
            _ => None,
        }
    }

    /// The response code of task management or logout.
    pub fn code(&self) -> Option<u8> {
        match self.incoming {
            Incoming::Task { response, .. } | Incoming::Logout { response, .. } => Some(response),
            _ => None,
        }
    }
}

/// Something that the target said without being asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Reject, Asynchronous Message, or NOP-In.
    Incoming(Incoming),
    /// All of a message, on a connection without login.
    Message(Vec<u8>),
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    pub(crate) state: State,
    pub(crate) adapter: Option<Arc<dyn Adapter>>,
    pub(crate) negotiated: Option<Negotiated>,
    /// Private data of the target's answer.
    pub(crate) answer: Vec<u8>,
    pub(crate) events: Vec<Event>,
    pub(crate) client: Option<Client>,
    options: Options,
    login: Option<Login>,
    link: Option<Link>,
    pieces: HashMap<u32, Piece>,
    texts: HashMap<u32, Vec<u8>>,
    replies: VecDeque<(u32, Reply)>,
}

/// What there is while there is a queue pair.
#[derive(Debug)]
struct Link {
    // First, so that it is gone before the memory that is posted on it.
    queue_pair: Box<dyn QueuePair>,
    completions: Arc<dyn CompletionQueue>,
    sends: Slots,
    free_sends: Vec<usize>,
    /// For login responses, and all of a discovery session.
    large: Slots,
    large_posted: bool,
    receives: Slots,
    /// How many of `receives` were ever posted.
    posted: usize,
    chain: Chain,
}

impl Connection {
    pub(crate) fn new(id: ConnectionId, options: Options) -> Self {
        Self {
            id,
            state: State::Connecting,
            adapter: None,
            negotiated: None,
            answer: Vec::new(),
            events: Vec::new(),
            client: None,
            options,
            login: None,
            link: None,
            pieces: HashMap::new(),
            texts: HashMap::new(),
            replies: VecDeque::new(),
        }
    }

    fn log_on(&mut self, step: Step) -> Result<(), InitiatorError> {
        match step {
            Step::Send { pdu, last } => {
                self.post_large()?;
                if last && !self.is_discovery() {
                    self.post_receives(self.options.receives.max(1) as usize - 1)?;
                }
                self.transmit(&wire::encode(None, None, &pdu))?;
            }
            Step::Done(negotiated) => {
                if !self.is_discovery() {
                    self.post_receives(self.options.receives.max(1) as usize)?;
                }
                self.client = Some(Client::new(&negotiated));
                self.negotiated = Some(negotiated);
                self.login = None;
                self.state = State::Up;
            }
            Step::Refused { class, detail } => {
                self.login = None;
                self.state = State::Refused { class, detail };
            }
        }
        Ok(())
    }

    fn is_discovery(&self) -> bool {
        self.options.login.target.is_none()
    }

    fn post_large(&mut self) -> Result<(), InitiatorError> {
        let link = self.link.as_mut().ok_or_else(|| not_up(&self.state))?;
        if !link.large_posted {
            link.post_receive(0, true)?;
            link.large_posted = true;
        }
        Ok(())
    }

    /// Posts receives until `count` were.
    fn post_receives(&mut self, count: usize) -> Result<(), InitiatorError> {
        let link = self.link.as_mut().ok_or_else(|| not_up(&self.state))?;
        while link.posted < count {
            link.post_receive(link.posted, false)?;
            link.posted += 1;
        }
        Ok(())
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(
            self.state,
            State::Refused { .. } | State::Rejected(_) | State::Failed(_) | State::Closed(_)
        )
    }

    fn completed(&mut self, completion: &Completion) -> Result<Option<String>, InitiatorError> {
        let Some(link) = &mut self.link else {
            return Ok(None);
        };
        let slot = (completion.id.0 & !(RECEIVE | LARGE)) as usize;
        let (received, large) = (completion.id.0 & RECEIVE != 0, completion.id.0 & LARGE != 0);
        if !received {
            link.sends.take_back(slot);
            link.free_sends.push(slot);
        } else if large {
            link.large.take_back(slot);
            link.large_posted = false;
        } else {
            link.receives.take_back(slot);
        }
        if !completion.status.is_success() {
            // Flushed work is the expected end of a disconnect of ours.
            let expected =
                completion.status == CompletionStatus::FLUSHED && self.state == State::Closing;
            return Ok((!expected).then(|| completion.status.to_string()));
        }
        if received {
            let slots = if large { &link.large } else { &link.receives };
            let message = slots.bytes(slot, completion.byte_len as usize).to_vec();
            if !large {
                link.post_receive(slot, false)?;
            }
            self.handle(message)?;
        }
        Ok(None)
    }

    fn handle(&mut self, message: Vec<u8>) -> Result<(), InitiatorError> {
        if self.options.raw {
            self.events.push(Event::Message(message));
            return Ok(());
        }
        match self.understand(&message) {
            Err(InitiatorError::Iscsi(_)) if self.options.tolerant && self.login.is_none() => {
                Ok(())
            }
            other => other,
        }
    }

    fn understand(&mut self, message: &[u8]) -> Result<(), InitiatorError> {
        let pdu = wire::decode(message)?;
        if let Some(login) = &mut self.login {
            let step = login.receive(&pdu)?;
            return self.log_on(step);
        }
        if matches!(pdu.opcode(), opcode::DATA_IN | opcode::R2T) {
            // RDMA does what they would (RFC 7145 7.3.5, 7.3.6).
            return Err(crate::iscsi::ProtocolError::Opcode(pdu.opcode()).into());
        }
        let Some(client) = &mut self.client else {
            return Ok(());
        };
        let incoming = client.receive(&pdu)?;
        match incoming {
            Incoming::Ping(ref answer) => {
                if self.options.answer_pings {
                    let answer = answer.clone();
                    self.send_pdu(&answer)?;
                }
                self.events.push(Event::Incoming(incoming));
            }
            Incoming::Text { itt, data, more } => {
                let text = self.texts.entry(itt).or_default();
                text.extend(data);
                match more {
                    Some(ttt) => {
                        let request = client.text_more(itt, ttt);
                        self.send_pdu(&request)?;
                    }
                    None => {
                        let data = self.texts.remove(&itt).unwrap_or_default();
                        self.reply(itt, Incoming::Text { itt, data, more });
                    }
                }
            }
            Incoming::Response(ScsiResponse { itt, .. })
            | Incoming::Task { itt, .. }
            | Incoming::Pong { itt, .. }
            | Incoming::Logout { itt, .. } => self.reply(itt, incoming),
            other => self.events.push(Event::Incoming(other)),
        }
        Ok(())
    }

    fn reply(&mut self, itt: u32, incoming: Incoming) {
        let piece = self.pieces.remove(&itt);
        let data_in = matches!(incoming, Incoming::Response(_));
        let reply = Reply {
            incoming,
            piece: piece.filter(|_| data_in),
        };
        self.replies.push_back((itt, reply));
    }

    pub(crate) fn can_send(&self) -> bool {
        let room = self.link.as_ref().is_some_and(|l| !l.free_sends.is_empty());
        self.state == State::Up && room && self.client.as_ref().is_some_and(Client::can_send)
    }

    /// The bytes of a command, and its tag, which waits from now on.
    pub(crate) fn prepare(&mut self, command: &Command) -> Result<(u32, Vec<u8>), InitiatorError> {
        let client = self.client.as_mut().ok_or_else(|| not_up(&self.state))?;
        let (direction, expected, immediate, write, read) = match &command.data {
            Data::None => (Direction::None, 0, Vec::new(), None, None),
            Data::In(piece) => {
                let memory = Some(piece.remote);
                (Direction::In, piece.remote.length, Vec::new(), None, memory)
            }
            Data::Out { piece, immediate } => {
                let bytes = piece
                    .buffer
                    .read(piece.offset, *immediate)
                    .map_err(|_| InitiatorError::Invalid("immediate data"))?;
                let memory = piece.remote;
                // Only what is left is offered, from where it starts, as Linux does it.
                let rest = (*immediate < memory.length as usize).then(|| RemoteBuffer {
                    address: memory.address.wrapping_add(*immediate as u64),
                    ..memory
                });
                (Direction::Out, memory.length, bytes, rest, None)
            }
        };
        let pdu = client.command(
            command.lun,
            command.attribute,
            &command.cdb,
            direction,
            expected,
            immediate,
        );
        match &command.data {
            Data::None => {}
            // Kept alive, and for data-in shown in the reply.
            Data::In(piece) | Data::Out { piece, .. } => {
                self.pieces.insert(pdu.itt(), piece.clone());
            }
        }
        Ok((pdu.itt(), wire::encode(write, read, &pdu)))
    }

    pub(crate) fn send(&mut self, command: &Command) -> Result<u32, InitiatorError> {
        if !self.can_send() {
            return Err(match self.state {
                State::Up => InitiatorError::NoCredit,
                _ => not_up(&self.state),
            });
        }
        let (itt, message) = self.prepare(command)?;
        self.transmit(&message)?;
        Ok(itt)
    }

    /// Sends what `build` makes, and returns its tag.
    pub(crate) fn request(
        &mut self,
        build: impl FnOnce(&mut Client) -> Pdu,
    ) -> Result<u32, InitiatorError> {
        let client = self.client.as_mut().ok_or_else(|| not_up(&self.state))?;
        let pdu = build(client);
        self.send_pdu(&pdu)?;
        Ok(pdu.itt())
    }

    fn send_pdu(&mut self, pdu: &Pdu) -> Result<(), InitiatorError> {
        if self.is_discovery() {
            self.post_large()?;
        }
        self.transmit(&wire::encode(None, None, pdu))
    }

    pub(crate) fn transmit(&mut self, message: &[u8]) -> Result<(), InitiatorError> {
        let link = self.link.as_mut().ok_or_else(|| not_up(&self.state))?;
        let slot = link.free_sends.pop().ok_or(InitiatorError::NoBuffer)?;
        let Some(room) = link.sends.bytes_mut(slot).get_mut(..message.len()) else {
            link.free_sends.push(slot);
            return Err(InitiatorError::TooLong(message.len()));
        };
        room.copy_from_slice(message);
        let sge = link.sends.lend(slot, message.len());
        link.chain.clear();
        link.chain
            .push(WorkId(slot as u64), Operation::Send, true, sge);
        if let Err(error) = link.queue_pair.post_send(&link.chain) {
            link.sends.take_back(slot);
            link.free_sends.push(slot);
            return Err(error.into());
        }
        Ok(())
    }

    pub(crate) fn take_reply(&mut self, itt: Option<u32>) -> Option<(u32, Reply)> {
        match itt {
            None => self.replies.pop_front(),
            Some(itt) => {
                let at = self.replies.iter().position(|(tag, _)| *tag == itt)?;
                self.replies.remove(at)
            }
        }
    }

    /// No response is expected any more; the memory is released.
    pub(crate) fn abandon(&mut self, itt: u32) {
        self.pieces.remove(&itt);
        if let Some(client) = &mut self.client {
            client.abandon(itt);
        }
    }

    pub(crate) fn fail(&mut self) -> Result<(), InitiatorError> {
        let link = self.link.as_mut().ok_or_else(|| not_up(&self.state))?;
        Ok(link.queue_pair.fail()?)
    }
}

impl Endpoint for Connection {
    fn id(&self) -> ConnectionId {
        self.id
    }

    fn is_alive(&self) -> bool {
        !self.is_over()
    }

    fn is_refused(&self) -> bool {
        self.link.is_some() && self.is_over()
    }

    fn resolved(
        &mut self,
        manager: &mut dyn ConnectionManager,
        adapter: Arc<dyn Adapter>,
    ) -> Result<(), InitiatorError> {
        let receives = self.options.receives.max(1);
        let sends = receives + SPARE_SENDS;
        let completions = adapter.completion_queue(sends + receives + 2)?;
        let config = QueuePairConfig {
            send_requests: sends,
            receive_requests: receives + 1,
            send_sge: 1,
        };
        let queue_pair = manager.create_queue_pair(self.id, config, &completions)?;
        let small = MESSAGE_HEADERS + self.options.receive_data;
        self.link = Some(Link {
            queue_pair,
            completions,
            sends: Slots::allocate(&*adapter, self.options.send_size, sends as usize)?,
            free_sends: (0..sends as usize).rev().collect(),
            large: Slots::allocate(&*adapter, MESSAGE_HEADERS + LOGIN_DATA, 1)?,
            large_posted: false,
            receives: Slots::allocate(&*adapter, small, receives as usize)?,
            posted: 0,
            chain: Chain::default(),
        });
        self.adapter = Some(adapter);
        if self.options.raw {
            self.post_receives(receives as usize)?;
        }
        let params = ConnectParams {
            private_data: &self.options.private_data,
            initiator_depth: 1,
            rnr_retry_count: 6,
            ..ConnectParams::default()
        };
        Ok(manager.connect(self.id, &params)?)
    }

    fn established(&mut self, private_data: Vec<u8>) -> Result<(), InitiatorError> {
        self.answer = private_data;
        if self.options.raw {
            self.state = State::Up;
            return Ok(());
        }
        self.state = State::LoggingIn;
        let (login, step) = Login::start(self.options.login.clone());
        self.login = Some(login);
        self.log_on(step)
    }

    fn poll(&mut self, progress: &mut bool) -> Result<Option<String>, InitiatorError> {
        let mut batch = [Completion::default(); 16];
        while let Some(link) = &mut self.link {
            let count = link.completions.poll(&mut batch)?;
            for completion in batch.get(..count).unwrap_or_default() {
                *progress = true;
                if let Some(why) = self.completed(completion)? {
                    return Ok(Some(why));
                }
            }
            if count < batch.len() {
                break;
            }
        }
        Ok(None)
    }

    fn end(&mut self, manager: &mut dyn ConnectionManager, ending: Ending) {
        let state = match ending {
            Ending::Rejected { reason, .. } => State::Rejected(reason),
            Ending::Failed(why) if self.state == State::Connecting => State::Failed(why),
            Ending::Failed(why) | Ending::Closed(why) => State::Closed(why),
        };
        // A refused login stays refused, whoever disconnects then.
        if !matches!(self.state, State::Refused { .. }) {
            self.state = state;
        }
        self.link = None;
        self.client = None;
        self.pieces.clear();
        manager.forget(self.id);
    }
}

impl Link {
    fn post_receive(&mut self, slot: usize, large: bool) -> Result<(), InitiatorError> {
        let (slots, mark) = if large {
            (&mut self.large, RECEIVE | LARGE)
        } else {
            (&mut self.receives, RECEIVE)
        };
        let size = slots.size();
        let sge = slots.lend(slot, size).ok_or(InitiatorError::NoBuffer)?;
        let id = WorkId(mark | slot as u64);
        if let Err(error) = self.queue_pair.post_receive(id, sge) {
            slots.take_back(slot);
            return Err(error.into());
        }
        Ok(())
    }
}

pub(crate) fn not_up(state: &State) -> InitiatorError {
    InitiatorError::NotConnected(state.clone())
}
