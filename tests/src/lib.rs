//! Whole-program tests: the daemon over the simulated fabric, in one thread and with virtual time.
//!
//! - [`world`]: the daemon, initiators on hosts of their own and the net between them, interleaved by a seed.
//! - [`iser`]: what hosts do over iSER.
//! - [`nvme`]: what hosts do over NVMe.
//! - [`reservations`]: hosts of all transports that share a device.
//! - [`changes`]: what operators change while it runs.
//! - [`luns`]: what hosts of all transports find at their LUNs.
//! - [`io`]: backend operations in an order that the seed chooses, which a test may hold back.
//!
//! What a seed decides is the same in every run but for one thing: windows are deregistered by a thread of the window
//! service, so that a revocation takes as long as it takes. A failing test prints its seed; `SEED=n` runs that one alone.
#![forbid(unsafe_code)]

pub mod changes;
pub mod io;
pub mod iser;
pub mod luns;
pub mod nvme;
pub mod random;
pub mod reservations;
pub mod world;

pub use random::{Random, seeds};
pub use world::{Host, Setup, World, host_address, pattern};
