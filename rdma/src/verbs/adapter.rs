//! Adapters: what a device can do, what is made on it, what happens to it.

use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use pagecast_memory::Memory;
use rdma_sys::{
    ibv_async_event, ibv_context, ibv_device_cap_flags, ibv_event_type as Type, ibv_node_type,
    ibv_odp_general_caps, ibv_odp_transport_cap_bits, pc_ack_async_event, pc_context_async_fd,
    pc_context_device, pc_context_num_comp_vectors, pc_device_attr, pc_device_node_type,
    pc_get_async_event, pc_qp_num, pc_query_device,
};

use super::call;
use super::completion_queue::VerbsCompletionQueue;
use super::device::{Device, DeviceList};
use super::registration;
use crate::fabric::{Access, Adapter, AdapterEvent, Capabilities, CompletionQueue, FabricError};
use crate::region::Region;

/// One device.
#[derive(Debug)]
pub(super) struct VerbsAdapter {
    device: Arc<Device>,
    capabilities: Capabilities,
    iwarp: bool,
    vectors: i32,
    next_vector: AtomicI32,
}

impl VerbsAdapter {
    /// Takes a context of `list` into use.
    pub(super) fn new(
        context: NonNull<ibv_context>,
        list: &Arc<DeviceList>,
    ) -> Result<Self, FabricError> {
        let device = Arc::new(Device::new(context, list)?);
        let mut attr = pc_device_attr::default();
        // SAFETY: the context is open; `attr` is writable.
        call::errno_value("ibv_query_device_ex", unsafe {
            pc_query_device(context.as_ptr(), &mut attr)
        })?;
        // SAFETY: the context is open.
        let (async_fd, vectors, node) = unsafe {
            (
                pc_context_async_fd(context.as_ptr()),
                pc_context_num_comp_vectors(context.as_ptr()),
                pc_device_node_type(pc_context_device(context.as_ptr())),
            )
        };
        call::set_nonblocking(async_fd)?;
        Ok(Self {
            device,
            capabilities: capabilities(&attr),
            iwarp: node == ibv_node_type::IBV_NODE_RNIC,
            vectors: vectors.max(1),
            next_vector: AtomicI32::new(0),
        })
    }

    /// The device underneath.
    pub(super) fn device(&self) -> &Arc<Device> {
        &self.device
    }
}

impl Adapter for VerbsAdapter {
    fn name(&self) -> &str {
        self.device.name()
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
        registration::register(&self.device, memory, range, access, self.iwarp)
    }

    /// Successive queues go to successive completion vectors, so that shards do not share an interrupt.
    fn completion_queue(&self, capacity: u32) -> Result<Arc<dyn CompletionQueue>, FabricError> {
        let turn = self.next_vector.fetch_add(1, Ordering::Relaxed);
        let vector = turn.rem_euclid(self.vectors);
        let queue = VerbsCompletionQueue::new(&self.device, capacity, vector)?;
        Ok(Arc::new(queue))
    }

    fn next_event(&self) -> Option<AdapterEvent> {
        let mut event = ibv_async_event::default();
        // SAFETY: the context is open and its descriptor non-blocking; `event` is writable.
        if unsafe { pc_get_async_event(self.device.context().as_ptr(), &mut event) } != 0 {
            return None;
        }
        // SAFETY: the event was just taken and is not acknowledged yet, so what it is about cannot be destroyed.
        let translated = unsafe { translate(&event) };
        // SAFETY: acknowledged once, at once: destroying its object would wait for that.
        unsafe { pc_ack_async_event(&mut event) };
        Some(translated)
    }

    fn event_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is the context's, which is open for as long as `self` lives.
        unsafe { BorrowedFd::borrow_raw(pc_context_async_fd(self.device.context().as_ptr())) }
    }
}

fn capabilities(attr: &pc_device_attr) -> Capabilities {
    // Negative numbers would be a provider's mistake.
    let count = |value: i32| u32::try_from(value).unwrap_or(0);
    let depth = |value: i32| value.clamp(0, i32::from(u8::MAX)) as u8;
    let odp = u64::from(ibv_odp_general_caps::IBV_ODP_SUPPORT.0);
    let odp_rc = (ibv_odp_transport_cap_bits::IBV_ODP_SUPPORT_WRITE
        | ibv_odp_transport_cap_bits::IBV_ODP_SUPPORT_READ)
        .0;
    let management = u64::from(ibv_device_cap_flags::IBV_DEVICE_MEM_MGT_EXTENSIONS.0);
    Capabilities {
        node_guid: u64::from_be_bytes(attr.node_guid),
        max_work_requests: count(attr.max_qp_wr),
        max_sge: count(attr.max_sge),
        max_completions: count(attr.max_cqe),
        max_responder_resources: depth(attr.max_qp_rd_atom),
        max_initiator_depth: depth(attr.max_qp_init_rd_atom),
        max_region: attr.max_mr_size,
        on_demand_paging: attr.odp_general_caps & odp != 0 && attr.odp_rc_caps & odp_rc == odp_rc,
        send_with_invalidate: attr.device_cap_flags & management != 0,
    }
}

/// # Safety
/// `event` was taken from libibverbs and is not acknowledged yet.
unsafe fn translate(event: &ibv_async_event) -> AdapterEvent {
    match event.event_type {
        Type::IBV_EVENT_DEVICE_FATAL => AdapterEvent::Fatal,
        Type::IBV_EVENT_CQ_ERR => AdapterEvent::CompletionQueueError,
        Type::IBV_EVENT_PORT_ACTIVE => {
            // SAFETY: an event of a port has its number.
            AdapterEvent::PortActive(unsafe { event.element.port_num } as u8)
        }
        Type::IBV_EVENT_PORT_ERR => {
            // SAFETY: as above.
            AdapterEvent::PortError(unsafe { event.element.port_num } as u8)
        }
        Type::IBV_EVENT_QP_FATAL | Type::IBV_EVENT_QP_REQ_ERR | Type::IBV_EVENT_QP_ACCESS_ERR => {
            // SAFETY: an event of a queue pair has it, and it lives until the event is acknowledged.
            AdapterEvent::QueuePairError(unsafe { pc_qp_num(event.element.qp) })
        }
        other => AdapterEvent::Other(other.0 as i32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdma_sys::ibv_async_event__bindgen_ty_1;

    fn of_port(event_type: Type, port_num: i32) -> AdapterEvent {
        let event = ibv_async_event {
            element: ibv_async_event__bindgen_ty_1 { port_num },
            event_type,
        };
        // SAFETY: none of the events below is about an object.
        unsafe { translate(&event) }
    }

    #[test]
    fn events() {
        assert_eq!(
            of_port(Type::IBV_EVENT_PORT_ACTIVE, 2),
            AdapterEvent::PortActive(2)
        );
        assert_eq!(
            of_port(Type::IBV_EVENT_PORT_ERR, 1),
            AdapterEvent::PortError(1)
        );
        assert_eq!(
            of_port(Type::IBV_EVENT_DEVICE_FATAL, 0),
            AdapterEvent::Fatal
        );
        assert_eq!(
            of_port(Type::IBV_EVENT_GID_CHANGE, 1),
            AdapterEvent::Other(18)
        );
        assert_eq!(of_port(Type(77), 1), AdapterEvent::Other(77));
    }

    #[test]
    fn capabilities_fit_the_seam() {
        let attr = pc_device_attr {
            node_guid: [0x02, 0, 0, 0xff, 0xfe, 0, 0, 1],
            max_qp_wr: 1 << 14,
            max_sge: -1,
            max_qp_rd_atom: 300,
            max_qp_init_rd_atom: 16,
            odp_general_caps: 1,
            odp_rc_caps: 0b100,
            ..pc_device_attr::default()
        };
        let found = capabilities(&attr);
        assert_eq!(found.node_guid, 0x0200_00ff_fe00_0001);
        assert_eq!((found.max_work_requests, found.max_sge), (16384, 0));
        assert_eq!(
            (found.max_responder_resources, found.max_initiator_depth),
            (255, 16)
        );
        assert!(!found.on_demand_paging, "WRITE without READ is not enough");
        let both = pc_device_attr {
            odp_rc_caps: 0b1100,
            ..attr
        };
        assert!(capabilities(&both).on_demand_paging);
        let none = pc_device_attr {
            odp_general_caps: 0,
            ..both
        };
        assert!(!capabilities(&none).on_demand_paging);
    }
}
