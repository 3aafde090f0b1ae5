//! Which windows there are to evict.

use std::sync::{Arc, Weak};

use super::cache::WindowCache;
use super::slot::State;

/// Windows that are looked at for one eviction. The coldest of a sample is cold enough, and the search stays short.
const SAMPLE: usize = 64;

/// Every registered window of a service, and a hand that goes round. Entries of windows that are gone are removed when the
/// hand, or the cleaning before the list grows, comes across them.
#[derive(Debug, Default)]
pub(super) struct Victims {
    known: Vec<Victim>,
    hand: usize,
    clean_at: usize,
}

/// One registration of a window.
#[derive(Clone, Debug)]
pub(super) struct Victim {
    cache: Weak<WindowCache>,
    index: u64,
    generation: u32,
}

/// A window that may be evicted, if it is still the same and idle.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) cache: Arc<WindowCache>,
    pub(super) index: u64,
    pub(super) generation: u32,
    pub(super) heat: u16,
}

impl Victims {
    /// Remembers a window that was just registered.
    pub(super) fn add(&mut self, cache: &Arc<WindowCache>, index: u64, generation: u32) {
        if self.known.len() >= self.clean_at {
            self.known.retain(|victim| victim.find().is_some());
            self.clean_at = 2 * self.known.len() + SAMPLE;
        }
        self.known.push(Victim {
            cache: Arc::downgrade(cache),
            index,
            generation,
        });
    }

    /// The coldest of the next few windows that nobody has a lease on.
    pub(super) fn coldest(&mut self, epoch: u16) -> Option<Candidate> {
        let mut coldest: Option<Candidate> = None;
        let mut looks = SAMPLE.min(self.known.len());
        while looks > 0 && !self.known.is_empty() {
            self.hand %= self.known.len();
            let victim = &self.known[self.hand];
            let Some((cache, leases)) = victim.find() else {
                self.known.swap_remove(self.hand);
                looks = looks.min(self.known.len());
                continue;
            };
            looks -= 1;
            self.hand += 1;
            let slot = cache.slots().get(victim.index);
            let heat = slot.map_or(u16::MAX, |slot| slot.heat.at(epoch));
            if leases == 0 && coldest.as_ref().is_none_or(|other| heat < other.heat) {
                coldest = Some(Candidate {
                    index: victim.index,
                    generation: victim.generation,
                    heat,
                    cache,
                });
            }
        }
        coldest
    }
}

impl Victim {
    /// The cache, if the window is still registered as it was, and its leases.
    fn find(&self) -> Option<(Arc<WindowCache>, u32)> {
        let cache = self.cache.upgrade()?;
        let word = cache.slots().get(self.index)?.word();
        (word.state() == State::Ready && word.generation() == self.generation)
            .then_some((cache, word.leases()))
    }
}
