//! The SCSI RDMA Protocol (SRP r16a, with the immediate data of SRP-2), without I/O: bytes and events in, bytes and
//! decisions out.
//!
//! - [`login`]: the login request in the connection manager's private data, the answer to it, and who may not come in.
//! - [`iu`] and [`buffers`]: checked views over information units that arrived, and over the data descriptors in them.
//! - [`response`]: information units that the target sends.
//! - [`credits`]: the request limit, which is SRP's flow control.
//! - [`nexus`]: which channels belong to the same pair of ports.
//! - [`names`]: port identifiers, the names they go by, and what to paste into an initiator.
//!
//! Layouts are those of SRP r16a as the Linux initiator speaks it. Integers are big endian; tags are opaque and come back as
//! they came. Nothing here panics, whatever the bytes.

pub mod buffers;
pub mod credits;
pub mod iu;
pub mod login;
pub mod names;
pub mod nexus;
pub mod response;
pub mod wire;

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod interop;
