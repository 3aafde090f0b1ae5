//! Properties, and the time that hosts may be silent.

use std::time::Duration;

use crate::nvme::controller::{ControllerSetup, Kind};
use crate::nvme::plan::Plan;
use crate::nvme::status::Status;
use crate::nvme::testing::*;

const CAP: u32 = 0x00;
const CC: u32 = 0x14;
const CSTS: u32 = 0x1c;

const READY: u64 = 1;
const FATAL: u64 = 2;
const SHUT_DOWN: u64 = 2 << 2;

#[test]
fn capabilities() {
    let mut io = Admin::connected(setup(Kind::Io));
    // MQES 127, CQR, TO 15, CSS: NVM and per command set, CRMS.CRWMS.
    let expected = 127 | 1 << 16 | 15 << 24 | 1 << 37 | 1 << 43 | 1 << 59;
    assert_eq!(io.property(CAP), expected);
    let mut discovery = Admin::connected(setup(discovery()));
    assert_eq!(discovery.property(CAP), expected & !(1 << 43));
    // MQES is at least one.
    let mut tiny = Admin::connected(ControllerSetup {
        queue_depth: 0,
        ..setup(Kind::Io)
    });
    assert_eq!(tiny.property(CAP) & 0xffff, 1);
}

#[test]
fn properties_have_their_sizes() {
    let mut admin = Admin::connected(setup(Kind::Io));
    for offset in 0..=0x200 {
        for attributes in 0..8 {
            let there = match attributes {
                0 => [0x08, 0x14, 0x1c, 0x68].contains(&offset),
                1 => offset == 0,
                _ => false,
            };
            let completion = admin.respond(&property_get(attributes, offset));
            let expected = if there {
                Status::SUCCESS
            } else {
                Status::INVALID_FIELD
            };
            assert_eq!(completion.status, expected, "{offset:x} {attributes}");
        }
        if offset != CC {
            let status = admin.refused(&property_set(offset, 1));
            assert_eq!(status, Status::INVALID_FIELD, "{offset:x}");
        }
    }
    let mut eight = property_set(CC, LINUX_CC);
    eight.cdw10[0] = 1;
    assert_eq!(admin.refused(&eight), Status::INVALID_FIELD);
    assert_eq!(admin.property(CSTS), 0);
}

#[test]
fn enabling_checks_the_configuration() {
    for (cc, ready) in [
        (0x0046_0001, true),
        (0x0046_0061, true),
        // No I/O command set, one that is not, entry sizes, page size, arbitration.
        (0x0046_0071, false),
        (0x0046_0011, false),
        (0x0047_0001, false),
        (0x0056_0001, false),
        (0x0000_0001, false),
        (0x0046_0081, false),
        (0x0046_0801, false),
    ] {
        let mut admin = Admin::connected(setup(Kind::Io));
        admin.set_property(CC, cc);
        assert_eq!(admin.property(CC), cc.into());
        assert_eq!(
            admin.property(CSTS),
            if ready { READY } else { FATAL },
            "{cc:x}"
        );
        assert_eq!(admin.controller().is_enabled(), ready);
        assert_eq!(admin.controller().is_ready(), ready);
        // Disabling helps.
        assert!(matches!(admin.set_property(CC, cc & !1), Plan::Reset));
        assert_eq!(admin.property(CSTS), 0);
        admin.set_property(CC, LINUX_CC);
        assert_eq!(admin.property(CSTS), READY);
    }
}

#[test]
fn discovery_controllers_do_not_care_for_io_queues() {
    for (cc, ready) in [
        (0x0000_0001, true),
        (0x0046_0001, true),
        (0x71, true),
        (0x61, false),
    ] {
        let mut admin = Admin::connected(setup(discovery()));
        admin.set_property(CC, cc);
        assert_eq!(
            admin.property(CSTS),
            if ready { READY } else { FATAL },
            "{cc:x}"
        );
        assert!(!admin.controller().is_ready());
    }
}

#[test]
fn a_reset_ends_what_was() {
    let mut admin = Admin::enabled(Kind::Io);
    assert!(matches!(admin.set_property(CC, LINUX_CC), Plan::Respond(_)));
    assert!(matches!(admin.set_property(CC, LINUX_CC & !1), Plan::Reset));
    assert_eq!(admin.property(CSTS), 0);
    assert!(!admin.controller().is_ready());
    assert_eq!(
        admin.refused(&identify(0x01, 0)),
        Status::COMMAND_SEQUENCE_ERROR
    );
    // Once more is no reset.
    assert!(matches!(
        admin.set_property(CC, LINUX_CC & !1),
        Plan::Respond(_)
    ));
}

#[test]
fn shutting_down_is_done_at_once() {
    for shutdown in [1 << 14, 2 << 14] {
        let mut admin = Admin::enabled(Kind::Io);
        assert!(matches!(
            admin.set_property(CC, LINUX_CC | shutdown),
            Plan::Respond(_)
        ));
        assert_eq!(admin.property(CSTS), READY | SHUT_DOWN);
        // No I/O after that, but the host may still ask.
        assert!(!admin.controller().is_ready());
        admin.identify(0x01, 0);
        assert!(matches!(admin.set_property(CC, 0), Plan::Reset));
        assert_eq!(admin.property(CSTS), 0);
    }
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(100 + seconds)
}

#[test]
fn a_silent_host_is_lost() {
    let mut admin = Admin::enabled(Kind::Io);
    // Five seconds, and one of grace.
    assert!(!admin.controller().tick(at(6)));
    admin.controller().heard(at(6));
    assert!(!admin.controller().tick(at(12)));
    assert!(admin.controller().tick(at(13)));
    assert_eq!(admin.property(CSTS), READY | FATAL);
    assert!(!admin.controller().is_ready());
    assert!(!admin.controller().is_enabled());
    // For good.
    admin.controller().heard(at(14));
    assert!(admin.controller().tick(at(14)));
}

#[test]
fn the_clock_may_stand_still() {
    let admin = Admin::enabled(Kind::Io);
    admin.controller().heard(at(50));
    admin.controller().heard(at(40));
    assert!(!admin.controller().tick(at(0)));
    assert!(!admin.controller().tick(at(56)));
    assert!(admin.controller().tick(at(57)));
}

#[test]
fn a_new_keep_alive_time_counts_at_once() {
    let mut admin = Admin::enabled(Kind::Io);
    admin.result(&set_features(0x0f, 60_000));
    assert!(!admin.controller().tick(at(61)));
    assert!(admin.controller().tick(at(62)));
}

#[test]
fn without_a_keep_alive_time_a_host_may_be_silent() {
    let without = |kind| {
        let setup = ControllerSetup {
            keep_alive: Duration::ZERO,
            ..setup(kind)
        };
        Admin::connected(setup)
    };
    let mut io = without(Kind::Io);
    io.set_property(CC, LINUX_CC);
    assert!(!io.controller().tick(at(1_000_000)));
    // Not before it has enabled the controller, and not for ever at a discovery controller.
    assert!(!without(Kind::Io).controller().tick(at(121)));
    assert!(without(Kind::Io).controller().tick(at(122)));
    let mut discovery = without(discovery());
    discovery.set_property(CC, 0x0046_0001);
    assert!(!discovery.controller().tick(at(121)));
    assert!(discovery.controller().tick(at(122)));
}

#[test]
fn an_association_outlives_a_shutdown_for_two_minutes() {
    let mut admin = Admin::enabled(Kind::Io);
    admin.set_property(CC, LINUX_CC | 1 << 14);
    assert!(!admin.controller().tick(at(121)));
    assert!(admin.controller().tick(at(122)));
}
