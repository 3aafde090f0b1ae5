//! The event channel and the ids on it: librdmacm's objects with an owner.
//!
//! librdmacm does not lock an id's queue pair: taking an event from the channel may take the queue pair of any id through
//! its states, on the control thread, while the shard that owns that queue pair destroys it. The channel's gate is held
//! around both, and around everything else that touches an id's queue pair.

use std::ffi::c_int;
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdma_sys::{
    RDMA_OPTION_ID, RDMA_OPTION_ID_AFONLY, RDMA_OPTION_ID_REUSEADDR, ibv_context, ibv_event_type,
    ibv_pd, ibv_qp, ibv_qp_init_attr, pc_accept, pc_ack_cm_event, pc_bind_addr, pc_connect,
    pc_create_event_channel, pc_create_id, pc_destroy_event_channel, pc_destroy_id, pc_disconnect,
    pc_get_cm_event, pc_get_local_addr, pc_get_peer_addr, pc_id_qp, pc_id_verbs, pc_listen,
    pc_notify, pc_rdma_create_qp, pc_rdma_destroy_qp, pc_reject, pc_resolve_addr, pc_resolve_route,
    rdma_cm_event_type, rdma_cm_id, rdma_conn_param, rdma_event_channel, rdma_port_space,
};

use super::address::{self, RawAddress};
use super::call;
use super::cm_event::{self, Report};
use crate::fabric::{FabricError, PeerAddress};

/// Where the events of its ids arrive. Every id holds an `Arc` of it, so it is closed after the last of them.
#[derive(Debug)]
pub(super) struct EventChannel {
    channel: NonNull<rdma_event_channel>,
    gate: Mutex<()>,
}

/// Proof that the channel's gate is held.
pub(super) type Gate<'a> = MutexGuard<'a, ()>;

/// An event, copied and acknowledged.
#[derive(Debug)]
pub(super) struct Event {
    /// Whom it is about; for a request, the listener.
    pub(super) id: IdKey,
    /// What it says.
    pub(super) report: Report,
    /// For a request, the id of the new connection.
    pub(super) new: Option<CmId>,
}

/// Names an id while it lives: its address, never followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct IdKey(usize);

impl EventChannel {
    pub(super) fn open() -> Result<Arc<Self>, FabricError> {
        // SAFETY: takes nothing.
        let channel = call::pointer("rdma_create_event_channel", unsafe {
            pc_create_event_channel()
        })?;
        let channel = Self {
            channel,
            gate: Mutex::new(()),
        };
        channel.set_nonblocking()?;
        Ok(Arc::new(channel))
    }

    fn set_nonblocking(&self) -> Result<(), FabricError> {
        // SAFETY: the channel lives, and its structure is readable.
        call::set_nonblocking(unsafe { (*self.channel.as_ptr()).fd })
    }

    /// Readable when there is an event.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is the channel's and open for as long as that lives.
        unsafe { BorrowedFd::borrow_raw((*self.channel.as_ptr()).fd) }
    }

    /// Keeps everybody else from touching a queue pair of this channel's ids.
    pub(super) fn gate(&self) -> Gate<'_> {
        // Guards no data, so a panic elsewhere left nothing half changed.
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next event, acknowledged at once: an event that is not would block the destruction of its id.
    pub(super) fn next(self: &Arc<Self>) -> Result<Option<Event>, FabricError> {
        let _gate = self.gate();
        let mut event = ptr::null_mut();
        // SAFETY: the channel lives and is non-blocking; `event` is writable.
        if unsafe { pc_get_cm_event(self.channel.as_ptr(), &mut event) } != 0 {
            let source = io::Error::last_os_error();
            if call::is_empty(&source) {
                return Ok(None);
            }
            return Err(FabricError::Call {
                call: "rdma_get_cm_event",
                source,
            });
        }
        // SAFETY: the call succeeded, so `event` points to an event that is ours until it is acknowledged, and it is as
        // librdmacm delivered it; our ids are all of connected services.
        let (id, listener, kind, report) = unsafe {
            let event = &*event;
            (
                event.id,
                event.listen_id,
                event.event,
                cm_event::translate(event),
            )
        };
        // SAFETY: the event is acknowledged once and not used after.
        unsafe { pc_ack_cm_event(event) };
        if kind != rdma_cm_event_type::RDMA_CM_EVENT_CONNECT_REQUEST {
            return Ok(Some(Event {
                id: IdKey(id as usize),
                report,
                new: None,
            }));
        }
        Ok(Some(Event {
            id: IdKey(listener as usize),
            report,
            new: NonNull::new(id).map(|id| CmId {
                id,
                channel: Arc::clone(self),
            }),
        }))
    }
}

impl Drop for EventChannel {
    fn drop(&mut self) {
        // SAFETY: made by `pc_create_event_channel`, destroyed once. The ids held an `Arc` of `self`, and every event was
        // acknowledged when it was taken.
        unsafe { pc_destroy_event_channel(self.channel.as_ptr()) };
    }
}

// SAFETY: librdmacm's calls on a channel are system calls on its descriptor, bound to no thread; what they do to ids'
// queue pairs is serialised by the gate.
unsafe impl Send for EventChannel {}
// SAFETY: as above.
unsafe impl Sync for EventChannel {}

/// An id, destroyed on drop. Its queue pair holds an `Arc` of it, so there is none any more by then.
#[derive(Debug)]
pub(super) struct CmId {
    id: NonNull<rdma_cm_id>,
    channel: Arc<EventChannel>,
}

impl CmId {
    pub(super) fn new(
        channel: &Arc<EventChannel>,
        space: rdma_port_space,
    ) -> Result<Self, FabricError> {
        let mut id = ptr::null_mut();
        // SAFETY: the channel lives; `id` is writable; there is no context, so none can dangle.
        let result =
            unsafe { pc_create_id(channel.channel.as_ptr(), &mut id, ptr::null_mut(), space) };
        call::status("rdma_create_id", result)?;
        Ok(Self {
            id: call::pointer("rdma_create_id", id)?,
            channel: Arc::clone(channel),
        })
    }

    /// What its events are filed under.
    pub(super) fn key(&self) -> IdKey {
        IdKey(self.id.as_ptr() as usize)
    }

    /// Keeps everybody else from touching its queue pair.
    pub(super) fn gate(&self) -> Gate<'_> {
        self.channel.gate()
    }

    /// Starts to listen, for this address family alone: an IPv6 wildcard takes no IPv4 connections, and a listener of each
    /// family may have the same port.
    pub(super) fn listen(&self, at: &RawAddress, backlog: u32) -> Result<(), FabricError> {
        for option in [RDMA_OPTION_ID_REUSEADDR, RDMA_OPTION_ID_AFONLY] {
            let on: c_int = 1;
            // SAFETY: the id lives; the value is an int, as both options take it.
            let result = unsafe {
                rdma_sys::pc_set_option(
                    self.id.as_ptr(),
                    RDMA_OPTION_ID,
                    option,
                    (&raw const on).cast(),
                    size_of::<c_int>(),
                )
            };
            call::status("rdma_set_option", result)?;
        }
        // SAFETY: the id lives, and the address is whole.
        call::status("rdma_bind_addr", unsafe {
            pc_bind_addr(self.id.as_ptr(), at.as_ptr())
        })?;
        let backlog = c_int::try_from(backlog).unwrap_or(c_int::MAX);
        // SAFETY: the id lives.
        call::status("rdma_listen", unsafe {
            pc_listen(self.id.as_ptr(), backlog)
        })
    }

    pub(super) fn resolve_address(
        &self,
        to: &RawAddress,
        timeout_ms: c_int,
    ) -> Result<(), FabricError> {
        // SAFETY: the id lives, the destination is whole, and there may be no source.
        call::status("rdma_resolve_addr", unsafe {
            pc_resolve_addr(self.id.as_ptr(), ptr::null(), to.as_ptr(), timeout_ms)
        })
    }

    /// Only after the address was resolved.
    pub(super) fn resolve_route(&self, timeout_ms: c_int) -> Result<(), FabricError> {
        if self.context().is_none() {
            return Err(FabricError::Invalid("route before address"));
        }
        // SAFETY: the id lives and is bound to a device, which the call follows.
        call::status("rdma_resolve_route", unsafe {
            pc_resolve_route(self.id.as_ptr(), timeout_ms)
        })
    }

    /// The context that the id is bound to.
    pub(super) fn context(&self) -> Option<NonNull<ibv_context>> {
        // SAFETY: the id lives.
        NonNull::new(unsafe { pc_id_verbs(self.id.as_ptr()) })
    }

    /// The peer's address and ours.
    pub(super) fn addresses(&self) -> Option<(PeerAddress, PeerAddress)> {
        // SAFETY: the id lives, and the pointers are into it, with room for any address.
        unsafe {
            let peer = address::read(pc_get_peer_addr(self.id.as_ptr()))?;
            let local = address::read(pc_get_local_addr(self.id.as_ptr()))?;
            Some((peer, local))
        }
    }

    /// Makes the id's queue pair.
    ///
    /// # Safety
    /// `domain` and the completion queues in `attr` live, and longer than the queue pair, which the caller destroys with
    /// `destroy_queue_pair`.
    pub(super) unsafe fn create_queue_pair(
        &self,
        domain: NonNull<ibv_pd>,
        attr: &mut ibv_qp_init_attr,
    ) -> Result<NonNull<ibv_qp>, FabricError> {
        let gate = self.gate();
        if self.context().is_none() {
            return Err(FabricError::Invalid("queue pair before address"));
        }
        // SAFETY: the id lives and is bound; nobody touches its queue pair meanwhile; the rest is the caller's promise.
        call::status("rdma_create_qp", unsafe {
            pc_rdma_create_qp(self.id.as_ptr(), domain.as_ptr(), attr)
        })?;
        call::pointer("rdma_create_qp", self.queue_pair(&gate))
    }

    /// Destroys the id's queue pair, if there is one.
    ///
    /// # Safety
    /// Nobody uses the queue pair any more.
    pub(super) unsafe fn destroy_queue_pair(&self) {
        let gate = self.gate();
        if !self.queue_pair(&gate).is_null() {
            // SAFETY: the id lives and has a queue pair, which nobody touches meanwhile.
            unsafe { pc_rdma_destroy_qp(self.id.as_ptr()) };
        }
    }

    /// Active side: sends the request.
    pub(super) fn connect(&self, param: &mut rdma_conn_param) -> Result<(), FabricError> {
        let _gate = self.need_queue_pair()?;
        // SAFETY: the id lives, is bound and has a queue pair that nobody touches meanwhile; the private data in `param`
        // is readable for its length.
        call::status("rdma_connect", unsafe {
            pc_connect(self.id.as_ptr(), param)
        })
    }

    /// Passive side: brings the queue pair up and sends the reply.
    pub(super) fn accept(&self, param: &mut rdma_conn_param) -> Result<(), FabricError> {
        let _gate = self.need_queue_pair()?;
        // SAFETY: as in `connect`.
        call::status("rdma_accept", unsafe { pc_accept(self.id.as_ptr(), param) })
    }

    /// Passive side: refuses.
    pub(super) fn reject(&self, private_data: &[u8]) -> Result<(), FabricError> {
        let len = u8::try_from(private_data.len())
            .map_err(|_| FabricError::Invalid("too much private data"))?;
        // SAFETY: the id lives; the private data is readable for its length.
        call::status("rdma_reject", unsafe {
            pc_reject(self.id.as_ptr(), private_data.as_ptr().cast(), len)
        })
    }

    /// Moves the queue pair to the error state and tells the peer.
    pub(super) fn disconnect(&self) -> Result<(), FabricError> {
        let _gate = self.gate();
        // SAFETY: the id lives; nobody touches its queue pair meanwhile. Without device or queue pair it is an error or
        // nothing.
        call::status("rdma_disconnect", unsafe {
            pc_disconnect(self.id.as_ptr())
        })
    }

    /// Tells the CM that the peer's ready-to-use is as good as here.
    pub(super) fn notify_established(&self) -> Result<(), FabricError> {
        // SAFETY: the id lives.
        call::status("rdma_notify", unsafe {
            pc_notify(self.id.as_ptr(), ibv_event_type::IBV_EVENT_COMM_EST)
        })
    }

    fn need_queue_pair(&self) -> Result<Gate<'_>, FabricError> {
        let gate = self.gate();
        if self.queue_pair(&gate).is_null() {
            return Err(FabricError::Invalid("the connection has no queue pair"));
        }
        Ok(gate)
    }

    fn queue_pair(&self, _gate: &Gate<'_>) -> *mut ibv_qp {
        // SAFETY: the id lives, and nobody changes the field meanwhile.
        unsafe { pc_id_qp(self.id.as_ptr()) }
    }
}

impl Drop for CmId {
    fn drop(&mut self) {
        // SAFETY: the id is ours and destroyed once. Its queue pair, if it had one, held an `Arc` of `self` and is gone.
        // Events of it that were taken are acknowledged, or will be at once by the thread that took them.
        let result = unsafe { pc_destroy_id(self.id.as_ptr()) };
        if let Err(error) = call::status("rdma_destroy_id", result) {
            tracing::warn!(%error, "connection manager id leaked");
        }
    }
}

// SAFETY: ids are bound to no thread. librdmacm's calls on one are thread-safe except for its queue pair, which is only
// touched under the channel's gate.
unsafe impl Send for CmId {}
// SAFETY: as above.
unsafe impl Sync for CmId {}
