//! The host: a connection manager and queues, of any controllers.

use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use pagecast_rdma::fabric::{ConnectionManager, Fabric};

use super::command::{Command, Reply};
use super::connect::{Connect, Connected};
use super::controller::{Bringup, Controller, ControllerOptions};
use super::queue::{Event, Queue, QueueOptions, QueueState};
use crate::endpoints::Endpoints;
use crate::error::InitiatorError;
use crate::memory::Buffer;

/// A host with any number of queues. Like the SRP [`Initiator`](crate::Initiator) it never blocks.
#[derive(Debug)]
pub struct NvmeHost {
    endpoints: Endpoints<Queue>,
}

/// Names a queue of one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QueueHandle(usize);

impl NvmeHost {
    /// A host without queues.
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

    /// Starts to connect a queue.
    pub fn connect(
        &mut self,
        to: SocketAddr,
        options: QueueOptions,
    ) -> Result<QueueHandle, InitiatorError> {
        let id = self.endpoints.manager.resolve(to)?;
        Ok(QueueHandle(self.endpoints.push(Queue::new(id, options))))
    }

    /// Takes everything that has happened, and returns whether anything had. Fails if the provider does, and if a controller breaks
    /// the protocol; a queue that is refused, or lost, is a state.
    pub fn turn(&mut self) -> Result<bool, InitiatorError> {
        self.endpoints.turn()
    }

    /// Where the queue is.
    pub fn state(&self, queue: QueueHandle) -> &QueueState {
        &self.queue(queue).state
    }

    /// Whether Connect has succeeded, and the queue is still there.
    pub fn is_up(&self, queue: QueueHandle) -> bool {
        *self.state(queue) == QueueState::Up
    }

    /// Whether there is a connection, or an attempt at one.
    pub fn is_alive(&self, queue: QueueHandle) -> bool {
        self.queue(queue).is_alive()
    }

    /// What the controller answered to Connect.
    pub fn connected(&self, queue: QueueHandle) -> Option<Connected> {
        self.queue(queue).connected
    }

    /// Entries of the controller's receive queue (CRQSIZE), once the connection is up.
    pub fn receive_entries(&self, queue: QueueHandle) -> u16 {
        self.queue(queue).receive_entries
    }

    /// How the queue was connected.
    pub fn options(&self, queue: QueueHandle) -> &QueueOptions {
        self.queue(queue).options()
    }

    /// Whether a command could be sent now.
    pub fn can_send(&self, queue: QueueHandle) -> bool {
        self.queue(queue).can_send()
    }

    /// Commands that wait for their completion.
    pub fn outstanding(&self, queue: QueueHandle) -> usize {
        self.queue(queue).outstanding()
    }

    /// Memory for the controller to read and write.
    pub fn allocate(&self, queue: QueueHandle, length: usize) -> Result<Buffer, InitiatorError> {
        self.queue(queue).allocate(length)
    }

    /// The Connect command of a queue, with its data, to be changed and sent by hand.
    pub fn connect_command(
        &self,
        queue: QueueHandle,
        connect: &Connect,
    ) -> Result<Command, InitiatorError> {
        self.queue(queue).connect_command(connect)
    }

    /// Sends a command, and returns its identifier.
    pub fn send(&mut self, queue: QueueHandle, command: &Command) -> Result<u16, InitiatorError> {
        let queue = self.queue_mut(queue);
        if !queue.can_send() {
            return Err(match queue.state {
                QueueState::Up | QueueState::Established => InitiatorError::NoCredit,
                _ => queue.not_up(),
            });
        }
        queue.send(command)
    }

    /// Makes the capsule of a command, which is outstanding from now on; to be changed, and then sent with
    /// [`send_raw`](Self::send_raw).
    pub fn prepare(
        &mut self,
        queue: QueueHandle,
        command: &Command,
    ) -> Result<(u16, Vec<u8>), InitiatorError> {
        self.queue_mut(queue).prepare(command)
    }

    /// Makes a command of this identifier outstanding, which is sent by hand.
    pub fn expect(&mut self, queue: QueueHandle, cid: u16, command: &Command) {
        self.queue_mut(queue).expect(cid, command);
    }

    /// Sends any bytes as a capsule.
    pub fn send_raw(&mut self, queue: QueueHandle, message: &[u8]) -> Result<(), InitiatorError> {
        self.queue_mut(queue).transmit(message)
    }

    /// Expects no completion of `cid` any more.
    pub fn abandon(&mut self, queue: QueueHandle, cid: u16) {
        self.queue_mut(queue).abandon(cid);
    }

    /// Starts an orderly disconnect; turn until the queue is `Closed`.
    pub fn disconnect(&mut self, queue: QueueHandle) -> Result<(), InitiatorError> {
        let queue = &mut self.endpoints[queue.0];
        if queue.is_alive() {
            if !matches!(queue.state, QueueState::Refused(_)) {
                queue.state = QueueState::Closing;
            }
            let id = queue.id;
            self.endpoints.manager.disconnect(id)?;
        }
        Ok(())
    }

    /// Breaks the queue pair, as a crash would.
    pub fn fail(&mut self, queue: QueueHandle) -> Result<(), InitiatorError> {
        self.queue_mut(queue).fail()
    }

    /// The reply to `cid`, if it has come.
    pub fn take_reply(&mut self, queue: QueueHandle, cid: u16) -> Option<Reply> {
        let reply = self.queue_mut(queue).take_reply(Some(cid))?;
        Some(reply.1)
    }

    /// The oldest reply that has come, with its identifier.
    pub fn next_reply(&mut self, queue: QueueHandle) -> Option<(u16, Reply)> {
        self.queue_mut(queue).take_reply(None)
    }

    /// What came without being asked for, on a tolerant queue.
    pub fn take_events(&mut self, queue: QueueHandle) -> Vec<Event> {
        std::mem::take(&mut self.queue_mut(queue).events)
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

    /// Waits until it is decided whether the queue comes up; the state says how.
    pub fn wait_connected(
        &mut self,
        queue: QueueHandle,
        pump: impl FnMut(),
    ) -> Result<QueueState, InitiatorError> {
        self.wait_until(pump, |host| {
            let state = host.state(queue);
            (*state != QueueState::Connecting).then(|| state.clone())
        })
    }

    /// Waits until the queue is over.
    pub fn wait_over(
        &mut self,
        queue: QueueHandle,
        pump: impl FnMut(),
    ) -> Result<QueueState, InitiatorError> {
        self.wait_until(pump, |host| {
            (!host.is_alive(queue)).then(|| host.state(queue).clone())
        })
    }

    /// Waits for the reply to `cid`.
    pub fn wait_reply(
        &mut self,
        queue: QueueHandle,
        cid: u16,
        pump: impl FnMut(),
    ) -> Result<Reply, InitiatorError> {
        self.wait_until(pump, |host| host.poll_reply(queue, cid))?
    }

    /// The reply to `cid` if it has come, or an error if it cannot come any more.
    pub fn poll_reply(
        &mut self,
        queue: QueueHandle,
        cid: u16,
    ) -> Option<Result<Reply, InitiatorError>> {
        match self.take_reply(queue, cid) {
            Some(reply) => Some(Ok(reply)),
            None if self.is_alive(queue) => None,
            None => Some(Err(self.queue(queue).not_up())),
        }
    }

    /// Sends a command as soon as there is room for it, and waits for its reply.
    pub fn execute(
        &mut self,
        queue: QueueHandle,
        command: &Command,
        mut pump: impl FnMut(),
    ) -> Result<Reply, InitiatorError> {
        self.wait_until(&mut pump, |host| {
            (host.can_send(queue) || !host.is_alive(queue)).then_some(())
        })?;
        let cid = self.send(queue, command)?;
        self.wait_reply(queue, cid, pump)
    }

    /// Connects a whole controller, as Linux does.
    pub fn connect_controller(
        &mut self,
        to: SocketAddr,
        options: ControllerOptions,
        pump: impl FnMut(),
    ) -> Result<Controller, InitiatorError> {
        let mut bringup = Bringup::new(to, options);
        self.wait_until(pump, |host| bringup.step(host).transpose())?
    }

    fn queue(&self, queue: QueueHandle) -> &Queue {
        // Queues are never removed, and handles are made by `connect` alone.
        &self.endpoints[queue.0]
    }

    fn queue_mut(&mut self, queue: QueueHandle) -> &mut Queue {
        &mut self.endpoints[queue.0]
    }
}
