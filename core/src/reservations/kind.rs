//! Types of persistent reservations.

/// The six types that SCSI and NVMe have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReservationType {
    /// Write Exclusive
    WriteExclusive,
    /// Exclusive Access
    ExclusiveAccess,
    /// Write Exclusive – Registrants Only
    WriteExclusiveRegistrantsOnly,
    /// Exclusive Access – Registrants Only
    ExclusiveAccessRegistrantsOnly,
    /// Write Exclusive – All Registrants
    WriteExclusiveAllRegistrants,
    /// Exclusive Access – All Registrants
    ExclusiveAccessAllRegistrants,
}

impl ReservationType {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 6] = [
        Self::WriteExclusive,
        Self::ExclusiveAccess,
        Self::WriteExclusiveRegistrantsOnly,
        Self::ExclusiveAccessRegistrantsOnly,
        Self::WriteExclusiveAllRegistrants,
        Self::ExclusiveAccessAllRegistrants,
    ];

    /// TYPE of SCSI (SPC-4 table 66).
    pub fn scsi(self) -> u8 {
        match self {
            Self::WriteExclusive => 1,
            Self::ExclusiveAccess => 3,
            Self::WriteExclusiveRegistrantsOnly => 5,
            Self::ExclusiveAccessRegistrantsOnly => 6,
            Self::WriteExclusiveAllRegistrants => 7,
            Self::ExclusiveAccessAllRegistrants => 8,
        }
    }

    /// The type with a TYPE of SCSI's.
    pub fn from_scsi(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.scsi() == code)
    }

    /// RTYPE of NVMe (NVMe base 2.0 figure 421).
    pub fn nvme(self) -> u8 {
        match self {
            Self::WriteExclusive => 1,
            Self::ExclusiveAccess => 2,
            Self::WriteExclusiveRegistrantsOnly => 3,
            Self::ExclusiveAccessRegistrantsOnly => 4,
            Self::WriteExclusiveAllRegistrants => 5,
            Self::ExclusiveAccessAllRegistrants => 6,
        }
    }

    /// The type with an RTYPE of NVMe's.
    pub fn from_nvme(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.nvme() == code)
    }

    /// Others may read.
    pub fn is_write_exclusive(self) -> bool {
        matches!(
            self,
            Self::WriteExclusive
                | Self::WriteExclusiveRegistrantsOnly
                | Self::WriteExclusiveAllRegistrants
        )
    }

    /// Every registrant holds it.
    pub fn is_held_by_all(self) -> bool {
        matches!(
            self,
            Self::WriteExclusiveAllRegistrants | Self::ExclusiveAccessAllRegistrants
        )
    }

    /// Other registrants may do no more than strangers.
    pub fn is_for_the_holder(self) -> bool {
        matches!(self, Self::WriteExclusive | Self::ExclusiveAccess)
    }
}
