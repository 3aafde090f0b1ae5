//! Commands that read before they write, or that neither read nor write: COMPARE AND WRITE, ORWRITE, WRITE AND VERIFY, WRITE
//! ATOMIC, PRE-FETCH, GET LBA STATUS and READ DEFECT DATA.

use super::super::sense::codes;
use super::super::testing::*;
use super::super::*;
use crate::block::{BlockFault, BlockOp, BlockRange, Extent, Transfer};

fn compare_and_write(byte1: u8, lba: u64, blocks: u8) -> Vec<u8> {
    cdb(0x89, byte1, lba, blocks.into())
}

#[test]
fn compare_and_write_has_both_halves() {
    let mut channel = channel_of(model());
    for (lba, blocks) in [(0, 1), (0x1234, 255), (CAPACITY - 255, 255)] {
        let cdb = compare_and_write(0, lba, blocks);
        let length = u64::from(blocks) * 1024;
        let block = block(channel.plan(&sending(&cdb, length)));
        let range = BlockRange {
            lba,
            blocks: blocks.into(),
        };
        assert_eq!(block.op, BlockOp::CompareAndWrite(range));
        assert_eq!(block.transfer, Transfer::Out(length));
        assert!(!block.fua && !block.dpo);
        // A half that is not whole cannot be told from the other.
        for wrong in [0, length / 2, length - 1, length + 1, 2 * length] {
            let response = respond(channel.plan(&sending(&cdb, wrong)));
            assert_eq!(sense_of(&response).code, codes::INVALID_INFORMATION_UNIT);
        }
    }
    let fua = block(channel.plan(&sending(&compare_and_write(0x08, 0, 1), 1024)));
    assert!(fua.fua && !fua.dpo);
    let dpo = block(channel.plan(&sending(&compare_and_write(0x10, 0, 1), 1024)));
    assert!(!dpo.fua && dpo.dpo);
    // Bytes 10 to 12 are reserved, and not part of the number of blocks.
    let mut cdb = compare_and_write(0, 0, 1);
    cdb[12] = 1;
    block(channel.plan(&sending(&cdb, 1024)));

    let mut channel = channel_of(DiskModel {
        write_cache: false,
        ..model()
    });
    assert!(block(channel.plan(&sending(&compare_and_write(0, 0, 1), 1024))).fua);
}

#[test]
fn compare_and_write_is_bounded() {
    let mut channel = channel_of(model());
    let none = compare_and_write(0, CAPACITY - 1, 0);
    let Plan::Respond(response) = channel.plan(&sending(&none, 0)) else {
        panic!("there is nothing to do");
    };
    assert_eq!(response.status, Status::Good);
    // 256 blocks, as an initiator that does not count writes them.
    let Plan::Respond(response) = channel.plan(&sending(&none, 256 * 1024)) else {
        panic!("there is nothing to do");
    };
    assert_eq!(response.sense, Some(Sense::cdb_byte(13)));
    for (lba, blocks) in [
        (CAPACITY, 0),
        (CAPACITY, 1),
        (CAPACITY - 1, 2),
        (u64::MAX, 1),
    ] {
        let sense = refused(&mut channel, &compare_and_write(0, lba, blocks));
        assert_eq!(sense.code, codes::LBA_OUT_OF_RANGE, "{lba} {blocks}");
    }
    for protect in 1..8 {
        let sense = refused(&mut channel, &compare_and_write(protect << 5, 0, 1));
        assert_eq!(sense, Sense::cdb_bits(1, 7));
    }

    let with = |max_transfer_blocks, max_compare_and_write_blocks| {
        let limits = Limits {
            max_transfer_blocks,
            max_compare_and_write_blocks,
            ..Limits::default()
        };
        channel_of(DiskModel { limits, ..model() })
    };
    for mut channel in [with(0, 8), with(16, 255)] {
        block(channel.plan(&sending(&compare_and_write(0, 0, 8), 8192)));
        let sense = refused(&mut channel, &compare_and_write(0, 0, 9));
        assert_eq!(sense, Sense::cdb_byte(13));
    }
    let sense = refused(&mut with(0, 0), &compare_and_write(0, 0, 0));
    assert_eq!(sense.code, codes::INVALID_OPCODE);
}

#[test]
fn a_miscompare_says_where() {
    let unit = unit();
    let op = BlockOp::CompareAndWrite(BlockRange { lba: 0, blocks: 1 });
    let response = complete(&unit, &op, Err(BlockFault::Miscompare { offset: 0x1e5 }));
    let mut bytes = [0; 18];
    sense_of(&response).encode(&mut bytes);
    assert_eq!(
        bytes,
        [
            0xf0, 0, 0xe, 0, 0, 0x01, 0xe5, 10, 0, 0, 0, 0, 0x1d, 0, 0, 0, 0, 0
        ]
    );
}

#[test]
fn orwrite() {
    let mut channel = channel_of(model());
    let range = BlockRange {
        lba: 0x1234,
        blocks: 0x56,
    };
    let or = block(channel.plan(&command(&cdb(0x8b, 0x18, range.lba, 0x56))));
    assert_eq!(or.op, BlockOp::Or(range));
    assert_eq!(or.transfer, Transfer::Out(0x56 * 512));
    assert!(or.fua && or.dpo);
    assert_eq!(data(&mut channel, &cdb(0x8b, 0, CAPACITY - 1, 0)), []);
    for (lba, blocks) in [
        (CAPACITY, 0),
        (CAPACITY - 1, 2),
        (1 << 63, 1),
        (u64::MAX, 0),
    ] {
        let sense = refused(&mut channel, &cdb(0x8b, 0, lba, blocks));
        assert_eq!(sense.code, codes::LBA_OUT_OF_RANGE);
    }
    for protect in 1..8 {
        let sense = refused(&mut channel, &cdb(0x8b, protect << 5, 0, 1));
        assert_eq!(sense, Sense::cdb_bits(1, 7));
    }
    let long = refused(&mut channel, &cdb(0x8b, 0, 0, 0x8001));
    assert_eq!(long, Sense::cdb_byte(10));
}

#[test]
fn write_and_verify() {
    let mut channel = channel_of(model());
    let range = BlockRange { lba: 7, blocks: 2 };
    for (opcode, length_at) in [(0x2e, 7), (0xae, 6), (0x8e, 10)] {
        for (byte1, compare, dpo) in [(0x00, false, false), (0x12, true, true)] {
            let write = block(channel.plan(&command(&cdb(opcode, byte1, 7, 2))));
            assert_eq!(write.op, BlockOp::WriteVerify { range, compare });
            assert_eq!(write.transfer, Transfer::Out(1024));
            assert!(write.fua && write.dpo == dpo, "{opcode:02x}");
        }
        for check in [0x04, 0x06] {
            let sense = refused(&mut channel, &cdb(opcode, check, 7, 2));
            assert_eq!(sense, Sense::cdb_bits(1, 2));
        }
        for protect in 1..8 {
            let sense = refused(&mut channel, &cdb(opcode, protect << 5, 7, 2));
            assert_eq!(sense, Sense::cdb_bits(1, 7));
        }
        assert_eq!(data(&mut channel, &cdb(opcode, 0, CAPACITY - 1, 0)), []);
        for (lba, blocks) in [(CAPACITY, 0), (CAPACITY, 1), (CAPACITY - 1, 2)] {
            let sense = refused(&mut channel, &cdb(opcode, 0, lba, blocks));
            assert_eq!(sense.code, codes::LBA_OUT_OF_RANGE, "{opcode:02x}");
        }
        let long = refused(&mut channel, &cdb(opcode, 0, 0, 0x8001));
        assert_eq!(long, Sense::cdb_byte(length_at));
    }
}

#[test]
fn atomic_writes() {
    let write = |byte1, lba: u64, boundary: u16, blocks: u16| {
        let fields = [boundary.to_be_bytes(), blocks.to_be_bytes()].concat();
        [&[0x9c, byte1], &lba.to_be_bytes()[..], &fields, &[0, 0]].concat()
    };
    let limits = Limits {
        max_atomic_blocks: 16,
        ..Limits::default()
    };
    let mut channel = channel_of(DiskModel { limits, ..model() });
    let atomic = block(channel.plan(&command(&write(0x18, 8, 0, 16))));
    let range = BlockRange { lba: 8, blocks: 16 };
    assert_eq!(atomic.op, BlockOp::Write(range));
    assert_eq!(atomic.transfer, Transfer::Out(8192));
    assert!(atomic.fua && atomic.dpo);
    assert_eq!(data(&mut channel, &write(0, 8, 0, 0)), []);
    assert_eq!(
        refused(&mut channel, &write(0, 8, 0, 17)),
        Sense::cdb_byte(12)
    );
    assert_eq!(
        refused(&mut channel, &write(0, 8, 8, 16)),
        Sense::cdb_byte(10)
    );
    assert_eq!(
        refused(&mut channel, &write(0x20, 8, 0, 16)),
        Sense::cdb_bits(1, 7)
    );
    let past = refused(&mut channel, &write(0, CAPACITY - 15, 0, 16));
    assert_eq!(past.code, codes::LBA_OUT_OF_RANGE);

    let none = refused(&mut channel_of(model()), &write(0, 0, 0, 1));
    assert_eq!(none.code, codes::INVALID_OPCODE);
}

#[test]
fn prefetch() {
    let mut channel = channel_of(model());
    for opcode in [0x34, 0x90] {
        for (byte1, lba, blocks, expected) in [
            (0x00, 0, 1, 1),
            (0x02, CAPACITY - 256, 256, 256),
            // No number of blocks means all that follow.
            (0x00, 0, 0, CAPACITY),
            (0x02, CAPACITY - 1, 0, 1),
        ] {
            let fetch = block(channel.plan(&command(&cdb(opcode, byte1, lba, blocks))));
            let range = BlockRange {
                lba,
                blocks: expected,
            };
            assert_eq!(fetch.op, BlockOp::Prefetch(range), "{opcode:02x}");
            assert_eq!(fetch.transfer, Transfer::None);
        }
        for (lba, blocks) in [
            (CAPACITY, 0),
            (CAPACITY, 1),
            (CAPACITY - 1, 2),
            (0xffff_ffff, 1),
        ] {
            let sense = refused(&mut channel, &cdb(opcode, 0, lba, blocks));
            assert_eq!(sense.code, codes::LBA_OUT_OF_RANGE, "{opcode:02x}");
        }
    }
}

fn get_lba_status(lba: u64, allocation_length: u32) -> Vec<u8> {
    let mut cdb = cdb(0x9e, 0x12, lba, allocation_length);
    cdb[15] = 0;
    cdb
}

/// What is told of the extents that were found.
fn status_of(
    channel: &mut ScsiChannel,
    lba: u64,
    allocation_length: u32,
    extents: &[(u64, u64, bool)],
) -> Vec<u8> {
    let cdb = get_lba_status(lba, allocation_length);
    let block = block(channel.plan(&command(&cdb)));
    let extents: Vec<_> = extents
        .iter()
        .map(|(lba, blocks, mapped)| Extent {
            range: BlockRange {
                lba: *lba,
                blocks: *blocks,
            },
            mapped: *mapped,
        })
        .collect();
    let response = channel.extents(block.unit, &block.op, Ok(&extents));
    assert_eq!(response.status, Status::Good);
    response.data
}

#[test]
fn lba_status_of_a_disk_that_is_all_there() {
    let mut channel = channel_of(model());
    let whole = [
        0, 0, 0, 20, 0, 0, 0, 0, // header
        0, 0, 0, 0, 0, 0, 0x12, 0x34, 0, 0, 0xed, 0xcc, 0, 0, 0, 0,
    ];
    for length in [24, 25, 4096] {
        assert_eq!(data(&mut channel, &get_lba_status(0x1234, length)), whole);
    }
    for length in [0, 4, 8, 23] {
        let cut = &whole[..length as usize];
        assert_eq!(data(&mut channel, &get_lba_status(0x1234, length)), cut);
    }
    for lba in [CAPACITY, CAPACITY + 1, 1 << 63, u64::MAX] {
        let sense = refused(&mut channel, &get_lba_status(lba, 24));
        assert_eq!(sense.code, codes::LBA_OUT_OF_RANGE);
    }
}

#[test]
fn lba_status_of_a_thin_disk() {
    let mut channel = channel_of(thin_model());
    let cdb = get_lba_status(0x10, 8 + 3 * 16 + 15);
    let look = block(channel.plan(&command(&cdb)));
    let range = BlockRange {
        lba: 0x10,
        blocks: CAPACITY - 0x10,
    };
    let op = BlockOp::Extents {
        range,
        most: 3,
        allocation_length: 71,
    };
    assert_eq!(look.op, op);
    assert_eq!(look.transfer, Transfer::In(71));
    for (length, expected) in [(0, 1), (23, 1), (24, 1), (u32::MAX, 256)] {
        let look = block(channel.plan(&command(&get_lba_status(0, length))));
        assert!(matches!(look.op, BlockOp::Extents { most, .. } if most == expected));
    }

    // An extent that begins before the address, and one that goes beyond the end.
    let extents = [(0, 0x20, true), (0x20, 8, false), (0x28, CAPACITY, true)];
    assert_eq!(
        status_of(&mut channel, 0x10, 71, &extents),
        [
            0, 0, 0, 52, 0, 0, 0, 0, // header
            0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0x10, 0, 0, 0, 0, // mapped
            0, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 8, 1, 0, 0, 0, // deallocated
            0, 0, 0, 0, 0, 0, 0, 0x28, 0, 0, 0xff, 0xd8, 0, 0, 0, 0, // mapped
        ]
    );
    let first = [
        0, 0, 0, 20, 0, 0, 0, 0, // header
        0, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 8, 1, 0, 0, 0,
    ];
    assert_eq!(status_of(&mut channel, 0x20, 24, &extents), first);
    assert_eq!(status_of(&mut channel, 0x20, 7, &extents), first[..7]);
    assert_eq!(status_of(&mut channel, 0x20, 0, &extents), []);
}

#[test]
fn what_is_not_known_of_counts_as_mapped() {
    let mut channel = channel_of(thin_model());
    let all = [
        0, 0, 0, 20, 0, 0, 0, 0, // header
        0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0,
    ];
    assert_eq!(status_of(&mut channel, 0, 256, &[]), all);
    assert_eq!(status_of(&mut channel, 0, 256, &[(0, 0, false)]), all);
    assert_eq!(
        status_of(&mut channel, 0, 256, &[(8, 8, false)]),
        [
            0, 0, 0, 36, 0, 0, 0, 0, // header
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, // unknown
            0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 8, 1, 0, 0, 0, // deallocated
        ]
    );

    let look = block(channel.plan(&command(&get_lba_status(0, 256))));
    let unsupported = channel.extents(look.unit, &look.op, Err(BlockFault::Unsupported));
    assert_eq!(unsupported.data, all);
    let failed = channel.extents(look.unit, &look.op, Err(BlockFault::Hardware));
    assert_eq!(sense_of(&failed).code, codes::INTERNAL_FAILURE);
}

#[test]
fn extents_longer_than_the_field_are_several_descriptors() {
    let large = DiskModel {
        capacity: 1 << 33,
        ..thin_model()
    };
    let mut channel = channel_of(large);
    let status = status_of(&mut channel, 0, 256, &[(0, 1 << 33, false)]);
    assert_eq!(status[..4], [0, 0, 0, 52]);
    let descriptors: Vec<_> = status[8..].chunks(16).collect();
    assert_eq!(
        descriptors,
        [
            [0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0],
            [
                0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0
            ],
            [0, 0, 0, 1, 0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 2, 1, 0, 0, 0],
        ]
    );
}

#[test]
fn there_are_no_defects() {
    let mut channel = channel_of(model());
    let ten = |lists, length| [0x37, 0, lists, 0, 0, 0, 0, 0, length, 0];
    let twelve = |lists, length| [0xb7, lists, 0, 0, 0, 9, 0, 0, 0, length, 0, 0];
    for lists in [0x00, 0x0d, 0x13, 0x18, 0x1e] {
        assert_eq!(data(&mut channel, &ten(lists, 32)), [0, lists, 0, 0]);
        assert_eq!(
            data(&mut channel, &twelve(lists, 32)),
            [0, lists, 0, 0, 0, 0, 0, 0]
        );
    }
    assert_eq!(data(&mut channel, &ten(0x18, 2)), [0, 0x18]);
    assert_eq!(data(&mut channel, &twelve(0x18, 0)), []);
    assert_eq!(refused(&mut channel, &ten(0x0f, 32)), Sense::cdb_bits(2, 2));
    assert_eq!(
        refused(&mut channel, &twelve(0x07, 32)),
        Sense::cdb_bits(1, 2)
    );
}

#[test]
fn what_a_disk_does_not_have() {
    let mut channel = channel_of(thin_model());
    // FORMAT UNIT, SANITIZE, WRITE LONG (10) and (16), XDWRITEREAD (10).
    for cdb in [
        &[0x04, 0, 0, 0, 0, 0][..],
        &[0x48, 0x01, 0, 0, 0, 0, 0, 0, 8, 0],
        &[0x3f, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0x53, 0, 0, 0, 0, 0, 0, 0, 1, 0],
    ] {
        let sense = refused(&mut channel, cdb);
        assert_eq!(sense.code, codes::INVALID_OPCODE, "{cdb:02x?}");
    }
    // WRITE LONG (16), which shares its operation code with nothing here.
    let sense = refused(&mut channel, &cdb(0x9f, 0x11, 0, 0));
    assert_eq!(sense.code, codes::INVALID_OPCODE);
}

#[test]
fn commands_that_want_what_is_obsolete_or_missing() {
    let mut channel = channel_of(model());
    for (control, bit) in [(0x04, 2), (0x05, 2), (0x01, 0)] {
        let mut read = cdb(0x28, 0, 0, 1);
        read[9] = control;
        assert_eq!(refused(&mut channel, &read), Sense::cdb_bits(9, bit));
    }
    // Vendor specific bits, and FLAG, say nothing.
    let mut read = cdb(0x28, 0, 0, 1);
    read[9] = 0xc2;
    block(channel.plan(&command(&read)));
    read[9] = 0;
    let aca = Command {
        attribute: TaskAttribute::Aca,
        ..command(&read)
    };
    let response = respond(channel.plan(&aca));
    assert_eq!(sense_of(&response).code, codes::INVALID_MESSAGE);
}
