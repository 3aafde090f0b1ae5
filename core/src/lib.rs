//! What pagecast knows of storage semantics, without any I/O.
//!
//! A command goes in and a plan comes out: the finished response, a request for parameter data, or one block operation
//! whose range was checked. The protocol-neutral operations are in [`block`], SCSI is in [`scsi`], NVMe in [`nvme`], who has
//! reserved a device in [`reservations`], and who may see which devices in [`access`].
//!
//! Nothing in here opens a socket, starts a thread, reads a clock or touches a data buffer.
#![forbid(unsafe_code)]

pub mod access;
pub mod block;
pub mod names;
pub mod nvme;
pub mod reservations;
pub mod scsi;
