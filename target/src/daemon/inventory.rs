//! What is served: the configuration in force, and what was made of it.

use std::sync::Arc;

use crate::config::{Config, DeviceConfig, Portal};
use crate::device::Device;
use crate::identity::MachineId;

use super::targets::{self, ScsiPorts, Target};

/// A snapshot. A change of the configuration makes a new one.
#[derive(Debug)]
pub struct Inventory {
    /// What it was made of.
    pub config: Config,
    /// Devices in service, in the order of the configuration.
    pub devices: Vec<Arc<Device>>,
    /// Devices that cannot be opened.
    pub offline: Vec<Offline>,
    /// Every target, in the order of the configuration.
    pub targets: Vec<Arc<Target>>,
    /// The SCSI ports that devices are seen through.
    pub ports: ScsiPorts,
    /// What people should know of the configuration.
    pub warnings: Vec<String>,
}

/// A device that cannot be opened now.
#[derive(Clone, Debug)]
pub struct Offline {
    /// What it is to be.
    pub config: DeviceConfig,
    /// Why not.
    pub why: String,
}

impl Inventory {
    /// What a configuration makes of these devices.
    pub fn new(
        config: Config,
        machine: &MachineId,
        devices: Vec<Arc<Device>>,
        offline: Vec<Offline>,
    ) -> Self {
        Self {
            targets: targets::of(&config, machine, &devices),
            ports: ScsiPorts::new(&config),
            warnings: config.warnings(),
            config,
            devices,
            offline,
        }
    }

    /// A device in service.
    pub fn device(&self, name: &str) -> Option<&Arc<Device>> {
        self.devices.iter().find(|device| device.name == name)
    }

    /// A device that is not in service.
    pub fn offline(&self, name: &str) -> Option<&Offline> {
        self.offline
            .iter()
            .find(|device| *device.config.name == *name)
    }

    /// A target.
    pub fn target(&self, name: &str) -> Option<&Arc<Target>> {
        self.targets.iter().find(|target| target.name == name)
    }

    /// The targets that can be reached through a portal.
    pub fn targets_at(&self, portal: Portal) -> impl Iterator<Item = &Arc<Target>> {
        let here = move |target: &&Arc<Target>| target.config.portals.contains(&portal);
        self.targets.iter().filter(here)
    }
}
