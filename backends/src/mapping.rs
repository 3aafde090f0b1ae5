//! The page cache of a store as memory.

use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use memmap2::{Advice as MapAdvice, MmapOptions, MmapRaw};
use pagecast_memory::{Anonymous, Memory, Slice};
use rustix::fs::Advice;
use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd};

use crate::errno::from_errno;
use crate::open::Store;
use crate::vectors::Vectors;
use crate::{BackendError, Operation, PageCache, descriptor};

/// The kernel cuts one advice to read ahead down to the read-ahead size of the store, whose default is this.
const READAHEAD_STEP: u64 = 128 * 1024;
const SCRATCH: usize = 256 * 1024;

/// A store that can be mapped, and the mappings that were asked for so far.
///
/// A mapping covers what the store had when it was made; when the store has grown, a longer one takes its place, and whoever
/// has the old one keeps it. The CPU never touches mapped bytes here: a page that the file
/// cannot back any more would be a signal instead of an error.
#[derive(Debug)]
pub(crate) struct MappedStore {
    store: Arc<Store>,
    read_only: bool,
    mappings: Mutex<Mappings>,
}

#[derive(Debug, Default)]
struct Mappings {
    readable: Option<Arc<Mapping>>,
    writable: Option<Arc<Mapping>>,
}

impl MappedStore {
    pub(crate) fn new(store: Arc<Store>, read_only: bool) -> Self {
        Self {
            store,
            read_only,
            mappings: Mutex::default(),
        }
    }

    fn mapping(&self, writable: bool) -> Result<Arc<Mapping>, BackendError> {
        if writable && self.read_only {
            return Err(BackendError::ReadOnly);
        }
        let mut mappings = self.mappings.lock().unwrap_or_else(PoisonError::into_inner);
        let place = if writable {
            &mut mappings.writable
        } else {
            &mut mappings.readable
        };
        let size = self.store.size().map_err(failed)?;
        if let Some(mapping) = place
            && mapping.len() as u64 >= size
        {
            return Ok(Arc::clone(mapping));
        }
        let mapping = Arc::new(Mapping::new(&self.store, size, writable)?);
        *place = Some(Arc::clone(&mapping));
        Ok(mapping)
    }

    /// Starts reading what is not there yet, the whole range at once rather than page fault by page fault. Only advice:
    /// what goes wrong shows when the pages are wanted.
    pub(crate) fn read_ahead(&self, offset: u64, length: u64) {
        for done in (0..length).step_by(READAHEAD_STEP as usize) {
            let step = std::num::NonZeroU64::new(READAHEAD_STEP.min(length - done));
            let _ = rustix::fs::fadvise(self.store.as_fd(), offset + done, step, Advice::WillNeed);
        }
    }

    /// Brings the range in by reading it, which also finds out what is wrong with it.
    fn read_through(&self, offset: u64, length: u64) -> Result<(), BackendError> {
        let failed = |errno| BackendError::Failed(Errno::raw_os_error(errno));
        let scratch = Anonymous::new(SCRATCH).map_err(|_| failed(Errno::NOMEM))?;
        let buffer = [Slice::whole(Arc::new(scratch))];
        let mut vectors = Vectors::default();
        let end = offset + length;
        let mut at = offset;
        while at < end {
            vectors.set(&buffer);
            // SAFETY: `vectors` point into `buffer`, which lives on and is writable anonymous memory of our own.
            match unsafe { descriptor::read(self.store.as_fd(), &vectors, at) } {
                Ok(0) => return Err(BackendError::PastEnd),
                Ok(bytes) => at += bytes as u64,
                Err(Errno::INTR) => {}
                Err(errno) => {
                    let read = Operation::Read {
                        offset,
                        buffers: Vec::new(),
                    };
                    return Err(from_errno(&read, errno));
                }
            }
        }
        Ok(())
    }
}

impl PageCache for MappedStore {
    fn memory(&self, writable: bool) -> Result<Arc<dyn Memory>, BackendError> {
        Ok(self.mapping(writable)?)
    }

    fn populate(&self, offset: u64, length: u64) -> Result<(), BackendError> {
        let end = offset.checked_add(length).ok_or(BackendError::PastEnd)?;
        if end > self.store.size().map_err(failed)? {
            return Err(BackendError::PastEnd);
        }
        if length == 0 {
            return Ok(());
        }
        self.read_ahead(offset, length);
        let mapping = self.mapping(false)?;
        if end > mapping.len() as u64 {
            // It was cut off since.
            return Err(BackendError::PastEnd);
        }
        match mapping.populate(offset, length) {
            Ok(()) => return Ok(()),
            // EINVAL: the kernel is older than 5.14. Everything else is a failed fault, which says nothing about why.
            // Reading the same range does, and it may even succeed if the trouble has passed.
            Err(errno) => {
                self.read_through(offset, length)?;
                if errno == Errno::INVAL {
                    return Ok(());
                }
            }
        }
        mapping.populate(offset, length).map_err(|errno| {
            if self.store.size().is_ok_and(|size| end > size) {
                return BackendError::PastEnd;
            }
            match errno {
                Errno::NOMEM | Errno::AGAIN | Errno::INTR => failed(errno),
                _ => BackendError::Medium(libc::EIO),
            }
        })
    }
}

fn failed(errno: Errno) -> BackendError {
    BackendError::Failed(errno.raw_os_error())
}

/// One shared mapping of a store. It keeps the store open, and with it the lock.
#[derive(Debug)]
struct Mapping {
    map: MmapRaw,
    base: NonNull<u8>,
    writable: bool,
    _store: Arc<Store>,
}

impl Mapping {
    fn new(store: &Arc<Store>, size: u64, writable: bool) -> Result<Self, BackendError> {
        let mut options = MmapOptions::new();
        options.len(usize::try_from(size).map_err(|_| failed(Errno::FBIG))?);
        let fd = store.as_fd().as_raw_fd();
        let map = if writable {
            options.map_raw(fd)
        } else {
            options.map_raw_read_only(fd)
        };
        let map = map.map_err(|error| failed(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        let base = NonNull::new(map.as_mut_ptr()).ok_or_else(|| failed(Errno::NOMEM))?;
        Ok(Self {
            map,
            base,
            writable,
            _store: Arc::clone(store),
        })
    }

    /// Faults a range in for reading (MADV_POPULATE_READ). The range was checked to lie in the mapping.
    fn populate(&self, offset: u64, length: u64) -> Result<(), Errno> {
        let offset = usize::try_from(offset).map_err(|_| Errno::INVAL)?;
        let length = usize::try_from(length).map_err(|_| Errno::INVAL)?;
        self.map
            .advise_range(MapAdvice::PopulateRead, offset, length)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }
}

// SAFETY: the mapping is made once, owned by `map`, and unmapped only when `self` drops; `MmapRaw` hands out no
// references. It was made with the protection that `writable` reports. Pages that the file cannot back may raise SIGBUS,
// which the trait allows and `populate` is there to prevent.
unsafe impl Memory for Mapping {
    fn base(&self) -> NonNull<u8> {
        self.base
    }

    fn len(&self) -> usize {
        self.map.len()
    }

    fn writable(&self) -> bool {
        self.writable
    }
}

// SAFETY: `base` points into memory that `map` owns, which is itself `Send + Sync`; all access goes through raw copies.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}
