//! A shard's share of one adapter.

use std::collections::VecDeque;
use std::sync::Arc;

use pagecast_rdma::fabric::{Adapter, CompletionQueue, FabricError};

use super::task::TaskId;
use crate::staging::StagingPool;

/// The completion queue and staging memory that one shard has on one adapter.
#[derive(Debug)]
pub struct Port {
    /// The adapter.
    pub adapter: Arc<dyn Adapter>,
    /// Where all of the shard's queue pairs on this adapter complete.
    pub completions: Arc<dyn CompletionQueue>,
    /// Memory for what no window serves.
    pub staging: StagingPool,
    /// Tasks that wait for staging memory, oldest first.
    pub waiting: VecDeque<TaskId>,
}

impl Port {
    /// Allocates and registers a shard's share. Slow; done when the adapter is found.
    pub fn open(adapter: Arc<dyn Adapter>, staging_bytes: usize) -> Result<Self, FabricError> {
        let capacity = adapter.capabilities().max_completions.min(1 << 16);
        Ok(Self {
            completions: adapter.completion_queue(capacity)?,
            staging: StagingPool::allocate(&*adapter, staging_bytes)?,
            waiting: VecDeque::new(),
            adapter,
        })
    }
}
