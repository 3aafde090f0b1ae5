//! Doubles: an adapter that keeps a ledger of what is registered and in use, and a source that can stall and fail.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64};
use std::sync::{Arc, Condvar, Mutex};

use super::rdma::fabric::{
    Access, Adapter, AdapterEvent, Capabilities, CompletionQueue, FabricError,
};
use super::rdma::region::{Region, Registration};
use super::rdma::windows::Source;
use pagecast_memory::{Anonymous, Memory, Slice};

pub(crate) const PAGE: u64 = 4096;

/// An adapter that only registers.
#[derive(Debug)]
pub(crate) struct FakeAdapter {
    name: String,
    capabilities: Capabilities,
    pub(crate) ledger: Arc<Ledger>,
    /// errno of registrations through a read-only mapping, or 0.
    pub(crate) refuse_read_only: AtomicI32,
    /// errno of all registrations, or 0.
    pub(crate) refuse: AtomicI32,
}

/// What is registered, and what is wrong.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    live: Mutex<HashMap<u32, Entry>>,
    next_key: AtomicU32,
    pinned: AtomicU64,
    pub(crate) most_pinned: AtomicU64,
    pub(crate) registrations: AtomicU64,
    /// Deregistrations of memory that was in use.
    pub(crate) violations: AtomicU64,
}

#[derive(Debug)]
struct Entry {
    bytes: Range<u64>,
    uses: u64,
}

impl Ledger {
    /// The adapter starts to read `length` bytes at `address`, which must be registered under `key`.
    pub(crate) fn begin(&self, key: u32, address: u64, length: u32) {
        let mut live = self.live.lock().unwrap();
        let entry = live.get_mut(&key).expect("key of a live registration");
        let end = address + u64::from(length);
        assert!(entry.bytes.start <= address && end <= entry.bytes.end);
        entry.uses += 1;
    }

    /// It has finished.
    pub(crate) fn end(&self, key: u32) {
        let mut live = self.live.lock().unwrap();
        live.get_mut(&key).expect("still registered").uses -= 1;
    }

    /// Whether any of these addresses is registered.
    pub(crate) fn overlaps(&self, bytes: &Range<u64>) -> bool {
        let live = self.live.lock().unwrap();
        live.values()
            .any(|entry| entry.bytes.start < bytes.end && bytes.start < entry.bytes.end)
    }

    /// Registrations there are.
    pub(crate) fn live(&self) -> usize {
        self.live.lock().unwrap().len()
    }
}

#[derive(Debug)]
struct FakeRegistration {
    ledger: Arc<Ledger>,
    key: u32,
}

impl Registration for FakeRegistration {
    fn local_key(&self) -> u32 {
        self.key
    }

    fn remote_key(&self) -> u32 {
        self.key
    }
}

impl Drop for FakeRegistration {
    fn drop(&mut self) {
        let entry = self.ledger.live.lock().unwrap().remove(&self.key);
        let entry = entry.expect("registered once");
        self.ledger
            .pinned
            .fetch_sub(entry.bytes.end - entry.bytes.start, SeqCst);
        if entry.uses != 0 {
            self.ledger.violations.fetch_add(1, SeqCst);
        }
    }
}

impl FakeAdapter {
    pub(crate) fn new(name: &str) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            capabilities: Capabilities {
                node_guid: 1,
                max_work_requests: 16,
                max_sge: 16,
                max_completions: 16,
                max_responder_resources: 1,
                max_initiator_depth: 1,
                max_region: u64::MAX,
                on_demand_paging: false,
                send_with_invalidate: false,
            },
            ledger: Arc::default(),
            refuse_read_only: AtomicI32::new(0),
            refuse: AtomicI32::new(0),
        })
    }
}

impl Adapter for FakeAdapter {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn register(
        &self,
        memory: Arc<dyn Memory>,
        range: Range<usize>,
        access: Access,
    ) -> Result<Region, FabricError> {
        assert_eq!(access, Access::LOCAL_READ);
        let mut errno = self.refuse.load(SeqCst);
        if errno == 0 && !memory.writable() {
            errno = self.refuse_read_only.load(SeqCst);
        }
        if errno != 0 {
            return Err(FabricError::from_errno("ibv_reg_mr", errno));
        }
        let slice = Slice::new(memory, range).expect("range inside the memory");
        let start = slice.as_ptr().as_ptr() as u64;
        let bytes = start..start + slice.len() as u64;
        let ledger = &self.ledger;
        let pinned = ledger.pinned.fetch_add(slice.len() as u64, SeqCst) + slice.len() as u64;
        ledger.most_pinned.fetch_max(pinned, SeqCst);
        ledger.registrations.fetch_add(1, SeqCst);
        let key = ledger.next_key.fetch_add(1, SeqCst) + 1;
        let entry = Entry { bytes, uses: 0 };
        ledger.live.lock().unwrap().insert(key, entry);
        let registration = FakeRegistration {
            ledger: Arc::clone(ledger),
            key,
        };
        Ok(Region::new(Box::new(registration), slice))
    }

    fn completion_queue(&self, _capacity: u32) -> Result<Arc<dyn CompletionQueue>, FabricError> {
        Err(FabricError::Invalid("no completion queues here"))
    }

    fn next_event(&self) -> Option<AdapterEvent> {
        None
    }

    fn event_fd(&self) -> BorrowedFd<'_> {
        unreachable!("nobody waits for events of a fake")
    }
}

/// Anonymous memory as a store.
#[derive(Debug)]
pub(crate) struct FakeSource {
    memory: Mutex<Arc<dyn Memory>>,
    size: AtomicU64,
    /// Reading these bytes in fails.
    pub(crate) bad: Mutex<Range<u64>>,
    /// Reading anything in waits as long as this is set.
    stalled: Mutex<bool>,
    woken: Condvar,
    /// A reader has come to wait.
    pub(crate) waiting: AtomicBool,
    pub(crate) populated: AtomicU64,
}

/// The store's mapping that may only be read.
#[derive(Debug)]
struct ReadOnly(Arc<dyn Memory>);

// SAFETY: forwards to memory that keeps the contract, and promises less.
unsafe impl Memory for ReadOnly {
    fn base(&self) -> std::ptr::NonNull<u8> {
        self.0.base()
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn writable(&self) -> bool {
        false
    }
}

impl FakeSource {
    pub(crate) fn new(size: u64) -> Arc<Self> {
        Arc::new(Self {
            memory: Mutex::new(Arc::new(Anonymous::new(size as usize).unwrap())),
            size: AtomicU64::new(size),
            bad: Mutex::new(0..0),
            stalled: Mutex::new(false),
            woken: Condvar::new(),
            waiting: AtomicBool::new(false),
            populated: AtomicU64::new(0),
        })
    }

    pub(crate) fn base(&self) -> u64 {
        self.memory.lock().unwrap().base().as_ptr() as u64
    }

    /// Moves to a new and larger mapping.
    pub(crate) fn grow(&self, size: u64) {
        *self.memory.lock().unwrap() = Arc::new(Anonymous::new(size as usize).unwrap());
        self.size.store(size, SeqCst);
    }

    pub(crate) fn stall(&self, stalled: bool) {
        *self.stalled.lock().unwrap() = stalled;
        self.woken.notify_all();
    }
}

impl Source for FakeSource {
    fn memory(&self, writable: bool) -> io::Result<Arc<dyn Memory>> {
        let memory = Arc::clone(&self.memory.lock().unwrap());
        Ok(if writable {
            memory
        } else {
            Arc::new(ReadOnly(memory))
        })
    }

    fn populate(&self, offset: u64, length: u64) -> io::Result<()> {
        let mut stalled = self.stalled.lock().unwrap();
        while *stalled {
            self.waiting.store(true, SeqCst);
            stalled = self.woken.wait(stalled).unwrap();
        }
        drop(stalled);
        let bad = self.bad.lock().unwrap().clone();
        if offset < bad.end && bad.start < offset + length {
            return Err(io::Error::from_raw_os_error(5));
        }
        self.populated.fetch_add(length, SeqCst);
        Ok(())
    }

    fn size(&self) -> u64 {
        self.size.load(SeqCst)
    }
}
