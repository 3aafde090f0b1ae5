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

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::Shared;
use super::inventory::{Inventory, Offline};
use crate::config::edit::{Edit, EditError, Scheme};
use crate::config::store::Look;
use crate::config::{Config, Document, OwnFiles, Portal, Store};
use crate::config::{Difference, difference};
use crate::control::ChangeError;
use crate::control::reports::{ChangeReport, SaveReport, SessionChange, SessionReport};
use crate::device::Device;
use crate::device::resize::ResizeError;
use crate::events::EventKind;
use crate::shard::messages::ControlMessage;

/// How long commands may take to end whose device is taken away, before whoever took it away is told that they still run.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// What the control thread does for a change.
#[derive(Debug)]
pub enum Step {
    /// Listen on these; on all or none.
    Listen {
        /// Where, with those that there are already and stay.
        portals: Vec<Portal>,
        /// Whether it does.
        answer: Sender<Result<(), String>>,
    },
    /// Listen where the configuration in force says after all.
    Unlisten,
    /// Serve something else from now on.
    Commit {
        /// What.
        inventory: Arc<Inventory>,
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
    look: Look,
    /// Held for as long as it takes to write a copy, one at a time: where that is may be far away, and changes do not wait for it.
    copying: Mutex<()>,
}

impl Kept {
    /// Keeps a configuration in the file of its document, if it has one.
    pub fn new(document: Document) -> Self {
        Self {
            file: document.file().map(Path::to_owned),
            document: Mutex::new(document),
            look: Look::default(),
            copying: Mutex::new(()),
        }
    }

    /// Where it is kept.
    pub fn file(&self) -> Option<String> {
        Some(self.file.as_ref()?.display().to_string())
    }

    /// What to do if somebody else has changed the file.
    pub(super) fn warning(&self) -> Option<String> {
        self.look.warning(&self.document)
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
        let failed = |cause| ChangeError::Copy {
            file: file.to_owned(),
            cause,
        };
        let document = self.kept.lock().clone();
        let saved = if document.is_own(file) {
            self.kept.lock().save_to(file, force)
        } else if self.own_files().keeps_state_at(file) {
            let what = "the daemon keeps there what has to last; name another directory";
            Err(io::Error::new(io::ErrorKind::InvalidInput, what))
        } else {
            let copying = &self.kept.copying;
            let _alone = copying.lock().unwrap_or_else(PoisonError::into_inner);
            document.save_to(file, force)
        };
        let bytes = saved.map_err(failed)?;
        Ok(SaveReport {
            file: file.display().to_string(),
            bytes,
        })
    }

    /// What no device may have as its store.
    pub(super) fn own_files(&self) -> OwnFiles {
        OwnFiles::new(self.kept.file.as_deref(), &self.state)
    }

    /// Sees whether a new size of a memory device can be kept, before it has it.
    pub(super) fn can_keep_sizes(&self) -> Result<(), ResizeError> {
        // As it is: whatever is in the way of the next time is in the way of this.
        let written = self.write(&self.kept.lock());
        written.map_err(|error| ResizeError::Unkeepable(error.to_string()))
    }

    /// Keeps the new size of a memory device; other stores know theirs by themselves. Whoever waits for its turn here keeps no device open:
    /// whoever has it may wait for that.
    pub(super) fn keep_size(&self, device: Weak<Device>) -> Result<(), ResizeError> {
        let mut kept = self.kept.lock();
        let before = self.inventory();
        // It may be gone by now, and its size with it; the size of another one of its name is no business of its.
        let served = |device: &Arc<Device>| {
            (before.device(&device.name)).is_some_and(|served| Arc::ptr_eq(served, device))
        };
        let Some(device) = device.upgrade().filter(served) else {
            return Ok(());
        };
        let edit = Edit::ResizeDevice {
            name: device.name.clone(),
            size: device.size(),
        };
        let not_kept = |why: String| ResizeError::NotKept(why);
        let (document, config) =
            (kept.edited(&[edit])).map_err(|error| not_kept(error.to_string()))?;
        self.write(&document).map_err(|error| match error {
            ChangeError::Save { file, cause } => {
                not_kept(format!("cannot write {}: {cause}", file.display()))
            }
            other => not_kept(other.to_string()),
        })?;
        *kept = document;
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
        let sizes = sizes(&before, &config, &difference, !unsaved);
        refuse_to_shrink(&sizes, force)?;
        let plan = self.plan(&before, &config, &difference)?;
        self.listen_on(&config, &difference)?;
        if let Err(error) = self.metrics.change(config.metrics.as_ref()) {
            self.step(Step::Unlisten);
            return Err(ChangeError::Failed(error.to_string()));
        }
        if unsaved && let Err(error) = self.write(&document) {
            // It did a moment ago.
            let _ = self.metrics.change(before.config.metrics.as_ref());
            self.step(Step::Unlisten);
            return Err(error);
        }
        *kept = document;
        let mut report = ChangeReport {
            file: self.kept.file(),
            restart_needed: (self.settings.changed(&config.settings).iter())
                .map(|&key| key.to_owned())
                .collect(),
            ..ChangeReport::default()
        };
        let exposed = |config: &Config| config.exposed(self.kept.file.as_deref()?);
        let newly_exposed = exposed(&config).filter(|_| exposed(&before.config).is_none());
        let inventory = self.remade(config, plan.devices, plan.offline);
        report.warnings = (inventory.warnings.iter())
            .filter(|warning| !before.warnings.contains(warning))
            .cloned()
            .chain(newly_exposed)
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
        // From here on the file has it, whatever becomes of this process.
        let file = self.kept.file.clone();
        let stopping = || match file {
            Some(file) => ChangeError::StoppingKept { file },
            None => ChangeError::Stopping,
        };
        report.sessions = (self.commit(inventory, &mut report.warnings)).ok_or_else(stopping)?;
        for device in leaving {
            self.close(device, &mut report.warnings);
        }
        if !plan.later.is_empty() {
            report.sessions.extend(self.open_again(&plan.later));
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

    pub(super) fn remade(
        &self,
        config: Config,
        devices: Vec<Arc<Device>>,
        offline: Vec<Offline>,
    ) -> Inventory {
        Inventory::new(config, &self.machine, devices, offline)
    }

    /// Listens where it will have to, before anything is changed.
    fn listen_on(&self, config: &Config, difference: &Difference) -> Result<(), ChangeError> {
        if difference.portals_added.is_empty() && difference.portals_removed.is_empty() {
            return Ok(());
        }
        let (answer, answered) = bounded(1);
        self.step(Step::Listen {
            portals: config.portals(),
            answer,
        });
        match answered.recv() {
            Ok(listening) => listening.map_err(ChangeError::Failed),
            Err(_) => Err(ChangeError::Stopping),
        }
    }

    /// Serves it from now on, if the daemon does not stop just now. Waits until commands have ended whose sessions see their device no
    /// more.
    pub(super) fn commit(
        &self,
        inventory: Inventory,
        warnings: &mut Vec<String>,
    ) -> Option<Vec<SessionChange>> {
        // Not before: devices of a change that is not made are closed again.
        for device in &inventory.devices {
            self.table.insert(device);
        }
        let (answer, answered) = bounded(1);
        let (drained, until_drained) = bounded(0);
        self.step(Step::Commit {
            inventory: Arc::new(inventory),
            drained,
            answer,
        });
        let changes = answered.recv().ok()?;
        if !is_drained(&until_drained, PATIENCE) {
            warnings.push(format!(
                "some commands on what was taken away have not ended within {} s; they still may",
                PATIENCE.as_secs()
            ));
        }
        Some(changes)
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

/// Whether the sender is gone.
fn is_drained(receiver: &Receiver<()>, patience: Duration) -> bool {
    receiver.recv_timeout(patience) == Err(RecvTimeoutError::Disconnected)
}

/// The memory devices that stay and are to have another size. A file that is `read` again says what size a device has, whatever it has
/// by now.
fn sizes(
    before: &Inventory,
    config: &Config,
    difference: &Difference,
    read: bool,
) -> Vec<(Arc<Device>, u64)> {
    let mut sizes = Vec::new();
    for wanted in &config.devices {
        let (Store::Memory { size }, Some(device)) = (&wanted.store, before.device(&wanted.name))
        else {
            continue;
        };
        let mut changed = difference.devices_changed.iter();
        let stays = match changed.find(|(name, _)| *name == wanted.name) {
            None => read,
            Some((_, keys)) => keys[..] == ["size"],
        };
        if stays && size.bytes() != device.size() {
            sizes.push((Arc::clone(device), size.bytes()));
        }
    }
    sizes
}

/// Refuses a change by which data would be lost.
fn refuse_to_shrink(sizes: &[(Arc<Device>, u64)], force: bool) -> Result<(), EditError> {
    let smaller = |(device, size): &&(Arc<Device>, u64)| *size < device.size();
    match sizes.iter().find(smaller) {
        Some((device, size)) if !force => Err(EditError::Refused {
            what: format!(
                "device {}: {size} bytes are less than the {} that are there, and what is beyond would be lost for good",
                device.name,
                device.size()
            ),
            remedy: "shrink the file systems on it first, and then force it (--force, or \"force\": true) in `config reload` or `device resize`"
                .to_owned(),
        }),
        _ => Ok(()),
    }
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
        [Edit::SetCredentials { scheme, .. }] => match scheme {
            Scheme::Chap => "chap.set",
            Scheme::Dhchap => "dhchap.set",
        },
        [Edit::RemoveCredentials { scheme, .. }] => match scheme {
            Scheme::Chap => "chap.remove",
            Scheme::Dhchap => "dhchap.remove",
        },
        [Edit::AddInitiator { .. }] => "initiator.add",
        [Edit::MoveInitiator { .. }] => "initiator.move",
        [Edit::RemoveInitiator { .. }] => "initiator.remove",
        _ => "transaction",
    }
}
