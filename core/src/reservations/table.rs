//! The table of a device (SPC-4 section 5.13).

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;

use super::access::{self, Access, Verdict};
use super::kind::ReservationType;
use super::registrant::Registrant;
use super::request::Notice;

/// Registrations and the reservation of a device. Replaced whole by every change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Shared with the tables before and after it that have the same.
    pub(super) registrations: Arc<BTreeMap<Registrant, u64>>,
    pub(super) holder: Option<Holder>,
    pub(super) generation: u32,
    pub(super) persistent: bool,
    /// Registrations that there may be.
    pub(super) limit: usize,
}

/// A reservation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its type.
    pub kind: ReservationType,
    /// Who holds it; none if all registrants do.
    pub registrant: Option<Registrant>,
}

/// A change that was made to a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The table that is to be.
    pub table: Table,
    /// Who has to be told what; one thing each, and never who asks.
    pub notices: Vec<(Registrant, Notice)>,
    /// Whose commands are to be aborted, in order. Who asks is among them only if it has given up its own registration.
    pub aborted: Vec<Registrant>,
}

/// A table that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RestoreError {
    /// Key zero stands for none.
    #[error("a registrant has the key zero")]
    ZeroKey,
    /// Only registrants hold.
    #[error("the holder of the reservation is not registered")]
    Holder,
    /// More than there may be.
    #[error("{0} registrants, and there may be {1}")]
    TooMany(usize, usize),
}

impl Table {
    /// An empty table with room for so many registrations.
    pub fn new(limit: usize) -> Self {
        Self {
            registrations: Arc::default(),
            holder: None,
            generation: 0,
            persistent: false,
            limit,
        }
    }

    /// A table as it was saved, after a loss of power: the generation starts at zero again (SPC-4, PRGENERATION).
    pub fn restore(
        limit: usize,
        registrations: BTreeMap<Registrant, u64>,
        holder: Option<Holder>,
    ) -> Result<Self, RestoreError> {
        if registrations.len() > limit {
            return Err(RestoreError::TooMany(registrations.len(), limit));
        }
        if registrations.values().any(|key| *key == 0) {
            return Err(RestoreError::ZeroKey);
        }
        let held_by_nobody = |holder: &Holder| match &holder.registrant {
            Some(registrant) => {
                holder.kind.is_held_by_all() || !registrations.contains_key(registrant)
            }
            None => !holder.kind.is_held_by_all() || registrations.is_empty(),
        };
        if holder.as_ref().is_some_and(held_by_nobody) {
            return Err(RestoreError::Holder);
        }
        Ok(Self {
            registrations: Arc::new(registrations),
            holder,
            generation: 0,
            persistent: true,
            limit,
        })
    }

    /// Who is registered, with which key.
    pub fn registrations(&self) -> &BTreeMap<Registrant, u64> {
        &self.registrations
    }

    /// The reservation, if there is one.
    pub fn holder(&self) -> Option<&Holder> {
        self.holder.as_ref()
    }

    /// Registrations that there is room for yet.
    pub fn room(&self) -> usize {
        self.limit.saturating_sub(self.registrations.len())
    }

    /// How often it has changed: PRGENERATION of SCSI, GEN of NVMe.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Whether it outlives a loss of power: APTPL of SCSI, PTPL of NVMe.
    pub fn persistent(&self) -> bool {
        self.persistent
    }

    /// Whether somebody holds the reservation.
    pub fn is_holder(&self, registrant: &Registrant) -> bool {
        self.holder
            .as_ref()
            .is_some_and(|holder| match &holder.registrant {
                Some(one) => one == registrant,
                None => self.registrations.contains_key(registrant),
            })
    }

    /// Whether a preemption of a key takes the reservation over: it is the holder's, or zero where all registrants hold (SPC-4 table
    /// 72 and figure 9).
    pub(crate) fn is_held_by_key(&self, victim: u64) -> bool {
        self.holder
            .as_ref()
            .is_some_and(|holder| match &holder.registrant {
                Some(holder) => self.registrations.get(holder) == Some(&victim),
                None => victim == 0,
            })
    }

    /// What the commands of a nexus may do.
    pub fn verdict(&self, registrant: Option<&Registrant>) -> Verdict {
        let Some(holder) = &self.holder else {
            return Access::EVERYTHING;
        };
        if registrant.is_some_and(|registrant| self.is_holder(registrant)) {
            return Access::EVERYTHING;
        }
        let registered =
            registrant.is_some_and(|registrant| self.registrations.contains_key(registrant));
        access::under(holder.kind, registered)
    }

    /// Whether there is more to save than of the one before it. The generation is nothing that outlives a loss of power.
    pub(super) fn differs_when_saved(&self, before: &Self) -> bool {
        let saves = self.persistent || before.persistent;
        saves
            && (self.persistent != before.persistent
                || self.holder != before.holder
                || self.registrations != before.registrations)
    }
}
