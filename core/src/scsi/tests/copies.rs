//! EXTENDED COPY and RECEIVE COPY RESULTS.

use std::sync::Arc;

use super::super::copy::LIMITS;
use super::super::sense::codes;
use super::super::testing::*;
use super::super::*;
use crate::block::{BlockFault, BlockOp, CopySegment, Transfer};

/// A session with two disks of 512 bytes a block, and one of 4096.
struct Disks {
    channel: ScsiChannel,
    units: [Arc<LogicalUnit>; 3],
}

const NAMES: [&str; 3] = [
    "600140500000000000000000000000aa",
    "600140500000000000000000000000bb",
    "5001405000000001",
];

fn disks() -> Disks {
    disks_of(|_| {})
}

/// Disks, the second of them changed.
fn disks_of(change: impl Fn(&mut DiskModel)) -> Disks {
    let unit = |index: usize| {
        let naa = NAMES[index].parse().expect("valid");
        let block_size = if index == 2 { 4096 } else { 512 };
        let identity = Identity::new(format!("s{index}"), naa);
        let mut model = DiskModel::new(identity, block_size, CAPACITY);
        if index == 1 {
            change(&mut model);
        }
        let id = UnitId(10 + index as u32);
        Arc::new(LogicalUnit::new(id, model).expect("a valid model"))
    };
    let units = [unit(0), unit(1), unit(2)];
    let map = luns(&[(0, &units[0]), (1, &units[1]), (7, &units[2])]);
    Disks {
        channel: ScsiSession::new(port(), None, &map).channel(),
        units,
    }
}

/// An identification descriptor CSCD descriptor with an NAA name.
fn naa_target(name: &str, block_size: u32) -> Vec<u8> {
    let naa: Naa = name.parse().expect("valid");
    target(
        &[&[1, 3, 0, naa.as_bytes().len() as u8], naa.as_bytes()].concat(),
        block_size,
    )
}

fn target(designator: &[u8], block_size: u32) -> Vec<u8> {
    let mut target = [&[0xe4, 0, 0, 0], designator].concat();
    target.resize(28, 0);
    target.extend(block_size.to_be_bytes());
    target
}

/// The targets that most lists here have.
fn targets() -> Vec<Vec<u8>> {
    vec![
        naa_target(NAMES[0], 512),
        naa_target(NAMES[1], 512),
        naa_target(NAMES[2], 4096),
    ]
}

/// A block device to block device segment descriptor.
fn segment(flags: u8, indices: [u16; 2], blocks: u16, lbas: [u64; 2]) -> Vec<u8> {
    let mut segment = vec![0x02, flags, 0, 0x18];
    segment.extend(indices.map(u16::to_be_bytes).concat());
    segment.extend([0, 0]);
    segment.extend(blocks.to_be_bytes());
    segment.extend(lbas.map(u64::to_be_bytes).concat());
    segment
}

fn list_of(identifier: u8, flags: u8, targets: &[Vec<u8>], segments: &[Vec<u8>]) -> Vec<u8> {
    let [targets, segments] = [targets.concat(), segments.concat()];
    let mut list = vec![identifier, flags];
    list.extend((targets.len() as u16).to_be_bytes());
    list.extend([0; 4]);
    list.extend((segments.len() as u32).to_be_bytes());
    list.extend([0; 4]);
    [list, targets, segments].concat()
}

fn copy_cdb(length: usize) -> Vec<u8> {
    let length = (length as u32).to_be_bytes();
    [&[0x83, 0, 0, 0, 0, 0, 0, 0, 0, 0], &length[..], &[0, 0]].concat()
}

#[track_caller]
fn copy(channel: &mut ScsiChannel, list: &[u8]) -> Plan {
    select(channel, &copy_cdb(list.len()), list)
}

#[track_caller]
fn refused_copy(channel: &mut ScsiChannel, list: &[u8]) -> Sense {
    sense_of(&respond(copy(channel, list)))
}

fn results(channel: &mut ScsiChannel, action: u8, identifier: u8) -> Response {
    let cdb = [
        0x84, action, identifier, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0,
    ];
    respond(channel.plan(&command(&cdb)))
}

fn status(channel: &mut ScsiChannel, identifier: u8) -> Option<Vec<u8>> {
    let response = results(channel, 0x00, identifier);
    if response.status == Status::Good {
        return Some(response.data);
    }
    assert_eq!(sense_of(&response), Sense::cdb_byte(2));
    None
}

#[test]
fn copies_between_the_units_of_the_session() {
    let mut disks = disks();
    let segments = [
        segment(0, [0, 1], 8, [0x10, 0x20]),
        // To a disk with other blocks, counted in those of the source, and of the destination.
        segment(0, [0, 2], 16, [8, 3]),
        segment(0x02, [0, 2], 2, [8, 3]),
        // Without blocks: whatever the addresses are.
        segment(0, [0, 1], 0, [u64::MAX, u64::MAX]),
        // Within a disk, up to its end, with CAT that has nothing to do.
        segment(0x01, [1, 1], 0x8000, [0, CAPACITY - 0x8000]),
    ];
    let planned = block(copy(
        &mut disks.channel,
        &list_of(1, 0x20, &targets(), &segments),
    ));
    let segment = |source, source_offset, destination, destination_offset, bytes| CopySegment {
        source: UnitId(source),
        source_offset,
        destination: UnitId(destination),
        destination_offset,
        bytes,
    };
    assert_eq!(
        planned.op,
        BlockOp::Copy(vec![
            segment(10, 0x2000, 11, 0x4000, 0x1000),
            segment(10, 0x1000, 12, 0x3000, 0x2000),
            segment(10, 0x1000, 12, 0x3000, 0x2000),
            segment(11, 0, 11, 0x100_0000, 0x100_0000),
        ])
    );
    assert_eq!(planned.transfer, Transfer::None);
    assert!(!planned.fua && !planned.dpo);
    assert_eq!(disks.channel.unit(planned.unit).id(), UnitId(10));
}

#[test]
fn without_a_write_cache_a_copy_is_durable() {
    let mut disks = disks_of(|model| model.write_cache = false);
    for (indices, durable) in [([0, 1], true), ([1, 0], false), ([1, 2], false)] {
        let list = list_of(1, 0, &targets(), &[segment(0, indices, 8, [0, 0])]);
        assert_eq!(block(copy(&mut disks.channel, &list)).fua, durable);
    }
}

#[test]
fn nothing_to_copy() {
    let mut disks = disks();
    assert_eq!(data(&mut disks.channel, &copy_cdb(0)), []);
    for segments in [&[][..], &[segment(0, [0, 0], 0, [0, 0])]] {
        let list = list_of(4, 0, &targets(), segments);
        assert_eq!(respond(copy(&mut disks.channel, &list)), Response::good());
        assert_eq!(
            status(&mut disks.channel, 4).expect("known"),
            [0, 0, 0, 8, 1, 0, 0, 0, 0, 0, 0, 0]
        );
    }
}

#[test]
fn lists_have_to_be_whole() {
    let mut disks = disks();
    let list = list_of(1, 0, &targets(), &[segment(0, [0, 1], 8, [0, 0])]);
    assert_eq!(list.len(), 16 + 3 * 32 + 28);
    // As libiscsi cuts them: within a target, within a segment, and within the header.
    for length in [1, 15, 16, 16 + 31, 16 + 3 * 32, list.len() - 1] {
        let response = respond(copy(&mut disks.channel, &list[..length]));
        assert_eq!(sense_of(&response).code, codes::PARAMETER_LIST_LENGTH);
    }
    let longest = 16 + LIMITS.list_length as usize;
    for length in [longest + 1, usize::MAX] {
        let sense = refused(&mut disks.channel, &copy_cdb(length));
        assert_eq!(sense.code, codes::PARAMETER_LIST_LENGTH);
    }
    // What follows the descriptors does not count.
    let mut padded = list;
    padded.resize(longest, 0xff);
    block(copy(&mut disks.channel, &padded));
}

#[test]
fn lists_are_limited() {
    let mut disks = disks();
    let target = naa_target(NAMES[0], 512);
    let segment = segment(0, [0, 0], 8, [0, 0x1000]);
    let list = |targets: u16, segments: u16| {
        list_of(
            1,
            0,
            &vec![target.clone(); targets.into()],
            &vec![segment.clone(); segments.into()],
        )
    };
    let all = list(LIMITS.targets, LIMITS.segments);
    assert_eq!(all.len(), 16 + LIMITS.list_length as usize);
    block(copy(&mut disks.channel, &all));
    let sense = refused_copy(&mut disks.channel, &list(LIMITS.targets + 1, 1));
    assert_eq!(sense.code, codes::TOO_MANY_COPY_TARGETS);
    let sense = refused_copy(&mut disks.channel, &list(1, LIMITS.segments + 1));
    assert_eq!(sense.code, codes::TOO_MANY_COPY_SEGMENTS);
    let both = list(LIMITS.targets + 1, LIMITS.segments + 1);
    let sense = refused(&mut disks.channel, &copy_cdb(both.len()));
    assert_eq!(sense.code, codes::PARAMETER_LIST_LENGTH);
}

#[test]
fn bad_headers() {
    let mut disks = disks();
    let good = list_of(1, 0, &targets(), &[segment(0, [0, 1], 8, [0, 0])]);
    let mut with = |changes: &[(usize, u8)]| {
        let mut list = good.clone();
        changes.iter().for_each(|(at, byte)| list[*at] = *byte);
        refused_copy(&mut disks.channel, &list)
    };
    // LIST ID USAGE 01b, and 11b with a list identifier.
    assert_eq!(with(&[(1, 0x08)]), Sense::parameter(1, Some(4)));
    assert_eq!(with(&[(1, 0x18)]), Sense::parameter(0, None));
    assert_eq!(with(&[(15, 1)]).code, codes::INLINE_DATA_LENGTH);
    // Lists of descriptors that end within one.
    assert_eq!(with(&[(3, 3 * 32 - 1)]), Sense::parameter(2, None));
    assert_eq!(with(&[(11, 27)]), Sense::parameter(8, None));
}

#[test]
fn unsupported_descriptors() {
    let mut disks = disks();
    let segments = [segment(0, [0, 1], 8, [0, 0])];
    // Fibre Channel N_Port_Name, IPv4, alias, IPv6, and what is not a target at all.
    for kind in [0xe0, 0xe5, 0xe6, 0xea, 0x02] {
        let mut targets = targets();
        targets[1][0] = kind;
        let sense = refused_copy(&mut disks.channel, &list_of(1, 0, &targets, &segments));
        assert_eq!(sense.code, codes::UNSUPPORTED_COPY_TARGET);
        assert_eq!(sense.field.map(|field| field.byte), Some(16 + 32));
    }
    // Stream to stream, which is shorter; block to block with offsets, which is longer.
    for (kind, length) in [(0x03, 0x14), (0x0a, 0x20), (0xe4, 0x1c)] {
        let mut other = vec![0; length];
        (other[0], other[3]) = (kind, length as u8 - 4);
        let list = list_of(1, 0, &targets(), &[other]);
        let sense = refused_copy(&mut disks.channel, &list);
        assert_eq!(sense.code, codes::UNSUPPORTED_COPY_SEGMENT);
        assert_eq!(sense.field.map(|field| field.byte), Some(16 + 3 * 32));
    }
    let mut long = segments[0].clone();
    long[3] = 0x1c;
    let list = list_of(1, 0, &targets(), &[segments[0].clone(), long]);
    let sense = refused_copy(&mut disks.channel, &list);
    assert_eq!(sense, Sense::parameter(16 + 3 * 32 + 28 + 2, None));
    // None of these was begun.
    assert_eq!(status(&mut disks.channel, 1), None);
}

#[test]
fn units_are_found_by_the_names_they_have() {
    let mut disks = disks_of(|model| model.identity.uuid = Some([0x5a; 16]));
    let naa: Naa = NAMES[1].parse().expect("valid");
    let name = |code_set: u8, kind: u8, name: &[u8]| {
        let designator = [&[code_set, kind, 0, name.len() as u8], name].concat();
        target(&designator, 512)
    };
    let uuid = [&[0x10, 0], &[0x5a; 16][..]].concat();
    for (target, found) in [
        (name(1, 3, naa.as_bytes()), true),
        (name(2, 1, b"PAGECASTs1"), true),
        (name(1, 0xa, &uuid), true),
        // The protocol identifier does not matter.
        (name(0x61, 3, naa.as_bytes()), true),
        // Another code set, type, association or length; and no name.
        (name(2, 3, naa.as_bytes()), false),
        (name(1, 2, naa.as_bytes()), false),
        (name(1, 0x13, naa.as_bytes()), false),
        (name(1, 3, &naa.as_bytes()[..8]), false),
        (name(2, 1, b"PAGECASTs9"), false),
        (name(1, 3, &[]), false),
        (name(1, 4, &[0, 0, 0, 1]), false),
        // The name of a port: it is not one of the unit's.
        (name(1, 0x14, &[0, 0, 0, 1]), false),
        // Longer than there is room for.
        (target(&[1, 3, 0, 255], 512), false),
    ] {
        let list = list_of(1, 0, &[target], &[segment(0, [0, 0], 8, [0, 0x100])]);
        match copy(&mut disks.channel, &list) {
            Plan::Block(BlockCommand {
                op: BlockOp::Copy(segments),
                ..
            }) => assert!(found && segments[0].source == UnitId(11)),
            plan => {
                assert!(!found, "{list:02x?}");
                let sense = sense_of(&respond(plan));
                assert_eq!(sense.code, codes::COPY_TARGET_UNREACHABLE);
            }
        }
    }
    // LU ID TYPE and NUL are obsolete in SPC-4, and a relative initiator port identifier names nothing here.
    let mut target = name(1, 3, naa.as_bytes());
    (target[1], target[3]) = (0xe0, 1);
    let list = list_of(1, 0, &[target], &[segment(0, [0, 0], 8, [0, 0x100])]);
    block(copy(&mut disks.channel, &list));
}

#[test]
fn units_of_other_sessions_are_not_reachable() {
    let disks = disks();
    let map = luns(&[(0, &disks.units[0])]);
    let session = ScsiSession::new(port(), None, &map);
    let mut channel = session.channel();
    let list = list_of(1, 0, &targets(), &[segment(0, [0, 1], 8, [0, 0])]);
    let sense = refused_copy(&mut channel, &list);
    assert_eq!(sense.code, codes::COPY_TARGET_UNREACHABLE);
    // Nor are those that are gone by the time the list is there.
    session.set_luns(&luns(&[(0, &disks.units[0]), (1, &disks.units[1])]));
    refused(&mut channel, &[0; 6]);
    let cdb = copy_cdb(list.len());
    let Plan::Parameters { pending, .. } = channel.plan(&command(&cdb)) else {
        panic!("no parameters wanted");
    };
    session.set_luns(&map);
    refused(&mut channel, &[0; 6]);
    let response = respond(channel.parameters(pending, &list));
    assert_eq!(sense_of(&response).code, codes::COPY_TARGET_UNREACHABLE);
}

#[test]
fn segments_that_cannot_be_copied() {
    let mut disks = disks();
    let good = segment(0, [0, 1], 8, [0, 0]);
    let beyond = codes::COPY_ABORTED;
    let unreachable = codes::COPY_TARGET_UNREACHABLE;
    for (bad, code, field) in [
        (segment(0, [3, 1], 8, [0, 0]), unreachable, 4),
        (segment(0, [0, 3], 8, [0, 0]), unreachable, 6),
        (segment(0, [0xffff, 0], 8, [0, 0]), unreachable, 4),
        (segment(0, [0, 1], 8, [CAPACITY - 7, 0]), beyond, 12),
        (segment(0, [0, 1], 8, [0, CAPACITY - 7]), beyond, 20),
        (segment(0, [0, 1], 8, [u64::MAX, 0]), beyond, 12),
        (segment(0, [0, 1], 1, [0, u64::MAX]), beyond, 20),
        (segment(0, [0, 2], 8, [0, CAPACITY]), beyond, 20),
        (
            segment(0, [0, 2], 9, [0, 0]),
            codes::COPY_INEXACT_SEGMENT,
            10,
        ),
        (
            segment(0x03, [2, 0], 7, [0, 0]),
            codes::COPY_INEXACT_SEGMENT,
            10,
        ),
    ] {
        let list = list_of(9, 0, &targets(), &[good.clone(), bad.clone()]);
        let sense = refused_copy(&mut disks.channel, &list);
        assert_eq!(sense.code, code, "{bad:02x?}");
        assert_eq!(sense.segment, Some(1));
        let pointer = FieldPointer {
            in_cdb: false,
            byte: field,
            bit: None,
        };
        assert_eq!(sense.field, Some(pointer));
        assert_eq!(
            status(&mut disks.channel, 9).expect("known"),
            [0, 0, 0, 8, 2, 0, 0, 0, 0, 0, 0, 0]
        );
    }
    // More than MAXIMUM SEGMENT LENGTH: 64 MiB are 16384 blocks of 4096 bytes.
    let full = list_of(1, 0, &targets(), &[segment(0, [2, 2], 0x4000, [0, 0x4000])]);
    block(copy(&mut disks.channel, &full));
    let long = segment(0, [2, 2], 0x4001, [0, 0x8000]);
    let list = list_of(1, 0, &targets(), &[good, long]);
    let sense = refused_copy(&mut disks.channel, &list);
    assert_eq!(sense, Sense::parameter(16 + 3 * 32 + 28 + 10, None));
}

#[test]
fn targets_that_are_not_what_they_are_said_to_be() {
    let mut disks = disks();
    let segments = [segment(0, [0, 1], 8, [0, 0])];
    let mut tape = targets();
    tape[1][1] = 0x01;
    let sense = refused_copy(&mut disks.channel, &list_of(1, 0, &tape, &segments));
    assert_eq!(sense.code, codes::COPY_DEVICE_TYPE);

    let mut blocks = targets();
    blocks[2] = naa_target(NAMES[2], 512);
    let sense = refused_copy(&mut disks.channel, &list_of(1, 0, &blocks, &segments));
    assert_eq!(sense, Sense::parameter(16 + 2 * 32 + 29, None));
    blocks[2] = naa_target(NAMES[2], 0);
    block(copy(&mut disks.channel, &list_of(1, 0, &blocks, &segments)));
}

#[test]
fn read_only_destinations_are_refused() {
    let to_second = list_of(1, 0, &targets(), &[segment(0, [0, 1], 8, [0, 0])]);
    let from_second = list_of(1, 0, &targets(), &[segment(0, [1, 0], 8, [0, 0])]);
    let mut disks = disks_of(|model| model.read_only = true);
    let sense = refused_copy(&mut disks.channel, &to_second);
    assert_eq!(sense.code, codes::COPY_WRITE_PROTECTED);
    block(copy(&mut disks.channel, &from_second));
    // It may also be the copy manager: nothing is written to it.
    let cdb = copy_cdb(from_second.len());
    let mut lun = [0; 8];
    lun[1] = 1;
    let command = Command {
        lun,
        ..command(&cdb)
    };
    let Plan::Parameters { pending, .. } = disks.channel.plan(&command) else {
        panic!("no parameters wanted");
    };
    block(disks.channel.parameters(pending, &from_second));

    let protected = self::disks();
    protected.units[1].set_modes(
        protected.units[1]
            .modes()
            .with(unit::Modes::WRITE_PROTECT, true),
    );
    let mut channel = protected.channel;
    let sense = refused_copy(&mut channel, &to_second);
    assert_eq!(sense.code, codes::COPY_SOFTWARE_WRITE_PROTECTED);
}

#[test]
fn status_of_copies() {
    let mut disks = disks();
    assert_eq!(status(&mut disks.channel, 1), None);
    let segments = [
        segment(0, [0, 1], 8, [0, 0]),
        segment(0, [0, 1], 24, [8, 0x100]),
    ];
    // HOLD, and DISCARD: the outcome of the copy is told either way.
    for usage in [0x00, 0x10] {
        let list = list_of(1, usage, &targets(), &segments);
        let planned = block(copy(&mut disks.channel, &list));
        let going = [0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(status(&mut disks.channel, 1).expect("known"), going);
        assert_eq!(status(&mut disks.channel, 1).expect("known"), going);
        let response = disks.channel.complete(planned.unit, &planned.op, Ok(()));
        assert_eq!(response, Response::good());
        let done = [0, 0, 0, 8, 1, 0, 2, 0, 0, 0, 0x40, 0];
        assert_eq!(status(&mut disks.channel, 1).expect("known"), done);
        assert_eq!(status(&mut disks.channel, 1), None);
    }
    // Without a list identifier nothing is kept.
    let list = list_of(0, 0x18, &targets(), &segments);
    let planned = block(copy(&mut disks.channel, &list));
    disks.channel.complete(planned.unit, &planned.op, Ok(()));
    assert_eq!(status(&mut disks.channel, 0), None);
}

#[test]
fn failures_of_copies() {
    let mut disks = disks();
    let list = list_of(3, 0, &targets(), &[segment(0, [0, 1], 8, [0, 0])]);
    let nothing = [0, 0, 0, 0];
    assert_eq!(results(&mut disks.channel, 0x04, 3).data, nothing);
    for (fault, key, asc, ascq) in [
        (BlockFault::NoSpace, 0xa, 0x27, 0x07),
        (BlockFault::ReadOnly, 0xa, 0x27, 0x00),
        (BlockFault::PastEnd, 0xa, 0x0d, 0x01),
        (BlockFault::Medium { write: true }, 0xa, 0x0d, 0x01),
        (BlockFault::Busy, 0xa, 0x0d, 0x01),
        (BlockFault::Hardware, 0xa, 0x0d, 0x01),
        (BlockFault::Aborted, 0xb, 0x00, 0x00),
    ] {
        let planned = block(copy(&mut disks.channel, &list));
        let response = disks
            .channel
            .complete(planned.unit, &planned.op, Err(fault));
        let code = sense_of(&response).code;
        assert_eq!((code.key as u8, code.asc, code.ascq), (key, asc, ascq));
        let failed = [0, 0, 0, 8, 2, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(status(&mut disks.channel, 3).expect("known"), failed);
        let details = results(&mut disks.channel, 0x04, 3).data;
        assert_eq!(details[..4], [0, 0, 0, 74]);
        assert_eq!(details[56..60], [0x02, 0, 0, 18]);
        assert_eq!((details[62], details[72], details[73]), (key, asc, ascq));
        assert_eq!(results(&mut disks.channel, 0x04, 3).data, nothing);
    }
}

#[test]
fn outcomes_are_between_a_nexus_and_a_copy_manager() {
    let mut disks = disks();
    let list = list_of(3, 0, &targets(), &[segment(0, [0, 1], 8, [0, 0])]);
    let planned = block(copy(&mut disks.channel, &list));
    disks.channel.complete(planned.unit, &planned.op, Ok(()));
    // Another logical unit of the session, and another session.
    let cdb = [0x84, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0];
    let mut lun = [0; 8];
    lun[1] = 1;
    let other = Command {
        lun,
        ..command(&cdb)
    };
    let response = respond(disks.channel.plan(&other));
    assert_eq!(sense_of(&response), Sense::cdb_byte(2));
    let map = luns(&[(0, &disks.units[0])]);
    let mut other = ScsiSession::new(port(), None, &map).channel();
    assert_eq!(status(&mut other, 3), None);
    // Another channel of the session.
    let mut same = disks.channel.session().channel();
    assert!(status(&mut same, 3).is_some());
}

#[test]
fn more_copies_than_are_told_have_to_wait() {
    let mut disks = disks();
    let list = |identifier| list_of(identifier, 0, &targets(), &[segment(0, [0, 1], 8, [0, 0])]);
    // MAXIMUM CONCURRENT COPIES.
    let most = results(&mut disks.channel, 0x03, 0).data[36];
    let first = block(copy(&mut disks.channel, &list(0)));
    for identifier in 1..most {
        block(copy(&mut disks.channel, &list(identifier)));
    }
    let refused = respond(copy(&mut disks.channel, &list(most)));
    assert_eq!(refused.status, Status::Busy);
    disks.channel.complete(first.unit, &first.op, Ok(()));
    block(copy(&mut disks.channel, &list(most)));
}

#[test]
fn operating_parameters() {
    let mut disks = disks();
    let parameters = results(&mut disks.channel, 0x03, 0).data;
    assert_eq!(
        parameters,
        [
            0, 0, 0, 42, 1, 0, 0, 0, // available data, SNLID
            0, 4, 0, 64, 0, 0, 0x07, 0x80, // targets, segments, list length
            0x04, 0, 0, 0, 0, 0, 0, 0, // segment length, inline data
            0, 0, 0, 0, 0, 0, 0, 0, // held data, stream transfers
            0, 0, 0, 8, 8, 9, 0, 0, // concurrent copies, granularities
            0, 0, 0, 2, 0x02, 0xe4, // descriptor types
        ]
    );
    let cdb = [0x84, 0x03, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0];
    assert_eq!(data(&mut disks.channel, &cdb), parameters[..4]);
}

#[test]
fn other_service_actions() {
    let mut disks = disks();
    // EXTENDED COPY (LID4), POPULATE TOKEN; RECEIVE DATA, RECEIVE COPY STATUS (LID4).
    for (opcode, action) in [(0x83, 0x01), (0x83, 0x10), (0x84, 0x01), (0x84, 0x05)] {
        let mut cdb = [0; 16];
        (cdb[0], cdb[1]) = (opcode, action);
        assert_eq!(refused(&mut disks.channel, &cdb), Sense::cdb_bits(1, 4));
    }
}
