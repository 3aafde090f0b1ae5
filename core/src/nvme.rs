//! NVMe controllers and namespaces (NVM Express base specification 2.0, NVM command set 1.0).
//!
//! A [`Controller`] is what a host has connected to: its properties, features, events and log pages, shared by the threads that
//! serve its queues. A [`Queue`] is one of these queues, owned by one thread; it turns a [`Command`] into a [`Plan`].
//! Namespaces are the logical units that the session sees, counted from one: LUN n is namespace n + 1, so that all protocols
//! have the same disks.
//!
//! What an opcode does is one table (`opcodes`): what is not in it is refused. Statuses are one list ([`Status`]). Capsules, SGLs,
//! Connect and authentication belong to the transport, and are not here.

mod admin;
mod command;
mod controller;
mod events;
mod features;
mod identify;
mod io;
mod log;
mod opcodes;
mod plan;
mod properties;
mod queue;
mod reservations;
mod status;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use command::{Command, Fuse, SQE_SIZE};
pub use controller::{Controller, ControllerSetup, DiscoverySource, Host, Kind};
pub use opcodes::{Moves, command_name, moves};
pub use plan::{Completion, Pending, Plan};
pub use queue::{Queue, complete};
pub use status::Status;

/// The well-known name of discovery controllers (NVMe base 2.0 section 4.5).
pub const DISCOVERY_NQN: &str = "nqn.2014-08.org.nvmexpress.discovery";
/// Longest NVMe qualified name, without the NUL.
pub const MAX_NQN: usize = 223;
/// What an admin submission queue holds (NVMe base 2.0, ASQSZ of a discovery log entry).
pub const ADMIN_QUEUE_DEPTH: u16 = 32;
