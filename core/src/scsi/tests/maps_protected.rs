//! Mappings that protect a unit from writes.

use std::sync::Arc;

use super::super::opcodes::{Flags, ROWS};
use super::super::sense::codes;
use super::super::testing::*;
use super::super::*;
use super::maps::*;
use super::reserve_hosts::*;

#[test]
fn a_read_only_mapping_is_like_a_read_only_disk() {
    let map = |model: DiskModel, read_only| {
        let unit = Arc::new(unit_of(model));
        let map = match read_only {
            true => protected(&[(0, &unit)]),
            false => luns(&[(0, &unit)]),
        };
        ScsiSession::new(port(), Some(srp(1)), &map).channel()
    };
    let model = || DiskModel {
        limits: Limits {
            max_atomic_blocks: 8,
            ..thin_model().limits
        },
        ..thin_model()
    };
    let disk = DiskModel {
        read_only: true,
        ..model()
    };
    let channels = || [map(disk.clone(), false), map(model(), true)];
    let mut refused = 0;
    for row in ROWS {
        let mut cdb = vec![0; row.usage.len()];
        (cdb[0], cdb[1]) = (row.opcode, row.service_action.unwrap_or(0));
        let [disk, mapping] = channels().map(|mut channel| channel.plan(&command(&cdb)));
        assert_eq!(format!("{disk:?}"), format!("{mapping:?}"), "{}", row.name);
        if let Plan::Respond(response) = mapping
            && response.sense.map(|sense| sense.code) == Some(codes::WRITE_PROTECTED)
        {
            refused += 1;
        }
    }
    let writes = ROWS.iter().filter(|row| row.flags.has(Flags::WRITES));
    assert_eq!(refused, writes.count());
    // WP.
    for [disk, mapping] in [
        channels().map(|mut channel| data(&mut channel, &MODE_SENSE_6)),
        channels().map(|mut channel| data(&mut channel, &[0x5a, 0, 0x3f, 0, 0, 0, 0, 0, 255, 0])),
    ] {
        assert_eq!(disk, mapping);
    }
    assert_eq!(data(&mut map(model(), true), &MODE_SENSE_6)[2], 0x90);
    assert_eq!(data(&mut map(model(), false), &MODE_SENSE_6)[2], 0x10);
}

#[test]
fn a_mapping_protects_for_its_own_nexus() {
    let mut maps = Maps::new();
    maps.map_with(&[(0, 0), (1, 1), (2, 0)], &[0]);
    maps.told(0);
    assert_eq!(
        sense_of(&respond(maps.plan(0, &WRITE))).code,
        codes::WRITE_PROTECTED
    );
    assert!(matches!(maps.plan(0, &READ), Plan::Block(_)));
    // By another number, and for others.
    maps.told(2);
    assert!(matches!(maps.plan(2, &WRITE), Plan::Block(_)));
    let mut other = other(&maps.units[0]);
    assert!(matches!(other.plan(&command(&WRITE)), Plan::Block(_)));
    assert_eq!(data(&mut other, &MODE_SENSE_6)[2], 0x10);
}

#[test]
fn who_may_not_write_may_reserve() {
    let mut maps = Maps::new();
    maps.map_with(&[(0, 0), (1, 1)], &[0]);
    maps.told(0);
    register(&mut maps.channel, 1);
    good(&mut maps.channel, 1, 3, &list(1, 0, 0));
    let mut other = other(&maps.units[0]);
    assert_eq!(status(&mut other, &READ), Status::ReservationConflict);
    good(&mut maps.channel, 2, 3, &list(1, 0, 0));
    assert_eq!(status(&mut other, &READ), Status::Good);
}

#[test]
fn a_changed_protection_keeps_the_state() {
    let mut maps = Maps::new();
    assert_eq!(status(&mut maps.channel, &RESERVE), Status::Good);
    assert_eq!(status(&mut maps.channel, &STOP), Status::Good);
    for read_only in [&[0][..], &[]] {
        assert!(maps.map_with(&[(0, 0), (1, 1)], read_only).is_empty());
        // That is all that the host hears, and at that LUN alone.
        let first = respond(maps.plan(0, &READY));
        assert_eq!(sense_of(&first).code, codes::MODE_PARAMETERS_CHANGED);
        assert_eq!(maps.told(1), []);
        let protected = data(&mut maps.channel, &MODE_SENSE_6)[2] & 0x80 != 0;
        assert_eq!(protected, !read_only.is_empty());
        // Still reserved, still stopped.
        let mut other = other(&maps.units[0]);
        assert_eq!(status(&mut other, &READ), Status::ReservationConflict);
        let stopped = respond(maps.plan(0, &READ));
        assert_eq!(sense_of(&stopped).code, codes::UNIT_STOPPED);
    }
    // A reset does not make it writable, and so does not take this away.
    maps.map_with(&[(0, 0), (1, 1)], &[0]);
    maps.units[0].reset();
    assert_eq!(
        maps.told(0),
        [codes::UNIT_RESET_OCCURRED, codes::MODE_PARAMETERS_CHANGED]
    );
}
