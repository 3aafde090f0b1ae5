//! NVMe hosts that come, go and come again at the worst moment: what was begun for them ends with them, and a late write of theirs
//! never overtakes an early one.

use pagecast_backends::testing::Kind;
use pagecast_initiator::nvme::{
    Command, Controller, ControllerOptions, Credentials, Data, QueueOptions, QueueState, admin,
    auth, io,
};
use pagecast_tests::nvme::{connect, controller, io_queue, once};
use pagecast_tests::{Setup, World, pattern};

fn seeds() -> std::ops::Range<u64> {
    0..12
}

fn bystander(world: &mut World) -> Controller {
    world.nvme_controller(1)
}

/// Connect, then gone.
#[test]
fn a_host_that_connects_and_is_gone() {
    for seed in seeds() {
        let mut world = Setup::new(seed).nvme().build();
        let other = bystander(&mut world);
        let kept = pattern(4096, 5);
        world.nvme_write(1, other.io[0], 0, &kept);
        for _ in 0..4 {
            let queue = world.nvme_queue(0, QueueOptions::new(0, 8));
            let command = world.nvme[0]
                .connect_command(queue, &connect(0))
                .expect("q");
            world.nvme_send(0, queue, &command);
            for _ in 0..world.random.below(60) {
                world.pump();
            }
            if world.random.once_in(2) {
                world.nvme[0].fail(queue).expect("q");
            } else {
                world.nvme[0].disconnect(queue).expect("q");
            }
            for _ in 0..world.random.below(60) {
                world.pump();
            }
            for &io in &other.io {
                assert!(world.nvme_read(1, io, 0, 8) == kept);
            }
            world.nvme_succeed(1, other.admin, &admin::keep_alive());
        }
        world.settle();
        for &io in &other.io {
            assert!(world.nvme_read(1, io, 0, 8) == kept);
        }
        world.finish();
    }
}

/// Connect waits for an old controller's write, the host gives up, the write ends.
#[test]
fn a_host_that_is_gone_when_its_connect_is_answered() {
    for seed in seeds() {
        let mut world = Setup::new(seed).staged().nvme().build();
        let other = bystander(&mut world);
        let kept = pattern(4096, 5);
        world.nvme_write(1, other.io[0], 100, &kept);
        let mine = world.nvme_controller(0);
        world.io.hold(Kind::Write);
        let data = once(&world.nvme_filled(0, mine.io[0], &pattern(4096, 1)));
        world.nvme_send(0, mine.io[0], &io::write(1, 0, 8, data));
        world.run_until(|world| (world.io.waiting() > 0).then_some(()));
        for queue in mine.queues() {
            world.nvme[0].disconnect(queue).expect("q");
        }
        for queue in mine.queues() {
            world.nvme_over(0, queue);
        }
        let queue = world.nvme_queue(0, QueueOptions::new(0, 8));
        let command = world.nvme[0]
            .connect_command(queue, &connect(0))
            .expect("q");
        world.nvme_send(0, queue, &command);
        world.settle();
        world.nvme[0].disconnect(queue).expect("q");
        for _ in 0..world.random.below(20) {
            world.pump();
        }
        world.io.release();
        for _ in 0..world.random.below(40) {
            world.pump();
        }
        for &io in &other.io {
            assert!(world.nvme_read(1, io, 100, 8) == kept);
        }
        world.nvme_succeed(1, other.admin, &admin::keep_alive());
        world.settle();
        for &io in &other.io {
            assert!(world.nvme_read(1, io, 100, 8) == kept);
        }
        world.finish();
    }
}

/// Access by address: an I/O queue of somebody who is not admitted.
#[test]
fn no_queue_for_another_hosts_controller_from_elsewhere() {
    let mut setup = Setup::new(1);
    setup.groups =
        r#"[{ "name": "g", "initiators": ["10.0.0.2"], "luns": { "0": "disk0" } }]"#.to_owned();
    let mut world = setup.nvme().build();
    let mut admitted = None;
    for host in 0..2 {
        if let Ok(controller) = world.nvme_try_controller(host, controller(host)) {
            admitted = Some((host, controller));
        }
    }
    let (host, controller) = admitted.expect("one of them");
    let other = 1 - host;
    // The names of the one that is admitted, from the address of the other.
    let (queue, state) = world.nvme_connect(other, io_queue(host, &controller, 5));
    if state == QueueState::Up {
        let buffer = world.nvme_buffer(other, queue, 512);
        let reply = world.nvme_execute(other, queue, &io::read(1, 0, 1, once(&buffer)));
        panic!("it reads: {:?}", reply.code());
    }
}

const KEY: &str = "DHHC-1:00:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAl7OaH:";

fn keyed_setup(seed: u64) -> Setup {
    let mut setup = Setup::new(seed);
    setup.groups = format!(
        r#"[ {{ "name": "g", "initiators": ["*"], "luns": {{ "0": "disk0" }}, "dhchap": {{ "key": "{KEY}" }} }} ]"#
    );
    setup
}

/// One unproven controller lets 64 queues in that are nobody's.
#[test]
fn hosts_without_proof_open_no_queues() {
    let mut world = keyed_setup(1).nvme().build();
    world.nvme_queue(0, QueueOptions::new(0, 8).connecting(connect(0)));
    let mut open = 0;
    for number in 1..=64 {
        let (_, state) = world.nvme_connect(0, QueueOptions::new(number, 8));
        open += u32::from(state == QueueState::Established);
    }
    assert!(open <= 31, "{open} queues of strangers, of 32");
}

/// A re-authentication that is aborted while it is computed.
#[test]
fn an_authentication_that_is_aborted() {
    for seed in seeds() {
        let mut world = keyed_setup(seed).nvme().build();
        let with_key = |host| ControllerOptions {
            credentials: Some(Credentials {
                key: KEY.to_owned(),
                controller_key: None,
                offer: auth::Offer {
                    groups: vec![0],
                    ..auth::Offer::default()
                },
                seed: 7,
            }),
            ..controller(host)
        };
        let other = world.nvme_controller_with(1, with_key(1));
        let mine = world.nvme_controller_with(0, with_key(0));
        for _ in 0..4 {
            // AUTH_Send with nonsense in it: it is looked at, all the same.
            let send = Command::new(0x7f, 5)
                .dword(10, 0xe9 << 24 | 1 << 16 | 1 << 8)
                .dword(11, 64)
                .with(Data::InCapsule(vec![0; 64]));
            let cid = world.nvme_send(0, mine.admin, &send);
            for _ in 0..world.random.below(20) {
                world.pump();
            }
            world.nvme_send(0, mine.admin, &admin::abort(0, cid));
            for _ in 0..world.random.below(40) {
                world.pump();
            }
            world.nvme_read(1, other.io[0], 0, 8);
            world.nvme_succeed(1, other.admin, &admin::keep_alive());
            world.settle();
        }
        world.finish();
    }
}

/// After a reset, a write of the old queue 2 is in the store still, and queue 1 connects again.
#[test]
fn after_a_reset_queues_wait_for_each_other() {
    let mut world = Setup::new(3).staged().nvme().build();
    let mine = world.nvme_controller(0);
    world.io.hold(Kind::Write);
    let data = once(&world.nvme_filled(0, mine.io[1], &pattern(4096, 1)));
    world.nvme_send(0, mine.io[1], &io::write(1, 0, 8, data));
    world.run_until(|world| (world.io.waiting() > 0).then_some(()));
    world.nvme_succeed(0, mine.admin, &mine.reset());
    world.settle();
    let enable = admin::property_set(admin::property::CC, 0x0046_0001);
    world.nvme_execute(0, mine.admin, &enable);
    let to = ([10, 0, 0, 1], 4420).into();
    let again = world.nvme[0].connect(to, io_queue(0, &mine, 1)).expect("q");
    world.nvme_queues.push((0, again));
    world.settle();
    assert!(
        !world.nvme[0].is_up(again),
        "it is up while a write of the old queue 2 is on its way"
    );
}

/// A queue that took another's place, then a new controller.
#[test]
fn a_new_controller_waits_for_queues_that_were_replaced() {
    let mut world = Setup::new(3).staged().nvme().build();
    let mine = world.nvme_controller(0);
    world.io.hold(Kind::Write);
    let data = once(&world.nvme_filled(0, mine.io[0], &pattern(4096, 1)));
    world.nvme_send(0, mine.io[0], &io::write(1, 0, 8, data));
    world.run_until(|world| (world.io.waiting() > 0).then_some(()));
    world.nvme[0].disconnect(mine.io[0]).expect("q");
    world.nvme_over(0, mine.io[0]);
    let to = ([10, 0, 0, 1], 4420).into();
    let again = world.nvme[0].connect(to, io_queue(0, &mine, 1)).expect("q");
    world.nvme_queues.push((0, again));
    world.settle();
    assert!(!world.nvme[0].is_up(again));
    for queue in [again, mine.io[1], mine.admin] {
        world.nvme[0].disconnect(queue).expect("q");
        world.nvme_over(0, queue);
    }
    world.settle();
    let admin = world.nvme[0]
        .connect(to, QueueOptions::new(0, 8).connecting(connect(0)))
        .expect("q");
    world.nvme_queues.push((0, admin));
    world.settle();
    assert!(
        !world.nvme[0].is_up(admin),
        "the new controller is up while a write of the old one is on its way"
    );
}

/// Somebody without a key sends a message of its authentication and is gone.
#[test]
fn a_host_that_authenticates_and_is_gone() {
    for seed in seeds() {
        let mut world = keyed_setup(seed).nvme().build();
        let with_key = ControllerOptions {
            credentials: Some(Credentials {
                key: KEY.to_owned(),
                controller_key: None,
                offer: auth::Offer {
                    groups: vec![0],
                    ..auth::Offer::default()
                },
                seed: 7,
            }),
            ..controller(1)
        };
        let other = world.nvme_controller_with(1, with_key);
        for _ in 0..6 {
            let queue = world.nvme_queue(0, QueueOptions::new(0, 8).connecting(connect(0)));
            let send = Command::new(0x7f, 5)
                .dword(10, 0xe9 << 24 | 1 << 16 | 1 << 8)
                .dword(11, 64)
                .with(Data::InCapsule(vec![0; 64]));
            world.nvme_send(0, queue, &send);
            for _ in 0..world.random.below(12) {
                world.pump();
            }
            world.nvme[0].fail(queue).expect("q");
            for _ in 0..world.random.below(40) {
                world.pump();
            }
            world.nvme_read(1, other.io[0], 0, 8);
            world.nvme_succeed(1, other.admin, &admin::keep_alive());
            world.settle();
        }
        world.finish();
    }
}

/// Access by address: a host whose name is that address.
#[test]
fn a_name_that_is_an_address_is_none() {
    let mut setup = Setup::new(1);
    setup.groups =
        r#"[{ "name": "g", "initiators": ["10.0.0.2"], "luns": { "0": "disk0" } }]"#.to_owned();
    let mut world = setup.nvme().build();
    assert!(
        world.nvme_try_controller(1, controller(1)).is_err(),
        "host 1 is not admitted"
    );
    let mut wrong = connect(1);
    wrong.host = "10.0.0.2".to_owned();
    let options = ControllerOptions {
        queues: 1,
        ..ControllerOptions::new(wrong)
    };
    if let Ok(controller) = world.nvme_try_controller(1, options) {
        world.nvme_read(1, controller.io[0], 0, 1);
        panic!("it reads");
    }
}
