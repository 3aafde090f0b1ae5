//! Opened devices as librdmacm has them.
//!
//! A connection manager id reports the context that librdmacm itself opened, and everything that a connection uses must
//! be of that context. So we never open a device; we take librdmacm's contexts, which stay open for as long as the list
//! that they came in is kept.

use std::ffi::CStr;
use std::ptr::NonNull;
use std::sync::Arc;

use rdma_sys::{
    ibv_context, ibv_pd, pc_alloc_pd, pc_context_device, pc_dealloc_pd, pc_get_device_name,
    pc_rdma_free_devices, pc_rdma_get_devices,
};

use super::call;
use crate::fabric::FabricError;

/// A list of contexts, each of which is open while the list lives.
#[derive(Debug)]
pub(super) struct DeviceList {
    first: NonNull<*mut ibv_context>,
    count: usize,
}

impl DeviceList {
    /// The devices that there are now. An error when there are none.
    pub(super) fn get() -> Result<Self, FabricError> {
        let mut count = 0;
        // SAFETY: `count` is a live, writable int.
        let first = unsafe { pc_rdma_get_devices(&mut count) };
        Ok(Self {
            first: call::pointer("rdma_get_devices", first)?,
            count: usize::try_from(count).unwrap_or(0),
        })
    }

    /// The contexts in it.
    pub(super) fn contexts(&self) -> impl Iterator<Item = NonNull<ibv_context>> {
        // SAFETY: librdmacm returned an array of `count` pointers, which nobody writes to, and it is freed on drop.
        let contexts = unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.count) };
        contexts.iter().filter_map(|&context| NonNull::new(context))
    }
}

impl Drop for DeviceList {
    fn drop(&mut self) {
        // SAFETY: the list came from `pc_rdma_get_devices` and is freed once. Whatever uses its contexts holds an `Arc`
        // of it, so nothing does any more.
        unsafe { pc_rdma_free_devices(self.first.as_ptr()) };
    }
}

// SAFETY: an array that is only read, of contexts whose calls are thread-safe.
unsafe impl Send for DeviceList {}
// SAFETY: as above.
unsafe impl Sync for DeviceList {}

/// A context and our protection domain on it. Everything made on the device holds an `Arc` of this, so it goes last.
#[derive(Debug)]
pub(super) struct Device {
    context: NonNull<ibv_context>,
    domain: NonNull<ibv_pd>,
    name: String,
    // Dropped after `drop` freed the domain: only then may librdmacm close the context.
    _open: Arc<DeviceList>,
}

impl Device {
    /// Makes a protection domain on `context`, which must be one of `list`.
    pub(super) fn new(
        context: NonNull<ibv_context>,
        list: &Arc<DeviceList>,
    ) -> Result<Self, FabricError> {
        debug_assert!(list.contexts().any(|listed| listed == context));
        // SAFETY: the context is open, because `list` lives.
        let domain = call::pointer("ibv_alloc_pd", unsafe { pc_alloc_pd(context.as_ptr()) })?;
        // SAFETY: the context is open; its device's name is NUL-terminated and lives as long as the device.
        let name =
            unsafe { CStr::from_ptr(pc_get_device_name(pc_context_device(context.as_ptr()))) };
        Ok(Self {
            context,
            domain,
            name: name.to_string_lossy().into_owned(),
            _open: Arc::clone(list),
        })
    }

    /// The open context.
    pub(super) fn context(&self) -> NonNull<ibv_context> {
        self.context
    }

    /// The protection domain of everything we make on it.
    pub(super) fn domain(&self) -> NonNull<ibv_pd> {
        self.domain
    }

    /// The kernel's name of it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` and freed once; all that was made from it held an `Arc` of `self`.
        let result = unsafe { pc_dealloc_pd(self.domain.as_ptr()) };
        if let Err(error) = call::errno_value("ibv_dealloc_pd", result) {
            tracing::warn!(device = self.name, %error, "protection domain leaked");
        }
    }
}

// SAFETY: libibverbs calls on a context and on a protection domain are thread-safe, and neither is bound to a thread.
unsafe impl Send for Device {}
// SAFETY: as above.
unsafe impl Sync for Device {}
