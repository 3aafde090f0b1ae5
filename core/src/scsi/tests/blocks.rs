//! Reading, writing, verifying and flushing.

use super::super::sense::codes;
use super::super::testing::*;
use super::super::*;
use crate::block::{BlockFault, BlockOp, BlockRange, Compare, Transfer};

const READS: [u8; 4] = [0x08, 0x28, 0xa8, 0x88];
const WRITES: [u8; 4] = [0x0a, 0x2a, 0xaa, 0x8a];
const VERIFIES: [u8; 3] = [0x2f, 0xaf, 0x8f];
const FLUSHES: [u8; 2] = [0x35, 0x91];

#[test]
fn reads_and_writes_of_every_length_of_cdb() {
    let mut channel = channel_of(model());
    let range = BlockRange {
        lba: 0x1234,
        blocks: 0x56,
    };
    for opcode in READS {
        let block = block(channel.plan(&command(&cdb(opcode, 0, range.lba, 0x56))));
        assert_eq!(block.op, BlockOp::Read(range), "{opcode:02x}");
        assert_eq!(block.transfer, Transfer::In(0x56 * 512));
        assert!(!block.fua && !block.dpo);
        assert_eq!(channel.unit(block.unit).id(), UnitId(5));
    }
    for opcode in WRITES {
        let block = block(channel.plan(&command(&cdb(opcode, 0, range.lba, 0x56))));
        assert_eq!(block.op, BlockOp::Write(range), "{opcode:02x}");
        assert_eq!(block.transfer, Transfer::Out(0x56 * 512));
        assert!(!block.fua && !block.dpo);
    }
}

#[test]
fn addresses_use_all_their_bits() {
    let large = DiskModel {
        capacity: 1 << 50,
        ..model()
    };
    let mut channel = channel_of(large);
    let cases = [
        (0x08, 0x1f_fedc),
        (0x28, 0xfedc_ba98),
        (0xa8, 0xfedc_ba98),
        (0x88, 0x3_fedc_ba98_7654),
    ];
    for (opcode, lba) in cases {
        let block = block(channel.plan(&command(&cdb(opcode, 0, lba, 3))));
        assert_eq!(block.op, BlockOp::Read(BlockRange { lba, blocks: 3 }));
    }
    // The upper three bits of byte 1 are not part of a 21-bit address.
    let block = block(channel.plan(&command(&[0x08, 0xe0, 0, 1, 1, 0])));
    assert_eq!(block.op, BlockOp::Read(BlockRange { lba: 1, blocks: 1 }));
}

#[test]
fn no_blocks_is_256_in_six_bytes_and_nothing_elsewhere() {
    let mut channel = channel_of(model());
    let six = block(channel.plan(&command(&cdb(0x08, 0, 1, 0))));
    assert_eq!(
        six.op,
        BlockOp::Read(BlockRange {
            lba: 1,
            blocks: 256
        })
    );
    for opcode in READS.into_iter().chain(WRITES).chain(VERIFIES) {
        if opcode >> 5 == 0 {
            continue;
        }
        assert_eq!(data(&mut channel, &cdb(opcode, 0, CAPACITY - 1, 0)), []);
        let sense = refused(&mut channel, &cdb(opcode, 0, CAPACITY, 0));
        assert_eq!(sense.code, codes::LBA_OUT_OF_RANGE, "{opcode:02x}");
    }
}

#[test]
fn what_goes_past_the_end_is_refused() {
    let mut channel = channel_of(model());
    let all = READS
        .into_iter()
        .chain(WRITES)
        .chain(VERIFIES)
        .chain(FLUSHES);
    for opcode in all {
        for (lba, blocks) in [(CAPACITY, 1), (CAPACITY - 1, 2), (0x1f_ffff, 1)] {
            let sense = refused(&mut channel, &cdb(opcode, 0, lba, blocks));
            assert_eq!(
                sense.code,
                codes::LBA_OUT_OF_RANGE,
                "{opcode:02x} {lba} {blocks}"
            );
        }
        let last = channel.plan(&command(&cdb(opcode, 0, CAPACITY - 1, 1)));
        block(last);
    }
    for opcode in [0x88, 0x8a, 0x8f, 0x91] {
        for lba in [1 << 63, u64::MAX, u64::MAX - CAPACITY] {
            let sense = refused(&mut channel, &cdb(opcode, 0, lba, u32::MAX));
            assert_eq!(sense.code, codes::LBA_OUT_OF_RANGE);
        }
    }
}

#[test]
fn transfers_are_limited() {
    let limits = Limits {
        max_transfer_blocks: 0x100,
        ..Limits::default()
    };
    let mut channel = channel_of(DiskModel { limits, ..model() });
    for opcode in [0x28, 0x2a, 0xa8, 0xaa, 0x88, 0x8a] {
        block(channel.plan(&command(&cdb(opcode, 0, 0, 0x100))));
        let sense = refused(&mut channel, &cdb(opcode, 0, 0, 0x101));
        assert_eq!(sense.code, codes::INVALID_FIELD_IN_CDB, "{opcode:02x}");
        let field = sense.field.expect("a field");
        let expected = match opcode >> 5 {
            1 => 7,
            4 => 10,
            _ => 6,
        };
        assert_eq!((field.in_cdb, field.byte), (true, expected));
    }
    // What moves no data has no such limit.
    block(channel.plan(&command(&cdb(0x8f, 0, 0, 0x101))));
    refused(&mut channel, &cdb(0x8f, 0x02, 0, 0x101));
}

#[test]
fn fua_dpo_and_protection() {
    let mut channel = channel_of(model());
    for opcode in [0x28, 0x2a, 0xa8, 0xaa, 0x88, 0x8a] {
        let fua = block(channel.plan(&command(&cdb(opcode, 0x08, 0, 1))));
        assert!(fua.fua && !fua.dpo, "{opcode:02x}");
        let dpo = block(channel.plan(&command(&cdb(opcode, 0x10, 0, 1))));
        assert!(!dpo.fua && dpo.dpo, "{opcode:02x}");
        for protect in 1..8 {
            let sense = refused(&mut channel, &cdb(opcode, protect << 5, 0, 1));
            assert_eq!(sense, Sense::cdb_bits(1, 7), "{opcode:02x}");
        }
    }
    for opcode in VERIFIES {
        let sense = refused(&mut channel, &cdb(opcode, 0x20, 0, 1));
        assert_eq!(sense, Sense::cdb_bits(1, 7));
    }
}

#[test]
fn without_a_write_cache_every_write_is_durable() {
    let mut channel = channel_of(DiskModel {
        write_cache: false,
        ..model()
    });
    for opcode in WRITES {
        assert!(block(channel.plan(&command(&cdb(opcode, 0, 0, 1)))).fua);
    }
    for opcode in READS {
        assert!(!block(channel.plan(&command(&cdb(opcode, 0, 0, 1)))).fua);
    }
}

#[test]
fn verify_compares_if_it_is_told_to() {
    let mut channel = channel_of(model());
    let range = BlockRange { lba: 7, blocks: 2 };
    for opcode in VERIFIES {
        let plain = block(channel.plan(&command(&cdb(opcode, 0x00, 7, 2))));
        assert_eq!(
            plain.op,
            BlockOp::Verify {
                range,
                compare: Compare::Medium
            }
        );
        assert_eq!(plain.transfer, Transfer::None);
        let compare = block(channel.plan(&command(&cdb(opcode, 0x12, 7, 2))));
        assert_eq!(
            compare.op,
            BlockOp::Verify {
                range,
                compare: Compare::Blocks
            }
        );
        assert_eq!(compare.transfer, Transfer::Out(1024));
        assert!(compare.dpo);
        let one = block(channel.plan(&command(&cdb(opcode, 0x06, 7, 2))));
        assert_eq!(
            one.op,
            BlockOp::Verify {
                range,
                compare: Compare::OneBlock
            }
        );
        assert_eq!(one.transfer, Transfer::Out(512));
        let sense = refused(&mut channel, &cdb(opcode, 0x04, 7, 2));
        assert_eq!(sense, Sense::cdb_bits(1, 2));
    }
}

#[test]
fn flushes() {
    let mut channel = channel_of(model());
    for opcode in FLUSHES {
        for byte1 in [0, 0x02, 0x04] {
            let flush = block(channel.plan(&command(&cdb(opcode, byte1, 0, 0))));
            assert_eq!(flush.op, BlockOp::Flush);
            assert_eq!(flush.transfer, Transfer::None);
        }
    }
}

#[test]
fn a_read_only_disk_refuses_every_write() {
    let mut channel = channel_of(DiskModel {
        read_only: true,
        ..thin_model()
    });
    let others = [0x41, 0x93, 0x2e, 0xae, 0x8e, 0x89, 0x8b];
    for opcode in WRITES.into_iter().chain(others) {
        let sense = refused(&mut channel, &cdb(opcode, 0, 0, 1));
        assert_eq!(sense.code, codes::WRITE_PROTECTED, "{opcode:02x}");
    }
    let unmap = [0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0];
    assert_eq!(refused(&mut channel, &unmap).code, codes::WRITE_PROTECTED);
    for opcode in READS.into_iter().chain(VERIFIES).chain(FLUSHES) {
        block(channel.plan(&command(&cdb(opcode, 0, 0, 1))));
    }
}

/// A command that was planned before the disk shrank learns why there is nothing.
#[test]
fn what_a_smaller_disk_has_left_behind() {
    let unit = unit();
    unit.set_capacity(8);
    let range = |lba, blocks| BlockRange { lba, blocks };
    for (op, beyond) in [
        (BlockOp::Read(range(7, 1)), false),
        (BlockOp::Read(range(7, 2)), true),
        (BlockOp::Write(range(8, 1)), true),
        (BlockOp::CompareAndWrite(range(u64::MAX, 1)), true),
        (BlockOp::Unmap(vec![range(0, 1), range(8, 1)]), true),
        (BlockOp::Unmap(vec![range(0, 1), range(4, 4)]), false),
    ] {
        let sense = sense_of(&complete(&unit, &op, Err(BlockFault::PastEnd)));
        assert_eq!(sense.code == codes::LBA_OUT_OF_RANGE, beyond, "{op:?}");
        let other = sense_of(&complete(&unit, &op, Err(BlockFault::Hardware)));
        assert_eq!(other.code, codes::INTERNAL_FAILURE, "{op:?}");
    }
}

#[test]
fn ends_of_block_operations() {
    let range = BlockRange { lba: 0, blocks: 1 };
    let (read, write) = (BlockOp::Read(range), BlockOp::Write(range));
    let unit = unit();
    assert_eq!(complete(&unit, &read, Ok(())), Response::good());
    let prefetch = BlockOp::Prefetch(range);
    let nothing = complete(&unit, &prefetch, Err(BlockFault::Unsupported));
    assert_eq!(nothing, Response::good());
    let cases = [
        (
            &prefetch,
            BlockFault::Medium { write: false },
            (0x3, 0x11, 0x00),
        ),
        (&read, BlockFault::PastEnd, (0x3, 0x11, 0x00)),
        (&write, BlockFault::PastEnd, (0x3, 0x0c, 0x00)),
        (&write, BlockFault::NoSpace, (0x7, 0x27, 0x07)),
        (
            &read,
            BlockFault::Medium { write: false },
            (0x3, 0x11, 0x00),
        ),
        (
            &write,
            BlockFault::Medium { write: true },
            (0x3, 0x0c, 0x00),
        ),
        (&write, BlockFault::ReadOnly, (0x7, 0x27, 0x00)),
        (&write, BlockFault::Unsupported, (0x5, 0x24, 0x00)),
        (&read, BlockFault::Hardware, (0x4, 0x44, 0x00)),
        (
            &read,
            BlockFault::Miscompare { offset: 513 },
            (0xe, 0x1d, 0x00),
        ),
        (&read, BlockFault::TransferFailed, (0xb, 0x4b, 0x00)),
        (&read, BlockFault::Aborted, (0xb, 0x00, 0x00)),
    ];
    for (op, fault, (key, asc, ascq)) in cases {
        let sense = sense_of(&complete(&unit, op, Err(fault)));
        let code = (sense.code.key as u8, sense.code.asc, sense.code.ascq);
        assert_eq!(code, (key, asc, ascq), "{fault:?}");
        let miscompare = matches!(fault, BlockFault::Miscompare { .. });
        assert_eq!(sense.information, miscompare.then_some(513));
    }
    let busy = complete(&unit, &read, Err(BlockFault::Busy));
    assert_eq!(busy, Status::Busy.into());
}
