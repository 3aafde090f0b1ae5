//! I/O commands (NVM command set 1.0 section 3).

mod copy;
mod dataset;
mod fused;
mod report;
mod reserve;
mod transfer;

use std::sync::Arc;

use super::command::{Command, Fuse};
use super::controller::{Controller, ControllerSetup};
use super::opcodes;
use super::plan::{Pending, Plan, Planned};
use super::reservations;
use super::status::Status;
use crate::block::{BlockOp, BlockRange};
use crate::reservations::Access;
use crate::scsi::{BlockCommand, LogicalUnit, Nexus, ScsiChannel, UnitIndex};

pub(crate) use copy::{COPY, copy};
pub(crate) use dataset::{DATASET_MANAGEMENT, dataset_management};
pub(crate) use fused::plan_fused;
pub(crate) use report::{RESERVATION_REPORT, report};
pub(crate) use reserve::{
    RESERVATION_ACQUIRE, RESERVATION_REGISTER, RESERVATION_RELEASE, change_reservation,
};
pub(crate) use transfer::{compare, flush, read, verify, write, write_zeroes};

/// Page size that limits are counted in: CAP.MPSMIN is zero.
const PAGE: u32 = 4096;

/// Write Zeroes Size Limit (WZSL of Identify CNS 06h), a power of two in pages: 32 MiB. More than that can only be asked for in one
/// command of namespaces with blocks of 4096 bytes.
pub(crate) const WZSL: u8 = 13;
/// Verify Size Limit (VSL of Identify CNS 06h): nothing but the length field limits it.
pub(crate) const VSL: u8 = 0;
/// Dataset Management Ranges Limit (DMRL of Identify CNS 06h). More are served as well: these three are to keep commands short.
pub(crate) const DMRL: u8 = u8::MAX;
/// Dataset Management Range Size Limit (DMRSL of Identify CNS 06h), in blocks.
pub(crate) const DMRSL: u32 = 1 << 20;
/// Dataset Management Size Limit (DMSL of Identify CNS 06h), in blocks.
pub(crate) const DMSL: u64 = DMRSL as u64;

/// Maximum Data Transfer Size (MDTS of Identify CNS 01h), a power of two in pages.
pub(crate) fn mdts(setup: &ControllerSetup) -> u8 {
    // Zero would mean that there is no limit.
    (setup.max_transfer / PAGE)
        .checked_ilog2()
        .unwrap_or(0)
        .max(1) as u8
}

/// Copy limits of a namespace (Identify CNS 00h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CopyLimits {
    /// Maximum Single Source Range Length, in blocks.
    pub(crate) mssrl: u16,
    /// Maximum Copy Length, in blocks.
    pub(crate) mcl: u32,
    /// Maximum Source Range Count, counted from zero.
    pub(crate) msrc: u8,
}

impl CopyLimits {
    /// Those of a namespace with such blocks: what a host waits for without getting nervous.
    pub(crate) fn of(block_size: u32) -> Self {
        let block_size = block_size.max(1);
        Self {
            mssrl: u16::try_from((16 << 20) / block_size).unwrap_or(u16::MAX),
            mcl: (64 << 20) / block_size,
            msrc: 127,
        }
    }
}

/// Plans a command of an I/O queue.
#[inline]
pub(crate) fn plan(controller: &Controller, command: &Command, units: &mut ScsiChannel) -> Planned {
    let row = opcodes::io_row(command.opcode).ok_or(Status::INVALID_OPCODE)?;
    check_queue(controller)?;
    let namespace = Namespace::find(command, units);
    check_reservations(&namespace, row.access)?;
    match command.fuse {
        Fuse::Normal => {
            let namespace = namespace.ok_or(Status::INVALID_NAMESPACE)?;
            (row.plan)(controller, command, &namespace)
        }
        // Whoever has both halves plans them together.
        Fuse::First | Fuse::Second => Err(Status::ABORTED_MISSING_FUSED),
        Fuse::Reserved => Err(Status::INVALID_FIELD),
    }
}

/// Goes on with a command whose data have come.
pub(crate) fn data(controller: &Controller, pending: &Pending, data: &[u8]) -> Planned {
    let command = &pending.command;
    let row = opcodes::io_row(command.opcode).ok_or(Status::INVALID_OPCODE)?;
    check_queue(controller)?;
    let namespace = pending.namespace.as_ref().map(Namespace::from);
    // Things may have changed while the data were under way.
    check_reservations(&namespace, row.access)?;
    let namespace = &namespace.ok_or(Status::INVALID_NAMESPACE)?;
    match command.opcode {
        DATASET_MANAGEMENT => dataset::ranges(command, data, namespace),
        COPY => copy::ranges(command, data, namespace),
        RESERVATION_REGISTER | RESERVATION_ACQUIRE | RESERVATION_RELEASE => {
            reserve::keys(command, data, namespace)
        }
        _ => Err(Status::INVALID_OPCODE),
    }
}

/// Whether reservations let the host do what a command does. A namespace that is not there is for the command to find out.
///
/// Every way from a command to a plan goes through here: [`plan`], [`data`] and [`plan_fused`].
#[inline]
fn check_reservations(namespace: &Option<Namespace<'_>>, access: Access) -> Result<(), Status> {
    match namespace {
        Some(namespace) if !namespace.nexus.allows(access) => Err(Status::RESERVATION_CONFLICT),
        Some(_) | None => Ok(()),
    }
}

/// What has to be so for any I/O command (NVMe base 2.0 section 3.5; and section 3.1.2: discovery controllers have no I/O queues).
#[inline]
fn check_queue(controller: &Controller) -> Result<(), Status> {
    if controller.is_ready() {
        return Ok(());
    }
    Err(not_now(controller))
}

#[cold]
fn not_now(controller: &Controller) -> Status {
    if controller.is_discovery() {
        Status::INVALID_OPCODE
    } else {
        Status::COMMAND_SEQUENCE_ERROR
    }
}

/// A namespace that a command names. It is looked up once for each command, so that all of a command is about the same one.
pub(crate) struct Namespace<'a> {
    index: UnitIndex,
    nexus: &'a Arc<Nexus>,
    unit: &'a LogicalUnit,
}

impl<'a> From<&'a (UnitIndex, Arc<Nexus>)> for Namespace<'a> {
    fn from((index, nexus): &'a (UnitIndex, Arc<Nexus>)) -> Self {
        Self {
            index: *index,
            nexus,
            unit: &nexus.unit,
        }
    }
}

impl<'a> Namespace<'a> {
    /// Namespace 0 is none, and no I/O command is for all of them: VWC says that Flush is not, either.
    #[inline]
    fn find(command: &Command, units: &'a mut ScsiChannel) -> Option<Self> {
        // There is no LUN that zero less one could be.
        let slot = units.slot(command.nsid.wrapping_sub(1))?;
        // What was sent before the host has looked who is there now may be meant for another one.
        if slot.nexus.is_strange() {
            return None;
        }
        Some(Self {
            index: slot.unit,
            nexus: &slot.nexus,
            unit: &slot.nexus.unit,
        })
    }

    /// For commands that change it.
    #[inline]
    fn check_writable(&self) -> Result<(), Status> {
        if self.nexus.write_protected() {
            return Err(Status::NAMESPACE_WRITE_PROTECTED);
        }
        Ok(())
    }

    /// For commands about reservations, which no namespace has that cannot be reserved.
    fn check_reservable(&self) -> Result<(), Status> {
        if !reservations::can_reserve(self.unit) {
            return Err(Status::INVALID_OPCODE);
        }
        Ok(())
    }

    /// Starting LBA and number of logical blocks, which is counted from zero.
    #[inline]
    fn range(&self, command: &Command) -> Result<BlockRange, Status> {
        let blocks = u64::from(command.cdw::<12>() & 0xffff) + 1;
        BlockRange::within(command.slba(), blocks, self.unit.capacity())
            .ok_or(Status::LBA_OUT_OF_RANGE)
    }

    #[inline]
    fn plan(&self, op: BlockOp, fua: bool) -> Planned {
        let transfer = op.transfer(self.unit.block_size());
        Ok(Plan::Block(BlockCommand {
            unit: self.index,
            op,
            fua,
            dpo: false,
            transfer,
        }))
    }

    /// The same for operations that change it.
    #[inline]
    fn change(&self, op: BlockOp, command: &Command) -> Planned {
        self.plan(op, fua(command) || !self.unit.write_cache())
    }
}

/// Force Unit Access. Limited Retry, and what is about protection information, which no namespace has, change nothing.
#[inline]
fn fua(command: &Command) -> bool {
    command.cdw::<12>() & 1 << 30 != 0
}

/// What the data pointer names has to have room for all data; more is fine.
#[inline]
fn check_data(command: &Command, bytes: u64) -> Result<(), Status> {
    if u64::from(command.data_length) < bytes {
        return Err(Status::DATA_SGL_LENGTH_INVALID);
    }
    Ok(())
}

/// Asks for the data of a command.
fn fetch(command: &Command, namespace: &Namespace<'_>, length: u32) -> Planned {
    check_data(command, length.into())?;
    let pending = Pending {
        command: *command,
        namespace: Some((namespace.index, Arc::clone(namespace.nexus))),
    };
    Ok(Plan::Fetch { length, pending })
}

/// Eight little-endian bytes; what is not there counts as zero.
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk());
    field.map_or(0, |field| u64::from_le_bytes(*field))
}
