//! Connections that are lost, adapters that go, and the end of the daemon: everything is released, nobody else notices.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use pagecast_backends::testing::Kind;
use pagecast_initiator::{ChannelId, Command, Data, Format, scsi};
use pagecast_rdma::sim::{CmMessage, QueuePairState};
use pagecast_tests::world::{TARGET, host_name, read, write};
use pagecast_tests::{Setup, World, pattern, seeds};
use pagecastd::shard::messages::ControlMessage;

/// A random mix of READs and WRITEs, as many as there are credits for.
fn load(world: &mut World, host: usize, channel: ChannelId) {
    while world.initiators[host].can_send(channel) {
        let blocks = 1 + world.random.below(300) as u32;
        let lba = world.random.below(4096 - u64::from(blocks));
        let buffer = world.buffer(host, channel, blocks as usize * 512);
        // Sometimes more descriptors than the target's send queue takes at once.
        let size = if world.random.once_in(3) { 700 } else { 5000 };
        let pieces = buffer.pieces(size).expect("all of it");
        let format = if world.random.once_in(2) {
            Format::Indirect
        } else {
            Format::External(1)
        };
        let command = match world.random.below(3) {
            0 => Command::new(
                0,
                scsi::write16(lba, blocks, false),
                Data::Out(pieces, format),
            ),
            1 => Command::new(0, scsi::read16(lba, blocks), Data::In(pieces, format)),
            _ => read(&buffer, lba, blocks),
        };
        world.initiators[host]
            .send(channel, &command)
            .expect("a credit");
    }
}

/// The queue pair of the target that serves the only channel of this host.
fn queue_pair_of(world: &World, host: usize) -> u32 {
    let pairs = world.net.queue_pairs();
    let on_target = |peer: u32| pairs.iter().any(|p| p.number == peer && p.node == TARGET);
    let name = host_name(host);
    let mine = pairs.iter().find(|pair| {
        pair.node == name && pair.state == QueuePairState::Ready && pair.peer.is_some_and(on_target)
    });
    mine.and_then(|pair| pair.peer).expect("a queue pair")
}

/// How a channel of host 0 is lost.
#[derive(Clone, Copy, Debug)]
enum Loss {
    TargetQueuePair,
    InitiatorQueuePair,
    Disconnect,
    Logout,
    InitiatorAdapter,
    SendPost(u64),
    ReceivePost(u64),
}

fn lose(world: &mut World, channel: ChannelId, loss: Loss) {
    match loss {
        Loss::TargetQueuePair => {
            let number = queue_pair_of(world, 0);
            assert!(world.net.faults().break_queue_pair(number));
        }
        Loss::InitiatorQueuePair => world.initiators[0].fail(channel).expect("a channel"),
        Loss::Disconnect => world.initiators[0].disconnect(channel).expect("a channel"),
        Loss::Logout => {
            // There may be no credit for it.
            let _ = world.initiators[0].logout(channel);
            for _ in 0..world.random.below(30) {
                world.pump();
            }
            world.initiators[0].disconnect(channel).expect("a channel");
        }
        Loss::InitiatorAdapter => {
            assert!(world.net.faults().remove_adapter(&host_name(0)));
        }
        Loss::SendPost(nth) => {
            assert!(world.net.faults().fail_send_post(TARGET, nth));
        }
        Loss::ReceivePost(nth) => {
            assert!(world.net.faults().fail_receive_post(TARGET, nth));
        }
    }
}

fn lost_under_load(loss: impl Fn(&mut World) -> Loss, seeds: Vec<u64>) {
    for seed in seeds {
        for setup in [Setup::new(seed), Setup::new(seed).staged()] {
            let mut world = setup.build();
            let bystander = world.log_in(1);
            let kept = pattern(4096, seed);
            world.write(1, bystander, 8000, &kept);
            let channel = world.log_in(0);
            for _ in 0..3 {
                load(&mut world, 0, channel);
                for _ in 0..world.random.below(60) {
                    world.pump();
                }
            }
            let how = loss(&mut world);
            lose(&mut world, channel, how);
            if let Loss::SendPost(_) | Loss::ReceivePost(_) = how {
                // The one that fails is of host 0: nobody else has anything to post.
                world.run_until(|world| {
                    let up = world.initiators[0].is_up(channel);
                    if up {
                        load(world, 0, channel);
                    }
                    while world.initiators[0].next_reply(channel).is_some() {}
                    (!up).then_some(())
                });
            }
            world.over(0, channel);
            assert!(
                world.read(1, bystander, 8000, 8) == kept,
                "seed {seed}, {how:?}"
            );
            world.settle();
            let sessions = world.daemon.shared.sessions().len();
            assert_eq!(sessions, 1, "seed {seed}, {how:?}");
            assert_eq!(world.target_queue_pairs().len(), 1, "seed {seed}, {how:?}");
            if !matches!(how, Loss::InitiatorAdapter) {
                let again = world.log_in(0);
                world.read(0, again, 0, 8);
            }
            world.finish();
        }
    }
}

#[test]
fn queue_pairs_break() {
    lost_under_load(|_| Loss::TargetQueuePair, seeds(0..6));
    lost_under_load(|_| Loss::InitiatorQueuePair, seeds(10..16));
}

#[test]
fn initiators_leave() {
    lost_under_load(|_| Loss::Disconnect, seeds(0..5));
    lost_under_load(|_| Loss::Logout, seeds(10..15));
    lost_under_load(|_| Loss::InitiatorAdapter, seeds(20..25));
}

#[test]
fn posts_fail() {
    lost_under_load(
        |world| Loss::SendPost(1 + world.random.below(20)),
        seeds(0..8),
    );
    lost_under_load(
        |world| Loss::ReceivePost(1 + world.random.below(20)),
        seeds(10..18),
    );
}

/// The message that says goodbye never comes: the queue pair's errors say enough.
#[test]
fn a_lost_goodbye() {
    for seed in seeds(0..4) {
        let mut world = Setup::new(seed).build();
        let channel = world.log_in(0);
        load(&mut world, 0, channel);
        world.net.faults().lose(CmMessage::DisconnectRequest, 1);
        world.initiators[0].disconnect(channel).expect("a channel");
        world.settle();
        world.pass(Duration::from_secs(31));
        world.pass(Duration::from_secs(11));
        // A target that has nothing to send cannot know; the next login of the initiator ends the session.
        let again = world.log_in(0);
        world.read(0, again, 0, 8);
        world.settle();
        assert_eq!(world.daemon.shared.sessions().len(), 1, "seed {seed}");
        world.finish();
    }
}

/// A queue pair that does not flush, with commands in the backend meanwhile: what comes late finds nobody.
#[test]
fn a_queue_pair_that_does_not_flush() {
    for seed in seeds(0..8) {
        let mut world = Setup::new(seed).staged().build();
        let bystander = world.log_in(1);
        let channel = world.log_in(0);
        world.io.hold(Kind::Read);
        let buffer = world.buffer(0, channel, 4096);
        for _ in 0..3 {
            world.send(0, channel, &read(&buffer, 0, 8));
        }
        world.run_until(|world| (world.io.waiting() == 3).then_some(()));
        let number = queue_pair_of(&world, 0);
        let held = world.random.once_in(2);
        for _ in 0..2 {
            world.send(0, channel, &write(&buffer, 64));
        }
        for _ in 0..world.random.below(20) {
            world.pump();
        }
        assert!(world.net.faults().pause(number));
        world.initiators[0].fail(channel).expect("a channel");
        assert!(world.net.faults().break_queue_pair(number));
        world.settle();
        world.pass(Duration::from_secs(11));
        if held {
            world.io.release();
            world.settle();
            world.net.faults().resume(number);
        } else {
            world.net.faults().resume(number);
            world.settle();
            world.io.release();
        }
        world.settle();
        world.read(1, bystander, 0, 8);
        world.settle();
        assert_eq!(world.daemon.shared.sessions().len(), 1, "seed {seed}");
        let again = world.log_in(0);
        world.read(0, again, 0, 8);
        world.finish();
    }
}

/// It holds what others wait for: memory, windows, task management.
#[test]
fn a_peer_that_acknowledges_nothing() {
    for seed in seeds(0..4) {
        let mut world = Setup::new(seed).build();
        let bystander = world.log_in(1);
        let channel = world.log_in(0);
        let number = queue_pair_of(&world, 0);
        assert!(world.net.faults().pause(number));
        let buffer = world.buffer(0, channel, 4096);
        world.send(0, channel, &read(&buffer, 0, 8));
        world.settle();
        // Looked at for the first time, not yet for too long, and for too long.
        world.pass(Duration::from_secs(1));
        world.pass(Duration::from_secs(29));
        assert_eq!(world.daemon.shared.sessions().len(), 2, "seed {seed}");
        world.pass(Duration::from_secs(2));
        world.settle();
        // And if it does not even flush, it goes without.
        world.pass(Duration::from_secs(11));
        world.settle();
        assert_eq!(world.daemon.shared.sessions().len(), 1, "seed {seed}");
        world.read(1, bystander, 0, 8);
        world.net.faults().resume(number);
        world.settle();
        let again = world.log_in(0);
        world.read(0, again, 0, 8);
        world.finish();
    }
}

#[test]
fn the_targets_adapter_goes() {
    for seed in seeds(0..6) {
        let mut world = Setup::new(seed).build();
        let channels = [world.log_in(0), world.log_in(1)];
        for (host, &channel) in channels.iter().enumerate() {
            load(&mut world, host, channel);
        }
        for _ in 0..world.random.below(60) {
            world.pump();
        }
        assert!(world.net.faults().remove_adapter(TARGET));
        world.settle();
        world.pass(Duration::from_secs(11));
        for (host, &channel) in channels.iter().enumerate() {
            world.over(host, channel);
        }
        world.assert_nothing_held();
    }
}

#[test]
fn shutting_down_drains() {
    for seed in seeds(0..8) {
        let mut world = Setup::new(seed).staged().build();
        let busy = world.log_in(0);
        let idle = world.log_in(1);
        world.io.hold(Kind::Write);
        let bytes = pattern(4096, seed);
        let buffer = world.buffer(0, busy, 4096);
        buffer.write(0, &bytes).expect("within the buffer");
        let tag = world.send(0, busy, &write(&buffer, 16));
        world.run_until(|world| (world.io.waiting() == 1).then_some(()));
        world.daemon.control_address.send(ControlMessage::Shutdown);
        world.settle();
        assert!(world.daemon.shared.stopping.load(Relaxed));
        assert!(!world.daemon.control.is_stopped(), "seed {seed}");
        // Nobody comes in any more.
        let options = world.options(1);
        let (_, state) = world.connect(1, options);
        assert_ne!(state, pagecast_initiator::ChannelState::Up, "seed {seed}");
        // Idle connections go, busy ones wait for what is in flight.
        world.pass(Duration::from_millis(300));
        world.over(1, idle);
        assert!(world.initiators[0].is_up(busy), "seed {seed}");
        world.io.release();
        assert!(world.reply(0, busy, tag).is_good(), "seed {seed}");
        for _ in 0..4 {
            world.pass(Duration::from_millis(300));
        }
        world.over(0, busy);
        world.assert_nothing_held();
        assert!(world.daemon.control.is_stopped(), "seed {seed}");
        assert!(world.daemon.shards.iter().all(|shard| shard.is_stopped()));
    }
}

#[test]
fn shutting_down_does_not_wait_for_ever() {
    for seed in seeds(0..4) {
        let mut world = Setup::new(seed).staged().build();
        let channel = world.log_in(0);
        world.io.hold(Kind::Read);
        let buffer = world.buffer(0, channel, 4096);
        world.send(0, channel, &read(&buffer, 0, 8));
        world.run_until(|world| (world.io.waiting() == 1).then_some(()));
        world.daemon.control_address.send(ControlMessage::Shutdown);
        world.settle();
        world.pass(Duration::from_secs(11));
        world.over(0, channel);
        world.io.release();
        world.settle();
        world.pass(Duration::from_millis(300));
        assert!(world.daemon.control.is_stopped(), "seed {seed}");
        world.assert_nothing_held();
    }
}
