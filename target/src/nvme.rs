//! NVMe over RDMA as it is on the wire (NVMe over Fabrics, RDMA transport 1.0; NVMe base 2.0 section 6), without I/O.
//!
//! - [`cm`]: what the connection manager's messages carry.
//! - [`capsule`]: command and response capsules, with the SGL that says where data are.
//! - [`connect`]: the Connect command and its data.
//! - [`discovery`]: the discovery log page.
//! - [`auth`]: DH-HMAC-CHAP in-band authentication.
//!
//! What commands mean is `pagecast_core::nvme`'s business.

pub mod auth;
pub mod capsule;
pub mod cm;
pub mod connect;
pub mod discovery;
