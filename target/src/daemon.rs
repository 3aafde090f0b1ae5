//! The daemon: devices, targets and shards put together, and the control thread that owns what is rare.
//!
//! - `build` puts it together: [`devices`] opens the stores of a configuration, [`targets`] makes its targets.
//! - `listeners`, `logins`, `srp_logins`, `iscsi_logins`, `nvme_logins`: who comes in, and where it is served; `nvme_controllers` and
//!   `nvme_authentication`: what NVMe hosts have then. [`buffers`] keeps the memory of connections ready; `directory` is what logins ask.
//! - [`configure`] and `reassign` change what is served, `opening` opens and closes devices for it, [`offline`] tries again what is not there.
//! - [`management`] is what the control socket shows of it all.
//!
//! [`Daemon::build`] starts no thread: tests drive its parts by hand. [`Daemon::run`] gives each part its thread.

pub mod adapters;
pub mod buffers;
pub mod configure;
pub mod devices;
pub mod inventory;
pub mod management;
pub mod offline;
pub mod reservations;
pub mod targets;

mod addresses;
mod build;
mod directory;
mod iscsi_logins;
mod listeners;
mod logins;
mod nvme_authentication;
mod nvme_controllers;
mod nvme_discovery;
mod nvme_logins;
mod opening;
mod reassign;
mod reservation_reports;
mod run;
mod srp_logins;
mod tell;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crossbeam_channel::Sender;
use pagecast_backends::ThreadPool;
use pagecast_rdma::fabric::{
    Adapter, CmEvent, ConnectionId, ConnectionManager, Fabric, ListenerId,
};
use pagecast_rdma::windows::WindowService;

use crate::config::{self, Settings, Transport};
use crate::device::MAX_ADAPTERS;
use crate::device::table::DeviceTable;
use crate::events::Events;
use crate::identity::MachineId;
use crate::metrics::meter::Meter;
use crate::metrics::service::MetricsService;
use crate::session::{Session, SessionId};
use crate::shard::connection::{Connection, MessageBuffers};
use crate::shard::messages::{
    CloseReason, ConnectionKey, ControlMessage, Mailbox, Mailer, ShardMessage,
};
use crate::shard::work_id::GENERATIONS;
use crate::shard::{Gauges, Shard};
use crate::srp::nexus::{NexusId, Nexuses};
use adapters::AdapterPort;
use build::{NoParts, layout};
pub use build::{Parts, StartError};
use configure::Kept;
use inventory::Inventory;
use listeners::{Place, TcpPortal, Troubles};
use logins::Waiting;
use nvme_controllers::Controllers;
use reservations::Changer;
pub use run::Observer;

/// Connection requests that wait for the control thread, per listener.
const BACKLOG: u32 = 128;

/// Bytes for a message of ours: any SRP response, and what iSCSI says in a login and in a page of a discovery.
const SEND_SIZE: usize = 1024;

/// Everything, built and not yet running.
#[derive(Debug)]
pub struct Daemon {
    /// The control thread's state.
    pub control: Control,
    /// The shards.
    pub shards: Vec<Shard>,
    /// What everybody may look at.
    pub shared: Arc<Shared>,
    /// Ends up in the control thread's mailbox.
    pub control_address: Mailer<ControlMessage>,
    // Threads of the fallback engine; they end when it drops, after the shards.
    pool: ThreadPool,
}

/// What the control socket may look at, from any thread.
#[derive(Debug)]
pub struct Shared {
    /// The settings in force.
    pub settings: Settings,
    /// What makes this machine's identities differ from another's.
    pub machine: MachineId,
    /// Where what has to last is kept.
    pub state: PathBuf,
    /// What is served.
    inventory: Mutex<Arc<Inventory>>,
    /// Devices by number. They stay in it until their last command has ended.
    pub table: Arc<DeviceTable>,
    /// Who is logged in.
    pub sessions: Mutex<BTreeMap<SessionId, Arc<Session>>>,
    /// What shards say of themselves.
    pub gauges: Vec<Arc<Gauges>>,
    /// The window service.
    pub windows: Arc<WindowService>,
    /// The I/O engine in use, and why this one.
    pub engine: (String, String),
    /// When it started.
    pub started: Instant,
    /// The configuration as it is kept.
    pub kept: Kept,
    /// The control thread.
    control: Mailer<ControlMessage>,
    /// Who changes reservations.
    pub changer: Changer,
    /// Who watches.
    pub events: Arc<Events>,
    /// Where the counters may be read.
    pub metrics: MetricsService,
    /// What does not work right now.
    pub troubles: offline::Troubles,
    /// Adapters in service.
    pub adapters: Mutex<Vec<Arc<dyn Adapter>>>,
    /// Bytes registered for messages.
    pub message_bytes: AtomicU64,
    /// Logins accepted.
    pub logins: AtomicU64,
    /// Logins refused.
    pub refused: AtomicU64,
    /// Whether every portal listens.
    pub ready: AtomicBool,
    /// Whether no more logins are taken.
    pub stopping: AtomicBool,
}

impl Shared {
    /// What is served now.
    pub fn inventory(&self) -> Arc<Inventory> {
        Arc::clone(
            &self
                .inventory
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Somebody was not let in.
    fn count_refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// Something else is served from now on.
    fn set_inventory(&self, inventory: Arc<Inventory>) {
        *self
            .inventory
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = inventory;
    }

    /// Adapters in service.
    pub fn adapters(&self) -> MutexGuard<'_, Vec<Arc<dyn Adapter>>> {
        // The list is never left half changed.
        self.adapters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who is logged in.
    pub fn sessions(&self) -> MutexGuard<'_, BTreeMap<SessionId, Arc<Session>>> {
        // The table is never left half changed.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The control thread's state.
#[derive(Debug)]
pub struct Control {
    fabric: Arc<dyn Fabric>,
    manager: Box<dyn ConnectionManager>,
    shared: Arc<Shared>,
    inbox: Mailbox<ControlMessage>,
    /// Adapters in service, by number.
    ports: [Option<AdapterPort>; MAX_ADAPTERS],
    shards: Vec<ShardHandle>,
    /// The connection manager's listeners.
    listeners: HashMap<ListenerId, Place>,
    tcp_portals: Vec<TcpPortal>,
    /// Adapters that cannot be taken into service, by name: each is told of once.
    unusable: Vec<String>,
    accept_trouble: Troubles,
    spare_descriptor: Option<File>,
    /// The port of connections without an adapter, if there is a portal for such.
    local_port: Option<usize>,
    connections: HashMap<ConnectionKey, Entry>,
    /// Where the connection manager's connections are.
    by_id: HashMap<ConnectionId, ConnectionKey>,
    nexuses: Nexuses<ConnectionKey>,
    /// What NVMe hosts are connected to.
    controllers: Controllers,
    /// Logins that wait for what they replace to be gone.
    waiting: Vec<Waiting>,
    sessions: HashMap<Nexus, Arc<Session>>,
    next_session: u64,
    next_connection: u64,
    orders: Option<Sender<buffers::Order>>,
    /// Threads for NVMe hosts that authenticate; in tests there are none.
    authenticators: Option<Sender<nvme_authentication::Step>>,
    /// Devices that threads attach to adapters; none where there are no threads, as in tests and before the daemon runs.
    attaching: Option<Vec<adapters::Attaching>>,
    draining: bool,
    drained: usize,
    stopped: bool,
}

/// A shard, as the control thread knows it.
#[derive(Debug)]
struct ShardHandle {
    mail: Mailer<ShardMessage>,
    /// Generation of each slot's next connection.
    generations: Vec<u16>,
    free_slots: Vec<u16>,
    /// Completion queue entries promised to connections, by adapter.
    promised: [u32; MAX_ADAPTERS],
    connections: usize,
}

impl ShardHandle {
    /// A slot for a new connection.
    fn take_slot(&mut self, shard: u16) -> Option<ConnectionKey> {
        let slot = match self.free_slots.pop() {
            Some(slot) => slot,
            None => {
                let slot = u16::try_from(self.generations.len()).ok()?;
                self.generations.push(0);
                slot
            }
        };
        let generation = self.generations.get_mut(usize::from(slot))?;
        *generation = (*generation + 1) % GENERATIONS;
        Some(ConnectionKey {
            shard,
            slot,
            generation: *generation,
        })
    }

    fn adopt(&self, connection: Box<Connection>) {
        self.mail.send(ShardMessage::Adopt(connection));
    }
}

/// A connection that a shard serves.
#[derive(Debug)]
struct Entry {
    /// The connection manager's name for it, if it has one.
    id: Option<ConnectionId>,
    /// Older connections have lower ones.
    number: u64,
    /// Whom it belongs to, once it has logged in.
    nexus: Option<Nexus>,
    session: Option<Arc<Session>>,
    /// Every name that access groups may know its initiator by, as it came here; none before it has logged in. Other connections of its
    /// session may have come from elsewhere.
    names: Vec<String>,
    port: usize,
    completions: u32,
    origin: Origin,
    /// It is on its way out: there will be no command of its any more.
    ending: bool,
    /// It has logged in, and has yet to prove who it is.
    unproven: bool,
    transport: Transport,
    /// What it counts for its session.
    meter: Arc<Meter>,
    /// Dropped with it: whoever shut it out waits for that.
    awaited: Option<Sender<()>>,
}

/// Where a connection came in; for protocols that log in later.
#[derive(Clone, Debug)]
struct Origin {
    /// The portal, as configured: it leads to the targets that have it.
    portal: config::Portal,
    /// Whom it is from.
    peer: String,
    /// Our address, as the peer dialled it.
    local: Option<SocketAddr>,
    /// Somebody who has logged in said that it would come.
    expected: bool,
}

impl Origin {
    fn of(portal: config::Portal, peer: String) -> Self {
        Self {
            portal,
            peer,
            local: None,
            expected: false,
        }
    }
}

/// An I_T nexus (SAM-5 4.7).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Nexus {
    Srp(NexusId),
    Iscsi(IscsiNexus),
    /// A controller, by its identifier.
    Nvme(u16),
}

/// An iSCSI initiator port and a target (RFC 7143 section 4.4.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct IscsiNexus {
    initiator: String,
    isid: [u8; 6],
    target: String,
}

impl Control {
    /// Does what there is to do, and says whether there was anything.
    pub fn turn(&mut self) -> bool {
        let mut busy = false;
        while let Some(message) = self.inbox.take() {
            busy = true;
            self.message(message);
        }
        // Bounded, so that a storm of logins does not keep mail waiting.
        for _ in 0..16 {
            match self.manager.next_event() {
                Ok(Some(event)) => {
                    busy = true;
                    self.event(event);
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::error!(%error, "connection manager failed");
                    break;
                }
            }
        }
        busy |= self.accept_tcp();
        busy | self.adapter_events()
    }

    /// Has message buffers registered in the background from now on.
    pub fn order_from(&mut self, orders: Sender<buffers::Order>) {
        for port in self.ports.iter_mut().flatten() {
            port.stock.order_from(orders.clone());
        }
        self.orders = Some(orders);
    }

    /// Starts a new period of the devices' worst command times.
    pub fn next_period(&self) {
        for device in &self.shared.inventory().devices {
            for counters in device.counters.iter() {
                counters.next_period();
            }
        }
    }

    /// Whether everything has ended.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    fn message(&mut self, message: ControlMessage) {
        match message {
            ControlMessage::Closed { key, buffers } => self.closed(key, buffers),
            ControlMessage::Disconnect { key } => {
                self.ends(key);
                if let Some(id) = self.id_of(key)
                    && let Err(error) = self.manager.disconnect(id)
                {
                    tracing::debug!(?key, %error, "disconnect");
                }
            }
            ControlMessage::Early { key } => {
                if let Some(id) = self.id_of(key)
                    && let Err(error) = self.manager.notify_established(id)
                {
                    tracing::debug!(?key, %error, "notify established");
                }
            }
            ControlMessage::Login { key, summary } => self.iscsi_login(key, &summary),
            ControlMessage::LoginFailed { key, failure } => self.login_failed(key, &failure),
            ControlMessage::Connect { key, connect } => self.nvme_connect(key, &connect),
            ControlMessage::Authenticate {
                key,
                exchange,
                message,
            } => self.authenticate(key, exchange, message),
            ControlMessage::Proven { key } => {
                if let Some(entry) = self.connections.get_mut(&key) {
                    entry.unproven = false;
                }
            }
            ControlMessage::Reserve(work) => self.reserve(work),
            ControlMessage::Step(step) => self.configure(*step),
            ControlMessage::ControllerReset { key } => self.controller_reset(key),
            ControlMessage::Buffers { adapter, buffers } => {
                self.buffers_delivered(&adapter, buffers);
            }
            ControlMessage::Drained { shard } => {
                tracing::debug!(shard, "drained");
                self.drained += 1;
                if self.drained == self.shards.len() {
                    self.stop();
                }
            }
            ControlMessage::Shutdown => self.shut_down(),
        }
    }

    fn event(&mut self, event: CmEvent) {
        match event {
            CmEvent::ConnectRequest(request) => self.login(&request),
            CmEvent::Established { connection, .. } => {
                if let Some(&key) = self.by_id.get(&connection) {
                    self.tell(key, ShardMessage::Established(key));
                }
            }
            CmEvent::Disconnected { connection } => {
                self.lost(connection, CloseReason::PeerGone);
            }
            CmEvent::Failed { connection, why } => {
                tracing::warn!(?connection, %why, "connection failed");
                self.lost(connection, CloseReason::HandshakeFailed);
            }
            CmEvent::Rejected { connection, .. } => {
                self.lost(connection, CloseReason::HandshakeFailed);
            }
            CmEvent::AdapterRemoved { connection } => {
                self.lost(connection, CloseReason::AdapterRemoved);
                let key = self.by_id.get(&connection);
                if let Some(entry) = key.and_then(|key| self.connections.get(key)) {
                    self.adapter_gone(entry.port);
                }
            }
            CmEvent::ListenerRemoved { listener } => self.listener_lost(listener),
            // We connect to nobody.
            CmEvent::Resolved { connection, .. } => self.manager.forget(connection),
        }
    }

    /// The connection manager says that a connection is gone.
    fn lost(&mut self, connection: ConnectionId, reason: CloseReason) {
        match self.by_id.get(&connection) {
            Some(&key) => self.end(key, reason),
            None => self.manager.forget(connection),
        }
    }

    /// Has a shard close a connection.
    fn end(&mut self, key: ConnectionKey, reason: CloseReason) {
        self.tell(key, ShardMessage::Close(key, reason));
        self.ends(key);
    }

    /// A connection is on its way out.
    fn ends(&mut self, key: ConnectionKey) {
        let Some(entry) = self.connections.get_mut(&key) else {
            return;
        };
        let before = std::mem::replace(&mut entry.ending, true);
        if let Some(Nexus::Nvme(controller)) = entry.nexus
            && !before
        {
            self.queue_ends(controller, key);
        }
    }

    fn id_of(&self, key: ConnectionKey) -> Option<ConnectionId> {
        self.connections.get(&key)?.id
    }

    fn closed(&mut self, key: ConnectionKey, buffers: MessageBuffers) {
        let Some(entry) = self.connections.remove(&key) else {
            return;
        };
        if let Some(id) = entry.id {
            self.by_id.remove(&id);
            self.manager.forget(id);
        }
        if let Some(Some(port)) = self.ports.get_mut(entry.port) {
            port.stock.give_back(buffers);
        }
        if let Some(shard) = self.shards.get_mut(usize::from(key.shard)) {
            shard.free_slots.push(key.slot);
            shard.promised[entry.port] -= entry.completions;
            shard.connections -= 1;
        }
        self.leave(&entry, key);
        self.gone(key);
        self.retire_if_unused(entry.port);
    }

    fn tell(&self, key: ConnectionKey, message: ShardMessage) {
        if let Some(shard) = self.shards.get(usize::from(key.shard)) {
            shard.mail.send(message);
        }
    }

    /// No more logins; shards finish what is in flight.
    fn shut_down(&mut self) {
        if self.draining {
            return;
        }
        self.draining = true;
        self.shared.stopping.store(true, SeqCst);
        tracing::info!(connections = self.connections.len(), "shutting down");
        for (listener, _) in self.listeners.drain() {
            self.manager.unlisten(listener);
        }
        self.tcp_portals.clear();
        for shard in &self.shards {
            shard.mail.send(ShardMessage::Drain);
        }
    }

    fn stop(&mut self) {
        for shard in &self.shards {
            shard.mail.send(ShardMessage::Stop);
        }
        self.stopped = true;
    }
}
