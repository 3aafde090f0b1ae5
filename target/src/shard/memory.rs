//! The memory that a task's data is in: staging chunks, or the receive slot that immediate data came in.

use pagecast_core::block::BlockFault;
use pagecast_memory::Slice;

use super::Shard;
use super::task::{Cursor, Phase, Stage, TaskId, Work};
use crate::staging::CHUNK;

impl Shard {
    /// Takes staging memory for `bytes`, now or when it is there.
    pub(super) fn stage(&mut self, id: TaskId, bytes: usize, stage: Stage) {
        let task = self.tasks.get(id);
        task.stage = stage;
        task.phase = Phase::Staging(bytes);
        let Some(port) = self.port_of(id) else {
            return;
        };
        let Some(pool) = &mut self.ports[port] else {
            return;
        };
        if bytes > pool.staging.capacity() {
            return self.end_block(id, Err(BlockFault::Hardware));
        }
        // Who waits already goes first.
        if pool.waiting.is_empty() && pool.staging.take(bytes, &mut self.tasks.get(id).chunks) {
            return self.staged(id);
        }
        let task = self.tasks.get(id);
        if task.work.is_short() && pool.staging.take_reserved(bytes, &mut task.chunks) {
            return self.staged(id);
        }
        pool.waiting.push_back(id);
        super::Gauges::count_wait(&self.gauges);
    }

    /// Serves those who wait for staging memory, oldest first.
    pub(super) fn pump_staging(&mut self, port: usize) {
        loop {
            let Some(Some(pool)) = self.ports.get_mut(port) else {
                return;
            };
            let Some(&id) = pool.waiting.front() else {
                return;
            };
            let task = self.tasks.get(id);
            let Phase::Staging(bytes) = task.phase else {
                pool.waiting.pop_front();
                continue;
            };
            if pool.staging.take(bytes, &mut task.chunks) {
                pool.waiting.pop_front();
                self.staged(id);
                continue;
            }
            // What is short goes past those who wait for more than there is.
            let tasks = &mut self.tasks;
            let short = pool.waiting.iter().position(|&other| {
                let task = tasks.get(other);
                match task.phase {
                    Phase::Staging(bytes) if task.work.is_short() => {
                        pool.staging.take_reserved(bytes, &mut task.chunks)
                    }
                    _ => false,
                }
            });
            let Some(id) = short.and_then(|at| pool.waiting.remove(at)) else {
                return;
            };
            self.staged(id);
        }
    }

    /// Lists the task's staged chunks as local memory of `bytes` bytes.
    pub(super) fn list_local(&mut self, id: TaskId, bytes: u64) {
        let Some(port) = self.port_of(id) else {
            return;
        };
        let task = self.tasks.get(id);
        task.local.clear();
        let Some(pool) = &self.ports[port] else {
            return;
        };
        let mut left = bytes as usize;
        for &chunk in &task.chunks {
            let length = left.min(CHUNK);
            if length == 0 {
                break;
            }
            task.local.extend(pool.staging.sge(chunk, 0, length));
            left -= length;
        }
    }

    /// `bytes` of the task's staged memory, without the first `skip` chunks.
    pub(super) fn staged_slices(&mut self, id: TaskId, bytes: u64, skip: usize) -> Vec<Slice> {
        let mut buffers = self.spare_buffers.pop().unwrap_or_default();
        if let Some(port) = self.port_of(id)
            && let Some(pool) = &self.ports[port]
        {
            let chunks = self.tasks.get(id).chunks.get(skip..).unwrap_or(&[]);
            pool.staging.slices(chunks, bytes as usize, &mut buffers);
        }
        buffers
    }

    /// The initiator's data, wherever it is.
    pub(super) fn data_out(&mut self, id: TaskId, bytes: u64) -> Vec<Slice> {
        let task = self.tasks.get(id);
        let (Some(range), Some(receive)) = (task.immediate.clone(), task.receive_slot) else {
            return self.staged_slices(id, bytes, 0);
        };
        let slot = usize::from(task.connection);
        let mut buffers = self.spare_buffers.pop().unwrap_or_default();
        if let Some(Some(connection)) = self.connections.get(slot) {
            let length = range.len().min(bytes as usize);
            buffers.extend(
                connection
                    .buffers
                    .receive
                    .slice(receive as usize, range.start, length),
            );
        }
        buffers
    }

    pub(super) fn data_out_bytes(&mut self, id: TaskId, bytes: u64) -> Vec<u8> {
        let buffers = self.data_out(id, bytes);
        let data = concat(&buffers);
        self.recycle(buffers);
        data
    }

    /// Keeps a list's room for the next one.
    pub(super) fn recycle(&mut self, mut buffers: Vec<Slice>) {
        buffers.clear();
        if self.spare_buffers.len() < 256 {
            self.spare_buffers.push(buffers);
        }
    }

    /// Copies what came unasked to where it belongs in the staged memory of `bytes` bytes: the start, and the cursor goes on behind it
    /// (descriptors of the initiator's memory begin there already, RFC 7145 section 7.3.1); or the end.
    pub(super) fn place_unsolicited(&mut self, id: TaskId, bytes: u64) {
        let data = std::mem::take(&mut self.tasks.get(id).unsolicited);
        let at = self.tasks.get(id).unsolicited_at as usize;
        let placed = data.len().min((bytes as usize).saturating_sub(at));
        self.copy_to_staged(id, at, &data[..placed]);
        let task = self.tasks.get(id);
        task.unsolicited = data;
        task.cursor.left = bytes - placed as u64;
        if at == 0 {
            task.cursor.local = (placed / CHUNK, (placed % CHUNK) as u32);
        }
    }

    pub(super) fn copy_reply(&mut self, id: TaskId) {
        let task = self.tasks.get(id);
        let Work::Reply(data) = std::mem::take(&mut task.work) else {
            return;
        };
        let bytes = data.len() as u64;
        self.copy_to_staged(id, 0, &data);
        self.list_local(id, bytes);
        self.tasks.get(id).cursor = Cursor {
            left: bytes,
            ..Cursor::default()
        };
    }

    /// Copies to the task's staged memory, from a byte of it on.
    fn copy_to_staged(&mut self, id: TaskId, at: usize, data: &[u8]) {
        let mut rest = data;
        let mut skip = at;
        let slices = self.staged_slices(id, (at + data.len()) as u64, 0);
        for slice in &slices {
            let from = skip.min(slice.len());
            skip -= from;
            let (now, later) = rest.split_at((slice.len() - from).min(rest.len()));
            // Staging memory is ours and writable.
            let _ = slice.write(from, now);
            rest = later;
        }
        self.recycle(slices);
    }

    /// Gives staging memory back, to whoever waits for it.
    pub(super) fn release_chunks(&mut self, id: TaskId) {
        let Some(port) = self.port_of(id) else {
            return;
        };
        let task = self.tasks.get(id);
        if task.chunks.is_empty() {
            return;
        }
        if let Some(pool) = &mut self.ports[port] {
            pool.staging.give_back(&mut task.chunks);
            self.staging_freed |= 1 << port;
        }
    }

    pub(super) fn port_of(&mut self, id: TaskId) -> Option<usize> {
        let slot = usize::from(self.tasks.get(id).connection);
        Some(self.connections.get(slot)?.as_deref()?.port)
    }
}

pub(super) fn concat(slices: &[Slice]) -> Vec<u8> {
    let mut data = Vec::with_capacity(slices.iter().map(Slice::len).sum());
    for slice in slices {
        data.append(&mut slice.to_vec());
    }
    data
}
