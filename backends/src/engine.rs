//! Which way operations are executed.

use std::fmt;
use std::io;

use thiserror::Error;

use crate::uring::{UringError, UringQueue};
use crate::{IoQueue, ThreadPool, ThreadQueue};

/// How the operations of a shard are executed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// By io_uring if the kernel lets us, otherwise by threads.
    #[default]
    Auto,
    /// By io_uring, or not at all.
    IoUring,
    /// By the pool of threads.
    Threads,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::IoUring => "io_uring",
            Self::Threads => "threads",
        })
    }
}

/// The engine of a queue, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Never [`Engine::Auto`].
    pub engine: Engine,
    /// Why it is that one.
    pub reason: String,
}

/// Why there is no queue.
#[derive(Debug, Error)]
pub enum EngineError {
    /// io_uring was insisted on.
    #[error("{0}; set the engine to \"auto\" or \"threads\" to do without it")]
    Uring(#[from] UringError),
    /// The process is short of descriptors or memory.
    #[error("no event descriptor for the I/O queue: {0}")]
    Event(#[from] io::Error),
}

/// Makes a shard's queue, about `depth` operations deep.
///
/// The queue may be made on any thread, but is to be used on one only.
pub fn io_queue(
    engine: Engine,
    pool: &ThreadPool,
    depth: u32,
) -> Result<(Box<dyn IoQueue>, Choice), EngineError> {
    let threads = |reason: String| -> Result<(Box<dyn IoQueue>, Choice), EngineError> {
        let engine = Engine::Threads;
        Ok((Box::new(ThreadQueue::new(pool)?), Choice { engine, reason }))
    };
    if engine == Engine::Threads {
        return threads("as configured".to_owned());
    }
    match UringQueue::new(pool, depth) {
        Ok(queue) => {
            let reason = match engine {
                Engine::IoUring => "as configured",
                _ => "this kernel allows it",
            };
            let choice = Choice {
                engine: Engine::IoUring,
                reason: reason.to_owned(),
            };
            Ok((Box::new(queue), choice))
        }
        Err(error) if engine == Engine::Auto => threads(error.to_string()),
        Err(error) => Err(error.into()),
    }
}
