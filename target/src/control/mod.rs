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

use reports::{DeviceReport, SessionReport, Stats, Status, TargetReport};

/// What the daemon tells about itself.
///
/// Called from the threads of control clients, several at a time: answer from snapshots and counters, and do not wait for
/// I/O or hold up the I/O path.
pub trait Management: Send + Sync {
    /// The daemon at a glance.
    fn status(&self) -> Status;

    /// All devices, in the order of the configuration.
    fn devices(&self) -> Vec<DeviceReport>;

    /// All targets, in the order of the configuration.
    fn targets(&self) -> Vec<TargetReport>;

    /// All sessions that are logged in, oldest first.
    fn sessions(&self) -> Vec<SessionReport>;

    /// What the process as a whole uses and has done.
    fn stats(&self) -> Stats;
}
