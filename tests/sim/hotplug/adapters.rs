//! RDMA adapters that come and go while the daemon serves over others.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use pagecast_initiator::{ChannelId, ChannelState};
use pagecast_tests::changes::{STORE, value};
use pagecast_tests::world::read;
use pagecast_tests::{Setup, World, pattern, seeds};
use pagecastd::config::edit::Edit;
use pagecastd::control::Management;
use pagecastd::control::reports::{PortalReport, Stats};

/// Where the second adapter is.
const SECOND: [u8; 4] = [10, 0, 1, 1];

fn second() -> SocketAddr {
    SocketAddr::from((SECOND, 5555))
}

fn adapters(world: &World) -> Vec<String> {
    let adapters = world.daemon.shared.status().adapters;
    adapters.into_iter().map(|adapter| adapter.name).collect()
}

/// Shards tell of their memory four times a second.
fn stats(world: &mut World) -> Stats {
    world.pass(Duration::from_millis(300));
    world.daemon.shared.stats()
}

/// Logs in over the second adapter.
fn log_in_there(world: &mut World, host: usize) -> ChannelId {
    let options = world.options(host);
    let (channel, state) = world.connect_to(host, second(), options);
    assert_eq!(state, ChannelState::Up, "seed {}", world.seed);
    channel
}

fn refused_there(world: &mut World, host: usize) {
    let options = world.options(host);
    let (_, state) = world.connect_to(host, second(), options);
    assert_ne!(state, ChannelState::Up, "seed {}", world.seed);
}

/// Bytes of windows on an adapter that were the source of RDMA WRITEs.
fn from_windows(world: &World, node: &str) -> u64 {
    let regions = world.net.regions().into_iter();
    regions
        .filter(|region| region.node == node && !region.memory.contains("Anonymous"))
        .map(|region| region.rdma_written_from)
        .sum()
}

/// Reads until the data comes from windows on that adapter.
fn read_from_windows(world: &mut World, host: usize, channel: ChannelId, node: &str) {
    let before = from_windows(world, node);
    for _ in 0..100 {
        let data = world.read(host, channel, 0, 256);
        assert!(
            data == pattern(256 * 512, world.seed),
            "seed {}",
            world.seed
        );
        if from_windows(world, node) > before {
            return;
        }
    }
    panic!("seed {}: no window on {node}", world.seed);
}

/// Registrations and queue pairs end when their threads have got round to it.
fn wait_for<T>(world: &mut World, mut found: impl FnMut(&World) -> Option<T>) -> T {
    for _ in 0..5000 {
        world.settle();
        if let Some(found) = found(world) {
            return found;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("seed {}: it does not come to that", world.seed);
}

#[test]
fn an_adapter_that_goes_in_silence_is_let_go_of() {
    for seed in seeds(0..6) {
        let mut world = Setup::new(seed).pluggable().build();
        let here = world.log_in(0);
        world.write(0, here, 0, &pattern(256 * 512, seed));
        read_from_windows(&mut world, 0, here, "target");
        let alone = stats(&mut world);
        world.plug("target-0", IpAddr::from(SECOND));
        world.look_around();
        world.settle();
        let there = log_in_there(&mut world, 1);
        read_from_windows(&mut world, 1, there, "target-0");

        world.unplug_in_silence("target-0");
        world.settle();
        assert_eq!(world.read(1, there, 0, 1), pattern(512, seed));
        if seed % 2 == 0 {
            // A host that says goodbye has time for it, and nobody waits longer than it takes.
            world.look_around();
            world.pass(Duration::from_secs(9));
            world.look_around();
            assert_eq!(world.read(1, there, 0, 1), pattern(512, seed));
            assert_eq!(adapters(&world), ["target", "target-0"], "seed {seed}");
            world.initiators[1].disconnect(there).expect("a disconnect");
        } else {
            world.look_around();
            world.pass(Duration::from_secs(10));
            world.look_around();
        }
        world.over(1, there);
        wait_for(&mut world, |world| {
            let queue_pairs = world.net.queue_pairs();
            let used = queue_pairs.iter().any(|pair| pair.node == "target-0");
            let pinned = world.daemon.shared.stats().pinned_bytes;
            (!used && pinned <= alone.pinned_bytes).then_some(())
        });
        assert_eq!(adapters(&world), ["target"], "seed {seed}");
        assert_eq!(world.read(0, here, 0, 1), pattern(512, seed));
        let after = stats(&mut world);
        assert_eq!(after.registered_bytes, alone.registered_bytes);
    }
}

#[test]
fn an_adapter_goes_and_another_comes() {
    for seed in seeds(0..6) {
        let mut world = Setup::new(seed).pluggable().build();
        assert_eq!(adapters(&world), ["target"]);
        let here = world.log_in(0);
        world.write(0, here, 0, &pattern(256 * 512, seed));
        read_from_windows(&mut world, 0, here, "target");
        let alone = stats(&mut world);

        for round in 0..3 {
            let name = format!("target-{round}");
            refused_there(&mut world, 1);
            world.plug(&name, IpAddr::from(SECOND));
            world.look_around();
            assert_eq!(adapters(&world), ["target", &*name], "seed {seed}");
            world.settle();
            let there = log_in_there(&mut world, 1);
            read_from_windows(&mut world, 1, there, &name);
            let both = stats(&mut world);
            assert!(both.pinned_bytes > alone.pinned_bytes, "seed {seed}");
            assert!(both.staged_limit_bytes > alone.staged_limit_bytes);

            // It goes in the middle of a READ, and while the other one has some.
            let lost = world.buffer(1, there, 64 * 512);
            let tag = world.send(1, there, &read(&lost, 0, 64));
            let kept = world.buffer(0, here, 64 * 512);
            let other = world.send(0, here, &read(&kept, 0, 64));
            for _ in 0..world.random.below(30) {
                world.pump();
            }
            world.unplug(&name);
            assert!(world.reply(0, here, other).is_good(), "seed {seed}");
            let _ = world.try_reply(1, there, tag);
            world.over(1, there);
            wait_for(&mut world, |world| {
                let stats = world.daemon.shared.stats();
                (stats.sessions == 1 && stats.pinned_bytes <= alone.pinned_bytes).then_some(())
            });
            let after = stats(&mut world);
            assert_eq!(adapters(&world), ["target"], "seed {seed}");
            assert_eq!(after.staged_limit_bytes, alone.staged_limit_bytes);
            assert_eq!(after.staged_bytes, 0, "seed {seed}");
            assert_eq!(
                after.registered_bytes, alone.registered_bytes,
                "seed {seed}"
            );
            world.look_around();
            assert_eq!(adapters(&world), ["target"], "seed {seed}");
            read_from_windows(&mut world, 0, here, "target");
        }
        world.finish();
    }
}

fn second_portal(world: &World) -> PortalReport {
    world.daemon.shared.targets().remove(0).portals.remove(1)
}

/// A portal on an address that an adapter brings.
#[test]
fn a_portal_whose_adapter_comes_and_goes() {
    for seed in seeds(0..4) {
        let setup = Setup::new(seed).pluggable().portal("srp", "10.0.1.1", 5556);
        let mut world = setup.build();
        let at = SocketAddr::from((SECOND, 5556));
        let here = world.log_in(0);
        for round in 0..3 {
            let report = second_portal(&world);
            assert!(!report.listening, "seed {seed}, round {round}");
            let why = report.why.expect("a reason");
            assert!(!why.is_empty());
            let warnings = world.daemon.shared.status().warnings;
            let warned = format!("srp://10.0.1.1:5556: not listening, and tried again: {why}");
            assert_eq!(warnings.len(), 1, "{warnings:?}");
            assert!(
                warnings[0].ends_with(&warned[warned.find("10.0.1.1").unwrap_or(0)..]),
                "{warnings:?}"
            );
            world.look_around();
            assert!(!second_portal(&world).listening);

            let name = format!("target-{round}");
            world.plug(&name, IpAddr::from(SECOND));
            world.look_around();
            let report = second_portal(&world);
            assert!(report.listening && report.why.is_none(), "{report:?}");
            assert!(world.daemon.shared.status().warnings.is_empty());
            let options = world.options(1);
            let (there, state) = world.connect_to(1, at, options);
            assert_eq!(state, ChannelState::Up, "seed {seed}, round {round}");
            world.unplug(&name);
            world.over(1, there);
            world.settle();
            world.read(0, here, 0, 8);
        }
        world.finish();
    }
}

/// Where no portal needs RDMA adapters are left alone. The first one that does brings them into service.
#[test]
fn adapters_are_for_portals_that_need_them() {
    for seed in seeds(0..4) {
        let mut world = Setup::new(seed).pluggable().build();
        let target = STORE.to_owned();
        let portal = value(r#"{ "transport": "srp", "address": "0.0.0.0", "port": 5555 }"#);
        world.must_change(vec![Edit::RemovePortal {
            target: target.clone(),
            portal: portal.clone(),
        }]);
        world.plug("target-0", IpAddr::from(SECOND));
        world.look_around();
        world.daemon.control.find_adapters().expect("none");
        assert_eq!(adapters(&world), ["target"], "seed {seed}");
        world.must_change(vec![Edit::AddPortal { target, portal }]);
        world.look_around();
        assert_eq!(adapters(&world), ["target", "target-0"], "seed {seed}");
        world.settle();
        let there = log_in_there(&mut world, 1);
        world.read(1, there, 0, 8);
        world.unplug("target-0");
        world.over(1, there);
        world.finish();
    }
}

/// Adapters go and come at any moment, under load on another one.
#[test]
fn adapters_at_random() {
    for seed in seeds(0..12) {
        let mut world = Setup::new(seed).pluggable().build();
        let here = world.log_in(0);
        world.write(0, here, 0, &pattern(256 * 512, seed));
        let (mut there, mut name, mut lives) = (None, String::new(), 0);
        let mut flying = Vec::new();
        for _ in 0..120 {
            match world.random.below(6) {
                0 if name.is_empty() => {
                    lives += 1;
                    name = format!("target-{lives}");
                    world.plug(&name, IpAddr::from(SECOND));
                }
                1 if !name.is_empty() => {
                    world.unplug(&name);
                    name.clear();
                }
                2 => world.look_around(),
                3 if there.is_none() => {
                    let options = world.options(1);
                    let channel = world.initiators[1].connect(second(), options);
                    there = channel.ok();
                }
                _ => {
                    let buffer = world.buffer(0, here, 32 * 512);
                    let lba = world.random.below(200);
                    let tag = world.send(0, here, &read(&buffer, lba, 32));
                    flying.push((tag, lba as usize));
                }
            }
            for _ in 0..world.random.below(20) {
                world.pump();
            }
            if let Some(channel) = there {
                let initiator = &world.initiators[1];
                if initiator.is_up(channel) && initiator.can_send(channel) {
                    let buffer = world.buffer(1, channel, 4096);
                    let _ = world.initiators[1].send(channel, &read(&buffer, 0, 8));
                } else if !matches!(
                    initiator.state(channel),
                    ChannelState::Up | ChannelState::Connecting
                ) {
                    there = None;
                }
            }
        }
        let expected = pattern(256 * 512, seed);
        for (tag, lba) in flying {
            let reply = world.reply(0, here, tag);
            assert!(reply.is_good(), "seed {seed}: {:?}", reply.sense());
            assert!(
                reply.data() == expected[lba * 512..(lba + 32) * 512],
                "seed {seed}"
            );
        }
        if !name.is_empty() {
            world.unplug(&name);
        }
        wait_for(&mut world, |world| {
            (world.daemon.shared.stats().sessions == 1).then_some(())
        });
        assert_eq!(adapters(&world), ["target"], "seed {seed}");
        // And it still works.
        world.plug("target-last", IpAddr::from(SECOND));
        world.look_around();
        world.settle();
        let last = log_in_there(&mut world, 1);
        read_from_windows(&mut world, 1, last, "target-last");
        world.unplug("target-last");
        world.over(1, last);
        world.finish();
    }
}

/// A device is probed on a thread of its own. Whoever reads from it before that is done gets its windows afterwards.
#[test]
fn windows_that_come_after_the_first_read() {
    for seed in seeds(0..3) {
        let mut world = Setup::new(seed).build();
        let channel = world.log_in(0);
        let adapters = world.daemon.shared.adapters().clone();
        let device = world.device("disk0").expect("a device");
        adapters.iter().for_each(|adapter| device.detach(adapter));
        drop(device);
        world.settle();
        for _ in 0..3 {
            world.read(0, channel, 0, 256);
        }
        assert_eq!(from_windows(&world, "target"), 0, "seed {seed}");
        let device = world.device("disk0").expect("a device");
        adapters.iter().for_each(|adapter| device.attach(adapter));
        drop(device);
        world.pass(Duration::from_millis(300));
        for _ in 0..100 {
            world.read(0, channel, 0, 256);
            world.settle();
        }
        assert_ne!(from_windows(&world, "target"), 0, "seed {seed}");
        world.finish();
    }
}
