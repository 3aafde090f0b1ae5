//! What watchers are told of hosts that come, go and are refused, of reservations, and of adapters.

use std::time::Duration;

use pagecast_initiator::ChannelState;
use pagecast_initiator::iscsi::LoginOptions;
use pagecast_initiator::iser::{Options, State};
use pagecast_initiator::nvme::QueueOptions;
use pagecast_tests::iser::{initiator_name, login};
use pagecast_tests::nvme::{SUBSYSTEM, connect, controller, host_nqn};
use pagecast_tests::reservations::{Cluster, Kind, Outcome};
use pagecast_tests::{Setup, World};
use pagecastd::control::Management;
use pagecastd::events::{EventKind, Subscription};

/// What was told since the last time.
fn heard(watcher: &Subscription) -> Vec<EventKind> {
    std::iter::from_fn(|| watcher.next(Duration::ZERO))
        .map(|event| event.kind)
        .collect()
}

fn watch(world: &World) -> Subscription {
    world.daemon.shared.events.subscribe()
}

#[test]
fn who_comes_and_who_goes() {
    let mut cluster = Cluster::of_three(1);
    for host in cluster.hosts() {
        cluster.leave(host);
    }
    let watcher = watch(&cluster.world);
    for (host, transport) in ["srp", "iser", "nvme-rdma"].into_iter().enumerate() {
        cluster.log_in(host);
        let told = heard(&watcher);
        let [
            EventKind::Login {
                session,
                initiator,
                target,
                group,
                transport: over,
                peer,
            },
        ] = &told[..]
        else {
            panic!("{transport}: {told:?}");
        };
        let name = match host {
            0 => "0xa0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0".to_owned(),
            1 => initiator_name(1),
            _ => host_nqn(2),
        };
        assert_eq!(*initiator, name);
        let rest = (target.as_str(), group.as_str(), over.as_str());
        assert_eq!(rest, ("store", "everyone", transport));
        assert!(peer.starts_with("10.0.0."), "{peer}");
        let (session, peer) = (*session, peer.clone());
        cluster.leave(host);
        let over = EventKind::Logout {
            session,
            initiator: name,
            target: "store".to_owned(),
            transport: transport.to_owned(),
            peer,
        };
        assert_eq!(heard(&watcher), [over]);
    }
    cluster.finish();
}

/// Another channel of a session is no other login.
#[test]
fn channels_are_not_logins() {
    let mut world = Setup::new(1).build();
    let watcher = watch(&world);
    let first = world.options(0);
    let mut second = first.clone();
    second.request.multichannel = true;
    world.log_in_with(0, first);
    world.log_in_with(0, second);
    let sessions = world.daemon.shared.sessions().len();
    assert_eq!(sessions, 1);
    assert_eq!(heard(&watcher).len(), 1);
    world.finish();
}

/// The one refusal that was told: initiator, target, transport, peer, why.
fn refusal(watcher: &Subscription) -> (Option<String>, Option<String>, String, String, String) {
    let told = heard(watcher);
    match &told[..] {
        [
            EventKind::Refused {
                initiator,
                target,
                transport,
                peer,
                why,
            },
        ] => (
            initiator.clone(),
            target.clone(),
            transport.clone(),
            peer.clone(),
            why.clone(),
        ),
        _ => panic!("{told:?}"),
    }
}

#[test]
fn who_is_refused_and_how_to_admit_it() {
    let mut setup = Setup::new(1).iser().nvme();
    setup.groups =
        r#"[{ "name": "none", "initiators": ["nobody"], "luns": { "0": "disk0" } }]"#.to_owned();
    let mut world = setup.build();
    let watcher = watch(&world);
    let check =
        |told: (Option<String>, Option<String>, String, String, String), name: &str, over: &str| {
            let (initiator, target, transport, peer, why) = told;
            assert_eq!(initiator.as_deref(), Some(name));
            assert_eq!(target.as_deref(), Some("store"));
            assert_eq!(transport, over);
            assert!(peer.starts_with("10.0.0."), "{peer}");
            assert!(why.starts_with("no access group "), "{why}");
            assert!(why.contains("pagecast initiator add "), "{why}");
        };

    let options = world.options(0);
    let (_, state) = world.connect(0, options);
    assert!(matches!(state, ChannelState::Refused { .. }));
    check(
        refusal(&watcher),
        "0xa0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0",
        "srp",
    );

    let (connection, state) = world.iser_connect(0, Options::new(login(0)));
    assert!(matches!(state, State::Refused { .. }));
    world.iser_over(0, connection);
    world.settle();
    check(refusal(&watcher), &initiator_name(0), "iser");

    let refused = world.nvme_try_controller(0, controller(0));
    assert!(refused.is_err());
    world.settle();
    check(refusal(&watcher), &host_nqn(0), "nvme-rdma");

    // All of them count.
    let refused = &world.daemon.shared.refused;
    assert_eq!(refused.load(std::sync::atomic::Ordering::Relaxed), 3);
    world.finish();
}

#[test]
fn what_else_is_refused() {
    let mut world = Setup::new(1).iser().nvme().build();
    let watcher = watch(&world);

    let mut wrong = world.options(0);
    wrong.request.target_port[15] ^= 1;
    world.connect(0, wrong);
    let (initiator, _, transport, _, why) = refusal(&watcher);
    assert_eq!(transport, "srp");
    assert!(initiator.is_some() && !why.is_empty(), "{why}");

    let nowhere = LoginOptions::iser(&initiator_name(0), "iqn.2026-11.io.pagecast:other");
    let (connection, _) = world.iser_connect(0, Options::new(nowhere));
    world.iser_over(0, connection);
    world.settle();
    let (initiator, target, _, _, why) = refusal(&watcher);
    assert_eq!(initiator, Some(initiator_name(0)));
    assert_eq!(target.as_deref(), Some("iqn.2026-11.io.pagecast:other"));
    assert!(why.contains("no target of the name"), "{why}");

    let mut other = connect(0);
    other.subsystem = format!("{SUBSYSTEM}x");
    world.nvme_connect(0, QueueOptions::new(0, 8).connecting(other));
    let (initiator, target, transport, _, why) = refusal(&watcher);
    assert_eq!(initiator, Some(host_nqn(0)));
    assert_eq!(target, Some(format!("{SUBSYSTEM}x")));
    assert_eq!(transport, "nvme-rdma");
    assert!(why.contains("no target"), "{why}");

    let mut options = QueueOptions::new(0, 8);
    options.responder_resources = 0;
    world.nvme_connect(0, options);
    let (initiator, target, _, _, why) = refusal(&watcher);
    assert_eq!((initiator, target), (None, None));
    assert!(!why.is_empty());
    world.finish();
}

#[test]
fn what_becomes_of_reservations() {
    let mut cluster = Cluster::of_three(1);
    let watcher = watch(&cluster.world);
    let told = |watcher: &Subscription| -> Vec<(String, Option<String>, Option<String>, usize)> {
        heard(watcher)
            .into_iter()
            .map(|kind| match kind {
                EventKind::Reservation {
                    device,
                    action,
                    initiator,
                    kind,
                    registrants,
                } => {
                    assert_eq!(device, "disk0");
                    (action, initiator, kind, registrants)
                }
                other => panic!("{other:?}"),
            })
            .collect()
    };
    let one = |watcher: &Subscription| {
        let mut all = told(watcher);
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    };
    let (srp, iser, nvme) = (0, 1, 2);
    let kind = Some("write-exclusive".to_owned());

    assert_eq!(cluster.register(srp, 1), Outcome::Good);
    let (action, initiator, reserved, registrants) = one(&watcher);
    assert_eq!((action.as_str(), registrants), ("register", 1));
    assert_eq!(
        initiator.as_deref(),
        Some("0xa0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0")
    );
    assert_eq!(reserved, None);

    assert_eq!(cluster.reserve(srp, 1, Kind::WriteExclusive), Outcome::Good);
    let (action, _, reserved, _) = one(&watcher);
    assert_eq!((action.as_str(), &reserved), ("reserve", &kind));

    assert_eq!(cluster.register(iser, 2), Outcome::Good);
    let (_, initiator, reserved, registrants) = one(&watcher);
    assert!(initiator.is_some_and(|name| name.starts_with(&initiator_name(1))));
    assert_eq!((&reserved, registrants), (&kind, 2));

    assert_eq!(cluster.register(nvme, 3), Outcome::Good);
    assert_eq!(one(&watcher).3, 3);
    assert_eq!(
        cluster.preempt(nvme, 3, 1, Kind::WriteExclusive),
        Outcome::Good
    );
    let (action, _, reserved, registrants) = one(&watcher);
    assert_eq!(
        (action.as_str(), &reserved, registrants),
        ("preempt", &kind, 2)
    );

    // Nothing is told of what is refused.
    assert_eq!(
        cluster.reserve(iser, 2, Kind::WriteExclusive),
        Outcome::Conflict
    );
    assert_eq!(told(&watcher), []);

    assert_eq!(
        cluster.release(nvme, 3, Kind::WriteExclusive),
        Outcome::Good
    );
    assert_eq!((one(&watcher).0.as_str(), 0), ("release", 0));
    assert_eq!(cluster.unregister(iser, 2), Outcome::Good);
    let (action, _, _, registrants) = one(&watcher);
    assert_eq!((action.as_str(), registrants), ("unregister", 1));

    // An operator.
    let device = cluster.world.daemon.shared.inventory().devices[0].clone();
    let shared = cluster.world.daemon.shared.clone();
    shared
        .clear_reservations(&device.name, true)
        .expect("cleared");
    assert_eq!(one(&watcher), ("clear".to_owned(), None, None, 0));
    cluster.finish();
}
