//! Blocks that are locked while they are compared and written, and those who wait for them.

use pagecast_backends::BackendError;
use pagecast_backends::testing::{Fault, Kind};
use pagecast_initiator::scsi;
use pagecast_tests::{Setup, seeds};

use super::{BLOCK, MISCOMPARE, answered, compare_and_write, out, send_out, stuck_compare};

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
        world.abort(two.0, two.1, discard);
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
