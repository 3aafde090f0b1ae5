//! A shard: one thread's connections, their tasks, and the loop that moves them.
//!
//! A connection belongs to one shard for life, so nothing on the way of a command is shared but what is read-only or an
//! atomic. A command's way:
//!
//! ```text
//! completions -> receive (decode, plan) -> work (windows or staging, backend) -> transmit (one chain: data and response)
//! ```
//!
//! - `receive`: a message becomes a task.
//! - `work`: what a task does until it has its ending, in steps that end where it has to wait.
//! - `memory`: the memory that its data is in; `clear`: WRITE SAME and UNMAP; `compare`: whatever looks at the data; [`copy`];
//!   `extents`.
//! - [`locks`]: ranges that must not be written by anybody else meanwhile; [`order`]: task attributes.
//! - `transmit`: RDMA READs of data-out; data-in and response in one chain.
//! - `reserve`: changes of reservations; `fence`: commands of those who were preempted; [`manage`] and `abort`: task management;
//!   `close`: taking a connection down.
//!
//! `turn` does whatever there is to do now and never blocks; `run` is the thread's loop around it.

pub mod connection;
pub mod copy;
pub mod iscsi;
pub mod locks;
pub mod manage;
pub mod messages;
pub mod nvme;
pub mod order;
pub mod pipes;
pub mod port;
pub mod protocol;
pub mod srp;
pub mod stream;
pub mod task;
pub mod work_id;

mod abort;
mod clear;
mod close;
mod compare;
pub(crate) mod entropy;
mod extents;
mod fence;
mod memory;
mod prune;
mod rarer;
mod receive;
mod reserve;
mod run;
mod tcp;
mod transmit;
mod work;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use pagecast_backends::{Done, IoQueue, Operation};
use pagecast_memory::Slice;
use pagecast_rdma::fabric::{Chain, Completion};

use connection::Connection;
use messages::{Admission, ConnectionKey, ControlMessage, Mailbox, Mailer, ShardMessage};
use port::Port;
use protocol::Protocol;
use task::{TaskId, TaskTable};
use work_id::Kind;

use crate::device::MAX_ADAPTERS;
use crate::iscsi::login::LoginStatus;

/// Completions taken from a queue at a time.
const BATCH: usize = 32;

/// What a shard is made of.
#[derive(Debug)]
pub struct ShardParts {
    /// Its number.
    pub id: u16,
    /// Its mailbox.
    pub inbox: Mailbox<ShardMessage>,
    /// Its own address, for those who answer later.
    pub address: Mailer<ShardMessage>,
    /// Every shard's address, itself included, by number.
    pub peers: Vec<Mailer<ShardMessage>>,
    /// The control thread.
    pub control: Mailer<ControlMessage>,
    /// Where backend operations are executed.
    pub io: Box<dyn IoQueue>,
    /// How long it polls after the last work before it sleeps.
    pub poll_time: Duration,
    /// What it tells the outside about itself.
    pub gauges: Arc<Gauges>,
}

/// What a shard tells the outside about itself.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Gauges {
    /// Bytes of staging memory in use.
    pub staging_used: AtomicU64,
    /// Bytes of staging memory.
    pub staging_total: AtomicU64,
    /// Times a task had to wait for staging memory.
    pub staging_waits: AtomicU64,
    /// Tasks in use.
    pub tasks: AtomicU64,
    /// Times the shard went to sleep.
    pub sleeps: AtomicU64,
}

impl Gauges {
    fn count_sleep(&self) {
        self.sleeps.fetch_add(1, Relaxed);
    }

    fn count_wait(&self) {
        self.staging_waits.fetch_add(1, Relaxed);
    }
}

/// One I/O thread's state.
#[derive(Debug)]
pub struct Shard {
    id: u16,
    inbox: Mailbox<ShardMessage>,
    address: Mailer<ShardMessage>,
    peers: Vec<Mailer<ShardMessage>>,
    control: Mailer<ControlMessage>,
    connections: Vec<Option<Box<Connection>>>,
    tasks: TaskTable,
    io: Box<dyn IoQueue>,
    ports: [Option<Box<Port>>; MAX_ADAPTERS],
    /// No port has this number or a higher one.
    ports_end: usize,
    /// Whoever watches their queues has to look: an adapter that is gone stays open as long as one of them is watched.
    ports_changed: bool,
    poll_time: Duration,
    gauges: Arc<Gauges>,
    /// Time at the start of this turn.
    now: Instant,
    /// The same in nanoseconds since `epoch`, which is cheaper to reckon with.
    clock: u64,
    /// Every shard's is the same.
    epoch: Instant,
    next_sweep: Instant,
    draining: Option<Instant>,
    drained: bool,
    stopped: bool,
    /// Ports that staging memory came back to, as bits.
    staging_freed: u32,
    /// Connections where something that waits for its turn may have it now.
    reordered: Vec<u16>,
    /// Connections over byte streams.
    sockets: tcp::Sockets,
    /// Operations whose tasks wait for a range of the device.
    locked_out: Vec<(TaskId, Operation)>,
    /// What commands of this shard's wait for that preempt others.
    fences: Vec<fence::Fence>,
    /// Devices that are in no LUN map any more, and who waits for that.
    pruning: prune::Pruning,
    // Scratch space that is reused, so that a turn allocates nothing.
    chain: Chain,
    completions: Vec<Completion>,
    done: Vec<Done>,
    /// Emptied vectors of finished operations.
    spare_buffers: Vec<Vec<Slice>>,
}

impl Shard {
    /// Puts a shard together. `now` is the start of its clock, and has to be the same for all shards.
    pub fn new(parts: ShardParts, now: Instant) -> Self {
        Self {
            id: parts.id,
            inbox: parts.inbox,
            address: parts.address,
            peers: parts.peers,
            control: parts.control,
            connections: Vec::new(),
            tasks: TaskTable::default(),
            io: parts.io,
            ports: Default::default(),
            ports_end: 0,
            ports_changed: false,
            poll_time: parts.poll_time,
            gauges: parts.gauges,
            now,
            clock: 0,
            epoch: now,
            next_sweep: now,
            draining: None,
            drained: false,
            stopped: false,
            staging_freed: 0,
            reordered: Vec::new(),
            sockets: tcp::Sockets::default(),
            locked_out: Vec::new(),
            fences: Vec::new(),
            pruning: prune::Pruning::default(),
            chain: Chain::with_capacity(64),
            completions: vec![Completion::default(); BATCH],
            done: Vec::with_capacity(64),
            spare_buffers: Vec::new(),
        }
    }

    /// Does what there is to do, and says whether there was anything.
    pub fn turn(&mut self, now: Instant) -> bool {
        self.now = now;
        self.clock = now.saturating_duration_since(self.epoch).as_nanos() as u64;
        let mut busy = self.read_mail();
        for port in 0..self.ports_end {
            busy |= self.poll_port(port);
        }
        busy |= self.poll_sockets();
        busy |= self.poll_backend();
        self.serve_staging();
        self.serve_order();
        busy |= self.flush_sockets();
        self.io.flush();
        if now >= self.next_sweep {
            self.sweep();
        }
        // What left at the end may have made way for more, which nothing from outside would remind us of.
        busy || self.staging_freed != 0 || !self.reordered.is_empty()
    }

    /// Whether it serves no connection.
    pub fn is_empty(&self) -> bool {
        self.connections.iter().all(Option::is_none) && self.draining.is_none()
    }

    /// Whether it was told to stop.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    fn read_mail(&mut self) -> bool {
        let mut any = false;
        while let Some(message) = self.inbox.take() {
            any = true;
            match message {
                ShardMessage::Port(number, port) => {
                    if let Some(place) = self.ports.get_mut(number) {
                        *place = port;
                        self.ports_end = self.ports_end.max(number + 1);
                        self.ports_changed = true;
                    }
                }
                ShardMessage::Adopt(connection) => self.adopt(connection),
                ShardMessage::Established(key) => {
                    if let Some(connection) = self.by_key(key) {
                        connection.established = true;
                    }
                }
                ShardMessage::Admitted(key, outcome) => self.admitted(key, outcome),
                ShardMessage::Connected(key, outcome) => self.nvme_connected(key, outcome),
                ShardMessage::Authenticated(key, exchange, completion) => {
                    self.nvme_authenticated(key, exchange, completion);
                }
                ShardMessage::Close(key, reason) => {
                    if self.by_key(key).is_some() {
                        self.close(usize::from(key.slot), reason);
                    }
                }
                ShardMessage::Revoked(task, range) => self.windows_revoked(task, range),
                ShardMessage::Locked(task, ticket) => self.locked(task, ticket),
                ShardMessage::Reserved(task, outcome) => self.reserved(task, outcome),
                ShardMessage::Prune(done, units) => self.prune(done, units),
                ShardMessage::Break(ticket) => self.break_holders(&ticket),
                ShardMessage::Abort(request) => self.abort_matching(&request),
                ShardMessage::AbortDone(task, found) => self.aborts_done(task, found),
                ShardMessage::Drain => {
                    self.draining = Some(self.now);
                    self.next_sweep = self.now;
                }
                ShardMessage::Stop => self.stopped = true,
            }
        }
        any
    }

    fn adopt(&mut self, mut connection: Box<Connection>) {
        connection.adopted = Some(self.now);
        match &mut connection.protocol {
            Protocol::Iscsi(channel) => channel.begin(self.clock),
            Protocol::Nvme(channel) => channel.begin(self.clock),
            Protocol::Srp(_) => {}
        }
        let slot = usize::from(connection.key.slot);
        if self.connections.len() <= slot {
            self.connections.resize_with(slot + 1, || None);
        }
        let stream = connection.stream.is_some();
        self.connections[slot] = Some(connection);
        if stream {
            self.adopt_stream(slot);
        }
    }

    /// The control thread has decided about a login.
    fn admitted(&mut self, key: ConnectionKey, outcome: Result<Admission, LoginStatus>) {
        let Some(connection) = self.by_key(key) else {
            return;
        };
        let Protocol::Iscsi(channel) = &mut connection.protocol else {
            return;
        };
        match outcome {
            Ok(admission) => {
                channel.admitted(admission.tsih);
                connection.scsi = admission.session.scsi.channel();
                connection.session = admission.session;
            }
            Err(status) => channel.refused(status),
        }
        self.pump_control(usize::from(key.slot));
    }

    fn by_key(&mut self, key: ConnectionKey) -> Option<&mut Connection> {
        self.connections
            .get_mut(usize::from(key.slot))?
            .as_deref_mut()
            .filter(|connection| connection.key == key)
    }

    fn poll_port(&mut self, number: usize) -> bool {
        let Some(port) = &self.ports[number] else {
            return false;
        };
        let queue = Arc::clone(&port.completions);
        let mut completions = std::mem::take(&mut self.completions);
        let mut any = false;
        // Bounded, so that mail and the backend get their turn under any load.
        for _ in 0..4 {
            let count = match queue.poll(&mut completions) {
                Ok(count) => count,
                Err(error) => {
                    tracing::error!(shard = self.id, %error, "completion queue failed");
                    break;
                }
            };
            for completion in &completions[..count] {
                self.completed(completion);
            }
            any |= count > 0;
            if count < BATCH {
                break;
            }
        }
        self.completions = completions;
        any
    }

    /// Whatever a completion leads to. Not inlined, so that it can be told apart when its instructions are counted.
    #[inline(never)]
    fn completed(&mut self, completion: &Completion) {
        let Some((slot, generation, kind)) = work_id::decode(completion.id) else {
            return;
        };
        if !self.is_current(slot, generation) {
            // A connection may have completions before we read of its adoption.
            self.read_mail();
            if !self.is_current(slot, generation) {
                return;
            }
        }
        let ok = completion.status.is_success();
        if !ok {
            self.work_failed(slot, kind, completion);
        }
        match kind {
            Kind::Receive(receive) => self.received(slot, receive, completion.byte_len, ok),
            Kind::Fetch(task) => self.fetch_completed(slot, task, ok),
            Kind::Data(_) => {}
            Kind::Partial(task) => self.partial_completed(slot, task, ok),
            Kind::Response(task) => self.response_completed(slot, task),
            Kind::Control(send) => self.control_completed(slot, send),
        }
        if self.is_closing(slot) {
            self.finish_close(slot);
        }
    }

    fn is_current(&self, slot: usize, generation: u16) -> bool {
        matches!(self.connections.get(slot), Some(Some(connection))
            if connection.key.generation % work_id::GENERATIONS == generation)
    }

    fn poll_backend(&mut self) -> bool {
        let mut done = std::mem::take(&mut self.done);
        self.io.poll(&mut done);
        let any = !done.is_empty();
        for finished in done.drain(..) {
            self.backend_done(finished);
        }
        self.done = done;
        any
    }

    fn serve_staging(&mut self) {
        while self.staging_freed != 0 {
            let port = self.staging_freed.trailing_zeros() as usize;
            self.staging_freed &= self.staging_freed - 1;
            self.pump_staging(port);
        }
    }

    /// What is done every now and then: timeouts, gauges.
    fn sweep(&mut self) {
        self.next_sweep = self.now + Duration::from_millis(250);
        self.sweep_connections();
        self.sweep_fences();
        self.go_on_pruning();
        let (mut used, mut total) = (0, 0);
        for port in self.ports.iter().flatten() {
            used += port.staging.used();
            total += port.staging.size();
        }
        self.gauges.staging_used.store(used as u64, Relaxed);
        self.gauges.staging_total.store(total as u64, Relaxed);
        self.gauges.tasks.store(self.tasks.in_use() as u64, Relaxed);
    }
}
