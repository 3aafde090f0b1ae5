//! A message arrived: what it asks for becomes a task.

use std::collections::VecDeque;
use std::sync::Arc;

use pagecast_core::block::{BlockFault, BlockOp, Compare, Transfer};
use pagecast_core::scsi::{BlockCommand, Plan, Status};

use super::Shard;
use super::messages::{CloseReason, ControlMessage};
use super::srp::{Received, refusal_ending};
use super::task::{Ending, TaskId, Work};
use crate::device::Counters;
use crate::srp::iu::Refusal;

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
            let connection = connection.id;
            self.control.send(ControlMessage::Early { connection });
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
        let received = connection.protocol.receive(message, task);
        let plan = match received {
            // Initiators try again elsewhere, or here when we are back.
            Received::Command(_) if draining => Plan::Respond(Status::Busy.into()),
            Received::Command(command) => {
                let plan = connection.scsi.plan(&command);
                let unit = match &plan {
                    Plan::Block(block) => Some(block.unit),
                    Plan::Respond(_) | Plan::Parameters { .. } => {
                        connection.scsi.unit_at(command.lun)
                    }
                };
                task.unit = unit.map(|unit| connection.scsi.unit(unit).id());
                plan
            }
            Received::Refused(refusal) => {
                task.receive_slot = Some(receive);
                self.enlist(id);
                return self.refuse(id, refusal);
            }
            Received::Management(request) => {
                task.receive_slot = Some(receive);
                task.work = Work::Management;
                self.enlist(id);
                return self.manage(id, &request);
            }
            Received::Consumed => {
                self.tasks.release(id);
                if connection.post_receive(receive).is_err() {
                    return self.close(slot, CloseReason::TransportError);
                }
                return self.request_credit(slot);
            }
            Received::Logout => {
                self.tasks.release(id);
                return self.close(slot, CloseReason::Logout);
            }
            Received::Violation(reason, why) => {
                self.tasks.release(id);
                tracing::warn!(initiator = %connection.session.initiator, %why, "protocol violation");
                return self.log_out(slot, reason, CloseReason::Violation);
            }
        };
        task.receive_slot = Some(receive);
        connection.session.command_started();
        task.counted = true;
        task.started = Some(self.clock);
        self.enlist(id);
        self.follow(id, plan);
    }

    fn enlist(&mut self, id: TaskId) {
        let slot = usize::from(self.tasks.get(id).connection);
        if let Some(Some(connection)) = self.connections.get_mut(slot) {
            connection.tasks.push(id);
        }
    }

    /// Answers what the transport cannot serve.
    pub(super) fn refuse(&mut self, id: TaskId, refusal: Refusal) {
        let task = self.tasks.get(id);
        task.work = Work::None;
        task.transferred = 0;
        task.cursor.left = 0;
        task.ending = refusal_ending(refusal);
        self.transmit(id);
    }

    /// Translates core's block operation into bytes of a device.
    pub(super) fn start_block(&mut self, id: TaskId, command: BlockCommand) {
        let task = self.tasks.get(id);
        let slot = usize::from(task.connection);
        let Some(Some(connection)) = self.connections.get(slot) else {
            return;
        };
        let unit = connection.scsi.unit(command.unit);
        let size = unit.block_size();
        let Some(device) = connection.session.device(unit.id().0 as usize) else {
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
            Transfer::In(_) => task.offered_in == 0 && task.offered_out > 0,
            Transfer::None => false,
        };
        if wrong {
            return self.refuse(id, Refusal::INVALID_FIELD_IN_IU);
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
            BlockOp::Verify {
                compare: Compare::OneBlock,
                ..
            }
            | BlockOp::CompareAndWrite(_)
            | BlockOp::Or(_)
            | BlockOp::WriteVerify { .. }
            | BlockOp::Prefetch(_)
            | BlockOp::Extents { .. }
            | BlockOp::Copy(_) => {
                task.command = Some((command.unit, command.op));
                return self.end_block(id, Err(BlockFault::Unsupported));
            }
        };
        task.command = Some((command.unit, command.op));
        self.start(id);
    }
}
