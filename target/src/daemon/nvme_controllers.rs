//! The controllers that NVMe hosts are connected to, and what goes with a queue that goes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use pagecast_core::nvme::Controller;

use super::{Control, Nexus};
use crate::nvme::auth::Credentials;
use crate::session::Session;
use crate::shard::messages::{CloseReason, ConnectionKey, NvmeAdmission};

/// The largest controller identifier (NVMe base 2.0 section 4.2.3.1 reserves what is above). 0 is valid, and never used.
const MAX_CONTROLLER_ID: u16 = 0xffef;

/// The controllers that hosts are connected to. Their identifiers differ across subsystems as well: simpler for logs.
#[derive(Debug, Default)]
pub(super) struct Controllers {
    pub(super) by_id: HashMap<u16, Association>,
    /// The identifier that was given last.
    last: u16,
}

/// A controller with its host's queues.
#[derive(Debug)]
pub(super) struct Association {
    pub(super) controller: Arc<Controller>,
    pub(super) session: Arc<Session>,
    /// The connections of its queues, by queue identifier.
    pub(super) queues: BTreeMap<u16, ConnectionKey>,
}

impl Association {
    /// Lets in a queue, over which the host has to prove who it is first if there are credentials.
    pub(super) fn admission(&self, credentials: Option<Arc<Credentials>>) -> NvmeAdmission {
        NvmeAdmission {
            session: Arc::clone(&self.session),
            controller: Arc::clone(&self.controller),
            credentials,
        }
    }
}

impl Controllers {
    /// An identifier that no controller has, and none had lately.
    pub(super) fn free_id(&mut self) -> Option<u16> {
        for _ in 0..MAX_CONTROLLER_ID {
            self.last = self.last % MAX_CONTROLLER_ID + 1;
            if !self.by_id.contains_key(&self.last) {
                return Some(self.last);
            }
        }
        None
    }
}

impl Control {
    /// A queue of a controller is on its way out. Without its admin queue a controller is nothing.
    pub(super) fn queue_ends(&mut self, controller: u16, key: ConnectionKey) {
        let Some(association) = self.controllers.by_id.get(&controller) else {
            return;
        };
        if association.queues.get(&0) == Some(&key) {
            self.end_io_queues(controller);
        }
    }

    /// A queue of a controller is gone.
    pub(super) fn queue_gone(&mut self, controller: u16, key: ConnectionKey) {
        let Some(association) = self.controllers.by_id.get_mut(&controller) else {
            return;
        };
        // Its number may be another connection's already.
        association.queues.retain(|_, queue| *queue != key);
        if association.queues.is_empty() {
            self.controllers.by_id.remove(&controller);
        }
    }

    fn end_io_queues(&mut self, controller: u16) {
        let Some(association) = self.controllers.by_id.get(&controller) else {
            return;
        };
        let queues: Vec<_> = (association.queues.iter())
            .filter(|&(&number, _)| number != 0)
            .map(|(_, &key)| key)
            .collect();
        for key in queues {
            self.end(key, CloseReason::ControllerGone);
        }
    }

    /// A host has reset its controller: its I/O queues go.
    pub(super) fn controller_reset(&mut self, key: ConnectionKey) {
        let nexus = self.connections.get(&key).map(|entry| &entry.nexus);
        if let Some(&Some(Nexus::Nvme(controller))) = nexus {
            self.end_io_queues(controller);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pagecast_core::nvme::{ControllerSetup, Host, Kind};
    use pagecast_core::scsi::{PortName, ScsiSession, TargetPort};

    use super::*;
    use crate::config::Transport;
    use crate::nvme::capsule::IN_CAPSULE;
    use crate::session::{Parties, Proof, SessionId};

    fn association(id: u16) -> Association {
        let port = TargetPort {
            relative_identifier: 3,
            group: 1,
            name: PortName::Srp([0; 16]),
        };
        let parties = Parties {
            initiator: String::new(),
            target: String::new(),
            group: String::new(),
            proof: Proof::Nothing,
            transport: Transport::NvmeRdma,
            peer: String::new(),
        };
        let scsi = ScsiSession::new(port, None, &BTreeMap::new());
        let session = Session::new(SessionId(1), parties, scsi, Arc::default());
        let setup = ControllerSetup {
            kind: Kind::Io,
            id,
            subsystem: "nqn.x".to_owned(),
            host: Host {
                nqn: "nqn.host".to_owned(),
                id: [1; 16],
            },
            serial: String::new(),
            port: 3,
            queue_depth: 64,
            queues: 4,
            in_capsule: IN_CAPSULE,
            max_transfer: 1 << 20,
            keep_alive: Duration::ZERO,
            now: Duration::ZERO,
        };
        Association {
            controller: Controller::new(setup),
            session: Arc::new(session),
            queues: BTreeMap::new(),
        }
    }

    #[test]
    fn identifiers_are_not_used_again_soon() {
        let mut controllers = Controllers::default();
        assert_eq!(controllers.free_id(), Some(1));
        assert_eq!(controllers.free_id(), Some(2), "though 1 is free");
        controllers.last = MAX_CONTROLLER_ID - 1;
        controllers.by_id.insert(1, association(1));
        assert_eq!(controllers.free_id(), Some(MAX_CONTROLLER_ID));
        assert_eq!(controllers.free_id(), Some(2), "0 and 1 are passed over");
    }

    #[test]
    fn identifiers_run_out() {
        let mut controllers = Controllers::default();
        let one = association(1);
        for id in 1..=MAX_CONTROLLER_ID {
            let copy = Association {
                controller: Arc::clone(&one.controller),
                session: Arc::clone(&one.session),
                queues: BTreeMap::new(),
            };
            controllers.by_id.insert(id, copy);
        }
        assert_eq!(controllers.free_id(), None);
        controllers.by_id.remove(&77);
        assert_eq!(controllers.free_id(), Some(77));
    }
}
