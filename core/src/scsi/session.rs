//! A session: one I_T nexus.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::attention::{Departed, Nexus};
use super::channel::ScsiChannel;
use super::copy::CopyNotes;
use super::lun::Lun;
use super::mapping::{LunChanges, Mapping};
use super::port::TargetPort;
use super::unit::{ResetKind, UnitId};
use crate::reservations::Registrant;

/// One initiator port logged in to one target port, with the logical units that it sees.
///
/// Its channels, on whichever threads, keep their own copy of the LUN map and notice by a counter that it is old.
#[derive(Debug)]
pub struct ScsiSession {
    port: TargetPort,
    registrant: Option<Registrant>,
    map: Mutex<Map>,
    generation: AtomicU64,
    copies: CopyNotes,
}

/// Sorted by logical unit number.
pub(crate) type Nexuses = Vec<(u32, Arc<Nexus>)>;

/// A LUN map as it is, and what the initiator still knows of how it was.
#[derive(Debug, Default)]
struct Map {
    nexuses: Nexuses,
    /// By numbers that stand for nothing now.
    departed: BTreeMap<u32, Departed>,
}

impl ScsiSession {
    /// Creates a session that sees these logical units by these numbers. Numbers from [`Lun::LIMIT`] on cannot be
    /// addressed and are left out. `registrant` is whom its persistent reservations belong to; without one it has none.
    pub fn new(
        port: TargetPort,
        registrant: Option<Registrant>,
        luns: &BTreeMap<u32, Mapping>,
    ) -> Arc<Self> {
        let nexus = |mapping| Nexus::new(mapping, registrant.clone(), 0);
        let nexuses = luns
            .range(..Lun::LIMIT)
            .map(|(number, mapping)| (*number, Arc::new(nexus(mapping))))
            .collect();
        let map = Map {
            nexuses,
            departed: BTreeMap::new(),
        };
        Arc::new(Self {
            port,
            registrant,
            map: Mutex::new(map),
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
        for (_, nexus) in self.lock().nexuses.iter() {
            nexus.unit.reservations().leave(nexus.seat());
        }
    }

    /// Tells the initiator that all it knows of its logical units may have been lost (29h/00h).
    ///
    /// A new session does not start with that: Linux logs a warning for each disk that says so.
    pub fn power_on(&self) {
        self.lock()
            .nexuses
            .iter()
            .for_each(|(_, nexus)| nexus.power_on());
    }

    /// Resets every logical unit that the session sees, as TARGET WARM RESET and TARGET COLD RESET do (RFC 7143 11.5.1).
    /// Everybody who sees one of them is told. Names the units: aborting their commands is up to the caller.
    pub fn reset_all(&self, kind: ResetKind) -> Vec<UnitId> {
        let mut reset = Vec::new();
        for (_, nexus) in self.lock().nexuses.iter() {
            // A unit may have several numbers.
            let id = nexus.unit.id();
            if !reset.contains(&id) {
                nexus.unit.reset_as(kind);
                reset.push(id);
            }
        }
        reset
    }

    /// Changes the LUN map. Logical units that keep their number keep their state: commands, reservations, mode parameters.
    ///
    /// Commands that were planned before run to their ends. What the session had reserved by SCSI-2's RESERVE on units that it
    /// does not see any more is free at once; its registrations stay.
    ///
    /// If anything was added or removed, the initiator is told at every number that was mapped before and is mapped still (3Fh/0Eh).
    /// It learns of the others by looking, and would only be told the same again. Where another unit has taken a number, be it after a
    /// while, it is told that as well (3Fh/03h); and where only the write protection is another one, just that (2Ah/01h).
    pub fn set_luns(&self, luns: &BTreeMap<u32, Mapping>) -> LunChanges {
        let mut map = self.lock();
        let generation = self.generation() + 1;
        let mut changes = LunChanges::default();
        let mut next = Nexuses::with_capacity(luns.len());
        for (number, mapping) in luns.range(..Lun::LIMIT) {
            let before = find(&map.nexuses, *number);
            let nexus = match before {
                Some(nexus) if Arc::ptr_eq(&nexus.unit, &mapping.unit) => nexus.clone(),
                _ => {
                    changes.added.push(*number);
                    let nexus = Nexus::new(mapping, self.registrant.clone(), generation);
                    if let Some(before) = before {
                        nexus.took_number(before);
                    } else if let Some(departed) = map.departed.remove(number) {
                        nexus.took_number_of(&departed);
                    }
                    Arc::new(nexus)
                }
            };
            next.push((*number, nexus));
        }
        let before = std::mem::replace(&mut map.nexuses, next);
        let gone = |(number, nexus): &&(u32, Arc<Nexus>)| {
            find(&map.nexuses, *number).is_none_or(|now| !Arc::ptr_eq(now, nexus))
        };
        let gone: Nexuses = before.iter().filter(gone).cloned().collect();
        changes.removed = gone.iter().map(|(number, _)| *number).collect();
        let seen = |id: &UnitId| map.nexuses.iter().any(|(_, now)| now.unit.id() == *id);
        let ids = gone.iter().map(|(_, nexus)| nexus.unit.id());
        changes.lost = ids.filter(|id| !seen(id)).collect();
        changes.lost.sort_unstable();
        changes.lost.dedup();

        // First the map: who is told that it has changed is to find it so. Channels wait for the lock to see it.
        if !changes.is_empty() {
            self.generation.store(generation, Ordering::Release);
            for (number, _) in &before {
                if let Some(now) = find(&map.nexuses, *number) {
                    now.luns_changed(generation);
                }
            }
        }
        for (number, nexus) in &map.nexuses {
            if let Some(mapping) = luns.get(number) {
                nexus.set_read_only(mapping.read_only);
            }
        }
        for (number, nexus) in gone {
            nexus.unit.reservations().retire(nexus.seat());
            if find(&map.nexuses, number).is_none() {
                map.departed.insert(number, nexus.departed());
            }
        }
        changes
    }

    /// What is known of its EXTENDED COPY commands.
    pub(crate) fn copies(&self) -> &CopyNotes {
        &self.copies
    }

    /// Grows whenever the LUN map changes; 0 at first.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The LUN map, with the generation that it belongs to.
    pub(crate) fn snapshot(&self) -> (u64, Nexuses) {
        let map = self.lock();
        (self.generation(), map.nexuses.clone())
    }

    /// The map is replaced whole, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, Map> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a number stands for.
fn find(nexuses: &Nexuses, number: u32) -> Option<&Arc<Nexus>> {
    let at = nexuses.binary_search_by_key(&number, |(number, _)| *number);
    at.ok()
        .and_then(|at| nexuses.get(at))
        .map(|(_, nexus)| nexus)
}
