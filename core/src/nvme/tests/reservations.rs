//! Commands about reservations (NVMe base 2.0 sections 7.2 to 7.5), by their bytes.

use std::collections::BTreeMap;

use super::io_fixture::{HOST, Io, LARGE, MAX_TRANSFER, PLAIN, READ_ONLY, THIN, command, status};
use crate::nvme::command::{Command, Fuse, SQE_SIZE};
use crate::nvme::controller::Kind;
use crate::nvme::plan::Plan;
use crate::nvme::status::Status;
use crate::nvme::testing::{registrant, u16_at, u32_at, u64_at};
use crate::reservations::{
    Action, Expected, Holder, InitiatorPort, Refusal, Registrant, ReservationType, Table,
};
use crate::scsi::testing::model;
use crate::scsi::{DiskModel, Limits, ReservationCommand};

const REGISTER: u8 = 0x0d;
const REPORT: u8 = 0x0e;
const ACQUIRE: u8 = 0x11;
const RELEASE: u8 = 0x15;

const IEKEY: u32 = 1 << 3;
/// CPTPL as Linux has it.
const PERSIST: u32 = 3 << 30;

const KEY: u64 = 0x1122_3344_5566_7788;
const OTHER: u64 = 0xa1a2_a3a4_a5a6_a7a8;

fn about(opcode: u8, cdw10: u32) -> Command {
    let mut about = command(opcode, PLAIN, 0, 1);
    about.cdw10 = [cdw10, 0, 0, 0, 0, 0];
    about
}

fn keys(current: u64, other: u64) -> Vec<u8> {
    [current.to_le_bytes(), other.to_le_bytes()].concat()
}

fn reserve(plan: Plan) -> ReservationCommand {
    match plan {
        Plan::Reserve(reserve) => reserve,
        other => panic!("no change: {other:?}"),
    }
}

/// What a command with keys comes to, durability and waiting left out.
fn run(io: &mut Io, command: &Command, data: &[u8]) -> Status {
    match io.with_data(command, data) {
        Plan::Reserve(reserve) => {
            let unit = io.units.unit(reserve.unit);
            let result = unit.reservations().begin(&reserve.change);
            let result = result.map(|prepared| drop(prepared.commit()));
            io.queue.reserved(result).status
        }
        plan => status(plan),
    }
}

/// A table with these registrants on namespace 1, the first of whom may hold it.
fn register(io: &Io, registrants: &[(Registrant, u64)], kind: Option<ReservationType>) {
    let holder = kind.map(|kind| Holder {
        kind,
        registrant: (!kind.is_held_by_all()).then(|| registrants[0].0.clone()),
    });
    let registrations: BTreeMap<_, _> = registrants.iter().cloned().collect();
    let table = Table::restore(4096, registrations, holder).expect("a possible table");
    io.disks[0].1.reservations().restore(table);
}

#[test]
fn what_commands_mean() {
    use ReservationType::{ExclusiveAccessRegistrantsOnly, WriteExclusive};
    let register = |expected, key, persist| Action::Register {
        expected,
        key,
        others: Vec::new(),
        persist,
    };
    let preempt = |abort| Action::Preempt {
        key: Some(KEY),
        victim: OTHER,
        kind: WriteExclusive,
        abort,
    };
    let cases = [
        (REGISTER, 0, register(Expected::Unregistered, OTHER, None)),
        (
            REGISTER,
            PERSIST,
            register(Expected::Unregistered, OTHER, Some(true)),
        ),
        (
            REGISTER,
            2 << 30,
            register(Expected::Unregistered, OTHER, Some(false)),
        ),
        (REGISTER, IEKEY, register(Expected::Any, OTHER, None)),
        (REGISTER, 1, register(Expected::Registered(KEY), 0, None)),
        (
            REGISTER,
            1 | IEKEY,
            register(Expected::AnyRegistered, 0, None),
        ),
        (
            REGISTER,
            2,
            register(Expected::Registered(KEY), OTHER, None),
        ),
        (REGISTER, 2 | IEKEY, register(Expected::Any, OTHER, None)),
        (
            ACQUIRE,
            1 << 8,
            Action::Reserve {
                key: Some(KEY),
                kind: WriteExclusive,
            },
        ),
        (ACQUIRE, 1 << 8 | 1, preempt(false)),
        (ACQUIRE, 1 << 8 | 2, preempt(true)),
        (
            RELEASE,
            4 << 8,
            Action::Release {
                key: Some(KEY),
                kind: ExclusiveAccessRegistrantsOnly,
            },
        ),
        // RTYPE is nothing to Clear.
        (RELEASE, 1, Action::Clear { key: Some(KEY) }),
        (RELEASE, 0xff << 8 | 1, Action::Clear { key: Some(KEY) }),
    ];
    let mut io = Io::new();
    for (opcode, cdw10, expected) in cases {
        let data = match opcode {
            RELEASE => KEY.to_le_bytes().to_vec(),
            _ => keys(KEY, OTHER),
        };
        let command = about(opcode, cdw10);
        let reserve = reserve(io.with_data(&command, &data));
        assert_eq!(reserve.change.action, expected, "{opcode:02x} {cdw10:x}");
        assert_eq!(reserve.change.by, registrant(HOST));
        assert_eq!(io.units.unit(reserve.unit).id().0, PLAIN);
        // A transport that has less than it promised.
        let Plan::Fetch { pending, .. } = io.plan(&command) else {
            panic!("nothing is fetched");
        };
        let short = &data[..data.len() - 1];
        let plan = io.queue.data(pending, short, &mut io.units);
        assert_eq!(status(plan), Status::DATA_SGL_LENGTH_INVALID);
        let mut small = command;
        small.data_length = data.len() as u32 - 1;
        assert_eq!(io.status(&small), Status::DATA_SGL_LENGTH_INVALID);
    }
}

/// Linux unregisters by replacing the key by zero (`IOC_PR_REGISTER`).
#[test]
fn linux_unregisters_like_that() {
    let mut entry = [0; SQE_SIZE];
    entry[..8].copy_from_slice(&[0x0d, 0x40, 0x34, 0x12, PLAIN as u8, 0, 0, 0]);
    entry[40..44].copy_from_slice(&[0x02, 0, 0, 0xc0]);
    let command = Command::parse(&entry, 16);
    let data = *b"\x88\x77\x66\x55\x44\x33\x22\x11\0\0\0\0\0\0\0\0";
    let mut io = Io::new();
    let plan = reserve(io.with_data(&command, &data));
    let expected = Action::Register {
        expected: Expected::Registered(KEY),
        key: 0,
        others: Vec::new(),
        persist: Some(true),
    };
    assert_eq!(plan.change.action, expected);
    // With IEKEY there has to be something to unregister as well.
    assert_eq!(
        run(&mut io, &about(REGISTER, 2 | IEKEY), &keys(0, 0)),
        Status::RESERVATION_CONFLICT
    );
    register(&io, &[(registrant(HOST), KEY)], None);
    assert_eq!(
        run(&mut io, &about(REGISTER, 2 | IEKEY), &keys(0, 0)),
        Status::SUCCESS
    );
    let table = io.disks[0].1.reservations().table();
    assert!(table.registrations().is_empty());
}

#[test]
fn what_is_reserved_in_commands_is_refused() {
    let mut io = Io::new();
    for (opcode, cdw10) in [
        // Actions.
        (REGISTER, 3),
        (REGISTER, 7),
        (ACQUIRE, 1 << 8 | 3),
        (ACQUIRE, 1 << 8 | 7),
        (RELEASE, 1 << 8 | 2),
        (RELEASE, 1 << 8 | 7),
        // CPTPL.
        (REGISTER, 1 << 30),
        // RTYPE.
        (ACQUIRE, 0),
        (ACQUIRE, 7 << 8),
        (ACQUIRE, 0xff << 8 | 1),
        (ACQUIRE, 2),
        (RELEASE, 0),
        (RELEASE, 7 << 8),
        // IEKEY, since NVMe 1.3.
        (ACQUIRE, 1 << 8 | IEKEY),
        (RELEASE, 1 << 8 | IEKEY),
        (RELEASE, 1 | IEKEY),
    ] {
        let refused = io.status(&about(opcode, cdw10));
        assert_eq!(refused, Status::INVALID_FIELD, "{opcode:02x} {cdw10:x}");
    }
    // A key of zero is none.
    for cdw10 in [0, IEKEY] {
        let plan = io.with_data(&about(REGISTER, cdw10), &keys(KEY, 0));
        assert_eq!(status(plan), Status::INVALID_FIELD);
    }
}

#[test]
fn who_has_no_identity_cannot_register_but_may_look() {
    let scsi = Registrant::Scsi {
        initiator: InitiatorPort::Srp([1; 16]),
        target: "target".into(),
        port: 1,
    };
    for identity in [None, Some(registrant([0; 16])), Some(scsi)] {
        let mut io = Io::new().other(identity);
        for (opcode, cdw10) in [(REGISTER, 0), (ACQUIRE, 1 << 8), (RELEASE, 1 << 8)] {
            let data = keys(1, 2);
            let data = if opcode == RELEASE { &data[..8] } else { &data };
            let plan = io.with_data(&about(opcode, cdw10), data);
            assert_eq!(status(plan), Status::RESERVATION_CONFLICT);
        }
        let mut report = about(REPORT, 15);
        report.cdw10[1] = 1;
        assert_eq!(io.reply(&report).len(), 64);
    }
    // One byte makes a difference.
    for at in [0, 15] {
        let mut host = [0; 16];
        host[at] = 1;
        let mut io = Io::new().other(Some(registrant(host)));
        reserve(io.with_data(&about(REGISTER, 0), &keys(0, 1)));
    }
}

#[test]
fn namespaces_that_cannot_be_reserved_have_none_of_it() {
    let without = || DiskModel {
        limits: Limits {
            max_registrants: 0,
            ..Limits::default()
        },
        ..model()
    };
    let mut io = Io::of_models([(PLAIN, without()), (THIN, model())]);
    for opcode in [REGISTER, REPORT, ACQUIRE, RELEASE] {
        let refused = io.status(&about(opcode, 1 << 8));
        assert_eq!(refused, Status::INVALID_OPCODE, "{opcode:02x}");
    }
    let identify = |io: &mut Io, cns, nsid| {
        let mut identify = command(0x06, nsid, 0, 1);
        identify.cdw10[0] = cns;
        identify.cdw10[2] = 0;
        io.reply(&identify)
    };
    let mut admin = io.into_admin(Kind::Io);
    for (nsid, rescap) in [(PLAIN, 0), (THIN, 0xff)] {
        assert_eq!(identify(&mut admin, 0x00, nsid)[31], rescap);
        assert_eq!(identify(&mut admin, 0x08, nsid)[2], rescap);
    }
    // One is enough for the controller.
    assert_eq!(u16_at(&identify(&mut admin, 0x01, 0), 520), 0x01fd);
    assert_eq!(u32_at(&admin.log(0x05, 4096), 1024 + 4 * 0x0d), 1);

    let mut admin = Io::of_models([(PLAIN, without())]).into_admin(Kind::Io);
    assert_eq!(u16_at(&identify(&mut admin, 0x01, 0), 520), 0x01dd);
    let effects = admin.log(0x05, 4096);
    for opcode in [REGISTER, REPORT, ACQUIRE, RELEASE] {
        assert_eq!(u32_at(&effects, 1024 + 4 * usize::from(opcode)), 0);
    }
    assert_eq!(u32_at(&effects, 1024 + 4 * 0x19), 3);
    for id in [0x82, 0x83] {
        for opcode in [0x09, 0x0a] {
            let mut feature = command(opcode, PLAIN, 0, 1);
            feature.cdw10 = [id, 0, 0, 0, 0, 0];
            assert_eq!(admin.status(&feature), Status::INVALID_FIELD);
        }
    }
}

/// Extended data structure: header of 64 bytes, entries of 64 bytes.
#[test]
fn a_report_byte_by_byte() {
    let mut io = Io::new();
    let iscsi = Registrant::Scsi {
        initiator: InitiatorPort::Iscsi {
            name: "iqn.1993-08.org.debian:01:host".into(),
            isid: [0x80, 0, 0, 0x12, 0x34, 0x56],
        },
        target: "iqn.2026-11.org.example:disks".into(),
        port: 2,
    };
    let kind = ReservationType::ExclusiveAccess;
    register(
        &io,
        &[(registrant(HOST), KEY), (iscsi.clone(), OTHER)],
        Some(kind),
    );
    // So that there is a generation.
    let unregistered = run(&mut io, &about(REGISTER, PERSIST), &keys(0, KEY));
    assert_eq!(unregistered, Status::SUCCESS);

    let mut report = about(REPORT, 4096 / 4 - 1);
    report.cdw10[1] = 1;
    let data = io.reply(&report);
    assert_eq!(data.len(), 64 + 2 * 64, "no more than there is");
    // GEN, RTYPE, REGCTL, reserved, PTPLS, reserved.
    assert_eq!(data[..10], [1, 0, 0, 0, 2, 2, 0, 0, 0, 1]);
    assert_eq!(data[10..64], [0; 54]);
    // SCSI's come first: that is how they are sorted.
    let entry = &data[64..128];
    assert_eq!(entry[..8], [0xff, 0xff, 0, 0, 0, 0, 0, 0]);
    assert_eq!(u64_at(entry, 8), OTHER);
    let id = b"\x1d\x11\x33\x27\x0f\xe6\x87\x16\xa2\xb0\x93\xfc\x9b\x52\xfd\x12";
    assert_eq!(&entry[16..32], id);
    assert_eq!(entry[32..], [0; 32]);
    let entry = &data[128..];
    assert_eq!(entry[..8], [0xff, 0xff, 1, 0, 0, 0, 0, 0]);
    assert_eq!(u64_at(entry, 8), KEY);
    assert_eq!(entry[16..32], HOST);
    assert_eq!(entry[32..], [0; 32]);

    // However little there is room for, it says how many there are.
    for dwords in [1_u32, 2, 3, 16, 17, 31, 32, 33, 47, 48, 49] {
        report.cdw10[0] = dwords - 1;
        report.data_length = dwords * 4;
        let bytes = data.len().min(dwords as usize * 4);
        assert_eq!(io.reply(&report), data[..bytes], "{dwords}");
        report.data_length -= 1;
        assert_eq!(io.status(&report), Status::DATA_SGL_LENGTH_INVALID);
    }
    report.data_length = u32::MAX;
    for dwords in [MAX_TRANSFER / 4, u32::MAX] {
        report.cdw10[0] = dwords;
        assert_eq!(io.status(&report), Status::INVALID_FIELD);
    }
    report.cdw10[0] = MAX_TRANSFER / 4 - 1;
    assert_eq!(io.reply(&report), data);

    // All registrants hold it.
    let kind = ReservationType::WriteExclusiveAllRegistrants;
    register(&io, &[(registrant(HOST), KEY), (iscsi, OTHER)], Some(kind));
    let data = io.reply(&report);
    assert_eq!((data[4], data[66], data[130]), (5, 1, 1));
}

#[test]
fn the_short_form_of_a_report_has_no_room_for_identifiers() {
    let mut io = Io::new();
    assert_eq!(io.status(&about(REPORT, 15)), Status::HOST_ID_INCONSISTENT);
    let mut empty = about(REPORT, 1023);
    empty.cdw10[1] = 1;
    assert_eq!(io.reply(&empty), [0; 64]);
}

#[test]
fn a_namespace_that_nobody_may_write_can_be_reserved() {
    let mut io = Io::new();
    for nsid in [READ_ONLY, LARGE] {
        let mut register = about(REGISTER, 0);
        register.nsid = nsid;
        let plan = reserve(io.with_data(&register, &keys(0, KEY)));
        assert_eq!(io.units.unit(plan.unit).id().0, nsid);
    }
}

#[test]
fn refusals_are_told() {
    let io = Io::new();
    for (refusal, expected) in [
        (Refusal::Conflict, 0x8106),
        (Refusal::WrongType, 0x8004),
        (Refusal::ZeroKey, 0x8004),
        (Refusal::BadMove, 0x8004),
        (Refusal::NoRoom, 0x800c),
        // These may go away.
        (Refusal::Busy, 0x000c),
        (Refusal::NotSaved, 0x000c),
    ] {
        let completion = io.queue.reserved(Err(refusal));
        assert_eq!(completion.status.field(), expected, "{refusal:?}");
    }
    assert_eq!(io.queue.reserved(Ok(())).status, Status::SUCCESS);
}

/// From the first key to the last, as two hosts do it.
#[test]
fn two_hosts_share_a_namespace() {
    let mut one = Io::new();
    let mut two = one.other(Some(registrant([7; 16])));
    let register = about(REGISTER, PERSIST);
    let acquire = about(ACQUIRE, 1 << 8);
    let write = command(0x01, PLAIN, 0, 1);
    assert_eq!(
        run(&mut one, &acquire, &keys(KEY, 0)),
        Status::RESERVATION_CONFLICT
    );
    assert_eq!(run(&mut one, &register, &keys(0, KEY)), Status::SUCCESS);
    assert_eq!(run(&mut one, &register, &keys(0, KEY)), Status::SUCCESS);
    assert_eq!(
        run(&mut one, &register, &keys(0, OTHER)),
        Status::RESERVATION_CONFLICT
    );
    assert_eq!(run(&mut two, &register, &keys(0, OTHER)), Status::SUCCESS);
    assert_eq!(run(&mut one, &acquire, &keys(KEY, 0)), Status::SUCCESS);
    assert_eq!(
        run(&mut two, &acquire, &keys(OTHER, 0)),
        Status::RESERVATION_CONFLICT
    );
    one.block(&write);
    assert_eq!(two.status(&write), Status::RESERVATION_CONFLICT);
    // Of another type than it is.
    let wrong = run(&mut one, &about(RELEASE, 2 << 8), &KEY.to_le_bytes());
    assert_eq!(wrong, Status::INVALID_FIELD);
    let nobody = run(&mut two, &about(ACQUIRE, 1 << 8 | 1), &keys(OTHER, 5));
    assert_eq!(nobody, Status::RESERVATION_CONFLICT);
    let zero = run(&mut two, &about(ACQUIRE, 1 << 8 | 1), &keys(OTHER, 0));
    assert_eq!(zero, Status::INVALID_FIELD);
    // And now it is the other one's.
    let preempt = about(ACQUIRE, 1 << 8 | 2);
    assert_eq!(run(&mut two, &preempt, &keys(OTHER, KEY)), Status::SUCCESS);
    two.block(&write);
    assert_eq!(one.status(&write), Status::RESERVATION_CONFLICT);
    let unregister = run(&mut one, &about(REGISTER, 1), &keys(KEY, 0));
    assert_eq!(unregister, Status::RESERVATION_CONFLICT);
    let clear = run(&mut two, &about(RELEASE, 1), &OTHER.to_le_bytes());
    assert_eq!(clear, Status::SUCCESS);
    one.block(&write);
    assert!(one.disks[0].1.reservations().table().persistent());
}

#[test]
fn halves_of_a_fused_operation_they_are_not() {
    let mut io = Io::new();
    for fuse in [Fuse::First, Fuse::Second] {
        let mut register = about(REGISTER, 0);
        register.fuse = fuse;
        assert_eq!(io.status(&register), Status::ABORTED_MISSING_FUSED);
    }
}
