//! I/O commands (NVM command set 1.0 section 3).

use super::io_fixture::{
    BLOCKS, Io, LARGE, MAX_TRANSFER, PLAIN, READ_ONLY, THIN, command, controller, status,
};
use crate::block::{BlockFault, BlockOp, BlockRange, Compare, CopySegment, Transfer};
use crate::nvme::command::{Command, Fuse};
use crate::nvme::controller::Kind;
use crate::nvme::plan::Plan;
use crate::nvme::queue::{Queue, complete};
use crate::nvme::status::Status;
use crate::scsi::UnitId;

const FLUSH: u8 = 0x00;
const WRITE: u8 = 0x01;
const READ: u8 = 0x02;
const COMPARE: u8 = 0x05;
const WRITE_ZEROES: u8 = 0x08;
const DATASET_MANAGEMENT: u8 = 0x09;
const VERIFY: u8 = 0x0c;
const COPY: u8 = 0x19;
/// Reservation Register, Report, Acquire and Release.
const RESERVATIONS: [u8; 4] = [0x0d, 0x0e, 0x11, 0x15];

const FUA: u32 = 1 << 30;

#[test]
fn reads_and_writes_move_their_range() {
    let mut io = Io::new();
    let range = BlockRange { lba: 8, blocks: 3 };
    let read = io.block(&command(READ, PLAIN, 8, 3));
    assert_eq!(read.op, BlockOp::Read(range));
    assert_eq!(read.transfer, Transfer::In(1536));
    assert!(!read.fua && !read.dpo);
    assert_eq!(io.units.unit(read.unit).block_size(), 512);

    let write = io.block(&command(WRITE, PLAIN, 8, 3));
    assert_eq!(write.op, BlockOp::Write(range));
    assert_eq!(write.transfer, Transfer::Out(1536));
    assert!(!write.fua);

    let compare = io.block(&command(COMPARE, PLAIN, 8, 3));
    let blocks = Compare::Blocks;
    assert_eq!(
        compare.op,
        BlockOp::Verify {
            range,
            compare: blocks
        }
    );
    assert_eq!(compare.transfer, Transfer::Out(1536));

    let verify = io.block(&command(VERIFY, PLAIN, 8, 3));
    let medium = Compare::Medium;
    assert_eq!(
        verify.op,
        BlockOp::Verify {
            range,
            compare: medium
        }
    );
    assert_eq!(verify.transfer, Transfer::None);

    let large = io.block(&command(READ, LARGE, 8, 3));
    assert_eq!(large.transfer, Transfer::In(3 * 4096));
}

/// Bytes of a submission queue entry as Linux sends them.
#[test]
fn a_read_from_its_bytes() {
    let mut entry = [0; 64];
    entry[0] = READ;
    entry[1] = 0x40;
    entry[4] = PLAIN as u8;
    entry[40..48].copy_from_slice(&0x1234u64.to_le_bytes());
    entry[48..50].copy_from_slice(&7u16.to_le_bytes());
    // Control: FUA and limited retry; dataset management: a hint.
    entry[51] = 0xc0;
    entry[52] = 0x0f;
    let mut io = Io::new();
    let read = io.block(&Command::parse(&entry, 4096));
    let range = BlockRange {
        lba: 0x1234,
        blocks: 8,
    };
    assert_eq!(read.op, BlockOp::Read(range));
    assert!(read.fua);
}

#[test]
fn protection_information_that_no_namespace_has_is_ignored() {
    let mut io = Io::new();
    let mut read = command(READ, PLAIN, 0, 1);
    read.cdw10[2] |= 0xf << 26;
    read.cdw10[4] = 0xdead_beef;
    io.block(&read);
}

#[test]
fn ranges_end_at_the_last_block() {
    let mut io = Io::new();
    for opcode in [READ, WRITE, COMPARE, VERIFY, WRITE_ZEROES] {
        let nsid = THIN;
        io.block(&command(opcode, nsid, BLOCKS - 1, 1));
        for (lba, blocks) in [
            (BLOCKS - 1, 2),
            (BLOCKS, 1),
            (u64::MAX, 1),
            (u64::MAX, 65536),
        ] {
            let refused = io.status(&command(opcode, nsid, lba, blocks));
            assert_eq!(refused, Status::LBA_OUT_OF_RANGE, "{opcode:02x} {lba}");
        }
    }
}

#[test]
fn a_namespace_that_has_shrunk_is_as_small_as_it_is() {
    let mut io = Io::new();
    io.block(&command(READ, PLAIN, 100, 1));
    io.disks[0].1.set_capacity(100);
    let refused = io.status(&command(READ, PLAIN, 100, 1));
    assert_eq!(refused, Status::LBA_OUT_OF_RANGE);
}

#[test]
fn only_namespaces_of_the_host_are_there() {
    let mut io = Io::new();
    for opcode in [
        FLUSH,
        WRITE,
        READ,
        COMPARE,
        WRITE_ZEROES,
        DATASET_MANAGEMENT,
        VERIFY,
        COPY,
    ]
    .into_iter()
    .chain(RESERVATIONS)
    {
        for nsid in [0, 4, 6, u32::MAX - 1, u32::MAX] {
            let refused = io.status(&command(opcode, nsid, 0, 1));
            assert_eq!(refused, Status::INVALID_NAMESPACE, "{opcode:02x} {nsid}");
        }
    }
}

#[test]
fn opcodes_that_are_not_in_the_table_are_refused() {
    let mut io = Io::new();
    let known = [
        FLUSH,
        WRITE,
        READ,
        COMPARE,
        WRITE_ZEROES,
        DATASET_MANAGEMENT,
        VERIFY,
        COPY,
    ];
    for opcode in
        (0..=u8::MAX).filter(|opcode| !known.contains(opcode) && !RESERVATIONS.contains(opcode))
    {
        let refused = io.status(&command(opcode, PLAIN, 0, 1));
        assert_eq!(refused, Status::INVALID_OPCODE, "{opcode:02x}");
        assert!(refused.do_not_retry());
    }
}

#[test]
fn transfers_are_no_longer_than_announced() {
    let mut io = Io::new();
    let most = MAX_TRANSFER / 512;
    for opcode in [READ, WRITE, COMPARE] {
        io.block(&command(opcode, PLAIN, 0, most));
        let refused = io.status(&command(opcode, PLAIN, 0, most + 1));
        assert_eq!(refused, Status::INVALID_FIELD);
    }
    // Nothing is transferred here.
    io.block(&command(VERIFY, PLAIN, 0, 65536));
}

#[test]
fn data_have_to_fit_into_the_data_pointer() {
    let mut io = Io::new();
    for opcode in [READ, WRITE, COMPARE] {
        for (data_length, fits) in [(0, false), (1023, false), (1024, true), (4096, true)] {
            let command = Command {
                data_length,
                ..command(opcode, PLAIN, 0, 2)
            };
            match io.plan(&command) {
                Plan::Block(block) => {
                    assert!(fits);
                    let bytes = block.transfer.data_in() + block.transfer.data_out();
                    assert_eq!(bytes, 1024);
                }
                other => {
                    assert!(!fits);
                    assert_eq!(status(other), Status::DATA_SGL_LENGTH_INVALID);
                }
            }
        }
    }
}

#[test]
fn writes_are_durable_if_asked_or_without_a_cache() {
    let mut io = Io::new();
    for opcode in [WRITE, WRITE_ZEROES] {
        let mut command = command(opcode, THIN, 0, 1);
        assert!(!io.block(&command).fua);
        command.cdw10[2] |= FUA;
        assert!(io.block(&command).fua);
        command.cdw10[2] &= !FUA;
        command.nsid = LARGE;
        assert!(io.block(&command).fua);
    }
    assert!(!io.block(&command(READ, LARGE, 0, 1)).fua);
}

#[test]
fn a_read_only_namespace_is_not_written() {
    let mut io = Io::new();
    let mut deallocate = command(DATASET_MANAGEMENT, READ_ONLY, 0, 1);
    deallocate.cdw10[1] = 4;
    for command in [
        command(WRITE, READ_ONLY, 0, 1),
        command(WRITE_ZEROES, READ_ONLY, 0, 1),
        command(COPY, READ_ONLY, 0, 1),
        deallocate,
    ] {
        let refused = io.status(&command);
        assert_eq!(refused, Status::NAMESPACE_WRITE_PROTECTED);
    }
    for opcode in [READ, COMPARE, VERIFY, FLUSH] {
        io.block(&command(opcode, READ_ONLY, 0, 1));
    }
}

#[test]
fn flush_is_for_one_namespace() {
    let mut io = Io::new();
    let flush = io.block(&Command {
        data_length: 0,
        ..command(FLUSH, PLAIN, u64::MAX, 1)
    });
    assert_eq!(flush.op, BlockOp::Flush);
    assert_eq!(flush.transfer, Transfer::None);
}

#[test]
fn zeroes_are_written_and_perhaps_deallocated() {
    const DEAC: u32 = 1 << 25;
    let mut io = Io::new();
    let range = BlockRange { lba: 16, blocks: 8 };
    for (nsid, flags, unmap) in [
        (THIN, 0, false),
        (THIN, DEAC, true),
        // It cannot deallocate.
        (PLAIN, DEAC, false),
    ] {
        let mut command = command(WRITE_ZEROES, nsid, 16, 8);
        command.cdw10[2] |= flags;
        command.data_length = 0;
        let zeroes = io.block(&command);
        let expected = BlockOp::WriteSame {
            range,
            unmap,
            zero_data: true,
        };
        assert_eq!(zeroes.op, expected);
        assert_eq!(zeroes.transfer, Transfer::None);
    }
    // 32 MiB: all that the field can say of 512 byte blocks.
    io.block(&command(WRITE_ZEROES, PLAIN, 0, 65536));
    io.block(&command(WRITE_ZEROES, LARGE, 0, 8192));
    let refused = io.status(&command(WRITE_ZEROES, LARGE, 0, 8193));
    assert_eq!(refused, Status::INVALID_FIELD);
}

fn deallocate(nsid: u32, ranges: u32) -> Command {
    let mut command = command(DATASET_MANAGEMENT, nsid, 0, 1);
    command.cdw10 = [ranges - 1, 4, 0, 0, 0, 0];
    command.data_length = ranges * 16;
    command
}

fn range(lba: u64, blocks: u32) -> Vec<u8> {
    [&[0xff; 4][..], &blocks.to_le_bytes(), &lba.to_le_bytes()].concat()
}

#[test]
fn ranges_are_deallocated() {
    let mut io = Io::new();
    let data = [range(0, 8), range(500, 0), range(BLOCKS - 1, 1)].concat();
    let plan = io.with_data(&deallocate(THIN, 3), &data);
    let unmap = super::io_fixture::block(plan);
    let ranges = vec![
        BlockRange { lba: 0, blocks: 8 },
        BlockRange {
            lba: BLOCKS - 1,
            blocks: 1,
        },
    ];
    assert_eq!(unmap.op, BlockOp::Unmap(ranges));
    assert_eq!(unmap.transfer, Transfer::None);

    // As many as the field can say, all of the disk.
    let all = range(0, BLOCKS as u32).repeat(256);
    super::io_fixture::block(io.with_data(&deallocate(THIN, 256), &all));

    let nothing = io.with_data(&deallocate(THIN, 1), &range(u64::MAX, 0));
    assert_eq!(status(nothing), Status::SUCCESS);
}

#[test]
fn no_range_is_deallocated_if_one_is_wrong() {
    let mut io = Io::new();
    for (lba, blocks) in [(BLOCKS, 1), (BLOCKS - 1, 2), (u64::MAX, u32::MAX)] {
        let data = [range(0, 8), range(lba, blocks)].concat();
        let plan = io.with_data(&deallocate(THIN, 2), &data);
        assert_eq!(status(plan), Status::LBA_OUT_OF_RANGE);
    }
    let short = Command {
        data_length: 31,
        ..deallocate(THIN, 2)
    };
    assert_eq!(io.status(&short), Status::DATA_SGL_LENGTH_INVALID);
}

#[test]
fn hints_about_data_are_taken_and_forgotten() {
    let mut io = Io::new();
    let mut hint = deallocate(THIN, 1);
    hint.cdw10[1] = 3;
    assert_eq!(io.status(&hint), Status::SUCCESS);
    // So is deallocation where it is not possible.
    assert_eq!(io.status(&deallocate(PLAIN, 1)), Status::SUCCESS);
}

fn copy(nsid: u32, lba: u64, ranges: u32) -> Command {
    let mut command = command(COPY, nsid, lba, 1);
    command.cdw10[2] = ranges - 1;
    command.data_length = ranges * 32;
    command
}

/// A source range in format 0.
fn source(lba: u64, blocks: u32) -> Vec<u8> {
    let mut descriptor = vec![0xa5; 32];
    descriptor[8..16].copy_from_slice(&lba.to_le_bytes());
    descriptor[16..18].copy_from_slice(&((blocks - 1) as u16).to_le_bytes());
    descriptor
}

#[test]
fn ranges_are_copied_one_after_the_other() {
    let mut io = Io::new();
    let data = [source(0x100, 8), source(0x10, 1)].concat();
    let copied = super::io_fixture::block(io.with_data(&copy(PLAIN, 0x200, 2), &data));
    let segment = |from: u64, to: u64, blocks: u64| CopySegment {
        source: UnitId(PLAIN),
        source_offset: from * 512,
        destination: UnitId(PLAIN),
        destination_offset: to * 512,
        bytes: blocks * 512,
    };
    let segments = vec![segment(0x100, 0x200, 8), segment(0x10, 0x208, 1)];
    assert_eq!(copied.op, BlockOp::Copy(segments));
    assert_eq!(copied.transfer, Transfer::None);
    assert!(!copied.fua);

    let mut durable = copy(PLAIN, 0x200, 1);
    durable.cdw10[2] |= FUA;
    let copied = super::io_fixture::block(io.with_data(&durable, &source(0, 1)));
    assert!(copied.fua);
}

#[test]
fn copies_are_bounded() {
    let mut io = Io::new();
    let end = BLOCKS - 1;
    for (to, data, expected) in [
        (0x8000, source(end, 1), Status::SUCCESS),
        (0x8000, source(end, 2), Status::LBA_OUT_OF_RANGE),
        (0x8000, source(u64::MAX, 1), Status::LBA_OUT_OF_RANGE),
        (end, source(0, 2), Status::LBA_OUT_OF_RANGE),
        (u64::MAX, source(0, 1), Status::LBA_OUT_OF_RANGE),
        // MSSRL: 16 MiB.
        (0x8000, source(0, 0x8000), Status::SUCCESS),
        (0x8000, source(0, 0x8001), Status::COMMAND_SIZE_LIMIT),
        // What is copied would be copied over.
        (0x103, source(0x100, 4), Status::INVALID_FIELD),
        (0xfd, source(0x100, 4), Status::INVALID_FIELD),
        (0x104, source(0x100, 4), Status::SUCCESS),
        (0xfc, source(0x100, 4), Status::SUCCESS),
    ] {
        let found = match io.with_data(&copy(PLAIN, to, 1), &data) {
            Plan::Block(_) => Status::SUCCESS,
            other => status(other),
        };
        assert_eq!(found, expected, "{to:x} {data:?}");
    }
    // MCL: 64 MiB, which is more than there is to copy without an overlap.
    let data = source(0, 0x8000).repeat(5);
    let plan = io.with_data(&copy(PLAIN, 0x8000, 5), &data);
    assert_eq!(status(plan), Status::COMMAND_SIZE_LIMIT);
    // MSRC.
    let refused = io.status(&copy(PLAIN, 0, 129));
    assert_eq!(refused, Status::COMMAND_SIZE_LIMIT);
    for format in 1..16 {
        let mut command = copy(PLAIN, 0, 1);
        command.cdw10[2] |= format << 8;
        assert_eq!(io.status(&command), Status::INVALID_FIELD);
    }
    let short = Command {
        data_length: 31,
        ..copy(PLAIN, 0, 1)
    };
    assert_eq!(io.status(&short), Status::DATA_SGL_LENGTH_INVALID);
}

#[test]
fn half_a_fused_operation_is_nothing() {
    let mut io = Io::new();
    for (fuse, expected) in [
        (Fuse::First, Status::ABORTED_MISSING_FUSED),
        (Fuse::Second, Status::ABORTED_MISSING_FUSED),
        (Fuse::Reserved, Status::INVALID_FIELD),
    ] {
        let command = Command {
            fuse,
            ..command(READ, PLAIN, 0, 1)
        };
        assert_eq!(io.status(&command), expected);
    }
}

#[test]
fn nothing_is_served_before_the_controller_is_ready() {
    let mut io = Io::new();
    let queue = Queue::new(controller(Kind::Io), 1);
    let plan = queue.plan(&command(READ, PLAIN, 0, 1), &mut io.units);
    assert_eq!(status(plan), Status::COMMAND_SEQUENCE_ERROR);
}

#[test]
fn what_went_wrong_ends_as_a_status() {
    let range = BlockRange { lba: 6, blocks: 2 };
    let op = BlockOp::Read(range);
    assert_eq!(complete(&op, 8, Ok(())).status, Status::SUCCESS);
    for (fault, expected) in [
        (BlockFault::NoSpace, 0x4081),
        (BlockFault::Medium { write: true }, 0x0280),
        (BlockFault::Medium { write: false }, 0x0281),
        (BlockFault::ReadOnly, 0x4020),
        (BlockFault::Busy, 0x0082),
        (BlockFault::Hardware, 0x0006),
        (BlockFault::Miscompare { offset: 3 }, 0x4285),
        (BlockFault::TransferFailed, 0x0004),
        (BlockFault::Aborted, 0x0007),
    ] {
        let completion = complete(&op, 8, Err(fault));
        assert_eq!(completion.status.field(), expected << 1, "{fault:?}");
        assert_eq!(completion.result, 0);
    }
    // The namespace has shrunk, or its store was cut short.
    let past = Err(BlockFault::PastEnd);
    assert_eq!(complete(&op, 7, past).status, Status::LBA_OUT_OF_RANGE);
    assert_eq!(
        complete(&op, 8, past).status,
        Status::UNRECOVERED_READ_ERROR
    );
    let write = BlockOp::Write(range);
    assert_eq!(complete(&write, 8, past).status, Status::WRITE_FAULT);
    let fault = Err(BlockFault::Unsupported);
    assert_eq!(complete(&op, 8, fault).status, Status::INVALID_OPCODE);
    let hint = BlockOp::Unmap(vec![range]);
    assert_eq!(complete(&hint, 8, fault).status, Status::SUCCESS);
}
