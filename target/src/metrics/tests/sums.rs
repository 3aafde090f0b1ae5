use super::*;
use crate::control::reports::LatencySummary;

fn session(id: u64, group: &str, reads: u64) -> SessionReport {
    let mut buckets = LatencyBuckets::default();
    buckets.read[3] = reads;
    SessionReport {
        id,
        initiator: "iqn.x".to_owned(),
        target: "store".to_owned(),
        group: group.to_owned(),
        transport: "iser".to_owned(),
        peer: "10.0.0.7".to_owned(),
        connections: 1,
        in_flight: 2,
        counters: SessionCounters {
            reads,
            read_bytes: reads * 512,
            writes: reads + 1,
            write_bytes: reads + 2,
            other: reads + 3,
        },
        latency: Latency {
            read: LatencySummary {
                sum_us: reads * 7,
                ..LatencySummary::default()
            },
            ..Latency::default()
        },
        latency_buckets: buckets,
    }
}

fn labels(session: &SessionReport) -> SessionLabels {
    [
        session.initiator.clone(),
        session.target.clone(),
        session.transport.clone(),
        session.group.clone(),
        session.peer.clone(),
    ]
}

/// For each group: sessions, and reads. Everything else has to fit.
fn look(sums: &mut SessionSums, sessions: &[SessionReport]) -> Vec<(String, u64, u64)> {
    let sums = sums.look(sessions, labels).iter();
    sums.map(|(labels, sum)| {
        let reads = sum.done.counters.reads;
        assert_eq!(sum.done.counters.read_bytes, reads * 512);
        assert_eq!(sum.done.times.sums_us, [reads * 7, 0, 0]);
        assert_eq!(sum.done.times.buckets[0][3], reads);
        assert_eq!(sum.connections, sum.sessions);
        assert_eq!(sum.in_flight, 2 * sum.sessions);
        (labels[3].clone(), sum.sessions, reads)
    })
    .collect()
}

fn is(group: &str, sessions: u64, reads: u64) -> (String, u64, u64) {
    (group.to_owned(), sessions, reads)
}

#[test]
fn a_session_that_goes_leaves_what_it_has_done() {
    let mut sums = SessionSums::default();
    assert_eq!(look(&mut sums, &[]), []);
    let both = [session(1, "web", 100), session(2, "web", 10)];
    assert_eq!(look(&mut sums, &both), [is("web", 2, 110)]);
    assert_eq!(look(&mut sums, &both), [is("web", 2, 110)]);
    let one = [session(2, "web", 11)];
    assert_eq!(look(&mut sums, &one), [is("web", 1, 111)]);
    let again = [session(2, "web", 12), session(3, "web", 5)];
    assert_eq!(look(&mut sums, &again), [is("web", 2, 117)]);
    // The last one: its successor begins anew.
    assert_eq!(look(&mut sums, &[]), []);
    assert!(sums.seen.is_empty());
    assert_eq!(look(&mut sums, &[session(4, "web", 1)]), [is("web", 1, 1)]);
}

#[test]
fn a_session_that_moves_takes_nothing_along() {
    let mut sums = SessionSums::default();
    let both = [session(1, "web", 100), session(2, "web", 10)];
    look(&mut sums, &both);
    let moved = [session(1, "lab", 103), session(2, "web", 10)];
    let expected = [is("lab", 1, 3), is("web", 1, 110)];
    assert_eq!(look(&mut sums, &moved), expected);
    let back = [session(1, "web", 104), session(2, "web", 20)];
    assert_eq!(look(&mut sums, &back), [is("web", 2, 121)]);
}

/// Sessions come, go and move at random: no counter of a series that stays falls, and nothing is counted twice.
#[test]
fn sums_never_fall() {
    let mut state: u64 = 1;
    let mut random = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % below
    };
    let groups = ["web", "lab", "db"];
    let mut sums = SessionSums::default();
    let mut sessions: Vec<SessionReport> = Vec::new();
    let mut before: BTreeMap<String, u64> = BTreeMap::new();
    for round in 0..3000 {
        match random(4) {
            0 => sessions.push(session(round, groups[random(3) as usize], random(9))),
            1 if !sessions.is_empty() => {
                let gone = random(sessions.len() as u64) as usize;
                sessions.swap_remove(gone);
            }
            _ => {}
        }
        for one in &mut sessions {
            let reads = one.counters.reads + random(5);
            let group = match random(20) {
                0 => groups[random(3) as usize].to_owned(),
                _ => one.group.clone(),
            };
            *one = session(one.id, &group, reads);
        }
        let now = look(&mut sums, &sessions);
        for (group, _, reads) in &now {
            assert!(*reads >= before.get(group).copied().unwrap_or_default());
        }
        before = now
            .into_iter()
            .map(|(group, _, reads)| (group, reads))
            .collect();
        assert_eq!(sums.seen.len(), sessions.len());
    }
}
