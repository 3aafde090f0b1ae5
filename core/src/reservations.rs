//! Persistent reservations: one table per device, which SCSI and NVMe hosts share (SPC-4 section 5.13, NVMe base 2.0 section 8.19).
//!
//! The rules of SPC are at its heart ([`Table`]); what a protocol's command means in them is the protocol's to say
//! (`scsi::reserve`, `nvme::reservations`), and `docs/reservations.md` says where they differ. A change is made in three steps, since it has to be durable before it is
//! acknowledged: [`Reservations::begin`] makes the table that would be, the caller saves it, [`Prepared::commit`] puts it in
//! force and tells those who have to hear of it.
//!
//! Every nexus has its [`Verdict`] at hand: what its commands may do. A commit writes them all, so that a command asks for no
//! more than a load.

mod access;
mod kind;
mod registrant;
mod request;
mod rules;
mod seat;
mod shared;
mod table;

#[cfg(test)]
mod tests;

pub use access::{Access, Verdict};
pub use kind::ReservationType;
pub use registrant::{InitiatorPort, Registrant};
pub use request::{Action, Change, Expected, Notice, Refusal};
pub(crate) use seat::{MOST_NOTICES, Seat};
pub use shared::{Prepared, Reservations};
pub use table::{Applied, Holder, RestoreError, Table};
