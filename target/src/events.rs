//! What happens while the daemon runs, for people and programs that watch.
//!
//! Whoever has something to tell calls [`Events::tell`], which never waits. Each watcher has a [`Subscription`] with room for so
//! many events; one that is too slow for them loses some, and is told how many.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use schemars::JsonSchema;
use serde::Serialize;

/// Events that wait for one watcher, at most.
pub const ROOM: usize = 4096;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Event {
    /// Counts every event since the start, from 1.
    pub sequence: u64,
    /// Milliseconds since the beginning of 1970, UTC.
    pub time_ms: u64,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened. Names are part of the interface: add, but do not rename.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum EventKind {
    /// An initiator has logged in.
    Login {
        /// As in `session list`.
        session: u64,
        /// The initiator.
        initiator: String,
        /// The target's name.
        target: String,
        /// The access group.
        group: String,
        /// `srp`, `iser`, ...
        transport: String,
        /// Its address.
        peer: String,
    },
    /// A session has ended.
    Logout {
        /// As in `session list`.
        session: u64,
        /// The initiator.
        initiator: String,
        /// The target's name.
        target: String,
        /// `srp`, `iser`, ...
        transport: String,
        /// Its address.
        peer: String,
    },
    /// Somebody was not let in.
    Refused {
        /// By the name that it gave, if it came that far.
        initiator: Option<String>,
        /// What it wanted to log in to, if it said so.
        target: Option<String>,
        /// `srp`, `iser`, ...
        transport: String,
        /// Its address.
        peer: String,
        /// Why, and what to do about it.
        why: String,
    },
    /// A session sees something else than before.
    Reassigned {
        /// As in `session list`.
        session: u64,
        /// The initiator.
        initiator: String,
        /// The target's name.
        target: String,
        /// `srp`, `iser`, ...
        transport: String,
        /// Its address.
        peer: String,
        /// The access group before.
        group_before: String,
        /// The access group now; none if it is closed.
        group: Option<String>,
        /// Why it is closed; none if it is not.
        closed: Option<Closed>,
        /// LUNs that are there now.
        luns_added: Vec<u32>,
        /// LUNs that are there no more.
        luns_removed: Vec<u32>,
    },
    /// The configuration has changed.
    Configured {
        /// By which method of the control socket, or `start`.
        by: String,
    },
    /// The reservations of a device have changed.
    Reservation {
        /// The device's name.
        device: String,
        /// What was done, in the words of SPC: `register`, `reserve`, `preempt`, ...
        action: String,
        /// Who did it; none if it was an operator.
        initiator: Option<String>,
        /// Type of the reservation now; none if there is none.
        kind: Option<String>,
        /// How many are registered now.
        registrants: usize,
    },
    /// The queue depth of a device has changed.
    QueueDepth {
        /// The device's name.
        device: String,
        /// Before.
        before: u32,
        /// Now.
        now: u32,
        /// Why.
        why: String,
    },
    /// A device works again, or for the first time, or has its store back at its path.
    DeviceOnline {
        /// The device's name.
        device: String,
    },
    /// A device does not work; it is tried again.
    DeviceOffline {
        /// The device's name.
        device: String,
        /// Why.
        why: String,
    },
    /// An RDMA device is in service.
    AdapterAdded {
        /// Its name.
        adapter: String,
    },
    /// An RDMA device is gone.
    AdapterRemoved {
        /// Its name.
        adapter: String,
    },
    /// Something went wrong that people should know of.
    Error {
        /// What.
        what: String,
    },
    /// The watcher was too slow.
    Missed {
        /// How many events it has not been told of.
        events: u64,
    },
}

/// Why a change closes a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Closed {
    /// No access group admits it any more.
    NotAdmitted,
    /// It has not proved what the access group that admits it asks for.
    NotAuthenticated,
}

/// Where events are told.
#[derive(Debug, Default)]
pub struct Events {
    watchers: Mutex<Watchers>,
}

#[derive(Debug, Default)]
struct Watchers {
    sequence: u64,
    list: Vec<Weak<Queue>>,
}

impl Events {
    /// Tells everybody who watches.
    pub fn tell(&self, kind: EventKind) {
        let mut watchers = self.lock();
        watchers.sequence += 1;
        let event = Event {
            sequence: watchers.sequence,
            time_ms: now_ms(),
            kind,
        };
        watchers.list.retain(|watcher| match watcher.upgrade() {
            Some(queue) => {
                queue.push(&event);
                true
            }
            None => false,
        });
    }

    /// Watches from now on.
    pub fn subscribe(&self) -> Subscription {
        let queue = Arc::new(Queue::default());
        self.lock().list.push(Arc::downgrade(&queue));
        Subscription { queue }
    }

    /// The list is never left half changed.
    fn lock(&self) -> MutexGuard<'_, Watchers> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The events that one watcher has not taken yet.
#[derive(Debug)]
pub struct Subscription {
    queue: Arc<Queue>,
}

impl Subscription {
    /// The next event; none if there is none for so long.
    pub fn next(&self, patience: Duration) -> Option<Event> {
        self.queue.take(patience)
    }
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Event>,
    missed: u64,
}

impl Queue {
    fn push(&self, event: &Event) {
        let mut state = self.lock();
        if state.events.len() < ROOM {
            state.events.push_back(event.clone());
        } else {
            // The oldest goes: what is so now matters more.
            state.events.pop_front();
            state.events.push_back(event.clone());
            state.missed += 1;
        }
        self.arrived.notify_one();
    }

    fn take(&self, patience: Duration) -> Option<Event> {
        let state = self.lock();
        let nothing = |state: &mut Waiting| state.events.is_empty();
        let (mut state, _) = self
            .arrived
            .wait_timeout_while(state, patience, nothing)
            .unwrap_or_else(PoisonError::into_inner);
        let missed = std::mem::take(&mut state.missed);
        if missed > 0 {
            let next = state.events.front().map_or(0, |event| event.sequence);
            return Some(Event {
                sequence: next.saturating_sub(1),
                time_ms: now_ms(),
                kind: EventKind::Missed { events: missed },
            });
        }
        state.events.pop_front()
    }

    /// The queue is never left half changed.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(what: usize) -> EventKind {
        EventKind::Error {
            what: what.to_string(),
        }
    }

    #[test]
    fn watchers_hear_what_happens_from_then_on() {
        let events = Events::default();
        events.tell(error(0));
        let one = events.subscribe();
        events.tell(error(1));
        let two = events.subscribe();
        events.tell(error(2));
        let sequences = |watcher: &Subscription| {
            let next = || watcher.next(Duration::ZERO).map(|event| event.sequence);
            std::iter::from_fn(next).collect::<Vec<_>>()
        };
        assert_eq!(sequences(&one), [2, 3]);
        assert_eq!(sequences(&two), [3]);
        drop(one);
        events.tell(error(3));
        assert_eq!(events.lock().list.len(), 1);
    }

    #[test]
    fn a_slow_watcher_is_told_what_it_missed() {
        let events = Events::default();
        let watcher = events.subscribe();
        for n in 0..ROOM + 10 {
            events.tell(error(n));
        }
        let first = watcher.next(Duration::ZERO).expect("something");
        assert_eq!(first.kind, EventKind::Missed { events: 10 });
        assert_eq!(first.sequence, 10);
        assert_eq!(watcher.next(Duration::ZERO).expect("next").sequence, 11);
    }
}
