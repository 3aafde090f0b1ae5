//! Who registers and holds.

use std::sync::Arc;

/// Whom a registration belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Registrant {
    /// A SCSI I_T nexus.
    Scsi {
        /// The initiator port.
        initiator: InitiatorPort,
        /// The target's name: relative identifiers are the target's own.
        target: Arc<str>,
        /// The target port's relative identifier.
        port: u16,
    },
    /// An NVMe host, by its 128-bit host identifier, whichever controllers and ports it uses.
    Nvme {
        /// Host Identifier.
        host: [u8; 16],
    },
}

/// A SCSI initiator port, as TransportIDs name it (SPC-4 section 7.6.4).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum InitiatorPort {
    /// SRP: the 16-byte initiator port identifier.
    Srp([u8; 16]),
    /// iSCSI.
    Iscsi {
        /// The initiator's name.
        name: String,
        /// Initiator session identifier.
        isid: [u8; 6],
    },
}
