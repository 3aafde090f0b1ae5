//! Task management.

use pagecast_backends::testing::Kind;
use pagecast_initiator::iscsi::pdu::NO_TAG;
use pagecast_initiator::iser::ConnectionHandle;
use pagecast_initiator::scsi;
use pagecast_tests::iser::read;
use pagecast_tests::{Setup, World, seeds};

use super::ran_dry;

const ABORT_TASK: u8 = 1;
const CLEAR_ACA: u8 = 3;
const LUN_RESET: u8 = 5;
const TARGET_WARM_RESET: u8 = 6;
const TASK_REASSIGN: u8 = 8;

fn manage(world: &mut World, connection: ConnectionHandle, function: u8, tag: u32) -> u8 {
    let itt = world.iser[0]
        .request(connection, |client| {
            client.task(scsi::lun(0), function, tag)
        })
        .expect("sent");
    let reply = world.iser_reply(0, connection, itt);
    reply.code().expect("a response code")
}

#[test]
fn functions_and_their_answers() {
    let mut world = Setup::new(1).iser().build();
    let connection = world.iser_session(0);
    assert_eq!(manage(&mut world, connection, ABORT_TASK, 0x77), 1);
    assert_eq!(manage(&mut world, connection, CLEAR_ACA, NO_TAG), 5);
    assert_eq!(manage(&mut world, connection, TASK_REASSIGN, 0x77), 4);
    assert_eq!(manage(&mut world, connection, 99, NO_TAG), 5);
    let nobody = world.iser[0]
        .request(connection, |client| {
            client.task(scsi::lun(5), LUN_RESET, NO_TAG)
        })
        .expect("sent");
    assert_eq!(world.iser_reply(0, connection, nobody).code(), Some(2));
    for function in [LUN_RESET, TARGET_WARM_RESET] {
        assert_eq!(manage(&mut world, connection, function, NO_TAG), 0);
        let buffer = world.iser_buffer(0, connection, 512);
        let reply = world.iser_execute(0, connection, &read(&buffer, 0, 1));
        assert_eq!(reply.sense().map(|sense| sense.0), Some(6), "{function}");
        world.iser_read(0, connection, 0, 1);
    }
    world.finish();
}

/// A function is about what came before it. Commands right behind it are answered, though they may arrive at the same moment.
#[test]
fn commands_behind_a_reset_are_not_its_victims() {
    for seed in seeds(0..12) {
        let mut world = Setup::new(seed).staged().iser().build();
        let connection = world.iser_session(0);
        let buffer = world.iser_buffer(0, connection, 4096);
        let reset = world.iser[0]
            .request(connection, |client| {
                client.task(scsi::lun(0), LUN_RESET, NO_TAG)
            })
            .expect("sent");
        let behind: Vec<_> = (0..4)
            .map(|_| world.iser_send(0, connection, &read(&buffer, 0, 8)))
            .collect();
        assert_eq!(world.iser_reply(0, connection, reset).code(), Some(0));
        for itt in behind {
            world.iser_reply(0, connection, itt);
        }
        world.finish();
    }
}

#[test]
fn an_aborted_command_gets_no_response_and_its_place_comes_back() {
    for seed in seeds(0..6) {
        let mut world = Setup::new(seed)
            .staged()
            .iser()
            .setting("\"queue_depth\": 2")
            .build();
        let connection = world.iser_session(0);
        for _ in 0..6 {
            world.io.hold(Kind::Read);
            let buffer = world.iser_buffer(0, connection, 4096);
            let victim = world.iser_send(0, connection, &read(&buffer, 0, 8));
            world.run_until(|world| (world.io.waiting() > 0).then_some(()));
            let abort = world.iser[0]
                .request(connection, |client| {
                    client.task(scsi::lun(0), ABORT_TASK, victim)
                })
                .expect("sent");
            world.settle();
            assert!(world.iser[0].take_reply(connection, abort).is_none());
            world.io.release();
            assert_eq!(world.iser_reply(0, connection, abort).code(), Some(0));
            world.settle();
            assert!(world.iser[0].take_reply(connection, victim).is_none());
            world.iser[0].abandon(connection, victim);
        }
        world.iser_read(0, connection, 0, 8);
        assert_eq!(ran_dry(&world), 0, "seed {seed}");
        world.finish();
    }
}
