//! Sessions: their place, pings and echoes, and how they end.

use std::time::Duration;

use pagecast_backends::testing::Kind;
use pagecast_initiator::iscsi::Incoming;
use pagecast_initiator::iser::{Event, Options, State};
use pagecast_tests::iser::{discovery, login, write};
use pagecast_tests::{Setup, pattern, seeds};
use pagecastd::shard::messages::ControlMessage;

use super::{ran_dry, sessions};

#[test]
fn logout() {
    for seed in seeds(0..6) {
        let mut world = Setup::new(seed).iser().build();
        let connection = world.iser_session(0);
        world.iser_read(0, connection, 0, 8);
        let itt = world.iser[0]
            .request(connection, |client| client.logout(0, 0))
            .expect("sent");
        assert_eq!(world.iser_reply(0, connection, itt).code(), Some(0));
        // We do not hang up; the target does.
        let state = world.iser_over(0, connection);
        assert!(matches!(state, State::Closed(_)), "seed {seed}: {state:?}");
        world.settle();
        assert_eq!((sessions(&world), ran_dry(&world)), (0, 0), "seed {seed}");
        world.finish();
    }
}

#[test]
fn a_session_takes_its_own_place() {
    for seed in seeds(0..6) {
        let mut world = Setup::new(seed).iser().build();
        let old = world.iser_session(0);
        let other = world.iser_log_in(0, Options::new(login(0).with_isid(2)));
        let bystander = world.iser_session(1);
        // Stuck: the new session must not start before it is gone.
        world.io.hold(Kind::Write);
        let buffer = world.iser_filled(0, old, &pattern(4096, 1));
        world.iser_send(0, old, &write(&buffer, 0, 4096));
        world.run_until(|world| (world.io.waiting() > 0).then_some(()));
        let to = ([10, 0, 0, 1], 3260).into();
        let new = world.iser[0]
            .connect(to, Options::new(login(0)))
            .expect("a connection");
        world.settle();
        assert!(!world.iser[0].is_up(new), "seed {seed}");
        world.io.release();
        world.run_until(|world| world.iser[0].is_up(new).then_some(()));
        world.iser_connections.push((0, new));
        world.iser_over(0, old);
        assert!(world.iser_read(0, new, 0, 8) == pattern(4096, 1));
        assert!(world.iser[0].is_up(other) && world.iser[1].is_up(bystander));
        world.iser_read(0, other, 0, 8);
        assert_eq!(sessions(&world), 3, "seed {seed}");
        world.finish();
    }
}

#[test]
fn pings() {
    for answers in [true, false] {
        for seed in seeds(0..3) {
            let mut world = Setup::new(seed)
                .iser()
                .setting("\"nop_interval\": \"5s\", \"nop_timeout\": \"4s\"")
                .build();
            let mut options = Options::new(login(0));
            options.answer_pings = answers;
            let connection = world.iser_log_in(0, options);
            for _ in 0..20 {
                world.pass(Duration::from_secs(1));
            }
            assert_eq!(world.iser[0].is_up(connection), answers, "seed {seed}");
            let pings = world.iser[0].take_events(connection);
            let are_pings = pings
                .iter()
                .all(|event| matches!(event, Event::Incoming(Incoming::Ping(_))));
            assert!(are_pings && !pings.is_empty(), "seed {seed}: {pings:?}");
            if answers {
                world.iser_read(0, connection, 0, 8);
            }
            world.finish();
        }
    }
}

#[test]
fn echoes() {
    let mut world = Setup::new(1).iser().build();
    let connection = world.iser_session(0);
    for (length, immediate) in [(0, true), (7, true), (128, false), (4000, true)] {
        let data = pattern(length, 3);
        let sent = data.clone();
        let itt = world.iser[0]
            .request(connection, |client| client.nop(immediate, sent))
            .expect("sent");
        match world.iser_reply(0, connection, itt).incoming {
            // No more than the initiator has room for.
            Incoming::Pong { data: back, .. } => assert_eq!(back, data[..length.min(128)]),
            other => panic!("{other:?}"),
        }
    }
    world.iser_read(0, connection, 0, 8);
    world.finish();
}

#[test]
fn initiators_are_told_of_the_end() {
    for seed in seeds(0..4) {
        let mut world = Setup::new(seed).iser().build();
        let connection = world.iser_session(0);
        let finder = world.iser_log_in(1, Options::new(discovery(1)));
        world.iser_read(0, connection, 0, 8);
        world.daemon.control_address.send(ControlMessage::Shutdown);
        for _ in 0..4 {
            world.pass(Duration::from_secs(1));
        }
        world.iser_over(0, connection);
        world.iser_over(1, finder);
        let told = world.iser[0].take_events(connection);
        // DROP OF ALL CONNECTIONS OF THE SESSION (RFC 7143 section 11.9.1)
        let ended = told
            .iter()
            .any(|event| matches!(event, Event::Incoming(Incoming::Async { event: 3, .. })));
        assert!(ended, "seed {seed}: {told:?}");
        // Who has no buffer for it is not told.
        assert_eq!(ran_dry(&world), 0, "seed {seed}");
    }
}
