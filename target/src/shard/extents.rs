//! GET LBA STATUS: where the device has blocks and where it has holes.

use std::sync::OnceLock;

use pagecast_backends::{Operation, StoredExtent};
use pagecast_core::block::{BlockOp, BlockRange, Extent};
use pagecast_core::scsi::Plan;

use super::Shard;
use super::task::{TaskId, Work};

impl Shard {
    pub(super) fn find_extents(&mut self, id: TaskId) {
        let task = self.tasks.get(id);
        let Work::Extents { range, most } = task.work else {
            return;
        };
        let size = task.device.as_ref().map_or(512, |d| d.unit.block_size());
        let operation = Operation::Extents {
            offset: range.offset(size),
            length: range.length(size),
            most: most as usize,
            found: OnceLock::new(),
        };
        self.submit(id, operation);
    }

    /// The backend's answer becomes core's, which becomes the response's data.
    pub(super) fn extents_found(&mut self, id: TaskId, found: &[StoredExtent]) {
        let task = self.tasks.get(id);
        let Work::Extents { range, most } = task.work else {
            return;
        };
        let size = task.device.as_ref().map_or(512, |d| d.unit.block_size());
        let extents = in_blocks(found, range, size, most as usize);
        let slot = usize::from(task.connection);
        let (Some(Some(connection)), Some((unit, op @ BlockOp::Extents { .. }))) =
            (self.connections.get(slot), &task.command)
        else {
            return;
        };
        let response = connection.scsi.extents(*unit, op, Ok(&extents));
        task.work = Work::None;
        self.follow(id, Plan::Respond(response));
    }
}

/// Bytes in blocks of `size`. Only what lies in a hole altogether is one. Never empty, so that who asks gets on.
fn in_blocks(found: &[StoredExtent], range: BlockRange, size: u32, most: usize) -> Vec<Extent> {
    let size = u64::from(size.max(1));
    let end = range.lba + range.blocks;
    let mut extents: Vec<Extent> = Vec::new();
    let mut push = |from: u64, to: u64, mapped| {
        let range = BlockRange {
            lba: from,
            blocks: to - from,
        };
        extents.push(Extent { range, mapped });
    };
    let mut at = range.lba;
    for hole in found.iter().filter(|extent| !extent.mapped) {
        let first = hole.offset.div_ceil(size).max(at);
        let last = ((hole.offset + hole.length) / size).min(end);
        if first >= last {
            continue;
        }
        if at < first {
            push(at, first, true);
        }
        push(first, last, false);
        at = last;
    }
    // What was found may end before the range does.
    let last = found.last().map_or(at, |last| {
        let stop = last.offset + last.length;
        // What is in a block behind a hole is not known.
        let stop = if last.mapped {
            stop.div_ceil(size)
        } else {
            stop / size
        };
        stop.min(end)
    });
    if at < last {
        push(at, last, true);
    } else if at == range.lba && at < end {
        push(at, at + 1, true);
    }
    extents.truncate(most.max(1));
    extents
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(cuts: &[u64], mut mapped: bool) -> Vec<StoredExtent> {
        cuts.windows(2)
            .map(|cut| {
                mapped = !mapped;
                StoredExtent {
                    offset: cut[0],
                    length: cut[1] - cut[0],
                    mapped: !mapped,
                }
            })
            .collect()
    }

    fn blocks(found: &[StoredExtent], lba: u64, blocks: u64, size: u32) -> Vec<(u64, u64, bool)> {
        in_blocks(found, BlockRange { lba, blocks }, size, 8)
            .iter()
            .map(|extent| (extent.range.lba, extent.range.blocks, extent.mapped))
            .collect()
    }

    #[test]
    fn whole_blocks_stay_as_they_are() {
        let found = stored(&[0, 4096, 8192, 12_288], true);
        assert_eq!(
            blocks(&found, 0, 24, 512),
            [(0, 8, true), (8, 8, false), (16, 8, true)]
        );
        let found = stored(&[8192, 12_288], false);
        assert_eq!(blocks(&found, 2, 1, 4096), [(2, 1, false)]);
    }

    #[test]
    fn a_block_that_is_stored_in_part_is_stored() {
        // Blocks of 4096; the hole from 5120 to 17408 has blocks 2 and 3 for itself.
        let found = stored(&[0, 5120, 17_408, 20_480], true);
        assert_eq!(
            blocks(&found, 0, 5, 4096),
            [(0, 2, true), (2, 2, false), (4, 1, true)]
        );
        // A hole without a whole block is none.
        let found = stored(&[0, 1024, 5120, 8192], true);
        assert_eq!(blocks(&found, 0, 2, 4096), [(0, 2, true)]);
        let found = stored(&[0, 1024, 5120, 8192], false);
        assert_eq!(blocks(&found, 0, 2, 4096), [(0, 2, true)]);
    }

    #[test]
    fn it_may_stop_before_the_end_but_not_at_the_start() {
        let found = stored(&[0, 4096, 5000], true);
        assert_eq!(blocks(&found, 0, 100, 512), [(0, 8, true), (8, 1, false)]);
        let found = stored(&[0, 1024], false);
        assert_eq!(blocks(&found, 0, 100, 4096), [(0, 1, true)]);
        assert_eq!(blocks(&[], 7, 3, 512), [(7, 1, true)]);
    }
}
