//! Devices that come and go while there is I/O on them.

use std::fs::File;
use std::sync::{Arc, Weak};

use pagecast_tests::changes::{add_device, map, remove_device, unmap};
use pagecast_tests::luns::{LUNS_CHANGED, NO_SUCH_NAMESPACE, NO_SUCH_UNIT};
use pagecast_tests::reservations::{Cluster, Kind, Outcome, Transport};
use pagecast_tests::{Setup, World, pattern, seeds};
use pagecastd::device::Device;

const SRP: usize = 0;
const NVME: usize = 2;

/// Makes a file, and says how a device has it for its store.
fn image(world: &World, file: &str, name: &str, zero_copy: &str) -> String {
    let path = world.directory().join(file);
    if !path.exists() {
        let image = File::create(&path).expect("a file");
        image.set_len(2 << 20).expect("a size");
    }
    format!(
        r#"{{ "name": "{name}", "backend": "file", "path": {path:?}, "zero_copy": "{zero_copy}" }}"#
    )
}

fn cluster(seed: u64) -> Cluster {
    let mut setup = Setup::new(seed);
    setup.shards = 1 + (seed % 3) as u32;
    Cluster::new(setup, &Transport::ALL)
}

/// What is left of a device that is gone.
fn assert_gone(world: &World, device: &Weak<Device>, number: usize) {
    assert_eq!(device.strong_count(), 0, "seed {}: it leaks", world.seed);
    assert!(world.daemon.shared.table.get(number).is_none());
}

#[test]
fn a_device_goes_under_load_and_comes_back() {
    for seed in seeds(0..8) {
        let mut cluster = cluster(seed);
        let zero_copy = if seed % 2 == 0 { "auto" } else { "off" };
        let json = image(&cluster.world, "a.img", "extra", zero_copy);
        let report = cluster.world.must_change(vec![add_device(&json)]);
        assert!(report.sessions.is_empty() && report.warnings.is_empty());
        // Two names for one store, or one for two, are refused.
        for json in [json.clone(), image(&cluster.world, "a.img", "other", "off")] {
            let refused = cluster.world.change(vec![add_device(&json)]);
            assert!(refused.is_err(), "seed {seed}");
        }
        let edit = map("everyone", 7, "extra", false);
        let report = cluster.world.must_change(vec![edit.clone()]);
        assert!(
            report
                .sessions
                .iter()
                .all(|change| change.luns_added == [7])
        );
        assert_eq!(report.sessions.len(), 3, "seed {seed}");
        let mut bytes = pattern(512, seed);
        let (device, number) = {
            let device = cluster.world.device("extra").expect("a device");
            (Arc::downgrade(&device), device.index)
        };
        for host in cluster.hosts() {
            assert_eq!(cluster.luns(host), [0, 7], "seed {seed}");
            bytes[0] = host as u8;
            assert_eq!(
                cluster.write_at(host, 7, 4000 + host as u64, &bytes),
                Outcome::Good
            );
        }
        // It is mapped.
        let before = cluster.world.configuration();
        let refused = cluster.world.change(vec![remove_device("extra", false)]);
        assert!(refused.is_err(), "seed {seed}");
        assert!(cluster.world.configuration() == before, "seed {seed}");
        assert_eq!(cluster.luns(SRP), [0, 7], "seed {seed}");
        // Some commands are in the store, if everything goes through it, and others anywhere.
        let stuck = seed % 2 == 1;
        let mut flights = Vec::new();
        if stuck {
            let store = device.upgrade().expect("a device");
            cluster.world.io.hold_store(&store.backend);
        }
        for host in cluster.hosts() {
            flights.extend(cluster.launch_at(host, 7, 4));
        }
        if stuck {
            let waiting = flights.len();
            let all = |world: &mut World| (world.io.waiting() == waiting).then_some(());
            cluster.world.run_until(all);
        } else {
            for _ in 0..cluster.world.random.below(150) {
                cluster.world.pump();
            }
        }
        let changing = cluster
            .world
            .begin_change(vec![remove_device("extra", true)]);
        cluster.world.settle();
        if stuck {
            assert!(!changing.is_over(), "seed {seed}: it was not waited for");
            assert!(device.strong_count() > 0);
            // LUN 0 is there, and has nothing to do with it.
            for host in cluster.hosts() {
                let (outcome, _) = cluster.read_at(host, 0, 0);
                let expected = if host == NVME {
                    Outcome::Good
                } else {
                    LUNS_CHANGED
                };
                assert_eq!(outcome, expected, "seed {seed}: host {host}");
            }
        }
        cluster.world.io.release();
        for flight in &flights {
            let outcome = cluster.land(flight);
            let late = [LUNS_CHANGED, NO_SUCH_UNIT, NO_SUCH_NAMESPACE];
            let expected = outcome == Outcome::Good || !stuck && late.contains(&outcome);
            assert!(expected, "seed {seed}: {outcome:?}");
        }
        let report = cluster.world.end(changing).expect("a good change");
        assert!(report.warnings.is_empty(), "seed {seed}: {report:?}");
        assert!(
            report
                .sessions
                .iter()
                .all(|change| change.luns_removed == [7])
        );
        assert_gone(&cluster.world, &device, number);
        for host in cluster.hosts() {
            let gone = if host == NVME {
                NO_SUCH_NAMESPACE
            } else {
                NO_SUCH_UNIT
            };
            assert_eq!(
                cluster.read_at(host, 7, 0).0,
                gone,
                "seed {seed}: host {host}"
            );
            assert_eq!(cluster.luns(host), [0], "seed {seed}");
        }
        // Its store can be had by another one, and back, at once and in one change.
        let other = image(&cluster.world, "a.img", "other", zero_copy);
        cluster
            .world
            .must_change(vec![add_device(&other), map("everyone", 9, "other", true)]);
        assert_eq!(cluster.luns(SRP), [0, 9]);
        let report =
            cluster
                .world
                .must_change(vec![remove_device("other", true), add_device(&json), edit]);
        assert!(report.warnings.is_empty(), "seed {seed}: {report:?}");
        for host in cluster.hosts() {
            assert_eq!(cluster.luns(host), [0, 7], "seed {seed}");
            bytes[0] = host as u8;
            if host != NVME {
                cluster.hears(host, 7);
            }
            let (outcome, found) = cluster.read_at(host, 7, 4000 + host as u64);
            assert!(
                (outcome, found) == (Outcome::Good, bytes.clone()),
                "seed {seed}: host {host}"
            );
            assert!(cluster.finds(host, 7, "extra"), "seed {seed}");
        }
        cluster.finish();
    }
}

#[test]
fn a_device_that_comes_back_has_its_reservations() {
    for seed in seeds(0..3) {
        let mut cluster = cluster(seed);
        let json = image(&cluster.world, "a.img", "extra", "auto");
        let setup = vec![
            unmap("everyone", 0),
            add_device(&json),
            map("everyone", 0, "extra", false),
        ];
        cluster.world.must_change(setup);
        // Who is there now: another one than was.
        for host in cluster.hosts() {
            assert!(cluster.finds(host, 0, "extra"), "seed {seed}");
        }
        for host in [0, 1] {
            cluster.hears(host, 0);
        }
        for host in cluster.hosts() {
            assert_eq!(
                cluster.register_for_good(host, 5 + host as u64),
                Outcome::Good
            );
        }
        let kind = Kind::WriteExclusiveRegistrants;
        assert_eq!(cluster.reserve(SRP, 5, kind), Outcome::Good);
        let mut before = cluster.view(SRP);
        let report = cluster
            .world
            .must_change(vec![remove_device("extra", true)]);
        assert_eq!(report.sessions.len(), 3);
        cluster
            .world
            .must_change(vec![add_device(&json), map("everyone", 0, "extra", false)]);
        for host in [0, 1] {
            cluster.hears(host, 0);
        }
        let after = cluster.view(SRP);
        // PRGENERATION starts anew when the device does (SPC-4 section 5.12.5.4).
        before.generation = after.generation;
        assert_eq!(after, before, "seed {seed}");
        // They are what they were, and not only shown so.
        assert_eq!(cluster.unregister(NVME, 7), Outcome::Good, "seed {seed}");
        assert_eq!(cluster.write_at(NVME, 0, 1, &[3; 512]), Outcome::Conflict);
        assert_eq!(cluster.write_at(SRP, 0, 1, &[3; 512]), Outcome::Good);
        cluster.finish();
    }
}

/// What could not be opened is not there afterwards, nor is anything that was opened for the same change.
#[test]
fn all_or_none() {
    for seed in seeds(0..4) {
        let mut cluster = cluster(seed);
        let one = image(&cluster.world, "a.img", "one", "auto");
        let path = cluster.world.directory().join("missing.img");
        let missing = format!(r#"{{ "name": "missing", "backend": "file", "path": {path:?} }}"#);
        let two = image(&cluster.world, "b.img", "two", "off");
        let before = cluster.world.configuration();
        let numbers: Vec<_> = (0..20)
            .filter(|n| cluster.world.daemon.shared.table.get(*n).is_some())
            .collect();
        let refused = cluster.world.change(vec![
            add_device(&one),
            map("everyone", 3, "one", false),
            add_device(&missing),
            add_device(&two),
            unmap("everyone", 0),
        ]);
        let error = refused.expect_err("a device that is not there").to_string();
        assert!(error.contains("missing"), "{error}");
        assert!(cluster.world.configuration() == before, "seed {seed}");
        assert_eq!(cluster.luns(SRP), [0]);
        assert_eq!(
            cluster.hears(SRP, 0),
            [Outcome::Good],
            "it noticed something"
        );
        // Nothing of it stays open.
        let now: Vec<_> = (0..20)
            .filter(|n| cluster.world.daemon.shared.table.get(*n).is_some())
            .collect();
        assert_eq!(now, numbers, "seed {seed}: a device leaks");
        let good = vec![
            add_device(&one),
            add_device(&two),
            map("everyone", 3, "one", false),
        ];
        cluster.world.must_change(good);
        assert_eq!(cluster.luns(SRP), [0, 3]);
        cluster.finish();
    }
}

/// Memory devices end with what is in them: only `force` does that, and a new one is empty.
#[test]
fn a_memory_device_is_new_each_time() {
    for seed in seeds(0..3) {
        let mut cluster = cluster(seed);
        let json = r#"{ "name": "ram", "backend": "memory", "size": "1MiB" }"#;
        let numbers: Vec<_> = (0..4)
            .map(|round| {
                cluster
                    .world
                    .must_change(vec![add_device(json), map("everyone", 5, "ram", false)]);
                let (weak, number) = {
                    let device = cluster.world.device("ram").expect("a device");
                    (Arc::downgrade(&device), device.index)
                };
                for host in [0, 1] {
                    cluster.hears(host, 5);
                    cluster.hears(host, 0);
                }
                for host in cluster.hosts() {
                    let (outcome, block) = cluster.read_at(host, 5, 3);
                    assert_eq!(outcome, Outcome::Good, "seed {seed}, round {round}");
                    assert_eq!(block[0], if host == 0 { 0 } else { 8 }, "seed {seed}");
                    assert_eq!(cluster.write_at(host, 5, 3, &[8; 512]), Outcome::Good);
                }
                cluster.world.must_change(vec![remove_device("ram", true)]);
                assert_gone(&cluster.world, &weak, number);
                number
            })
            .collect();
        assert!(
            numbers.is_sorted() && numbers[0] != numbers[3],
            "numbers are used again"
        );
        cluster.finish();
    }
}
