//! An adapter for connections that need none.
//!
//! What moves data without RDMA (iSCSI over TCP) still wants staging pools, and those are made of registered memory.
//! [`LocalAdapter`] registers memory with nobody.

use std::any::Any;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use pagecast_memory::{Memory, Slice};

use crate::event_fd::EventFd;
use crate::fabric::{
    Access, Adapter, AdapterEvent, Capabilities, Completion, CompletionQueue, FabricError,
};
use crate::region::{Region, Registration};

/// The name of the only [`LocalAdapter`] there is reason to make.
const NAME: &str = "local";

/// No hardware at all: regions that no work request can use, and completion queues on which nothing completes.
#[derive(Debug)]
pub struct LocalAdapter {
    capabilities: Capabilities,
    event: EventFd,
}

impl LocalAdapter {
    /// Makes one. Fails if the process has no descriptor left.
    pub fn new() -> Result<Self, FabricError> {
        Ok(Self {
            capabilities: Capabilities {
                node_guid: 0,
                max_work_requests: 0,
                max_sge: 0,
                max_completions: 1,
                max_responder_resources: 0,
                max_initiator_depth: 0,
                max_region: u64::MAX,
                on_demand_paging: false,
                send_with_invalidate: false,
            },
            event: EventFd::new()?,
        })
    }
}

impl Adapter for LocalAdapter {
    fn name(&self) -> &str {
        NAME
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
        if range.is_empty() {
            return Err(FabricError::Invalid("registration of no bytes"));
        }
        if access.local_write && !memory.writable() {
            return Err(FabricError::Invalid(
                "registration of read-only memory for writing",
            ));
        }
        let slice = Slice::new(memory, range)
            .map_err(|_| FabricError::Invalid("registration outside the memory"))?;
        Ok(Region::new(Box::new(Unregistered), slice))
    }

    fn completion_queue(&self, capacity: u32) -> Result<Arc<dyn CompletionQueue>, FabricError> {
        Ok(Arc::new(SilentQueue {
            capacity,
            event: EventFd::new()?,
        }))
    }

    fn next_event(&self) -> Option<AdapterEvent> {
        None
    }

    fn event_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

/// Stands for memory that no adapter knows. Its keys name nothing.
#[derive(Debug)]
struct Unregistered;

impl Registration for Unregistered {
    fn local_key(&self) -> u32 {
        0
    }

    fn remote_key(&self) -> u32 {
        0
    }
}

/// A completion queue that stays empty, since no queue pair can be made for it.
#[derive(Debug)]
struct SilentQueue {
    capacity: u32,
    event: EventFd,
}

impl CompletionQueue for SilentQueue {
    fn poll(&self, _out: &mut [Completion]) -> Result<usize, FabricError> {
        Ok(0)
    }

    fn arm(&self) -> Result<(), FabricError> {
        Ok(())
    }

    fn acknowledge(&self) -> Result<(), FabricError> {
        Ok(())
    }

    fn event_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    fn capacity(&self) -> u32 {
        self.capacity
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use pagecast_memory::Anonymous;

    use super::*;

    fn is_readable(fd: BorrowedFd<'_>) -> bool {
        use std::os::fd::AsRawFd;
        let mut poll = libc::pollfd {
            fd: fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one `pollfd` that lives here.
        let ready = unsafe { libc::poll(&raw mut poll, 1, 0) };
        assert!(ready >= 0 && poll.revents & libc::POLLNVAL == 0);
        ready > 0
    }

    #[test]
    fn regions_are_bounded_by_their_memory() {
        let adapter = LocalAdapter::new().unwrap();
        let memory: Arc<dyn Memory> = Arc::new(Anonymous::new(8192).unwrap());
        let part = adapter
            .register(Arc::clone(&memory), 4096..8192, Access::LOCAL_WRITE)
            .unwrap();
        assert_eq!(part.len(), 4096);
        assert_eq!(part.sge(4000, 96).unwrap().len(), 96);
        assert_eq!(part.sge(4000, 97), None);
        part.slice().write(0, b"staged").unwrap();
        assert_eq!(
            &Slice::new(Arc::clone(&memory), 4096..4102)
                .unwrap()
                .to_vec(),
            b"staged"
        );
        for wrong in [0..8193, 5..5] {
            let refused = adapter.register(Arc::clone(&memory), wrong, Access::LOCAL_READ);
            assert!(matches!(refused, Err(FabricError::Invalid(_))));
        }
    }

    #[test]
    fn nothing_ever_completes_or_happens() {
        let adapter = LocalAdapter::new().unwrap();
        let queue = adapter.completion_queue(7).unwrap();
        assert_eq!(queue.capacity(), 7);
        queue.arm().unwrap();
        assert_eq!(queue.poll(&mut [Completion::default()]).unwrap(), 0);
        assert!(!is_readable(queue.event_fd()));
        assert_eq!(adapter.next_event(), None);
        assert!(!is_readable(adapter.event_fd()));
    }
}
