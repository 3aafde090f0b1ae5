//! Connections that have not logged in, or only to discover.

use std::time::Duration;

use pagecast_initiator::iser::{Options, State};
use pagecast_tests::Setup;
use pagecast_tests::iser::{discovery, login};

/// Strangers of one address do not take the room of others, and have no more than a minute, whether they ask for targets or for nothing.
#[test]
fn strangers_are_few_and_soon_gone() {
    let mut setup = Setup::new(5).iser();
    setup.hosts = 2;
    let mut world = setup.build();
    for count in 0..32 {
        let options = if count % 2 == 0 {
            Options::raw()
        } else {
            Options::new(discovery(0))
        };
        let (_, state) = world.iser_connect(0, options);
        assert_eq!(state, State::Up, "{count}");
    }
    let (_, state) = world.iser_connect(0, Options::new(login(0)));
    assert!(matches!(state, State::Rejected { .. }), "{state:?}");
    world.iser_session(1);
    for _ in 0..62 {
        world.pass(Duration::from_secs(1));
    }
    world.iser_session(0);
    world.settle();
    assert_eq!(world.target_queue_pairs().len(), 2);
    world.finish();
}

#[test]
fn strangers_have_a_limited_time() {
    let mut world = Setup::new(1).iser().build();
    let (connection, state) = world.iser_connect(0, Options::raw());
    assert_eq!(state, State::Up);
    for _ in 0..30 {
        world.pass(Duration::from_secs(1));
    }
    assert!(!world.iser[0].is_up(connection));
    world.settle();
    assert!(world.target_queue_pairs().is_empty());
    world.finish();
}
