//! Registered memory as a type.

use std::fmt::Debug;
use std::sync::Arc;

use pagecast_memory::{Memory, Slice};

use crate::fabric::{RemoteBuffer, Sge};

/// Memory registered with one adapter.
///
/// The adapter may access it until the value is dropped; no later, because dropping deregisters first.
#[derive(Debug)]
pub struct Region {
    // Declared first, so dropped first: the adapter lets go of the pages before the memory can be unmapped.
    registration: Box<dyn Registration>,
    slice: Slice,
}

/// A provider's registration; dropping it deregisters.
pub trait Registration: Send + Sync + Debug {
    /// `lkey`
    fn local_key(&self) -> u32;
    /// `rkey`
    fn remote_key(&self) -> u32;
}

impl Region {
    /// For providers: joins a registration with the memory that it covers.
    pub fn new(registration: Box<dyn Registration>, slice: Slice) -> Self {
        Self {
            registration,
            slice,
        }
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.slice.len()
    }

    /// Whether it covers nothing.
    pub fn is_empty(&self) -> bool {
        self.slice.is_empty()
    }

    /// The registered memory.
    pub fn slice(&self) -> &Slice {
        &self.slice
    }

    /// Shared ownership of the memory under the registration.
    pub fn memory(&self) -> &Arc<dyn Memory> {
        self.slice.memory()
    }

    /// Names a part for a work request, or `None` if it does not lie inside.
    pub fn sge(&self, offset: usize, length: usize) -> Option<Sge> {
        let end = offset.checked_add(length)?;
        if end > self.slice.len() {
            return None;
        }
        Some(Sge {
            address: self.slice.as_ptr().as_ptr() as u64 + offset as u64,
            length: u32::try_from(length).ok()?,
            key: self.registration.local_key(),
        })
    }

    /// Describes a part to the peer, or `None` if it does not lie inside. For initiators; a target never does.
    pub fn remote(&self, offset: usize, length: usize) -> Option<RemoteBuffer> {
        let sge = self.sge(offset, length)?;
        Some(RemoteBuffer {
            address: sge.address,
            key: self.registration.remote_key(),
            length: sge.length,
        })
    }
}
