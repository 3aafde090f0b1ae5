//! What a daemon is built of: devices opened, shards made, memory registered, portals that listen; and why that fails.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use pagecast_backends::{Backend, Engine, EngineError, IoQueue, ThreadPool};
use pagecast_core::nvme::ADMIN_QUEUE_DEPTH;
use pagecast_rdma::fabric::{Fabric, FabricError};
use pagecast_rdma::windows::{self, WindowError, WindowService, default_budget, read_limits};
use thiserror::Error;

use super::buffers::Layout;
use super::configure::Kept;
use super::devices::{DeviceError, Surroundings};
use super::inventory::{Inventory, Offline};
use super::listeners::Troubles;
use super::nvme_controllers::Controllers;
use super::reservations::Changer;
use super::{
    Control, Daemon, SEND_SIZE, ShardHandle, Shared, adapters, devices, iscsi_logins, listeners,
    logins, nvme_logins, offline, targets,
};
use crate::config::{Config, DeviceConfig, Document, IoEngine, OwnFiles, Settings};
use crate::device::MAX_ADAPTERS;
use crate::device::table::DeviceTable;
use crate::events::Events;
use crate::identity::MachineId;
use crate::metrics::service::MetricsService;
use crate::shard::messages::{ControlMessage, Mailbox, Mailer, mailbox};
use crate::shard::{Gauges, Shard, ShardParts};
use crate::srp::nexus::Nexuses;

/// Why the daemon does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// RDMA is not there, or refuses.
    #[error(transparent)]
    Fabric(#[from] FabricError),
    /// A device cannot be opened.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The I/O engine cannot be had.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The window service refuses its settings.
    #[error(transparent)]
    Windows(#[from] WindowError),
    /// A portal cannot listen.
    #[error("cannot listen on {portal}: {source}{hint}")]
    Listen {
        /// The portal.
        portal: String,
        /// Why.
        source: FabricError,
        /// What to do.
        hint: &'static str,
    },
    /// Buffers could not be registered.
    #[error(
        "cannot register {bytes} bytes of buffers on {adapter}: {source}; lower \"staging_memory\" or \
         \"queue_depth\", or let the process lock more memory (systemd: LimitMEMLOCK=infinity; shell: ulimit -l)"
    )]
    Memory {
        /// The adapter.
        adapter: String,
        /// How much.
        bytes: usize,
        /// Why.
        source: FabricError,
    },
    /// The system refused something basic.
    #[error("{what}: {source}")]
    System {
        /// What.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

/// What a test puts in the place of parts of the daemon. The default changes nothing.
pub trait Parts {
    /// The store to use instead of `opened`, which it may wrap.
    fn store(&mut self, _config: &DeviceConfig, opened: Arc<dyn Backend>) -> Arc<dyn Backend> {
        opened
    }

    /// What executes a shard's backend operations, if not the configured engine.
    fn io_queue(&mut self, _shard: usize) -> Option<Box<dyn IoQueue>> {
        None
    }
}

/// Nothing is replaced.
#[derive(Debug)]
pub(super) struct NoParts;

impl Parts for NoParts {}

impl Daemon {
    /// Opens devices, registers memory and listens; keeps what has to last in the directory `state`. Starts no thread of its own but
    /// those of the window service. The configuration is that of the document, in whose file changes are kept if it has one.
    pub fn build(
        (document, config): (Document, Config),
        machine: &MachineId,
        state: &Path,
        fabric: Arc<dyn Fabric>,
        now: Instant,
    ) -> Result<Self, StartError> {
        Self::build_with(
            (document, config),
            machine,
            state,
            fabric,
            now,
            &mut NoParts,
        )
    }

    /// The same, with parts of the caller's.
    pub fn build_with(
        (document, config): (Document, Config),
        machine: &MachineId,
        state: &Path,
        fabric: Arc<dyn Fabric>,
        now: Instant,
        parts: &mut dyn Parts,
    ) -> Result<Self, StartError> {
        let settings = config.settings.clone();
        let count = settings.shard_count();
        let windows = window_service(&settings)?;
        let table = Arc::new(DeviceTable::default());
        let (mut devices, mut missing) = (Vec::new(), Vec::new());
        let hanging = offline::hanging(&config.devices);
        let seen_through = targets::ScsiPorts::new(&config);
        let own = OwnFiles::new(document.file(), state);
        for device in &config.devices {
            if hanging.iter().any(|name| *name == *device.name) {
                missing.push(Offline {
                    config: device.clone(),
                    why: "its store, or the way to it, does not answer".to_owned(),
                });
                continue;
            }
            let around = Surroundings {
                machine,
                state,
                own: &own,
                windows: &windows,
                shards: count,
                max_transfer: devices::max_transfer(adapters::staging_share(&settings)),
                ports: seen_through.of(&device.name),
            };
            match devices::open(table.number(), device, around, parts) {
                Ok(opened) => {
                    let opened = Arc::new(opened);
                    table.insert(&opened);
                    devices.push(opened);
                }
                // The rest is served, and it is tried again.
                Err(error) if offline::is_missing(&error) => missing.push(Offline {
                    config: device.clone(),
                    why: error.to_string(),
                }),
                Err(error) => return Err(error.into()),
            }
        }
        let inventory = Inventory::new(config.clone(), machine, devices, missing);
        let pool = ThreadPool::new(16).map_err(|source| StartError::System {
            what: "cannot start the I/O threads",
            source,
        })?;
        let (control_address, inbox) = new_mailbox()?;
        let (shards, handles, gauges, engine) =
            build_shards(&settings, &pool, &control_address, now, parts)?;
        let events = Arc::new(Events::default());
        let shared = Arc::new(Shared {
            settings,
            machine: *machine,
            state: state.to_owned(),
            inventory: Mutex::new(Arc::new(inventory)),
            table,
            sessions: Mutex::default(),
            gauges,
            windows,
            engine,
            started: now,
            kept: Kept::new(document),
            control: control_address.clone(),
            changer: Changer::telling(Arc::clone(&events)),
            events,
            metrics: MetricsService::default(),
            troubles: offline::Troubles::default(),
            adapters: Mutex::default(),
            message_bytes: AtomicU64::new(0),
            logins: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            ready: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
        });
        let mut control = Control {
            manager: fabric.connection_manager()?,
            fabric,
            shared: Arc::clone(&shared),
            inbox,
            ports: Default::default(),
            shards: handles,
            listeners: HashMap::new(),
            tcp_portals: Vec::new(),
            unusable: Vec::new(),
            accept_trouble: Troubles::default(),
            spare_descriptor: listeners::spare_descriptor(),
            local_port: None,
            connections: HashMap::new(),
            by_id: HashMap::new(),
            nexuses: Nexuses::default(),
            controllers: Controllers::default(),
            waiting: Vec::new(),
            sessions: HashMap::new(),
            next_session: 1,
            next_connection: 1,
            orders: None,
            authenticators: None,
            attaching: None,
            draining: false,
            drained: 0,
            stopped: false,
        };
        for device in &shared.inventory().offline {
            shared.tell_offline(&device.config.name, device.why.clone());
        }
        control.find_adapters()?;
        control.listen(&config)?;
        Ok(Self {
            control,
            shards,
            shared,
            control_address,
            pool,
        })
    }
}

fn window_service(settings: &Settings) -> Result<Arc<WindowService>, StartError> {
    let budget = match settings.pinned_memory {
        Some(bytes) => bytes.bytes(),
        None => {
            let limits = read_limits().map_err(|source| StartError::System {
                what: "cannot read how much memory may be locked",
                source,
            })?;
            let buffers = settings.staging_memory.bytes()
                + (layout(settings).bytes() as u64) * u64::from(settings.max_sessions.min(16));
            let budget = default_budget(&limits, buffers);
            if let Some(advice) = &budget.advice {
                tracing::warn!("{advice}");
            }
            budget.bytes
        }
    };
    Ok(WindowService::new(windows::Settings {
        window_bytes: settings.window_size.bytes(),
        budget_bytes: budget,
        ..windows::Settings::default()
    })?)
}

/// One connection's message buffers, whichever protocol it speaks. Two responses per credit, because a credit comes back before
/// the adapter reports that the response that carried it has left.
pub(super) fn layout(settings: &Settings) -> Layout {
    // The admin queue of NVMe has a depth of its own.
    let credits = settings.queue_depth.max(ADMIN_QUEUE_DEPTH.into()) as usize;
    const LEAST: usize = if iscsi_logins::ISER_MESSAGE > nvme_logins::CAPSULE {
        iscsi_logins::ISER_MESSAGE
    } else {
        nvme_logins::CAPSULE
    };
    let longest = (settings.max_it_iu_len as usize).max(LEAST);
    Layout {
        receive_size: longest.next_multiple_of(64),
        receives: credits + logins::SPARE_RECEIVES as usize,
        send_size: SEND_SIZE,
        sends: 2 * credits + 4,
    }
}

type BuiltShards = (
    Vec<Shard>,
    Vec<ShardHandle>,
    Vec<Arc<Gauges>>,
    (String, String),
);

fn build_shards(
    settings: &Settings,
    pool: &ThreadPool,
    control: &Mailer<ControlMessage>,
    now: Instant,
    parts: &mut dyn Parts,
) -> Result<BuiltShards, StartError> {
    let count = settings.shard_count();
    let mut mailers = Vec::new();
    let mut boxes = Vec::new();
    for _ in 0..count {
        let (mailer, mail) = new_mailbox()?;
        mailers.push(mailer);
        boxes.push(mail);
    }
    let engine = match settings.io_engine {
        IoEngine::Auto => Engine::Auto,
        IoEngine::IoUring => Engine::IoUring,
        IoEngine::Threads => Engine::Threads,
    };
    let (mut shards, mut handles, mut gauges) = (Vec::new(), Vec::new(), Vec::new());
    let mut in_use = (String::new(), String::new());
    for (id, inbox) in boxes.into_iter().enumerate() {
        let (mut io, choice) = pagecast_backends::io_queue(engine, pool, 256)?;
        if let Some(other) = parts.io_queue(id) {
            io = other;
        }
        if id == 0 {
            in_use = (choice.engine.to_string(), choice.reason.clone());
            tracing::info!(engine = %choice.engine, reason = %choice.reason, "I/O engine");
        }
        let gauge = Arc::new(Gauges::default());
        handles.push(ShardHandle {
            mail: mailers[id].clone(),
            generations: Vec::new(),
            free_slots: Vec::new(),
            promised: [0; MAX_ADAPTERS],
            connections: 0,
        });
        shards.push(Shard::new(
            ShardParts {
                id: id as u16,
                inbox,
                address: mailers[id].clone(),
                peers: mailers.clone(),
                control: control.clone(),
                io,
                poll_time: settings.poll_time.duration(),
                gauges: Arc::clone(&gauge),
            },
            now,
        ));
        gauges.push(gauge);
    }
    Ok((shards, handles, gauges, in_use))
}

fn new_mailbox<T>() -> Result<(Mailer<T>, Mailbox<T>), StartError> {
    mailbox().map_err(|source| StartError::System {
        what: "cannot make an event descriptor",
        source,
    })
}
