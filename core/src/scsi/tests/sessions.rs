//! Who sees which logical units, and what is common to all commands.

use std::sync::Arc;

use super::super::opcodes::ROWS;
use super::super::sense::codes;
use super::super::testing::*;
use super::super::*;

const READY: [u8; 6] = [0; 6];

fn at(lun: [u8; 8], cdb: &[u8]) -> Command<'_> {
    Command {
        lun,
        ..command(cdb)
    }
}

fn numbered(lun: u8, cdb: &[u8]) -> Command<'_> {
    at([0, lun, 0, 0, 0, 0, 0, 0], cdb)
}

fn report_luns(channel: &mut ScsiChannel, select: u8) -> Vec<u8> {
    data(channel, &[0xa0, 0, select, 0, 0, 0, 0, 0, 1, 0, 0, 0])
}

#[test]
fn the_inventory() {
    let unit = Arc::new(unit());
    let map = luns(&[
        (0, &unit),
        (3, &unit),
        (258, &unit),
        (70000, &unit),
        (1 << 24, &unit),
    ]);
    let mut channel = ScsiSession::new(port(), None, &map).channel();
    let units = [
        0, 0, 0, 0, 0, 0, 0, 0, //
        0, 3, 0, 0, 0, 0, 0, 0, //
        0x41, 2, 0, 0, 0, 0, 0, 0, //
        0xd2, 1, 0x11, 0x70, 0, 0, 0, 0,
    ];
    let well_known = [0xc1, 1, 0, 0, 0, 0, 0, 0];
    let header = |length| [0, 0, 0, length, 0, 0, 0, 0];
    assert_eq!(
        report_luns(&mut channel, 0),
        [&header(32)[..], &units].concat()
    );
    assert_eq!(
        report_luns(&mut channel, 1),
        [header(8), well_known].concat()
    );
    assert_eq!(
        report_luns(&mut channel, 2),
        [&header(40)[..], &units, &well_known].concat()
    );
    let cut = data(&mut channel, &[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0]);
    assert_eq!(cut, [&header(32)[..], &units[..8]].concat());
    let short = refused(&mut channel, &[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 15, 0, 0]);
    assert_eq!(short, Sense::cdb_byte(6));
    let select = refused(&mut channel, &[0xa0, 0, 3, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(select, Sense::cdb_byte(2));
}

#[test]
fn units_are_found_however_they_are_addressed() {
    let units = [unit_of(model()), unit_of(thin_model())].map(Arc::new);
    let map = luns(&[(2, &units[0]), (300, &units[1])]);
    let mut channel = ScsiSession::new(port(), None, &map).channel();
    let cases = [
        ([0, 2, 0, 0, 0, 0, 0, 0], Some(0)),
        ([0x40, 2, 0, 0, 0, 0, 0, 0], Some(0)),
        ([0xd2, 0, 0, 2, 0, 0, 0, 0], Some(0)),
        ([0x41, 44, 0, 0, 0, 0, 0, 0], Some(1)),
        ([0, 0, 0, 0, 0, 0, 0, 0], None),
        ([0, 1, 0, 0, 0, 0, 0, 0], None),
        ([0, 2, 0, 2, 0, 0, 0, 0], None),
        ([0xff; 8], None),
    ];
    for (lun, expected) in cases {
        let found = channel.unit_at(lun);
        let expected = expected.map(|index: usize| &units[index]);
        let found = found.map(|index| channel.unit(index));
        assert_eq!(
            found.map(Arc::as_ptr),
            expected.map(Arc::as_ptr),
            "{lun:02x?}"
        );
    }
}

#[test]
fn incorrect_units() {
    let unit = Arc::new(unit());
    let mut channel = ScsiSession::new(port(), None, &luns(&[(1, &unit)])).channel();
    let addresses = [[0; 8], [0, 9, 0, 0, 0, 0, 0, 0], [0xff; 8]];
    for lun in addresses {
        let inquiry = respond(channel.plan(&at(lun, &[0x12, 0, 0, 0, 96, 0])));
        assert_eq!((inquiry.data.len(), inquiry.data[0]), (96, 0x7f));
        let sense = respond(channel.plan(&at(lun, &[0x03, 0, 0, 0, 252, 0])));
        assert_eq!(
            (sense.data[2], sense.data[12], sense.data[13]),
            (5, 0x25, 0)
        );
        for row in ROWS {
            let allowed = match row.opcode {
                0x03 | 0x12 => true,
                0xa0 => lun == [0; 8],
                _ => false,
            };
            let mut cdb = vec![0; row.usage.len()];
            (cdb[0], cdb[1]) = (row.opcode, row.service_action.unwrap_or(0));
            let response = respond(channel.plan(&at(lun, &cdb)));
            let refused = response.sense.map(|sense| sense.code) == Some(codes::LUN_NOT_SUPPORTED);
            assert_eq!(refused, !allowed, "{} at {lun:02x?}", row.name);
        }
        let unknown = respond(channel.plan(&at(lun, &[0xff; 16])));
        assert_eq!(sense_of(&unknown).code, codes::LUN_NOT_SUPPORTED);
    }
    // Where LUN 0 is not mapped, it still tells what is.
    let report = report_luns(&mut channel, 0);
    assert_eq!(report[..10], [0, 0, 0, 8, 0, 0, 0, 0, 0, 1]);
}

#[test]
fn the_well_known_unit() {
    let unit = Arc::new(unit());
    let mut channel = ScsiSession::new(port(), None, &luns(&[(0, &unit)])).channel();
    let lun = [0xc1, 1, 0, 0, 0, 0, 0, 0];
    let inquiry = respond(channel.plan(&at(lun, &[0x12, 0, 0, 0, 96, 0])));
    assert_eq!(inquiry.data[0], 0x1e);
    assert_eq!(respond(channel.plan(&at(lun, &READY))), Response::good());
    let report = [0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0];
    assert_eq!(respond(channel.plan(&at(lun, &report))).data.len(), 16);
    let read = respond(channel.plan(&at(lun, &[0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0])));
    assert_eq!(sense_of(&read).code, codes::INVALID_OPCODE);
}

#[test]
fn attentions_are_per_session_and_unit() {
    let units = [unit(), unit()].map(Arc::new);
    let map = luns(&[(0, &units[0]), (1, &units[1])]);
    let session = ScsiSession::new(port(), None, &map);
    let mut channels = [session.channel(), session.channel()];
    assert_eq!(data(&mut channels[0], &READY), []);
    session.power_on();
    // The session is told once for each unit, on whichever channel.
    let first = respond(channels[0].plan(&numbered(0, &READY)));
    assert_eq!(sense_of(&first).code, codes::RESET_OCCURRED);
    assert_eq!(
        respond(channels[1].plan(&numbered(0, &READY))),
        Response::good()
    );
    // These do not care, and leave it pending.
    data(&mut channels[1], &[0x12, 0, 0, 0, 96, 0]);
    report_luns(&mut channels[1], 0);
    let second = respond(channels[1].plan(&numbered(1, &READY)));
    assert_eq!(sense_of(&second).code, codes::RESET_OCCURRED);
    assert_eq!(
        respond(channels[0].plan(&numbered(1, &READY))),
        Response::good()
    );

    units[1].reset();
    assert_eq!(
        respond(channels[0].plan(&numbered(0, &READY))),
        Response::good()
    );
    let reset = respond(channels[0].plan(&numbered(1, &READY)));
    assert_eq!(sense_of(&reset).code, codes::UNIT_RESET_OCCURRED);
}

#[test]
fn a_target_reset_resets_what_its_session_sees() {
    let units = [1, 2, 3].map(|id| LogicalUnit::new(UnitId(id), model()).expect("valid"));
    let units = units.map(Arc::new);
    let session = ScsiSession::new(
        port(),
        None,
        &luns(&[(0, &units[0]), (1, &units[1]), (2, &units[0])]),
    );
    let other = ScsiSession::new(port(), None, &luns(&[(0, &units[1]), (1, &units[2])]));
    let mut channels = [session.channel(), other.channel()];
    for (kind, code) in [
        (ResetKind::TargetWarm, codes::TARGET_RESET_OCCURRED),
        (ResetKind::TargetCold, codes::POWER_ON_OCCURRED),
    ] {
        assert_eq!(session.reset_all(kind), [UnitId(1), UnitId(2)]);
        for number in 0..3 {
            let told = respond(channels[0].plan(&numbered(number, &READY)));
            assert_eq!(sense_of(&told).code, code, "{number}");
            let again = respond(channels[0].plan(&numbered(number, &READY)));
            assert_eq!(again, Response::good());
        }
        let shared = respond(channels[1].plan(&numbered(0, &READY)));
        assert_eq!(sense_of(&shared).code, code);
        let unseen = respond(channels[1].plan(&numbered(1, &READY)));
        assert_eq!(unseen, Response::good());
    }
}

#[test]
fn an_attention_goes_before_other_errors() {
    let unit = Arc::new(unit());
    let mut channel = ScsiSession::new(port(), None, &luns(&[(0, &unit)])).channel();
    unit.reset();
    let read = [0x28, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 1, 0];
    assert_eq!(
        refused(&mut channel, &read).code,
        codes::UNIT_RESET_OCCURRED
    );
    assert_eq!(refused(&mut channel, &read).code, codes::LBA_OUT_OF_RANGE);
}

#[test]
fn the_lun_map_changes_under_open_channels() {
    let units = [unit_of(model()), unit_of(thin_model())].map(Arc::new);
    let session = ScsiSession::new(port(), None, &luns(&[(0, &units[0]), (1, &units[1])]));
    let mut channel = session.channel();
    let index = channel.unit_at([0; 8]).expect("mapped");

    // The same map is no change.
    session.set_luns(&luns(&[(0, &units[0]), (1, &units[1])]));
    assert_eq!(data(&mut channel, &READY), []);

    session.set_luns(&luns(&[(0, &units[0]), (2, &units[1])]));
    assert_eq!(refused(&mut channel, &READY).code, codes::LUNS_CHANGED);
    assert_eq!(data(&mut channel, &READY), []);
    let gone = respond(channel.plan(&numbered(1, &READY)));
    assert_eq!(sense_of(&gone).code, codes::LUN_NOT_SUPPORTED);
    let added = respond(channel.plan(&numbered(2, &READY)));
    assert_eq!(added, Response::good());

    // Another unit under a known number.
    session.set_luns(&luns(&[(0, &units[1]), (2, &units[1])]));
    assert_eq!(
        refused(&mut channel, &READY).code,
        codes::INQUIRY_DATA_CHANGED
    );
    assert_eq!(refused(&mut channel, &READY).code, codes::LUNS_CHANGED);
    let told = respond(channel.plan(&numbered(2, &READY)));
    assert_eq!(sense_of(&told).code, codes::LUNS_CHANGED);
    assert_eq!(
        respond(channel.plan(&numbered(2, &READY))),
        Response::good()
    );

    // An index stays good for commands in flight.
    session.set_luns(&luns(&[]));
    assert!(channel.unit_at([0; 8]).is_none());
    assert!(Arc::ptr_eq(channel.unit(index), &units[0]));
}

#[test]
fn reading_the_inventory_answers_the_attention() {
    let units = [unit(), unit()].map(Arc::new);
    let session = ScsiSession::new(port(), None, &luns(&[(0, &units[0])]));
    let mut channel = session.channel();
    session.set_luns(&luns(&[(0, &units[0]), (1, &units[1])]));
    assert_eq!(report_luns(&mut channel, 0).len(), 24);
    assert_eq!(data(&mut channel, &READY), []);
}

#[test]
fn short_cdbs_naca_and_aca_are_refused() {
    let mut channel = channel_of(thin_model());
    for row in ROWS.iter().filter(|row| row.available(&thin_model())) {
        let length = row.usage.len();
        let mut cdb = vec![0; length];
        (cdb[0], cdb[1]) = (row.opcode, row.service_action.unwrap_or(0));
        let aca = Command {
            attribute: TaskAttribute::Aca,
            ..command(&cdb)
        };
        let aca = sense_of(&respond(channel.plan(&aca)));
        assert_eq!(aca.code, codes::INVALID_MESSAGE, "{}", row.name);

        let short = refused(&mut channel, &cdb[..length - 1]);
        assert_eq!(short.code, codes::INVALID_FIELD_IN_CDB, "{}", row.name);
        cdb[length - 1] = 0x04;
        let naca = refused(&mut channel, &cdb);
        assert_eq!(naca, Sense::cdb_bits(length as u16 - 1, 2), "{}", row.name);
    }
}

#[test]
fn unknown_operation_codes() {
    let mut channel = channel_of(model());
    for opcode in [0x5d, 0x7f, 0x48, 0x3b, 0xff] {
        let sense = refused(&mut channel, &[opcode; 16]);
        assert_eq!(sense.code, codes::INVALID_OPCODE, "{opcode:02x}");
    }
}
