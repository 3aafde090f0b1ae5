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
            peer: &entry.origin.peer,
        };
        self.shared.count_refused();
        self.shared.tell_refused(who, &failure.why);
    }
}

/// Why somebody is refused whom no access group admits, and what to type to let them in. The name is the peer's own, and may be made to do
/// something else: the shell is not to read it, and neither is it to be a pattern for others.
pub(super) fn no_group(target: &str, name: &str, address: &str) -> String {
    const WHY: &str = "no access group admits it";
    let add = |name: &str| format!("pagecast initiator add {target} GROUP {}", Word(name));
    let special = |c: char| "*?".contains(c) || c.is_whitespace() || c.is_control();
    if name.is_empty() || name.starts_with(['!', '-']) || name.contains(special) {
        let add = add(address);
        return format!(
            "{WHY}; its name cannot be told from a pattern: add its address to \"initiators\" of a group of this target ({add})"
        );
    }
    let add = add(name);
    format!("{WHY}; add its name to \"initiators\" of a group of this target ({add})")
}

/// A word of a command line, in quotes if a shell would take it for something else (POSIX.1-2017, Shell Command Language 2.2.2).
struct Word<'a>(&'a str);

impl Display for Word<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:,/@+".contains(c);
        if !self.0.is_empty() && self.0.chars().all(plain) {
            return f.write_str(self.0);
        }
        write!(f, "'{}'", self.0.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_shell_may_see() {
        for (name, expected) in [
            (
                "iqn.1993-08.org.debian:01:web",
                "iqn.1993-08.org.debian:01:web",
            ),
            ("iqn.x:$(reboot)", "'iqn.x:$(reboot)'"),
            ("iqn.x:`reboot`", "'iqn.x:`reboot`'"),
            ("iqn.x;reboot", "'iqn.x;reboot'"),
            ("iqn.x:a'b\"c\\", "'iqn.x:a'\\''b\"c\\'"),
            ("iqn.x:\u{fc}", "'iqn.x:\u{fc}'"),
        ] {
            let why = no_group("store", name, "10.0.0.7");
            let remedy = format!("(pagecast initiator add store GROUP {expected})");
            assert!(why.ends_with(&remedy), "{why}");
        }
    }

    #[test]
    fn names_that_would_admit_others() {
        for name in ["iqn.*", "iqn.x?", "!iqn.x", "-x", "a b", "a\n", ""] {
            let why = no_group("store", name, "fe80::7");
            assert!(
                why.starts_with(
                    "no access group admits it; its name cannot be told from a pattern"
                ),
                "{why}"
            );
            let remedy = "(pagecast initiator add store GROUP fe80::7)";
            assert!(why.ends_with(remedy), "{why}");
        }
    }

    /// What a shell makes of it is the name.
    #[test]
    fn a_shell_reads_the_name() {
        for name in ["$(id)", "a'b", "''", "\\", "`id`;&|<>(){}[]~#=%^\"$x"] {
            let command = format!("printf %s {}", Word(name));
            let output = std::process::Command::new("sh")
                .args(["-c", &command])
                .output();
            let output = output.expect("a shell");
            assert_eq!(String::from_utf8_lossy(&output.stdout), name);
        }
    }
}
