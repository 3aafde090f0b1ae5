//! A logical unit: one disk, shared by every session that sees it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::model::{DiskModel, ModelError};
use super::sense::{SenseCode, SenseFormat, codes};
use super::statistics::{Statistics, StatisticsSource};
use crate::reservations::{Reservations, Table};

/// Names a logical unit to whoever created it; pagecast-core only hands it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnitId(pub u32);

/// A disk. Reading it takes no lock, so that sessions on several threads can share it.
#[derive(Debug)]
pub struct LogicalUnit {
    id: UnitId,
    model: DiskModel,
    capacity: AtomicU64,
    modes: AtomicU32,
    resets: [AtomicU32; ResetKind::COUNT],
    mode_changes: AtomicU32,
    capacity_changes: AtomicU32,
    statistics: OnceLock<Arc<dyn StatisticsSource>>,
    reservations: Reservations,
    /// Relative identifiers of the target ports that it is seen through.
    ports: Mutex<Vec<u16>>,
    /// Counts all events that sessions have to hear of, so that one comparison finds that there is none.
    events: AtomicU64,
}

impl LogicalUnit {
    /// Creates a disk if its description makes sense.
    pub fn new(id: UnitId, model: DiskModel) -> Result<Self, ModelError> {
        model.check()?;
        Ok(Self {
            id,
            capacity: AtomicU64::new(model.capacity),
            modes: AtomicU32::new(Modes::default_of(&model).0),
            reservations: Reservations::new(Table::new(model.limits.max_registrants as usize)),
            ports: Mutex::new(model.ports.clone()),
            model,
            resets: Default::default(),
            mode_changes: AtomicU32::new(0),
            capacity_changes: AtomicU32::new(0),
            statistics: OnceLock::new(),
            events: AtomicU64::new(0),
        })
    }

    /// As given at creation.
    pub fn id(&self) -> UnitId {
        self.id
    }

    /// As given at creation. Its capacity and write cache are where the disk started; ask the unit for how it is now.
    pub fn model(&self) -> &DiskModel {
        &self.model
    }

    /// Relative identifiers of the target ports that it is seen through.
    pub fn ports(&self) -> Vec<u16> {
        self.ports
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// It is seen through these target ports from now on.
    pub fn set_ports(&self, ports: Vec<u16>) {
        *self.ports.lock().unwrap_or_else(PoisonError::into_inner) = ports;
    }

    /// Bytes in a logical block.
    pub fn block_size(&self) -> u32 {
        self.model.block_size
    }

    /// Logical blocks there are now.
    pub fn capacity(&self) -> u64 {
        self.capacity.load(Ordering::Acquire)
    }

    /// Changes the capacity, and tells every session.
    ///
    /// Commands that were planned before may still go beyond the new one.
    pub fn set_capacity(&self, blocks: u64) {
        if self.capacity.swap(blocks, Ordering::AcqRel) != blocks {
            self.count(&self.capacity_changes);
        }
    }

    /// Whether writes may stay in a volatile cache after their status. If not, every write is durable.
    pub fn write_cache(&self) -> bool {
        self.modes().has(Modes::WRITE_CACHE)
    }

    /// Whether nobody may write, as the model or an initiator has it. Who sees it may be kept from that besides: ask the nexus.
    pub(crate) fn write_protected(&self) -> bool {
        self.model.read_only || self.modes().has(Modes::WRITE_PROTECT)
    }

    /// Says who knows what the disk did, for LOG SENSE. Only the first one counts.
    pub fn set_statistics(&self, source: Arc<dyn StatisticsSource>) {
        let _ = self.statistics.set(source);
    }

    /// What the disk did. Zeros if nobody knows.
    pub(crate) fn statistics(&self) -> Statistics {
        self.statistics
            .get()
            .map(|source| source.statistics())
            .unwrap_or_default()
    }

    /// Who has registered, and who has reserved it.
    pub fn reservations(&self) -> &Reservations {
        &self.reservations
    }

    /// How sense data are encoded.
    pub fn sense_format(&self) -> SenseFormat {
        if self.modes().has(Modes::DESCRIPTOR_SENSE) {
            SenseFormat::Descriptor
        } else {
            SenseFormat::Fixed
        }
    }

    /// Resets the logical unit (SAM-5 6.3.3): mode parameters return to their defaults and every session is told.
    /// Aborting its commands is up to the caller.
    pub fn reset(&self) {
        self.reset_as(ResetKind::LogicalUnit);
    }

    /// The same as a part of something larger, by which initiators are told of it.
    pub fn reset_as(&self, kind: ResetKind) {
        self.modes
            .store(Modes::default_of(&self.model).0, Ordering::Release);
        self.reservations.reset();
        self.count(&self.resets[kind as usize]);
    }

    pub(crate) fn modes(&self) -> Modes {
        Modes(self.modes.load(Ordering::Acquire))
    }

    /// Changes mode parameters and counts that as an event, if it is one. Returns what was set before.
    pub(crate) fn set_modes(&self, modes: Modes) -> Modes {
        let before = Modes(self.modes.swap(modes.0, Ordering::AcqRel));
        if before != modes {
            self.count(&self.mode_changes);
        }
        before
    }

    pub(crate) fn events(&self) -> u64 {
        self.events.load(Ordering::Acquire)
    }

    pub(crate) fn counts(&self) -> EventCounts {
        EventCounts {
            resets: ResetKind::ALL.map(|kind| self.resets[kind as usize].load(Ordering::Acquire)),
            mode_changes: self.mode_changes.load(Ordering::Acquire),
            capacity_changes: self.capacity_changes.load(Ordering::Acquire),
        }
    }

    /// The sum goes last: who sees it also sees what it sums up.
    fn count(&self, counter: &AtomicU32) {
        counter.fetch_add(1, Ordering::AcqRel);
        self.events.fetch_add(1, Ordering::AcqRel);
    }
}

/// What reset a logical unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetKind {
    /// As if the target had been switched off and on: TARGET COLD RESET of iSCSI (RFC 7143 11.5.1).
    TargetCold,
    /// TARGET WARM RESET of iSCSI (RFC 7143 11.5.1).
    TargetWarm,
    /// LOGICAL UNIT RESET (SAM-5 7.7).
    LogicalUnit,
}

impl ResetKind {
    pub(crate) const COUNT: usize = 3;
    /// What initiators have to be told first goes first (SAM-5 5.14).
    pub(crate) const ALL: [Self; Self::COUNT] =
        [Self::TargetCold, Self::TargetWarm, Self::LogicalUnit];

    pub(crate) fn code(self) -> SenseCode {
        match self {
            Self::TargetCold => codes::POWER_ON_OCCURRED,
            Self::TargetWarm => codes::TARGET_RESET_OCCURRED,
            Self::LogicalUnit => codes::UNIT_RESET_OCCURRED,
        }
    }
}

/// How often what happened to a logical unit. Counters wrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventCounts {
    /// By [`ResetKind`].
    pub(crate) resets: [u32; ResetKind::COUNT],
    pub(crate) mode_changes: u32,
    pub(crate) capacity_changes: u32,
}

/// The mode parameters that can be changed, as a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Modes(u32);

impl Modes {
    /// WCE in the caching mode page.
    pub(crate) const WRITE_CACHE: Self = Self(1);
    /// D_SENSE in the control mode page.
    pub(crate) const DESCRIPTOR_SENSE: Self = Self(2);
    /// SWP in the control mode page.
    pub(crate) const WRITE_PROTECT: Self = Self(4);
    /// All of them: what MODE SENSE reports as changeable.
    pub(crate) const ALL: Self = Self(7);

    pub(crate) fn default_of(model: &DiskModel) -> Self {
        if model.write_cache {
            Self::WRITE_CACHE
        } else {
            Self(0)
        }
    }

    pub(crate) fn has(self, mode: Self) -> bool {
        self.0 & mode.0 != 0
    }

    pub(crate) fn with(self, mode: Self, on: bool) -> Self {
        if on {
            Self(self.0 | mode.0)
        } else {
            Self(self.0 & !mode.0)
        }
    }
}
