//! What sessions with the same labels have done together.
//!
//! Counters may not fall while their series is there: whoever reckons with them would take the whole of what is left for new. So
//! what a session has done stays in the sum when it logs out, until the last one with these labels is gone. After that the
//! next one begins at zero.

use std::collections::{BTreeMap, HashMap};

use crate::control::reports::{Latency, LatencyBuckets, SessionCounters, SessionReport};

/// The labels of a session: initiator, target, transport, group, address.
pub type SessionLabels = [String; 5];

/// What all sessions with the same labels have done.
#[derive(Clone, Copy, Debug, Default)]
pub struct SessionSum {
    /// How many they are.
    pub sessions: u64,
    /// Connections that are up.
    pub connections: u64,
    /// Commands in flight.
    pub in_flight: u64,
    /// What they, and those that have logged out, have done.
    pub done: Done,
}

/// Counts that only grow.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    /// Commands and bytes.
    pub counters: SessionCounters,
    /// How long they took.
    pub times: Times,
}

/// How long commands took: reads, writes, others.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// In microseconds.
    pub sums_us: [u64; 3],
    /// How many took how long.
    pub buckets: [[u64; 32]; 3],
}

/// The sums of sessions, kept from one look to the next.
#[derive(Debug, Default)]
pub struct SessionSums {
    /// What each session had done at the last look, by its number.
    seen: HashMap<u64, Done>,
    sums: BTreeMap<SessionLabels, SessionSum>,
}

impl SessionSums {
    /// Takes in what the daemon tells now. `labels` may change while a session is logged in: what it does from then on is another
    /// series'.
    pub fn look(
        &mut self,
        sessions: &[SessionReport],
        labels: impl Fn(&SessionReport) -> SessionLabels,
    ) -> &BTreeMap<SessionLabels, SessionSum> {
        for sum in self.sums.values_mut() {
            *sum = SessionSum {
                done: sum.done,
                ..SessionSum::default()
            };
        }
        let before = std::mem::take(&mut self.seen);
        for session in sessions {
            let done = Done::of(session);
            let then = before.get(&session.id).copied().unwrap_or_default();
            let sum = self.sums.entry(labels(session)).or_default();
            sum.sessions += 1;
            sum.connections += u64::from(session.connections);
            sum.in_flight += u64::from(session.in_flight);
            sum.done.merge(&done, u64::wrapping_add);
            sum.done.merge(&then, u64::wrapping_sub);
            self.seen.insert(session.id, done);
        }
        self.sums.retain(|_, sum| sum.sessions > 0);
        &self.sums
    }
}

impl Done {
    fn of(session: &SessionReport) -> Self {
        Self {
            counters: session.counters,
            times: Times::of(&session.latency, &session.latency_buckets),
        }
    }

    fn merge(&mut self, other: &Self, merge: fn(u64, u64) -> u64) {
        let SessionCounters {
            reads,
            read_bytes,
            writes,
            write_bytes,
            other: others,
        } = &mut self.counters;
        let counters = [
            (reads, other.counters.reads),
            (read_bytes, other.counters.read_bytes),
            (writes, other.counters.writes),
            (write_bytes, other.counters.write_bytes),
            (others, other.counters.other),
        ];
        let times = (self.times.sums_us.iter_mut()).zip(other.times.sums_us);
        let buckets = self.times.buckets.iter_mut().flatten();
        let buckets = buckets.zip(other.times.buckets.iter().flatten().copied());
        for (sum, one) in counters.into_iter().chain(times).chain(buckets) {
            *sum = merge(*sum, one);
        }
    }
}

impl Times {
    /// Those of a report.
    pub fn of(latency: &Latency, buckets: &LatencyBuckets) -> Self {
        Self {
            sums_us: [
                latency.read.sum_us,
                latency.write.sum_us,
                latency.other.sum_us,
            ],
            buckets: [buckets.read, buckets.write, buckets.other],
        }
    }
}

#[cfg(test)]
#[path = "tests/sums.rs"]
mod tests;
