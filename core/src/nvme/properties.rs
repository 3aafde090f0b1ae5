//! Controller properties (NVMe base 2.0 section 3.1.3), and the time that a host may be silent.

use std::time::Duration;

use super::controller::{Controller, ControllerSetup};

/// The registers that fabrics have.
#[derive(Debug)]
pub(crate) struct Properties {}

impl Properties {
    pub(crate) fn new(_setup: &ControllerSetup) -> Self {
        Self {}
    }
}

impl Controller {
    /// The host was heard: some command came on one of its queues (traffic based keep-alive).
    pub fn heard(&self, now: Duration) {
        self.lock().heard = now;
    }

    /// Whether the host has been silent for longer than its keep-alive time. The controller is lost then (CSTS.CFS), and all of its
    /// queues have to go.
    pub fn tick(&self, _now: Duration) -> bool {
        false
    }
}
