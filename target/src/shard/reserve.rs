//! Changes of reservations: they are made durable elsewhere, and whoever is preempted loses its commands before the status.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use pagecast_core::nvme::Status;
use pagecast_core::reservations::Refusal;
use pagecast_core::scsi::ReservationCommand;

use super::Shard;
use super::connection::Disk;
use super::manage::AbortRequest;
use super::messages::{ControlMessage, ReservationWork, Reserved, ShardMessage};
use super::protocol::Protocol;
use super::task::{Ending, Phase, TaskId, Work};

impl Shard {
    /// Has a change of reservations made.
    #[cold]
    pub(super) fn start_reservation(&mut self, id: TaskId, command: ReservationCommand) {
        let task = self.tasks.get(id);
        let slot = usize::from(task.connection);
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return;
        };
        let Some(Disk { device, .. }) = connection.disk(command.unit, &self.ports) else {
            task.ending = Ending::Unknown;
            return self.transmit(id);
        };
        let cancelled = Arc::new(AtomicBool::new(false));
        task.work = Work::Reserve {
            unit: command.unit,
            cancelled: Arc::clone(&cancelled),
        };
        task.phase = Phase::Reservation;
        self.control
            .send(ControlMessage::Reserve(Box::new(ReservationWork {
                shard: self.id,
                task: id,
                device: Arc::clone(device),
                change: command.change,
                cancelled,
            })));
    }

    /// A change of reservations was made, or not.
    pub(super) fn reserved(&mut self, id: TaskId, outcome: Result<Reserved, Refusal>) {
        let task = self.tasks.get(id);
        if task.phase != Phase::Reservation {
            return;
        }
        let (slot, aborted) = (usize::from(task.connection), task.aborted);
        match outcome {
            // What was decided is carried out, whether somebody waits for it or not: whoever looks at the table next takes those who
            // are not in it any more for fenced.
            Ok(reserved) if !reserved.aborted.is_empty() => self.fence(id, reserved.aborted),
            _ if aborted || self.is_closing(slot) => {
                self.retire(id);
                self.finish_close(slot);
            }
            outcome => self.end_reservation(id, outcome.map(|_| ())),
        }
    }

    /// Ends a command that changes reservations.
    pub(super) fn end_reservation(&mut self, id: TaskId, result: Result<(), Refusal>) {
        let task = self.tasks.get(id);
        let slot = usize::from(task.connection);
        let Work::Reserve { unit, .. } = task.work else {
            return;
        };
        let Some(Some(connection)) = self.connections.get(slot) else {
            return;
        };
        if let Protocol::Nvme(channel) = &connection.protocol {
            let completion = channel
                .reserved(result)
                .unwrap_or_else(|| Status::INTERNAL_ERROR.into());
            return self.end_nvme(id, completion);
        }
        let response = connection.scsi.reserved(unit, result);
        // Its parameter list has come, all of it: there is no residual.
        task.work = Work::None;
        task.cursor.left = 0;
        task.ending = Ending::Scsi(response);
        self.transmit(id);
    }

    /// Aborts what matches, here and elsewhere.
    pub(super) fn abort_on_all_shards(&mut self, request: &AbortRequest) {
        for (number, peer) in self.peers.iter().enumerate() {
            if number != usize::from(self.id) {
                peer.send(ShardMessage::Abort(request.clone()));
            }
        }
        // Here at once: what comes behind the function on its own connection is none of its business (RFC 7143 section 4.2.3.3).
        self.abort_matching(request);
    }
}
