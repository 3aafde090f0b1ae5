//! SRP as a shard speaks it: between information units and tasks.

use pagecast_core::block::Transfer;
use pagecast_core::scsi::{Command, TaskAttribute};

use super::manage::{ManagementFunction, ManagementRequest};
use super::protocol::{Received, illegal_request};
use super::task::{Ending, ManagementStatus, Task};
use crate::srp::buffers::{Data, DataBuffer};
use crate::srp::credits::{CreditError, Credits};
use crate::srp::iu::{self, InformationUnit, Refusal, TaskManagementFunction};
use crate::srp::login::Login;
use crate::srp::response::{
    LogoutReason, Payload, Residuals, Response, ResponseCode, emit_credit_request,
    emit_target_logout,
};
use crate::srp::wire::Tag;

/// One SRP channel's state.
#[derive(Debug)]
pub struct Channel {
    /// The request limit.
    pub credits: Credits,
    immediate_offset: Option<u16>,
    max_response: u32,
    /// What we log the initiator out for, if we do.
    reason: LogoutReason,
}

impl Channel {
    /// State of a channel that has logged in.
    pub fn new(login: &Login, credits: Credits) -> Self {
        Self {
            credits,
            immediate_offset: login.immediate_offset,
            max_response: login.max_ti_iu_length(),
            reason: LogoutReason::Unspecified,
        }
    }

    /// Decodes a message, and fills `task` with what concerns the transport.
    pub fn receive<'a>(&mut self, bytes: &'a [u8], task: &mut Task) -> Received<'a> {
        match InformationUnit::parse(bytes) {
            Ok(InformationUnit::Command(command)) => self.command(&command, task),
            Ok(InformationUnit::TaskManagement(request)) => {
                task.tag = request.tag.0;
                match self.credits.request_arrived() {
                    Ok(()) => Received::Management(management(&request)),
                    Err(error) => too_many(error),
                }
            }
            Ok(InformationUnit::InitiatorLogout { .. }) => Received::Logout,
            Ok(InformationUnit::CredRsp { tag }) => {
                let answer = self.credits.credit_response(tag);
                self.spurious(answer)
            }
            Ok(InformationUnit::AerRsp { tag }) => {
                let answer = self.credits.event_response(tag);
                self.spurious(answer)
            }
            Ok(InformationUnit::Unknown { opcode, .. }) => self.violation(
                LogoutReason::InvalidType,
                format!("information unit of unknown type {opcode:#04x}"),
            ),
            Err(error) => match (error.tag(), error.refusal()) {
                (Some(tag), refusal) => {
                    task.tag = tag.0;
                    match self.credits.request_arrived() {
                        Ok(()) => Received::Refused(refusal_ending(refusal)),
                        Err(error) => too_many(error),
                    }
                }
                (None, Refusal::Disconnect(reason)) => self.violation(reason, error.to_string()),
                (None, _) => self.violation(LogoutReason::InvalidLength, error.to_string()),
            },
        }
    }

    fn command<'a>(&mut self, command: &iu::Command<'a>, task: &mut Task) -> Received<'a> {
        task.tag = command.tag.0;
        if let Err(error) = self.credits.request_arrived() {
            return too_many(error);
        }
        let data = match command.data(self.immediate_offset) {
            Ok(data) => data,
            Err(error) => return Received::Refused(refusal_ending(error.refusal())),
        };
        task.offered_out = u64::from(data.out_length());
        task.offered_in = u64::from(data.in_length());
        match data {
            Data::None => {}
            Data::In(buffer) | Data::Out(buffer) => match buffer {
                DataBuffer::None => {}
                DataBuffer::Direct(remote) => task.remote.push(remote),
                DataBuffer::Indirect(indirect) => {
                    task.table = indirect.table;
                    task.table_total = indirect.total;
                    if task.table.is_none() {
                        task.remote.extend(indirect.descriptors);
                    }
                }
                DataBuffer::Immediate(range) => task.immediate = Some(range),
            },
        }
        Received::Command(Command {
            lun: command.lun,
            cdb: command.cdb,
            attribute: match command.attribute {
                iu::TaskAttribute::Simple => TaskAttribute::Simple,
                iu::TaskAttribute::HeadOfQueue => TaskAttribute::HeadOfQueue,
                iu::TaskAttribute::Ordered => TaskAttribute::Ordered,
                iu::TaskAttribute::Aca => TaskAttribute::Aca,
            },
            data_out_length: task.offered_out,
            data_in_length: task.offered_in,
        })
    }

    /// Writes the response that a task ended in, and returns its length.
    pub fn respond(&mut self, task: &Task, out: &mut [u8]) -> usize {
        let tag = Tag(task.tag);
        let delta = self.credits.respond();
        let mut buffer;
        let response = match &task.ending {
            Ending::Scsi(scsi) => {
                let sense = match &scsi.sense {
                    Some(sense) => {
                        buffer = [0; 252];
                        let length = sense.encode(&mut buffer);
                        buffer.get(..length).unwrap_or(&[])
                    }
                    None => &[],
                };
                Response::command(tag, delta, scsi.status as u8, residuals(task), sense)
            }
            Ending::Management(status) => {
                let code = match status {
                    // A command that is not there has ended already, which is what ABORT TASK wants (SAM-5 7.2).
                    ManagementStatus::Complete | ManagementStatus::NoTask => ResponseCode::Complete,
                    ManagementStatus::NotSupported | ManagementStatus::NoReassignment => {
                        ResponseCode::FunctionNotSupported
                    }
                    ManagementStatus::NoUnit => ResponseCode::FunctionFailed,
                };
                Response::task_management(tag, delta, code)
            }
            Ending::InvalidFields | Ending::Nvme(_) | Ending::Unknown => Response {
                payload: Payload::Code(ResponseCode::RequestFieldsInvalid),
                ..Response::task_management(tag, delta, ResponseCode::Complete)
            },
        };
        // Send slots hold the longest response, and login refuses initiators that take less than the shortest.
        response.emit(out, self.max_response).unwrap_or(0)
    }

    /// A task that gets no response went away.
    pub fn dropped(&mut self) {
        self.credits.drop_request();
    }

    /// Whether a credit request is due; writes it.
    pub fn credit_request(&mut self, out: &mut [u8]) -> Option<usize> {
        let request = self.credits.credit_request()?;
        emit_credit_request(out, request.tag, request.delta).ok()
    }

    /// Writes a logout.
    pub fn farewell(&mut self, out: &mut [u8]) -> usize {
        emit_target_logout(out, Tag(u64::MAX), self.reason).unwrap_or(0)
    }

    fn violation(&mut self, reason: LogoutReason, why: String) -> Received<'static> {
        self.reason = reason;
        Received::Violation(why)
    }

    fn spurious(&mut self, answer: Result<(), CreditError>) -> Received<'static> {
        match answer {
            Ok(()) => Received::Consumed,
            Err(error) => self.violation(LogoutReason::SpuriousResponse, error.to_string()),
        }
    }
}

fn management(request: &iu::TaskManagement) -> ManagementRequest {
    ManagementRequest {
        lun: request.lun,
        function: match request.function {
            TaskManagementFunction::AbortTask => ManagementFunction::AbortTask(request.task.0),
            TaskManagementFunction::AbortTaskSet => ManagementFunction::AbortTaskSet,
            TaskManagementFunction::ClearTaskSet => ManagementFunction::ClearTaskSet,
            TaskManagementFunction::LunReset => ManagementFunction::LogicalUnitReset,
            TaskManagementFunction::ClearAca | TaskManagementFunction::Unknown(_) => {
                ManagementFunction::NotSupported
            }
        },
    }
}

/// The sense data that a refusal stands for.
pub(super) fn refusal_ending(refusal: Refusal) -> Ending {
    match refusal {
        Refusal::CheckCondition { asc, ascq } => illegal_request(asc, ascq),
        Refusal::Response(_) | Refusal::Disconnect(_) => Ending::InvalidFields,
    }
}

fn residuals(task: &Task) -> Residuals {
    let offered = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
    let (offered_in, offered_out) = (offered(task.offered_in), offered(task.offered_out));
    match task.transfer {
        Transfer::In(expected) => Residuals::of_in(expected, offered_in, task.transferred),
        Transfer::Out(expected) => Residuals::of_out(expected, offered_out, task.transferred),
        Transfer::None if task.offered_in > 0 => Residuals::of_in(0, offered_in, 0),
        Transfer::None if task.offered_out > 0 => Residuals::of_out(0, offered_out, 0),
        Transfer::None => Residuals::NONE,
    }
}

fn too_many(error: CreditError) -> Received<'static> {
    Received::Violation(error.to_string())
}
