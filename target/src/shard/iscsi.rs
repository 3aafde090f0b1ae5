//! iSCSI as a shard speaks it: between PDUs and tasks, whatever carries them.

use std::sync::Arc;

use pagecast_rdma::fabric::Operation;

use super::protocol::{Received, Then};
use super::task::Task;
use crate::iscsi::directory::Directory;
use crate::iscsi::login::LoginStatus;
use crate::iscsi::parameters::{Datamover, Limits};

/// One iSCSI connection's state.
#[derive(Debug)]
pub struct Channel {
    datamover: Datamover,
    limits: Limits,
    directory: Arc<dyn Directory>,
    /// Whether responses may invalidate the initiator's keys.
    invalidates: bool,
}

impl Channel {
    /// State of a connection that has just been made.
    pub fn new(datamover: Datamover, limits: Limits, directory: Arc<dyn Directory>) -> Self {
        Self {
            datamover,
            limits,
            directory,
            invalidates: false,
        }
    }

    /// The same, where responses may invalidate the initiator's keys.
    pub fn with_invalidation(self, invalidates: bool) -> Self {
        Self {
            invalidates,
            ..self
        }
    }

    /// A message over a queue pair.
    pub(super) fn receive_iser<'a>(
        &mut self,
        _message: &'a [u8],
        _task: &mut Task,
        _clock: u64,
    ) -> Received<'a> {
        Received::Consumed
    }

    pub(super) fn admitted(&mut self, _tsih: u16) {}

    pub(super) fn refused(&mut self, _status: LoginStatus) {}

    pub(super) fn respond(&mut self, _task: &Task, _out: &mut [u8]) -> (usize, Operation) {
        (0, Operation::Send)
    }

    pub(super) fn dropped(&mut self) {}

    pub(super) fn has_control(&self) -> bool {
        false
    }

    pub(super) fn control(&mut self, _out: &mut [u8]) -> (usize, Then) {
        (0, Then::GoOn)
    }

    pub(super) fn farewell(&mut self, _out: &mut [u8]) -> usize {
        0
    }
}
