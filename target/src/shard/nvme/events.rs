//! Asynchronous Event Requests: they wait here until core has something to tell (NVMe base 2.0 section 5.2).

use pagecast_core::nvme::{Completion, Status};

use super::super::Shard;
use super::super::messages::CloseReason;
use super::super::protocol::Protocol;
use super::super::task::{Phase, TaskId};
use super::{Channel, State};

impl Channel {
    /// A command that waited for nothing but an event, or its other half, is aborted.
    pub(super) fn forget(&mut self, id: TaskId, waited: Phase) {
        if self.first.as_ref().is_some_and(|(first, _)| *first == id) {
            self.first = None;
        }
        if waited == Phase::Event {
            self.events.retain(|&event| event != id);
            if let State::Connected { queue, .. } = &self.state {
                queue.controller().event_request_gone();
            }
        }
    }

    /// The oldest request, and what to tell it.
    fn next_event(&mut self) -> Option<(TaskId, u32)> {
        let State::Connected { queue, .. } = &self.state else {
            return None;
        };
        let id = *self.events.front()?;
        let event = queue.controller().take_event()?;
        self.events.pop_front();
        Some((id, event))
    }
}

impl Shard {
    /// A request waits. Its receive is posted again, since it may wait for ever.
    pub(super) fn park_event(&mut self, id: TaskId) {
        let task = self.tasks.get(id);
        let slot = usize::from(task.connection);
        let receive = task.receive_slot.take();
        task.phase = Phase::Event;
        let counted = std::mem::take(&mut task.counted);
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return;
        };
        if counted {
            connection.session.command_ended();
        }
        if let Protocol::Nvme(channel) = &mut connection.protocol {
            channel.events.push_back(id);
        }
        if let Some(receive) = receive
            && connection.post_receive(receive).is_err()
        {
            self.close(slot, CloseReason::TransportError);
        }
    }

    /// The controller is reset: requests that wait go without a word (NVMe base 2.0 section 3.7.2).
    pub(super) fn drop_events(&mut self, slot: usize) {
        while let Some(Some(connection)) = self.connections.get_mut(slot)
            && let Protocol::Nvme(channel) = &mut connection.protocol
            && let Some(id) = channel.events.pop_front()
        {
            if let State::Connected { queue, .. } = &channel.state {
                queue.controller().event_request_gone();
            }
            self.release(id);
        }
    }

    /// Tells what there is to tell.
    pub(in super::super) fn tell_events(&mut self, slot: usize) {
        loop {
            let Some(Some(connection)) = self.connections.get_mut(slot) else {
                return;
            };
            let Protocol::Nvme(channel) = &mut connection.protocol else {
                return;
            };
            let Some((id, event)) = channel.next_event() else {
                return;
            };
            let completion = Completion {
                result: u64::from(event),
                status: Status::SUCCESS,
            };
            self.end_nvme(id, completion);
        }
    }
}
