//! Reservation notifications (NVMe base 2.0 section 8.19.1), and the log page that tells of them (log page 80h).

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use super::features::is;
use crate::nvme::controller::{Controller, State};
use crate::reservations::{MOST_NOTICES, Notice};
use crate::scsi::{Nexus, ScsiChannel};

/// Bytes of the page.
pub(crate) const SIZE: usize = 64;
/// Notifications that wait to be read: no more can be announced (NALP), beside the one that is read.
const MOST: usize = MOST_NOTICES;
const _: () = assert!(MOST == 1 + u8::MAX as usize);

/// Reservation Notification Log Page Type.
pub(super) fn code(notice: Notice) -> u8 {
    match notice {
        Notice::RegistrationPreempted => 1,
        Notice::ReservationReleased => 2,
        Notice::ReservationPreempted => 3,
    }
}

/// What a controller has to tell its host of reservations. Every read takes one.
#[derive(Debug, Default)]
pub(crate) struct ReservationLog {
    /// As many as there were since the last reset (LPC).
    count: u64,
    /// Oldest first.
    unread: VecDeque<Entry>,
    /// The host was told, and has not read since.
    told: bool,
}

#[derive(Debug)]
struct Entry {
    count: u64,
    notice: Notice,
    /// The namespace: its identifier, and which of those that had it.
    namespace: u32,
    nexus: Weak<Nexus>,
}

impl ReservationLog {
    /// If there are too many already, it is lost.
    fn note(&mut self, namespace: u32, nexus: &Arc<Nexus>, notice: Notice) {
        self.count = after(self.count, 1);
        if self.unread.len() >= MOST {
            self.tell_of_lost();
            return;
        }
        self.unread.push_back(Entry {
            count: self.count,
            notice,
            namespace,
            nexus: Arc::downgrade(nexus),
        });
    }

    /// Forgets what it has to tell of namespaces that are gone, or that are others now.
    fn forget_gone(&mut self, units: &mut ScsiChannel) {
        if self.unread.is_empty() {
            return;
        }
        self.unread.retain(|entry| {
            let now = units.slot(entry.namespace - 1);
            now.is_some_and(|slot| is(&entry.nexus, &slot.nexus))
        });
    }

    /// So many were lost before they came here.
    fn lose(&mut self, lost: u64) {
        self.count = after(self.count, lost);
        self.tell_of_lost();
    }

    /// The last one has the number of the last that was lost: the host sees what is missing before it.
    fn tell_of_lost(&mut self) {
        if let Some(last) = self.unread.back_mut() {
            last.count = self.count;
        }
    }

    /// Takes the oldest one: its page, or zeros if there is none. The host hears of the next one, unless the event is retained (RAE).
    pub(crate) fn read(&mut self, retain: bool) -> Vec<u8> {
        self.told &= retain;
        let mut page = Vec::with_capacity(SIZE);
        if let Some(entry) = self.unread.pop_front() {
            page.extend(entry.count.to_le_bytes());
            page.push(code(entry.notice));
            page.push(u8::try_from(self.unread.len()).unwrap_or(u8::MAX));
            page.extend([0; 2]);
            page.extend(entry.namespace.to_le_bytes());
        }
        page.resize(SIZE, 0);
        page
    }

    /// Whether the host has to be told that there is something to read.
    pub(crate) fn is_news(&self) -> bool {
        !self.told && !self.unread.is_empty()
    }

    /// The host was told.
    pub(crate) fn tell(&mut self) {
        self.told = true;
    }
}

/// A number of notifications after another one. Zero is for the page of none (LPC).
fn after(count: u64, more: u64) -> u64 {
    let (sum, wraps) = count.overflowing_add(more);
    sum + u64::from(wraps)
}

impl Controller {
    /// Takes what the tables of all namespaces have to tell the host. What is masked is forgotten.
    pub(crate) fn collect_reservation_notices(&self, units: &mut ScsiChannel) {
        if self.is_discovery() {
            return;
        }
        self.lock().events.reservations.forget_gone(units);
        let slots = units.slots().iter();
        let news: Vec<_> = slots
            .filter(|slot| slot.nexus.seat().has_notices())
            .map(|slot| (slot, slot.nexus.seat().take_notices()))
            .collect();
        if news.is_empty() {
            return;
        }
        let mut state = self.lock();
        let State {
            features, events, ..
        } = &mut *state;
        let log = &mut events.reservations;
        for (slot, notices) in news {
            let hidden = |notice| features.reservation_masks.hides(slot, notice);
            for notice in notices.queued {
                if !hidden(notice) {
                    log.note(slot.number + 1, &slot.nexus, notice);
                }
            }
            for (notice, count) in notices.lost.kinds() {
                if count != 0 && !hidden(notice) {
                    log.lose(count);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scsi::testing::unit;

    #[test]
    fn counts_pass_over_zero() {
        for (count, more, sum) in [
            (0, 1, 1),
            (u64::MAX, 1, 1),
            (u64::MAX - 1, 1, u64::MAX),
            (u64::MAX - 1, 3, 2),
            (7, 0, 7),
        ] {
            assert_eq!(after(count, more), sum, "{count} {more}");
        }
        let mut log = ReservationLog {
            count: u64::MAX,
            ..ReservationLog::default()
        };
        let unit = Arc::new(unit());
        let nexus = Arc::new(Nexus::new(&unit.into(), None, 0));
        log.note(1, &nexus, Notice::ReservationReleased);
        assert_eq!(log.read(false)[..8], 1_u64.to_le_bytes());
    }
}
