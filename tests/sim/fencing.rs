//! PREEMPT AND ABORT, and what NVMe has for it: after its status no byte of the victim's reaches the device.

mod load;
mod stuck;
mod teardown;

use pagecast_backends::testing::Kind as Store;
use pagecast_initiator::nvme::io;
use pagecast_initiator::scsi;
use pagecast_tests::reservations::{Cluster, Flight, Kind, Outcome, Scsi, Transfer, Transport};
use pagecast_tests::{Setup, pattern, seeds};

use load::{AREA, Load, contents};

/// Who is preempted, and by whom; a third host looks on.
const VICTIM: usize = 0;
const PREEMPTOR: usize = 1;
const BYSTANDER: usize = 2;

/// Everybody's keys.
const KEYS: [u64; 3] = [1, 2, 3];

/// Whoever is registered may write.
const KIND: Kind = Kind::WriteExclusiveRegistrants;

/// What NVMe commands end with that were preempted.
const PREEMPTED: Outcome = Outcome::Nvme(0, 0x1b);

/// 2Ah/05h REGISTRATIONS PREEMPTED
const ATTENTION: Outcome = Outcome::Sense(6, 0x2a, 5);

/// Three hosts that are registered. The victim holds the reservation.
fn cluster(setup: Setup, victim: Transport, preemptor: Transport) -> Cluster {
    let bystander = Transport::ALL[(setup.seed % 3) as usize];
    let mut cluster = Cluster::new(setup, &[victim, preemptor, bystander]);
    for host in cluster.hosts() {
        assert_eq!(cluster.register(host, KEYS[host]), Outcome::Good);
    }
    assert_eq!(cluster.reserve(VICTIM, KEYS[VICTIM], KIND), Outcome::Good);
    cluster
}

fn preempt_and_abort(cluster: &mut Cluster) -> Flight {
    let (key, victim) = (KEYS[PREEMPTOR], KEYS[VICTIM]);
    cluster.launch_preempt_and_abort(PREEMPTOR, key, victim, KIND)
}

/// Pumps for a while.
fn pump(cluster: &mut Cluster, rounds: u64) {
    for _ in 0..rounds {
        cluster.world.pump();
    }
}

fn pairs() -> impl Iterator<Item = (Transport, Transport)> {
    let all = Transport::ALL.into_iter();
    all.flat_map(|victim| Transport::ALL.into_iter().map(move |other| (victim, other)))
}

/// A victim that writes as much as it can, whatever is done to it.
fn under_load(setup: Setup, victim: Transport, preemptor: Transport) {
    let seed = setup.seed;
    let name = format!("seed {seed}, {victim:?} preempted by {preemptor:?}");
    let mut cluster = cluster(setup, victim, preemptor);
    let mut load = Load::new(seed);
    for _ in 0..20 + cluster.world.random.below(150) {
        load.go_on(&mut cluster);
        cluster.world.pump();
    }
    let preempting = preempt_and_abort(&mut cluster);
    let outcome = loop {
        load.go_on(&mut cluster);
        cluster.world.pump();
        if let Some(outcome) = cluster.landed(&preempting) {
            break outcome;
        }
        assert!(load.turns < 100_000, "{name}: no status");
    };
    assert_eq!(outcome, Outcome::Good, "{name}");
    let before = contents(&cluster, AREA);
    load.is_over();
    for _ in 0..150 {
        load.go_on(&mut cluster);
        cluster.world.pump();
    }
    load.stop(&mut cluster);
    assert!(contents(&cluster, AREA) == before, "{name}: a late write");
    assert!(load.bystander > 0, "{name}: nobody else gets on: {load:?}");
    assert!(load.good > 0 && load.refused > 0, "{name}: {load:?}");
    assert!(cluster.is_up(VICTIM), "{name}: its connection is gone");
    // What it sends is served again once it is registered.
    assert!(cluster.told(VICTIM).len() <= 1, "{name}");
    assert_eq!(cluster.write(VICTIM, 0, &[1; 512]), Outcome::Conflict);
    assert_eq!(cluster.register(VICTIM, 7), Outcome::Good, "{name}");
    assert_eq!(cluster.write(VICTIM, 0, &[1; 512]), Outcome::Good, "{name}");
    cluster.finish();
}

#[test]
fn no_byte_after_the_status() {
    for (number, (victim, preemptor)) in pairs().enumerate() {
        for seed in seeds(0..3) {
            let mut setup = Setup::new(seed * 16 + number as u64);
            setup.shards = 1 + (seed % 3) as u32;
            under_load(setup, victim, preemptor);
        }
    }
}

#[test]
fn no_byte_after_the_status_of_what_is_staged() {
    for (number, (victim, preemptor)) in pairs().enumerate() {
        for seed in seeds(100..102) {
            let mut setup = Setup::new(seed * 16 + number as u64)
                .staged()
                // Commands wait for memory as well.
                .setting("\"staging_memory\": \"4MiB\"");
            setup.shards = 1 + (seed % 3) as u32;
            under_load(setup, victim, preemptor);
        }
    }
}

/// What the store has cannot be called back: it is waited for.
#[test]
fn what_is_in_the_store_is_waited_for() {
    for (number, (victim, preemptor)) in pairs().enumerate() {
        let setup = Setup::new(200 + number as u64).staged();
        let name = format!("{victim:?} preempted by {preemptor:?}");
        let mut cluster = cluster(setup, victim, preemptor);
        cluster.world.io.hold(Store::Write);
        let write = Scsi::new(
            scsi::write16(8, 8, false),
            Transfer::Out(pattern(4096, number as u64)),
        );
        let flight = if cluster.is_scsi(VICTIM) {
            cluster.launch_scsi(VICTIM, &write)
        } else {
            let buffer = (cluster.world).nvme_filled(VICTIM, cluster.queue(VICTIM), &[9; 4096]);
            let write = io::write(1, 8, 8, pagecast_tests::nvme::once(&buffer));
            cluster.launch_nvme(VICTIM, 1, &write)
        };
        let flight = flight.expect("room");
        cluster
            .world
            .run_until(|world| (world.io.waiting() == 1).then_some(()));
        let preempting = preempt_and_abort(&mut cluster);
        cluster.world.settle();
        // Longer than peers have.
        cluster.world.pass(std::time::Duration::from_secs(5));
        assert_eq!(cluster.landed(&preempting), None, "{name}");
        assert!(cluster.is_up(VICTIM), "{name}: it is not its fault");
        cluster.world.io.release();
        assert_eq!(cluster.land(&preempting), Outcome::Good, "{name}");
        assert_eq!(cluster.world.io.waiting(), 0, "{name}");
        cluster.world.settle();
        let expected = (!cluster.is_scsi(VICTIM)).then_some(PREEMPTED);
        assert_eq!(cluster.landed(&flight), expected, "{name}");
        if expected.is_none() {
            cluster.forget(&flight);
        }
        cluster.finish();
    }
}

/// A copy that was sent to one logical unit and writes to another one, of which its initiator is preempted.
#[test]
fn copies_to_another_unit_end_as_well() {
    for (number, preemptor) in Transport::ALL.into_iter().enumerate() {
        for (victim, to) in [
            (Transport::Srp, 0),
            (Transport::Iser, 0),
            (Transport::Srp, 1),
        ] {
            let mut setup = Setup::new(300 + number as u64);
            let disk = |name: &str| {
                format!(
                    r#"{{ "name": "{name}", "backend": "memory", "size": "4MiB", "zero_copy": "off" }}"#
                )
            };
            setup.devices = vec![disk("disk0"), disk("disk1")];
            setup.groups =
                r#"[{ "name": "g", "initiators": ["*"], "luns": { "0": "disk0", "1": "disk1" } }]"#
                    .to_owned();
            let mut cluster = cluster(setup, victim, preemptor);
            let names = [0, 1].map(|index: usize| {
                let devices = &cluster.world.daemon.shared.inventory().devices;
                devices[index].unit.model().identity.naa.as_bytes().to_vec()
            });
            // Four strides, each of a read and a write.
            let (source, destination) = (&names[1 - to], &names[to]);
            let (cdb, list) = scsi::extended_copy(source, destination, 512, &[(0, 0, 8192)]);
            let copy = Scsi {
                lun: 1,
                ..Scsi::new(cdb, Transfer::Out(list))
            };
            cluster.world.io.hold(Store::Read);
            let flight = cluster.launch_scsi(VICTIM, &copy).expect("a credit");
            cluster
                .world
                .run_until(|world| (world.io.waiting() == 1).then_some(()));
            cluster.world.io.take_executed();
            let preempting = preempt_and_abort(&mut cluster);
            cluster.world.settle();
            assert_eq!(cluster.landed(&preempting), None, "{victim:?}");
            cluster.world.io.release();
            assert_eq!(cluster.land(&preempting), Outcome::Good);
            cluster.world.settle();
            let executed = cluster.world.io.take_executed();
            assert_eq!(executed, [Store::Read], "{victim:?}: it goes on");
            assert_eq!(cluster.landed(&flight), None);
            cluster.forget(&flight);
            // Nor does it start again.
            assert_eq!(cluster.told(VICTIM).len(), 1);
            let again = cluster.launch_scsi(VICTIM, &copy).expect("a credit");
            if to == 0 {
                // COPY ABORTED, THIRD PARTY DEVICE FAILURE: the other unit is reserved.
                assert_eq!(cluster.land(&again), Outcome::Sense(10, 0x0d, 1));
            } else {
                // It may read from there.
                assert_eq!(cluster.land(&again), Outcome::Good);
            }
            cluster.finish();
        }
    }
}
