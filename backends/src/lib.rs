//! Backing stores.
//!
//! A [`Backend`] is what a device keeps its blocks in; an [`IoQueue`] executes [`Operation`]s on backends for one shard,
//! by io_uring where the kernel allows it, by a pool of threads elsewhere. A backend whose bytes can be mapped offers a
//! [`PageCache`], from which the zero-copy path registers windows.
//!
//! [`send`] is for protocols that send what was read: it gathers [`pagecast_memory::Slice`]s into messages.
//!
//! `unsafe` is allowed here for the mapping of files and for handing buffers to the kernel.
#![allow(unsafe_code)]

mod admission;
mod backend;
mod completions;
mod descriptor;
mod engine;
mod errno;
mod extents;
mod file;
mod holder;
mod mapping;
mod open;
mod place;
mod send;
mod slots;
mod survey;
#[cfg(any(test, feature = "test-utils"))]
pub mod testing;
mod threads;
mod uring;
mod vectors;
mod write_back;

pub use backend::{
    Backend, BackendError, Done, IoQueue, Operation, PageCache, Properties, StoredExtent, Token,
    Usage,
};
pub use engine::{Choice, Engine, EngineError, io_queue};
pub use file::{FileBackend, MemoryBackend};
pub use open::{FileOptions, OpenError, present_size};
pub use place::{Misplaced, Place};
pub use send::{Piece, send};
pub use threads::{ThreadPool, ThreadQueue};
pub use uring::{UringError, UringQueue};
