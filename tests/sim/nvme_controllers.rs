//! Controllers over NVMe: several of them, how they are reset, what they wait for, and what ends them.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use pagecast_backends::testing::Kind;
use pagecast_initiator::nvme::admin::{self, LogPage, Width, property};
use pagecast_initiator::nvme::{
    Bringup, ControllerOptions, QueueHandle, QueueOptions, QueueState, io,
};
use pagecast_rdma::sim::QueuePairState;
use pagecast_tests::nvme::{connect, controller, discovering, io_queue, once};
use pagecast_tests::world::{TARGET, host_name};
use pagecast_tests::{Host, Setup, World, pattern, seeds};
use pagecastd::shard::messages::ControlMessage;

// Status code type and status code.
const INVALID_FIELD: (u8, u8) = (0, 0x02);
const ABORT_REQUESTED: (u8, u8) = (0, 0x07);
const SEQUENCE_ERROR: (u8, u8) = (0, 0x0c);
const EVENT_LIMIT: (u8, u8) = (1, 0x05);

fn status(world: &mut World, host: Host, admin: QueueHandle) -> u32 {
    let get = admin::property_get(property::CSTS, Width::Four);
    world.nvme_succeed(host, admin, &get).result()
}

fn sessions(world: &World) -> usize {
    world.daemon.shared.sessions().len()
}

// --- several controllers -----------------------------------------------------------------------------------------

#[test]
fn every_connect_makes_a_controller() {
    for seed in seeds(0..3) {
        let mut world = Setup::new(seed).nvme().build();
        let first = world.nvme_controller(0);
        let second = world.nvme_controller(0);
        let other = world.nvme_controller(1);
        assert!(first.id != second.id && second.id != other.id && first.id != other.id);
        assert_eq!(sessions(&world), 3);
        let bytes = pattern(8192, seed);
        world.nvme_write(0, first.io[0], 50, &bytes);
        assert!(world.nvme_read(0, second.io[1], 50, 16) == bytes);
        assert!(world.nvme_read(1, other.io[1], 50, 16) == bytes);
        // One goes: the others stay, of the same host or not.
        world.nvme_disconnect(0, &first);
        world.settle();
        assert_eq!(sessions(&world), 2);
        assert!(world.nvme_read(0, second.io[0], 50, 16) == bytes);
        assert!(world.nvme_read(1, other.io[0], 50, 16) == bytes);
        world.finish();
    }
}

#[test]
fn queues_come_back_under_their_numbers() {
    for seed in seeds(0..12) {
        let mut world = Setup::new(seed).staged().nvme().build();
        let controller = world.nvme_controller(0);
        let mut queue = controller.io[0];
        for turn in 0..4 {
            // With I/O under way, and sometimes stuck.
            if turn % 2 == 1 {
                world.io.hold(Kind::Read);
            }
            for _ in 0..3 {
                let buffer = world.nvme_buffer(0, queue, 4096);
                world.nvme_send(0, queue, &io::read(1, 0, 8, once(&buffer)));
            }
            for _ in 0..world.random.below(50) {
                world.pump();
            }
            match world.random.below(3) {
                0 => world.nvme[0].fail(queue).expect("a queue"),
                _ => world.nvme[0].disconnect(queue).expect("a queue"),
            }
            // At once: what is left of the old one may still be there.
            let (again, state) = {
                let options = io_queue(0, &controller, 1);
                let to = ([10, 0, 0, 1], 4420).into();
                let again = world.nvme[0].connect(to, options).expect("a queue");
                world.nvme_queues.push((0, again));
                for _ in 0..world.random.below(100) {
                    world.pump();
                }
                world.io.release();
                let state = world.run_until(|world| {
                    let state = world.nvme[0].state(again);
                    (*state != QueueState::Connecting).then(|| state.clone())
                });
                (again, state)
            };
            queue = match state {
                QueueState::Up => again,
                // It asks whether it has the queue already, before the target knows of the loss.
                QueueState::Refused(entry) => {
                    assert_eq!(entry.status.code(), SEQUENCE_ERROR, "seed {seed}");
                    world.settle();
                    world.nvme_queue(0, io_queue(0, &controller, 1))
                }
                other => panic!("seed {seed}: {other:?}"),
            };
            world.nvme_read(0, queue, 0, 8);
            world.nvme_read(0, controller.io[1], 0, 8);
        }
        world.finish();
    }
}

#[test]
fn io_queues_go_with_their_admin_queue() {
    for seed in seeds(0..6) {
        let mut world = Setup::new(seed).nvme().build();
        let bystander = world.nvme_controller(1);
        let controller = world.nvme_controller(0);
        if world.random.once_in(2) {
            world.nvme[0].disconnect(controller.admin).expect("a queue");
        } else {
            world.nvme[0].fail(controller.admin).expect("a queue");
        }
        for queue in controller.queues() {
            world.nvme_over(0, queue);
        }
        world.settle();
        assert_eq!(sessions(&world), 1, "seed {seed}");
        let again = world.nvme_controller(0);
        world.nvme_read(0, again.io[0], 0, 1);
        world.nvme_read(1, bystander.io[0], 0, 1);
        world.finish();
    }
}

// --- reset and shutdown ------------------------------------------------------------------------------------------

#[test]
fn a_reset_ends_io_queues_and_nothing_else() {
    for seed in seeds(0..8) {
        let mut world = Setup::new(seed).staged().nvme().build();
        let bystander = world.nvme_controller(1);
        let controller = world.nvme_controller(0);
        if seed % 2 == 1 {
            // I/O that does not end in time.
            world.io.hold(Kind::Read);
            let buffer = world.nvme_buffer(0, controller.io[0], 4096);
            let read = io::read(1, 0, 8, once(&buffer));
            world.nvme_send(0, controller.io[0], &read);
            world.run_until(|world| (world.io.waiting() > 0).then_some(()));
        }
        world.nvme_succeed(0, controller.admin, &controller.reset());
        assert_eq!(status(&mut world, 0, controller.admin), 0, "seed {seed}");
        for &queue in &controller.io {
            world.nvme_over(0, queue);
        }
        let events = world.nvme[0].outstanding(controller.admin);
        assert!(events <= 1, "seed {seed}: {events} commands");
        // Enabled again, it is as good as new.
        let enable = admin::property_set(property::CC, controller.configuration);
        world.nvme_succeed(0, controller.admin, &enable);
        assert_eq!(status(&mut world, 0, controller.admin), 1, "seed {seed}");
        world.io.release();
        for number in [2, 1, 5] {
            let queue = world.nvme_queue(0, io_queue(0, &controller, number));
            world.nvme_read(0, queue, 0, 8);
        }
        world.nvme_read(1, bystander.io[1], 0, 8);
        world.finish();
    }
}

#[test]
fn a_shutdown_is_reported_done() {
    let mut world = Setup::new(1).nvme().build();
    let controller = world.nvme_controller(0);
    world.nvme_write(0, controller.io[0], 0, &pattern(4096, 1));
    world.nvme_succeed(0, controller.admin, &controller.shutdown());
    // SHST is 10b, and it is still enabled.
    assert_eq!(status(&mut world, 0, controller.admin), 0b1001);
    let buffer = world.nvme_buffer(0, controller.io[0], 512);
    let reply = world.nvme_execute(0, controller.io[0], &io::read(1, 0, 1, once(&buffer)));
    assert_eq!(reply.code(), SEQUENCE_ERROR);
    world.nvme_disconnect(0, &controller);
    world.settle();
    assert_eq!(sessions(&world), 0);
    world.finish();
}

#[test]
fn configurations_that_cannot_be() {
    let mut world = Setup::new(1).nvme().build();
    for (what, value) in [
        ("entries of 32 bytes", 5 << 16 | 4 << 20 | 1),
        ("pages of 8 KiB", 6 << 16 | 4 << 20 | 1 << 7 | 1),
        (
            "a command set that is not there",
            6 << 16 | 4 << 20 | 1 << 4 | 1,
        ),
    ] {
        let queue = world.nvme_queue(0, QueueOptions::new(0, 32).connecting(connect(0)));
        world.nvme_succeed(0, queue, &admin::property_set(property::CC, value));
        let status = status(&mut world, 0, queue);
        assert_eq!(status & 3, 2, "{what}: CFS, and not ready");
        world.nvme[0].disconnect(queue).expect("a queue");
    }
    let queue = world.nvme_queue(0, QueueOptions::new(0, 32).connecting(connect(0)));
    for command in [
        admin::property_get(property::CAP, Width::Four),
        admin::property_get(property::CSTS, Width::Eight),
        admin::property_get(0x24, Width::Four),
        admin::property_set(property::CSTS, 1),
        admin::property_set_wide(property::CC, Width::Eight, 1),
    ] {
        let reply = world.nvme_execute(0, queue, &command);
        assert_eq!(reply.code(), INVALID_FIELD, "{command:?}");
    }
    world.finish();
}

// --- time --------------------------------------------------------------------------------------------------------

fn with_keep_alive(host: Host, milliseconds: u32) -> ControllerOptions {
    let mut options = controller(host);
    options.connect.keep_alive = milliseconds;
    options
}

#[test]
fn silence_ends_a_controller_and_no_other() {
    for seed in seeds(0..3) {
        let mut world = Setup::new(seed).nvme().build();
        let silent = world.nvme_controller_with(0, with_keep_alive(0, 5000));
        let patient = world.nvme_controller_with(0, with_keep_alive(0, 30_000));
        let endless = world.nvme_controller(0);
        let alive = world.nvme_controller_with(1, with_keep_alive(1, 5000));
        let busy = world.nvme_controller_with(1, with_keep_alive(1, 5000));
        for turn in 0..5 {
            world.pass(Duration::from_millis(2000));
            world.nvme_succeed(1, alive.admin, &admin::keep_alive());
            world.nvme_read(1, busy.io[turn % 2], 0, 1);
            let up = silent.queues().all(|queue| world.nvme[0].is_up(queue));
            assert_eq!(up, turn < 3, "seed {seed}: after {} s", (turn + 1) * 2);
        }
        for queue in silent.queues() {
            world.nvme_over(0, queue);
        }
        assert_eq!(sessions(&world), 4, "seed {seed}");
        for (host, controller) in [(0, &patient), (0, &endless), (1, &alive), (1, &busy)] {
            for &queue in &controller.io {
                world.nvme_read(host, queue, 0, 1);
            }
        }
        world.finish();
    }
}

#[test]
fn whoever_never_connects_is_dropped() {
    let mut world = Setup::new(1).nvme().build();
    let bystander = world.nvme_controller(1);
    let idle: Vec<_> = [0, 1]
        .map(|number| world.nvme_queue(0, QueueOptions::new(number, 8)))
        .into();
    world.settle();
    world.pass(Duration::from_secs(20));
    for &queue in &idle {
        assert!(world.nvme[0].is_alive(queue));
    }
    world.pass(Duration::from_secs(11));
    for queue in idle {
        world.nvme_over(0, queue);
    }
    world.nvme_read(1, bystander.io[0], 0, 1);
    world.finish();
}

// --- Abort, and events -------------------------------------------------------------------------------------------

#[test]
fn abort_aborts() {
    for seed in seeds(0..8) {
        let mut world = Setup::new(seed).staged().nvme().build();
        let controller = world.nvme_controller(0);
        let queue = controller.io[1];
        world.io.hold(Kind::Read);
        let mut reads = Vec::new();
        for _ in 0..3 {
            let buffer = world.nvme_buffer(0, queue, 4096);
            let read = io::read(1, 0, 8, once(&buffer));
            reads.push(world.nvme_send(0, queue, &read));
        }
        world.run_until(|world| (world.io.waiting() == 3).then_some(()));
        // The same identifier on the other queue is somebody else's.
        let nothing = world.nvme_succeed(0, controller.admin, &admin::abort(1, reads[1]));
        assert_eq!(nothing.result(), 1, "seed {seed}");
        let nothing = world.nvme_succeed(0, controller.admin, &admin::abort(2, 0x7777));
        assert_eq!(nothing.result(), 1, "seed {seed}");
        let abort = world.nvme_send(0, controller.admin, &admin::abort(2, reads[1]));
        world.settle();
        // The store may still fill the memory of the command, so it is not over.
        assert!(world.nvme[0].take_reply(controller.admin, abort).is_none());
        assert!(world.nvme[0].take_reply(queue, reads[1]).is_none());
        world.io.release();
        let reply = world.nvme_reply(0, controller.admin, abort);
        assert_eq!(
            (reply.is_success(), reply.result()),
            (true, 0),
            "seed {seed}"
        );
        let victim = world.nvme_reply(0, queue, reads[1]);
        assert_eq!(victim.code(), ABORT_REQUESTED, "seed {seed}");
        assert!(world.nvme_reply(0, queue, reads[0]).is_success());
        assert!(world.nvme_reply(0, queue, reads[2]).is_success());
        world.finish();
    }
}

#[test]
fn four_events_are_awaited_and_no_more() {
    for seed in seeds(0..3) {
        let mut world = Setup::new(seed).nvme().build();
        let options = ControllerOptions {
            event: false,
            ..controller(0)
        };
        let controller = world.nvme_controller_with(0, options);
        let admin_queue = controller.admin;
        let event = admin::asynchronous_event();
        let waiting: Vec<_> = (0..4)
            .map(|_| world.nvme_send(0, admin_queue, &event))
            .collect();
        let fifth = world.nvme_execute(0, admin_queue, &event);
        assert_eq!(fifth.code(), EVENT_LIMIT, "seed {seed}");
        // They take no room from other commands.
        for _ in 0..40 {
            world.nvme_succeed(0, admin_queue, &admin::keep_alive());
        }
        // One that is aborted is told so before the abort is.
        let abort = admin::abort(0, waiting[2]);
        let abort = world.nvme_send(0, admin_queue, &abort);
        world.settle();
        let (first, victim) = world.nvme[0].next_reply(admin_queue).expect("a reply");
        assert_eq!((first, victim.code()), (waiting[2], ABORT_REQUESTED));
        let (second, reply) = world.nvme[0].next_reply(admin_queue).expect("a reply");
        assert_eq!(
            (second, reply.is_success(), reply.result()),
            (abort, true, 0)
        );
        let again = world.nvme_send(0, admin_queue, &event);
        assert_eq!(
            world.nvme_execute(0, admin_queue, &event).code(),
            EVENT_LIMIT
        );
        assert!(world.nvme[0].take_reply(admin_queue, again).is_none());
        world.finish();
    }
}

#[test]
fn a_new_size_is_an_event() {
    let mut world = Setup::new(1).nvme().build();
    let controller = world.nvme_controller(0);
    let event = controller.event.expect("one waits");
    let device = std::sync::Arc::clone(&world.daemon.shared.inventory().devices[0]);
    let resizing =
        std::thread::spawn(move || device.resize(Some(6 << 20), false, Duration::from_secs(60)));
    world.run_until(|_| resizing.is_finished().then_some(()));
    resizing.join().expect("no panic").expect("a new size");
    world.pass(Duration::from_millis(300));
    world.pass(Duration::from_millis(300));
    let told = world.nvme_reply(0, controller.admin, event);
    // A notice: namespace attributes changed, and log page 04h.
    assert_eq!(told.result(), 0x0004_0002);
    let page = LogPage {
        id: 0x04,
        nsid: u32::MAX,
        length: 4096,
        ..LogPage::default()
    };
    let changed = world.nvme_log_page(0, controller.admin, page);
    assert_eq!(changed[..8], [1, 0, 0, 0, 0, 0, 0, 0]);
    let identify = world.nvme_identify(0, controller.admin, 0, 1);
    assert_eq!(identify[..8], (6u64 << 11).to_le_bytes());
    world.nvme_read(0, controller.io[0], (6 << 11) - 8, 8);
    world.finish();
}

// --- the end -----------------------------------------------------------------------------------------------------

/// Reads and writes, as many as there is room for.
fn load(world: &mut World, host: Host, queue: QueueHandle) {
    while world.nvme[host].can_send(queue) {
        let blocks = 1 + world.random.below(200) as u32;
        let lba = world.random.below(4096 - u64::from(blocks));
        let buffer = world.nvme_buffer(host, queue, blocks as usize * 512);
        let data = once(&buffer);
        let command = match world.random.below(3) {
            0 => io::write(1, lba, blocks, data),
            1 => io::compare(1, lba, blocks, data),
            _ => io::read(1, lba, blocks, data),
        };
        world.nvme[host].send(queue, &command).expect("room");
    }
}

#[test]
fn what_is_lost_under_load_leaves_nothing_behind() {
    for seed in seeds(0..16) {
        for setup in [Setup::new(seed), Setup::new(seed).staged()] {
            let mut world = setup.nvme().build();
            let bystander = world.nvme_controller(1);
            let kept = pattern(4096, seed);
            world.nvme_write(1, bystander.io[0], 8000, &kept);
            let controller = world.nvme_controller(0);
            for _ in 0..3 {
                for &queue in &controller.io {
                    load(&mut world, 0, queue);
                }
                for _ in 0..world.random.below(60) {
                    world.pump();
                }
            }
            let queues: Vec<_> = controller.queues().collect();
            let which = queues[world.random.index(3)];
            match world.random.below(4) {
                0 => world.nvme[0].fail(which).expect("a queue"),
                1 => world.nvme[0].disconnect(which).expect("a queue"),
                2 => {
                    // The target's side of any of them.
                    let pairs = world.net.queue_pairs();
                    let name = host_name(0);
                    let theirs: Vec<_> = pairs
                        .iter()
                        .filter(|pair| pair.node == name && pair.state == QueuePairState::Ready)
                        .filter_map(|pair| pair.peer)
                        .collect();
                    let number = theirs[world.random.index(theirs.len())];
                    assert!(world.net.faults().break_queue_pair(number));
                }
                _ => assert!(world.net.faults().remove_adapter(&host_name(0))),
            }
            world.settle();
            assert!(
                world.nvme_read(1, bystander.io[1], 8000, 8) == kept,
                "seed {seed}"
            );
            assert!(queues.iter().any(|&queue| !world.nvme[0].is_alive(queue)));
            world.finish();
        }
    }
}

#[test]
fn shutting_down_does_not_wait_for_events() {
    for seed in seeds(0..4) {
        let mut world = Setup::new(seed).staged().nvme().build();
        let busy = world.nvme_controller(0);
        let idle = world.nvme_controller(1);
        let discovery = world.nvme_controller_with(1, discovering(1));
        for _ in 0..2 {
            world.nvme_send(1, idle.admin, &admin::asynchronous_event());
        }
        world.io.hold(Kind::Write);
        let bytes = pattern(4096, seed);
        let buffer = world.nvme_filled(0, busy.io[0], &bytes);
        let write = io::write(1, 16, 8, once(&buffer));
        let cid = world.nvme_send(0, busy.io[0], &write);
        world.run_until(|world| (world.io.waiting() == 1).then_some(()));
        world.daemon.control_address.send(ControlMessage::Shutdown);
        world.settle();
        assert!(world.daemon.shared.stopping.load(Relaxed));
        world.pass(Duration::from_millis(300));
        for queue in idle.queues().chain(discovery.queues()) {
            world.nvme_over(1, queue);
        }
        assert!(!world.daemon.control.is_stopped(), "seed {seed}");
        assert!(world.nvme[0].is_alive(busy.io[0]), "seed {seed}");
        world.io.release();
        assert!(world.nvme_reply(0, busy.io[0], cid).is_success());
        for _ in 0..4 {
            world.pass(Duration::from_millis(300));
        }
        for queue in busy.queues() {
            world.nvme_over(0, queue);
        }
        world.assert_nothing_held();
        assert!(world.daemon.control.is_stopped(), "seed {seed}");
    }
}

/// A bring-up that is cut off anywhere leaves nothing.
#[test]
fn a_bring_up_that_is_cut_off() {
    for seed in seeds(0..20) {
        let mut world = Setup::new(seed).nvme().build();
        let to = ([10, 0, 0, 1], 4420).into();
        let mut bringup = Bringup::new(to, controller(0));
        for _ in 0..world.random.below(900) {
            if let Ok(Some(_)) | Err(_) = bringup.step(&mut world.nvme[0]) {
                break;
            }
            world.pump();
        }
        let admin = bringup.queues().first().copied();
        for &queue in bringup.queues() {
            world.nvme_queues.push((0, queue));
        }
        if let Some(admin) = admin {
            // It may not be there yet.
            let _ = world.nvme[0].fail(admin);
        }
        world.settle();
        let on_target = |world: &World| {
            let pairs = world.net.queue_pairs().into_iter();
            pairs.filter(|pair| pair.node == TARGET).count()
        };
        let controller = world.nvme_controller(1);
        world.nvme_read(1, controller.io[0], 0, 1);
        assert!(on_target(&world) >= 3);
        world.finish();
    }
}
