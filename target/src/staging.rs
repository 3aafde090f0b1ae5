//! Staging buffers: registered memory through which data moves when no window serves.
//!
//! One pool per shard and adapter, of equal chunks in one registration that is made when the adapter is found. A command takes
//! all the chunks it needs at once or waits; who waits is the shard's business. One chunk is kept for what must not wait behind
//! data: Connect, parameter lists, and replies that are no blocks.

use std::sync::Arc;

use pagecast_memory::{Anonymous, Memory, Slice};
use pagecast_rdma::fabric::{Access, Adapter, FabricError, Sge};
use pagecast_rdma::region::Region;

/// Bytes in a chunk: small enough that 4 KiB commands do not waste much, large enough that 1 MiB is a short list.
pub const CHUNK: usize = 64 * 1024;

/// A chunk of a [`StagingPool`], by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk(u32);

/// Equal registered chunks.
#[derive(Debug)]
pub struct StagingPool {
    region: Region,
    free: Vec<Chunk>,
    total: usize,
    /// The last chunk, which data leave alone, while it is free.
    reserve: Option<Chunk>,
    reserved: usize,
}

impl StagingPool {
    /// Allocates and registers `bytes`, rounded down to whole chunks and at least one.
    pub fn allocate(adapter: &dyn Adapter, bytes: usize) -> Result<Self, FabricError> {
        let total = (bytes / CHUNK).max(1);
        let memory: Arc<dyn Memory> = Arc::new(Anonymous::new(total * CHUNK).map_err(
            |source| FabricError::Call {
                call: "mmap",
                source,
            },
        )?);
        let reserved = usize::from(total >= 3);
        Ok(Self {
            region: adapter.register(memory, 0..total * CHUNK, Access::LOCAL_WRITE)?,
            free: (0..(total - reserved) as u32).rev().map(Chunk).collect(),
            reserve: (reserved > 0).then_some(Chunk(total as u32 - 1)),
            total,
            reserved,
        })
    }

    /// Chunks that `bytes` need.
    pub fn chunks_for(bytes: usize) -> usize {
        bytes.div_ceil(CHUNK)
    }

    /// Most bytes of data that one command can ever get.
    pub fn capacity(&self) -> usize {
        (self.total - self.reserved) * CHUNK
    }

    /// Bytes that there are, in use or not.
    pub fn size(&self) -> usize {
        self.total * CHUNK
    }

    /// Bytes that are in use.
    pub fn used(&self) -> usize {
        (self.total - self.free.len() - usize::from(self.reserve.is_some())) * CHUNK
    }

    /// Takes chunks for `bytes` of data into `into`, all or none.
    pub fn take(&mut self, bytes: usize, into: &mut Vec<Chunk>) -> bool {
        let need = Self::chunks_for(bytes);
        if need > self.free.len() {
            return false;
        }
        let rest = self.free.len() - need;
        into.extend(self.free.drain(rest..));
        true
    }

    /// Takes the chunk that data leave alone, for what is short and must not wait behind them.
    pub fn take_reserved(&mut self, bytes: usize, into: &mut Vec<Chunk>) -> bool {
        if bytes > CHUNK {
            return false;
        }
        let reserve = self.reserve.take();
        into.extend(reserve);
        reserve.is_some()
    }

    /// Gives chunks back.
    pub fn give_back(&mut self, chunks: &mut Vec<Chunk>) {
        for chunk in chunks.drain(..) {
            if self.reserved > 0 && chunk.0 as usize + 1 == self.total {
                self.reserve = Some(chunk);
            } else {
                self.free.push(chunk);
            }
        }
    }

    /// Names the first `length` bytes of a chunk for a work request.
    pub fn sge(&self, chunk: Chunk, offset: usize, length: usize) -> Option<Sge> {
        if offset.checked_add(length)? > CHUNK {
            return None;
        }
        self.region.sge(chunk.0 as usize * CHUNK + offset, length)
    }

    /// The first `length` bytes of a chunk, for the backend or the CPU.
    pub fn slice(&self, chunk: Chunk, length: usize) -> Option<Slice> {
        if length > CHUNK {
            return None;
        }
        let start = chunk.0 as usize * CHUNK;
        self.region.slice().part(start..start + length).ok()
    }

    /// Slices of `chunks` that add up to `bytes`, appended to `into`.
    pub fn slices(&self, chunks: &[Chunk], bytes: usize, into: &mut Vec<Slice>) {
        let mut left = bytes;
        for &chunk in chunks {
            let length = left.min(CHUNK);
            if length == 0 {
                break;
            }
            into.extend(self.slice(chunk, length));
            left -= length;
        }
    }
}

#[cfg(test)]
mod tests {
    use pagecast_rdma::local::LocalAdapter;

    use super::*;

    #[test]
    fn data_leave_a_chunk_for_what_must_not_wait() {
        let adapter = LocalAdapter::new().expect("no adapter is needed");
        let mut pool = StagingPool::allocate(&adapter, 4 * CHUNK).expect("memory");
        assert_eq!(pool.capacity(), 3 * CHUNK);
        let (mut data, mut short) = (Vec::new(), Vec::new());
        assert!(!pool.take(3 * CHUNK + 1, &mut data));
        assert!(pool.take(3 * CHUNK, &mut data));
        assert!(!pool.take(1, &mut data));
        assert!(!pool.take_reserved(CHUNK + 1, &mut short));
        assert!(pool.take_reserved(1024, &mut short));
        assert!(!pool.take_reserved(1024, &mut short));
        assert_eq!(pool.used(), 4 * CHUNK);
        pool.give_back(&mut short);
        assert!(!pool.take(1, &mut data));
        assert!(pool.take_reserved(CHUNK, &mut short));
        pool.give_back(&mut data);
        pool.give_back(&mut short);
        assert_eq!(pool.used(), 0);
        assert!(pool.take(3 * CHUNK, &mut data));
    }
}
