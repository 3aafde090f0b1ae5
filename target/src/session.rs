//! A session: one initiator logged in to one target, over one or more connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use pagecast_core::scsi::ScsiSession;

use crate::config::Transport;
use crate::device::Device;

/// Names a session for as long as the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// What the connections of a session share, whichever shards they live on.
#[derive(Debug)]
pub struct Session {
    /// Names it.
    pub id: SessionId,
    /// The initiator, by the name that people know it by.
    pub initiator: String,
    /// The target's name.
    pub target: String,
    /// The access group that let it in.
    pub group: String,
    /// What it came in over.
    pub transport: Transport,
    /// Where the first connection came from.
    pub peer: String,
    /// Logical units and unit attentions.
    pub scsi: Arc<ScsiSession>,
    /// Every device of the process, by index: what the tags of logical units mean.
    pub devices: Arc<[Arc<Device>]>,
    /// Connections that are up.
    pub connections: AtomicU32,
    /// Commands in flight.
    pub in_flight: AtomicU32,
    /// How many losses of written data it knows of, for each device.
    pub known_losses: Box<[AtomicU64]>,
}

impl Session {
    /// The device behind a logical unit.
    pub fn device(&self, index: usize) -> Option<&Arc<Device>> {
        self.devices.get(index)
    }

    /// Whether data was lost that this session may have written and has not been told of. It counts as told then.
    pub fn hears_of_lost_writes(&self, device: &Device) -> bool {
        let lost = device.lost_writes();
        self.known_losses
            .get(device.index)
            .is_some_and(|known| known.swap(lost, Relaxed) != lost)
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
