//! What comes out of planning a command.

use std::sync::Arc;

use super::status::Status;
use crate::scsi::{BlockCommand, Nexus, ReservationCommand, UnitIndex};

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Dwords 0 and 1: what the command returns beside data.
    pub result: u64,
    /// Whether it worked.
    pub status: Status,
}

impl Completion {
    /// It worked, and there is nothing more to say.
    pub const SUCCESS: Self = Self {
        result: 0,
        status: Status::SUCCESS,
    };

    /// It worked, and this is the result.
    pub const fn with_result(result: u64) -> Self {
        Self {
            result,
            status: Status::SUCCESS,
        }
    }
}

impl From<Status> for Completion {
    fn from(status: Status) -> Self {
        Self { result: 0, status }
    }
}

/// What to do with a command.
#[derive(Debug)]
pub enum Plan {
    /// It is finished.
    Respond(Completion),
    /// Send these bytes, which the data pointer has room for; then it has succeeded.
    Reply(Vec<u8>),
    /// Fetch this much of the host's data, which the data pointer names, and call [`Queue::data`](super::Queue::data).
    Fetch {
        /// Bytes, at least one.
        length: u32,
        /// What for.
        pending: Pending,
    },
    /// Do this, then call [`complete`](super::complete).
    Block(BlockCommand),
    /// Change reservations, then call [`Queue::reserved`](super::Queue::reserved).
    Reserve(ReservationCommand),
    /// It waits for an event: [`Controller::take_event`](super::Controller::take_event), or
    /// [`Controller::event_request_gone`](super::Controller::event_request_gone) if it is aborted.
    Event,
    /// Abort a command of this controller. When that is gone: result 0; when there was none: result 1.
    Abort {
        /// Its queue.
        queue: u16,
        /// Its name there.
        cid: u16,
    },
    /// It has succeeded, and the controller was reset: its I/O queues go.
    Reset,
}

impl From<Completion> for Plan {
    fn from(completion: Completion) -> Self {
        Self::Respond(completion)
    }
}

impl From<Status> for Plan {
    fn from(status: Status) -> Self {
        Self::Respond(status.into())
    }
}

/// A command that waits for the host's data.
#[derive(Debug)]
pub struct Pending {
    pub(crate) command: super::Command,
    /// The namespace that it was planned for, if it is for one: its number may stand for another one when the data are there.
    pub(crate) namespace: Option<(UnitIndex, Arc<Nexus>)>,
}

impl Pending {
    /// The logical unit, in the channel that it was planned with, if it is for one.
    pub fn unit(&self) -> Option<UnitIndex> {
        self.namespace.as_ref().map(|(unit, _)| *unit)
    }
}

/// A plan, or why the command is refused.
pub(crate) type Planned = Result<Plan, Status>;
