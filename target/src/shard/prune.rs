//! Letting go of devices that initiators see no more.
//!
//! A LUN map that changes takes effect with the next command. Commands that were admitted before run to their end, and until then the
//! connection keeps the device. Whoever took it from the map can wait for that: a device is closed, or given to somebody else, when
//! nothing that was meant for it is on its way any more.

use std::time::Duration;

use crossbeam_channel::Sender;
use pagecast_core::scsi::{UnitId, UnitIndex};

use super::Shard;
use super::connection::Connection;
use super::copy::Copying;
use super::task::{Phase, Task, TaskTable, Work};

/// When to look again for commands that have ended.
const AGAIN: Duration = Duration::from_millis(5);

impl Shard {
    /// Lets go of what is in no LUN map any more. `done` is dropped when nothing of that is left.
    #[cold]
    pub(super) fn prune(&mut self, done: Sender<()>) {
        self.pruning.push(done);
        self.go_on_pruning();
    }

    /// Looks again, if somebody waits.
    pub(super) fn go_on_pruning(&mut self) {
        if self.pruning.is_empty() {
            return;
        }
        let mut all = true;
        for connection in self.connections.iter_mut().flatten() {
            all &= prune_connection(connection, &mut self.tasks);
        }
        if all {
            self.pruning.clear();
        } else {
            // Somebody waits for it.
            self.next_sweep = self.now + AGAIN;
        }
    }
}

/// Whether nothing is left that is in no map.
fn prune_connection(connection: &mut Connection, tasks: &mut TaskTable) -> bool {
    let Connection {
        scsi,
        disks,
        tasks: ids,
        ..
    } = connection;
    let numbers: Vec<Option<UnitId>> = (disks.iter())
        .map(|disk| Some(UnitId(disk.as_ref()?.device.index as u32)))
        .collect();
    scsi.forget_unmapped(|unit| {
        let id = numbers.get(unit.number()).copied().flatten();
        let used = ids.iter().any(|&task| uses(tasks.get(task), unit, id));
        if !used && let Some(disk) = disks.get_mut(unit.number()) {
            *disk = None;
        }
        used
    })
}

/// Whether a task may have something to do with a unit still.
fn uses(task: &Task, unit: UnitIndex, id: Option<UnitId>) -> bool {
    // A host waits to be told something: that is about no unit.
    if task.phase == Phase::Event {
        return false;
    }
    if let Some((planned, _)) = &task.command {
        // A copy has devices that the connection may not have met at a number of theirs.
        let concerns = |copying: &Copying| id.is_none_or(|id| copying.concerns(id.0 as usize));
        let copies = matches!(&task.work, Work::Copy(copying) if concerns(copying));
        return *planned == unit || copies;
    }
    match (&task.work, task.unit, id) {
        (Work::Reserve { unit: planned, .. }, ..) => *planned == unit,
        (_, Some(planned), Some(id)) => planned == id,
        // It is not that far that one could tell.
        _ => task.counted,
    }
}
