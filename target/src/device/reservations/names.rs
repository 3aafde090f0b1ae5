//! What people, and the file, call registrants and types.

use std::fmt;

use pagecast_core::reservations::{InitiatorPort, Registrant, ReservationType};

use super::format::digits;
use crate::config::Uuid;
use crate::srp::names::PortId;

/// Types, in the words of the standards.
pub(crate) const TYPES: [(ReservationType, &str); 6] = [
    (ReservationType::WriteExclusive, "write-exclusive"),
    (ReservationType::ExclusiveAccess, "exclusive-access"),
    (
        ReservationType::WriteExclusiveRegistrantsOnly,
        "write-exclusive-registrants-only",
    ),
    (
        ReservationType::ExclusiveAccessRegistrantsOnly,
        "exclusive-access-registrants-only",
    ),
    (
        ReservationType::WriteExclusiveAllRegistrants,
        "write-exclusive-all-registrants",
    ),
    (
        ReservationType::ExclusiveAccessAllRegistrants,
        "exclusive-access-all-registrants",
    ),
];

/// The words for a type.
pub(crate) fn type_name(kind: ReservationType) -> &'static str {
    let found = TYPES.iter().find(|(known, _)| *known == kind);
    found.map_or("", |(_, name)| name)
}

/// The type with these words.
pub(crate) fn type_named(name: &str) -> Option<ReservationType> {
    let found = TYPES.iter().find(|(_, known)| *known == name);
    found.map(|(kind, _)| *kind)
}

/// A key, as every tool prints it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key(pub(crate) u64);

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#018x}", self.0)
    }
}

/// A registrant's own name: an SRP port identifier, an iSCSI name and session identifier in the form of TransportIDs (SPC-4
/// section 7.6.4), an NVMe host identifier.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InitiatorName<'a>(pub(crate) &'a Registrant);

impl fmt::Display for InitiatorName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Registrant::Scsi {
                initiator: InitiatorPort::Srp(port),
                ..
            } => write!(f, "{}", PortId(*port)),
            Registrant::Scsi {
                initiator: InitiatorPort::Iscsi { name, isid },
                ..
            } => write!(f, "{name},i,0x{}", digits(isid)),
            Registrant::Nvme { host } => write!(f, "{}", Uuid(*host)),
        }
    }
}

/// A registrant for the log: with its protocol and, if it has one, its target.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WhoAndWhere<'a>(pub(crate) &'a Registrant);

impl fmt::Display for WhoAndWhere<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = InitiatorName(self.0);
        match self.0 {
            Registrant::Scsi { target, port, .. } => {
                let protocol = protocol(self.0);
                write!(f, "{protocol} {name} at {target} port {port}")
            }
            Registrant::Nvme { .. } => write!(f, "nvme host {name}"),
        }
    }
}

/// `srp`, `iscsi` or `nvme`.
pub(crate) fn protocol(registrant: &Registrant) -> &'static str {
    match registrant {
        Registrant::Scsi {
            initiator: InitiatorPort::Srp(_),
            ..
        } => "srp",
        Registrant::Scsi {
            initiator: InitiatorPort::Iscsi { .. },
            ..
        } => "iscsi",
        Registrant::Nvme { .. } => "nvme",
    }
}
