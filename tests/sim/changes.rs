//! Targets, portals and the configuration file: what changes while the daemon runs, and what a change that fails leaves.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

use pagecast_initiator::iser::{Options, State};
use pagecast_initiator::{ChannelState, LoginOptions, iscsi};
use pagecast_tests::changes::{
    STORE, add_device, add_group, map, move_to, remove_initiator, value,
};
use pagecast_tests::luns::name;
use pagecast_tests::reservations::{Cluster, Outcome, Transport};
use pagecast_tests::{Setup, World, seeds};
use pagecastd::config::edit::Edit;
use pagecastd::config::{Config, Document};
use pagecastd::control::{ChangeError, Management};

const IQN: &str = "iqn.2026-11.io.pagecast:other";

fn other_target() -> Edit {
    Edit::AddTarget(value(&format!(
        r#"{{ "name": "other", "iqn": "{IQN}",
             "portals": [ {{ "transport": "srp", "address": "0.0.0.0", "port": 5555 }},
                          {{ "transport": "srp", "address": "0.0.0.0", "port": 6000 }},
                          {{ "transport": "iser", "address": "0.0.0.0", "port": 3260 }} ],
             "groups": [ {{ "name": "all", "initiators": ["*"], "luns": {{ "0": "disk0" }} }} ] }}"#
    )))
}

fn to(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}

/// Logs in over SRP at a port, or says why not.
fn srp(
    world: &mut World,
    port: u16,
    options: LoginOptions,
) -> (pagecast_initiator::ChannelId, ChannelState) {
    let channel = world.initiators[0]
        .connect(to(port), options)
        .expect("a connection");
    let state = world.run_until(|world| {
        let state = world.initiators[0].state(channel);
        (*state != ChannelState::Connecting).then(|| state.clone())
    });
    (channel, state)
}

fn target_port(world: &World, target: &str) -> [u8; 16] {
    let inventory = world.daemon.shared.inventory();
    inventory.target(target).expect("a target").port_id().0
}

#[test]
fn a_target_comes_and_goes() {
    for seed in seeds(0..4) {
        let mut world = Setup::new(seed).iser().nvme().build();
        let there = world.log_in(1);
        let refused = Options::new(iscsi::LoginOptions::iser(
            &pagecast_tests::iser::initiator_name(0),
            IQN,
        ));
        let (_, state) = world.iser_connect(0, refused.clone());
        // Target not found.
        assert_eq!(
            state,
            State::Refused {
                class: 2,
                detail: 3
            },
            "seed {seed}"
        );
        world.must_change(vec![other_target()]);
        let mut options = world.options(0);
        options.request.target_port = target_port(&world, "other");
        // At the portal that it shares, and at its own.
        let (one, state) = srp(&mut world, 5555, options.clone());
        assert_eq!(state, ChannelState::Up, "seed {seed}");
        options.request.initiator_port = [0x77; 16];
        let (two, state) = srp(&mut world, 6000, options.clone());
        assert_eq!(state, ChannelState::Up, "seed {seed}");
        let iser = world.iser_log_in(0, refused.clone());
        // The other one is not at that portal.
        let options = world.options(0);
        let (_, state) = srp(&mut world, 6000, options);
        assert!(
            matches!(state, ChannelState::Refused { .. }),
            "seed {seed}: {state:?}"
        );
        for channel in [one, two] {
            world.read(0, channel, 0, 8);
        }
        world.iser_read(0, iser, 0, 8);
        // A portal of its own goes, and who came in there stays.
        let portal = value(r#"{ "transport": "srp", "address": "0.0.0.0", "port": 6000 }"#);
        let report = world.must_change(vec![Edit::RemovePortal {
            target: "other".to_owned(),
            portal: portal.clone(),
        }]);
        assert!(report.sessions.is_empty(), "seed {seed}: {report:?}");
        world.read(0, two, 0, 8);
        let mut options = world.options(0);
        options.request.target_port = target_port(&world, "other");
        options.request.initiator_port = [0x78; 16];
        let (_, state) = srp(&mut world, 6000, options.clone());
        assert!(
            !matches!(state, ChannelState::Up),
            "seed {seed}: nobody listens there"
        );
        world.must_change(vec![Edit::AddPortal {
            target: "other".to_owned(),
            portal,
        }]);
        let (three, state) = srp(&mut world, 6000, options);
        assert_eq!(state, ChannelState::Up, "seed {seed}");
        // It goes with all who are logged in to it, and nobody else.
        let report = world.must_change(vec![Edit::RemoveTarget {
            name: "other".to_owned(),
        }]);
        assert_eq!(report.sessions.len(), 4, "seed {seed}: {report:?}");
        for channel in [one, two, three] {
            world.over(0, channel);
        }
        world.iser_over(0, iser);
        world.read(1, there, 0, 8);
        let (_, state) = world.iser_connect(0, refused);
        assert_eq!(
            state,
            State::Refused {
                class: 2,
                detail: 3
            },
            "seed {seed}"
        );
        let own = world.iser_session(0);
        world.iser_read(0, own, 0, 8);
        world.finish();
    }
}

#[test]
fn a_portal_that_cannot_listen_changes_nothing() {
    for seed in seeds(0..4) {
        let mut world = Setup::new(seed).kept().build();
        let before = (
            world.configuration(),
            fs::read(world.configuration_file()).expect("a file"),
        );
        let channel = world.log_in(0);
        let add = |address: &str, port| Edit::AddPortal {
            target: STORE.to_owned(),
            portal: value(&format!(
                r#"{{ "transport": "srp", "address": "{address}", "port": {port} }}"#
            )),
        };
        // The second one has an address that is nobody's here.
        let json = r#"{ "name": "ram", "backend": "memory", "size": "1MiB" }"#;
        let edits = vec![
            add_device(json),
            add("10.0.0.1", 6001),
            add("192.0.2.1", 6002),
            map("everyone", 4, "ram", false),
        ];
        let refused = world.change(edits);
        assert!(
            matches!(refused, Err(ChangeError::Failed(_))),
            "seed {seed}: {refused:?}"
        );
        let after = (
            world.configuration(),
            fs::read(world.configuration_file()).expect("a file"),
        );
        assert!(after == before, "seed {seed}");
        let options = world.options(1);
        let (_, state) = srp(&mut world, 6001, options.clone());
        assert!(
            !matches!(state, ChannelState::Up),
            "seed {seed}: it listens"
        );
        for number in 1..8 {
            assert!(
                world.daemon.shared.table.get(number).is_none(),
                "seed {seed}: it leaks"
            );
        }
        world.read(0, channel, 0, 8);
        // One that can.
        world.must_change(vec![add("10.0.0.1", 6001)]);
        let (other, state) = srp(&mut world, 6001, options);
        assert_eq!(state, ChannelState::Up, "seed {seed}");
        world.read(0, other, 0, 8);
        world.initiators[0].disconnect(other).expect("a channel");
        world.finish();
    }
}

fn kept(seed: u64) -> Cluster {
    let mut setup = Setup::new(seed).kept();
    setup
        .devices
        .push(r#"{ "name": "disk1", "backend": "memory", "size": "1MiB" }"#.into());
    let names = [0, 1, 2].map(|host| format!("{:?}", name(Transport::ALL[host], host)));
    setup.groups = format!(
        r#"[{{ "name": "one", "initiators": [{}], "luns": {{ "0": "disk0", "1": "disk1" }} }},
            {{ "name": "two", "initiators": [], "luns": {{ "0": "disk0" }} }}]"#,
        names.join(", ")
    );
    Cluster::new(setup, &Transport::ALL)
}

/// What is in the file is what is in force.
fn assert_kept(world: &World) {
    let (_, config) = Document::from_file(&world.configuration_file()).expect("a good file");
    assert_eq!(
        config,
        world.daemon.shared.inventory().config,
        "seed {}",
        world.seed
    );
}

#[test]
fn a_change_is_in_the_file_before_it_is_answered() {
    for seed in seeds(0..3) {
        let mut cluster = kept(seed);
        let file = cluster.world.configuration_file();
        let mode = fs::metadata(&file).expect("a file").permissions().mode();
        let edits = [
            move_to(&cluster.name(1), "two"),
            add_group(r#"{ "name": "three", "initiators": ["x*"], "luns": {} }"#),
            map("three", 1000, "disk1", true),
        ];
        for edit in edits {
            let report = cluster.world.must_change(vec![edit]);
            assert_eq!(report.file.as_deref(), file.to_str());
            assert_kept(&cluster.world);
        }
        assert_eq!(
            fs::metadata(&file).expect("a file").permissions().mode(),
            mode
        );
        assert_eq!(cluster.luns(1), [0]);
        // It comes back so.
        let before = cluster.world.configuration();
        let again = Config::from_file(&file).expect("a good file").to_json();
        assert!(again == before, "seed {seed}");
        cluster.finish();
    }
}

#[test]
fn a_file_that_was_edited_is_read_again() {
    for seed in seeds(0..4) {
        let mut cluster = kept(seed);
        let file = cluster.world.configuration_file();
        let text = fs::read_to_string(&file).expect("a file");
        // Host 1 moves, host 2 is in no group any more, LUN 1 is another number, and there is a setting.
        let (one, two) = (
            format!("{:?}", cluster.name(1)),
            format!("{:?}", cluster.name(2)),
        );
        let edited = text
            .replace(&format!(", {one}, {two}"), "")
            .replace(r#""initiators": []"#, &format!(r#""initiators": [{one}]"#))
            .replace(r#""1": "disk1""#, r#""5": "disk1""#)
            .replace(r#""queue_depth": 8"#, r#""queue_depth": 16"#);
        fs::write(&file, &edited).expect("a file");
        let before = cluster.world.configuration();
        let report = cluster
            .world
            .reload(false)
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(report.restart_needed, ["queue_depth"], "seed {seed}");
        assert_eq!(report.sessions.len(), 3, "seed {seed}: {report:?}");
        assert!(cluster.world.configuration() != before);
        assert!(
            fs::read_to_string(&file).expect("a file") == edited,
            "seed {seed}"
        );
        assert_kept(&cluster.world);
        cluster.is_thrown_out(2);
        assert!(cluster.is_refused(2), "seed {seed}");
        assert_eq!(cluster.luns(0), [0, 5], "seed {seed}");
        assert_eq!(cluster.luns(1), [0], "seed {seed}");
        // Nothing has changed: nothing happens.
        let report = cluster
            .world
            .reload(false)
            .unwrap_or_else(|error| panic!("{error}"));
        assert!(report.sessions.is_empty(), "seed {seed}: {report:?}");
        // A device that is mapped goes only by force.
        let without = r#", { "name": "disk1", "backend": "memory", "size": "1MiB" }"#;
        let without = match edited.contains(without) {
            true => without,
            false => r#",{ "name": "disk1", "backend": "memory", "size": "1MiB" }"#,
        };
        let gone = edited.replace(without, "").replace(r#", "5": "disk1""#, "");
        assert!(gone.len() < edited.len() - without.len(), "{edited}");
        fs::write(&file, &gone).expect("a file");
        let before = cluster.world.configuration();
        assert!(cluster.world.reload(false).is_err(), "seed {seed}");
        assert!(cluster.world.configuration() == before, "seed {seed}");
        assert_eq!(cluster.luns(0), [0, 5], "seed {seed}");
        let report = cluster
            .world
            .reload(true)
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(report.sessions.len(), 1, "seed {seed}: {report:?}");
        assert_eq!(cluster.luns(0), [0], "seed {seed}");
        assert!(cluster.world.device("disk1").is_none());
        // What is no configuration changes nothing.
        for text in ["", "{", &gone.replace("\"store\"", "7")] {
            fs::write(&file, text).expect("a file");
            assert!(cluster.world.reload(true).is_err(), "seed {seed}: {text}");
            assert_eq!(cluster.luns(0), [0], "seed {seed}");
        }
        cluster.finish();
    }
}

#[test]
fn a_change_that_cannot_be_kept_is_not_made() {
    for seed in seeds(0..4) {
        let mut cluster = kept(seed);
        let file = cluster.world.configuration_file();
        let before = (
            cluster.world.configuration(),
            fs::read(&file).expect("a file"),
        );
        // Its directory is gone from under it: who is root may write to any that is there.
        let aside = cluster.world.directory().with_extension("aside");
        fs::rename(cluster.world.directory(), &aside).expect("another name");
        let edits = vec![
            add_device(r#"{ "name": "ram", "backend": "memory", "size": "1MiB" }"#),
            map("one", 9, "ram", false),
            remove_initiator("one", &cluster.name(0)),
            Edit::AddPortal {
                target: STORE.to_owned(),
                portal: value(r#"{ "transport": "srp", "address": "0.0.0.0", "port": 6003 }"#),
            },
        ];
        let refused = cluster.world.change(edits.clone());
        fs::rename(&aside, cluster.world.directory()).expect("its name");
        assert!(
            matches!(refused, Err(ChangeError::Save { .. })),
            "seed {seed}: {refused:?}"
        );
        let after = (
            cluster.world.configuration(),
            fs::read(&file).expect("a file"),
        );
        assert!(after == before, "seed {seed}");
        for host in cluster.hosts() {
            assert_eq!(cluster.luns(host), [0, 1], "seed {seed}: host {host}");
        }
        assert_eq!(cluster.hears(0, 0), [Outcome::Good], "seed {seed}");
        for number in 2..8 {
            assert!(
                cluster.world.daemon.shared.table.get(number).is_none(),
                "seed {seed}: it leaks"
            );
        }
        cluster.world.settle();
        let options = cluster.world.options(0);
        let (_, state) = srp(&mut cluster.world, 6003, options);
        assert!(
            !matches!(state, ChannelState::Up),
            "seed {seed}: it listens"
        );
        // The next one can be.
        let report = cluster.world.must_change(edits);
        assert_eq!(report.sessions.len(), 3, "seed {seed}: {report:?}");
        assert_kept(&cluster.world);
        cluster.is_thrown_out(0);
        for host in [1, 2] {
            assert_eq!(cluster.luns(host), [0, 1, 9], "seed {seed}: host {host}");
        }
        cluster.finish();
    }
}

/// A transaction is one change: what is undone in it nobody sees, and one that fails at its end has not begun.
#[test]
fn a_transaction_is_one_change() {
    for seed in seeds(0..3) {
        let mut cluster = kept(seed);
        let names = [0, 1, 2].map(|host| cluster.name(host));
        let there_and_back: Vec<Edit> = (names.iter().map(|name| move_to(name, "two")))
            .chain(names.iter().map(|name| move_to(name, "one")))
            .collect();
        let report = cluster.world.must_change(there_and_back);
        assert!(report.sessions.is_empty(), "seed {seed}: {report:?}");
        assert_eq!(cluster.hears(0, 0), [Outcome::Good]);
        let before = cluster.world.configuration();
        let mut edits: Vec<Edit> = names.iter().map(|name| move_to(name, "two")).collect();
        edits.push(move_to(&names[0], "three"));
        let error = cluster
            .world
            .change(edits)
            .expect_err("no such group")
            .to_string();
        assert!(error.contains("changes[3]"), "{error}");
        assert!(cluster.world.configuration() == before, "seed {seed}");
        assert_eq!(cluster.luns(0), [0, 1]);
        let saved = cluster.world.directory().join("copy.json");
        let shared = std::sync::Arc::clone(&cluster.world.daemon.shared);
        shared.save_config(&saved, false).expect("a copy");
        assert!(
            shared.save_config(&saved, false).is_err(),
            "it is there already"
        );
        let (_, copy) = Document::from_file(&saved).expect("a good file");
        assert_eq!(copy, shared.inventory().config);
        cluster.finish();
    }
}

#[test]
fn nothing_changes_when_the_daemon_is_stopping() {
    let mut cluster = kept(1);
    cluster
        .world
        .daemon
        .control_address
        .send(pagecastd::shard::messages::ControlMessage::Shutdown);
    cluster.world.settle();
    let edit = remove_initiator("one", &cluster.name(0));
    let refused = cluster.world.change(vec![edit]);
    assert!(matches!(refused, Err(ChangeError::Stopping)), "{refused:?}");
}
