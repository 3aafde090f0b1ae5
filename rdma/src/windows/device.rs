//! All windows of one device: one cache for each adapter that serves it, and what holds for all of them.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::cache::{Statistics, WindowCache};
use super::probe::probe;
use super::registrar::Miss;
use super::revoke::{Drain, RevokedRange};
use super::service::{QUEUE, Shared, WindowService};
use super::{Source, WindowError, locked};
use crate::fabric::Adapter;

/// The windows of one device on all adapters that serve it. Dropping it closes them: nothing is handed out any more, and
/// they are deregistered in the background as their leases end.
#[derive(Debug)]
pub struct DeviceWindows {
    device: Arc<Device>,
    source: Arc<dyn Source>,
    // Keeps the workers alive as long as there is something for them to do.
    service: Arc<WindowService>,
}

/// What the caches of a device, the workers and revocations share.
#[derive(Debug)]
pub(super) struct Device {
    name: String,
    window_shift: u32,
    shared: Arc<Shared>,
    control: Mutex<Control>,
    filling: Mutex<Filling>,
}

/// The registrars that are at a device, and what they put back in the queue when they are done.
#[derive(Debug, Default)]
struct Filling {
    registrars: usize,
    /// A cycle with the caches' `device`: none of it is of a closed cache.
    waiting: VecDeque<Miss>,
}

/// Under the lock that orders revocations and publications: a window is made ready with the lock held and only if no block is on
/// it; a revocation puts its block up and retires what is ready with the lock held. So no window slips through.
#[derive(Debug)]
struct Control {
    /// A cycle with the caches' `device`, broken when a cache is closed, which dropping the `DeviceWindows` does at the latest.
    caches: Vec<Arc<WindowCache>>,
    blocks: Vec<Block>,
    next_block: u64,
    /// Nothing is registered from here on.
    size: u64,
    /// What closed caches had counted.
    past: Statistics,
}

/// A revoked range of windows, both ends included.
#[derive(Debug)]
struct Block {
    id: u64,
    first: u64,
    last: u64,
}

impl DeviceWindows {
    pub(super) fn new(service: Arc<WindowService>, source: Arc<dyn Source>, name: &str) -> Self {
        let shared = Arc::clone(service.shared());
        let device = Arc::new(Device {
            name: name.to_owned(),
            window_shift: shared.window_shift(),
            control: Mutex::new(Control {
                caches: Vec::new(),
                blocks: Vec::new(),
                next_block: 0,
                size: source.size(),
                past: Statistics::default(),
            }),
            filling: Mutex::default(),
            shared,
        });
        Self {
            device,
            source,
            service,
        }
    }

    /// The cache for `adapter`; made, after a short probe of what works, if there is none. Blocks for about a page read then.
    pub fn attach(&self, adapter: &Arc<dyn Adapter>) -> Arc<WindowCache> {
        if let Some(cache) = self.cache(adapter) {
            return cache;
        }
        let mode = probe(&*self.source, adapter, self.device.shared.page_bytes());
        tracing::info!(device = self.device.name, adapter = adapter.name(), %mode, "page-cache windows");
        let cache = Arc::new(WindowCache::new(
            Arc::clone(&self.device),
            Arc::clone(&self.device.shared),
            Arc::clone(&self.source),
            Arc::clone(adapter),
            mode,
        ));
        let mut control = locked(&self.device.control);
        if let Some(other) = find(&control.caches, adapter) {
            return Arc::clone(other);
        }
        control.caches.push(Arc::clone(&cache));
        cache
    }

    /// The cache for `adapter`, if there is one.
    pub fn cache(&self, adapter: &Arc<dyn Adapter>) -> Option<Arc<WindowCache>> {
        find(&locked(&self.device.control).caches, adapter).cloned()
    }

    /// The adapters that there are caches for.
    pub fn adapters(&self) -> Vec<Arc<dyn Adapter>> {
        let control = locked(&self.device.control);
        let adapters = control.caches.iter().map(|cache| cache.adapter());
        adapters.cloned().collect()
    }

    /// Closes the cache for `adapter`. `on_closed` runs on a worker once nothing of it is registered any more.
    pub fn detach(&self, adapter: &Arc<dyn Adapter>, on_closed: Box<dyn FnOnce() + Send>) {
        let cache = self.cache(adapter);
        self.device.close(cache, on_closed);
    }

    /// Takes the windows under `range` (bytes) away, on all adapters: none is handed out from now on. When no lease is left
    /// and all are deregistered, `on_drained` gets the range, on a worker thread: it must not block. Nothing is registered in
    /// the range until the [`RevokedRange`] is dropped. Revocations may overlap; the last one counts.
    pub fn revoke(&self, range: Range<u64>, on_drained: Box<dyn FnOnce(RevokedRange) + Send>) {
        self.device.revoke(range, on_drained);
    }

    /// The same for control paths: blocks until the range is out of use. After a timeout the revocation still runs its
    /// course, and then ends by itself. Never call it from a worker's callback.
    pub fn revoke_and_wait(
        &self,
        range: Range<u64>,
        timeout: Duration,
    ) -> Result<RevokedRange, WindowError> {
        let (send, receive) = crossbeam_channel::bounded(1);
        self.revoke(
            range,
            Box::new(move |revoked| {
                // If nobody waits any more, the revocation ends here.
                let _ = send.send(revoked);
            }),
        );
        receive
            .recv_timeout(timeout)
            .map_err(|_| WindowError::RevokeTimeout)
    }

    /// The device is about to shrink to `size` bytes: takes everything beyond away, for good. `on_drained` runs on a worker
    /// when that is done; only then may the store be cut.
    pub fn invalidate_beyond(&self, size: u64, on_drained: Box<dyn FnOnce() + Send>) {
        self.device.resize(size, on_drained);
    }

    /// The device has grown to `size` bytes, which its source already says: windows may reach that far.
    pub fn grown_to(&self, size: u64) {
        self.device.resize(size, Box::new(|| ()));
    }

    /// What happened on all adapters, closed ones included.
    pub fn statistics(&self) -> Statistics {
        self.device.statistics()
    }

    /// The service that these windows belong to.
    pub fn service(&self) -> &Arc<WindowService> {
        &self.service
    }

    pub(super) fn device(&self) -> &Arc<Device> {
        &self.device
    }
}

impl Drop for DeviceWindows {
    fn drop(&mut self) {
        let caches = locked(&self.device.control).caches.clone();
        self.device.close(caches, Box::new(|| ()));
    }
}

fn find<'a>(
    caches: &'a [Arc<WindowCache>],
    adapter: &Arc<dyn Adapter>,
) -> Option<&'a Arc<WindowCache>> {
    caches
        .iter()
        .find(|cache| Arc::ptr_eq(cache.adapter(), adapter))
}

impl Device {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Lets a registrar handle a miss, and puts it off if too many are at this device already.
    pub(super) fn take_up(&self, miss: Miss) -> Option<Miss> {
        let mut filling = locked(&self.filling);
        if filling.registrars < self.shared.registrars_of_one() {
            filling.registrars += 1;
            return Some(miss);
        }
        if filling.waiting.len() < QUEUE && !miss.cache.is_closed() {
            filling.waiting.push_back(miss);
        } else {
            self.shared.forget(&miss);
        }
        None
    }

    /// The registrar is done with it: another miss may be handled.
    pub(super) fn put_down(&self) {
        let mut filling = locked(&self.filling);
        filling.registrars -= 1;
        // Each that is handled brings the next one back, so there has to be one unless none is left.
        while let Some(miss) = filling.waiting.pop_front() {
            if self.shared.request_again(miss) {
                return;
            }
        }
    }

    /// Lets the caller fill a window, if it may be filled: up to which byte. The window then is `Filling`.
    pub(super) fn start_filling(&self, cache: &WindowCache, index: u64) -> Option<u64> {
        let control = locked(&self.control);
        let slot = cache.slots().get(index)?;
        let Some(end) = control.fillable(cache, index, self.window_shift) else {
            slot.dequeue();
            return None;
        };
        slot.start_filling().then_some(end)
    }

    /// Whether a window that is being filled up to `end` is still wanted.
    pub(super) fn is_wanted(&self, cache: &WindowCache, index: u64, end: u64) -> bool {
        locked(&self.control).fillable(cache, index, self.window_shift) == Some(end)
    }

    /// Runs `publish` if the window is still wanted, in such a way that no revocation can come in between.
    pub(super) fn publish<T>(
        &self,
        cache: &WindowCache,
        index: u64,
        end: u64,
        publish: impl FnOnce() -> Option<T>,
    ) -> Option<T> {
        let control = locked(&self.control);
        if control.fillable(cache, index, self.window_shift) != Some(end) {
            return None;
        }
        publish()
    }

    /// Ends a block.
    pub(super) fn unblock(&self, id: u64) {
        locked(&self.control).blocks.retain(|block| block.id != id);
    }

    pub(super) fn statistics(&self) -> Statistics {
        let control = locked(&self.control);
        let mut sum = control.past;
        for cache in &control.caches {
            sum += cache.statistics();
        }
        sum
    }

    fn revoke(
        self: &Arc<Self>,
        range: Range<u64>,
        on_drained: Box<dyn FnOnce(RevokedRange) + Send>,
    ) {
        let mut control = locked(&self.control);
        let id = control.next_block;
        control.next_block += 1;
        let mut waiting = Vec::new();
        if !range.is_empty() {
            let first = range.start >> self.window_shift;
            let last = (range.end - 1) >> self.window_shift;
            control.blocks.push(Block { id, first, last });
            waiting = control.retire(first, last);
        }
        drop(control);
        let revoked = RevokedRange::new(Arc::clone(self), id, range);
        self.shared
            .drain(Drain::new(waiting, Box::new(move || on_drained(revoked))));
    }

    fn resize(&self, size: u64, on_drained: Box<dyn FnOnce() + Send>) {
        let mut control = locked(&self.control);
        // Everything from the window on that holds the smaller end: when growing, that is the one which used to be partial.
        let first = size.min(control.size) >> self.window_shift;
        control.size = size;
        let waiting = control.retire(first, u64::MAX);
        drop(control);
        self.shared.drain(Drain::new(waiting, on_drained));
    }

    fn close(
        &self,
        caches: impl IntoIterator<Item = Arc<WindowCache>>,
        on_closed: Box<dyn FnOnce() + Send>,
    ) {
        let mut control = locked(&self.control);
        let mut waiting = Vec::new();
        for cache in caches {
            cache.close();
            let windows = cache.retire(0, u64::MAX);
            waiting.extend(windows.into_iter().map(|index| (Arc::clone(&cache), index)));
            let open = control.caches.len();
            control.caches.retain(|other| !Arc::ptr_eq(other, &cache));
            if control.caches.len() < open {
                control.past += Statistics {
                    windows: 0,
                    pinned_bytes: 0,
                    ..cache.statistics()
                };
            }
        }
        drop(control);
        locked(&self.filling).waiting.retain(|miss| {
            let open = !miss.cache.is_closed();
            if !open {
                self.shared.forget(miss);
            }
            open
        });
        self.shared.drain(Drain::new(waiting, on_closed));
    }
}

impl Control {
    /// The end of a window, if it may be registered.
    fn fillable(&self, cache: &WindowCache, index: u64, window_shift: u32) -> Option<u64> {
        let start = index << window_shift;
        if cache.is_closed() || self.blocks(index) || start >= self.size {
            return None;
        }
        Some(start.saturating_add(1 << window_shift).min(self.size))
    }

    fn blocks(&self, index: u64) -> bool {
        self.blocks
            .iter()
            .any(|block| (block.first..=block.last).contains(&index))
    }

    fn retire(&self, first: u64, last: u64) -> Vec<(Arc<WindowCache>, u64)> {
        let mut waiting = Vec::new();
        for cache in &self.caches {
            let windows = cache.retire(first, last);
            waiting.extend(windows.into_iter().map(|index| (Arc::clone(cache), index)));
        }
        waiting
    }
}
