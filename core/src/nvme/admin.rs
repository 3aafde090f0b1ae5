//! Admin commands (NVMe base 2.0 section 5), and the fabrics commands for properties (section 6).

use super::command::{Command, Fuse};
use super::controller::Controller;
use super::opcodes;
use super::plan::{Completion, Pending, Plan, Planned};
use super::status::Status;
use super::{events, features, identify, log, properties};
use crate::scsi::ScsiChannel;

/// Opcodes (figure 138). The table of what there is, with names and effects, is [`opcodes::ADMIN`].
mod opcode {
    pub(super) const GET_LOG_PAGE: u8 = 0x02;
    pub(super) const IDENTIFY: u8 = 0x06;
    pub(super) const ABORT: u8 = 0x08;
    pub(super) const SET_FEATURES: u8 = 0x09;
    pub(super) const GET_FEATURES: u8 = 0x0a;
    pub(super) const EVENT_REQUEST: u8 = 0x0c;
    pub(super) const KEEP_ALIVE: u8 = 0x18;
    pub(super) const FABRICS: u8 = 0x7f;
}

/// Fabrics command types (figure 378). Connect and authentication are the transport's, and do not come here.
const PROPERTY_SET: u8 = 0x00;
const PROPERTY_GET: u8 = 0x04;

/// Plans a command of the admin queue.
pub(crate) fn plan(controller: &Controller, command: &Command, units: &mut ScsiChannel) -> Planned {
    check(controller, command)?;
    match command.opcode {
        opcode::GET_LOG_PAGE => log::plan(controller, command, units),
        opcode::IDENTIFY => identify::plan(controller, command, units),
        opcode::ABORT => Ok(abort(command)),
        opcode::SET_FEATURES => features::set(controller, command, units),
        opcode::GET_FEATURES => features::get(controller, command, units),
        opcode::EVENT_REQUEST => events::request(controller),
        // That it came is all there is to it.
        opcode::KEEP_ALIVE => Ok(Completion::SUCCESS.into()),
        opcode::FABRICS => match fabrics_type(command) {
            PROPERTY_SET => properties::set(controller, command, units),
            PROPERTY_GET => properties::get(controller, command),
            _ => Err(Status::INVALID_OPCODE),
        },
        _ => Err(Status::INVALID_OPCODE),
    }
}

/// Goes on with a command whose data have come.
pub(crate) fn data(
    controller: &Controller,
    command: &Command,
    data: &[u8],
    _units: &mut ScsiChannel,
) -> Planned {
    check(controller, command)?;
    match command.opcode {
        opcode::SET_FEATURES => features::data(controller, command, data),
        _ => Err(Status::INVALID_OPCODE),
    }
}

/// Sends data, if the host has room for them.
pub(crate) fn reply(command: &Command, data: Vec<u8>) -> Planned {
    check_data(command, data.len())?;
    Ok(Plan::Reply(data))
}

/// Asks for the data of a command, if the host has as many.
pub(crate) fn fetch(command: &Command, length: usize) -> Planned {
    check_data(command, length)?;
    Ok(Plan::Fetch {
        length: length as u32,
        pending: Pending {
            command: *command,
            namespace: None,
        },
    })
}

pub(crate) fn check_data(command: &Command, length: usize) -> Result<(), Status> {
    if (command.data_length as usize) < length {
        return Err(Status::DATA_SGL_LENGTH_INVALID);
    }
    Ok(())
}

/// What has to be so for any command: it is there for this kind of controller, and for the state that it is in (section 3.5.3).
fn check(controller: &Controller, command: &Command) -> Result<(), Status> {
    let known = opcodes::admin_rows(&controller.setup.kind).any(|row| row.opcode == command.opcode);
    if !known {
        return Err(Status::INVALID_OPCODE);
    }
    if command.fuse != Fuse::Normal {
        return Err(Status::INVALID_FIELD);
    }
    let any_time = matches!(command.opcode, opcode::FABRICS | opcode::KEEP_ALIVE);
    if !any_time && !controller.is_enabled() {
        return Err(Status::COMMAND_SEQUENCE_ERROR);
    }
    Ok(())
}

/// FCTYPE (figure 377): where other commands have the namespace.
fn fabrics_type(command: &Command) -> u8 {
    command.nsid as u8
}

/// Abort (section 5.1). The transport has the commands.
fn abort(command: &Command) -> Plan {
    Plan::Abort {
        queue: command.cdw::<10>() as u16,
        cid: (command.cdw::<10>() >> 16) as u16,
    }
}
