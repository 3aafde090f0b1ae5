//! What watchers and the log are told of who comes and goes.

use std::fmt::Display;

use super::{Control, Shared};
use crate::config::Transport;
use crate::events::EventKind;
use crate::iscsi::login::LoginFailure;
use crate::session::Session;
use crate::shard::messages::ConnectionKey;

/// Somebody who wants to come in, as far as is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stranger<'a> {
    /// By the name that it gives.
    pub(super) initiator: Option<&'a str>,
    /// What it wants to log in to.
    pub(super) target: Option<&'a str>,
    pub(super) transport: Transport,
    /// Its address.
    pub(super) peer: &'a str,
}

impl Shared {
    /// Somebody is not let in: why, and what to do about it.
    pub(super) fn tell_refused(&self, who: Stranger<'_>, why: &dyn Display) {
        tracing::warn!(initiator = who.initiator, target = who.target, transport = %who.transport, peer = who.peer, %why,
            "refused a login");
        self.events.tell(EventKind::Refused {
            initiator: who.initiator.map(str::to_owned),
            target: who.target.map(str::to_owned),
            transport: who.transport.to_string(),
            peer: who.peer.to_owned(),
            why: why.to_string(),
        });
    }

    pub(super) fn tell_login(&self, session: &Session) {
        self.events.tell(EventKind::Login {
            session: session.id.0,
            initiator: session.initiator.clone(),
            target: session.target.clone(),
            group: session.group().to_string(),
            transport: session.transport.to_string(),
            peer: session.peer.clone(),
        });
    }

    pub(super) fn tell_logout(&self, session: &Session) {
        self.events.tell(EventKind::Logout {
            session: session.id.0,
            initiator: session.initiator.clone(),
            target: session.target.clone(),
            transport: session.transport.to_string(),
            peer: session.peer.clone(),
        });
    }
}

impl Control {
    /// A shard has refused a login by itself.
    pub(super) fn login_failed(&self, key: ConnectionKey, failure: &LoginFailure) {
        let Some(entry) = self.connections.get(&key) else {
            return;
        };
        // People know a target by its name, if it is one of ours.
        let inventory = self.shared.inventory();
        let wanted = failure.target.as_deref();
        let target = wanted.map(|iqn| {
            let ours = (inventory.targets_at(entry.origin.portal))
                .find(|target| target.identity.iqn.eq_ignore_ascii_case(iqn));
            ours.map_or(iqn, |target| &target.name)
        });
        let who = Stranger {
            initiator: failure.initiator.as_deref(),
            target,
            transport: entry.transport,
            peer: &entry.peer,
        };
        self.shared.count_refused();
        self.shared.tell_refused(who, &failure.why);
    }
}

/// Why somebody is refused whom no access group admits.
pub(super) fn no_group(target: &str, name: &str) -> String {
    format!(
        "no access group admits it; add its name to \"initiators\" of a group of this target (pagecast initiator add {target} GROUP {name})"
    )
}
