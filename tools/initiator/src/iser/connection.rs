//! One connection: a queue pair, its buffers, its login, and what is outstanding on it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use pagecast_rdma::fabric::{
    Adapter, Completion, ConnectParams, ConnectionId, ConnectionManager, RemoteBuffer,
};

use super::command::{Command, Data, Reply};
use super::options::{LOGIN_DATA, Options};
use super::wire::{self, MESSAGE_HEADERS};
use crate::endpoints::{Ending, Endpoint};
use crate::error::InitiatorError;
use crate::iscsi::pdu::opcode;
use crate::iscsi::request::Direction;
use crate::iscsi::{Client, Incoming, Login, Negotiated, Pdu, ScsiResponse, Step};
use crate::link::{Link, Pool, Receive};
use crate::memory::Piece;

/// The pool of receives for the full feature phase.
const SMALL: usize = 0;
/// The pool of the one buffer for login responses, and for all of a discovery session.
const LARGE: usize = 1;
/// Send buffers beyond those that the receives allow for.
const SPARE_SENDS: u32 = 8;

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
    /// Whether the buffer of the pool [`LARGE`] is posted.
    large_posted: bool,
    /// How many of the pool [`SMALL`] were ever posted.
    small_posted: usize,
    pieces: HashMap<u32, Piece>,
    texts: HashMap<u32, Vec<u8>>,
    replies: VecDeque<(u32, Reply)>,
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
            large_posted: false,
            small_posted: 0,
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
        if !self.large_posted {
            link.post_receive(Receive {
                pool: LARGE,
                slot: 0,
            })?;
            self.large_posted = true;
        }
        Ok(())
    }

    /// Posts receives until `count` were.
    fn post_receives(&mut self, count: usize) -> Result<(), InitiatorError> {
        let link = self.link.as_mut().ok_or_else(|| not_up(&self.state))?;
        while self.small_posted < count {
            link.post_receive(Receive {
                pool: SMALL,
                slot: self.small_posted,
            })?;
            self.small_posted += 1;
        }
        Ok(())
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(
            self.state,
            State::Refused { .. } | State::Rejected(_) | State::Failed(_) | State::Closed(_)
        )
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
        let room = self.link.as_ref().is_some_and(|link| link.room() > 0);
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
        link.transmit(message)
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
        link.fail()
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
        let sends = Pool {
            count: receives + SPARE_SENDS,
            size: self.options.send_size,
        };
        let small = Pool {
            count: receives,
            size: MESSAGE_HEADERS + self.options.receive_data,
        };
        let large = Pool {
            count: 1,
            size: MESSAGE_HEADERS + LOGIN_DATA,
        };
        // in the order of their names
        let pools = [small, large];
        self.link = Some(Link::open(manager, &*adapter, self.id, sends, &pools)?);
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

    fn link(&mut self) -> Option<&mut Link> {
        self.link.as_mut()
    }

    fn is_closing(&self) -> bool {
        self.state == State::Closing
    }

    fn received(&mut self, at: Receive, completion: &Completion) -> Result<(), InitiatorError> {
        let Some(link) = &mut self.link else {
            return Ok(());
        };
        let message = link.message(at, completion).to_vec();
        if at.pool == LARGE {
            // posted again when there is something to answer
            self.large_posted = false;
        } else {
            link.post_receive(at)?;
        }
        self.handle(message)
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

pub(crate) fn not_up(state: &State) -> InitiatorError {
    InitiatorError::NotConnected(state.clone())
}
