//! Letting go of devices that initiators see no more.
//!
//! A LUN map that changes takes effect with the next command. Commands that were admitted before run to their end, and until then the
//! connection keeps the device. Whoever took it from the map can wait for that: a device is closed, or given to somebody else, when
//! nothing that was meant for it is on its way any more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use pagecast_core::scsi::{UnitId, UnitIndex};

use super::Shard;
use super::connection::Connection;
use super::copy::Copying;
use super::nvme::HostData;
use super::task::{Phase, Task, TaskTable, Work};

/// When to look again for commands that have ended.
const AGAIN: Duration = Duration::from_millis(5);
/// Who has waited for so long can wait until the next sweep.
const EAGER: Duration = Duration::from_secs(1);

/// What connections have not let go of yet, though it is in no LUN map of theirs any more.
#[derive(Debug, Default)]
pub(super) struct Pruning {
    waiters: Vec<Waiter>,
    /// There was something left at the last look.
    left: bool,
}

/// Somebody waits for commands to end.
#[derive(Debug)]
struct Waiter {
    /// Dropped when they have.
    _done: Sender<()>,
    /// What they are for. What else may be stuck is none of its business.
    units: Arc<[UnitId]>,
    since: Instant,
}

impl Shard {
    /// Lets go of what is in no LUN map any more. `done` is dropped when no command is left for any of these units where it is not seen
    /// any more.
    #[cold]
    pub(super) fn prune(&mut self, done: Sender<()>, units: Arc<[UnitId]>) {
        self.pruning.waiters.push(Waiter {
            _done: done,
            units,
            since: self.now,
        });
        self.pruning.left = true;
        self.go_on_pruning();
    }

    /// Looks again, if there was anything left.
    pub(super) fn go_on_pruning(&mut self) {
        if !self.pruning.left {
            return;
        }
        let mut busy = Vec::new();
        for connection in self.connections.iter_mut().flatten() {
            prune_connection(connection, &mut self.tasks, &mut busy);
        }
        let now = self.now;
        let waiters = &mut self.pruning.waiters;
        waiters.retain(|waiter| waiter.units.iter().any(|unit| busy.contains(unit)));
        let eager = |waiter: &Waiter| now.saturating_duration_since(waiter.since) < EAGER;
        if waiters.iter().any(eager) {
            self.next_sweep = now + AGAIN;
        }
        self.pruning.left = !busy.is_empty();
    }
}

/// Lets go of what is in no map. `busy` is what is in use still.
fn prune_connection(connection: &mut Connection, tasks: &mut TaskTable, busy: &mut Vec<UnitId>) {
    let Connection {
        scsi,
        disks,
        tasks: ids,
        ..
    } = connection;
    scsi.forget_unmapped(|unit, id| {
        let used = ids.iter().any(|&task| uses(tasks.get(task), unit, id));
        if used {
            busy.push(id);
        } else if let Some(disk) = disks.get_mut(unit.number()) {
            *disk = None;
        }
        used
    });
}

/// Whether a task may have something to do with a unit still.
fn uses(task: &Task, unit: UnitIndex, id: UnitId) -> bool {
    // A host waits to be told something, or the first half of a fused operation for the second, which does the work.
    if matches!(task.phase, Phase::Event | Phase::Fused) {
        return false;
    }
    if let Some((planned, _)) = &task.command {
        // A copy has other devices besides.
        let concerns = |copying: &Copying| copying.concerns(id.0 as usize);
        let copies = matches!(&task.work, Work::Copy(copying) if concerns(copying));
        return *planned == unit || copies;
    }
    match &task.work {
        Work::Parameters {
            pending: Some(pending),
            ..
        } => pending.unit() == unit,
        Work::HostData {
            data: Some(HostData::Core(pending)),
            ..
        } => pending.unit() == Some(unit),
        Work::Reserve { unit: planned, .. } => *planned == unit,
        _ => task.unit == Some(id),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pagecast_core::scsi::{
        Command, DiskModel, Identity, LogicalUnit, Mapping, Naa, Plan, PortName, Provisioning,
        ScsiSession, TargetPort, TaskAttribute,
    };

    use super::super::receive::unit_of;
    use super::*;

    fn unit(number: u32) -> Arc<LogicalUnit> {
        let identity = Identity::new(format!("s{number}"), Naa::local(number.into()));
        let model = DiskModel {
            provisioning: Some(Provisioning {
                zeroes: true,
                granularity_blocks: 8,
                max_unmap_blocks: 0x1000,
                max_unmap_descriptors: 4,
            }),
            ports: vec![1],
            ..DiskModel::new(identity, 512, 0x1000)
        };
        Arc::new(LogicalUnit::new(UnitId(number), model).expect("a valid model"))
    }

    fn port() -> TargetPort {
        TargetPort {
            relative_identifier: 1,
            group: 1,
            name: PortName::Srp([1; 16]),
        }
    }

    /// A command that waits for its parameter list is for the unit that it was planned for, whatever its LUN stands for since.
    #[test]
    fn a_parameter_list_is_waited_for_by_its_unit() {
        let (old, new) = (unit(7), unit(8));
        let map = |unit: &Arc<LogicalUnit>| BTreeMap::from([(0, Mapping::from(unit.clone()))]);
        let session = ScsiSession::new(port(), None, &map(&old));
        let mut channel = session.channel();
        let command = Command {
            lun: [0; 8],
            // UNMAP
            cdb: &[0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0],
            attribute: TaskAttribute::Simple,
            data_out_length: 24,
            data_in_length: 0,
        };
        let plan = channel.plan(&command);
        // Between its plan and anything else.
        session.set_luns(&map(&new));
        let mut task = Task {
            unit: unit_of(&plan, &command, &mut channel),
            counted: true,
            ..Task::default()
        };
        assert_eq!(task.unit, Some(UnitId(7)));
        let Plan::Parameters { length, pending } = plan else {
            panic!("not fetched: {plan:?}");
        };
        let index = pending.unit();
        task.work = Work::Parameters {
            length,
            pending: Some(pending),
        };
        // Whatever it was thought to be for.
        for unit in [Some(UnitId(7)), Some(UnitId(8)), None] {
            task.unit = unit;
            assert!(!channel.forget_unmapped(|unit, id| uses(&task, unit, id)));
        }
        let now = channel.unit_numbered(0).expect("mapped");
        assert!(!uses(&task, now, UnitId(8)));
        task.work = Work::None;
        assert!(!uses(&task, index, UnitId(7)));
        assert!(channel.forget_unmapped(|unit, id| uses(&task, unit, id)));
    }

    /// What is about no unit keeps none.
    #[test]
    fn what_waits_for_something_else_is_no_use() {
        let session =
            ScsiSession::new(port(), None, &BTreeMap::from([(0, Mapping::from(unit(7)))]));
        let index = session.channel().unit_numbered(0).expect("mapped");
        for phase in [Phase::Event, Phase::Fused, Phase::Response] {
            let task = Task {
                phase,
                counted: true,
                ..Task::default()
            };
            assert!(!uses(&task, index, UnitId(7)), "{phase:?}");
        }
    }
}
