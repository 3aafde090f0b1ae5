//! Hosts that share a disk, for tests of reservations.

use std::sync::Arc;

use super::super::testing::*;
use super::super::*;
use crate::reservations::{Change, InitiatorPort, Registrant, ReservationType};

pub(super) const TARGET: &str = "iqn.2026-11.org.example:disk";

/// The types by their codes.
pub(super) const TYPES: [(u8, ReservationType); 6] = [
    (1, ReservationType::WriteExclusive),
    (3, ReservationType::ExclusiveAccess),
    (5, ReservationType::WriteExclusiveRegistrantsOnly),
    (6, ReservationType::ExclusiveAccessRegistrantsOnly),
    (7, ReservationType::WriteExclusiveAllRegistrants),
    (8, ReservationType::ExclusiveAccessAllRegistrants),
];

/// An SRP initiator port, by the last byte of its identifier.
pub(super) fn srp(number: u8) -> Registrant {
    let mut identifier = [0; 16];
    identifier[15] = number;
    Registrant::Scsi {
        initiator: InitiatorPort::Srp(identifier),
        target: TARGET.into(),
        port: 1,
    }
}

/// An iSCSI initiator port, by the last byte of its ISID.
pub(super) fn iscsi(name: &str, number: u8) -> Registrant {
    Registrant::Scsi {
        initiator: InitiatorPort::Iscsi {
            name: name.into(),
            isid: [0x00, 0x02, 0x3d, 0, 0, number],
        },
        target: TARGET.into(),
        port: 2,
    }
}

pub(super) fn nvme(number: u8) -> Registrant {
    Registrant::Nvme { host: [number; 16] }
}

/// A disk that is seen through ports of both transports.
pub(super) fn disk() -> Arc<LogicalUnit> {
    disk_of(DiskModel {
        ports: vec![1, 2],
        ..thin_model()
    })
}

pub(super) fn disk_of(model: DiskModel) -> Arc<LogicalUnit> {
    Arc::new(unit_of(model))
}

/// A host that sees the disk as LUN 0.
pub(super) fn host(unit: &Arc<LogicalUnit>, registrant: &Registrant) -> ScsiChannel {
    let port = match registrant {
        Registrant::Scsi {
            initiator: InitiatorPort::Iscsi { .. },
            ..
        } => TargetPort {
            relative_identifier: 2,
            name: PortName::Iscsi {
                target: TARGET.into(),
                portal_group: 1,
            },
            ..port()
        },
        _ => port(),
    };
    ScsiSession::new(port, Some(registrant.clone()), &luns(&[(0, unit)])).channel()
}

/// PERSISTENT RESERVE OUT.
pub(super) fn out_cdb(action: u8, scope_and_type: u8, length: usize) -> Vec<u8> {
    let mut cdb = vec![0x5f, action, scope_and_type, 0, 0];
    cdb.extend((length as u32).to_be_bytes());
    cdb.push(0);
    cdb
}

/// Its parameter list.
pub(super) fn list(key: u64, action_key: u64, flags: u8) -> Vec<u8> {
    let mut list = [key.to_be_bytes(), action_key.to_be_bytes()].concat();
    list.extend([0, 0, 0, 0, flags, 0, 0, 0]);
    list
}

/// Plans PERSISTENT RESERVE OUT.
#[track_caller]
pub(super) fn plan_out(channel: &mut ScsiChannel, action: u8, kind: u8, list: &[u8]) -> Plan {
    select(channel, &out_cdb(action, kind, list.len()), list)
}

/// The change that PERSISTENT RESERVE OUT asks for.
#[track_caller]
pub(super) fn change(plan: Plan) -> Change {
    match plan {
        Plan::Reserve(command) => *command.change,
        other => panic!("not a change: {other:?}"),
    }
}

/// Makes the change that a plan asks for, as a target does that has nothing to save.
#[track_caller]
pub(super) fn made(channel: &mut ScsiChannel, plan: Plan) -> Response {
    match plan {
        Plan::Respond(response) => response,
        Plan::Reserve(command) => {
            let unit = channel.unit(command.unit).clone();
            let result = unit.reservations().begin(&command.change);
            let result = result.map(|prepared| {
                prepared.commit();
            });
            channel.reserved(command.unit, result)
        }
        other => panic!("{other:?}"),
    }
}

/// PERSISTENT RESERVE OUT to its end.
#[track_caller]
pub(super) fn out(channel: &mut ScsiChannel, action: u8, kind: u8, list: &[u8]) -> Response {
    let plan = plan_out(channel, action, kind, list);
    made(channel, plan)
}

/// The same, and it has to be good.
#[track_caller]
pub(super) fn good(channel: &mut ScsiChannel, action: u8, kind: u8, list: &[u8]) {
    assert_eq!(out(channel, action, kind, list), Response::good());
}

#[track_caller]
pub(super) fn conflicts(channel: &mut ScsiChannel, action: u8, kind: u8, list: &[u8]) {
    let response = out(channel, action, kind, list);
    assert_eq!(response, Status::ReservationConflict.into());
}

/// Registers a host with a key, whatever it had.
#[track_caller]
pub(super) fn register(channel: &mut ScsiChannel, key: u64) {
    good(channel, 6, 0, &list(0, key, 0));
}

/// PERSISTENT RESERVE IN.
pub(super) fn in_cdb(action: u8, allocation_length: u16) -> [u8; 10] {
    let [high, low] = allocation_length.to_be_bytes();
    [0x5e, action, 0, 0, 0, 0, 0, high, low, 0]
}

#[track_caller]
pub(super) fn read(channel: &mut ScsiChannel, action: u8) -> Vec<u8> {
    data(channel, &in_cdb(action, u16::MAX))
}

/// The status of a command without data.
#[track_caller]
pub(super) fn status(channel: &mut ScsiChannel, cdb: &[u8]) -> Status {
    match channel.plan(&command(cdb)) {
        Plan::Respond(response) => response.status,
        _ => Status::Good,
    }
}
