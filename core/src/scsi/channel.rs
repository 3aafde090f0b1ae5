//! One connection of a session.

use std::sync::Arc;

use super::attention::Nexus;
use super::complete::complete;
use super::dispatch;
use super::lba_status;
use super::lun::Lun;
use super::plan::{Command, PendingParameters, Plan};
use super::reserve;
use super::response::Response;
use super::session::ScsiSession;
use super::unit::{LogicalUnit, ResetKind, UnitId};
use crate::block::{BlockFault, BlockOp, Extent};
use crate::reservations::{Access, Refusal, Seat};

/// Names a logical unit within one channel, for as long as the channel lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UnitIndex(u32);

impl UnitIndex {
    /// A small number, for tables by unit.
    #[inline]
    pub fn number(self) -> usize {
        self.0 as usize
    }
}

/// One connection of a session, owned by one thread.
#[derive(Debug)]
pub struct ScsiChannel {
    session: Arc<ScsiSession>,
    generation: u64,
    /// The LUN map, sorted by number.
    slots: Vec<Slot>,
    /// Every logical unit that was ever in the map; it only grows, so that an index stays good.
    units: Vec<Arc<LogicalUnit>>,
}

/// One entry of the LUN map.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) number: u32,
    pub(crate) unit: UnitIndex,
    pub(crate) nexus: Arc<Nexus>,
}

impl ScsiChannel {
    pub(crate) fn new(session: Arc<ScsiSession>) -> Self {
        let mut channel = Self {
            session,
            generation: 0,
            slots: Vec::new(),
            units: Vec::new(),
        };
        channel.refresh();
        channel
    }

    /// Plans a command. Planning a read or a write allocates nothing and takes no lock, unless the initiator has to be
    /// told something first.
    pub fn plan(&mut self, command: &Command<'_>) -> Plan {
        self.renew();
        dispatch::plan(&self.session, &self.slots, command)
    }

    /// Goes on with a command whose parameter data have arrived.
    pub fn parameters(&self, pending: PendingParameters, data: &[u8]) -> Plan {
        dispatch::parameters(&self.session, &self.slots, pending, data)
    }

    /// Ends a block operation that was planned here.
    #[inline]
    pub fn complete(
        &self,
        unit: UnitIndex,
        op: &BlockOp,
        result: Result<(), BlockFault>,
    ) -> Response {
        if result.is_ok() && !matches!(op, BlockOp::Copy(_)) {
            return Response::good();
        }
        self.complete_rarer(unit, op, result)
    }

    /// Failures, and copies, which may be asked about later.
    #[cold]
    fn complete_rarer(
        &self,
        unit: UnitIndex,
        op: &BlockOp,
        result: Result<(), BlockFault>,
    ) -> Response {
        let unit = self.unit(unit);
        let response = complete(unit, op, result);
        if let BlockOp::Copy(segments) = op {
            let outcome = response.sense.map_or(Ok(()), Err);
            self.session.copies().end(unit.id(), segments, outcome);
        }
        response
    }

    /// Ends a [`BlockOp::Extents`] that was planned here. Extents are in ascending order; where there is none, blocks count
    /// as stored. So do all of them if the store cannot tell.
    pub fn extents(
        &self,
        unit: UnitIndex,
        op: &BlockOp,
        result: Result<&[Extent], BlockFault>,
    ) -> Response {
        let extents = match result {
            Err(BlockFault::Unsupported) => Ok(Default::default()),
            other => other,
        };
        match (op, extents) {
            (
                BlockOp::Extents {
                    range,
                    allocation_length,
                    ..
                },
                Ok(extents),
            ) => lba_status::report(*range, extents, *allocation_length),
            (op, extents) => self.complete(unit, op, extents.map(|_| ())),
        }
    }

    /// The logical unit of a planned command.
    ///
    /// # Panics
    /// If the index came from another channel.
    pub fn unit(&self, index: UnitIndex) -> &Arc<LogicalUnit> {
        &self.units[index.0 as usize]
    }

    /// The logical unit at an address, for task management.
    pub fn unit_at(&mut self, lun: [u8; 8]) -> Option<UnitIndex> {
        self.renew();
        match Lun::decode(lun) {
            Lun::Unit(number) => find(&self.slots, number).map(|slot| slot.unit),
            Lun::ReportLuns | Lun::Unknown => None,
        }
    }

    /// The logical unit with a number. Namespaces are counted from one: namespace n is number n - 1.
    #[inline]
    pub fn unit_numbered(&mut self, number: u32) -> Option<UnitIndex> {
        self.renew();
        find(&self.slots, number).map(|slot| slot.unit)
    }

    /// Whether reservations let the session do this to the logical unit with a number; none if there is no such unit.
    #[inline]
    pub(crate) fn allows(&mut self, number: u32, access: Access) -> Option<bool> {
        self.renew();
        find(&self.slots, number).map(|slot| slot.nexus.allows(access))
    }

    /// The session's places at the tables of all logical units, with their numbers.
    pub(crate) fn seats(&mut self) -> impl Iterator<Item = (u32, &Seat)> {
        self.renew();
        self.slots
            .iter()
            .map(|slot| (slot.number, &**slot.nexus.seat()))
    }

    /// Ends a change of reservations that was planned here.
    #[cold]
    pub fn reserved(&self, unit: UnitIndex, result: Result<(), Refusal>) -> Response {
        reserve::complete(self.unit(unit), result)
    }

    /// All logical units with their numbers, in ascending order.
    pub fn units(&mut self) -> impl Iterator<Item = (u32, UnitIndex)> {
        self.renew();
        self.slots.iter().map(|slot| (slot.number, slot.unit))
    }

    /// Resets every logical unit of the session, and names them (TARGET RESET; SAM-5 7).
    pub fn reset_all(&mut self) -> Vec<UnitId> {
        self.session.reset_all(ResetKind::TargetWarm)
    }

    /// The session that the channel belongs to.
    pub fn session(&self) -> &Arc<ScsiSession> {
        &self.session
    }

    /// Takes over the session's LUN map if it has changed.
    #[inline]
    fn renew(&mut self) {
        if self.generation != self.session.generation() {
            self.refresh();
        }
    }

    #[cold]
    fn refresh(&mut self) {
        let (generation, nexuses) = self.session.snapshot();
        self.generation = generation;
        self.slots.clear();
        for (number, nexus) in nexuses {
            let known = self
                .units
                .iter()
                .position(|unit| Arc::ptr_eq(unit, &nexus.unit));
            let index = known.unwrap_or_else(|| {
                self.units.push(nexus.unit.clone());
                self.units.len() - 1
            });
            self.slots.push(Slot {
                number,
                unit: UnitIndex(index as u32),
                nexus,
            });
        }
    }
}

/// The entry for a logical unit number.
pub(crate) fn find(slots: &[Slot], number: u32) -> Option<&Slot> {
    // Most maps start at 0 without a gap.
    if let Some(slot) = slots
        .get(number as usize)
        .filter(|slot| slot.number == number)
    {
        return Some(slot);
    }
    let at = slots
        .binary_search_by_key(&number, |slot| slot.number)
        .ok()?;
    slots.get(at)
}
