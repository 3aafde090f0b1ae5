//! Parameter lists of PERSISTENT RESERVE OUT: TransportIDs, and whatever else arrives.

use std::sync::Arc;

use proptest::prelude::*;

use super::super::sense::codes;
use super::super::testing::*;
use super::super::*;
use super::hostile::check_plan;
use super::reserve_hosts::*;
use crate::reservations::{Action, Registrant};

const SPEC_I_PT: u8 = 0x08;

fn srp_id(number: u8) -> Vec<u8> {
    let mut id = vec![0; 24];
    (id[0], id[23]) = (0x04, number);
    id
}

/// An iSCSI TransportID; a node's if it has no comma.
fn iscsi_id(name: &str) -> Vec<u8> {
    let length = (name.len() / 4 + 1) * 4;
    let length = length.max(20);
    let first = if name.contains(',') { 0x45 } else { 0x05 };
    let mut id = vec![first, 0, 0, length as u8];
    id.extend(name.bytes());
    id.resize(4 + length, 0);
    id
}

/// REGISTER with SPEC_I_PT.
fn with_ids(key: u64, action_key: u64, ids: &[Vec<u8>]) -> Vec<u8> {
    let ids = ids.concat();
    let mut list = list(key, action_key, SPEC_I_PT);
    list.extend((ids.len() as u32).to_be_bytes());
    list.extend(ids);
    list
}

/// REGISTER AND MOVE.
fn moving(key: u64, action_key: u64, port: u8, id: &[u8]) -> Vec<u8> {
    let mut list = list(key, action_key, 0);
    list[19] = port;
    list[20..].copy_from_slice(&(id.len() as u32).to_be_bytes());
    list.extend(id);
    list
}

#[track_caller]
fn others(channel: &mut ScsiChannel, list: &[u8]) -> Vec<Registrant> {
    match change(plan_out(channel, 0, 0, list)).action {
        Action::Register { others, .. } => others,
        other => panic!("{other:?}"),
    }
}

#[test]
fn lengths_of_lists() {
    let unit = disk();
    let mut channel = host(&unit, &srp(1));
    register(&mut channel, 1);
    let wrong = Sense::from(codes::PARAMETER_LIST_LENGTH);
    for action in 0..8 {
        for length in [0, 1, 20, 23, 16385, 0x1_0000, 0x0100_0018] {
            let sense = refused(&mut channel, &out_cdb(action, 1, length));
            assert_eq!(sense, wrong, "{action} {length}");
        }
        // The initiator has less than it says.
        let cdb = out_cdb(action, 1, 24);
        let sense = sense_of(&respond(channel.plan(&sending(&cdb, 23))));
        assert_eq!(sense, wrong);
    }
    // Without SPEC_I_PT there are no more than 24 bytes.
    for action in 0..7 {
        let mut list = list(1, 1, 0);
        for _ in 0..8 {
            list.push(0);
            let sense = sense_of(&respond(plan_out(&mut channel, action, 1, &list)));
            assert_eq!(sense, wrong, "{action}");
        }
    }
    // SPEC_I_PT is for REGISTER.
    for action in 1..7 {
        for list in [list(1, 1, SPEC_I_PT), with_ids(1, 1, &[srp_id(2)])] {
            let sense = sense_of(&respond(plan_out(&mut channel, action, 1, &list)));
            assert_eq!(sense, Sense::parameter(20, Some(3)), "{action}");
        }
    }
}

#[test]
fn other_ports_are_registered_as_well() {
    let unit = disk();
    let mut channel = host(&unit, &srp(1));
    assert_eq!(others(&mut channel, &with_ids(0, 5, &[])), []);
    let list = with_ids(0, 5, &[srp_id(2), srp_id(1), srp_id(3)]);
    // Who asks is among them, which makes no difference.
    assert_eq!(others(&mut channel, &list), [srp(2), srp(3)]);
    good(&mut channel, 0, 0, &list);
    let table = unit.reservations().table();
    let registrations: Vec<_> = table.registrations().iter().collect();
    assert_eq!(registrations, [(&srp(1), &5), (&srp(2), &5), (&srp(3), &5)]);

    let mut iscsi_host = host(&unit, &iscsi("iqn.2026-11.a", 1));
    let list = with_ids(0, 6, &[iscsi_id("IQN.2026-11.B,i,0x00023D000009")]);
    assert_eq!(others(&mut iscsi_host, &list), [iscsi("iqn.2026-11.b", 9)]);
}

#[test]
fn the_ports_of_a_node_that_are_known() {
    let unit = disk();
    let mut one = host(&unit, &iscsi("iqn.2026-11.a", 1));
    let _hosts = [
        host(&unit, &iscsi("iqn.2026-11.a", 2)),
        host(&unit, &iscsi("iqn.2026-11.b", 3)),
        host(&unit, &iscsi("iqn.2026-11.b", 4)),
        host(&unit, &srp(1)),
    ];
    let b = iscsi_id("IQN.2026-11.b");
    assert_eq!(
        others(&mut one, &with_ids(0, 1, std::slice::from_ref(&b))),
        [iscsi("iqn.2026-11.b", 3), iscsi("iqn.2026-11.b", 4)]
    );
    let a = iscsi_id("iqn.2026-11.a");
    assert_eq!(
        others(&mut one, &with_ids(0, 1, &[a])),
        [iscsi("iqn.2026-11.a", 2)]
    );
    assert_eq!(
        others(&mut one, &with_ids(0, 1, &[iscsi_id("iqn.2026-11.c")])),
        []
    );
    // Named twice.
    let twice = with_ids(0, 1, &[iscsi_id("iqn.2026-11.b,i,0x00023d000004"), b]);
    let sense = sense_of(&respond(plan_out(&mut one, 0, 0, &twice)));
    assert_eq!(sense, Sense::parameter(28 + 36, None));
}

#[test]
fn bad_lists_of_ids() {
    let unit = disk();
    let mut srp_host = host(&unit, &srp(1));
    let mut iscsi_host = host(&unit, &iscsi("iqn.a", 1));
    let short = Sense::from(codes::PARAMETER_LIST_LENGTH);
    let at = |byte, bit| Sense::parameter(byte, bit);
    let lying = |length: u32| {
        let mut list = with_ids(0, 1, &[srp_id(2)]);
        list[24..28].copy_from_slice(&length.to_be_bytes());
        list
    };
    let cut = |bytes: usize, said: u8| {
        let mut list = with_ids(0, 1, &[srp_id(2), srp_id(3)]);
        list.truncate(28 + bytes);
        list[27] = said;
        list
    };
    let mut unpadded = iscsi_id("iqn.abcdef,i,0x000001");
    unpadded.truncate(4 + 20);
    unpadded[3] = 20;
    for (list, sense) in [
        // No length, or a part of it.
        (list(0, 1, SPEC_I_PT), short),
        (with_ids(0, 1, &[])[..27].to_vec(), short),
        (lying(25), short),
        (lying(28), short),
        (lying(u32::MAX), short),
        (lying(20), at(24, None)),
        (lying(0), at(24, None)),
        (cut(30, 30), at(24, None)),
        // The second TransportID is cut.
        (cut(44, 44), at(28 + 24, None)),
        (cut(28, 28), at(28 + 24, None)),
        (with_ids(0, 1, &[vec![0x04; 4]]), at(28, None)),
        (with_ids(0, 1, &[srp_id(2), srp_id(2)]), at(28 + 24, None)),
        (
            with_ids(0, 1, &[srp_id(2), vec![0; 24]]),
            at(28 + 24, Some(3)),
        ),
        (with_ids(0, 1, &[vec![0xff; 24]]), at(28, Some(3))),
        (with_ids(0, 1, &[vec![0x84; 24]]), at(28, Some(7))),
        // Of the other transport.
        (with_ids(0, 1, &[iscsi_id("iqn.b,i,0x1")]), at(28, Some(3))),
        (with_ids(0, 1, &[iscsi_id("iqn.b")]), at(28, Some(3))),
    ] {
        let response = respond(plan_out(&mut srp_host, 0, 0, &list));
        assert_eq!(sense_of(&response), sense, "{list:x?}");
    }
    for (list, sense) in [
        (with_ids(0, 1, &[srp_id(2)]), at(28, Some(3))),
        (with_ids(0, 1, &[unpadded]), at(28 + 4, None)),
        (with_ids(0, 1, &[iscsi_id("host,i,0x1")]), at(28 + 4, None)),
        (
            with_ids(0, 1, &[[0x45, 0, 0xff, 0xfc].to_vec()]),
            at(28 + 2, None),
        ),
    ] {
        let response = respond(plan_out(&mut iscsi_host, 0, 0, &list));
        assert_eq!(sense_of(&response), sense, "{list:x?}");
    }
    assert!(unit.reservations().table().registrations().is_empty());
}

#[test]
fn key_zero_does_nothing_for_who_is_not_registered() {
    let unit = disk();
    let mut one = host(&unit, &srp(1));
    // SPEC_I_PT and what comes with it is not looked at (SPC-4 table 67).
    for list in [
        list(0, 0, SPEC_I_PT),
        with_ids(0, 0, &[srp_id(2)]),
        with_ids(0, 0, &[vec![0xff; 23]]),
    ] {
        good(&mut one, 0, 0, &list);
    }
    assert_eq!(unit.reservations().table().generation(), 0);
    assert!(unit.reservations().table().registrations().is_empty());
}

#[test]
fn a_list_of_more_than_there_is_room_for() {
    let model = DiskModel {
        limits: Limits {
            max_registrants: 4,
            ..Limits::default()
        },
        ports: vec![1, 2],
        ..thin_model()
    };
    let unit = disk_of(model);
    let full = codes::NO_REGISTRATION_RESOURCES;
    let mut one = host(&unit, &srp(1));
    let ids = |numbers: std::ops::Range<u8>| numbers.map(srp_id).collect::<Vec<_>>();
    // The last one is not looked at any more.
    let mut many = ids(2..6);
    many.push(vec![0xff; 24]);
    let sense = sense_of(&out(&mut one, 0, 0, &with_ids(0, 1, &many)));
    assert_eq!(sense.code, full);
    // So many sessions of a node.
    let _hosts: Vec<_> = (0..9)
        .map(|number| host(&unit, &iscsi("iqn.b", number)))
        .collect();
    let mut other = host(&unit, &iscsi("iqn.a", 1));
    let sense = sense_of(&out(
        &mut other,
        0,
        0,
        &with_ids(0, 1, &[iscsi_id("iqn.b"), vec![0xff; 24]]),
    ));
    assert_eq!(sense.code, full);
    // Who asks counts once, named or not.
    good(&mut one, 0, 0, &with_ids(0, 1, &ids(1..5)));
    assert_eq!(unit.reservations().table().registrations().len(), 4);
    let sense = sense_of(&out(&mut other, 0, 0, &with_ids(0, 1, &[])));
    assert_eq!(sense.code, full);
}

#[test]
fn others_are_for_who_comes_first() {
    let unit = disk();
    let (mut one, mut other) = (host(&unit, &srp(1)), host(&unit, &srp(2)));
    register(&mut other, 2);
    // Somebody among them is registered.
    let list = with_ids(0, 1, &[srp_id(3), srp_id(2)]);
    let sense = sense_of(&out(&mut one, 0, 0, &list));
    assert_eq!(sense, Sense::parameter(28 + 24, None));
    // Who asks is registered.
    for list in [with_ids(2, 3, &[srp_id(3)]), with_ids(2, 0, &[])] {
        let sense = sense_of(&out(&mut other, 0, 0, &list));
        assert_eq!(sense, Sense::parameter(20, Some(3)));
    }
    // With a wrong key, TransportIDs are not looked at.
    for id in [srp_id(3), srp_id(2), vec![0xff; 24], vec![0x04]] {
        conflicts(&mut other, 0, 0, &with_ids(1, 3, std::slice::from_ref(&id)));
        conflicts(&mut one, 0, 0, &with_ids(1, 3, &[id]));
    }
    assert_eq!(unit.reservations().table().registrations().len(), 1);
}

#[test]
fn bad_moves() {
    let unit = disk();
    let mut one = host(&unit, &srp(1));
    let lost = moving(1, 2, 9, &[0xff; 24]);
    // What can move is asked before whereto.
    conflicts(&mut one, 7, 0, &lost);
    register(&mut one, 1);
    let nothing = out(&mut one, 7, 0, &lost);
    assert_eq!(sense_of(&nothing).code, codes::INVALID_FIELD_IN_CDB);
    for kind in [7, 8] {
        good(&mut one, 1, kind, &list(1, 0, 0));
        conflicts(&mut one, 7, 0, &lost);
        good(&mut one, 2, kind, &list(1, 0, 0));
    }
    let mut other = host(&unit, &srp(9));
    register(&mut other, 1);
    good(&mut one, 1, 1, &list(1, 0, 0));
    conflicts(&mut other, 7, 0, &lost);
    let mut wrong_key = lost;
    wrong_key[7] = 2;
    conflicts(&mut one, 7, 0, &wrong_key);
    let short = Sense::from(codes::PARAMETER_LIST_LENGTH);
    let at = |byte, bit| Sense::parameter(byte, bit);
    let lying = |length: u32| {
        let mut list = moving(1, 2, 1, &srp_id(2));
        list[20..24].copy_from_slice(&length.to_be_bytes());
        list
    };
    let port = iscsi_id("iqn.b,i,0x1");
    let mut iser = moving(1, 2, 2, &port);
    iser[18] = 1;
    for (list, sense) in [
        (moving(1, 2, 1, &[]), at(20, None)),
        (moving(1, 2, 1, &srp_id(2)[..20]), at(20, None)),
        (lying(28), short),
        (lying(u32::MAX), short),
        (lying(20), at(20, None)),
        (
            moving(1, 2, 1, &[srp_id(2), srp_id(3)].concat()),
            at(20, None),
        ),
        (
            moving(1, 2, 1, &[&srp_id(2)[..], &[0; 4]].concat()),
            at(20, None),
        ),
        // A port that there is not, or not for this protocol.
        (moving(1, 2, 0, &srp_id(2)), at(18, None)),
        (moving(1, 2, 3, &srp_id(2)), at(18, None)),
        (iser, at(18, None)),
        (moving(1, 2, 2, &srp_id(2)), at(24, Some(3))),
        (moving(1, 2, 1, &port), at(24, Some(3))),
        (moving(1, 2, 1, &[0; 24]), at(24, Some(3))),
        (moving(1, 2, 1, &[0x44; 24]), at(24, Some(7))),
        // A node is not one port.
        (moving(1, 2, 2, &iscsi_id("iqn.b")), at(24, Some(7))),
    ] {
        let response = respond(plan_out(&mut one, 7, 0, &list));
        assert_eq!(sense_of(&response), sense, "{list:x?}");
    }
    let code = |response: Response| sense_of(&response).code;
    // A key of zero; to oneself.
    for list in [moving(1, 0, 1, &srp_id(2)), moving(1, 2, 1, &srp_id(1))] {
        let response = out(&mut one, 7, 0, &list);
        assert_eq!(code(response), codes::INVALID_FIELD_IN_PARAMETERS);
    }
    conflicts(&mut one, 7, 0, &moving(2, 2, 1, &srp_id(2)));
    for (port, id, to) in [(1, srp_id(2), srp(2)), (2, port, iscsi("iqn.b", 0))] {
        let action = change(plan_out(&mut one, 7, 0xf, &moving(1, 2, port, &id))).action;
        let Action::Move { to: found, .. } = action else {
            panic!("{action:?}");
        };
        assert_eq!(std::mem::discriminant(&found), std::mem::discriminant(&to));
        let Registrant::Scsi {
            target,
            port: found_port,
            ..
        } = found
        else {
            panic!("not SCSI's");
        };
        assert_eq!((&*target, found_port), (TARGET, port.into()));
    }
}

#[test]
fn lists_that_end_anywhere() {
    let unit = disk();
    let ids = [iscsi_id("iqn.2026-11.b,i,0x1"), iscsi_id("iqn.2026-11.c")];
    for (action, list) in [
        (0, with_ids(0, 1, &ids)),
        (7, moving(0, 1, 2, &ids[0])),
        (1, list(1, 2, 0)),
    ] {
        for length in 0..list.len() {
            let mut channel = host(&unit, &iscsi("iqn.2026-11.a", 1));
            // As long as the CDB says, and shorter than that.
            let plan = plan_out_of(&mut channel, &out_cdb(action, 1, length), &list[..length]);
            let response = respond(plan);
            // Who is not registered moves nothing.
            let status = match (action, length) {
                (7, 24..) => Status::ReservationConflict,
                _ => Status::CheckCondition,
            };
            assert_eq!(response.status, status, "{action} {length}");
            let plan = plan_out_of(
                &mut channel,
                &out_cdb(action, 1, list.len()),
                &list[..length],
            );
            assert_eq!(
                sense_of(&respond(plan)).code,
                codes::PARAMETER_LIST_LENGTH,
                "{action} {length}"
            );
        }
    }
}

fn plan_out_of(channel: &mut ScsiChannel, cdb: &[u8], list: &[u8]) -> Plan {
    match channel.plan(&command(cdb)) {
        Plan::Parameters { pending, .. } => channel.parameters(pending, list),
        other => other,
    }
}

/// TransportIDs, good and bad.
fn any_id() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (0..6_u8).prop_map(srp_id),
        "iqn\\.[a-c](,i,0x[0-9a-fA-F]{0,13})?".prop_map(|name| iscsi_id(&name)),
        proptest::collection::vec(any::<u8>(), 0..40),
    ]
}

fn any_out() -> impl Strategy<Value = (u8, u8, Vec<u8>)> {
    let key = || prop_oneof![0..4_u64, any::<u64>()];
    let ids = proptest::collection::vec(any_id(), 0..4);
    let damage = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..2);
    let kind = prop_oneof![4 => 0..9_u8, 1 => any::<u8>()];
    let flags = prop_oneof![Just(0), Just(1), Just(SPEC_I_PT)];
    (0..8_u8, kind, (key(), key()), flags, ids, damage).prop_map(
        |(action, kind, (key, action_key), flags, ids, damage)| {
            let mut bytes = match (action, flags) {
                (7, _) => moving(key, action_key, 1 + (flags & 1), &ids.concat()),
                (_, SPEC_I_PT) => with_ids(key, action_key, &ids),
                _ => list(key, action_key, flags),
            };
            for (at, byte) in damage {
                *at.get_mut(&mut bytes) = byte;
            }
            (action, kind, bytes)
        },
    )
}

/// A command of one of three hosts.
fn hosts(unit: &Arc<LogicalUnit>) -> [ScsiChannel; 3] {
    [srp(1), srp(2), iscsi("iqn.a", 0)].map(|registrant| host(unit, &registrant))
}

proptest! {
    #[test]
    fn any_sequence_is_answered(
        commands in proptest::collection::vec((0..3_usize, any_out(), any::<u8>(), any::<u16>()), 1..20),
    ) {
        let unit = disk();
        let mut hosts = hosts(&unit);
        for (who, (action, kind, list), old, room) in commands {
            let channel = &mut hosts[who];
            let plan = plan_out_of(channel, &out_cdb(action, kind, list.len()), &list);
            check_plan(&plan);
            let response = made(channel, plan);
            check_plan(&Plan::Respond(response));
            // Whatever has become of it, it can be told.
            for action in 0..4 {
                let plan = channel.plan(&command(&in_cdb(action, room)));
                check_plan(&plan);
                let response = respond(plan);
                prop_assert!(response.data.len() <= usize::from(room));
            }
            if let Some(opcode) = [0x16, 0x17].get(usize::from(old % 8)) {
                check_plan(&channel.plan(&command(&[*opcode, old & 0xf8, 0, 0, 0, 0])));
            }
            check_plan(&channel.plan(&command(&[0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0])));
        }
    }

    #[test]
    fn any_bytes_are_taken(action in 0..8_u8, kind in any::<u8>(), bytes in proptest::collection::vec(any::<u8>(), 24..200)) {
        let unit = disk();
        for channel in &mut hosts(&unit) {
            let plan = plan_out_of(channel, &out_cdb(action, kind, bytes.len()), &bytes);
            check_plan(&plan);
        }
    }
}
