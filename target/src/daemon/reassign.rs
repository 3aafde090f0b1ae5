//! Who sees what, looked at again for sessions that are logged in.
//!
//! Nothing stops for it. A session's map is replaced whole; its connections notice with their next command. LUNs that are the same
//! before and after keep all of their state, commands in flight included.

use std::collections::HashMap;
use std::sync::Arc;

use pagecast_core::scsi::UnitId;

use super::configure::Step;
use super::inventory::Inventory;
use super::management::session_report;
use super::targets::Group;
use super::{Control, Entry};
use crate::config::Transport;
use crate::control::reports::{SessionChange, SessionReport};
use crate::events::{Closed, EventKind};
use crate::session::{Session, SessionId};
use crate::shard::messages::{CloseReason, ConnectionKey, ShardMessage};

/// What a change takes away.
#[derive(Default)]
struct Taken {
    /// What some sessions do not see any more.
    units: Vec<UnitId>,
    /// Connections of sessions that go on without them.
    connections: Vec<ConnectionKey>,
}

/// The connections of each session: the oldest first, but for those on their way out, which come last.
struct Members(HashMap<SessionId, Vec<ConnectionKey>>);

impl Members {
    fn new(connections: &HashMap<ConnectionKey, Entry>) -> Self {
        let mut all: Vec<_> = (connections.iter())
            .filter_map(|(&key, entry)| Some((key, entry, entry.session.as_ref()?.id)))
            .collect();
        all.sort_unstable_by_key(|(_, entry, _)| (entry.ending, entry.number));
        let mut members: HashMap<_, Vec<_>> = HashMap::new();
        for (key, _, session) in all {
            members.entry(session).or_default().push(key);
        }
        Self(members)
    }

    fn of(&self, session: &Session) -> &[ConnectionKey] {
        self.0.get(&session.id).map_or(&[], Vec::as_slice)
    }
}

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
                let mut taken = Taken::default();
                let changes = self.serve(inventory, &mut taken);
                self.listen_as_configured();
                for key in taken.connections {
                    if let Some(entry) = self.connections.get_mut(&key) {
                        entry.awaited = Some(drained.clone());
                    }
                }
                let mut lost = taken.units;
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

    /// Serves something else from now on. Returns what it means for sessions.
    fn serve(&mut self, inventory: Arc<Inventory>, taken: &mut Taken) -> Vec<SessionChange> {
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
        let members = Members::new(&self.connections);
        let mut changes = Vec::new();
        for session in sessions {
            let own = members.of(&session);
            changes.extend(self.reassign(&session, own, &before, &inventory, taken));
        }
        changes
    }

    /// Looks at a session again. Its connections may have come from several addresses: it is in the group of the oldest one that is still
    /// admitted, and those that belong elsewhere go. As a login does, which lets a connection join where its session is, and nowhere else.
    fn reassign(
        &mut self,
        session: &Arc<Session>,
        own: &[ConnectionKey],
        before: &Inventory,
        now: &Inventory,
        taken: &mut Taken,
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
        let target = same(&session.target);
        let group_of = |key| target?.group_of(&self.connections.get(key)?.names);
        let groups: Vec<_> = own.iter().map(group_of).collect();
        // The first one of an NVMe host is its admin queue, without which there is no controller.
        let decide = match session.transport {
            Transport::NvmeRdma => 1,
            _ => groups.len(),
        };
        let admits = groups.iter().take(decide).find_map(|&group| group);
        let group = admits.filter(may_be_in);
        // Before the others see anything else.
        if let Some(group) = group {
            for (&key, own) in own.iter().zip(&groups) {
                if own.is_none_or(|own| own.name != group.name) {
                    self.shut_out(session, key, own.map(|own| &*own.name));
                    taken.connections.push(key);
                }
            }
        }
        let changes = match group {
            Some(group) => session.scsi.set_luns(&group.luns),
            None => session.scsi.set_luns(&Default::default()),
        };
        let (added, removed) = (changes.added, changes.removed);
        taken.units.extend(changes.lost);
        if let Some(group) = group {
            if *group.name == *group_before && added.is_empty() && removed.is_empty() {
                return None;
            }
            session.set_group(&group.name);
        }
        let closed = match (group, admits) {
            (Some(_), _) => None,
            (None, Some(_)) => Some(Closed::NotAuthenticated),
            (None, None) => Some(Closed::NotAdmitted),
        };
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
            closed,
            luns_added: added.clone(),
            luns_removed: removed.clone(),
        });
        match closed {
            Some(Closed::NotAuthenticated) => {
                self.end_session(session, CloseReason::NotAuthenticated);
            }
            Some(Closed::NotAdmitted) => self.end_session(session, CloseReason::NotAdmitted),
            None => {}
        }
        Some(SessionChange {
            id: session.id.0,
            initiator: session.initiator.clone(),
            target: session.target.clone(),
            transport: session.transport.to_string(),
            peer: session.peer.clone(),
            group_before: group_before.to_string(),
            group,
            closed,
            luns_added: added,
            luns_removed: removed,
        })
    }

    /// Ends a connection of a session that goes on without it.
    fn shut_out(&mut self, session: &Session, key: ConnectionKey, group: Option<&str>) {
        let Some(entry) = self.connections.get(&key) else {
            return;
        };
        if entry.ending {
            return;
        }
        tracing::info!(initiator = %session.initiator, target = %session.target, peer = %entry.origin.peer,
            group = group.unwrap_or("(none)"), "its session's access group does not admit it any more from there");
        self.end(key, CloseReason::NotAdmitted);
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
