//! Initiators that move between access groups while their I/O goes on, over all transports at once.

mod addresses;
mod close;
mod flight;
mod idle;
mod load;
mod stuck;

use std::time::Duration;

use pagecast_initiator::nvme::admin::LogPage;
use pagecast_tests::changes::move_to;
use pagecast_tests::luns::{
    LUNS_CHANGED, MODE_CHANGED, NAMESPACE_PROTECTED, NO_SUCH_NAMESPACE, NO_SUCH_UNIT, OTHER_UNIT,
    PROTECTED, name, namespaces,
};
use pagecast_tests::reservations::{Cluster, Kind, Outcome, Transport};
use pagecast_tests::{Host, Setup, seeds};

use load::Load;

const SRP: Host = 0;
const ISER: Host = 1;
const NVME: Host = 2;

/// Everybody is in the group `one`. LUN 0 is the same in both, LUN 1 only in that one, LUN 2 another in each, LUN 3 may be written
/// only in that one.
fn setup(seed: u64) -> Setup {
    let mut setup = Setup::new(seed);
    let disk = |number: usize| {
        let windows = number == 0 && !seed.is_multiple_of(3);
        format!(
            r#"{{ "name": "disk{number}", "backend": "memory", "size": "{}", "zero_copy": "{}" }}"#,
            if number == 0 { "4MiB" } else { "1MiB" },
            if windows { "auto" } else { "off" }
        )
    };
    setup.devices = (0..5).map(disk).collect();
    let hosts = Transport::ALL.into_iter().zip([SRP, ISER, NVME]);
    let names: Vec<String> = hosts
        .map(|(over, host)| format!("{:?}", name(over, host)))
        .collect();
    setup.groups = format!(
        r#"[{{ "name": "one", "initiators": [{}],
               "luns": {{ "0": "disk0", "1": "disk1", "2": "disk2", "3": "disk4" }} }},
            {{ "name": "two", "initiators": [],
               "luns": {{ "0": "disk0", "2": "disk3", "3": {{ "device": "disk4", "read_only": true }} }} }}]"#,
        names.join(",")
    );
    setup.shards = 1 + (seed % 3) as u32;
    setup
}

fn cluster(seed: u64) -> Cluster {
    Cluster::new(setup(seed), &Transport::ALL)
}

/// Moves hosts to and fro. Returns the longest time that a command on LUN 0 took.
fn moves(seed: u64, count: u64) {
    let mut cluster = cluster(seed);
    let kind = Kind::WriteExclusiveAll;
    for host in cluster.hosts() {
        assert_eq!(cluster.register(host, 1 + host as u64), Outcome::Good);
    }
    assert_eq!(cluster.reserve(SRP, 1, kind), Outcome::Good);
    for host in cluster.hosts() {
        cluster.told(host);
    }
    let reserved = cluster.view(SRP);
    let mut load = Load::new(seed, &[SRP, ISER, NVME]);
    load.ordered = seed % 2 == 1;
    // How long commands take if nothing moves.
    load.progress(&mut cluster, 60);
    let without = std::mem::take(&mut load.longest);
    let mut two = [false; 3];
    // Where the NVMe host was when it looked last, and whether it has moved since.
    let mut looked = (false, false);
    let mut moved = 0;
    let mut longest = Duration::ZERO;
    while moved < count {
        // Some of the hosts, in one change.
        let who: Vec<Host> = match cluster.world.random.below(4) {
            0 => vec![SRP, ISER, NVME],
            host => vec![host as usize - 1],
        };
        moved += 1;
        let rounds = cluster.world.random.below(80);
        load.run(&mut cluster, rounds);
        // Commands on LUN 1 that are in the store when it goes.
        let mut stuck = Vec::new();
        if cluster.world.random.once_in(3) {
            let store = cluster.world.device("disk1").expect("a device");
            cluster.world.io.hold_store(&store.backend);
            for &host in who.iter().filter(|&&host| !two[host]) {
                stuck.extend(cluster.launch_at(host, 1, 2));
            }
            let rounds = 100 + cluster.world.random.below(200);
            load.run(&mut cluster, rounds);
        }
        // And some that are anywhere.
        let mut loose = Vec::new();
        for &host in &who {
            loose.extend(cluster.launch_at(host, 1, 2));
        }
        let rounds = cluster.world.random.below(60);
        load.run(&mut cluster, rounds);
        let edits = who
            .iter()
            .map(|&host| move_to(&cluster.name(host), if two[host] { "one" } else { "two" }))
            .collect();
        let told = load.told.clone();
        let good = load.good.clone();
        load.longest = Duration::ZERO;
        let changing = cluster.world.begin_change(edits);
        for &host in &who {
            two[host] = !two[host];
        }
        looked.1 |= who.contains(&NVME);
        // LUN 0 goes on, whatever is stuck elsewhere.
        load.progress(&mut cluster, 4);
        for flight in &stuck {
            assert_eq!(cluster.landed(flight), None, "seed {seed}: {flight:?}");
        }
        assert!(stuck.is_empty() || !changing.is_over(), "seed {seed}");
        cluster.world.io.release();
        for flight in &stuck {
            load.run_until(
                &mut cluster,
                "what is stuck ends",
                |_, cluster| match cluster.landed(flight) {
                    None => false,
                    Some(outcome) => {
                        assert_eq!(outcome, Outcome::Good, "seed {seed}: {flight:?}");
                        true
                    }
                },
            );
        }
        for flight in &loose {
            load.run_until(&mut cluster, "what is anywhere ends", |_, cluster| {
                // If it came too late or too soon, there is no such thing; and it may be the first to hear of it.
                let outcomes = [Outcome::Good, LUNS_CHANGED, NO_SUCH_UNIT, NO_SUCH_NAMESPACE];
                let outcome = cluster.landed(flight);
                assert!(
                    outcome.is_none_or(|outcome| outcomes.contains(&outcome)),
                    "{outcome:?}"
                );
                outcome.is_some()
            });
        }
        load.run_until(&mut cluster, "the change ends", |_, _| changing.is_over());
        let report = cluster.world.end(changing).expect("a good change");
        assert_eq!(report.sessions.len(), who.len(), "seed {seed}: {report:?}");
        assert!(report.warnings.is_empty(), "seed {seed}: {report:?}");
        // Each of those that moved is told once, and nobody else.
        load.run_until(&mut cluster, "they are told", |load, _| {
            who.iter()
                .all(|&host| host == NVME || load.told[host] == told[host] + 1)
        });
        load.progress(&mut cluster, 4);
        longest = longest.max(load.longest);
        for host in [SRP, ISER] {
            let expected = told[host] + u64::from(who.contains(&host));
            assert_eq!(load.told[host], expected, "seed {seed}: host {host}");
        }
        assert!(load.good != good);
        // What they find.
        for &host in &who {
            finds(&mut cluster, host, two[host]);
        }
        if moved % 8 == 0 {
            load.stop(&mut cluster);
            event(&mut cluster, looked.1, looked.0 != two[NVME]);
            looked = (two[NVME], false);
            assert_eq!(cluster.view(SRP), reserved, "seed {seed}");
        }
    }
    load.stop(&mut cluster);
    for host in cluster.hosts() {
        assert!(cluster.is_up(host), "seed {seed}: host {host}");
    }
    assert_eq!(cluster.view(SRP), reserved, "seed {seed}");
    assert!(
        longest <= without * 2 + Duration::from_micros(500),
        "seed {seed}: {longest:?}, and {without:?} without moves"
    );
    cluster.finish();
}

/// What a host finds that has just moved.
fn finds(cluster: &mut Cluster, host: Host, two: bool) {
    let seed = cluster.world.seed;
    let what = format!(
        "seed {seed}: host {host} in {}",
        if two { "two" } else { "one" }
    );
    let or = |other: Outcome| if two { other } else { Outcome::Good };
    if cluster.is_scsi(host) {
        assert_eq!(cluster.hears(host, 1), [or(NO_SUCH_UNIT)], "{what}");
        // Nothing that was meant for the other one reaches it, until the host has looked who it is.
        let heard = cluster.hears(host, 2);
        assert_eq!(heard, [OTHER_UNIT, LUNS_CHANGED, NO_SUCH_UNIT], "{what}");
        let heard = cluster.hears(host, 3);
        assert_eq!(heard, [MODE_CHANGED, LUNS_CHANGED, Outcome::Good], "{what}");
    }
    let expected: &[u16] = if two { &[0, 2, 3] } else { &[0, 1, 2, 3] };
    assert_eq!(cluster.luns(host), expected, "{what}");
    let (gone, protected) = match cluster.is_scsi(host) {
        true => (NO_SUCH_UNIT, PROTECTED),
        false => (NO_SUCH_NAMESPACE, NAMESPACE_PROTECTED),
    };
    let block = [7; 512];
    let stranger = match cluster.is_scsi(host) {
        true => NO_SUCH_UNIT,
        false => NO_SUCH_NAMESPACE,
    };
    assert_eq!(cluster.write_at(host, 2, 9, &block), stranger, "{what}");
    let device = if two { "disk3" } else { "disk2" };
    assert!(cluster.finds(host, 2, device), "{what}");
    assert_eq!(cluster.read_at(host, 1, 9).0, or(gone), "{what}");
    assert_eq!(cluster.write_at(host, 1, 9, &block), or(gone), "{what}");
    assert_eq!(
        cluster.write_at(host, 2, 9, &block),
        Outcome::Good,
        "{what}"
    );
    assert_eq!(cluster.read_at(host, 3, 9).0, Outcome::Good, "{what}");
    assert_eq!(
        cluster.write_at(host, 3, 9, &block),
        or(protected),
        "{what}"
    );
}

/// What the NVMe host is told if it has moved, be it that it is where it was.
fn event(cluster: &mut Cluster, moved: bool, elsewhere: bool) {
    let seed = cluster.world.seed;
    let event = cluster.take_event(NVME);
    // A notice: namespace attributes changed, and log page 04h.
    assert_eq!(event, moved.then_some(0x0004_0002), "seed {seed}");
    if !moved {
        return;
    }
    let admin = cluster.controller(NVME).admin;
    let page = LogPage {
        id: 0x04,
        nsid: u32::MAX,
        length: 4096,
        ..LogPage::default()
    };
    let changed = cluster.world.nvme_log_page(NVME, admin, page);
    let ids = namespaces(&changed);
    // LUN 0 is never among them. LUN 2 is another one in any case.
    let expected = ids.contains(&3) && !ids.contains(&1) && ids.is_sorted();
    assert!(expected, "seed {seed}: {ids:?}");
    assert!(!elsewhere || ids == [2, 3, 4], "seed {seed}: {ids:?}");
    cluster.await_event(NVME);
}

#[test]
fn a_hundred_moves() {
    for seed in seeds(0..1) {
        moves(seed, 100);
    }
}

#[test]
fn a_few_moves() {
    for seed in seeds(100..106) {
        moves(seed, 8);
    }
}
