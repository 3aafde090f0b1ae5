//! The target port that a session came in through.

/// PROTOCOL IDENTIFIER (SPC-4 section 7.6.1).
pub(crate) mod protocol {
    pub(crate) const SRP: u8 = 0x4;
    pub(crate) const ISCSI: u8 = 0x5;
    /// No specific protocol: NVMe has none of SCSI's.
    pub(crate) const NONE: u8 = 0xf;
}

/// What initiators are told about a target port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetPort {
    /// Number of the port in the target, from 1 on (SAM-5).
    pub relative_identifier: u16,
    /// Number of the port's group.
    pub group: u16,
    /// Its name in the transport's own form.
    pub name: PortName,
}

/// The name of a target port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortName {
    /// The 16-byte target port identifier of SRP: identifier extension and I/O controller GUID.
    Srp([u8; 16]),
    /// iSCSI.
    Iscsi {
        /// The target's IQN.
        target: String,
        /// Target portal group tag.
        portal_group: u16,
    },
}

impl PortName {
    /// PROTOCOL IDENTIFIER (SPC-4).
    pub(crate) fn protocol(&self) -> u8 {
        match self {
            Self::Srp(_) => protocol::SRP,
            Self::Iscsi { .. } => protocol::ISCSI,
        }
    }

    /// What INQUIRY calls the transport standard (SPC-4).
    pub(crate) fn version_descriptor(&self) -> u16 {
        match self {
            Self::Srp(_) => 0x0940,
            Self::Iscsi { .. } => 0x0960,
        }
    }
}
