//! Counting commands where they end: how many, how much they moved, and how long they took.
//!
//! A [`Meter`] is written by one shard, with plain stores, and read by anybody. What is read is a [`Measured`], which can be added
//! up: over shards for a device, over connections for a session.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use pagecast_core::block::BlockOp;

use super::latency::Histogram;

/// Buckets of a histogram. The last has everything that is too long for the others.
pub const BUCKETS: usize = 32;

/// What a command is, to those who count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandKind {
    /// Sends blocks to the initiator.
    Read,
    /// Stores blocks that the initiator sends: all of WRITE, COMPARE AND WRITE, WRITE AND VERIFY and ORWRITE.
    Write,
    /// Everything else, and what ended before it was known what it is.
    Other,
}

impl CommandKind {
    /// What a command is that was planned as `op`, if it came that far.
    #[inline]
    pub fn of(op: Option<&BlockOp>) -> Self {
        match op {
            Some(BlockOp::Read(_)) => Self::Read,
            Some(
                BlockOp::Write(_)
                | BlockOp::CompareAndWrite(_)
                | BlockOp::Or(_)
                | BlockOp::WriteVerify { .. },
            ) => Self::Write,
            _ => Self::Other,
        }
    }
}

/// One command, at its end.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    kind: CommandKind,
    bucket: usize,
    nanoseconds: u64,
    bytes: u64,
}

impl Sample {
    /// A command that took so long and moved so many bytes.
    #[inline]
    pub fn new(kind: CommandKind, nanoseconds: u64, bytes: u64) -> Self {
        Self {
            kind,
            bucket: bucket_of(nanoseconds / 1000),
            nanoseconds,
            bytes,
        }
    }
}

/// The bucket for so many microseconds: number `i` is for less than 2^`i`, and no less than 2^(`i` - 1).
#[inline]
fn bucket_of(microseconds: u64) -> usize {
    // The shift makes room for zero, and a number that has lost its highest bit by it is longer than any bucket is for.
    let bits = ((microseconds << 1) | 1).ilog2() as usize;
    bits.min(BUCKETS - 1)
}

/// What one shard has counted, by kind of command.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Meter {
    kinds: [KindMeter; 3],
}

#[derive(Debug, Default)]
struct KindMeter {
    bytes: AtomicU64,
    nanoseconds: AtomicU64,
    longest: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

impl Meter {
    /// Counts a command. Only ever called by one thread.
    #[inline]
    pub fn note(&self, sample: &Sample) {
        let kind = &self.kinds[sample.kind as usize];
        add(&kind.buckets[sample.bucket], 1);
        add(&kind.nanoseconds, sample.nanoseconds);
        add(&kind.bytes, sample.bytes);
        if sample.nanoseconds > kind.longest.load(Relaxed) {
            kind.longest.store(sample.nanoseconds, Relaxed);
        }
    }

    /// What was counted so far.
    pub fn read(&self) -> Measured {
        let [read, write, other] = &self.kinds;
        Measured {
            read: read.read(),
            write: write.read(),
            other: other.read(),
        }
    }
}

impl KindMeter {
    fn read(&self) -> KindMeasured {
        let mut buckets = [0; BUCKETS];
        for (bucket, counted) in buckets.iter_mut().zip(&self.buckets) {
            *bucket = counted.load(Relaxed);
        }
        KindMeasured {
            bytes: self.bytes.load(Relaxed),
            times: Histogram {
                buckets,
                sum_us: self.nanoseconds.load(Relaxed) / 1000,
                max_us: self.longest.load(Relaxed) / 1000,
            },
        }
    }
}

/// No locked instruction: nobody else writes.
#[inline]
fn add(counter: &AtomicU64, value: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(value), Relaxed);
}

/// What was counted, by kind of command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// See [`CommandKind::Read`].
    pub read: KindMeasured,
    /// See [`CommandKind::Write`].
    pub write: KindMeasured,
    /// See [`CommandKind::Other`].
    pub other: KindMeasured,
}

/// What was counted of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindMeasured {
    /// Bytes that they moved to or from the initiator.
    pub bytes: u64,
    /// How long they took.
    pub times: Histogram,
}

impl Measured {
    /// Adds what was counted elsewhere.
    pub fn add(&mut self, more: &Self) {
        for (sum, more) in [
            (&mut self.read, &more.read),
            (&mut self.write, &more.write),
            (&mut self.other, &more.other),
        ] {
            sum.bytes = sum.bytes.wrapping_add(more.bytes);
            sum.times.add(&more.times);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pagecast_core::block::BlockRange;

    const RANGE: BlockRange = BlockRange { lba: 0, blocks: 1 };

    #[test]
    fn buckets_double() {
        assert_eq!(bucket_of(0), 0);
        assert_eq!(bucket_of(1), 1);
        for i in 1..31 {
            assert_eq!(bucket_of((1 << i) - 1), i, "just below 2^{i}");
            assert_eq!(bucket_of(1 << i), i + 1, "2^{i}");
        }
        assert_eq!(bucket_of(1 << 31), 31);
        assert_eq!(bucket_of(u64::MAX / 1000), 31);
    }

    #[test]
    fn commands_are_counted_by_what_they_are() {
        let meter = Meter::default();
        let note = |op: Option<&BlockOp>, nanoseconds, bytes| {
            meter.note(&Sample::new(CommandKind::of(op), nanoseconds, bytes));
        };
        note(Some(&BlockOp::Read(RANGE)), 3_999, 512);
        note(Some(&BlockOp::Read(RANGE)), 4_000, 512);
        note(Some(&BlockOp::Write(RANGE)), 999, 4096);
        note(Some(&BlockOp::Or(RANGE)), 1_000_000, 1);
        note(Some(&BlockOp::Flush), 0, 0);
        note(None, u64::MAX, 36);
        let read = meter.read();
        assert_eq!(read.read.bytes, 1024);
        assert_eq!(read.read.times.buckets[2], 1);
        assert_eq!(read.read.times.buckets[3], 1);
        assert_eq!(read.read.times.sum_us, 7);
        assert_eq!(read.read.times.max_us, 4);
        assert_eq!(read.write.bytes, 4097);
        assert_eq!(read.write.times.buckets[0], 1);
        assert_eq!(read.write.times.buckets[10], 1);
        assert_eq!(read.write.times.max_us, 1000);
        assert_eq!(read.other.times.count(), 2);
        assert_eq!(read.other.times.buckets[31], 1);
    }

    #[test]
    fn what_was_measured_adds_up() {
        let (one, two) = (Meter::default(), Meter::default());
        one.note(&Sample::new(CommandKind::Read, 5_000, 10));
        two.note(&Sample::new(CommandKind::Read, 9_000, 20));
        two.note(&Sample::new(CommandKind::Other, 1_000, 0));
        let mut sum = one.read();
        sum.add(&two.read());
        assert_eq!(sum.read.bytes, 30);
        assert_eq!(sum.read.times.count(), 2);
        assert_eq!(sum.read.times.sum_us, 14);
        assert_eq!(sum.read.times.max_us, 9);
        assert_eq!(sum.other.times.count(), 1);
        assert_eq!(sum.write, KindMeasured::default());
    }
}
