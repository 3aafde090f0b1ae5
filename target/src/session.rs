//! A session: one initiator logged in to one target, over one or more connections.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use pagecast_core::scsi::ScsiSession;

use crate::config::Transport;
use crate::device::Device;
use crate::device::table::DeviceTable;
use crate::iscsi::directory::Credentials as Chap;
use crate::metrics::session::SessionMeters;
use crate::nvme::auth::Credentials as DhChap;

/// Names a session for as long as the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// What an initiator proves who it is with.
#[derive(Clone, Debug, Default)]
pub enum Proof {
    /// Nothing was asked for, or its transport has no such thing.
    #[default]
    Nothing,
    /// That of iSCSI and iSER.
    Chap(Arc<Chap>),
    /// That of NVMe hosts.
    DhChap(Arc<DhChap>),
}

impl Proof {
    /// Whether it is good enough where `wanted` is asked for. What we prove in return does not matter.
    pub fn is_good_for(&self, wanted: &Self) -> bool {
        match (self, wanted) {
            (_, Self::Nothing) => true,
            (Self::Chap(own), Self::Chap(wanted)) => {
                own.user == wanted.user && own.secret == wanted.secret
            }
            (Self::DhChap(own), Self::DhChap(wanted)) => own.has_key_of(wanted),
            _ => false,
        }
    }

    /// Whether there is one.
    pub fn is_something(&self) -> bool {
        !matches!(self, Self::Nothing)
    }
}

/// What the connections of a session share, whichever shards they live on.
#[derive(Debug)]
pub struct Session {
    /// Names it.
    pub id: SessionId,
    /// The initiator, by the name that people know it by.
    pub initiator: String,
    /// The target's name.
    pub target: String,
    /// The access group that it is in.
    group: Mutex<Arc<str>>,
    /// What its initiator proved who it is with when it came in; NVMe hosts do so before anything of theirs is served.
    pub proof: Proof,
    /// What it came in over.
    pub transport: Transport,
    /// Where the first connection came from.
    pub peer: String,
    /// Logical units and unit attentions.
    pub scsi: Arc<ScsiSession>,
    /// What the tags of logical units mean.
    pub devices: Arc<DeviceTable>,
    /// Connections that are up.
    pub connections: AtomicU32,
    /// Commands in flight.
    pub in_flight: AtomicU32,
    /// What its connections have done.
    pub meters: SessionMeters,
    /// How many losses of written data it knows of, for each device that it has seen lose any.
    known_losses: Mutex<HashMap<usize, u64>>,
}

/// Who a session is of, and what it is to.
#[derive(Clone, Debug)]
pub struct Parties {
    /// The initiator, by the name that people know it by.
    pub initiator: String,
    /// The target's name.
    pub target: String,
    /// The access group that let it in.
    pub group: String,
    /// What that one asked it to prove.
    pub proof: Proof,
    /// What it came in over.
    pub transport: Transport,
    /// Where the first connection came from.
    pub peer: String,
}

impl Session {
    /// A session without connections.
    pub fn new(
        id: SessionId,
        parties: Parties,
        scsi: Arc<ScsiSession>,
        devices: Arc<DeviceTable>,
    ) -> Self {
        Self {
            id,
            initiator: parties.initiator,
            target: parties.target,
            group: Mutex::new(parties.group.into()),
            proof: parties.proof,
            transport: parties.transport,
            peer: parties.peer,
            scsi,
            devices,
            connections: AtomicU32::new(0),
            in_flight: AtomicU32::new(0),
            meters: SessionMeters::default(),
            known_losses: Mutex::default(),
        }
    }

    /// The access group that it is in.
    pub fn group(&self) -> Arc<str> {
        Arc::clone(&self.group.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// It is in this access group from now on.
    pub fn set_group(&self, group: &str) {
        *self.group.lock().unwrap_or_else(PoisonError::into_inner) = group.into();
    }

    /// Whether data was lost that this session may have written and has not been told of. It counts as told then. What was lost
    /// before the session saw the device first is none of its business.
    pub fn hears_of_lost_writes(&self, device: &Device) -> bool {
        let lost = device.lost_writes();
        let mut known = (self.known_losses.lock()).unwrap_or_else(PoisonError::into_inner);
        known
            .insert(device.index, lost)
            .is_some_and(|before| before != lost)
    }

    /// It meets a device for the first time, on one of its connections.
    pub fn meets(&self, device: &Device) {
        let mut known = (self.known_losses.lock()).unwrap_or_else(PoisonError::into_inner);
        known.entry(device.index).or_insert(device.lost_writes());
    }

    /// Counts a command in.
    pub fn command_started(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    /// Counts a command out.
    pub fn command_ended(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }
}
