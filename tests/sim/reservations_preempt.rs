//! Preempting across protocols, and hosts that change the table at the same time.

use pagecast_initiator::nvme::Command;
use pagecast_initiator::nvme::reservation::{Acquire, acquire};
use pagecast_tests::reservations::{Cluster, Kind, Notice, Outcome, Registration, Transport, View};
use pagecast_tests::{Host, Setup, seeds};

use super::reservations::{ALL, KEYS, agreed, others, registered, sorted, sorted_hosts, write};

use Notice::{RegistrationPreempted, ReservationPreempted, ReservationReleased};
use Outcome::{Conflict, Good};

#[test]
fn preempting_the_holder() {
    for seed in seeds(0..2) {
        for kind in Kind::ALL {
            for preemptor in ALL {
                for victim in others(preemptor) {
                    preempt(seed, kind, preemptor, victim);
                }
            }
        }
    }
}

fn preempt(seed: u64, kind: Kind, preemptor: Host, victim: Host) {
    let what = format!("seed {seed}: {kind:?}, {preemptor} preempts {victim}");
    let mut cluster = registered(seed);
    let bystander = 3 - preemptor - victim;
    assert_eq!(cluster.reserve(victim, KEYS[victim], kind), Good);
    let before = agreed(&mut cluster);
    let done = cluster.preempt(preemptor, KEYS[preemptor], KEYS[victim], kind);
    assert_eq!(done, Good, "{what}");
    // It is over before anybody is told.
    let keys = sorted(vec![KEYS[preemptor], KEYS[bystander]]);
    let view = cluster.view(preemptor);
    assert_eq!(view.keys, keys, "{what}");
    assert_eq!(view.kind, Some(kind), "{what}");
    assert_eq!(view.generation, before.generation + 1, "{what}");
    let holders = match kind.is_held_by_all() {
        true => keys.clone(),
        false => vec![KEYS[preemptor]],
    };
    assert_eq!(view.holders, holders, "{what}");
    // The type is the same, so that nobody else has to be told (SPC-4 section 5.12.11.4.2).
    let told = vec![(victim, vec![RegistrationPreempted])];
    assert_eq!(cluster.everybody_told(), told, "{what}");
    assert_eq!(agreed(&mut cluster), view, "{what}");
    // The victim is a stranger now, and the preemptor is in charge.
    assert_eq!(write(&mut cluster, victim), Conflict, "{what}");
    assert_eq!(write(&mut cluster, preemptor), Good, "{what}");
    assert_eq!(cluster.register(victim, KEYS[victim]), Good, "{what}");
    let expected = if kind.tells_registrants() {
        Good
    } else {
        Conflict
    };
    assert_eq!(write(&mut cluster, victim), expected, "{what}");
    cluster.finish();
}

#[test]
fn preempting_with_another_type() {
    for preemptor in ALL {
        for victim in others(preemptor) {
            let mut cluster = registered(1);
            let bystander = 3 - preemptor - victim;
            let (old, new) = (Kind::WriteExclusiveRegistrants, Kind::ExclusiveAccess);
            assert_eq!(cluster.reserve(victim, KEYS[victim], old), Good);
            let done = cluster.preempt(preemptor, KEYS[preemptor], KEYS[victim], new);
            assert_eq!(done, Good);
            let mut told = vec![
                (victim, vec![RegistrationPreempted]),
                (bystander, vec![ReservationReleased]),
            ];
            told.sort();
            assert_eq!(cluster.everybody_told(), told, "{preemptor} and {victim}");
            let view = agreed(&mut cluster);
            assert_eq!(
                (view.kind, view.holders),
                (Some(new), vec![KEYS[preemptor]])
            );
            assert_eq!(cluster.read(bystander, 0).0, Conflict);
            cluster.finish();
        }
    }
}

/// Whoever is not the holder loses its registration and nothing else happens.
#[test]
fn preempting_a_registrant() {
    for preemptor in ALL {
        for victim in others(preemptor) {
            let mut cluster = registered(2);
            let holder = 3 - preemptor - victim;
            let kind = Kind::ExclusiveAccessRegistrants;
            assert_eq!(cluster.reserve(holder, KEYS[holder], kind), Good);
            assert_eq!(cluster.read(victim, 0).0, Good);
            let done = cluster.preempt(
                preemptor,
                KEYS[preemptor],
                KEYS[victim],
                Kind::WriteExclusive,
            );
            assert_eq!(done, Good);
            let told = vec![(victim, vec![RegistrationPreempted])];
            assert_eq!(cluster.everybody_told(), told);
            assert_eq!(cluster.read(victim, 0).0, Conflict);
            let view = agreed(&mut cluster);
            assert_eq!((view.kind, view.holders), (Some(kind), vec![KEYS[holder]]));
            cluster.finish();
        }
    }
}

/// Key zero stands for everybody else where all registrants hold, and for nobody otherwise (SPC-4 section 5.12.11.4.3).
#[test]
fn preempting_everybody() {
    for preemptor in ALL {
        let mut cluster = registered(3);
        let kind = Kind::ExclusiveAccessAll;
        let [one, other] = sorted_hosts(others(preemptor));
        assert_eq!(cluster.reserve(one, KEYS[one], kind), Good);
        let new = Kind::WriteExclusive;
        assert_eq!(cluster.preempt(preemptor, KEYS[preemptor], 0, new), Good);
        let told = [one, other].map(|host| (host, vec![RegistrationPreempted]));
        assert_eq!(cluster.everybody_told(), told);
        let view = agreed(&mut cluster);
        assert_eq!(view.keys, [KEYS[preemptor]]);
        assert_eq!(
            (view.kind, view.holders),
            (Some(new), vec![KEYS[preemptor]])
        );
        // Now it stands for nobody.
        let expected = match cluster.is_scsi(preemptor) {
            true => Outcome::Sense(5, 0x26, 0),
            false => Outcome::Nvme(0, 0x02),
        };
        let found = cluster.preempt(preemptor, KEYS[preemptor], 0, new);
        assert_eq!(found, expected);
        cluster.finish();
    }
}

#[test]
fn clearing() {
    for host in ALL {
        for kind in [Kind::WriteExclusive, Kind::ExclusiveAccessAll] {
            let mut cluster = registered(4);
            let [one, other] = sorted_hosts(others(host));
            assert_eq!(cluster.reserve(one, KEYS[one], kind), Good);
            assert_eq!(cluster.clear(host, KEYS[host]), Good);
            let told = [one, other].map(|host| (host, vec![ReservationPreempted]));
            assert_eq!(cluster.everybody_told(), told, "{host}, {kind:?}");
            let view = agreed(&mut cluster);
            assert_eq!((view.keys, view.kind), (vec![], None));
            for host in ALL {
                assert_eq!(write(&mut cluster, host), Good);
            }
            cluster.finish();
        }
    }
}

/// Whoever is preempted while it is away is a stranger when it comes back.
#[test]
fn preempted_while_away() {
    for preemptor in ALL {
        for victim in others(preemptor) {
            let mut cluster = registered(1);
            let kind = Kind::ExclusiveAccessRegistrants;
            assert_eq!(cluster.reserve(victim, KEYS[victim], kind), Good);
            cluster.leave(victim);
            let done = cluster.preempt(preemptor, KEYS[preemptor], KEYS[victim], kind);
            assert_eq!(done, Good);
            cluster.log_in(victim);
            // A new session has nothing to hear of (SAM-5 section 5.14: it begins when the nexus is there), or it hears of it once.
            cluster.told(victim);
            assert_eq!(cluster.read(victim, 0).0, Conflict);
            assert_eq!(write(&mut cluster, victim), Conflict);
            assert_eq!(agreed(&mut cluster).holders, [KEYS[preemptor]]);
            cluster.finish();
        }
    }
}

/// Whatever they do in whichever order, everybody sees the same, and so does everybody after a restart.
#[test]
fn at_random() {
    for seed in seeds(0..6) {
        let mut cluster = Cluster::of_three(seed);
        for _ in 0..60 {
            let host = cluster.world.random.index(3);
            let key = 1 + cluster.world.random.below(3);
            let victim = cluster.world.random.below(4);
            let kind = Kind::ALL[cluster.world.random.index(6)];
            let own = Registration::persistent(key);
            let done = match cluster.world.random.below(9) {
                0 | 1 => cluster.register_as(host, own),
                2 => cluster.register_as(host, own.ignoring()),
                3 => cluster.register_as(host, Registration::persistent(0).replacing(key)),
                4 | 5 => cluster.reserve(host, key, kind),
                6 => cluster.release(host, key, kind),
                7 => cluster.preempt(host, key, victim, kind),
                _ if cluster.world.random.once_in(4) => cluster.clear(host, key),
                _ => cluster.read(host, 0).0,
            };
            let expected = matches!(
                done,
                Good | Conflict
                    | Outcome::Sense(6, 0x2a, _)
                    | Outcome::Sense(5, 0x26, 0 | 4)
                    | Outcome::Nvme(0, 0x02)
            );
            assert!(expected, "seed {seed}: {done:?}");
            if cluster.world.random.once_in(6) {
                cluster.everybody_told();
                let view = agreed(&mut cluster);
                assert_eq!(view.kind.is_some(), !view.holders.is_empty(), "seed {seed}");
            }
        }
        cluster.everybody_told();
        let view = agreed(&mut cluster);
        let mut cluster = cluster.restarted();
        let kept = View {
            generation: 0,
            ..view
        };
        assert_eq!(agreed(&mut cluster), kept, "seed {seed}");
        cluster.finish();
    }
}

/// Two hosts that reserve at the same moment, from different shards: one of them wins.
#[test]
fn races_have_one_winner() {
    for seed in seeds(0..16) {
        let mut cluster = Cluster::new(
            Setup::new(seed),
            &[Transport::Nvme, Transport::Nvme, Transport::Nvme],
        );
        for host in ALL {
            assert_eq!(cluster.register(host, KEYS[host]), Good);
        }
        let reserve = |host: Host| -> Command {
            acquire(
                1,
                Acquire::Acquire,
                Kind::WriteExclusive.nvme(),
                KEYS[host],
                0,
            )
        };
        let sent = ALL.map(|host| {
            let queue = cluster.queue(host);
            (queue, cluster.world.nvme_send(host, queue, &reserve(host)))
        });
        let mut winners = Vec::new();
        for (host, (queue, cid)) in sent.into_iter().enumerate() {
            match cluster.world.nvme_reply(host, queue, cid).code() {
                (0, 0) => winners.push(KEYS[host]),
                (0, 0x83) => {}
                other => panic!("seed {seed}: {other:x?}"),
            }
        }
        assert_eq!(winners.len(), 1, "seed {seed}");
        assert_eq!(agreed(&mut cluster).holders, winners, "seed {seed}");
        cluster.finish();
    }
}
