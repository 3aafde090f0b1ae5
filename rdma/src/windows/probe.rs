//! What a device's page cache can be registered as, found out by trying.
//!
//! A read-only registration of a read-only shared mapping works from Linux 6.2 on; older kernels want the mapping to be
//! writable even then. Some file systems and devices refuse both. Versions do not tell, so one page is registered.

use std::fmt;
use std::sync::Arc;

use super::Source;
use super::budget::REMEDY;
use crate::fabric::{Access, Adapter};

/// How windows of a device are made on an adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Windows are pinned through a mapping that may only be read.
    ReadOnlyMapping,
    /// Windows are pinned through a mapping that may be written, though nobody does: the kernel wants it so.
    WritableMapping {
        /// What it said to a read-only one.
        refused: String,
    },
    /// There are no windows; everything is staged.
    Unavailable {
        /// Why.
        reason: String,
    },
}

impl Mode {
    /// Whether there can be windows.
    pub fn works(&self) -> bool {
        !matches!(self, Self::Unavailable { .. })
    }

    pub(super) fn needs_writable_mapping(&self) -> bool {
        matches!(self, Self::WritableMapping { .. })
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReadOnlyMapping => f.write_str("pinned"),
            Self::WritableMapping { refused } => write!(
                f,
                "pinned through a writable mapping (a read-only one was refused: {refused})"
            ),
            Self::Unavailable { reason } => write!(f, "unavailable: {reason}"),
        }
    }
}

/// Registers the first page of `source` with `adapter`, one way and then the other. Blocks for a page read at most.
pub(super) fn probe(source: &dyn Source, adapter: &Arc<dyn Adapter>, page: u64) -> Mode {
    let length = page.min(source.size());
    if length == 0 {
        return Mode::Unavailable {
            reason: "the device is empty".into(),
        };
    }
    // A first page that cannot be read says nothing about the rest, but it explains the refusals below.
    let unread = source
        .populate(0, length)
        .err()
        .map(|error| format!("; its first page cannot be read: {error}"))
        .unwrap_or_default();
    let refused = match attempt(source, adapter, length, false) {
        Ok(()) => return Mode::ReadOnlyMapping,
        Err(why) => why,
    };
    match attempt(source, adapter, length, true) {
        Ok(()) => Mode::WritableMapping { refused },
        Err(writable) => Mode::Unavailable {
            reason: format!(
                "a read-only mapping was refused ({refused}), and a writable one ({writable}){unread}"
            ),
        },
    }
}

fn attempt(
    source: &dyn Source,
    adapter: &Arc<dyn Adapter>,
    length: u64,
    writable: bool,
) -> Result<(), String> {
    let memory = source
        .memory(writable)
        .map_err(|error| format!("mmap: {error}"))?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    adapter
        .register(memory, 0..length, Access::LOCAL_READ)
        .map(drop)
        .map_err(|error| {
            if error.is_out_of_memory() {
                format!("{error}; {REMEDY}")
            } else {
                error.to_string()
            }
        })
}
