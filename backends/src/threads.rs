//! Operations executed by a pool of threads, with plain system calls.
//!
//! What is read this way counts in `rchar` of `/proc/PID/io`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::completions::{Completions, wait_readable};
use crate::{Backend, BackendError, Done, IoQueue, Operation, Token};

/// Threads that execute operations, shared by the queues of all shards. Cloning it shares the threads; they end with the
/// last clone.
#[derive(Clone, Debug)]
pub struct ThreadPool {
    workers: Arc<Workers>,
}

impl ThreadPool {
    /// Starts `threads` threads (at least one).
    pub fn new(threads: usize) -> io::Result<Self> {
        let (sender, receiver) = unbounded();
        let mut workers = Workers {
            jobs: Some(sender),
            threads: Vec::new(),
        };
        for _ in 0..threads.max(1) {
            let receiver: Receiver<Job> = receiver.clone();
            let worker = thread::Builder::new().name("pagecast-store".to_owned());
            workers.threads.push(worker.spawn(move || {
                receiver.iter().for_each(Job::run);
            })?);
        }
        Ok(Self {
            workers: Arc::new(workers),
        })
    }

    /// Has `operation` executed and left in `completions`.
    pub(crate) fn run(
        &self,
        backend: &Arc<dyn Backend>,
        operation: Operation,
        token: Token,
        completions: &Arc<Completions>,
    ) {
        let job = Job {
            backend: Arc::clone(backend),
            operation,
            token,
            completions: Arc::clone(completions),
        };
        let refused = match &self.workers.jobs {
            Some(jobs) => jobs.send(job).err().map(|error| error.into_inner()),
            None => Some(job),
        };
        // The workers live as long as the pool, so nothing is ever refused; should it be, it must still end.
        if let Some(job) = refused {
            job.finish(Err(BackendError::Failed(libc::ECANCELED)));
        }
    }
}

#[derive(Debug)]
struct Workers {
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Workers {
    fn drop(&mut self) {
        // Without a sender the workers finish what is queued and end.
        self.jobs = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
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
