//! Compare and write as one operation (NVM command set 1.0 section 3.4): two commands in a row, one change of the device.
//!
//! The second command does the work of both; the first waits for its end, and is completed before it.

use pagecast_core::nvme::{Command, Plan, Status};

use super::super::Shard;
use super::super::protocol::Protocol;
use super::super::task::{Ending, Phase, TaskId};
use super::State;

impl Shard {
    /// The first half came. Its other half is what comes next.
    pub(super) fn fused_first(&mut self, slot: usize, id: TaskId, command: Command) {
        self.tasks.get(id).phase = Phase::Fused;
        if let Some(Some(connection)) = self.connections.get_mut(slot)
            && let Protocol::Nvme(channel) = &mut connection.protocol
        {
            channel.first = Some((id, command));
        }
    }

    /// Something else than the second half came.
    #[cold]
    pub(super) fn miss_second(&mut self, slot: usize) {
        if let Some(Some(connection)) = self.connections.get_mut(slot)
            && let Protocol::Nvme(channel) = &mut connection.protocol
            && let Some((first, _)) = channel.first.take()
        {
            self.end_nvme(first, Status::ABORTED_MISSING_FUSED.into());
        }
    }

    /// The second half came.
    pub(super) fn fused_second(&mut self, slot: usize, id: TaskId, write: &Command) {
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return;
        };
        let Protocol::Nvme(channel) = &mut connection.protocol else {
            return;
        };
        let State::Connected { queue, .. } = &channel.state else {
            return;
        };
        let Some((first, compare)) = channel.first.take() else {
            return self.end_nvme(id, Status::ABORTED_MISSING_FUSED.into());
        };
        let plan = queue.plan_fused(&compare, write, &mut connection.scsi);
        self.tasks.get(id).partner = Some(first);
        if let Plan::Block(command) = &plan {
            let half = command.transfer.data_out() / 2;
            self.join(slot, first, id, half);
        }
        self.follow_nvme(id, plan);
    }

    /// Makes the data of both commands those of the second: `half` bytes of each.
    fn join(&mut self, slot: usize, first: TaskId, second: TaskId, half: u64) {
        let bytes = u32::try_from(half).unwrap_or(u32::MAX);
        let mut unsolicited = Vec::new();
        let mut unsolicited_at = 0;
        let mut remote = Vec::new();
        for (number, id) in [first, second].into_iter().enumerate() {
            let task = self.tasks.get(id);
            let (range, receive) = (task.immediate.take(), task.receive_slot);
            if let (Some(range), Some(receive), Some(Some(connection))) =
                (range, receive, self.connections.get(slot))
            {
                if unsolicited.is_empty() {
                    unsolicited_at = number as u32 * bytes;
                }
                let slots = &connection.buffers.receive;
                let length = range.len().min(half as usize);
                if let Some(slice) = slots.slice(receive as usize, range.start, length) {
                    unsolicited.append(&mut slice.to_vec());
                }
            } else if let Some(piece) = task.remote.first() {
                let mut piece = *piece;
                piece.length = piece.length.min(bytes);
                remote.push(piece);
            }
        }
        let task = self.tasks.get(second);
        // The key that its response names is its own.
        task.invalidate &= remote.len() < 2;
        task.remote = remote;
        task.unsolicited = unsolicited;
        task.unsolicited_at = unsolicited_at;
        task.offered_out = half * 2;
    }

    /// The second half ends, and with it the first.
    pub(in super::super) fn end_partner(&mut self, id: TaskId) {
        if let Some(first) = self.tasks.get(id).partner.take() {
            self.end_first(first, id);
        }
    }

    #[cold]
    fn end_first(&mut self, first: TaskId, second: TaskId) {
        let task = self.tasks.get(second);
        let status = match &task.ending {
            Ending::Nvme(completion) => completion.status,
            _ => Status::INTERNAL_ERROR,
        };
        let (one, other) = match status {
            status if status.is_success() || status == Status::PREEMPTED => (status, status),
            Status::ABORT_REQUESTED => (Status::ABORTED_FAILED_FUSED, status),
            status => (status, Status::ABORTED_FAILED_FUSED),
        };
        task.ending = Ending::Nvme(other.into());
        if self.tasks.get(first).phase == Phase::Fused {
            self.tasks.get(first).phase = Phase::Running;
            self.end_nvme(first, one.into());
        }
    }

    /// One of two is aborted, before or after the other came: both are.
    pub(in super::super) fn abort_fused(&mut self, id: TaskId) {
        let slot = usize::from(self.tasks.get(id).connection);
        let second = self.connections.get(slot).and_then(Option::as_deref);
        let mut tasks = second
            .map_or(&[][..], |connection| &connection.tasks)
            .iter();
        let second = tasks.find(|&&other| self.tasks.get(other).partner == Some(id));
        match second.copied() {
            Some(second) if !self.is_closing(slot) => {
                self.tasks.get(id).aborted = false;
                self.abort(second);
            }
            Some(second) => {
                // It has what it needs of the first.
                self.tasks.get(second).partner = None;
                self.retire(id);
            }
            None => self.retire(id),
        }
    }
}
