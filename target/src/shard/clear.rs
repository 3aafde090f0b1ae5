//! WRITE SAME and UNMAP: windows out of the way, then the backend; or one block written again and again.

use pagecast_backends::Operation;
use pagecast_rdma::windows::RevokedRange;

use super::Shard;
use super::messages::ShardMessage;
use super::task::{Phase, Stage, TaskId, Work};
use super::work::STRIDE;
use crate::staging::CHUNK;

impl Shard {
    pub(super) fn pattern_fetched(&mut self, id: TaskId) {
        let task = self.tasks.get(id);
        let Work::WriteSame { block, .. } = task.work else {
            return;
        };
        let pattern = self.data_out_bytes(id, u64::from(block));
        let all_zero = pattern.iter().all(|&byte| byte == 0);
        let task = self.tasks.get(id);
        task.immediate = None;
        if all_zero {
            if let Work::WriteSame { zeros, .. } = &mut task.work {
                *zeros = true;
            }
            self.release_chunks(id);
            return self.revoke_next(id);
        }
        task.pattern = pattern;
        self.release_chunks(id);
        self.stage(id, CHUNK, Stage::Pattern);
    }

    /// Fills a chunk with the block, and writes it again and again.
    pub(super) fn write_pattern(&mut self, id: TaskId) {
        let task = self.tasks.get(id);
        let pattern = std::mem::take(&mut task.pattern);
        if let (Some(port), Some(&chunk)) = (self.port_of(id), self.tasks.get(id).chunks.first())
            && let Some(pool) = &self.ports[port]
            && let Some(slice) = pool.staging.slice(chunk, CHUNK)
            && !pattern.is_empty()
        {
            for at in (0..CHUNK).step_by(pattern.len()) {
                let length = pattern.len().min(CHUNK - at);
                if slice.write(at, &pattern[..length]).is_err() {
                    break;
                }
            }
        }
        self.write_next(id);
    }

    pub(super) fn write_next(&mut self, id: TaskId) {
        let task = self.tasks.get(id);
        let Work::WriteSame {
            offset,
            left,
            durable,
            ..
        } = task.work
        else {
            return;
        };
        let bytes = left.min(STRIDE);
        // The same chunk as often as it takes.
        let mut buffers = self.spare_buffers.pop().unwrap_or_default();
        if let (Some(port), Some(&chunk)) = (self.port_of(id), self.tasks.get(id).chunks.first())
            && let Some(pool) = &self.ports[port]
        {
            let mut rest = bytes as usize;
            while rest > 0 {
                let length = rest.min(CHUNK);
                buffers.extend(pool.staging.slice(chunk, length));
                rest -= length;
            }
        }
        let operation = Operation::Write {
            offset,
            buffers,
            durable,
        };
        self.submit_shared(id, operation);
    }

    /// Gets windows out of the way of the next range that will be discarded or zeroed.
    pub(super) fn revoke_next(&mut self, id: TaskId) {
        let task = self.tasks.get(id);
        let range = match &task.work {
            Work::WriteSame { offset, left, .. } => Some((*offset, *left)),
            Work::Unmap { ranges, .. } => ranges.front().copied(),
            _ => None,
        };
        let Some((offset, length)) = range else {
            let cached = task.device.as_ref().is_some_and(|d| d.unit.write_cache());
            if matches!(task.work, Work::Unmap { durable, .. } if durable || !cached) {
                return self.submit(id, Operation::Flush);
            }
            return self.end_block(id, Ok(()));
        };
        let Some(device) = task.device.clone() else {
            return;
        };
        task.phase = Phase::Revocation;
        let home = self.address.clone();
        device.revoke(offset, length, move |range| {
            home.send(ShardMessage::Revoked(id, range));
        });
    }

    pub(super) fn windows_revoked(&mut self, id: TaskId, range: Option<RevokedRange>) {
        let task = self.tasks.get(id);
        if task.phase != Phase::Revocation {
            return;
        }
        task.revoked = range;
        task.phase = Phase::Running;
        let slot = usize::from(task.connection);
        if task.aborted || self.is_closing(slot) {
            self.retire(id);
            return self.finish_close(slot);
        }
        self.count(id, |counters| &counters.discards, 1);
        let task = self.tasks.get(id);
        let operation = match &task.work {
            &Work::WriteSame {
                offset,
                left,
                unmap,
                durable,
                ..
            } => {
                let zeroes = task
                    .device
                    .as_ref()
                    .is_some_and(|device| device.backend.properties().discard_zeroes);
                if unmap && zeroes && !durable {
                    Operation::Discard {
                        offset,
                        length: left,
                    }
                } else {
                    Operation::WriteZeroes {
                        offset,
                        length: left,
                        durable,
                    }
                }
            }
            Work::Unmap { ranges, .. } => match ranges.front() {
                Some(&(offset, length)) => Operation::Discard { offset, length },
                None => return self.end_block(id, Ok(())),
            },
            _ => return,
        };
        self.submit_shared(id, operation);
    }
}
