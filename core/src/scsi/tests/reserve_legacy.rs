//! RESERVE and RELEASE of SCSI-2.

use super::super::testing::*;
use super::super::*;
use super::reserve_hosts::*;

const TEST_UNIT_READY: [u8; 6] = [0; 6];
const READ: [u8; 10] = [0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0];
const WRITE: [u8; 10] = [0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0];
const RESERVE: [u8; 6] = [0x16, 0, 0, 0, 0, 0];
const RELEASE: [u8; 6] = [0x17, 0, 0, 0, 0, 0];
const RESERVE_10: [u8; 10] = [0x56, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const RELEASE_10: [u8; 10] = [0x57, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn reserve_and_release_of_old() {
    let unit = disk();
    let (mut one, mut other) = (host(&unit, &srp(1)), host(&unit, &srp(2)));
    for (reserve, release) in [(&RESERVE[..], &RELEASE[..]), (&RESERVE_10, &RELEASE_10)] {
        assert_eq!(status(&mut one, reserve), Status::Good);
        assert_eq!(status(&mut one, reserve), Status::Good);
        for cdb in [
            &TEST_UNIT_READY[..],
            &READ,
            &WRITE,
            reserve,
            &[0x1a, 0, 0x3f, 0, 255, 0],
        ] {
            assert_eq!(status(&mut other, cdb), Status::ReservationConflict);
        }
        for cdb in [
            &[0x12, 0, 0, 0, 36, 0][..],
            &[0x03, 0, 0, 0, 18, 0],
            release,
        ] {
            assert_eq!(status(&mut other, cdb), Status::Good);
        }
        // Releasing what somebody else has reserved did nothing.
        assert_eq!(status(&mut other, &READ), Status::ReservationConflict);
        assert_eq!(status(&mut one, &WRITE), Status::Good);
        // Persistent reservations conflict for everybody (SPC-2 section 5.5.1).
        for channel in [&mut one, &mut other] {
            for action in 0..4 {
                assert_eq!(
                    status(channel, &in_cdb(action, 8)),
                    Status::ReservationConflict
                );
            }
            for action in 0..8 {
                assert_eq!(
                    status(channel, &out_cdb(action, 1, 24)),
                    Status::ReservationConflict
                );
            }
        }
        assert_eq!(status(&mut one, release), Status::Good);
        assert_eq!(status(&mut other, &WRITE), Status::Good);
        assert_eq!(status(&mut one, release), Status::Good);
    }
    // A reset and the end of the session end it.
    assert_eq!(status(&mut one, &RESERVE), Status::Good);
    unit.reset();
    refused(&mut other, &TEST_UNIT_READY);
    assert_eq!(status(&mut other, &RESERVE), Status::Good);
    drop(other);
    refused(&mut one, &TEST_UNIT_READY);
    assert_eq!(status(&mut one, &WRITE), Status::Good);
}

#[test]
fn third_parties_and_extents_are_no_more() {
    let mut one = host(&disk(), &srp(1));
    for (opcode, byte, bit) in [
        (0x16, 0x10, 4),
        (0x16, 0x1f, 4),
        (0x16, 0x01, 0),
        (0x17, 0x10, 4),
        (0x17, 0x03, 0),
        (0x56, 0x10, 4),
        (0x56, 0x02, 1),
        (0x56, 0x01, 0),
        (0x57, 0x12, 4),
        (0x57, 0x02, 1),
        (0x57, 0x01, 0),
    ] {
        let mut cdb = vec![0; if opcode < 0x20 { 6 } else { 10 }];
        (cdb[0], cdb[1]) = (opcode, byte);
        assert_eq!(refused(&mut one, &cdb), Sense::cdb_bits(1, bit), "{cdb:x?}");
    }
    // The LUN of SCSI-2, and a bit that LONGID is elsewhere.
    for byte in [0xe0, 0x02, 0x0e] {
        assert_eq!(status(&mut one, &[0x16, byte, 0, 0, 0, 0]), Status::Good);
    }
}

#[test]
fn reserve_beside_persistent_reservations() {
    let conflict = Status::ReservationConflict;
    for (code, kind) in TYPES {
        let unit = disk();
        let (mut holder, mut registered) = (host(&unit, &srp(1)), host(&unit, &srp(2)));
        let mut stranger = host(&unit, &srp(3));
        register(&mut holder, 1);
        register(&mut registered, 2);
        // Registrations alone are in the way.
        for channel in [&mut holder, &mut registered, &mut stranger] {
            for cdb in [&RESERVE[..], &RESERVE_10, &RELEASE, &RELEASE_10] {
                assert_eq!(status(channel, cdb), conflict);
            }
        }
        good(&mut holder, 1, code, &list(1, 0, 0));
        let served = if kind.is_for_the_holder() {
            conflict
        } else {
            Status::Good
        };
        for cdb in [&RESERVE[..], &RELEASE, &RESERVE_10, &RELEASE_10] {
            assert_eq!(status(&mut holder, cdb), Status::Good);
            assert_eq!(status(&mut registered, cdb), served, "{kind:?}");
            assert_eq!(status(&mut stranger, cdb), conflict);
        }
        // None of it has changed anything.
        assert_eq!(read(&mut stranger, 1)[21], code);
    }
}
