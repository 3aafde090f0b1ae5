//! ORWRITE, WRITE AND VERIFY, VERIFY and PRE-FETCH.

use pagecast_backends::testing::Kind;
use pagecast_initiator::{ChannelId, Command, Data, Reply, scsi};
use pagecast_tests::{Host, Setup, World, pattern, seeds};

use super::{BLOCK, MISCOMPARE, information, send_out};

fn send(world: &mut World, at: (Host, ChannelId), cdb: Vec<u8>) -> Reply {
    world.execute(at.0, at.1, &Command::new(0, cdb, Data::None))
}

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
