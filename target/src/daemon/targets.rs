//! Targets as they run: identities, portals, access groups with their LUN maps.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use pagecast_core::access::{Admission, Pattern, first_group};
use pagecast_core::scsi::Mapping;

use crate::config::{Config, LunConfig, Portal, TargetConfig, Transport};
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

/// The relative identifiers of the SCSI ports that one device is seen through.
pub fn scsi_ports(config: &Config, device: &str) -> Vec<u16> {
    let sees = |target: &&TargetConfig| {
        let mut maps = target.groups.iter().flat_map(|group| group.luns.values());
        maps.any(|lun| lun.device.as_ref() == device)
    };
    let ports = config.targets.iter().filter(sees).flat_map(ports_of);
    ports.collect::<BTreeSet<u16>>().into_iter().collect()
}

/// The SCSI ports of a target.
fn ports_of(target: &TargetConfig) -> impl Iterator<Item = u16> {
    let scsi = |portal: &&Portal| portal.transport != Transport::NvmeRdma;
    let portals = target.portals.iter().filter(scsi);
    portals.map(|portal| relative_port(portal.transport))
}

/// The relative identifiers of the SCSI ports that devices are seen through. For all of them in one pass: there may be
/// thousands, and many more LUNs.
#[derive(Clone, Debug, Default)]
pub struct ScsiPorts {
    of: HashMap<String, BTreeSet<u16>>,
}

impl ScsiPorts {
    /// Those of a configuration.
    pub fn new(config: &Config) -> Self {
        let mut of: HashMap<String, BTreeSet<u16>> = HashMap::new();
        for target in &config.targets {
            let ports: BTreeSet<u16> = ports_of(target).collect();
            for lun in target.groups.iter().flat_map(|group| group.luns.values()) {
                match of.get_mut(&*lun.device) {
                    Some(sum) => sum.extend(&ports),
                    None => drop(of.insert(lun.device.to_string(), ports.clone())),
                }
            }
        }
        Self { of }
    }

    /// Those of a device, in order.
    pub fn of(&self, device: &str) -> Vec<u16> {
        let ports = self.of.get(device).into_iter().flatten();
        ports.copied().collect()
    }
}

/// The targets of a configuration.
pub fn of(config: &Config, machine: &MachineId, devices: &[Arc<Device>]) -> Vec<Arc<Target>> {
    let by_name: HashMap<&str, &Arc<Device>> = (devices.iter())
        .map(|device| (device.name.as_str(), device))
        .collect();
    let unit = |lun: &LunConfig| {
        let device = by_name.get(&*lun.device)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text, "test").expect("a good configuration")
    }

    #[test]
    fn devices_are_seen_through_the_ports_of_their_targets() {
        let config = config(
            r#"{ "devices": [
                    { "name": "a", "backend": "memory", "size": "1MiB" },
                    { "name": "b", "backend": "memory", "size": "1MiB" },
                    { "name": "c", "backend": "memory", "size": "1MiB" } ],
                "targets": [
                    { "name": "one", "portals": [ { "transport": "iser", "address": "::" }, { "transport": "iscsi-tcp", "address": "::", "port": 3261 } ],
                      "groups": [ { "name": "g", "initiators": ["x"], "luns": { "0": "a" } },
                                  { "name": "h", "initiators": ["y"], "luns": { "0": "a", "1": "b" } } ] },
                    { "name": "two", "portals": [ { "transport": "srp", "address": "::" }, { "transport": "nvme-rdma", "address": "::" } ],
                      "groups": [ { "name": "g", "initiators": ["*"], "luns": { "9": "a" } } ] } ] }"#,
        );
        let ports = ScsiPorts::new(&config);
        assert_eq!(ports.of("a"), [1, 2]);
        assert_eq!(ports.of("b"), [2]);
        assert_eq!(ports.of("c"), [0; 0]);
        assert_eq!(ports.of("none"), [0; 0]);
        for device in ["a", "b", "c", "none"] {
            assert_eq!(scsi_ports(&config, device), ports.of(device));
        }
    }

    /// The product of devices and LUNs would be 4 * 10^8 here.
    #[test]
    fn large_configurations_are_looked_at_once() {
        let list = |count: usize, one: &dyn Fn(usize) -> String| {
            let all: Vec<String> = (0..count).map(one).collect();
            all.join(",")
        };
        let devices = list(2000, &|i| {
            format!(r#"{{ "name": "d{i}", "backend": "memory", "size": "1MiB" }}"#)
        });
        let targets = list(400, &|i| {
            let luns = list(500, &|lun| {
                format!(r#""{lun}": "d{}""#, (i * 500 + lun) % 2000)
            });
            format!(
                r#"{{ "name": "t{i}", "portals": [ {{ "transport": "srp", "address": "::", "port": {} }} ],
                     "groups": [ {{ "name": "g", "initiators": ["*"], "luns": {{ {luns} }} }} ] }}"#,
                10_000 + i
            )
        });
        let config = config(&format!(
            r#"{{ "devices": [{devices}], "targets": [{targets}] }}"#
        ));
        let began = std::time::Instant::now();
        let ports = ScsiPorts::new(&config);
        for device in &config.devices {
            assert_eq!(ports.of(&device.name), [1]);
        }
        let took = began.elapsed();
        assert!(took < std::time::Duration::from_secs(2), "{took:?}");
    }
}
