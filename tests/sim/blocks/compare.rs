//! COMPARE AND WRITE, and data that falls short of what a command compares or writes.

use pagecast_initiator::{Buffer, ChannelId, Command, Data, scsi};
use pagecast_tests::world::{read, write};
use pagecast_tests::{Host, Setup, World, pattern, seeds};

use super::{BLOCK, MISCOMPARE, compare_and_write, information, out, send_out};

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
