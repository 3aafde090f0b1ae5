//! Numbers that operators want: counted by the shards, shown by the control socket, and scraped by Prometheus.
//!
//! - [`meter`]: what is counted at the end of a command, [`session`]: by whom, and [`latency`]: what can be told of it.
//! - [`families`]: every metric of Prometheus; [`text`]: reports as it reads them, [`sums`]: those of sessions; [`server`] and [`service`]: where it reads them.

pub mod families;
pub mod latency;
pub mod meter;
pub mod server;
pub mod service;
pub mod session;
pub mod sums;
pub mod text;

#[cfg(test)]
#[path = "tests/docs.rs"]
mod docs_tests;
