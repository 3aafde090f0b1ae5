//! Identify data, byte by byte where hosts look.

use crate::nvme::MAX_NQN;
use crate::nvme::controller::{ControllerSetup, Kind};
use crate::nvme::status::Status;
use crate::nvme::testing::*;
use crate::scsi::Lun;
use crate::scsi::testing::CAPACITY;

#[test]
fn controller_fields_that_linux_checks() {
    let id = Admin::enabled(Kind::Io).identify(0x01, 0);
    assert_eq!(&id[4..24], b"SERIAL-7            ");
    assert_eq!(&id[24..64], format!("{:40}", "pagecast").as_bytes());
    assert_eq!(
        &id[64..72],
        format!("{:8}", env!("CARGO_PKG_VERSION")).as_bytes()
    );
    // CMIC, MDTS, CNTLID, VER.
    assert_eq!(id[76], 0x0b);
    assert_eq!(id[77], 8);
    assert_eq!(u16_at(&id, 78), 0x1234);
    assert_eq!(u32_at(&id, 80), 0x0002_0000);
    // OAES, CTRATT, CNTRLTYPE, CRDT1 to 3.
    assert_ne!(u32_at(&id, 92) & 1 << 8, 0);
    assert_eq!(u32_at(&id, 96), 0x41);
    assert_eq!(id[111], 1);
    assert_eq!(id[128..134], [0; 6]);
    // OACS, ACL, AERL, FRMW, LPA, NPSS.
    assert_eq!(u16_at(&id, 256), 0);
    assert_eq!(id[258..261], [3, 3, 3]);
    assert_eq!(id[261] & 0x06, 0x06);
    assert_eq!(id[263], 0);
    // KAS: a second.
    assert_eq!(u16_at(&id, 320), 10);
    // ANATT, ANACAP, ANAGRPMAX, NANAGRPID.
    assert_ne!(id[342], 0);
    assert_eq!(id[343] & 1, 1);
    assert_eq!([u32_at(&id, 344), u32_at(&id, 348)], [1, 1]);
    // SQES, CQES, MAXCMD, NN, MNAN.
    assert_eq!(id[512..514], [0x66, 0x44]);
    assert_eq!(u16_at(&id, 514), 128);
    assert_eq!(u32_at(&id, 516), Lun::LIMIT);
    assert_eq!(u32_at(&id, 540), 1024);
    // ONCS: Compare, Dataset Management, Write Zeroes, Save and Select, reservations, Timestamp, Verify, Copy. FUSES, VWC.
    assert_eq!(u16_at(&id, 520), 0x01fd);
    assert_eq!(u16_at(&id, 522), 1);
    assert_eq!(id[525], 0x05);
    // AWUN, AWUPF, OCFS.
    assert_eq!(
        [u16_at(&id, 526), u16_at(&id, 528), u16_at(&id, 534)],
        [0, 0, 1]
    );
    // SGLS: supported, keyed, offsets.
    assert_eq!(u32_at(&id, 536), 0x0010_0005);
    assert_eq!(
        &id[768..768 + SUBSYSTEM.len() + 1],
        format!("{SUBSYSTEM}\0").as_bytes()
    );
    // IOCCSZ, IORCSZ, ICDOFF, FCATT, MSDBD.
    assert_eq!([u32_at(&id, 1792), u32_at(&id, 1796)], [260, 1]);
    assert_eq!(id[1800..1804], [0, 0, 0, 1]);
}

#[test]
fn discovery_controller_fields() {
    let id = Admin::enabled(discovery()).identify(0x01, 0);
    assert_eq!(u16_at(&id, 78), 0x1234);
    assert_eq!(id[111], 2);
    assert_eq!(u32_at(&id, 92), 1 << 31);
    assert_eq!(id[261], 1 << 2);
    assert_eq!(u16_at(&id, 320), 10);
    assert_eq!(u16_at(&id, 514), 128);
    assert_ne!(u32_at(&id, 536) & 1 << 2, 0);
    // No namespaces, no queue entries, no optional commands.
    assert_eq!(id[512..514], [0; 2]);
    assert_eq!(id[516..526], [0; 10]);
    // DCTYPE.
    assert_eq!(id[1806], 1);
}

#[test]
fn odd_setups_stay_within_their_fields() {
    let identify_of = |setup: ControllerSetup| {
        let mut admin = Admin::connected(setup);
        admin.set_property(0x14, LINUX_CC);
        admin.identify(0x01, 0)
    };
    let id = identify_of(ControllerSetup {
        subsystem: "x".repeat(300),
        serial: "a serial number\tthat is too long".into(),
        in_capsule: 0,
        max_transfer: 1,
        ..setup(Kind::Io)
    });
    assert_eq!(&id[4..24], b"a serial number that");
    assert_eq!(id[768..768 + MAX_NQN], [b'x'; MAX_NQN]);
    assert_eq!(id[768 + MAX_NQN], 0);
    assert_eq!(id[77], 1, "zero would be no limit");
    assert_eq!(u32_at(&id, 1792), 4);
    assert_eq!(u32_at(&id, 536), 5);
    for (max_transfer, mdts) in [(8192, 1), (65535, 3), (1 << 17, 5), (1 << 20, 8)] {
        let id = identify_of(ControllerSetup {
            max_transfer,
            ..setup(Kind::Io)
        });
        assert_eq!(id[77], mdts, "{max_transfer}");
    }
}

#[test]
fn a_fully_provisioned_namespace() {
    let ns = Admin::enabled(Kind::Io).identify(0x00, 1);
    assert_eq!([0, 8, 16].map(|at| u64_at(&ns, at)), [CAPACITY; 3]);
    // NSFEAT, NLBAF, FLBAS, MC, DPC, DPS, NMIC, RESCAP, FPI, DLFEAT.
    assert_eq!(ns[24..34], [0x10, 0, 0, 0, 0, 0, 1, 0xff, 0, 0]);
    assert_eq!(u64_at(&ns, 48), CAPACITY * 512);
    // NPWG, NPWA, NPDG, NPDA, NOWS: physical blocks of 4096 bytes.
    assert_eq!(
        [64, 66, 68, 70, 72].map(|at| u16_at(&ns, at)),
        [7, 7, 7, 7, 0]
    );
    // MSSRL, MCL, MSRC.
    assert_eq!(u16_at(&ns, 74), 32768);
    assert_eq!(u32_at(&ns, 76), 131_072);
    assert_eq!(ns[80], 127);
    // ANAGRPID, NSATTR.
    assert_eq!(u32_at(&ns, 92), 1);
    assert_eq!(ns[99], 0);
    // NGUID is the NAA name of 16 bytes; no EUI64.
    assert_eq!(ns[104..120], *b"\x60\x01\x40\x50\0\0\0\0\0\0\0\0\0\0\0\xaa");
    assert_eq!(ns[120..128], [0; 8]);
    // LBAF0: no metadata, 512 bytes.
    assert_eq!(ns[128..132], [0, 0, 9, 0]);
    assert_eq!(ns[132..192], [0; 60]);
}

#[test]
fn a_thin_namespace_with_large_blocks() {
    let mut admin = Admin::enabled(Kind::Io);
    let ns = admin.identify(0x00, 2);
    assert_eq!(ns[33], 0x09, "zeros, and Write Zeroes deallocates");
    assert_eq!(
        [64, 66, 68, 70, 72].map(|at| u16_at(&ns, at)),
        [0, 0, 7, 7, 63]
    );
    assert_eq!(ns[130], 12);
    let uuid = b"\x11\x22\x33\x44\x55\x66\x47\x88\x99\xaa\xbb\xcc\xdd\xee\xff\x01";
    assert_eq!(&ns[104..120], uuid);
    let list = admin.identify(0x03, 2);
    assert_eq!(list[..4], [2, 16, 0, 0]);
    assert_eq!(&list[4..20], uuid);
    assert_eq!(list[20..24], [3, 16, 0, 0]);
    assert_eq!(&list[24..40], uuid);
    assert_eq!(list[40..48], [4, 1, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn a_read_only_namespace() {
    let mut admin = Admin::enabled(Kind::Io);
    assert_eq!(admin.identify(0x00, 5)[99], 1);
    // NSFEAT (rotational), NMIC, RESCAP, ANAGRPID, NSATTR, NSTAT.
    let ns = admin.identify(0x08, 5);
    assert_eq!(ns[..3], [0x10, 1, 0xff]);
    assert_eq!(u32_at(&ns, 4), 1);
    assert_eq!([ns[8], ns[14]], [1, 1]);
    let ns = admin.identify(0x08, 1);
    assert_eq!([ns[0], ns[8], ns[14]], [0, 0, 1]);
}

#[test]
fn identifiers_without_a_uuid() {
    let list = Admin::enabled(Kind::Io).identify(0x03, 1);
    assert_eq!(list[..4], [2, 16, 0, 0]);
    assert_eq!(list[20..28], [4, 1, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn the_capacity_is_that_of_now() {
    let mut admin = Admin::enabled(Kind::Io);
    admin.disks[0].1.set_capacity(77);
    assert_eq!(u64_at(&admin.identify(0x00, 1), 0), 77);
}

#[test]
fn namespaces_that_are_not_there() {
    let mut admin = Admin::enabled(Kind::Io);
    for cns in [0x00, 0x05, 0x08] {
        for nsid in [3, 6, Lun::LIMIT] {
            assert_eq!(admin.identify(cns, nsid), [0; 4096], "{cns:02x} {nsid}");
        }
        for nsid in [0, Lun::LIMIT + 1, 0xffff_fffe, u32::MAX] {
            let status = admin.refused(&identify(cns, nsid));
            assert_eq!(status, Status::INVALID_NAMESPACE, "{cns:02x} {nsid}");
        }
    }
    for nsid in [0, 3, Lun::LIMIT, u32::MAX] {
        let status = admin.refused(&identify(0x03, nsid));
        assert_eq!(status, Status::INVALID_NAMESPACE, "{nsid}");
    }
}

#[test]
fn lists_of_namespaces() {
    let mut admin = Admin::enabled(Kind::Io);
    for cns in [0x02, 0x07] {
        for (from, expected) in [
            (0, [1, 2, 5, 0]),
            (1, [2, 5, 0, 0]),
            (4, [5, 0, 0, 0]),
            (5, [0; 4]),
        ] {
            let list = admin.identify(cns, from);
            assert_eq!(
                [0, 4, 8, 12].map(|at| u32_at(&list, at)),
                expected,
                "{cns:02x} {from}"
            );
        }
        for nsid in [0xffff_fffe, u32::MAX] {
            assert_eq!(
                admin.refused(&identify(cns, nsid)),
                Status::INVALID_NAMESPACE
            );
        }
    }
}

#[test]
fn the_nvm_command_set() {
    let mut admin = Admin::enabled(Kind::Io);
    let id = admin.identify(0x06, 0);
    // VSL, WZSL, WUSL, DMRL, DMRSL, DMSL.
    assert_eq!(id[..4], [0, 13, 0, 255]);
    assert_eq!(u32_at(&id, 4), 1 << 20);
    assert_eq!(u64_at(&id, 8), 1 << 20);
    assert_eq!(admin.identify(0x05, 1), [0; 4096]);
    // It is the only one.
    let mut sets = identify(0x1c, 0);
    sets.cdw10[0] |= 0xffff << 16;
    let sets = admin.reply(&sets);
    assert_eq!((u64_at(&sets, 0), u64_at(&sets, 8)), (1, 0));
    let mut other = identify(0x1c, 0);
    other.cdw10[0] |= 0x1233 << 16;
    assert_eq!(admin.refused(&other), Status::INVALID_FIELD);
    for cns in [0x05, 0x06, 0x07] {
        let mut zoned = identify(cns, 1);
        zoned.cdw10[1] = 2 << 24;
        assert_eq!(admin.refused(&zoned), Status::INVALID_FIELD, "{cns:02x}");
    }
}

#[test]
fn structures_that_are_not_there() {
    let there = [0x00, 0x01, 0x02, 0x03, 0x05, 0x06, 0x07, 0x08, 0x1c];
    let mut admin = Admin::enabled(Kind::Io);
    for cns in (0..=u8::MAX).filter(|cns| !there.contains(cns)) {
        let status = admin.refused(&identify(cns, 1));
        assert_eq!(status, Status::INVALID_FIELD, "{cns:02x}");
    }
}
