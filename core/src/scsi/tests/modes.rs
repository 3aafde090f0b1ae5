//! Mode pages, read and written.

use std::sync::Arc;

use super::super::sense::codes;
use super::super::testing::*;
use super::super::*;
use crate::block::BlockOp;

const RECOVERY: [u8; 12] = [0x01, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const CONTROL: [u8; 12] = [0x0a, 10, 0x20, 0x10, 0, 0, 0, 0, 0xff, 0xff, 0, 0];
const EXCEPTIONS: [u8; 12] = [0x1c, 10, 0x08, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn caching(write_cache: bool) -> [u8; 20] {
    let mut page = [0; 20];
    page[..3].copy_from_slice(&[0x08, 18, u8::from(write_cache) << 2]);
    page
}

fn control(byte2: u8, byte4: u8) -> [u8; 12] {
    let mut page = CONTROL;
    (page[2], page[4]) = (page[2] | byte2, byte4);
    page
}

/// MODE SENSE (6) without block descriptors: what follows the header.
fn sense6(channel: &mut ScsiChannel, page: u8) -> Vec<u8> {
    let bytes = data(channel, &[0x1a, 0x08, page, 0, 0xff, 0]);
    assert_eq!(usize::from(bytes[0]), bytes.len() - 1);
    assert_eq!((bytes[1], bytes[3]), (0, 0));
    bytes[4..].to_vec()
}

/// MODE SELECT (6) of these pages, without a block descriptor.
fn select6(channel: &mut ScsiChannel, pages: &[u8]) -> Plan {
    let list = [&[0; 4], pages].concat();
    select(channel, &[0x15, 0x10, 0, 0, list.len() as u8, 0], &list)
}

#[test]
fn pages_and_their_values() {
    let mut channel = channel_of(model());
    assert_eq!(sense6(&mut channel, 0x08), caching(true));
    assert_eq!(sense6(&mut channel, 0x0a), CONTROL);
    assert_eq!(sense6(&mut channel, 0x1c), EXCEPTIONS);
    assert_eq!(sense6(&mut channel, 0x01), RECOVERY);
    let all = [&RECOVERY[..], &caching(true), &CONTROL, &EXCEPTIONS].concat();
    assert_eq!(sense6(&mut channel, 0x3f), all);
    // Defaults.
    assert_eq!(sense6(&mut channel, 0xbf), all);
    // Changeable values.
    assert_eq!(sense6(&mut channel, 0x48), caching(true));
    let mut changeable = [0; 12];
    changeable[..5].copy_from_slice(&[0x0a, 10, 0x04, 0, 0x08]);
    assert_eq!(sense6(&mut channel, 0x4a), changeable);
    assert_eq!(sense6(&mut channel, 0x5c)[2..], [0; 10]);
    // Saved values.
    let saved = refused(&mut channel, &[0x1a, 0, 0xc8, 0, 0xff, 0]);
    assert_eq!(saved.code, codes::SAVING_NOT_SUPPORTED);
}

#[test]
fn pages_that_are_not_there() {
    let mut channel = channel_of(model());
    for page in [0x00, 0x02, 0x1a, 0x3e] {
        assert_eq!(
            refused(&mut channel, &[0x1a, 0, page, 0, 0xff, 0]),
            Sense::cdb_bits(2, 5)
        );
    }
    assert_eq!(
        refused(&mut channel, &[0x1a, 0, 0x0a, 5, 0xff, 0]),
        Sense::cdb_byte(3)
    );
    assert_eq!(
        refused(&mut channel, &[0x1a, 0, 0x3f, 1, 0xff, 0]),
        Sense::cdb_byte(3)
    );
}

#[test]
fn subpages() {
    let mut channel = channel_of(thin_model());
    let mut extension = vec![0x4a, 0x01, 0, 0x1c, 0x01];
    extension.resize(32, 0);
    let mut provisioning = vec![0x5c, 0x02, 0, 12];
    provisioning.resize(16, 0);
    let mut page = |code, subpage| data(&mut channel, &[0x1a, 0x08, code, subpage, 0xff, 0]);

    assert_eq!(page(0x0a, 0x01)[4..], extension);
    assert_eq!(page(0x1c, 0x02)[4..], provisioning);
    assert_eq!(page(0x0a, 0xff)[4..], [&CONTROL[..], &extension].concat());
    assert_eq!(page(0x08, 0xff)[4..], caching(true));
    let changeable = page(0x4a, 0x01);
    assert_eq!(changeable[4..8], extension[..4]);
    assert_eq!(changeable[8..], [0; 28]);
    let all = [
        &RECOVERY[..],
        &caching(true),
        &CONTROL,
        &extension,
        &EXCEPTIONS,
        &provisioning,
    ];
    let all = all.concat();
    let bytes = page(0x3f, 0xff);
    assert_eq!(
        (usize::from(bytes[0]), &bytes[4..]),
        (all.len() + 3, &all[..])
    );

    // A unit that cannot deallocate has no such page.
    let mut channel = channel_of(model());
    let cdb = [0x1a, 0x08, 0x1c, 0x02, 0xff, 0];
    assert_eq!(refused(&mut channel, &cdb), Sense::cdb_byte(3));
    let all = data(&mut channel, &[0x1a, 0x08, 0x3f, 0xff, 0xff, 0]);
    assert_eq!(all.len(), 4 + 12 + 20 + 12 + 32 + 12);
}

#[test]
fn subpages_can_be_selected_as_they_are() {
    let mut channel = channel_of(thin_model());
    let mut list = data(&mut channel, &[0x1a, 0x08, 0x3f, 0xff, 0xff, 0]);
    (list[0], list[2]) = (0, 0);
    let cdb = [0x15, 0x10, 0, 0, list.len() as u8, 0];
    assert_eq!(respond(select(&mut channel, &cdb, &list)), Response::good());

    let invalid = |at, bit| Sense::parameter(at, bit);
    let mut extension = vec![0x4a, 0x01, 0, 0x1c, 0x01];
    extension.resize(32, 0);
    for (byte, value, expected) in [
        // No such subpage, the short form, a wrong length, and a bit that cannot be changed.
        (1, 0x03, invalid(5, None)),
        (0, 0x0a, invalid(5, None)),
        (3, 0x1b, invalid(6, None)),
        (5, 0x01, invalid(9, Some(0))),
    ] {
        let mut page = extension.clone();
        page[byte] = value;
        let response = respond(select6(&mut channel, &page));
        assert_eq!(sense_of(&response), expected, "byte {byte}");
    }
    for length in 1..32 {
        let response = respond(select6(&mut channel, &extension[..length]));
        assert_eq!(
            sense_of(&response).code,
            codes::PARAMETER_LIST_LENGTH,
            "{length}"
        );
    }
}

#[test]
fn headers_and_block_descriptors() {
    let mut channel = channel_of(model());
    let six = data(&mut channel, &[0x1a, 0, 0x08, 0, 0xff, 0]);
    assert_eq!(six[..12], [31, 0, 0x10, 8, 0, 1, 0, 0, 0, 0, 2, 0]);
    assert_eq!(six[12..], caching(true));
    let ten = data(&mut channel, &[0x5a, 0, 0x08, 0, 0, 0, 0, 0, 0xff, 0]);
    assert_eq!(ten[..8], [0, 34, 0, 0x10, 0, 0, 0, 8]);
    assert_eq!(ten[8..], six[4..]);
    let bare = data(&mut channel, &[0x5a, 0x18, 0x08, 0, 0, 0, 0, 0, 0xff, 0]);
    assert_eq!(bare[..8], [0, 26, 0, 0x10, 0, 0, 0, 0]);
    assert_eq!(bare[8..], caching(true));
    let long = data(&mut channel, &[0x5a, 0x10, 0x08, 0, 0, 0, 0, 0, 0xff, 0]);
    assert_eq!(long[..8], [0, 42, 0, 0x10, 1, 0, 0, 16]);
    assert_eq!(
        long[8..24],
        [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0]
    );
    // Linux first asks for the header alone.
    assert_eq!(
        data(&mut channel, &[0x1a, 0, 0x3f, 0, 4, 0]),
        [67, 0, 0x10, 8]
    );

    let huge = DiskModel {
        capacity: 1 << 40,
        ..model()
    };
    let six = data(&mut channel_of(huge), &[0x1a, 0, 0x08, 0, 0xff, 0]);
    assert_eq!(six[4..12], [0xff, 0xff, 0xff, 0xff, 0, 0, 2, 0]);
    let read_only = DiskModel {
        read_only: true,
        ..model()
    };
    let six = data(&mut channel_of(read_only), &[0x1a, 0, 0x08, 0, 0xff, 0]);
    assert_eq!(six[2], 0x90);
}

#[test]
fn the_write_cache_can_be_switched() {
    let mut channel = channel_of(model());
    let off = block(select6(&mut channel, &caching(false)));
    assert_eq!(off.op, BlockOp::Flush);
    assert_eq!(sense6(&mut channel, 0x08), caching(false));
    assert_eq!(sense6(&mut channel, 0x88), caching(true));
    let write = [0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    assert!(block(channel.plan(&command(&write))).fua);
    let on = respond(select6(&mut channel, &caching(true)));
    assert_eq!(on, Response::good());
    assert!(!block(channel.plan(&command(&write))).fua);
}

#[test]
fn what_linux_writes_to_switch_the_cache() {
    let mut channel = channel_of(model());
    let mut list = data(&mut channel, &[0x1a, 0, 0x08, 0, 64, 0]);
    list[0] = 0;
    list[2] = 0;
    list[14] &= !0x04;
    let cdb = [0x15, 0x10, 0, 0, list.len() as u8, 0];
    block(select(&mut channel, &cdb, &list));
    assert_eq!(sense6(&mut channel, 0x08), caching(false));

    let mut list = data(&mut channel, &[0x5a, 0x10, 0x08, 0, 0, 0, 0, 0, 64, 0]);
    list[1] = 0;
    list[3] = 0;
    list[26] |= 0x04;
    let cdb = [0x55, 0x10, 0, 0, 0, 0, 0, 0, list.len() as u8, 0];
    assert_eq!(respond(select(&mut channel, &cdb, &list)), Response::good());
    assert_eq!(sense6(&mut channel, 0x08), caching(true));
}

#[test]
fn descriptor_sense_and_software_write_protection() {
    let mut channel = channel_of(model());
    respond(select6(&mut channel, &control(0x04, 0x08)));
    assert_eq!(sense6(&mut channel, 0x0a), control(0x04, 0x08));
    assert_eq!(data(&mut channel, &[0x1a, 0, 0x08, 0, 0xff, 0])[2], 0x90);
    let sense = refused(&mut channel, &[0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    assert_eq!(sense.code, codes::SOFTWARE_WRITE_PROTECTED);
    assert_eq!(sense.format, SenseFormat::Descriptor);
    let index = channel.unit_at([0; 8]).expect("mapped");
    let unit = channel.unit(index).clone();
    unit.reset();
    let reset = refused(&mut channel, &[0; 6]);
    assert_eq!(
        (reset.code, reset.format),
        (codes::UNIT_RESET_OCCURRED, SenseFormat::Fixed)
    );
    assert_eq!(sense6(&mut channel, 0x0a), CONTROL);
}

#[test]
fn the_others_are_told() {
    let unit = Arc::new(unit());
    let mut first = ScsiSession::new(port(), None, &luns(&[(0, &unit)])).channel();
    let mut second = ScsiSession::new(port(), None, &luns(&[(0, &unit)])).channel();
    respond(select6(&mut first, &control(0x04, 0)));
    // The same again is no change.
    respond(select6(&mut first, &control(0x04, 0)));
    assert_eq!(data(&mut first, &[0; 6]), []);
    assert_eq!(
        refused(&mut second, &[0; 6]).code,
        codes::MODE_PARAMETERS_CHANGED
    );
    assert_eq!(data(&mut second, &[0; 6]), []);
}

#[test]
fn bad_selections() {
    let mut channel = channel_of(model());
    let invalid = codes::INVALID_FIELD_IN_PARAMETERS;
    let length = codes::PARAMETER_LIST_LENGTH;
    let cases: [(&[u8], SenseCode); 16] = [
        (&[0, 1, 0, 0], invalid),
        (&[0, 0, 0, 4, 0, 0, 0, 0], invalid),
        (&[0, 0, 0, 8, 0, 0, 0, 0], length),
        (&[0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 2, 0], invalid),
        (&[0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 4, 0], invalid),
        (&[0, 0, 0, 0, 0x08], length),
        (&[0, 0, 0, 0, 0x08, 18], length),
        (&[0, 0, 0, 0, 0x08, 17, 0, 0, 0], invalid),
        (&[0, 0, 0, 0, 0x02, 10], invalid),
        (&[0, 0, 0, 0, 0x48, 18], invalid),
        (&[0, 0, 0, 0, 0x3f, 0], invalid),
        (
            &[
                0, 0, 0, 0, 0x0a, 10, 0x20, 0x00, 0, 0, 0, 0, 0xff, 0xff, 0, 0,
            ],
            invalid,
        ),
        (
            &[
                0, 0, 0, 0, 0x0a, 10, 0x04, 0x10, 0, 0, 0, 0, 0xff, 0xff, 0, 0,
            ],
            invalid,
        ),
        (
            &[
                0, 0, 0, 0, 0x0a, 10, 0x20, 0x10, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1,
            ],
            length,
        ),
        (
            &[0, 0, 0, 0, 0x1c, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            invalid,
        ),
        (
            &[0, 0, 0, 0, 0x01, 10, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            invalid,
        ),
    ];
    for (list, code) in cases {
        let cdb = [0x15, 0x10, 0, 0, list.len() as u8, 0];
        let response = respond(select(&mut channel, &cdb, list));
        assert_eq!(sense_of(&response).code, code, "{list:02x?}");
    }
    let pointed = respond(select6(&mut channel, &control(0x40, 0)));
    assert_eq!(sense_of(&pointed), Sense::parameter(6, Some(6)));
    // A list is refused as a whole.
    let pages = [&control(0x04, 0)[..], &[0x02, 0]].concat();
    sense_of(&respond(select6(&mut channel, &pages)));
    assert_eq!(sense6(&mut channel, 0x0a), CONTROL);

    assert_eq!(
        refused(&mut channel, &[0x15, 0x11, 0, 0, 16, 0]),
        Sense::cdb_bits(1, 0)
    );
    assert_eq!(
        refused(&mut channel, &[0x15, 0x00, 0, 0, 16, 0]),
        Sense::cdb_bits(1, 4)
    );
    assert_eq!(
        refused(&mut channel, &[0x15, 0x10, 0, 0, 3, 0]).code,
        length
    );
    assert_eq!(data(&mut channel, &[0x15, 0x10, 0, 0, 0, 0]), []);
    let ten = [0x55, 0x10, 0, 0, 0, 0, 0, 0, 7, 0];
    assert_eq!(refused(&mut channel, &ten).code, length);
}
