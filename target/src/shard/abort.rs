//! Task management functions (SAM-5 7), and tasks that end without a response.

use std::sync::atomic::Ordering::Relaxed;

use pagecast_core::block::BlockFault;
use pagecast_core::nvme::Completion;
use pagecast_core::scsi::UnitId;

use super::Shard;
use super::fence::{is_harmless, preempted};
use super::manage::{AbortRequest, AbortScope, AbortTicket, ManagementFunction, ManagementRequest};
use super::nvme::is_abortable;
use super::protocol::Protocol;
use super::task::{Ending, Link, ManagementStatus, Phase, TaskId, Work};
use crate::device::Counters;
use crate::metrics::meter::{CommandKind, Sample};
use crate::session::SessionId;

impl Shard {
    /// Starts a task management function. Its response is sent when all that it aborts is gone.
    pub(super) fn manage(&mut self, id: TaskId, request: &ManagementRequest) {
        let slot = usize::from(self.tasks.get(id).connection);
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return;
        };
        let session = connection.session.id;
        let unit = connection.scsi.unit_at(request.lun);
        let device = unit.map(|unit| connection.scsi.unit(unit).id());
        tracing::info!(initiator = %connection.session.initiator, function = ?request.function, "task management");
        match (request.function, device) {
            (ManagementFunction::AbortTask(tag), _) => self.abort_task(id, slot, tag),
            // Each nexus has a task set of its own (TST 001b in the control mode page), so that both mean the same (SAM-5 7.3, 7.5).
            (ManagementFunction::AbortTaskSet | ManagementFunction::ClearTaskSet, Some(device)) => {
                let asked = (session, Some(request.lun));
                self.abort_everywhere(id, &[device], Some(session), asked);
            }
            (ManagementFunction::LogicalUnitReset, Some(device)) => {
                if let (Some(unit), Some(Some(connection))) = (unit, self.connections.get(slot)) {
                    connection.scsi.unit(unit).reset();
                }
                self.abort_everywhere(id, &[device], None, (session, Some(request.lun)));
            }
            (ManagementFunction::TargetReset, _) => {
                let units = connection.scsi.reset_all();
                self.abort_everywhere(id, &units, None, (session, None));
            }
            (ManagementFunction::TaskReassign, _) => {
                self.end_management(id, ManagementStatus::NoReassignment);
            }
            (ManagementFunction::NotSupported, _) => {
                self.end_management(id, ManagementStatus::NotSupported);
            }
            (_, None) => self.end_management(id, ManagementStatus::NoUnit),
        }
    }

    fn abort_task(&mut self, id: TaskId, slot: usize, tag: u64) {
        let Some(Some(connection)) = self.connections.get(slot) else {
            return;
        };
        let victim = connection.tasks.iter().copied().find(|&task| {
            let task = self.tasks.get(task);
            task.tag == tag && task.counted
        });
        let Some(victim) = victim else {
            return self.end_management(id, ManagementStatus::NoTask);
        };
        self.tasks.get(id).phase = Phase::Aborts;
        let ticket = AbortTicket::new(id, self.address.clone());
        self.tasks.get(victim).tickets.push(ticket);
        self.abort(victim);
    }

    /// Aborts the commands for units, those of one session alone if one is named; and those that were sent by a LUN by who asks, or by
    /// any, whatever it stands for now.
    fn abort_everywhere(
        &mut self,
        id: TaskId,
        units: &[UnitId],
        session: Option<SessionId>,
        asked: (SessionId, Option<[u8; 8]>),
    ) {
        self.tasks.get(id).phase = Phase::Aborts;
        // Gone, and with that the function done, when nobody holds it any more; at once if there is nothing to abort.
        let ticket = AbortTicket::new(id, self.address.clone());
        let (asks, lun) = asked;
        let sent = AbortScope::Sent { session: asks, lun };
        let units = units.iter().map(|&unit| AbortScope::Unit { unit, session });
        for scope in units.chain([sent]) {
            let ticket = ticket.clone();
            self.abort_on_all_shards(&AbortRequest { scope, ticket });
        }
    }

    /// Aborts the tasks of this shard that a function on some shard is about.
    pub(super) fn abort_matching(&mut self, request: &AbortRequest) {
        let mut victims = Vec::new();
        for connection in self.connections.iter_mut().flatten() {
            match &request.scope {
                AbortScope::Unit { unit, session } => {
                    if session.is_none_or(|id| id == connection.session.id) {
                        let ids = connection.tasks.iter().copied();
                        victims.extend(ids.filter(|&id| self.tasks.get(id).unit == Some(*unit)));
                    }
                }
                AbortScope::Sent { session, lun } => {
                    if *session == connection.session.id {
                        let ids = connection.tasks.iter().copied();
                        victims.extend(ids.filter(|&id| {
                            let task = self.tasks.get(id);
                            let there = lun.is_none_or(|lun| task.lun == lun);
                            task.counted && there
                        }));
                    }
                }
                AbortScope::Registrants {
                    unit,
                    registrants,
                    by,
                } => {
                    let registrant = connection.session.scsi.registrant();
                    // They are in order.
                    let found = registrant.map(|one| registrants.binary_search(one));
                    if matches!(found, Some(Ok(_))) {
                        let own = (by.0 == self.id).then_some(by.1);
                        preempted(connection, &mut self.tasks, *unit, own, &mut victims);
                    }
                }
                AbortScope::Command {
                    session,
                    queue,
                    cid,
                } => {
                    if *session == connection.session.id
                        && matches!(&connection.protocol, Protocol::Nvme(channel) if channel.id() == *queue)
                    {
                        let mut ids = connection.tasks.iter().copied();
                        let tasks = &mut self.tasks;
                        victims.extend(ids.find(|&id| is_abortable(tasks.get(id), *cid)));
                    }
                }
            }
        }
        let preempts = matches!(request.scope, AbortScope::Registrants { .. });
        // All of them first: with one half of a fused operation goes the other.
        for &id in &victims {
            let task = self.tasks.get(id);
            task.preempted |= preempts;
            if !preempts || !is_harmless(task.phase) {
                task.tickets.push(request.ticket.clone());
            }
            request.ticket.found();
        }
        for id in victims {
            let task = self.tasks.get(id);
            // An earlier one may have taken its connection down, and this one with it; or it was the other half, and is ended.
            let over = task.phase == Phase::Free || preempts && !task.preempted;
            if !over {
                self.abort(id);
            }
        }
    }

    /// Everything that the function `id` aborted is gone.
    pub(super) fn aborts_done(&mut self, id: TaskId, found: bool) {
        let task = self.tasks.get(id);
        if task.phase != Phase::Aborts {
            return;
        }
        let slot = usize::from(task.connection);
        let (reserves, aborted) = (matches!(task.work, Work::Reserve { .. }), task.aborted);
        if aborted || self.is_closing(slot) {
            self.retire(id);
            self.finish_close(slot);
        } else if reserves {
            self.end_reservation(id, Ok(()));
        } else {
            self.end_management(id, self.abort_ending(slot, found));
        }
    }

    fn abort_ending(&self, slot: usize, found: bool) -> Ending {
        match self.connections.get(slot) {
            Some(Some(connection)) if matches!(connection.protocol, Protocol::Nvme(_)) => {
                // Bit 0: nothing was aborted (NVMe base 2.0 section 5.1).
                Ending::Nvme(Completion::with_result(u64::from(!found)))
            }
            _ => Ending::Management(ManagementStatus::Complete),
        }
    }

    fn end_management(&mut self, id: TaskId, ending: impl Into<Ending>) {
        self.tasks.get(id).ending = ending.into();
        self.transmit(id);
    }

    /// Ends a task without a response: at once if nothing of it is in flight, else when that is over. A task whose response
    /// is on its way is left alone.
    pub(super) fn abort(&mut self, id: TaskId) {
        let task = self.tasks.get(id);
        task.aborted = true;
        let idle = match task.phase {
            Phase::Staging(_)
            | Phase::Room
            | Phase::Lock
            | Phase::Ordered
            | Phase::Event
            | Phase::Decision => true,
            Phase::Fetching => task.fetching == 0,
            Phase::Free
            | Phase::Running
            | Phase::Backend
            | Phase::Revocation
            | Phase::Partial
            | Phase::Response
            | Phase::Fused
            | Phase::Reservation
            | Phase::Aborts => false,
        };
        if task.phase == Phase::Fetching {
            // No more of its data is asked for.
            let slot = usize::from(task.connection);
            if let Some(Some(connection)) = self.connections.get_mut(slot) {
                connection.fetch_queue.retain(|&other| other != id);
            }
        }
        // Whoever was preempted must not come back by a command that was aborted for it.
        if let (true, Work::Reserve { cancelled, .. }) = (task.preempted, &task.work) {
            cancelled.store(true, Relaxed);
        }
        if task.phase == Phase::Fused {
            return self.abort_fused(id);
        }
        if task.phase == Phase::Lock {
            return self.give_up_lock(id);
        }
        if task.phase == Phase::Ordered {
            let slot = usize::from(task.connection);
            if let Some(Some(connection)) = self.connections.get_mut(slot) {
                connection.order.forget(id);
            }
            return self.retire(id);
        }
        if let (Phase::Staging(_), Some(port)) = (task.phase, self.port_of(id)) {
            // Its place in the queue must not go to whoever gets its number next.
            if let Some(port) = &mut self.ports[port] {
                port.waiting.retain(|&other| other != id);
            }
            self.staging_freed |= 1 << port;
        }
        if idle {
            self.retire(id);
        }
    }

    /// Ends a task without a response, now that nothing of it is in flight. Its receive is posted again and its credit goes
    /// back with the next response, or by a credit request if there is none.
    pub(super) fn retire(&mut self, id: TaskId) {
        let task = self.tasks.get(id);
        let slot = usize::from(task.connection);
        if let Some(Some(connection)) = self.connections.get(slot)
            && matches!(connection.protocol, Protocol::Nvme(_))
            && connection.is_open()
        {
            // A host waits for a completion of every command that it has sent.
            return self.end_aborted(id);
        }
        let receive = task.receive_slot.take();
        let mut failed = false;
        if let Some(Some(connection)) = self.connections.get_mut(slot) {
            connection.protocol.dropped();
            // Nobody is told, but somebody may ask what became of it (SPC-4, RECEIVE COPY STATUS).
            if let (Work::Copy(_), Ending::Unknown, Some((unit, op))) =
                (&task.work, &task.ending, &task.command)
            {
                let _ = connection
                    .scsi
                    .complete(*unit, op, Err(BlockFault::Aborted));
            }
            if connection.closing.is_none()
                && let Some(receive) = receive
            {
                failed = connection.post_receive(receive).is_err();
            }
        }
        self.release(id);
        if failed {
            self.close(slot, super::messages::CloseReason::TransportError);
        } else {
            self.pump_control(slot);
        }
    }

    /// Gives everything back that a task holds. This is where every command ends, whatever became of it, and so where it is counted.
    pub(super) fn release(&mut self, id: TaskId) {
        self.release_chunks(id);
        let shard = usize::from(self.id);
        let task = self.tasks.get(id);
        let slot = usize::from(task.connection);
        let time = self.clock - task.started.unwrap_or(self.clock).min(self.clock);
        let kind = CommandKind::of(task.command.as_ref().map(|(_, op)| op));
        let sample = Sample::new(kind, time, task.transferred);
        if let Some(device) = &task.device {
            let counters = &device.counters[shard];
            Counters::subtract(&counters.in_flight, 1);
            counters.note_time(time / 1000);
            counters.meter.note(&sample);
        }
        let (counted, ordered) = (task.counted, task.ordered);
        let tcp = task.link == Link::Tcp;
        let queued = task.phase != Phase::Response;
        if let Some(Some(connection)) = self.connections.get_mut(slot) {
            if counted {
                connection.session.command_ended();
                connection.meter.note(&sample);
            }
            if connection.order.is_active() && connection.order.ended(ordered) {
                self.reordered.push(slot as u16);
            }
            connection.remove_task(id, queued);
        }
        if tcp {
            self.tcp_forget(slot, id);
        }
        self.tasks.release(id);
    }
}
