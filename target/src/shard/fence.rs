//! Fencing: whoever is preempted with PREEMPT AND ABORT, or with NVMe's Preempt and Abort, loses its commands before the preempting
//! command has its status (SPC-4 section 5.13.11.2.6). From then on nothing of theirs reaches the device:
//!
//! - What they send from now on is refused, since their verdicts were written before any shard was told to abort.
//! - What was planned before is in the task tables of its shards when those are told, and is aborted in whichever phase it is. What
//!   waits for memory, data, a lock, its turn or its other half ends at once; a lock that is granted later finds nobody.
//! - What the adapter or the store has is waited for. An aborted task never takes another step: one that repeats itself (WRITE SAME,
//!   UNMAP, EXTENDED COPY) is over when the step is.
//! - A victim's peer that acknowledges nothing would keep RDMA READs and WRITEs in flight as long as the adapter tries again. It is
//!   given [`PATIENCE`], then its connection is taken down: a queue pair in the error state moves nothing more.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use pagecast_core::reservations::Registrant;
use pagecast_core::scsi::{ScsiChannel, UnitId};

use super::Shard;
use super::connection::Connection;
use super::manage::{AbortRequest, AbortScope, AbortTicket};
use super::messages::{CloseReason, ShardMessage};
use super::nvme::HostData;
use super::protocol::Protocol;
use super::task::{Phase, Task, TaskId, TaskTable, Work};

/// How long the peers of those who are preempted have to let their commands end: long enough for a busy one, whose data take
/// milliseconds, and for one lost packet, which adapters notice within a second. Short enough for cluster managers, which wait tens
/// of seconds for a fence.
const PATIENCE: Duration = Duration::from_secs(2);

/// Commands that have to go before a command of this shard ends.
#[derive(Debug)]
pub(super) struct Fence {
    /// Gone when they are. Not to be held, or they would never be.
    ticket: Weak<AbortTicket>,
    since: Instant,
}

impl Shard {
    /// Aborts the commands of those whom the task `id` has preempted. It ends when they are gone.
    pub(super) fn fence(&mut self, id: TaskId, registrants: Vec<Registrant>) {
        let task = self.tasks.get(id);
        let slot = usize::from(task.connection);
        let (Work::Reserve { unit, .. }, Some(Some(connection))) =
            (&task.work, self.connections.get(slot))
        else {
            return;
        };
        let unit = connection.scsi.unit(*unit).id();
        task.phase = Phase::Aborts;
        let ticket = AbortTicket::new(id, self.address.clone());
        self.fences.push(Fence {
            ticket: Arc::downgrade(&ticket),
            since: self.now,
        });
        self.abort_on_all_shards(&AbortRequest {
            scope: AbortScope::Registrants {
                unit,
                registrants: registrants.into(),
                by: (self.id, id),
            },
            ticket,
        });
    }

    /// Has connections taken down that keep a fence waiting for too long. Again and again: what was in the store may wait for a peer
    /// only now.
    pub(super) fn sweep_fences(&mut self) {
        let now = self.now;
        let mut late = Vec::new();
        self.fences.retain(|fence| match fence.ticket.upgrade() {
            Some(ticket) => {
                if now.saturating_duration_since(fence.since) >= PATIENCE {
                    late.push(ticket);
                }
                true
            }
            None => false,
        });
        for ticket in late {
            for (number, peer) in self.peers.iter().enumerate() {
                if number != usize::from(self.id) {
                    peer.send(ShardMessage::Break(ticket.clone()));
                }
            }
            self.break_holders(&ticket);
        }
    }

    /// Takes down connections whose peers keep a fence waiting. What is in the store ends by itself, and not sooner for that.
    #[cold]
    pub(super) fn break_holders(&mut self, ticket: &Arc<AbortTicket>) {
        for slot in 0..self.connections.len() {
            let Some(Some(connection)) = self.connections.get(slot) else {
                continue;
            };
            let tasks = &mut self.tasks;
            let holds = connection.tasks.iter().any(|&id| {
                let task = tasks.get(id);
                waits_for_peer(task.phase) && task.tickets.iter().any(|t| Arc::ptr_eq(t, ticket))
            });
            if holds && connection.closing.is_none() {
                tracing::warn!(initiator = %connection.session.initiator, peer = %connection.session.peer,
                    "it was preempted, and lets its commands not end");
                self.close(slot, CloseReason::Fenced);
            }
        }
    }
}

/// Finds the commands of a connection that concern a unit, but for `own`.
pub(super) fn preempted(
    connection: &mut Connection,
    tasks: &mut TaskTable,
    unit: UnitId,
    own: Option<TaskId>,
    found: &mut Vec<TaskId>,
) {
    // Admin commands of NVMe touch no blocks; those that wait for events go on waiting.
    let namespaces = match &connection.protocol {
        Protocol::Nvme(channel) if channel.id() == 0 => return,
        Protocol::Nvme(_) => true,
        Protocol::Srp(_) | Protocol::Iscsi(_) => false,
    };
    let device = unit.0 as usize;
    for &id in &connection.tasks {
        let task = tasks.get(id);
        // What another thread decides about is no command of a namespace: somebody connects, or authenticates.
        if own == Some(id) || task.phase == Phase::Decision {
            continue;
        }
        let here = match &task.work {
            // One for another unit may read from this one, or write to it.
            Work::Copy(copying) if copying.concerns(device) => true,
            _ if task.unit == Some(unit) => true,
            _ => (task.device.as_ref()).is_some_and(|known| known.index == device),
        };
        // NVMe commands that are not that far: what they were planned for, or else the namespace that they name. Fabrics commands, which
        // count as nobody's, name none.
        let unknown = namespaces && task.counted && task.device.is_none();
        if here || unknown && meant(&mut connection.scsi, task) == Some(unit) {
            found.push(id);
        }
    }
}

/// What an NVMe command is for that has no device yet. Its number may stand for another namespace since it was planned.
fn meant(units: &mut ScsiChannel, task: &Task) -> Option<UnitId> {
    let index = match &task.work {
        Work::HostData {
            data: Some(HostData::Core(pending)),
            ..
        } => pending.unit()?,
        Work::Reserve { unit, .. } => *unit,
        _ => {
            let number = ((task.tag >> 32) as u32).checked_sub(1)?;
            units.unit_numbered(number)?
        }
    };
    Some(units.unit(index).id())
}

/// Whether an aborted task in this phase does nothing any more until it ends, but to hear of something: windows that are out of the
/// way, a change of reservations that was made, or others' commands that are gone. A fence waits for none of them; two of them could
/// otherwise wait for each other.
pub(super) fn is_harmless(phase: Phase) -> bool {
    matches!(
        phase,
        Phase::Revocation | Phase::Reservation | Phase::Aborts
    )
}

/// Whether a task in this phase goes on when its peer, or the adapter, has done something.
fn waits_for_peer(phase: Phase) -> bool {
    matches!(
        phase,
        Phase::Fetching | Phase::Partial | Phase::Response | Phase::Room
    )
}
