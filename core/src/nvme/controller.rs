//! A controller: what a host has connected to, as all of its queues see it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::events::Events;
use super::features::Features;
use super::log::ErrorLog;
use super::properties::{self, Properties};

/// What a controller is made of.
#[derive(Debug)]
pub struct ControllerSetup {
    /// What it is for.
    pub kind: Kind,
    /// Controller identifier (CNTLID), which no other controller of the subsystem has.
    pub id: u16,
    /// The subsystem's NVMe qualified name.
    pub subsystem: String,
    /// Who has connected.
    pub host: Host,
    /// Serial number of the subsystem: at most 20 printable ASCII characters.
    pub serial: String,
    /// Number of the port that it was reached through.
    pub port: u16,
    /// Entries that an I/O queue may have.
    pub queue_depth: u16,
    /// I/O queues that the host may have.
    pub queues: u16,
    /// Bytes that may follow the submission queue entry of an I/O command in its capsule; a multiple of 16.
    pub in_capsule: u32,
    /// Bytes that one command may move.
    pub max_transfer: u32,
    /// The host's keep-alive time, as it was given in Connect; zero for none.
    pub keep_alive: Duration,
    /// The time, on the clock that [`Controller::tick`] is called with.
    pub now: Duration,
}

/// What a controller is for.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Namespaces.
    Io,
    /// To tell where subsystems are.
    Discovery(Arc<dyn DiscoverySource>),
}

/// Knows which subsystems a host may see, and where.
pub trait DiscoverySource: fmt::Debug + Send + Sync {
    /// The whole discovery log page (log page 70h), header included.
    fn log_page(&self) -> Vec<u8>;
    /// Changes whenever the page does: its generation counter.
    fn generation(&self) -> u64;
}

/// A host, by the names that it gave in Connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// NVMe qualified name.
    pub nqn: String,
    /// Host identifier.
    pub id: [u8; 16],
}

/// A controller. What is asked rarely is behind a lock; reads and writes take none.
#[derive(Debug)]
pub struct Controller {
    pub(crate) setup: ControllerSetup,
    /// Whether I/O commands are served. Properties set it with CSTS.RDY, and never for a discovery controller.
    pub(super) ready: AtomicBool,
    /// When the host was last heard, in nanoseconds.
    pub(super) heard: AtomicU64,
    state: Mutex<State>,
}

/// What changes while it is connected.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) properties: Properties,
    pub(crate) features: Features,
    pub(crate) events: Events,
    pub(crate) errors: ErrorLog,
    /// I/O queues that were created since the last reset.
    pub(crate) io_queues: u32,
}

impl Controller {
    /// A controller that a host has just connected to; it is not enabled yet.
    pub fn new(setup: ControllerSetup) -> Arc<Self> {
        let state = State {
            properties: Properties::new(&setup),
            features: Features::new(&setup, setup.now),
            events: Events::new(&setup.kind),
            errors: ErrorLog::default(),
            io_queues: 0,
        };
        Arc::new(Self {
            heard: AtomicU64::new(properties::nanoseconds(setup.now)),
            setup,
            ready: AtomicBool::new(false),
            state: Mutex::new(state),
        })
    }

    /// Controller identifier.
    pub fn id(&self) -> u16 {
        self.setup.id
    }

    /// Whose it is.
    pub fn host(&self) -> &Host {
        &self.setup.host
    }

    /// The subsystem that it belongs to.
    pub fn subsystem(&self) -> &str {
        &self.setup.subsystem
    }

    /// Whether it only tells where subsystems are.
    pub fn is_discovery(&self) -> bool {
        matches!(self.setup.kind, Kind::Discovery(_))
    }

    /// Entries that an I/O queue may have.
    pub fn queue_depth(&self) -> u16 {
        self.setup.queue_depth
    }

    /// I/O queues that the host may have.
    pub fn queues(&self) -> u16 {
        self.setup.queues
    }

    /// Whether the host has enabled it (CC.EN, CSTS.RDY): admin commands are served, and I/O queues may be connected if it is for I/O.
    pub fn is_enabled(&self) -> bool {
        self.lock().properties.enabled()
    }

    /// Whether I/O commands are served: each of them asks, so that it costs nothing but a load.
    #[inline]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// From now on until the next reset, the number of queues is what it is.
    pub(super) fn io_queue_created(&self) {
        let mut state = self.lock();
        state.io_queues = state.io_queues.saturating_add(1);
    }

    /// Every state is a good one, so a panic elsewhere does not spoil it.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
