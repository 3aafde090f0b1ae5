//! RDMA for pagecast: the fabric seam with its two providers, registered memory, and page-cache windows.
//!
//! - [`fabric`] is the seam: what the target and the initiator library ask of an RDMA provider, in the words of verbs.
//! - [`verbs`] serves it from libibverbs and librdmacm, [`sim`] from memory, deterministically, in one process.
//! - [`late`] is a provider that may not be there yet, [`local`] stands in for an adapter where none is needed.
//! - [`region`] is registered memory as a type, [`slots`] splits it into message buffers with an owner each.
//! - [`windows`] keeps ranges of a backing file's page cache registered, which is what makes READs zero-copy.
#![allow(unsafe_code)]

mod event_fd;
pub mod fabric;
pub mod late;
pub mod local;
pub mod region;
pub mod sim;
pub mod slots;
pub mod verbs;
pub mod windows;
