//! Completion queues.

use std::any::Any;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::event_fd::EventFd;
use crate::fabric::{Completion, CompletionQueue, FabricError};

/// The queue as its owner has it.
#[derive(Debug)]
pub(super) struct SimCompletionQueue(pub(super) Arc<Core>);

/// The queue as the fabric and its queue pairs share it.
#[derive(Debug)]
pub(super) struct Core {
    /// Unique in the net.
    pub(super) number: u64,
    /// The adapter it belongs to.
    pub(super) node: usize,
    capacity: u32,
    event: EventFd,
    queue: Mutex<Queue>,
}

#[derive(Debug)]
struct Queue {
    entries: VecDeque<Entry>,
    armed: bool,
    /// It overran once: nothing comes here any more.
    overrun: bool,
}

/// A completion on its way to whoever polls.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) completion: Completion,
    /// The posted work of its queue, counted up to and including this one, is free again once this was polled...
    pub(super) frees: u64,
    /// ...which is recorded here.
    pub(super) freed: Arc<AtomicU64>,
}

/// There was no room.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Overrun;

impl Core {
    pub(super) fn new(number: u64, node: usize, capacity: u32) -> Result<Self, FabricError> {
        Ok(Self {
            number,
            node,
            capacity,
            event: EventFd::new()?,
            queue: Mutex::new(Queue {
                // All the room there will ever be, so that no push allocates.
                entries: VecDeque::with_capacity(capacity as usize),
                armed: false,
                overrun: false,
            }),
        })
    }

    /// Adds a completion, and announces it if somebody asked.
    pub(super) fn push(&self, entry: Entry) -> Result<(), Overrun> {
        let mut queue = self.lock();
        if queue.overrun {
            return Ok(());
        }
        if queue.entries.len() == self.capacity as usize {
            queue.overrun = true;
            return Err(Overrun);
        }
        queue.entries.push_back(entry);
        if std::mem::take(&mut queue.armed) {
            self.event.signal();
        }
        Ok(())
    }

    /// Removes what is left of a destroyed queue pair.
    pub(super) fn purge(&self, queue_pair: u32) {
        self.lock()
            .entries
            .retain(|entry| entry.completion.queue_pair != queue_pair);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CompletionQueue for SimCompletionQueue {
    fn poll(&self, out: &mut [Completion]) -> Result<usize, FabricError> {
        let mut queue = self.0.lock();
        let mut count = 0;
        for place in out {
            let Some(entry) = queue.entries.pop_front() else {
                break;
            };
            entry.freed.store(entry.frees, Ordering::Release);
            *place = entry.completion;
            count += 1;
        }
        Ok(count)
    }

    fn arm(&self) -> Result<(), FabricError> {
        self.0.lock().armed = true;
        Ok(())
    }

    fn acknowledge(&self) -> Result<(), FabricError> {
        self.0.event.drain();
        Ok(())
    }

    fn event_fd(&self) -> BorrowedFd<'_> {
        self.0.event.as_fd()
    }

    fn capacity(&self) -> u32 {
        self.0.capacity
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
