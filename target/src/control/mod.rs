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
use reports::{DeviceReport, ResizeReport, SessionReport, Stats, Status, TargetReport};

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

    /// All targets, in the order of the configuration.
    fn targets(&self) -> Vec<TargetReport>;

    /// All sessions that are logged in, oldest first.
    fn sessions(&self) -> Vec<SessionReport>;

    /// What the process as a whole uses and has done.
    fn stats(&self) -> Stats;
}
