//! `pagecast initiator`.

use clap::{Args, Subcommand};

use super::Request;
use super::params::Params;

#[derive(Debug, Subcommand)]
pub(crate) enum Initiator {
    /// A group admits one more pattern
    #[command(after_help = "\
Examples:
  pagecast initiator add store web iqn.2026-11.com.example:web7
  pagecast initiator add store web '10.0.0.*'
  pagecast initiator add store web '!10.0.0.9'

A name is the iSCSI name, the NVMe host's NQN, or for SRP the initiator port identifier (0x and 32 hex digits, or its GUID half of
16 digits); every initiator is known by its IP address as well.")]
    Add(Pattern),
    /// A pattern goes to another group of its target
    ///
    /// Its sessions are in the other group from now on, without a new login: LUNs that are the same in both groups are not touched and
    /// their commands run on, others go and come, and hosts are told.
    #[command(after_help = "\
Examples:
  pagecast initiator move store 10.0.0.7 lab
  pagecast initiator move store '10.0.0.*' lab --from web")]
    Move {
        /// The target's name
        target: String,
        /// The pattern, as it is in its group
        pattern: String,
        /// The group that it goes to
        #[arg(value_name = "TO_GROUP")]
        to: String,
        /// The group that it is in; needed only if several have it
        #[arg(long, value_name = "GROUP")]
        from: Option<String>,
    },
    /// A group admits a pattern less
    ///
    /// Sessions that no group admits any more are closed.
    #[command(after_help = "\
Examples:
  pagecast initiator remove store web 10.0.0.7")]
    Remove(Pattern),
}

#[derive(Debug, Args)]
pub(crate) struct Pattern {
    /// The target's name
    target: String,
    /// The group's name
    group: String,
    /// A name or an address of initiators, with '*' and '?' for what may vary, and a leading '!' for "not"
    pattern: String,
}

impl Pattern {
    fn params(self) -> Params {
        Params::new()
            .with("target", self.target)
            .with("group", self.group)
            .with("initiator", self.pattern)
    }
}

impl Initiator {
    pub(super) fn request(self) -> Request {
        match self {
            Self::Add(pattern) => Request::new("initiator.add", pattern.params()),
            Self::Remove(pattern) => Request::new("initiator.remove", pattern.params()),
            Self::Move {
                target,
                pattern,
                to,
                from,
            } => Request::new(
                "initiator.move",
                Params::new()
                    .with("target", target)
                    .with("initiator", pattern)
                    .with("to", to)
                    .maybe("from", from),
            ),
        }
    }
}
