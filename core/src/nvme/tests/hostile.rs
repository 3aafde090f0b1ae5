//! Whatever a host sends, nothing panics, nothing is planned beyond the end of a namespace, and no answer is longer than there is
//! room for.

use std::sync::Arc;

use proptest::prelude::*;

use super::io_fixture::{BLOCKS, HOST, Io, LARGE, MAX_TRANSFER, PLAIN, READ_ONLY, THIN};
use crate::block::{BlockOp, BlockRange, Transfer};
use crate::nvme::command::{Command, SQE_SIZE};
use crate::nvme::controller::{DiscoverySource, Kind};
use crate::nvme::plan::Plan;
use crate::nvme::queue::Queue;
use crate::nvme::testing::registrant;
use crate::reservations::{Action, Expected};
use crate::scsi::{BlockCommand, ReservationCommand};

#[derive(Debug)]
struct Source;

impl DiscoverySource for Source {
    fn log_page(&self) -> Vec<u8> {
        vec![0; 4096]
    }

    fn generation(&self) -> u64 {
        0
    }
}

fn check_range(range: &BlockRange) {
    let end = range.lba.checked_add(range.blocks);
    assert!(
        range.blocks != 0 && end.is_some_and(|end| end <= BLOCKS),
        "{range:?}"
    );
}

fn check_block(io: &Io, command: &Command, block: &BlockCommand) {
    let unit = io.units.unit(block.unit);
    assert!(!(block.op.is_write() && unit.write_protected()));
    assert!(!block.op.is_write() || block.fua || unit.write_cache());
    match &block.op {
        BlockOp::Read(range)
        | BlockOp::Write(range)
        | BlockOp::CompareAndWrite(range)
        | BlockOp::Verify { range, .. }
        | BlockOp::WriteSame { range, .. } => check_range(range),
        BlockOp::Unmap(ranges) => {
            assert!(!ranges.is_empty());
            ranges.iter().for_each(check_range);
        }
        BlockOp::Copy(segments) => {
            assert!(!segments.is_empty());
            let size = u64::from(unit.block_size());
            for segment in segments {
                assert_eq!(
                    (segment.source, segment.destination),
                    (unit.id(), unit.id())
                );
                assert!(segment.bytes != 0 && segment.bytes.is_multiple_of(size));
                for offset in [segment.source_offset, segment.destination_offset] {
                    let end = offset.checked_add(segment.bytes);
                    assert!(end.is_some_and(|end| end <= BLOCKS * size));
                }
            }
        }
        BlockOp::Flush => {}
        other => panic!("not for NVMe: {other:?}"),
    }
    assert_eq!(block.transfer, block.op.transfer(unit.block_size()));
    let halves = if matches!(block.op, BlockOp::CompareAndWrite(_)) {
        2
    } else {
        1
    };
    match block.transfer {
        Transfer::None => {}
        Transfer::In(bytes) | Transfer::Out(bytes) => {
            assert!(bytes / halves <= u64::from(command.data_length.min(MAX_TRANSFER)));
        }
    }
}

/// A change of the namespace's table that is asked for by the host, and none that only SCSI or operators have.
fn check_reserve(io: &Io, command: &Command, reserve: &ReservationCommand) {
    let unit = io.units.unit(reserve.unit);
    let (any, id) = (command.nsid == u32::MAX, unit.id().0);
    assert!(id == command.nsid || any);
    assert_eq!(reserve.change.by, registrant(HOST));
    match &reserve.change.action {
        Action::Register {
            expected,
            key,
            others,
            ..
        } => {
            assert!(others.is_empty() && !matches!(expected, Expected::Key(_)));
            assert!(
                *key != 0 || matches!(expected, Expected::AnyRegistered | Expected::Registered(_))
            );
        }
        Action::Reserve { key, .. }
        | Action::Release { key, .. }
        | Action::Clear { key }
        | Action::Preempt { key, .. } => assert!(key.is_some()),
        Action::Persist(_) => assert!(io.queue.id() == 0),
        other => panic!("not for NVMe: {other:?}"),
    }
    // Whatever comes of it.
    if let Ok(prepared) = unit.reservations().begin(&reserve.change) {
        prepared.commit();
    }
}

fn check(io: &mut Io, command: &Command, data: &[u8]) {
    let mut plan = io.plan(command);
    if let Plan::Fetch { length, pending } = plan {
        assert!((1..=command.data_length.min(8192)).contains(&length));
        // As many as were asked for, or not.
        let mut data = data.to_vec();
        if data.len().is_multiple_of(2) {
            data.resize(length as usize, 0);
        }
        plan = io.queue.data(pending, &data, &mut io.units);
        assert!(!matches!(plan, Plan::Fetch { .. }));
    }
    check_end(io, command, &plan);
}

fn check_end(io: &Io, command: &Command, plan: &Plan) {
    match plan {
        Plan::Reply(data) => {
            assert!(!data.is_empty() && data.len() <= command.data_length as usize);
            assert!(data.len() <= MAX_TRANSFER as usize);
        }
        Plan::Block(block) => check_block(io, command, block),
        Plan::Reserve(reserve) => check_reserve(io, command, reserve),
        _ => {}
    }
}

/// Entries of which hardly anything is right, or that are mostly right.
fn any_command() -> impl Strategy<Value = Command> {
    let bytes = any::<[u8; SQE_SIZE]>();
    let nsid = prop_oneof![
        8 => prop::sample::select(vec![PLAIN, THIN, READ_ONLY, LARGE]),
        1 => prop::sample::select(vec![0, 4, u32::MAX]),
        1 => any::<u32>(),
    ];
    let lba = prop_oneof![4 => 0..BLOCKS + 8, 1 => BLOCKS - 8..BLOCKS, 1 => any::<u64>()];
    let blocks = prop_oneof![4 => 0..16_u32, 1 => 0..0x1_0000_u32];
    let flags = prop_oneof![4 => Just(0), 1 => any::<u32>().prop_map(|flags| flags & 0xffff_0000)];
    let opcode = prop_oneof![
        8 => prop::sample::select(vec![
            0_u8, 1, 2, 5, 8, 9, 0x0c, 0x0d, 0x0e, 0x11, 0x15, 0x19,
        ]),
        1 => any::<u8>(),
    ];
    let data_length = prop_oneof![4 => Just(u32::MAX), 1 => 0..8192_u32, 1 => any::<u32>()];
    let right = (opcode, nsid, lba, blocks, flags, data_length, 0..8_u8).prop_map(
        |(opcode, nsid, lba, blocks, flags, data_length, fuse)| {
            let mut entry = [0; SQE_SIZE];
            entry[0] = opcode;
            entry[1] = fuse.saturating_sub(4);
            entry[4..8].copy_from_slice(&nsid.to_le_bytes());
            entry[40..48].copy_from_slice(&lba.to_le_bytes());
            entry[48..52].copy_from_slice(&(blocks | flags).to_le_bytes());
            if opcode == 9 {
                // Few ranges, deallocate.
                entry[40..48].copy_from_slice(&[fuse, 0, 0, 0, 4, 0, 0, 0]);
            }
            if matches!(opcode, 0x0d | 0x0e | 0x11 | 0x15) {
                // Actions, flags and types; for a report its length, and the extended form.
                let (ignore, persist) = (lba as u8 & 8, (flags >> 24) as u8);
                entry[40..44].copy_from_slice(&[fuse | ignore, blocks as u8 % 8, 0, persist]);
                entry[44] = fuse & 1;
            }
            Command::parse(&entry, data_length)
        },
    );
    let wrong = (bytes, any::<u32>()).prop_map(|(entry, length)| Command::parse(&entry, length));
    prop_oneof![6 => right, 1 => wrong]
}

/// Admin commands with some sense to them.
fn any_admin_command() -> impl Strategy<Value = Command> {
    let opcode = prop_oneof![
        4 => Just(0x02_u8),
        8 => prop::sample::select(vec![0x02_u8, 0x06, 0x08, 0x09, 0x0a, 0x0c, 0x18, 0x7f]),
        1 => any::<u8>(),
    ];
    let low = prop_oneof![
        4 => 0..0x20_u32,
        2 => (0..0x14_u32, 0..4096_u32).prop_map(|(page, dwords)| page | dwords << 16),
        1 => (0x80..0x84_u32, 0..0x800_u32).prop_map(|(id, flags)| id | flags << 8),
        1 => any::<u32>(),
    ];
    let other = || prop_oneof![4 => Just(0), 2 => 0..0x1000_u32, 1 => any::<u32>()];
    let nsid = prop_oneof![2 => 0..6_u32, 1 => Just(u32::MAX), 1 => any::<u32>()];
    let data_length = prop_oneof![4 => Just(u32::MAX), 1 => 0..8192_u32];
    let dwords = [other(), other(), other(), other(), other()];
    (opcode, nsid, low, dwords, data_length, any::<u16>()).prop_map(
        |(opcode, nsid, low, rest, data_length, cid)| {
            let mut entry = [0; SQE_SIZE];
            entry[0] = opcode;
            entry[2..4].copy_from_slice(&cid.to_le_bytes());
            entry[4..8].copy_from_slice(&nsid.to_le_bytes());
            entry[40..44].copy_from_slice(&low.to_le_bytes());
            for (field, value) in entry[44..].chunks_exact_mut(4).zip(rest) {
                field.copy_from_slice(&value.to_le_bytes());
            }
            Command::parse(&entry, data_length)
        },
    )
}

/// Ranges for Dataset Management, sources for Copy, and anything.
fn any_data() -> impl Strategy<Value = Vec<u8>> {
    let range = || (0..BLOCKS + 8, 0..16_u32);
    let ranges = prop::collection::vec(range(), 1..8).prop_map(|ranges| {
        let range = |(lba, blocks): &(u64, u32)| {
            [&[0; 4][..], &blocks.to_le_bytes(), &lba.to_le_bytes()].concat()
        };
        ranges.iter().flat_map(range).collect::<Vec<u8>>()
    });
    let sources = prop::collection::vec(range(), 1..8).prop_map(|ranges| {
        let source = |(lba, blocks): &(u64, u32)| {
            let mut source = [0; 32];
            source[8..16].copy_from_slice(&lba.to_le_bytes());
            source[16..20].copy_from_slice(&blocks.to_le_bytes());
            source
        };
        ranges.iter().flat_map(source).collect::<Vec<u8>>()
    });
    // Keys that are met again.
    let keys = (0..3_u8, 0..3_u8).prop_map(|(one, other)| {
        let mut keys = vec![0; 16];
        (keys[0], keys[8]) = (one, other);
        keys
    });
    prop_oneof![
        ranges,
        sources,
        keys,
        prop::collection::vec(any::<u8>(), 0..300)
    ]
}

proptest! {
    #[test]
    fn any_io_command_is_planned(
        commands in prop::collection::vec((any_command(), any_data()), 1..8),
    ) {
        let mut io = Io::new();
        for (command, data) in commands {
            check(&mut io, &command, &data);
        }
    }

    #[test]
    fn any_two_commands_are_fused(first in any_command(), second in any_command(), same: bool) {
        let mut io = Io::new();
        let mut compare = first;
        let mut write = second;
        if same {
            write = first;
            (compare.opcode, write.opcode) = (5, 1);
            compare.fuse = crate::nvme::command::Fuse::First;
            write.fuse = crate::nvme::command::Fuse::Second;
        }
        let plan = io.queue.plan_fused(&compare, &write, &mut io.units);
        check_end(&io, &write, &plan);
        prop_assert!(matches!(plan, Plan::Respond(_) | Plan::Block(_)));
    }

    #[test]
    fn any_admin_command_is_answered(
        commands in prop::collection::vec((any_admin_command(), any_data()), 1..16),
        discovery: bool,
    ) {
        let kind = if discovery { Kind::Discovery(Arc::new(Source)) } else { Kind::Io };
        let mut io = Io::admin_of(kind);
        for (command, data) in commands {
            check(&mut io, &command, &data);
            io.controller().look(&mut io.session.channel());
            io.controller().take_event();
        }
    }

    #[test]
    fn a_discovery_controller_has_no_io(command in any_command()) {
        let mut io = Io::admin_of(Kind::Discovery(Arc::new(Source)));
        io.queue = Queue::new(io.controller().clone(), 1);
        prop_assert!(matches!(io.plan(&command), Plan::Respond(_)));
    }
}
