//! Memory regions.

use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

use pagecast_memory::{Memory, Slice};
use rdma_sys::{ibv_access_flags, ibv_mr, pc_dereg_mr, pc_reg_mr};

use super::call;
use super::device::Device;
use crate::fabric::{Access, FabricError};
use crate::region::{Region, Registration};

/// Registers `range` of `memory`.
pub(super) fn register(
    device: &Arc<Device>,
    memory: Arc<dyn Memory>,
    range: Range<usize>,
    access: Access,
    iwarp: bool,
) -> Result<Region, FabricError> {
    if range.is_empty() {
        return Err(FabricError::Invalid("registration of no bytes"));
    }
    if access.remote_write && !access.local_write {
        return Err(FabricError::Invalid(
            "registration with remote write but not local write",
        ));
    }
    if access.local_write && !memory.writable() {
        return Err(FabricError::Invalid(
            "registration of read-only memory for writing",
        ));
    }
    let slice = Slice::new(memory, range)
        .map_err(|_| FabricError::Invalid("registration outside the memory"))?;
    // SAFETY: the domain lives, by `device`; the range lies inside the memory, which `slice` keeps mapped and in its
    // place, and `Region` drops the registration before the slice. The adapter may write there at any time from now on
    // only if local write was asked for, and then the memory is writable and no Rust reference points into it (contract
    // of `Memory`).
    let region = unsafe {
        pc_reg_mr(
            device.domain().as_ptr(),
            slice.as_ptr().as_ptr().cast(),
            slice.len(),
            access_flags(access, iwarp),
        )
    };
    let region = MemoryRegion {
        region: call::pointer("ibv_reg_mr", region)?,
        _device: Arc::clone(device),
    };
    Ok(Region::new(Box::new(region), slice))
}

/// On iWARP the sink of an RDMA READ is written to as by an RDMA WRITE of the peer, with a key of ours on the wire, so a
/// region that takes READ responses there needs remote write access.
fn access_flags(access: Access, iwarp: bool) -> u32 {
    [
        (access.local_write, ibv_access_flags::IBV_ACCESS_LOCAL_WRITE),
        (access.remote_read, ibv_access_flags::IBV_ACCESS_REMOTE_READ),
        (
            access.remote_write || (iwarp && access.local_write),
            ibv_access_flags::IBV_ACCESS_REMOTE_WRITE,
        ),
        (access.on_demand, ibv_access_flags::IBV_ACCESS_ON_DEMAND),
    ]
    .iter()
    .filter(|(wanted, _)| *wanted)
    .fold(0, |flags, (_, flag)| flags | flag.0)
}

/// A registration, until it is dropped.
#[derive(Debug)]
struct MemoryRegion {
    region: NonNull<ibv_mr>,
    // Deregistered in `drop`, before the domain may go.
    _device: Arc<Device>,
}

impl Registration for MemoryRegion {
    fn local_key(&self) -> u32 {
        // SAFETY: the structure is libibverbs' and lives until `pc_dereg_mr`; the keys are written once, by registration.
        unsafe { (*self.region.as_ptr()).lkey }
    }

    fn remote_key(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.region.as_ptr()).rkey }
    }
}

impl Drop for MemoryRegion {
    fn drop(&mut self) {
        // SAFETY: made by `pc_reg_mr` and deregistered once; the domain still lives.
        let result = unsafe { pc_dereg_mr(self.region.as_ptr()) };
        if let Err(error) = call::errno_value("ibv_dereg_mr", result) {
            // The memory is unmapped next. The kernel's own hold on pinned pages keeps the adapter from touching
            // anybody else's memory.
            tracing::error!(%error, "memory region leaked");
        }
    }
}

// SAFETY: the structure is only read, and deregistration may come from any thread.
unsafe impl Send for MemoryRegion {}
// SAFETY: as above.
unsafe impl Sync for MemoryRegion {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_flags_are_those_of_verbs() {
        assert_eq!(access_flags(Access::LOCAL_READ, false), 0);
        assert_eq!(access_flags(Access::LOCAL_READ, true), 0);
        assert_eq!(access_flags(Access::LOCAL_WRITE, false), 1);
        assert_eq!(access_flags(Access::LOCAL_WRITE, true), 1 | 2);
        let all = Access {
            local_write: true,
            remote_read: true,
            remote_write: true,
            on_demand: true,
        };
        assert_eq!(access_flags(all, false), 1 | 2 | 4 | 64);
    }
}
