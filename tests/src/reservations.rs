//! Hosts of all transports that share a device, so that a test of reservations reads like what they do.

mod cluster;
mod commands;
mod flight;

use pagecast_initiator::nvme::reservation::Registrant as NvmeRegistrant;
use pagecast_initiator::scsi::reserve::FullStatus;

pub use cluster::Cluster;
pub use commands::{Transfer, once_or_none};
pub use flight::{Flight, Scsi};

/// What a host speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// SRP.
    Srp,
    /// iSCSI, over iSER.
    Iser,
    /// NVMe over RDMA.
    Nvme,
}

impl Transport {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Srp, Self::Iser, Self::Nvme];
}

/// The types of reservations, which have other codes in SCSI (SPC-4, persistent reservation type codes) and NVMe (NVMe base 2.0,
/// reservation type encoding).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Write Exclusive
    WriteExclusive,
    /// Exclusive Access
    ExclusiveAccess,
    /// Write Exclusive – Registrants Only
    WriteExclusiveRegistrants,
    /// Exclusive Access – Registrants Only
    ExclusiveAccessRegistrants,
    /// Write Exclusive – All Registrants
    WriteExclusiveAll,
    /// Exclusive Access – All Registrants
    ExclusiveAccessAll,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::WriteExclusive,
        Self::ExclusiveAccess,
        Self::WriteExclusiveRegistrants,
        Self::ExclusiveAccessRegistrants,
        Self::WriteExclusiveAll,
        Self::ExclusiveAccessAll,
    ];

    /// TYPE of SCSI.
    pub fn scsi(self) -> u8 {
        [1, 3, 5, 6, 7, 8][self as usize]
    }

    /// RTYPE of NVMe.
    pub fn nvme(self) -> u8 {
        self as u8 + 1
    }

    /// Every registrant holds it.
    pub fn is_held_by_all(self) -> bool {
        matches!(self, Self::WriteExclusiveAll | Self::ExclusiveAccessAll)
    }

    /// Registrants are told when it ends (SPC-4 section 5.12.11.2; NVMe base 2.0 section 8.19.6).
    pub fn tells_registrants(self) -> bool {
        !matches!(self, Self::WriteExclusive | Self::ExclusiveAccess)
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It worked.
    Good,
    /// RESERVATION CONFLICT; Reservation Conflict.
    Conflict,
    /// CHECK CONDITION with sense key, additional sense code and qualifier.
    Sense(u8, u8, u8),
    /// Another SCSI status.
    Scsi(u8),
    /// Another NVMe status: its type and code.
    Nvme(u8, u8),
}

/// What a host is told of reservations, by a unit attention condition or an event with its log page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Notice {
    /// Its registration is gone: 2Ah/05h; type 1.
    RegistrationPreempted,
    /// The reservation is gone: 2Ah/04h; type 2.
    ReservationReleased,
    /// The reservation and all registrations are gone: 2Ah/03h; type 3.
    ReservationPreempted,
}

/// How a registration is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The key that there is; zero stands for none.
    pub old: u64,
    /// The key from now on; zero unregisters.
    pub new: u64,
    /// Whatever the old key is.
    pub ignore: bool,
    /// APTPL of SCSI; CPTPL of NVMe is 10b or 11b.
    pub persist: bool,
}

impl Registration {
    /// The first one.
    pub fn new(key: u64) -> Self {
        Self {
            old: 0,
            new: key,
            ignore: false,
            persist: false,
        }
    }

    /// One that outlives a loss of power, as everything else does from now on.
    pub fn persistent(key: u64) -> Self {
        Self {
            persist: true,
            ..Self::new(key)
        }
    }

    /// In place of this key.
    pub fn replacing(self, old: u64) -> Self {
        Self { old, ..self }
    }

    /// In place of any key, or none.
    pub fn ignoring(self) -> Self {
        Self {
            ignore: true,
            ..self
        }
    }
}

/// What a host reads of the table, in its own way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// PRGENERATION, GEN.
    pub generation: u32,
    /// Everybody's keys, in order.
    pub keys: Vec<u64>,
    /// The keys of those who hold the reservation, in order.
    pub holders: Vec<u64>,
    /// The reservation's type, by TYPE of SCSI or RTYPE of NVMe.
    pub kind: Option<Kind>,
}

impl View {
    fn of_scsi(generation: u32, mut all: Vec<FullStatus>) -> Self {
        all.sort_by_key(|one| one.key);
        let code = all.iter().find(|one| one.holds).map(|one| one.kind);
        Self {
            generation,
            keys: all.iter().map(|one| one.key).collect(),
            holders: all
                .iter()
                .filter(|one| one.holds)
                .map(|one| one.key)
                .collect(),
            kind: code.map(|code| by_code(code, Kind::scsi)),
        }
    }

    fn of_nvme(generation: u32, code: u8, mut all: Vec<NvmeRegistrant>) -> Self {
        all.sort_by_key(|one| one.key);
        Self {
            generation,
            keys: all.iter().map(|one| one.key).collect(),
            holders: all
                .iter()
                .filter(|one| one.holds)
                .map(|one| one.key)
                .collect(),
            kind: (code != 0).then(|| by_code(code, Kind::nvme)),
        }
    }
}

/// The scope is in the upper half, and the logical unit is scope 0.
fn by_code(code: u8, code_of: fn(Kind) -> u8) -> Kind {
    let kind = Kind::ALL.into_iter().find(|kind| code_of(*kind) == code);
    kind.unwrap_or_else(|| panic!("type {code:#x}"))
}
