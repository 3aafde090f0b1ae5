//! Anonymous, zeroed, page-aligned memory.

use std::io;
use std::ptr::NonNull;

use memmap2::{MmapOptions, MmapRaw};

use crate::Memory;

/// A private anonymous mapping: zeroed, page aligned, writable, released on drop.
#[derive(Debug)]
pub struct Anonymous {
    map: MmapRaw,
    base: NonNull<u8>,
}

impl Anonymous {
    /// Maps `len` bytes.
    pub fn new(len: usize) -> io::Result<Self> {
        let map = MmapRaw::from(MmapOptions::new().len(len).map_anon()?);
        let base = NonNull::new(map.as_mut_ptr())
            .ok_or_else(|| io::Error::new(io::ErrorKind::OutOfMemory, "mapping at address zero"))?;
        Ok(Self { map, base })
    }
}

// SAFETY: the mapping is made once, owned by `map`, and unmapped only when `self` drops. `MmapRaw` never hands out
// references, only pointers. Anonymous private memory is readable and writable at any time.
unsafe impl Memory for Anonymous {
    fn base(&self) -> NonNull<u8> {
        self.base
    }

    fn len(&self) -> usize {
        self.map.len()
    }

    fn writable(&self) -> bool {
        true
    }
}

// SAFETY: the pointer in `base` is into memory that `map` owns, which is itself `Send + Sync`; all access goes through
// raw copies.
unsafe impl Send for Anonymous {}
// SAFETY: as above.
unsafe impl Sync for Anonymous {}
