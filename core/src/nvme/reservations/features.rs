//! Features of reservations: Reservation Notification Mask and Reservation Persistence (NVMe base 2.0 sections 5.27.1.26 and
//! 5.27.1.27). Both are of a namespace.

use std::collections::{BTreeMap, HashSet};

use super::notices::code;
use super::{can_reserve, host, reservable};
use crate::nvme::command::Command;
use crate::nvme::controller::Controller;
use crate::nvme::plan::{Completion, Plan, Planned};
use crate::nvme::status::Status;
use crate::reservations::{Access, Action, Change, Notice};
use crate::scsi::{ReservationCommand, ScsiChannel, UnitIndex};

/// All namespaces.
const ALL: u32 = u32::MAX;
/// REGPRE, RESREL and RESPRE: the bits with the numbers of the types of log pages.
const MASKS: u32 = 1 << 1 | 1 << 2 | 1 << 3;
/// PTPL.
const PERSIST: u32 = 1;

/// What a host does not want to hear of, for each namespace. It is the controller's own: other controllers of the host have theirs.
#[derive(Debug, Default)]
pub(crate) struct Masks(BTreeMap<u32, u32>);

impl Masks {
    /// The mask of the namespace that Get Features is about.
    pub(crate) fn get(&self, command: &Command, units: &mut ScsiChannel) -> Result<u32, Status> {
        find(command.nsid, units)?;
        Ok(self.of(command.nsid))
    }

    /// Whether a notice is masked.
    pub(super) fn hides(&self, namespace: u32, notice: Notice) -> bool {
        self.of(namespace) & 1 << code(notice) != 0
    }

    fn of(&self, namespace: u32) -> u32 {
        self.0.get(&namespace).copied().unwrap_or(0)
    }
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
    let masks = &mut state.features.reservation_masks.0;
    masks.extend(namespaces.iter().map(|(namespace, _)| (*namespace, mask)));
    Ok(Completion::SUCCESS.into())
}

/// Get Features, Reservation Persistence: as it is now.
pub(crate) fn persistence(command: &Command, units: &mut ScsiChannel) -> Result<bool, Status> {
    let index = find(command.nsid, units)?;
    Ok(units.unit(index).reservations().table().persistent())
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
    let mut namespaces = addressed(command, units)?;
    // It is seldom asked for by itself, so that whoever has all to himself by SCSI-2's RESERVE is asked here.
    for (namespace, _) in &namespaces {
        if units.allows(namespace - 1, Access::Informs) == Some(false) {
            return Err(Status::RESERVATION_CONFLICT);
        }
    }
    if command.nsid == ALL {
        let differs = |index| units.unit(index).reservations().table().persistent() != persist;
        namespaces.retain(|(_, index)| differs(*index));
        // One that has two numbers is still one.
        let mut seen = HashSet::new();
        namespaces.retain(|(_, index)| seen.insert(*index));
    }
    match namespaces[..] {
        [] => Ok(Completion::SUCCESS.into()),
        [(_, unit)] => Ok(Plan::Reserve(ReservationCommand {
            unit,
            change: Box::new(Change {
                by: host(units)?,
                action: Action::Persist(persist),
            }),
        })),
        _ => Err(Status::INVALID_FIELD),
    }
}

/// The namespaces that Set Features is about.
fn addressed(command: &Command, units: &mut ScsiChannel) -> Result<Vec<(u32, UnitIndex)>, Status> {
    if command.nsid == ALL {
        return Ok(reservable(units));
    }
    Ok(vec![(command.nsid, find(command.nsid, units)?)])
}

/// The namespace that a feature is about. To get it for all of them is an invalid field, and for one that cannot be reserved.
fn find(nsid: u32, units: &mut ScsiChannel) -> Result<UnitIndex, Status> {
    if nsid == ALL {
        return Err(Status::INVALID_FIELD);
    }
    let index = nsid
        .checked_sub(1)
        .and_then(|number| units.unit_numbered(number))
        .ok_or(Status::INVALID_NAMESPACE)?;
    if !can_reserve(units.unit(index)) {
        return Err(Status::INVALID_FIELD);
    }
    Ok(index)
}
