//! A number that stands for another disk: what was sent for the one that it stood for before stays away from the other.

use pagecast_initiator::nvme::io;
use pagecast_initiator::{Task, scsi};
use pagecast_tests::changes::{map, unmap};
use pagecast_tests::luns::{NO_SUCH_NAMESPACE, NO_SUCH_UNIT, OTHER_UNIT, naa, name};
use pagecast_tests::nvme::keyed;
use pagecast_tests::reservations::{Cluster, Outcome, Scsi, Transfer, Transport};
use pagecast_tests::{Host, Setup, seeds};
use pagecastd::config::edit::Edit;

const SRP: Host = 0;
const ISER: Host = 1;
const NVME: Host = 2;

/// Everybody sees three disks of four, by the numbers that those have.
fn cluster(seed: u64) -> Cluster {
    let mut setup = Setup::new(seed);
    let disk = |number: usize| {
        format!(
            r#"{{ "name": "disk{number}", "backend": "memory", "size": "1MiB", "zero_copy": "off" }}"#
        )
    };
    setup.devices = (0..4).map(disk).collect();
    let hosts = Transport::ALL.into_iter().zip([SRP, ISER, NVME]);
    let names: Vec<String> = hosts
        .map(|(over, host)| format!("{:?}", name(over, host)))
        .collect();
    setup.groups = format!(
        r#"[{{ "name": "one", "initiators": [{}], "luns": {{ "0": "disk0", "1": "disk1", "2": "disk2" }} }}]"#,
        names.join(",")
    );
    setup.shards = 1 + (seed % 3) as u32;
    Cluster::new(setup, &Transport::ALL)
}

/// Another disk for a number, in one change.
fn swap(lun: u16, device: &str) -> Vec<Edit> {
    vec![unmap("one", lun), map("one", lun, device, false)]
}

fn hold(cluster: &Cluster, device: &str) {
    let device = cluster.world.device(device).expect("a device");
    cluster.world.io.hold_store(&device.backend);
}

fn waiting(cluster: &mut Cluster, count: usize) {
    cluster
        .world
        .run_until(|world| (world.io.waiting() >= count).then_some(()));
}

fn stranger(cluster: &Cluster, host: Host) -> Outcome {
    match cluster.is_scsi(host) {
        true => NO_SUCH_UNIT,
        false => NO_SUCH_NAMESPACE,
    }
}

/// Writes go on and on while the disk is swapped. None of them reaches the other one before the host has looked.
#[test]
fn queued_writes_never_reach_the_other_disk() {
    for seed in seeds(0..9) {
        let host = [SRP, ISER, NVME][(seed % 3) as usize];
        let what = format!("seed {seed}, host {host}");
        let mut cluster = cluster(seed);
        let block = [0xa5; 512];
        let write = |cluster: &mut Cluster, lba: u64| {
            if cluster.is_scsi(host) {
                let write = Scsi {
                    lun: 1,
                    ..Scsi::new(scsi::write16(lba, 1, false), Transfer::Out(block.to_vec()))
                };
                cluster.launch_scsi(host, &write)
            } else {
                let queue = cluster.queue(host);
                let data = keyed(&cluster.world.nvme_filled(host, queue, &block));
                cluster.launch_nvme(host, 0, &io::write(2, lba, 1, data))
            }
        };
        let mut flights = Vec::new();
        flights.extend((0..4).filter_map(|lba| write(&mut cluster, lba)));
        let changing = cluster.world.begin_change(swap(1, "disk3"));
        // As long as it does not look it gets nowhere, however often it tries.
        let mut refused = 0;
        for lba in 4..40 {
            for _ in 0..cluster.world.random.below(20) {
                cluster.world.pump();
            }
            flights.extend(write(&mut cluster, lba));
            if flights.len() >= 3 {
                let outcome = cluster.land(&flights.remove(0));
                refused += u32::from(outcome == stranger(&cluster, host));
            }
        }
        for flight in flights {
            refused += u32::from(cluster.land(&flight) == stranger(&cluster, host));
        }
        cluster.world.end(changing).expect("a good change");
        assert!(refused > 8, "{what}: {refused}");
        assert_eq!(
            cluster.write_at(host, 1, 0, &block),
            stranger(&cluster, host),
            "{what}"
        );
        assert!(cluster.finds(host, 1, "disk3"), "{what}");
        for lba in 0..40 {
            let (outcome, found) = cluster.read_at(host, 1, lba);
            assert_eq!(
                (outcome, found),
                (Outcome::Good, vec![0; 512]),
                "{what}: {lba}"
            );
        }
        assert_eq!(
            cluster.write_at(host, 1, 0, &block),
            Outcome::Good,
            "{what}"
        );
        cluster.finish();
    }
}

/// Task management by a number ends what was sent by it before it stood for another unit, and others' commands are none of its business.
#[test]
fn task_management_reaches_what_the_number_stood_for() {
    // ABORT TASK SET, and LOGICAL UNIT RESET.
    for function in [2, 8] {
        for seed in seeds(0..4) {
            let what = format!("seed {seed}, function {function}");
            let mut cluster = cluster(seed);
            let channel = cluster.channel(SRP);
            hold(&cluster, "disk1");
            let flights = cluster.launch_at(SRP, 1, 2);
            let others = cluster.launch_at(ISER, 1, 2);
            waiting(&mut cluster, 4);
            let changing = cluster.world.begin_change(swap(1, "disk3"));
            // Until the change is there.
            cluster.world.settle();
            assert_eq!(cluster.hears(SRP, 1)[0], OTHER_UNIT, "{what}");
            let task = Task {
                lun: scsi::lun(1),
                function,
                tag: 0,
            };
            let task = cluster.world.initiators[SRP]
                .task(channel, task)
                .expect("a credit");
            cluster.world.settle();
            let early = cluster.world.initiators[SRP].take_reply(channel, task);
            assert!(early.is_none(), "{what}: commands are in the store still");
            cluster.world.io.release();
            let reply = cluster.world.reply(SRP, channel, task);
            assert_eq!(reply.response.code, Some(0), "{what}");
            for flight in &flights {
                assert_eq!(cluster.landed(flight), None, "{what}");
                cluster.forget(flight);
            }
            for flight in &others {
                assert_eq!(cluster.land(flight), Outcome::Good, "{what}");
            }
            cluster.world.end(changing).expect("a good change");
            cluster.finish();
        }
    }
}

/// A change waits for a copy to a unit that it takes away, though the connection has neither read nor written there.
#[test]
fn copies_to_a_unit_that_was_never_met_are_waited_for() {
    for seed in seeds(0..4) {
        let host = if seed % 2 == 0 { SRP } else { ISER };
        let mut cluster = cluster(seed);
        let (from, to) = (naa(&cluster.world, "disk0"), naa(&cluster.world, "disk1"));
        let (cdb, list) = scsi::extended_copy(&from, &to, 512, &[(0, 0, 512)]);
        let copy = Scsi::new(cdb, Transfer::Out(list));
        hold(&cluster, "disk1");
        let flight = cluster.launch_scsi(host, &copy).expect("a credit");
        waiting(&mut cluster, 1);
        let changing = cluster.world.begin_change(vec![unmap("one", 1)]);
        cluster.world.settle();
        assert!(!changing.is_over(), "seed {seed}: it was not waited for");
        cluster.world.io.release();
        assert_eq!(cluster.land(&flight), Outcome::Good, "seed {seed}");
        cluster.world.end(changing).expect("a good change");
        cluster.finish();
    }
}
