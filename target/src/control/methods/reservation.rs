//! `reservation`: who keeps whom from a device.

use super::{Answer, CHANGE_ERRORS, Method, Run, no_device, shape, to_value};
use crate::control::params::{Kind, Param, Params};
use crate::control::reports::{ReservationList, ReservationsCleared};
use crate::control::rpc::{Code, RpcError};
use crate::control::{ClearError, Management};

pub(super) const METHODS: &[Method] = &[
    Method {
        name: "reservation.show",
        description: "reservations: type, holders, registrants with their keys",
        params: &[Param::optional(
            "name",
            Kind::String,
            "which device; all if not given",
        )],
        result: shape::<ReservationList>,
        errors: CHANGE_ERRORS,
        run: Run::Tell(show),
    },
    Method {
        name: "reservation.clear",
        description: "ends the reservation and all registrations of a device",
        params: &[
            Param::required("name", Kind::String, "which device"),
            Param::optional(
                "force",
                Kind::Boolean,
                "also if somebody who is registered is logged in",
            ),
        ],
        result: shape::<ReservationsCleared>,
        errors: CHANGE_ERRORS,
        run: Run::Do(clear),
    },
];

/// Those of one device are a list as well.
fn show(daemon: &dyn Management, params: &Params) -> Answer {
    let mut reservations = daemon.reservations();
    if params.has("name") {
        let name = params.text("name");
        reservations.retain(|report| report.name == name);
        if reservations.is_empty() {
            return Err(not_shown(daemon, name));
        }
    }
    to_value(&ReservationList { reservations })
}

/// Why there is nothing to show of a device.
fn not_shown(daemon: &dyn Management, name: &str) -> RpcError {
    let devices = daemon.devices();
    let Some(device) = devices.iter().find(|device| device.name == name) else {
        return no_device(daemon, name);
    };
    let why = (device.why.as_deref()).unwrap_or("it has come just now; try again");
    let message = format!(
        "device {name}: it is offline, and its reservations are shown when its store is there: {why}"
    );
    RpcError::new(Code::Refused, message)
}

fn clear(daemon: &dyn Management, params: &Params) -> Answer {
    let name = params.text("name");
    match daemon.clear_reservations(name, params.flag("force")) {
        Ok(report) => to_value(&report),
        Err(ClearError::NoDevice) => Err(no_device(daemon, name)),
        Err(error) => {
            let message = format!("device {name}: {error}");
            Err(RpcError::new(Code::Refused, message))
        }
    }
}
