//! SRP as a shard speaks it: between information units and tasks.

use pagecast_core::block::Transfer;
use pagecast_core::scsi::{Command, Sense, SenseCode, SenseKey, TaskAttribute};

use super::task::{Ending, ManagementStatus, Task};
use crate::srp::buffers::{Data, DataBuffer};
use crate::srp::credits::{CreditError, Credits};
use crate::srp::iu::{self, InformationUnit, Refusal, TaskManagement};
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
}

/// What a message asks for.
#[derive(Debug)]
pub enum Received<'a> {
    /// A command. The task has its tag and buffers.
    Command(Command<'a>),
    /// A command that cannot be served; answer it.
    Refused(Refusal),
    /// A task management function.
    Management(TaskManagement),
    /// Nothing more to do: post the receive again.
    Consumed,
    /// The initiator is leaving.
    Logout,
    /// The initiator broke the protocol: log it out for this reason.
    Violation(LogoutReason, String),
}

impl Channel {
    /// State of a channel that has logged in.
    pub fn new(login: &Login, credits: Credits) -> Self {
        Self {
            credits,
            immediate_offset: login.immediate_offset,
            max_response: login.max_ti_iu_length(),
        }
    }

    /// Decodes a message, and fills `task` with what concerns the transport.
    pub fn receive<'a>(&mut self, bytes: &'a [u8], task: &mut Task) -> Received<'a> {
        match InformationUnit::parse(bytes) {
            Ok(InformationUnit::Command(command)) => self.command(&command, task),
            Ok(InformationUnit::TaskManagement(request)) => {
                task.tag = request.tag.0;
                match self.credits.request_arrived() {
                    Ok(()) => Received::Management(request),
                    Err(error) => too_many(error),
                }
            }
            Ok(InformationUnit::InitiatorLogout { .. }) => Received::Logout,
            Ok(InformationUnit::CredRsp { tag }) => spurious(self.credits.credit_response(tag)),
            Ok(InformationUnit::AerRsp { tag }) => spurious(self.credits.event_response(tag)),
            Ok(InformationUnit::Unknown { opcode, .. }) => Received::Violation(
                LogoutReason::InvalidType,
                format!("information unit of unknown type {opcode:#04x}"),
            ),
            Err(error) => match (error.tag(), error.refusal()) {
                (Some(tag), refusal) => {
                    task.tag = tag.0;
                    match self.credits.request_arrived() {
                        Ok(()) => Received::Refused(refusal),
                        Err(error) => too_many(error),
                    }
                }
                (None, Refusal::Disconnect(reason)) => {
                    Received::Violation(reason, error.to_string())
                }
                (None, _) => Received::Violation(LogoutReason::InvalidLength, error.to_string()),
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
            Err(error) => return Received::Refused(error.refusal()),
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
                    ManagementStatus::Complete => ResponseCode::Complete,
                    ManagementStatus::NotSupported => ResponseCode::FunctionNotSupported,
                    ManagementStatus::Failed => ResponseCode::FunctionFailed,
                };
                Response::task_management(tag, delta, code)
            }
            Ending::InvalidFields | Ending::Unknown => Response {
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
    pub fn logout(&mut self, reason: LogoutReason, out: &mut [u8]) -> usize {
        emit_target_logout(out, Tag(u64::MAX), reason).unwrap_or(0)
    }
}

/// The sense data that a refusal stands for.
pub fn refusal_ending(refusal: Refusal) -> Ending {
    match refusal {
        Refusal::CheckCondition { asc, ascq } => {
            let sense = Sense::from(SenseCode {
                key: SenseKey::IllegalRequest,
                asc,
                ascq,
            });
            Ending::Scsi(pagecast_core::scsi::Response::check_condition(sense))
        }
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
    Received::Violation(LogoutReason::Unspecified, error.to_string())
}

fn spurious(answer: Result<(), CreditError>) -> Received<'static> {
    match answer {
        Ok(()) => Received::Consumed,
        Err(error) => Received::Violation(LogoutReason::SpuriousResponse, error.to_string()),
    }
}
