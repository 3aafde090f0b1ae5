//! Opened devices as librdmacm has them.
//!
//! A connection manager id reports the context that librdmacm itself opened, and everything that a connection uses must
//! be of that context. So we never open a device; we take librdmacm's contexts, which stay open for as long as a list
//! that they are in is kept.
//!
//! The kernel takes a device away when nobody has it open any more, if its driver cannot do without: SoftRoCE's cannot. So a device that is
//! gone has to be let go of in all ways: by every list that it is in, and, since librdmacm does not close the last device that there was,
//! by its descriptors.

use std::ffi::CStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rdma_sys::{
    ibv_context, ibv_pd, pc_alloc_pd, pc_context_async_fd, pc_context_cmd_fd, pc_context_device,
    pc_dealloc_pd, pc_get_device_name, pc_rdma_free_devices, pc_rdma_get_devices,
};

use super::call;
use crate::fabric::FabricError;

/// Devices for user space; each entry names its device in `ibdev`.
const KERNEL_LIST: &str = "/sys/class/infiniband_verbs";

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
    gone: AtomicBool,
    // What keeps the context open: the newest list that it is in, so that no older one keeps devices open that went since. Dropped after
    // `drop` freed the domain: only then may librdmacm close the context.
    open: Mutex<Arc<DeviceList>>,
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
            gone: AtomicBool::new(false),
            open: Mutex::new(Arc::clone(list)),
        })
    }

    /// Lets go of the list that kept the context open so far: `list` does from now on.
    pub(super) fn keep_open_by(&self, list: &Arc<DeviceList>) {
        debug_assert!(list.contexts().any(|listed| listed == self.context));
        let before = std::mem::replace(
            &mut *self.open.lock().unwrap_or_else(PoisonError::into_inner),
            Arc::clone(list),
        );
        drop(before);
    }

    /// The kernel has taken the device away, or waits for us to.
    pub(super) fn set_gone(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }

    /// Whether the kernel still has the device for user space. It has not from the moment that it begins to take it away.
    pub(super) fn is_listed(&self) -> bool {
        may_list(Path::new(KERNEL_LIST), &self.name)
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

    /// Closes what the kernel has open for the context, and leaves the context its descriptors: whoever closes it closes those.
    ///
    /// librdmacm closes a device that is gone when it finds others in its place (`sync_devices_list`), so it keeps the last one, and the kernel
    /// may wait for that (`ib_uverbs_remove_one`).
    fn release(&mut self) -> io::Result<()> {
        let nothing = File::open("/dev/null")?;
        // SAFETY: the context is open: `open` is dropped after this.
        let descriptors = unsafe {
            [
                pc_context_async_fd(self.context.as_ptr()),
                pc_context_cmd_fd(self.context.as_ptr()),
            ]
        };
        for descriptor in descriptors {
            // SAFETY: the descriptor is the context's, and nothing is left that was made on the context: all that held an `Arc` of `self`. It is
            // replaced in one step, so it is never free for others to get, and is not what it was for nobody but the context, which is only
            // closed any more.
            if unsafe { libc::dup3(nothing.as_raw_fd(), descriptor, libc::O_CLOEXEC) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` and freed once; all that was made from it held an `Arc` of `self`.
        let result = unsafe { pc_dealloc_pd(self.domain.as_ptr()) };
        if let Err(error) = call::errno_value("ibv_dealloc_pd", result) {
            tracing::warn!(device = self.name, %error, "protection domain leaked");
        }
        if *self.gone.get_mut()
            && let Err(error) = self.release()
        {
            tracing::warn!(device = self.name, %error, "the kernel waits for us to close a device that is gone");
        }
    }
}

// SAFETY: libibverbs calls on a context and on a protection domain are thread-safe, and neither is bound to a thread.
unsafe impl Send for Device {}
// SAFETY: as above.
unsafe impl Sync for Device {}

/// Whether the kernel's `list` has a device of this name, or does not let us see that it has not.
fn may_list(list: &Path, name: &str) -> bool {
    let entries = match fs::read_dir(list) {
        Ok(entries) => entries,
        Err(error) => return error.kind() != io::ErrorKind::NotFound,
    };
    for entry in entries {
        let Ok(entry) = entry else { return true };
        match fs::read_to_string(entry.path().join("ibdev")) {
            Ok(device) if device.trim_end() == name => return true,
            Ok(_) => {}
            // It goes right now; or it is a file about all of them.
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) => {}
            // Out of descriptors, say.
            Err(_) => return true,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_gone_if_that_can_be_seen() {
        let list = std::env::temp_dir().join(format!("pagecast-devices-{}", std::process::id()));
        let _ = fs::remove_dir_all(&list);
        assert!(!may_list(&list, "rxe0"));
        fs::create_dir_all(list.join("uverbs0")).unwrap();
        fs::write(list.join("abi_version"), "6\n").unwrap();
        assert!(!may_list(&list, "rxe0"), "an entry that goes right now");
        fs::write(list.join("uverbs0/ibdev"), "rxe0\n").unwrap();
        assert!(may_list(&list, "rxe0"));
        assert!(!may_list(&list, "rxe1"));
        // What cannot be read may be any device.
        fs::create_dir_all(list.join("uverbs1/ibdev")).unwrap();
        assert!(may_list(&list, "rxe1"));
        fs::remove_dir_all(&list).unwrap();
    }
}
