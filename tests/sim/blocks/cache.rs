//! Writes that are under way when the write cache is switched off.

use pagecast_backends::testing::Kind;
use pagecast_initiator::{Command, Data, scsi};
use pagecast_tests::{Setup, pattern, seeds};

use super::{BLOCK, cache_off, out, stuck_compare};

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
