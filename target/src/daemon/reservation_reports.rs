//! What the control socket shows of reservations, and does to them.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::SeqCst;

use pagecast_core::reservations::{Registrant, Table};

use super::Shared;
use crate::control::ClearError;
use crate::control::reports::{
    DeviceReservations, RegistrantReport, ReservationReport, ReservationsCleared,
};
use crate::device::Device;
use crate::device::reservations::names::{InitiatorName, Key, protocol, type_name};

impl Shared {
    pub(super) fn reservation_reports(&self) -> Vec<ReservationReport> {
        (self.inventory().devices.iter())
            .map(|device| report(device))
            .collect()
    }

    pub(super) fn wipe_reservations(
        &self,
        name: &str,
        force: bool,
    ) -> Result<ReservationsCleared, ClearError> {
        // Not all of them, for as long as it takes.
        let missing = |why: Option<_>| why.map_or(ClearError::NoDevice, ClearError::Offline);
        let device = self.served(name).map_err(missing)?;
        if self.stopping.load(SeqCst) {
            return Err(ClearError::Stopping);
        }
        let table = device.unit.reservations().table();
        if !force {
            let live = device.unit.reservations().live();
            let mut in_use = live
                .iter()
                .filter(|one| table.registrations().contains_key(one));
            if let Some(one) = in_use.next() {
                return Err(ClearError::InUse {
                    one: InitiatorName(one).to_string(),
                    more: in_use.count(),
                });
            }
        }
        self.changer
            .wipe(&device)
            .map_err(|error| ClearError::Failed(error.to_string()))?;
        Ok(ReservationsCleared {
            name: device.name.clone(),
            kind: kind(&table),
            registrants: table.registrations().len(),
        })
    }
}

/// In a few words.
pub(super) fn summary(device: &Device) -> DeviceReservations {
    let table = device.unit.reservations().table();
    DeviceReservations {
        enabled: device.config.reservations,
        kind: kind(&table),
        registrants: table.registrations().len(),
    }
}

fn kind(table: &Table) -> Option<String> {
    table
        .holder()
        .map(|holder| type_name(holder.kind).to_owned())
}

fn report(device: &Device) -> ReservationReport {
    let reservations = device.unit.reservations();
    let table = reservations.table();
    let live: BTreeSet<Registrant> = reservations.live().into_iter().collect();
    let registrants = table.registrations().iter();
    let held_by_all = table
        .holder()
        .is_some_and(|holder| holder.kind.is_held_by_all());
    let holders = registrants
        .clone()
        .filter(|(registrant, _)| !held_by_all && table.is_holder(registrant))
        .map(|(registrant, _)| InitiatorName(registrant).to_string());
    ReservationReport {
        name: device.name.clone(),
        enabled: device.config.reservations,
        kind: kind(&table),
        held_by_all,
        holders: holders.collect(),
        generation: table.generation(),
        persistent: table.persistent(),
        registrants_max: device.unit.model().limits.max_registrants,
        registrants: registrants
            .map(|(registrant, key)| {
                let (target, target_port) = match registrant {
                    Registrant::Scsi { target, port, .. } => {
                        (Some(target.to_string()), Some(*port))
                    }
                    Registrant::Nvme { .. } => (None, None),
                };
                RegistrantReport {
                    key: Key(*key).to_string(),
                    protocol: protocol(registrant).to_owned(),
                    initiator: InitiatorName(registrant).to_string(),
                    target,
                    target_port,
                    holder: table.is_holder(registrant),
                    live: live.contains(registrant),
                }
            })
            .collect(),
    }
}
