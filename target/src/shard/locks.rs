//! Range locks around what changes a device. A lock is taken when the data are here, right before the backend is asked, and goes
//! when it has answered: no initiator, however slow, keeps others waiting. Who waits for one holds nothing that the holder
//! could want.

use std::ops::Range;

use pagecast_backends::Operation;

use super::Shard;
use super::messages::{Mailer, ShardMessage};
use super::task::{Phase, TaskId};
use crate::device::range_locks::{Hold, Mode, Ticket, Wake};

/// A task that waits for a range.
#[derive(Debug)]
pub struct Waiter {
    task: TaskId,
    home: Mailer<ShardMessage>,
}

impl Wake for Waiter {
    fn wake(self, ticket: Ticket) {
        self.home.send(ShardMessage::Locked(self.task, ticket));
    }
}

impl Shard {
    /// Submits a change of the store, as one of any number of writers.
    pub(super) fn submit_shared(&mut self, id: TaskId, operation: Operation) {
        let task = self.tasks.get(id);
        let Some(device) = task.target() else {
            return;
        };
        // Only what is quick: an exclusive one waits for these wherever they write.
        if matches!(operation, Operation::Write { .. }) && device.locks.share(usize::from(self.id))
        {
            task.lock = Some(Hold::Counted);
            return self.submit(id, operation);
        }
        self.claim(id, Mode::Shared, operation);
    }

    /// Submits what must not be interrupted by any writer until [`unlock`](Self::unlock).
    pub(super) fn submit_exclusive(&mut self, id: TaskId, operation: Operation) {
        self.claim(id, Mode::Exclusive, operation);
    }

    fn claim(&mut self, id: TaskId, mode: Mode, operation: Operation) {
        let waiter = Waiter {
            task: id,
            home: self.address.clone(),
        };
        let task = self.tasks.get(id);
        let Some(device) = task.target() else {
            return;
        };
        let (ticket, granted) = device.locks.claim(mode, reach(&operation), waiter);
        task.lock = Some(Hold::Registered(ticket));
        if granted {
            return self.submit(id, operation);
        }
        task.phase = Phase::Lock;
        self.locked_out.push((id, operation));
    }

    /// A range was granted. It may be to a task that has gone since.
    pub(super) fn locked(&mut self, id: TaskId, ticket: Ticket) {
        let task = self.tasks.get(id);
        if task.phase != Phase::Lock || task.lock != Some(Hold::Registered(ticket)) {
            return;
        }
        if let Some(operation) = self.take_locked_out(id) {
            self.submit(id, operation);
        }
    }

    /// Gives a task's lock back, or its place among those who wait for one.
    pub(super) fn unlock(&mut self, id: TaskId) {
        let task = self.tasks.get(id);
        let waits = task.phase == Phase::Lock;
        if let Some(hold) = task.lock.take()
            && let Some(device) = task.target()
        {
            device.locks.release(usize::from(self.id), hold);
        }
        if waits {
            self.take_locked_out(id);
        }
    }

    /// A task that waits for a lock is aborted.
    pub(super) fn give_up_lock(&mut self, id: TaskId) {
        self.unlock(id);
        self.retire(id);
    }

    fn take_locked_out(&mut self, id: TaskId) -> Option<Operation> {
        let at = self.locked_out.iter().position(|(task, _)| *task == id)?;
        Some(self.locked_out.swap_remove(at).1)
    }
}

/// The bytes that an operation is about.
fn reach(operation: &Operation) -> Range<u64> {
    let (offset, length) = match operation {
        Operation::Read { offset, buffers }
        | Operation::Write {
            offset, buffers, ..
        } => (
            *offset,
            buffers.iter().map(|buffer| buffer.len() as u64).sum(),
        ),
        Operation::Discard { offset, length }
        | Operation::WriteZeroes { offset, length, .. }
        | Operation::Splice { offset, length, .. }
        | Operation::Prefetch { offset, length }
        | Operation::Extents { offset, length, .. } => (*offset, *length),
        Operation::Flush => (0, u64::MAX),
    };
    offset..offset.saturating_add(length)
}
