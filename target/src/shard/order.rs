//! Task attributes (SAM-5 8.6): what ORDERED and HEAD OF QUEUE mean among the commands of one connection and logical unit.
//!
//! Each I_T nexus has a task set of its own (TST 001b), and which of several connections a command came over first is nobody's
//! knowledge; so the order is that of one connection. An ORDERED command waits until all that came before it
//! have ended, and what comes after waits for it. HEAD OF QUEUE goes at once: nothing here waits for anything else that
//! it could be put in front of.
//!
//! A command is planned when it is its turn, so that it sees what those before it have changed, and changes nothing itself
//! if it is aborted before. As long as nobody uses ORDERED, all of it is one comparison for each command that comes
//! and one for each that goes.

use std::collections::VecDeque;

use pagecast_core::scsi::{Command, TaskAttribute, UnitId};

use super::Shard;
use super::receive::unit_of;
use super::task::{Phase, TaskId};

/// What waits for its turn on a connection.
#[derive(Debug, Default)]
pub struct Order {
    /// ORDERED commands that have not ended.
    ordered: usize,
    /// Commands that wait, oldest first.
    parked: VecDeque<Parked>,
    /// A command has ended since the queue was last looked at.
    due: bool,
}

#[derive(Debug)]
struct Parked {
    id: TaskId,
    unit: UnitId,
    ordered: bool,
    command: Kept,
}

/// A command that outlives the message it came in.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    lun: [u8; 8],
    cdb: [u8; MAX_CDB],
    cdb_length: usize,
    attribute: TaskAttribute,
    data_out_length: u64,
    data_in_length: u64,
}

/// No command that core knows has a longer CDB, and what follows is of no meaning to it.
const MAX_CDB: usize = 16;

impl Kept {
    pub(super) fn new(command: &Command<'_>) -> Self {
        let mut cdb = [0; MAX_CDB];
        let cdb_length = command.cdb.len().min(MAX_CDB);
        cdb[..cdb_length].copy_from_slice(&command.cdb[..cdb_length]);
        Self {
            lun: command.lun,
            cdb,
            cdb_length,
            attribute: command.attribute,
            data_out_length: command.data_out_length,
            data_in_length: command.data_in_length,
        }
    }

    fn command(&self) -> Command<'_> {
        Command {
            lun: self.lun,
            cdb: &self.cdb[..self.cdb_length],
            attribute: self.attribute,
            data_out_length: self.data_out_length,
            data_in_length: self.data_in_length,
        }
    }
}

impl Order {
    /// Whether a command may have to wait, or others for it.
    #[inline]
    pub(super) fn concerns(&self, command: &Command<'_>) -> bool {
        command.attribute != TaskAttribute::Simple || self.is_active()
    }

    /// Whether any command may have to wait.
    pub fn is_active(&self) -> bool {
        self.ordered > 0
    }

    /// A command has ended. Whether the queue has to be looked at, and nobody knows yet.
    pub fn ended(&mut self, ordered: bool) -> bool {
        self.ordered -= usize::from(ordered);
        !std::mem::replace(&mut self.due, true)
    }

    /// A command that waits has been aborted.
    pub fn forget(&mut self, id: TaskId) {
        self.parked.retain(|parked| parked.id != id);
    }
}

impl Shard {
    /// Starts a command that is not SIMPLE, or not alone with such: now, or when it is its turn.
    #[cold]
    pub(super) fn enter(&mut self, id: TaskId, command: Kept) {
        let task = self.tasks.get(id);
        let slot = usize::from(task.connection);
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return;
        };
        let scsi = &mut connection.scsi;
        task.lun = command.lun;
        task.unit = scsi.unit_at(command.lun).map(|unit| scsi.unit(unit).id());
        let ordered = command.attribute == TaskAttribute::Ordered;
        let may_wait = ordered || command.attribute == TaskAttribute::Simple;
        // What is addressed to no logical unit is answered at once.
        let Some(unit) = task.unit.filter(|_| may_wait) else {
            return self.go(id, &command, None);
        };
        task.ordered = ordered;
        connection.order.ordered += usize::from(ordered);
        // Whoever waits goes first.
        let waits = connection.order.parked.iter().any(|p| p.unit == unit)
            || connection.tasks.iter().any(|&other| {
                let task = self.tasks.get(other);
                let older = other != id && task.counted && task.unit == Some(unit);
                older && (ordered || task.ordered)
            });
        if !waits {
            return self.go(id, &command, None);
        }
        self.tasks.get(id).phase = Phase::Ordered;
        connection.order.parked.push_back(Parked {
            id,
            unit,
            ordered,
            command,
        });
    }

    /// It is a command's turn. One that has waited is for the unit that it came for: if its LUN stands for another one by now, that is
    /// none of its business.
    fn go(&mut self, id: TaskId, command: &Kept, waited: Option<UnitId>) {
        let task = self.tasks.get(id);
        let slot = usize::from(task.connection);
        if let Some(Some(connection)) = self.connections.get_mut(slot) {
            let scsi = &mut connection.scsi;
            let command = command.command();
            let plan = match waited {
                Some(unit) => scsi.plan_for(unit, &command),
                None => scsi.plan(&command),
            };
            // Who has waited keeps its place among those for its unit.
            if waited.is_none() {
                task.unit = unit_of(&plan, &command, scsi);
            }
            self.follow(id, plan);
        }
    }

    /// Starts what had to wait, on connections where a command has ended.
    pub(super) fn serve_order(&mut self) {
        while let Some(slot) = self.reordered.pop() {
            if let Some(Some(connection)) = self.connections.get_mut(usize::from(slot)) {
                connection.order.due = false;
            }
            while let Some(parked) = self.next_in_order(usize::from(slot)) {
                self.tasks.get(parked.id).phase = Phase::Running;
                self.go(parked.id, &parked.command, Some(parked.unit));
            }
        }
    }

    /// The first command that waits no longer. It leaves the queue.
    fn next_in_order(&mut self, slot: usize) -> Option<Parked> {
        let connection = self.connections.get_mut(slot)?.as_deref_mut()?;
        let (order, tasks) = (&mut connection.order, &connection.tasks);
        let mut at = 0;
        while let Some(parked) = order.parked.get(at) {
            let mut ahead = order.parked.iter().take(at);
            // Behind an ORDERED one that waits everything does, and so does that itself behind anything.
            let waits = ahead.any(|p| p.unit == parked.unit && (p.ordered || parked.ordered))
                || tasks.iter().any(|&other| {
                    let task = self.tasks.get(other);
                    let runs = task.counted && task.phase != Phase::Ordered;
                    runs && task.unit == Some(parked.unit) && (parked.ordered || task.ordered)
                });
            if !waits {
                return order.parked.remove(at);
            }
            at += 1;
        }
        None
    }
}
