//! Portals that change while they are used, and what comes at the same moment as a change.

use std::net::SocketAddr;

use crossbeam_channel::bounded;
use pagecast_initiator::ChannelState;
use pagecast_initiator::iser::{Options, State};
use pagecast_tests::changes::{STORE, remove_device, value};
use pagecast_tests::iser::login;
use pagecastd::config::Portal;
use pagecastd::config::edit::Edit;
use pagecastd::control::ChangeError;
use pagecastd::daemon::configure::Step;
use pagecastd::shard::messages::ControlMessage;
use serde_json::Value;

use super::*;

const PORT: u16 = 6000;

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}

fn portal(address: &str) -> Value {
    value(&format!(
        r#"{{ "transport": "srp", "address": "{address}", "port": {PORT} }}"#
    ))
}

fn add(address: &str) -> Edit {
    Edit::AddPortal {
        target: STORE.to_owned(),
        portal: portal(address),
    }
}

fn remove(address: &str) -> Edit {
    Edit::RemovePortal {
        target: STORE.to_owned(),
        portal: portal(address),
    }
}

/// Whether somebody can log in over IPv4.
fn is_heard(world: &mut World, salt: u8) -> bool {
    let mut options = world.options(1);
    options.request.initiator_port = [salt; 16];
    let (channel, state) = world.connect_to(1, at(PORT), options);
    let up = state == ChannelState::Up;
    if up {
        world.initiators[1]
            .disconnect(channel)
            .expect("a disconnect");
        world.over(1, channel);
    }
    up
}

/// `[::]` stands for IPv4 as well, unless another portal does; whatever it was before, and whatever the order.
#[test]
fn wildcards() {
    for seed in seeds(0..4) {
        let mut world = Setup::new(seed).portal("srp", "::", PORT).build();
        assert!(is_heard(&mut world, 1), "seed {seed}");
        // In its place, in one change.
        for (number, (from, to)) in [
            ("::", "10.0.0.1"),
            ("10.0.0.1", "0.0.0.0"),
            ("0.0.0.0", "::"),
        ]
        .into_iter()
        .enumerate()
        {
            world.must_change(vec![add(to), remove(from)]);
            assert!(is_heard(&mut world, 2 + number as u8), "seed {seed}: {to}");
        }
        // Beside it, and not any more.
        world.must_change(vec![add("10.0.0.1")]);
        assert!(is_heard(&mut world, 6), "seed {seed}");
        world.must_change(vec![remove("10.0.0.1")]);
        assert!(
            is_heard(&mut world, 7),
            "seed {seed}: it is all that is left"
        );
        // A change that fails halfway leaves all as it was.
        let absent = add("10.9.9.9");
        let failed = world.change(vec![remove("::"), add("10.0.0.1"), absent.clone()]);
        assert!(failed.is_err(), "seed {seed}: {failed:?}");
        assert!(is_heard(&mut world, 8), "seed {seed}");
        assert!(world.change(vec![add("10.0.0.1"), absent]).is_err());
        assert!(is_heard(&mut world, 9), "seed {seed}");
        world.must_change(vec![remove("::")]);
        assert!(!is_heard(&mut world, 10), "seed {seed}");
        world.finish();
    }
}

/// A portal listens a moment before its target is in force. Whoever comes then is not told that there is none: he would believe it.
#[test]
fn who_comes_early() {
    let mut world = Setup::new(1).iser().build();
    let portals = |world: &World| world.daemon.shared.inventory().config.portals();
    let iser = portals(&world).into_iter().find(|portal| {
        let text = portal.to_string();
        text.contains("3260")
    });
    let iser: Portal = iser.expect("a portal");
    let mut without = portals(&world);
    without.retain(|portal| *portal != iser);
    let take_away = Edit::RemovePortal {
        target: STORE.to_owned(),
        portal: value(r#"{ "transport": "iser", "address": "0.0.0.0", "port": 3260 }"#),
    };
    world.must_change(vec![take_away]);
    let (answer, answered) = bounded(1);
    let mut with = without;
    with.push(iser);
    let step = Step::Listen {
        portals: with,
        answer,
    };
    (world.daemon.control_address).send(ControlMessage::Step(Box::new(step)));
    world.daemon.control.turn();
    assert_eq!(answered.recv(), Ok(Ok(())));
    let (_, state) = world.iser_connect(0, Options::new(login(0)));
    assert!(matches!(state, State::Rejected(_)), "{state:?}");
    world.finish();
}

/// An operator has ended a session, and then comes one more channel for it: that is a new session.
#[test]
fn a_channel_for_a_session_that_has_been_ended() {
    for seed in seeds(0..4) {
        let mut world = Setup::new(seed).build();
        let first = world.log_in(0);
        let before = Management::sessions(&*world.daemon.shared)[0].id;
        let options = world.options(0).multichannel();
        let late = world.initiators[0]
            .connect(at(5555), options)
            .expect("a connection");
        // Its request is there, and nobody has looked at it.
        for _ in 0..1000 {
            world.net.step();
            world.initiators[0].turn().expect("no violation");
        }
        let (answer, answered) = bounded(1);
        let step = Step::Close {
            session: before,
            answer,
        };
        (world.daemon.control_address).send(ControlMessage::Step(Box::new(step)));
        world.daemon.control.turn();
        assert!(answered.recv().expect("an answer").is_some());
        let state = world.run_until(|world| {
            let state = world.initiators[0].state(late);
            (*state != ChannelState::Connecting).then(|| state.clone())
        });
        assert_eq!(state, ChannelState::Up, "seed {seed}");
        world.over(0, first);
        world.settle();
        let sessions = Management::sessions(&*world.daemon.shared);
        assert_eq!(sessions.len(), 1, "seed {seed}");
        assert_ne!(sessions[0].id, before, "seed {seed}");
        world.read(0, late, 0, 8);
        world.initiators[0].disconnect(late).expect("a disconnect");
        world.finish();
    }
}

/// The daemon ends between the file and the change: whoever asked for it knows that it is kept.
#[test]
fn a_change_that_is_kept_and_not_made() {
    let mut setup = two_disks(1);
    setup.devices[1] = r#"{ "name": "disk1", "backend": "memory", "size": "1MiB" }"#.to_owned();
    let world = setup.kept().build();
    let file = world.configuration_file();
    let shared = Arc::clone(&world.daemon.shared);
    let asked =
        std::thread::spawn(move || shared.change(&[remove_device("disk1", true)]).map(drop));
    while fs::read_to_string(&file).expect("a file").contains("disk1") {
        std::thread::yield_now();
    }
    drop(world);
    let error = asked
        .join()
        .expect("no panic")
        .expect_err("nobody is there");
    assert!(
        matches!(&error, ChangeError::StoppingKept { file: kept } if *kept == file),
        "{error}"
    );
}
