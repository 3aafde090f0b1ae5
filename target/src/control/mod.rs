//! The control socket: what people and programs ask a running daemon.
//!
//! Newline-delimited JSON-RPC 2.0 on a Unix socket: each request is one line, and so is each answer. The socket's mode
//! (0660) is the access control. [`Management`] is the seam to the rest of the daemon; [`server::ControlServer`] serves
//! it.

pub mod initiator_commands;
mod lines;
mod methods;
pub mod notify;
pub mod reports;
mod rpc;
pub mod server;
mod socket;

#[cfg(test)]
mod tests;

pub use server::ControlServer;
pub use socket::SocketError;

use crate::device::resize::ResizeError;
use reports::{
    DeviceReport, ReservationReport, ReservationsCleared, ResizeReport, SessionReport, Stats,
    Status, TargetReport,
};
use thiserror::Error;

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
}

/// Why reservations are not cleared.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClearError {
    /// There is no such device.
    #[error("there is no such device")]
    NoDevice,
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
