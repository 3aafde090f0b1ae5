//! Writing one block again and again, and deallocating.

use super::super::sense::codes;
use super::super::testing::*;
use super::super::*;
use crate::block::{BlockOp, BlockRange, Transfer};

#[test]
fn write_same() {
    let mut channel = channel_of(thin_model());
    let range = BlockRange {
        lba: 0x1000,
        blocks: 0x20,
    };
    for (opcode, byte1, unmap, zero_data) in [
        (0x41, 0x00, false, false),
        (0x41, 0x08, true, false),
        (0x93, 0x00, false, false),
        (0x93, 0x08, true, false),
        (0x93, 0x09, true, true),
        (0x93, 0x01, false, true),
    ] {
        let cdb = cdb(opcode, byte1, 0x1000, 0x20);
        let same = block(channel.plan(&sending(&cdb, 512)));
        let op = BlockOp::WriteSame {
            range,
            unmap,
            zero_data,
        };
        assert_eq!(same.op, op, "{opcode:02x} {byte1:02x}");
        let expected = if zero_data {
            Transfer::None
        } else {
            Transfer::Out(512)
        };
        assert_eq!(same.transfer, expected);
    }
    for (opcode, byte1, bit) in [
        (0x41, 0x20, 7),
        (0x41, 0x18, 4),
        (0x93, 0x18, 4),
        (0x93, 0x10, 4),
        (0x93, 0x04, 2),
        (0x93, 0x02, 1),
    ] {
        let sense = refused(&mut channel, &cdb(opcode, byte1, 0, 1));
        assert_eq!(sense, Sense::cdb_bits(1, bit), "{opcode:02x} {byte1:02x}");
    }
    assert_eq!(
        refused(&mut channel, &cdb(0x41, 0, 0, 0)),
        Sense::cdb_byte(7)
    );
    assert_eq!(
        refused(&mut channel, &cdb(0x93, 0, 0, 0)),
        Sense::cdb_byte(10)
    );
    assert_eq!(
        refused(&mut channel, &cdb(0x93, 0, 0, 0x8001)),
        Sense::cdb_byte(10)
    );
    let past = refused(&mut channel, &cdb(0x93, 0, CAPACITY, 0));
    assert_eq!(past.code, codes::LBA_OUT_OF_RANGE);

    // More or less than the block is not what the initiator has said.
    for length in [0, 256, 511, 513, 1024] {
        for opcode in [0x41, 0x93] {
            let cdb = cdb(opcode, 0x08, 0, 1);
            let response = respond(channel.plan(&sending(&cdb, length)));
            assert_eq!(sense_of(&response).code, codes::INVALID_INFORMATION_UNIT);
        }
    }
    // Nothing is fetched for NDOB.
    block(channel.plan(&sending(&cdb(0x93, 0x01, 0, 1), 0)));
}

#[test]
fn what_cannot_deallocate_has_no_unmap() {
    let mut channel = channel_of(model());
    for cdb in [
        &[0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0][..],
        &cdb(0x41, 0, 0, 1),
        &cdb(0x93, 0, 0, 1),
    ] {
        assert_eq!(refused(&mut channel, cdb).code, codes::INVALID_OPCODE);
    }
    let limits = Limits {
        max_write_same_blocks: 64,
        ..Limits::default()
    };
    let mut channel = channel_of(DiskModel { limits, ..model() });
    block(channel.plan(&sending(&cdb(0x93, 0, 0, 64), 512)));
    assert_eq!(
        refused(&mut channel, &cdb(0x93, 8, 0, 64)),
        Sense::cdb_bits(1, 3)
    );
}

fn unmap_list(ranges: &[(u64, u32)]) -> Vec<u8> {
    let length = ranges.len() as u16 * 16;
    let mut list = [(length + 6).to_be_bytes(), length.to_be_bytes()].concat();
    list.extend([0; 4]);
    for (lba, blocks) in ranges {
        list.extend(lba.to_be_bytes());
        list.extend(blocks.to_be_bytes());
        list.extend([0; 4]);
    }
    list
}

fn unmap_cdb(length: usize) -> Vec<u8> {
    let [high, low] = (length as u16).to_be_bytes();
    vec![0x42, 0, 0, 0, 0, 0, 0, high, low, 0]
}

#[test]
fn unmap() {
    let mut channel = channel_of(thin_model());
    let list = unmap_list(&[(8, 16), (0x2000, 0), (CAPACITY - 8, 8), (CAPACITY, 0)]);
    let unmap = block(select(&mut channel, &unmap_cdb(list.len()), &list));
    let ranges = vec![
        BlockRange { lba: 8, blocks: 16 },
        BlockRange {
            lba: CAPACITY - 8,
            blocks: 8,
        },
    ];
    assert_eq!(unmap.op, BlockOp::Unmap(ranges));
    assert_eq!(unmap.transfer, Transfer::None);

    // A descriptor that was cut is ignored, and then nothing is left.
    let cut = &unmap_list(&[(8, 16)])[..20];
    let nothing = respond(select(&mut channel, &unmap_cdb(20), cut));
    assert_eq!(nothing, Response::good());
    assert_eq!(data(&mut channel, &unmap_cdb(0)), []);
}

#[test]
fn bad_unmaps() {
    let mut channel = channel_of(thin_model());
    let mut anchor = unmap_cdb(24);
    anchor[1] = 1;
    assert_eq!(refused(&mut channel, &anchor), Sense::cdb_bits(1, 0));
    let short = refused(&mut channel, &unmap_cdb(7));
    assert_eq!(short.code, codes::PARAMETER_LIST_LENGTH);

    let cases = [
        (unmap_list(&[(CAPACITY, 1)]), codes::LBA_OUT_OF_RANGE),
        (unmap_list(&[(CAPACITY + 1, 0)]), codes::LBA_OUT_OF_RANGE),
        (unmap_list(&[(CAPACITY - 1, 2)]), codes::LBA_OUT_OF_RANGE),
        (unmap_list(&[(u64::MAX, u32::MAX)]), codes::LBA_OUT_OF_RANGE),
        (unmap_list(&[(0, 1); 5]), codes::INVALID_FIELD_IN_PARAMETERS),
        (
            unmap_list(&[(0, 0x1001)]),
            codes::INVALID_FIELD_IN_PARAMETERS,
        ),
        (
            unmap_list(&[(0, 0x800), (0, 0x801)]),
            codes::INVALID_FIELD_IN_PARAMETERS,
        ),
    ];
    for (list, code) in cases {
        let response = respond(select(&mut channel, &unmap_cdb(list.len()), &list));
        assert_eq!(sense_of(&response).code, code, "{list:02x?}");
    }
}

#[test]
fn parameter_lists_have_to_arrive_whole() {
    let mut channel = channel_of(thin_model());
    let list = unmap_list(&[(8, 16)]);
    let cdb = unmap_cdb(list.len());
    let Plan::Parameters { length, pending } = channel.plan(&command(&cdb)) else {
        panic!("no parameters wanted");
    };
    assert_eq!(length, 24);
    let response = respond(channel.parameters(pending, &list[..23]));
    assert_eq!(sense_of(&response).code, codes::PARAMETER_LIST_LENGTH);

    let less = Command {
        data_out_length: 23,
        ..command(&cdb)
    };
    let response = respond(channel.plan(&less));
    assert_eq!(sense_of(&response).code, codes::PARAMETER_LIST_LENGTH);
}
