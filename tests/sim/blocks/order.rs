//! Task attributes: which command waits for which.

use pagecast_backends::testing::Kind;
use pagecast_initiator::{ChannelId, Command, Data, Task, scsi};
use pagecast_tests::world::read;
use pagecast_tests::{Host, Setup, World, seeds};

use super::{BLOCK, HEAD_OF_QUEUE, ORDERED, answered, cache_off, out, staged_disks, with};

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
        world.abort(0, at.1, ordered);
        // Nothing is in its way any more.
        assert!(world.reply(0, at.1, behind).is_good(), "seed {seed}");
        // And all of them at once.
        let again = out(&mut world, at, scsi::write16(0, 1, false), &[9; BLOCK]);
        let again = world.send(0, at.1, &with(ORDERED, again));
        let last = Command::new(0, scsi::test_unit_ready(), Data::None);
        let last = world.send(0, at.1, &last);
        let task = Task {
            lun: scsi::lun(0),
            function: 2,
            tag: ordered,
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
        world.abort(0, at.1, ordered);
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
