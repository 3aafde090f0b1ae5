//! What goes into planning, and what comes out.

use std::sync::Arc;

use super::attention::Nexus;
use super::channel::{LunMap, Slot, UnitIndex};
use super::reserve;
use super::response::{Response, Status};
use super::sense::{Sense, codes};
use super::session::ScsiSession;
use super::unit::LogicalUnit;
use crate::block::{BlockOp, Transfer};
use crate::reservations::{Access, Change};

/// A command as it arrived.
#[derive(Clone, Copy, Debug)]
pub struct Command<'a> {
    /// The LUN field.
    pub lun: [u8; 8],
    /// As many bytes as the transport carried.
    pub cdb: &'a [u8],
    /// Order among other commands.
    pub attribute: TaskAttribute,
    /// Bytes that the initiator has for us.
    pub data_out_length: u64,
    /// Bytes that the initiator has room for.
    pub data_in_length: u64,
}

/// Task attribute (SAM-5 8.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TaskAttribute {
    /// In any order.
    #[default]
    Simple,
    /// In the order of arrival.
    Ordered,
    /// Before everything that waits.
    HeadOfQueue,
    /// During an auto contingent allegiance.
    Aca,
}

/// What to do with a command.
#[derive(Debug)]
pub enum Plan {
    /// It is finished.
    Respond(Response),
    /// Fetch parameter data from the initiator and call [`parameters`](super::ScsiChannel::parameters).
    Parameters {
        /// Bytes to fetch, at least one and at most `data_out_length`.
        length: u32,
        /// What for.
        pending: PendingParameters,
    },
    /// Do this, then call [`complete`](super::complete).
    Block(BlockCommand),
    /// Change reservations, then call [`reserved`](super::ScsiChannel::reserved).
    Reserve(ReservationCommand),
}

/// A change of the reservations of a logical unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservationCommand {
    /// The logical unit, in the channel that planned it.
    pub unit: UnitIndex,
    /// What is asked for.
    pub change: Box<Change>,
}

/// A block operation on a logical unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockCommand {
    /// The logical unit, in the channel that planned it.
    pub unit: UnitIndex,
    /// What to do.
    pub op: BlockOp,
    /// Past any volatile cache: what is written is durable before the status. Also set if the unit's write cache is off.
    pub fua: bool,
    /// The data will not be needed again soon.
    pub dpo: bool,
    /// The data phase that the CDB asks for, whatever buffers the initiator has.
    pub transfer: Transfer,
}

/// A command that waits for its parameter data.
#[derive(Debug)]
pub struct PendingParameters {
    pub(crate) list: ParameterList,
    pub(crate) length: u32,
    pub(crate) unit: UnitIndex,
    pub(crate) nexus: Arc<Nexus>,
}

impl PendingParameters {
    /// The logical unit, in the channel that planned it.
    pub fn unit(&self) -> UnitIndex {
        self.unit
    }
}

/// What the parameter data are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ParameterList {
    ModeSelect6,
    ModeSelect10,
    Unmap,
    ExtendedCopy,
    ReserveOut(reserve::Request),
}

impl ParameterList {
    /// What the command does once it has its parameter data.
    pub(crate) fn access(self) -> Access {
        match self {
            Self::ModeSelect6 | Self::ModeSelect10 | Self::Unmap | Self::ExtendedCopy => {
                Access::Writes
            }
            Self::ReserveOut(_) => Access::Informs,
        }
    }
}

/// A plan, or why the command is refused.
pub(crate) type Planned = Result<Plan, Sense>;

/// Everything that planning looks at, beside the CDB.
pub(crate) struct Context<'a> {
    pub(crate) session: &'a ScsiSession,
    pub(crate) map: &'a LunMap,
    pub(crate) slot: &'a Slot,
    pub(crate) unit: &'a LogicalUnit,
    pub(crate) command: &'a Command<'a>,
}

impl Context<'_> {
    pub(crate) fn good(&self) -> Planned {
        Ok(Plan::Respond(Response::good()))
    }

    pub(crate) fn data(&self, data: Vec<u8>, allocation_length: u32) -> Planned {
        Ok(Plan::Respond(Response::with_data(data, allocation_length)))
    }

    /// Refuses the command for somebody else's reservation.
    pub(crate) fn conflict(&self) -> Planned {
        Ok(Plan::Respond(Status::ReservationConflict.into()))
    }

    pub(crate) fn block(&self, op: BlockOp, fua: bool, dpo: bool) -> Planned {
        let transfer = op.transfer(self.unit.block_size());
        Ok(Plan::Block(BlockCommand {
            unit: self.slot.unit,
            op,
            fua,
            dpo,
            transfer,
        }))
    }

    /// For commands that nothing can be made of unless the initiator sends exactly what the CDB says: LIO answers the same,
    /// and the others leave a residual.
    pub(crate) fn check_data_out(&self, op: &BlockOp) -> Result<(), Sense> {
        let wanted = op.transfer(self.unit.block_size()).data_out();
        if wanted == self.command.data_out_length {
            Ok(())
        } else {
            Err(codes::INVALID_INFORMATION_UNIT.into())
        }
    }

    /// Asks for a parameter list. An initiator that has less than its CDB says is told so at once (SPC-4: what
    /// is missing would cut the list).
    pub(crate) fn fetch(&self, list: ParameterList, length: u32) -> Planned {
        if u64::from(length) > self.command.data_out_length {
            return Err(codes::PARAMETER_LIST_LENGTH.into());
        }
        let pending = PendingParameters {
            list,
            length,
            unit: self.slot.unit,
            nexus: self.slot.nexus.clone(),
        };
        Ok(Plan::Parameters { length, pending })
    }
}
