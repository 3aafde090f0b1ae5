//! Discovery sessions.

use std::time::Duration;

use pagecast_initiator::iscsi::{Incoming, text};
use pagecast_initiator::iser::{Command, Data, Event, Options};
use pagecast_initiator::scsi;
use pagecast_tests::iser::{TARGET, discovery};
use pagecast_tests::{Setup, seeds};

use super::{CHAP, ran_dry, refused};

#[test]
fn discovery_with_one_receive() {
    for seed in seeds(0..4) {
        // Far more addresses than fit into one response.
        let mut world = Setup::new(seed).iser_portals(90).build();
        let connection = world.iser_log_in(0, Options::new(discovery(0)));
        for which in ["All", TARGET] {
            let question = text::encode(&[("SendTargets", which)]);
            let itt = world.iser[0]
                .request(connection, |client| client.text(question))
                .expect("sent");
            let answer = world.iser_reply(0, connection, itt).text().expect("text");
            assert_eq!(answer[0], ("TargetName".to_owned(), TARGET.to_owned()));
            assert_eq!(answer.len(), 91, "seed {seed}: {answer:?}");
            let first = ("TargetAddress".to_owned(), "10.0.0.1:3260,1".to_owned());
            assert!(answer.contains(&first), "seed {seed}: {answer:?}");
        }
        // Nothing came that was not asked for.
        assert_eq!(ran_dry(&world), 0, "seed {seed}");
        let logout = world.iser[0]
            .request(connection, |client| client.logout(0, 0))
            .expect("sent");
        assert_eq!(world.iser_reply(0, connection, logout).code(), Some(0));
        world.iser_over(0, connection);
        assert_eq!(ran_dry(&world), 0, "seed {seed}");
        world.finish();
    }
}

#[test]
fn an_idle_discovery_session_ends_without_a_word() {
    let mut world = Setup::new(2)
        .iser()
        .setting("\"nop_interval\": \"5s\", \"nop_timeout\": \"4s\"")
        .build();
    let connection = world.iser_log_in(0, Options::new(discovery(0)));
    for _ in 0..8 {
        world.pass(Duration::from_secs(1));
    }
    assert!(world.iser[0].is_up(connection));
    for _ in 0..3 {
        world.pass(Duration::from_secs(1));
    }
    world.iser_over(0, connection);
    assert_eq!(ran_dry(&world), 0);
    world.finish();
}

#[test]
fn discovery_asks_for_its_own_secret() {
    let mut setup = Setup::new(3)
        .iser()
        .setting(r#""discovery_chap": { "user": "finder", "secret": "abcdefghijkl" }"#);
    setup.groups = CHAP.to_owned();
    let mut world = setup.build();
    assert_eq!(refused(&mut world, discovery(0)), (2, 1));
    let right = discovery(0).with_chap("finder", "abcdefghijkl", "5");
    let connection = world.iser_log_in(0, Options::new(right));
    // Whatever a discovery session sends, it has no logical units.
    let command = Command::new(0, scsi::test_unit_ready(), Data::None);
    let itt = world.iser_send(0, connection, &command);
    let outcome = world.run_until(|world| {
        let events = world.iser[0].take_events(connection);
        let rejected = events
            .iter()
            .any(|event| matches!(event, Event::Incoming(Incoming::Reject { .. })));
        let answered = world.iser[0].take_reply(connection, itt).is_some();
        (rejected || answered || !world.iser[0].is_up(connection)).then_some(answered)
    });
    assert!(!outcome);
    world.finish();
}
