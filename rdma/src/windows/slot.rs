//! What the hot path sees of a window: one slot, three cache-resident loads and one compare-and-swap.
//!
//! # States
//!
//! ```text
//!            miss                registrar             publish
//!   Empty ----------> Queued ----------------> Filling --------> Ready
//!     ^ ^                |  queue full, revoked   |  |              | revoke, evict, detach
//!     | +----------------+------------------------+  |              v
//!     |                                              v           Retiring
//!     |<---------- backoff is over ------------- Failed             | no lease left, deregistered
//!     +-------------------------------------------------------------+
//! ```
//!
//! # Memory ordering
//!
//! Everything that decides is in one word (state, generation, leases), so all of it has a single modification order.
//!
//! - *A lease sees the right keys.* `publish` stores address, key and length relaxed and then the word with Release.
//!   `pin` succeeds with an Acquire compare-and-swap on a `Ready` word. That word was written by the publishing store or by
//!   a chain of read-modify-writes on top of it (other pins and unpins), which is its release sequence: the three values
//!   are visible. They are written in `Filling` alone, and the way from `Ready` to `Filling` leads through `clear`, which waits
//!   for the lease count to be zero: while a lease is held they do not change.
//! - *A window is deregistered after its last lease.* `retire` changes the same word that `pin` changes: a pin before it is in
//!   the count that `retire` keeps, a pin after it fails. `unpin` subtracts with Release, `is_drained` reads with Acquire, so
//!   what the holder did with the window happened before the deregistration.
//! - *The last `unpin` wakes the worker.* It sees `Retiring` in the word if it comes after `retire`; if it comes before,
//!   `retire` (or the look that follows it) sees a count of zero. One of the two always acts.
//! - The generation tells one registration of a window from the next, for those who remember windows by index: the
//!   eviction's list. The argument above does not need it.

use std::sync::OnceLock;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};

use super::heat::Heat;
use crate::fabric::Sge;

/// Slots that are allocated together; of 2 MiB windows, a GiB's worth.
const CHUNK: usize = 512;
const CHUNK_SHIFT: u32 = CHUNK.trailing_zeros();

/// The slots of one cache, in chunks that come when they are first needed.
#[derive(Debug)]
pub(super) struct SlotTable {
    chunks: Box<[OnceLock<Box<[Slot]>>]>,
}

impl SlotTable {
    /// A table for at least `windows` windows.
    pub(super) fn new(windows: u64) -> Self {
        let chunks = usize::try_from(windows.div_ceil(CHUNK as u64)).unwrap_or(0);
        Self {
            chunks: (0..chunks).map(|_| OnceLock::new()).collect(),
        }
    }

    /// The slot, if its chunk is there.
    #[inline]
    pub(super) fn get(&self, index: u64) -> Option<&Slot> {
        let chunk = self
            .chunks
            .get(usize::try_from(index >> CHUNK_SHIFT).ok()?)?;
        chunk.get()?.get(index as usize % CHUNK)
    }

    /// The slot; allocates its chunk. `None` past the end of the table.
    pub(super) fn ensure(&self, index: u64) -> Option<&Slot> {
        let chunk = self
            .chunks
            .get(usize::try_from(index >> CHUNK_SHIFT).ok()?)?;
        chunk
            .get_or_init(|| (0..CHUNK).map(|_| Slot::default()).collect())
            .get(index as usize % CHUNK)
    }

    /// Whether the table reaches that far.
    pub(super) fn covers(&self, index: u64) -> bool {
        index >> CHUNK_SHIFT < self.chunks.len() as u64
    }

    /// The slots from `first` to `last` whose chunks are there.
    pub(super) fn present(&self, first: u64, last: u64) -> impl Iterator<Item = (u64, &Slot)> {
        let chunks = self.chunks.len() as u64;
        (first >> CHUNK_SHIFT..chunks.min((last >> CHUNK_SHIFT).saturating_add(1)))
            .filter_map(|chunk| Some((chunk, self.chunks[chunk as usize].get()?)))
            .flat_map(move |(chunk, slots)| {
                (chunk << CHUNK_SHIFT..)
                    .zip(slots)
                    .skip_while(move |(index, _)| *index < first)
                    .take_while(move |(index, _)| *index <= last)
            })
    }
}

/// The states of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum State {
    /// Nobody has anything to do with it.
    Empty = 0,
    /// On its way to a registrar.
    Queued = 1,
    /// A registrar reads it in and registers it.
    Filling = 2,
    /// Registered; may be leased.
    Ready = 3,
    /// Registered; may not be leased any more.
    Retiring = 4,
    /// Could not be read in or registered; left alone until the backoff is over.
    Failed = 5,
}

/// State, generation and lease count in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(u64);

const STATE_SHIFT: u32 = 32;
const GENERATION_SHIFT: u32 = 40;

impl Word {
    fn new(state: State, generation: u32) -> Self {
        Self(u64::from(generation) << GENERATION_SHIFT | (state as u64) << STATE_SHIFT)
    }

    #[inline]
    fn is(self, state: State) -> bool {
        (self.0 >> STATE_SHIFT) as u8 == state as u8
    }

    pub(super) fn state(self) -> State {
        match (self.0 >> STATE_SHIFT) as u8 {
            0 => State::Empty,
            1 => State::Queued,
            2 => State::Filling,
            3 => State::Ready,
            4 => State::Retiring,
            _ => State::Failed,
        }
    }

    /// Leases on the window.
    #[inline]
    pub(super) fn leases(self) -> u32 {
        self.0 as u32
    }

    /// Which registration of this window it is, modulo 2^24.
    pub(super) fn generation(self) -> u32 {
        (self.0 >> GENERATION_SHIFT) as u32
    }

    /// The same generation and leases in another state.
    fn with(self, state: State) -> Self {
        Self(self.0 & !(0xff << STATE_SHIFT) | (state as u64) << STATE_SHIFT)
    }
}

/// One window, as the hot path and the workers share it. Two to a cache line.
#[derive(Debug, Default)]
#[repr(align(32))]
pub(super) struct Slot {
    word: AtomicU64,
    address: AtomicU64,
    key: AtomicU32,
    length: AtomicU32,
    /// How much it is used, in whatever state.
    pub(super) heat: Heat,
    /// Failures to register since the last success.
    pub(super) failures: AtomicU32,
}

const _: () = assert!(size_of::<Slot>() == 32);

impl Slot {
    pub(super) fn word(&self) -> Word {
        Word(self.word.load(Acquire))
    }

    /// Takes a lease if the window is ready.
    #[inline]
    pub(super) fn pin(&self) -> bool {
        let mut word = Word(self.word.load(Relaxed));
        while word.is(State::Ready) {
            match self
                .word
                .compare_exchange_weak(word.0, word.0 + 1, Acquire, Relaxed)
            {
                Ok(_) => return true,
                Err(now) => word = Word(now),
            }
        }
        false
    }

    /// Names `length` bytes from `skip` on, for a holder of a lease. `None` if the registration ends before.
    #[inline]
    pub(super) fn sge(&self, skip: u32, length: u32) -> Option<Sge> {
        if skip.checked_add(length)? > self.length.load(Relaxed) {
            return None;
        }
        Some(Sge {
            address: self.address.load(Relaxed) + u64::from(skip),
            length,
            key: self.key.load(Relaxed),
        })
    }

    /// Gives a lease back. True if somebody waits for just that.
    #[inline]
    pub(super) fn unpin(&self) -> bool {
        let before = Word(self.word.fetch_sub(1, Release));
        before.is(State::Retiring) && before.leases() == 1
    }

    /// `Empty` to `Queued`.
    pub(super) fn enqueue(&self) -> bool {
        self.change(&[State::Empty], State::Queued)
    }

    /// `Queued` back to `Empty`.
    pub(super) fn dequeue(&self) {
        self.change(&[State::Queued], State::Empty);
    }

    /// The caller becomes the one who fills the window.
    pub(super) fn start_filling(&self) -> bool {
        self.change(&[State::Queued, State::Empty], State::Filling)
    }

    /// `Filling` to `Ready`, by the one who fills; the registration's generation.
    pub(super) fn publish(&self, sge: Sge) -> u32 {
        let generation = (self.word().generation() + 1) & 0x00ff_ffff;
        self.address.store(sge.address, Relaxed);
        self.key.store(sge.key, Relaxed);
        self.length.store(sge.length, Relaxed);
        self.word
            .store(Word::new(State::Ready, generation).0, Release);
        generation
    }

    /// `Filling` to `Empty` or `Failed`, by the one who fills.
    pub(super) fn give_up(&self, state: State) {
        self.change(&[State::Filling], state);
    }

    /// `Failed` to `Empty`: misses count again.
    pub(super) fn recover(&self) {
        self.change(&[State::Failed], State::Empty);
    }

    /// Ends the use of the window, leases or not, if it is ready. The word that was there before.
    pub(super) fn retire(&self) -> Word {
        let mut word = self.word();
        while word.is(State::Ready) {
            let next = word.with(State::Retiring);
            match self
                .word
                .compare_exchange_weak(word.0, next.0, AcqRel, Acquire)
            {
                Ok(_) => break,
                Err(now) => word = Word(now),
            }
        }
        word
    }

    /// Ends the use of this very registration, if nobody has a lease on it.
    pub(super) fn retire_idle(&self, generation: u32) -> bool {
        let idle = Word::new(State::Ready, generation);
        self.word
            .compare_exchange(idle.0, idle.with(State::Retiring).0, AcqRel, Relaxed)
            .is_ok()
    }

    /// Whether the window is retired and no lease is left, so that it may be deregistered.
    pub(super) fn is_drained(&self) -> bool {
        let word = self.word();
        word.is(State::Retiring) && word.leases() == 0
    }

    /// `Retiring` to `Empty`, by the one who deregistered it.
    pub(super) fn clear(&self) {
        self.change(&[State::Retiring], State::Empty);
    }

    fn change(&self, from: &[State], to: State) -> bool {
        let mut word = self.word();
        while from.contains(&word.state()) {
            match self
                .word
                .compare_exchange_weak(word.0, word.with(to).0, AcqRel, Acquire)
            {
                Ok(_) => return true,
                Err(now) => word = Word(now),
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready() -> (Slot, u32) {
        let slot = Slot::default();
        assert!(slot.start_filling());
        let generation = slot.publish(Sge {
            address: 0x1000,
            length: 100,
            key: 7,
        });
        (slot, generation)
    }

    #[test]
    fn leases_are_bounded_by_the_registration() {
        let (slot, _) = ready();
        assert!(slot.pin());
        let sge = slot.sge(90, 10).unwrap();
        assert_eq!((sge.address, sge.length, sge.key), (0x1000 + 90, 10, 7));
        assert_eq!(slot.sge(90, 11), None);
        assert_eq!(slot.sge(u32::MAX, 2), None);
    }

    #[test]
    fn retiring_waits_for_the_last_lease_and_only_that_wakes() {
        let (slot, generation) = ready();
        assert!(slot.pin() && slot.pin());
        assert!(!slot.unpin(), "nobody waits");
        assert!(!slot.retire_idle(generation), "there is a lease");
        assert_eq!(slot.retire().state(), State::Ready);
        assert!(!slot.pin());
        assert!(!slot.is_drained());
        assert!(slot.unpin());
        assert!(slot.is_drained());
        slot.clear();
        assert_eq!(slot.word().state(), State::Empty);
    }

    #[test]
    fn an_older_registration_is_not_evicted_in_the_place_of_a_newer() {
        let (slot, first) = ready();
        assert!(slot.retire_idle(first));
        slot.clear();
        assert!(slot.enqueue() && slot.start_filling());
        let second = slot.publish(Sge {
            address: 0,
            length: 1,
            key: 1,
        });
        assert!(!slot.retire_idle(first));
        assert!(slot.retire_idle(second));
    }

    #[test]
    fn the_table_knows_which_slots_are_there() {
        let table = SlotTable::new(3 * CHUNK as u64);
        assert!(table.get(600).is_none());
        assert!(table.ensure(600).is_some());
        assert!(table.get(600).is_some() && table.get(0).is_none());
        assert!(table.ensure(3 * CHUNK as u64).is_none());
        assert!(!table.covers(u64::MAX));
        let present: Vec<u64> = table.present(0, u64::MAX).map(|(i, _)| i).collect();
        assert_eq!(present, (512..1024).collect::<Vec<u64>>());
        let part: Vec<u64> = table.present(600, 602).map(|(i, _)| i).collect();
        assert_eq!(part, [600, 601, 602]);
    }
}
