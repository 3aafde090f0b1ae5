//! Queue pairs: the work queues that their owners post into. What happens to the work is decided elsewhere, by steps.
//!
//! Posting takes the queue pair's own lock, copies the requests into rings of fixed size, and wakes a sleeping runner:
//! no allocation, and nothing that depends on other queue pairs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::completion_queue::{self, Entry, Overrun};
use super::net::Net;
use super::node::PostFaults;
use crate::fabric::{
    Chain, Completion, CompletionStatus, FabricError, Operation, PostError, QueuePair,
    QueuePairConfig, Sge, WorkId,
};

/// A queue pair as its owner has it.
#[derive(Debug)]
pub(super) struct SimQueuePair {
    pub(super) core: Arc<Core>,
    pub(super) net: Arc<Net>,
}

/// A queue pair as its owner and the net share it.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) number: u32,
    pub(super) config: QueuePairConfig,
    pub(super) completions: Arc<completion_queue::Core>,
    /// Send requests whose completion, or that of a later one, was polled. Counted, not numbered.
    freed_sends: Arc<AtomicU64>,
    /// The same of receives.
    freed_receives: Arc<AtomicU64>,
    faults: Arc<PostFaults>,
    queues: Mutex<Queues>,
}

/// Where a queue pair is in its life. Init, ready to send, and error are the states of verbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueuePairState {
    /// Not connected: takes receives only.
    Init,
    /// Connected.
    Ready,
    /// Everything flushes.
    Error,
}

/// The work queues. Numbers count from zero and never wrap; `number % depth` is the place in the ring.
#[derive(Debug)]
pub(super) struct Queues {
    pub(super) state: QueuePairState,
    sends: Box<[SendSlot]>,
    /// `send_sge` entries for each send slot.
    sges: Box<[Sge]>,
    /// The first send request that is not yet posted.
    pub(super) send_posted: u64,
    /// The first one that was not yet carried out.
    pub(super) send_next: u64,
    /// The first one that has not ended.
    pub(super) send_retired: u64,
    receives: Box<[ReceiveSlot]>,
    pub(super) receive_posted: u64,
    pub(super) receive_retired: u64,
    /// READs at the peer, their data not back yet.
    pub(super) reads_in_flight: u32,
    /// READs posted that have not ended.
    reads_posted: u32,
    pub(super) most_reads_posted: u32,
    pub(super) chains_posted: u64,
}

/// A posted send request.
#[derive(Clone, Copy, Debug)]
pub(super) struct SendSlot {
    pub(super) id: WorkId,
    pub(super) operation: Operation,
    pub(super) signaled: bool,
    sge_count: u32,
    done: bool,
}

/// A posted receive.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReceiveSlot {
    pub(super) id: WorkId,
    pub(super) sge: Sge,
}

const NO_SGE: Sge = Sge {
    address: 0,
    length: 0,
    key: 0,
};

impl Core {
    pub(super) fn new(
        number: u32,
        config: QueuePairConfig,
        completions: Arc<completion_queue::Core>,
        faults: Arc<PostFaults>,
    ) -> Self {
        let send = SendSlot {
            id: WorkId(0),
            operation: Operation::Send,
            signaled: false,
            sge_count: 0,
            done: false,
        };
        let receive = ReceiveSlot {
            id: WorkId(0),
            sge: NO_SGE,
        };
        let sges = config.send_requests as usize * config.send_sge as usize;
        Self {
            number,
            config,
            completions,
            freed_sends: Arc::default(),
            freed_receives: Arc::default(),
            faults,
            queues: Mutex::new(Queues {
                state: QueuePairState::Init,
                sends: vec![send; config.send_requests as usize].into(),
                sges: vec![NO_SGE; sges].into(),
                send_posted: 0,
                send_next: 0,
                send_retired: 0,
                receives: vec![receive; config.receive_requests as usize].into(),
                receive_posted: 0,
                receive_retired: 0,
                reads_in_flight: 0,
                reads_posted: 0,
                most_reads_posted: 0,
                chains_posted: 0,
            }),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the oldest send request. Failure is always reported, success if it was asked for.
    pub(super) fn retire_send(
        &self,
        queues: &mut Queues,
        status: CompletionStatus,
    ) -> Result<(), Overrun> {
        let slot = *queues.send(queues.send_retired);
        queues.send_retired += 1;
        queues.send_next = queues.send_next.max(queues.send_retired);
        if matches!(slot.operation, Operation::RdmaRead { .. }) {
            queues.reads_posted -= 1;
        }
        if !slot.signaled && status.is_success() {
            return Ok(());
        }
        self.completions.push(Entry {
            completion: Completion {
                id: slot.id,
                status,
                byte_len: 0,
                queue_pair: self.number,
                invalidated: None,
            },
            frees: queues.send_retired,
            freed: Arc::clone(&self.freed_sends),
        })
    }

    /// Ends all that is done at the head of the send queue, in order.
    pub(super) fn retire_done(&self, queues: &mut Queues) -> Result<(), Overrun> {
        while queues.send_retired < queues.send_next && queues.send(queues.send_retired).done {
            self.retire_send(queues, CompletionStatus::SUCCESS)?;
        }
        Ok(())
    }

    /// Ends the oldest receive.
    pub(super) fn retire_receive(
        &self,
        queues: &mut Queues,
        status: CompletionStatus,
        byte_len: u32,
        invalidated: Option<u32>,
    ) -> Result<(), Overrun> {
        let slot = *queues.receive(queues.receive_retired);
        queues.receive_retired += 1;
        self.completions.push(Entry {
            completion: Completion {
                id: slot.id,
                status,
                byte_len,
                queue_pair: self.number,
                invalidated,
            },
            frees: queues.receive_retired,
            freed: Arc::clone(&self.freed_receives),
        })
    }
}

impl Queues {
    pub(super) fn send(&self, number: u64) -> &SendSlot {
        &self.sends[place(number, self.sends.len())]
    }

    pub(super) fn receive(&self, number: u64) -> &ReceiveSlot {
        &self.receives[place(number, self.receives.len())]
    }

    /// The gather or scatter list of a posted send request.
    pub(super) fn send_sges(&self, number: u64) -> &[Sge] {
        let slot = place(number, self.sends.len());
        let first = slot * (self.sges.len() / self.sends.len());
        &self.sges[first..first + self.sends[slot].sge_count as usize]
    }

    pub(super) fn has_receive(&self) -> bool {
        self.receive_retired < self.receive_posted
    }

    pub(super) fn has_send(&self) -> bool {
        self.send_next < self.send_posted
    }

    /// Whether there is anything to flush.
    pub(super) fn has_work(&self) -> bool {
        self.send_retired < self.send_posted || self.has_receive()
    }

    /// The next request was carried out, and ended with that unless it is a READ whose data are still to come.
    pub(super) fn advance(&mut self, done: bool) {
        let slot = place(self.send_next, self.sends.len());
        self.sends[slot].done = done;
        self.send_next += 1;
        if !done {
            self.reads_in_flight += 1;
        }
    }

    /// The oldest request that has not ended is a READ, and its data came.
    pub(super) fn read_done(&mut self) {
        let slot = place(self.send_retired, self.sends.len());
        self.sends[slot].done = true;
        self.reads_in_flight -= 1;
    }
}

fn place(number: u64, depth: usize) -> usize {
    (number % depth as u64) as usize
}

impl QueuePair for SimQueuePair {
    fn number(&self) -> u32 {
        self.core.number
    }

    fn post_send(&mut self, chain: &Chain) -> Result<(), PostError> {
        let core = &*self.core;
        chain.check(core.config.send_sge)?;
        let count = chain.len() as u64;
        let depth = u64::from(core.config.send_requests);
        if count > depth {
            return Err(PostError::Invalid("chain longer than the send queue"));
        }
        core.faults.check_send()?;
        let mut queues = core.lock();
        if queues.state == QueuePairState::Init {
            return Err(PostError::Failed(libc::EINVAL));
        }
        let used = queues.send_posted - core.freed_sends.load(Ordering::Acquire);
        if used + count > depth {
            return Err(PostError::Full);
        }
        let sges_each = core.config.send_sge as usize;
        let mut slot = place(queues.send_posted, depth as usize);
        for request in chain.requests() {
            let sges = chain.sges(request);
            let first = slot * sges_each;
            queues.sges[first..first + sges.len()].copy_from_slice(sges);
            queues.sends[slot] = SendSlot {
                id: request.id,
                operation: request.operation,
                signaled: request.signaled,
                sge_count: sges.len() as u32,
                done: false,
            };
            if matches!(request.operation, Operation::RdmaRead { .. }) {
                queues.reads_posted += 1;
                queues.most_reads_posted = queues.most_reads_posted.max(queues.reads_posted);
            }
            slot += 1;
            if slot == depth as usize {
                slot = 0;
            }
        }
        queues.send_posted += count;
        queues.chains_posted += 1;
        drop(queues);
        self.net.kick();
        Ok(())
    }

    fn post_receive(&mut self, id: WorkId, into: Sge) -> Result<(), PostError> {
        let core = &*self.core;
        core.faults.check_receive()?;
        let depth = u64::from(core.config.receive_requests);
        let mut queues = core.lock();
        let used = queues.receive_posted - core.freed_receives.load(Ordering::Acquire);
        if used >= depth {
            return Err(PostError::Full);
        }
        let slot = place(queues.receive_posted, depth as usize);
        queues.receives[slot] = ReceiveSlot { id, sge: into };
        queues.receive_posted += 1;
        drop(queues);
        self.net.kick();
        Ok(())
    }

    fn fail(&mut self) -> Result<(), FabricError> {
        self.net.lock().queue_pair_to_error(self.core.number);
        self.net.kick();
        Ok(())
    }
}

impl Drop for SimQueuePair {
    fn drop(&mut self) {
        self.net.lock().destroy_queue_pair(self.core.number);
        self.net.kick();
    }
}
