//! Memory that stays where it is.
//!
//! An adapter that holds a registration, and a kernel that was handed a buffer, read and write memory behind the
//! compiler's back. [`Memory`] is the promise that such memory neither moves nor goes away while it is held, and
//! [`Slice`] is how the rest of pagecast passes parts of it around and copies in and out of it without ever making a
//! Rust reference to bytes that something else may be changing.
#![allow(unsafe_code)]

mod anonymous;
#[cfg(feature = "test-utils")]
mod counting;
mod slice;

use std::fmt::Debug;
use std::ptr::NonNull;

pub use anonymous::Anonymous;
#[cfg(feature = "test-utils")]
pub use counting::CountingAllocator;
pub use slice::{OutOfBounds, Slice};

/// A range of memory with a fixed address.
///
/// # Safety
///
/// For as long as the value lives, `base()..base() + len()` must be mapped, must not move, must be readable (a read of a
/// page that its file cannot back may still raise SIGBUS, so callers make mapped files resident first), and must be
/// writable when `writable()` says so. No Rust reference into the range may exist outside the implementation, because
/// adapters, kernels and other threads access it at any time.
#[expect(
    clippy::len_without_is_empty,
    reason = "an empty Memory cannot be made"
)]
pub unsafe trait Memory: Send + Sync + Debug {
    /// First byte of the range.
    fn base(&self) -> NonNull<u8>;
    /// Length in bytes, never zero.
    fn len(&self) -> usize;
    /// Whether the CPU and adapters may write here.
    fn writable(&self) -> bool;
}
