//! Percentiles of the commands between two looks.

use serde::Serialize;
use serde_json::Value;

/// Bucket 0 counts commands of less than a microsecond, bucket `i` those of less than 2^i and at least 2^(i-1).
const BUCKETS: usize = 32;

/// How many commands took how long.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Histogram {
    counts: [u64; BUCKETS],
    /// The longest, if that is known.
    worst: Option<f64>,
}

/// What people want to know of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Percentiles {
    pub(super) count: u64,
    pub(super) p50_us: f64,
    pub(super) p90_us: f64,
    pub(super) p99_us: f64,
    pub(super) p999_us: f64,
    pub(super) max_us: f64,
}

impl Histogram {
    /// Of one kind of commands since the start, from a device or a session. None if the daemon does not count them.
    pub(super) fn read(report: &Value, kind: &str) -> Option<Self> {
        let list = report.get("latency_buckets")?.get(kind)?.as_array()?;
        let mut counts = [0; BUCKETS];
        for (count, value) in counts.iter_mut().zip(list) {
            *count = value.as_u64()?;
        }
        let worst = report
            .get("latency")
            .and_then(|latency| latency.get(kind)?.get("max_us")?.as_f64());
        Some(Self { counts, worst })
    }

    /// What has come to this since `before`. None if the counters have gone back.
    pub(super) fn since(&self, before: &Self) -> Option<Self> {
        let mut counts = [0; BUCKETS];
        for ((count, now), before) in counts.iter_mut().zip(self.counts).zip(before.counts) {
            *count = now.checked_sub(before)?;
        }
        let mut since = Self {
            counts,
            worst: None,
        };
        since.worst = match (self.worst, before.worst) {
            // A new record was set in between.
            (Some(now), Some(before)) if now > before => Some(now),
            (now, _) => match (since.bound(), now) {
                (Some(bound), Some(now)) => Some(bound.min(now)),
                (bound, _) => bound,
            },
        };
        Some(since)
    }

    /// Both together.
    pub(super) fn with(mut self, other: &Self) -> Self {
        for (count, other) in self.counts.iter_mut().zip(other.counts) {
            *count = count.saturating_add(other);
        }
        self.worst = match (self.worst, other.worst) {
            (Some(one), Some(two)) => Some(one.max(two)),
            (one, two) => one.or(two),
        };
        self
    }

    /// None if there were no commands.
    pub(super) fn percentiles(&self) -> Option<Percentiles> {
        let count = self
            .counts
            .iter()
            .fold(0_u64, |sum, &n| sum.saturating_add(n));
        let bound = self.bound()?;
        let worst = self.worst.map_or(bound, |worst| worst.min(bound));
        let at = |share| rounded(self.quantile(share, count).min(worst));
        Some(Percentiles {
            count,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: rounded(worst),
        })
    }

    /// The upper end of the last bucket that has any.
    fn bound(&self) -> Option<f64> {
        let last = self.counts.iter().rposition(|&count| count > 0)?;
        Some(ends(last).1)
    }

    /// As if the commands of a bucket were evenly spread over it.
    fn quantile(&self, share: f64, count: u64) -> f64 {
        let rank = share * count as f64;
        let mut below = 0.0;
        for (bucket, &count) in self.counts.iter().enumerate() {
            let count = count as f64;
            if count > 0.0 && below + count >= rank {
                let (low, high) = ends(bucket);
                return low + (high - low) * ((rank - below) / count);
            }
            below += count;
        }
        f64::INFINITY
    }
}

/// The microseconds that a bucket begins and ends with.
fn ends(bucket: usize) -> (f64, f64) {
    let power = |bucket: usize| 2_f64.powi(i32::try_from(bucket).unwrap_or(i32::MAX));
    match bucket.checked_sub(1) {
        None => (0.0, 1.0),
        Some(before) => (power(before), power(bucket)),
    }
}

/// To tenths: there is no more to be known.
fn rounded(micros: f64) -> f64 {
    (micros * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn histogram(counts: &[(usize, u64)], worst: Option<f64>) -> Histogram {
        let mut histogram = Histogram {
            worst,
            ..Histogram::default()
        };
        for &(bucket, count) in counts {
            histogram.counts[bucket] = count;
        }
        histogram
    }

    #[test]
    fn nothing_has_no_percentiles() {
        assert_eq!(Histogram::default().percentiles(), None);
    }

    #[test]
    fn percentiles_are_interpolated() {
        // 100 commands of 64 to 128 us, and one of 2 to 4 ms that took 3.
        let percentiles = histogram(&[(7, 100), (12, 1)], Some(3000.0)).percentiles();
        let percentiles = percentiles.expect("some");
        assert_eq!(percentiles.count, 101);
        // Rank 50.5 of 100 in 64..128.
        assert_eq!(percentiles.p50_us, 96.3);
        assert_eq!(percentiles.p90_us, 122.2);
        assert_eq!(percentiles.p99_us, 128.0);
        // Rank 100.899: nine tenths into 2048..4096, but nothing took longer than 3 ms.
        assert_eq!(percentiles.p999_us, 3000.0);
        assert_eq!(percentiles.max_us, 3000.0);
    }

    #[test]
    fn the_first_bucket_begins_at_nothing() {
        let percentiles = histogram(&[(0, 10)], None).percentiles().expect("some");
        assert_eq!((percentiles.p50_us, percentiles.max_us), (0.5, 1.0));
    }

    #[test]
    fn differences() {
        let before = histogram(&[(5, 10), (20, 1)], Some(600_000.0));
        let now = histogram(&[(5, 30), (8, 1), (20, 1)], Some(600_000.0));
        let since = now.since(&before).expect("later");
        // The old record does not count, the bucket of the longest since does.
        assert_eq!(since, histogram(&[(5, 20), (8, 1)], Some(256.0)));
        assert_eq!(before.since(&now), None);
        // A new record is exact.
        let now = histogram(&[(5, 10), (20, 2)], Some(700_000.0));
        assert_eq!(
            now.since(&before),
            Some(histogram(&[(20, 1)], Some(700_000.0)))
        );
        // Nothing since.
        assert_eq!(before.since(&before), Some(histogram(&[], None)));
    }

    #[test]
    fn both_together() {
        let both = histogram(&[(1, 1)], Some(1.5)).with(&histogram(&[(1, 2), (3, 4)], None));
        assert_eq!(both, histogram(&[(1, 3), (3, 4)], Some(1.5)));
    }

    #[test]
    fn reports() {
        let report = json!({
            "latency": { "read": { "max_us": 7 } },
            "latency_buckets": { "read": [0, 1, 2], "write": [1, "x"] },
        });
        assert_eq!(
            Histogram::read(&report, "read"),
            Some(histogram(&[(1, 1), (2, 2)], Some(7.0)))
        );
        for kind in ["write", "other"] {
            assert_eq!(Histogram::read(&report, kind), None, "{kind}");
        }
        assert_eq!(Histogram::read(&json!({}), "read"), None);
    }
}
