//! The initiator: a connection manager and its connections.

use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use pagecast_rdma::fabric::{Adapter, ConnectionManager, Fabric};

use super::command::{Command, Reply};
use super::connection::{Connection, Event, State, not_up};
use super::options::Options;
use crate::endpoints::Endpoints;
use crate::error::InitiatorError;
use crate::iscsi::pdu::NO_TAG;
use crate::iscsi::{Client, Negotiated, Pdu, text};
use crate::memory::Buffer;

/// An iSER initiator with any number of connections, to any targets. Like the SRP [`Initiator`](crate::Initiator) it never
/// blocks.
#[derive(Debug)]
pub struct IserInitiator {
    endpoints: Endpoints<Connection>,
}

/// Names a connection of one initiator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionHandle(usize);

impl IserInitiator {
    /// An initiator without connections.
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

    /// Starts to connect and log in.
    pub fn connect(
        &mut self,
        to: SocketAddr,
        options: Options,
    ) -> Result<ConnectionHandle, InitiatorError> {
        let id = self.endpoints.manager.resolve(to)?;
        let connection = Connection::new(id, options);
        Ok(ConnectionHandle(self.endpoints.push(connection)))
    }

    /// Takes everything that has happened, and returns whether anything had. Fails if the provider does, and if a target breaks
    /// the protocol; a connection that is refused, or lost, is a state.
    pub fn turn(&mut self) -> Result<bool, InitiatorError> {
        self.endpoints.turn()
    }

    /// Where the connection is.
    pub fn state(&self, connection: ConnectionHandle) -> &State {
        &self.connection(connection).state
    }

    /// Whether the connection is logged in.
    pub fn is_up(&self, connection: ConnectionHandle) -> bool {
        *self.state(connection) == State::Up
    }

    /// What was negotiated, once it was.
    pub fn negotiated(&self, connection: ConnectionHandle) -> Option<&Negotiated> {
        self.connection(connection).negotiated.as_ref()
    }

    /// Private data of the target's answer.
    pub fn answer(&self, connection: ConnectionHandle) -> &[u8] {
        &self.connection(connection).answer
    }

    /// Numbers and tags, in the full feature phase.
    pub fn client(&self, connection: ConnectionHandle) -> Option<&Client> {
        self.connection(connection).client.as_ref()
    }

    /// The same, for tests that break them.
    pub fn client_mut(&mut self, connection: ConnectionHandle) -> Option<&mut Client> {
        self.connection_mut(connection).client.as_mut()
    }

    /// Whether a command could be sent now.
    pub fn can_send(&self, connection: ConnectionHandle) -> bool {
        self.connection(connection).can_send()
    }

    /// Memory for the target to read and write.
    pub fn allocate(
        &self,
        connection: ConnectionHandle,
        length: usize,
    ) -> Result<Buffer, InitiatorError> {
        let of = self.connection(connection);
        let adapter: &Arc<dyn Adapter> = of.adapter.as_ref().ok_or_else(|| not_up(&of.state))?;
        Ok(Buffer::allocate(&**adapter, length)?)
    }

    /// Sends a command and returns its tag.
    pub fn send(
        &mut self,
        connection: ConnectionHandle,
        command: &Command,
    ) -> Result<u32, InitiatorError> {
        self.connection_mut(connection).send(command)
    }

    /// Makes the message of a command, whose tag waits from now on; to be changed, and then sent with
    /// [`send_raw`](Self::send_raw).
    pub fn prepare(
        &mut self,
        connection: ConnectionHandle,
        command: &Command,
    ) -> Result<(u32, Vec<u8>), InitiatorError> {
        self.connection_mut(connection).prepare(command)
    }

    /// Sends any bytes as a message.
    pub fn send_raw(
        &mut self,
        connection: ConnectionHandle,
        message: &[u8],
    ) -> Result<(), InitiatorError> {
        self.connection_mut(connection).transmit(message)
    }

    /// Sends a request that `build` makes, and returns its tag: `|client| client.nop(true, vec![])`.
    pub fn request(
        &mut self,
        connection: ConnectionHandle,
        build: impl FnOnce(&mut Client) -> Pdu,
    ) -> Result<u32, InitiatorError> {
        self.connection_mut(connection).request(build)
    }

    /// Expects no response to `itt` any more.
    pub fn abandon(&mut self, connection: ConnectionHandle, itt: u32) {
        self.connection_mut(connection).abandon(itt);
    }

    /// Starts an orderly disconnect; turn until the connection is `Closed`.
    pub fn disconnect(&mut self, connection: ConnectionHandle) -> Result<(), InitiatorError> {
        let connection = &mut self.endpoints[connection.0];
        if !connection.is_over() {
            connection.state = State::Closing;
            let id = connection.id;
            self.endpoints.manager.disconnect(id)?;
        }
        Ok(())
    }

    /// Breaks the connection's queue pair, as a crash would.
    pub fn fail(&mut self, connection: ConnectionHandle) -> Result<(), InitiatorError> {
        self.connection_mut(connection).fail()
    }

    /// The reply to `itt`, if it has come.
    pub fn take_reply(&mut self, connection: ConnectionHandle, itt: u32) -> Option<Reply> {
        let reply = self.connection_mut(connection).take_reply(Some(itt))?;
        Some(reply.1)
    }

    /// The oldest reply that has come, with its tag.
    pub fn next_reply(&mut self, connection: ConnectionHandle) -> Option<(u32, Reply)> {
        self.connection_mut(connection).take_reply(None)
    }

    /// What the target said without being asked, oldest first.
    pub fn take_events(&mut self, connection: ConnectionHandle) -> Vec<Event> {
        std::mem::take(&mut self.connection_mut(connection).events)
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

    /// Connects and waits until the login is decided; the state says how.
    pub fn wait_connected(
        &mut self,
        connection: ConnectionHandle,
        pump: impl FnMut(),
    ) -> Result<State, InitiatorError> {
        self.wait_until(pump, |initiator| {
            let state = initiator.state(connection);
            let undecided = matches!(state, State::Connecting | State::LoggingIn);
            (!undecided).then(|| state.clone())
        })
    }

    /// Logs in. Fails unless the connection is up.
    pub fn log_in(
        &mut self,
        to: SocketAddr,
        options: Options,
        pump: impl FnMut(),
    ) -> Result<ConnectionHandle, InitiatorError> {
        let connection = self.connect(to, options)?;
        match self.wait_connected(connection, pump)? {
            State::Up => Ok(connection),
            other => Err(not_up(&other)),
        }
    }

    /// Waits until the connection is over.
    pub fn wait_over(
        &mut self,
        connection: ConnectionHandle,
        pump: impl FnMut(),
    ) -> Result<State, InitiatorError> {
        self.wait_until(pump, |initiator| {
            let of = initiator.connection(connection);
            of.is_over().then(|| of.state.clone())
        })
    }

    /// Waits for the reply to `itt`.
    pub fn wait_reply(
        &mut self,
        connection: ConnectionHandle,
        itt: u32,
        pump: impl FnMut(),
    ) -> Result<Reply, InitiatorError> {
        self.wait_until(pump, |initiator| {
            match initiator.take_reply(connection, itt) {
                Some(reply) => Some(Ok(reply)),
                None if initiator.is_up(connection) => None,
                None => Some(Err(not_up(initiator.state(connection)))),
            }
        })?
    }

    /// Sends a command as soon as the window is open for it, and waits for its reply.
    pub fn execute(
        &mut self,
        connection: ConnectionHandle,
        command: &Command,
        mut pump: impl FnMut(),
    ) -> Result<Reply, InitiatorError> {
        self.wait_until(&mut pump, |initiator| {
            (initiator.can_send(connection) || !initiator.is_up(connection)).then_some(())
        })?;
        let itt = self.send(connection, command)?;
        self.wait_reply(connection, itt, pump)
    }

    /// Sends a task management request and waits for its response code. `referenced` is a command's tag, for ABORT TASK.
    pub fn execute_task(
        &mut self,
        connection: ConnectionHandle,
        lun: u16,
        function: u8,
        referenced: Option<u32>,
        pump: impl FnMut(),
    ) -> Result<Option<u8>, InitiatorError> {
        let (lun, tag) = (crate::scsi::lun(lun), referenced.unwrap_or(NO_TAG));
        let itt = self.request(connection, |client| client.task(lun, function, tag))?;
        Ok(self.wait_reply(connection, itt, pump)?.code())
    }

    /// Asks for targets (RFC 7143 appendix C) and returns all pairs of the answer.
    pub fn send_targets(
        &mut self,
        connection: ConnectionHandle,
        which: &str,
        pump: impl FnMut(),
    ) -> Result<text::Pairs, InitiatorError> {
        let question = text::encode(&[("SendTargets", which)]);
        let itt = self.request(connection, |client| client.text(question))?;
        let reply = self.wait_reply(connection, itt, pump)?;
        reply
            .text()
            .ok_or(InitiatorError::Invalid("an answer that is no text"))
    }

    /// Closes the session and waits for the response code; the target closes the connection after it.
    pub fn log_out(
        &mut self,
        connection: ConnectionHandle,
        pump: impl FnMut(),
    ) -> Result<Option<u8>, InitiatorError> {
        let itt = self.request(connection, |client| client.logout(0, 0))?;
        self.wait_until(pump, |initiator| {
            // The connection may be gone by the time that we look.
            let reply = initiator.take_reply(connection, itt);
            match reply {
                Some(reply) => Some(Ok(reply.code())),
                None if initiator.is_up(connection) => None,
                None => Some(Err(not_up(initiator.state(connection)))),
            }
        })?
    }

    fn connection(&self, connection: ConnectionHandle) -> &Connection {
        // Connections are never removed, and handles are made by `connect` alone.
        &self.endpoints[connection.0]
    }

    fn connection_mut(&mut self, connection: ConnectionHandle) -> &mut Connection {
        &mut self.endpoints[connection.0]
    }
}
