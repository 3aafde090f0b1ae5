//! INQUIRY, its pages, and READ CAPACITY, byte by byte.

use super::super::sense::codes;
use super::super::testing::*;
use super::super::*;

fn inquiry(channel: &mut ScsiChannel, page: u8) -> Vec<u8> {
    data(channel, &[0x12, 1, page, 0xff, 0xff, 0])
}

#[test]
fn standard_data() {
    let mut channel = channel_of(model());
    let inquiry = data(&mut channel, &[0x12, 0, 0, 0x01, 0, 0]);
    // TPGS and 3PC in byte 5.
    let mut expected = vec![0x00, 0x00, 0x06, 0x12, 91, 0x18, 0x10, 0x02];
    expected.extend(b"PAGECASTDISK            0001");
    expected.resize(58, 0);
    expected.extend([0x00, 0xa0, 0x09, 0x40, 0x04, 0x60, 0x04, 0xc0]);
    expected.resize(96, 0);
    assert_eq!(inquiry, expected);
}

#[test]
fn allocation_length_cuts_the_data() {
    let mut channel = channel_of(model());
    for length in [0, 1, 5, 36, 95, 96, 97] {
        let inquiry = data(&mut channel, &[0x12, 0, 0, 0, length, 0]);
        assert_eq!(inquiry.len(), usize::from(length).min(96));
        if length > 4 {
            assert_eq!(inquiry[4], 91);
        }
    }
}

#[test]
fn bad_inquiries() {
    let mut channel = channel_of(model());
    assert_eq!(
        refused(&mut channel, &[0x12, 0, 0x80, 0, 96, 0]),
        Sense::cdb_byte(2)
    );
    assert_eq!(
        refused(&mut channel, &[0x12, 2, 0, 0, 96, 0]),
        Sense::cdb_bits(1, 1)
    );
    for page in [0x01, 0x82, 0x88, 0xb2, 0xb3, 0xff] {
        assert_eq!(
            refused(&mut channel, &[0x12, 1, page, 0, 96, 0]),
            Sense::cdb_byte(2)
        );
    }
}

#[test]
fn supported_pages_are_supported() {
    let mut channel = channel_of(model());
    let all = [0x00, 0x80, 0x83, 0x86, 0x87, 0x8f, 0xb0, 0xb1];
    assert_eq!(inquiry(&mut channel, 0)[4..], all);
    let mut channel = channel_of(thin_model());
    let pages = inquiry(&mut channel, 0);
    assert_eq!(pages[4..], [&all[..], &[0xb2]].concat());
    for page in &pages[4..] {
        let bytes = inquiry(&mut channel, *page);
        assert_eq!(bytes[..2], [0, *page]);
        assert_eq!(
            usize::from(u16::from_be_bytes([bytes[2], bytes[3]])),
            bytes.len() - 4
        );
    }
}

#[test]
fn serial_number() {
    let mut channel = channel_of(model());
    assert_eq!(inquiry(&mut channel, 0x80), b"\x00\x80\x00\x08serial-1");
}

#[test]
fn device_identification_for_srp() {
    let mut with_uuid = model();
    with_uuid.identity.uuid = Some([0xab; 16]);
    let mut channel = channel_of(with_uuid);
    let mut expected = vec![0x00, 0x83, 0x00, 100];
    expected.extend(b"\x02\x01\x00\x10PAGECASTserial-1");
    expected.extend([0x01, 0x03, 0, 16, 0x60, 0x01, 0x40, 0x50]);
    expected.extend([0; 11]);
    expected.push(0xaa);
    expected.extend([0x01, 0x0a, 0, 18, 0x10, 0]);
    expected.extend([0xab; 16]);
    expected.extend([0x41, 0x94, 0, 4, 0, 0, 0, 1]);
    expected.extend([0x41, 0x95, 0, 4, 0, 0, 0, 2]);
    expected
        .extend(b"\x41\x92\x00\x10\x11\x22\x33\x44\x55\x66\x77\x88\x02\0\0\xff\xfe\x01\x02\x03");
    expected[3] = expected.len() as u8 - 4;
    assert_eq!(inquiry(&mut channel, 0x83), expected);
}

#[test]
fn device_identification_for_iscsi() {
    let name = PortName::Iscsi {
        target: "iqn.2026-11.io.pagecast:abc".into(),
        portal_group: 1,
    };
    let unit = std::sync::Arc::new(unit());
    let session = ScsiSession::new(TargetPort { name, ..port() }, None, &luns(&[(0, &unit)]));
    let page = inquiry(&mut session.channel(), 0x83);
    let port = b"\x53\x98\x00\x24iqn.2026-11.io.pagecast:abc,t,0x0001\0";
    assert_eq!(port.len(), 4 + 37);
    // 36 characters and the zero make 37, padded to 40.
    let mut port = [&port[..], &[0; 3]].concat();
    port[3] = 40;
    let target = b"\x53\xa8\x00\x1ciqn.2026-11.io.pagecast:abc\0";
    let mut descriptors = page;
    let tail = descriptors.split_off(descriptors.len() - port.len() - target.len());
    assert_eq!(tail, [&port[..], target].concat());
}

#[test]
fn extended_inquiry_and_mode_page_policy() {
    let mut channel = channel_of(model());
    let mut expected = vec![0, 0x86, 0, 0x3c, 0, 0x07, 0x01, 0x01];
    expected.resize(64, 0);
    assert_eq!(inquiry(&mut channel, 0x86), expected);
    assert_eq!(
        inquiry(&mut channel, 0x87),
        [0, 0x87, 0, 4, 0x3f, 0xff, 0, 0]
    );
}

#[test]
fn third_party_copy() {
    let mut channel = channel_of(model());
    let page = inquiry(&mut channel, 0x8f);
    let mut descriptors = Vec::new();
    let mut rest = &page[4..];
    while let [kind1, kind2, high, low, tail @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        assert_eq!(length % 4, 0);
        descriptors.push((u16::from_be_bytes([*kind1, *kind2]), &tail[..length]));
        rest = &tail[length..];
    }
    assert_eq!(rest, []);
    let kinds: Vec<u16> = descriptors.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [0x0001, 0x0004, 0x0008, 0x000c, 0x8001]);

    // EXTENDED COPY (LID1), and what is known of it.
    let commands = descriptors[0].1;
    assert_eq!(commands[..5], [8, 0x83, 1, 0x00, 0x84]);
    for action in &commands[6..6 + usize::from(commands[5])] {
        let cdb = [0x84, *action, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0];
        let plan = channel.plan(&command(&cdb));
        let Plan::Respond(response) = plan else {
            panic!("{plan:?}");
        };
        let code = response.sense.map(|sense| sense.code);
        assert_ne!(code, Some(codes::INVALID_OPCODE), "{action:02x}");
    }

    // RECEIVE COPY RESULTS says the same of the limits.
    let mut cdb = [0; 16];
    (cdb[0], cdb[1], cdb[13]) = (0x84, 0x03, 255);
    let operating = data(&mut channel, &cdb);
    let limits = descriptors[1].1;
    assert_eq!(limits.len(), 0x1c);
    assert_eq!(limits[4..8], operating[8..12]);
    assert_eq!(limits[8..12], operating[12..16]);
    let types = descriptors[2].1;
    assert_eq!(types[..3], [2, 0x02, 0xe4]);
    let general = descriptors[4].1;
    assert_eq!(general.len(), 0x20);
    assert_eq!(general[8..12], operating[16..20]);
    assert_eq!((general[7], general[12]), (operating[36], operating[37]));
}

#[test]
fn block_limits() {
    let mut channel = channel_of(model());
    let mut expected = vec![0; 64];
    expected[..12].copy_from_slice(&[0, 0xb0, 0, 0x3c, 1, 255, 0, 8, 0, 0, 0x80, 0]);
    assert_eq!(inquiry(&mut channel, 0xb0), expected);

    let limits = Limits {
        max_transfer_blocks: 64,
        max_atomic_blocks: 16,
        ..Limits::default()
    };
    let mut channel = channel_of(DiskModel { limits, ..model() });
    let limited = inquiry(&mut channel, 0xb0);
    assert_eq!(limited[5], 32);
    assert_eq!(limited[44..48], [0, 0, 0, 16]);

    let mut channel = channel_of(thin_model());
    expected[20..36].copy_from_slice(&[
        0, 0, 0x10, 0, // most blocks in an UNMAP
        0, 0, 0, 4, // most descriptors
        0, 0, 0, 8, // granularity
        0x80, 0, 0, 0, // its alignment is valid
    ]);
    expected[36..44].copy_from_slice(&0x8000_u64.to_be_bytes());
    assert_eq!(inquiry(&mut channel, 0xb0), expected);
}

#[test]
fn block_device_characteristics() {
    for (rotational, rate) in [(false, 1), (true, 0)] {
        let mut channel = channel_of(DiskModel {
            rotational,
            ..model()
        });
        let mut expected = vec![0; 64];
        expected[..6].copy_from_slice(&[0, 0xb1, 0, 0x3c, 0, rate]);
        assert_eq!(inquiry(&mut channel, 0xb1), expected);
    }
}

#[test]
fn provisioning() {
    let mut channel = channel_of(thin_model());
    assert_eq!(inquiry(&mut channel, 0xb2), [0, 0xb2, 0, 4, 0, 0xe4, 2, 0]);
    let mut channel = channel_of(DiskModel {
        limits: Limits::default(),
        ..thin_model()
    });
    assert_eq!(inquiry(&mut channel, 0xb2), [0, 0xb2, 0, 4, 0, 0x84, 2, 0]);
}

#[test]
fn capacity_in_ten_bytes() {
    let mut channel = channel_of(model());
    let cdb = [0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(data(&mut channel, &cdb), [0, 0, 0xff, 0xff, 0, 0, 2, 0]);
    for (capacity, last) in [
        (1 << 32, u32::MAX),
        ((1 << 32) + 1, u32::MAX),
        (1 << 31, 0x7fff_ffff),
    ] {
        let mut channel = channel_of(DiskModel {
            capacity,
            block_size: 4096,
            ..model()
        });
        let expected = [last.to_be_bytes(), 4096_u32.to_be_bytes()].concat();
        assert_eq!(data(&mut channel, &cdb), expected);
    }
}

#[test]
fn capacity_in_sixteen_bytes() {
    let mut cdb = [0; 16];
    cdb[..2].copy_from_slice(&[0x9e, 0x10]);
    cdb[13] = 32;
    let mut channel = channel_of(thin_model());
    let mut expected = vec![0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 2, 0, 0, 3, 0xc0, 0];
    expected.resize(32, 0);
    assert_eq!(data(&mut channel, &cdb), expected);
    let mut channel = channel_of(model());
    expected[14] = 0;
    assert_eq!(data(&mut channel, &cdb), expected);
    cdb[13] = 12;
    assert_eq!(data(&mut channel, &cdb), expected[..12]);
    cdb[1] = 0x13;
    assert_eq!(refused(&mut channel, &cdb), Sense::cdb_bits(1, 4));
}

#[test]
fn the_capacity_may_change() {
    let mut channel = channel_of(model());
    let index = channel.unit_at([0; 8]).expect("mapped");
    let unit = channel.unit(index).clone();
    unit.set_capacity(0x2_0000);
    let cdb = [0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(refused(&mut channel, &cdb).code, codes::CAPACITY_CHANGED);
    assert_eq!(data(&mut channel, &cdb)[..4], [0, 1, 0xff, 0xff]);
    block(channel.plan(&command(&[0x28, 0, 0, 1, 0xff, 0xff, 0, 0, 1, 0])));
}
