//! Devices that a change opens and closes.
//!
//! A store may hang, whatever is done to it: each is opened, flushed and closed on a thread of its own, and nobody waits for it for ever.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use pagecast_backends::{OpenError, Operation};
use pagecast_rdma::fabric::Adapter;
use pagecast_rdma::windows::WindowService;

use super::adapters::staging_share;
use super::configure::PATIENCE;
use super::devices::{self, DeviceError, Surroundings};
use super::inventory::{Inventory, Offline};
use super::{NoParts, Shared, targets};
use crate::config::{Config, DeviceConfig, Difference, OwnFiles};
use crate::control::ChangeError;
use crate::control::reports::SessionChange;
use crate::device::Device;
use crate::events::EventKind;
use crate::identity::MachineId;

/// How long a store that was closed may be in use still.
const CLOSING: Duration = Duration::from_secs(2);

/// All that it takes to open a device, wherever that is done.
pub(super) struct Opening {
    index: usize,
    wanted: DeviceConfig,
    machine: MachineId,
    state: PathBuf,
    own: OwnFiles,
    windows: Arc<WindowService>,
    shards: usize,
    max_transfer: u32,
    ports: Vec<u16>,
    adapters: Vec<Arc<dyn Adapter>>,
}

impl Opening {
    /// Opens it. This may take long.
    pub(super) fn open(&self) -> Result<Arc<Device>, DeviceError> {
        let around = Surroundings {
            machine: &self.machine,
            state: &self.state,
            own: &self.own,
            windows: &self.windows,
            shards: self.shards,
            max_transfer: self.max_transfer,
            ports: self.ports.clone(),
        };
        let device = devices::open(self.index, &self.wanted, around, &mut NoParts)?;
        for adapter in &self.adapters {
            device.attach(adapter);
        }
        Ok(Arc::new(device))
    }

    /// The same where the store may just have been closed: windows on it go in the background, and keep it for a moment.
    pub(super) fn open_soon(&self) -> Result<Arc<Device>, DeviceError> {
        let deadline = Instant::now() + CLOSING;
        loop {
            match self.open() {
                Err(DeviceError::Open {
                    source: OpenError::InUse { .. },
                    ..
                }) if Instant::now() < deadline => thread::sleep(Duration::from_millis(10)),
                opened => return opened,
            }
        }
    }
}

/// What becomes of devices.
#[derive(Default)]
pub(super) struct DevicePlan {
    /// In service.
    pub(super) devices: Vec<Arc<Device>>,
    /// Not in service.
    pub(super) offline: Vec<Offline>,
    /// Those of them that are to be opened when others are closed.
    pub(super) later: Vec<String>,
}

impl DevicePlan {
    fn later(&mut self, wanted: &DeviceConfig, why: &str) {
        self.later.push(wanted.name.to_string());
        self.offline.push(Offline {
            config: wanted.clone(),
            why: why.to_owned(),
        });
    }
}

/// Whether the store of a device is that of another one, which goes or changes.
fn leaves(before: &Inventory, config: &Config, wanted: &DeviceConfig) -> bool {
    let Some(path) = wanted.store.path() else {
        return false;
    };
    let stays = |device: &Device| config.devices.contains(&device.config);
    (before.devices.iter()).any(|device| device.config.store.path() == Some(path) && !stays(device))
}

impl Shared {
    /// What becomes of each device. Opens those that are new.
    pub(super) fn plan(
        &self,
        before: &Inventory,
        config: &Config,
        difference: &Difference,
    ) -> Result<DevicePlan, ChangeError> {
        let mut plan = DevicePlan::default();
        for wanted in &config.devices {
            let online = before.device(&wanted.name);
            let changed = (difference.devices_changed.iter())
                .find(|(name, _)| *name == wanted.name)
                .map(|(_, keys)| &keys[..]);
            match (online, changed) {
                (Some(device), None | Some(["size"])) => plan.devices.push(Arc::clone(device)),
                // Its store can be opened once: when the old one is closed.
                (Some(_), Some(_)) => {
                    self.check_store(wanted)?;
                    plan.later(wanted, "it is opened anew");
                }
                (None, _) => match before.offline(&wanted.name) {
                    Some(offline) if changed.is_none() => plan.offline.push(offline.clone()),
                    _ if leaves(before, config, wanted) => {
                        self.check_store(wanted)?;
                        plan.later(
                            wanted,
                            "it is opened when the device that had its store is closed",
                        );
                    }
                    _ => {
                        let device = self
                            .open(config, wanted, Opening::open)
                            .map_err(ChangeError::Failed)?;
                        plan.devices.push(device);
                    }
                },
            }
        }
        Ok(plan)
    }

    /// Sees whether a device that is opened later may have its store. One that hangs says so when it is opened.
    fn check_store(&self, wanted: &DeviceConfig) -> Result<(), ChangeError> {
        let (wanted, own) = (wanted.clone(), self.own_files());
        let (answer, answered) = bounded(1);
        thread::Builder::new()
            .name("device-open".to_owned())
            .spawn(move || drop(answer.try_send(devices::check_store(&wanted, &own))))
            .map_err(|error| ChangeError::Failed(format!("cannot start a thread: {error}")))?;
        match answered.recv_timeout(PATIENCE) {
            Ok(checked) => checked.map_err(|error| ChangeError::Failed(error.to_string())),
            Err(_) => Ok(()),
        }
    }

    /// Opens a device, and everything that it needs to be in service. One that hangs is given up: nobody else could change anything.
    fn open(
        &self,
        config: &Config,
        wanted: &DeviceConfig,
        open: fn(&Opening) -> Result<Arc<Device>, DeviceError>,
    ) -> Result<Arc<Device>, String> {
        let opening = self.opening(config, wanted);
        let (answer, answered) = bounded(1);
        thread::Builder::new()
            .name("device-open".to_owned())
            // When it comes after all, it is closed.
            .spawn(move || drop(answer.try_send(open(&opening))))
            .map_err(|error| format!("cannot start a thread: {error}"))?;
        match answered.recv_timeout(PATIENCE) {
            Ok(opened) => opened.map_err(|error| error.to_string()),
            Err(_) => Err(format!(
                "device {}: it did not open within {} s: its store, or the way to it, hangs; see to that, and try again",
                wanted.name,
                PATIENCE.as_secs()
            )),
        }
    }

    /// What it takes to open a device.
    pub(super) fn opening(&self, config: &Config, wanted: &DeviceConfig) -> Opening {
        Opening {
            index: self.table.number(),
            wanted: wanted.clone(),
            machine: self.machine,
            state: self.state.clone(),
            own: self.own_files(),
            windows: Arc::clone(&self.windows),
            shards: self.settings.shard_count(),
            max_transfer: devices::max_transfer(staging_share(&self.settings)),
            ports: targets::scsi_ports(config, &wanted.name),
            adapters: self.adapters().clone(),
        }
    }

    /// Opens devices that are offline, and serves those that can be opened: for a change, whose lock is held. Returns what it means for
    /// sessions.
    pub(super) fn open_again(&self, names: &[String]) -> Vec<SessionChange> {
        let before = self.inventory();
        let config = before.config.clone();
        let (mut devices, mut offline) = (Vec::new(), Vec::new());
        let mut opened = false;
        for wanted in &config.devices {
            if let Some(device) = before.device(&wanted.name) {
                devices.push(Arc::clone(device));
                continue;
            }
            if !names.contains(&wanted.name.to_string()) {
                offline.extend(before.offline(&wanted.name).cloned());
                continue;
            }
            match self.open(&config, wanted, Opening::open_soon) {
                Ok(device) => {
                    self.events.tell(EventKind::DeviceOnline {
                        device: device.name.clone(),
                    });
                    devices.push(device);
                    opened = true;
                }
                Err(why) => {
                    self.tell_offline(&wanted.name, why.clone());
                    offline.push(Offline {
                        config: wanted.clone(),
                        why,
                    });
                }
            }
        }
        drop(before);
        let inventory = self.remade(config, devices, offline);
        if opened {
            // A daemon that stops serves nobody any more.
            return (self.commit(inventory, &mut Vec::new())).unwrap_or_default();
        }
        self.set_inventory(Arc::new(inventory));
        Vec::new()
    }

    /// Closes a device that nobody sees any more, once its last command has ended.
    pub(super) fn close(&self, device: Arc<Device>, warnings: &mut Vec<String>) {
        let deadline = Instant::now() + PATIENCE;
        self.table.remove(&device);
        // Snapshots of reports come and go; connections have let go of it, but for those with commands.
        while Arc::strong_count(&device) > 1 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
        }
        if Arc::strong_count(&device) > 1 {
            warnings.push(format!(
                "device {}: commands on it have not ended; its store is closed when they have",
                device.name
            ));
        }
        tracing::info!(device = %device.name, "device removed");
        let name = device.name.clone();
        let (answer, answered) = bounded(1);
        let closes = move || {
            let flushed = device.backend.execute(&Operation::Flush);
            // Its store is closed before anybody hears that it is.
            drop(device);
            drop(answer.try_send(flushed));
        };
        let started = thread::Builder::new()
            .name("device-close".to_owned())
            .spawn(closes);
        match started.map(|_| answered.recv_timeout(PATIENCE)) {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => warnings.push(format!("device {name}: cannot flush: {error}")),
            Ok(Err(_)) => warnings.push(format!(
                "device {name}: what was written last is not durable after {} s: its store, or the way to it, hangs; it is closed when it is",
                PATIENCE.as_secs()
            )),
            Err(error) => warnings.push(format!(
                "device {name}: closed without a flush: cannot start a thread: {error}"
            )),
        }
    }
}
