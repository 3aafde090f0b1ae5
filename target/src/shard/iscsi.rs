//! iSCSI as a shard speaks it: between PDUs and tasks, whatever carries them.

use std::sync::Arc;
use std::time::Duration;

use pagecast_core::block::Transfer;
use pagecast_core::scsi::{Command, Response, Sense, SenseCode, SenseKey, Status, TaskAttribute};
use pagecast_rdma::fabric::Operation;

use super::entropy::entropy;
use super::manage::{ManagementFunction, ManagementRequest};
use super::protocol::{Received, Then, invalid_field};
use super::task::{Ending, ManagementStatus, Task};
use crate::iscsi::connection::{Connection, Event, Outcome, Refusal, Timeout, Timers};
use crate::iscsi::directory::Directory;
use crate::iscsi::login::LoginStatus;
use crate::iscsi::parameters::{Datamover, Limits};
use crate::iscsi::pdu::{self, BHS_LENGTH, DataIn, ManagementResponse, Pdu, Residual};
use crate::iser::header::{HEADER_SIZE, TARGET_HEADER, Tags};
use crate::iser::message::Message;

/// Longest sense data that we send.
const MAX_SENSE: usize = 252;

/// How often initiators are told without asking that their LUN maps have changed, in nanoseconds: each time, a host scans.
const NEWS: u64 = 1_000_000_000;

/// One iSCSI connection's state.
#[derive(Debug)]
pub struct Channel {
    /// What the PDUs mean.
    pub connection: Connection,
    /// Whether responses may invalidate the initiator's keys.
    invalidates: bool,
    /// The LUN map that the initiator found, or was last told of.
    luns: u64,
    /// When it may be told again.
    next_news: u64,
}

impl Channel {
    /// State of a connection that has just been made.
    pub fn new(
        datamover: Datamover,
        limits: Limits,
        directory: Arc<dyn Directory>,
        timers: Timers,
    ) -> Self {
        Self {
            connection: Connection::new(datamover, limits, directory, timers, Duration::ZERO),
            invalidates: false,
            luns: 0,
            next_news: 0,
        }
    }

    /// The same, where responses may invalidate the initiator's keys.
    pub fn with_invalidation(self, invalidates: bool) -> Self {
        Self {
            invalidates,
            ..self
        }
    }

    /// A shard serves it from now on: its time starts.
    pub(super) fn begin(&mut self, clock: u64) {
        self.connection.begin(Duration::from_nanos(clock));
    }

    /// What took too long. `luns` is the generation of its session's LUN map.
    pub(super) fn tick(&mut self, clock: u64, luns: u64) -> Option<Timeout> {
        if luns != self.luns && clock >= self.next_news {
            self.luns = luns;
            self.next_news = clock.saturating_add(NEWS);
            self.connection.luns_changed();
        }
        self.connection.tick(Duration::from_nanos(clock))
    }

    /// Decodes a message that came over a queue pair, and fills `task` with what concerns the transport.
    #[inline]
    pub(super) fn receive_iser<'a>(
        &mut self,
        message: &'a [u8],
        task: &mut Task,
        clock: u64,
    ) -> Received<'a> {
        let message = match Message::parse(message) {
            Ok(message) => message,
            Err(error) => return Received::Violation(error.to_string()),
        };
        let pdu = Pdu {
            bhs: message.bhs,
            ahs: message.ahs,
            data: message.data,
        };
        let event = self.event(pdu, clock);
        if let Event::Command(command) = &event
            && !take_tags(command, &message.tags, message.data_at, task)
        {
            task.tag = u64::from(command.itt);
            return Received::Refused(invalid_field());
        }
        self.received(event, task)
    }

    /// What a PDU comes to.
    #[inline]
    pub(super) fn event<'a>(&mut self, pdu: Pdu<'a>, clock: u64) -> Event<'a> {
        let now = Duration::from_nanos(clock);
        self.connection.receive(pdu, now, &mut entropy)
    }

    /// The same in the shard's words. Data that came with a command is the caller's to keep.
    #[inline]
    pub(super) fn received<'a>(&mut self, event: Event<'a>, task: &mut Task) -> Received<'a> {
        match event {
            Event::Command(command) => {
                note_command(&command, task);
                Received::Command(Command {
                    lun: command.lun,
                    cdb: command.cdb,
                    attribute: attribute(command.attribute),
                    data_out_length: task.offered_out,
                    data_in_length: task.offered_in,
                })
            }
            other => self.rarely_received(other, task),
        }
    }

    #[cold]
    fn rarely_received<'a>(&mut self, event: Event<'a>, task: &mut Task) -> Received<'a> {
        match event {
            Event::Command(_) | Event::Consumed | Event::Logout => Received::Consumed,
            Event::Refused(command, refusal) => {
                note_command(&command, task);
                Received::Refused(refused(refusal))
            }
            // There are none without an agreement on unsolicited data, and none is made where nobody expects them.
            Event::DataOut(_) => Received::Violation("Data-Out that nobody asked for".to_owned()),
            Event::Management(request) => {
                task.tag = u64::from(request.itt);
                Received::Management(ManagementRequest {
                    lun: request.lun,
                    function: function(&request),
                })
            }
            Event::Admit(summary) => Received::Login(summary),
            Event::LoginFailed(failure) => Received::LoginFailed(failure),
            Event::Violation(why) => Received::Violation(why),
        }
    }

    /// The control thread let the initiator in.
    pub(super) fn admitted(&mut self, tsih: u16) {
        self.connection.admitted(tsih);
    }

    /// The control thread did not.
    pub(super) fn refused(&mut self, status: LoginStatus) {
        self.connection.refused(status);
    }

    /// Writes the message with the response that a task ended in; returns its length and how it is sent.
    #[inline]
    pub(super) fn respond(&mut self, task: &Task, out: &mut [u8]) -> (usize, Operation) {
        let Some((header, pdu)) = out.split_first_chunk_mut::<HEADER_SIZE>() else {
            return (0, Operation::Send);
        };
        *header = TARGET_HEADER;
        let length = HEADER_SIZE + self.response(task, pdu, 0);
        match task.remote.first() {
            // The initiator's key is of no more use to it (RFC 7145 section 7.3.2).
            Some(remote) if self.invalidates => {
                let key = remote.key;
                (length, Operation::SendWithInvalidate { key })
            }
            _ => (length, Operation::Send),
        }
    }

    /// Writes the PDU with the response that a task ended in, after so many Data-In PDUs or R2Ts; returns its length.
    #[inline]
    pub(super) fn response(&mut self, task: &Task, out: &mut [u8], exp_data_sn: u32) -> usize {
        let itt = task.tag as u32;
        let mut buffer;
        let outcome = match &task.ending {
            Ending::Scsi(scsi) => Outcome {
                response: 0,
                status: scsi.status as u8,
                residual: residual(task),
                sense: match &scsi.sense {
                    Some(sense) => {
                        buffer = [0; MAX_SENSE];
                        let length = sense.encode(&mut buffer);
                        buffer.get(..length).unwrap_or(&[])
                    }
                    None => &[],
                },
                exp_data_sn,
            },
            Ending::Management(status) => {
                let response = match status {
                    ManagementStatus::Complete => ManagementResponse::Complete,
                    ManagementStatus::NoTask => ManagementResponse::TaskDoesNotExist,
                    ManagementStatus::NoUnit => ManagementResponse::LunDoesNotExist,
                    ManagementStatus::NoReassignment => {
                        ManagementResponse::ReassignmentNotSupported
                    }
                    ManagementStatus::NotSupported => ManagementResponse::NotSupported,
                };
                return self.connection.management_response(out, itt, response);
            }
            // TARGET FAILURE (RFC 7143 section 11.4.3)
            Ending::InvalidFields | Ending::Nvme(_) | Ending::Unknown => Outcome {
                response: 1,
                residual: residual(task),
                exp_data_sn,
                ..Outcome::GOOD
            },
        };
        self.connection.scsi_response(out, itt, &outcome)
    }

    /// Writes the header of a Data-In PDU.
    pub(super) fn data_in(&mut self, data: &DataIn) -> [u8; BHS_LENGTH] {
        let mut header = [0; BHS_LENGTH];
        self.connection.data_in(&mut header, data);
        header
    }

    /// Status and residual of a task that may end with its last Data-In PDU (RFC 7143 section 11.7.3).
    pub(super) fn good_end(&self, task: &Task) -> Option<(u8, Residual)> {
        match &task.ending {
            Ending::Scsi(scsi) if scsi.status == Status::Good && scsi.sense.is_none() => {
                Some((scsi.status as u8, residual(task)))
            }
            _ => None,
        }
    }

    /// A task that gets no response went away.
    pub(super) fn dropped(&mut self) {
        self.connection.task_ended();
    }

    #[inline]
    pub(super) fn has_control(&self) -> bool {
        self.connection.has_control()
    }

    /// Writes the next message that belongs to no task, if it fits; returns its length.
    pub(super) fn control(&mut self, out: &mut [u8]) -> (usize, Then) {
        let Some((header, pdu)) = out.split_first_chunk_mut::<HEADER_SIZE>() else {
            return (0, Then::GoOn);
        };
        let Some((length, then)) = self.connection.emit_control(pdu) else {
            // One that does not fit will never leave, and an initiator that waits for it waits in vain.
            let stuck = self.connection.has_control();
            return (0, if stuck { Then::Close } else { Then::GoOn });
        };
        *header = TARGET_HEADER;
        (HEADER_SIZE + length, then)
    }

    /// Writes the message that says that the session ends, if the initiator would understand it; returns its length.
    pub(super) fn farewell(&mut self, out: &mut [u8]) -> usize {
        self.connection.drop_session();
        loop {
            // What else was to be said comes before it. The shard has sent what there was room for.
            match self.control(out) {
                (length, Then::Close) => return length,
                (0, _) => return 0,
                _ => {}
            }
        }
    }
}

/// Notes a command's name, and how much data its initiator would move.
#[inline]
fn note_command(command: &pdu::ScsiCommand<'_>, task: &mut Task) {
    task.tag = u64::from(command.itt);
    let expected = u64::from(command.expected_data_transfer_length);
    task.offered_out = if command.writes { expected } else { 0 };
    task.offered_in = if command.reads { expected } else { 0 };
}

/// Notes where a command's data is to come from or to go; `false` if the initiator offers no memory for it.
#[inline]
fn take_tags(command: &pdu::ScsiCommand<'_>, tags: &Tags, data_at: usize, task: &mut Task) -> bool {
    let expected = command.expected_data_transfer_length;
    if expected == 0 {
        return true;
    }
    if command.reads {
        return match tags.read {
            Some(tagged) => {
                task.remote.push(tagged.buffer(expected));
                true
            }
            None => false,
        };
    }
    if !command.writes {
        return true;
    }
    // The connection has made sure that there is no more than expected.
    let unsolicited = command.immediate.len() as u32;
    if unsolicited == expected {
        task.immediate = Some(data_at..data_at + command.immediate.len());
        return true;
    }
    task.unsolicited.extend_from_slice(command.immediate);
    match tags.write {
        Some(tagged) => {
            task.remote.push(tagged.buffer(expected - unsolicited));
            true
        }
        None => false,
    }
}

fn attribute(attribute: pdu::TaskAttribute) -> TaskAttribute {
    match attribute {
        pdu::TaskAttribute::Untagged | pdu::TaskAttribute::Simple => TaskAttribute::Simple,
        pdu::TaskAttribute::Ordered => TaskAttribute::Ordered,
        pdu::TaskAttribute::HeadOfQueue => TaskAttribute::HeadOfQueue,
        pdu::TaskAttribute::Aca => TaskAttribute::Aca,
    }
}

fn function(request: &pdu::TaskManagement) -> ManagementFunction {
    match request.function {
        pdu::ManagementFunction::AbortTask => {
            ManagementFunction::AbortTask(u64::from(request.referenced_task_tag))
        }
        pdu::ManagementFunction::AbortTaskSet => ManagementFunction::AbortTaskSet,
        pdu::ManagementFunction::ClearTaskSet => ManagementFunction::ClearTaskSet,
        pdu::ManagementFunction::LogicalUnitReset => ManagementFunction::LogicalUnitReset,
        pdu::ManagementFunction::TargetWarmReset | pdu::ManagementFunction::TargetColdReset => {
            ManagementFunction::TargetReset
        }
        pdu::ManagementFunction::TaskReassign => ManagementFunction::TaskReassign,
        pdu::ManagementFunction::ClearAca | pdu::ManagementFunction::Unknown(_) => {
            ManagementFunction::NotSupported
        }
    }
}

fn refused(refusal: Refusal) -> Ending {
    let (key, asc, ascq) = refusal.sense();
    let key = if key == SenseKey::AbortedCommand as u8 {
        SenseKey::AbortedCommand
    } else {
        SenseKey::IllegalRequest
    };
    Ending::Scsi(Response::check_condition(Sense::from(SenseCode {
        key,
        asc,
        ascq,
    })))
}

/// What was not moved, or would have been (RFC 7143 section 11.4.5).
fn residual(task: &Task) -> Residual {
    let count = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
    let offered = task.offered_in.max(task.offered_out);
    let asked = match task.transfer {
        Transfer::In(bytes) | Transfer::Out(bytes) => bytes,
        Transfer::None => 0,
    };
    if asked > offered {
        Residual::Overflow(count(asked - offered))
    } else if task.transferred < offered {
        Residual::Underflow(count(offered - task.transferred))
    } else {
        Residual::None
    }
}
