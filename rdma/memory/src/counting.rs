//! An allocator that counts what each thread asks of it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, and a count for each thread. Make it the `#[global_allocator]` of a test or benchmark.
#[derive(Debug)]
pub struct CountingAllocator;

impl CountingAllocator {
    /// Allocations and reallocations of this thread so far.
    pub fn allocations() -> u64 {
        ALLOCATIONS.get()
    }
}

fn count() {
    // The thread-local has no destructor, so it can be reached until the thread is gone.
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
}

// SAFETY: forwards to the system's allocator, and counts in a thread-local that neither allocates nor has a destructor.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}
