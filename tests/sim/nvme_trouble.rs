//! NVMe hosts in trouble that nobody is to blame for: aborts at any time, stores that fail, adapters that can do little.

use std::time::Duration;

use pagecast_backends::BackendError;
use pagecast_backends::testing::{Fault, Kind};
use pagecast_initiator::nvme::{Command, ControllerOptions, Data, Fuse, QueueHandle, admin, io};
use pagecast_tests::nvme::{connect, controller, data_of, io_queue, keyed, once};
use pagecast_tests::{Setup, World, pattern, seeds};

// Status code type and status code.
const SUCCESS: (u8, u8) = (0, 0);
const ABORT_REQUESTED: (u8, u8) = (0, 0x07);
const FAILED_FUSED: (u8, u8) = (0, 0x09);
const MISSING_FUSED: (u8, u8) = (0, 0x0a);
const EIO: BackendError = BackendError::Medium(5);

/// One command, or the halves of one: what it is, and its identifier.
fn load(world: &mut World, queue: QueueHandle, sent: &mut Vec<(QueueHandle, u16)>) {
    let blocks = 1 + world.random.below(200) as u32;
    let lba = world.random.below(4096 - u64::from(blocks));
    let data = once(&world.nvme_buffer(0, queue, blocks as usize * 512));
    let commands = match world.random.below(7) {
        0 => vec![io::write(1, lba, blocks, data)],
        1 => vec![io::read(1, lba, blocks, data)],
        2 => vec![io::flush(1)],
        3 => vec![io::write_zeroes(1, lba, blocks, true)],
        4 => vec![io::verify(1, lba, blocks)],
        5 => {
            let range = io::Blocks {
                lba: 6000,
                count: blocks,
            };
            let data = Data::InCapsule(io::copy_ranges(&[range]));
            vec![io::copy(1, lba, 1, data)]
        }
        _ => {
            let data = |world: &World| keyed(&world.nvme_buffer(0, queue, 1024));
            vec![
                io::compare(1, 7000, 2, data(world)).fused(Fuse::First),
                io::write(1, 7000, 2, data(world)).fused(Fuse::Second),
            ]
        }
    };
    for command in commands {
        sent.push((queue, world.nvme_send(0, queue, &command)));
    }
}

/// Every command is answered once, whether it was aborted or not, and what Abort says is true.
#[test]
fn aborts_at_any_time() {
    let (mut total, seeds) = (0, seeds(0..24));
    for &seed in &seeds {
        for setup in [Setup::new(seed), Setup::new(seed).staged()] {
            let mut world = setup.nvme().build();
            let bystander = world.nvme_controller(1);
            let kept = pattern(4096, seed);
            world.nvme_write(1, bystander.io[0], 8000, &kept);
            let mine = world.nvme_controller(0);
            for _ in 0..5 {
                if world.random.once_in(3) {
                    world.io.hold(Kind::Read);
                }
                let mut sent = Vec::new();
                for turn in 0..12 {
                    load(&mut world, mine.io[turn % 2], &mut sent);
                    if world.random.once_in(2) {
                        world.io.release();
                    }
                }
                let mut aborts = Vec::new();
                for _ in 0..4 {
                    let (queue, cid) = sent[world.random.index(sent.len())];
                    let number = if queue == mine.io[0] { 1 } else { 2 };
                    let abort = admin::abort(number, cid);
                    aborts.push((world.nvme_send(0, mine.admin, &abort), (queue, cid)));
                    for _ in 0..world.random.below(30) {
                        world.pump();
                    }
                }
                world.io.release();
                let mut aborted = Vec::new();
                for (abort, victim) in aborts {
                    let reply = world.nvme_reply(0, mine.admin, abort);
                    assert!(reply.is_success(), "seed {seed}: {:?}", reply.status());
                    if reply.result() & 1 == 0 {
                        aborted.push(victim);
                    }
                }
                total += aborted.len();
                for (queue, cid) in sent {
                    let code = world.nvme_reply(0, queue, cid).code();
                    let fits = match code {
                        SUCCESS | MISSING_FUSED => !aborted.contains(&(queue, cid)),
                        // It may be its other half that was aborted.
                        ABORT_REQUESTED | FAILED_FUSED => !aborted.is_empty(),
                        _ => false,
                    };
                    assert!(fits, "seed {seed}: {code:x?}");
                }
                for &queue in &mine.io {
                    assert_eq!(world.nvme[0].outstanding(queue), 0, "seed {seed}");
                }
            }
            assert!(world.nvme_read(1, bystander.io[1], 8000, 8) == kept);
            world.finish();
        }
    }
    assert!(total > 0 || seeds.len() == 1, "nothing was aborted in time");
}

/// An aborted write whose data are still on their way from the host, and one that waits for another to be done.
#[test]
fn what_is_aborted_changes_nothing_afterwards() {
    for seed in seeds(0..12) {
        let mut world = Setup::new(seed).staged().nvme().build();
        let mine = world.nvme_controller(0);
        let (one, other) = (mine.io[0], mine.io[1]);
        let bytes = pattern(65_536, seed);
        let data = once(&world.nvme_filled(0, one, &bytes));
        let cid = world.nvme_send(0, one, &io::write(1, 0, 128, data));
        for _ in 0..world.random.below(20) {
            world.pump();
        }
        let abort = world.nvme_execute(0, mine.admin, &admin::abort(1, cid));
        let code = world.nvme_reply(0, one, cid).code();
        let wanted = if abort.result() == 0 {
            ABORT_REQUESTED
        } else {
            SUCCESS
        };
        assert_eq!(code, wanted, "seed {seed}");
        // Whatever became of it: this is later.
        let last = pattern(65_536, seed + 1);
        let data = once(&world.nvme_filled(0, other, &last));
        world.nvme_succeed(0, other, &io::write(1, 0, 128, data));
        world.settle();
        assert!(world.nvme_read(0, one, 0, 128) == last, "seed {seed}");
        world.finish();
    }
}

#[test]
fn errors_of_the_store() {
    for seed in seeds(0..3) {
        let mut world = Setup::new(seed).staged().nvme().build();
        let queue = world.nvme_controller(0).io[0];
        let bystander = world.nvme_controller(1).io[0];
        let data = keyed(&world.nvme_buffer(0, queue, 4096));
        let read = io::read(1, 64, 8, data.clone());
        let write = io::write(1, 64, 8, data.clone());
        let compare = io::compare(1, 64, 8, data);
        let zeroes = io::write_zeroes(1, 64, 8, false);
        for (kind, error, command, wanted) in [
            (Kind::Read, EIO, &read, (2, 0x81)),
            (Kind::Read, EIO, &compare, (2, 0x81)),
            (Kind::Write, EIO, &write, (2, 0x80)),
            (Kind::WriteZeroes, EIO, &zeroes, (2, 0x80)),
            (Kind::Write, BackendError::NoSpace, &write, (0, 0x81)),
            (Kind::Write, BackendError::ReadOnly, &write, (0, 0x20)),
            (Kind::Read, BackendError::Failed(19), &read, (0, 0x06)),
            (Kind::Read, BackendError::Busy, &read, (0, 0x82)),
            (Kind::Flush, EIO, &io::flush(1), (2, 0x80)),
        ] {
            let fault = Fault::every(kind, error.clone()).within(64 * 512..72 * 512);
            world.store().inject(fault.times(1));
            let reply = world.nvme_execute(0, queue, command);
            assert_eq!(reply.code(), wanted, "seed {seed}, {kind:?}, {error}");
            // Once, and only there.
            world.nvme_succeed(0, queue, command);
            world.nvme_read(1, bystander, 0, 8);
        }
        world.finish();
    }
}

/// A host whose adapter answers one RDMA READ at a time, and one whose answers have to wait for room.
#[test]
fn hosts_that_can_do_little() {
    for seed in seeds(0..4) {
        let mut world = Setup::new(seed).nvme().build();
        let options = ControllerOptions {
            adjust: |options| {
                options.responder_resources = 1;
                options.receives = 1;
            },
            ..controller(0)
        };
        let controller = world.nvme_controller_with(0, options);
        let mut waiting = Vec::new();
        let bytes = pattern(262_144, seed);
        for turn in 0..8 {
            let queue = controller.io[turn % 2];
            let data = data_of(&world, queue, &bytes, turn as u64);
            let lba = turn as u64 * 512;
            waiting.push((
                queue,
                world.nvme_send(0, queue, &io::write(1, lba, 512, data)),
            ));
        }
        for (queue, cid) in waiting {
            assert!(world.nvme_reply(0, queue, cid).is_success(), "seed {seed}");
        }
        for turn in 0..8 {
            let found = world.nvme_read(0, controller.io[turn % 2], turn as u64 * 512, 512);
            assert!(found == bytes, "seed {seed}");
        }
        world.finish();
    }
}

/// A host may do without flow control of its submission queues, if the controller says so, too.
#[test]
fn without_flow_control() {
    let mut world = Setup::new(1).nvme().build();
    let mut options = controller(0);
    options.connect = connect(0);
    options.connect.attributes = 1 << 2;
    let controller = world.nvme_controller_with(0, options);
    for turn in 0..40 {
        world.nvme_read(0, controller.io[turn % 2], 0, 8);
    }
    world.finish();
}

/// A host that comes back with more queues, or fewer, as after a change of its CPUs.
#[test]
fn another_number_of_queues() {
    let mut world = Setup::new(1).nvme().build();
    for queues in [1, 4, 2, 8, 1] {
        let options = ControllerOptions {
            queues,
            ..controller(0)
        };
        let mine = world.nvme_controller_with(0, options);
        assert_eq!(mine.io.len(), usize::from(queues));
        for &queue in &mine.io {
            world.nvme_read(0, queue, 0, 8);
        }
        // Once there are queues, their number is what it is (NVMe base 2.0 section 5.27.1.5).
        let count = admin::set_features(0x07, 0, 0, Data::None);
        let reply = world.nvme_execute(0, mine.admin, &count);
        assert_eq!(reply.code(), (0, 0x0c));
        // Without a disconnect, in the way of a host that lost its controller, in one case of two.
        if queues % 2 == 0 {
            world.nvme[0].fail(mine.admin).expect("a queue");
        } else {
            world.nvme_disconnect(0, &mine);
        }
    }
    world.finish();
}

/// I/O that is stuck in the store keeps neither its controller alive nor its queue from ending.
#[test]
fn silence_with_stuck_io() {
    for seed in seeds(0..4) {
        let mut world = Setup::new(seed).staged().nvme().build();
        let mut options = controller(0);
        options.connect.keep_alive = 5000;
        let mine = world.nvme_controller_with(0, options.clone());
        let bystander = world.nvme_controller(1);
        world.io.hold(Kind::Write);
        let bytes = pattern(4096, 1);
        let data = once(&world.nvme_filled(0, mine.io[0], &bytes));
        world.nvme_send(0, mine.io[0], &io::write(1, 0, 8, data));
        world.run_until(|world| (world.io.waiting() > 0).then_some(()));
        // That it was heard is noted now and then.
        world.pass(Duration::from_millis(300));
        world.pass(Duration::from_millis(3000));
        world.pass(Duration::from_millis(3500));
        for queue in mine.queues() {
            world.nvme_over(0, queue);
        }
        world.nvme_read(1, bystander.io[0], 64, 8);
        // The host is back before the write is done: it gets its controller when that cannot disturb it any more.
        let back = world.nvme[0].connect(
            ([10, 0, 0, 1], 4420).into(),
            pagecast_initiator::nvme::QueueOptions::new(0, 32).connecting(options.connect.clone()),
        );
        let back = back.expect("a queue");
        world.nvme_queues.push((0, back));
        world.settle();
        assert!(
            !world.nvme[0].is_up(back),
            "seed {seed}: the write may still come"
        );
        world.io.release();
        world.run_until(|world| world.nvme[0].is_up(back).then_some(()));
        world.nvme_read(1, bystander.io[0], 0, 8);
        world.finish();
    }
}

/// A queue that goes and comes back while a write of its is stuck: the write is done before the new queue is there.
#[test]
fn late_writes_come_before_the_next_queue() {
    for seed in seeds(0..6) {
        let mut world = Setup::new(seed).staged().nvme().build();
        let mine = world.nvme_controller(0);
        world.io.hold(Kind::Write);
        let old = pattern(4096, 1);
        let data = once(&world.nvme_filled(0, mine.io[0], &old));
        world.nvme_send(0, mine.io[0], &io::write(1, 0, 8, data));
        world.run_until(|world| (world.io.waiting() > 0).then_some(()));
        world.nvme[0].disconnect(mine.io[0]).expect("a queue");
        world.nvme_over(0, mine.io[0]);
        let to = ([10, 0, 0, 1], 4420).into();
        let again = world.nvme[0].connect(to, io_queue(0, &mine, 1));
        let again = again.expect("a queue");
        world.nvme_queues.push((0, again));
        world.settle();
        assert!(!world.nvme[0].is_up(again), "seed {seed}");
        world.io.release();
        world.run_until(|world| world.nvme[0].is_up(again).then_some(()));
        let new = pattern(4096, 2);
        world.nvme_write(0, again, 0, &new);
        world.settle();
        let read: Command = io::read(1, 0, 8, once(&world.nvme_buffer(0, again, 4096)));
        assert!(
            world.nvme_succeed(0, again, &read).data() == new,
            "seed {seed}"
        );
        world.finish();
    }
}
