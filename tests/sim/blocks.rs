//! The rarer block commands, task attributes, and who must not get between what.

mod cache;
mod compare;
mod copies;
mod locks;
mod order;
mod rare;
mod reports;
mod storm;

use pagecast_backends::testing::Kind;
use pagecast_initiator::{ChannelId, Command, Data, Format, Reply, scsi};
use pagecast_tests::{Host, Setup, World};

const BLOCK: usize = 512;
const MISCOMPARE: (u8, u8, u8) = (0x0e, 0x1d, 0);

/// All of `bytes` to the target.
fn out(world: &mut World, at: (Host, ChannelId), cdb: Vec<u8>, bytes: &[u8]) -> Command {
    let buffer = world.buffer(at.0, at.1, bytes.len());
    buffer.write(0, bytes).expect("within the buffer");
    let pieces = buffer.whole().expect("all of it");
    Command::new(0, cdb, Data::Out(pieces, Format::Direct))
}

fn send_out(world: &mut World, at: (Host, ChannelId), cdb: Vec<u8>, bytes: &[u8]) -> Reply {
    let command = out(world, at, cdb, bytes);
    world.execute(at.0, at.1, &command)
}

fn fetch(
    world: &mut World,
    at: (Host, ChannelId),
    lun: u16,
    cdb: Vec<u8>,
    length: usize,
) -> Vec<u8> {
    let buffer = world.buffer(at.0, at.1, length);
    let pieces = buffer.whole().expect("all of it");
    let command = Command::new(lun, cdb, Data::In(pieces, Format::Direct));
    let reply = world.execute(at.0, at.1, &command);
    assert_eq!(reply.status(), 0, "{:?}", reply.sense());
    reply.data()
}

fn compare_and_write(old: &[u8], new: &[u8], lba: u64) -> (Vec<u8>, Vec<u8>) {
    let blocks = (old.len() / BLOCK) as u8;
    (
        scsi::compare_and_write(lba, blocks, false),
        [old, new].concat(),
    )
}

/// The INFORMATION field of fixed or descriptor format sense data.
fn information(reply: &Reply) -> Option<u64> {
    let sense = &reply.response.sense;
    match sense.first()? {
        0xf0 => Some(u32::from_be_bytes(sense.get(3..7)?.try_into().ok()?).into()),
        0x72 if sense.get(8)? == &0 => {
            Some(u64::from_be_bytes(sense.get(12..20)?.try_into().ok()?))
        }
        _ => None,
    }
}

/// A COMPARE AND WRITE of block 0 that waits for the medium.
fn stuck_compare(world: &mut World, at: (Host, ChannelId), old: &[u8], new: &[u8]) -> u64 {
    world.io.hold(Kind::Read);
    let waiting = world.io.waiting();
    let (cdb, bytes) = compare_and_write(old, new, 0);
    let command = out(world, at, cdb, &bytes);
    let tag = world.send(at.0, at.1, &command);
    world.run_until(|world| (world.io.waiting() > waiting).then_some(()));
    tag
}

fn answered(world: &mut World, at: (Host, ChannelId), tag: u64) -> bool {
    world.settle();
    match world.initiators[at.0].take_reply(at.1, tag) {
        Some(reply) => {
            assert!(reply.is_good());
            true
        }
        None => false,
    }
}

/// MODE SELECT (6) that switches the write cache off (SBC-3, caching mode page).
fn cache_off(world: &mut World, at: (Host, ChannelId)) -> Command {
    let sense = vec![0x1a, 0x08, 0x08, 0, 24, 0];
    let mut list = fetch(world, at, 0, sense, 24);
    // Reserved: MODE DATA LENGTH, DPOFUA, PS.
    (list[0], list[2]) = (0, 0);
    list[4] &= 0x7f;
    assert_eq!(list[6] & 0x04, 0x04, "WCE");
    list[6] &= !0x04;
    out(world, at, vec![0x15, 0x10, 0, 0, 24, 0], &list)
}

fn two_disks(seed: u64) -> Setup {
    let mut setup = Setup::new(seed);
    setup.devices.push(
        r#"{ "name": "disk1", "backend": "memory", "size": "8MiB", "zero_copy": "off" }"#.into(),
    );
    setup.groups = r#"[{ "name": "everyone", "initiators": ["*"],
        "luns": { "0": "disk0", "1": "disk1" } }]"#
        .into();
    setup
}

/// Both without windows.
fn staged_disks(seed: u64) -> Setup {
    let mut setup = two_disks(seed);
    setup.devices.swap_remove(0);
    let first = setup.devices[0].replace("disk1", "disk0");
    setup.devices.insert(0, first);
    setup
}

/// The NAA designator of a logical unit.
fn naa(world: &mut World, at: (Host, ChannelId), lun: u16) -> Vec<u8> {
    let page = fetch(world, at, lun, scsi::inquiry(Some(0x83), 255), 255);
    let mut rest = &page[4..];
    while let [code_set, kind, _, length, ..] = *rest {
        let (designator, later) = rest[4..].split_at(length.into());
        if (code_set & 0x0f, kind & 0x3f) == (1, 3) {
            return designator.to_vec();
        }
        rest = later;
    }
    panic!("no NAA designator: {page:02x?}");
}

const HEAD_OF_QUEUE: u8 = 1;
const ORDERED: u8 = 2;

fn with(attribute: u8, command: Command) -> Command {
    Command {
        attribute,
        ..command
    }
}
