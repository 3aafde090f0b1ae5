//! A SCSI direct-access block device (SAM-5, SPC-4, SBC-3).
//!
//! A [`LogicalUnit`] is one disk, shared by everybody who uses it. A [`ScsiSession`] is one I_T nexus: which logical unit
//! numbers it sees, and what it has yet to be told about them. A [`ScsiChannel`] is one connection of a session, owned by
//! one thread; it turns a [`Command`] into a [`Plan`].
//!
//! The command set is one table (`opcodes`), and so are the sense codes (`sense::codes`).

mod attention;
mod capacity;
mod cdb;
mod channel;
mod compare_write;
mod complete;
mod copy;
mod defects;
mod dispatch;
mod inquiry;
mod lba_status;
mod log;
mod lun;
mod luns;
mod mapping;
mod mode;
mod model;
mod opcodes;
mod plan;
mod port;
mod power;
mod prefetch;
mod provisioning;
mod read_write;
mod report_opcodes;
mod request_sense;
mod reserve;
mod response;
pub mod sense;
mod session;
mod statistics;
mod target_port_groups;
mod unit;
mod vpd;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub(crate) use attention::Nexus;
pub(crate) use channel::Slot;
pub use channel::{ScsiChannel, UnitIndex};
pub use complete::complete;
pub use lun::Lun;
pub use mapping::{LunChanges, Mapping};
pub use model::{DiskModel, Identity, Limits, ModelError, Naa, Provisioning};
pub use opcodes::command_name;
pub use plan::{BlockCommand, Command, PendingParameters, Plan, ReservationCommand, TaskAttribute};
pub(crate) use port::protocol;
pub use port::{PortName, TargetPort};
pub use response::{Response, Status};
pub use sense::{FieldPointer, Sense, SenseCode, SenseFormat, SenseKey};
pub use session::ScsiSession;
pub use statistics::{Statistics, StatisticsSource};
#[cfg(test)]
pub(crate) use unit::Modes;
pub use unit::{LogicalUnit, ResetKind, UnitId};
