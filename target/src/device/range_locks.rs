//! Ranges of a device that a command needs for itself, such as COMPARE AND WRITE between its look and its write (SBC-4).
//!
//! Writers share: any number of them may overlap, as SAM-5 leaves the order of overlapping writes to the initiator. Who holds
//! a range exclusively has it without writers. Readers take nothing.
//!
//! Hardly ever does anybody want a range exclusively, so a WRITE should not pay for it. There are two regimes:
//!
//! - Unguarded: nobody holds or wants anything exclusively. A writer only counts itself in and out, in a counter of its
//!   shard.
//! - Guarded: somebody does. Every writer registers its range under the mutex, and waits if it has to.
//!
//! Why no writer slips through: it counts itself in and then looks at `guarded`; an exclusive one sets `guarded` and then looks
//! at the counters. All four are sequentially consistent, so there is one order of them in which one of the two
//! comes second and sees what the other did: either the writer finds the guard and takes its count back, or the exclusive one finds
//! the count and waits. While the guard is up no new count stays, so a counter that was once seen at zero
//! is done with (`State::drained`). By the same argument the last writer to count itself out finds the guard, if the exclusive one
//! has found its count, and grants what that waits for.
//!
//! Among those who registered it is first come, first served: who comes waits for everybody before him that he
//! conflicts with, holder or waiter. So nobody starves.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Names a registered claim; never used twice, for any device: who is woken only hears the ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

impl Ticket {
    /// The next one. Those of a device are in order if they are taken under its lock.
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, SeqCst))
    }
}

/// What a range is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// To write to it, among other writers.
    Shared,
    /// To have it without writers.
    Exclusive,
}

/// What has to be given back with [`RangeLocks::release`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// A count.
    Counted,
    /// A registered claim, granted or not.
    Registered(Ticket),
}

/// Somebody who waits for a range.
pub trait Wake {
    /// It is granted now. Called on the thread of whoever was in the way, under a lock: just pass it on.
    fn wake(self, ticket: Ticket);
}

/// The locks of one device, shared by all shards.
#[derive(Debug)]
pub struct RangeLocks<W> {
    guarded: AtomicBool,
    writers: Box<[Writers]>,
    state: Mutex<State<W>>,
}

/// Writers of one shard that did not register. On a cache line of its own, or shards would fight over it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Writers(AtomicU64);

#[derive(Debug)]
struct State<W> {
    /// In no order; tickets tell who came first. Keeps its room.
    claims: Vec<Claim<W>>,
    /// Exclusive ones among them. The guard is up while there are any.
    exclusive: usize,
    /// All writers that had not registered when the guard went up are gone.
    drained: bool,
}

#[derive(Debug)]
struct Claim<W> {
    ticket: Ticket,
    mode: Mode,
    range: Range<u64>,
    /// Older claims that are in its way.
    blockers: usize,
    /// Who waits for it; nobody once it is granted.
    waiter: Option<W>,
}

impl<W> Claim<W> {
    fn conflicts(&self, mode: Mode, range: &Range<u64>) -> bool {
        (mode == Mode::Exclusive || self.mode == Mode::Exclusive)
            && self.range.start < range.end
            && range.start < self.range.end
    }
}

impl<W: Wake> RangeLocks<W> {
    /// No locks, for so many shards.
    pub fn new(shards: usize) -> Self {
        Self {
            guarded: AtomicBool::new(false),
            writers: (0..shards).map(|_| Writers::default()).collect(),
            state: Mutex::new(State {
                claims: Vec::new(),
                exclusive: 0,
                drained: false,
            }),
        }
    }

    /// Lets a writer of that shard through if nobody wants anything exclusively. It then has a [`Hold::Counted`];
    /// otherwise it has to [`claim`](Self::claim).
    pub fn share(&self, shard: usize) -> bool {
        let Some(Writers(count)) = self.writers.get(shard) else {
            return false;
        };
        count.fetch_add(1, SeqCst);
        gap();
        if !self.guarded.load(SeqCst) {
            return true;
        }
        self.release(shard, Hold::Counted);
        false
    }

    /// Registers a claim, which is a [`Hold::Registered`] from now on. If it cannot be granted yet (`false`), `waiter` is woken
    /// when it can.
    pub fn claim(&self, mode: Mode, range: Range<u64>, waiter: impl Into<W>) -> (Ticket, bool) {
        let mut state = self.state();
        let ticket = Ticket::next();
        if mode == Mode::Exclusive {
            state.exclusive += 1;
            self.guarded.store(true, SeqCst);
            gap();
            self.drain(&mut state);
        }
        let conflicting = state.claims.iter().filter(|c| c.conflicts(mode, &range));
        let blockers = conflicting.count();
        let granted = blockers == 0 && (mode == Mode::Shared || state.drained);
        state.claims.push(Claim {
            ticket,
            mode,
            range,
            blockers,
            waiter: (!granted).then(|| waiter.into()),
        });
        (ticket, granted)
    }

    /// Gives back what was granted, or gives up waiting.
    pub fn release(&self, shard: usize, hold: Hold) {
        match hold {
            Hold::Counted => {
                if let Some(Writers(count)) = self.writers.get(shard) {
                    count.fetch_sub(1, SeqCst);
                }
                if self.guarded.load(SeqCst) {
                    self.drain(&mut self.state());
                }
            }
            Hold::Registered(ticket) => self.remove(ticket),
        }
    }

    /// Whether nobody holds anything or waits for it.
    pub fn is_idle(&self) -> bool {
        let counted = |writers: &Writers| writers.0.load(SeqCst) != 0;
        self.state().claims.is_empty() && !self.writers.iter().any(counted)
    }

    fn remove(&self, ticket: Ticket) {
        let mut state = self.state();
        let state = &mut *state;
        let Some(at) = state.claims.iter().position(|c| c.ticket == ticket) else {
            return;
        };
        let gone = state.claims.swap_remove(at);
        for claim in &mut state.claims {
            if claim.ticket > ticket && claim.conflicts(gone.mode, &gone.range) {
                claim.blockers -= 1;
                grant(claim, state.drained);
            }
        }
        if gone.mode == Mode::Exclusive {
            state.exclusive -= 1;
            if state.exclusive == 0 {
                state.drained = false;
                self.guarded.store(false, SeqCst);
            }
        }
    }

    /// Finds out whether the last writer that did not register is gone.
    fn drain(&self, state: &mut State<W>) {
        let counted = |writers: &Writers| writers.0.load(SeqCst) != 0;
        if state.exclusive == 0 || state.drained || self.writers.iter().any(counted) {
            return;
        }
        state.drained = true;
        for claim in &mut state.claims {
            grant(claim, true);
        }
    }

    fn state(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn grant<W: Wake>(claim: &mut Claim<W>, drained: bool) {
    if claim.blockers == 0
        && (claim.mode == Mode::Shared || drained)
        && let Some(waiter) = claim.waiter.take()
    {
        waiter.wake(claim.ticket);
    }
}

/// Where another thread may come between two steps; wide in tests, so that one does.
#[inline]
fn gap() {
    #[cfg(test)]
    std::thread::yield_now();
}

#[cfg(test)]
mod tests;
