//! Operations that look at what the device has: VERIFY, WRITE AND VERIFY, COMPARE AND WRITE, ORWRITE.
//!
//! What is read goes into the staging chunks behind the initiator's data, or into all of them if those came with the command.

use pagecast_backends::Operation;
use pagecast_core::block::BlockFault;
use pagecast_memory::Slice;

use super::Shard;
use super::memory::concat;
use super::task::{Change, Phase, Stage, Task, TaskId, Work};
use crate::staging::StagingPool;

/// Bytes of the device that a task looks at beside `bytes` from the initiator; 0 if it needs no memory for that.
pub(super) fn looked_at(work: &Work, bytes: u64) -> u64 {
    match work {
        Work::VerifyData { .. }
        | Work::WriteVerify { .. }
        | Work::Modify {
            change: Change::Or, ..
        } => bytes,
        // Half of it is what is there, half of it is what comes in its place.
        Work::Modify {
            change: Change::CompareAndWrite,
            ..
        } => bytes / 2,
        _ => 0,
    }
}

/// Chunks in front of those that are for the device's data.
pub(super) fn chunks_before(task: &Task) -> usize {
    if task.immediate.is_some() || looked_at(&task.work, task.transferred) == 0 {
        0
    } else {
        StagingPool::chunks_for(task.transferred as usize)
    }
}

impl Shard {
    /// WRITE AND VERIFY: the data are here.
    pub(super) fn write_to_verify(&mut self, id: TaskId) {
        let task = self.tasks.get(id);
        let Work::WriteVerify { offset, .. } = task.work else {
            return;
        };
        let bytes = task.transferred;
        let buffers = self.data_out(id, bytes);
        // A write medium operation comes before the verify operation (SBC-4 WRITE AND VERIFY), so this one is not left to the
        // cache. What the page cache then still agrees with is all that we can look at.
        let operation = Operation::Write {
            offset,
            buffers,
            durable: true,
        };
        self.submit_shared(id, operation);
    }

    /// WRITE AND VERIFY: the backend wrote, or read back.
    pub(super) fn verify_written(&mut self, id: TaskId) {
        let task = self.tasks.get(id);
        let bytes = task.transferred;
        let Work::WriteVerify {
            compare, written, ..
        } = &mut task.work
        else {
            return;
        };
        if !std::mem::replace(written, true) {
            return self.read_medium(id);
        }
        let result = if *compare {
            self.compare(id, bytes)
        } else {
            Ok(())
        };
        self.end_block(id, result);
    }

    /// The first `bytes` bytes of the initiator's data with as many of the device.
    pub(super) fn compare(&mut self, id: TaskId, bytes: u64) -> Result<(), BlockFault> {
        let theirs = self.data_out_bytes(id, bytes);
        let ours = self.medium_bytes(id, bytes);
        match first_difference(&theirs, &ours) {
            Some(offset) => Err(BlockFault::Miscompare { offset }),
            None if theirs.len() as u64 == bytes && ours.len() as u64 == bytes => Ok(()),
            None => Err(BlockFault::TransferFailed),
        }
    }

    fn medium_bytes(&mut self, id: TaskId, bytes: u64) -> Vec<u8> {
        let skip = chunks_before(self.tasks.get(id));
        let slices = self.staged_slices(id, bytes, skip);
        let data = concat(&slices);
        self.recycle(slices);
        data
    }

    /// VERIFY with BYTCHK 11b (SBC-4): the block is here.
    pub(super) fn verify_same_fetched(&mut self, id: TaskId) {
        let bytes = self.tasks.get(id).transferred;
        let pattern = self.data_out_bytes(id, bytes);
        self.release_chunks(id);
        let stride = self.stride(id);
        let task = self.tasks.get(id);
        task.immediate = None;
        task.local.clear();
        let Work::VerifySame { left, .. } = task.work else {
            return;
        };
        if pattern.len() as u64 != bytes || pattern.is_empty() {
            return self.end_block(id, Err(BlockFault::TransferFailed));
        }
        task.pattern = pattern;
        self.stage(id, left.min(stride) as usize, Stage::Medium);
    }

    /// VERIFY with BYTCHK 11b: a stride of the medium is here.
    pub(super) fn verify_same_read(&mut self, id: TaskId) {
        let stride = self.stride(id);
        let task = self.tasks.get(id);
        let Work::VerifySame { offset, left, .. } = &mut task.work else {
            return;
        };
        let step = (*left).min(stride);
        *offset += step;
        *left -= step;
        let done = *left == 0;
        let slices = self.staged_slices(id, step, 0);
        let pattern = &self.tasks.get(id).pattern;
        // Chunks hold whole blocks.
        let difference = slices.iter().find_map(|slice| {
            let data = slice.to_vec();
            let mut blocks = data.chunks(pattern.len());
            blocks.find_map(|block| first_difference(pattern, block))
        });
        self.recycle(slices);
        match difference {
            Some(offset) => self.end_block(id, Err(BlockFault::Miscompare { offset })),
            None if done => self.end_block(id, Ok(())),
            None => self.read_medium(id),
        }
    }

    /// COMPARE AND WRITE, ORWRITE: what is there was read, and nobody writes to it until we have.
    pub(super) fn modify(&mut self, id: TaskId) {
        let task = self.tasks.get(id);
        let all = task.transferred;
        let &mut Work::Modify {
            change,
            offset,
            length,
            durable,
            ..
        } = &mut task.work
        else {
            return;
        };
        let length = u64::from(length);
        let buffers = match change {
            Change::CompareAndWrite => match self.compare(id, length) {
                Ok(()) => {
                    let mut buffers = self.data_out(id, all);
                    skip_bytes(&mut buffers, length as usize);
                    buffers
                }
                Err(fault) => {
                    self.unlock(id);
                    return self.end_block(id, Err(fault));
                }
            },
            Change::Or => self.or(id, length),
        };
        if buffers
            .iter()
            .map(|buffer| buffer.len() as u64)
            .sum::<u64>()
            != length
        {
            self.unlock(id);
            return self.end_block(id, Err(BlockFault::TransferFailed));
        }
        if let Work::Modify { writing, .. } = &mut self.tasks.get(id).work {
            *writing = true;
        }
        self.count(id, |counters| &counters.writes, 1);
        self.count(id, |counters| &counters.write_bytes, length);
        let operation = Operation::Write {
            offset,
            buffers,
            durable,
        };
        self.submit(id, operation);
    }

    /// Adds the initiator's bits to the device's, where those were read to.
    fn or(&mut self, id: TaskId, length: u64) -> Vec<Slice> {
        let theirs = self.data_out_bytes(id, length);
        let skip = chunks_before(self.tasks.get(id));
        let slices = self.staged_slices(id, length, skip);
        let mut rest = &theirs[..];
        for slice in &slices {
            let (now, later) = rest.split_at(slice.len().min(rest.len()));
            let mut ours = slice.to_vec();
            ours.iter_mut()
                .zip(now)
                .for_each(|(bits, more)| *bits |= more);
            // Staging memory is ours and writable.
            let _ = slice.write(0, &ours);
            rest = later;
        }
        slices
    }

    /// Whether a backend operation that has succeeded is only the first half of what the lock is for.
    pub(super) fn keeps_lock(&mut self, id: TaskId) -> bool {
        let task = self.tasks.get(id);
        debug_assert_ne!(task.phase, Phase::Lock);
        matches!(task.work, Work::Modify { writing: false, .. })
    }
}

fn first_difference(one: &[u8], other: &[u8]) -> Option<u64> {
    let at = one.iter().zip(other).position(|(a, b)| a != b)?;
    Some(at as u64)
}

/// Takes `bytes` bytes off the front.
fn skip_bytes(slices: &mut Vec<Slice>, bytes: usize) {
    let mut left = bytes;
    slices.retain_mut(|slice| {
        let skip = left.min(slice.len());
        left -= skip;
        match slice.part(skip..slice.len()) {
            Ok(rest) if !rest.is_empty() => {
                *slice = rest;
                true
            }
            _ => false,
        }
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pagecast_memory::Anonymous;

    use super::*;

    #[test]
    fn bytes_come_off_the_front() {
        let memory = Slice::whole(Arc::new(Anonymous::new(4096).expect("memory")));
        for (at, byte) in (0..4096).step_by(512).zip(0..) {
            memory.write(at, &[byte; 512]).expect("in range");
        }
        let cut = |bytes| {
            let part = |range| memory.part(range).expect("in range");
            let mut slices = vec![part(0..1024), part(1024..1536), part(2048..3072)];
            skip_bytes(&mut slices, bytes);
            concat(&slices)
        };
        let whole = cut(0);
        assert_eq!(whole.len(), 2560);
        for bytes in [512, 1024, 1100, 1536, 2048, 2559, 2560] {
            assert_eq!(cut(bytes), whole[bytes..], "{bytes}");
        }
        assert!(cut(9999).is_empty());
    }
}
