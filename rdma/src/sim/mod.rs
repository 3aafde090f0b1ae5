//! The `sim` provider: a whole RDMA network in one process, deterministic, with a seed.
//!
//! A [`SimNet`] has nodes, each a [`SimFabric`] with one adapter. What owners ask for is only queued; [`SimNet::step`] then
//! does one of the things that could happen next, chosen by the seed: carry out the next work request of some queue
//! pair, bring the data of a READ, deliver a message of the connection manager, flush. Work of one queue pair, and the
//! messages of one side of a connection, keep their order, as they do on the wire; everything else does not. Equal seeds
//! and equal calls give equal histories ([`SimNet::trace`]).
//!
//! Keys, bounds and rights of all memory are checked when the work is carried out, which is also when its bytes are
//! gathered: a buffer that was changed too early shows. What real adapters do when things go wrong happens here too:
//! receives run dry, queue pairs break and flush, send slots stay taken until a signaled completion was polled, completion
//! queues overrun. [`SimNet::faults`] makes more of it happen.
//!
//! There is no clock. What takes time on a real network (retries, timeouts) happens when nothing else can.

mod cm;
mod completion_queue;
mod connection_manager;
mod execute;
mod faults;
mod machine;
mod memory;
mod net;
mod node;
mod queue_pair;
mod random;
mod runner;
mod trace;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

pub use connection_manager::SimConnectionManager;
pub use faults::{CmMessage, Faults};
pub use machine::SimMachine;
pub use memory::RegionTraffic;
pub use net::Traffic;
pub use node::SimFabric;
pub use queue_pair::QueuePairState;
pub use runner::Runner;
pub use trace::{OperationKind, TraceEntry, TraceEvent};

use self::net::{Net, Node, Stepped};
use self::node::PostFaults;
use crate::event_fd::EventFd;
use crate::fabric::{Capabilities, FabricError};
use crate::region::Region;

/// A simulated network. Clones are the same network.
#[derive(Clone, Debug)]
pub struct SimNet(Arc<Net>);

/// A queue pair as [`SimNet::queue_pairs`] shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuePairReport {
    /// Unique in the net.
    pub number: u32,
    /// The name of its node.
    pub node: String,
    /// The queue pair at the other end, once connected.
    pub peer: Option<u32>,
    /// Where it is in its life.
    pub state: QueuePairState,
    /// READs that it may have in flight.
    pub initiator_depth: u8,
    /// The most READs that were ever posted and not done: beyond the depth the adapter has to hold them back, which some
    /// hardware does badly.
    pub most_reads_posted: u32,
    /// Calls of `post_send` that were taken: doorbells.
    pub chains_posted: u64,
    /// Send requests posted that have not ended.
    pub sends_pending: u64,
    /// Receives posted that have not ended.
    pub receives_pending: u64,
    /// What it carried as the requester.
    pub traffic: Traffic,
}

impl SimNet {
    /// A network without nodes, whose choices all follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Net::new(seed)))
    }

    /// Adds a node, or a new life of one whose fabric was dropped. A node that is there is returned as it is.
    pub fn fabric(&self, name: &str, addresses: &[IpAddr]) -> Result<Arc<SimFabric>, FabricError> {
        self.fabric_with(name, addresses, |_| {})
    }

    /// The same, with what its adapter can do changed by `adjust`.
    pub fn fabric_with(
        &self,
        name: &str,
        addresses: &[IpAddr],
        adjust: impl FnOnce(&mut Capabilities),
    ) -> Result<Arc<SimFabric>, FabricError> {
        let mut capabilities = node::default_capabilities(name);
        adjust(&mut capabilities);
        let event = Arc::new(EventFd::new()?);
        let mut state = self.0.lock();
        let index = state.nodes.iter().position(|node| node.name == name);
        if let Some(there) = index.and_then(|index| state.nodes[index].fabric.upgrade()) {
            return Ok(there);
        }
        let index = index.unwrap_or(state.nodes.len());
        let fabric = Arc::new(SimFabric::new(
            Arc::clone(&self.0),
            index,
            name,
            capabilities.clone(),
            Arc::clone(&event),
        ));
        let node = Node {
            name: name.to_owned(),
            addresses: addresses.to_vec(),
            capabilities,
            removed: false,
            events: VecDeque::new(),
            event,
            fabric: Arc::downgrade(&fabric),
            post_faults: Arc::new(PostFaults::default()),
            failing_registration: 0,
        };
        match state.nodes.get_mut(index) {
            Some(there) => *there = node,
            None => state.nodes.push(node),
        }
        Ok(fabric)
    }

    /// Does one thing that can happen next, if anything can: first what can happen now, then what takes time.
    pub fn step(&self) -> bool {
        self.0.lock().step(true) == Stepped::Moved
    }

    /// Steps until nothing can happen any more, time or no time, and returns how many steps that took. Work that waits for its peer
    /// for ever (a receive with seven retries, a pause) does not count.
    pub fn run_until_idle(&self) -> u64 {
        self.run(true)
    }

    /// Steps until only time could make something happen: no retry is used up, nothing times out.
    pub fn run_until_quiet(&self) -> u64 {
        self.run(false)
    }

    fn run(&self, time_passes: bool) -> u64 {
        let mut steps = 0;
        while self.0.lock().step(time_passes) == Stepped::Moved {
            steps += 1;
        }
        steps
    }

    /// Starts a thread that steps as work comes, until the guard is dropped. What takes time then takes a millisecond.
    pub fn spawn(&self) -> std::io::Result<Runner> {
        Runner::spawn(Arc::clone(&self.0))
    }

    /// Makes things go wrong.
    pub fn faults(&self) -> Faults<'_> {
        Faults(&self.0)
    }

    /// The last few thousand things that happened, oldest first.
    pub fn trace(&self) -> Vec<TraceEntry> {
        self.0.lock().trace.to_vec()
    }

    /// How many steps there were.
    pub fn steps(&self) -> u64 {
        self.0.lock().steps
    }

    /// What went through each registration of the net, gone ones included (the last few thousand), oldest first: a witness of zero
    /// copy that owes nothing to the counters of whom it watches.
    pub fn regions(&self) -> Vec<RegionTraffic> {
        self.0.lock().memory.traffic()
    }

    /// What went through this one.
    pub fn traffic_of(&self, region: &Region) -> Option<RegionTraffic> {
        let key = region.sge(0, 0)?.key;
        self.0.lock().memory.traffic_of(key)
    }

    /// All queue pairs that were not dropped, by number.
    pub fn queue_pairs(&self) -> Vec<QueuePairReport> {
        let state = self.0.lock();
        let report = |(&number, link): (&u32, &net::Link)| {
            let queues = link.core.lock();
            QueuePairReport {
                number,
                node: state.nodes[link.node].name.clone(),
                peer: link.peer,
                state: queues.state,
                initiator_depth: link.initiator_depth,
                most_reads_posted: queues.most_reads_posted,
                chains_posted: queues.chains_posted,
                sends_pending: queues.send_posted - queues.send_retired,
                receives_pending: queues.receive_posted - queues.receive_retired,
                traffic: link.traffic,
            }
        };
        state.links.iter().map(report).collect()
    }
}
