//! What a task does between its plan and its ending: memory, backend, windows. Every function goes on until the task waits
//! for something or is handed to transmission.

use pagecast_backends::{BackendError, Done, Operation, Token};
use pagecast_core::block::{BlockFault, Transfer};
use pagecast_core::scsi::sense::codes;
use pagecast_core::scsi::{Plan, Response};

use super::Shard;
use super::compare::{chunks_before, looked_at};
use super::protocol::Protocol;
use super::srp::refusal_ending;
use super::task::{Change, Cursor, Ending, Link, Phase, Stage, TaskId, Work};
use crate::device::{Counters, Device, fault};
use crate::staging::{CHUNK, StagingPool};

/// Bytes that a long operation of the target's own (verify, write same) moves at a time.
pub(super) const STRIDE: u64 = 1 << 20;

impl Shard {
    /// Starts what the plan asks for. A descriptor table in the initiator's memory is fetched first.
    pub(super) fn start(&mut self, id: TaskId) {
        let task = self.tasks.get(id);
        if let Some(table) = &task.table {
            let bytes = table.length as usize;
            return self.stage(id, bytes, Stage::Table);
        }
        match &mut task.work {
            Work::None => self.transmit(id),
            Work::Management | Work::Reserve { .. } => {}
            Work::Read { .. } => self.start_read(id),
            Work::Write { .. } | Work::WriteVerify { .. } => self.start_write(id),
            Work::Parameters { length, .. } => {
                let length = *length;
                self.start_data_out(id, u64::from(length));
            }
            Work::HostData { length, .. } => {
                let length = *length;
                self.start_data_out(id, u64::from(length));
            }
            Work::Reply(data) => {
                let bytes = data.len();
                self.stage(id, bytes, Stage::Reply);
            }
            Work::Flush => {
                self.count(id, |counters| &counters.flushes, 1);
                if matches!(self.tasks.get(id).transfer, Transfer::Out(_)) {
                    // With a parameter list it is a MODE SELECT that has switched the write cache off (SPC-4, SBC-3 WCE): what
                    // was submitted before that is waited for, or it would not be flushed.
                    return self.submit_exclusive(id, Operation::Flush);
                }
                self.submit(id, Operation::Flush);
            }
            Work::VerifyMedium { left, .. } => {
                let left = *left;
                let bytes = left.min(self.stride(id)) as usize;
                self.stage(id, bytes, Stage::Medium);
            }
            Work::VerifyData { length, .. } => {
                let bytes = u64::from(*length);
                self.start_data_out(id, bytes);
            }
            Work::WriteSame { zeros: true, .. } | Work::Unmap { .. } => self.revoke_next(id),
            Work::WriteSame { block, .. } | Work::VerifySame { block, .. } => {
                let bytes = u64::from(*block);
                self.start_data_out(id, bytes);
            }
            Work::Modify { change, length, .. } => {
                let halves = match change {
                    Change::CompareAndWrite => 2,
                    Change::Or => 1,
                };
                let bytes = u64::from(*length) * halves;
                self.start_data_out(id, bytes);
            }
            &mut Work::Prefetch { offset, length } => {
                self.submit(id, Operation::Prefetch { offset, length });
            }
            Work::Extents { .. } => self.find_extents(id),
            Work::Copy(_) => self.start_copy(id),
        }
    }

    /// FUA and DPO change nothing: nobody writes past the page cache, so what it has is never older than the medium.
    pub(super) fn start_read(&mut self, id: TaskId) {
        // Taken out for the moment, so that nothing has to be counted on the way of every READ.
        let Some(device) = self.tasks.get(id).device.take() else {
            return;
        };
        let served = self.read_windows(id, &device);
        let task = self.tasks.get(id);
        task.device = Some(device);
        match served {
            Ok(true) => self.end_block(id, Ok(())),
            Ok(false) if task.link == Link::Tcp => self.tcp_start_read(id),
            Ok(false) => {
                let bytes = task.transferred as usize;
                self.stage(id, bytes, Stage::DataIn);
            }
            Err(fault) => self.end_block(id, Err(fault)),
        }
    }

    /// Takes a READ's data from windows; `false` if it has to be staged.
    fn read_windows(&mut self, id: TaskId, device: &Device) -> Result<bool, BlockFault> {
        let task = self.tasks.get(id);
        let &mut Work::Read { offset, length } = &mut task.work else {
            return Ok(true);
        };
        device.check_range(offset, u64::from(length), self.clock)?;
        let bytes = u64::from(length).min(task.offered_in);
        task.transferred = bytes;
        let counters = &device.counters[usize::from(self.id)];
        Counters::add(&counters.reads, 1);
        Counters::add(&counters.read_bytes, bytes);
        if bytes == 0 {
            return Ok(true);
        }
        if let Some(Some(connection)) = self.connections.get(usize::from(task.connection))
            && let Some((unit, _)) = task.command
            && let Some(Some(disk)) = connection.disks.get(unit.number())
            && let Some(windows) = &disk.windows
            && let Some(lease) = windows.acquire(offset, bytes as u32, &mut task.local)
        {
            task.lease = Some(lease);
            Counters::add(&counters.read_bytes_zero_copy, bytes);
            task.cursor = Cursor {
                left: bytes,
                ..Cursor::default()
            };
            return Ok(true);
        }
        Ok(false)
    }

    fn start_write(&mut self, id: TaskId) {
        let block = self.block_size(id);
        let task = self.tasks.get(id);
        let (Work::Write { length, .. } | Work::WriteVerify { length, .. }) = &mut task.work else {
            return;
        };
        // Whole blocks of what the initiator really has for us.
        let offered = task.offered_out.min(u64::from(*length));
        let bytes = offered - offered % block;
        // It was no more than that.
        *length = bytes as u32;
        task.transferred = bytes;
        if bytes == 0 {
            return self.end_block(id, Ok(()));
        }
        self.count(id, |counters| &counters.writes, 1);
        self.count(id, |counters| &counters.write_bytes, bytes);
        self.start_data_out(id, bytes);
    }

    /// Gets `bytes` of the initiator's data: they are in the receive slot already, or have to be fetched.
    fn start_data_out(&mut self, id: TaskId, bytes: u64) {
        let task = self.tasks.get(id);
        if bytes > task.offered_out {
            return self.end_block(id, Err(BlockFault::TransferFailed));
        }
        task.transferred = bytes;
        // What compares needs memory for the device's side of the comparison.
        let medium = looked_at(&task.work, bytes) as usize;
        if task.immediate.is_some() {
            task.stage = Stage::DataOut;
            if medium > 0 {
                return self.stage(id, medium, Stage::Medium);
            }
            return self.fetched(id);
        }
        let mut bytes = bytes as usize;
        if medium > 0 {
            bytes = StagingPool::chunks_for(bytes) * CHUNK + medium;
        }
        self.stage(id, bytes, Stage::DataOut);
    }

    pub(super) fn staged(&mut self, id: TaskId) {
        let task = self.tasks.get(id);
        task.phase = Phase::Running;
        match task.stage {
            Stage::Table => {
                let bytes = task.table.map_or(0, |table| u64::from(table.length));
                self.list_local(id, bytes);
                self.fetch(id, bytes);
            }
            Stage::DataOut => {
                let bytes = task.transferred;
                self.list_local(id, bytes);
                self.fetch(id, bytes);
            }
            Stage::DataIn => {
                let bytes = task.transferred;
                if let Work::Read { offset, .. } = task.work {
                    self.submit_read(id, offset, bytes, 0);
                }
            }
            Stage::Reply => {
                self.copy_reply(id);
                self.transmit(id);
            }
            Stage::Medium => match task.work {
                Work::VerifyMedium { .. } | Work::VerifySame { .. } => self.read_medium(id),
                Work::Copy(_) => self.copy_next(id),
                _ => self.fetched(id),
            },
            Stage::Pattern => self.write_pattern(id),
            Stage::None => {}
        }
    }

    /// All of what was to be fetched is here.
    pub(super) fn fetched(&mut self, id: TaskId) {
        let task = self.tasks.get(id);
        if task.stage == Stage::Table {
            return self.table_fetched(id);
        }
        let bytes = task.transferred;
        match &mut task.work {
            &mut Work::Write {
                offset, durable, ..
            } => {
                let buffers = self.data_out(id, bytes);
                let operation = Operation::Write {
                    offset,
                    buffers,
                    durable,
                };
                self.submit_shared(id, operation);
            }
            Work::Parameters { pending, .. } => {
                let pending = pending.take();
                let data = self.data_out_bytes(id, bytes);
                self.release_chunks(id);
                let slot = usize::from(self.tasks.get(id).connection);
                let Some(Some(connection)) = self.connections.get_mut(slot) else {
                    return;
                };
                let Some(pending) = pending else { return };
                let plan = connection.scsi.parameters(pending, &data);
                self.tasks.get(id).immediate = None;
                self.follow(id, plan);
            }
            Work::HostData { data, .. } => {
                let what = data.take();
                let data = self.data_out_bytes(id, bytes);
                self.release_chunks(id);
                if let Some(what) = what {
                    self.host_data(id, what, &data);
                }
            }
            Work::VerifyData { .. } | Work::Modify { .. } => self.read_medium(id),
            Work::VerifySame { .. } => self.verify_same_fetched(id),
            Work::WriteVerify { .. } => self.write_to_verify(id),
            Work::WriteSame { zeros, .. } => {
                *zeros = false;
                self.pattern_fetched(id);
            }
            _ => self.end_block(id, Err(BlockFault::TransferFailed)),
        }
    }

    fn table_fetched(&mut self, id: TaskId) {
        let task = self.tasks.get(id);
        let bytes = task.table.map_or(0, |table| u64::from(table.length));
        let data = self.data_out_bytes(id, bytes);
        self.release_chunks(id);
        let task = self.tasks.get(id);
        task.table = None;
        match crate::srp::buffers::parse_descriptor_table(&data, task.table_total) {
            Ok(descriptors) => {
                task.remote.clear();
                task.remote.extend(descriptors);
                // It still names the memory that the table was in.
                task.local.clear();
                self.start(id);
            }
            Err(error) => {
                tracing::debug!(%error, "bad descriptor table");
                self.refuse(id, refusal_ending(error.refusal()));
            }
        }
    }

    /// What core says after it saw the parameters, or at once.
    pub(super) fn follow(&mut self, id: TaskId, plan: Plan) {
        match plan {
            Plan::Respond(response) => {
                let task = self.tasks.get(id);
                let mut response = response;
                let mut data = std::mem::take(&mut response.data);
                let length = data.len() as u64;
                data.truncate(usize::try_from(task.offered_in).unwrap_or(usize::MAX));
                task.ending = Ending::Scsi(response);
                if !data.is_empty() {
                    task.transfer = Transfer::In(length);
                }
                if data.is_empty() {
                    self.transmit(id);
                } else {
                    task.transferred = data.len() as u64;
                    task.work = Work::Reply(data);
                    self.start(id);
                }
            }
            Plan::Parameters { length, pending } => {
                let task = self.tasks.get(id);
                task.transfer = Transfer::Out(u64::from(length));
                task.work = Work::Parameters {
                    length,
                    pending: Some(pending),
                };
                self.start(id);
            }
            Plan::Block(command) => self.start_block(id, command),
            Plan::Reserve(command) => self.start_reservation(id, command),
        }
    }

    /// Bytes that a long operation of our own moves at a time: no more than there is memory for.
    pub(super) fn stride(&mut self, id: TaskId) -> u64 {
        let port = self.port_of(id);
        port.and_then(|port| self.ports[port].as_ref())
            .map_or(STRIDE, |port| STRIDE.min(port.staging.capacity() as u64))
    }

    pub(super) fn read_medium(&mut self, id: TaskId) {
        let stride = self.stride(id);
        let task = self.tasks.get(id);
        let (offset, bytes) = match task.work {
            Work::VerifyMedium { offset, left } | Work::VerifySame { offset, left, .. } => {
                (offset, left.min(stride))
            }
            Work::VerifyData { offset, length }
            | Work::WriteVerify { offset, length, .. }
            | Work::Modify { offset, length, .. } => (offset, u64::from(length)),
            _ => return,
        };
        let skip = chunks_before(task);
        task.stage = Stage::Medium;
        self.submit_read(id, offset, bytes, skip);
    }

    fn submit_read(&mut self, id: TaskId, offset: u64, bytes: u64, skip: usize) {
        let now = self.clock;
        let task = self.tasks.get(id);
        if let Some(device) = &task.device
            && let Err(fault) = device.check_range(offset, bytes, now)
        {
            return self.end_block(id, Err(fault));
        }
        let buffers = self.staged_slices(id, bytes, skip);
        let operation = Operation::Read { offset, buffers };
        if matches!(self.tasks.get(id).work, Work::Modify { .. }) {
            self.submit_exclusive(id, operation);
        } else {
            self.submit(id, operation);
        }
    }

    /// Asks the backend. The write cache may have been switched off since the plan, so this is where it counts.
    pub(super) fn submit(&mut self, id: TaskId, mut operation: Operation) {
        let task = self.tasks.get(id);
        task.phase = Phase::Backend;
        let Some(device) = task.target() else {
            return;
        };
        match &mut operation {
            Operation::Write { durable, .. } | Operation::WriteZeroes { durable, .. } => {
                *durable |= !device.unit.write_cache();
            }
            // Of WRITE SAME; after those of UNMAP comes a flush.
            &mut Operation::Discard { offset, length }
                if matches!(task.work, Work::WriteSame { .. }) && !device.unit.write_cache() =>
            {
                operation = Operation::WriteZeroes {
                    offset,
                    length,
                    durable: true,
                };
            }
            _ => {}
        }
        self.io
            .submit(&device.backend, operation, Token(u64::from(id.0)));
    }

    pub(super) fn backend_done(&mut self, done: Done) {
        let flushed = matches!(done.operation, Operation::Flush);
        let (mut found, mut spliced) = (None, None);
        match done.operation {
            Operation::Read { buffers, .. } | Operation::Write { buffers, .. } => {
                self.recycle(buffers);
            }
            Operation::Extents { found: extents, .. } => found = extents.into_inner(),
            Operation::Splice { length, .. } => spliced = Some(length),
            _ => {}
        }
        let id = TaskId(done.token.0 as u32);
        let task = self.tasks.get(id);
        let slot = usize::from(task.connection);
        task.phase = Phase::Running;
        task.revoked = None;
        // A flush that was not even tried has lost nothing.
        let failed = !matches!(done.result, Ok(()) | Err(BackendError::Busy));
        let lost = self.note_lost_writes(id, flushed, failed);
        let over = self.is_closing(slot) || self.tasks.get(id).aborted;
        if over || done.result.is_err() || !self.keeps_lock(id) {
            self.unlock(id);
        }
        if over {
            self.retire(id);
            return self.finish_close(slot);
        }
        if let Some(length) = spliced
            && matches!(done.result, Ok(()) | Err(BackendError::Unsupported))
        {
            return self.spliced(id, length, done.result.is_ok());
        }
        // A store that cannot tell where it has holes has none.
        if let (Work::Extents { .. }, Err(BackendError::Unsupported)) =
            (&self.tasks.get(id).work, &done.result)
        {
            return self.extents_found(id, &[]);
        }
        if let Err(error) = done.result {
            tracing::warn!(device = %self.device_name(id), %error, "backing store error");
            let write = self.is_write(id);
            self.count_failure(id, write);
            return self.end_block(id, Err(fault(error, write)));
        }
        if lost {
            return self.end_block(id, Err(BlockFault::Medium { write: true }));
        }
        match found {
            Some(found) => self.extents_found(id, &found),
            None => self.backend_succeeded(id),
        }
    }

    /// The kernel reports a failed write-back once, to whoever flushes next; but what was lost may be anybody's. So every session
    /// hears of it, at its own next flush. `true` if this session has to hear of it now.
    fn note_lost_writes(&mut self, id: TaskId, flushed: bool, failed: bool) -> bool {
        let task = self.tasks.get(id);
        let (Some(device), Some(Some(connection))) = (
            &task.device,
            self.connections.get(usize::from(task.connection)),
        ) else {
            return false;
        };
        if !flushed {
            return false;
        }
        if failed {
            device.lose_writes();
        }
        connection.session.hears_of_lost_writes(device)
    }

    fn backend_succeeded(&mut self, id: TaskId) {
        let stride = self.stride(id);
        let task = self.tasks.get(id);
        match &mut task.work {
            Work::Read { .. } => {
                let bytes = task.transferred;
                self.list_local(id, bytes);
                self.tasks.get(id).cursor = Cursor {
                    left: bytes,
                    ..Cursor::default()
                };
                self.end_block(id, Ok(()));
            }
            Work::VerifyMedium { offset, left } => {
                let step = (*left).min(stride);
                *offset += step;
                *left -= step;
                if *left == 0 {
                    self.end_block(id, Ok(()));
                } else {
                    self.read_medium(id);
                }
            }
            Work::VerifyData { length, .. } => {
                let bytes = u64::from(*length);
                let result = self.compare(id, bytes);
                self.end_block(id, result);
            }
            Work::VerifySame { .. } => self.verify_same_read(id),
            Work::WriteVerify { .. } => self.verify_written(id),
            Work::Modify { writing: false, .. } => self.modify(id),
            Work::Copy(_) => self.copied(id),
            Work::WriteSame {
                offset,
                left,
                zeros: false,
                ..
            } => {
                let step = (*left).min(STRIDE);
                *offset += step;
                *left -= step;
                if *left == 0 {
                    self.end_block(id, Ok(()));
                } else {
                    self.write_next(id);
                }
            }
            Work::Unmap { ranges, .. } => {
                // After the last one comes the flush, and after that the end.
                if ranges.pop_front().is_some() {
                    self.revoke_next(id);
                } else {
                    self.end_block(id, Ok(()));
                }
            }
            _ => self.end_block(id, Ok(())),
        }
    }

    /// Ends a block operation, and goes on to its response.
    pub(super) fn end_block(&mut self, id: TaskId, result: Result<(), BlockFault>) {
        if result.is_err() {
            self.count(id, |counters| &counters.errors, 1);
        }
        let task = self.tasks.get(id);
        let keeps_data = result.is_ok() && matches!(task.work, Work::Read { .. });
        let slot = usize::from(task.connection);
        if let Some(Some(connection)) = self.connections.get_mut(slot) {
            if let Protocol::Nvme(channel) = &connection.protocol {
                channel.end(task, result);
            } else if let Some((unit, op)) = &task.command {
                task.ending = Ending::Scsi(connection.scsi.complete(*unit, op, result));
            } else if result.is_err() {
                // Parameter data that could not be moved.
                task.ending = Ending::Scsi(Response::check_condition(codes::INTERNAL_FAILURE));
            }
        }
        if !keeps_data {
            if matches!(task.work, Work::Read { .. }) {
                task.transferred = 0;
            }
            task.cursor.left = 0;
            task.lease = None;
            task.local.clear();
            self.release_chunks(id);
            self.end_partner(id);
        }
        self.transmit(id);
    }

    fn block_size(&mut self, id: TaskId) -> u64 {
        self.tasks
            .get(id)
            .device
            .as_ref()
            .map_or(512, |device| u64::from(device.unit.block_size()))
    }

    fn is_write(&mut self, id: TaskId) -> bool {
        match &self.tasks.get(id).work {
            Work::Read { .. }
            | Work::VerifyMedium { .. }
            | Work::VerifyData { .. }
            | Work::VerifySame { .. }
            | Work::Prefetch { .. }
            | Work::Extents { .. } => false,
            Work::Modify { writing, .. } => *writing,
            Work::WriteVerify { written, .. } => !written,
            Work::Copy(copying) => copying.is_writing(),
            _ => true,
        }
    }

    /// The store failed, for whoever reads the device's log pages.
    fn count_failure(&mut self, id: TaskId, write: bool) {
        let shard = usize::from(self.id);
        if let Some(device) = self.tasks.get(id).target() {
            let counters = &device.counters[shard];
            let counter = match write {
                true => &counters.write_errors,
                false => &counters.read_errors,
            };
            Counters::add(counter, 1);
        }
    }

    fn device_name(&mut self, id: TaskId) -> String {
        let device = self.tasks.get(id).target();
        device.map_or_else(String::new, |device| device.name.clone())
    }

    pub(super) fn count(
        &mut self,
        id: TaskId,
        counter: impl Fn(&Counters) -> &std::sync::atomic::AtomicU64,
        by: u64,
    ) {
        let shard = usize::from(self.id);
        if let Some(device) = &self.tasks.get(id).device {
            Counters::add(counter(&device.counters[shard]), by);
        }
    }
}
