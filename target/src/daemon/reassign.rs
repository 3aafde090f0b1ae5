//! Who sees what, looked at again for sessions that are logged in.
//!
//! Nothing stops for it. A session's map is replaced whole; its connections notice with their next command. LUNs that are the same
//! before and after keep all of their state, commands in flight included.

use std::sync::Arc;

use pagecast_core::scsi::UnitId;

use super::Control;
use super::configure::Step;
use super::inventory::Inventory;
use super::management::session_report;
use super::targets::Group;
use crate::control::reports::{SessionChange, SessionReport};
use crate::events::EventKind;
use crate::session::Session;
use crate::shard::messages::{CloseReason, ConnectionKey, ShardMessage};

impl Control {
    /// Does its part of a change of the configuration.
    pub(super) fn configure(&mut self, step: Step) {
        // Whoever asked may be gone.
        match step {
            Step::Listen { portals, answer } => drop(answer.send(self.listen_on_all(&portals))),
            Step::Unlisten => self.listen_as_configured(),
            Step::Commit {
                inventory,
                drained,
                answer,
            } => {
                let mut lost = Vec::new();
                let changes = self.serve(inventory, &mut lost);
                self.listen_as_configured();
                lost.sort_unstable();
                lost.dedup();
                let lost: Arc<[UnitId]> = lost.into();
                for shard in &self.shards {
                    let (drained, lost) = (drained.clone(), Arc::clone(&lost));
                    shard.mail.send(ShardMessage::Prune(drained, lost));
                }
                drop(answer.send(changes));
            }
            Step::Close { session, answer } => drop(answer.send(self.close_session(session))),
        }
    }

    /// Serves something else from now on. Returns what it means for sessions; `lost` is what some of them do not see any more.
    fn serve(&mut self, inventory: Arc<Inventory>, lost: &mut Vec<UnitId>) -> Vec<SessionChange> {
        let before = self.shared.inventory();
        // An adapter may have come while they were opened.
        let adapters = self.shared.adapters().clone();
        for adapter in adapters {
            for device in &inventory.devices {
                self.attach(device, &adapter);
            }
        }
        // Or have gone.
        for device in &inventory.devices {
            let windows = device.windows.iter();
            for adapter in windows.flat_map(|windows| windows.adapters()) {
                if self.port_of(&adapter).is_none() {
                    device.detach(&adapter);
                }
            }
        }
        for device in &inventory.devices {
            device.unit.set_ports(inventory.ports.of(&device.name));
        }
        self.shared.set_inventory(Arc::clone(&inventory));
        let sessions: Vec<Arc<Session>> = self.shared.sessions().values().cloned().collect();
        let mut changes = Vec::new();
        for session in sessions {
            changes.extend(self.reassign(&session, &before, &inventory, lost));
        }
        changes
    }

    /// Looks at a session again.
    fn reassign(
        &mut self,
        session: &Arc<Session>,
        before: &Inventory,
        now: &Inventory,
        lost: &mut Vec<UnitId>,
    ) -> Option<SessionChange> {
        // A target of another identity is another target.
        let same = |name: &str| {
            let (before, now) = (before.target(name)?, now.target(name)?);
            (before.identity == now.identity).then_some(now)
        };
        let group_before = session.group();
        // What a login there would have to prove, it has to have proved. Whoever proved something to this group before stays.
        let may_be_in = |group: &&Group| {
            let stays = *group.name == *group_before && session.proof.is_something();
            stays || session.proof.is_good_for(&group.proof(session.transport))
        };
        let admits = same(&session.target).and_then(|target| target.group_of(&session.names));
        let group = admits.filter(may_be_in);
        let changes = match group {
            Some(group) => session.scsi.set_luns(&group.luns),
            None => session.scsi.set_luns(&Default::default()),
        };
        let (added, removed) = (changes.added, changes.removed);
        lost.extend(changes.lost);
        if let Some(group) = group {
            if *group.name == *group_before && added.is_empty() && removed.is_empty() {
                return None;
            }
            session.set_group(&group.name);
        }
        let group = group.map(|group| group.name.clone());
        tracing::info!(initiator = %session.initiator, target = %session.target, before = %group_before,
            now = group.as_deref().unwrap_or("(none: it is closed)"), ?added, ?removed, "session reassigned");
        self.shared.events.tell(EventKind::Reassigned {
            session: session.id.0,
            initiator: session.initiator.clone(),
            target: session.target.clone(),
            transport: session.transport.to_string(),
            peer: session.peer.clone(),
            group_before: group_before.to_string(),
            group: group.clone(),
            luns_added: added.clone(),
            luns_removed: removed.clone(),
        });
        if group.is_none() {
            let reason = match admits {
                Some(_) => CloseReason::NotAuthenticated,
                None => CloseReason::NotAdmitted,
            };
            self.end_session(session, reason);
        }
        Some(SessionChange {
            id: session.id.0,
            initiator: session.initiator.clone(),
            target: session.target.clone(),
            transport: session.transport.to_string(),
            peer: session.peer.clone(),
            group_before: group_before.to_string(),
            group,
            luns_added: added,
            luns_removed: removed,
        })
    }

    fn close_session(&mut self, id: u64) -> Option<SessionReport> {
        let session = self
            .shared
            .sessions()
            .values()
            .find(|session| session.id.0 == id)
            .cloned()?;
        let report = session_report(&session);
        self.end_session(&session, CloseReason::Operator);
        Some(report)
    }

    /// Closes every connection of a session.
    fn end_session(&mut self, session: &Arc<Session>, reason: CloseReason) {
        let of_it: Vec<ConnectionKey> = (self.connections.iter())
            .filter(|(_, entry)| {
                let own = entry.session.as_ref();
                own.is_some_and(|own| Arc::ptr_eq(own, session))
            })
            .map(|(&key, _)| key)
            .collect();
        for key in of_it {
            self.end(key, reason);
        }
    }
}
