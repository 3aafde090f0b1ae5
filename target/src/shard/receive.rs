//! A message arrived: what it asks for becomes a task.

use std::collections::VecDeque;
use std::sync::Arc;

use pagecast_core::block::{BlockFault, BlockOp, Compare, Transfer};
use pagecast_core::scsi::{BlockCommand, Command, Plan, ScsiChannel, Status, UnitId};

use super::Shard;
use super::connection::Disk;
use super::manage::ManagementRequest;
use super::messages::{CloseReason, ControlMessage};
use super::order::{Kept, Order};
use super::protocol::{Protocol, Received, invalid_field};
use super::rarer::rarer_work;
use super::task::{Ending, Task, TaskId, Work};
use crate::device::Counters;
use crate::iscsi::login::{LoginFailure, LoginSummary};

/// What a message leads to; nothing of it is borrowed from the message any more.
#[derive(Debug)]
pub(super) enum Next {
    Follow(Plan),
    /// Not before its turn.
    Enter(Kept),
    Refuse(Ending),
    Manage(ManagementRequest),
    Nothing,
    Login(Box<LoginSummary>),
    LoginFailed(Box<LoginFailure>),
    Logout,
    Violation(String),
}

/// Plans what was received, unless it may have to wait for its turn.
#[inline]
pub(super) fn decide(
    received: Received<'_>,
    scsi: &mut ScsiChannel,
    order: &Order,
    task: &mut Task,
    draining: bool,
) -> Next {
    match received {
        // Initiators try again elsewhere, or here when we are back.
        Received::Command(_) if draining => Next::Follow(Plan::Respond(Status::Busy.into())),
        Received::Command(command) if order.concerns(&command) => Next::Enter(Kept::new(&command)),
        Received::Command(command) => {
            let plan = scsi.plan(&command);
            task.unit = unit_of(&plan, &command, scsi);
            task.lun = command.lun;
            Next::Follow(plan)
        }
        Received::Refused(ending) => Next::Refuse(ending),
        Received::Management(request) => Next::Manage(request),
        Received::Consumed => Next::Nothing,
        Received::Login(summary) => Next::Login(summary),
        Received::LoginFailed(failure) => Next::LoginFailed(failure),
        Received::Logout => Next::Logout,
        Received::Violation(why) => Next::Violation(why),
    }
}

/// The logical unit that a command was planned for. Its LUN may stand for another one by now; what has its answer is for none.
#[inline]
pub(super) fn unit_of(
    plan: &Plan,
    command: &Command<'_>,
    scsi: &mut ScsiChannel,
) -> Option<UnitId> {
    let unit = match plan {
        Plan::Block(block) => Some(block.unit),
        Plan::Parameters { pending, .. } => Some(pending.unit()),
        Plan::Reserve(command) => Some(command.unit),
        Plan::Respond(_) => scsi.unit_at(command.lun),
    };
    unit.map(|unit| scsi.unit(unit).id())
}

impl Shard {
    /// A receive completed.
    pub(super) fn received(&mut self, slot: usize, receive: u32, bytes: u32, ok: bool) {
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return;
        };
        connection.receives -= 1;
        connection.buffers.receive.take_back(receive as usize);
        if !ok || !connection.is_open() {
            return;
        }
        if !connection.established && !connection.announced {
            connection.announced = true;
            let key = connection.key;
            self.control.send(ControlMessage::Early { key });
        }
        self.message(slot, receive, bytes);
    }

    fn message(&mut self, slot: usize, receive: u32, bytes: u32) {
        let draining = self.draining.is_some();
        let id = self.tasks.allocate();
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return self.tasks.release(id);
        };
        let connection = &mut **connection;
        let task = self.tasks.get(id);
        task.connection = slot as u16;
        let message = connection
            .buffers
            .receive
            .bytes(receive as usize, bytes as usize);
        let received = match &mut connection.protocol {
            Protocol::Srp(channel) => channel.receive(message, task),
            Protocol::Iscsi(channel) => channel.receive_iser(message, task, self.clock),
            Protocol::Nvme(channel) => {
                let next = channel.receive(message, task, &mut connection.scsi);
                return self.capsule(slot, id, receive, next);
            }
        };
        // Most messages are commands, and plans are long: they are not handed around more than they must.
        let command = match received {
            Received::Command(command) => command,
            other => {
                let (scsi, order) = (&mut connection.scsi, &connection.order);
                let next = decide(other, scsi, order, task, draining);
                return self.proceed(slot, id, Some(receive), next);
            }
        };
        if draining || connection.order.concerns(&command) {
            let (scsi, order) = (&mut connection.scsi, &connection.order);
            let next = decide(Received::Command(command), scsi, order, task, draining);
            return self.proceed(slot, id, Some(receive), next);
        }
        let plan = connection.scsi.plan(&command);
        task.unit = unit_of(&plan, &command, &mut connection.scsi);
        task.lun = command.lun;
        task.receive_slot = Some(receive);
        task.counted = true;
        task.started = Some(self.clock);
        connection.session.command_started();
        connection.tasks.push(id);
        self.follow(id, plan);
    }

    /// A command has arrived.
    pub(super) fn admit(&mut self, slot: usize, id: TaskId, receive: Option<u32>) {
        let task = self.tasks.get(id);
        task.receive_slot = receive;
        task.counted = true;
        task.started = Some(self.clock);
        if let Some(Some(connection)) = self.connections.get_mut(slot) {
            connection.session.command_started();
            connection.tasks.push(id);
        }
    }

    /// Whatever a message leads to.
    pub(super) fn proceed(&mut self, slot: usize, id: TaskId, receive: Option<u32>, next: Next) {
        match next {
            Next::Follow(plan) => {
                self.admit(slot, id, receive);
                self.follow(id, plan);
            }
            Next::Enter(command) => {
                self.admit(slot, id, receive);
                self.enter(id, command);
            }
            Next::Refuse(ending) => {
                self.tasks.get(id).receive_slot = receive;
                self.enlist(id);
                self.refuse(id, ending);
            }
            Next::Manage(request) => {
                let task = self.tasks.get(id);
                task.receive_slot = receive;
                task.work = Work::Management;
                self.enlist(id);
                self.manage(id, &request);
            }
            Next::Nothing => {
                self.tasks.release(id);
                self.consumed(slot, receive);
            }
            Next::Login(summary) => {
                self.tasks.release(id);
                self.consumed(slot, receive);
                if let Some(Some(connection)) = self.connections.get(slot) {
                    let key = connection.key;
                    self.control.send(ControlMessage::Login { key, summary });
                }
            }
            Next::LoginFailed(failure) => {
                self.tasks.release(id);
                if let Some(Some(connection)) = self.connections.get(slot) {
                    let key = connection.key;
                    (self.control).send(ControlMessage::LoginFailed { key, failure });
                }
                self.consumed(slot, receive);
            }
            Next::Logout => {
                self.tasks.release(id);
                self.close(slot, CloseReason::Logout);
            }
            Next::Violation(why) => {
                self.tasks.release(id);
                if let Some(Some(connection)) = self.connections.get(slot) {
                    tracing::warn!(initiator = %connection.session.initiator, peer = %connection.session.peer, %why, "protocol violation");
                }
                self.take_leave(slot, CloseReason::Violation);
            }
        }
    }

    /// A message needs no answer of its own: its buffer can be used again.
    pub(super) fn consumed(&mut self, slot: usize, receive: Option<u32>) {
        if let (Some(Some(connection)), Some(receive)) = (self.connections.get_mut(slot), receive)
            && connection.post_receive(receive).is_err()
        {
            return self.close(slot, CloseReason::TransportError);
        }
        self.pump_control(slot);
    }

    fn enlist(&mut self, id: TaskId) {
        let slot = usize::from(self.tasks.get(id).connection);
        if let Some(Some(connection)) = self.connections.get_mut(slot) {
            connection.tasks.push(id);
        }
    }

    /// Answers what the transport cannot serve.
    pub(super) fn refuse(&mut self, id: TaskId, ending: Ending) {
        let task = self.tasks.get(id);
        task.work = Work::None;
        task.transferred = 0;
        task.cursor.left = 0;
        task.ending = ending;
        self.transmit(id);
    }

    /// Translates core's block operation into bytes of a device.
    pub(super) fn start_block(&mut self, id: TaskId, command: BlockCommand) {
        let task = self.tasks.get(id);
        let slot = usize::from(task.connection);
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return;
        };
        let size = connection.scsi.unit(command.unit).block_size();
        let Some(Disk { device, .. }) = connection.disk(command.unit, &self.ports) else {
            task.ending = Ending::Unknown;
            return self.transmit(id);
        };
        task.device = Some(Arc::clone(device));
        Counters::add(&device.counters[usize::from(self.id)].in_flight, 1);
        // A parameter list that was fetched for it is the data phase that it had.
        if command.transfer != Transfer::None {
            task.transfer = command.transfer;
        }
        // A buffer for the other direction is none for this one.
        let wrong = match command.transfer {
            Transfer::Out(_) => task.offered_out == 0 && task.offered_in > 0,
            // To iSCSI it is a residual like others (RFC 7143 section 11.4.5): nothing is moved.
            Transfer::In(_) => {
                let srp = matches!(connection.protocol, Protocol::Srp(_));
                srp && task.offered_in == 0 && task.offered_out > 0
            }
            Transfer::None => false,
        };
        if wrong {
            return self.refuse(id, invalid_field());
        }
        // The way of most commands is short.
        if let BlockOp::Read(range) = command.op
            && task.table.is_none()
        {
            let old = std::mem::replace(
                &mut task.work,
                Work::Read {
                    offset: range.offset(size),
                    length: u32::try_from(range.length(size)).unwrap_or(u32::MAX),
                },
            );
            // Nothing, which need not be looked at to be dropped.
            debug_assert!(matches!(old, Work::None));
            std::mem::forget(old);
            task.command = Some((command.unit, BlockOp::Read(range)));
            return self.start_read(id);
        }
        let durable = command.fua;
        // Core bounds transfers by the limits that the device was made with, which fit 32 bits.
        task.work = match &command.op {
            BlockOp::Read(range) => Work::Read {
                offset: range.offset(size),
                length: u32::try_from(range.length(size)).unwrap_or(u32::MAX),
            },
            BlockOp::Write(range) => Work::Write {
                offset: range.offset(size),
                length: u32::try_from(range.length(size)).unwrap_or(u32::MAX),
                durable,
            },
            BlockOp::Verify {
                range,
                compare: Compare::Medium,
            } => Work::VerifyMedium {
                offset: range.offset(size),
                left: range.length(size),
            },
            BlockOp::Verify {
                range,
                compare: Compare::Blocks,
            } => Work::VerifyData {
                offset: range.offset(size),
                length: u32::try_from(range.length(size)).unwrap_or(u32::MAX),
            },
            BlockOp::WriteSame {
                range,
                unmap,
                zero_data,
            } => Work::WriteSame {
                offset: range.offset(size),
                left: range.length(size),
                block: size,
                zeros: *zero_data,
                unmap: *unmap,
                durable,
            },
            BlockOp::Unmap(ranges) => Work::Unmap {
                ranges: ranges
                    .iter()
                    .map(|range| (range.offset(size), range.length(size)))
                    .collect::<VecDeque<_>>(),
                durable,
            },
            BlockOp::Flush => Work::Flush,
            op => match rarer_work(op, size, durable, &connection.session) {
                Some(work) => work,
                None => {
                    task.command = Some((command.unit, command.op));
                    return self.end_block(id, Err(BlockFault::Unsupported));
                }
            },
        };
        task.command = Some((command.unit, command.op));
        self.start(id);
    }
}
