//! Sessions that nothing admits any more.

use pagecast_initiator::ChannelState;
use pagecast_tests::changes::{STORE, add_group, add_initiator, remove_group, remove_initiator};
use pagecast_tests::luns::name;
use pagecast_tests::reservations::{Cluster, Outcome, Transport};
use pagecast_tests::{Host, Setup, seeds};
use pagecastd::config::edit::Edit;
use pagecastd::events::EventKind;
use std::time::Duration;

use super::load::Load;

/// Who is thrown out.
const VICTIM: Host = 0;
/// The others, one of each transport.
const OTHERS: [Host; 3] = [1, 2, 3];

/// How it comes about, and what undoes it.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Its pattern goes.
    Pattern,
    /// Its group goes.
    Group,
    /// It is excluded.
    Excluded,
    /// Another one, which is for nobody, takes the place of its group in one change.
    Replaced,
}

impl Way {
    const ALL: [Self; 4] = [Self::Pattern, Self::Group, Self::Excluded, Self::Replaced];

    fn edits(self, name: &str) -> (Vec<Edit>, Vec<Edit>) {
        let group = add_group(&group(name));
        let nobody = add_group(&super::close::group("nobody"));
        let excluding = format!("!{name}");
        match self {
            Self::Pattern => (
                vec![remove_initiator("victims", name)],
                vec![add_initiator("victims", name)],
            ),
            Self::Group => (vec![remove_group("victims")], vec![group]),
            Self::Excluded => (
                vec![add_initiator("victims", &excluding)],
                vec![remove_initiator("victims", &excluding)],
            ),
            Self::Replaced => (
                vec![remove_group("victims"), nobody],
                vec![remove_group("victims"), group],
            ),
        }
    }
}

fn group(name: &str) -> String {
    format!(
        r#"{{ "name": "victims", "initiators": ["{name}"], "luns": {{ "0": "disk0", "1": "disk1" }} }}"#
    )
}

fn cluster(seed: u64, victim: Transport) -> Cluster {
    let mut setup = Setup::new(seed);
    setup.devices.push(
        r#"{ "name": "disk1", "backend": "memory", "size": "1MiB", "zero_copy": "off" }"#.into(),
    );
    let others = OTHERS.map(|host| format!("{:?}", name(Transport::ALL[host - 1], host)));
    setup.groups = format!(
        r#"[{}, {{ "name": "others", "initiators": [{}], "luns": {{ "0": "disk0" }} }}]"#,
        group(&name(victim, VICTIM)),
        others.join(",")
    );
    setup.shards = 1 + (seed % 3) as u32;
    let [srp, iser, nvme] = Transport::ALL;
    Cluster::new(setup, &[victim, srp, iser, nvme])
}

fn thrown_out(seed: u64, victim: Transport, way: Way) {
    let what = format!("seed {seed}, {victim:?}, {way:?}");
    let mut cluster = cluster(seed, victim);
    let events = cluster.world.daemon.shared.events.subscribe();
    let mut load = Load::new(seed, &OTHERS);
    load.progress(&mut cluster, 5);
    // Some of its commands are in the store, and others anywhere.
    let store = cluster.world.device("disk1").expect("a device");
    cluster.world.io.hold_store(&store.backend);
    let stuck = seed.is_multiple_of(2);
    let mut flights = Vec::new();
    if stuck {
        flights = cluster.launch_at(VICTIM, 1, 3);
        load.run_until(&mut cluster, "they are in the store", |_, cluster| {
            cluster.world.io.waiting() >= 3
        });
    }
    flights.extend(cluster.launch_at(VICTIM, 0, 3));
    let rounds = cluster.world.random.below(60);
    load.run(&mut cluster, rounds);

    let (out, back) = way.edits(&cluster.name(VICTIM));
    let changing = cluster.world.begin_change(out);
    cluster.is_thrown_out(VICTIM);
    // The others notice nothing, whatever is stuck.
    load.progress(&mut cluster, 10);
    assert!(cluster.is_refused(VICTIM), "{what}");
    assert!(
        !(stuck && changing.is_over()),
        "{what}: it was not waited for"
    );
    drop(store);
    cluster.world.io.release();
    load.run_until(&mut cluster, "the change ends", |_, _| changing.is_over());
    let report = cluster.world.end(changing).expect("a good change");
    let [change] = &report.sessions[..] else {
        panic!("{what}: {report:?}");
    };
    let groups = (&*change.group_before, change.group.as_deref());
    assert_eq!(groups, ("victims", None), "{what}");
    assert_eq!(change.luns_removed, [0, 1], "{what}");
    assert!(change.luns_added.is_empty() && report.warnings.is_empty());
    let told = std::iter::from_fn(|| events.next(Duration::ZERO)).any(|event| {
        matches!(event.kind, EventKind::Reassigned { session, group: None, .. } if session == change.id)
    });
    assert!(told, "{what}");
    load.run_until(&mut cluster, "the session ends", |_, cluster| {
        cluster.world.daemon.shared.sessions().len() == 3
    });
    assert!(cluster.is_refused(VICTIM), "{what}");
    // Nor do later changes mention it.
    let report = cluster.world.must_change(back);
    assert!(report.sessions.is_empty(), "{what}: {report:?}");
    cluster.log_in(VICTIM);
    assert_eq!(cluster.read(VICTIM, 0).0, Outcome::Good, "{what}");
    load.progress(&mut cluster, 5);
    load.stop(&mut cluster);
    assert_eq!(load.told, [0; 4], "{what}");
    for host in OTHERS {
        assert!(cluster.is_up(host), "{what}: host {host}");
    }
    cluster.finish();
}

#[test]
fn whom_nothing_admits_is_thrown_out() {
    for (number, victim) in Transport::ALL.into_iter().enumerate() {
        for (index, way) in Way::ALL.into_iter().enumerate() {
            for seed in seeds(0..2) {
                thrown_out(seed + 4 * (number + index) as u64, victim, way);
            }
        }
    }
}

#[test]
fn a_session_is_closed_by_its_number() {
    for seed in seeds(0..3) {
        for victim in Transport::ALL {
            let mut cluster = cluster(seed, victim);
            let mut load = Load::new(seed, &OTHERS);
            load.progress(&mut cluster, 3);
            let number = |cluster: &Cluster| {
                let sessions = cluster.world.daemon.shared.sessions();
                let mut own = sessions
                    .values()
                    .filter(|session| &*session.group() == "victims");
                own.next().map(|session| session.id.0)
            };
            let id = number(&cluster).expect("a session");
            assert!(!cluster.world.close_session(id + 100));
            cluster.launch_at(VICTIM, 0, 3);
            assert!(cluster.world.close_session(id), "{victim:?}");
            cluster.is_thrown_out(VICTIM);
            // It may come back at once.
            cluster.log_in(VICTIM);
            cluster.world.settle();
            assert!(
                number(&cluster).is_some_and(|again| again != id),
                "{victim:?}"
            );
            assert!(!cluster.world.close_session(id), "{victim:?}");
            assert_eq!(cluster.read(VICTIM, 0).0, Outcome::Good);
            load.progress(&mut cluster, 3);
            load.stop(&mut cluster);
            assert_eq!(load.told, [0; 4]);
            cluster.finish();
        }
    }
}

/// Changes and logins at the same time: nobody is in at the end whom nothing admits.
#[test]
fn who_comes_while_the_door_closes() {
    for seed in seeds(0..12) {
        for victim in Transport::ALL {
            let mut cluster = cluster(seed, victim);
            cluster.leave(VICTIM);
            let name = cluster.name(VICTIM);
            let options = cluster.world.options(VICTIM);
            let to = |port: u16| ([10, 0, 0, 1], port).into();
            let world = &mut cluster.world;
            let mut srp = None;
            match victim {
                Transport::Srp => {
                    srp = Some(
                        world.initiators[VICTIM]
                            .connect(to(5555), options)
                            .expect("one"),
                    );
                }
                Transport::Iser => {
                    let login = pagecast_tests::iser::login(VICTIM);
                    let options = pagecast_initiator::iser::Options::new(login);
                    let handle = world.iser[VICTIM].connect(to(3260), options).expect("one");
                    world.iser_connections.push((VICTIM, handle));
                }
                Transport::Nvme => {
                    let connect = pagecast_tests::nvme::connect(VICTIM);
                    let options =
                        pagecast_initiator::nvme::QueueOptions::new(0, 32).connecting(connect);
                    let queue = world.nvme[VICTIM].connect(to(4420), options).expect("one");
                    world.nvme_queues.push((VICTIM, queue));
                }
            }
            for _ in 0..world.random.below(60) {
                world.pump();
            }
            world.must_change(vec![remove_initiator("victims", &name)]);
            world.settle();
            let sessions = world.daemon.shared.sessions().len();
            assert_eq!(sessions, 3, "seed {seed}: {victim:?}");
            if let Some(channel) = srp {
                let state = world.initiators[VICTIM].state(channel).clone();
                assert!(
                    !matches!(state, ChannelState::Up | ChannelState::Connecting),
                    "seed {seed}: {state:?}"
                );
            }
            cluster.finish();
        }
    }
}

/// A target goes with its sessions; another one that has its portals stays.
#[test]
fn a_target_goes_with_its_sessions() {
    for seed in seeds(0..3) {
        let mut cluster = cluster(seed, Transport::Srp);
        let mut load = Load::new(seed, &OTHERS);
        load.progress(&mut cluster, 3);
        load.stop(&mut cluster);
        let report = cluster.world.must_change(vec![Edit::RemoveTarget {
            name: STORE.to_owned(),
        }]);
        assert_eq!(report.sessions.len(), 4, "seed {seed}: {report:?}");
        for host in cluster.hosts() {
            cluster.is_thrown_out(host);
        }
        cluster.world.settle();
        assert!(cluster.world.daemon.shared.sessions().is_empty());
        cluster.finish();
    }
}
