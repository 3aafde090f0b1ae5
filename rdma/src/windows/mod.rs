//! Windows: aligned ranges of a device's page cache that stay registered with an adapter, so that a READ is RDMA-written
//! straight from the cached pages.
//!
//! - A registered page is pinned and resident, so a hit needs no check: [`WindowCache::acquire`] takes a few dozen
//!   instructions for each window.
//! - Registration is slow, so it happens on threads of the [`WindowService`], after a miss; meanwhile the range is served
//!   staged. The page is read in with real I/O first, so that a bad sector is an error of the staged read and never a signal.
//! - What is pinned is bounded by a budget for all devices. When it is used up, a window only makes way for a hotter one: pinning
//!   costs more than a few copies, so a scan over more than fits must not turn everything over.
//! - Whatever detaches pages from the file (punching holes, truncation, O_DIRECT writes) would leave a window with
//!   stale pages for ever. So it revokes the windows first: [`DeviceWindows::revoke`].
//!
//! Buffered writes to the file go to the very pages that are registered and need nothing.
//!
//! Threads, and what each may touch: the hot path touches `slot` alone. Registrars move a window from queued to ready,
//! and evict. The reaper ends what was revoked. The device's lock orders revocation against publication, see `device`.

mod budget;
mod cache;
mod device;
mod heat;
mod probe;
mod reaper;
mod registrar;
mod revoke;
mod service;
mod slot;
#[cfg(test)]
mod tests;
mod victims;

use std::fmt::Debug;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pagecast_memory::Memory;
use thiserror::Error;

pub use budget::{DefaultBudget, Limits, default_budget, read_limits};
pub use cache::{Lease, Statistics, WindowCache};
pub use device::DeviceWindows;
pub use probe::Mode;
pub use revoke::RevokedRange;
pub use service::{ServiceStatistics, Settings, WindowService};

/// The page cache of one store.
pub trait Source: Send + Sync + Debug {
    /// A shared mapping of the whole store, as large as the store is now. `writable` asks for one that may be written through as
    /// well; nobody will.
    fn memory(&self, writable: bool) -> io::Result<Arc<dyn Memory>>;

    /// Brings a range into the page cache with real I/O, so that what is wrong with it is an error here. Blocks.
    fn populate(&self, offset: u64, length: u64) -> io::Result<()>;

    /// Bytes in the store.
    fn size(&self) -> u64;
}

/// What can go wrong with the service as a whole. What goes wrong with a window only makes it staged.
#[derive(Debug, Error)]
pub enum WindowError {
    /// The settings make no sense.
    #[error("{0}")]
    Settings(&'static str),
    /// A thread could not be started.
    #[error("starting a window thread: {0}")]
    Thread(#[source] io::Error),
    /// The range was still in use when the time was over.
    #[error("windows are still in use")]
    RevokeTimeout,
}

/// Locks whether or not another thread panicked with the lock held: none of what is locked here is left half done.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
