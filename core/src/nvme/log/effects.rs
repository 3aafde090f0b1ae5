//! What commands and features there are, and what they do (NVMe base 2.0 section 5.16.1, log pages 05h and 12h).

use super::{Request, put};
use crate::nvme::controller::Controller;
use crate::nvme::features;
use crate::nvme::opcodes::{self, Effects};
use crate::nvme::reservations;
use crate::nvme::status::Status;
use crate::scsi::ScsiChannel;

/// The NVM command set.
const NVM: u8 = 0;
/// Where I/O commands begin.
const IO: usize = 1024;

/// Commands Supported and Effects.
pub(super) fn commands(
    controller: &Controller,
    request: &Request,
    units: &mut ScsiChannel,
) -> Result<Vec<u8>, Status> {
    if request.command_set != NVM {
        return Err(Status::INVALID_COMMAND_SET);
    }
    let mut data = vec![0; 4096];
    let mut set = |start: usize, opcode: u8, Effects(effects): Effects| {
        put(
            &mut data,
            start + usize::from(opcode) * 4,
            &effects.to_le_bytes(),
        );
    };
    for row in opcodes::admin_rows(&controller.setup.kind) {
        set(0, row.opcode, row.effects);
    }
    let reservations = reservations::reservable(units).next().is_some();
    for row in opcodes::io_rows(reservations) {
        set(IO, row.opcode, row.effects);
    }
    Ok(data)
}

/// FSUPP: it is supported. Changing a feature changes nothing but that.
const SUPPORTED: u32 = 1;
/// FSP: whose it is.
const OF_NAMESPACE: u32 = 1 << 20;
const OF_CONTROLLER: u32 = 1 << 21;

/// Feature Identifiers Supported and Effects.
pub(super) fn features(
    controller: &Controller,
    _request: &Request,
    _units: &mut ScsiChannel,
) -> Result<Vec<u8>, Status> {
    let mut data = vec![0; 256 * 4];
    for (id, of_namespace) in features::identifiers(&controller.setup.kind) {
        let scope = if of_namespace {
            OF_NAMESPACE
        } else {
            OF_CONTROLLER
        };
        let effects = SUPPORTED | scope;
        put(&mut data, usize::from(id) * 4, &effects.to_le_bytes());
    }
    Ok(data)
}
