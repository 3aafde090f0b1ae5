//! One connection as its shard sees it: a queue pair, its message buffers, and the books about both.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use pagecast_core::scsi::{ScsiChannel, UnitIndex};
use pagecast_rdma::fabric::{Chain, Operation, PostError, QueuePair};
use pagecast_rdma::slots::Slots;
use pagecast_rdma::windows::WindowCache;

use super::messages::{CloseReason, ConnectionKey};
use super::order::Order;
use super::port::Port;
use super::protocol::Protocol;
use super::stream::Stream;
use super::task::TaskId;
use super::work_id::{self, Kind};
use crate::device::Device;
use crate::metrics::meter::Meter;
use crate::session::Session;

/// How long a connection may take to flush what is posted before its queue pair is destroyed regardless.
pub const FLUSH_TIMEOUT_SECONDS: u64 = 10;

/// A connection that a shard serves.
#[derive(Debug)]
pub struct Connection {
    // Dropped before the slots: once the queue pair is destroyed, the adapter no longer touches their memory.
    /// The queue pair; `None` once it is destroyed.
    pub queue_pair: Option<Box<dyn QueuePair>>,
    /// Where messages arrive, and where responses are built. A byte stream has its own.
    pub buffers: MessageBuffers,
    /// The socket, if there is no queue pair.
    pub stream: Option<Box<Stream>>,
    /// Its place.
    pub key: ConnectionKey,
    /// Number of its adapter.
    pub port: usize,
    /// The devices that it has met, by the number that its logical units have in `scsi`.
    pub disks: Vec<Option<Disk>>,
    /// The session that it belongs to.
    pub session: Arc<Session>,
    /// Its view of the session's logical units.
    pub scsi: ScsiChannel,
    /// The protocol's state.
    pub protocol: Protocol,
    /// When the shard took it over.
    pub adopted: Option<Instant>,
    /// Whether `Established` was seen.
    pub established: bool,
    /// Whether a message came before that, and the control thread knows.
    pub announced: bool,
    /// Since when the adapter has reported no send, though some are posted; looked at now and then.
    pub stalled: Option<Instant>,
    /// Messages that belong to no task and have not left.
    pub controls: u32,
    /// A logout is on its way: nothing more is taken, and it is closed when the logout has left, for this reason.
    pub leaving: Option<(CloseReason, Instant)>,
    /// Why and since when it is being closed.
    pub closing: Option<(CloseReason, Instant)>,
    /// Send slots that are free.
    pub free_sends: Vec<u32>,
    /// Entries free in the send queue.
    pub room: u32,
    /// Send queue depth.
    pub depth: u32,
    /// Gather entries that a request may have.
    pub max_sge: usize,
    /// RDMA READs that may still be started.
    pub reads_free: u32,
    /// Signaled requests whose completion has not come.
    pub signaled: u32,
    /// Receives whose completion has not come.
    pub receives: u32,
    /// Tasks that wait for a turn to read from the initiator, oldest first.
    pub fetch_queue: VecDeque<TaskId>,
    /// Tasks that wait for room in the send queue, oldest first.
    pub room_queue: VecDeque<TaskId>,
    /// What ORDERED commands keep waiting.
    pub order: Order,
    /// Every task of the connection.
    pub tasks: Vec<TaskId>,
    /// What it counts for its session.
    pub meter: Arc<Meter>,
}

/// A connection's registered message memory. Made ahead of time and reused, because registration is slow.
#[derive(Debug)]
pub struct MessageBuffers {
    /// Where messages arrive.
    pub receive: Slots,
    /// Where responses are built.
    pub send: Slots,
}

/// A device, as a connection reaches it.
#[derive(Debug)]
pub struct Disk {
    /// The device.
    pub device: Arc<Device>,
    /// Its windows on the connection's adapter, if there can be any.
    pub windows: Option<Arc<WindowCache>>,
}

impl MessageBuffers {
    /// Registered bytes.
    pub fn bytes(&self) -> usize {
        self.receive.size() * self.receive.count() + self.send.size() * self.send.count()
    }
}

impl Connection {
    /// A connection without a queue pair.
    pub fn new(
        key: ConnectionKey,
        port: usize,
        session: Arc<Session>,
        protocol: Protocol,
        buffers: MessageBuffers,
    ) -> Self {
        let tasks = buffers.receive.count();
        Self {
            queue_pair: None,
            free_sends: (0..buffers.send.count() as u32).rev().collect(),
            buffers,
            stream: None,
            key,
            port,
            disks: Vec::new(),
            scsi: session.scsi.channel(),
            session,
            protocol,
            adopted: None,
            established: false,
            announced: false,
            stalled: None,
            controls: 0,
            leaving: None,
            closing: None,
            room: 0,
            depth: 0,
            max_sge: 0,
            reads_free: 0,
            signaled: 0,
            receives: 0,
            fetch_queue: VecDeque::with_capacity(tasks),
            room_queue: VecDeque::with_capacity(tasks),
            order: Order::default(),
            tasks: Vec::with_capacity(tasks),
            meter: Arc::default(),
        }
    }

    /// The device behind a logical unit; none if it is out of service.
    #[inline]
    pub fn disk(&mut self, unit: UnitIndex, ports: &[Option<Box<Port>>]) -> Option<&Disk> {
        if !matches!(self.disks.get(unit.number()), Some(Some(_))) {
            self.meet(unit, ports)?;
        }
        self.disks.get(unit.number())?.as_ref()
    }

    #[cold]
    fn meet(&mut self, unit: UnitIndex, ports: &[Option<Box<Port>>]) -> Option<()> {
        let number = self.scsi.unit(unit).id().0 as usize;
        let device = self.session.devices.get(number)?;
        self.session.meets(&device);
        let port = ports.get(self.port).and_then(Option::as_ref);
        let windows = port.and_then(|port| device.cache(&port.adapter));
        if self.disks.len() <= unit.number() {
            self.disks.resize_with(unit.number() + 1, || None);
        }
        let place = self.disks.get_mut(unit.number())?;
        *place = Some(Disk { device, windows });
        Some(())
    }

    /// Looks for windows of devices that had none when they were met: those may still have been on their way then.
    pub fn look_for_windows(&mut self, ports: &[Option<Box<Port>>]) {
        let Some(Some(port)) = ports.get(self.port) else {
            return;
        };
        for disk in self.disks.iter_mut().flatten() {
            if disk.windows.is_none() {
                disk.windows = disk.device.cache(&port.adapter);
            }
        }
    }

    /// Posts a receive on a slot.
    pub fn post_receive(&mut self, slot: u32) -> Result<(), PostError> {
        let Some(queue_pair) = &mut self.queue_pair else {
            return Err(PostError::Invalid("the queue pair is gone"));
        };
        let size = self.buffers.receive.size();
        let Some(sge) = self.buffers.receive.lend(slot as usize, size) else {
            return Err(PostError::Invalid("the receive slot is in use"));
        };
        let id = work_id::encode(self.key, Kind::Receive(slot));
        match queue_pair.post_receive(id, sge) {
            Ok(()) => {
                self.receives += 1;
                Ok(())
            }
            Err(error) => {
                self.buffers.receive.take_back(slot as usize);
                Err(error)
            }
        }
    }

    /// Posts a chain whose last request, and no other, is signaled.
    pub fn post(&mut self, chain: &Chain) -> Result<(), PostError> {
        let Some(queue_pair) = &mut self.queue_pair else {
            return Err(PostError::Invalid("the queue pair is gone"));
        };
        queue_pair.post_send(chain)?;
        self.room = self.room.saturating_sub(chain.len() as u32);
        self.signaled += 1;
        Ok(())
    }

    /// Posts fetches, each of them signaled.
    pub fn post_fetches(&mut self, chain: &Chain) -> Result<(), PostError> {
        self.post(chain)?;
        self.signaled += chain.len() as u32 - 1;
        Ok(())
    }

    /// Sends a message that belongs to no task, if there is one and room for it now.
    pub fn send_control(
        &mut self,
        chain: &mut Chain,
        build: impl FnOnce(&mut Protocol, &mut [u8]) -> usize,
    ) -> Result<bool, PostError> {
        if self.room == 0 || self.closing.is_some() {
            return Ok(false);
        }
        let Some(slot) = self.free_sends.pop() else {
            return Ok(false);
        };
        let length = build(
            &mut self.protocol,
            self.buffers.send.bytes_mut(slot as usize),
        );
        if length == 0 {
            self.free_sends.push(slot);
            return Ok(false);
        }
        let Some(sge) = self.buffers.send.lend(slot as usize, length) else {
            return Err(PostError::Invalid("the send slot is in use"));
        };
        chain.clear();
        let id = work_id::encode(self.key, Kind::Control(slot));
        chain.push(id, Operation::Send, true, [sge]);
        self.post(chain)?;
        self.controls += 1;
        Ok(true)
    }

    /// A signaled request completed, and its chain's entries are free again.
    pub fn completed(&mut self, entries: u32) {
        self.signaled = self.signaled.saturating_sub(1);
        self.room += entries;
        self.stalled = None;
    }

    /// Whether nothing is to be done for its initiator. Requests for events wait for ever.
    pub fn is_idle(&self) -> bool {
        match &self.protocol {
            // With its admin queue all queues of a controller go, so it waits for what they do.
            Protocol::Nvme(channel) => {
                let waits = channel.id() == 0 && self.session.in_flight.load(Relaxed) > 0;
                self.tasks.len() == channel.waiting() && !waits
            }
            _ => self.tasks.is_empty(),
        }
    }

    /// Whether new commands are served.
    pub fn is_open(&self) -> bool {
        self.closing.is_none() && self.leaving.is_none()
    }

    /// A send slot's message has left.
    pub fn sent(&mut self, slot: u32) {
        self.buffers.send.take_back(slot as usize);
        self.free_sends.push(slot);
    }

    /// Whether nothing of it is in the adapter's hands or in a task's.
    pub fn is_quiet(&self) -> bool {
        self.signaled == 0 && self.receives == 0 && self.tasks.is_empty()
    }

    /// Forgets a task; `queued` if it may be in a queue still.
    pub fn remove_task(&mut self, id: TaskId, queued: bool) {
        if let Some(at) = self.tasks.iter().position(|&task| task == id) {
            self.tasks.swap_remove(at);
        }
        if queued {
            self.fetch_queue.retain(|&task| task != id);
            self.room_queue.retain(|&task| task != id);
        }
    }
}
