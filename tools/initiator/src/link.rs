//! What there is while there is a queue pair: its buffers, what is posted on it, and what completes.

use std::sync::Arc;

use pagecast_rdma::fabric::{
    Adapter, Chain, Completion, CompletionQueue, ConnectionId, ConnectionManager, Operation,
    QueuePair, QueuePairConfig, WorkId,
};
use pagecast_rdma::slots::Slots;

use crate::error::InitiatorError;

/// Marks the identifiers of receives. Below it is the pool, below that the slot.
const RECEIVE: u64 = 1 << 63;
const POOL_SHIFT: u32 = 32;

/// A queue pair with a pool of send buffers and pools of receive buffers.
#[derive(Debug)]
pub(crate) struct Link {
    // First, so that it is gone before the memory that is posted on it.
    queue_pair: Box<dyn QueuePair>,
    completions: Arc<dyn CompletionQueue>,
    sends: Slots,
    free_sends: Vec<usize>,
    receives: Vec<Slots>,
    chain: Chain,
}

/// How many buffers, of how many bytes each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pool {
    pub(crate) count: u32,
    pub(crate) size: usize,
}

/// A receive buffer: which pool's, and which one of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Receive {
    pub(crate) pool: usize,
    pub(crate) slot: usize,
}

impl Link {
    /// Makes the queue pair of a connection. No receive is posted yet.
    pub(crate) fn open(
        manager: &mut dyn ConnectionManager,
        adapter: &dyn Adapter,
        connection: ConnectionId,
        sends: Pool,
        receives: &[Pool],
    ) -> Result<Self, InitiatorError> {
        let receive_requests = receives.iter().map(|pool| pool.count).sum();
        let completions = adapter.completion_queue(sends.count + receive_requests + 1)?;
        let config = QueuePairConfig {
            send_requests: sends.count,
            receive_requests,
            send_sge: 1,
        };
        let queue_pair = manager.create_queue_pair(connection, config, &completions)?;
        let slots = |pool: &Pool| Slots::allocate(adapter, pool.size, pool.count as usize);
        Ok(Self {
            queue_pair,
            completions,
            sends: slots(&sends)?,
            free_sends: (0..sends.count as usize).rev().collect(),
            receives: receives.iter().map(slots).collect::<Result<_, _>>()?,
            chain: Chain::default(),
        })
    }

    /// Posts all receive buffers of a pool.
    pub(crate) fn post_all(&mut self, pool: usize) -> Result<(), InitiatorError> {
        let count = self.receives.get(pool).map_or(0, Slots::count);
        (0..count).try_for_each(|slot| self.post_receive(Receive { pool, slot }))
    }

    pub(crate) fn post_receive(&mut self, at: Receive) -> Result<(), InitiatorError> {
        let Some(slots) = self.receives.get_mut(at.pool) else {
            return Err(InitiatorError::NoBuffer);
        };
        let size = slots.size();
        let sge = slots.lend(at.slot, size).ok_or(InitiatorError::NoBuffer)?;
        let id = RECEIVE | (at.pool as u64) << POOL_SHIFT | at.slot as u64;
        if let Err(error) = self.queue_pair.post_receive(WorkId(id), sge) {
            slots.take_back(at.slot);
            return Err(error.into());
        }
        Ok(())
    }

    /// How many messages could be sent now.
    pub(crate) fn room(&self) -> usize {
        self.free_sends.len()
    }

    /// Sends a message.
    pub(crate) fn transmit(&mut self, message: &[u8]) -> Result<(), InitiatorError> {
        let slot = self.free_sends.pop().ok_or(InitiatorError::NoBuffer)?;
        let posted = self.post_send(slot, message);
        if posted.is_err() {
            self.sends.take_back(slot);
            self.free_sends.push(slot);
        }
        posted
    }

    fn post_send(&mut self, slot: usize, message: &[u8]) -> Result<(), InitiatorError> {
        self.sends
            .bytes_mut(slot)
            .get_mut(..message.len())
            .ok_or(InitiatorError::TooLong(message.len()))?
            .copy_from_slice(message);
        let sge = self.sends.lend(slot, message.len());
        let sge = sge.ok_or(InitiatorError::NoBuffer)?;
        self.chain.clear();
        self.chain
            .push(WorkId(slot as u64), Operation::Send, true, [sge]);
        Ok(self.queue_pair.post_send(&self.chain)?)
    }

    /// What has completed, as much as fits into `batch`.
    pub(crate) fn poll(&mut self, batch: &mut [Completion]) -> Result<usize, InitiatorError> {
        Ok(self.completions.poll(batch)?)
    }

    /// Takes back the buffer of a completion, and says which one if it was a receive.
    pub(crate) fn take_back(&mut self, completion: &Completion) -> Option<Receive> {
        let id = completion.id.0;
        if id & RECEIVE == 0 {
            self.sends.take_back(id as usize);
            self.free_sends.push(id as usize);
            return None;
        }
        let pool = ((id & !RECEIVE) >> POOL_SHIFT) as usize;
        let slot = (id & u64::from(u32::MAX)) as usize;
        if let Some(slots) = self.receives.get_mut(pool) {
            slots.take_back(slot);
        }
        Some(Receive { pool, slot })
    }

    /// What arrived in a buffer that was taken back.
    pub(crate) fn message(&self, at: Receive, completion: &Completion) -> &[u8] {
        let slots = self.receives.get(at.pool);
        slots.map_or(&[], |slots| {
            slots.bytes(at.slot, completion.byte_len as usize)
        })
    }

    /// Breaks the queue pair, without a word to the peer.
    pub(crate) fn fail(&mut self) -> Result<(), InitiatorError> {
        Ok(self.queue_pair.fail()?)
    }
}
