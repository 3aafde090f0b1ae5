//! The control socket: what people and programs ask a running daemon.
//!
//! Newline-delimited JSON-RPC 2.0 on a Unix socket: each request is one line, and so is each answer. The socket's mode
//! (0660) is the access control. [`Management`] is the seam to the rest of the daemon; [`server::ControlServer`] serves
//! it. `methods` has a row for each method; `schema` and [`reference()`] tell programs and people of them.

mod client;
pub mod initiator_commands;
mod json;
mod lines;
mod methods;
pub mod notify;
mod params;
mod peer;
mod reference;
pub mod reports;
mod rpc;
mod schema;
pub mod server;
mod shapes;
mod socket;

#[cfg(test)]
mod tests;

pub use reference::reference;
pub use server::ControlServer;
pub use socket::SocketError;

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::config::ConfigError;
use crate::config::edit::{Edit, EditError};
use crate::device::resize::ResizeError;
use crate::events::Subscription;
use reports::{
    ChangeReport, ConfigReport, DeviceReport, ReservationReport, ReservationsCleared, ResizeReport,
    SaveReport, SessionReport, Stats, Status, TargetReport,
};

/// What the daemon tells about itself, and does when it is told to.
///
/// Called from the threads of control clients, several at a time: what tells something answers from snapshots and counters and
/// does not wait for I/O. Nothing holds up the I/O path.
pub trait Management: Send + Sync {
    /// The daemon at a glance.
    fn status(&self) -> Status;

    /// All devices, in the order of the configuration.
    fn devices(&self) -> Vec<DeviceReport>;

    /// Gives a device the size that its store has by now or, with `size`, its store that many bytes first. Waits for commands
    /// beyond a new end. Data are only destroyed with `force`.
    fn resize(
        &self,
        name: &str,
        size: Option<u64>,
        force: bool,
    ) -> Result<ResizeReport, ResizeError>;

    /// The reservations of all devices, in the order of the configuration.
    fn reservations(&self) -> Vec<ReservationReport>;

    /// Ends the reservation and all registrations of a device, and tells its hosts. Waits until that is durable. If somebody who
    /// is registered is logged in, only with `force`.
    fn clear_reservations(
        &self,
        name: &str,
        force: bool,
    ) -> Result<ReservationsCleared, ClearError>;

    /// All targets, in the order of the configuration.
    fn targets(&self) -> Vec<TargetReport>;

    /// All sessions that are logged in, oldest first.
    fn sessions(&self) -> Vec<SessionReport>;

    /// What the process as a whole uses and has done.
    fn stats(&self) -> Stats;

    /// Makes these changes, all or none: they are in force, and in the configuration file, when this returns.
    fn change(&self, edits: &[Edit]) -> Result<ChangeReport, ChangeError>;

    /// Reads the configuration file again and makes what has changed in it so. Devices that are mapped and would go or be opened anew
    /// only do with `force`.
    fn reload(&self, force: bool) -> Result<ChangeReport, ChangeError>;

    /// The configuration in force.
    fn config(&self) -> ConfigReport;

    /// Writes the configuration, secrets included, to another file, which must not be there yet unless `force` is given.
    fn save_config(&self, file: &Path, force: bool) -> Result<SaveReport, ChangeError>;

    /// Ends a session; its initiator may log in again. Returns what it was; none if there is no such session.
    fn close_session(&self, id: u64) -> Option<SessionReport>;

    /// What happens from now on.
    fn events(&self) -> Subscription;
}

/// Why a change is not made. Nothing has changed then, unless it says otherwise.
#[derive(Debug, Error)]
pub enum ChangeError {
    /// It is not a good one.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The file is not there, or not good.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A device cannot be opened, a portal cannot listen.
    #[error("{0}")]
    Failed(String),
    /// It could not be kept, and was not made.
    #[error("cannot write {}: {cause}; the configuration is as it was", file.display())]
    Save {
        /// Which file.
        file: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// A copy of it could not be written.
    #[error("cannot write {}: {cause}{}", file.display(), copy_remedy(cause))]
    Copy {
        /// Which file.
        file: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// It was started with `--file`.
    #[error(
        "there is no configuration file: the daemon was started with --file; start it with --config FILE"
    )]
    NoFile,
    /// The daemon ends.
    #[error("the daemon is stopping")]
    Stopping,
    /// The daemon ends, and the change is kept already.
    #[error(
        "the daemon is stopping; the change is in {} already, and will be in force when it is started again",
        file.display()
    )]
    StoppingKept {
        /// In which file.
        file: PathBuf,
    },
}

/// What to do about a copy that is not written. Messages of our own say so themselves.
fn copy_remedy(cause: &std::io::Error) -> &'static str {
    use std::io::ErrorKind;
    if cause.raw_os_error().is_none() {
        return "";
    }
    match cause.kind() {
        ErrorKind::NotFound => "; make its directory first, or name another file",
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "; name one where the daemon may write"
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; make room, or name another file",
        _ => "; name another file",
    }
}

/// Why reservations are not cleared.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClearError {
    /// There is no such device.
    #[error("there is no such device")]
    NoDevice,
    /// Its store is not there, for this reason.
    #[error(
        "it is offline, and its reservations stay as they are; try again when its store is there: {0}"
    )]
    Offline(String),
    /// Somebody relies on them.
    #[error(
        "{one}{} logged in and registered, and other hosts could write as soon as the reservation is gone; log \
         them out first, or say so (\"force\", --force)", others(*more)
    )]
    InUse {
        /// Who.
        one: String,
        /// How many else.
        more: usize,
    },
    /// The daemon ends.
    #[error("the daemon is stopping")]
    Stopping,
    /// It did not work.
    #[error("{0}")]
    Failed(String),
}

fn others(more: usize) -> String {
    match more {
        0 => " is".to_owned(),
        more => format!(" and {more} more are"),
    }
}
