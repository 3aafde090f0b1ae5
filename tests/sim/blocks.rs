//! The rarer block commands, task attributes, and who must not get between what.

use pagecast_backends::BackendError;
use pagecast_backends::testing::{Fault, Kind};
use pagecast_initiator::{Buffer, ChannelId, Command, Data, Format, Reply, Task, scsi};
use pagecast_tests::world::{read, write};
use pagecast_tests::{Host, Setup, World, pattern, seeds};

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

fn send(world: &mut World, at: (Host, ChannelId), cdb: Vec<u8>) -> Reply {
    world.execute(at.0, at.1, &Command::new(0, cdb, Data::None))
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

// --- COMPARE AND WRITE ---------------------------------------------------------------------------------------------

/// Somebody who increments the counter in block 0 with COMPARE AND WRITE of blocks 0 and 1, or writes block 1 and looks
/// whether that lasts.
struct Actor {
    at: (Host, ChannelId),
    writes: bool,
    left: u32,
    step: Step,
}

enum Step {
    Idle,
    Reading(u64, Buffer),
    Swapping(u64),
    Writing(u64, Vec<u8>),
    Checking(u64, Vec<u8>),
}

impl Actor {
    fn begin(&mut self, world: &mut World, turn: u32) {
        let (host, channel) = self.at;
        if self.writes {
            let bytes = pattern(BLOCK, turn.into());
            let buffer = world.buffer(host, channel, BLOCK);
            buffer.write(0, &bytes).expect("within the buffer");
            let tag = world.send(host, channel, &write(&buffer, 1));
            self.step = Step::Writing(tag, bytes);
        } else {
            let buffer = world.buffer(host, channel, 2 * BLOCK);
            let tag = world.send(host, channel, &read(&buffer, 0, 2));
            self.step = Step::Reading(tag, buffer);
        }
    }

    /// Goes on if its reply is there. Returns whether a round is over that counts.
    fn go_on(&mut self, world: &mut World, retries: &mut u32) -> bool {
        let (host, channel) = self.at;
        let tag = match &self.step {
            Step::Idle => return false,
            Step::Reading(tag, _)
            | Step::Swapping(tag)
            | Step::Writing(tag, _)
            | Step::Checking(tag, _) => *tag,
        };
        let Some(reply) = world.initiators[host].take_reply(channel, tag) else {
            return false;
        };
        match std::mem::replace(&mut self.step, Step::Idle) {
            Step::Idle => false,
            Step::Reading(_, buffer) => {
                assert!(reply.is_good());
                let old = buffer.read(0, 2 * BLOCK).expect("all of it");
                let mut new = old.clone();
                let count = u64::from_be_bytes(old[..8].try_into().expect("eight bytes"));
                new[..8].copy_from_slice(&(count + 1).to_be_bytes());
                let (cdb, bytes) = compare_and_write(&old, &new, 0);
                let command = out(world, self.at, cdb, &bytes);
                self.step = Step::Swapping(world.send(host, channel, &command));
                false
            }
            Step::Swapping(_) if reply.is_good() => true,
            Step::Swapping(_) => {
                assert_eq!(reply.sense(), Some(MISCOMPARE));
                *retries += 1;
                false
            }
            Step::Writing(_, bytes) => {
                assert!(reply.is_good());
                let buffer = world.buffer(host, channel, BLOCK);
                let tag = world.send(host, channel, &read(&buffer, 1, 1));
                self.step = Step::Checking(tag, bytes);
                false
            }
            Step::Checking(_, bytes) => {
                assert!(reply.data() == bytes, "a write was lost");
                true
            }
        }
    }
}

#[test]
fn compare_and_write_loses_no_update() {
    let mut retries = 0;
    for seed in seeds(0..10) {
        let setup = Setup::new(seed);
        let mut world = if seed % 2 == 0 { setup } else { setup.staged() }.build();
        let mut actors = Vec::new();
        for host in [0, 1] {
            for number in 0..3 {
                let mut options = world.options(host);
                if number > 0 {
                    options = options.multichannel();
                }
                let channel = world.log_in_with(host, options);
                actors.push(Actor {
                    at: (host, channel),
                    // One of all.
                    writes: host == 1 && number == 2,
                    left: 8,
                    step: Step::Idle,
                });
            }
        }
        let mut turn = 0;
        while actors.iter().any(|actor| actor.left > 0) {
            for actor in &mut actors {
                if matches!(actor.step, Step::Idle) && actor.left > 0 {
                    turn += 1;
                    actor.begin(&mut world, turn);
                }
                actor.left -= u32::from(actor.go_on(&mut world, &mut retries));
            }
            world.pump();
        }
        let (host, channel) = actors[0].at;
        let block = world.read(host, channel, 0, 1);
        assert_eq!(block[..8], 40u64.to_be_bytes(), "seed {seed}");
        world.finish();
    }
    assert!(retries > 10, "they did not meet: {retries}");
}

#[test]
fn a_miscompare_says_where_and_changes_nothing() {
    for staged in [false, true] {
        let setup = Setup::new(1);
        let mut world = if staged { setup.staged() } else { setup }.build();
        let at = (0, world.log_in(0));
        // More than one staging chunk, and not a whole number of them.
        for blocks in [1, 3, 129, 255] {
            let old = pattern(blocks * BLOCK, 1);
            let new = pattern(blocks * BLOCK, 2);
            world.write(0, at.1, 7, &old);
            for wrong in [0, 1, BLOCK - 1, blocks * BLOCK / 2, blocks * BLOCK - 1] {
                let mut guess = old.clone();
                guess[wrong] ^= 0x10;
                // What comes after the first difference does not matter.
                guess[blocks * BLOCK - 1] ^= 0x20;
                let (cdb, bytes) = compare_and_write(&guess, &new, 7);
                let reply = send_out(&mut world, at, cdb, &bytes);
                assert_eq!(reply.sense(), Some(MISCOMPARE));
                assert_eq!(information(&reply), Some(wrong as u64), "{blocks} blocks");
                assert!(world.read(0, at.1, 7, blocks as u32) == old);
            }
            let (cdb, bytes) = compare_and_write(&old, &new, 7);
            let reply = send_out(&mut world, at, cdb, &bytes);
            assert!(reply.is_good(), "{:?}", reply.sense());
            assert!(world.read(0, at.1, 7, blocks as u32) == new);
        }
        // With the data in the command.
        let (old, new) = (world.read(0, at.1, 0, 2), pattern(2 * BLOCK, 3));
        for _ in 0..2 {
            let (cdb, bytes) = compare_and_write(&old, &new, 0);
            let reply = world.execute(0, at.1, &Command::new(0, cdb, Data::Immediate(bytes)));
            if !reply.is_good() {
                assert_eq!(reply.sense(), Some(MISCOMPARE));
                assert_eq!(information(&reply), Some(0));
            }
            assert!(world.read(0, at.1, 0, 2) == new);
        }
        world.finish();
    }
}

#[test]
fn too_little_data_is_an_error_and_writes_nothing() {
    let mut world = Setup::new(1).build();
    let at = (0, world.log_in(0));
    let old = pattern(2 * BLOCK, 1);
    world.write(0, at.1, 0, &old);
    let (cdb, bytes) = compare_and_write(&old, &pattern(2 * BLOCK, 2), 0);
    for length in [BLOCK, 2 * BLOCK, 3 * BLOCK, 4 * BLOCK - 1] {
        let reply = send_out(&mut world, at, cdb.clone(), &bytes[..length]);
        assert_eq!(reply.status(), 2, "{length} bytes");
        let command = Command::new(0, cdb.clone(), Data::Immediate(bytes[..length].to_vec()));
        assert_eq!(
            world.execute(0, at.1, &command).status(),
            2,
            "{length} bytes"
        );
    }
    let reply = send_out(&mut world, at, scsi::orwrite16(0, 2), &[0xff; BLOCK]);
    assert_eq!(reply.status(), 2);
    assert!(world.read(0, at.1, 0, 2) == old);
    // WRITE AND VERIFY is a WRITE: what is there is written, and the rest is a residual.
    let cdb = scsi::write_and_verify16(0, 2, 1);
    let reply = send_out(&mut world, at, cdb, &[0xff; BLOCK]);
    let what = (reply.status(), reply.response.residual_out);
    assert_eq!(what, (0, -(BLOCK as i64)));
    let both = [&[0xff; BLOCK], &old[BLOCK..]].concat();
    assert!(world.read(0, at.1, 0, 2) == both);
    let device = &world.daemon.shared.inventory().devices[0];
    let written = device.total(|counters| &counters.write_bytes);
    assert_eq!(written, 3 * BLOCK as u64);
    world.finish();
}

// --- locks ---------------------------------------------------------------------------------------------------------

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

#[test]
fn writers_wait_for_a_compare_and_write_of_the_same_blocks_only() {
    for seed in seeds(0..8) {
        let mut world = Setup::new(seed).staged().build();
        let (one, two) = ((0, world.log_in(0)), (1, world.log_in(1)));
        let (old, new, last) = (vec![0; BLOCK], vec![1; BLOCK], vec![2; BLOCK]);
        let swap = stuck_compare(&mut world, one, &old, &new);
        let command = out(&mut world, two, scsi::write16(0, 1, false), &last);
        let waits = world.send(two.0, two.1, &command);
        // A discard waits as well.
        let (cdb, list) = scsi::unmap(&[(0, 8)]);
        let command = out(&mut world, two, cdb, &list);
        let discard = world.send(two.0, two.1, &command);
        let elsewhere = out(&mut world, two, scsi::write16(1, 1, false), &last);
        assert!(world.execute(two.0, two.1, &elsewhere).is_good());
        assert!(!answered(&mut world, two, waits), "seed {seed}");
        assert!(!answered(&mut world, two, discard), "seed {seed}");
        // Aborted where it waits, it ends at once.
        let task = Task {
            lun: scsi::lun(0),
            function: 1,
            tag: discard,
        };
        assert_eq!(world.manage(two.0, two.1, task), 0);
        world.initiators[two.0].abandon(two.1, discard);
        world.io.release();
        assert!(world.reply(one.0, one.1, swap).is_good());
        assert!(world.reply(two.0, two.1, waits).is_good());
        assert!(world.read(0, one.1, 0, 1) == last, "seed {seed}");
        world.finish();
    }
}

#[test]
fn a_lock_goes_with_its_connection() {
    for seed in seeds(0..8) {
        let mut world = Setup::new(seed).staged().build();
        let (one, two) = ((0, world.log_in(0)), (1, world.log_in(1)));
        let second = world.options(0).multichannel();
        let third = (0, world.log_in_with(0, second));
        let (old, new) = (vec![0; BLOCK], vec![1; BLOCK]);
        stuck_compare(&mut world, one, &old, &new);
        // One that waits, and is gone before its turn.
        let (cdb, bytes) = compare_and_write(&old, &new, 0);
        let command = out(&mut world, third, cdb, &bytes);
        world.send(third.0, third.1, &command);
        let command = out(&mut world, two, scsi::write16(0, 1, false), &[3; BLOCK]);
        let waits = world.send(two.0, two.1, &command);
        world.settle();
        for gone in [third, one] {
            world.initiators[gone.0]
                .disconnect(gone.1)
                .expect("a disconnect");
        }
        assert!(!answered(&mut world, two, waits), "the backend still reads");
        world.io.release();
        assert!(world.reply(two.0, two.1, waits).is_good());
        assert!(world.read(1, two.1, 0, 1) == [3; BLOCK]);
        world.finish();
    }
}

#[test]
fn errors_release_what_was_locked() {
    for kind in [Kind::Read, Kind::Write] {
        let mut world = Setup::new(1).staged().build();
        let at = (0, world.log_in(0));
        world
            .store()
            .inject(Fault::every(kind, BackendError::Medium(5)).times(1));
        let (old, new) = ([0; BLOCK], [1; BLOCK]);
        let (cdb, bytes) = compare_and_write(&old, &new, 0);
        let reply = send_out(&mut world, at, cdb.clone(), &bytes);
        let (code, qualifier) = if kind == Kind::Read {
            (0x11, 0)
        } else {
            (0x0c, 0)
        };
        assert_eq!(reply.sense(), Some((3, code, qualifier)));
        let (cdb, wrong) = compare_and_write(&new, &new, 0);
        assert_eq!(
            send_out(&mut world, at, cdb, &wrong).sense(),
            Some(MISCOMPARE)
        );
        let (cdb, _) = compare_and_write(&old, &new, 0);
        assert!(send_out(&mut world, at, cdb, &bytes).is_good());
        world.write(0, at.1, 0, &old);
        world.finish();
    }
}

// --- the write cache ------------------------------------------------------------------------------------------------

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

fn count(executed: &[Kind], kind: Kind) -> usize {
    executed.iter().filter(|&&other| other == kind).count()
}

#[test]
fn what_is_being_written_when_the_cache_goes_is_flushed() {
    for seed in seeds(0..8) {
        let mut world = Setup::new(seed).staged().build();
        let (at, other) = ((0, world.log_in(0)), (1, world.log_in(1)));
        let select = cache_off(&mut world, at);
        world.io.take_executed();
        world.io.hold(Kind::Write);
        // Two strides.
        let cdb = scsi::write_same16(0, 3000, false, false);
        let command = out(&mut world, other, cdb, &pattern(BLOCK, 1));
        let long = world.send(other.0, other.1, &command);
        world.run_until(|world| (world.io.waiting() > 0).then_some(()));
        let select = world.send(at.0, at.1, &select);
        world.settle();
        assert_eq!(world.io.take_executed(), [], "seed {seed}");
        world.io.release();
        assert!(world.reply(at.0, at.1, select).is_good());
        let reply = world.reply(other.0, other.1, long);
        assert!(reply.is_good(), "seed {seed}: {:?}", reply.sense());
        let all = [Kind::Write, Kind::Flush, Kind::Write];
        assert_eq!(world.io.take_executed(), all, "seed {seed}");
        assert_eq!(world.io.take_volatile(), 1, "seed {seed}: before the flush");
        world.finish();
    }
}

#[test]
fn what_waits_when_the_cache_goes_is_durable() {
    for seed in seeds(0..8) {
        let mut world = Setup::new(seed).staged().build();
        let (at, other) = ((0, world.log_in(0)), (1, world.log_in(1)));
        let select = cache_off(&mut world, at);
        world.io.take_executed();
        let swap = stuck_compare(&mut world, at, &[0; BLOCK], &[1; BLOCK]);
        let mut waiting = Vec::new();
        for (cdb, bytes) in [
            (scsi::write16(0, 1, false), vec![2; BLOCK]),
            scsi::unmap(&[(0, 8)]),
        ] {
            let command = out(&mut world, other, cdb, &bytes);
            waiting.push(world.send(other.0, other.1, &command));
        }
        let zeroes = scsi::write_same16(0, 8, true, true);
        let command = Command::new(0, zeroes, Data::None);
        waiting.push(world.send(other.0, other.1, &command));
        world.settle();
        let select = world.send(at.0, at.1, &select);
        world.settle();
        world.io.release();
        assert!(world.reply(at.0, at.1, select).is_good());
        assert!(world.reply(at.0, at.1, swap).is_good());
        for tag in waiting {
            let reply = world.reply(other.0, other.1, tag);
            assert!(reply.is_good(), "seed {seed}: {:?}", reply.sense());
        }
        let executed = world.io.take_executed();
        assert_eq!(count(&executed, Kind::Write), 2, "{executed:?}");
        // Discards are not durable by themselves: instead of the one of WRITE SAME zeroes are, and that of UNMAP is flushed.
        assert_eq!(count(&executed, Kind::WriteZeroes), 1, "{executed:?}");
        assert_eq!(count(&executed, Kind::Discard), 1, "{executed:?}");
        assert_eq!(count(&executed, Kind::Flush), 2, "{executed:?}");
        assert_eq!(world.io.take_volatile(), 1, "seed {seed}: the discard");
        world.finish();
    }
}

// --- the others ----------------------------------------------------------------------------------------------------

#[test]
fn orwrite_adds_bits() {
    for seed in seeds(0..4) {
        let mut world = Setup::new(seed).build();
        let at = (0, world.log_in(0));
        for blocks in [1, 8, 130] {
            let (old, more) = (
                pattern(blocks * BLOCK, 1),
                pattern(blocks * BLOCK, seed + 2),
            );
            world.write(0, at.1, 5, &old);
            let cdb = scsi::orwrite16(5, blocks as u32);
            let reply = if blocks == 1 {
                let data = Data::Immediate(more.clone());
                world.execute(0, at.1, &Command::new(0, cdb, data))
            } else {
                send_out(&mut world, at, cdb, &more)
            };
            assert!(reply.is_good(), "{:?}", reply.sense());
            let expected: Vec<u8> = old.iter().zip(&more).map(|(a, b)| a | b).collect();
            assert!(world.read(0, at.1, 5, blocks as u32) == expected);
        }
        world.finish();
    }
}

#[test]
fn what_is_written_and_verified_was_written_and_read() {
    let mut world = Setup::new(1).build();
    let at = (0, world.log_in(0));
    for (bytchk, blocks) in [(0, 3), (1, 129), (1, 1)] {
        let bytes = pattern(blocks * BLOCK, 4 + u64::from(bytchk));
        world.io.take_executed();
        let cdb = scsi::write_and_verify16(9, blocks as u32, bytchk);
        let reply = if blocks == 1 {
            let data = Data::Immediate(bytes.clone());
            world.execute(0, at.1, &Command::new(0, cdb, data))
        } else {
            send_out(&mut world, at, cdb, &bytes)
        };
        assert!(reply.is_good(), "{:?}", reply.sense());
        assert_eq!(world.io.take_executed(), [Kind::Write, Kind::Read]);
        assert!(world.read(0, at.1, 9, blocks as u32) == bytes);
    }
    world.finish();
}

#[test]
fn one_block_is_compared_with_many() {
    let mut world = Setup::new(1).build();
    let at = (0, world.log_in(0));
    let block = pattern(BLOCK, 6);
    // More than it reads at once.
    let blocks = 2500;
    for part in 0..5 {
        world.write(0, at.1, 3 + part * 500, &block.repeat(500));
    }
    let verify =
        |world: &mut World, lba| send_out(world, at, scsi::verify16(lba, blocks, 3), &block);
    let reply = verify(&mut world, 3);
    assert!(reply.is_good(), "{:?}", reply.sense());
    let data = Data::Immediate(block.clone());
    let command = Command::new(0, scsi::verify16(3, blocks, 3), data);
    assert!(world.execute(0, at.1, &command).is_good());
    let mut other = block.clone();
    other[100] ^= 1;
    world.write(0, at.1, 3 + 2499, &other);
    let reply = verify(&mut world, 3);
    assert_eq!(reply.sense(), Some(MISCOMPARE));
    assert_eq!(information(&reply), Some(100));
    world.finish();
}

#[test]
fn prefetching_is_asked_of_the_store() {
    let mut world = Setup::new(1).build();
    let at = (0, world.log_in(0));
    world.io.take_executed();
    for blocks in [16, 0] {
        let reply = send(&mut world, at, scsi::prefetch16(8, blocks));
        assert!(matches!(reply.status(), 0 | 4), "{:?}", reply.sense());
    }
    assert_eq!(world.io.take_executed(), [Kind::Prefetch, Kind::Prefetch]);
    world.finish();
}

/// First block, blocks, and whether they are stored.
fn extents(
    world: &mut World,
    at: (Host, ChannelId),
    lba: u64,
    room: usize,
) -> Vec<(u64, u32, bool)> {
    let length = 8 + 16 * room;
    let data = fetch(
        world,
        at,
        0,
        scsi::get_lba_status(lba, length as u32),
        length,
    );
    data[8..]
        .chunks_exact(16)
        .map(|descriptor| {
            let lba = u64::from_be_bytes(descriptor[..8].try_into().expect("eight bytes"));
            let blocks = u32::from_be_bytes(descriptor[8..12].try_into().expect("four bytes"));
            (lba, blocks, descriptor[12] & 0x0f == 0)
        })
        .collect()
}

#[test]
fn holes_show_after_unmap() {
    let mut world = Setup::new(1).build();
    let at = (0, world.log_in(0));
    for part in 0..4 {
        world.write(0, at.1, part * 2048, &pattern(1 << 20, part));
    }
    assert_eq!(extents(&mut world, at, 0, 8), [(0, 8192, true)]);
    let (cdb, list) = scsi::unmap(&[(1024, 512), (4096, 8)]);
    assert!(send_out(&mut world, at, cdb, &list).is_good());
    let all = [
        (0, 1024, true),
        (1024, 512, false),
        (1536, 2560, true),
        (4096, 8, false),
        (4104, 4088, true),
    ];
    assert_eq!(extents(&mut world, at, 0, 8), all);
    assert_eq!(extents(&mut world, at, 0, 2), all[..2]);
    assert_eq!(
        extents(&mut world, at, 1100, 2),
        [(1100, 436, false), (1536, 2560, true)]
    );
    // Part of a page that stays stored because of the rest.
    let (cdb, list) = scsi::unmap(&[(6001, 1)]);
    assert!(send_out(&mut world, at, cdb, &list).is_good());
    assert_eq!(extents(&mut world, at, 5000, 8), [(5000, 3192, true)]);
    // A store that cannot tell: blocks count as stored.
    let fault = Fault::every(Kind::Extents, BackendError::Unsupported).times(1);
    world.store().inject(fault);
    let told = extents(&mut world, at, 1024, 8);
    assert!(matches!(told[..], [(1024, 1.., true)]), "{told:?}");
    world.finish();
}

// --- copies --------------------------------------------------------------------------------------------------------

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

fn read_lun(world: &mut World, at: (Host, ChannelId), lun: u16, lba: u64, blocks: u32) -> Vec<u8> {
    fetch(
        world,
        at,
        lun,
        scsi::read16(lba, blocks),
        blocks as usize * BLOCK,
    )
}

#[test]
fn blocks_are_copied_between_devices() {
    for seed in seeds(0..6) {
        let mut world = two_disks(seed).build();
        let at = (0, world.log_in(0));
        let bytes = pattern(4 << 20, seed);
        for part in 0..4 {
            world.write(
                0,
                at.1,
                part * 2048,
                &bytes[part as usize * (1 << 20)..][..1 << 20],
            );
        }
        let names = [naa(&mut world, at, 0), naa(&mut world, at, 1)];
        // Several strides, one block, and something odd.
        let segments = [(0, 4096, 5000), (5000, 1, 1), (6001, 9999, 1027)];
        let (cdb, list) = scsi::extended_copy(&names[0], &names[1], 512, &segments);
        let reply = send_out(&mut world, at, cdb, &list);
        assert!(reply.is_good(), "seed {seed}: {:?}", reply.sense());
        for (from, to, blocks) in segments {
            let from = from as usize * BLOCK;
            let expected = &bytes[from..from + usize::from(blocks) * BLOCK];
            for part in (0..blocks).step_by(1000) {
                let now = 1000.min(blocks - part);
                let data = read_lun(&mut world, at, 1, to + u64::from(part), now.into());
                let part = usize::from(part) * BLOCK;
                assert!(data == expected[part..part + data.len()], "seed {seed}");
            }
        }
        // And back, into windows that are there.
        world.read(0, at.1, 0, 8);
        world.read(0, at.1, 0, 8);
        let (cdb, list) = scsi::extended_copy(&names[1], &names[0], 512, &[(4096 + 64, 0, 8)]);
        assert!(send_out(&mut world, at, cdb, &list).is_good());
        assert!(world.read(0, at.1, 0, 8) == bytes[64 * BLOCK..72 * BLOCK]);
        // Within one device.
        let (cdb, list) = scsi::extended_copy(&names[0], &names[0], 512, &[(100, 7000, 50)]);
        assert!(send_out(&mut world, at, cdb, &list).is_good());
        assert!(world.read(0, at.1, 7000, 50) == bytes[100 * BLOCK..150 * BLOCK]);
        let devices = &world.daemon.shared.inventory().devices;
        let copied: u64 = segments
            .iter()
            .map(|(_, _, blocks)| u64::from(*blocks))
            .sum();
        let written = devices[1].total(|counters| &counters.write_bytes);
        assert_eq!(written, copied * BLOCK as u64);
        world.finish();
    }
}

#[test]
fn an_aborted_copy_stops_at_its_stride() {
    for seed in seeds(0..6) {
        let mut world = two_disks(seed).build();
        let at = (0, world.log_in(0));
        world.write(0, at.1, 0, &pattern(1 << 20, 1));
        let names = [naa(&mut world, at, 0), naa(&mut world, at, 1)];
        world.io.take_executed();
        world.io.hold(Kind::Write);
        let segments = [(0, 0, 2048), (0, 2048, 2048), (0, 4096, 2048)];
        let (cdb, list) = scsi::extended_copy(&names[0], &names[1], 512, &segments);
        let command = out(&mut world, at, cdb, &list);
        let copy = world.send(at.0, at.1, &command);
        world.run_until(|world| (world.io.waiting() > 0).then_some(()));
        world.settle();
        let abort = Task {
            lun: scsi::lun(0),
            function: 1,
            tag: copy,
        };
        let abort = world.initiators[0].task(at.1, abort).expect("a credit");
        world.settle();
        world.io.release();
        assert_eq!(world.reply(0, at.1, abort).response.code, Some(0));
        world.initiators[0].abandon(at.1, copy);
        assert_eq!(
            world.io.take_executed(),
            [Kind::Read, Kind::Write],
            "seed {seed}"
        );
        assert_eq!(copy_status(&mut world, at), 2, "seed {seed}");
        world.finish();
    }
}

/// COPY MANAGER STATUS (SPC-4, RECEIVE COPY STATUS) of list identifier 1: 0 is under way, 1 is good, 2 is not.
fn copy_status(world: &mut World, at: (Host, ChannelId)) -> u8 {
    fetch(world, at, 0, receive_copy_status(), 12)[4]
}

fn receive_copy_status() -> Vec<u8> {
    vec![0x84, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0]
}

#[test]
fn whoever_waits_for_a_copy_hears_that_it_is_done() {
    for seed in seeds(0..8) {
        let mut world = staged_disks(seed).build();
        let at = (0, world.log_in(0));
        let names = [naa(&mut world, at, 0), naa(&mut world, at, 1)];
        world.io.hold(Kind::Read);
        let buffer = world.buffer(0, at.1, BLOCK);
        let first = world.send(0, at.1, &read(&buffer, 0, 1));
        world.run_until(|world| (world.io.waiting() > 0).then_some(()));
        let (cdb, list) = scsi::extended_copy(&names[0], &names[1], 512, &[(0, 0, 8)]);
        let command = out(&mut world, at, cdb, &list);
        let copy = world.send(0, at.1, &with(ORDERED, command));
        let buffer = world.buffer(0, at.1, 12);
        let pieces = buffer.whole().expect("all of it");
        let data = Data::In(pieces, Format::Direct);
        let status = world.send(0, at.1, &Command::new(0, receive_copy_status(), data));
        world.settle();
        world.io.release();
        for tag in [first, copy] {
            assert!(world.reply(0, at.1, tag).is_good(), "seed {seed}");
        }
        let reply = world.reply(0, at.1, status);
        assert!(reply.is_good(), "seed {seed}: {:?}", reply.sense());
        assert_eq!(reply.data()[4], 1, "seed {seed}");
        world.finish();
    }
}

#[test]
fn a_copy_that_fails_says_so() {
    let mut world = two_disks(1).build();
    let at = (0, world.log_in(0));
    let names = [naa(&mut world, at, 0), naa(&mut world, at, 1)];
    let (cdb, list) = scsi::extended_copy(&names[0], &names[1], 512, &[(0, 0, 8), (8, 8, 8)]);
    for (disk, kind) in [("disk0", Kind::Read), ("disk1", Kind::Write)] {
        let fault = Fault::every(kind, BackendError::Medium(5)).within(4096..8192);
        world.stores[disk].inject(fault);
        let reply = send_out(&mut world, at, cdb.clone(), &list);
        assert_eq!(reply.status(), 2, "{disk}");
        world.stores[disk].clear();
    }
    assert!(send_out(&mut world, at, cdb, &list).is_good());
    world.finish();
}

// --- log pages -----------------------------------------------------------------------------------------------------

#[test]
fn log_pages_count_what_was_done() {
    // A window would occupy more than was written.
    let mut world = Setup::new(1).staged().build();
    let at = (0, world.log_in(0));
    world.write(0, at.1, 0, &pattern(8 * BLOCK, 1));
    world.write(0, at.1, 8, &pattern(8 * BLOCK, 1));
    world.read(0, at.1, 0, 5);
    let fault = Fault::every(Kind::Write, BackendError::Medium(5)).times(1);
    world.store().inject(fault);
    let reply = send_out(&mut world, at, scsi::write16(0, 1, false), &[0; BLOCK]);
    assert_eq!(reply.status(), 2);
    // General statistics (SPC-4): READ and WRITE commands, blocks received, blocks transmitted.
    let page = fetch(&mut world, at, 0, scsi::log_sense(0x19, 128), 128);
    let number = |at: usize| u64::from_be_bytes(page[at..at + 8].try_into().expect("eight bytes"));
    assert_eq!([8, 16, 24, 32].map(number), [1, 3, 17, 5]);
    // Write error counters: the last of seven counts what could not be corrected.
    let page = fetch(&mut world, at, 0, scsi::log_sense(0x02, 128), 128);
    let last = 4 + 6 * 12 + 4;
    assert_eq!(page[last..last + 8], 1u64.to_be_bytes());
    // Used resources: a parameter with code 2, in blocks.
    let page = fetch(&mut world, at, 0, scsi::log_sense(0x0c, 128), 128);
    assert_eq!(page[4..12], [0, 2, 3, 8, 0, 0, 0, 16]);
    world.finish();
}

// --- task attributes -----------------------------------------------------------------------------------------------

const HEAD_OF_QUEUE: u8 = 1;
const ORDERED: u8 = 2;

fn with(attribute: u8, command: Command) -> Command {
    Command {
        attribute,
        ..command
    }
}

#[test]
fn ordered_commands_wait_and_are_waited_for() {
    for seed in seeds(0..10) {
        let mut world = staged_disks(seed).build();
        let (at, other) = ((0, world.log_in(0)), (1, world.log_in(1)));
        let send_read = |world: &mut World, at: (Host, ChannelId), lun, attribute| {
            let buffer = world.buffer(at.0, at.1, BLOCK);
            let mut command = with(attribute, read(&buffer, 0, 1));
            command.lun = scsi::lun(lun);
            (world.send(at.0, at.1, &command), buffer)
        };
        world.io.hold(Kind::Read);
        let (first, _) = send_read(&mut world, at, 0, 0);
        let command = out(&mut world, at, scsi::write16(0, 1, false), &[7; BLOCK]);
        let ordered = world.send(at.0, at.1, &with(ORDERED, command));
        let (behind, data) = send_read(&mut world, at, 0, 0);
        // On the same connection, but past it all: HEAD OF QUEUE, and another logical unit.
        let turn_ready = Command::new(0, scsi::test_unit_ready(), Data::None);
        assert!(
            world
                .execute(0, at.1, &with(HEAD_OF_QUEUE, turn_ready.clone()))
                .is_good()
        );
        let elsewhere = Command::new(1, scsi::test_unit_ready(), Data::None);
        assert!(world.execute(0, at.1, &elsewhere).is_good());
        assert!(world.execute(0, at.1, &with(ORDERED, elsewhere)).is_good());
        // Another task set.
        assert!(
            world
                .execute(1, other.1, &with(ORDERED, turn_ready.clone()))
                .is_good()
        );
        // A command without data waits like any other.
        let waits = world.send(0, at.1, &turn_ready);
        world.settle();
        assert_eq!(
            world.io.waiting(),
            1,
            "seed {seed}: more than the first is at work"
        );
        assert!(!answered(&mut world, at, ordered) && !answered(&mut world, at, waits));
        world.io.release();
        for tag in [first, ordered, behind, waits] {
            assert!(world.reply(0, at.1, tag).is_good(), "seed {seed}");
        }
        assert!(
            data.read(0, BLOCK).expect("a buffer") == [7; BLOCK],
            "seed {seed}"
        );
        world.finish();
    }
}

#[test]
fn a_queue_of_ordered_commands_keeps_its_order() {
    for seed in seeds(0..10) {
        let mut world = Setup::new(seed).staged().build();
        let at = (0, world.log_in(0));
        let mut expected = vec![0; BLOCK];
        let mut waiting = Vec::new();
        for round in 0..40u8 {
            let attribute = [ORDERED, ORDERED, 0, 0][world.random.index(4)];
            if attribute == ORDERED && world.random.once_in(2) {
                expected = vec![round + 1; BLOCK];
                let command = out(&mut world, at, scsi::write16(0, 1, false), &expected);
                let tag = world.send(0, at.1, &with(ORDERED, command));
                waiting.push((tag, None));
            } else {
                let buffer = world.buffer(0, at.1, BLOCK);
                let tag = world.send(0, at.1, &with(attribute, read(&buffer, 0, 1)));
                waiting.push((tag, Some(expected.clone())));
            }
        }
        for (tag, expected) in waiting {
            let reply = world.reply(0, at.1, tag);
            assert!(reply.is_good());
            if let Some(expected) = expected {
                assert!(reply.data() == expected, "seed {seed}: out of order");
            }
        }
        world.finish();
    }
}

#[test]
fn what_waits_for_its_turn_can_be_aborted() {
    for seed in seeds(0..8) {
        let mut world = Setup::new(seed).staged().build();
        let at = (0, world.log_in(0));
        world.io.hold(Kind::Read);
        let buffer = world.buffer(0, at.1, BLOCK);
        let first = world.send(0, at.1, &read(&buffer, 0, 1));
        let command = out(&mut world, at, scsi::write16(0, 1, false), &[7; BLOCK]);
        let ordered = world.send(0, at.1, &with(ORDERED, command));
        let behind = out(&mut world, at, scsi::write16(1, 1, false), &[8; BLOCK]);
        let behind = world.send(0, at.1, &behind);
        world.settle();
        let task = Task {
            lun: scsi::lun(0),
            function: 1,
            tag: ordered,
        };
        assert_eq!(world.manage(0, at.1, task), 0);
        world.initiators[0].abandon(at.1, ordered);
        // Nothing is in its way any more.
        assert!(world.reply(0, at.1, behind).is_good(), "seed {seed}");
        // And all of them at once.
        let again = out(&mut world, at, scsi::write16(0, 1, false), &[9; BLOCK]);
        let again = world.send(0, at.1, &with(ORDERED, again));
        let last = Command::new(0, scsi::test_unit_ready(), Data::None);
        let last = world.send(0, at.1, &last);
        let task = Task {
            function: 2,
            ..task
        };
        let set = world.initiators[0].task(at.1, task).expect("a credit");
        world.settle();
        world.io.release();
        assert_eq!(world.reply(0, at.1, set).response.code, Some(0));
        for tag in [first, again, last] {
            assert!(!answered(&mut world, at, tag), "seed {seed}");
            world.initiators[0].abandon(at.1, tag);
        }
        assert!(world.read(0, at.1, 0, 1) == [0; BLOCK]);
        world.finish();
    }
}

/// A unit attention is told by the command that gets to say so (SAM-5 5.14), not by one that never gets that far.
#[test]
fn what_never_has_its_turn_changes_nothing() {
    for seed in seeds(0..8) {
        let mut world = Setup::new(seed).staged().build();
        let (at, other) = ((0, world.log_in(0)), (1, world.log_in(1)));
        world.io.hold(Kind::Read);
        let buffer = world.buffer(0, at.1, BLOCK);
        let first = world.send(0, at.1, &read(&buffer, 0, 1));
        world.run_until(|world| (world.io.waiting() > 0).then_some(()));
        let select = cache_off(&mut world, other);
        assert!(world.execute(1, other.1, &select).is_good());
        let ready = Command::new(0, scsi::test_unit_ready(), Data::None);
        let ordered = world.send(0, at.1, &with(ORDERED, ready.clone()));
        world.settle();
        let task = Task {
            lun: scsi::lun(0),
            function: 1,
            tag: ordered,
        };
        assert_eq!(world.manage(0, at.1, task), 0);
        world.initiators[0].abandon(at.1, ordered);
        world.io.release();
        assert!(world.reply(0, at.1, first).is_good(), "seed {seed}");
        // MODE PARAMETERS CHANGED.
        let told = world.execute(0, at.1, &ready).sense();
        assert_eq!(told, Some((6, 0x2a, 1)), "seed {seed}");
        world.finish();
    }
}

#[test]
fn a_connection_goes_with_what_waits_on_it() {
    for seed in seeds(0..8) {
        let mut world = Setup::new(seed).staged().build();
        let at = (0, world.log_in(0));
        world.io.hold(Kind::Read);
        let buffer = world.buffer(0, at.1, BLOCK);
        world.send(0, at.1, &read(&buffer, 0, 1));
        for attribute in [ORDERED, 0, ORDERED, 0] {
            let command = out(&mut world, at, scsi::write16(0, 1, false), &[7; BLOCK]);
            world.send(0, at.1, &with(attribute, command));
        }
        world.settle();
        world.initiators[0].disconnect(at.1).expect("a disconnect");
        world.settle();
        world.io.release();
        let again = world.log_in(0);
        assert!(world.read(0, again, 0, 1) == [0; BLOCK], "seed {seed}");
        world.finish();
    }
}

// --- all of it at once ---------------------------------------------------------------------------------------------

/// Every command there is, in any order and with any attribute, on a few blocks, while commands are aborted, connections
/// break and the store fails: everything ends, nothing stays behind, and a block is always what one command made of it.
#[test]
fn a_storm() {
    for seed in seeds(0..8) {
        let mut world = if seed % 2 == 0 {
            two_disks(seed)
        } else {
            staged_disks(seed).setting("\"staging_memory\": \"4MiB\"")
        }
        .build();
        let first = [(0, world.log_in(0)), (1, world.log_in(1))];
        let names = [naa(&mut world, first[0], 0), naa(&mut world, first[0], 1)];
        let mut channels: Vec<_> = first.into();
        for host in [0, 1, 0] {
            let options = world.options(host).multichannel();
            channels.push((host, world.log_in_with(host, options)));
        }
        let mut flights: Vec<((Host, ChannelId), u64)> = Vec::new();
        for _ in 0..300 {
            let at = channels[world.random.index(channels.len())];
            if !world.initiators[at.0].is_up(at.1) {
                let options = world.options(at.0).multichannel();
                channels.retain(|channel| *channel != at);
                flights.retain(|(flight, _)| *flight != at);
                channels.push((at.0, world.log_in_with(at.0, options)));
                continue;
            }
            match world.random.below(100) {
                0 => world.initiators[at.0].disconnect(at.1).expect("a channel"),
                1..4 => {
                    let kind = [Kind::Read, Kind::Write, Kind::Discard][world.random.index(3)];
                    let disk = ["disk0", "disk1"][world.random.index(2)];
                    let fault = Fault::every(kind, BackendError::Medium(5)).times(1);
                    world.stores[disk].inject(fault);
                }
                4..10 => {
                    let mine = |flight: &&((Host, ChannelId), u64)| flight.0 == at;
                    let tag = flights.iter().find(mine).map_or(77, |flight| flight.1);
                    let task = Task {
                        lun: scsi::lun(world.random.below(2) as u16),
                        function: [1, 1, 1, 2, 8][world.random.index(5)],
                        tag,
                    };
                    // There may be no credit for it.
                    let _ = world.initiators[at.0].task(at.1, task);
                }
                _ if world.initiators[at.0].can_send(at.1) => {
                    let command = any_command(&mut world, at, &names);
                    let tag = world.send(at.0, at.1, &command);
                    flights.push((at, tag));
                }
                _ => {}
            }
            for _ in 0..world.random.below(6) {
                world.pump();
            }
            flights.retain(|(at, tag)| world.initiators[at.0].take_reply(at.1, *tag).is_none());
        }
        for store in world.stores.values() {
            store.clear();
        }
        world.settle();
        // Windows get out of the way on threads of their own, which may take their time.
        let in_flight = |world: &World| {
            let inventory = world.daemon.shared.inventory();
            let devices = inventory.devices.iter();
            devices
                .map(|device| device.total(|counters| &counters.in_flight))
                .sum::<u64>()
        };
        for _ in 0..1000 {
            if in_flight(&world) == 0 {
                break;
            }
            world.settle();
        }
        assert_eq!(in_flight(&world), 0, "seed {seed}: it never ends");
        // Who never got an answer was aborted. Somebody else has all blocks to himself now.
        let host = 0;
        let options = world.options(host).multichannel();
        let at = (host, world.log_in_with(host, options));
        // What resets and such have left to tell.
        for lun in [0, 1, 0, 1] {
            let command = Command::new(lun, scsi::test_unit_ready(), Data::None);
            world.execute(at.0, at.1, &command);
        }
        let old = world.read(at.0, at.1, 0, 8);
        let (cdb, bytes) = compare_and_write(&old, &pattern(8 * BLOCK, 9), 0);
        let reply = send_out(&mut world, at, cdb, &bytes);
        assert!(reply.is_good(), "seed {seed}: {:?}", reply.sense());
        world.finish();
    }
}

fn any_command(world: &mut World, at: (Host, ChannelId), names: &[Vec<u8>; 2]) -> Command {
    let lba = world.random.below(8);
    let blocks = 1 + world.random.below(4) as usize;
    let salt = world.random.below(3);
    let bytes = pattern(blocks * BLOCK, salt);
    let count = blocks as u32;
    let (cdb, data) = match world.random.below(10) {
        0 => (scsi::write16(lba, count, salt == 0), bytes),
        1 => compare_and_write(&bytes, &pattern(blocks * BLOCK, salt + 1), lba),
        2 => compare_and_write(&vec![0; blocks * BLOCK], &bytes, lba),
        3 => (scsi::orwrite16(lba, count), bytes),
        4 => (scsi::write_and_verify16(lba, count, salt as u8 % 2), bytes),
        5 => (scsi::verify16(lba, count, 3), bytes[..BLOCK].to_vec()),
        6 => (
            scsi::write_same16(lba, 3000, false, false),
            bytes[..BLOCK].to_vec(),
        ),
        7 => scsi::unmap(&[(lba, count), (lba + 3, 8)]),
        8 => {
            let (from, to) = (world.random.index(2), world.random.index(2));
            let segments = [(lba, lba + 4, 4), (0, 100, 4000)];
            scsi::extended_copy(&names[from], &names[to], 512, &segments)
        }
        _ => (scsi::get_lba_status(lba, 64), Vec::new()),
    };
    let mut command = if data.is_empty() {
        let buffer = world.buffer(at.0, at.1, 64);
        let pieces = buffer.whole().expect("all of it");
        Command::new(0, cdb, Data::In(pieces, Format::Direct))
    } else if data.len() <= BLOCK && world.random.once_in(2) {
        Command::new(0, cdb, Data::Immediate(data))
    } else {
        out(world, at, cdb, &data)
    };
    command.lun = scsi::lun(world.random.below(2) as u16);
    command.attribute = [0, 0, 0, HEAD_OF_QUEUE, ORDERED][world.random.index(5)];
    command
}
