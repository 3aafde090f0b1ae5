//! Operations executed by io_uring.
//!
//! Reads, writes and flushes go to the ring; what the ring cannot do, or refuses to, goes to the pool of threads: discards,
//! zeroing and splices (one of which needs a choice of ways, and all of which would block a kernel thread anyway), and
//! stores without a descriptor.
//!
//! The ring is set up without any of the task-run flags. With them a completion may stay invisible until the submitting
//! thread enters the kernel, which a shard that polls does not do; without them the kernel interrupts the thread instead,
//! so that completions show up in memory for a shard that polls and wake one that sleeps.
//!
//! What a shard sleeps on is an epoll descriptor over the ring, which is readable while it holds completions, and over the
//! eventfd of the pool's completions. Neither needs resetting, so there is no wake-up to lose and no system call to make
//! for it while polling.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use io_uring::{IoUring, Probe, cqueue, opcode};
use rustix::event::epoll;
use thiserror::Error;

use crate::admission::admit;
use crate::completions::{Completions, wait_readable};
use crate::slots::{Slots, Step, Work};
use crate::{Backend, Done, IoQueue, Operation, ThreadPool, Token};

/// Deeper rings only cost memory: what does not fit waits in the queue.
const DEPTH_MAX: u32 = 4096;

/// Why io_uring cannot be used.
#[derive(Debug, Error)]
pub enum UringError {
    /// An administrator or a container forbids it.
    #[error("io_uring is forbidden here (sysctl kernel.io_uring_disabled, or a seccomp filter)")]
    Forbidden,
    /// The kernel was built without it, or hides it.
    #[error("this kernel has no io_uring")]
    Missing,
    /// The kernel is too old for an operation that is needed.
    #[error("this kernel's io_uring lacks {0}")]
    Lacks(&'static str),
    /// Something else went wrong in setting it up.
    #[error("io_uring cannot be set up: {0}")]
    Setup(#[from] io::Error),
}

/// One shard's io_uring.
///
/// It must be used from one thread once it has executed something: the kernel completes operations in the context of the
/// thread that submitted them.
pub struct UringQueue {
    ring: IoUring,
    /// In the ring or on the way there.
    slots: Slots,
    /// Slots that did not fit in the ring yet.
    waiting: VecDeque<u32>,
    in_ring: usize,
    in_ring_max: usize,
    /// The kernel did not accept what is in the submission queue; `poll` tries again.
    stalled: bool,
    pool: ThreadPool,
    /// What the pool has done, and what failed at once.
    completions: Arc<Completions>,
    elsewhere: usize,
    event: OwnedFd,
}

impl UringQueue {
    /// Sets up a ring for about `depth` operations at a time, after trying out that the kernel lets it be used.
    pub fn new(pool: &ThreadPool, depth: u32) -> Result<Self, UringError> {
        let entries = depth.clamp(1, DEPTH_MAX).next_power_of_two();
        let mut ring = IoUring::builder()
            .dontfork()
            .build(entries)
            .map_err(refusal)?;
        check_operations(&ring)?;
        try_out(&mut ring)?;
        let completions = Arc::new(Completions::new()?);
        // SAFETY: `ring` owns its descriptor and outlives this use of it.
        let ring_fd = unsafe { BorrowedFd::borrow_raw(ring.as_raw_fd()) };
        Ok(Self {
            event: watch([ring_fd, completions.as_fd()])?,
            in_ring_max: ring.params().cq_entries() as usize,
            ring,
            slots: Slots::default(),
            waiting: VecDeque::new(),
            in_ring: 0,
            stalled: false,
            pool: pool.clone(),
            completions,
            elsewhere: 0,
        })
    }

    /// Moves what waits into the submission queue, as far as there is room. The completion queue never overflows, since
    /// no more than fit in it are ever under way.
    fn fill(&mut self) {
        while self.in_ring < self.in_ring_max
            && let Some(&slot) = self.waiting.front()
        {
            let Some(entry) = self.slots.entry(slot) else {
                self.waiting.pop_front();
                continue;
            };
            // SAFETY: the entry refers to the vectors and buffers of its slot, which stays occupied and untouched until the
            // completion of this entry was taken (`Slots::entry` says why that keeps them valid); dropping the queue waits
            // for that too.
            if unsafe { self.ring.submission().push(&entry) }.is_err() {
                return;
            }
            self.waiting.pop_front();
            self.in_ring += 1;
        }
    }

    /// Has the pool execute it.
    fn hand_over(&mut self, work: Work) {
        self.elsewhere += 1;
        let Work {
            backend,
            operation,
            token,
            ..
        } = work;
        self.pool.run(&backend, operation, token, &self.completions);
    }

    fn finish(&mut self, entry: &cqueue::Entry, done: &mut Vec<Done>) {
        self.in_ring -= 1;
        let Ok(slot) = u32::try_from(entry.user_data()) else {
            return;
        };
        match self.slots.step(slot, entry.result()) {
            Step::Again => self.waiting.push_back(slot),
            Step::HandOver => {
                if let Some(work) = self.slots.release(slot) {
                    self.hand_over(work);
                }
            }
            Step::Done(result) => {
                if let Some(work) = self.slots.release(slot) {
                    done.push(work.settle(result));
                }
            }
        }
    }
}

impl IoQueue for UringQueue {
    fn submit(&mut self, backend: &Arc<dyn Backend>, operation: Operation, token: Token) {
        let for_ring = matches!(
            operation,
            Operation::Read { .. } | Operation::Write { .. } | Operation::Flush
        );
        let descriptor = backend.descriptor().filter(|_| for_ring);
        let work = |descriptor, mark| Work {
            backend: Arc::clone(backend),
            descriptor,
            operation,
            token,
            mark,
            retries: 0,
        };
        let Some(descriptor) = descriptor.map(|fd| fd.as_raw_fd()) else {
            return self.hand_over(work(-1, 0));
        };
        let mark = backend.mark();
        let work = work(descriptor, mark);
        let at_once = match admit(backend.as_ref(), &work.operation) {
            Err(error) => Some((work, Err(error))),
            Ok(()) => match self.slots.occupy(work) {
                Ok(slot) => {
                    self.waiting.push_back(slot);
                    None
                }
                Err(work) => Some((work, Ok(()))),
            },
        };
        match at_once {
            None => self.fill(),
            Some((work, result)) => {
                self.elsewhere += 1;
                self.completions.push(work.done(result));
            }
        }
    }

    fn flush(&mut self) {
        loop {
            self.fill();
            if self.ring.submission().is_empty() {
                self.stalled = false;
                return;
            }
            let error = match self.ring.submit() {
                Ok(submitted) if submitted > 0 => continue,
                Ok(_) => io::Error::from(io::ErrorKind::WouldBlock),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            // The kernel is short of memory. The shard is made to come back, since nothing else might wake it.
            if !self.stalled {
                tracing::warn!(%error, "io_uring does not accept requests; trying again");
            }
            self.stalled = true;
            self.completions.nudge();
            return;
        }
    }

    fn poll(&mut self, done: &mut Vec<Done>) {
        self.elsewhere -= self.completions.take(done);
        loop {
            let Some(entry) = self.ring.completion().next() else {
                break;
            };
            self.finish(&entry, done);
        }
        if self.stalled || (!self.waiting.is_empty() && self.in_ring < self.in_ring_max) {
            self.flush();
        }
    }

    fn in_flight(&self) -> usize {
        self.in_ring + self.waiting.len() + self.elsewhere
    }

    fn event_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

impl Drop for UringQueue {
    fn drop(&mut self) {
        let mut done = Vec::new();
        loop {
            self.flush();
            self.poll(&mut done);
            done.clear();
            if self.in_flight() == 0 {
                return;
            }
            wait_readable(self.event.as_fd());
        }
    }
}

impl fmt::Debug for UringQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UringQueue")
            .field("in_ring", &self.in_ring)
            .field("waiting", &self.waiting.len())
            .field("elsewhere", &self.elsewhere)
            .finish_non_exhaustive()
    }
}

fn check_operations(ring: &IoUring) -> Result<(), UringError> {
    let mut probe = Probe::new();
    ring.submitter()
        .register_probe(&mut probe)
        .map_err(|_| UringError::Lacks("the probe (Linux 5.6)"))?;
    let needed = [
        (opcode::Readv::CODE, "reads"),
        (opcode::Writev::CODE, "writes"),
        (opcode::Fsync::CODE, "flushes"),
    ];
    match needed.iter().find(|(code, _)| !probe.is_supported(*code)) {
        Some((_, name)) => Err(UringError::Lacks(name)),
        None => Ok(()),
    }
}

/// Sends a request that does nothing through the ring: some filters forbid entering a ring that they let be made.
fn try_out(ring: &mut IoUring) -> Result<(), UringError> {
    // SAFETY: a no-op refers to no memory.
    let pushed = unsafe { ring.submission().push(&opcode::Nop::new().build()) };
    pushed.map_err(io::Error::other)?;
    ring.submit_and_wait(1).map_err(refusal)?;
    match ring.completion().next() {
        Some(_) => Ok(()),
        None => Err(UringError::Lacks("completions")),
    }
}

/// A descriptor that is readable while any of `descriptors` is.
fn watch(descriptors: [BorrowedFd<'_>; 2]) -> io::Result<OwnedFd> {
    let event = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for descriptor in descriptors {
        let data = epoll::EventData::new_u64(0);
        epoll::add(&event, descriptor, data, epoll::EventFlags::IN)?;
    }
    Ok(event)
}

fn refusal(error: io::Error) -> UringError {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => UringError::Forbidden,
        Some(libc::ENOSYS) => UringError::Missing,
        _ => UringError::Setup(error),
    }
}
