//! Nodes: a machine's fabric and its one adapter.

use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pagecast_memory::{Memory, Slice};

use super::cm::gid_of;
use super::completion_queue::{self, SimCompletionQueue};
use super::connection_manager::SimConnectionManager;
use super::net::Net;
use crate::event_fd::EventFd;
use crate::fabric::{
    Access, Adapter, AdapterEvent, Capabilities, CompletionQueue, ConnectionManager, Fabric,
    FabricError, Gid, PostError,
};
use crate::region::{Region, Registration};

/// The fabric of one simulated machine. Cheap to keep; made by [`SimNet::fabric`](super::SimNet::fabric).
#[derive(Debug)]
pub struct SimFabric {
    pub(super) adapter: Arc<SimAdapter>,
}

/// A machine's adapter.
#[derive(Debug)]
pub(super) struct SimAdapter {
    pub(super) net: Arc<Net>,
    pub(super) node: usize,
    name: String,
    capabilities: Capabilities,
    event: Arc<EventFd>,
}

/// Posts that fail on purpose: how many succeed before one does not, and zero for all.
#[derive(Debug, Default)]
pub(super) struct PostFaults {
    pub(super) send: AtomicU64,
    pub(super) receive: AtomicU64,
}

impl PostFaults {
    pub(super) fn check_send(&self) -> Result<(), PostError> {
        Self::check(&self.send)
    }

    pub(super) fn check_receive(&self) -> Result<(), PostError> {
        Self::check(&self.receive)
    }

    fn check(left: &AtomicU64) -> Result<(), PostError> {
        // A read only, as long as no fault is asked for.
        if left.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        match left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(1)
        }) {
            Ok(1) => Err(PostError::Failed(libc::EIO)),
            _ => Ok(()),
        }
    }
}

/// What a simulated adapter can do unless told otherwise: about as much as a real one.
pub(super) fn default_capabilities(name: &str) -> Capabilities {
    // FNV-1a over the name, in the range of locally administered GUIDs: the same in every run.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Capabilities {
        node_guid: (hash >> 8) | (0x02 << 56),
        max_work_requests: 16_384,
        max_sge: 30,
        max_completions: 1 << 20,
        max_responder_resources: 16,
        max_initiator_depth: 16,
        max_region: 1 << 40,
        on_demand_paging: false,
        send_with_invalidate: true,
    }
}

impl SimFabric {
    pub(super) fn new(
        net: Arc<Net>,
        node: usize,
        name: &str,
        capabilities: Capabilities,
        event: Arc<EventFd>,
    ) -> Self {
        Self {
            adapter: Arc::new(SimAdapter {
                net,
                node,
                name: name.to_owned(),
                capabilities,
                event,
            }),
        }
    }

    /// The port's GID, which is what peers that come over the native InfiniBand CM are known by.
    pub fn gid(&self) -> Gid {
        gid_of(self.adapter.capabilities.node_guid)
    }

    /// A connection manager that can also dial service ids, as initiators do and targets never.
    pub fn sim_connection_manager(&self) -> Result<SimConnectionManager, FabricError> {
        SimConnectionManager::new(Arc::clone(&self.adapter))
    }
}

impl Fabric for SimFabric {
    fn adapters(&self) -> Result<Vec<Arc<dyn Adapter>>, FabricError> {
        if self.adapter.is_removed() {
            return Ok(Vec::new());
        }
        Ok(vec![self.adapter.clone()])
    }

    fn connection_manager(&self) -> Result<Box<dyn ConnectionManager>, FabricError> {
        Ok(Box::new(self.sim_connection_manager()?))
    }
}

impl SimAdapter {
    fn is_removed(&self) -> bool {
        self.net.lock().nodes[self.node].removed
    }
}

impl Adapter for SimAdapter {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn register(
        &self,
        memory: Arc<dyn Memory>,
        range: Range<usize>,
        access: Access,
    ) -> Result<Region, FabricError> {
        let refuse = |errno| Err(FabricError::from_errno("ibv_reg_mr", errno));
        if range.is_empty() || range.len() as u64 > self.capabilities.max_region {
            return refuse(libc::EINVAL);
        }
        let slice = Slice::new(memory, range)
            .map_err(|_| FabricError::Invalid("range outside the memory"))?;
        if access.remote_write && !access.local_write {
            return refuse(libc::EINVAL);
        }
        if access.on_demand && !self.capabilities.on_demand_paging {
            return refuse(libc::EOPNOTSUPP);
        }
        // As kernels since 6.2 have it: a read-only mapping can be registered, but not for writing.
        if access.local_write && !slice.writable() {
            return refuse(libc::EFAULT);
        }
        let mut state = self.net.lock();
        let state = &mut *state;
        let node = &mut state.nodes[self.node];
        if node.removed {
            return refuse(libc::ENODEV);
        }
        if node.failing_registration > 0 {
            node.failing_registration -= 1;
            if node.failing_registration == 0 {
                return refuse(libc::ENOMEM);
            }
        }
        let (local_key, remote_key) = state.memory.register(
            (self.node, &self.name),
            slice.clone(),
            access,
            &mut state.random,
        );
        let registration = SimRegistration {
            net: Arc::clone(&self.net),
            local_key,
            remote_key,
        };
        Ok(Region::new(Box::new(registration), slice))
    }

    fn completion_queue(&self, capacity: u32) -> Result<Arc<dyn CompletionQueue>, FabricError> {
        let refuse = |errno| Err(FabricError::from_errno("ibv_create_cq", errno));
        if capacity == 0 || capacity > self.capabilities.max_completions {
            return refuse(libc::EINVAL);
        }
        let mut state = self.net.lock();
        if state.nodes[self.node].removed {
            return refuse(libc::ENODEV);
        }
        let number = state.next_completion_queue;
        state.next_completion_queue += 1;
        let core = completion_queue::Core::new(number, self.node, capacity)?;
        Ok(Arc::new(SimCompletionQueue(Arc::new(core))))
    }

    fn next_event(&self) -> Option<AdapterEvent> {
        let mut state = self.net.lock();
        let node = &mut state.nodes[self.node];
        let event = node.events.pop_front();
        if node.events.is_empty() {
            node.event.drain();
        }
        event
    }

    fn event_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

/// Deregisters when dropped. Work in flight that still names the memory fails from then on.
#[derive(Debug)]
struct SimRegistration {
    net: Arc<Net>,
    local_key: u32,
    remote_key: u32,
}

impl Registration for SimRegistration {
    fn local_key(&self) -> u32 {
        self.local_key
    }

    fn remote_key(&self) -> u32 {
        self.remote_key
    }
}

impl Drop for SimRegistration {
    fn drop(&mut self) {
        let memory = self.net.lock().memory.deregister(self.local_key);
        // Released here, after the lock: whose memory it is may do anything when it is dropped.
        drop(memory);
    }
}
