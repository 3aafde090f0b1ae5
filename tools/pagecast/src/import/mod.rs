//! Configurations of other targets, as pagecast's own.
//!
//! What an importer reads was written by others and may be anything. What it makes is always a configuration that the daemon
//! takes: names are made to fit and kept apart, and whatever has no counterpart is left out and listed. Nothing is left out in
//! silence, and nobody gets in who did not before: where a check cannot be carried over, what it guards is not either.

mod devices;
mod draft;
mod lio;
mod names;
mod notes;
mod portals;
mod scst;
mod srp;

#[cfg(test)]
mod tests;

use std::fmt;

use serde_json::Value;

pub(crate) use lio::lio;
pub(crate) use scst::scst;

/// A configuration, and what is not in it.
#[derive(Debug)]
pub(crate) struct Imported {
    /// A document that the daemon takes. There are secrets in it if there were any in the source.
    pub(crate) config: Value,
    /// What could not be mapped, or was changed on the way, in the order of the source.
    pub(crate) unmapped: Vec<Note>,
}

/// Something that people should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    /// Where in the source: a line and the sections that it is in, or a path in a JSON document. The first few of several.
    pub(crate) at: String,
    /// What is there, and what became of it.
    pub(crate) what: String,
    /// What to do about it.
    pub(crate) remedy: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.at, self.what, self.remedy)
    }
}

/// Why a text is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImportError {
    /// From 1; 0 if it is about the whole.
    pub(crate) line: usize,
    /// What is wrong.
    pub(crate) what: String,
    /// What was expected, or what to do.
    pub(crate) remedy: String,
}

impl ImportError {
    fn new(line: usize, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            line,
            what: what.into(),
            remedy: remedy.into(),
        }
    }
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line != 0 {
            write!(f, "line {}: ", self.line)?;
        }
        write!(f, "{}; {}", self.what, self.remedy)
    }
}

impl std::error::Error for ImportError {}

/// Bytes of a text, at most: as many as the daemon takes for its own configuration.
const LONGEST: usize = 16 << 20;

fn check_length(text: &str) -> Result<(), ImportError> {
    if text.len() <= LONGEST {
        return Ok(());
    }
    Err(ImportError::new(
        0,
        format!("longer than {LONGEST} bytes"),
        "this is not a target's configuration",
    ))
}
