//! Compare and Write over NVMe: two commands that are one.

use pagecast_initiator::nvme::{Command, Data, Fuse, QueueHandle, Reply, io};
use pagecast_tests::nvme::{data_of, keyed, with_witness};
use pagecast_tests::{Setup, World, pattern, seeds};

// Status code type and status code.
const SUCCESS: (u8, u8) = (0, 0);
const INVALID_FIELD: (u8, u8) = (0, 0x02);
const FAILED_FUSED: (u8, u8) = (0, 0x09);
const MISSING_FUSED: (u8, u8) = (0, 0x0a);
const COMPARE_FAILURE: (u8, u8) = (2, 0x85);

/// Both halves, one right after the other.
fn compare_and_write(
    world: &mut World,
    queue: QueueHandle,
    lba: u64,
    (old, new): (&[u8], &[u8]),
    kinds: (u64, u64),
) -> (Reply, Reply) {
    let blocks = (old.len() / 512) as u32;
    let (old, new) = (
        data_of(world, queue, old, kinds.0),
        data_of(world, queue, new, kinds.1),
    );
    let compare = io::compare(1, lba, blocks, old).fused(Fuse::First);
    let write = io::write(1, lba, blocks, new).fused(Fuse::Second);
    let (first, second) = fused(world, queue, &compare, &write);
    let first = world.nvme_reply(0, queue, first);
    (first, world.nvme_reply(0, queue, second))
}

fn fused(world: &mut World, queue: QueueHandle, one: &Command, two: &Command) -> (u16, u16) {
    let first = world.nvme_send(0, queue, one);
    (first, world.nvme_send(0, queue, two))
}

#[test]
fn compare_and_write_is_one() {
    for setup in [Setup::new(1), Setup::new(1).staged()] {
        let (mut world, controller, witness) = with_witness(setup);
        let queue = controller.io[0];
        for blocks in [1, 2, 8] {
            let length = blocks * 512;
            for kinds in 0..9 {
                let old = pattern(length, 40 + kinds);
                let new = pattern(length, 60 + kinds);
                world.write(1, witness, 30, &old);
                let kinds = (kinds / 3, kinds % 3);
                let both = (&old[..], &new[..]);
                let (one, two) = compare_and_write(&mut world, queue, 30, both, kinds);
                assert_eq!((one.code(), two.code()), (SUCCESS, SUCCESS), "{kinds:?}");
                assert!(
                    world.read(1, witness, 30, blocks as u32) == new,
                    "{kinds:?}"
                );
                // Now something else is there.
                let (one, two) = compare_and_write(&mut world, queue, 30, both, kinds);
                let codes = (one.code(), two.code());
                assert_eq!(codes, (COMPARE_FAILURE, FAILED_FUSED), "{kinds:?}");
                assert!(
                    world.read(1, witness, 30, blocks as u32) == new,
                    "{kinds:?}"
                );
            }
        }
        world.finish();
    }
}

#[test]
fn halves_without_the_other() {
    for seed in seeds(0..4) {
        let (mut world, controller, witness) = with_witness(Setup::new(seed));
        let queue = controller.io[0];
        let (old, new) = (pattern(512, 1), pattern(512, 2));
        world.write(1, witness, 9, &old);
        let half = |bytes: &[u8]| Data::InCapsule(bytes.to_vec());
        let compare = io::compare(1, 9, 1, half(&old)).fused(Fuse::First);
        let write = io::write(1, 9, 1, half(&new)).fused(Fuse::Second);
        let plain = io::read(1, 0, 1, keyed(&world.nvme_buffer(0, queue, 512)));
        let not_at = io::write(1, 10, 1, half(&new)).fused(Fuse::Second);
        let longer = io::write(1, 9, 2, half(&[0; 1024])).fused(Fuse::Second);
        let no_compare = io::read(1, 9, 1, keyed(&world.nvme_buffer(0, queue, 512)));
        let no_compare = no_compare.fused(Fuse::First);
        // A second half alone.
        let reply = world.nvme_execute(0, queue, &write);
        assert_eq!(reply.code(), MISSING_FUSED);
        for (what, one, two, wanted) in [
            (
                "something else next",
                &compare,
                &plain,
                (MISSING_FUSED, SUCCESS),
            ),
            (
                "two first halves",
                &compare,
                &compare,
                (MISSING_FUSED, MISSING_FUSED),
            ),
            (
                "elsewhere",
                &compare,
                &not_at,
                (FAILED_FUSED, INVALID_FIELD),
            ),
            (
                "another length",
                &compare,
                &longer,
                (FAILED_FUSED, INVALID_FIELD),
            ),
            (
                "no compare",
                &no_compare,
                &write,
                (FAILED_FUSED, INVALID_FIELD),
            ),
        ] {
            let (first, second) = fused(&mut world, queue, one, two);
            // Whatever waits for its other half does so until something comes.
            let next = world.nvme_execute(0, queue, &plain);
            assert!(next.is_success());
            let first = world.nvme_reply(0, queue, first).code();
            let second = world.nvme_reply(0, queue, second).code();
            // Whichever half is said to have failed, neither did anything.
            let either = [wanted, (wanted.1, wanted.0)];
            assert!(
                either.contains(&(first, second)),
                "{what}: {first:x?} {second:x?}"
            );
            assert!(world.read(1, witness, 9, 1) == old, "{what}");
        }
        // The halves of two queues have nothing to do with each other.
        let first = world.nvme_send(0, controller.io[0], &compare);
        let reply = world.nvme_execute(0, controller.io[1], &write);
        assert_eq!(reply.code(), MISSING_FUSED);
        let second = world.nvme_send(0, controller.io[0], &write);
        assert!(world.nvme_reply(0, controller.io[0], first).is_success());
        assert!(world.nvme_reply(0, controller.io[0], second).is_success());
        assert!(world.read(1, witness, 9, 1) == new);
        world.finish();
    }
}

/// Both increment a counter by compare and write; none is lost.
#[test]
fn compare_and_write_against_each_other() {
    for seed in seeds(0..6) {
        let mut world = Setup::new(seed).nvme().build();
        let queues = [
            world.nvme_controller(0).io[0],
            world.nvme_controller(0).io[1],
        ];
        let number = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let mut done = 0;
        while done < 20 {
            let mut waiting = Vec::new();
            for queue in queues {
                let old = world.nvme_read(0, queue, 0, 1);
                let mut new = old.clone();
                new[..4].copy_from_slice(&(number(&old) + 1).to_le_bytes());
                let compare = io::compare(1, 0, 1, Data::InCapsule(old)).fused(Fuse::First);
                let write = io::write(1, 0, 1, Data::InCapsule(new)).fused(Fuse::Second);
                waiting.push((queue, fused(&mut world, queue, &compare, &write)));
            }
            for (queue, (first, second)) in waiting {
                let first = world.nvme_reply(0, queue, first).code();
                let second = world.nvme_reply(0, queue, second).code();
                match (first, second) {
                    (SUCCESS, SUCCESS) => done += 1,
                    (COMPARE_FAILURE, FAILED_FUSED) => {}
                    other => panic!("seed {seed}: {other:x?}"),
                }
            }
        }
        let found = world.nvme_read(0, queues[0], 0, 1);
        assert_eq!(number(&found), done, "seed {seed}");
        world.finish();
    }
}

/// A first half whose second never comes does not outlive its queue.
#[test]
fn a_first_half_goes_with_its_queue() {
    for seed in seeds(0..4) {
        let mut world = Setup::new(seed).nvme().build();
        let controller = world.nvme_controller(0);
        let data = keyed(&world.nvme_buffer(0, controller.io[0], 512));
        let compare = io::compare(1, 0, 1, data).fused(Fuse::First);
        world.nvme_send(0, controller.io[0], &compare);
        for _ in 0..world.random.below(40) {
            world.pump();
        }
        world.nvme[0].disconnect(controller.io[0]).expect("a queue");
        world.nvme_over(0, controller.io[0]);
        world.nvme_read(0, controller.io[1], 0, 1);
        world.finish();
    }
}
