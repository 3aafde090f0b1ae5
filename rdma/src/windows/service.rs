//! The one service of a process: settings, budget, and the threads that register and deregister.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, Mutex, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use super::budget::Budget;
use super::cache::Statistics;
use super::device::{Device, DeviceWindows};
use super::heat::{Heat, MissClock};
use super::reaper::{Command, Reaper};
use super::registrar::{Miss, Registrar};
use super::revoke::Drain;
use super::victims::Victims;
use super::{Source, WindowError, locked};

/// Windows that may wait for a registrar. A miss that finds the queue full is served staged all the same and comes again.
pub(super) const QUEUE: usize = 1024;

const MAX_WINDOW: u64 = 1 << 30;

/// How windows are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes in a window: a power of two, a page to 1 GiB.
    pub window_bytes: u64,
    /// Bytes that may be pinned for windows, on all adapters together. A page counts once for each.
    pub budget_bytes: u64,
    /// Uses (that decay) after which a window is worth registering; 1 means at the first miss.
    pub heat_threshold: u16,
    /// How long a window is left alone after it could not be registered; doubles, up to 64 times that, each time it fails again.
    pub backoff: Duration,
    /// Threads that register. A device has all but one of them at most (and one at least), so that a disk that hangs leaves one to
    /// the others.
    pub registrars: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            window_bytes: 2 << 20,
            budget_bytes: 0,
            heat_threshold: 1,
            backoff: Duration::from_secs(1),
            registrars: 3,
        }
    }
}

/// Keeps page cache registered, for all devices and adapters of a process.
///
/// Registration (slow: disk reads, page faults, pinning) and deregistration have threads of their own, so that a revocation waits
/// for a disk only if it is of that disk. Dropping the service ends them; windows under lease at that moment are deregistered
/// when the lease ends.
#[derive(Debug)]
pub struct WindowService {
    shared: Arc<Shared>,
    /// Dropping it stops the registrars.
    stop: Option<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
    devices: Mutex<Vec<Weak<Device>>>,
}

/// The service's budget, and the sum over its devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceStatistics {
    /// Bytes that are pinned, or about to be.
    pub pinned_bytes: u64,
    /// Bytes that may be pinned now: the configured budget, or less where the kernel refused more.
    pub limit_bytes: u64,
    /// Windows that wait to be registered, or are just being.
    pub queued: u64,
    /// The sum over all open devices.
    pub total: Statistics,
}

impl WindowService {
    /// Starts the service.
    pub fn new(settings: Settings) -> Result<Arc<Self>, WindowError> {
        let page = page_bytes();
        if !settings.window_bytes.is_power_of_two()
            || !(page..=MAX_WINDOW).contains(&settings.window_bytes)
        {
            return Err(WindowError::Settings(
                "a window must be a power of two, from a page to 1 GiB",
            ));
        }
        if settings.registrars == 0 || settings.heat_threshold == 0 {
            return Err(WindowError::Settings(
                "the number of registrars and the heat threshold must be at least 1",
            ));
        }
        let (misses, miss_queue) = crossbeam_channel::bounded(QUEUE);
        let (commands, command_queue) = crossbeam_channel::unbounded();
        let (kick, kicked) = crossbeam_channel::bounded(1);
        let (stop, stopped) = crossbeam_channel::bounded(0);
        let shared = Arc::new(Shared {
            settings,
            page,
            budget: Arc::new(Budget::new(settings.budget_bytes)),
            victims: Mutex::default(),
            clock: MissClock::new(settings.budget_bytes / settings.window_bytes),
            bar: Heat::default(),
            queued: AtomicU64::new(0),
            misses,
            commands,
            kick,
        });
        let mut service = Self {
            shared,
            stop: Some(stop),
            threads: Vec::new(),
            devices: Mutex::default(),
        };
        service.start(&miss_queue, &stopped, command_queue, kicked)?;
        Ok(Arc::new(service))
    }

    fn start(
        &mut self,
        misses: &Receiver<Miss>,
        stopped: &Receiver<()>,
        commands: Receiver<Command>,
        kicked: Receiver<()>,
    ) -> Result<(), WindowError> {
        let reaper = Reaper::new(commands, kicked);
        self.threads
            .push(spawn("windows-reaper", move || reaper.run())?);
        for _ in 0..self.shared.settings.registrars {
            let registrar = Registrar::new(&self.shared, misses.clone(), stopped.clone());
            self.threads
                .push(spawn("windows-filler", move || registrar.run())?);
        }
        Ok(())
    }

    /// The windows of one device. `name` is for people.
    pub fn device(self: &Arc<Self>, source: Arc<dyn Source>, name: &str) -> DeviceWindows {
        let windows = DeviceWindows::new(Arc::clone(self), source, name);
        let mut devices = locked(&self.devices);
        devices.retain(|device| device.strong_count() > 0);
        devices.push(Arc::downgrade(windows.device()));
        windows
    }

    /// What is pinned, and what happened so far on the devices that are open.
    pub fn statistics(&self) -> ServiceStatistics {
        let devices: Vec<_> = locked(&self.devices)
            .iter()
            .filter_map(Weak::upgrade)
            .collect();
        let mut total = Statistics::default();
        for device in devices {
            total += device.statistics();
        }
        ServiceStatistics {
            pinned_bytes: self.shared.budget.pinned(),
            limit_bytes: self.shared.budget.limit(),
            queued: self.shared.queued.load(Acquire),
            total,
        }
    }

    /// The settings that it was started with.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Drop for WindowService {
    fn drop(&mut self) {
        self.stop = None;
        self.shared.command(Command::Stop);
        let here = thread::current().id();
        for thread in self.threads.drain(..) {
            // A callback that drops the last device runs on a worker, which cannot wait for itself.
            if thread.thread().id() != here {
                let _ = thread.join();
            }
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, WindowError> {
    thread::Builder::new()
        .name(name.into())
        .spawn(run)
        .map_err(WindowError::Thread)
}

/// What caches and workers share. Caches may outlive the service: then nobody listens, and everything is a miss.
#[derive(Debug)]
pub(super) struct Shared {
    settings: Settings,
    page: u64,
    pub(super) budget: Arc<Budget>,
    pub(super) victims: Mutex<Victims>,
    pub(super) clock: MissClock,
    /// The heat of the coldest window when the last candidate found nothing colder than itself: below that, asking again is
    /// in vain.
    bar: Heat,
    queued: AtomicU64,
    misses: Sender<Miss>,
    commands: Sender<Command>,
    kick: Sender<()>,
}

impl Shared {
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    #[inline]
    pub(super) fn window_bytes(&self) -> u64 {
        self.settings.window_bytes
    }

    #[inline]
    pub(super) fn window_shift(&self) -> u32 {
        self.settings.window_bytes.trailing_zeros()
    }

    pub(super) fn page_bytes(&self) -> u64 {
        self.page
    }

    /// Whether a window of that heat should be registered.
    pub(super) fn is_worth_it(&self, heat: u16, epoch: u16) -> bool {
        heat >= self.settings.heat_threshold && heat > self.bar.at(epoch)
    }

    /// A candidate was no hotter than the coldest window there is.
    pub(super) fn raise_bar(&self, heat: u16, epoch: u16) {
        self.bar.set(heat, epoch);
    }

    /// Bytes came free: everybody may try again.
    pub(super) fn room_was_made(&self) {
        self.bar.set(0, 0);
    }

    /// Asks for a window, unless too many others wait. Never blocks.
    pub(super) fn request(&self, miss: Miss) -> bool {
        self.queued.fetch_add(1, Relaxed);
        let taken = self.misses.try_send(miss).is_ok();
        if !taken {
            self.request_is_done();
        }
        taken
    }

    /// Puts a request that was put off back into the queue. False if too many others wait by now: it is forgotten then.
    pub(super) fn request_again(&self, miss: Miss) -> bool {
        match self.misses.try_send(miss) {
            Ok(()) => true,
            Err(refused) => {
                self.forget(&refused.into_inner());
                false
            }
        }
    }

    /// Nothing comes of a request. The window may be missed again.
    pub(super) fn forget(&self, miss: &Miss) {
        if let Some(slot) = miss.cache.slots().get(miss.index) {
            slot.dequeue();
        }
        self.request_is_done();
    }

    /// Registrars that one device may have at a time.
    pub(super) fn registrars_of_one(&self) -> usize {
        self.settings.registrars.saturating_sub(1).max(1)
    }

    /// A registrar is done with a request.
    pub(super) fn request_is_done(&self) {
        self.queued.fetch_sub(1, Release);
    }

    /// Wakes the reaper: something that it may wait for has happened. One pending wake-up is as good as many.
    pub(super) fn kick(&self) {
        let _ = self.kick.try_send(());
    }

    pub(super) fn drain(&self, drain: Drain) {
        self.command(Command::Drain(drain));
    }

    pub(super) fn command(&self, command: Command) {
        // Without a reaper the service is gone, and with it everybody who could be told.
        let _ = self.commands.send(command);
    }
}

fn page_bytes() -> u64 {
    // SAFETY: `sysconf` takes and returns plain integers and has no preconditions.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(page).unwrap_or(4096)
}
