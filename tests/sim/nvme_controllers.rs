//! Controllers over NVMe: who gets one, how it is reset, and what ends it.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use pagecast_backends::testing::Kind;
use pagecast_initiator::nvme::admin::{self, LogPage, Width, property};
use pagecast_initiator::nvme::discovery::{self, DiscoveryLog};
use pagecast_initiator::nvme::{
    Bringup, Connect, Controller, ControllerOptions, Credentials, Data, QueueHandle, QueueOptions,
    QueueState, auth, io, request,
};
use pagecast_initiator::{InitiatorError, nvme};
use pagecast_rdma::sim::QueuePairState;
use pagecast_tests::nvme::{SUBSYSTEM, connect, controller, discovering, host_nqn, once};
use pagecast_tests::world::{TARGET, host_name};
use pagecast_tests::{Host, Setup, World, pattern, seeds};
use pagecastd::shard::messages::ControlMessage;

// Status code type and status code.
const INVALID_FIELD: (u8, u8) = (0, 0x02);
const ABORT_REQUESTED: (u8, u8) = (0, 0x07);
const SEQUENCE_ERROR: (u8, u8) = (0, 0x0c);
const EVENT_LIMIT: (u8, u8) = (1, 0x05);
const CONNECT_FORMAT: (u8, u8) = (1, 0x80);
const INVALID_PARAMETERS: (u8, u8) = (1, 0x82);
const INVALID_HOST: (u8, u8) = (1, 0x84);
const AUTHENTICATION_REQUIRED: (u8, u8) = (1, 0x91);

/// An I/O queue of a controller.
fn io_queue(host: Host, controller: &Controller, number: u16) -> QueueOptions {
    let mut connect = connect(host);
    connect.controller = controller.id;
    QueueOptions::new(number, 8).connecting(connect)
}

fn status(world: &mut World, host: Host, admin: QueueHandle) -> u32 {
    let get = admin::property_get(property::CSTS, Width::Four);
    world.nvme_succeed(host, admin, &get).result()
}

fn refusal(state: QueueState) -> ((u8, u8), u64) {
    match state {
        QueueState::Refused(entry) => (entry.status.code(), entry.result),
        other => panic!("{other:?}"),
    }
}

fn sessions(world: &World) -> usize {
    world.daemon.shared.sessions().len()
}

// --- connection requests and Connect -----------------------------------------------------------------------------

#[test]
fn private_data_that_are_wrong() {
    let mut world = Setup::new(1).nvme().build();
    let bystander = world.nvme_controller(1);
    let bytes = |queue: u16, change: fn(&mut Vec<u8>)| {
        let mut data = request(queue, 8).to_vec();
        change(&mut data);
        data
    };
    for (what, wanted, data) in [
        // They come padded with zeros, as providers do it; the wire format's own tests have those that are too short.
        ("none", 4, Vec::new()),
        (
            "a format that is not known",
            2,
            bytes(0, |data| data[0] = 1),
        ),
        ("queue 1000", 3, bytes(1000, |_| ())),
        ("queue 65535", 3, bytes(u16::MAX, |_| ())),
        ("a send queue of one", 4, bytes(1, |data| data[6] = 0)),
        (
            "an admin send queue of 33",
            4,
            bytes(0, |data| data[6] = 32),
        ),
        ("a receive queue of none", 5, bytes(1, |data| data[4] = 0)),
    ] {
        let mut options = QueueOptions::new(0, 8);
        options.private_data = Some(data);
        let (_, state) = world.nvme_connect(0, options);
        let status = Some(wanted);
        let rejected = QueueState::Rejected { reason: 28, status };
        assert_eq!(state, rejected, "{what}");
    }
    let mut options = QueueOptions::new(0, 8);
    options.responder_resources = 0;
    let (_, state) = world.nvme_connect(0, options);
    let status = Some(7);
    assert_eq!(state, QueueState::Rejected { reason: 28, status });
    // More bytes than there need be are what some providers make of it.
    let mut options = QueueOptions::new(0, 8).connecting(connect(0));
    options.private_data = Some(bytes(0, |data| data.resize(56, 0)));
    world.nvme_queue(0, options);
    world.nvme_read(1, bystander.io[0], 0, 1);
    world.finish();
}

#[test]
fn connects_that_are_wrong() {
    let mut world = Setup::new(1).nvme().build();
    let bystander = world.nvme_controller(1);
    let in_data = |offset: u64| (INVALID_PARAMETERS, offset | 1 << 16);
    let in_command = |offset: u64| (INVALID_PARAMETERS, offset);
    let cases: [(&str, _, fn(&mut Connect)); 8] = [
        ("another subsystem", in_data(256), |c| c.subsystem.push('x')),
        ("no subsystem", in_data(256), |c| c.subsystem.clear()),
        ("a name without end", in_data(256), |c| {
            c.subsystem = "n".repeat(256)
        }),
        ("a name of 224", in_data(256), |c| {
            c.subsystem = "n".repeat(224)
        }),
        ("no host", in_data(512), |c| c.host.clear()),
        ("a host with a line feed", in_data(512), |c| {
            c.host.push('\n')
        }),
        ("a certain controller", in_data(16), |c| c.controller = 1),
        ("no host identifier", in_data(0), |c| c.host_id = [0; 16]),
    ];
    for (what, wanted, change) in cases {
        let mut wrong = connect(0);
        change(&mut wrong);
        let options = QueueOptions::new(0, 32).connecting(wrong);
        let (_, state) = world.nvme_connect(0, options);
        assert_eq!(refusal(state), wanted, "{what}");
    }
    // The command's own fields, and data that are not there.
    let queue = world.nvme_queue(0, QueueOptions::new(0, 32));
    let good = world.nvme[0].connect_command(queue, &connect(0));
    let good = good.expect("a queue");
    let dword = |number, value| good.clone().dword(number, value);
    for (what, wanted, command) in [
        ("a format", (CONNECT_FORMAT, 0), dword(10, 1)),
        ("another queue", in_command(42), dword(10, 1 << 16)),
        ("no entries", in_command(44), dword(11, 0)),
        ("33 entries", in_command(44), dword(11, 32)),
        ("65536 entries", in_command(44), dword(11, 0xffff)),
    ] {
        let reply = world.nvme_execute(0, queue, &command);
        let got = (reply.code(), reply.completion.result);
        assert_eq!(got, wanted, "{what}");
    }
    let short = world.nvme_buffer(0, queue, 1023);
    let short = good.clone().with(once(&short));
    assert_eq!(world.nvme_execute(0, queue, &short).code(), (0, 0x0f));
    // Whoever got it wrong may try again.
    assert!(world.nvme_execute(0, queue, &good).is_success());
    assert!(world.nvme[0].is_up(queue));
    let again = world.nvme_execute(0, queue, &good);
    assert_eq!(again.code(), SEQUENCE_ERROR);
    world.nvme_read(1, bystander.io[0], 0, 1);
    world.finish();
}

#[test]
fn io_queues_that_are_wrong() {
    let mut world = Setup::new(1).nvme().build();
    let one = world.nvme_controller(0);
    let other = world.nvme_controller(1);
    let in_data = |offset: u64| (INVALID_PARAMETERS, offset | 1 << 16);
    let cases: [(&str, _, fn(&mut Connect)); 6] = [
        ("controller 0", in_data(16), |c| c.controller = 0),
        ("any controller", in_data(16), |c| {
            c.controller = nvme::DYNAMIC
        }),
        ("nobody's controller", in_data(16), |c| c.controller += 100),
        ("another host's name", in_data(512), |c| {
            c.host = host_nqn(1)
        }),
        ("another host's identifier", in_data(0), |c| {
            c.host_id[0] ^= 1
        }),
        ("another subsystem", in_data(16), |c| c.subsystem.push('x')),
    ];
    for (what, wanted, change) in cases {
        let mut options = io_queue(0, &one, 3);
        change(options.connect.as_mut().expect("a connect"));
        let (_, state) = world.nvme_connect(0, options);
        assert_eq!(refusal(state), wanted, "{what}");
    }
    // The same number twice.
    let (_, state) = world.nvme_connect(0, io_queue(0, &one, 2));
    let (code, _) = refusal(state);
    assert!(
        matches!(code, SEQUENCE_ERROR | INVALID_PARAMETERS),
        "{code:x?}"
    );
    world.nvme_queue(0, io_queue(0, &one, 3));
    // A controller that is not enabled has none.
    world.nvme_succeed(1, other.admin, &other.reset());
    let (_, state) = world.nvme_connect(1, io_queue(1, &other, 1));
    let (code, _) = refusal(state);
    assert!(
        matches!(code, SEQUENCE_ERROR | INVALID_PARAMETERS),
        "{code:x?}"
    );
    for &queue in &one.io {
        world.nvme_read(0, queue, 0, 1);
    }
    world.finish();
}

const TWO_GROUPS: &str = r#"[
    { "name": "first", "initiators": ["nqn.2026-11.io.pagecast.test:host0"], "luns": { "0": "disk0", "6": "disk1" } },
    { "name": "second", "initiators": ["nqn.2026-11.io.pagecast.test:host1"], "luns": { "3": "disk1" } } ]"#;

fn two_groups(seed: u64) -> Setup {
    let mut setup = Setup::new(seed);
    setup.hosts = 3;
    setup.groups = TWO_GROUPS.to_owned();
    setup.devices.push(
        r#"{ "name": "disk1", "backend": "memory", "size": "2MiB", "block_size": 4096 }"#
            .to_owned(),
    );
    setup
}

#[test]
fn hosts_see_what_their_group_has() {
    let mut world = two_groups(1).nvme().build();
    let controllers = [world.nvme_controller(0), world.nvme_controller(1)];
    let seen = |controller: &Controller| -> Vec<(u32, u32, u64)> {
        let each = controller.namespaces.iter();
        each.map(|n| (n.id, n.block_size, n.blocks)).collect()
    };
    assert_eq!(seen(&controllers[0]), [(1, 512, 8192), (7, 4096, 512)]);
    assert_eq!(seen(&controllers[1]), [(4, 4096, 512)]);
    // The same disk under two numbers, with the same names.
    let names = |controller: &Controller, at: usize| controller.namespaces[at].descriptors.clone();
    assert!(names(&controllers[0], 1) == names(&controllers[1], 0));
    assert!(names(&controllers[0], 1) != names(&controllers[0], 0));
    let bytes = pattern(4096, 1);
    let queue = controllers[0].io[0];
    let data = once(&world.nvme_filled(0, queue, &bytes));
    world.nvme_succeed(0, queue, &io::write(7, 511, 1, data));
    let queue = controllers[1].io[0];
    let buffer = world.nvme_buffer(1, queue, 4096);
    let read = world.nvme_succeed(1, queue, &io::read(4, 511, 1, once(&buffer)));
    assert!(read.data() == bytes);
    for nsid in [0, 1, 3, 5, 7, u32::MAX] {
        let data = once(&world.nvme_buffer(1, queue, 4096));
        let reply = world.nvme_execute(1, queue, &io::read(nsid, 0, 1, data));
        assert_eq!(reply.code(), (0, 0x0b), "namespace {nsid}");
    }
    // Nobody's host.
    let (_, state) = world.nvme_connect(2, QueueOptions::new(0, 32).connecting(connect(2)));
    assert_eq!(refusal(state).0, INVALID_HOST);
    world.finish();
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
        // Some I/O of it is stuck, and does not count.
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
    let device = std::sync::Arc::clone(&world.daemon.shared.devices[0]);
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

// --- discovery ---------------------------------------------------------------------------------------------------

fn log(world: &mut World, host: Host, queue: QueueHandle) -> DiscoveryLog {
    let page = LogPage {
        id: discovery::LOG_PAGE,
        length: 16 * 1024,
        ..LogPage::default()
    };
    let bytes = world.nvme_log_page(host, queue, page);
    DiscoveryLog::decode(&bytes).expect("a discovery log page")
}

#[test]
fn discovery_tells_of_every_portal() {
    let mut setup = two_groups(1);
    setup.nvme = 2;
    let mut world = setup.build();
    for (host, number) in [(0, 0), (1, 1), (0, 1)] {
        let controller = world.nvme_controller_at(host, number, discovering(host));
        let controller = controller.expect("a discovery controller");
        assert!(controller.io.is_empty() && controller.namespaces.is_empty());
        let log = log(&mut world, host, controller.admin);
        let subsystems: Vec<_> = log.entries.iter().filter(|entry| entry.kind == 2).collect();
        assert_eq!(subsystems.len(), 2, "{log:?}");
        for entry in &log.entries {
            assert_eq!((entry.transport, entry.family), (1, 1));
            assert_eq!(entry.address, "10.0.0.1");
            assert_eq!(entry.specific[..1], [1], "reliable connected");
            assert_eq!(entry.controller, 0xffff);
            assert!(entry.admin_entries >= 32);
        }
        for (entry, port) in subsystems.iter().zip(["4420", "4421"]) {
            assert_eq!((&*entry.subsystem, &*entry.service), (SUBSYSTEM, port));
        }
        assert!(subsystems[0].port != subsystems[1].port);
    }
    // Whom no group admits, there is nothing to see.
    let nobody = world.nvme_try_controller(2, discovering(2));
    if let Ok(controller) = nobody {
        let log = log(&mut world, 2, controller.admin);
        assert!(log.entries.iter().all(|entry| entry.kind != 2), "{log:?}");
    }
    assert_eq!(sessions(&world), 0);
    world.finish();
}

#[test]
fn discovery_controllers_do_nothing_else() {
    let mut world = Setup::new(1).nvme().build();
    let controller = world.nvme_controller_with(0, discovering(0));
    let queue = controller.admin;
    for command in [
        admin::identify(0x00, 1, once(&world.nvme_buffer(0, queue, 4096))),
        admin::identify(0x02, 0, once(&world.nvme_buffer(0, queue, 4096))),
        admin::set_features(0x07, 0, 0, Data::None),
        io::flush(1),
    ] {
        let reply = world.nvme_execute(0, queue, &command);
        assert!(!reply.is_success(), "{command:?}");
    }
    let mut options = io_queue(0, &controller, 1);
    options.connect.as_mut().expect("a connect").subsystem = discovery::NQN.to_owned();
    let (_, state) = world.nvme_connect(0, options);
    assert_eq!(refusal(state).0, INVALID_PARAMETERS);
    // In pieces, as nvme-cli reads it.
    let whole = log(&mut world, 0, queue);
    for (offset, length) in [(0, 16), (1024, 1024), (8, 8)] {
        let page = LogPage {
            id: discovery::LOG_PAGE,
            offset,
            length,
            ..LogPage::default()
        };
        let part = world.nvme_log_page(0, queue, page);
        if offset == 0 {
            assert_eq!(part[..8], whole.generation.to_le_bytes());
        }
        if offset == 8 {
            assert_eq!(part[0] as usize, whole.entries.len());
        }
    }
    world.finish();
}

// --- authentication ----------------------------------------------------------------------------------------------

const KEY: &str = "DHHC-1:00:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAl7OaH:";
const OTHER_KEY: &str = "DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:";

fn with_keys(seed: u64) -> Setup {
    let mut setup = Setup::new(seed);
    setup.groups = format!(
        r#"[ {{ "name": "g", "initiators": ["*"], "luns": {{ "0": "disk0" }},
            "dhchap": {{ "key": "{KEY}", "controller_key": "{OTHER_KEY}" }} }} ]"#
    );
    setup.nvme()
}

fn authenticating(
    host: Host,
    key: &str,
    controller_key: Option<&str>,
    group: u8,
) -> ControllerOptions {
    ControllerOptions {
        credentials: Some(Credentials {
            key: key.to_owned(),
            controller_key: controller_key.map(str::to_owned),
            offer: auth::Offer {
                groups: vec![group],
                ..auth::Offer::default()
            },
            seed: 99,
        }),
        ..controller(host)
    }
}

#[test]
fn hosts_prove_who_they_are() {
    let mut world = with_keys(1).build();
    for (controller_key, group) in [(None, 0), (Some(OTHER_KEY), 0), (Some(OTHER_KEY), 1)] {
        let options = authenticating(0, KEY, controller_key, group);
        let controller = world.nvme_controller_with(0, options);
        world.nvme_write(0, controller.io[0], 9, &pattern(512, 1));
        world.nvme_read(0, controller.io[1], 9, 1);
        world.nvme_disconnect(0, &controller);
    }
    world.finish();
}

#[test]
fn hosts_that_cannot_are_not_let_in() {
    let mut world = with_keys(1).build();
    let bystander = world.nvme_controller_with(1, authenticating(1, KEY, None, 0));
    let wrong = world.nvme_try_controller(0, authenticating(0, OTHER_KEY, None, 0));
    let wrong = wrong.expect_err("the wrong key");
    let refused = auth::AuthError::Refused {
        reason: 1,
        explanation: 1,
    };
    assert!(
        matches!(&wrong, InitiatorError::Authentication(error) if *error == refused),
        "{wrong}"
    );
    // A controller with the wrong key is not believed either.
    let wrong = world.nvme_try_controller(0, authenticating(0, KEY, Some(KEY), 0));
    let wrong = wrong.expect_err("the wrong controller's key");
    assert!(
        matches!(
            &wrong,
            InitiatorError::Authentication(auth::AuthError::NotAuthentic)
        ),
        "{wrong}"
    );
    let without = world.nvme_try_controller(0, controller(0));
    let without = without.expect_err("no key");
    assert!(
        matches!(&without, InitiatorError::CommandFailed { status, .. }
            if status.code() == AUTHENTICATION_REQUIRED),
        "{without}"
    );
    // Whoever is in the middle of it has no time for ever.
    world.pass(Duration::from_secs(31));
    world.nvme_read(1, bystander.io[0], 0, 1);
    let queues = world.nvme_queues.clone();
    for (host, queue) in queues {
        assert!(host == 1 || !world.nvme[host].is_alive(queue));
    }
    assert_eq!(sessions(&world), 1);
    world.finish();
}

#[test]
fn every_queue_has_to_prove_it() {
    let mut world = with_keys(1).build();
    let controller = world.nvme_controller_with(0, authenticating(0, KEY, None, 0));
    let queue = world.nvme_queue(0, io_queue(0, &controller, 5));
    let connected = world.nvme[0].connected(queue).expect("it is up");
    assert!(connected.authentication_required);
    let buffer = world.nvme_buffer(0, queue, 512);
    let reply = world.nvme_execute(0, queue, &io::read(1, 0, 1, once(&buffer)));
    assert_eq!(reply.code(), AUTHENTICATION_REQUIRED);
    world.nvme_read(0, controller.io[0], 0, 1);
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
