//! Regular files, block devices and memory, all through the page cache.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pagecast_memory::{Anonymous, Slice};
use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use rustix::pipe::{SpliceFlags, splice};

use crate::admission::{admit, end_of};
use crate::errno::from_errno;
use crate::mapping::MappedStore;
use crate::open::{Kind, Store};
use crate::survey::{granule, survey};
use crate::vectors::Vectors;
use crate::write_back::WriteBack;
use crate::{
    Backend, BackendError, FileOptions, OpenError, Operation, PageCache, Properties, Usage,
    descriptor, extents,
};

const ZEROS: usize = 1024 * 1024;

/// Bytes that one prefetch asks for at most: more would only push out what it brought in itself.
const PREFETCH_MAX: u64 = 64 << 20;

/// A regular file, a block device or anonymous memory.
///
/// It is opened once and locked for as long as it, or any memory from its [`PageCache`], lives. All reads and writes go
/// through the page cache, so that they agree with the mapping. Discards and write-zeroes may detach pages from the file:
/// whoever has registered the range with an adapter must give that up first.
#[derive(Debug)]
pub struct FileBackend {
    store: Arc<Store>,
    properties: Properties,
    granule: u64,
    zero_range: AtomicBool,
    write_back: WriteBack,
    mapped: Arc<MappedStore>,
}

/// A device without a file behind it, whose bytes are gone when it closes.
#[derive(Debug)]
pub enum MemoryBackend {}

impl MemoryBackend {
    /// Makes a store of `size` zeroed bytes (a multiple of 512). Memory is used as it is written.
    pub fn create(size: u64) -> Result<FileBackend, OpenError> {
        let failed = |errno: Errno| OpenError::Memory {
            size,
            source: errno.into(),
        };
        FileBackend::new(Store::in_memory(size)?, false).map_err(failed)
    }
}

impl FileBackend {
    /// Opens and locks a regular file or block device.
    pub fn open(options: &FileOptions) -> Result<Self, OpenError> {
        Self::new(Store::open(options)?, options.read_only).map_err(|errno| OpenError::Io {
            path: options.path.clone(),
            source: errno.into(),
        })
    }

    fn new(store: Store, read_only: bool) -> Result<Self, Errno> {
        let properties = survey(&store, read_only)?;
        let store = Arc::new(store);
        Ok(Self {
            granule: granule(&store),
            zero_range: AtomicBool::new(true),
            write_back: WriteBack::default(),
            mapped: Arc::new(MappedStore::new(Arc::clone(&store), read_only)),
            properties,
            store,
        })
    }

    fn perform(&self, operation: &Operation) -> Result<(), BackendError> {
        let done = match operation {
            Operation::Read { offset, buffers } => return self.read(operation, *offset, buffers),
            Operation::Write {
                offset,
                buffers,
                durable,
            } => self.write(*offset, buffers, *durable),
            Operation::Flush => uninterrupted(|| rustix::fs::fdatasync(self.store.as_fd())),
            Operation::Discard { offset, length } => self.discard(*offset, *length),
            Operation::WriteZeroes {
                offset,
                length,
                durable,
            } => self.write_zeroes(*offset, *length, *durable),
            Operation::Splice {
                offset,
                length,
                pipe,
            } => return self.splice(operation, *offset, *length, pipe.as_fd()),
            Operation::Prefetch { offset, length } => {
                let length = (*length).min(PREFETCH_MAX);
                self.mapped.read_ahead(*offset, length);
                return Ok(());
            }
            Operation::Extents {
                offset,
                length,
                most,
                found,
            } => extents::find(&self.store, *offset, *length, *most).map(|extents| {
                // Nobody else fills it.
                let _ = found.set(extents);
            }),
        };
        done.map_err(|errno| from_errno(operation, errno))
    }

    fn read(
        &self,
        operation: &Operation,
        offset: u64,
        buffers: &[Slice],
    ) -> Result<(), BackendError> {
        let mut vectors = Vectors::default();
        vectors.set(buffers);
        while !vectors.is_done() {
            let at = offset + vectors.transferred();
            // SAFETY: `buffers` keep the memory mapped, `admit` saw that it is writable, and `Memory` allows no references
            // into it.
            match unsafe { descriptor::read(self.store.as_fd(), &vectors, at) } {
                Ok(0) => return Err(BackendError::PastEnd),
                Ok(bytes) => vectors.advance(bytes),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(from_errno(operation, errno)),
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, buffers: &[Slice], durable: bool) -> Result<(), Errno> {
        let mut vectors = Vectors::default();
        vectors.set(buffers);
        while !vectors.is_done() {
            let at = offset + vectors.transferred();
            // SAFETY: `buffers` keep the memory mapped and readable.
            match unsafe { descriptor::write(self.store.as_fd(), &vectors, at, durable) } {
                Ok(0) => return Err(Errno::IO),
                Ok(bytes) => vectors.advance(bytes),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    fn splice(
        &self,
        operation: &Operation,
        offset: u64,
        length: u64,
        pipe: BorrowedFd<'_>,
    ) -> Result<(), BackendError> {
        let mut at = offset;
        let end = offset + length;
        while at < end {
            let left = usize::try_from(end - at).unwrap_or(usize::MAX);
            // Not waiting concerns the pipe alone, which nobody may be emptying. The store is waited for.
            let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
            let mut from = at;
            match splice(self.store.as_fd(), Some(&mut from), pipe, None, left, flags) {
                Ok(0) => return Err(BackendError::PastEnd),
                Ok(bytes) => at += bytes as u64,
                Err(Errno::INTR) => {}
                // What a file system says that cannot splice.
                Err(Errno::INVAL) => return Err(BackendError::Unsupported),
                Err(errno) => return Err(from_errno(operation, errno)),
            }
        }
        Ok(())
    }

    fn discard(&self, offset: u64, length: u64) -> Result<(), Errno> {
        if length == 0 {
            return Ok(());
        }
        match self.store.kind() {
            Kind::File | Kind::Memory => self.punch(offset, length),
            Kind::BlockDevice => {
                // A discard is a hint here: what does not fill a logical block stays.
                let start = offset.next_multiple_of(self.granule);
                let end = (offset + length) / self.granule * self.granule;
                if start >= end {
                    return Ok(());
                }
                uninterrupted(|| {
                    descriptor::block_device_discard(self.store.as_fd(), start, end - start)
                })
            }
        }
    }

    fn write_zeroes(&self, offset: u64, length: u64, durable: bool) -> Result<(), Errno> {
        if length == 0 {
            return Ok(());
        }
        match self.zero_without_writing(offset, length) {
            Ok(()) if durable => uninterrupted(|| rustix::fs::fdatasync(self.store.as_fd())),
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP | Errno::INVAL) => self.write_zero_bytes(offset, length, durable),
            Err(errno) => Err(errno),
        }
    }

    /// The quick ways: an allocated range of zeros, or a hole where the file system has no such thing.
    fn zero_without_writing(&self, offset: u64, length: u64) -> Result<(), Errno> {
        if !offset.is_multiple_of(self.granule) || !length.is_multiple_of(self.granule) {
            return Err(Errno::INVAL);
        }
        // Trying is the only way to find out that does not allocate anything, so the answer is kept.
        if self.zero_range.load(Ordering::Relaxed) {
            let flags = FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE;
            let fd = self.store.as_fd();
            match uninterrupted(|| rustix::fs::fallocate(fd, flags, offset, length)) {
                Err(Errno::OPNOTSUPP) => self.zero_range.store(false, Ordering::Relaxed),
                result => return result,
            }
        }
        if self.properties.discard_zeroes {
            return self.punch(offset, length);
        }
        Err(Errno::OPNOTSUPP)
    }

    fn write_zero_bytes(&self, offset: u64, length: u64, durable: bool) -> Result<(), Errno> {
        let size = usize::try_from(length).map_or(ZEROS, |length| length.min(ZEROS));
        let zeros = Anonymous::new(size).map_err(|_| Errno::NOMEM)?;
        let zeros = Slice::whole(Arc::new(zeros));
        let mut at = offset;
        let end = offset + length;
        while at < end {
            let size = usize::try_from(end - at).map_or(zeros.len(), |left| left.min(zeros.len()));
            let part = zeros.part(0..size).map_err(|_| Errno::INVAL)?;
            self.write(at, &[part], false)?;
            at += size as u64;
        }
        if durable {
            uninterrupted(|| rustix::fs::fdatasync(self.store.as_fd()))?;
        }
        Ok(())
    }

    fn punch(&self, offset: u64, length: u64) -> Result<(), Errno> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        uninterrupted(|| rustix::fs::fallocate(self.store.as_fd(), flags, offset, length))
    }

    /// A store that shrank or went away under an operation reports that in many ways; they all mean the same.
    fn past_end_if_so(&self, operation: &Operation, error: BackendError) -> BackendError {
        let end = end_of(operation).unwrap_or(u64::MAX);
        match self.store.size() {
            Ok(size) if end > size => BackendError::PastEnd,
            _ => error,
        }
    }
}

impl Backend for FileBackend {
    fn properties(&self) -> &Properties {
        &self.properties
    }

    fn current_size(&self) -> Result<u64, BackendError> {
        let failed = |errno| BackendError::Failed(Errno::raw_os_error(errno));
        self.store.size().map_err(failed)
    }

    fn set_size(&self, size: u64) -> Result<(), BackendError> {
        if self.properties.read_only {
            return Err(BackendError::ReadOnly);
        }
        // Errors mean what they do to any other change.
        let set = uninterrupted(|| self.store.set_size(size));
        set.map_err(|errno| from_errno(&Operation::Flush, errno))
    }

    fn usage(&self) -> Option<Usage> {
        self.store.usage().ok()
    }

    fn execute(&self, operation: &Operation) -> Result<(), BackendError> {
        admit(self, operation)?;
        let mark = self.mark();
        self.settle(operation, mark, self.perform(operation))
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.store.as_fd())
    }

    fn mark(&self) -> u64 {
        self.write_back.mark()
    }

    fn settle(
        &self,
        operation: &Operation,
        mark: u64,
        result: Result<(), BackendError>,
    ) -> Result<(), BackendError> {
        let result = result.map_err(|error| self.past_end_if_so(operation, error));
        self.write_back.settle(operation, mark, result)
    }

    fn page_cache(&self) -> Option<Arc<dyn PageCache>> {
        Some(Arc::clone(&self.mapped) as Arc<dyn PageCache>)
    }
}

fn uninterrupted(call: impl Fn() -> Result<(), Errno>) -> Result<(), Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}
