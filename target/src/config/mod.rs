//! The configuration: one JSON document, checked whole before anything starts.
//!
//! What is wrong is reported all at once, each with the file, the path of the key and what to do. A [`Config`] serialises
//! to a document of the same shape, which reads back as the same configuration, but for secrets: they are never shown.

mod apply;
pub mod args;
mod chap;
mod check;
mod device;
mod dhchap;
pub mod difference;
mod document;
pub mod edit;
mod error;
mod ids;
mod layout;
mod metrics;
mod name;
pub mod nearest;
mod own;
mod referral;
mod repeated;
mod settings;
pub mod store;
mod target;
mod tree;
mod units;

#[cfg(test)]
mod tests;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use chap::{ChapConfig, MutualChap, Secret};
pub use device::{DeviceConfig, Store, ZeroCopy};
pub use dhchap::DhchapConfig;
pub use difference::{Difference, difference};
pub use error::{ConfigError, Problem};
pub use ids::{Guid, Naa, ServiceId, Uuid};
pub use metrics::MetricsConfig;
pub use name::Name;
pub use own::OwnFiles;
pub use referral::Referral;
pub use settings::{IoEngine, Settings};
pub use store::Document;
pub use target::{Endpoint, GroupConfig, LunConfig, Portal, TargetConfig, Transport};
pub use units::{ByteSize, Span};

use document::{Node, Problems};

/// Everything that one daemon is told.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Config {
    /// Names are unique.
    pub devices: Vec<DeviceConfig>,
    /// Names and identities are unique; LUN maps name devices that are there.
    pub targets: Vec<TargetConfig>,
    /// What an iSCSI or iSER initiator proves itself with before it is told which targets there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discovery_chap: Option<ChapConfig>,
    /// Discovery services of others that NVMe hosts are told of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub discovery_referrals: Vec<Referral>,
    /// Where the counters may be read over HTTP; nowhere if there is nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<MetricsConfig>,
    /// The other keys at the top level.
    #[serde(flatten)]
    pub settings: Settings,
}

/// A place to listen on, and the targets behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where.
    pub portal: Portal,
    /// Indices of the targets that share it, ascending. A login names the one that it wants.
    pub targets: Vec<usize>,
}

impl Config {
    /// Reads a configuration file. Relative paths in it are relative to its directory.
    pub fn from_file(file: &Path) -> Result<Self, ConfigError> {
        Document::from_file(file).map(|(_, config)| config)
    }

    /// Reads a document. `origin` is what messages call it.
    pub fn parse(text: &str, origin: &str) -> Result<Self, ConfigError> {
        Self::from_node(&node(text, origin)?, origin, None)
    }

    /// What a document says. Relative paths in it are relative to `directory`.
    fn from_node(node: &Node, origin: &str, directory: Option<&Path>) -> Result<Self, ConfigError> {
        let mut problems = Problems::default();
        let config = Self::read(&mut problems, node, directory);
        let problems = problems.into_list();
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(ConfigError::Invalid {
                origin: origin.to_owned(),
                problems,
            }),
        }
    }

    fn read(problems: &mut Problems, node: &Node, directory: Option<&Path>) -> Option<Self> {
        let mut keys = vec![
            "devices",
            "targets",
            "discovery_chap",
            "discovery_referrals",
            "metrics",
        ];
        keys.extend(Settings::KEYS);
        let object = problems.object(node, "", &keys)?;
        // `list` drops items that do not parse, and with them the positions that paths are made of: keep the holes, and the names
        // of what they would be.
        let (mut device_names, mut target_names) = (Vec::new(), Vec::new());
        let devices = object.list(problems, "devices", |problems, node, path| {
            device_names.push(Name::new(tree::name(node)));
            let device = DeviceConfig::read(problems, node, path);
            Some(device.map(|device| device.within(directory)))
        });
        let targets = object.list(problems, "targets", |problems, node, path| {
            target_names.push(Name::new(tree::name(node)));
            Some(TargetConfig::read(problems, node, path))
        });
        let discovery_chap = ChapConfig::optional(problems, &object, "discovery_chap");
        let discovery_referrals = Referral::list(problems, &object, "discovery_referrals");
        let metrics = MetricsConfig::optional(problems, &object, "metrics");
        let settings = Settings::read(problems, &object);
        check::names(problems, &device_names, &target_names);
        check::check(
            problems,
            &device_names,
            &devices,
            &targets,
            metrics.as_ref(),
        );
        Some(Self {
            devices: devices.into_iter().collect::<Option<_>>()?,
            targets: targets.into_iter().collect::<Option<_>>()?,
            discovery_chap,
            discovery_referrals: discovery_referrals?,
            metrics,
            settings,
        })
    }

    /// What `--file` means: the device `disk0` is that image, and the target `store` shows it as LUN 0 to the initiators
    /// that match a pattern of `allow`, over every transport that this version serves, on all addresses and the
    /// transport's usual port.
    pub fn from_file_options(image: &Path, allow: &[String]) -> Result<Self, ConfigError> {
        if allow.is_empty() {
            return Err(ConfigError::Options(format!(
                "--file {} is for nobody yet; add --allow PATTERN for each initiator that may use it, \
                 such as --allow 10.0.0.7 or --allow 'iqn.*:web?', or --allow '*' for everybody who reaches this machine",
                image.display()
            )));
        }
        let initiators = allow
            .iter()
            .map(|text| name::pattern_text(text))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|fault| {
                ConfigError::Options(format!("--allow: {}; {}", fault.what, fault.remedy))
            })?;
        let path = std::path::absolute(image).map_err(|cause| ConfigError::Read {
            file: image.to_owned(),
            cause,
        })?;
        // A document is text.
        if path.to_str().is_none() {
            return Err(ConfigError::Options(format!(
                "--file {}: the path is not UTF-8; give it another name, or a link to it",
                path.display()
            )));
        }
        Ok(Self::simple(path, initiators))
    }

    fn simple(path: PathBuf, initiators: Vec<String>) -> Self {
        let name = |text: &str| Name::new(text).unwrap_or_else(|| unreachable!("a good name"));
        let portals = Transport::ALL.map(|transport| Portal {
            transport,
            endpoint: Endpoint::Ip {
                // Takes IPv4 as well.
                address: std::net::Ipv6Addr::UNSPECIFIED.into(),
                port: transport.default_port(),
            },
        });
        Self {
            devices: vec![DeviceConfig::new(name("disk0"), Store::File { path })],
            targets: vec![TargetConfig {
                name: name("store"),
                iqn: None,
                nqn: None,
                srp_id_ext: None,
                srp_ioc_guid: None,
                chap: None,
                dhchap: None,
                portals: portals.to_vec(),
                groups: vec![GroupConfig {
                    name: name("allowed"),
                    initiators,
                    default: false,
                    chap: None,
                    dhchap: None,
                    luns: [(0, name("disk0").into())].into(),
                }],
            }],
            discovery_chap: None,
            discovery_referrals: Vec::new(),
            metrics: None,
            settings: Settings::default(),
        }
    }

    /// This configuration with the portals that need no RDMA device alone.
    pub fn without_rdma(mut self) -> Self {
        for target in &mut self.targets {
            target.portals.retain(|portal| !portal.transport.is_rdma());
        }
        self
    }

    /// Whether a portal needs an RDMA device.
    pub fn needs_rdma(&self) -> bool {
        let mut portals = self.targets.iter().flat_map(|target| &target.portals);
        portals.any(|portal| portal.transport.is_rdma())
    }

    /// Whether there is nothing to serve without an RDMA device.
    pub fn needs_only_rdma(&self) -> bool {
        let mut portals = self.targets.iter().flat_map(|target| &target.portals);
        self.needs_rdma() && portals.all(|portal| portal.transport.is_rdma())
    }

    /// What people should know of a configuration that is good: ways around authentication, devices that are seen twice, patterns
    /// that are there twice, and metrics that others can read.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> = Vec::new();
        for target in &self.targets {
            let mut told = Vec::new();
            for portal in &target.portals {
                let around = target.way_around(portal);
                if let Some(warning) = around.filter(|_| !told.contains(&portal.transport)) {
                    told.push(portal.transport);
                    warnings.push(warning);
                }
            }
            warnings.extend(target.seen_twice());
            warnings.extend(target.listed_twice());
        }
        warnings.extend(self.metrics.as_ref().and_then(MetricsConfig::exposed));
        warnings
    }

    /// A warning if `file`, which this was read from, has secrets in it and lets everybody read them.
    pub fn exposed(&self, file: &Path) -> Option<String> {
        let mode = file.metadata().ok()?.mode();
        (self.has_secrets() && mode & 0o004 != 0).then(|| {
            format!(
                "{}: everybody on this machine can read the secrets in it (mode {:03o}); chmod o= {0}",
                file.display(),
                mode & 0o777
            )
        })
    }

    fn has_secrets(&self) -> bool {
        let target = |target: &TargetConfig| target.chap.is_some() || target.dhchap.is_some();
        let group = |group: &GroupConfig| group.chap.is_some() || group.dhchap.is_some();
        let mut groups = self.targets.iter().flat_map(|target| &target.groups);
        self.discovery_chap.is_some() || self.targets.iter().any(target) || groups.any(group)
    }

    /// The places to listen on, each once, in the order of the configuration.
    pub fn listeners(&self) -> Vec<Listener> {
        let mut list: Vec<Listener> = Vec::new();
        for (t, target) in self.targets.iter().enumerate() {
            for &portal in &target.portals {
                match list.iter_mut().find(|listener| listener.portal == portal) {
                    Some(listener) => listener.targets.push(t),
                    None => list.push(Listener {
                        portal,
                        targets: vec![t],
                    }),
                }
            }
        }
        list
    }

    /// All portals, each once, in the order of the configuration.
    pub fn portals(&self) -> Vec<Portal> {
        let listeners = self.listeners();
        listeners.iter().map(|listener| listener.portal).collect()
    }

    /// The document, for people to read and [`parse`](Self::parse) to read back. Secrets are not in it: where there are
    /// any, they have to be filled in first.
    pub fn to_json(&self) -> String {
        // Names, numbers and paths that came from JSON text: nothing in it can fail.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

/// The tree of a document.
fn node(text: &str, origin: &str) -> Result<Node, ConfigError> {
    serde_json::from_str(text).map_err(|error| syntax(origin, &error))
}

fn syntax(origin: &str, error: &serde_json::Error) -> ConfigError {
    // serde_json appends " at line L column C".
    let message = error.to_string();
    let message = message
        .split(" at line ")
        .next()
        .unwrap_or_default()
        .to_owned();
    ConfigError::Syntax {
        origin: origin.to_owned(),
        line: error.line(),
        column: error.column(),
        message,
    }
}
