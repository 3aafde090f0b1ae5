//! Features (NVMe base 2.0 section 5.27).

use std::time::Duration;

use super::admin;
use super::command::Command;
use super::controller::{Controller, ControllerSetup, Kind};
use super::events;
use super::plan::{Completion, Plan, Planned};
use super::properties::GRANULARITY;
use super::reservations;
use super::status::Status;
use crate::scsi::ScsiChannel;

/// What of features is announced as optional (ONCS): Save and Select fields, and the timestamp.
pub(crate) const ONCS: u16 = 1 << 4 | 1 << 6;

/// Feature identifiers (figure 318).
mod id {
    pub(super) const ARBITRATION: u8 = 0x01;
    pub(super) const POWER_MANAGEMENT: u8 = 0x02;
    pub(super) const TEMPERATURE_THRESHOLD: u8 = 0x04;
    pub(super) const ERROR_RECOVERY: u8 = 0x05;
    pub(super) const VOLATILE_WRITE_CACHE: u8 = 0x06;
    pub(super) const NUMBER_OF_QUEUES: u8 = 0x07;
    pub(super) const WRITE_ATOMICITY: u8 = 0x0a;
    pub(super) const EVENT_CONFIGURATION: u8 = 0x0b;
    pub(super) const TIMESTAMP: u8 = 0x0e;
    pub(super) const KEEP_ALIVE: u8 = 0x0f;
    pub(super) const HOST_BEHAVIOR: u8 = 0x16;
    pub(super) const COMMAND_SET_PROFILE: u8 = 0x19;
    pub(super) const HOST_IDENTIFIER: u8 = 0x81;
    pub(super) const RESERVATION_MASK: u8 = 0x82;
    pub(super) const RESERVATION_PERSISTENCE: u8 = 0x83;
}

/// A feature that there is.
struct Feature {
    id: u8,
    /// Discovery controllers have it, too.
    discovery: bool,
    changeable: bool,
    /// Every namespace has its own.
    of_namespace: bool,
}

const fn feature(id: u8, discovery: bool, changeable: bool) -> Feature {
    Feature {
        id,
        discovery,
        changeable,
        of_namespace: false,
    }
}

const fn of_namespace(id: u8) -> Feature {
    Feature {
        id,
        discovery: false,
        changeable: true,
        of_namespace: true,
    }
}

/// Sorted by identifier. None can be saved.
static FEATURES: &[Feature] = &[
    feature(id::ARBITRATION, false, true),
    feature(id::POWER_MANAGEMENT, false, true),
    feature(id::TEMPERATURE_THRESHOLD, false, true),
    feature(id::ERROR_RECOVERY, false, true),
    // It belongs to the devices, which other hosts share.
    feature(id::VOLATILE_WRITE_CACHE, false, false),
    feature(id::NUMBER_OF_QUEUES, false, true),
    feature(id::WRITE_ATOMICITY, false, true),
    feature(id::EVENT_CONFIGURATION, true, true),
    feature(id::TIMESTAMP, false, true),
    feature(id::KEEP_ALIVE, true, true),
    feature(id::HOST_BEHAVIOR, false, true),
    feature(id::COMMAND_SET_PROFILE, false, true),
    // Connect has set it.
    feature(id::HOST_IDENTIFIER, false, false),
    of_namespace(id::RESERVATION_MASK),
    of_namespace(id::RESERVATION_PERSISTENCE),
];

/// Identifiers of the features that a controller has, and whether every namespace has its own.
pub(crate) fn identifiers(kind: &Kind) -> impl Iterator<Item = (u8, bool)> {
    let discovery = matches!(kind, Kind::Discovery(_));
    FEATURES
        .iter()
        .filter(move |feature| feature.discovery || !discovery)
        .map(|feature| (feature.id, feature.of_namespace))
}

/// What a host has set.
#[derive(Debug)]
pub(crate) struct Features {
    arbitration: u32,
    power: u32,
    over_temperature: u16,
    under_temperature: u16,
    error_recovery: u32,
    queues: u32,
    write_atomicity: u32,
    events: u32,
    timestamp: Timestamp,
    /// How long the host may be silent; zero for as long as it likes.
    pub(crate) keep_alive: Duration,
    host_behavior: [u8; HOST_BEHAVIOR_SIZE],
    pub(crate) reservation_masks: reservations::Masks,
}

/// Milliseconds of a clock that the host may set.
#[derive(Clone, Copy, Debug)]
struct Timestamp {
    value: u64,
    /// When it was that.
    at: Duration,
    /// The host has set it, and it was not just counted from when the controller was made.
    set: bool,
}

impl Features {
    /// The defaults, of a controller that was made or reset at a time.
    pub(crate) fn new(setup: &ControllerSetup, now: Duration) -> Self {
        let queues = u32::from(setup.queues.saturating_sub(1));
        Self {
            arbitration: 0,
            power: 0,
            over_temperature: u16::MAX,
            under_temperature: 0,
            error_recovery: 0,
            queues: queues | queues << 16,
            write_atomicity: 0,
            events: 0,
            timestamp: Timestamp {
                value: 0,
                at: now,
                set: false,
            },
            keep_alive: rounded(setup.keep_alive),
            host_behavior: [0; HOST_BEHAVIOR_SIZE],
            reservation_masks: Default::default(),
        }
    }

    /// Asynchronous Event Configuration: which events the host wants to hear of.
    pub(crate) fn event_config(&self) -> u32 {
        self.events
    }
}

const TIMESTAMP_SIZE: usize = 8;
const HOST_BEHAVIOR_SIZE: usize = 512;

/// Get Features (section 5.15).
pub(crate) fn get(controller: &Controller, command: &Command, units: &mut ScsiChannel) -> Planned {
    let feature = find(controller, command)?;
    let defaults;
    let state;
    // Select.
    let select = command.cdw::<10>() >> 8 & 7;
    let features = match select {
        0 => {
            state = controller.lock();
            &state.features
        }
        // Nothing is saved, so the defaults stand for what is.
        1 | 2 => {
            defaults = Features::new(&controller.setup, controller.last_heard());
            &defaults
        }
        // Supported capabilities: changeable, of a namespace, but not saveable.
        3 => {
            let changeable = u32::from(feature.changeable) << 2;
            return word(changeable | u32::from(feature.of_namespace) << 1);
        }
        _ => return Err(Status::INVALID_FIELD),
    };
    match feature.id {
        id::ARBITRATION => word(features.arbitration),
        id::POWER_MANAGEMENT => word(features.power),
        id::TEMPERATURE_THRESHOLD => word(match temperature(command.cdw::<11>(), 0)? {
            Threshold::Over => features.over_temperature.into(),
            Threshold::Under => features.under_temperature.into(),
        }),
        id::ERROR_RECOVERY => word(features.error_recovery),
        id::VOLATILE_WRITE_CACHE => word(write_cache(units).into()),
        id::NUMBER_OF_QUEUES => word(features.queues),
        id::WRITE_ATOMICITY => word(features.write_atomicity),
        id::EVENT_CONFIGURATION => word(features.events),
        id::TIMESTAMP => {
            let now = controller.last_heard();
            admin::reply(command, features.timestamp.bytes(now).to_vec())
        }
        id::KEEP_ALIVE => {
            let milliseconds = features.keep_alive.as_millis();
            word(u32::try_from(milliseconds).unwrap_or(u32::MAX))
        }
        id::HOST_BEHAVIOR => admin::reply(command, features.host_behavior.to_vec()),
        // The only combination of command sets.
        id::COMMAND_SET_PROFILE => word(0),
        id::HOST_IDENTIFIER => {
            // EXHID: over fabrics it always has 128 bits.
            if command.cdw::<11>() & 1 == 0 {
                return Err(Status::INVALID_FIELD);
            }
            admin::reply(command, controller.setup.host.id.to_vec())
        }
        id::RESERVATION_MASK => word(features.reservation_masks.get(command, units)?),
        id::RESERVATION_PERSISTENCE => {
            let persists = reservations::persistence(command, units)?;
            word(u32::from(persists && select == 0))
        }
        _ => Err(Status::INVALID_FIELD),
    }
}

/// Set Features (section 5.27), before its data are there if it has any.
pub(crate) fn set(controller: &Controller, command: &Command, units: &mut ScsiChannel) -> Planned {
    let feature = find(controller, command)?;
    // SV.
    if command.cdw::<10>() & 1 << 31 != 0 {
        return Err(Status::FEATURE_NOT_SAVEABLE);
    }
    match feature.id {
        id::RESERVATION_MASK => return reservations::set_mask(controller, command, units),
        id::RESERVATION_PERSISTENCE => return reservations::set_persistence(command, units),
        _ => {}
    }
    if !matches!(command.nsid, 0 | u32::MAX) {
        return Err(Status::FEATURE_NOT_NAMESPACE_SPECIFIC);
    }
    let value = command.cdw::<11>();
    let mut state = controller.lock();
    let limit = controller.setup.queues;
    match feature.id {
        id::ARBITRATION => state.features.arbitration = value & 0xffff_ff07,
        // There is one power state.
        id::POWER_MANAGEMENT => state.features.power = allowed(value, 0x7 << 5)?,
        id::TEMPERATURE_THRESHOLD => {
            // TMPSEL Fh is for all sensors that there are.
            match temperature(value, 0xf)? {
                Threshold::Over => state.features.over_temperature = value as u16,
                Threshold::Under => state.features.under_temperature = value as u16,
            }
        }
        // TLER; no namespace reports deallocated blocks as errors (DULBE).
        id::ERROR_RECOVERY => state.features.error_recovery = allowed(value, 0xffff)?,
        id::VOLATILE_WRITE_CACHE => return Err(Status::FEATURE_NOT_CHANGEABLE),
        id::NUMBER_OF_QUEUES => {
            if state.io_queues != 0 {
                return Err(Status::COMMAND_SEQUENCE_ERROR);
            }
            let [submission, completion] = [value as u16, (value >> 16) as u16];
            if submission == u16::MAX || completion == u16::MAX {
                return Err(Status::INVALID_FIELD);
            }
            // All numbers are counted from zero.
            let granted = |asked: u16| u32::from(asked.min(limit.saturating_sub(1)));
            state.features.queues = granted(submission) | granted(completion) << 16;
            return word(state.features.queues);
        }
        // DN.
        id::WRITE_ATOMICITY => state.features.write_atomicity = allowed(value, 1)?,
        id::EVENT_CONFIGURATION => {
            let supported = events::supported(&controller.setup.kind);
            // Critical warnings of SMART, which never come but have to be accepted.
            let warnings = if controller.is_discovery() { 0 } else { 0x3f };
            state.features.events = allowed(value, supported | warnings)?;
        }
        id::TIMESTAMP => return admin::fetch(command, TIMESTAMP_SIZE),
        id::KEEP_ALIVE => {
            let milliseconds = Duration::from_millis(value.into());
            state.features.keep_alive = rounded(milliseconds);
        }
        id::HOST_BEHAVIOR => return admin::fetch(command, HOST_BEHAVIOR_SIZE),
        id::COMMAND_SET_PROFILE => {
            // IOCSCI: any other combination is empty.
            if value & 0x1ff != 0 {
                return Err(Status::COMMAND_SETS_REJECTED);
            }
        }
        // Not after Connect.
        id::HOST_IDENTIFIER => return Err(Status::COMMAND_SEQUENCE_ERROR),
        _ => return Err(Status::INVALID_FIELD),
    }
    Ok(Completion::SUCCESS.into())
}

/// Set Features with its data.
pub(crate) fn data(controller: &Controller, command: &Command, data: &[u8]) -> Planned {
    let feature = find(controller, command)?;
    let now = controller.last_heard();
    let mut state = controller.lock();
    match feature.id {
        id::TIMESTAMP => {
            let bytes = data.first_chunk().ok_or(Status::DATA_SGL_LENGTH_INVALID)?;
            state.features.timestamp = Timestamp {
                value: u64::from_le_bytes(*bytes) & Timestamp::MASK,
                at: now,
                set: true,
            };
        }
        id::HOST_BEHAVIOR => {
            let bytes: &[u8; HOST_BEHAVIOR_SIZE] =
                data.first_chunk().ok_or(Status::DATA_SGL_LENGTH_INVALID)?;
            // ACRE, ETDAS, LBAFEE, HDISNS are switches.
            if bytes.iter().take(4).any(|switch| *switch > 1) {
                return Err(Status::INVALID_FIELD);
            }
            state.features.host_behavior = *bytes;
        }
        _ => return Err(Status::INVALID_FIELD),
    }
    Ok(Completion::SUCCESS.into())
}

/// The feature that a command is about, if the controller has it.
fn find(controller: &Controller, command: &Command) -> Result<&'static Feature, Status> {
    let discovery = controller.is_discovery();
    FEATURES
        .iter()
        .find(|feature| feature.id == command.cdw::<10>() as u8)
        .filter(|feature| feature.discovery || !discovery)
        .ok_or(Status::INVALID_FIELD)
}

fn word(value: u32) -> Planned {
    Ok(Plan::Respond(Completion::with_result(value.into())))
}

/// A value that has none but these bits.
fn allowed(value: u32, bits: u32) -> Result<u32, Status> {
    if value & !bits == 0 {
        Ok(value)
    } else {
        Err(Status::INVALID_FIELD)
    }
}

/// Which limit of the composite temperature is meant. There are no other sensors.
enum Threshold {
    Over,
    Under,
}

/// TMPSEL and THSEL. `all` is what else selects the composite temperature.
fn temperature(value: u32, all: u32) -> Result<Threshold, Status> {
    let sensor = value >> 16 & 0xf;
    if sensor != 0 && sensor != all {
        return Err(Status::INVALID_FIELD);
    }
    match value >> 20 & 3 {
        0 => Ok(Threshold::Over),
        1 => Ok(Threshold::Under),
        _ => Err(Status::INVALID_FIELD),
    }
}

/// WCE: whether any namespace has its write cache on.
fn write_cache(units: &mut ScsiChannel) -> bool {
    let indices: Vec<_> = units.units().map(|(_, index)| index).collect();
    indices
        .into_iter()
        .any(|index| units.unit(index).write_cache())
}

/// Keep-alive times are rounded up to what they are counted in (KAS).
fn rounded(time: Duration) -> Duration {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() != 0);
    GRANULARITY.saturating_mul(u32::try_from(seconds).unwrap_or(u32::MAX))
}

impl Timestamp {
    /// It has 48 bits.
    const MASK: u64 = (1 << 48) - 1;

    /// Timestamp data structure (figure 330): the time, and where it comes from.
    fn bytes(self, now: Duration) -> [u8; TIMESTAMP_SIZE] {
        let passed = now.saturating_sub(self.at).as_millis() as u64;
        let value = self.value.wrapping_add(passed) & Self::MASK;
        // Timestamp Origin: 001b if the host has set it.
        (value | u64::from(self.set) << 49).to_le_bytes()
    }
}
