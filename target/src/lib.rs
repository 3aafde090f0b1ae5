//! The pagecast storage target.
//!
//! - [`config`] and [`identity`]: what is to be served, and under which names.
//! - [`daemon`]: everything put together; the control thread, logins, reports.
//! - [`shard`]: the I/O threads, and a command's way through one.
//! - [`device`], [`session`], [`staging`]: what shards work with.
//! - [`srp`], [`iscsi`], [`iser`]: the protocols, without I/O.
//! - [`durable`]: files that a crash leaves as they were or as they were to be.
//! - [`ending`]: the end of the daemon, which waits for nothing for ever.
//! - [`control`]: the control socket; [`events`]: what it tells those who watch; [`metrics`]: numbers, and Prometheus.
#![forbid(unsafe_code)]

mod acceptor;
pub mod config;
pub mod control;
pub mod daemon;
pub mod device;
pub mod durable;
pub mod ending;
pub mod events;
pub mod identity;
pub mod iscsi;
pub mod iser;
#[cfg(test)]
mod logged;
pub mod metrics;
pub mod nvme;
pub mod session;
pub mod shard;
pub mod srp;
pub mod staging;
