//! Admin commands (NVMe base 2.0 section 5), and the fabrics commands for properties (section 6).

use super::command::Command;
use super::controller::Controller;
use super::plan::Planned;
use super::status::Status;
use crate::scsi::ScsiChannel;

/// Plans a command of the admin queue.
pub(crate) fn plan(
    _controller: &Controller,
    _command: &Command,
    _units: &mut ScsiChannel,
) -> Planned {
    Err(Status::INVALID_OPCODE)
}

/// Goes on with a command whose data have come.
pub(crate) fn data(
    _controller: &Controller,
    _command: &Command,
    _data: &[u8],
    _units: &mut ScsiChannel,
) -> Planned {
    Err(Status::INVALID_OPCODE)
}
