//! One table for hosts of all transports: everybody sees the others, preempts them, and hears of it in its own way.

use pagecast_initiator::scsi::reserve::{FullStatus, iscsi_transport_id, srp_transport_id};
use pagecast_tests::iser::initiator_name;
use pagecast_tests::reservations::{Cluster, Kind, Notice, Outcome, Registration, Transport, View};
use pagecast_tests::{Host, Setup, pattern, seeds};

use Notice::{RegistrationPreempted, ReservationPreempted, ReservationReleased};
use Outcome::{Conflict, Good};

pub(crate) const SRP: Host = 0;
pub(crate) const ISER: Host = 1;
pub(crate) const NVME: Host = 2;
pub(crate) const ALL: [Host; 3] = [SRP, ISER, NVME];

/// Everybody's keys.
pub(crate) const KEYS: [u64; 3] = [0x0051, 0x0015_0000, 0xffff_ffff_ffff_0003];

/// The ISID of iSCSI hosts, unless they choose another one.
const ISID: [u8; 6] = [0x80, 0, 0, 0, 0, 1];

/// One host of each transport, all of them registered.
pub(crate) fn registered(seed: u64) -> Cluster {
    let mut cluster = Cluster::of_three(seed);
    for host in ALL {
        assert_eq!(cluster.register(host, KEYS[host]), Good);
    }
    cluster
}

/// What everybody sees; that has to be the same.
pub(crate) fn agreed(cluster: &mut Cluster) -> View {
    let view = cluster.view(SRP);
    for host in [ISER, NVME] {
        assert_eq!(cluster.view(host), view, "host {host}");
    }
    view
}

pub(crate) fn others(host: Host) -> [Host; 2] {
    [(host + 1) % 3, (host + 2) % 3]
}

pub(crate) fn sorted(mut keys: Vec<u64>) -> Vec<u64> {
    keys.sort_unstable();
    keys
}

pub(crate) fn write(cluster: &mut Cluster, host: Host) -> Outcome {
    cluster.write(host, host as u64, &pattern(512, 1))
}

#[test]
fn everybody_sees_the_same() {
    for seed in seeds(0..3) {
        let mut cluster = Cluster::of_three(seed);
        assert!(agreed(&mut cluster).keys.is_empty());
        let mut generation = 0;
        for (count, host) in ALL.into_iter().enumerate() {
            assert_eq!(cluster.register(host, KEYS[host]), Good);
            generation += 1;
            let view = agreed(&mut cluster);
            assert_eq!(view.keys, sorted(KEYS[..=count].to_vec()));
            assert_eq!((view.generation, view.kind), (generation, None));
        }
        for holder in ALL {
            for kind in Kind::ALL {
                assert_eq!(cluster.reserve(holder, KEYS[holder], kind), Good);
                let view = agreed(&mut cluster);
                let holders = match kind.is_held_by_all() {
                    true => view.keys.clone(),
                    false => vec![KEYS[holder]],
                };
                assert_eq!((view.kind, &view.holders), (Some(kind), &holders));
                // Neither reserving nor releasing counts (SPC-4 section 6.15.2).
                assert_eq!(view.generation, generation);
                // Again by the holder: nothing happens (SPC-4 section 5.12.10). By others: conflict, unless they hold it as well.
                assert_eq!(cluster.reserve(holder, KEYS[holder], kind), Good);
                for other in others(holder) {
                    let expected = if kind.is_held_by_all() {
                        Good
                    } else {
                        Conflict
                    };
                    let found = cluster.reserve(other, KEYS[other], kind);
                    assert_eq!(found, expected, "{kind:?}, {other} beside {holder}");
                }
                assert_eq!(cluster.release(holder, KEYS[holder], kind), Good);
                let told: Vec<_> = sorted_hosts(others(holder))
                    .into_iter()
                    .filter(|_| kind.tells_registrants())
                    .map(|host| (host, vec![ReservationReleased]))
                    .collect();
                assert_eq!(cluster.everybody_told(), told, "{kind:?} of {holder}");
                assert_eq!(agreed(&mut cluster).kind, None);
            }
        }
        // Other keys, and none.
        for host in ALL {
            let change = Registration::new(KEYS[host] + 1).replacing(KEYS[host]);
            assert_eq!(cluster.register_as(host, change), Good);
            // REGISTER AND IGNORE EXISTING KEY; Register with IEKEY, as Linux asks for the same.
            let back = Registration::new(KEYS[host]).ignoring();
            assert_eq!(cluster.register_as(host, back), Good);
        }
        assert_eq!(agreed(&mut cluster).keys, sorted(KEYS.to_vec()));
        cluster.finish();
    }
}

pub(crate) fn sorted_hosts(mut hosts: [Host; 2]) -> [Host; 2] {
    hosts.sort_unstable();
    hosts
}

#[test]
fn wrong_keys_are_conflicts() {
    let mut cluster = Cluster::of_three(1);
    let kind = Kind::WriteExclusive;
    for host in ALL {
        // Nobody is registered.
        assert_eq!(cluster.reserve(host, KEYS[host], kind), Conflict);
        assert_eq!(cluster.release(host, KEYS[host], kind), Conflict);
        assert_eq!(cluster.clear(host, KEYS[host]), Conflict);
        assert_eq!(cluster.preempt(host, KEYS[host], 7, kind), Conflict);
        assert_eq!(cluster.unregister(host, KEYS[host]), Conflict);
    }
    for host in ALL {
        assert_eq!(cluster.register(host, KEYS[host]), Good);
    }
    let before = agreed(&mut cluster);
    for host in ALL {
        let wrong = KEYS[(host + 1) % 3];
        assert_eq!(cluster.reserve(host, wrong, kind), Conflict);
        assert_eq!(cluster.release(host, wrong, kind), Conflict);
        assert_eq!(cluster.clear(host, wrong), Conflict);
        assert_eq!(cluster.preempt(host, wrong, KEYS[host], kind), Conflict);
        assert_eq!(cluster.unregister(host, wrong), Conflict);
        let change = Registration::new(9).replacing(wrong);
        assert_eq!(cluster.register_as(host, change), Conflict);
        // A key that nobody has.
        assert_eq!(cluster.preempt(host, KEYS[host], 0xdead, kind), Conflict);
        // Registered already: with the same key that is nothing over NVMe, and wrong over SCSI.
        let again = cluster.register(host, KEYS[host]);
        assert_eq!(
            again,
            if cluster.is_scsi(host) {
                Conflict
            } else {
                Good
            }
        );
        assert_eq!(cluster.register(host, 9), Conflict);
    }
    let mut after = agreed(&mut cluster);
    after.generation = before.generation;
    assert_eq!(after, before);
    // A release of another type than is held (SPC-4 section 5.12.11.2; NVMe base 2.0 section 7.4).
    for host in ALL {
        assert_eq!(cluster.reserve(host, KEYS[host], kind), Good);
        let found = cluster.release(host, KEYS[host], Kind::ExclusiveAccess);
        let expected = match cluster.is_scsi(host) {
            true => Outcome::Sense(5, 0x26, 4),
            false => Outcome::Nvme(0, 0x02),
        };
        assert_eq!(found, expected);
        // One's own key, but somebody else's reservation: nothing happens (SPC-4 section 5.12.11.2).
        for other in others(host) {
            assert_eq!(cluster.release(other, KEYS[other], kind), Good);
            assert_eq!(agreed(&mut cluster).holders, [KEYS[host]]);
        }
        assert_eq!(cluster.release(host, KEYS[host], kind), Good);
    }
    assert_eq!(cluster.everybody_told(), []);
    cluster.finish();
}

/// Who is who, as the other protocol has it.
#[test]
fn identities_are_stable() {
    let mut cluster = Cluster::of_three(1);
    for host in ALL {
        assert_eq!(cluster.register_for_good(host, KEYS[host]), Good);
    }
    let mut reports = Vec::new();
    for _ in 0..2 {
        for reader in [SRP, ISER] {
            let (_, all) = cluster.full_status(reader);
            assert_eq!(all.len(), 3);
            let of = |key: u64| -> &FullStatus {
                all.iter().find(|one| one.key == key).expect("a registrant")
            };
            let srp = of(KEYS[SRP]);
            assert_eq!(srp.transport_id, srp_transport_id([0xa0; 16]));
            assert_eq!((srp.port, srp.all_ports), (1, false));
            let iser = of(KEYS[ISER]);
            let name = initiator_name(ISER);
            assert_eq!(iser.transport_id, iscsi_transport_id(&name, Some(ISID)));
            assert_eq!((iser.port, iser.all_ports), (2, false));
            // No specific protocol, with the host identifier: through whichever port.
            let nvme = of(KEYS[NVME]);
            assert_eq!((nvme.transport_id.len(), nvme.transport_id[0]), (24, 0x0f));
            assert_eq!(nvme.transport_id[8..], [0x50 + NVME as u8; 16]);
            assert!(nvme.all_ports);
        }
        let report = cluster.report(NVME);
        assert_eq!(report.registrants.len(), 3);
        let mut hosts: Vec<_> = report
            .registrants
            .iter()
            .map(|one| (one.key, one.controller, one.host.clone()))
            .collect();
        hosts.sort();
        for (key, controller, host) in &hosts {
            assert!(*host != [0; 16], "a host without identity");
            match *key {
                key if key == KEYS[NVME] => assert_eq!(*host, [0x50 + NVME as u8; 16]),
                _ => assert_eq!(*controller, 0xffff, "not a controller of this subsystem"),
            }
        }
        assert!(hosts[0].2 != hosts[1].2 && hosts[1].2 != hosts[2].2 && hosts[0].2 != hosts[2].2);
        let derived = hosts.into_iter().filter(|(key, ..)| *key != KEYS[NVME]);
        reports.push(derived.collect::<Vec<_>>());
        // The second time, after a restart.
        if reports.len() == 1 {
            let again = cluster.report(NVME);
            assert_eq!(again, report);
            cluster = cluster.restarted();
        }
    }
    assert_eq!(reports[0], reports[1]);
    cluster.finish();
}

/// The reservation goes with the registration of its holder, and with all registrants' only when the last one goes.
#[test]
fn unregistering() {
    for host in ALL {
        for kind in Kind::ALL {
            let mut cluster = registered(5);
            assert_eq!(cluster.reserve(host, KEYS[host], kind), Good);
            assert_eq!(cluster.unregister(host, KEYS[host]), Good);
            if kind.is_held_by_all() {
                assert_eq!(cluster.everybody_told(), []);
                let view = agreed(&mut cluster);
                assert_eq!(view.kind, Some(kind));
                assert_eq!(view.holders, view.keys);
                assert_eq!(write(&mut cluster, host), Conflict);
                let [one, other] = others(host);
                for last in [one, other] {
                    assert_eq!(cluster.unregister(last, KEYS[last]), Good);
                }
            } else {
                let told: Vec<_> = sorted_hosts(others(host))
                    .into_iter()
                    .filter(|_| kind.tells_registrants())
                    .map(|host| (host, vec![ReservationReleased]))
                    .collect();
                assert_eq!(cluster.everybody_told(), told, "{kind:?} of {host}");
            }
            assert_eq!(agreed(&mut cluster).kind, None);
            assert_eq!(write(&mut cluster, host), Good);
            cluster.finish();
        }
    }
}

/// What an NVMe host does not want to hear of is not in its log page, either; the other hosts hear of it as ever.
#[test]
fn masked_notifications() {
    for nsid in [1, u32::MAX] {
        let mut cluster = Cluster::new(
            Setup::new(6),
            &[Transport::Srp, Transport::Nvme, Transport::Nvme],
        );
        for host in ALL {
            assert_eq!(cluster.register(host, KEYS[host]), Good);
        }
        assert_eq!(cluster.mask(1, nsid, 1 << 1 | 1 << 2), Good);
        let kind = Kind::WriteExclusiveRegistrants;
        assert_eq!(cluster.reserve(0, KEYS[0], kind), Good);
        assert_eq!(cluster.release(0, KEYS[0], kind), Good);
        assert_eq!(cluster.everybody_told(), [(2, vec![ReservationReleased])]);
        for victim in [1, 2] {
            assert_eq!(cluster.preempt(0, KEYS[0], KEYS[victim], kind), Good);
        }
        assert_eq!(cluster.everybody_told(), [(2, vec![RegistrationPreempted])]);
        for host in [1, 2] {
            assert_eq!(cluster.register(host, KEYS[host]), Good);
        }
        assert_eq!(cluster.clear(0, KEYS[0]), Good);
        let told = [1, 2].map(|host| (host, vec![ReservationPreempted]));
        assert_eq!(cluster.everybody_told(), told);
        cluster.finish();
    }
}

/// Several notices at once: each comes, the log page says how many there are.
#[test]
fn several_notices() {
    let mut cluster = registered(7);
    let kind = Kind::WriteExclusiveRegistrants;
    assert_eq!(cluster.reserve(SRP, KEYS[SRP], kind), Good);
    assert_eq!(cluster.release(SRP, KEYS[SRP], kind), Good);
    assert_eq!(cluster.clear(SRP, KEYS[SRP]), Good);
    let mut told = cluster.everybody_told();
    for (_, notices) in &mut told {
        notices.sort();
    }
    let both = vec![ReservationReleased, ReservationPreempted];
    assert_eq!(told, [(ISER, both.clone()), (NVME, both)]);
    cluster.finish();
}

/// A registration outlives the session that made it, and nothing is lost while its owner is away.
#[test]
fn sessions_that_come_back() {
    for host in ALL {
        let mut cluster = registered(8);
        let kind = Kind::ExclusiveAccess;
        assert_eq!(cluster.reserve(host, KEYS[host], kind), Good);
        let view = agreed(&mut cluster);
        cluster.leave(host);
        for other in others(host) {
            assert_eq!(cluster.read(other, 0).0, Conflict);
            assert_eq!(cluster.view(other), view);
        }
        cluster.log_in(host);
        assert_eq!(write(&mut cluster, host), Good);
        assert_eq!(agreed(&mut cluster), view);
        cluster.finish();
    }
}

/// One NVMe host by two controllers is one registrant (NVMe base 2.0 section 8.19); another session of an iSCSI initiator is another
/// initiator port, and a second channel of an SRP initiator the same one.
#[test]
fn several_paths() {
    let mut cluster = registered(9);
    let kind = Kind::ExclusiveAccess;
    assert_eq!(cluster.reserve(NVME, KEYS[NVME], kind), Good);
    let second = cluster.world.nvme_controller(NVME);
    let queue = second.io[1];
    cluster.world.nvme_write(NVME, queue, 0, &pattern(512, 1));
    assert_eq!(agreed(&mut cluster).keys.len(), 3);
    // The other path unregisters what the first one has registered.
    let release = {
        use pagecast_initiator::nvme::reservation::{Release, release};
        release(1, Release::Release, kind.nvme(), KEYS[NVME])
    };
    cluster.world.nvme_succeed(NVME, queue, &release);
    assert_eq!(agreed(&mut cluster).kind, None);
    // Both controllers are told.
    let done = cluster.preempt(SRP, KEYS[SRP], KEYS[NVME], kind);
    assert_eq!(done, Good);
    let told = vec![(NVME, vec![RegistrationPreempted])];
    assert_eq!(cluster.everybody_told(), told);
    let page = pagecast_initiator::nvme::admin::LogPage {
        id: pagecast_initiator::nvme::reservation::NOTIFICATIONS,
        length: 64,
        ..Default::default()
    };
    let page = cluster.world.nvme_log_page(NVME, second.admin, page);
    assert_eq!(page[8], 1, "registration preempted, on the second path");
    let event = second.event.expect("one waits");
    let event = cluster.world.nvme_reply(NVME, second.admin, event);
    assert_eq!(event.result(), 0x80_0006);

    assert_eq!(cluster.reserve(SRP, KEYS[SRP], kind), Good);
    let options = cluster.world.options(SRP).multichannel();
    let channel = cluster.world.log_in_with(SRP, options);
    cluster.world.write(SRP, channel, 0, &pattern(512, 1));
    assert_eq!(cluster.release(SRP, KEYS[SRP], kind), Good);

    assert_eq!(cluster.reserve(ISER, KEYS[ISER], kind), Good);
    assert_eq!(write(&mut cluster, ISER), Good);
    cluster.log_in_as(ISER, 2);
    assert_eq!(write(&mut cluster, ISER), Conflict);
    assert_eq!(cluster.register(ISER, 0x77), Good);
    assert_eq!(
        agreed_scsi(&mut cluster).keys,
        sorted(vec![KEYS[SRP], KEYS[ISER], 0x77])
    );
    cluster.finish();
}

fn agreed_scsi(cluster: &mut Cluster) -> View {
    let view = cluster.view(SRP);
    assert_eq!(cluster.view(ISER), view);
    view
}
