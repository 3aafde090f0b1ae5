//! Whatever arrives, nothing panics, and nothing is planned beyond the end of a disk.

use std::sync::Arc;

use proptest::prelude::*;

use super::super::opcodes::ROWS;
use super::super::testing::*;
use super::super::*;
use crate::block::{BlockFault, BlockOp, BlockRange, CopySegment, Extent};

#[track_caller]
fn check_range(range: &BlockRange) {
    let end = range.lba.checked_add(range.blocks);
    assert!(
        range.blocks != 0 && end.is_some_and(|end| end <= CAPACITY),
        "{range:?}"
    );
}

fn check_block(block: &BlockCommand) {
    match &block.op {
        BlockOp::Read(range)
        | BlockOp::Write(range)
        | BlockOp::Verify { range, .. }
        | BlockOp::WriteSame { range, .. } => check_range(range),
        BlockOp::Unmap(ranges) => {
            assert!(!ranges.is_empty());
            ranges.iter().for_each(check_range);
        }
        BlockOp::Flush => {}
        BlockOp::Extents { range, most, .. } => {
            check_range(range);
            assert!((1..=256).contains(most));
        }
        BlockOp::Copy(segments) => {
            assert!(!segments.is_empty());
            segments.iter().for_each(check_segment);
        }
        BlockOp::CompareAndWrite(range)
        | BlockOp::Or(range)
        | BlockOp::WriteVerify { range, .. }
        | BlockOp::Prefetch(range) => check_range(range),
    }
    assert_eq!(block.transfer, block.op.transfer(512));
}

/// There is one disk only.
fn check_segment(segment: &CopySegment) {
    let unit = UnitId(5);
    assert_eq!((segment.source, segment.destination), (unit, unit));
    assert!(segment.bytes != 0 && segment.bytes.is_multiple_of(512));
    for offset in [segment.source_offset, segment.destination_offset] {
        let end = offset.checked_add(segment.bytes);
        assert!(
            offset % 512 == 0 && end.is_some_and(|end| end <= CAPACITY * 512),
            "{segment:?}"
        );
    }
}

pub(super) fn check_plan(plan: &Plan) {
    match plan {
        Plan::Respond(response) => {
            let failed = response.status == Status::CheckCondition;
            assert_eq!(response.sense.is_some(), failed);
            assert!(!failed || response.data.is_empty());
            if let Some(sense) = response.sense {
                assert!(sense.encode(&mut [0; Sense::MAX_LENGTH]) >= 8);
            }
        }
        Plan::Parameters { length, .. } => assert!((1..=0xffff).contains(length)),
        Plan::Block(block) => check_block(block),
        Plan::Reserve(_) => {}
    }
}

/// A CDB of a known command, the rest of it anything.
fn known_cdb() -> impl Strategy<Value = Vec<u8>> {
    let bytes = proptest::collection::vec(prop_oneof![Just(0), any::<u8>()], 0..20);
    (0..ROWS.len(), bytes, any::<bool>()).prop_map(|(index, mut cdb, plain)| {
        let row = &ROWS[index];
        if plain {
            cdb.resize(row.usage.len(), 0);
            // Only bits that mean something, and no NACA.
            cdb.iter_mut()
                .zip(row.usage)
                .for_each(|(byte, usage)| *byte &= usage);
        }
        if let Some(opcode) = cdb.first_mut() {
            *opcode = row.opcode;
        }
        if let (Some(byte), Some(action)) = (cdb.get_mut(1), row.service_action) {
            *byte = *byte & 0xe0 | action;
        }
        cdb
    })
}

fn any_cdb() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![4 => known_cdb(), 1 => proptest::collection::vec(any::<u8>(), 0..300)]
}

fn any_lun() -> impl Strategy<Value = [u8; 8]> {
    prop_oneof![4 => Just([0; 8]), 1 => any::<[u8; 8]>()]
}

/// Parameter lists with some sense to them: otherwise hardly any would get past the header.
fn any_list() -> impl Strategy<Value = Vec<u8>> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..400);
    let headers: [(&[u8], usize); 6] = [
        (&[0x01, 10], 12),
        (&[0x08, 18], 20),
        (&[0x0a, 10], 12),
        (&[0x1c, 10], 12),
        (&[0x4a, 0x01, 0, 28], 32),
        (&[0x5c, 0x02, 0, 12], 16),
    ];
    let page = (0..headers.len(), any::<[u8; 32]>()).prop_map(move |(index, mut page)| {
        let (header, length) = headers[index];
        page[..header.len()].copy_from_slice(header);
        [&[0; 4], &page[..length]].concat()
    });
    let unmap = proptest::collection::vec((0..2 * CAPACITY, 0..0x1000_u32), 0..5);
    let unmap = unmap.prop_map(|ranges| {
        let mut list = vec![0, 0, 0, ranges.len() as u8 * 16, 0, 0, 0, 0];
        for (lba, blocks) in ranges {
            list.extend(lba.to_be_bytes());
            list.extend(blocks.to_be_bytes());
            list.extend([0; 4]);
        }
        list
    });
    prop_oneof![bytes, page, unmap, copy_list()]
}

/// EXTENDED COPY lists that are mostly good, of the disk to itself, with some bytes of anything.
fn copy_list() -> impl Strategy<Value = Vec<u8>> {
    let lba = || prop_oneof![4 => 0..2 * CAPACITY, 1 => any::<u64>()];
    let segment = (0..3_u16, 0..3_u16, 0..4_u8, any::<u16>(), lba(), lba());
    let segments = proptest::collection::vec(segment, 0..6);
    let damage = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    let flags = prop_oneof![Just(0), Just(0x10), any::<u8>()];
    (any::<u8>(), flags, 1..4_usize, segments, damage).prop_map(
        |(identifier, flags, targets, segments, damage)| {
            let mut list = vec![identifier, flags, 0, targets as u8 * 32, 0, 0, 0, 0];
            list.extend([0, 0, 0, segments.len() as u8 * 28, 0, 0, 0, 0]);
            for _ in 0..targets {
                let naa = model().identity.naa;
                list.extend([0xe4, 0, 0, 0, 1, 3, 0, 16]);
                list.extend(naa.as_bytes());
                list.extend([0, 0, 0, 0, 0, 0, 2, 0]);
            }
            for (source, destination, flags, blocks, from, to) in segments {
                list.extend([2, flags, 0, 0x18]);
                list.extend([source.to_be_bytes(), destination.to_be_bytes()].concat());
                list.extend([0, 0]);
                list.extend(blocks.to_be_bytes());
                list.extend([from.to_be_bytes(), to.to_be_bytes()].concat());
            }
            for (at, byte) in damage {
                *at.get_mut(&mut list) = byte;
            }
            list
        },
    )
}

proptest! {
    #[test]
    fn any_command_is_planned(
        commands in proptest::collection::vec((any_lun(), any_cdb(), any_list(), any::<u16>()), 1..8),
        thin in any::<bool>(),
    ) {
        let mut channel = channel_of(if thin { thin_model() } else { model() });
        for (lun, cdb, list, length) in commands {
            // What these insist on, else hardly any of them would get anywhere.
            let data_out_length = match cdb.as_slice() {
                [0x41 | 0x93, ..] if length % 2 == 0 => 512,
                [0x89, .., blocks, _, _] if length % 2 == 0 => u64::from(*blocks) * 1024,
                _ => length.into(),
            };
            let command = Command { lun, data_out_length, ..command(&cdb) };
            let plan = channel.plan(&command);
            check_plan(&plan);
            if let Plan::Parameters { pending, .. } = plan {
                check_plan(&channel.parameters(pending, &list));
            }
        }
    }

    #[test]
    fn any_parameter_list_is_taken(list in any_list()) {
        let mut channel = channel_of(thin_model());
        let [high, low] = (list.len() as u16).to_be_bytes();
        let cdbs: [&[u8]; 4] = [
            &[0x15, 0x10, 0, 0, low, 0],
            &[0x55, 0x10, 0, 0, 0, 0, 0, high, low, 0],
            &[0x42, 0, 0, 0, 0, 0, 0, high, low, 0],
            &[0x83, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, high, low, 0, 0],
        ];
        for cdb in cdbs {
            let plan = channel.plan(&command(cdb));
            check_plan(&plan);
            if let Plan::Parameters { pending, .. } = plan {
                check_plan(&channel.parameters(pending, &list));
            }
        }
    }

    #[test]
    fn any_copy_is_planned_and_remembered(
        lists in proptest::collection::vec((copy_list(), any::<bool>()), 1..12),
        asked in any::<u8>(),
    ) {
        let mut channel = channel_of(model());
        for (list, good) in lists {
            let length = (list.len() as u32).to_be_bytes();
            let cdb = [&[0x83, 0, 0, 0, 0, 0, 0, 0, 0, 0], &length[..], &[0, 0]].concat();
            let plan = select(&mut channel, &cdb, &list);
            check_plan(&plan);
            if let Plan::Block(block) = plan {
                let result = if good { Ok(()) } else { Err(BlockFault::Hardware) };
                let response = channel.complete(block.unit, &block.op, result);
                prop_assert_eq!(response.status == Status::Good, good);
            }
            for action in [0, 3, 4] {
                for identifier in [list[0], asked] {
                    let mut cdb = [0; 16];
                    (cdb[0], cdb[1], cdb[2], cdb[12]) = (0x84, action, identifier, 1);
                    check_plan(&channel.plan(&command(&cdb)));
                }
            }
        }
    }

    #[test]
    fn any_extents_are_reported(
        lba in 0..CAPACITY,
        length in 0..500_u32,
        extents in proptest::collection::vec((any::<u64>(), any::<u64>(), any::<bool>(), any::<bool>()), 0..40),
    ) {
        let mut channel = channel_of(thin_model());
        let mut cdb = [0; 16];
        (cdb[0], cdb[1]) = (0x9e, 0x12);
        cdb[2..10].copy_from_slice(&lba.to_be_bytes());
        cdb[10..14].copy_from_slice(&length.to_be_bytes());
        let block = block(channel.plan(&command(&cdb)));
        let extents: Vec<_> = extents
            .into_iter()
            .map(|(lba, blocks, mapped, wild)| {
                let (lba, blocks) = if wild { (lba, blocks) } else { (lba % CAPACITY, blocks % 512) };
                Extent { range: BlockRange { lba, blocks }, mapped }
            })
            .collect();
        let data = channel.extents(block.unit, &block.op, Ok(&extents)).data;
        prop_assert!(data.len() <= length as usize);
        // Whatever was found, the descriptors are of blocks that follow each other.
        let mut next = lba;
        for descriptor in data.get(8..).unwrap_or_default().chunks_exact(16) {
            let field = |at: usize, length: usize| {
                descriptor[at..at + length].iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
            };
            prop_assert_eq!(field(0, 8), next);
            prop_assert!(field(8, 4) != 0);
            next += field(8, 4);
        }
        prop_assert!(next <= CAPACITY);
    }

    #[test]
    fn the_capacity_may_change_at_any_time(lba in any::<u64>(), blocks in any::<u32>()) {
        let unit = Arc::new(unit());
        let mut channel = ScsiSession::new(port(), None, &luns(&[(0, &unit)])).channel();
        let lba = lba % (2 * CAPACITY);
        unit.set_capacity(CAPACITY / 2);
        refused(&mut channel, &[0; 6]);
        let mut cdb = [0; 16];
        cdb[0] = 0x88;
        cdb[2..10].copy_from_slice(&lba.to_be_bytes());
        cdb[10..14].copy_from_slice(&(blocks % 0x1000).to_be_bytes());
        if let Plan::Block(block) = channel.plan(&command(&cdb)) {
            let BlockOp::Read(range) = block.op else { panic!("{block:?}") };
            prop_assert!(range.lba + range.blocks <= CAPACITY / 2);
        }
    }
}
