//! Identify (NVMe base 2.0 section 5.17).

mod controller;
mod namespace;

use super::admin;
use super::command::Command;
use super::controller::Controller;
use super::plan::Planned;
use super::status::Status;
use crate::scsi::{Lun, Nexus, ScsiChannel};

/// Bytes in any of the data structures.
const SIZE: usize = 4096;

/// NN: namespace identifiers are at most this.
pub(crate) const MAX_NSID: u32 = Lun::LIMIT;

/// Controller or Namespace Structure (figure 274): what is asked for.
mod cns {
    pub(super) const NAMESPACE: u8 = 0x00;
    pub(super) const CONTROLLER: u8 = 0x01;
    pub(super) const ACTIVE_NAMESPACES: u8 = 0x02;
    pub(super) const NAMESPACE_IDENTIFIERS: u8 = 0x03;
    pub(super) const NVM_NAMESPACE: u8 = 0x05;
    pub(super) const NVM_CONTROLLER: u8 = 0x06;
    pub(super) const ACTIVE_NVM_NAMESPACES: u8 = 0x07;
    pub(super) const ANY_NAMESPACE: u8 = 0x08;
    pub(super) const COMMAND_SETS: u8 = 0x1c;
}

/// Plans an Identify command.
pub(crate) fn plan(controller: &Controller, command: &Command, units: &mut ScsiChannel) -> Planned {
    let structure = command.cdw::<10>() as u8;
    let data = if controller.is_discovery() {
        match structure {
            cns::CONTROLLER => controller::discovery(controller),
            _ => return Err(Status::INVALID_FIELD),
        }
    } else {
        of_io_controller(controller, command, structure, units)?
    };
    admin::reply(command, data.0)
}

fn of_io_controller(
    controller: &Controller,
    command: &Command,
    structure: u8,
    units: &mut ScsiChannel,
) -> Result<Data, Status> {
    match structure {
        cns::NAMESPACE => of_namespace(command, units, namespace::nvm),
        cns::CONTROLLER => Ok(controller::io(controller, units)),
        cns::ACTIVE_NAMESPACES => active(command, units),
        cns::NAMESPACE_IDENTIFIERS => {
            let nexus = find(command, units)?.ok_or(Status::INVALID_NAMESPACE)?;
            Ok(namespace::identifiers(nexus))
        }
        cns::NVM_NAMESPACE => {
            check_command_set(command)?;
            of_namespace(command, units, namespace::nvm_specific)
        }
        cns::NVM_CONTROLLER => {
            check_command_set(command)?;
            Ok(controller::nvm_specific())
        }
        cns::ACTIVE_NVM_NAMESPACES => {
            check_command_set(command)?;
            active(command, units)
        }
        cns::ANY_NAMESPACE => of_namespace(command, units, namespace::any),
        cns::COMMAND_SETS => command_sets(controller, command),
        _ => Err(Status::INVALID_FIELD),
    }
}

/// What a namespace is like; zeros if there is none with that number.
fn of_namespace(
    command: &Command,
    units: &mut ScsiChannel,
    describe: fn(&Nexus) -> Data,
) -> Result<Data, Status> {
    Ok(find(command, units)?.map_or_else(Data::zeros, describe))
}

/// The namespace that a command is about, if it is there: the host learns who it is. "All" is only for what can manage namespaces.
fn find<'a>(command: &Command, units: &'a mut ScsiChannel) -> Result<Option<&'a Nexus>, Status> {
    if !(1..=MAX_NSID).contains(&command.nsid) {
        return Err(Status::INVALID_NAMESPACE);
    }
    let Some(slot) = units.slot(command.nsid - 1) else {
        return Ok(None);
    };
    admin::check_data(command, SIZE)?;
    slot.nexus.introduce();
    Ok(Some(&slot.nexus))
}

/// CSI: there is no command set but NVM.
fn check_command_set(command: &Command) -> Result<(), Status> {
    match command.cdw::<11>() >> 24 {
        0 => Ok(()),
        _ => Err(Status::INVALID_FIELD),
    }
}

/// Active Namespace ID list (section 5.17.2.2): those above the one in the command, as many as fit.
fn active(command: &Command, units: &mut ScsiChannel) -> Result<Data, Status> {
    if command.nsid >= 0xffff_fffe {
        return Err(Status::INVALID_NAMESPACE);
    }
    let mut data = Data::zeros();
    let namespaces = units
        .units()
        .map(|(number, _)| number + 1)
        .filter(|namespace| *namespace > command.nsid);
    for (field, namespace) in data.0.chunks_exact_mut(4).zip(namespaces) {
        field.copy_from_slice(&namespace.to_le_bytes());
    }
    Ok(data)
}

/// I/O Command Set data structure (section 5.17.2.21): a bit for each command set of each combination that can be used. There is
/// one combination, of the NVM command set alone.
fn command_sets(controller: &Controller, command: &Command) -> Result<Data, Status> {
    // CNTID: this controller, by its number or without.
    let id = (command.cdw::<10>() >> 16) as u16;
    if id != u16::MAX && id != controller.id() {
        return Err(Status::INVALID_FIELD);
    }
    let mut data = Data::zeros();
    data.put(0, &[1]);
    Ok(data)
}

/// A data structure, with fields at their offsets.
struct Data(Vec<u8>);

impl Data {
    fn zeros() -> Self {
        Self(vec![0; SIZE])
    }

    /// Puts a field where it belongs. One that does not fit is left out.
    fn put(&mut self, at: usize, field: &[u8]) {
        if let Some(place) = self.0.get_mut(at..at + field.len()) {
            place.copy_from_slice(field);
        }
    }

    fn put_u16(&mut self, at: usize, value: u16) {
        self.put(at, &value.to_le_bytes());
    }

    fn put_u32(&mut self, at: usize, value: u32) {
        self.put(at, &value.to_le_bytes());
    }

    fn put_u64(&mut self, at: usize, value: u64) {
        self.put(at, &value.to_le_bytes());
    }

    /// Puts printable ASCII characters, cut or padded with spaces.
    fn put_text(&mut self, at: usize, length: usize, text: &str) {
        let printable = text.bytes().map(|byte| match byte {
            0x20..=0x7e => byte,
            _ => b' ',
        });
        let padded = printable.chain(std::iter::repeat(b' '));
        self.put(at, &padded.take(length).collect::<Vec<_>>());
    }
}
