//! Changing what is served while it is served.
//!
//! A change is a new configuration: the document that is kept, edited, or the file, read again. It is carried out on the thread of who
//! asks for it, one change at a time, in steps of which only the last one changes anything that initiators see:
//!
//! 1. The configuration is checked whole. Devices that are new are opened, portals that are new listen.
//! 2. The file is written. Until here whatever fails leaves everything as it was.
//! 3. The control thread swaps the inventory and looks at every session again (`reassign`). This cannot fail.
//! 4. Commands that were admitted before run to their end; then devices that are gone are closed, and those that have changed are opened
//!    anew.
//!
//! Nothing is stopped for it: sessions whose LUNs are the same on both sides notice nothing.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use pagecast_backends::OpenError;
use pagecast_rdma::fabric::Adapter;
use pagecast_rdma::windows::WindowService;

use super::adapters::staging_share;
use super::devices::{self, DeviceError, Surroundings};
use super::inventory::{Inventory, Offline};
use super::{NoParts, Shared, targets};
use crate::config::edit::{Edit, EditError};
use crate::config::{Config, DeviceConfig, Document, Portal, Store};
use crate::config::{Difference, difference};
use crate::control::ChangeError;
use crate::control::reports::{ChangeReport, SaveReport, SessionChange, SessionReport};
use crate::device::Device;
use crate::device::resize::ResizeError;
use crate::events::EventKind;
use crate::identity::MachineId;
use crate::shard::messages::ControlMessage;

/// How long commands may take to end whose device is taken away, before whoever took it away is told that they still run.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a store that was closed may be in use still.
const CLOSING: Duration = Duration::from_secs(2);

/// What the control thread does for a change.
#[derive(Debug)]
pub enum Step {
    /// Listen on these as well; on all or none.
    Listen {
        /// Where.
        portals: Vec<Portal>,
        /// Whether it does.
        answer: Sender<Result<(), String>>,
    },
    /// Listen there no more.
    Unlisten {
        /// Where.
        portals: Vec<Portal>,
    },
    /// Serve something else from now on.
    Commit {
        /// What.
        inventory: Arc<Inventory>,
        /// Where to listen no more.
        unlisten: Vec<Portal>,
        /// Dropped when no command is on its way any more to what its session sees no more.
        drained: Sender<()>,
        /// What it means for sessions.
        answer: Sender<Vec<SessionChange>>,
    },
    /// End a session.
    Close {
        /// Its number.
        session: u64,
        /// What it was; none if there is none of that number.
        answer: Sender<Option<SessionReport>>,
    },
}

/// The configuration as it is kept.
#[derive(Debug)]
pub struct Kept {
    file: Option<PathBuf>,
    /// Held for as long as a change takes.
    document: Mutex<Document>,
}

impl Kept {
    /// Keeps a configuration in the file of its document, if it has one.
    pub fn new(document: Document) -> Self {
        Self {
            file: document.file().map(Path::to_owned),
            document: Mutex::new(document),
        }
    }

    /// Where it is kept.
    pub fn file(&self) -> Option<String> {
        Some(self.file.as_ref()?.display().to_string())
    }

    /// It is replaced whole, so a panic elsewhere does not spoil it.
    pub(super) fn lock(&self) -> MutexGuard<'_, Document> {
        self.document.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A configuration that is about to be in force.
struct Proposal {
    document: Document,
    config: Config,
    difference: Difference,
    /// Whether the file does not have it yet.
    unsaved: bool,
    /// Data of memory devices may be lost by it.
    force: bool,
    /// What people know it by.
    by: String,
}

impl Shared {
    /// Makes changes, all or none.
    pub(super) fn make_changes(&self, edits: &[Edit]) -> Result<ChangeReport, ChangeError> {
        let mut kept = self.kept.lock();
        let (document, config) = kept.edited(edits)?;
        let before = self.inventory();
        let proposal = Proposal {
            difference: difference(&before.config, &config),
            document,
            config,
            unsaved: true,
            force: false,
            by: method(edits).to_owned(),
        };
        drop(before);
        self.carry_out(&mut kept, proposal)
    }

    /// Makes what the file says now so.
    pub(super) fn read_again(&self, force: bool) -> Result<ChangeReport, ChangeError> {
        let mut kept = self.kept.lock();
        let file = kept.file().ok_or(ChangeError::NoFile)?;
        let (document, config) = Document::from_file(file)?;
        let before = self.inventory();
        let difference = difference(&before.config, &config);
        if !force {
            refuse_if_used(&before.config, &difference)?;
        }
        drop(before);
        let proposal = Proposal {
            document,
            config,
            difference,
            unsaved: false,
            force,
            by: "config.reload".to_owned(),
        };
        self.carry_out(&mut kept, proposal)
    }

    /// Writes the configuration somewhere else.
    pub(super) fn save_elsewhere(
        &self,
        file: &Path,
        force: bool,
    ) -> Result<SaveReport, ChangeError> {
        let saved = self.kept.lock().save_to(file, force);
        let bytes = saved.map_err(|cause| ChangeError::Save {
            file: file.to_owned(),
            cause,
        })?;
        Ok(SaveReport {
            file: file.display().to_string(),
            bytes,
        })
    }

    /// Keeps the new size of a memory device: other stores know theirs by themselves.
    pub(super) fn keep_size(&self, device: &Device) -> Result<(), ResizeError> {
        if !matches!(device.config.store, Store::Memory { .. }) {
            return Ok(());
        }
        let mut kept = self.kept.lock();
        let edit = Edit::ResizeDevice {
            name: device.name.clone(),
            size: device.size(),
        };
        let not_kept = |why: String| ResizeError::NotKept(why);
        let (document, config) =
            (kept.edited(&[edit])).map_err(|error| not_kept(error.to_string()))?;
        (self.write(&document)).map_err(|error| not_kept(error.to_string()))?;
        *kept = document;
        let before = self.inventory();
        let inventory = self.remade(config, before.devices.clone(), before.offline.clone());
        // Nothing that a session sees has changed.
        self.set_inventory(Arc::new(inventory));
        Ok(())
    }

    /// Ends a session.
    pub(super) fn end_session(&self, session: u64) -> Option<SessionReport> {
        let (answer, answered) = bounded(1);
        self.step(Step::Close { session, answer });
        answered.recv().ok()?
    }

    fn carry_out(
        &self,
        kept: &mut Document,
        proposal: Proposal,
    ) -> Result<ChangeReport, ChangeError> {
        if self.stopping.load(SeqCst) {
            return Err(ChangeError::Stopping);
        }
        let Proposal {
            document,
            config,
            difference,
            unsaved,
            force,
            by,
        } = proposal;
        let before = self.inventory();
        let plan = self.plan(&before, &config, &difference)?;
        let listening = self.listen_on(&difference.portals_added)?;
        if let Err(error) = self.metrics.change(config.metrics.as_ref()) {
            self.step(Step::Unlisten { portals: listening });
            return Err(ChangeError::Failed(error.to_string()));
        }
        if unsaved && let Err(error) = self.write(&document) {
            // It did a moment ago.
            let _ = self.metrics.change(before.config.metrics.as_ref());
            self.step(Step::Unlisten { portals: listening });
            return Err(error);
        }
        *kept = document;
        let mut report = ChangeReport {
            file: self.kept.file(),
            restart_needed: difference
                .settings_changed
                .iter()
                .map(|&key| key.to_owned())
                .collect(),
            ..ChangeReport::default()
        };
        let inventory = self.remade(config, plan.devices, plan.offline);
        report.warnings = (inventory.warnings.iter())
            .filter(|warning| !before.warnings.contains(warning))
            .cloned()
            .collect();
        let leaving: Vec<Arc<Device>> = (before.devices.iter())
            .filter(|device| {
                !inventory
                    .devices
                    .iter()
                    .any(|other| Arc::ptr_eq(device, other))
            })
            .cloned()
            .collect();
        drop(before);
        let sizes = plan.sizes;
        report.sessions =
            self.commit(inventory, difference.portals_removed, &mut report.warnings)?;
        for device in leaving {
            self.close(device, &mut report.warnings);
        }
        if !plan.later.is_empty() {
            let (changes, _) = self.open_again(&plan.later)?;
            report.sessions.extend(changes);
            for offline in &self.inventory().offline {
                if plan.later.contains(&offline.config.name.to_string()) {
                    report.warnings.push(format!(
                        "device {}: {}; it is tried again",
                        offline.config.name, offline.why
                    ));
                }
            }
        }
        for (device, size) in sizes {
            if let Err(error) = device.resize(Some(size), force, PATIENCE) {
                report
                    .warnings
                    .push(format!("device {}: {error}", device.name));
            }
        }
        self.events.tell(EventKind::Configured { by });
        Ok(report)
    }

    /// What becomes of each device. Opens those that are new.
    fn plan(
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
                (Some(device), None) => plan.devices.push(Arc::clone(device)),
                (Some(device), Some(["size"])) => {
                    if let Store::Memory { size } = &wanted.store {
                        plan.sizes.push((Arc::clone(device), size.bytes()));
                    }
                    plan.devices.push(Arc::clone(device));
                }
                // Its store can be opened once: when the old one is closed.
                (Some(_), Some(_)) => plan.later(wanted, "it is opened anew"),
                (None, _) => match before.offline(&wanted.name) {
                    Some(offline) if changed.is_none() => plan.offline.push(offline.clone()),
                    _ if leaves(before, config, wanted) => plan.later(
                        wanted,
                        "it is opened when the device that had its store is closed",
                    ),
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
            windows: Arc::clone(&self.windows),
            shards: self.settings.shard_count(),
            max_transfer: devices::max_transfer(staging_share(&self.settings)),
            ports: targets::scsi_ports(config, &wanted.name),
            adapters: self.adapters().clone(),
        }
    }

    /// Opens devices that are offline, and serves those that can be opened: for a change, whose lock is held. Returns what it means for sessions, and whether there was any.
    fn open_again(&self, names: &[String]) -> Result<(Vec<SessionChange>, bool), ChangeError> {
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
        let changes = if opened {
            self.commit(inventory, Vec::new(), &mut Vec::new())?
        } else {
            self.set_inventory(Arc::new(inventory));
            Vec::new()
        };
        Ok((changes, opened))
    }

    pub(super) fn remade(
        &self,
        config: Config,
        devices: Vec<Arc<Device>>,
        offline: Vec<Offline>,
    ) -> Inventory {
        Inventory::new(config, &self.machine, devices, offline)
    }

    fn listen_on(&self, portals: &[Portal]) -> Result<Vec<Portal>, ChangeError> {
        if portals.is_empty() {
            return Ok(Vec::new());
        }
        let (answer, answered) = bounded(1);
        self.step(Step::Listen {
            portals: portals.to_vec(),
            answer,
        });
        match answered.recv() {
            Ok(Ok(())) => Ok(portals.to_vec()),
            Ok(Err(why)) => Err(ChangeError::Failed(why)),
            Err(_) => Err(ChangeError::Stopping),
        }
    }

    /// Serves it from now on. Waits until commands have ended whose sessions see their device no more.
    pub(super) fn commit(
        &self,
        inventory: Inventory,
        unlisten: Vec<Portal>,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<SessionChange>, ChangeError> {
        // Not before: devices of a change that is not made are closed again.
        for device in &inventory.devices {
            self.table.insert(device);
        }
        let (answer, answered) = bounded(1);
        let (drained, until_drained) = bounded(0);
        self.step(Step::Commit {
            inventory: Arc::new(inventory),
            unlisten,
            drained,
            answer,
        });
        let changes = answered.recv().map_err(|_| ChangeError::Stopping)?;
        if !is_drained(&until_drained, PATIENCE) {
            warnings.push(format!(
                "some commands on what was taken away have not ended within {} s; they still may",
                PATIENCE.as_secs()
            ));
        }
        Ok(changes)
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
        if let Err(error) = device.backend.execute(&pagecast_backends::Operation::Flush) {
            warnings.push(format!("device {}: cannot flush: {error}", device.name));
        }
    }

    fn write(&self, document: &Document) -> Result<(), ChangeError> {
        let Some(file) = document.file() else {
            return Ok(());
        };
        document.save().map_err(|cause| {
            self.events.tell(EventKind::Error {
                what: format!("cannot write {}: {cause}", file.display()),
            });
            ChangeError::Save {
                file: file.to_owned(),
                cause,
            }
        })
    }

    fn step(&self, step: Step) {
        self.control.send(ControlMessage::Step(Box::new(step)));
    }
}

/// All that it takes to open a device, wherever that is done.
pub(super) struct Opening {
    index: usize,
    wanted: DeviceConfig,
    machine: MachineId,
    state: PathBuf,
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
struct DevicePlan {
    /// In service.
    devices: Vec<Arc<Device>>,
    /// Not in service.
    offline: Vec<Offline>,
    /// Those of them that are to be opened when others are closed.
    later: Vec<String>,
    /// Memory devices that get another size.
    sizes: Vec<(Arc<Device>, u64)>,
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

/// Whether the sender is gone.
fn is_drained(receiver: &Receiver<()>, patience: Duration) -> bool {
    receiver.recv_timeout(patience) == Err(RecvTimeoutError::Disconnected)
}

/// Refuses a change by which devices would go away, or be closed for a moment, that initiators see.
fn refuse_if_used(before: &Config, difference: &Difference) -> Result<(), EditError> {
    let removed = difference.devices_removed.iter().map(|name| (name, "goes"));
    let changed = (difference.devices_changed.iter())
        .filter(|(_, keys)| keys[..] != ["size"])
        .map(|(name, _)| (name, "has changed, and would have to be opened anew"));
    for (name, what) in removed.chain(changed) {
        let maps = maps_of(before, name);
        if !maps.is_empty() {
            return Err(EditError::Refused {
                what: format!(
                    "device {name} {what}, and initiators see it: {}",
                    maps.join(", ")
                ),
                remedy: "say so with --force (\"force\": true), or leave it as it is".to_owned(),
            });
        }
    }
    Ok(())
}

/// The LUNs that a device has, as people read them.
fn maps_of(config: &Config, device: &str) -> Vec<String> {
    let mut maps = Vec::new();
    for target in &config.targets {
        for group in &target.groups {
            let luns = (group.luns.iter()).filter(|(_, mapped)| &*mapped.device == device);
            maps.extend(luns.map(|(lun, _)| {
                format!(
                    "LUN {lun} of group {} of target {}",
                    group.name, target.name
                )
            }));
        }
    }
    maps
}

/// What a change is called where it is told.
fn method(edits: &[Edit]) -> &'static str {
    match edits {
        [Edit::AddDevice(_)] => "device.add",
        [Edit::RemoveDevice { .. }] => "device.remove",
        [Edit::ResizeDevice { .. }] => "device.resize",
        [Edit::AddTarget(_)] => "target.add",
        [Edit::RemoveTarget { .. }] => "target.remove",
        [Edit::AddPortal { .. }] => "portal.add",
        [Edit::RemovePortal { .. }] => "portal.remove",
        [Edit::AddGroup { .. }] => "group.add",
        [Edit::RemoveGroup { .. }] => "group.remove",
        [Edit::Map { .. }] => "group.map",
        [Edit::Unmap { .. }] => "group.unmap",
        [Edit::AddInitiator { .. }] => "initiator.add",
        [Edit::MoveInitiator { .. }] => "initiator.move",
        [Edit::RemoveInitiator { .. }] => "initiator.remove",
        _ => "transaction",
    }
}
