//! Error Information (NVMe base 2.0 section 5.16.1.2).

use std::collections::VecDeque;

use super::{Request, put};
use crate::nvme::controller::Controller;
use crate::nvme::status::Status;
use crate::scsi::ScsiChannel;

const ENTRIES: usize = 64;
const ENTRY: usize = 64;

/// Error Log Page Entries of Identify CNS 01h, counted from zero.
pub(crate) const ELPE: u8 = ENTRIES as u8 - 1;

/// The last errors, latest first.
#[derive(Debug, Default)]
pub(crate) struct ErrorLog {
    /// As many as there were.
    count: u64,
    entries: VecDeque<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    count: u64,
    queue: u16,
    cid: u16,
    namespace: u32,
    status: Status,
}

impl ErrorLog {
    pub(crate) fn note(&mut self, queue: u16, cid: u16, nsid: u32, status: Status) {
        // Zero is for entries that are none.
        self.count = self.count.checked_add(1).unwrap_or(1);
        self.entries.truncate(ENTRIES - 1);
        self.entries.push_front(Entry {
            count: self.count,
            queue,
            cid,
            namespace: nsid,
            status,
        });
    }

    /// How many errors there were.
    pub(super) fn count(&self) -> u64 {
        self.count
    }
}

impl Entry {
    fn bytes(self) -> [u8; ENTRY] {
        let mut entry = [0; ENTRY];
        put(&mut entry, 0, &self.count.to_le_bytes());
        put(&mut entry, 8, &self.queue.to_le_bytes());
        put(&mut entry, 10, &self.cid.to_le_bytes());
        put(&mut entry, 12, &self.status.field().to_le_bytes());
        // Parameter Error Location: which field it was is not noted.
        put(&mut entry, 14, &u16::MAX.to_le_bytes());
        put(&mut entry, 24, &self.namespace.to_le_bytes());
        entry
    }
}

pub(super) fn page(
    controller: &Controller,
    _request: &Request,
    _units: &mut ScsiChannel,
) -> Result<Vec<u8>, Status> {
    let state = controller.lock();
    let mut data: Vec<u8> = state
        .errors
        .entries
        .iter()
        .flat_map(|entry| entry.bytes())
        .collect();
    data.resize(ENTRIES * ENTRY, 0);
    Ok(data)
}
