//! Compare and Write (NVM command set 1.0 section 3.4).

use super::io_fixture::{BLOCKS, Io, LARGE, PLAIN, READ_ONLY, block, command, status};
use crate::block::{BlockOp, BlockRange, Transfer};
use crate::nvme::command::{Command, Fuse};
use crate::nvme::plan::Plan;
use crate::nvme::status::Status;

fn halves(nsid: u32, lba: u64, blocks: u32) -> (Command, Command) {
    let half = |opcode, fuse| Command {
        fuse,
        data_length: blocks * 4096,
        ..command(opcode, nsid, lba, blocks)
    };
    (half(0x05, Fuse::First), half(0x01, Fuse::Second))
}

fn plan(io: &mut Io, (compare, write): &(Command, Command)) -> Plan {
    io.queue.plan_fused(compare, write, &mut io.units)
}

#[test]
fn both_halves_are_one_operation() {
    let mut io = Io::new();
    let mut pair = halves(PLAIN, 0x10, 2);
    let fused = block(plan(&mut io, &pair));
    let range = BlockRange {
        lba: 0x10,
        blocks: 2,
    };
    assert_eq!(fused.op, BlockOp::CompareAndWrite(range));
    assert_eq!(fused.transfer, Transfer::Out(2048));
    assert!(!fused.fua);
    pair.1.cdw10[2] |= 1 << 30;
    assert!(block(plan(&mut io, &pair)).fua);
    assert!(block(plan(&mut io, &halves(LARGE, 0, 1))).fua);
}

#[test]
fn halves_have_to_fit() {
    let mut io = Io::new();
    let wrong: [fn(&mut (Command, Command)); 8] = [
        |pair| pair.0.nsid = LARGE,
        |pair| pair.0.cdw10[0] += 1,
        |pair| pair.0.cdw10[1] += 1,
        |pair| pair.0.cdw10[2] += 1,
        |pair| std::mem::swap(&mut pair.0, &mut pair.1),
        |pair| pair.0.opcode = 0x02,
        |pair| pair.1.opcode = 0x08,
        |pair| pair.0.fuse = Fuse::Normal,
    ];
    for (index, wrong) in wrong.iter().enumerate() {
        let mut pair = halves(PLAIN, 0, 1);
        wrong(&mut pair);
        let refused = status(plan(&mut io, &pair));
        assert_eq!(refused, Status::INVALID_FIELD, "{index}");
    }
}

#[test]
fn halves_are_bounded() {
    let mut io = Io::new();
    // ACWU.
    block(plan(&mut io, &halves(PLAIN, 0, 255)));
    let refused = status(plan(&mut io, &halves(PLAIN, 0, 256)));
    assert_eq!(refused, Status::INVALID_FIELD);
    for (pair, expected) in [
        (halves(PLAIN, BLOCKS, 1), Status::LBA_OUT_OF_RANGE),
        (halves(PLAIN, u64::MAX, 2), Status::LBA_OUT_OF_RANGE),
        (halves(READ_ONLY, 0, 1), Status::NAMESPACE_WRITE_PROTECTED),
        (halves(0, 0, 1), Status::INVALID_NAMESPACE),
        (halves(u32::MAX, 0, 1), Status::INVALID_NAMESPACE),
    ] {
        assert_eq!(status(plan(&mut io, &pair)), expected);
    }
    for half in 0..2 {
        let mut pair = halves(PLAIN, 0, 2);
        let command = if half == 0 { &mut pair.0 } else { &mut pair.1 };
        command.data_length = 1023;
        let refused = status(plan(&mut io, &pair));
        assert_eq!(refused, Status::DATA_SGL_LENGTH_INVALID);
    }
}
