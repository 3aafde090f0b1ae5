//! Neither a hit nor a miss of a window allocates, nor does the end of a lease.
#![allow(unsafe_code)]

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use pagecast_memory::CountingAllocator;
use pagecast_rdma as rdma;
use rdma::fabric::Adapter;
use rdma::windows::{Settings, WindowService};

#[path = "../src/windows/tests/fake.rs"]
#[allow(dead_code)]
mod fake;

use fake::{FakeAdapter, FakeSource, PAGE};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[test]
fn acquiring_and_releasing_allocates_nothing() {
    const WINDOW: u64 = 4 * PAGE;
    let service = WindowService::new(Settings {
        window_bytes: WINDOW,
        budget_bytes: 64 * WINDOW,
        ..Settings::default()
    })
    .unwrap();
    let adapter: Arc<dyn Adapter> = FakeAdapter::new("fake0");
    let windows = service.device(FakeSource::new(4096 * WINDOW), "disk0");
    let cache = windows.attach(&adapter);
    let mut sges = Vec::with_capacity(16);

    let acquire = |offset, length, sges: &mut Vec<_>| {
        sges.clear();
        let before = CountingAllocator::allocations();
        let lease = cache.acquire(offset, length, sges);
        let hit = lease.is_some();
        drop(lease);
        (hit, CountingAllocator::allocations() - before)
    };

    // The first miss ever, of slots that are not there; then misses of windows that are on their way or cannot be had.
    for offset in [0, WINDOW, 0, 1000 * WINDOW, 4095 * WINDOW, u64::MAX / 2] {
        let (_, allocations) = acquire(offset, 4096, &mut sges);
        assert_eq!(allocations, 0, "miss at {offset}");
    }
    let give_up = Instant::now() + Duration::from_secs(20);
    while !acquire(WINDOW / 2, 2 * WINDOW as u32, &mut sges).0 {
        assert!(Instant::now() < give_up, "it never came");
        thread::sleep(Duration::from_millis(1));
    }
    for _ in 0..1000 {
        assert_eq!(acquire(512, 4096, &mut sges), (true, 0));
        assert_eq!(acquire(WINDOW / 2, 2 * WINDOW as u32, &mut sges), (true, 0));
        assert_eq!(sges.len(), 3);
    }
    assert_ne!(CountingAllocator::allocations(), 0, "the counter counts");
}
