//! Targets as they run: identities, portals, access groups with their LUN maps.

use std::collections::BTreeMap;
use std::sync::Arc;

use pagecast_core::access::{Admission, Pattern, first_group};
use pagecast_core::scsi::Mapping;

use crate::config::{Config, LunConfig, TargetConfig, Transport};
use crate::device::Device;
use crate::identity::{MachineId, TargetIdentity};
use crate::iscsi::directory::Credentials;
use crate::nvme::auth;
use crate::session::Proof;
use crate::srp::names::PortId;

/// A target.
#[derive(Debug)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// What initiators know it by.
    pub identity: TargetIdentity,
    /// As configured.
    pub config: TargetConfig,
    /// Access groups, in the order in which they are tried.
    pub groups: Vec<Group>,
}

/// An access group.
#[derive(Debug)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Whoever belongs to no other group belongs to it.
    pub default: bool,
    /// Who belongs to it.
    pub patterns: Vec<Pattern>,
    /// What they see.
    pub luns: BTreeMap<u32, Mapping>,
    /// What iSCSI initiators have to prove.
    pub credentials: Option<Arc<Credentials>>,
    /// What NVMe hosts have to prove.
    pub dhchap: Option<Arc<auth::Credentials>>,
}

impl Group {
    /// What it asks initiators to prove who come in over a transport.
    pub fn proof(&self, transport: Transport) -> Proof {
        let proof = match transport {
            Transport::Srp => None,
            Transport::Iser | Transport::IscsiTcp => self.credentials.clone().map(Proof::Chap),
            Transport::NvmeRdma => self.dhchap.clone().map(Proof::DhChap),
        };
        proof.unwrap_or_default()
    }
}

impl Target {
    /// The SRP target port identifier.
    pub fn port_id(&self) -> PortId {
        PortId(self.identity.srp.port_id())
    }

    /// The first group that admits an initiator with these names.
    pub fn group_of(&self, names: &[String]) -> Option<&Group> {
        let groups = self.groups.iter().map(|group| {
            let admission = Admission {
                patterns: &group.patterns,
                default: group.default,
            };
            (group, admission)
        });
        first_group(groups, names)
    }

    /// The same for an iSCSI initiator: it is known by its name and by its address.
    pub fn group_of_iscsi(&self, initiator: &str, peer: &str) -> Option<&Group> {
        self.group_of(&[initiator.to_owned(), peer.to_owned()])
    }
}

/// The relative identifier of a target's port (SAM-5 4.6.4): SRP has one port, iSCSI one in its only portal group, whatever
/// carries it.
pub fn relative_port(transport: Transport) -> u16 {
    match transport {
        Transport::Srp => 1,
        Transport::Iser | Transport::IscsiTcp => 2,
        Transport::NvmeRdma => 3,
    }
}

/// The relative identifiers of the SCSI ports that a device is seen through.
pub fn scsi_ports(config: &Config, device: &str) -> Vec<u16> {
    let sees = |target: &&TargetConfig| {
        let mut maps = target.groups.iter().flat_map(|group| group.luns.values());
        maps.any(|lun| lun.device.as_ref() == device)
    };
    let portals = (config.targets.iter().filter(sees)).flat_map(|target| &target.portals);
    let mut ports: Vec<u16> = portals
        .filter(|portal| portal.transport != Transport::NvmeRdma)
        .map(|portal| relative_port(portal.transport))
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// The targets of a configuration.
pub fn of(config: &Config, machine: &MachineId, devices: &[Arc<Device>]) -> Vec<Arc<Target>> {
    let unit = |lun: &LunConfig| {
        let device = devices.iter().find(|device| device.name == *lun.device)?;
        Some(Mapping {
            unit: Arc::clone(&device.unit),
            read_only: lun.read_only,
        })
    };
    config
        .targets
        .iter()
        .map(|target| {
            Arc::new(Target {
                name: target.name.to_string(),
                identity: TargetIdentity::of(machine, target),
                groups: target
                    .groups
                    .iter()
                    .map(|group| Group {
                        name: group.name.to_string(),
                        credentials: (target.chap_of(group))
                            .map(|chap| Arc::new(Credentials::from(chap))),
                        dhchap: (target.dhchap_of(group))
                            .map(|dhchap| Arc::new(auth::Credentials::from(dhchap))),
                        default: group.default,
                        patterns: group.initiators.iter().map(Pattern::new).collect(),
                        // The configuration was checked: every name is a device's.
                        luns: group
                            .luns
                            .iter()
                            .filter_map(|(&lun, mapped)| Some((u32::from(lun), unit(mapped)?)))
                            .collect(),
                    })
                    .collect(),
                config: target.clone(),
            })
        })
        .collect()
}
