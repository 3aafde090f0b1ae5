//! One queue of a controller.

use std::sync::Arc;

use super::command::Command;
use super::controller::Controller;
use super::plan::{Completion, Pending, Plan};
use super::status::Status;
use super::{admin, io, reservations};
use crate::block::{BlockFault, BlockOp};
use crate::reservations::Refusal;
use crate::scsi::ScsiChannel;

/// One queue of a controller, owned by one thread.
#[derive(Debug)]
pub struct Queue {
    controller: Arc<Controller>,
    id: u16,
}

impl Queue {
    /// Queue 0 takes admin commands, the others I/O.
    pub fn new(controller: Arc<Controller>, id: u16) -> Self {
        if id != 0 {
            controller.io_queue_created();
        }
        Self { controller, id }
    }

    /// Its number.
    pub fn id(&self) -> u16 {
        self.id
    }

    /// The controller that it belongs to.
    pub fn controller(&self) -> &Arc<Controller> {
        &self.controller
    }

    /// Plans a command. Planning a read or a write allocates nothing and takes no lock. `units` has the namespaces.
    #[inline]
    pub fn plan(&self, command: &Command, units: &mut ScsiChannel) -> Plan {
        let planned = if self.id == 0 {
            self.controller.host_looks(units);
            admin::plan(&self.controller, command, units)
        } else {
            io::plan(&self.controller, command, units)
        };
        match planned {
            Ok(plan) => plan,
            Err(status) => self.refused(command, status),
        }
    }

    /// Goes on with a command whose data have come, all of them. It is for the namespace that it was planned for, whatever its number
    /// stands for now.
    pub fn data(&self, pending: Pending, data: &[u8], units: &mut ScsiChannel) -> Plan {
        let command = pending.command;
        let planned = if self.id == 0 {
            admin::data(&self.controller, &command, data, units)
        } else {
            io::data(&self.controller, &pending, data)
        };
        match planned {
            Ok(plan) => plan,
            Err(status) => self.refused(&command, status),
        }
    }

    /// Plans a compare with the write that it is fused with (NVM command set 1.0 section 3.4): the first half of the data is the
    /// compare's, the second half the write's.
    pub fn plan_fused(&self, compare: &Command, write: &Command, units: &mut ScsiChannel) -> Plan {
        match io::plan_fused(&self.controller, compare, write, units) {
            Ok(plan) => plan,
            Err(status) => self.refused(write, status),
        }
    }

    /// Ends a change of reservations that was planned here.
    #[cold]
    pub fn reserved(&self, result: Result<(), Refusal>) -> Completion {
        reservations::complete(result)
    }

    /// Notes in the error log that a command has failed after it was planned.
    #[cold]
    pub fn failed(&self, cid: u16, nsid: u32, status: Status) {
        let mut state = self.controller.lock();
        state.errors.note(self.id, cid, nsid, status);
    }

    #[cold]
    fn refused(&self, command: &Command, status: Status) -> Plan {
        self.failed(command.cid, command.nsid, status);
        status.into()
    }
}

/// Ends a block operation that a queue planned, on a namespace that has `capacity` blocks now.
#[inline]
pub fn complete(op: &BlockOp, capacity: u64, result: Result<(), BlockFault>) -> Completion {
    match result {
        Ok(()) => Completion::SUCCESS,
        Err(fault) => failed(op, capacity, fault),
    }
}

#[cold]
fn failed(op: &BlockOp, capacity: u64, fault: BlockFault) -> Completion {
    match fault {
        // Dataset Management is a hint, which may be ignored (NVM command set 1.0 section 3.2.3).
        BlockFault::Unsupported if matches!(op, BlockOp::Unmap(_)) => Completion::SUCCESS,
        // Somebody has cut the store short: the namespace is as large as ever, and its end is lost.
        BlockFault::PastEnd if !op.is_beyond(capacity) => {
            let write = op.is_write();
            Status::from(BlockFault::Medium { write }).into()
        }
        fault => Status::from(fault).into(),
    }
}
