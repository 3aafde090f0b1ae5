//! NVMe over RDMA as a host speaks it (NVMe base 2.0, RDMA transport 1.0).
//!
//! - [`NvmeHost`] has queues, and connects them one by one, with whatever a test puts into private data and Connect.
//! - [`NvmeHost::connect_controller`] brings a whole controller up as Linux does; [`Bringup`] is the same, step by step.
//! - [`io`] and [`admin`] make commands; a command's entry and data pointer can be any bytes.
//! - [`auth`] proves who the host is, and has the controller prove who it is.
//!
//! It checks what comes back: response capsules have 16 bytes, no phase tag and a name that is outstanding; the queue head is
//! beyond the command and not beyond what was sent; the key that was invalidated is the one that was to be.

pub mod admin;
pub mod auth;
mod authenticate;
mod codec;
mod command;
mod connect;
mod controller;
pub mod discovery;
mod host;
pub mod io;
mod queue;
pub mod reservation;
#[cfg(test)]
mod tests;

pub use authenticate::{Authentication, Credentials};
pub use codec::{CQE_SIZE, Cqe, DATA_POINTER, ProtocolError, SQE_SIZE, Sqe, Status, request, sgl};
pub use command::{Command, Data, Fuse, Reply};
pub use connect::{Connect, Connected, DATA_LENGTH, DYNAMIC};
pub use controller::{Bringup, Controller, ControllerOptions};
pub use host::{NvmeHost, QueueHandle};
pub use queue::{Event, QueueOptions, QueueState};
