//! Features (NVMe base 2.0 section 5.27).

use super::controller::ControllerSetup;

/// What a host has set.
#[derive(Debug)]
pub(crate) struct Features {}

impl Features {
    pub(crate) fn new(_setup: &ControllerSetup) -> Self {
        Self {}
    }
}
