//! Log pages (NVMe base 2.0 section 5.16).

use super::status::Status;

/// The last errors, for log page 01h.
#[derive(Debug, Default)]
pub(crate) struct ErrorLog {}

impl ErrorLog {
    pub(crate) fn note(&mut self, _queue: u16, _cid: u16, _nsid: u32, _status: Status) {}
}
