//! Message buffers: a region split into equal slots, each owned by the CPU or by the adapter.
//!
//! A slot that was posted belongs to the adapter until its completion was polled; only then can its bytes be borrowed.
//! That is what makes `bytes` and `bytes_mut` sound without a lock.

use std::ptr::NonNull;
use std::sync::Arc;

use pagecast_memory::{Anonymous, Memory, Slice};

use crate::fabric::{Access, Adapter, FabricError, Sge};
use crate::region::Region;

/// Equal message buffers in one region of their own.
#[derive(Debug)]
pub struct Slots {
    region: Region,
    /// The same memory as others may have it: to read.
    view: Arc<ReadOnly>,
    size: usize,
    owners: Vec<Owner>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Cpu,
    Adapter,
}

impl Slots {
    /// Allocates and registers `count` slots of `size` bytes, all owned by the CPU. Slow, as every registration is.
    pub fn allocate(adapter: &dyn Adapter, size: usize, count: usize) -> Result<Self, FabricError> {
        let bytes = size
            .checked_mul(count)
            .filter(|&bytes| bytes > 0)
            .ok_or(FabricError::Invalid("slots without bytes"))?;
        let memory: Arc<dyn Memory> =
            Arc::new(Anonymous::new(bytes).map_err(|source| FabricError::Call {
                call: "mmap",
                source,
            })?);
        let view = Arc::new(ReadOnly(Arc::clone(&memory)));
        Ok(Self {
            region: adapter.register(memory, 0..bytes, Access::LOCAL_WRITE)?,
            view,
            size,
            owners: vec![Owner::Cpu; count],
        })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.owners.len()
    }

    /// Bytes in each.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Gives the first `length` bytes of a slot to the adapter. `None` if it has it already or there is no such slot.
    pub fn lend(&mut self, slot: usize, length: usize) -> Option<Sge> {
        let owner = self.owners.get_mut(slot)?;
        if *owner != Owner::Cpu || length > self.size {
            return None;
        }
        let sge = self.region.sge(slot * self.size, length)?;
        *owner = Owner::Adapter;
        Some(sge)
    }

    /// Takes a slot back, after its completion was polled or its post failed.
    pub fn take_back(&mut self, slot: usize) {
        if let Some(owner) = self.owners.get_mut(slot) {
            *owner = Owner::Cpu;
        }
    }

    /// Takes every slot back, after the queue pair that they were posted on is destroyed.
    pub fn take_all_back(&mut self) {
        self.owners.fill(Owner::Cpu);
    }

    /// The first `length` bytes of a slot that the CPU owns; fewer if the slot is smaller, none if the adapter has it.
    pub fn bytes(&self, slot: usize, length: usize) -> &[u8] {
        if self.owners.get(slot) != Some(&Owner::Cpu) {
            return &[];
        }
        let at = self.region.slice().as_ptr().as_ptr();
        // SAFETY: the slot lies inside the region (checked in `new`), whose memory lives as long as `self`. The CPU owns
        // it: nothing is posted on it, so no adapter writes there (the region has no remote access), and a mutable borrow
        // would need `&mut self`.
        unsafe {
            std::slice::from_raw_parts(at.add(slot * self.size).cast_const(), length.min(self.size))
        }
    }

    /// The whole of a slot that the CPU owns, to be filled; empty if the adapter has it.
    pub fn bytes_mut(&mut self, slot: usize) -> &mut [u8] {
        if self.owners.get(slot) != Some(&Owner::Cpu) {
            return &mut [];
        }
        let at = self.region.slice().as_ptr().as_ptr();
        // SAFETY: as in `bytes`; the exclusive borrow of `self` keeps every other borrow of a slot away.
        unsafe { std::slice::from_raw_parts_mut(at.add(slot * self.size), self.size) }
    }

    /// A part of a slot that outlives this borrow, for the kernel to read from (immediate data on its way to a file).
    /// The caller keeps the slot to itself until the kernel is done with it.
    pub fn slice(&self, slot: usize, offset: usize, length: usize) -> Option<Slice> {
        if self.owners.get(slot) != Some(&Owner::Cpu) || offset.checked_add(length)? > self.size {
            return None;
        }
        let start = slot * self.size + offset;
        Slice::new(self.view.clone(), start..start + length).ok()
    }
}

/// Memory as those see it who may not write to it.
#[derive(Debug)]
struct ReadOnly(Arc<dyn Memory>);

// SAFETY: forwards to memory that keeps the contract; promising less (no writes) keeps it too. The Rust references that
// `Slots` makes into it are shared ones while a slice of the same slot is in use, which only reads.
unsafe impl Memory for ReadOnly {
    fn base(&self) -> NonNull<u8> {
        self.0.base()
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn writable(&self) -> bool {
        false
    }
}
