//! Operations executed by a pool of threads, with plain system calls.
//!
//! Each store has a line and threads of its own (`lanes.rs`), so that one that hangs holds up nobody else.
//!
//! What is read this way counts in `rchar` of `/proc/PID/io`.

mod lanes;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::completions::{Completions, wait_readable};
use crate::{Backend, BackendError, Done, IoQueue, Operation, Token};

use self::lanes::{Lanes, Start};

/// How long a thread that has nothing to do stays. Starting one takes about as long as a read out of the page cache.
const LINGER: Duration = Duration::from_secs(5);

/// Threads that execute operations, shared by the queues of all shards. Cloning it shares the threads; they end with the
/// last clone, which waits for what is queued.
#[derive(Clone, Debug)]
pub struct ThreadPool {
    workers: Arc<Workers>,
}

impl ThreadPool {
    /// A pool of `threads` threads (at least one) for each store. They are started as there is something to do, and end after
    /// some seconds without; where none can be started, operations end as [busy](BackendError::Busy). Making the pool starts none and does not fail.
    pub fn new(threads: usize) -> io::Result<Self> {
        Ok(Self::with(threads, LINGER, |body| {
            thread::Builder::new()
                .name("pagecast-store".to_owned())
                .spawn(body)
        }))
    }

    fn with(threads: usize, linger: Duration, start: Start) -> Self {
        Self {
            workers: Arc::new(Workers {
                lanes: Arc::new(Lanes::new(threads.max(1), linger, start)),
            }),
        }
    }

    /// Has `operation` executed and left in `completions`.
    pub(crate) fn run(
        &self,
        backend: &Arc<dyn Backend>,
        operation: Operation,
        token: Token,
        completions: &Arc<Completions>,
    ) {
        self.workers.lanes.submit(Job {
            backend: Arc::clone(backend),
            operation,
            token,
            completions: Arc::clone(completions),
        });
    }
}

/// What the clones of a pool share, and its threads do not: so it drops with the last clone.
#[derive(Debug)]
struct Workers {
    lanes: Arc<Lanes>,
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.lanes.end();
    }
}

#[derive(Debug)]
struct Job {
    backend: Arc<dyn Backend>,
    operation: Operation,
    token: Token,
    completions: Arc<Completions>,
}

impl Job {
    /// Tells its store from all others that have anything to do.
    fn store(&self) -> usize {
        Arc::as_ptr(&self.backend).cast::<()>().addr()
    }

    fn run(self) {
        // A panicking backend is a bug, but one that must not take operations of other devices with it.
        let result = catch_unwind(AssertUnwindSafe(|| self.backend.execute(&self.operation)));
        let result = result.unwrap_or_else(|_| {
            tracing::error!(backend = ?self.backend, "a backing store panicked");
            Err(BackendError::Failed(libc::EIO))
        });
        self.finish(result);
    }

    fn finish(self, result: Result<(), BackendError>) {
        let Self {
            backend,
            operation,
            token,
            completions,
        } = self;
        // Before anybody hears of it: whoever drops a device after its last operation expects that it closes.
        drop(backend);
        completions.push(Done {
            token,
            result,
            operation,
        });
    }
}

/// One shard's queue to a [`ThreadPool`].
#[derive(Debug)]
pub struct ThreadQueue {
    pool: ThreadPool,
    completions: Arc<Completions>,
    in_flight: usize,
}

impl ThreadQueue {
    /// Makes a queue whose operations `pool` executes.
    pub fn new(pool: &ThreadPool) -> io::Result<Self> {
        Ok(Self {
            pool: pool.clone(),
            completions: Arc::new(Completions::new()?),
            in_flight: 0,
        })
    }
}

impl IoQueue for ThreadQueue {
    fn submit(&mut self, backend: &Arc<dyn Backend>, operation: Operation, token: Token) {
        self.in_flight += 1;
        self.pool.run(backend, operation, token, &self.completions);
    }

    fn flush(&mut self) {}

    fn poll(&mut self, done: &mut Vec<Done>) {
        self.in_flight -= self.completions.take(done);
    }

    fn in_flight(&self) -> usize {
        self.in_flight
    }

    fn event_fd(&self) -> BorrowedFd<'_> {
        self.completions.as_fd()
    }
}

impl Drop for ThreadQueue {
    fn drop(&mut self) {
        let mut done = Vec::new();
        while self.in_flight > 0 {
            wait_readable(self.event_fd());
            self.poll(&mut done);
            done.clear();
        }
    }
}
