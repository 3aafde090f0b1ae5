//! The request limit: never exceeded, always returned.

use pagecast_backends::testing::Kind;
use pagecast_initiator::codec::encode_credit_response;
use pagecast_initiator::{Event, Task, scsi};
use pagecast_tests::world::{read, write};
use pagecast_tests::{Setup, World, seeds};

const LIMIT: i64 = 8;

/// What the initiator holds and what is in service never add up to more than login gave.
fn assert_within(world: &World, channel: pagecast_initiator::ChannelId) {
    let initiator = &world.initiators[0];
    let sum = initiator.request_limit(channel) + initiator.outstanding(channel) as i64;
    assert!(sum <= LIMIT, "seed {}: {sum} credits", world.seed);
}

#[test]
fn never_more_than_login_gave() {
    for seed in seeds(0..8) {
        let mut world = Setup::new(seed).build();
        let channel = world.log_in(0);
        let buffer = world.buffer(0, channel, 4096);
        let mut sent = 0;
        world.run_until(|world| {
            assert_within(world, channel);
            while world.initiators[0].next_reply(channel).is_some() {}
            if sent < 200 && world.initiators[0].can_send(channel) {
                let lba = world.random.below(100);
                let mut command = match world.random.below(3) {
                    0 => write(&buffer, lba),
                    _ => read(&buffer, lba, 8),
                };
                if world.random.once_in(4) {
                    // Refused, in one way or another.
                    command.cdb[0] = 0xff;
                }
                world.initiators[0]
                    .send(channel, &command)
                    .expect("a credit");
                sent += 1;
            }
            (sent == 200 && world.initiators[0].outstanding(channel) == 0).then_some(())
        });
        world.settle();
        assert_eq!(
            world.initiators[0].request_limit(channel),
            LIMIT,
            "seed {seed}"
        );
        world.finish();
    }
}

/// Sends READs that get stuck in the backend, as many as there are credits for.
fn stuck_reads(world: &mut World, host: usize, channel: pagecast_initiator::ChannelId) -> Vec<u64> {
    world.io.hold(Kind::Read);
    let mut tags = Vec::new();
    while world.initiators[host].can_send(channel) {
        let buffer = world.buffer(host, channel, 4096);
        tags.push(world.send(host, channel, &read(&buffer, 0, 8)));
    }
    let waiting = tags.len();
    world.run_until(|world| (world.io.waiting() >= waiting).then_some(()));
    tags
}

/// Commands that somebody else resets away get no response, so their credits come back in SRP_CRED_REQs. All of them, though only one
/// such request may be unanswered.
#[test]
fn credits_of_reset_commands_come_back() {
    for seed in seeds(0..8) {
        for lazy in [false, true] {
            let mut world = Setup::new(seed).staged().build();
            let channel = world.log_in(0);
            let other = world.log_in(1);
            world.initiators[0].set_answer_requests(channel, !lazy);
            let tags = stuck_reads(&mut world, 0, channel);
            assert_eq!(tags.len() as i64, LIMIT - 1);
            let reset = Task {
                lun: scsi::lun(0),
                function: 8,
                tag: 0,
            };
            let tag = world.initiators[1].task(other, reset).expect("a credit");
            world.settle();
            assert!(
                world.initiators[1].take_reply(other, tag).is_none(),
                "seed {seed}"
            );
            world.io.release();
            assert_eq!(world.reply(1, other, tag).response.code, Some(0));
            world.settle();
            for tag in tags {
                assert!(world.initiators[0].take_reply(channel, tag).is_none());
                world.initiators[0].abandon(channel, tag);
            }
            world.initiators[0].set_answer_requests(channel, true);
            world.settle();
            assert_eq!(
                world.initiators[0].request_limit(channel),
                LIMIT,
                "seed {seed}, {lazy}"
            );
            let events = world.initiators[0].take_events(channel);
            assert!(
                events
                    .iter()
                    .all(|event| matches!(event, Event::CreditRequest(_))),
                "{events:?}"
            );
            world.finish();
        }
    }
}

/// One task management request for each of many commands.
#[test]
fn an_abort_storm() {
    for seed in seeds(0..8) {
        let mut world = Setup::new(seed)
            .staged()
            .setting("\"queue_depth\": 16")
            .build();
        let channel = world.log_in(0);
        world.io.hold(Kind::Read);
        let mut tags = Vec::new();
        for _ in 0..8 {
            let buffer = world.buffer(0, channel, 4096);
            tags.push(world.send(0, channel, &read(&buffer, 0, 8)));
        }
        world.run_until(|world| (world.io.waiting() == 8).then_some(()));
        let mut aborts = Vec::new();
        for &tag in tags.iter().take(7) {
            let task = Task {
                lun: scsi::lun(0),
                function: 1,
                tag,
            };
            aborts.push(world.initiators[0].task(channel, task).expect("a credit"));
        }
        world.settle();
        world.io.release();
        for tag in aborts {
            let reply = world.reply(0, channel, tag);
            assert_eq!(reply.response.code, Some(0), "seed {seed}");
        }
        // The one that nobody aborted.
        assert!(world.reply(0, channel, tags[7]).is_good());
        world.settle();
        for tag in tags {
            world.initiators[0].abandon(channel, tag);
        }
        assert_eq!(
            world.initiators[0].request_limit(channel),
            16,
            "seed {seed}"
        );
        world.finish();
    }
}

#[test]
fn answers_to_nothing_end_the_channel() {
    let mut world = Setup::new(1).build();
    let channel = world.log_in(0);
    let bystander = world.log_in(1);
    world.initiators[0]
        .send_raw(channel, &encode_credit_response(77), 0)
        .expect("sent");
    world.over(0, channel);
    world.read(1, bystander, 0, 1);
    world.finish();
}
