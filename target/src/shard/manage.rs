//! Task management across shards: who is aborted, and how the function learns that all of it is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use pagecast_core::reservations::Registrant;
use pagecast_core::scsi::UnitId;

use super::messages::{Mailer, ShardMessage};
use super::task::TaskId;
use crate::session::SessionId;

/// A task management request (SAM-5 7), in the protocol-neutral form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManagementRequest {
    /// The LUN field.
    pub lun: [u8; 8],
    /// What is to be done.
    pub function: ManagementFunction,
}

/// A task management function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManagementFunction {
    /// ABORT TASK, for the command with this tag.
    AbortTask(u64),
    /// ABORT TASK SET
    AbortTaskSet,
    /// CLEAR TASK SET
    ClearTaskSet,
    /// LOGICAL UNIT RESET
    LogicalUnitReset,
    /// iSCSI's TARGET WARM RESET and TARGET COLD RESET: every logical unit that the initiator sees.
    TargetReset,
    /// iSCSI's TASK REASSIGN, for error recovery that this target has not.
    TaskReassign,
    /// One that this target has not.
    NotSupported,
}

/// Which tasks to abort.
#[derive(Clone, Debug)]
pub enum AbortScope {
    /// Those for a logical unit.
    Unit {
        /// Which one.
        unit: UnitId,
        /// Those of this session alone, if one is named.
        session: Option<SessionId>,
    },
    /// Those that a session has sent by a LUN, or by any: what that stood for then may have another number now, or none.
    Sent {
        /// Which session.
        session: SessionId,
        /// The LUN field, if it matters.
        lun: Option<[u8; 8]>,
    },
    /// Those for a logical unit, by whichever protocol, that belong to certain registrants of reservations, but for the one that
    /// asks.
    Registrants {
        /// The unit.
        unit: UnitId,
        /// Whose.
        registrants: Arc<[Registrant]>,
        /// Who asks: its shard, and its name there.
        by: (u16, TaskId),
    },
    /// One command of an NVMe controller.
    Command {
        /// The controller's session.
        session: SessionId,
        /// Its queue.
        queue: u16,
        /// Its name there.
        cid: u16,
    },
}

/// To every shard: abort these.
#[derive(Clone, Debug)]
pub struct AbortRequest {
    /// Which.
    pub scope: AbortScope,
    /// Held by every task that is aborted for it.
    pub ticket: Arc<AbortTicket>,
}

/// Tells the shard where a task management function waits, once the last holder lets go of it.
#[derive(Debug)]
pub struct AbortTicket {
    waiting: TaskId,
    home: Mailer<ShardMessage>,
    found: AtomicBool,
}

impl AbortTicket {
    /// A ticket for the function `waiting` in the shard that reads `home`.
    pub fn new(waiting: TaskId, home: Mailer<ShardMessage>) -> Arc<Self> {
        Arc::new(Self {
            waiting,
            home,
            found: AtomicBool::new(false),
        })
    }

    /// There was something to abort.
    pub fn found(&self) {
        self.found.store(true, Relaxed);
    }
}

impl Drop for AbortTicket {
    fn drop(&mut self) {
        let found = self.found.load(Relaxed);
        self.home.send(ShardMessage::AbortDone(self.waiting, found));
    }
}
