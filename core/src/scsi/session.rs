//! A session: one I_T nexus.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::attention::Nexus;
use super::channel::ScsiChannel;
use super::copy::CopyNotes;
use super::lun::Lun;
use super::port::TargetPort;
use super::unit::{LogicalUnit, ResetKind, UnitId};
use crate::reservations::Registrant;

/// One initiator port logged in to one target port, with the logical units that it sees.
///
/// Its channels, on whichever threads, keep their own copy of the LUN map and notice by a counter that it is old.
#[derive(Debug)]
pub struct ScsiSession {
    port: TargetPort,
    registrant: Option<Registrant>,
    nexuses: Mutex<Nexuses>,
    generation: AtomicU64,
    copies: CopyNotes,
}

/// Sorted by logical unit number.
pub(crate) type Nexuses = Vec<(u32, Arc<Nexus>)>;

impl ScsiSession {
    /// Creates a session that sees these logical units by these numbers. Numbers from [`Lun::LIMIT`] on cannot be
    /// addressed and are left out. `registrant` is whom its persistent reservations belong to; without one it has none.
    pub fn new(
        port: TargetPort,
        registrant: Option<Registrant>,
        luns: &BTreeMap<u32, Arc<LogicalUnit>>,
    ) -> Arc<Self> {
        let nexus = |unit: &Arc<LogicalUnit>| Nexus::new(unit.clone(), registrant.clone());
        let nexuses = luns
            .range(..Lun::LIMIT)
            .map(|(number, unit)| (*number, Arc::new(nexus(unit))))
            .collect();
        Arc::new(Self {
            port,
            registrant,
            nexuses: Mutex::new(nexuses),
            generation: AtomicU64::new(0),
            copies: CopyNotes::default(),
        })
    }

    /// A connection of this session, for the thread that will own it.
    pub fn channel(self: &Arc<Self>) -> ScsiChannel {
        ScsiChannel::new(self.clone())
    }

    /// Whom its persistent reservations belong to.
    pub fn registrant(&self) -> Option<&Registrant> {
        self.registrant.as_ref()
    }

    /// The target port.
    pub fn port(&self) -> &TargetPort {
        &self.port
    }

    /// The initiator is gone for good, and nothing of its commands is left: what it has reserved by SCSI-2's RESERVE is free at once,
    /// whoever still looks at the session (SPC-2 section 5.5.1).
    pub fn end(&self) {
        for (_, nexus) in self.lock().iter() {
            nexus.unit.reservations().leave(nexus.seat());
        }
    }

    /// Tells the initiator that all it knows of its logical units may have been lost (29h/00h).
    ///
    /// A new session does not start with that: Linux logs a warning for each disk that says so.
    pub fn power_on(&self) {
        self.lock().iter().for_each(|(_, nexus)| nexus.power_on());
    }

    /// Resets every logical unit that the session sees, as TARGET WARM RESET and TARGET COLD RESET do (RFC 7143 11.5.1).
    /// Everybody who sees one of them is told. Names the units: aborting their commands is up to the caller.
    pub fn reset_all(&self, kind: ResetKind) -> Vec<UnitId> {
        let mut reset = Vec::new();
        for (_, nexus) in self.lock().iter() {
            // A unit may have several numbers.
            let id = nexus.unit.id();
            if !reset.contains(&id) {
                nexus.unit.reset_as(kind);
                reset.push(id);
            }
        }
        reset
    }

    /// Changes the LUN map. Logical units that keep their number keep their state.
    ///
    /// The initiator is told at every number that was mapped before. It learns of the others by looking, and would only
    /// be told the same again.
    ///
    /// Commands that were planned before may still be in flight.
    pub fn set_luns(&self, luns: &BTreeMap<u32, Arc<LogicalUnit>>) {
        let mut nexuses = self.lock();
        let mut next = Nexuses::with_capacity(luns.len());
        let mut kept = 0;
        let mut told = Vec::new();
        for (number, unit) in luns.range(..Lun::LIMIT) {
            let before = nexuses
                .binary_search_by_key(number, |(number, _)| *number)
                .ok();
            let same = before
                .and_then(|at| nexuses.get(at))
                .filter(|(_, nexus)| Arc::ptr_eq(&nexus.unit, unit));
            let nexus = match same {
                Some((_, nexus)) => {
                    kept += 1;
                    nexus.clone()
                }
                None => Arc::new(Nexus::new(unit.clone(), self.registrant.clone())),
            };
            told.extend(before.map(|_| nexus.clone()));
            next.push((*number, nexus));
        }
        if kept == next.len() && kept == nexuses.len() {
            return;
        }
        told.iter().for_each(|nexus| nexus.luns_changed());
        *nexuses = next;
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// What is known of its EXTENDED COPY commands.
    pub(crate) fn copies(&self) -> &CopyNotes {
        &self.copies
    }

    /// Changes whenever the LUN map does.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The LUN map, with the generation that it belongs to.
    pub(crate) fn snapshot(&self) -> (u64, Nexuses) {
        let nexuses = self.lock();
        (self.generation(), nexuses.clone())
    }

    /// The map is replaced whole, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, Nexuses> {
        self.nexuses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
