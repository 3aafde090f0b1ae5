//! One connection of a session.

use std::collections::HashMap;
use std::sync::Arc;

use super::attention::Nexus;
use super::complete::complete;
use super::dispatch;
use super::lba_status;
use super::lun::Lun;
use super::plan::{Command, PendingParameters, Plan};
use super::reserve;
use super::response::Response;
use super::sense::codes;
use super::session::ScsiSession;
use super::unit::{LogicalUnit, ResetKind, UnitId};
use crate::block::{BlockFault, BlockOp, Extent};
use crate::reservations::Refusal;

/// Names a logical unit within one channel, until [`ScsiChannel::forget_unmapped`] is told that it is not in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UnitIndex(u32);

impl UnitIndex {
    /// A small number, for tables by unit. Another unit may have it once this one was forgotten.
    #[inline]
    pub fn number(self) -> usize {
        self.0 as usize
    }
}

/// One connection of a session, owned by one thread.
#[derive(Debug)]
pub struct ScsiChannel {
    session: Arc<ScsiSession>,
    map: LunMap,
    /// Every logical unit that is in the map, or was in it and was not forgotten yet: an index stays good while a command has it.
    units: Vec<Option<Arc<LogicalUnit>>>,
    /// There are some that are not in the map.
    unmapped: bool,
}

/// The LUN map of a session, as a channel has it.
#[derive(Debug, Default)]
pub(crate) struct LunMap {
    /// Of the session's map that it is a copy of.
    pub(crate) generation: u64,
    /// Sorted by number.
    pub(crate) slots: Vec<Slot>,
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
            map: LunMap::default(),
            units: Vec::new(),
            unmapped: false,
        };
        channel.refresh();
        channel
    }

    /// Plans a command. Planning a read or a write allocates nothing and takes no lock, unless the initiator has to be
    /// told something first.
    pub fn plan(&mut self, command: &Command<'_>) -> Plan {
        self.renew();
        dispatch::plan(&self.session, &self.map, command)
    }

    /// Plans a command that had to wait, and that came for this unit. If its LUN stands for another one by now, it was not meant for
    /// that: LOGICAL UNIT NOT SUPPORTED.
    pub fn plan_for(&mut self, unit: UnitId, command: &Command<'_>) -> Plan {
        self.renew();
        if let Lun::Unit(number) = Lun::decode(command.lun)
            && let Some(slot) = self.map.find(number)
            && slot.nexus.unit.id() != unit
        {
            let sense = codes::LUN_NOT_SUPPORTED;
            return Plan::Respond(Response::check_condition(sense));
        }
        dispatch::plan(&self.session, &self.map, command)
    }

    /// Goes on with a command whose parameter data have arrived. It is for the unit that its LUN stood for when it was planned, whatever
    /// it stands for now; units that its parameters name have to be in the LUN map as it is now.
    pub fn parameters(&mut self, pending: PendingParameters, data: &[u8]) -> Plan {
        self.renew();
        dispatch::parameters(&self.session, &self.map, pending, data)
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
    /// If the index came from another channel, or was forgotten.
    pub fn unit(&self, index: UnitIndex) -> &Arc<LogicalUnit> {
        match &self.units[index.0 as usize] {
            Some(unit) => unit,
            None => forgotten(index),
        }
    }

    /// The logical unit at an address, for task management.
    pub fn unit_at(&mut self, lun: [u8; 8]) -> Option<UnitIndex> {
        self.renew();
        match Lun::decode(lun) {
            Lun::Unit(number) => self.map.find(number).map(|slot| slot.unit),
            Lun::ReportLuns | Lun::Unknown => None,
        }
    }

    /// The logical unit with a number. Namespaces are counted from one: namespace n is number n - 1.
    #[inline]
    pub fn unit_numbered(&mut self, number: u32) -> Option<UnitIndex> {
        self.slot(number).map(|slot| slot.unit)
    }

    /// What a number stands for now. Who asks twice may get two answers.
    #[inline]
    pub(crate) fn slot(&mut self, number: u32) -> Option<&Slot> {
        self.renew();
        self.map.find(number)
    }

    /// The LUN map as it is now, in ascending order.
    pub(crate) fn slots(&mut self) -> &[Slot] {
        self.renew();
        &self.map.slots
    }

    /// Forgets units that are not in the LUN map any more, but for those that are in use, of which it is asked. A unit is in use as long as a command has its
    /// index: in a [`BlockCommand`](super::BlockCommand) or a [`ReservationCommand`](super::ReservationCommand), or in what waits for
    /// its data. Returns whether none is left. Costs nothing as long as there is none.
    pub fn forget_unmapped(&mut self, mut in_use: impl FnMut(UnitIndex, UnitId) -> bool) -> bool {
        self.renew();
        if self.unmapped {
            let mapped = self.mapped();
            self.unmapped = false;
            for (index, (unit, mapped)) in self.units.iter_mut().zip(mapped).enumerate() {
                let Some(unmapped) = unit.as_ref().filter(|_| !mapped) else {
                    continue;
                };
                if in_use(UnitIndex(index as u32), unmapped.id()) {
                    self.unmapped = true;
                } else {
                    *unit = None;
                }
            }
        }
        !self.unmapped
    }

    /// Ends a change of reservations that was planned here.
    #[cold]
    pub fn reserved(&self, unit: UnitIndex, result: Result<(), Refusal>) -> Response {
        reserve::complete(self.unit(unit), result)
    }

    /// All logical units with their numbers, in ascending order.
    pub fn units(&mut self) -> impl Iterator<Item = (u32, UnitIndex)> {
        self.renew();
        self.map.slots.iter().map(|slot| (slot.number, slot.unit))
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
        if self.map.generation != self.session.generation() {
            self.refresh();
        }
    }

    #[cold]
    fn refresh(&mut self) {
        let (generation, nexuses) = self.session.snapshot();
        self.map.generation = generation;
        let mut known = HashMap::new();
        let mut free = Vec::new();
        for (index, unit) in self.units.iter().enumerate() {
            match unit {
                Some(unit) => drop(known.insert(Arc::as_ptr(unit), index)),
                None => free.push(index),
            }
        }
        self.map.slots.clear();
        for (number, nexus) in nexuses {
            let units = &mut self.units;
            let index = *known.entry(Arc::as_ptr(&nexus.unit)).or_insert_with(|| {
                let unit = Some(nexus.unit.clone());
                match free.pop().map(|index| (index, units.get_mut(index))) {
                    Some((index, Some(place))) => {
                        *place = unit;
                        index
                    }
                    _ => {
                        units.push(unit);
                        units.len() - 1
                    }
                }
            });
            self.map.slots.push(Slot {
                number,
                unit: UnitIndex(index as u32),
                nexus,
            });
        }
        let kept = self.units.iter().map(Option::is_some);
        self.unmapped = kept.ne(self.mapped());
    }

    /// For each of the units, whether it is in the map.
    fn mapped(&self) -> Vec<bool> {
        let mut mapped = vec![false; self.units.len()];
        for slot in &self.map.slots {
            if let Some(mapped) = mapped.get_mut(slot.unit.number()) {
                *mapped = true;
            }
        }
        mapped
    }
}

#[cold]
#[inline(never)]
fn forgotten(index: UnitIndex) -> ! {
    panic!("unit {} was forgotten while it was in use", index.0);
}

impl LunMap {
    /// The entry for a logical unit number.
    #[inline]
    pub(crate) fn find(&self, number: u32) -> Option<&Slot> {
        // Most maps start at 0 without a gap.
        if let Some(slot) = self
            .slots
            .get(number as usize)
            .filter(|slot| slot.number == number)
        {
            return Some(slot);
        }
        let at = self
            .slots
            .binary_search_by_key(&number, |slot| slot.number)
            .ok()?;
        self.slots.get(at)
    }
}
