//! Reservations that outlive the daemon, those that do not, and disks that cannot keep them.

use std::fs;
use std::path::PathBuf;

use pagecast_initiator::nvme::Data;
use pagecast_initiator::nvme::admin::{get_features, set_features};
use pagecast_initiator::nvme::reservation::PERSISTENCE;
use pagecast_initiator::scsi::reserve::report;
use pagecast_tests::reservations::{Cluster, Kind, Notice, Outcome, Registration, View};
use pagecast_tests::{Host, Setup, pattern, seeds};
use pagecastd::control::Management;

use Outcome::{Conflict, Good};

const SRP: Host = 0;
const ISER: Host = 1;
const NVME: Host = 2;
const ALL: [Host; 3] = [SRP, ISER, NVME];
const KEYS: [u64; 3] = [1, 2, 3];

fn write(cluster: &mut Cluster, host: Host) -> Outcome {
    cluster.write(host, host as u64, &pattern(512, 1))
}

fn registered(seed: u64, persist: bool) -> Cluster {
    let mut cluster = Cluster::of_three(seed);
    for host in ALL {
        let registration = Registration {
            persist,
            ..Registration::new(KEYS[host])
        };
        assert_eq!(cluster.register_as(host, registration), Good);
    }
    cluster
}

/// A table as it has to be after a restart: SPC-4 section 6.15.2, PRGENERATION is zero.
fn kept(view: View) -> View {
    View {
        generation: 0,
        ..view
    }
}

#[test]
fn what_is_to_be_kept_is_kept() {
    for seed in seeds(0..2) {
        for holder in ALL {
            for kind in Kind::ALL {
                let mut cluster = registered(seed, true);
                assert_eq!(cluster.reserve(holder, KEYS[holder], kind), Good);
                let left = (holder + 1) % 3;
                let leaving = Registration::persistent(0).replacing(KEYS[left]);
                assert_eq!(cluster.register_as(left, leaving), Good);
                cluster.everybody_told();
                let view = cluster.view(holder);
                assert_eq!(view.keys.len(), 2);
                let mut cluster = cluster.restarted();
                // The first commands of all: nothing comes before the reservation.
                assert_eq!(write(&mut cluster, left), Conflict, "{kind:?}");
                assert_eq!(write(&mut cluster, holder), Good, "{kind:?}");
                for host in ALL {
                    assert_eq!(cluster.view(host), kept(view.clone()), "{kind:?}");
                }
                assert_eq!(cluster.everybody_told(), []);
                // It is the same table: its owner releases it, and the next start finds it so.
                assert_eq!(cluster.release(holder, KEYS[holder], kind), Good);
                let mut cluster = cluster.restarted();
                let view = cluster.view(left);
                assert_eq!((view.keys.len(), view.kind), (2, None));
                assert_eq!(write(&mut cluster, left), Good);
                cluster.finish();
            }
        }
    }
}

#[test]
fn what_is_not_to_be_kept_is_gone() {
    for holder in ALL {
        let mut cluster = registered(1, false);
        let kind = Kind::ExclusiveAccess;
        assert_eq!(cluster.reserve(holder, KEYS[holder], kind), Good);
        let mut cluster = cluster.restarted();
        for host in ALL {
            let view = cluster.view(host);
            assert_eq!((view.generation, view.keys, view.kind), (0, vec![], None));
            assert_eq!(write(&mut cluster, host), Good);
        }
        cluster.finish();
    }
}

/// The last registration says whether the table is kept, for everybody, whichever protocol it came by.
#[test]
fn the_last_word_counts() {
    for first in ALL {
        let last = (first + 1) % 3;
        for persist in [false, true] {
            let mut cluster = Cluster::of_three(1);
            let registration = |host: Host, persist| Registration {
                persist,
                ..Registration::new(KEYS[host])
            };
            let done = cluster.register_as(first, registration(first, !persist));
            assert_eq!(done, Good);
            let done = cluster.register_as(last, registration(last, persist));
            assert_eq!(done, Good);
            assert_eq!(
                activated(&mut cluster),
                [persist; 3],
                "{first}, then {last}"
            );
            let mut cluster = cluster.restarted();
            let count = if persist { 2 } else { 0 };
            assert_eq!(
                cluster.view(first).keys.len(),
                count,
                "{first}, then {last}"
            );
            cluster.finish();
        }
    }
}

/// Whether the table is kept: PTPL_A of REPORT CAPABILITIES, PTPLS of Reservation Report, and the feature.
fn activated(cluster: &mut Cluster) -> [bool; 3] {
    let data = cluster.reserve_in(SRP, report::CAPABILITIES);
    assert_eq!((data.len(), &data[..2]), (8, &[0, 8][..]));
    // PTPL_C
    assert_eq!(data[2] & 1, 1);
    // TMV, and all six types.
    assert_eq!((data[3] & 0x80, data[4], data[5]), (0x80, 0xea, 0x01));
    let reported = cluster.report(NVME).persistent;
    [data[3] & 1 != 0, reported == 1, feature(cluster) == 1]
}

fn feature(cluster: &mut Cluster) -> u32 {
    let get = get_features(PERSISTENCE, 1, 0, Data::None);
    let (outcome, reply) = cluster.nvme_admin(NVME, &get);
    assert_eq!(outcome, Good);
    reply.result()
}

#[test]
fn the_feature_says_so_too() {
    let mut cluster = registered(1, false);
    let kind = Kind::WriteExclusive;
    assert_eq!(cluster.reserve(SRP, KEYS[SRP], kind), Good);
    let set = |on| set_features(PERSISTENCE, 1, on, Data::None);
    assert_eq!(cluster.nvme_admin(NVME, &set(1)).0, Good);
    assert_eq!(activated(&mut cluster), [true; 3]);
    let view = cluster.view(SRP);
    let mut cluster = cluster.restarted();
    assert_eq!(write(&mut cluster, ISER), Conflict);
    assert_eq!(cluster.view(SRP), kept(view));
    assert_eq!(activated(&mut cluster), [true; 3]);
    assert_eq!(cluster.nvme_admin(NVME, &set(0)).0, Good);
    assert_eq!(activated(&mut cluster), [false; 3]);
    let mut cluster = cluster.restarted();
    assert!(cluster.view(ISER).keys.is_empty());
    assert_eq!(activated(&mut cluster), [false; 3]);
    cluster.finish();
}

/// In place of the directory of reservations: nothing can be written there, whoever tries.
fn break_directory(cluster: &Cluster) -> PathBuf {
    let path = cluster.world.directory().join("state").join("reservations");
    let _ = fs::remove_dir_all(&path);
    fs::write(&path, "in the way").expect("a file");
    path
}

#[test]
fn what_cannot_be_kept_is_refused() {
    for seed in seeds(0..2) {
        for host in ALL {
            let mut cluster = registered(seed, false);
            let kind = Kind::WriteExclusiveRegistrants;
            assert_eq!(cluster.reserve(SRP, KEYS[SRP], kind), Good);
            let before = cluster.view(host);
            let path = break_directory(&cluster);
            // What need not be kept goes on.
            let change = Registration::new(8).replacing(KEYS[host]);
            assert_eq!(cluster.register_as(host, change), Good);
            let back = Registration::new(KEYS[host]).replacing(8);
            assert_eq!(cluster.register_as(host, back), Good);
            let before = View {
                generation: before.generation + 2,
                ..before
            };
            // HARDWARE ERROR, INTERNAL TARGET FAILURE; Internal Error.
            let failed = match cluster.is_scsi(host) {
                true => Outcome::Sense(4, 0x44, 0),
                false => Outcome::Nvme(0, 0x06),
            };
            let change = Registration::persistent(9).replacing(KEYS[host]);
            for _ in 0..2 {
                assert_eq!(cluster.register_as(host, change), failed);
                assert_eq!(cluster.view(host), before);
                assert_eq!(activated(&mut cluster), [false; 3]);
            }
            assert_eq!(write(&mut cluster, host), Good);
            fs::remove_file(&path).expect("a file");
            assert_eq!(cluster.register_as(host, change), Good);
            let view = cluster.view(host);
            let mut cluster = cluster.restarted();
            assert_eq!(cluster.view(host), kept(view));
            cluster.finish();
        }
    }
}

/// Once it is kept, everything that changes it is refused while it cannot be, and nobody is told of what was not done.
#[test]
fn changes_of_what_is_kept_are_refused() {
    for host in ALL {
        let mut cluster = registered(1, true);
        let kind = Kind::WriteExclusiveRegistrants;
        assert_eq!(cluster.reserve(host, KEYS[host], kind), Good);
        let before = cluster.view(host);
        let path = break_directory(&cluster);
        let failed = match cluster.is_scsi(host) {
            true => Outcome::Sense(4, 0x44, 0),
            false => Outcome::Nvme(0, 0x06),
        };
        let victim = (host + 1) % 3;
        let done = [
            cluster.preempt(host, KEYS[host], KEYS[victim], kind),
            cluster.release(host, KEYS[host], kind),
            cluster.clear(host, KEYS[host]),
            cluster.unregister(host, KEYS[host]),
        ];
        assert_eq!(done, [failed; 4]);
        assert_eq!(cluster.view(host), before);
        assert_eq!(cluster.everybody_told(), []);
        assert_eq!(write(&mut cluster, victim), Good);
        fs::remove_file(&path).expect("a file");
        assert_eq!(cluster.preempt(host, KEYS[host], KEYS[victim], kind), Good);
        let view = cluster.view(host);
        let mut cluster = cluster.restarted();
        assert_eq!(cluster.view(host), kept(view));
        assert_eq!(write(&mut cluster, victim), Conflict);
        cluster.finish();
    }
}

/// Somebody who is preempted and has the queue to itself no more is so after a restart as well.
#[test]
fn preempted_for_good() {
    let mut cluster = registered(1, true);
    let kind = Kind::ExclusiveAccess;
    assert_eq!(cluster.reserve(SRP, KEYS[SRP], kind), Good);
    assert_eq!(cluster.preempt(NVME, KEYS[NVME], KEYS[SRP], kind), Good);
    let mut cluster = cluster.restarted();
    assert_eq!(cluster.read(SRP, 0).0, Conflict);
    assert_eq!(cluster.read(ISER, 0).0, Conflict);
    assert_eq!(cluster.read(NVME, 0).0, Good);
    assert_eq!(cluster.view(SRP).keys, [KEYS[ISER], KEYS[NVME]]);
    cluster.finish();
}

/// Devices keep theirs apart.
#[test]
fn two_devices() {
    let mut setup = Setup::new(1);
    setup
        .devices
        .push(r#"{ "name": "disk1", "backend": "memory", "size": "4MiB" }"#.to_owned());
    let mut cluster = Cluster::new(setup.clone(), &pagecast_tests::reservations::Transport::ALL);
    assert_eq!(cluster.register_for_good(SRP, KEYS[SRP]), Good);
    let kind = Kind::ExclusiveAccess;
    assert_eq!(cluster.reserve(SRP, KEYS[SRP], kind), Good);
    // The other disk in its place.
    setup.groups =
        r#"[{ "name": "everyone", "initiators": ["*"], "luns": { "0": "disk1" } }]"#.to_owned();
    let mut cluster = cluster.restarted_with(setup);
    assert_eq!(write(&mut cluster, NVME), Good);
    assert!(cluster.view(SRP).keys.is_empty());
    let mut cluster = cluster.restarted_with(Setup::new(1));
    assert_eq!(write(&mut cluster, NVME), Conflict);
    assert_eq!(cluster.view(SRP).keys, [KEYS[SRP]]);
    cluster.finish();
}

/// Operators see who is registered, and end everything; hosts hear of it, and it is so after a restart as well.
#[test]
fn operators_see_and_end_them() {
    let mut cluster = registered(1, true);
    let kind = Kind::ExclusiveAccess;
    assert_eq!(cluster.reserve(NVME, KEYS[NVME], kind), Good);
    cluster.leave(ISER);
    let reports = cluster.world.daemon.shared.reservations();
    let [report] = &reports[..] else {
        panic!("{reports:?}");
    };
    assert!(report.enabled && report.persistent && !report.held_by_all);
    assert_eq!(report.holders.len(), 1, "{report:?}");
    let mut found: Vec<_> = report
        .registrants
        .iter()
        .map(|one| {
            (
                one.key.as_str(),
                one.protocol.as_str(),
                one.holder,
                one.live,
            )
        })
        .collect();
    found.sort_unstable();
    let expected = [
        ("0x0000000000000001", "srp", false, true),
        ("0x0000000000000002", "iscsi", false, false),
        ("0x0000000000000003", "nvme", true, true),
    ];
    assert_eq!(found, expected);
    cluster.log_in(ISER);
    // They are in use.
    let shared = &cluster.world.daemon.shared;
    assert!(shared.clear_reservations("disk0", false).is_err());
    assert_eq!(cluster.view(SRP).keys, KEYS);
    let shared = &cluster.world.daemon.shared;
    let cleared = shared.clear_reservations("disk0", true).expect("done");
    assert_eq!(cleared.registrants, 3);
    let told = ALL.map(|host| (host, vec![Notice::ReservationPreempted]));
    assert_eq!(cluster.everybody_told(), told);
    for host in ALL {
        assert_eq!(write(&mut cluster, host), Good);
    }
    let mut cluster = cluster.restarted();
    assert!(cluster.view(ISER).keys.is_empty());
    cluster.finish();
}
