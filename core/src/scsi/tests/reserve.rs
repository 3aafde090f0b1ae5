//! PERSISTENT RESERVE IN and OUT, byte by byte.

use super::super::sense::codes;
use super::super::testing::*;
use super::super::*;
use super::reserve_hosts::*;
use crate::reservations::{Action, Expected, ReservationType};

const TEST_UNIT_READY: [u8; 6] = [0; 6];
const READ: [u8; 10] = [0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0];
const WRITE: [u8; 10] = [0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0];

#[test]
fn every_service_action_asks_for_its_change() {
    let unit = disk();
    let by = srp(1);
    let mut channel = host(&unit, &by);
    let keys = list(0x1122_3344_5566_7788, 0x99aa_bbcc_ddee_ff00, 0);
    let (key, action_key) = (0x1122_3344_5566_7788, 0x99aa_bbcc_ddee_ff00);
    register(&mut channel, key);
    let registers = |expected, persist| Action::Register {
        expected,
        key: action_key,
        others: vec![],
        persist: Some(persist),
    };
    let preempt = |kind, abort| Action::Preempt {
        key: Some(key),
        victim: action_key,
        kind,
        abort,
    };
    let durable = list(key, action_key, 0x05);
    let exclusive = ReservationType::ExclusiveAccess;
    let all = ReservationType::WriteExclusiveAllRegistrants;
    for (code, kind, list, expected) in [
        (0, 0, &keys, registers(Expected::Key(key), false)),
        // SCOPE and TYPE mean nothing; APTPL and ALL_TG_PT do.
        (0, 0xff, &durable, registers(Expected::Key(key), true)),
        (6, 0, &keys, registers(Expected::Any, false)),
        (6, 0xff, &durable, registers(Expected::Any, true)),
        (
            1,
            3,
            &durable,
            Action::Reserve {
                key: Some(key),
                kind: exclusive,
            },
        ),
        (
            2,
            7,
            &keys,
            Action::Release {
                key: Some(key),
                kind: all,
            },
        ),
        (3, 0xff, &keys, Action::Clear { key: Some(key) }),
        (4, 3, &keys, preempt(exclusive, false)),
        (5, 7, &keys, preempt(all, true)),
    ] {
        let change = change(plan_out(&mut channel, code, kind, list));
        assert_eq!((change.by, change.action), (by.clone(), expected), "{code}");
    }
    for (code, kind) in TYPES {
        let change = change(plan_out(&mut channel, 1, code, &keys));
        assert_eq!(
            change.action,
            Action::Reserve {
                key: Some(key),
                kind
            }
        );
    }
}

#[test]
fn scopes_and_types() {
    let unit = disk();
    let mut channel = host(&unit, &srp(1));
    let mut moving = list(1, 2, 0);
    (moving[19], moving[23]) = (1, 24);
    moving.extend(*b"\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02");
    // Who has no registration, or another key, hears of that, whatever else is wrong.
    for registered in [None, Some(9)] {
        if let Some(key) = registered {
            register(&mut channel, key);
        }
        for kind in [0, 2, 0x0f, 0x11, 0xf1] {
            for action in 1..6 {
                conflicts(&mut channel, action, kind, &list(1, 0, 0));
            }
            conflicts(&mut channel, 7, kind, &moving);
        }
    }
    register(&mut channel, 1);
    for action in [1, 2] {
        for kind in [0, 2, 4, 9, 0xf] {
            let sense = sense_of(&out(&mut channel, action, kind, &list(1, 0, 0)));
            assert_eq!(sense, Sense::cdb_bits(2, 3), "{action} {kind}");
        }
        for scope in [0x11, 0x21, 0xf1] {
            let sense = sense_of(&out(&mut channel, action, scope, &list(1, 0, 0)));
            assert_eq!(sense, Sense::cdb_bits(2, 7), "{action} {scope}");
        }
    }
    good(&mut channel, 1, 1, &list(1, 0, 0));
    let sense = sense_of(&out(&mut channel, 7, 0x10, &moving));
    assert_eq!(sense, Sense::cdb_bits(2, 7));
    for action in 8..0x20 {
        let sense = refused(&mut channel, &out_cdb(action, 1, 24));
        assert_eq!(sense, Sense::cdb_bits(1, 4));
    }
    for action in 4..0x20 {
        assert_eq!(
            refused(&mut channel, &in_cdb(action, 8)),
            Sense::cdb_bits(1, 4)
        );
    }
}

#[test]
fn preempting_minds_the_type_only_if_it_takes_the_reservation_over() {
    let unit = disk();
    let (mut one, mut other) = (host(&unit, &srp(1)), host(&unit, &srp(2)));
    register(&mut one, 1);
    register(&mut other, 2);
    // Nobody holds anything: only the registration goes.
    good(&mut one, 4, 0xff, &list(1, 2, 0));
    refused(&mut other, &TEST_UNIT_READY);
    register(&mut other, 2);
    good(&mut other, 1, 3, &list(2, 0, 0));
    let sense = sense_of(&out(&mut one, 4, 0x02, &list(1, 2, 0)));
    assert_eq!(sense, Sense::cdb_bits(2, 3));
    let sense = sense_of(&out(&mut one, 5, 0x11, &list(1, 2, 0)));
    assert_eq!(sense, Sense::cdb_bits(2, 7));
    good(&mut one, 4, 1, &list(1, 2, 0));
    assert_eq!(read(&mut one, 1)[21], 1);

    good(&mut one, 2, 1, &list(1, 0, 0));
    good(&mut one, 1, 8, &list(1, 0, 0));
    let sense = sense_of(&out(&mut one, 4, 0, &list(1, 0, 0)));
    assert_eq!(sense, Sense::cdb_bits(2, 3));
}

#[test]
fn what_a_refusal_is() {
    let unit = disk();
    let mut one = host(&unit, &srp(1));
    // Not registered.
    for action in 1..6 {
        conflicts(&mut one, action, 1, &list(0, 0, 0));
    }
    conflicts(&mut one, 0, 0, &list(5, 6, 0));
    good(&mut one, 0, 0, &list(0, 6, 0));
    // The wrong key.
    for action in 0..6 {
        conflicts(&mut one, action, 1, &list(7, 8, 0));
    }
    good(&mut one, 1, 5, &list(6, 0, 0));
    let code = |response: Response| sense_of(&response).code;
    let released = out(&mut one, 2, 6, &list(6, 0, 0));
    assert_eq!(code(released), codes::INVALID_RELEASE);
    let preempted = out(&mut one, 4, 5, &list(6, 0, 0));
    assert_eq!(sense_of(&preempted), Sense::parameter(8, None));
    // A key that nobody has.
    conflicts(&mut one, 4, 5, &list(6, 9, 0));
}

#[test]
fn what_could_not_be_made() {
    let model = DiskModel {
        limits: Limits {
            max_registrants: 1,
            ..Limits::default()
        },
        ..model()
    };
    let unit = disk_of(model);
    let (mut one, mut other) = (host(&unit, &srp(1)), host(&unit, &srp(2)));
    register(&mut one, 1);
    let sense = sense_of(&out(&mut other, 6, 0, &list(0, 2, 0)));
    assert_eq!(sense.code, codes::NO_REGISTRATION_RESOURCES);

    let command = match plan_out(&mut one, 1, 1, &list(1, 0, 0)) {
        Plan::Reserve(command) => command,
        other => panic!("{other:?}"),
    };
    let under_way = unit.reservations().begin(&command.change).expect("good");
    let busy = Response::from(Status::Busy);
    assert_eq!(out(&mut one, 1, 1, &list(1, 0, 0)), busy);
    drop(under_way);
    let failed = one.reserved(command.unit, Err(crate::reservations::Refusal::NotSaved));
    assert_eq!(sense_of(&failed).code, codes::INTERNAL_FAILURE);
}

#[test]
fn who_has_no_name_cannot_register() {
    let unit = disk();
    let mut channel = ScsiSession::new(port(), None, &luns(&[(0, &unit)])).channel();
    for action in 0..7 {
        conflicts(&mut channel, action, 1, &list(0, 1, 0));
    }
    let mut moving = list(0, 1, 0);
    moving[23] = 24;
    moving.extend([0x04; 24]);
    conflicts(&mut channel, 7, 0, &moving);
    assert_eq!(read(&mut channel, 0), [0; 8]);
}

#[test]
fn read_keys() {
    let unit = disk();
    let (mut one, mut other) = (host(&unit, &srp(1)), host(&unit, &srp(2)));
    assert_eq!(read(&mut one, 0), [0; 8]);
    register(&mut one, 0x0102_0304_0506_0708);
    register(&mut other, 0xa);
    let keys = [
        0, 0, 0, 2, 0, 0, 0, 16, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0xa,
    ];
    assert_eq!(read(&mut one, 0), keys);
    // The length is that of all of it, however much there is room for.
    for length in 0..30 {
        let data = data(&mut other, &in_cdb(0, length));
        assert_eq!(data, keys[..usize::from(length).min(24)]);
    }
}

#[test]
fn read_reservation() {
    let unit = disk();
    let mut one = host(&unit, &srp(1));
    register(&mut one, 0x0102_0304_0506_0708);
    assert_eq!(read(&mut one, 1), [0, 0, 0, 1, 0, 0, 0, 0]);
    for (code, kind) in TYPES {
        let key = list(0x0102_0304_0506_0708, 0, 0);
        good(&mut one, 1, code, &key);
        let mut expected = vec![0, 0, 0, 1, 0, 0, 0, 16, 1, 2, 3, 4, 5, 6, 7, 8];
        if kind.is_held_by_all() {
            expected[8..].fill(0);
        }
        expected.extend([0, 0, 0, 0, 0, code, 0, 0]);
        assert_eq!(read(&mut one, 1), expected);
        for length in 0..30 {
            let data = data(&mut one, &in_cdb(1, length));
            assert_eq!(data, expected[..usize::from(length).min(24)]);
        }
        good(&mut one, 2, code, &key);
    }
}

#[test]
fn report_capabilities() {
    let unit = disk();
    let mut one = host(&unit, &srp(1));
    let mut capabilities = [0, 8, 0x1d, 0xb0, 0xea, 0x01, 0, 0];
    assert_eq!(read(&mut one, 2), capabilities);
    // The last APTPL counts.
    good(&mut one, 6, 0, &list(0, 1, 1));
    capabilities[3] = 0xb1;
    assert_eq!(read(&mut one, 2), capabilities);
    assert_eq!(data(&mut one, &in_cdb(2, 0)), []);
    assert_eq!(data(&mut one, &in_cdb(2, 3)), capabilities[..3]);
    good(&mut one, 0, 0, &list(1, 1, 0));
    assert_eq!(read(&mut one, 2)[3], 0xb0);
}

#[test]
fn read_full_status() {
    let unit = disk();
    let mut one = host(&unit, &srp(1));
    assert_eq!(read(&mut one, 3), [0; 8]);
    register(&mut one, 1);
    register(&mut host(&unit, &iscsi("iqn.2026-11.org.example:h", 7)), 2);
    let change = crate::reservations::Change {
        by: nvme(0xee),
        action: Action::Register {
            expected: Expected::Any,
            key: 3,
            others: vec![],
            persist: None,
        },
    };
    unit.reservations().begin(&change).expect("good").commit();
    good(&mut one, 1, 3, &list(1, 0, 0));

    let descriptor = |key: u8, flags: u8, kind: u8, port: u8, id: &[u8]| {
        let mut bytes = vec![
            0, 0, 0, 0, 0, 0, 0, key, 0, 0, 0, 0, flags, kind, 0, 0, 0, 0, 0, port,
        ];
        bytes.extend((id.len() as u32).to_be_bytes());
        bytes.extend(id);
        bytes
    };
    let srp_id = *b"\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01";
    let iscsi_id = *b"\x45\0\0\x2ciqn.2026-11.org.example:h,i,0x00023d000007\0\0";
    let nvme_id = [&[0x0f, 0, 0, 0, 0, 0, 0, 0][..], &[0xee; 16]].concat();
    let mut expected = vec![0, 0, 0, 3, 0, 0, 0, 168];
    expected.extend(descriptor(1, 1, 3, 1, &srp_id));
    expected.extend(descriptor(2, 0, 0, 2, &iscsi_id));
    expected.extend(descriptor(3, 2, 0, 0, &nvme_id));
    assert_eq!(expected.len(), 176);
    assert_eq!(read(&mut one, 3), expected);
    for length in [0, 1, 7, 8, 9, 31, 56, 57, 175, 176, 177] {
        let data = data(&mut one, &in_cdb(3, length));
        assert_eq!(data, expected[..usize::from(length).min(176)]);
    }

    // All of them hold what all registrants hold.
    good(&mut one, 2, 3, &list(1, 0, 0));
    good(&mut one, 1, 7, &list(1, 0, 0));
    let status = read(&mut one, 3);
    let flags = [8 + 12, 56 + 12, 128 + 12].map(|at| (status[at], status[at + 1]));
    assert_eq!(flags, [(1, 7), (1, 7), (3, 7)]);
}

#[test]
fn a_long_status_is_cut() {
    let unit = disk();
    let mut one = host(&unit, &srp(1));
    let name = format!("iqn.{}", "x".repeat(219));
    let others = (0..4095_u16).map(|number| {
        let [high, low] = number.to_be_bytes();
        let initiator = crate::reservations::InitiatorPort::Iscsi {
            name: name.clone(),
            isid: [0, 0, 0, 0, high, low],
        };
        crate::reservations::Registrant::Scsi {
            initiator,
            target: TARGET.into(),
            port: 2,
        }
    });
    let change = crate::reservations::Change {
        by: srp(1),
        action: Action::Register {
            expected: Expected::Any,
            key: 1,
            others: others.collect(),
            persist: None,
        },
    };
    unit.reservations().begin(&change).expect("room").commit();
    let status = read(&mut one, 3);
    assert_eq!(status.len(), 0xffff);
    let length = 48 + 4095 * (24 + 4 + 244_u32);
    assert_eq!(status[4..8], length.to_be_bytes());
    assert_eq!(read(&mut one, 0)[4..8], (4096 * 8_u32).to_be_bytes());
}

#[test]
fn attentions_come_once_where_they_belong() {
    let unit = disk();
    let (mut one, mut other) = (host(&unit, &srp(1)), host(&unit, &iscsi("iqn.b", 1)));
    let mut stranger = host(&unit, &srp(3));
    let quiet = |channel: &mut ScsiChannel| status(channel, &TEST_UNIT_READY) == Status::Good;
    register(&mut one, 1);
    register(&mut other, 2);
    good(&mut one, 1, 6, &list(1, 0, 0));
    assert!(quiet(&mut one) && quiet(&mut other) && quiet(&mut stranger));

    good(&mut one, 2, 6, &list(1, 0, 0));
    assert!(quiet(&mut one) && quiet(&mut stranger));
    assert_eq!(
        refused(&mut other, &READ).code,
        codes::RESERVATIONS_RELEASED
    );
    assert!(quiet(&mut other));

    good(&mut one, 1, 3, &list(1, 0, 0));
    good(&mut one, 4, 3, &list(1, 2, 0));
    assert!(quiet(&mut one) && quiet(&mut stranger));
    // The attention comes before the conflict.
    assert_eq!(
        refused(&mut other, &WRITE).code,
        codes::REGISTRATIONS_PREEMPTED
    );
    assert_eq!(status(&mut other, &WRITE), Status::ReservationConflict);

    register(&mut other, 2);
    good(&mut other, 3, 0, &list(2, 0, 0));
    assert_eq!(
        refused(&mut one, &WRITE).code,
        codes::RESERVATIONS_PREEMPTED
    );
    assert_eq!(status(&mut one, &WRITE), Status::Good);
    assert!(quiet(&mut other) && quiet(&mut stranger));
    // Also before a command that says what is reserved; INQUIRY does not mind.
    register(&mut one, 1);
    register(&mut other, 2);
    good(&mut one, 3, 0, &list(1, 0, 0));
    assert_eq!(status(&mut other, &[0x12, 0, 0, 0, 36, 0]), Status::Good);
    let sense = refused(&mut other, &in_cdb(0, 8));
    assert_eq!(sense.code, codes::RESERVATIONS_PREEMPTED);
    assert_eq!(read(&mut other, 0)[4..8], [0; 4]);
}

#[test]
fn a_reservation_moves() {
    let unit = disk();
    let (mut one, mut other) = (host(&unit, &srp(1)), host(&unit, &iscsi("iqn.other", 1)));
    register(&mut one, 1);
    good(&mut one, 1, 3, &list(1, 0, 0));
    let mut moving = list(1, 2, 0);
    moving[17] = 0x03;
    moving[19] = 2;
    moving[23] = 32;
    moving.extend(*b"\x45\0\0\x1ciqn.other,i,0x00023d000001\0\0");
    good(&mut one, 7, 0, &moving);
    assert_eq!(status(&mut other, &WRITE), Status::Good);
    assert_eq!(status(&mut one, &WRITE), Status::ReservationConflict);
    assert_eq!(read(&mut other, 1)[15], 2);
    assert_eq!(read(&mut other, 2)[3] & 1, 1);
    assert_eq!(unit.reservations().table().registrations().len(), 1);
    conflicts(&mut one, 7, 0, &moving);
}

#[test]
fn a_disk_without_reservations() {
    let mut model = model();
    model.limits.max_registrants = 0;
    let unit = disk_of(model);
    let mut channel = host(&unit, &srp(1));
    for opcode in [0x16, 0x17, 0x56, 0x57, 0x5e, 0x5f] {
        let mut cdb = [0; 16];
        for action in 0..0x20 {
            (cdb[0], cdb[1]) = (opcode, if opcode < 0x5e { 0 } else { action });
            assert_eq!(refused(&mut channel, &cdb).code, codes::INVALID_OPCODE);
        }
        // Neither is it told of.
        for option in [1, 2, 3] {
            let cdb = [0xa3, 0x0c, option, opcode, 0, 0, 0, 0, 0, 64, 0, 0];
            assert_eq!(data(&mut channel, &cdb), [0, 1, 0, 0], "{opcode:x}");
        }
    }
}

#[test]
fn a_stopped_disk_can_be_reserved() {
    let unit = disk();
    let mut channel = host(&unit, &srp(1));
    assert_eq!(status(&mut channel, &[0x1b, 0, 0, 0, 4, 0]), Status::Good);
    assert_eq!(refused(&mut channel, &READ).code, codes::UNIT_STOPPED);
    register(&mut channel, 1);
    good(&mut channel, 1, 1, &list(1, 0, 0));
    assert_eq!(read(&mut channel, 1)[21], 1);
}
