//! Get Features and Set Features.

use std::sync::Arc;
use std::time::Duration;

use crate::nvme::command::Command;
use crate::nvme::controller::Kind;
use crate::nvme::queue::Queue;
use crate::nvme::status::Status;
use crate::nvme::testing::*;

/// Those with a dword that the host may set: default, a value, and what comes back.
const WORDS: &[(u8, u64, u32, u64)] = &[
    (0x01, 0, 0x0302_0107, 0x0302_0107),
    (0x02, 0, 0x60, 0x60),
    (0x05, 0, 0x1234, 0x1234),
    (0x0a, 0, 1, 1),
    (0x0b, 0, 0x13f, 0x13f),
    (0x0f, 5000, 60_000, 60_000),
];

#[test]
fn values_are_set_and_read() {
    let mut admin = Admin::enabled(Kind::Io);
    for &(id, default, value, back) in WORDS {
        assert_eq!(admin.feature(id, 0), default, "{id:02x}");
        assert_eq!(admin.result(&set_features(id, value)), 0, "{id:02x}");
        assert_eq!(admin.feature(id, 0), back, "{id:02x}");
        // Default, saved, capabilities.
        assert_eq!(admin.feature(id, 1), default, "{id:02x}");
        assert_eq!(admin.feature(id, 2), default, "{id:02x}");
        assert_eq!(admin.feature(id, 3), 4, "{id:02x}");
        for select in 4..8 {
            let status = admin.refused(&get_features(id, select, 0));
            assert_eq!(status, Status::INVALID_FIELD, "{id:02x} {select}");
        }
    }
}

#[test]
fn a_reset_brings_defaults_back() {
    let mut admin = Admin::enabled(Kind::Io);
    for &(id, _, value, _) in WORDS {
        admin.result(&set_features(id, value));
    }
    admin.set_property(0x14, LINUX_CC & !1);
    admin.set_property(0x14, LINUX_CC);
    for &(id, default, ..) in WORDS {
        assert_eq!(admin.feature(id, 0), default, "{id:02x}");
    }
}

#[test]
fn nothing_is_saved_or_of_a_namespace() {
    let mut admin = Admin::enabled(Kind::Io);
    for &(id, _, value, _) in WORDS {
        let mut save = set_features(id, value);
        save.cdw10[0] |= 1 << 31;
        assert_eq!(admin.refused(&save), Status::FEATURE_NOT_SAVEABLE);
        let mut of_one = set_features(id, value);
        of_one.nsid = 1;
        let status = admin.refused(&of_one);
        assert_eq!(status, Status::FEATURE_NOT_NAMESPACE_SPECIFIC);
        let mut of_all = set_features(id, value);
        of_all.nsid = u32::MAX;
        admin.result(&of_all);
    }
}

#[test]
fn wrong_values_are_refused() {
    let mut admin = Admin::enabled(Kind::Io);
    for (id, value) in [
        // A power state, DULBE, reserved bits, events that there are not.
        (0x02, 1),
        (0x05, 1 << 16),
        (0x0a, 2),
        (0x0b, 1 << 9),
        (0x0b, 1 << 31),
        // Sensors, and kinds of thresholds.
        (0x04, 1 << 16),
        (0x04, 2 << 20),
    ] {
        let status = admin.refused(&set_features(id, value));
        assert_eq!(status, Status::INVALID_FIELD, "{id:02x} {value:x}");
    }
    let status = admin.refused(&set_features(0x19, 1));
    assert_eq!(status, Status::COMMAND_SETS_REJECTED);
    admin.result(&set_features(0x19, 0));
}

#[test]
fn features_that_are_not_there() {
    let there = [
        0x01, 0x02, 0x04, 0x05, 0x06, 0x07, 0x0a, 0x0b, 0x0e, 0x0f, 0x16, 0x19, 0x81, 0x82, 0x83,
    ];
    let mut admin = Admin::enabled(Kind::Io);
    for id in (0..=u8::MAX).filter(|id| !there.contains(id)) {
        for select in [0, 3] {
            let status = admin.refused(&get_features(id, select, 0));
            assert_eq!(status, Status::INVALID_FIELD, "{id:02x}");
        }
        let status = admin.refused(&set_features(id, 0));
        assert_eq!(status, Status::INVALID_FIELD, "{id:02x}");
    }
}

#[test]
fn temperature_thresholds() {
    let mut admin = Admin::enabled(Kind::Io);
    let under = 1 << 20;
    assert_eq!(admin.result(&get_features(0x04, 0, 0)), 0xffff);
    assert_eq!(admin.result(&get_features(0x04, 0, under)), 0);
    // Of all sensors, which is the composite temperature only.
    admin.result(&set_features(0x04, 0xf << 16 | 350));
    admin.result(&set_features(0x04, under | 260));
    assert_eq!(admin.result(&get_features(0x04, 0, 0)), 350);
    assert_eq!(admin.result(&get_features(0x04, 0, under)), 260);
    assert_eq!(
        admin.refused(&get_features(0x04, 0, 0xf << 16)),
        Status::INVALID_FIELD
    );
}

#[test]
fn the_write_cache_is_that_of_the_devices() {
    let mut admin = Admin::enabled(Kind::Io);
    assert_eq!(admin.feature(0x06, 0), 1);
    assert_eq!(admin.feature(0x06, 3), 0);
    let status = admin.refused(&set_features(0x06, 0));
    assert_eq!(status, Status::FEATURE_NOT_CHANGEABLE);
}

#[test]
fn queues_are_granted_up_to_the_limit() {
    let mut admin = Admin::enabled(Kind::Io);
    assert_eq!(admin.feature(0x07, 0), 0x0003_0003);
    for (asked, granted) in [
        (0, 0),
        (0x0001_0001, 0x0001_0001),
        (0x0000_0003, 0x0000_0003),
        (0x003f_003f, 0x0003_0003),
        (0xfffe_fffe, 0x0003_0003),
    ] {
        assert_eq!(admin.result(&set_features(0x07, asked)), granted);
        assert_eq!(admin.feature(0x07, 0), granted);
    }
    for asked in [0xffff, 0xffff_0000, u32::MAX] {
        assert_eq!(
            admin.refused(&set_features(0x07, asked)),
            Status::INVALID_FIELD
        );
    }
}

#[test]
fn queues_are_not_counted_again_once_there_are_some() {
    let mut admin = Admin::enabled(Kind::Io);
    admin.result(&set_features(0x07, 0x0001_0001));
    let _queue = Queue::new(Arc::clone(admin.queue.controller()), 1);
    let status = admin.refused(&set_features(0x07, 0));
    assert_eq!(status, Status::COMMAND_SEQUENCE_ERROR);
    assert_eq!(admin.feature(0x07, 0), 0x0001_0001);
    // A reset is a new beginning.
    admin.set_property(0x14, LINUX_CC & !1);
    admin.set_property(0x14, LINUX_CC);
    admin.result(&set_features(0x07, 0));
}

#[test]
fn the_timestamp_goes_on() {
    let mut admin = Admin::enabled(Kind::Io);
    let seconds = |seconds| Duration::from_secs(seconds);
    admin.controller().heard(seconds(103));
    // It has counted since the controller was made.
    let stamp = admin.reply(&get_features(0x0e, 0, 0));
    assert_eq!(u64_at(&stamp, 0), 3000);
    let set = 0x0000_1234_5678_9abc_u64;
    // What is above 48 bits does not count.
    let bytes = (set | 0xffff << 48).to_le_bytes();
    assert_eq!(admin.send(&set_features(0x0e, 0), &bytes), Status::SUCCESS);
    admin.controller().heard(seconds(105));
    let stamp = admin.reply(&get_features(0x0e, 0, 0));
    assert_eq!(
        u64_at(&stamp, 0),
        (set + 2000) | (1 << 49),
        "set by the host"
    );
}

#[test]
fn host_behavior_is_kept() {
    let mut admin = Admin::enabled(Kind::Io);
    assert_eq!(admin.reply(&get_features(0x16, 0, 0)), [0; 512]);
    let mut behavior = [0; 512];
    behavior[0] = 1;
    behavior[2] = 1;
    assert_eq!(
        admin.send(&set_features(0x16, 0), &behavior),
        Status::SUCCESS
    );
    assert_eq!(admin.reply(&get_features(0x16, 0, 0)), behavior);
    behavior[0] = 2;
    let status = admin.send(&set_features(0x16, 0), &behavior);
    assert_eq!(status, Status::INVALID_FIELD);
}

#[test]
fn the_host_identifier_is_that_of_connect() {
    let mut admin = Admin::enabled(Kind::Io);
    assert_eq!(admin.reply(&get_features(0x81, 0, 1)), HOST_ID);
    assert_eq!(
        admin.refused(&get_features(0x81, 0, 0)),
        Status::INVALID_FIELD
    );
    let status = admin.refused(&set_features(0x81, 1));
    assert_eq!(status, Status::COMMAND_SEQUENCE_ERROR);
}

#[test]
fn keep_alive_times_are_rounded_up() {
    let mut admin = Admin::enabled(discovery());
    for (asked, kept) in [
        (1, 1000),
        (1000, 1000),
        (1001, 2000),
        (0, 0),
        (u32::MAX, u64::from(u32::MAX)),
    ] {
        admin.result(&set_features(0x0f, asked));
        assert_eq!(admin.feature(0x0f, 0), kept);
    }
}

#[test]
fn a_discovery_controller_has_its_own_events() {
    let mut admin = Admin::enabled(discovery());
    admin.result(&set_features(0x0b, 1 << 31));
    assert_eq!(admin.feature(0x0b, 0), 1 << 31);
    for value in [1, 1 << 8] {
        assert_eq!(
            admin.refused(&set_features(0x0b, value)),
            Status::INVALID_FIELD
        );
    }
}

#[test]
fn data_that_were_announced_for_a_disabled_controller_change_nothing() {
    let mut admin = Admin::enabled(Kind::Io);
    let pending = crate::nvme::plan::Pending {
        command: Command {
            data_length: 8,
            ..set_features(0x0e, 0)
        },
        namespace: None,
    };
    admin.set_property(0x14, 0);
    match admin.queue.data(pending, &[1; 8], &mut admin.units) {
        crate::nvme::Plan::Respond(completion) => {
            assert_eq!(completion.status, Status::COMMAND_SEQUENCE_ERROR);
        }
        other => panic!("{other:?}"),
    }
}
