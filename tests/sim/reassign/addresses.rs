//! Sessions whose connections come from several addresses, of which some are let in no more.

use pagecast_initiator::nvme::Controller;
use pagecast_initiator::{ChannelId, ChannelState, Command, Data, Format, scsi};
use pagecast_tests::changes::{add_group, add_initiator, remove_group};
use pagecast_tests::nvme::{controller, io_queue, refusal};
use pagecast_tests::{Host, Random, Setup, World, host_address, seeds};
use pagecastd::config::edit::Edit;
use pagecastd::control::reports::ChangeReport;
use pagecastd::events::EventKind;
use std::time::Duration;

/// Every machine speaks for this one.
const SELF: Host = 0;
const HOSTS: usize = 3;
/// CHANNEL LIMIT REACHED FOR INITIATOR, of SRP_LOGIN_REJ
const SRP_REFUSAL: u32 = 0x0001_0006;
/// Connect Invalid Host
const NVME_REFUSAL: (u8, u8) = (1, 0x84);

fn group(name: &str, initiators: &[String]) -> String {
    let initiators: Vec<_> = initiators.iter().map(|one| format!("{one:?}")).collect();
    format!(
        r#"{{ "name": "{name}", "initiators": [{}], "luns": {{ "0": "disk0", "1": "disk1" }} }}"#,
        initiators.join(",")
    )
}

fn world(seed: u64) -> World {
    let mut setup = Setup::new(seed).staged().nvme();
    setup.devices.push(
        r#"{ "name": "disk1", "backend": "memory", "size": "1MiB", "zero_copy": "off" }"#.into(),
    );
    setup.hosts = HOSTS;
    setup.shards = 1 + (seed % 3) as u32;
    setup.groups = format!("[{}]", group("one", &["*".to_owned()]));
    setup.build()
}

fn keep_out(host: Host) -> Vec<Edit> {
    vec![add_initiator("one", &format!("!{}", host_address(host)))]
}

/// Of each session: its number, its group, and its connections.
fn sessions(world: &World) -> Vec<(u64, String, u32)> {
    let sessions = world.daemon.shared.sessions();
    let of = |session: &std::sync::Arc<pagecastd::session::Session>| {
        let connections = session
            .connections
            .load(std::sync::atomic::Ordering::Relaxed);
        (session.id.0, session.group().to_string(), connections)
    };
    sessions.values().map(of).collect()
}

/// The reason that a channel more is refused for, or the channel.
fn join(world: &mut World, host: Host) -> Result<ChannelId, u32> {
    let options = world.options(SELF).multichannel();
    match world.connect(host, options) {
        (channel, ChannelState::Up) => Ok(channel),
        (_, ChannelState::Refused { rejection, .. }) => {
            Err(rejection.expect("SRP_LOGIN_REJ").reason)
        }
        (_, other) => panic!("seed {}: {other:?}", world.seed),
    }
}

/// Channels from everywhere, the oldest first.
fn channels(world: &mut World) -> [ChannelId; HOSTS] {
    let all = std::array::from_fn(|host| {
        let options = world.options(SELF).multichannel();
        world.log_in_with(host, options)
    });
    assert_eq!(sessions(world)[0].2, HOSTS as u32);
    all
}

fn assert_served(world: &mut World, host: Host, channel: ChannelId) {
    assert!(world.initiators[host].is_up(channel), "host {host}");
    world.read(host, channel, 0, 1);
}

#[test]
fn a_channel_goes_with_its_own_address() {
    for seed in seeds(0..6) {
        let mut world = world(seed);
        let [a, b, c] = channels(&mut world);
        let before = sessions(&world);
        // A command of the one that has to go is in the store.
        let store = world.device("disk1").expect("a device");
        world.io.hold_store(&store.backend);
        drop(store);
        let buffer = world.buffer(1, b, 4096);
        let data = Data::In(buffer.whole().expect("all of it"), Format::Direct);
        world.send(1, b, &Command::new(1, scsi::read16(0, 8), data));
        world.run_until(|world| (world.io.waiting() == 1).then_some(()));

        let changing = world.begin_change(keep_out(1));
        world.over(1, b);
        world.settle();
        assert_served(&mut world, 0, a);
        assert_served(&mut world, 2, c);
        assert_eq!(join(&mut world, 1), Err(SRP_REFUSAL), "seed {seed}");
        assert!(!changing.is_over(), "seed {seed}: it was not waited for");
        world.io.release();
        let report = world.end(changing).expect("a good change");
        // The session sees what it saw.
        assert!(report.sessions.is_empty(), "seed {seed}: {report:?}");
        assert!(report.warnings.is_empty(), "seed {seed}: {report:?}");
        let [(id, ..)] = before[..] else {
            panic!("seed {seed}: {before:?}");
        };
        assert_eq!(sessions(&world), [(id, "one".to_owned(), 2)], "seed {seed}");

        // Where it came from first is where it does not come from any more.
        let report = world.must_change(keep_out(0));
        assert!(report.sessions.is_empty(), "seed {seed}: {report:?}");
        world.over(0, a);
        assert_served(&mut world, 2, c);
        world.settle();
        assert_eq!(sessions(&world), [(id, "one".to_owned(), 1)], "seed {seed}");

        let report = world.must_change(keep_out(2));
        world.over(2, c);
        world.settle();
        assert_eq!(report.sessions.len(), 1, "seed {seed}: {report:?}");
        assert_eq!(report.sessions[0].group, None, "seed {seed}");
        assert!(sessions(&world).is_empty(), "seed {seed}");
        world.finish();
    }
}

#[test]
fn an_address_that_nothing_is_left_of_does_not_matter() {
    for seed in seeds(0..4) {
        let mut world = world(seed);
        let [a, b, _] = channels(&mut world);
        world.initiators[0].disconnect(a).expect("a channel");
        world.over(0, a);
        world.settle();
        let before = sessions(&world);
        let report = world.must_change(keep_out(0));
        assert!(report.sessions.is_empty(), "seed {seed}: {report:?}");
        world.settle();
        assert_served(&mut world, 1, b);
        assert_eq!(sessions(&world), before, "seed {seed}");
        world.finish();
    }
}

/// Who is let in elsewhere is no part of the session, and is told so.
#[test]
fn a_channel_of_another_group_may_start_anew() {
    for seed in seeds(0..4) {
        let mut world = world(seed);
        let [a, b, c] = channels(&mut world);
        let before = sessions(&world)[0].0;
        let mut edits = keep_out(1);
        edits.push(add_group(&group("two", &[host_address(1).to_string()])));
        world.must_change(edits);
        world.over(1, b);
        world.settle();
        let events = world.daemon.shared.events.subscribe();
        assert_eq!(join(&mut world, 1), Err(SRP_REFUSAL), "seed {seed}");
        world.settle();
        let told: Vec<_> = std::iter::from_fn(|| events.next(Duration::ZERO)).collect();
        assert!(
            matches!(&told[..], [event] if matches!(&event.kind,
                EventKind::Refused { why, .. } if why.contains("another access group"))),
            "seed {seed}: {told:?}"
        );
        assert_served(&mut world, 0, a);
        assert_served(&mut world, 2, c);
        // A login that is to be alone replaces the others.
        let options = world.options(SELF);
        let alone = world.log_in_with(1, options);
        world.over(0, a);
        world.over(2, c);
        assert_served(&mut world, 1, alone);
        world.settle();
        let after = sessions(&world);
        assert_eq!((&*after[0].1, after[0].2), ("two", 1), "seed {seed}");
        assert!(after.len() == 1 && after[0].0 != before, "seed {seed}");
        world.finish();
    }
}

/// Where each address is to be: in one of two groups, or in none. In one change.
fn scatter(
    world: &mut World,
    random: &mut Random,
) -> ([Option<&'static str>; HOSTS], ChangeReport) {
    let inventory = world.daemon.shared.inventory();
    let before = inventory.targets[0].groups.iter();
    let mut edits: Vec<Edit> = before.map(|group| remove_group(&group.name)).collect();
    drop(inventory);
    let places: [_; HOSTS] = std::array::from_fn(|_| match random.below(5) {
        0 | 1 => Some("one"),
        2 | 3 => Some("two"),
        _ => None,
    });
    let of = |name| -> Vec<String> {
        let own = (0..HOSTS).filter(|&host| places[host] == Some(name));
        own.map(|host| host_address(host).to_string()).collect()
    };
    edits.extend(["one", "two"].map(|name| add_group(&group(name, &of(name)))));
    (places, world.must_change(edits))
}

/// What a change has to say of the only session.
fn assert_told(report: &ChangeReport, before: &str, after: Option<&str>) {
    if after == Some(before) {
        assert!(report.sessions.is_empty(), "{report:?}");
        return;
    }
    let [change] = &report.sessions[..] else {
        panic!("{report:?}");
    };
    assert_eq!(change.group_before, before);
    assert_eq!(change.group.as_deref(), after);
}

#[test]
fn channels_from_everywhere_anywhere() {
    for seed in seeds(0..12) {
        let mut world = world(seed);
        let mut random = Random::new(seed ^ 0xadd2);
        let mut up: Vec<(Host, ChannelId)> = channels(&mut world).into_iter().enumerate().collect();
        let mut group = "one";
        for round in 0..12 {
            let what = format!("seed {seed}, round {round}");
            let (places, report) = scatter(&mut world, &mut random);
            let oldest = up.iter().find_map(|&(host, _)| places[host]);
            if !up.is_empty() {
                assert_told(&report, group, oldest);
            }
            let (stay, go): (Vec<_>, Vec<_>) = (up.into_iter())
                .partition(|&(host, _)| places[host].is_some() && places[host] == oldest);
            up = stay;
            for (host, channel) in go {
                world.over(host, channel);
            }
            world.settle();
            for &(host, channel) in &up {
                assert_served(&mut world, host, channel);
            }
            // Those who are out try to come back, by the same rule.
            for host in 0..HOSTS {
                if up.iter().any(|&(other, _)| other == host) {
                    continue;
                }
                let place = up.first().map_or(places[host], |&(host, _)| places[host]);
                match join(&mut world, host) {
                    Ok(channel) => {
                        assert!(places[host].is_some() && places[host] == place, "{what}");
                        up.push((host, channel));
                    }
                    Err(reason) => {
                        assert_eq!(reason, SRP_REFUSAL, "{what}");
                        assert!(places[host].is_none() || places[host] != place, "{what}");
                    }
                }
            }
            let now = sessions(&world);
            match up.first() {
                Some(&(host, _)) => {
                    group = places[host].expect("one that is admitted");
                    assert_eq!(now.len(), 1, "{what}");
                    let expected = (group, up.len() as u32);
                    assert_eq!((&*now[0].1, now[0].2), expected, "{what}");
                }
                None => assert!(now.is_empty(), "{what}: {now:?}"),
            }
        }
        for (host, channel) in up {
            world.initiators[host].disconnect(channel).expect("one");
        }
        world.finish();
    }
}

/// A controller whose admin queue is from the first address, with an I/O queue from each.
fn connect_all(
    world: &mut World,
) -> (
    Controller,
    Vec<(Host, pagecast_initiator::nvme::QueueHandle)>,
) {
    let mut options = controller(SELF);
    options.queues = 1;
    let controller = world.nvme_controller_with(SELF, options);
    let mut queues = vec![(SELF, controller.io[0])];
    for host in 1..HOSTS {
        let options = io_queue(SELF, &controller, 1 + host as u16);
        queues.push((host, world.nvme_queue(host, options)));
    }
    (controller, queues)
}

#[test]
fn queues_from_everywhere_anywhere() {
    for seed in seeds(0..12) {
        let mut world = world(seed);
        let mut random = Random::new(seed ^ 0xadd3);
        let (mut controller, mut queues) = connect_all(&mut world);
        let mut group = "one";
        for round in 0..10 {
            let what = format!("seed {seed}, round {round}");
            let (places, report) = scatter(&mut world, &mut random);
            assert_told(&report, group, places[SELF]);
            let stays = |host: Host| places[SELF].is_some() && places[host] == places[SELF];
            for (host, queue) in queues.clone() {
                if !stays(host) {
                    world.nvme_over(host, queue);
                }
            }
            world.settle();
            if places[SELF].is_none() {
                // Without its admin queue a controller is none.
                world.nvme_over(SELF, controller.admin);
                world.settle();
                assert!(sessions(&world).is_empty(), "{what}");
                let everybody = ["one", "two"].map(remove_group).into_iter();
                let one = add_group(&self::group("one", &["*".to_owned()]));
                world.must_change(everybody.chain([one]).collect());
                group = "one";
                (controller, queues) = connect_all(&mut world);
                continue;
            }
            group = places[SELF].expect("one");
            assert!(world.nvme[SELF].is_up(controller.admin), "{what}");
            for (index, (host, queue)) in queues.iter_mut().enumerate() {
                if stays(*host) {
                    assert!(world.nvme[*host].is_up(*queue), "{what}: host {host}");
                } else {
                    let again = io_queue(SELF, &controller, 1 + index as u16);
                    let (_, state) = world.nvme_connect(*host, again);
                    assert_eq!(refusal(state).0, NVME_REFUSAL, "{what}: host {host}");
                    // Back where it was.
                    continue;
                }
                world.nvme_read(*host, *queue, 0, 1);
            }
            let up = 1 + queues.iter().filter(|&&(host, _)| stays(host)).count();
            let now = sessions(&world);
            assert_eq!((&*now[0].1, now[0].2), (group, up as u32), "{what}");
            // Everybody is let in again, and connects what is missing.
            let all: Vec<_> = (0..HOSTS)
                .map(|host| host_address(host).to_string())
                .collect();
            let edits = ["one", "two"].map(remove_group).into_iter();
            let edits = edits.chain([add_group(&self::group(group, &all))]);
            world.must_change(edits.collect());
            for (index, (host, queue)) in queues.iter_mut().enumerate() {
                if !stays(*host) {
                    let again = io_queue(SELF, &controller, 1 + index as u16);
                    *queue = world.nvme_queue(*host, again);
                }
            }
        }
        world.finish();
    }
}
