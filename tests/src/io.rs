//! Backend operations without threads: executed when a shard polls, in an order that the seed chooses.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pagecast_backends::testing::Kind;
use pagecast_backends::{Backend, Done, IoQueue, Operation, Token};

use crate::random::Random;

/// Says what may be executed. Shared by the queues of all shards.
#[derive(Clone, Debug)]
pub struct Io(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    random: Random,
    held: Vec<Kind>,
    /// Of these stores nothing is executed, by where they are.
    held_stores: Vec<usize>,
    eager: bool,
    waiting: usize,
    executed: Vec<Kind>,
    volatile: usize,
}

impl Io {
    /// Nothing is held at first.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            random: Random::new(seed),
            held: Vec::new(),
            held_stores: Vec::new(),
            eager: false,
            waiting: 0,
            executed: Vec::new(),
            volatile: 0,
        })))
    }

    /// Executes no operation of this kind until [`release`](Self::release).
    pub fn hold(&self, kind: Kind) {
        self.lock().held.push(kind);
    }

    /// Executes no operation of a store until [`release`](Self::release).
    pub fn hold_store(&self, store: &Arc<dyn Backend>) {
        self.lock().held_stores.push(place(store));
    }

    /// Holds nothing any more.
    pub fn release(&self) {
        let mut state = self.lock();
        state.held.clear();
        state.held_stores.clear();
    }

    /// Executes everything at the first poll, in some order, and remembers nothing of it.
    pub fn be_eager(&self) {
        self.lock().eager = true;
    }

    /// Operations that were submitted and not executed.
    pub fn waiting(&self) -> usize {
        self.lock().waiting
    }

    /// What was executed since the last call.
    pub fn take_executed(&self) -> Vec<Kind> {
        std::mem::take(&mut self.lock().executed)
    }

    /// Writes and zeroes, executed since the last call, that did not have to be durable, and discards.
    pub fn take_volatile(&self) -> usize {
        std::mem::take(&mut self.lock().volatile)
    }

    /// A queue for a shard.
    pub fn queue(&self) -> Box<dyn IoQueue> {
        let (wake, _) = UnixStream::pair().expect("a socket pair");
        Box::new(Inline {
            io: self.clone(),
            pending: Vec::new(),
            wake,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Inline {
    io: Io,
    pending: Vec<(Arc<dyn Backend>, Operation, Token)>,
    wake: UnixStream,
}

impl IoQueue for Inline {
    fn submit(&mut self, backend: &Arc<dyn Backend>, operation: Operation, token: Token) {
        self.pending.push((Arc::clone(backend), operation, token));
        self.io.lock().waiting += 1;
    }

    fn flush(&mut self) {}

    fn poll(&mut self, done: &mut Vec<Done>) {
        let mut tries = self.pending.len();
        while tries > 0 {
            tries -= 1;
            let mut state = self.io.lock();
            let at = state.random.index(self.pending.len());
            let kind = Kind::of(&self.pending[at].1);
            let held = state.held.contains(&kind)
                || state.held_stores.contains(&place(&self.pending[at].0));
            if held || (!state.eager && state.random.once_in(3)) {
                continue;
            }
            state.waiting -= 1;
            state.volatile += usize::from(is_volatile(&self.pending[at].1));
            if !state.eager {
                state.executed.push(kind);
            }
            drop(state);
            let (backend, operation, token) = self.pending.swap_remove(at);
            let result = backend.execute(&operation);
            done.push(Done {
                token,
                result,
                operation,
            });
        }
    }

    fn in_flight(&self) -> usize {
        self.pending.len()
    }

    fn event_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

/// What tells a store from others for as long as it is there.
fn place(store: &Arc<dyn Backend>) -> usize {
    Arc::as_ptr(store).cast::<()>() as usize
}

fn is_volatile(operation: &Operation) -> bool {
    match operation {
        Operation::Write { durable, .. } | Operation::WriteZeroes { durable, .. } => !durable,
        Operation::Discard { .. } => true,
        _ => false,
    }
}
