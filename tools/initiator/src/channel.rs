//! One channel: a queue pair, its buffers, its credits, and what is outstanding on it.

use std::collections::VecDeque;
use std::sync::Arc;

use pagecast_rdma::fabric::{Adapter, Completion, ConnectParams, ConnectionId, ConnectionManager};

use crate::codec::{
    DecodeError, Descriptor, Direction, LoginRejection, LoginReply, Response, TargetUnit,
    encode_command, encode_credit_response, encode_descriptor, encode_event_response,
    encode_logout, encode_task_management,
};
use crate::command::{Command, Data, Format, Pending, Reply, Task, remotes};
use crate::endpoints::{Ending, Endpoint};
use crate::error::InitiatorError;
use crate::initiator::LoginOptions;
use crate::link::{Link, Pool, Receive};
use crate::memory::{Buffer, Piece};

/// Send buffers that commands leave free, for task management and for answers to the target's requests.
const RESERVED_SENDS: usize = 4;
/// As the Linux initiator has it, so that tags of commands and of task management differ.
const TASK_TAG: u64 = 1 << 63;

/// Where a channel is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChannelState {
    /// On its way.
    Connecting,
    /// Logged in.
    Up,
    /// The target refused.
    Refused {
        /// The connection manager's reason; 28 is the target's own refusal.
        reason: i32,
        /// SRP_LOGIN_REJ, if it came with one.
        rejection: Option<LoginRejection>,
    },
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
    /// SRP_CRED_REQ, with its delta. Answered, unless the options say otherwise.
    CreditRequest(i32),
    /// SRP_AER_REQ: logical unit and sense data. Answered, unless the options say otherwise.
    Event {
        /// The logical unit.
        lun: [u8; 8],
        /// Sense data.
        sense: Vec<u8>,
    },
    /// SRP_T_LOGOUT, with its reason.
    Logout(u32),
    /// A response to nothing that waits for one.
    Stray(Response),
}

#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) connection: ConnectionId,
    pub(crate) state: ChannelState,
    pub(crate) login: Option<LoginReply>,
    pub(crate) adapter: Option<Arc<dyn Adapter>>,
    pub(crate) request_limit: i64,
    pub(crate) events: Vec<Event>,
    options: LoginOptions,
    link: Option<Link>,
    pending: Vec<Pending>,
    replies: VecDeque<Reply>,
    /// Requests of the target that wait for [`Channel::answer`].
    unanswered: Vec<Vec<u8>>,
    next_tag: u64,
}

impl Channel {
    pub(crate) fn new(connection: ConnectionId, options: LoginOptions) -> Self {
        Self {
            connection,
            state: ChannelState::Connecting,
            login: None,
            adapter: None,
            request_limit: 0,
            events: Vec::new(),
            options,
            link: None,
            pending: Vec::new(),
            replies: VecDeque::new(),
            unanswered: Vec::new(),
            // Not zero, so that an answer to a tag that was never read does not look right.
            next_tag: 0x5000,
        }
    }

    fn check_login(&self, login: &LoginReply) -> Result<(), DecodeError> {
        let request = &self.options.request;
        let wrong = |what| Err(DecodeError::Login(what));
        if login.tag != request.tag {
            return wrong("tag");
        }
        if login.max_it_iu_length < request.request_length {
            return wrong("takes less than was asked for");
        }
        if login.max_ti_iu_length < 64 {
            return wrong("sends less than SRP allows");
        }
        if login.buffer_formats & request.buffer_formats != request.buffer_formats {
            return wrong("lacks a required buffer format");
        }
        if login.request_limit < 2 {
            return wrong("a request limit that lets nothing through");
        }
        if login.immediate && request.immediate_offset.is_none() {
            return wrong("immediate data that nobody asked for");
        }
        Ok(())
    }

    pub(crate) fn is_over(&self) -> bool {
        !matches!(
            self.state,
            ChannelState::Connecting | ChannelState::Up | ChannelState::Closing
        )
    }

    fn handle(&mut self, unit: TargetUnit) -> Result<(), InitiatorError> {
        match unit {
            TargetUnit::Response(response) => {
                self.gain(response.delta)?;
                let waiting = self.pending.iter().position(|p| p.tag == response.tag);
                match waiting {
                    Some(at) => {
                        let pending = self.pending.swap_remove(at);
                        self.replies.push_back(pending.reply(response));
                    }
                    None => self.events.push(Event::Stray(response)),
                }
            }
            TargetUnit::CreditRequest { tag, delta } => {
                self.gain(delta)?;
                self.events.push(Event::CreditRequest(delta));
                self.unanswered.push(encode_credit_response(tag));
            }
            TargetUnit::EventRequest {
                tag,
                delta,
                lun,
                sense,
            } => {
                self.gain(delta)?;
                self.events.push(Event::Event { lun, sense });
                self.unanswered.push(encode_event_response(tag));
            }
            TargetUnit::Logout { reason } => self.events.push(Event::Logout(reason)),
        }
        Ok(())
    }

    fn gain(&mut self, delta: i32) -> Result<(), InitiatorError> {
        self.request_limit += i64::from(delta);
        let sane = self.request_limit >= 0 || !self.options.obey_credits;
        if !sane || self.request_limit > i64::from(i32::MAX) {
            return Err(DecodeError::RequestLimit(self.request_limit).into());
        }
        Ok(())
    }

    /// Answers the target's requests, and returns whether there was one. Answers cost no credit.
    fn answer(&mut self) -> Result<bool, InitiatorError> {
        // SRP allows a target one unanswered request.
        if self.unanswered.len() > 1 {
            return Err(DecodeError::Inconsistent("the number of its unanswered requests").into());
        }
        if !self.options.answer_requests || self.state != ChannelState::Up {
            return Ok(false);
        }
        match self.unanswered.pop() {
            Some(unit) => self.transmit(&unit, 0).map(|()| true),
            None => Ok(false),
        }
    }

    pub(crate) fn set_answer_requests(&mut self, answer: bool) {
        self.options.answer_requests = answer;
    }

    pub(crate) fn next_tag(&mut self) -> u64 {
        self.next_tag += 1;
        self.next_tag
    }

    pub(crate) fn send(&mut self, tag: u64, command: &Command) -> Result<(), InitiatorError> {
        self.check_up()?;
        // One credit stays for task management, as Linux does it.
        self.check_credit(2)?;
        let (unit, table) = self.encode(tag, command)?;
        let (data_in, pieces) = match &command.data {
            Data::In(pieces, _) => (true, pieces.clone()),
            Data::Out(pieces, _) => (false, pieces.clone()),
            Data::None | Data::Immediate(_) => (false, Vec::new()),
        };
        self.transmit(&unit, RESERVED_SENDS)?;
        self.request_limit -= 1;
        self.pending.push(Pending {
            tag,
            data_in,
            pieces,
            _table: table,
        });
        Ok(())
    }

    /// The information unit of a command, and the descriptor table that must live as long as it.
    fn encode(
        &self,
        tag: u64,
        command: &Command,
    ) -> Result<(Vec<u8>, Option<Buffer>), InitiatorError> {
        let plain = |direction, descriptor| {
            encode_command(
                tag,
                command.lun,
                command.attribute,
                &command.cdb,
                direction,
                descriptor,
            )
            .map_err(|error| InitiatorError::Invalid(error.0))
        };
        let (direction, pieces, format) = match &command.data {
            Data::None => return Ok((plain(Direction::Out, Descriptor::None)?, None)),
            Data::Immediate(bytes) => {
                let offset = self.options.request.immediate_offset;
                let offset = offset.ok_or(InitiatorError::Invalid("no immediate data offset"))?;
                let descriptor = Descriptor::Immediate { offset, bytes };
                return Ok((plain(Direction::Out, descriptor)?, None));
            }
            Data::In(pieces, format) => (Direction::In, pieces, *format),
            Data::Out(pieces, format) => (Direction::Out, pieces, *format),
        };
        let all = remotes(pieces);
        let total = all
            .iter()
            .fold(0u32, |sum, piece| sum.wrapping_add(piece.length));
        let mut table_memory = None;
        let unit = match format {
            Format::Direct => {
                let [piece] = all[..] else {
                    return Err(InitiatorError::Invalid("direct takes exactly one piece"));
                };
                plain(direction, Descriptor::Direct(piece))?
            }
            Format::Indirect => {
                let table = pagecast_rdma::fabric::RemoteBuffer {
                    address: 0,
                    key: 0,
                    length: (all.len() * 16) as u32,
                };
                let list = &all[..];
                plain(direction, Descriptor::Indirect { table, list, total })?
            }
            Format::External(listed) => {
                let memory = self.table(pieces)?;
                let table = memory
                    .piece(0, all.len() * 16)
                    .map_err(|_| InitiatorError::Invalid("descriptor table"))?
                    .remote;
                table_memory = Some(memory);
                let list = &all[..usize::from(listed).min(all.len())];
                plain(direction, Descriptor::Indirect { table, list, total })?
            }
        };
        Ok((unit, table_memory))
    }

    fn table(&self, pieces: &[Piece]) -> Result<Buffer, InitiatorError> {
        let adapter = self.adapter.as_ref();
        let adapter = adapter.ok_or_else(|| InitiatorError::NotUp(self.state.clone()))?;
        let bytes: Vec<u8> = pieces
            .iter()
            .flat_map(|piece| encode_descriptor(piece.remote))
            .collect();
        let memory = Buffer::allocate(&**adapter, bytes.len())?;
        memory
            .write(0, &bytes)
            .map_err(|_| InitiatorError::Invalid("descriptor table"))?;
        Ok(memory)
    }

    pub(crate) fn task(&mut self, task: Task) -> Result<u64, InitiatorError> {
        self.check_up()?;
        self.check_credit(1)?;
        let tag = self.next_tag() | TASK_TAG;
        let unit = encode_task_management(tag, task.lun, task.function, task.tag);
        self.transmit(&unit, 1)?;
        self.request_limit -= 1;
        self.expect(tag);
        Ok(tag)
    }

    pub(crate) fn logout(&mut self) -> Result<(), InitiatorError> {
        self.check_up()?;
        self.check_credit(1)?;
        let tag = self.next_tag();
        self.transmit(&encode_logout(tag), 1)?;
        self.request_limit -= 1;
        Ok(())
    }

    /// Sends any bytes. They cost `credits`, which are not checked.
    pub(crate) fn send_raw(&mut self, unit: &[u8], credits: u32) -> Result<(), InitiatorError> {
        self.check_up()?;
        self.transmit(unit, 0)?;
        self.request_limit -= i64::from(credits);
        Ok(())
    }

    /// A response to `tag` is wanted.
    pub(crate) fn expect(&mut self, tag: u64) {
        self.pending.push(Pending {
            tag,
            data_in: false,
            pieces: Vec::new(),
            _table: None,
        });
    }

    /// No response to `tag` is wanted any more. Its memory is released.
    pub(crate) fn abandon(&mut self, tag: u64) {
        self.pending.retain(|pending| pending.tag != tag);
    }

    pub(crate) fn outstanding(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn take_reply(&mut self, tag: Option<u64>) -> Option<Reply> {
        let wanted = |reply: &Reply| tag.is_none_or(|tag| reply.response.tag == tag);
        let at = self.replies.iter().position(wanted)?;
        self.replies.remove(at)
    }

    /// Breaks the queue pair, without a word to the peer.
    pub(crate) fn fail(&mut self) -> Result<(), InitiatorError> {
        if let Some(link) = &mut self.link {
            link.fail()?;
        }
        Ok(())
    }

    pub(crate) fn can_send(&self) -> bool {
        self.check_up().is_ok()
            && self.check_credit(2).is_ok()
            && self
                .link
                .as_ref()
                .is_some_and(|link| link.room() > RESERVED_SENDS)
    }

    fn check_up(&self) -> Result<(), InitiatorError> {
        match self.state {
            ChannelState::Up => Ok(()),
            _ => Err(InitiatorError::NotUp(self.state.clone())),
        }
    }

    /// Whether there are `needed` credits, and receives for all the responses and one request of the target.
    fn check_credit(&self, needed: i64) -> Result<(), InitiatorError> {
        let receives = self.options.queue.max(2) as usize;
        let fits = self.request_limit >= needed && self.pending.len() + 1 < receives;
        if self.options.obey_credits && !fits {
            return Err(InitiatorError::NoCredit);
        }
        Ok(())
    }

    /// Posts one information unit, if that leaves `reserve` send buffers free.
    fn transmit(&mut self, unit: &[u8], reserve: usize) -> Result<(), InitiatorError> {
        let Some(link) = &mut self.link else {
            return Err(InitiatorError::NotUp(self.state.clone()));
        };
        if link.room() <= reserve {
            return Err(InitiatorError::NoBuffer);
        }
        link.transmit(unit)
    }
}

impl Endpoint for Channel {
    fn id(&self) -> ConnectionId {
        self.connection
    }

    fn is_alive(&self) -> bool {
        !self.is_over()
    }

    fn resolved(
        &mut self,
        manager: &mut dyn ConnectionManager,
        adapter: Arc<dyn Adapter>,
    ) -> Result<(), InitiatorError> {
        let receive_count = self.options.queue.max(2);
        let send_count = receive_count + RESERVED_SENDS as u32;
        let sends = Pool {
            count: send_count,
            size: self.options.send_size as usize,
        };
        let receives = Pool {
            count: receive_count,
            size: self.options.receive_size as usize,
        };
        let mut link = Link::open(manager, &*adapter, self.connection, sends, &[receives])?;
        link.post_all(0)?;
        self.link = Some(link);
        self.adapter = Some(adapter);
        let private_data = match &self.options.private_data {
            Some(bytes) => bytes.clone(),
            None if self.options.native => self.options.request.encode_native(),
            None => self.options.request.encode(),
        };
        manager.connect(
            self.connection,
            &ConnectParams {
                private_data: &private_data,
                ..ConnectParams::default()
            },
        )?;
        Ok(())
    }

    fn established(&mut self, private_data: Vec<u8>) -> Result<(), InitiatorError> {
        let login = LoginReply::decode(&private_data)?;
        if self.options.private_data.is_none() {
            self.check_login(&login)?;
        }
        self.request_limit = i64::from(login.request_limit);
        self.login = Some(login);
        self.state = ChannelState::Up;
        Ok(())
    }

    fn link(&mut self) -> Option<&mut Link> {
        self.link.as_mut()
    }

    fn is_closing(&self) -> bool {
        self.state == ChannelState::Closing
    }

    fn received(&mut self, at: Receive, completion: &Completion) -> Result<(), InitiatorError> {
        let Some(link) = &mut self.link else {
            return Ok(());
        };
        let unit = TargetUnit::decode(link.message(at, completion));
        link.post_receive(at)?;
        self.handle(unit?)
    }

    fn settle(&mut self) -> Result<bool, InitiatorError> {
        self.answer()
    }

    fn end(&mut self, manager: &mut dyn ConnectionManager, ending: Ending) {
        let state = match ending {
            Ending::Rejected {
                reason,
                private_data,
            } => {
                let rejection = LoginRejection::decode(&private_data).ok();
                ChannelState::Refused { reason, rejection }
            }
            Ending::Failed(why) if self.state == ChannelState::Connecting => {
                ChannelState::Failed(why)
            }
            Ending::Failed(why) | Ending::Closed(why) => ChannelState::Closed(why),
        };
        self.state = state;
        self.link = None;
        self.pending.clear();
        manager.forget(self.connection);
    }
}
