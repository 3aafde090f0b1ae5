//! Which admin commands there are, and when.

use crate::nvme::command::{Command, Fuse};
use crate::nvme::controller::Kind;
use crate::nvme::plan::Plan;
use crate::nvme::status::Status;
use crate::nvme::testing::*;

/// What a Linux host asks from Connect to a live controller, in its order.
#[test]
fn a_linux_host_connects() {
    let mut admin = Admin::connected(setup(Kind::Io));
    let capabilities = admin.property(0x00);
    assert_ne!(capabilities & 1 << 43, 0, "it selects all command sets");
    admin.set_property(0x14, LINUX_CC & !1);
    assert_eq!(admin.property(0x00), capabilities);
    assert_ne!(capabilities & 1 << 59, 0, "it reads CRTO");
    let timeout = capabilities >> 24 & 0xff;
    assert!(admin.property(0x68) & 0xffff >= timeout);
    admin.set_property(0x14, LINUX_CC);
    assert_eq!(admin.property(0x1c), 1);
    assert_eq!(admin.property(0x08), 0x2_0000);

    let id = admin.identify(0x01, 0);
    assert_eq!(u16_at(&id, 78), admin.controller().id());
    admin.reply(&command(0x02, u32::MAX, &[0x05 | 0x3ff << 16]));
    admin.reply(&command(0x02, u32::MAX, &[0x0c | 0x3ff << 16]));
    let timestamp = 1_795_000_000_000u64.to_le_bytes();
    assert_eq!(
        admin.send(&set_features(0x0e, 0), &timestamp),
        Status::SUCCESS
    );
    admin.identify(0x06, 0);
    admin.reply(&command(0x02, u32::MAX, &[0x02 | 127 << 16]));
    assert_eq!(admin.result(&set_features(0x07, 0x0001_0001)), 0x0001_0001);
    assert!(admin.controller().is_ready());

    admin.result(&command(0x18, 0, &[]));
    let events = u32_at(&id, 92);
    admin.result(&set_features(0x0b, events));
    let request = Command {
        data_length: 0,
        ..command(0x0c, 0, &[])
    };
    assert!(matches!(admin.plan(&request), Plan::Event));

    let list = admin.identify(0x02, 0);
    assert_eq!([0, 4, 8, 12].map(|at| u32_at(&list, at)), [1, 2, 5, 0]);
    for namespace in [1, 2, 5] {
        admin.identify(0x03, namespace);
        assert_eq!(admin.identify(0x08, namespace)[14] & 1, 1, "ready");
        assert_ne!(u64_at(&admin.identify(0x00, namespace), 8), 0);
        admin.identify(0x05, namespace);
    }
}

#[test]
fn unknown_opcodes_are_refused() {
    let known = [0x02, 0x06, 0x08, 0x09, 0x0a, 0x0c, 0x18, 0x7f];
    let mut admin = Admin::enabled(Kind::Io);
    for opcode in (0..=u8::MAX).filter(|opcode| !known.contains(opcode)) {
        let status = admin.refused(&command(opcode, 1, &[]));
        assert_eq!(status, Status::INVALID_OPCODE, "{opcode:02x}");
    }
}

#[test]
fn discovery_controllers_know_less() {
    let known = [0x02, 0x06, 0x09, 0x0a, 0x0c, 0x18, 0x7f];
    let mut admin = Admin::enabled(discovery());
    for opcode in (0..=u8::MAX).filter(|opcode| !known.contains(opcode)) {
        let status = admin.refused(&command(opcode, 1, &[]));
        assert_eq!(status, Status::INVALID_OPCODE, "{opcode:02x}");
    }
    for cns in (0..=u8::MAX).filter(|cns| *cns != 1) {
        let status = admin.refused(&identify(cns, 1));
        assert_eq!(status, Status::INVALID_FIELD, "{cns:02x}");
    }
    for id in (0..=u8::MAX).filter(|id| ![0x0b, 0x0f].contains(id)) {
        let status = admin.refused(&get_features(id, 0, 1));
        assert_eq!(status, Status::INVALID_FIELD, "{id:02x}");
        let status = admin.refused(&set_features(id, 0));
        assert_eq!(status, Status::INVALID_FIELD, "{id:02x}");
    }
    assert_eq!(
        admin.reply(&command(0x02, 0, &[0x70 | 255 << 16])),
        [0xd5; 1024]
    );
    assert!(matches!(admin.plan(&command(0x0c, 0, &[])), Plan::Event));
    // I/O commands are never served.
    assert!(!admin.controller().is_ready());
}

#[test]
fn a_controller_that_is_not_enabled_only_has_properties() {
    let mut admin = Admin::connected(setup(Kind::Io));
    for opcode in [0x02, 0x06, 0x08, 0x09, 0x0a, 0x0c] {
        let status = admin.refused(&command(opcode, 1, &[1]));
        assert_eq!(status, Status::COMMAND_SEQUENCE_ERROR, "{opcode:02x}");
    }
    admin.result(&command(0x18, 0, &[]));
    admin.property(0x1c);
}

#[test]
fn abort_names_a_command() {
    let mut admin = Admin::enabled(Kind::Io);
    match admin.plan(&command(0x08, 0, &[0x0123_0004])) {
        Plan::Abort { queue, cid } => assert_eq!((queue, cid), (4, 0x123)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn admin_commands_are_not_fused() {
    let mut admin = Admin::enabled(Kind::Io);
    for fuse in [Fuse::First, Fuse::Second, Fuse::Reserved] {
        let command = Command {
            fuse,
            ..identify(0x01, 0)
        };
        assert_eq!(admin.refused(&command), Status::INVALID_FIELD);
    }
}

#[test]
fn replies_fit_the_data_pointer() {
    let mut admin = Admin::enabled(Kind::Io);
    let short = |command: Command, data_length| Command {
        data_length,
        ..command
    };
    for (command, needed) in [
        (identify(0x01, 0), 4096),
        (identify(0x02, 0), 4096),
        (get_features(0x0e, 0, 0), 8),
        (get_features(0x16, 0, 0), 512),
        (get_features(0x81, 0, 1), 16),
    ] {
        let status = admin.refused(&short(command, needed - 1));
        assert_eq!(status, Status::DATA_SGL_LENGTH_INVALID, "{command:?}");
        assert_eq!(admin.reply(&short(command, needed)).len(), needed as usize);
    }
    for (command, needed) in [(set_features(0x0e, 0), 8), (set_features(0x16, 0), 512)] {
        let status = admin.refused(&short(command, needed - 1));
        assert_eq!(status, Status::DATA_SGL_LENGTH_INVALID, "{command:?}");
    }
}

#[test]
fn unknown_fabrics_commands_are_refused() {
    let mut admin = Admin::enabled(Kind::Io);
    for kind in (0..=u8::MAX).filter(|kind| ![0x00, 0x04].contains(kind)) {
        let status = admin.refused(&command(0x7f, kind.into(), &[]));
        assert_eq!(status, Status::INVALID_OPCODE, "{kind:02x}");
    }
}
