//! How long commands took: what percentiles can be told of a histogram.

use super::meter::BUCKETS;
use crate::control::reports::{Latency, LatencyBuckets, LatencySummary};
use crate::metrics::meter::Measured;

/// Commands by how long they took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Number `i` counts those of less than 2^`i` microseconds, and no less than 2^(`i` - 1); the last one also what is longer.
    pub buckets: [u64; BUCKETS],
    /// All their times, in microseconds.
    pub sum_us: u64,
    /// The longest, in microseconds.
    pub max_us: u64,
}

impl Histogram {
    /// How many commands.
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, &n| sum.wrapping_add(n))
    }

    /// Adds another.
    pub fn add(&mut self, more: &Self) {
        for (sum, &more) in self.buckets.iter_mut().zip(&more.buckets) {
            *sum = sum.wrapping_add(more);
        }
        self.sum_us = self.sum_us.wrapping_add(more.sum_us);
        self.max_us = self.max_us.max(more.max_us);
    }

    /// The time that so many thousandths of the commands did not exceed, in microseconds: as if the times in a bucket lay at even
    /// distances. None took longer than the longest.
    pub fn percentile_us(&self, thousandths: u64) -> u64 {
        let count = u128::from(self.count());
        // The rank, in thousandths of a command.
        let rank = count * u128::from(thousandths.min(1000));
        let mut before = 0;
        for (i, &here) in self.buckets.iter().enumerate() {
            let here = u128::from(here) * 1000;
            if here > 0 && before + here >= rank {
                let (from, to) = bounds(i);
                let (from, width) = (u128::from(from), u128::from(to - from));
                let at = from + width * (rank - before) / here;
                return u64::try_from(at).unwrap_or(u64::MAX).min(self.max_us);
            }
            before += here;
        }
        0
    }

    fn summary(&self) -> LatencySummary {
        LatencySummary {
            count: self.count(),
            sum_us: self.sum_us,
            p50_us: self.percentile_us(500),
            p90_us: self.percentile_us(900),
            p99_us: self.percentile_us(990),
            p999_us: self.percentile_us(999),
            max_us: self.max_us,
        }
    }
}

/// Microseconds that a bucket is for: from, and less than.
fn bounds(bucket: usize) -> (u64, u64) {
    match bucket {
        0 => (0, 1),
        i => (1 << (i - 1), 1 << i),
    }
}

impl Measured {
    /// Percentiles, for people.
    pub fn latency(&self) -> Latency {
        Latency {
            read: self.read.times.summary(),
            write: self.write.times.summary(),
            other: self.other.times.summary(),
        }
    }

    /// Everything, for programs.
    pub fn latency_buckets(&self) -> LatencyBuckets {
        LatencyBuckets {
            read: self.read.times.buckets,
            write: self.write.times.buckets,
            other: self.other.times.buckets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::meter::{CommandKind, Meter, Sample};

    fn of(microseconds: impl IntoIterator<Item = u64>) -> Histogram {
        let meter = Meter::default();
        for time in microseconds {
            meter.note(&Sample::new(CommandKind::Read, time * 1000, 0));
        }
        meter.read().read.times
    }

    #[test]
    fn nothing_has_no_percentiles() {
        assert_eq!(of([]).summary(), LatencySummary::default());
    }

    #[test]
    fn one_command_is_every_percentile() {
        let one = of([100]).summary();
        assert_eq!(one.count, 1);
        assert_eq!(one.sum_us, 100);
        // Somewhere in its bucket, and never more than it took.
        assert!((64..=100).contains(&one.p50_us), "{one:?}");
        assert_eq!(one.p999_us, 100);
        assert_eq!(one.max_us, 100);
    }

    #[test]
    fn percentiles_are_within_a_bucket_of_the_truth() {
        let many = of(1..=10_000);
        for (thousandths, truth) in [(500, 5_000), (900, 9_000), (990, 9_900), (999, 9_990)] {
            let told = many.percentile_us(thousandths);
            assert!(
                told >= truth / 2 && told <= truth * 2,
                "{thousandths}: {told}"
            );
        }
        assert_eq!(many.percentile_us(1000), 10_000);
        let mut last = 0;
        for thousandths in 0..=1000 {
            let next = many.percentile_us(thousandths);
            assert!(next >= last, "{thousandths}");
            last = next;
        }
    }

    #[test]
    fn an_outlier_shows_only_where_it_belongs() {
        let times = of((0..999).map(|_| 10).chain([1_000_000]));
        let told = times.summary();
        assert!(told.p50_us < 16 && told.p99_us < 16, "{told:?}");
        assert!(told.p999_us <= 16, "{told:?}");
        assert_eq!(told.max_us, 1_000_000);
    }

    #[test]
    fn more_commands_than_anybody_sends_do_not_overflow() {
        let all = Histogram {
            buckets: [u64::MAX / 64; BUCKETS],
            sum_us: u64::MAX,
            max_us: u64::MAX,
        };
        assert!(all.percentile_us(999) > 0);
    }
}
