//! Commands that change reservations, and those who send them, end at the worst moment.

use pagecast_backends::testing::Kind as Store;
use pagecast_initiator::nvme::io;
use pagecast_initiator::scsi::reserve::{
    Parameters, action, persistent_reserve_out, release6, reserve6,
};
use pagecast_initiator::{Task, scsi};
use pagecast_tests::reservations::{Cluster, Flight, Outcome, Scsi, Transfer, Transport};
use pagecast_tests::{Setup, pattern, seeds};

use super::stuck::queue_pairs_of;
use super::{BYSTANDER, KEYS, KIND, PREEMPTOR, VICTIM, cluster, pairs, preempt_and_abort, pump};

/// A change in several steps, the first of which is in the store.
fn long_change(cluster: &mut Cluster) -> Flight {
    cluster.world.io.hold(Store::Write);
    let flight = if cluster.is_scsi(VICTIM) {
        let cdb = scsi::write_same16(0, 6000, false, false);
        cluster.launch_scsi(VICTIM, &Scsi::new(cdb, Transfer::Out(pattern(512, 1))))
    } else {
        let list = io::copy_ranges(&[io::Blocks {
            lba: 4096,
            count: 4000,
        }]);
        let queue = cluster.queue(VICTIM);
        let list = cluster.world.nvme_filled(VICTIM, queue, &list);
        let copy = io::copy(1, 0, 1, pagecast_tests::nvme::once(&list));
        cluster.launch_nvme(VICTIM, 0, &copy)
    };
    cluster.world.settle();
    assert_eq!(cluster.world.io.waiting(), 1);
    flight.expect("room")
}

/// Whoever has preempted is gone before its victim's commands are: they end all the same.
#[test]
fn the_preempting_host_goes() {
    for (number, (victim, preemptor)) in pairs().enumerate() {
        for seed in seeds(0..3) {
            let name = format!("seed {seed}: {victim:?} preempted by {preemptor:?}");
            let setup = Setup::new(seed * 16 + number as u64).staged();
            let mut cluster = cluster(setup, victim, preemptor);
            let change = long_change(&mut cluster);
            cluster.world.io.take_executed();
            let before = generation(&cluster);
            preempt_and_abort(&mut cluster);
            if seed == 0 {
                // Its connections break before the change is made: nobody waits for it then.
                cluster.pump_shards(200);
                for pair in queue_pairs_of(&cluster.world, PREEMPTOR) {
                    assert!(cluster.world.net.faults().break_queue_pair(pair));
                }
                cluster.pump_shards(200);
            } else {
                while generation(&cluster) == before {
                    cluster.world.pump();
                }
                let rounds = cluster.world.random.below(20);
                pump(&mut cluster, rounds);
                cluster.leave(PREEMPTOR);
            }
            cluster.world.settle();
            assert_eq!(generation(&cluster), before + 1, "{name}");
            cluster.world.io.release();
            cluster.world.settle();
            let executed = cluster.world.io.take_executed();
            assert_eq!(executed, [Store::Write], "{name}: it goes on");
            if cluster.is_scsi(VICTIM) {
                cluster.forget(&change);
            }
            assert_eq!(cluster.write(VICTIM, 0, &[1; 512]), ends(&cluster));
            cluster.finish();
        }
    }
}

fn generation(cluster: &Cluster) -> u32 {
    let devices = &cluster.world.daemon.shared.inventory().devices;
    devices[0].unit.reservations().table().generation()
}

/// A preempting command that is aborted ends when its victim's commands have: who asks next may rely on that.
#[test]
fn the_preempting_command_is_aborted() {
    for victim in Transport::ALL {
        for seed in seeds(0..6) {
            let name = format!("seed {seed}: {victim:?}");
            let setup = Setup::new(seed).staged();
            let mut cluster = cluster(setup, victim, Transport::Srp);
            let change = long_change(&mut cluster);
            cluster.world.io.take_executed();
            let preempting = preempt_and_abort(&mut cluster);
            // Before it is made, or after.
            match seed % 2 {
                0 => cluster.pump_shards(200),
                _ => cluster.world.settle(),
            }
            let channel = cluster.channel(PREEMPTOR);
            let abort = Task {
                lun: scsi::lun(0),
                function: 1,
                tag: preempting.tag(),
            };
            let abort = cluster.world.initiators[PREEMPTOR].task(channel, abort);
            let abort = abort.expect("a credit");
            cluster.pump_shards(200);
            cluster.world.settle();
            let early = cluster.world.initiators[PREEMPTOR].take_reply(channel, abort);
            assert!(early.is_none(), "{name}");
            cluster.world.io.release();
            let reply = cluster.world.reply(PREEMPTOR, channel, abort);
            assert_eq!(reply.response.code, Some(0), "{name}");
            assert_eq!(cluster.world.io.take_executed(), [Store::Write], "{name}");
            cluster.world.settle();
            assert_eq!(cluster.world.io.take_executed(), [], "{name}: it goes on");
            assert_eq!(cluster.landed(&preempting), None, "{name}");
            cluster.forget(&preempting);
            if cluster.is_scsi(VICTIM) {
                cluster.forget(&change);
            }
            cluster.finish();
        }
    }
}

/// What the first command of a victim ends with.
fn ends(cluster: &Cluster) -> Outcome {
    if cluster.is_scsi(VICTIM) {
        super::ATTENTION
    } else {
        Outcome::Conflict
    }
}

/// A command that changes reservations is aborted, or its host goes, while it is made.
#[test]
fn changes_are_made_or_not() {
    for seed in seeds(0..60) {
        let mut cluster = cluster(Setup::new(seed), Transport::Srp, Transport::Iser);
        let before = cluster.view(BYSTANDER);
        let list = Parameters::keys(KEYS[VICTIM], 77).encode();
        let cdb = persistent_reserve_out(action::REGISTER, 0, 24);
        let register = Scsi::new(cdb, Transfer::Out(list));
        let channel = cluster.channel(VICTIM);
        let tag = {
            let flight = cluster.launch_scsi(VICTIM, &register).expect("a credit");
            flight.tag()
        };
        let rounds = cluster.world.random.below(25);
        pump(&mut cluster, rounds);
        let task = |function, tag| Task {
            lun: scsi::lun(0),
            function,
            tag,
        };
        match seed % 4 {
            // ABORT TASK
            0 => assert_eq!(cluster.world.manage(VICTIM, channel, task(1, tag)), 0),
            // LOGICAL UNIT RESET
            1 => assert_eq!(cluster.world.manage(VICTIM, channel, task(8, 0)), 0),
            2 => cluster.world.initiators[VICTIM].fail(channel).expect("up"),
            _ => cluster.leave(VICTIM),
        }
        cluster.world.settle();
        if cluster.is_scsi(BYSTANDER) {
            // A reset was everybody's.
            while cluster.test_unit_ready(BYSTANDER) != Outcome::Good {}
        }
        let view = cluster.view(BYSTANDER);
        let made = view.keys == [2, 3, 77];
        assert!(made || view == before, "seed {seed}: {view:?}");
        let alive = cluster.is_here(VICTIM) && cluster.is_up(VICTIM);
        assert_eq!(alive, seed % 4 < 2, "seed {seed}");
        if alive {
            cluster.world.initiators[VICTIM].abandon(channel, tag);
            cluster.world.settle();
            assert_eq!(cluster.world.initiators[VICTIM].request_limit(channel), 8);
        } else {
            cluster.log_in(VICTIM);
        }
        // It is the same registrant as before.
        while cluster.test_unit_ready(VICTIM) != Outcome::Good {}
        let key = if made { 77 } else { KEYS[VICTIM] };
        assert_eq!(cluster.release(VICTIM, key, KIND), Outcome::Good);
        cluster.finish();
    }
}

/// Two hosts preempt each other at the same time, again and again.
#[test]
fn hosts_that_preempt_each_other() {
    for (number, (one, other)) in pairs().enumerate() {
        for seed in seeds(0..3) {
            let name = format!("seed {seed}: {one:?} and {other:?}");
            let mut setup = Setup::new(seed * 16 + number as u64).staged();
            setup.shards = 1 + (seed % 3) as u32;
            let mut cluster = cluster(setup, one, other);
            for _ in 0..4 {
                let flights = [(VICTIM, PREEMPTOR), (PREEMPTOR, VICTIM)]
                    .map(|(by, to)| cluster.launch_preempt_and_abort(by, KEYS[by], KEYS[to], KIND));
                cluster.world.settle();
                let ends = flights.map(|flight| match cluster.landed(&flight) {
                    None => {
                        assert!(cluster.is_scsi(flight.host), "{name}");
                        cluster.forget(&flight);
                        None
                    }
                    some => some,
                });
                let good = ends.iter().filter(|end| **end == Some(Outcome::Good));
                assert_eq!(good.count(), 1, "{name}: {ends:?}");
                for host in [VICTIM, PREEMPTOR] {
                    cluster.told(host);
                    cluster.register_as(
                        host,
                        pagecast_tests::reservations::Registration::new(KEYS[host]).ignoring(),
                    );
                }
            }
            cluster.finish();
        }
    }
}

fn reserve(cluster: &mut Cluster, host: usize) -> Outcome {
    cluster.scsi(host, reserve6(), Transfer::None).0
}

/// What SCSI-2's RESERVE has reserved ends with its session.
#[test]
fn a_simple_reservation_ends_with_its_session() {
    for seed in seeds(0..8) {
        for transport in [Transport::Srp, Transport::Iser] {
            let name = format!("seed {seed}: {transport:?}");
            let hosts = [transport, Transport::Srp, Transport::Nvme];
            let mut cluster = Cluster::new(Setup::new(seed), &hosts);
            assert_eq!(reserve(&mut cluster, 0), Outcome::Good, "{name}");
            assert_eq!(reserve(&mut cluster, 1), Outcome::Conflict, "{name}");
            assert_eq!(cluster.write(2, 0, &[1; 512]), Outcome::Conflict, "{name}");
            cluster.leave(0);
            assert_eq!(cluster.write(2, 0, &[1; 512]), Outcome::Good, "{name}");
            assert_eq!(reserve(&mut cluster, 1), Outcome::Good, "{name}");
            let released = cluster.scsi(1, release6(), Transfer::None).0;
            assert_eq!(released, Outcome::Good, "{name}");
            // In again, and once more, which takes the place of the former session.
            cluster.log_in(0);
            assert_eq!(reserve(&mut cluster, 0), Outcome::Good, "{name}");
            cluster.log_in(0);
            assert_eq!(cluster.write(2, 0, &[2; 512]), Outcome::Good, "{name}");
            assert_eq!(reserve(&mut cluster, 1), Outcome::Good, "{name}");
            cluster.finish();
        }
    }
}
