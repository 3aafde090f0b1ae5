//! Bad input over NVMe: the standard's status or the end of that queue, and of nothing else.

use std::sync::atomic::Ordering::Relaxed;

use pagecast_backends::testing::Kind;
use pagecast_initiator::nvme::{
    Command, Controller, ControllerOptions, DATA_POINTER, Data, Event, Fuse, QueueHandle,
    QueueOptions, QueueState, SQE_SIZE, admin, io, sgl,
};
use pagecast_rdma::fabric::RemoteBuffer;
use pagecast_tests::nvme::{connect, controller, keyed, once};
use pagecast_tests::{Setup, World, pattern, seeds};

/// What came of something hostile.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Status(u8, u8),
    Over,
    Silence,
}

const GOOD: Outcome = Outcome::Status(0, 0);
const INVALID_FIELD: Outcome = Outcome::Status(0, 0x02);
const SEQUENCE_ERROR: Outcome = Outcome::Status(0, 0x0c);

/// Somebody whose I/O goes on whatever others do.
struct Bystander {
    controller: Controller,
    kept: Vec<u8>,
}

impl Bystander {
    fn new(world: &mut World) -> Self {
        let controller = world.nvme_controller(1);
        let kept = pattern(65_536, 77);
        world.nvme_write(1, controller.io[0], 4096, &kept);
        Self { controller, kept }
    }

    fn check(&self, world: &mut World) {
        for &queue in &self.controller.io {
            assert!(
                world.nvme_read(1, queue, 4096, 128) == self.kept,
                "seed {}",
                world.seed
            );
        }
        world.nvme_succeed(1, self.controller.admin, &admin::keep_alive());
    }
}

/// An I/O queue that can be sent anything.
fn tolerant(controller: &Controller, number: u16) -> QueueOptions {
    let mut connect = connect(0);
    connect.controller = controller.id;
    let mut options = QueueOptions::new(number, 8).connecting(connect);
    options.tolerant = true;
    options.send_size = 32_768;
    options
}

/// Sends what `change` makes of a capsule on a queue of its own, while the bystander works.
fn outcome(
    world: &mut World,
    (controller, bystander): (&Controller, &Bystander),
    command: impl FnOnce(&World, QueueHandle) -> Command,
    change: impl FnOnce(&mut Vec<u8>),
) -> Outcome {
    let queue = world.nvme_queue(0, tolerant(controller, 9));
    let command = command(world, queue);
    let (cid, mut capsule) = world.nvme[0].prepare(queue, &command).expect("a queue");
    change(&mut capsule);
    world.nvme[0].send_raw(queue, &capsule).expect("sent");
    bystander.check(world);
    world.settle();
    let result = match world.nvme[0].take_reply(queue, cid) {
        Some(reply) => {
            let (kind, code) = reply.code();
            Outcome::Status(kind, code)
        }
        None if world.nvme[0].is_up(queue) => Outcome::Silence,
        None => Outcome::Over,
    };
    if result != Outcome::Over {
        // The queue is as good as before.
        world.nvme[0].abandon(queue, cid);
        world.nvme_read(0, queue, 0, 1);
        world.nvme[0].disconnect(queue).expect("a queue");
    }
    world.nvme_over(0, queue);
    world.settle();
    result
}

fn reads(world: &World, queue: QueueHandle) -> Command {
    io::read(1, 0, 8, keyed(&world.nvme_buffer(0, queue, 4096)))
}

fn writes(world: &World, queue: QueueHandle) -> Command {
    io::write(1, 0, 8, keyed(&world.nvme_buffer(0, queue, 4096)))
}

fn writes_in_capsule(_: &World, _: QueueHandle) -> Command {
    io::write(1, 0, 2, Data::InCapsule(vec![0x55; 1024]))
}

fn put(capsule: &mut [u8], descriptor: [u8; 16]) {
    capsule[DATA_POINTER..DATA_POINTER + 16].copy_from_slice(&descriptor);
}

#[test]
fn capsules_of_every_length() {
    let mut world = Setup::new(1).nvme().build();
    let bystander = Bystander::new(&mut world);
    let mine = world.nvme_controller(0);
    let who = (&mine, &bystander);
    for length in [1, 2, 4, 16, 40, 63] {
        let cut = outcome(&mut world, who, reads, |capsule| capsule.truncate(length));
        assert_eq!(cut, Outcome::Over, "{length} bytes");
    }
    // 16h: SGL offset invalid. In-capsule data that are not there.
    for length in [64, 65, 100, 575, 576, 1087] {
        let cut = outcome(&mut world, who, writes_in_capsule, |capsule| {
            capsule.truncate(length);
        });
        assert_eq!(cut, Outcome::Status(0, 0x16), "{length} bytes");
    }
    for length in [1088, 1089, 4160] {
        let longer = outcome(&mut world, who, writes_in_capsule, |capsule| {
            capsule.resize(length, 0xee);
        });
        assert_eq!(longer, GOOD, "{length} bytes");
    }
    // More than the receive takes.
    let longest = outcome(&mut world, who, writes_in_capsule, |capsule| {
        capsule.resize(20_000, 0xee);
    });
    assert_eq!(longest, Outcome::Over);
    world.finish();
}

#[test]
fn data_pointers_that_lie() {
    for seed in seeds(0..2) {
        let mut world = Setup::new(seed).nvme().build();
        let bystander = Bystander::new(&mut world);
        let mine = world.nvme_controller(0);
        let who = (&mine, &bystander);
        const AT: usize = DATA_POINTER;
        type Change = fn(&mut Vec<u8>);
        let cases: [(&str, Outcome, Change); 15] = [
            ("key zero", Outcome::Over, |m| m[AT + 11..AT + 15].fill(0)),
            ("a wrong key", Outcome::Over, |m| m[AT + 11] ^= 0x55),
            ("a wrong address", Outcome::Over, |m| m[AT + 2] ^= 0x7f),
            // 0Dh: invalid SGL segment.
            ("an address that wraps", Outcome::Status(0, 0x0d), |m| {
                m[AT..AT + 8].fill(0xff);
            }),
            ("no memory", Outcome::Status(0, 0x0f), |m| {
                put(m, sgl::none());
            }),
            ("too little memory", Outcome::Status(0, 0x0f), |m| {
                m[AT + 9] = 0x0f;
            }),
            ("more than is needed", GOOD, |m| m[AT + 10] = 0x7f),
            ("a bit bucket", Outcome::Status(0, 0x11), |m| {
                m[AT + 15] = 0x10;
            }),
            ("a segment", Outcome::Status(0, 0x11), |m| m[AT + 15] = 0x20),
            ("the last segment", Outcome::Status(0, 0x11), |m| {
                m[AT + 15] = 0x31;
            }),
            ("an unkeyed address", Outcome::Status(0, 0x11), |m| {
                m[AT + 15] = 0x00;
            }),
            ("another subtype", Outcome::Status(0, 0x11), |m| {
                m[AT + 15] = 0x41;
            }),
            ("a vendor's type", Outcome::Status(0, 0x11), |m| {
                m[AT + 15] = 0xf0;
            }),
            ("physical pages", INVALID_FIELD, |m| m[1] &= 0x3f),
            ("PSDT 11b", INVALID_FIELD, |m| m[1] |= 0xc0),
        ];
        for (what, wanted, change) in cases {
            for command in [reads, writes] {
                let got = outcome(&mut world, who, command, change);
                assert_eq!(got, wanted, "seed {seed}: {what}");
            }
        }
        let cases: [(&str, Outcome, Change); 6] = [
            ("an offset", Outcome::Status(0, 0x16), |m| {
                put(m, sgl::in_capsule(1, 1024));
            }),
            ("an offset that wraps", Outcome::Status(0, 0x16), |m| {
                put(m, sgl::in_capsule(u64::MAX - 31, 1024));
            }),
            (
                "an offset that wraps to the start",
                Outcome::Status(0, 0x16),
                |m| {
                    put(m, sgl::in_capsule(u64::MAX - 63, 1024));
                },
            ),
            ("a length that wraps", Outcome::Status(0, 0x0f), |m| {
                put(m, sgl::in_capsule(0, u32::MAX));
            }),
            ("more than the capsule has", Outcome::Status(0, 0x16), |m| {
                put(m, sgl::in_capsule(0, 1025));
            }),
            ("less than is written", Outcome::Status(0, 0x0f), |m| {
                put(m, sgl::in_capsule(0, 1023));
            }),
        ];
        for (what, wanted, change) in cases {
            let got = outcome(&mut world, who, writes_in_capsule, change);
            assert_eq!(got, wanted, "seed {seed}: {what}");
        }
        // Asked to invalidate a key that is none: the host's adapter ends the queue, as with any bad key.
        let got = outcome(&mut world, who, reads, |m| {
            let remote = RemoteBuffer {
                address: 4096,
                key: 0xdead_0001,
                length: 512,
            };
            put(m, sgl::keyed(remote, true));
            m[48] = 0xff;
        });
        assert!(matches!(got, Outcome::Over), "{got:?}");
        world.finish();
    }
}

#[test]
fn commands_where_they_do_not_belong() {
    let mut world = Setup::new(1).nvme().build();
    let bystander = Bystander::new(&mut world);
    let mine = world.nvme_controller(0);
    let who = (&mine, &bystander);
    for (what, command) in [
        ("identify", Command::new(0x06, 0)),
        ("property get", admin::property_get(0, admin::Width::Eight)),
        ("property set", admin::property_set(0x14, 0)),
        ("abort", admin::abort(1, 1)),
        ("an event", admin::asynchronous_event()),
        ("disconnect", admin::disconnect()),
        ("a fabrics type that is not known", admin::fabrics(0x55)),
        ("authentication", admin::authentication_send(vec![0; 64])),
    ] {
        let got = outcome(&mut world, who, |_, _| command, |_| ());
        let refused = matches!(got, Outcome::Status(0 | 1, code) if code != 0);
        assert!(refused, "{what}: {got:?}");
    }
    // Before Connect, and again after it.
    let mut options = QueueOptions::new(9, 8);
    options.tolerant = true;
    let queue = world.nvme_queue(0, options);
    for command in [
        reads(&world, queue),
        writes_in_capsule(&world, queue),
        admin::property_get(0, admin::Width::Eight),
        admin::authentication_send(vec![0; 64]),
        io::compare(1, 0, 1, Data::InCapsule(vec![0; 512])).fused(Fuse::First),
    ] {
        let (kind, code) = world.nvme_execute(0, queue, &command).code();
        assert_eq!(Outcome::Status(kind, code), SEQUENCE_ERROR, "{command:?}");
    }
    let mut connect = connect(0);
    connect.controller = mine.id;
    let good = world.nvme[0].connect_command(queue, &connect);
    let good = good.expect("a queue");
    world.nvme_succeed(0, queue, &good);
    world.nvme_read(0, queue, 0, 1);
    let again = world.nvme_execute(0, queue, &good).code();
    assert_eq!(Outcome::Status(again.0, again.1), SEQUENCE_ERROR);
    world.nvme_read(0, queue, 0, 1);
    bystander.check(&mut world);
    world.finish();
}

/// Connect and whatever else, all at once, from a host that does not wait for answers.
#[test]
fn impatient_hosts() {
    for seed in seeds(0..20) {
        let mut world = Setup::new(seed).nvme().build();
        let bystander = Bystander::new(&mut world);
        let mine = world.nvme_controller(0);
        let mut options = QueueOptions::new(3, 8);
        options.tolerant = true;
        // Answers have to wait for room.
        options.receives = 2;
        let queue = world.nvme_queue(0, options);
        let mut connect = connect(0);
        connect.controller = mine.id;
        let good = world.nvme[0].connect_command(queue, &connect);
        let good = good.expect("a queue");
        let mut sent = Vec::new();
        for number in 0..6 {
            let command = match world.random.below(4) {
                _ if number == 2 => good.clone(),
                0 => good.clone(),
                1 => writes_in_capsule(&world, queue),
                2 => admin::keep_alive(),
                _ => reads(&world, queue),
            };
            sent.push(world.nvme_send(0, queue, &command));
            for _ in 0..world.random.below(4) {
                world.pump();
            }
        }
        let mut connected = 0;
        for cid in sent {
            let reply = world.nvme_reply(0, queue, cid);
            connected += u32::from(reply.is_success());
        }
        assert!(connected >= 1, "seed {seed}");
        assert!(world.nvme[0].is_up(queue), "seed {seed}");
        world.nvme_read(0, queue, 0, 8);
        bystander.check(&mut world);
        world.settle();
        for session in world.daemon.shared.sessions().values() {
            let in_flight = session.in_flight.load(Relaxed);
            assert_eq!(in_flight, 0, "seed {seed}: of {}", session.initiator);
        }
        world.finish();
    }
}

#[test]
fn more_commands_than_the_queue_has_room_for() {
    for seed in seeds(0..6) {
        let mut world = Setup::new(seed).staged().nvme().build();
        let bystander = Bystander::new(&mut world);
        let mine = world.nvme_controller(0);
        let mut options = tolerant(&mine, 4);
        options.keep_within = false;
        options.sends = 200;
        options.receives = 200;
        let queue = world.nvme_queue(0, options);
        world.io.hold(Kind::Write);
        let mut sent = Vec::new();
        for number in 0..150u64 {
            let data = Data::InCapsule(vec![number as u8; 512]);
            let command = io::write(1, number, 1, data);
            sent.push(world.nvme[0].send(queue, &command).expect("room here"));
            if world.random.once_in(3) {
                world.pump();
            }
        }
        // It has to wait, or it is thrown out; nobody else is.
        for _ in 0..400 {
            world.pump();
        }
        let waiting = world.io.waiting();
        assert!(waiting <= 16, "seed {seed}: {waiting} at once");
        world.io.release();
        bystander.check(&mut world);
        world.settle();
        if world.nvme[0].is_up(queue) {
            for cid in sent {
                assert!(world.nvme_reply(0, queue, cid).is_success(), "seed {seed}");
            }
        }
        world.finish();
    }
}

#[test]
fn events_without_end() {
    for seed in seeds(0..3) {
        let mut world = Setup::new(seed).nvme().build();
        let bystander = Bystander::new(&mut world);
        let options = ControllerOptions {
            event: false,
            adjust: |options| options.tolerant = true,
            ..controller(0)
        };
        let mine = world.nvme_controller_with(0, options);
        let mut refused = 0;
        for _ in 0..100 {
            let event = admin::asynchronous_event();
            world.nvme_send(0, mine.admin, &event);
            while let Some((_, reply)) = world.nvme[0].next_reply(mine.admin) {
                assert_eq!(reply.code(), (1, 5), "seed {seed}");
                refused += 1;
            }
        }
        world.settle();
        while world.nvme[0].next_reply(mine.admin).is_some() {
            refused += 1;
        }
        assert_eq!(refused, 96, "seed {seed}");
        world.nvme_succeed(0, mine.admin, &admin::keep_alive());
        bystander.check(&mut world);
        world.finish();
    }
}

#[test]
fn one_name_for_many_commands() {
    let mut world = Setup::new(1).staged().nvme().build();
    let bystander = Bystander::new(&mut world);
    let mine = world.nvme_controller(0);
    let queue = world.nvme_queue(0, tolerant(&mine, 4));
    world.io.hold(Kind::Read);
    let command = reads(&world, queue);
    let (cid, capsule) = world.nvme[0].prepare(queue, &command).expect("a queue");
    for _ in 0..4 {
        world.nvme[0].send_raw(queue, &capsule).expect("sent");
    }
    world.run_until(|world| (world.io.waiting() > 0).then_some(()));
    // One of them is aborted, or all.
    let abort = world.nvme_send(0, mine.admin, &admin::abort(4, cid));
    world.settle();
    world.io.release();
    world.nvme_reply(0, mine.admin, abort);
    bystander.check(&mut world);
    world.settle();
    let answers = world.nvme[0].take_events(queue).len();
    assert!(world.nvme[0].take_reply(queue, cid).is_some());
    assert_eq!(answers, 3);
    world.finish();
}

#[test]
fn random_entries() {
    for seed in seeds(0..24) {
        let mut world = Setup::new(seed).nvme().build();
        let bystander = Bystander::new(&mut world);
        let mine = world.nvme_controller_with(
            0,
            ControllerOptions {
                adjust: |options| options.tolerant = true,
                ..controller(0)
            },
        );
        let mut queue = world.nvme_queue(0, tolerant(&mine, 9));
        let mut admin_queue = mine.admin;
        for turn in 0..60 {
            // Sometimes the admin queue, if it is still there; with a good data pointer more often than not.
            let on_admin = turn % 3 == 0;
            if on_admin && !world.nvme[0].is_up(admin_queue) {
                let mut options = QueueOptions::new(0, 32).connecting(connect(0));
                options.tolerant = true;
                admin_queue = world.nvme_queue(0, options);
            }
            if !on_admin && !world.nvme[0].is_up(queue) {
                if !world.nvme[0].is_up(mine.admin) {
                    break;
                }
                world.settle();
                let (again, state) = world.nvme_connect(0, tolerant(&mine, 9));
                if state != QueueState::Up {
                    // Noise has reset the controller, or shut it down.
                    break;
                }
                queue = again;
            }
            let to = if on_admin { admin_queue } else { queue };
            let mut capsule = pattern(SQE_SIZE, world.random.next_u64());
            let opcodes = [
                0x00, 0x01, 0x02, 0x05, 0x08, 0x09, 0x0a, 0x0c, 0x19, 0x06, 0x7f, 0x18,
            ];
            if !world.random.once_in(6) {
                capsule[0] = opcodes[world.random.index(opcodes.len())];
            }
            if !world.random.once_in(6) {
                capsule[1] &= 0x43;
            }
            if !world.random.once_in(6) {
                capsule[4..8].copy_from_slice(&1u32.to_le_bytes());
            }
            // Places that nobody minds, and the end.
            if !world.random.once_in(6) {
                capsule[42..48].fill(0);
                capsule[49..52].fill(0);
            }
            if capsule[0] == 0x7f {
                capsule[4] = world.random.below(10) as u8;
            }
            let changes_blocks = matches!(capsule[0], 0x01 | 0x08 | 0x09 | 0x19);
            if changes_blocks && capsule[4] == 1 {
                // Not where the bystander looks.
                capsule[40..44].copy_from_slice(&(world.random.below(900) as u32).to_le_bytes());
                capsule[48] &= 0x3f;
            }
            if !world.random.once_in(8) {
                let buffer = world.nvme_buffer(0, to, 8192);
                let piece = buffer.piece(0, 8192).expect("all of it");
                let mut remote = piece.remote;
                remote.length = world.random.below(8193) as u32;
                put(&mut capsule, sgl::keyed(remote, false));
                if world.random.once_in(3) {
                    let length = world.random.below(600) as u32;
                    put(&mut capsule, sgl::in_capsule(0, length));
                    capsule.extend(vec![0; world.random.index(600)]);
                }
                // It may be written to as long as there is the queue.
                let filler = Command::new(0, 0).with(Data::Keyed {
                    piece,
                    invalidate: false,
                });
                let cid = u16::from_le_bytes([capsule[2], capsule[3]]);
                world.nvme[0].expect(to, cid, &filler);
            }
            let _ = world.nvme[0].send_raw(to, &capsule);
            for _ in 0..world.random.below(60) {
                world.pump();
            }
            for queue in [queue, admin_queue] {
                for event in world.nvme[0].take_events(queue) {
                    assert!(
                        matches!(event, Event::Unexpected(_)),
                        "seed {seed}: {event:?}"
                    );
                }
            }
        }
        world.settle();
        bystander.check(&mut world);
        world.finish();
    }
}

/// Good commands with a few bits turned.
#[test]
fn turned_bits() {
    for seed in seeds(0..16) {
        let mut world = Setup::new(seed).nvme().build();
        let bystander = Bystander::new(&mut world);
        let mine = world.nvme_controller(0);
        for _ in 0..10 {
            let queue = world.nvme_queue(0, tolerant(&mine, 9));
            for _ in 0..8 {
                let buffer = world.nvme_buffer(0, queue, 4096);
                let lba = world.random.below(512);
                let command = match world.random.below(6) {
                    0 => io::read(1, lba, 8, once(&buffer)),
                    1 => io::compare(1, lba, 8, keyed(&buffer)),
                    2 => io::verify(1, lba, 100),
                    3 => io::compare(1, lba, 1, keyed(&buffer)).fused(Fuse::First),
                    4 => io::flush(1),
                    _ => reads(&world, queue),
                };
                let Ok((_, mut capsule)) = world.nvme[0].prepare(queue, &command) else {
                    break;
                };
                for _ in 0..=world.random.below(3) {
                    // Anything but the opcode: these write nothing.
                    let at = 1 + world.random.index(SQE_SIZE - 1);
                    capsule[at] ^= 1 << world.random.below(8);
                }
                if world.nvme[0].send_raw(queue, &capsule).is_err() {
                    break;
                }
                for _ in 0..world.random.below(60) {
                    world.pump();
                }
            }
            world.nvme[0].disconnect(queue).expect("a queue");
            world.nvme_over(0, queue);
            world.settle();
        }
        world.nvme_read(0, mine.io[0], 0, 8);
        bystander.check(&mut world);
        world.finish();
    }
}
