//! Tasks: commands and task management functions on their way through a shard.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use pagecast_core::block::{BlockOp, BlockRange, Transfer};
use pagecast_core::nvme::Completion;
use pagecast_core::scsi::{PendingParameters, Response, UnitId, UnitIndex};
use pagecast_rdma::fabric::{RemoteBuffer, Sge};
use pagecast_rdma::windows::{Lease, RevokedRange};

use super::copy::Copying;
use super::manage::AbortTicket;
use super::nvme::HostData;
use super::tcp::Progress;
use crate::device::Device;
use crate::device::range_locks::Hold;
use crate::staging::Chunk;

/// A task's place in its shard's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TaskId(pub u32);

/// One command, or one task management function. Reused: its vectors keep their room.
#[derive(Debug, Default)]
pub struct Task {
    /// The connection's slot, which cannot be reused before its tasks are gone.
    pub connection: u16,
    /// What carries its data.
    pub link: Link,
    /// The initiator's name for the command.
    pub tag: u64,
    /// The LUN field of a SCSI command.
    pub lun: [u8; 8],
    /// The receive slot that the command still occupies.
    pub receive_slot: Option<u32>,
    /// The logical unit that it is addressed to, if there is one.
    pub unit: Option<UnitId>,
    /// The device it is for, once known.
    pub device: Option<Arc<Device>>,
    /// What core planned, so that core can end it.
    pub command: Option<(UnitIndex, BlockOp)>,
    /// What is to be done.
    pub work: Work,
    /// What it waits for.
    pub phase: Phase,
    /// What the staged memory is for.
    pub stage: Stage,
    /// When its message was seen, in nanoseconds.
    pub started: Option<u64>,
    /// Whether it counts as a command of its session.
    pub counted: bool,
    /// It has the task attribute ORDERED, and others wait for its end.
    pub ordered: bool,
    /// What it holds of the device's range locks, or waits for.
    pub lock: Option<Hold>,
    /// Somebody aborted it: no status is sent, it goes as soon as nothing of it is in flight.
    pub aborted: bool,
    /// Its initiator was preempted, and that is why.
    pub preempted: bool,
    /// The initiator's memory.
    pub remote: Vec<RemoteBuffer>,
    /// A descriptor table in the initiator's memory, to be fetched first.
    pub table: Option<RemoteBuffer>,
    /// Bytes that the table's descriptors must add up to.
    pub table_total: u32,
    /// Immediate data, within the receive slot, if that is all of the data.
    pub immediate: Option<Range<usize>>,
    /// Data that came unasked, if it is not all of the data: what comes first.
    pub unsolicited: Vec<u8>,
    /// Where in the data `unsolicited` belongs, if not at the start: then it is the end of them.
    pub unsolicited_at: u32,
    /// The response invalidates the key of the initiator's memory.
    pub invalidate: bool,
    /// The other half of a fused operation.
    pub partner: Option<TaskId>,
    /// Bytes that the initiator has memory for, to the target and from it.
    pub offered_out: u64,
    /// See `offered_out`.
    pub offered_in: u64,
    /// The data phase that the CDB asks for.
    pub transfer: Transfer,
    /// Bytes that the data phase moved, or will.
    pub transferred: u64,
    /// Staging memory that it holds.
    pub chunks: Vec<Chunk>,
    /// Local memory of the data phase.
    pub local: Vec<Sge>,
    /// Windows that it holds.
    pub lease: Option<Lease>,
    /// How far the data phase is.
    pub cursor: Cursor,
    /// RDMA READs in flight.
    pub fetching: u32,
    /// How far it is on a byte stream.
    pub tcp: Progress,
    /// Send queue entries that its last chain occupies.
    pub posted: u32,
    /// Send slot that its response is in.
    pub send_slot: u32,
    /// What it ended in.
    pub ending: Ending,
    /// A block that is written again and again.
    pub pattern: Vec<u8>,
    /// Who waits for its end.
    pub tickets: Vec<Arc<AbortTicket>>,
    /// Keeps windows out of the way of its discard.
    pub revoked: Option<RevokedRange>,
}

impl Task {
    /// The device whose turn it is: the one that the command is for, but for copies between others.
    pub fn target(&self) -> Option<&Arc<Device>> {
        match &self.work {
            Work::Copy(copying) => copying.device(),
            _ => self.device.as_ref(),
        }
    }

    /// Makes a used task as good as new, keeping its vectors' room.
    pub fn reset(&mut self) {
        let (mut remote, mut chunks, mut local, mut tickets, mut unsolicited) = (
            std::mem::take(&mut self.remote),
            std::mem::take(&mut self.chunks),
            std::mem::take(&mut self.local),
            std::mem::take(&mut self.tickets),
            std::mem::take(&mut self.unsolicited),
        );
        remote.clear();
        chunks.clear();
        local.clear();
        tickets.clear();
        unsolicited.clear();
        *self = Self {
            remote,
            chunks,
            local,
            tickets,
            unsolicited,
            ..Self::default()
        };
    }
}

/// What carries a task's data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// RDMA READs and WRITEs.
    #[default]
    Rdma,
    /// PDUs of a byte stream.
    Tcp,
}

/// What a task has to do.
#[derive(Debug, Default)]
pub enum Work {
    /// Nothing but respond.
    #[default]
    None,
    /// Move a range of the device to the initiator.
    Read {
        /// First byte.
        offset: u64,
        /// Bytes.
        length: u32,
    },
    /// Move the initiator's data to a range of the device.
    Write {
        /// First byte.
        offset: u64,
        /// Bytes.
        length: u32,
        /// On stable storage before the status.
        durable: bool,
    },
    /// Fetch a parameter list and give it to core.
    Parameters {
        /// Bytes.
        length: u32,
        /// What core wants back.
        pending: Option<PendingParameters>,
    },
    /// Fetch what an NVMe command brings beside blocks.
    HostData {
        /// Bytes.
        length: u32,
        /// What it is.
        data: Option<HostData>,
    },
    /// Send parameter data that core made.
    Reply(Vec<u8>),
    /// Make earlier writes durable.
    Flush,
    /// Read a range and look at nothing but the outcome.
    VerifyMedium {
        /// Next byte.
        offset: u64,
        /// Bytes to go.
        left: u64,
    },
    /// Compare a range with the initiator's data.
    VerifyData {
        /// First byte.
        offset: u64,
        /// Bytes.
        length: u32,
    },
    /// Compare a range with one block of the initiator's, over and over.
    VerifySame {
        /// Next byte.
        offset: u64,
        /// Bytes to go.
        left: u64,
        /// Bytes in the block.
        block: u32,
    },
    /// Write the initiator's data and read them back.
    WriteVerify {
        /// First byte.
        offset: u64,
        /// Bytes.
        length: u32,
        /// Also compare.
        compare: bool,
        /// It is written.
        written: bool,
    },
    /// Change a range depending on what is there, without any other write in between.
    Modify {
        /// How.
        change: Change,
        /// First byte.
        offset: u64,
        /// Bytes of the device.
        length: u32,
        /// On stable storage before the status.
        durable: bool,
        /// What was there was read.
        writing: bool,
    },
    /// Start to bring a range into the cache.
    Prefetch {
        /// First byte.
        offset: u64,
        /// Bytes.
        length: u64,
    },
    /// Find out what is stored.
    Extents {
        /// Where.
        range: BlockRange,
        /// Extents to find at most.
        most: u32,
    },
    /// Copy between devices.
    Copy(Copying),
    /// Write one block over and over.
    WriteSame {
        /// Next byte.
        offset: u64,
        /// Bytes to go.
        left: u64,
        /// Bytes in the block.
        block: u32,
        /// Whether the block was fetched and found to be zeros, or none is sent.
        zeros: bool,
        /// Whether the range may be unmapped instead, if the block is zeros.
        unmap: bool,
        /// On stable storage before the status.
        durable: bool,
    },
    /// Discard ranges, first to last.
    Unmap {
        /// Byte offsets and lengths.
        ranges: VecDeque<(u64, u64)>,
        /// On stable storage before the status.
        durable: bool,
    },
    /// Wait for aborted tasks to go.
    Management,
    /// Change reservations, and wait for the tasks to go that it aborts.
    Reserve {
        /// The logical unit.
        unit: UnitIndex,
        /// Its initiator was preempted: what has not begun does not begin.
        cancelled: Arc<AtomicBool>,
    },
}

impl Work {
    /// Whether it moves no blocks, and should not have to wait behind those that do.
    pub fn is_short(&self) -> bool {
        matches!(
            self,
            Self::HostData { .. } | Self::Parameters { .. } | Self::Reply(_)
        )
    }
}

/// How a range is changed depending on what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// If it equals the first half of the data, it becomes the second half.
    CompareAndWrite,
    /// The data's bits are added.
    Or,
}

/// What a task waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Nothing: its place is free.
    #[default]
    Free,
    /// Nothing: it is being worked on.
    Running,
    /// Staging memory, of so many bytes.
    Staging(usize),
    /// RDMA READs: a turn for the next, or completions.
    Fetching,
    /// Older tasks to end.
    Ordered,
    /// A range of the device to be free of other writers.
    Lock,
    /// The backend.
    Backend,
    /// Windows to get out of the way.
    Revocation,
    /// Room in the send queue.
    Room,
    /// The completion of a chain that did not hold all of its data.
    Partial,
    /// The completion of its response.
    Response,
    /// Other tasks to go.
    Aborts,
    /// Something to tell the host: an NVMe Asynchronous Event Request.
    Event,
    /// The other half of a fused operation, to come or to end.
    Fused,
    /// The control thread to decide.
    Decision,
    /// A change of reservations to be durable.
    Reservation,
}

/// What staged memory is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Nothing yet.
    #[default]
    None,
    /// A descriptor table from the initiator.
    Table,
    /// Data from the initiator.
    DataOut,
    /// Data from the device to the initiator.
    DataIn,
    /// Parameter data to the initiator.
    Reply,
    /// Data from the device, for us to look at.
    Medium,
    /// A repeated block.
    Pattern,
}

/// How a task ends, in the protocol-neutral form.
#[derive(Debug, Default)]
pub enum Ending {
    /// Not known yet.
    #[default]
    Unknown,
    /// A SCSI status.
    Scsi(Response),
    /// A task management response.
    Management(ManagementStatus),
    /// A completion queue entry of NVMe's.
    Nvme(Completion),
    /// The request itself made no sense to the transport.
    InvalidFields,
}

impl From<ManagementStatus> for Ending {
    fn from(status: ManagementStatus) -> Self {
        Self::Management(status)
    }
}

/// The outcome of a task management function (SAM-5 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManagementStatus {
    /// FUNCTION COMPLETE
    Complete,
    /// FUNCTION REJECTED: not supported here.
    NotSupported,
    /// INCORRECT LOGICAL UNIT NUMBER
    NoUnit,
    /// ABORT TASK for a command that is not there.
    NoTask,
    /// TASK REASSIGN
    NoReassignment,
}

/// A position in two lists of pieces that cover the same bytes in different cuts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    /// The remote piece, and how far into it.
    pub remote: (usize, u32),
    /// The local piece, and how far into it.
    pub local: (usize, u32),
    /// Bytes to go.
    pub left: u64,
}

/// A shard's tasks. Grows to what the connections use at once, then allocates no more.
#[derive(Debug, Default)]
pub struct TaskTable {
    tasks: Vec<Task>,
    free: Vec<TaskId>,
}

impl TaskTable {
    /// A fresh task in phase [`Phase::Running`].
    pub fn allocate(&mut self) -> TaskId {
        let id = self.free.pop().unwrap_or_else(|| {
            self.tasks.push(Task::default());
            self.free.reserve(self.tasks.len());
            TaskId(self.tasks.len() as u32 - 1)
        });
        let task = self.get(id);
        debug_assert_eq!(task.phase, Phase::Free);
        task.phase = Phase::Running;
        id
    }

    /// Gives a task's place back.
    pub fn release(&mut self, id: TaskId) {
        let task = self.get(id);
        if task.phase != Phase::Free {
            task.reset();
            self.free.push(id);
        }
    }

    /// The task. Identifiers only come from `allocate`, so there always is one.
    #[inline]
    pub fn get(&mut self, id: TaskId) -> &mut Task {
        &mut self.tasks[id.0 as usize]
    }

    /// Tasks in use.
    pub fn in_use(&self) -> usize {
        self.tasks.len() - self.free.len()
    }
}
