//! Victims whose peers acknowledge nothing: what the adapter has for them is in flight for ever, unless somebody ends it.

use std::time::Duration;

use pagecast_initiator::nvme::io;
use pagecast_initiator::scsi;
use pagecast_rdma::sim::QueuePairState;
use pagecast_tests::nvme::keyed;
use pagecast_tests::reservations::{Cluster, Flight, Outcome, Scsi, Transfer};
use pagecast_tests::world::{TARGET, host_name};
use pagecast_tests::{Setup, World, pattern, seeds};

use super::load::{AREA, contents};
use super::{BYSTANDER, PREEMPTOR, VICTIM, cluster, pairs, preempt_and_abort, pump};

/// The target's ends of a host's connections.
pub(super) fn queue_pairs_of(world: &World, host: usize) -> Vec<u32> {
    let pairs = world.net.queue_pairs();
    let on_target = |peer: &u32| pairs.iter().any(|p| p.number == *peer && p.node == TARGET);
    let name = host_name(host);
    let ready = (pairs.iter())
        .filter(|pair| pair.node == name && pair.state == QueuePairState::Ready)
        .filter_map(|pair| pair.peer)
        .filter(on_target);
    ready.collect()
}

/// A write whose data the target has to fetch.
fn write(cluster: &mut Cluster, lba: u64, bytes: &[u8]) -> Flight {
    let blocks = (bytes.len() / 512) as u32;
    let flight = if cluster.is_scsi(VICTIM) {
        let cdb = scsi::write16(lba, blocks, false);
        let way = cluster.world.random.below(3) * 4;
        let write = Scsi {
            way,
            ..Scsi::new(cdb, Transfer::Out(bytes.to_vec()))
        };
        cluster.launch_scsi(VICTIM, &write)
    } else {
        let queue = cluster.queue(VICTIM);
        let data = keyed(&cluster.world.nvme_filled(VICTIM, queue, bytes));
        cluster.launch_nvme(VICTIM, 0, &io::write(1, lba, blocks, data))
    };
    flight.expect("room")
}

fn read(cluster: &mut Cluster) -> Flight {
    let flight = if cluster.is_scsi(VICTIM) {
        let cdb = scsi::read16(0, 8);
        cluster.launch_scsi(VICTIM, &Scsi::new(cdb, Transfer::In(4096)))
    } else {
        let queue = cluster.queue(VICTIM);
        let data = keyed(&cluster.world.nvme_buffer(VICTIM, queue, 4096));
        cluster.launch_nvme(VICTIM, 0, &io::read(1, 0, 8, data))
    };
    flight.expect("room")
}

/// It is given its time, then its connection goes, and only then comes the status.
#[test]
fn the_connection_goes() {
    for (number, (victim, preemptor)) in pairs().enumerate() {
        for seed in seeds(0..2) {
            let name = format!("seed {seed}: {victim:?} preempted by {preemptor:?}");
            let mut setup = Setup::new(seed * 16 + number as u64);
            setup.shards = 1 + (seed % 2) as u32;
            let mut cluster = cluster(setup, victim, preemptor);
            let stuck = queue_pairs_of(&cluster.world, VICTIM);
            for &pair in &stuck {
                assert!(cluster.world.net.faults().pause(pair), "{name}");
            }
            for at in 0..3 {
                write(&mut cluster, at * 100, &pattern(40_000, seed));
            }
            if seed == 1 {
                read(&mut cluster);
            }
            cluster.world.settle();
            let preempting = preempt_and_abort(&mut cluster);
            cluster.world.settle();
            cluster.world.pass(Duration::from_millis(1500));
            assert_eq!(cluster.landed(&preempting), None, "{name}");
            assert!(cluster.is_up(VICTIM), "{name}: too soon");
            cluster.world.pass(Duration::from_millis(600));
            assert_eq!(cluster.land(&preempting), Outcome::Good, "{name}");
            let before = contents(&cluster, AREA);
            assert!(before.iter().all(|byte| *byte == 0), "{name}");
            for &pair in &stuck {
                // Most of them are gone.
                cluster.world.net.faults().resume(pair);
            }
            pump(&mut cluster, 200);
            cluster.world.pass(Duration::from_millis(300));
            assert!(contents(&cluster, AREA) == before, "{name}: a late write");
            assert!(!cluster.is_up(VICTIM), "{name}: nothing was in its way");
            for host in [PREEMPTOR, BYSTANDER] {
                assert!(cluster.is_up(host), "{name}: {host}");
                assert_eq!(cluster.write(host, 8, &[1; 512]), Outcome::Good, "{name}");
            }
            // It comes back, without a registration.
            cluster.log_in(VICTIM);
            assert_eq!(cluster.write(VICTIM, 8, &[2; 512]), Outcome::Conflict);
            cluster.finish();
        }
    }
}

/// Reads that wait for their acknowledgement are in flight as well.
#[test]
fn reads_are_waited_for() {
    for (number, (victim, preemptor)) in pairs().enumerate() {
        let name = format!("{victim:?} preempted by {preemptor:?}");
        let mut cluster = cluster(Setup::new(400 + number as u64), victim, preemptor);
        let stuck = queue_pairs_of(&cluster.world, VICTIM);
        for &pair in &stuck {
            cluster.world.net.faults().pause(pair);
        }
        read(&mut cluster);
        cluster.world.settle();
        let preempting = preempt_and_abort(&mut cluster);
        cluster.world.settle();
        assert_eq!(cluster.landed(&preempting), None, "{name}");
        // In time.
        for &pair in &stuck {
            cluster.world.net.faults().resume(pair);
        }
        assert_eq!(cluster.land(&preempting), Outcome::Good, "{name}");
        cluster.world.pass(Duration::from_secs(3));
        assert!(cluster.is_up(VICTIM), "{name}");
        cluster.finish();
    }
}
