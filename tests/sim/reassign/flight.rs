//! What is under way when LUNs go: copies, ordered and fused commands, task management, many connections.

use pagecast_initiator::nvme::{ControllerOptions, Fuse, io};
use pagecast_initiator::scsi::reserve::reserve6;
use pagecast_initiator::{Command, Task, scsi};
use pagecast_tests::changes::{map, move_to, unmap};
use pagecast_tests::luns::{LUNS_CHANGED, NO_SUCH_NAMESPACE, NO_SUCH_UNIT, OTHER_UNIT, naa};
use pagecast_tests::nvme::{controller, keyed, once};
use pagecast_tests::reservations::{Cluster, Outcome, Scsi, Transfer};
use pagecast_tests::{pattern, seeds};

use super::{ISER, NVME, SRP, cluster, setup};

fn hold(cluster: &Cluster, device: &str) {
    let device = cluster.world.device(device).expect("a device");
    cluster.world.io.hold_store(&device.backend);
}

/// A copy goes on to the end of its last segment, though one of its units is seen no more; the next one does not find it.
#[test]
fn copies_run_to_their_end() {
    for seed in seeds(0..6) {
        let host = if seed % 2 == 0 { SRP } else { ISER };
        let mut cluster = cluster(seed);
        let bytes = pattern(1024 * 512, seed);
        for (number, chunk) in bytes.chunks(128 * 512).enumerate() {
            let lba = number as u64 * 128;
            assert_eq!(cluster.write(host, lba, chunk), Outcome::Good);
        }
        // From LUN 0 to LUN 1, sent to either; 512 KiB each.
        let (from, to) = (naa(&cluster.world, "disk0"), naa(&cluster.world, "disk1"));
        let segments = [(0, 0, 512), (512, 512, 512)];
        let (cdb, list) = scsi::extended_copy(&from, &to, 512, &segments);
        let copy = Scsi {
            lun: u16::from(seed % 4 < 2),
            ..Scsi::new(cdb, Transfer::Out(list))
        };
        hold(&cluster, "disk1");
        let flight = cluster.launch_scsi(host, &copy).expect("a credit");
        let waiting = |world: &mut pagecast_tests::World| (world.io.waiting() > 0).then_some(());
        cluster.world.run_until(waiting);
        let changing = cluster.world.begin_change(vec![unmap("one", 1)]);
        cluster.world.settle();
        assert_eq!(cluster.landed(&flight), None, "seed {seed}");
        assert!(!changing.is_over(), "seed {seed}: it was not waited for");
        cluster.world.io.release();
        assert_eq!(cluster.land(&flight), Outcome::Good, "seed {seed}");
        cluster.world.end(changing).expect("a good change");
        assert_eq!(cluster.hears(host, 1), [NO_SUCH_UNIT], "seed {seed}");
        if copy.lun == 0 {
            cluster.hears(host, 0);
            let again = cluster.launch_scsi(host, &copy).expect("a credit");
            // COPY ABORTED, or COPY TARGET DEVICE NOT REACHABLE in other words.
            let outcome = cluster.land(&again);
            assert!(
                matches!(outcome, Outcome::Sense(5 | 10, ..)),
                "seed {seed}: {outcome:?}"
            );
        }
        // What was written is there.
        cluster
            .world
            .must_change(vec![map("one", 1, "disk1", false)]);
        cluster.hears(host, 1);
        for lba in [0, 511, 512, 1023] {
            let (outcome, block) = cluster.read_at(host, 1, lba);
            assert_eq!(outcome, Outcome::Good);
            let at = lba as usize * 512;
            assert!(block == bytes[at..at + 512], "seed {seed}: block {lba}");
        }
        cluster.finish();
    }
}

/// What waits for its turn is not executed if its number stands for nothing, or for another unit, when that comes.
#[test]
fn ordered_commands_do_not_stray() {
    for seed in seeds(0..8) {
        let host = if seed % 2 == 0 { SRP } else { ISER };
        let lun = if seed % 4 < 2 { 1 } else { 2 };
        let mut cluster = cluster(seed);
        hold(&cluster, if lun == 1 { "disk1" } else { "disk2" });
        let mut flights = Vec::new();
        for number in 1..6u8 {
            let bytes = Transfer::Out(vec![number; 4096]);
            let write = Scsi {
                lun,
                ordered: number % 2 == 0,
                ..Scsi::new(scsi::write16(0, 8, false), bytes)
            };
            flights.push(cluster.launch_scsi(host, &write).expect("a credit"));
        }
        cluster.world.settle();
        assert_eq!(cluster.world.io.waiting(), 1, "seed {seed}");
        let edit = move_to(&cluster.name(host), "two");
        let changing = cluster.world.begin_change(vec![edit]);
        cluster.world.settle();
        // LUN 0 has an order of its own.
        assert_eq!(cluster.hears(host, 0), [LUNS_CHANGED, Outcome::Good]);
        assert!(!changing.is_over(), "seed {seed}: it was not waited for");
        cluster.world.io.release();
        for (number, flight) in flights.iter().enumerate() {
            let expected = if number == 0 {
                Outcome::Good
            } else {
                NO_SUCH_UNIT
            };
            let outcome = cluster.land(flight);
            assert_eq!(outcome, expected, "seed {seed}: command {number}");
        }
        cluster.world.end(changing).expect("a good change");
        if lun == 2 {
            // The unit that has the number now.
            let heard = cluster.hears(host, 2);
            assert_eq!(heard, [OTHER_UNIT, LUNS_CHANGED, NO_SUCH_UNIT]);
            assert!(cluster.finds(host, 2, "disk3"));
            assert_eq!(cluster.read_at(host, 2, 7), (Outcome::Good, vec![0; 512]));
        }
        let other = if host == SRP { ISER } else { SRP };
        let (outcome, block) = cluster.read_at(other, lun, 7);
        assert_eq!((outcome, block[0]), (Outcome::Good, 1), "seed {seed}");
        cluster.finish();
    }
}

/// A change between the halves of a fused operation: none is left waiting, and at the namespace that stays it is one operation.
#[test]
fn fused_pairs_are_not_torn() {
    for seed in seeds(0..12) {
        for nsid in [1, 2] {
            let mut cluster = cluster(seed);
            let queue = cluster.queue(NVME);
            let what = format!("seed {seed}, namespace {nsid}");
            let old = vec![0; 512];
            let old = keyed(&cluster.world.nvme_filled(NVME, queue, &old));
            let new = keyed(&cluster.world.nvme_filled(NVME, queue, &[9; 512]));
            let first = io::compare(nsid, 3, 1, old).fused(Fuse::First);
            let second = io::write(nsid, 3, 1, new).fused(Fuse::Second);
            if nsid == 2 && seed % 2 == 0 {
                hold(&cluster, "disk1");
            }
            let one = cluster.launch_nvme(NVME, 0, &first).expect("room");
            for _ in 0..cluster.world.random.below(30) {
                cluster.world.pump();
            }
            let both_before = seed % 3 == 0;
            let mut two = None;
            if both_before {
                two = cluster.launch_nvme(NVME, 0, &second);
                for _ in 0..cluster.world.random.below(60) {
                    cluster.world.pump();
                }
            }
            let edit = move_to(&cluster.name(NVME), "two");
            let changing = cluster.world.begin_change(vec![edit]);
            for _ in 0..cluster.world.random.below(30) {
                cluster.world.pump();
            }
            let two = two
                .or_else(|| cluster.launch_nvme(NVME, 0, &second))
                .expect("room");
            for _ in 0..cluster.world.random.below(100) {
                cluster.world.pump();
            }
            cluster.world.io.release();
            let outcomes = (cluster.land(&one), cluster.land(&two));
            match nsid {
                1 => assert_eq!(outcomes, (Outcome::Good, Outcome::Good), "{what}"),
                _ => {
                    let good = outcomes == (Outcome::Good, Outcome::Good);
                    // Failed fused; invalid namespace.
                    let failed = [Outcome::Nvme(0, 9), NO_SUCH_NAMESPACE];
                    let bad = failed.contains(&outcomes.0) && failed.contains(&outcomes.1);
                    assert!(good || bad, "{what}: {outcomes:?}");
                }
            }
            cluster.world.end(changing).expect("a good change");
            let block = cluster.read_at(SRP, nsid as u16 - 1, 3).1;
            let expected = if outcomes.1 == Outcome::Good { 9 } else { 0 };
            assert_eq!(block[0], expected, "{what}");
            assert!(cluster.is_up(NVME), "{what}");
            cluster.finish();
        }
    }
}

/// Commands at a unit that is seen no more can be aborted by their tags; the unit itself is not there to be reset, and others' commands
/// are none of its business.
#[test]
fn task_management_at_a_unit_that_is_gone() {
    for seed in seeds(0..6) {
        let mut cluster = cluster(seed);
        let channel = cluster.channel(SRP);
        hold(&cluster, "disk1");
        let flights = cluster.launch_at(SRP, 1, 2);
        let others = cluster.launch_at(ISER, 1, 2);
        cluster
            .world
            .run_until(|world| (world.io.waiting() == 4).then_some(()));
        let edit = move_to(&cluster.name(SRP), "two");
        let changing = cluster.world.begin_change(vec![edit]);
        let reset = Task {
            lun: scsi::lun(1),
            function: 8,
            tag: 0,
        };
        // TASK MANAGEMENT FUNCTION FAILED
        assert_eq!(cluster.world.manage(SRP, channel, reset), 5, "seed {seed}");
        let abort = Task {
            lun: scsi::lun(1),
            function: 1,
            tag: flights[0].tag(),
        };
        let abort = cluster.world.initiators[SRP]
            .task(channel, abort)
            .expect("a credit");
        cluster.world.settle();
        assert!(
            cluster.world.initiators[SRP]
                .take_reply(channel, abort)
                .is_none()
        );
        cluster.world.io.release();
        let reply = cluster.world.reply(SRP, channel, abort);
        assert_eq!(reply.response.code, Some(0), "seed {seed}");
        assert_eq!(cluster.landed(&flights[0]), None, "seed {seed}");
        cluster.forget(&flights[0]);
        assert_eq!(cluster.land(&flights[1]), Outcome::Good, "seed {seed}");
        for flight in &others {
            assert_eq!(cluster.land(flight), Outcome::Good, "seed {seed}");
        }
        cluster.world.end(changing).expect("a good change");
        cluster.finish();
    }
}

/// A reset that everybody hears of goes through while a map changes.
#[test]
fn resets_go_through() {
    for seed in seeds(0..6) {
        let mut cluster = cluster(seed);
        let channel = cluster.channel(SRP);
        hold(&cluster, "disk1");
        let flights = cluster.launch_at(ISER, 1, 2);
        cluster
            .world
            .run_until(|world| (world.io.waiting() == 2).then_some(()));
        let reset = Task {
            lun: scsi::lun(1),
            function: 8,
            tag: 0,
        };
        let reset = cluster.world.initiators[SRP]
            .task(channel, reset)
            .expect("a credit");
        for _ in 0..cluster.world.random.below(60) {
            cluster.world.pump();
        }
        // The host whose commands are to be aborted sees the unit no more.
        let edit = move_to(&cluster.name(ISER), "two");
        let changing = cluster.world.begin_change(vec![edit]);
        cluster.world.settle();
        assert!(!changing.is_over(), "seed {seed}");
        cluster.world.io.release();
        assert_eq!(
            cluster.world.reply(SRP, channel, reset).response.code,
            Some(0)
        );
        cluster.world.end(changing).expect("a good change");
        cluster.world.settle();
        for flight in &flights {
            if cluster.landed(flight).is_none() {
                cluster.forget(flight);
            }
        }
        cluster.finish();
    }
}

/// All channels of a session, and all queues of a controller, on whichever shards, see the same map.
#[test]
fn every_connection_of_a_session_moves() {
    for seed in seeds(0..4) {
        let mut setup = setup(seed).setting("\"nvme_io_queues\": 4");
        setup.shards = 3;
        let mut cluster = Cluster::new(setup, &pagecast_tests::reservations::Transport::ALL);
        let mut channels = vec![cluster.channel(SRP)];
        for _ in 0..3 {
            let options = cluster.world.options(SRP).multichannel();
            channels.push(cluster.world.log_in_with(SRP, options));
        }
        let more = ControllerOptions {
            queues: 4,
            ..controller(NVME)
        };
        let wide = cluster.world.nvme_controller_with(NVME, more);
        hold(&cluster, "disk1");
        let (mut srp, mut nvme) = (Vec::new(), Vec::new());
        for &channel in &channels {
            let buffer = cluster.world.buffer(SRP, channel, 4096);
            let read = Command::new(
                1,
                scsi::read16(0, 8),
                pagecast_initiator::Data::In(
                    buffer.whole().expect("all of it"),
                    pagecast_initiator::Format::Direct,
                ),
            );
            let tag = cluster.world.send(SRP, channel, &read);
            srp.push((channel, tag));
        }
        for &queue in &wide.io {
            let buffer = cluster.world.nvme_buffer(NVME, queue, 4096);
            let read = io::read(2, 0, 8, once(&buffer));
            nvme.push((queue, cluster.world.nvme_send(NVME, queue, &read)));
        }
        cluster
            .world
            .run_until(|world| (world.io.waiting() == 8).then_some(()));
        let names = [SRP, NVME].map(|host| move_to(&cluster.name(host), "two"));
        let changing = cluster.world.begin_change(names.to_vec());
        // New ones do not find it, over whichever connection.
        let tur = |lun| Command::new(lun, scsi::test_unit_ready(), pagecast_initiator::Data::None);
        let mut told = 0;
        for &channel in &channels {
            let reply = cluster.world.execute(SRP, channel, &tur(1));
            assert_eq!(reply.sense(), Some((5, 0x25, 0)), "seed {seed}");
            let reply = cluster.world.execute(SRP, channel, &tur(0));
            told += u64::from(reply.sense() == Some((6, 0x3f, 0x0e)));
        }
        assert_eq!(told, 1, "seed {seed}: told once for all channels");
        for &queue in &wide.io {
            let buffer = cluster.world.nvme_buffer(NVME, queue, 512);
            let reply = cluster
                .world
                .nvme_execute(NVME, queue, &io::read(2, 0, 1, once(&buffer)));
            assert_eq!(reply.code(), (0, 0x0b), "seed {seed}");
        }
        assert!(!changing.is_over(), "seed {seed}");
        cluster.world.io.release();
        for (channel, tag) in srp {
            assert!(
                cluster.world.reply(SRP, channel, tag).is_good(),
                "seed {seed}"
            );
        }
        for (queue, cid) in nvme {
            assert!(
                cluster.world.nvme_reply(NVME, queue, cid).is_success(),
                "seed {seed}"
            );
        }
        let report = cluster.world.end(changing).expect("a good change");
        assert_eq!(report.sessions.len(), 3, "seed {seed}: {report:?}");
        // A channel more has the map of the session.
        let options = cluster.world.options(SRP).multichannel();
        let late = cluster.world.log_in_with(SRP, options);
        let reply = cluster.world.execute(SRP, late, &tur(1));
        assert_eq!(reply.sense(), Some((5, 0x25, 0)), "seed {seed}");
        cluster.world.nvme_disconnect(NVME, &wide);
        cluster.finish();
    }
}

/// What SCSI-2's RESERVE holds is free when the host sees the unit no more, and held as long as it does.
#[test]
fn legacy_reservations_go_with_the_unit() {
    for seed in seeds(0..4) {
        for (host, other) in [(SRP, ISER), (ISER, SRP)] {
            let mut cluster = cluster(seed);
            for lun in [0, 1] {
                let reserve = cluster.scsi_at(host, lun, reserve6(), Transfer::None);
                assert_eq!(reserve.0, Outcome::Good);
                assert_eq!(cluster.hears(other, lun), [Outcome::Conflict]);
            }
            let edit = move_to(&cluster.name(host), "two");
            cluster.world.must_change(vec![edit]);
            assert_eq!(cluster.hears(other, 0), [Outcome::Conflict], "seed {seed}");
            assert_eq!(cluster.hears(other, 1), [Outcome::Good], "seed {seed}");
            assert_eq!(cluster.read_at(NVME, 1, 0).0, Outcome::Good, "seed {seed}");
            let edit = move_to(&cluster.name(host), "one");
            cluster.world.must_change(vec![edit]);
            // It does not come back with the unit.
            assert_eq!(cluster.hears(other, 1), [Outcome::Good], "seed {seed}");
            assert_eq!(cluster.hears(other, 0), [Outcome::Conflict], "seed {seed}");
            cluster.finish();
        }
    }
}

/// Zero copy reads and writes of a unit that goes keep its windows until they have ended.
#[test]
fn what_is_sent_from_windows_is_waited_for() {
    for seed in seeds(0..8) {
        let mut cluster = cluster(1 + 3 * seed);
        // LUN 0 has windows; everybody loses it.
        let mut flights = Vec::new();
        for host in [SRP, ISER, NVME] {
            flights.extend(cluster.launch_at(host, 0, 4));
        }
        for _ in 0..cluster.world.random.below(150) {
            cluster.world.pump();
        }
        cluster.world.must_change(vec![unmap("one", 0)]);
        let device = cluster.world.device("disk0").expect("a device");
        let busy = device.total(|counters| &counters.in_flight);
        assert_eq!(busy, 0, "seed {seed}: the change did not wait");
        if let Some(windows) = &device.windows {
            let revoked = windows.revoke_and_wait(0..u64::MAX, std::time::Duration::from_secs(1));
            assert!(revoked.is_ok(), "seed {seed}: a window is still in use");
        }
        for flight in &flights {
            let outcome = cluster.land(flight);
            let known = [Outcome::Good, NO_SUCH_UNIT, NO_SUCH_NAMESPACE];
            assert!(known.contains(&outcome), "seed {seed}: {outcome:?}");
        }
        cluster.finish();
    }
}
