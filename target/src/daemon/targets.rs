//! Targets as they run: identities, portals, access groups with their LUN maps.

use std::collections::BTreeMap;
use std::sync::Arc;

use pagecast_core::access::Pattern;
use pagecast_core::scsi::LogicalUnit;

use crate::config::{Config, TargetConfig};
use crate::device::Device;
use crate::identity::{MachineId, TargetIdentity};
use crate::iscsi::directory::Credentials;
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
    /// Who belongs to it.
    pub patterns: Vec<Pattern>,
    /// What they see.
    pub luns: BTreeMap<u32, Arc<LogicalUnit>>,
    /// What iSCSI initiators have to prove.
    pub credentials: Option<Arc<Credentials>>,
}

impl Target {
    /// The SRP target port identifier.
    pub fn port_id(&self) -> PortId {
        PortId(self.identity.srp.port_id())
    }
}

/// The targets of a configuration.
pub fn of(config: &Config, machine: &MachineId, devices: &[Arc<Device>]) -> Vec<Target> {
    let unit = |name: &str| {
        let device = devices.iter().find(|device| device.name == name)?;
        Some(Arc::clone(&device.unit))
    };
    config
        .targets
        .iter()
        .map(|target| Target {
            name: target.name.to_string(),
            identity: TargetIdentity::of(machine, target),
            groups: target
                .groups
                .iter()
                .map(|group| Group {
                    name: group.name.to_string(),
                    credentials: (target.chap_of(group))
                        .map(|chap| Arc::new(Credentials::from(chap))),
                    patterns: group.initiators.iter().map(Pattern::new).collect(),
                    // The configuration was checked: every name is a device's.
                    luns: group
                        .luns
                        .iter()
                        .filter_map(|(&lun, name)| Some((u32::from(lun), unit(name)?)))
                        .collect(),
                })
                .collect(),
            config: target.clone(),
        })
        .collect()
}
