//! Features of reservations: Reservation Notification Mask and Reservation Persistence (NVMe base 2.0 sections 5.27.1.26 and
//! 5.27.1.27). Both are of a namespace.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Weak};

use super::notices::code;
use super::{can_reserve, host, reservable};
use crate::nvme::command::Command;
use crate::nvme::controller::Controller;
use crate::nvme::plan::{Completion, Plan, Planned};
use crate::nvme::status::Status;
use crate::reservations::{Access, Action, Change, Notice};
use crate::scsi::{Nexus, ReservationCommand, ScsiChannel, Slot};

/// All namespaces.
const ALL: u32 = u32::MAX;
/// REGPRE, RESREL and RESPRE: the bits with the numbers of the types of log pages.
const MASKS: u32 = 1 << 1 | 1 << 2 | 1 << 3;
/// PTPL.
const PERSIST: u32 = 1;

/// What a host does not want to hear of, for each namespace. It is the controller's own: other controllers of the host have theirs.
///
/// A mask goes with its namespace: one that comes later, with the same number or as the same device, has none.
#[derive(Debug, Default)]
pub(crate) struct Masks(BTreeMap<u32, (Weak<Nexus>, u32)>);

impl Masks {
    /// The mask of the namespace that Get Features is about.
    pub(crate) fn get(&self, command: &Command, units: &mut ScsiChannel) -> Result<u32, Status> {
        Ok(self.of(find(command.nsid, units)?))
    }

    /// Whether a notice is masked.
    pub(super) fn hides(&self, namespace: &Slot, notice: Notice) -> bool {
        self.of(namespace) & 1 << code(notice) != 0
    }

    fn of(&self, namespace: &Slot) -> u32 {
        match self.0.get(&namespace.number) {
            Some((nexus, mask)) if is(nexus, &namespace.nexus) => *mask,
            Some(_) | None => 0,
        }
    }

    fn set(&mut self, namespace: &Slot, mask: u32) {
        let nexus = Arc::downgrade(&namespace.nexus);
        self.0.insert(namespace.number, (nexus, mask));
    }
}

/// Whether a namespace is the one that was noted.
pub(super) fn is(noted: &Weak<Nexus>, nexus: &Arc<Nexus>) -> bool {
    std::ptr::eq(noted.as_ptr(), Arc::as_ptr(nexus))
}

/// Set Features, Reservation Notification Mask.
pub(crate) fn set_mask(
    controller: &Controller,
    command: &Command,
    units: &mut ScsiChannel,
) -> Planned {
    let mask = command.cdw::<11>();
    if mask & !MASKS != 0 {
        return Err(Status::INVALID_FIELD);
    }
    let namespaces = addressed(command, units)?;
    let mut state = controller.lock();
    let masks = &mut state.features.reservation_masks;
    // What is gone would only take up room.
    masks.0.retain(|_, (nexus, _)| nexus.strong_count() != 0);
    namespaces.iter().for_each(|slot| masks.set(slot, mask));
    Ok(Completion::SUCCESS.into())
}

/// Get Features, Reservation Persistence: as it is now.
pub(crate) fn persistence(command: &Command, units: &mut ScsiChannel) -> Result<bool, Status> {
    Ok(is_persistent(find(command.nsid, units)?))
}

/// Set Features, Reservation Persistence.
///
/// A change is made durable for one namespace at a time. For all namespaces at once it works as long as no more than one of them is
/// not so already.
pub(crate) fn set_persistence(command: &Command, units: &mut ScsiChannel) -> Planned {
    let value = command.cdw::<11>();
    if value & !PERSIST != 0 {
        return Err(Status::INVALID_FIELD);
    }
    let persist = value & PERSIST != 0;
    let registrant = units.session().registrant().cloned();
    let mut namespaces = addressed(command, units)?;
    // It is seldom asked for by itself, so that whoever has all to himself by SCSI-2's RESERVE is asked here.
    if !(namespaces.iter()).all(|slot| slot.nexus.allows(Access::Informs)) {
        return Err(Status::RESERVATION_CONFLICT);
    }
    if command.nsid == ALL {
        namespaces.retain(|slot| is_persistent(slot) != persist);
        // One that has two numbers is still one.
        let mut seen = HashSet::new();
        namespaces.retain(|slot| seen.insert(slot.unit));
    }
    match namespaces[..] {
        [] => Ok(Completion::SUCCESS.into()),
        [namespace] => Ok(Plan::Reserve(ReservationCommand {
            unit: namespace.unit,
            change: Box::new(Change {
                by: host(registrant.as_ref())?,
                action: Action::Persist(persist),
            }),
        })),
        _ => Err(Status::INVALID_FIELD),
    }
}

fn is_persistent(namespace: &Slot) -> bool {
    namespace.nexus.unit.reservations().table().persistent()
}

/// The namespaces that Set Features is about.
fn addressed<'a>(command: &Command, units: &'a mut ScsiChannel) -> Result<Vec<&'a Slot>, Status> {
    if command.nsid == ALL {
        return Ok(reservable(units).collect());
    }
    Ok(vec![find(command.nsid, units)?])
}

/// The namespace that a feature is about. To get it for all of them is an invalid field, and for one that cannot be reserved.
fn find(nsid: u32, units: &mut ScsiChannel) -> Result<&Slot, Status> {
    if nsid == ALL {
        return Err(Status::INVALID_FIELD);
    }
    let slot = nsid
        .checked_sub(1)
        .and_then(|number| units.slot(number))
        .ok_or(Status::INVALID_NAMESPACE)?;
    if !can_reserve(&slot.nexus.unit) {
        return Err(Status::INVALID_FIELD);
    }
    Ok(slot)
}
