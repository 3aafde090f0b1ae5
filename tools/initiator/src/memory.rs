//! Memory that the target reads and writes.

use std::sync::Arc;

use pagecast_memory::{Anonymous, Memory, OutOfBounds};
use pagecast_rdma::fabric::{Access, Adapter, FabricError, RemoteBuffer};
use pagecast_rdma::region::Region;

/// Zeroed memory, registered so that the peer may read and write it. A clone is the same memory.
#[derive(Clone, Debug)]
pub struct Buffer {
    region: Arc<Region>,
}

/// A part of a [`Buffer`] as a command describes it to the target.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Where the bytes are.
    pub buffer: Buffer,
    /// Where in the buffer they start.
    pub offset: usize,
    /// What the target is told. True at first; tests may lie here.
    pub remote: RemoteBuffer,
}

impl Buffer {
    /// Allocates and registers `length` bytes.
    pub fn allocate(adapter: &dyn Adapter, length: usize) -> Result<Self, FabricError> {
        let memory = Anonymous::new(length).map_err(|source| FabricError::Call {
            call: "mmap",
            source,
        })?;
        Self::register(adapter, Arc::new(memory))
    }

    /// Registers all of `memory`.
    pub fn register(adapter: &dyn Adapter, memory: Arc<dyn Memory>) -> Result<Self, FabricError> {
        let range = 0..memory.len();
        let access = Access {
            local_write: true,
            remote_read: true,
            remote_write: true,
            on_demand: false,
        };
        Ok(Self {
            region: Arc::new(adapter.register(memory, range, access)?),
        })
    }

    /// Bytes in it.
    pub fn length(&self) -> usize {
        self.region.len()
    }

    /// Copies out `length` bytes from `offset`.
    pub fn read(&self, offset: usize, length: usize) -> Result<Vec<u8>, OutOfBounds> {
        let mut bytes = vec![0; length];
        self.region.slice().read(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// Copies `bytes` in at `offset`.
    pub fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), OutOfBounds> {
        self.region.slice().write(offset, bytes)
    }

    /// Sets every byte.
    pub fn fill(&self, value: u8) -> Result<(), OutOfBounds> {
        self.region.slice().fill(value)
    }

    /// Describes a part.
    pub fn piece(&self, offset: usize, length: usize) -> Result<Piece, OutOfBounds> {
        Ok(Piece {
            buffer: self.clone(),
            offset,
            remote: self.region.remote(offset, length).ok_or(OutOfBounds)?,
        })
    }

    /// All of it, in one piece.
    pub fn whole(&self) -> Result<Vec<Piece>, OutOfBounds> {
        Ok(vec![self.piece(0, self.length())?])
    }

    /// All of it, in pieces of `size` bytes (the last may be shorter).
    pub fn pieces(&self, size: usize) -> Result<Vec<Piece>, OutOfBounds> {
        let size = size.max(1);
        (0..self.length())
            .step_by(size)
            .map(|at| self.piece(at, size.min(self.length() - at)))
            .collect()
    }
}
