//! The initiator: a connection manager and its channels.

use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use pagecast_rdma::fabric::{Adapter, ConnectionId, ConnectionManager, Fabric};

use crate::channel::{Channel, ChannelState, Event};
use crate::codec::{IMMEDIATE_OFFSET, LoginReply, LoginRequest};
use crate::command::{Command, Reply, Task};
use crate::endpoints::Endpoints;
use crate::error::InitiatorError;
use crate::memory::Buffer;

/// An SRP initiator with any number of channels, to any targets.
#[derive(Debug)]
pub struct Initiator {
    endpoints: Endpoints<Channel>,
}

/// A channel of an [`Initiator`]. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId(usize);

/// How to log in, and how to behave then.
#[derive(Clone, Debug)]
pub struct LoginOptions {
    /// The login.
    pub request: LoginRequest,
    /// Whether the connection is over the native InfiniBand CM, where the login has another form.
    pub native: bool,
    /// Sent instead of the login, as it is; the reply is not checked then.
    pub private_data: Option<Vec<u8>>,
    /// Receives posted for the target's information units, and with that the most commands at a time (less one).
    pub queue: u32,
    /// Bytes of each send buffer.
    pub send_size: u32,
    /// Bytes of each receive buffer.
    pub receive_size: u32,
    /// Whether the request limit is kept. If not, it may become negative.
    pub obey_credits: bool,
    /// Whether SRP_CRED_REQ and SRP_AER_REQ are answered.
    pub answer_requests: bool,
}

impl LoginOptions {
    /// As Linux does it: 8 KiB of immediate data, 64 buffers, a single channel that ends the others.
    pub fn new(initiator_port: [u8; 16], target_port: [u8; 16]) -> Self {
        Self {
            request: LoginRequest {
                tag: 0,
                buffer_formats: 6,
                multichannel: false,
                immediate_offset: Some(IMMEDIATE_OFFSET),
                request_length: 8260,
                initiator_port,
                target_port,
            },
            native: false,
            private_data: None,
            queue: 64,
            // Room for what is too long for the target, so that it can be sent.
            send_size: 16_384,
            receive_size: 8276,
            obey_credits: true,
            answer_requests: true,
        }
    }

    /// The same, as a further channel of its nexus.
    pub fn multichannel(mut self) -> Self {
        self.request.multichannel = true;
        self
    }

    /// The same, without immediate data.
    pub fn without_immediate_data(mut self) -> Self {
        self.request.immediate_offset = None;
        self
    }
}

impl Initiator {
    /// An initiator without channels.
    pub fn new(fabric: &dyn Fabric) -> Result<Self, InitiatorError> {
        Ok(Self::over(fabric.connection_manager()?))
    }

    /// The same, over a connection manager of the caller's.
    pub fn over(manager: Box<dyn ConnectionManager>) -> Self {
        Self {
            endpoints: Endpoints::over(manager),
        }
    }

    /// How many turns a wait may take.
    pub fn set_patience(&mut self, turns: u64) {
        self.endpoints.patience = turns;
    }

    /// Starts to log in. Turn until the channel's [`state`](Self::state) is no longer `Connecting`.
    pub fn connect(
        &mut self,
        to: SocketAddr,
        options: LoginOptions,
    ) -> Result<ChannelId, InitiatorError> {
        let connection = self.endpoints.manager.resolve(to)?;
        Ok(self.attach(connection, options))
    }

    /// Starts to log in over a connection that the caller began to resolve on the manager given to [`over`](Self::over).
    pub fn attach(&mut self, connection: ConnectionId, options: LoginOptions) -> ChannelId {
        ChannelId(self.endpoints.push(Channel::new(connection, options)))
    }

    /// Takes everything that has happened, and returns whether anything had. Fails if the provider does, and if a target breaks
    /// the protocol; a channel that is refused, or lost, is a state.
    pub fn turn(&mut self) -> Result<bool, InitiatorError> {
        self.endpoints.turn()
    }

    /// Where the channel is.
    pub fn state(&self, channel: ChannelId) -> &ChannelState {
        &self.channel(channel).state
    }

    /// Whether the channel is logged in.
    pub fn is_up(&self, channel: ChannelId) -> bool {
        *self.state(channel) == ChannelState::Up
    }

    /// What the target granted, once it has.
    pub fn login(&self, channel: ChannelId) -> Option<LoginReply> {
        self.channel(channel).login
    }

    /// Credits left; negative only if they are not obeyed.
    pub fn request_limit(&self, channel: ChannelId) -> i64 {
        self.channel(channel).request_limit
    }

    /// Requests without a reply.
    pub fn outstanding(&self, channel: ChannelId) -> usize {
        self.channel(channel).outstanding()
    }

    /// Whether a command could be sent now.
    pub fn can_send(&self, channel: ChannelId) -> bool {
        self.channel(channel).can_send()
    }

    /// The adapter, once the way to the target is known.
    pub fn adapter(&self, channel: ChannelId) -> Option<&Arc<dyn Adapter>> {
        self.channel(channel).adapter.as_ref()
    }

    /// Memory for the target to read and write.
    pub fn allocate(&self, channel: ChannelId, length: usize) -> Result<Buffer, InitiatorError> {
        let of = self.channel(channel);
        let adapter = of.adapter.as_ref();
        let adapter = adapter.ok_or_else(|| InitiatorError::NotUp(of.state.clone()))?;
        Ok(Buffer::allocate(&**adapter, length)?)
    }

    /// Sends a command and returns its tag.
    pub fn send(&mut self, channel: ChannelId, command: &Command) -> Result<u64, InitiatorError> {
        let channel = self.channel_mut(channel);
        let tag = channel.next_tag();
        channel.send(tag, command)?;
        Ok(tag)
    }

    /// Sends a command under a tag of the caller's choice.
    pub fn send_tagged(
        &mut self,
        channel: ChannelId,
        tag: u64,
        command: &Command,
    ) -> Result<(), InitiatorError> {
        self.channel_mut(channel).send(tag, command)
    }

    /// Sends a task management request and returns its tag; the reply has the response code. A command that it aborts gets no
    /// reply: [`abandon`](Self::abandon) it.
    pub fn task(&mut self, channel: ChannelId, task: Task) -> Result<u64, InitiatorError> {
        self.channel_mut(channel).task(task)
    }

    /// Sends any bytes as an information unit. They cost `credits`, whether there are any or not. A response to them is an
    /// [`Event::Stray`] unless [`expect`](Self::expect)ed.
    pub fn send_raw(
        &mut self,
        channel: ChannelId,
        unit: &[u8],
        credits: u32,
    ) -> Result<(), InitiatorError> {
        self.channel_mut(channel).send_raw(unit, credits)
    }

    /// Expects a response to `tag`.
    pub fn expect(&mut self, channel: ChannelId, tag: u64) {
        self.channel_mut(channel).expect(tag);
    }

    /// Expects no response to `tag` any more.
    pub fn abandon(&mut self, channel: ChannelId, tag: u64) {
        self.channel_mut(channel).abandon(tag);
    }

    /// Sends SRP_I_LOGOUT. Disconnect afterwards.
    pub fn logout(&mut self, channel: ChannelId) -> Result<(), InitiatorError> {
        self.channel_mut(channel).logout()
    }

    /// Starts an orderly disconnect; turn until the channel is `Closed`.
    pub fn disconnect(&mut self, channel: ChannelId) -> Result<(), InitiatorError> {
        let channel = &mut self.endpoints[channel.0];
        if !channel.is_over() {
            channel.state = ChannelState::Closing;
            let id = channel.connection;
            self.endpoints.manager.disconnect(id)?;
        }
        Ok(())
    }

    /// Breaks the channel's queue pair, as a crash would.
    pub fn fail(&mut self, channel: ChannelId) -> Result<(), InitiatorError> {
        self.channel_mut(channel).fail()
    }

    /// Whether requests of the target are answered from now on. One that waits is, at the next turn.
    pub fn set_answer_requests(&mut self, channel: ChannelId, answer: bool) {
        self.channel_mut(channel).set_answer_requests(answer);
    }

    /// The reply to `tag`, if it has come.
    pub fn take_reply(&mut self, channel: ChannelId, tag: u64) -> Option<Reply> {
        self.channel_mut(channel).take_reply(Some(tag))
    }

    /// The oldest reply that has come.
    pub fn next_reply(&mut self, channel: ChannelId) -> Option<Reply> {
        self.channel_mut(channel).take_reply(None)
    }

    /// What the target said without being asked, oldest first.
    pub fn take_events(&mut self, channel: ChannelId) -> Vec<Event> {
        std::mem::take(&mut self.channel_mut(channel).events)
    }

    /// Readable when the connection manager has something.
    pub fn event_fd(&self) -> BorrowedFd<'_> {
        self.endpoints.event_fd()
    }

    /// Turns, with a `pump` after each, until `done` has something.
    pub fn wait_until<T>(
        &mut self,
        mut pump: impl FnMut(),
        mut done: impl FnMut(&mut Self) -> Option<T>,
    ) -> Result<T, InitiatorError> {
        for _ in 0..self.endpoints.patience {
            self.turn()?;
            if let Some(result) = done(self) {
                return Ok(result);
            }
            pump();
        }
        Err(InitiatorError::Stalled(self.endpoints.patience))
    }

    /// Logs in and waits until that is decided. Fails unless the channel is up; [`connect`](Self::connect) is for those who want
    /// to see a refusal as a state.
    pub fn log_in(
        &mut self,
        to: SocketAddr,
        options: LoginOptions,
        pump: impl FnMut(),
    ) -> Result<ChannelId, InitiatorError> {
        let channel = self.connect(to, options)?;
        match self.wait_connected(channel, pump)? {
            ChannelState::Up => Ok(channel),
            other => Err(InitiatorError::NotUp(other)),
        }
    }

    /// Waits until a login is decided.
    pub fn wait_connected(
        &mut self,
        channel: ChannelId,
        pump: impl FnMut(),
    ) -> Result<ChannelState, InitiatorError> {
        self.wait_until(pump, |initiator| {
            let state = initiator.state(channel);
            (*state != ChannelState::Connecting).then(|| state.clone())
        })
    }

    /// Waits until the channel is over.
    pub fn wait_over(
        &mut self,
        channel: ChannelId,
        pump: impl FnMut(),
    ) -> Result<ChannelState, InitiatorError> {
        self.wait_until(pump, |initiator| {
            let of = initiator.channel(channel);
            of.is_over().then(|| of.state.clone())
        })
    }

    /// Waits for the reply to `tag`.
    pub fn wait_reply(
        &mut self,
        channel: ChannelId,
        tag: u64,
        pump: impl FnMut(),
    ) -> Result<Reply, InitiatorError> {
        self.wait_until(pump, |initiator| match initiator.take_reply(channel, tag) {
            Some(reply) => Some(Ok(reply)),
            None if initiator.is_up(channel) => None,
            None => Some(Err(InitiatorError::NotUp(initiator.state(channel).clone()))),
        })?
    }

    /// Sends a command as soon as there is a credit for it, and waits for its reply.
    pub fn execute(
        &mut self,
        channel: ChannelId,
        command: &Command,
        mut pump: impl FnMut(),
    ) -> Result<Reply, InitiatorError> {
        self.wait_until(&mut pump, |initiator| {
            (initiator.can_send(channel) || !initiator.is_up(channel)).then_some(())
        })?;
        let tag = self.send(channel, command)?;
        self.wait_reply(channel, tag, pump)
    }

    /// Sends a task management request and waits for its response code.
    pub fn execute_task(
        &mut self,
        channel: ChannelId,
        task: Task,
        pump: impl FnMut(),
    ) -> Result<Option<u8>, InitiatorError> {
        let tag = self.task(channel, task)?;
        let reply = self.wait_reply(channel, tag, pump)?;
        Ok(reply.response.code)
    }

    fn channel(&self, channel: ChannelId) -> &Channel {
        // Channels are never removed, and identifiers are made by `attach` alone.
        &self.endpoints[channel.0]
    }

    fn channel_mut(&mut self, channel: ChannelId) -> &mut Channel {
        &mut self.endpoints[channel.0]
    }
}
