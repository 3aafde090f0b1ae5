//! `reservation`: who keeps whom from a device.

use super::{Answer, CHANGE_ERRORS, Method, Run, no_device, not_found, shape, to_value};
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
        errors: &[Code::NotFound],
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
        let known: Vec<String> = reservations.iter().map(|r| r.name.clone()).collect();
        reservations.retain(|report| report.name == name);
        if reservations.is_empty() {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            return Err(not_found("device", name, &known));
        }
    }
    to_value(&ReservationList { reservations })
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
