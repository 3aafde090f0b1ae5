//! Windows over a fake adapter, whose ledger knows what is registered and in use.

mod budget;
mod fake;
mod fillers;
mod lookup;
mod revoke;
mod stress;

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

use self::fake::{FakeAdapter, FakeSource, PAGE};
use super::*;
use crate as rdma;
use crate::fabric::{Adapter, Sge};

/// A window in these tests.
const WINDOW: u64 = 4 * PAGE;
const PATIENCE: Duration = Duration::from_secs(20);

/// One device on one adapter.
struct Rig {
    // The lease that a test still holds is declared after the rig, so it drops before.
    cache: Arc<WindowCache>,
    windows: DeviceWindows,
    source: Arc<FakeSource>,
    adapter: Arc<FakeAdapter>,
}

fn settings(budget_windows: u64) -> Settings {
    Settings {
        window_bytes: WINDOW,
        budget_bytes: budget_windows * WINDOW,
        backoff: Duration::from_millis(100),
        registrars: 1,
        ..Settings::default()
    }
}

impl Rig {
    fn new(size: u64, settings: Settings) -> Self {
        let service = WindowService::new(settings).unwrap();
        let source = FakeSource::new(size);
        let adapter = FakeAdapter::new("fake0");
        let windows = service.device(source.clone(), "disk0");
        let cache = windows.attach(&as_adapter(&adapter));
        adapter.ledger.registrations.store(0, SeqCst);
        source.populated.store(0, SeqCst);
        Self {
            cache,
            windows,
            source,
            adapter,
        }
    }

    /// A hit, or a miss that heats.
    fn acquire(&self, offset: u64, length: u64) -> Option<(Lease, Vec<Sge>)> {
        let mut sges = Vec::new();
        let lease = self.cache.acquire(offset, length as u32, &mut sges);
        assert!(lease.is_some() || sges.is_empty());
        lease.map(|lease| (lease, sges))
    }

    /// Touches a window until it is there: normally twice.
    fn warm(&self, window: u64) {
        eventually(|| {
            self.settle();
            self.acquire(window * WINDOW, 1).is_some()
        });
    }

    /// Waits until the registrars have done all that was asked of them so far.
    fn settle(&self) {
        eventually(|| self.windows.service().statistics().queued == 0);
    }
}

fn as_adapter(adapter: &Arc<FakeAdapter>) -> Arc<dyn Adapter> {
    // The same allocation each time, which is what identifies an adapter.
    adapter.clone()
}

#[track_caller]
fn eventually(mut condition: impl FnMut() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < give_up, "it never came");
        thread::sleep(Duration::from_millis(1));
    }
}
