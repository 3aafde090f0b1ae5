//! Asynchronous events (NVMe base 2.0 section 5.2).

use super::controller::{Controller, Kind};
use crate::scsi::ScsiChannel;

/// Asynchronous Event Requests that a host may have waiting.
pub(crate) const REQUEST_LIMIT: u8 = 4;

/// What there is to tell, and who waits to be told.
#[derive(Debug)]
pub(crate) struct Events {
    /// Requests that wait.
    pub(crate) waiting: u8,
}

impl Events {
    pub(crate) fn new(_kind: &Kind) -> Self {
        Self { waiting: 0 }
    }
}

impl Controller {
    /// Looks whether anything has changed that the host may want to hear of: namespaces, or what there is to discover.
    pub fn look(&self, _units: &mut ScsiChannel) {}

    /// The result of an Asynchronous Event Request, if one waits and there is something to tell. Call it until there is none.
    pub fn take_event(&self) -> Option<u32> {
        None
    }

    /// An Asynchronous Event Request was aborted.
    pub fn event_request_gone(&self) {
        let mut state = self.lock();
        state.events.waiting = state.events.waiting.saturating_sub(1);
    }
}
