//! Registers windows: reads them in, pins them, publishes them. Everything here may block on a disk.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use crossbeam_channel::{Receiver, TryRecvError};

use super::budget::{REMEDY, Reservation};
use super::cache::{Registered, WindowCache};
use super::locked;
use super::reaper::Command;
use super::service::Shared;
use super::slot::{Slot, State};
use crate::fabric::{Access, FabricError};

/// Bytes that are read in at a time. A revocation waits for one such piece at most, and for the registration.
const PIECE: u64 = 512 << 10;

/// How many times the backoff doubles.
const MAX_DOUBLINGS: u32 = 6;

/// A window that somebody missed.
#[derive(Debug)]
pub(super) struct Miss {
    pub(super) cache: Arc<WindowCache>,
    pub(super) index: u64,
    pub(super) cause: Cause,
}

/// Why a window is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// It is hot enough; its slot is queued.
    Miss,
    /// It was missed, and its slot was not there to take note.
    FirstMiss,
    /// The windows before it were read in order.
    ReadAhead,
}

/// One of the threads that register.
pub(super) struct Registrar {
    shared: Arc<Shared>,
    misses: Receiver<Miss>,
    stopped: Receiver<()>,
}

/// Why a window was not registered.
#[derive(Debug)]
enum NotFilled {
    /// Revoked, or past the end by now.
    Unwanted,
    /// Nothing colder to evict.
    NoRoom,
    /// The source could not be read or mapped.
    Source(io::Error),
    /// The adapter, or the kernel, refused.
    Adapter(FabricError),
}

impl Registrar {
    pub(super) fn new(shared: &Arc<Shared>, misses: Receiver<Miss>, stopped: Receiver<()>) -> Self {
        Self {
            shared: Arc::clone(shared),
            misses,
            stopped,
        }
    }

    pub(super) fn run(self) {
        loop {
            crossbeam_channel::select_biased! {
                recv(self.stopped) -> _ => return,
                recv(self.misses) -> miss => match miss {
                    Ok(miss) => self.take(miss),
                    Err(_) => return,
                },
            }
        }
    }

    /// Handles it, unless its device has its share of registrars: then one of those puts it back in the queue.
    fn take(&self, miss: Miss) {
        let device = Arc::clone(miss.cache.device());
        let Some(miss) = device.take_up(miss) else {
            return;
        };
        self.handle(&miss);
        drop(miss);
        self.shared.request_is_done();
        device.put_down();
    }

    fn handle(&self, miss: &Miss) {
        let Miss {
            cache,
            index,
            cause,
        } = miss;
        let Some(slot) = cache.slots().ensure(*index) else {
            return;
        };
        if *cause == Cause::FirstMiss {
            let epoch = self.shared.clock.epoch();
            let heat = slot.heat.bump(epoch);
            if !self.shared.is_worth_it(heat, epoch) {
                return;
            }
        }
        let Some(end) = cache.device().start_filling(cache, *index) else {
            return;
        };
        match self.fill(cache, *index, slot, end, *cause) {
            Ok(()) if *cause != Cause::ReadAhead => self.read_ahead(cache, *index),
            Ok(()) => {}
            Err(why) => self.give_up(cache, *index, slot, &why),
        }
        // A revocation that came meanwhile waits for this window to be filled or not, whichever it is now.
        self.shared.kick();
    }

    /// Takes a window from `Filling` to `Ready`, or leaves it and nothing else behind.
    fn fill(
        &self,
        cache: &Arc<WindowCache>,
        index: u64,
        slot: &Slot,
        granted: u64,
        cause: Cause,
    ) -> Result<(), NotFilled> {
        let start = index << self.shared.window_shift();
        // Registering past the end of the file would fault; the size may have changed behind our back.
        let end = granted.min(cache.source().size());
        if start >= end {
            return Err(NotFilled::Unwanted);
        }
        let pinned = (end - start).next_multiple_of(self.shared.page_bytes());
        let reservation = self.make_room(pinned, slot, cause)?;

        let mut at = start;
        while at < end {
            if self.is_stopped() || !cache.device().is_wanted(cache, index, granted) {
                return Err(NotFilled::Unwanted);
            }
            let piece = PIECE.min(end - at);
            cache
                .source()
                .populate(at, piece)
                .map_err(NotFilled::Source)?;
            at += piece;
        }

        let memory = cache.mapping(end).map_err(NotFilled::Source)?;
        let range = usize::try_from(start)
            .ok()
            .zip(usize::try_from(end).ok())
            .filter(|&(_, end)| end <= memory.len())
            .map(|(start, end)| start..end)
            .ok_or_else(|| NotFilled::Source(io::ErrorKind::UnexpectedEof.into()))?;
        let region = cache
            .adapter()
            .register(memory, range, Access::LOCAL_READ)
            .map_err(NotFilled::Adapter)?;

        let mut registered = Some(Registered::new(region, reservation));
        let generation = cache
            .device()
            .publish(cache, index, granted, || {
                cache.publish(index, registered.take()?)
            })
            // Deregisters, with the device unlocked and before the window leaves `Filling`.
            .ok_or(NotFilled::Unwanted)?;
        locked(&self.shared.victims).add(cache, index, generation);
        Ok(())
    }

    /// Reserves `bytes`, evicting windows that are colder than the one to be filled.
    fn make_room(&self, bytes: u64, slot: &Slot, cause: Cause) -> Result<Reservation, NotFilled> {
        let budget = &self.shared.budget;
        loop {
            if let Some(reservation) = budget.reserve(bytes) {
                return Ok(reservation);
            }
            // Nobody is evicted on a mere guess, or in vain.
            if cause == Cause::ReadAhead || bytes > budget.limit() {
                return Err(NotFilled::NoRoom);
            }
            let epoch = self.shared.clock.epoch();
            let coldest = locked(&self.shared.victims).coldest(epoch);
            let Some(victim) = coldest else {
                return Err(NotFilled::NoRoom);
            };
            if victim.heat >= slot.heat.at(epoch) {
                self.shared.raise_bar(victim.heat, epoch);
                return Err(NotFilled::NoRoom);
            }
            let evicted = victim.cache.slots().get(victim.index);
            if evicted.is_some_and(|slot| slot.retire_idle(victim.generation))
                && victim.cache.deregister(victim.index)
            {
                victim.cache.counters().evictions.fetch_add(1, Relaxed);
            }
            // A revocation may wait for the window that was just evicted.
            self.shared.kick();
        }
    }

    fn give_up(&self, cache: &Arc<WindowCache>, index: u64, slot: &Slot, why: &NotFilled) {
        let counters = cache.counters();
        let name = cache.name();
        match why {
            NotFilled::Unwanted => return slot.give_up(State::Empty),
            NotFilled::NoRoom => {
                counters.denials.fetch_add(1, Relaxed);
                return slot.give_up(State::Empty);
            }
            NotFilled::Source(error) => {
                tracing::debug!(windows = name, index, %error, "window cannot be read in");
            }
            NotFilled::Adapter(error) if error.is_out_of_memory() => {
                if self.shared.budget.refused() {
                    tracing::warn!(
                        windows = name,
                        %error,
                        pinned_bytes = self.shared.budget.limit(),
                        "no more memory can be pinned: the rest is served through buffers; {REMEDY}"
                    );
                }
            }
            NotFilled::Adapter(error) => {
                tracing::debug!(windows = name, index, %error, "window cannot be registered");
            }
        }
        counters.registration_failures.fetch_add(1, Relaxed);
        let doublings = slot.failures.fetch_add(1, Relaxed).min(MAX_DOUBLINGS);
        slot.give_up(State::Failed);
        self.shared.command(Command::Backoff {
            cache: Arc::downgrade(cache),
            index,
            until: Instant::now() + self.shared.settings().backoff * (1 << doublings),
        });
    }

    /// After two windows in a row, the next one is likely to be wanted too.
    fn read_ahead(&self, cache: &Arc<WindowCache>, index: u64) {
        let is = |index, state| {
            let slot = cache.slots().get(index);
            slot.map_or(State::Empty, |slot| slot.word().state()) == state
        };
        let next = index + 1;
        let after_another = index
            .checked_sub(1)
            .is_some_and(|before| is(before, State::Ready));
        if after_another && is(next, State::Empty) && cache.slots().covers(next) {
            self.shared.request(Miss {
                cache: Arc::clone(cache),
                index: next,
                cause: Cause::ReadAhead,
            });
        }
    }

    fn is_stopped(&self) -> bool {
        self.stopped.try_recv() == Err(TryRecvError::Disconnected)
    }
}
