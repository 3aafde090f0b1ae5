//! Small SRP, iSER and NVMe initiators over the fabric seam, for tests and benchmarks.
//!
//! The SRP one is here, the iSER one in [`iser`], the NVMe host in [`nvme`]; [`iscsi`] also serves those who have a TCP stream.
//!
//! It works over any [`Fabric`](pagecast_rdma::fabric::Fabric) and never blocks: [`Initiator::turn`] takes what the connection
//! manager and the completion queues have, and returns. A deterministic test interleaves its turns with the target's and
//! with the steps of the simulation, in one thread; [`Initiator::wait_until`] does that in a loop around a closure.
//!
//! Its codec is its own, so that a misreading of SRP in the target does not cancel out here. It is strict where Linux is
//! lenient: a response whose lengths and flags disagree is an error. Tests that must break rules can: private data and
//! information units may be given as raw bytes, descriptors may lie, and credits may be ignored when told so.
#![forbid(unsafe_code)]

mod channel;
pub mod codec;
mod command;
mod endpoints;
mod error;
mod initiator;
pub mod iscsi;
pub mod iser;
mod link;
mod memory;
pub mod nvme;
pub mod scsi;

pub use channel::{ChannelState, Event};
pub use codec::{LoginRejection, LoginReply, LoginRequest, Response};
pub use command::{Command, Data, Format, Reply, Task};
pub use error::InitiatorError;
pub use initiator::{ChannelId, Initiator, LoginOptions};
pub use memory::{Buffer, Piece};
