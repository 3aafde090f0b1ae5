//! Changes to a configuration, as people and programs ask for them while the daemon runs.

use serde_json::Value;
use thiserror::Error;

use super::{ConfigError, Problem};

/// One change to the configuration.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// One more device: an object of the list `devices`.
    AddDevice(Value),
    /// A device less. One that a LUN map names only goes with `force`, and from the maps as well.
    RemoveDevice {
        /// Which.
        name: String,
        /// Though it is mapped.
        force: bool,
    },
    /// The size of a memory device.
    ResizeDevice {
        /// Which.
        name: String,
        /// Bytes.
        size: u64,
    },
    /// One more target: an object of the list `targets`.
    AddTarget(Value),
    /// A target less.
    RemoveTarget {
        /// Which.
        name: String,
    },
    /// One more portal: an object of a target's list `portals`.
    AddPortal {
        /// Of which target.
        target: String,
        /// The portal.
        portal: Value,
    },
    /// A portal less.
    RemovePortal {
        /// Of which target.
        target: String,
        /// The portal, with the keys that it was added with.
        portal: Value,
    },
    /// One more access group: an object of a target's list `groups`.
    AddGroup {
        /// Of which target.
        target: String,
        /// The group.
        group: Value,
        /// The group that it comes before; it is the last otherwise.
        before: Option<String>,
    },
    /// An access group less.
    RemoveGroup {
        /// Of which target.
        target: String,
        /// Which.
        name: String,
    },
    /// A device gets a LUN.
    Map {
        /// Of which target.
        target: String,
        /// Of which group.
        group: String,
        /// The number; it must be free, unless it is to be `replace`d.
        lun: u16,
        /// The device.
        device: String,
        /// The group's initiators may not write.
        read_only: bool,
        /// Though the number is mapped: from now on it is this, and nothing is left of what it was.
        replace: bool,
    },
    /// A LUN is free again.
    Unmap {
        /// Of which target.
        target: String,
        /// Of which group.
        group: String,
        /// The number.
        lun: u16,
    },
    /// What initiators of a group prove themselves with or, without a group, those of all groups of a target that have nothing of
    /// their own. It takes the place of what there is.
    SetCredentials {
        /// Of which target.
        target: String,
        /// Of which group.
        group: Option<String>,
        /// By which protocol.
        scheme: Scheme,
        /// The object of the configuration, secrets included.
        credentials: Value,
    },
    /// They prove nothing any more or, in a group, what the target asks for.
    RemoveCredentials {
        /// Of which target.
        target: String,
        /// Of which group.
        group: Option<String>,
        /// By which protocol.
        scheme: Scheme,
    },
    /// A group gets one more pattern.
    AddInitiator {
        /// Of which target.
        target: String,
        /// Of which group.
        group: String,
        /// The pattern.
        initiator: String,
    },
    /// A pattern moves to another group of its target.
    MoveInitiator {
        /// Of which target.
        target: String,
        /// The pattern.
        initiator: String,
        /// The group that it is in; needed only if several have it.
        from: Option<String>,
        /// The group that it goes to.
        to: String,
    },
    /// A pattern less.
    RemoveInitiator {
        /// Of which target.
        target: String,
        /// Of which group.
        group: String,
        /// The pattern.
        initiator: String,
    },
}

/// How initiators prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// CHAP, of iSCSI and iSER.
    Chap,
    /// DH-HMAC-CHAP, of NVMe.
    Dhchap,
}

impl Scheme {
    /// The key of the configuration.
    pub fn key(self) -> &'static str {
        match self {
            Self::Chap => "chap",
            Self::Dhchap => "dhchap",
        }
    }
}

/// Why a change is refused.
#[derive(Debug, Error)]
pub enum EditError {
    /// It names something that is not there.
    #[error("there is no {kind} {name}; {remedy}")]
    NotFound {
        /// What kind of thing.
        kind: &'static str,
        /// Its name, as it should appear in a message.
        name: String,
        /// What to do.
        remedy: String,
    },
    /// It does not go with what is there.
    #[error("{what}; {remedy}")]
    Refused {
        /// Why not.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// What it adds is wrong in itself. Paths are within what was given.
    #[error("{}", listing(.0))]
    Invalid(Vec<Problem>),
    /// The configuration would not be good after it.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// One of several is refused.
    #[error("changes[{index}]: {error}")]
    OneOf {
        /// Which one, from 0.
        index: usize,
        /// Why.
        error: Box<EditError>,
    },
}

fn listing(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    lines.join("; ")
}
