//! Task management, while commands are stuck in a backend.

use pagecast_backends::testing::Kind;
use pagecast_initiator::{ChannelId, Command, Data, Task, scsi};
use pagecast_tests::world::{read, write};
use pagecast_tests::{Host, Setup, World, pattern, seeds};

const ABORT_TASK: u8 = 1;
const ABORT_TASK_SET: u8 = 2;
const CLEAR_TASK_SET: u8 = 4;
const LUN_RESET: u8 = 8;
const CLEAR_ACA: u8 = 0x40;

fn task(function: u8, tag: u64) -> Task {
    Task {
        lun: scsi::lun(0),
        function,
        tag,
    }
}

/// A READ that is stuck in the backend.
fn stuck(world: &mut World, host: Host, channel: ChannelId) -> u64 {
    let before = world.io.waiting();
    world.io.hold(Kind::Read);
    let buffer = world.buffer(host, channel, 4096);
    let tag = world.send(host, channel, &read(&buffer, 0, 8));
    world.run_until(|world| (world.io.waiting() > before).then_some(()));
    tag
}

/// The command was aborted: no response ever.
fn assert_silent(world: &mut World, host: Host, channel: ChannelId, tag: u64) {
    world.settle();
    let reply = world.initiators[host].take_reply(channel, tag);
    assert!(
        reply.is_none(),
        "seed {}: a response to an aborted command",
        world.seed
    );
    world.initiators[host].abandon(channel, tag);
}

#[test]
fn abort_task_waits_for_what_is_in_flight() {
    for seed in seeds(0..8) {
        let mut world = Setup::new(seed).staged().build();
        let channel = world.log_in(0);
        let victim = stuck(&mut world, 0, channel);
        let other = stuck(&mut world, 0, channel);
        let abort = world.initiators[0]
            .task(channel, task(ABORT_TASK, victim))
            .expect("a credit");
        world.settle();
        // The backend may still fill the command's buffer: it is not over.
        assert!(
            world.initiators[0].take_reply(channel, abort).is_none(),
            "seed {seed}"
        );
        world.io.release();
        let reply = world.reply(0, channel, abort);
        assert_eq!(reply.response.code, Some(0), "seed {seed}");
        assert!(world.reply(0, channel, other).is_good(), "seed {seed}");
        assert_silent(&mut world, 0, channel, victim);
        // An abort is no reset: nobody is told of anything.
        world.read(0, channel, 0, 8);
        assert_eq!(world.initiators[0].request_limit(channel), 8);
        world.finish();
    }
}

#[test]
fn what_is_not_there_is_aborted_already() {
    let mut world = Setup::new(1).build();
    let channel = world.log_in(0);
    assert_eq!(world.manage(0, channel, task(ABORT_TASK, 0xdead)), 0);
    assert_eq!(world.manage(0, channel, task(ABORT_TASK_SET, 0)), 0);
    world.read(0, channel, 0, 1);
    world.finish();
}

#[test]
fn what_is_not_supported_says_so() {
    let mut world = Setup::new(1).build();
    let channel = world.log_in(0);
    assert_eq!(world.manage(0, channel, task(CLEAR_ACA, 0)), 4);
    assert_eq!(world.manage(0, channel, task(0x77, 0)), 4);
    let nowhere = Task {
        lun: scsi::lun(9),
        ..task(LUN_RESET, 0)
    };
    assert_eq!(world.manage(0, channel, nowhere), 5);
    world.read(0, channel, 0, 1);
    world.finish();
}

fn test_unit_ready(world: &mut World, host: Host, channel: ChannelId) -> Option<(u8, u8, u8)> {
    let command = Command::new(0, scsi::test_unit_ready(), Data::None);
    world.execute(host, channel, &command).sense()
}

#[test]
fn lun_reset_reaches_every_channel_and_session() {
    for seed in seeds(0..8) {
        let mut world = Setup::new(seed).staged().build();
        let first = world.log_in(0);
        let options = world.options(0).multichannel();
        let second = world.log_in_with(0, options);
        let other = world.log_in(1);
        let victims = [(0, first), (0, second), (1, other)];
        let tags = victims.map(|(host, channel)| stuck(&mut world, host, channel));
        let reset = world.initiators[0]
            .task(second, task(LUN_RESET, 0))
            .expect("a credit");
        world.settle();
        assert!(
            world.initiators[0].take_reply(second, reset).is_none(),
            "seed {seed}"
        );
        world.io.release();
        assert_eq!(world.reply(0, second, reset).response.code, Some(0));
        for ((host, channel), tag) in victims.into_iter().zip(tags) {
            assert_silent(&mut world, host, channel, tag);
        }
        // BUS DEVICE RESET FUNCTION OCCURRED, once for each session.
        assert_eq!(
            test_unit_ready(&mut world, 0, first),
            Some((6, 0x29, 3)),
            "seed {seed}"
        );
        assert_eq!(test_unit_ready(&mut world, 0, second), None);
        assert_eq!(test_unit_ready(&mut world, 1, other), Some((6, 0x29, 3)));
        assert_eq!(test_unit_ready(&mut world, 1, other), None);
        for (host, channel) in victims {
            world.read(host, channel, 0, 8);
            assert_eq!(
                world.initiators[host].request_limit(channel),
                8,
                "seed {seed}"
            );
        }
        world.finish();
    }
}

#[test]
fn abort_task_set_is_for_ones_own() {
    for seed in seeds(0..8) {
        let mut world = Setup::new(seed).staged().build();
        let first = world.log_in(0);
        let options = world.options(0).multichannel();
        let second = world.log_in_with(0, options);
        let other = world.log_in(1);
        let mine = [stuck(&mut world, 0, first), stuck(&mut world, 0, second)];
        let theirs = stuck(&mut world, 1, other);
        let abort = world.initiators[0]
            .task(first, task(ABORT_TASK_SET, 0))
            .expect("a credit");
        world.settle();
        world.io.release();
        assert_eq!(world.reply(0, first, abort).response.code, Some(0));
        assert!(world.reply(1, other, theirs).is_good(), "seed {seed}");
        assert_silent(&mut world, 0, first, mine[0]);
        assert_silent(&mut world, 0, second, mine[1]);
        world.finish();
    }
}

/// Each initiator has a task set of its own (TST 001b).
#[test]
fn clear_task_set_is_for_the_own_one() {
    for seed in seeds(0..8) {
        let mut world = Setup::new(seed).staged().build();
        let one = world.log_in(0);
        let other = world.log_in(1);
        let tags = [stuck(&mut world, 0, one), stuck(&mut world, 1, other)];
        let clear = world.initiators[0]
            .task(one, task(CLEAR_TASK_SET, 0))
            .expect("a credit");
        world.settle();
        world.io.release();
        assert_eq!(world.reply(0, one, clear).response.code, Some(0));
        assert_silent(&mut world, 0, one, tags[0]);
        assert!(world.reply(1, other, tags[1]).is_good(), "seed {seed}");
        world.finish();
    }
}

/// Two functions wait for the same command.
#[test]
fn functions_that_meet() {
    for seed in seeds(0..8) {
        let mut world = Setup::new(seed).staged().build();
        let one = world.log_in(0);
        let other = world.log_in(1);
        let victim = stuck(&mut world, 0, one);
        let abort = world.initiators[0]
            .task(one, task(ABORT_TASK, victim))
            .expect("a credit");
        let reset = world.initiators[1]
            .task(other, task(LUN_RESET, 0))
            .expect("a credit");
        let again = world.initiators[0]
            .task(one, task(ABORT_TASK, victim))
            .expect("a credit");
        world.settle();
        world.io.release();
        assert_eq!(world.reply(0, one, abort).response.code, Some(0));
        assert_eq!(world.reply(1, other, reset).response.code, Some(0));
        assert_eq!(world.reply(0, one, again).response.code, Some(0));
        assert_silent(&mut world, 0, one, victim);
        world.finish();
    }
}

/// Whoever waits for staging memory, and whoever's data is still being fetched, can be aborted too; and what is aborted
/// before its data was fetched does not write.
#[test]
fn commands_that_wait_are_aborted_at_once() {
    for seed in seeds(0..8) {
        let mut setup = Setup::new(seed)
            .staged()
            .setting("\"staging_memory\": \"4MiB\"");
        setup.shards = 1;
        let mut world = setup.build();
        let channel = world.log_in(0);
        let before = pattern(1 << 20, seed);
        world.write(0, channel, 0, &before);
        // All of the staging memory is held by WRITEs that the backend does not get on with.
        world.io.hold(Kind::Write);
        let mut held = Vec::new();
        for turn in 1..=3 {
            let buffer = world.buffer(0, channel, 1 << 20);
            held.push(world.send(0, channel, &write(&buffer, turn * 2048)));
        }
        world.run_until(|world| (world.io.waiting() == 3).then_some(()));
        let mut waiting = Vec::new();
        for _ in 0..3 {
            let buffer = world.buffer(0, channel, 1 << 20);
            buffer.fill(0xff).expect("a buffer");
            waiting.push(world.send(0, channel, &write(&buffer, 0)));
        }
        for _ in 0..world.random.below(40) {
            world.pump();
        }
        let code = world.manage(0, channel, task(ABORT_TASK, waiting[2]));
        assert_eq!(code, 0, "seed {seed}");
        assert_silent(&mut world, 0, channel, waiting[2]);
        world.io.release();
        for tag in held.into_iter().chain(waiting.into_iter().take(2)) {
            assert!(world.reply(0, channel, tag).is_good(), "seed {seed}");
        }
        world.finish();
    }
}

/// An aborted command's channel goes while the function waits for it.
#[test]
fn the_channel_goes_while_a_function_waits() {
    for seed in seeds(0..8) {
        let mut world = Setup::new(seed).staged().build();
        let one = world.log_in(0);
        let other = world.log_in(1);
        let victim = stuck(&mut world, 0, one);
        world.initiators[0]
            .task(one, task(ABORT_TASK, victim))
            .expect("a credit");
        let reset = world.initiators[1]
            .task(other, task(LUN_RESET, 0))
            .expect("a credit");
        for _ in 0..world.random.below(30) {
            world.pump();
        }
        world.initiators[0].fail(one).expect("a channel");
        world.settle();
        world.io.release();
        assert_eq!(
            world.reply(1, other, reset).response.code,
            Some(0),
            "seed {seed}"
        );
        world.finish();
    }
}
