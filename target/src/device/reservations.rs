//! The file that a device's reservations are kept in.

use std::io;
use std::path::{Path, PathBuf};

use pagecast_core::reservations::Table;
use thiserror::Error;

/// Where a device keeps its reservations.
#[derive(Debug)]
pub struct ReservationFile {
    path: PathBuf,
}

/// Reservations that cannot be loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
}

impl ReservationFile {
    /// The file of a device in a state directory.
    pub fn new(state_directory: &Path, device: &str) -> Self {
        Self {
            path: state_directory.join("reservations").join(device),
        }
    }

    /// The table that was saved last; none if there never was one.
    pub fn load(&self, _limit: usize) -> Result<Option<Table>, LoadError> {
        Ok(None)
    }

    /// Makes a table durable.
    pub fn save(&self, _table: &Table) -> io::Result<()> {
        Err(io::Error::other(format!("{}", self.path.display())))
    }
}
