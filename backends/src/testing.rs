//! A backend that fails on demand.

use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pagecast_memory::Memory;

use crate::admission::end_of;
use crate::{Backend, BackendError, Operation, PageCache, Properties, Usage};

/// What a backend does, without the particulars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`Operation::Read`].
    Read,
    /// [`Operation::Write`].
    Write,
    /// [`Operation::Flush`].
    Flush,
    /// [`Operation::Discard`].
    Discard,
    /// [`Operation::WriteZeroes`].
    WriteZeroes,
    /// [`Operation::Splice`].
    Splice,
    /// [`Operation::Prefetch`].
    Prefetch,
    /// [`Operation::Extents`].
    Extents,
    /// [`PageCache::populate`].
    Populate,
}

impl Kind {
    /// The operation's kind.
    pub fn of(operation: &Operation) -> Self {
        match operation {
            Operation::Read { .. } => Self::Read,
            Operation::Write { .. } => Self::Write,
            Operation::Flush => Self::Flush,
            Operation::Discard { .. } => Self::Discard,
            Operation::WriteZeroes { .. } => Self::WriteZeroes,
            Operation::Splice { .. } => Self::Splice,
            Operation::Prefetch { .. } => Self::Prefetch,
            Operation::Extents { .. } => Self::Extents,
        }
    }
}

/// One way to fail.
#[derive(Clone, Debug)]
pub struct Fault {
    /// What fails; everything if `None`.
    pub kind: Option<Kind>,
    /// What fails if it touches any of these bytes. A flush touches every byte.
    pub range: Range<u64>,
    /// How it fails.
    pub error: BackendError,
    /// How often; for ever if `None`.
    pub times: Option<u32>,
}

impl Fault {
    /// Everything of that kind fails, wherever it is, until the faults are cleared.
    pub fn every(kind: Kind, error: BackendError) -> Self {
        Self {
            kind: Some(kind),
            range: 0..u64::MAX,
            error,
            times: None,
        }
    }

    /// Only in `range`.
    pub fn within(self, range: Range<u64>) -> Self {
        Self { range, ..self }
    }

    /// Only the next `times` times.
    pub fn times(self, times: u32) -> Self {
        Self {
            times: Some(times),
            ..self
        }
    }

    fn hits(&self, kind: Kind, touched: &Range<u64>) -> bool {
        self.times != Some(0)
            && self.kind.is_none_or(|wanted| wanted == kind)
            && (kind == Kind::Flush
                || (touched.start < self.range.end && self.range.start < touched.end))
    }
}

/// What the kernel says of a device that is gone.
const NO_DEVICE: i32 = libc::ENXIO;

/// A backend around another one that fails, stalls or shrinks as a test tells it to, while it is in use.
///
/// It has no descriptor, so that every engine executes its operations here.
#[derive(Debug)]
pub struct FaultyBackend {
    inner: Arc<dyn Backend>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    script: Mutex<Script>,
    released: Condvar,
    /// What the store pretends to have, in bytes.
    size: AtomicU64,
    /// The store is gone, as a block device that was unplugged.
    gone: AtomicBool,
    waiting: AtomicUsize,
    executed: Mutex<Vec<Kind>>,
}

#[derive(Debug, Default)]
struct Script {
    faults: Vec<Fault>,
    delay: Duration,
    held: Option<Kind>,
}

impl FaultyBackend {
    /// Wraps `inner`, at first without any fault.
    pub fn new(inner: Arc<dyn Backend>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            shared: Arc::new(Shared {
                script: Mutex::default(),
                released: Condvar::new(),
                size: AtomicU64::new(u64::MAX),
                gone: AtomicBool::new(false),
                waiting: AtomicUsize::new(0),
                executed: Mutex::default(),
            }),
        })
    }

    /// Adds a fault. The first one that applies decides.
    pub fn inject(&self, fault: Fault) {
        self.shared.script().faults.push(fault);
    }

    /// Takes away all faults, the delay and the shrinking, and releases what is held.
    pub fn clear(&self) {
        *self.shared.script() = Script::default();
        self.shared.size.store(u64::MAX, Ordering::SeqCst);
        self.shared.released.notify_all();
    }

    /// Makes everything take `delay` longer.
    pub fn delay(&self, delay: Duration) {
        self.shared.script().delay = delay;
    }

    /// Pretends that the store has only `size` bytes left.
    pub fn shrink_to(&self, size: u64) {
        self.shared.size.store(size, Ordering::SeqCst);
    }

    /// Takes the store away: nothing works, and nobody can say how large it was. It stays so whatever is cleared.
    pub fn unplug(&self) {
        self.shared.gone.store(true, Ordering::SeqCst);
    }

    /// Holds what is of this kind before it executes, until [`FaultyBackend::release`] (or `clear`).
    ///
    /// Each held operation occupies a thread of its pool.
    pub fn hold(&self, kind: Kind) {
        self.shared.script().held = Some(kind);
    }

    /// Lets go on what is held.
    pub fn release(&self) {
        self.shared.script().held = None;
        self.shared.released.notify_all();
    }

    /// Operations that are being held now.
    pub fn held(&self) -> usize {
        self.shared.waiting.load(Ordering::SeqCst)
    }

    /// What was asked for since the last call, in the order in which it started; failures included.
    pub fn take_executed(&self) -> Vec<Kind> {
        std::mem::take(&mut lock(&self.shared.executed))
    }
}

impl Shared {
    fn script(&self) -> MutexGuard<'_, Script> {
        lock(&self.script)
    }

    fn fail(&self, kind: Kind, touched: &Range<u64>) -> Result<(), BackendError> {
        lock(&self.executed).push(kind);
        let mut script = self.script();
        if script.held == Some(kind) {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            while script.held == Some(kind) {
                script = self
                    .released
                    .wait(script)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            self.waiting.fetch_sub(1, Ordering::SeqCst);
        }
        let delay = script.delay;
        let hit = script
            .faults
            .iter_mut()
            .find(|fault| fault.hits(kind, touched));
        let error = hit.map(|fault| {
            fault.times = fault.times.map(|times| times - 1);
            fault.error.clone()
        });
        drop(script);
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
        match error {
            Some(error) => Err(error),
            None if self.gone.load(Ordering::SeqCst) => Err(BackendError::Failed(NO_DEVICE)),
            None if touched.end > self.size.load(Ordering::SeqCst) => Err(BackendError::PastEnd),
            None => Ok(()),
        }
    }
}

impl Backend for FaultyBackend {
    fn properties(&self) -> &Properties {
        self.inner.properties()
    }

    fn current_size(&self) -> Result<u64, BackendError> {
        if self.shared.gone.load(Ordering::SeqCst) {
            return Err(BackendError::Failed(NO_DEVICE));
        }
        let size = self.inner.current_size()?;
        Ok(size.min(self.shared.size.load(Ordering::SeqCst)))
    }

    fn set_size(&self, size: u64) -> Result<(), BackendError> {
        self.inner.set_size(size)
    }

    fn usage(&self) -> Option<Usage> {
        self.inner.usage()
    }

    fn execute(&self, operation: &Operation) -> Result<(), BackendError> {
        let touched = start_of(operation)..end_of(operation)?;
        self.shared.fail(Kind::of(operation), &touched)?;
        self.inner.execute(operation)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn page_cache(&self) -> Option<Arc<dyn PageCache>> {
        Some(Arc::new(FaultyPageCache {
            inner: self.inner.page_cache()?,
            shared: Arc::clone(&self.shared),
        }))
    }
}

#[derive(Debug)]
struct FaultyPageCache {
    inner: Arc<dyn PageCache>,
    shared: Arc<Shared>,
}

impl PageCache for FaultyPageCache {
    fn memory(&self, writable: bool) -> Result<Arc<dyn Memory>, BackendError> {
        self.inner.memory(writable)
    }

    fn populate(&self, offset: u64, length: u64) -> Result<(), BackendError> {
        let end = offset.checked_add(length).ok_or(BackendError::PastEnd)?;
        self.shared.fail(Kind::Populate, &(offset..end))?;
        self.inner.populate(offset, length)
    }
}

fn start_of(operation: &Operation) -> u64 {
    match operation {
        Operation::Read { offset, .. }
        | Operation::Write { offset, .. }
        | Operation::Discard { offset, .. }
        | Operation::WriteZeroes { offset, .. }
        | Operation::Splice { offset, .. }
        | Operation::Prefetch { offset, .. }
        | Operation::Extents { offset, .. } => *offset,
        Operation::Flush => 0,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use pagecast_memory::{Anonymous, Slice};

    use super::*;
    use crate::{Engine, MemoryBackend, ThreadPool, Token, io_queue};

    const EIO: BackendError = BackendError::Medium(libc::EIO);

    fn store() -> Arc<FaultyBackend> {
        FaultyBackend::new(Arc::new(MemoryBackend::create(65_536).unwrap()))
    }

    fn read(offset: u64) -> Operation {
        let memory = Anonymous::new(4096).unwrap();
        Operation::Read {
            offset,
            buffers: vec![Slice::whole(Arc::new(memory))],
        }
    }

    #[test]
    fn faults_hit_what_they_name_as_often_as_they_say() {
        let store = store();
        store.inject(Fault::every(Kind::Read, EIO).within(4096..8192).times(2));
        store.inject(Fault::every(Kind::Populate, EIO).within(0..1));
        store.inject(Fault::every(Kind::Flush, BackendError::NoSpace));
        assert_eq!(store.execute(&read(0)), Ok(()));
        assert_eq!(store.execute(&read(512)), Err(EIO));
        assert_eq!(store.execute(&read(8191)), Err(EIO));
        assert_eq!(store.execute(&read(4096)), Ok(()));
        assert_eq!(store.execute(&Operation::Flush), Err(BackendError::NoSpace));
        let pages = store.page_cache().unwrap();
        assert_eq!(pages.populate(0, 4096), Err(EIO));
        assert_eq!(pages.populate(4096, 4096), Ok(()));
        store.shrink_to(8192);
        assert_eq!(store.execute(&read(4097)), Err(BackendError::PastEnd));
        assert_eq!(pages.populate(4097, 4096), Err(BackendError::PastEnd));
        assert_eq!(store.current_size(), Ok(8192));
        store.clear();
        assert_eq!(store.execute(&Operation::Flush), Ok(()));
        assert_eq!(store.current_size(), Ok(65_536));
        assert_eq!(store.take_executed().len(), 10);
    }

    #[test]
    fn held_operations_wait_in_any_engine() {
        for engine in [Engine::Auto, Engine::Threads] {
            let pool = ThreadPool::new(1).unwrap();
            let (mut queue, _) = io_queue(engine, &pool, 4).unwrap();
            let store = store();
            store.hold(Kind::Read);
            let backend: Arc<dyn Backend> = Arc::clone(&store) as Arc<dyn Backend>;
            queue.submit(&backend, read(0), Token(5));
            queue.flush();
            while store.held() == 0 {
                std::thread::yield_now();
            }
            let mut done = Vec::new();
            queue.poll(&mut done);
            assert_eq!((done.len(), queue.in_flight()), (0, 1));
            store.release();
            while queue.in_flight() > 0 {
                crate::completions::wait_readable(queue.event_fd());
                queue.poll(&mut done);
            }
            assert_eq!(done[0].token, Token(5));
            assert_eq!(done[0].result, Ok(()));
        }
    }
}
