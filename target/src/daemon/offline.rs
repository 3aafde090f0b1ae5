//! Devices whose stores are not there: missing when the daemon starts, or lost while they are served. They are reported, and tried again
//! for as long as they are wanted.
//!
//! - A device that is *offline* has no store: nobody sees its LUNs. When its store can be opened, they appear.
//! - A device that has *failed* is still there, and its commands end in errors: initiators keep its LUNs. If its store came back by itself,
//!   as a file system does that was out of reach, all is well again. If the store is gone for good, as a disk that was pulled, and there is
//!   one of at least its size at its path, the device is closed and opened anew. A store that still works is never opened twice.
//! - A device whose path leads elsewhere goes on being served: see `place`.
//!
//! Opening may take its time, or hang: each attempt has a thread of its own, and takes the lock of changes only when it has succeeded.

mod looks;
mod place;

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use pagecast_core::scsi::Naa;

use super::Shared;
use super::devices::DeviceError;
use super::inventory::Offline;
use crate::config::{DeviceConfig, Portal};
use crate::control::reports::{
    DeviceCounters, DeviceReport, DeviceReservations, DeviceState, Latency, LatencyBuckets,
    ZeroCopyReport,
};
use crate::device::{Device, Lost};
use crate::events::EventKind;
use crate::identity::{DeviceIdentity, MachineId};
use looks::{Look, Looks};
use place::Astray;

/// How often devices are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How long to wait before the next attempt, at first; twice as long after each.
const FIRST: Duration = Duration::from_secs(1);

/// How long to wait before the next attempt, at most.
const LONGEST: Duration = Duration::from_secs(10);

/// How long stores may take to answer when the daemon starts, all together.
const HANGING: Duration = Duration::from_secs(10);

/// What does not work right now, of what is configured and in service.
#[derive(Debug, Default)]
pub struct Troubles {
    devices: Mutex<BTreeMap<usize, Lost>>,
    astray: Mutex<BTreeMap<usize, Astray>>,
    portals: Mutex<Vec<(Portal, String)>>,
}

impl Troubles {
    /// What is wrong with the store of a device in service.
    pub fn of_device(&self, device: &Device) -> Option<Lost> {
        self.devices().get(&device.index).cloned()
    }

    /// Why a portal does not listen.
    pub fn of_portal(&self, portal: Portal) -> Option<String> {
        let portals = self.portals();
        let found = portals.iter().find(|(other, _)| *other == portal);
        found.map(|(_, why)| why.clone())
    }

    /// Portals that do not listen, and why.
    pub fn portals(&self) -> MutexGuard<'_, Vec<(Portal, String)>> {
        // The list is never left half changed.
        self.portals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The table is never left half changed.
    fn devices(&self) -> MutexGuard<'_, BTreeMap<usize, Lost>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The table is never left half changed.
    fn astray(&self) -> MutexGuard<'_, BTreeMap<usize, Astray>> {
        self.astray.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a device that cannot be opened when the daemon starts is tried again. What is a mistake in the configuration, or takes somebody
/// to mend it, is not: whoever starts the daemon should hear of it.
pub(super) fn is_missing(error: &DeviceError) -> bool {
    matches!(error, DeviceError::Open { source, .. } if source.is_missing())
}

/// What can be told of a device that is not there.
pub(super) fn report(offline: &Offline, machine: &MachineId) -> DeviceReport {
    let config = &offline.config;
    let identity = DeviceIdentity::of(machine, config);
    let name = config.name.to_string();
    DeviceReport {
        backend: config.store.backend().to_owned(),
        path: (config.store.path()).map(|path| path.display().to_string()),
        store: String::new(),
        state: DeviceState::Offline,
        why: Some(plain(&name, &offline.why).to_owned()),
        size: 0,
        block_size: config.block_size,
        read_only: config.read_only,
        write_cache: config.write_cache,
        naa: Naa::new(identity.naa.bytes()).map_or_else(|_| String::new(), |naa| naa.to_string()),
        serial: identity.serial,
        uuid: identity.uuid.to_string(),
        zero_copy: ZeroCopyReport {
            mode: "off".to_owned(),
            why: "the device is offline".to_owned(),
        },
        reservations: DeviceReservations {
            enabled: config.reservations,
            kind: None,
            registrants: 0,
        },
        queue_depth: config.queue_depth_max,
        queue_depth_max: config.queue_depth_max,
        in_flight: 0,
        worst_time_us: 0,
        counters: DeviceCounters::default(),
        latency: Latency::default(),
        latency_buckets: LatencyBuckets::default(),
        name,
    }
}

/// Why a device is offline, without its name, which most errors begin with.
pub(super) fn plain<'a>(device: &str, why: &'a str) -> &'a str {
    let without = (why.strip_prefix("device ")).and_then(|why| why.strip_prefix(device));
    (without.and_then(|why| why.strip_prefix(": "))).unwrap_or(why)
}

/// The devices, of those that are to be opened first of all, whose stores do not answer at all: the daemon starts without them.
pub(super) fn hanging(devices: &[DeviceConfig]) -> Vec<String> {
    let deadline = Instant::now() + HANGING;
    let asked: Vec<_> = (devices.iter())
        .filter_map(|device| {
            let path = device.store.path()?.clone();
            let (answer, answered) = bounded(1);
            let asks = move || {
                // Nobody may wait any more.
                let _ = answer.try_send(pagecast_backends::present_size(&path).is_ok());
            };
            let name = "device-open".to_owned();
            thread::Builder::new().name(name).spawn(asks).ok()?;
            Some((device.name.to_string(), answered))
        })
        .collect();
    (asked.into_iter())
        .filter(|(_, answered)| answered.recv_deadline(deadline) == Err(RecvTimeoutError::Timeout))
        .map(|(name, _)| name)
        .collect()
}

/// Looks at devices and tries them again until what it returns is dropped.
pub(super) fn watch(shared: &Arc<Shared>) -> io::Result<Sender<()>> {
    let (stop, stopped) = bounded(0);
    let shared = Arc::clone(shared);
    // Nothing here takes long: whatever may hang has threads of its own.
    let watches = move || {
        let looking = Arc::clone(&shared);
        let looks = Looks::new(move |device: Weak<Device>| looking.look_at(&device));
        let mut attempts = Attempts::default();
        while stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            let now = Instant::now();
            let (news, started) = looks.round(shared.to_be_looked_at(), now);
            for device in news.silent {
                tracing::warn!(
                    device,
                    "its store, or the way to it, hangs: whether it is there is known when it answers"
                );
            }
            for device in news.answered {
                tracing::info!(device, "its store answers again");
            }
            if let Err(error) = started {
                tracing::debug!(%error, "cannot start a thread");
            }
            attempts.go_on(&shared, now);
        }
    };
    let thread = thread::Builder::new().name("device-watch".to_owned());
    thread.spawn(watches)?;
    Ok(stop)
}

/// Attempts at devices, by name.
#[derive(Debug, Default)]
struct Attempts(BTreeMap<String, Attempt>);

#[derive(Debug)]
struct Attempt {
    next: Instant,
    wait: Duration,
    running: Option<JoinHandle<()>>,
}

impl Attempt {
    fn is_running(&self) -> bool {
        let running = self.running.as_ref();
        running.is_some_and(|running| !running.is_finished())
    }
}

impl Attempts {
    /// Starts the attempts whose time has come. There is one at a time for each device.
    fn go_on(&mut self, shared: &Arc<Shared>, now: Instant) {
        let wanted = shared.to_be_tried();
        (self.0).retain(|name, attempt| attempt.is_running() || wanted.contains(name));
        for name in wanted {
            let attempt = self.0.entry(name.clone()).or_insert(Attempt {
                next: now,
                wait: FIRST,
                running: None,
            });
            if attempt.is_running() {
                continue;
            }
            if attempt.running.take().is_some() {
                attempt.next = now + attempt.wait;
                attempt.wait = (attempt.wait * 2).min(LONGEST);
            }
            if attempt.next > now {
                continue;
            }
            let tries = Arc::clone(shared);
            let started = thread::Builder::new()
                .name("device-open".to_owned())
                .spawn(move || {
                    tries.try_device(&name);
                });
            match started {
                Ok(running) => attempt.running = Some(running),
                Err(error) => tracing::debug!(%error, "cannot start a thread"),
            }
        }
    }
}

impl Shared {
    /// A device in service. If it is offline, the error says why; else there is no such device.
    pub(super) fn served(&self, name: &str) -> Result<Arc<Device>, Option<String>> {
        let inventory = self.inventory();
        (inventory.device(name).cloned()).ok_or_else(|| {
            let offline = inventory.offline(name);
            offline.map(|offline| plain(name, &offline.why).to_owned())
        })
    }

    /// Opens devices again that could not be opened before, one after the other. Returns whether any could.
    pub fn retry_offline(&self) -> bool {
        let mut any = false;
        for name in self.to_be_tried() {
            any |= self.try_device(&name);
        }
        any
    }

    /// Looks whether the stores of the devices in service are still there, one after the other, and tells of those that are not, or are
    /// again.
    pub fn look_at_devices(&self) {
        for look in self.to_be_looked_at() {
            self.look_at(&look.at);
        }
    }

    /// The devices in service. Forgets what was wrong with those that are not any more.
    fn to_be_looked_at(&self) -> Vec<Look<Weak<Device>>> {
        let looks: Vec<_> = (self.inventory().devices.iter())
            .map(|device| Look {
                index: device.index,
                name: device.name.clone(),
                at: Arc::downgrade(device),
            })
            .collect();
        let here = |index: &usize| looks.iter().any(|look| look.index == *index);
        self.troubles.devices().retain(|index, _| here(index));
        self.troubles.astray().retain(|index, _| here(index));
        looks
    }

    fn look_at(&self, device: &Weak<Device>) {
        // One that hangs keeps no other one open.
        let Some(device) = device.upgrade() else {
            return;
        };
        let now = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let found = device.look(now).err();
        let before = match &found {
            Some(lost) => self.troubles.devices().insert(device.index, lost.clone()),
            None => self.troubles.devices().remove(&device.index),
        };
        match (&before, &found) {
            (None, Some(lost)) => {
                tracing::error!(device = %device.name, %lost, "device failed");
                self.events.tell(EventKind::DeviceOffline {
                    device: device.name.clone(),
                    why: lost.to_string(),
                });
            }
            (Some(_), None) => {
                tracing::info!(device = %device.name, "device works again");
                self.events.tell(EventKind::DeviceOnline {
                    device: device.name.clone(),
                });
            }
            _ => {}
        }
        // Where the path of one that has failed leads is looked at when it is tried.
        if found.is_none() {
            self.look_for_place(&device);
        }
    }

    /// Devices that are offline, and those in service whose store is gone.
    fn to_be_tried(&self) -> Vec<String> {
        let inventory = self.inventory();
        let offline = (inventory.offline.iter()).map(|offline| offline.config.name.to_string());
        let gone = (inventory.devices.iter())
            .filter(|device| matches!(self.troubles.of_device(device), Some(Lost::Gone(_))))
            .map(|device| device.name.clone());
        offline.chain(gone).collect()
    }

    /// Tries a device once. Returns whether it is in service again.
    fn try_device(&self, name: &str) -> bool {
        if self.stopping.load(SeqCst) {
            return false;
        }
        // Whatever hangs here keeps no device open but this one.
        let served = self.inventory().device(name).cloned();
        if let Some(device) = served
            && !self.give_up(device)
        {
            return false;
        }
        self.try_offline(name)
    }

    /// Takes a device whose store is gone out of service, if there is another store in its place. Returns whether it did.
    fn give_up(&self, device: Arc<Device>) -> bool {
        let (path, size) = (device.config.store.path().cloned(), device.size());
        let Some(path) = path else {
            return false;
        };
        // The store may work again. It is asked now, and not while nobody else can change anything: it may hang.
        if device.backend.current_size().is_ok() {
            return false;
        }
        // Whoever closes it meanwhile waits for nobody who waits for him.
        let weak = Arc::downgrade(&device);
        drop(device);
        // What is smaller is another disk, or not all of this one.
        if !pagecast_backends::present_size(&path).is_ok_and(|there| there >= size) {
            return false;
        }
        let kept = self.kept.lock();
        let Some(device) = weak.upgrade() else {
            return false;
        };
        let before = self.inventory();
        let is_served = (before.devices.iter()).any(|other| Arc::ptr_eq(other, &device));
        // Somebody else may have done it.
        if !is_served || self.stopping.load(SeqCst) {
            return false;
        }
        let mut devices = before.devices.clone();
        devices.retain(|other| !Arc::ptr_eq(other, &device));
        let mut offline = before.offline.clone();
        offline.push(Offline {
            config: device.config.clone(),
            why: "its store was gone, and is opened anew".to_owned(),
        });
        let config = before.config.clone();
        drop(before);
        tracing::info!(device = %device.name, "its store was gone, and there is one again; opening it anew");
        let inventory = self.remade(config, devices, offline);
        let mut warnings = Vec::new();
        if self.commit(inventory, &mut warnings).is_none() {
            return false;
        }
        // Commands on it that do not end keep nobody from changing anything.
        drop(kept);
        self.close(device, &mut warnings);
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        true
    }

    /// Opens a device that is offline, and serves it if that works.
    fn try_offline(&self, name: &str) -> bool {
        let before = self.inventory();
        let Some(offline) = before.offline(name) else {
            return false;
        };
        let (wanted, why_before) = (offline.config.clone(), offline.why.clone());
        let opening = self.opening(&before.config, &wanted);
        drop(before);
        match opening.open_soon() {
            Ok(device) => self.take_in(&wanted, device),
            Err(error) => {
                let why = error.to_string();
                tracing::debug!(device = %wanted.name, why, "still offline");
                if why != why_before {
                    self.note_why(&wanted, why);
                }
                false
            }
        }
    }

    /// Serves a device that was offline. Returns whether it does: by now it may be wanted no more, or otherwise.
    fn take_in(&self, wanted: &DeviceConfig, device: Arc<Device>) -> bool {
        let _kept = self.kept.lock();
        let before = self.inventory();
        let is_wanted = (before.offline(&wanted.name)).is_some_and(|it| it.config == *wanted);
        if !is_wanted || self.stopping.load(SeqCst) {
            return false;
        }
        let config = before.config.clone();
        let devices = (config.devices.iter())
            .filter_map(|one| match one.name == wanted.name {
                true => Some(Arc::clone(&device)),
                false => before.device(&one.name).cloned(),
            })
            .collect();
        let mut offline = before.offline.clone();
        offline.retain(|other| other.config.name != wanted.name);
        drop(before);
        let inventory = self.remade(config, devices, offline);
        let mut warnings = Vec::new();
        if self.commit(inventory, &mut warnings).is_none() {
            return false;
        }
        tracing::info!(device = %device.name, "device online");
        self.events.tell(EventKind::DeviceOnline {
            device: device.name.clone(),
        });
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        true
    }

    /// Keeps why a device is offline now.
    fn note_why(&self, wanted: &DeviceConfig, why: String) {
        let _kept = self.kept.lock();
        let before = self.inventory();
        let mut offline = before.offline.clone();
        let Some(noted) = (offline.iter_mut()).find(|other| other.config == *wanted) else {
            return;
        };
        noted.why.clone_from(&why);
        let inventory = self.remade(before.config.clone(), before.devices.clone(), offline);
        // Nothing that a session sees has changed.
        self.set_inventory(Arc::new(inventory));
        self.tell_offline(&wanted.name, why);
    }

    /// Tells of a device that cannot be opened.
    pub(super) fn tell_offline(&self, device: &str, why: String) {
        tracing::warn!(device, why, "device offline; it is tried again");
        self.events.tell(EventKind::DeviceOffline {
            device: device.to_owned(),
            why,
        });
    }
}
