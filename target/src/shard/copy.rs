//! Copying between devices: strides through staging memory, one after the other.
//!
//! An aborted copy stops at the end of its stride. Where source and destination overlap, later strides see what earlier ones
//! wrote.

use std::collections::VecDeque;
use std::sync::Arc;

use pagecast_backends::Operation;
use pagecast_core::block::CopySegment;

use super::Shard;
use super::task::{Stage, TaskId, Work};
use crate::device::{Counters, Device};
use crate::session::Session;

/// A copy on its way.
#[derive(Debug)]
pub struct Copying {
    /// What is left of each segment.
    segments: VecDeque<Segment>,
    /// What was read of the first one is being written.
    writing: bool,
    /// Bytes that are on their way.
    step: u64,
    /// On stable storage before the status.
    durable: bool,
}

#[derive(Debug)]
struct Segment {
    source: Arc<Device>,
    from: u64,
    destination: Arc<Device>,
    to: u64,
    left: u64,
}

impl Copying {
    /// Nothing copied yet. None if a unit is not of the session.
    pub(super) fn new(segments: &[CopySegment], durable: bool, session: &Session) -> Option<Self> {
        let segment = |segment: &CopySegment| {
            let device = |tag: u32| session.devices.get(tag as usize);
            Some(Segment {
                source: device(segment.source.0)?,
                from: segment.source_offset,
                destination: device(segment.destination.0)?,
                to: segment.destination_offset,
                left: segment.bytes,
            })
        };
        Some(Self {
            segments: segments.iter().map(segment).collect::<Option<_>>()?,
            writing: false,
            step: 0,
            durable,
        })
    }

    /// The device that has something to do now.
    pub(super) fn device(&self) -> Option<&Arc<Device>> {
        let segment = self.segments.front()?;
        Some(match self.writing {
            true => &segment.destination,
            false => &segment.source,
        })
    }

    /// Whether it has anything left to do on a device, by its number.
    pub(super) fn concerns(&self, device: usize) -> bool {
        (self.segments.iter())
            .any(|segment| segment.source.index == device || segment.destination.index == device)
    }

    /// Whether it is about to write, and not to read.
    pub(super) fn is_writing(&self) -> bool {
        self.writing
    }
}

impl Shard {
    /// Takes memory for the longest stride.
    pub(super) fn start_copy(&mut self, id: TaskId) {
        let stride = self.stride(id);
        let Work::Copy(copying) = &self.tasks.get(id).work else {
            return;
        };
        let longest = copying.segments.iter().map(|segment| segment.left).max();
        match longest.unwrap_or(0).min(stride) {
            0 => self.end_block(id, Ok(())),
            bytes => self.stage(id, bytes as usize, Stage::Medium),
        }
    }

    /// Reads the next stride.
    pub(super) fn copy_next(&mut self, id: TaskId) {
        let stride = self.stride(id);
        let (shard, now) = (usize::from(self.id), self.clock);
        let Work::Copy(copying) = &mut self.tasks.get(id).work else {
            return;
        };
        copying.segments.retain(|segment| segment.left > 0);
        let Some(segment) = copying.segments.front() else {
            return self.end_block(id, Ok(()));
        };
        let step = segment.left.min(stride);
        copying.step = step;
        let offset = segment.from;
        if let Err(fault) = segment.source.check_range(offset, step, now) {
            return self.end_block(id, Err(fault));
        }
        let counters = &segment.source.counters[shard];
        Counters::add(&counters.reads, 1);
        Counters::add(&counters.read_bytes, step);
        let buffers = self.staged_slices(id, step, 0);
        self.submit(id, Operation::Read { offset, buffers });
    }

    /// A stride was read or written.
    pub(super) fn copied(&mut self, id: TaskId) {
        let shard = usize::from(self.id);
        let Work::Copy(copying) = &mut self.tasks.get(id).work else {
            return;
        };
        let (step, durable) = (copying.step, copying.durable);
        let Some(segment) = copying.segments.front_mut() else {
            return;
        };
        if copying.writing {
            copying.writing = false;
            segment.from += step;
            segment.to += step;
            segment.left -= step;
            return self.copy_next(id);
        }
        copying.writing = true;
        let counters = &segment.destination.counters[shard];
        Counters::add(&counters.writes, 1);
        Counters::add(&counters.write_bytes, step);
        let offset = segment.to;
        let buffers = self.staged_slices(id, step, 0);
        let operation = Operation::Write {
            offset,
            buffers,
            durable,
        };
        self.submit_shared(id, operation);
    }
}
