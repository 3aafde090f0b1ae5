//! Whatever arrives, nothing panics, and nothing is planned beyond the end of a disk.

use std::sync::Arc;

use proptest::prelude::*;

use super::super::opcodes::ROWS;
use super::super::testing::*;
use super::super::*;
use crate::block::{BlockOp, BlockRange};

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
        BlockOp::Flush | BlockOp::Extents { .. } | BlockOp::Copy(_) => {}
        BlockOp::CompareAndWrite(range)
        | BlockOp::Or(range)
        | BlockOp::WriteVerify { range, .. }
        | BlockOp::Prefetch(range) => check_range(range),
    }
    assert_eq!(block.transfer, block.op.transfer(512));
}

fn check_plan(plan: &Plan) {
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
    let page = (0..4_usize, any::<[u8; 20]>()).prop_map(|(index, mut page)| {
        let (code, length) = [(0x01, 12), (0x08, 20), (0x0a, 12), (0x1c, 12)][index];
        (page[0], page[1]) = (code, length as u8 - 2);
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
    prop_oneof![bytes, page, unmap]
}

proptest! {
    #[test]
    fn any_command_is_planned(
        commands in proptest::collection::vec((any_lun(), any_cdb(), any_list(), any::<u16>()), 1..8),
        thin in any::<bool>(),
    ) {
        let mut channel = channel_of(if thin { thin_model() } else { model() });
        for (lun, cdb, list, length) in commands {
            let command = Command { lun, data_out_length: length.into(), ..command(&cdb) };
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
        let cdbs: [&[u8]; 3] = [
            &[0x15, 0x10, 0, 0, low, 0],
            &[0x55, 0x10, 0, 0, 0, 0, 0, high, low, 0],
            &[0x42, 0, 0, 0, 0, 0, 0, high, low, 0],
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
    fn the_capacity_may_change_at_any_time(lba in any::<u64>(), blocks in any::<u32>()) {
        let unit = Arc::new(unit());
        let mut channel = ScsiSession::new(port(), &luns(&[(0, &unit)])).channel();
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
