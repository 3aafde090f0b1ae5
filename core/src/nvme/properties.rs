//! Controller properties (NVMe base 2.0 section 3.1.3), and the time that a host may be silent.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::command::Command;
use super::controller::{Controller, ControllerSetup, Kind, State};
use super::features::Features;
use super::plan::{Completion, Plan, Planned};
use super::status::Status;
use crate::scsi::ScsiChannel;

/// VS: 2.0.0.
pub(crate) const VERSION: u32 = 0x0002_0000;

/// Offsets (figure 35).
const CAP: u32 = 0x00;
const VS: u32 = 0x08;
const CC: u32 = 0x14;
const CSTS: u32 = 0x1c;
const CRTO: u32 = 0x68;

/// How long a host should wait for a controller to become ready, in units of 500 ms. It never has to.
const READY_TIMEOUT: u32 = 15;

/// Keep Alive Support: keep-alive times are counted in seconds.
pub(crate) const GRANULARITY: Duration = Duration::from_secs(1);
/// What is granted beyond the keep-alive time: a message may be under way.
const GRACE: Duration = Duration::from_secs(1);
/// How long an association is kept while the controller does not run (section 3.6), and what discovery controllers allow whose
/// host has no keep-alive time (section 3.1.2.3).
const IDLE: Duration = Duration::from_secs(120);
/// The time at which a host was heard is not noted more exactly, so that the threads of its queues do not fight about it.
const TICK: Duration = Duration::from_millis(10);

/// The properties that fabrics have.
#[derive(Debug)]
pub(crate) struct Properties {
    capabilities: u64,
    /// For a controller without I/O queues, what is said of their entries does not count.
    has_io_queues: bool,
    configuration: Configuration,
    ready: bool,
    failed: bool,
    shut_down: bool,
    /// The host was silent for too long. There is no way back.
    lost: bool,
}

/// CC (figure 46).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Configuration(u32);

impl Configuration {
    /// Bits 24 (CRIME, which only counts if CAP.CRMS says so) and above cannot be set.
    const WRITABLE: u32 = 0x00ff_fff1;

    fn enabled(self) -> bool {
        self.0 & 1 != 0
    }

    fn shutdown(self) -> bool {
        self.0 >> 14 & 3 != 0
    }

    /// CSS, the command sets in use.
    fn command_sets(self) -> u32 {
        self.0 >> 4 & 7
    }

    /// MPS and AMS: there is one page size, and one arbitration mechanism.
    fn page_and_arbitration(self) -> u32 {
        self.0 >> 7 & 0x7f
    }

    /// IOSQES and IOCQES: sizes of queue entries, as powers of two.
    fn entry_sizes(self) -> (u32, u32) {
        (self.0 >> 16 & 0xf, self.0 >> 20 & 0xf)
    }
}

impl Properties {
    pub(crate) fn new(setup: &ControllerSetup) -> Self {
        let has_io_queues = matches!(setup.kind, Kind::Io);
        Self {
            capabilities: capabilities(setup.queue_depth, has_io_queues),
            has_io_queues,
            configuration: Configuration(0),
            ready: false,
            failed: false,
            shut_down: false,
            lost: false,
        }
    }

    /// CC.EN and CSTS.RDY: commands are served.
    pub(crate) fn enabled(&self) -> bool {
        self.configuration.enabled() && self.ready && !self.lost
    }

    /// It is enabled, and was not shut down since.
    pub(crate) fn running(&self) -> bool {
        self.enabled() && !self.shut_down
    }

    /// CSTS (figure 47).
    fn status(&self) -> u32 {
        let shutdown = if self.shut_down { 0b10 } else { 0 };
        u32::from(self.ready) | u32::from(self.failed || self.lost) << 1 | shutdown << 2
    }

    /// A new value of CC. Says whether that was a Controller Level Reset.
    fn configure(&mut self, value: u32) -> bool {
        let before = self.configuration;
        let after = Configuration(value & Configuration::WRITABLE);
        self.configuration = after;
        let reset = before.enabled() && !after.enabled();
        if reset {
            self.ready = false;
            self.failed = false;
            self.shut_down = false;
        }
        if !before.enabled() && after.enabled() {
            self.ready = self.accepts(after);
            self.failed = !self.ready;
        }
        // Everything that has completed was handed to the store, so there is nothing to wait for.
        if after.shutdown() != before.shutdown() {
            self.shut_down = after.shutdown();
        }
        reset
    }

    /// Whether the controller can be enabled like that. A wrong value is a fatal error (CSTS.CFS), for lack of a better one.
    fn accepts(&self, configuration: Configuration) -> bool {
        let command_sets = match configuration.command_sets() {
            // The NVM command set.
            0 => true,
            // All that there are, which is the same.
            6 => self.has_io_queues,
            // None: admin commands only.
            7 => !self.has_io_queues,
            _ => false,
        };
        let entries = !self.has_io_queues || configuration.entry_sizes() == (6, 4);
        command_sets && entries && configuration.page_and_arbitration() == 0
    }
}

/// CAP (figure 36).
fn capabilities(queue_depth: u16, has_io_queues: bool) -> u64 {
    let mqes = u64::from(queue_depth.saturating_sub(1).max(1));
    // CQR: queues are contiguous, which fabrics require to be said.
    let contiguous = 1 << 16;
    let timeout = u64::from(READY_TIMEOUT) << 24;
    // CSS: the NVM command set, and Identify for each command set.
    let command_sets = 1 << 37 | u64::from(has_io_queues) << 43;
    // CRMS.CRWMS: ready when all is ready, within the time in CRTO.
    let ready_modes = 1 << 59;
    mqes | contiguous | timeout | command_sets | ready_modes
}

/// Property Get (section 6.5).
pub(crate) fn get(controller: &Controller, command: &Command) -> Planned {
    let state = controller.lock();
    let properties = &state.properties;
    let value = match (size(command)?, command.cdw::<11>()) {
        (Size::Eight, CAP) => properties.capabilities,
        (Size::Four, VS) => VERSION.into(),
        (Size::Four, CC) => properties.configuration.0.into(),
        (Size::Four, CSTS) => properties.status().into(),
        // CRWMT; there is no other mode.
        (Size::Four, CRTO) => READY_TIMEOUT.into(),
        _ => return Err(Status::INVALID_FIELD),
    };
    Ok(Completion::with_result(value).into())
}

/// Property Set (section 6.6).
pub(crate) fn set(controller: &Controller, command: &Command, units: &mut ScsiChannel) -> Planned {
    match (size(command)?, command.cdw::<11>()) {
        (Size::Four, CC) => {}
        _ => return Err(Status::INVALID_FIELD),
    }
    // If it is a reset, what has happened before is nothing that is told after it.
    controller.collect_reservation_notices(units);
    let mut state = controller.lock();
    let reset = state.properties.configure(command.cdw::<12>());
    if reset {
        // What a host has set is gone after a Controller Level Reset (section 3.7.2), and so are its I/O queues.
        state.features = Features::new(&controller.setup, controller.last_heard());
        state.events.reset();
        state.io_queues = 0;
    }
    controller.publish(&state.properties);
    drop(state);
    Ok(if reset {
        Plan::Reset
    } else {
        Completion::SUCCESS.into()
    })
}

/// How much of a property a command is about (ATTRIB, byte 40).
enum Size {
    Four,
    Eight,
}

fn size(command: &Command) -> Result<Size, Status> {
    match command.cdw::<10>() & 7 {
        0 => Ok(Size::Four),
        1 => Ok(Size::Eight),
        _ => Err(Status::INVALID_FIELD),
    }
}

impl Controller {
    /// The host was heard: some command came on one of its queues (traffic based keep-alive, section 3.9.4). Takes no lock.
    #[inline]
    pub fn heard(&self, now: Duration) {
        let now = nanoseconds(now);
        let before = self.heard.load(Ordering::Relaxed);
        if now >= before.saturating_add(nanoseconds(TICK)) {
            self.heard.fetch_max(now, Ordering::Relaxed);
        }
    }

    /// Whether the host has been silent for longer than its keep-alive time. The controller is lost then (CSTS.CFS), and all of its
    /// queues have to go.
    ///
    /// A controller that is not enabled, or was shut down, is lost after two minutes of silence, and so is a discovery controller
    /// without a keep-alive time.
    pub fn tick(&self, now: Duration) -> bool {
        let mut state = self.lock();
        let silent = now.saturating_sub(self.last_heard());
        let lost = state
            .allowance(self.is_discovery())
            .is_some_and(|allowance| silent > allowance);
        if lost && !state.properties.lost {
            state.properties.lost = true;
            self.publish(&state.properties);
        }
        state.properties.lost
    }

    /// When the host was last heard.
    pub(crate) fn last_heard(&self) -> Duration {
        Duration::from_nanos(self.heard.load(Ordering::Relaxed))
    }

    /// Lets I/O commands see, which take no lock, what has become of the controller.
    fn publish(&self, properties: &Properties) {
        let ready = properties.running() && !self.is_discovery();
        self.ready.store(ready, Ordering::Relaxed);
    }
}

impl State {
    /// How long the host may be silent; for ever if none.
    fn allowance(&self, discovery: bool) -> Option<Duration> {
        let keep_alive = self.features.keep_alive;
        let allowance = match self.properties.running() {
            true if keep_alive.is_zero() && !discovery => return None,
            true if keep_alive.is_zero() => IDLE,
            true => keep_alive,
            false => keep_alive.max(IDLE),
        };
        Some(allowance + GRACE)
    }
}

/// Nanoseconds since the clock's beginning, which is not 500 years ago.
pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
