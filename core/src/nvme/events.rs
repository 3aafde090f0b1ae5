//! Asynchronous events (NVMe base 2.0 section 5.2).
//!
//! There are notices, of which a controller has one kind, and reservations, of which each namespace has a mask. Once the host has
//! been told of either, it is not told again until it has read the log page that belongs to it.

use std::collections::BTreeSet;

use super::controller::{Controller, Kind, State};
use super::plan::{Plan, Planned};
use super::reservations::ReservationLog;
use super::status::Status;
use crate::scsi::{ScsiChannel, Slot};

/// Asynchronous Event Requests that a host may have waiting.
pub(crate) const REQUEST_LIMIT: u8 = 4;

/// Namespace Attribute Notices, in OAES and in the Asynchronous Event Configuration feature.
const NAMESPACE_NOTICES: u32 = 1 << 8;
/// Asymmetric Namespace Access Change Notices, in the same: who reports ANA has them (NVMe base 2.0 section 8.1), but no state ever
/// changes.
const ANA_NOTICES: u32 = 1 << 11;
/// Discovery Log Page Change Notification, in the same.
const DISCOVERY_NOTICES: u32 = 1 << 31;

/// Changed Namespace List cannot tell of more.
const MOST_CHANGED: usize = 1024;

/// Optional Asynchronous Events Supported (OAES of Identify CNS 01h).
pub(crate) fn supported(kind: &Kind) -> u32 {
    match kind {
        Kind::Io => NAMESPACE_NOTICES | ANA_NOTICES,
        Kind::Discovery(_) => DISCOVERY_NOTICES,
    }
}

/// Asynchronous Event Request.
pub(crate) fn request(controller: &Controller) -> Planned {
    let mut state = controller.lock();
    if state.events.waiting >= REQUEST_LIMIT {
        return Err(Status::EVENT_LIMIT_EXCEEDED);
    }
    state.events.waiting += 1;
    Ok(Plan::Event)
}

/// What there is to tell, and who waits to be told.
#[derive(Debug)]
pub(crate) struct Events {
    /// Requests that wait.
    pub(crate) waiting: u8,
    notice: Notice,
    /// What the host knows, once it is a host that looks.
    known: Option<Known>,
    /// Namespaces that have changed since the host has read of it. One more than can be told stands for any number.
    changed: BTreeSet<u32>,
    /// How often namespaces have changed.
    changes: u64,
    /// What has become of reservations.
    pub(crate) reservations: ReservationLog,
}

/// A controller has one kind of notice, that of its own kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Notice {
    /// There is nothing to tell.
    Nothing,
    /// There is something to tell.
    Raised,
    /// The host was told, and has not read the log page yet. That will tell whatever else has changed.
    Told,
}

/// What a host knows of what may change.
#[derive(Debug)]
enum Known {
    /// In ascending order.
    Namespaces(Vec<Namespace>),
    /// The generation of the discovery log page.
    Discovery(u64),
}

/// A namespace as Identify has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Namespace {
    id: u32,
    /// Tells it from others that had its identifier, also if they have come and gone without being seen.
    since: u64,
    capacity: u64,
    write_protected: bool,
}

impl Events {
    pub(crate) fn new(_kind: &Kind) -> Self {
        Self {
            waiting: 0,
            notice: Notice::Nothing,
            known: None,
            changed: BTreeSet::new(),
            changes: 0,
            reservations: ReservationLog::default(),
        }
    }

    /// The controller was reset: the host will look at everything again. Whether requests go on waiting is up to the transport.
    pub(crate) fn reset(&mut self) {
        self.notice = Notice::Nothing;
        self.known = None;
        self.changed.clear();
        self.reservations = ReservationLog::default();
    }

    /// Changed namespaces in ascending order, for the log page of them; more than fit there if there are too many.
    pub(crate) fn read_changed(&mut self, retain: bool) -> Vec<u32> {
        if retain {
            return self.changed.iter().copied().collect();
        }
        self.notice = Notice::Nothing;
        std::mem::take(&mut self.changed).into_iter().collect()
    }

    /// The discovery log page is read.
    pub(crate) fn read_discovery(&mut self) {
        self.notice = Notice::Nothing;
    }

    /// How often namespaces have changed since the host connected.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// Takes note of what is so now. Returns whether it is not what the host knows.
    fn learn(&mut self, now: Known) -> bool {
        let changed = match (&self.known, &now) {
            (Some(Known::Namespaces(before)), Known::Namespaces(now)) => {
                let changed: BTreeSet<u32> = difference(before, now)
                    .chain(difference(now, before))
                    .collect();
                let room = (MOST_CHANGED + 1).saturating_sub(self.changed.len());
                self.changed.extend(changed.iter().take(room));
                self.changes += u64::from(!changed.is_empty());
                !changed.is_empty()
            }
            (Some(Known::Discovery(before)), Known::Discovery(now)) => before != now,
            _ => false,
        };
        self.known = Some(now);
        changed
    }
}

/// Namespaces of one list that the other one has not, or has otherwise.
fn difference(one: &[Namespace], other: &[Namespace]) -> impl Iterator<Item = u32> {
    one.iter()
        .filter(|namespace| {
            let at = other.binary_search_by_key(&namespace.id, |other| other.id);
            at.ok().and_then(|at| other.get(at)) != Some(namespace)
        })
        .map(|namespace| namespace.id)
}

impl Controller {
    /// Looks whether anything has changed that the host may want to hear of: namespaces and their reservations, or what there is to
    /// discover.
    pub fn look(&self, units: &mut ScsiChannel) {
        self.collect_reservation_notices(units);
        let now = match &self.setup.kind {
            Kind::Io => Known::Namespaces(namespaces(units)),
            Kind::Discovery(source) => Known::Discovery(source.generation()),
        };
        let mut state = self.lock();
        if state.events.learn(now)
            && self.is_wanted(&state)
            && state.events.notice == Notice::Nothing
        {
            state.events.notice = Notice::Raised;
        }
    }

    /// The host is about to look at what there is. What changes from now on is news.
    pub(crate) fn host_looks(&self, units: &mut ScsiChannel) {
        if self.lock().events.known.is_none() {
            self.look(units);
        }
    }

    /// The result of an Asynchronous Event Request, if one waits and there is something to tell. Call it until there is none.
    pub fn take_event(&self) -> Option<u32> {
        let mut state = self.lock();
        let is_notice = state.events.notice == Notice::Raised && self.is_wanted(&state);
        let events = &mut state.events;
        if events.reservations.is_news() {
            events.waiting = events.waiting.checked_sub(1)?;
            events.reservations.tell();
            return Some(RESERVATIONS_CHANGED);
        }
        if !is_notice {
            return None;
        }
        events.waiting = events.waiting.checked_sub(1)?;
        events.notice = Notice::Told;
        Some(match self.setup.kind {
            Kind::Io => notice(0x00, 0x04),
            Kind::Discovery(_) => notice(0xf0, 0x70),
        })
    }

    /// Whether the host wants to hear of what changes here (Asynchronous Event Configuration).
    fn is_wanted(&self, state: &State) -> bool {
        let notices = match self.setup.kind {
            Kind::Io => NAMESPACE_NOTICES,
            Kind::Discovery(_) => DISCOVERY_NOTICES,
        };
        state.features.event_config() & notices != 0
    }

    /// An Asynchronous Event Request was aborted.
    pub fn event_request_gone(&self) {
        let mut state = self.lock();
        state.events.waiting = state.events.waiting.saturating_sub(1);
    }
}

/// Dword 0 of an event (NVMe base 2.0 section 5.2): type, information, and the log page to read.
const fn result(kind: u32, information: u8, page: u8) -> u32 {
    kind | (information as u32) << 8 | (page as u32) << 16
}

/// I/O Command specific status, Reservation Log Page Available. The host has no switch for all of these events, but masks for each
/// namespace.
const RESERVATIONS_CHANGED: u32 = result(6, 0x00, 0x80);

fn notice(information: u8, page: u8) -> u32 {
    const NOTICE: u32 = 2;
    result(NOTICE, information, page)
}

fn namespaces(units: &mut ScsiChannel) -> Vec<Namespace> {
    let namespace = |slot: &Slot| Namespace {
        id: slot.number + 1,
        since: slot.nexus.since(),
        capacity: slot.nexus.unit.capacity(),
        write_protected: slot.nexus.write_protected(),
    };
    units.slots().iter().map(namespace).collect()
}
