//! Reservation notifications (NVMe base 2.0 section 8.19.1), and the log page that tells of them (log page 80h).

use std::collections::VecDeque;

use crate::nvme::controller::Controller;
use crate::reservations::Notice;
use crate::scsi::ScsiChannel;

/// Bytes of the page.
const SIZE: usize = 64;
/// Notifications that wait to be read: no more can be announced (NALP), beside the one that is read.
const MOST: usize = 256;

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

#[derive(Clone, Copy, Debug)]
struct Entry {
    count: u64,
    notice: Notice,
    namespace: u32,
}

impl ReservationLog {
    /// The oldest go if there are too many; that counts skip says so.
    fn note(&mut self, namespace: u32, notice: Notice) {
        // Zero is for the page of none.
        self.count = self.count.checked_add(1).unwrap_or(1);
        if self.unread.len() >= MOST {
            self.unread.pop_front();
        }
        self.unread.push_back(Entry {
            count: self.count,
            notice,
            namespace,
        });
    }

    /// The page for the oldest one; zeros if there is none. Unless it is retained, it counts as read, and the host hears of the next
    /// one.
    pub(crate) fn read(&mut self, retain: bool) -> Vec<u8> {
        let next = if retain {
            self.unread.front().copied()
        } else {
            self.told = false;
            self.unread.pop_front()
        };
        let mut page = Vec::with_capacity(SIZE);
        if let Some(entry) = next {
            let others = self.unread.len() - usize::from(retain);
            page.extend(entry.count.to_le_bytes());
            page.push(code(entry.notice));
            page.push(u8::try_from(others).unwrap_or(u8::MAX));
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

impl Controller {
    /// Takes what the tables of all namespaces have to tell the host. What is masked is forgotten.
    pub(crate) fn collect_reservation_notices(&self, units: &mut ScsiChannel) {
        if self.is_discovery() {
            return;
        }
        let mut notices = Vec::new();
        for (number, seat) in units.seats() {
            while seat.has_notices()
                && let Some(notice) = seat.take_notice()
            {
                notices.push((number + 1, notice));
            }
        }
        if notices.is_empty() {
            return;
        }
        let mut state = self.lock();
        for (namespace, notice) in notices {
            if !state.features.reservation_masks.hides(namespace, notice) {
                state.events.reservations.note(namespace, notice);
            }
        }
    }
}
