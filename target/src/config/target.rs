//! What a target is to be.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::chap::ChapConfig;
use super::dhchap::DhchapConfig;
use super::document::{Fault, Node, Object, Problems, boolean, integer, show, string, word};
use super::ids::{Guid, ServiceId};
use super::name::{Name, iqn, nqn, pattern};

/// One target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TargetConfig {
    /// Unique among targets.
    pub name: Name,
    /// iSCSI name; derived from the name if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iqn: Option<String>,
    /// NVMe qualified name; derived from the name if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nqn: Option<String>,
    /// First half of the SRP target port identifier; derived from the name if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub srp_id_ext: Option<Guid>,
    /// Second half of the SRP target port identifier; derived from the name if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub srp_ioc_guid: Option<Guid>,
    /// What iSCSI and iSER initiators prove themselves with, unless their group has its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chap: Option<ChapConfig>,
    /// What NVMe hosts prove themselves with, unless their group has its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dhchap: Option<DhchapConfig>,
    /// Where it listens.
    pub portals: Vec<Portal>,
    /// Who sees what, in the order in which initiators are matched.
    pub groups: Vec<GroupConfig>,
}

/// Where a target listens. Several targets may share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Portal {
    /// What is spoken there.
    pub transport: Transport,
    /// Where: the keys `address` and `port`, or `service_id`.
    #[serde(flatten)]
    pub endpoint: Endpoint,
}

impl fmt::Display for Portal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.endpoint {
            Endpoint::Ip { address, port } => {
                write!(f, "{} {}", self.transport, SocketAddr::new(address, port))
            }
            Endpoint::Service { service_id } => {
                write!(f, "{} service id {service_id}", self.transport)
            }
        }
    }
}

/// An address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(untagged)]
pub enum Endpoint {
    /// An IP address, wildcards included. `::` takes IPv4 as well, unless another portal has an IPv4 address and that port.
    Ip {
        /// Canonical: never an IPv4 address in IPv6 clothes.
        address: IpAddr,
        /// Never 0.
        port: u16,
    },
    /// The native InfiniBand connection manager, on every InfiniBand port.
    Service {
        /// Which one.
        service_id: ServiceId,
    },
}

/// A storage protocol over something that carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// SCSI RDMA Protocol.
    Srp,
    /// iSCSI extensions for RDMA.
    Iser,
    /// NVMe over RDMA.
    NvmeRdma,
    /// iSCSI over TCP.
    IscsiTcp,
}

impl Transport {
    /// All that a configuration may name.
    pub const ALL: [Self; 4] = [Self::Srp, Self::Iser, Self::NvmeRdma, Self::IscsiTcp];

    /// As in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Srp => "srp",
            Self::Iser => "iser",
            Self::NvmeRdma => "nvme-rdma",
            Self::IscsiTcp => "iscsi-tcp",
        }
    }

    /// The port that its users expect. SRP over RDMA/CM has none assigned; 5555 is what everybody uses.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Srp => 5555,
            Self::Iser | Self::IscsiTcp => 3260,
            Self::NvmeRdma => 4420,
        }
    }

    /// Begins with an iSCSI login, and so with CHAP where it is asked for.
    pub fn is_iscsi(self) -> bool {
        matches!(self, Self::Iser | Self::IscsiTcp)
    }

    /// Listens in the RDMA/CM's port space, and not in TCP's.
    pub fn is_rdma(self) -> bool {
        !matches!(self, Self::IscsiTcp)
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Transport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A set of initiators and what they see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupConfig {
    /// Unique within the target.
    pub name: Name,
    /// Patterns.
    pub initiators: Vec<String>,
    /// It admits whoever no other group of the target admits, unless one of its own patterns excludes them. One at most of a
    /// target's groups is that, in whatever place.
    #[serde(skip_serializing_if = "is_false")]
    pub default: bool,
    /// What its initiators prove themselves with instead of what the target says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chap: Option<ChapConfig>,
    /// The same for NVMe hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dhchap: Option<DhchapConfig>,
    /// What is seen, by LUN.
    pub luns: BTreeMap<u16, LunConfig>,
}

/// What a LUN is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LunConfig {
    /// The device's name.
    pub device: Name,
    /// The group's initiators may not write, whatever the device allows.
    pub read_only: bool,
}

impl From<Name> for LunConfig {
    fn from(device: Name) -> Self {
        Self {
            device,
            read_only: false,
        }
    }
}

/// The name alone, unless there is more to say.
impl Serialize for LunConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.read_only {
            return self.device.serialize(serializer);
        }
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("device", &self.device)?;
        map.serialize_entry("read_only", &true)?;
        map.end()
    }
}

impl GroupConfig {
    /// The largest LUN of the flat addressing method (SAM-5 section 4.7.7.3: 14 bits).
    pub const LUN_MAX: u16 = 0x3fff;

    /// In the order in which they are written.
    pub(crate) const KEYS: [&'static str; 6] =
        ["name", "initiators", "default", "chap", "dhchap", "luns"];
}

impl TargetConfig {
    /// In the order in which they are written.
    pub(crate) const KEYS: [&'static str; 9] = [
        "name",
        "iqn",
        "nqn",
        "srp_id_ext",
        "srp_ioc_guid",
        "chap",
        "dhchap",
        "portals",
        "groups",
    ];

    pub(super) fn read(problems: &mut Problems, node: &Node, path: &str) -> Option<Self> {
        let object = problems.object(node, path, &Self::KEYS)?;
        let name = object.required(problems, "name", "\"store\"", Name::read);
        let iqn = object.optional(problems, "iqn", iqn);
        let nqn = object.optional(problems, "nqn", nqn);
        let srp_id_ext = object.optional(problems, "srp_id_ext", Guid::read);
        let srp_ioc_guid = object.optional(problems, "srp_ioc_guid", Guid::read);
        let chap = ChapConfig::optional(problems, &object, "chap");
        let dhchap = DhchapConfig::optional(problems, &object, "dhchap");
        // Without holes, so that an index in a list is the index in the document.
        let portals = object.list(problems, "portals", |problems, node, path| {
            Some(Portal::read(problems, node, path))
        });
        let groups = object.list(problems, "groups", |problems, node, path| {
            Some(GroupConfig::read(problems, node, path))
        });
        Some(Self {
            name: name?,
            iqn,
            nqn,
            srp_id_ext,
            srp_ioc_guid,
            chap,
            dhchap,
            portals: portals.into_iter().collect::<Option<_>>()?,
            groups: groups.into_iter().collect::<Option<_>>()?,
        })
    }

    /// What the initiators of one of its groups prove themselves with over iSCSI and iSER.
    pub fn chap_of<'a>(&'a self, group: &'a GroupConfig) -> Option<&'a ChapConfig> {
        group.chap.as_ref().or(self.chap.as_ref())
    }

    /// What the hosts of one of its groups prove themselves with over NVMe.
    pub fn dhchap_of<'a>(&'a self, group: &'a GroupConfig) -> Option<&'a DhchapConfig> {
        group.dhchap.as_ref().or(self.dhchap.as_ref())
    }

    /// A warning if some have to prove who they are, and nobody has to who comes in through `portal`.
    pub(super) fn way_around(&self, portal: &Portal) -> Option<String> {
        let any = |asks: &dyn Fn(&GroupConfig) -> bool| self.groups.iter().any(asks);
        let chap = any(&|group| self.chap_of(group).is_some());
        let dhchap = any(&|group| self.dhchap_of(group).is_some());
        let what = match portal.transport {
            Transport::Srp => format!("which {portal} does not have"),
            Transport::Iser | Transport::IscsiTcp if !chap => {
                format!("and has no \"chap\" for {portal}")
            }
            Transport::NvmeRdma if !dhchap => format!("and has no \"dhchap\" for {portal}"),
            _ => return None,
        };
        let asks = match (chap, dhchap) {
            (true, _) => "CHAP",
            (_, true) => "DH-HMAC-CHAP",
            _ => return None,
        };
        Some(format!(
            "target {} asks for {asks}, {what}: who comes in there proves nothing",
            self.name
        ))
    }

    /// Warnings of devices that NVMe hosts would see twice. Linux's takes two namespaces with one identity for a mistake, and drops one.
    pub(super) fn seen_twice(&self) -> Vec<String> {
        let mut portals = self.portals.iter();
        if !portals.any(|portal| portal.transport == Transport::NvmeRdma) {
            return Vec::new();
        }
        let mut warnings = Vec::new();
        for group in &self.groups {
            let mut seen = BTreeMap::new();
            for (lun, LunConfig { device, .. }) in &group.luns {
                if let Some(first) = seen.insert(device, lun) {
                    warnings.push(format!(
                        "target {}, group {}: LUNs {first} and {lun} are both {device}, of which NVMe hosts use one alone",
                        self.name, group.name
                    ));
                }
            }
        }
        warnings
    }
}

impl Portal {
    /// In the order in which they are written.
    pub(crate) const KEYS: [&'static str; 4] = ["transport", "address", "port", "service_id"];

    pub(super) fn read(problems: &mut Problems, node: &Node, path: &str) -> Option<Self> {
        let object = problems.object(node, path, &Self::KEYS)?;
        let transport = object.required(problems, "transport", "\"srp\"", |node| {
            word(
                node,
                &Transport::ALL.map(|transport| (transport.as_str(), transport)),
            )
        });
        let endpoint = if object.get("service_id").is_some() {
            read_service(problems, &object, transport)
        } else {
            read_ip(problems, &object, transport)
        };
        Some(Self {
            transport: transport?,
            endpoint: endpoint?,
        })
    }
}

fn read_ip(
    problems: &mut Problems,
    object: &Object<'_>,
    transport: Option<Transport>,
) -> Option<Endpoint> {
    let address = object.required(problems, "address", "\"0.0.0.0\"", address);
    let port = match object.get("port") {
        Some(_) => object.optional(problems, "port", port),
        None => transport.map(Transport::default_port),
    };
    Some(Endpoint::Ip {
        address: address?,
        port: port?,
    })
}

fn read_service(
    problems: &mut Problems,
    object: &Object<'_>,
    transport: Option<Transport>,
) -> Option<Endpoint> {
    for key in ["address", "port"] {
        if object.get(key).is_some() {
            let what = format!("a portal has \"service_id\" or {key:?}, not both");
            problems.add(
                &object.path(key),
                Fault::new(what, "remove one of them, or make two portals"),
            );
        }
    }
    if let Some(other) = transport.filter(|&transport| transport != Transport::Srp) {
        let what = format!("{other} has no service id of its own");
        problems.add(
            &object.path("service_id"),
            Fault::new(what, "give \"address\" and \"port\" instead"),
        );
    }
    let service_id = object.optional(problems, "service_id", ServiceId::read)?;
    Some(Endpoint::Service { service_id })
}

pub(super) fn address(node: &Node) -> Result<IpAddr, Fault> {
    let text = string(node)?;
    let bare = text
        .strip_prefix('[')
        .and_then(|t| t.strip_suffix(']'))
        .unwrap_or(text);
    let Ok(address) = bare.parse::<IpAddr>() else {
        return Err(Fault::new(
            format!("{} is not an IP address", show(text)),
            "give one such as \"10.0.0.1\" or \"2001:db8::1\", or \"0.0.0.0\" or \"::\" for all of the machine's",
        ));
    };
    let address = address.to_canonical();
    let remedy = "give an address of this machine, or \"0.0.0.0\" or \"::\" for all of them";
    match address {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Err(Fault::new(
            format!(
                "{} is link-local, and means nothing without its interface",
                show(text)
            ),
            remedy,
        )),
        _ if address.is_multicast() => Err(Fault::new(
            format!("{} is a multicast address", show(text)),
            remedy,
        )),
        _ => Ok(address),
    }
}

pub(super) fn port(node: &Node) -> Result<u16, Fault> {
    let value = integer(node, 1, u16::MAX.into())?;
    // In bounds, so it fits.
    Ok(u16::try_from(value).unwrap_or(u16::MAX))
}

impl GroupConfig {
    pub(super) fn read(problems: &mut Problems, node: &Node, path: &str) -> Option<Self> {
        let object = problems.object(node, path, &Self::KEYS)?;
        let name = object.required(problems, "name", "\"everyone\"", Name::read);
        let default = object.optional(problems, "default", boolean);
        if object.get("initiators").is_none() && default != Some(true) {
            problems.add(
                path,
                Fault::new(
                    "the key \"initiators\" is missing",
                    "add \"initiators\": [\"*\"] to let everybody in, or name who may; \"default\": true admits whoever no other group does",
                ),
            );
        }
        let initiators = object.list(problems, "initiators", |problems, node, path| {
            pattern(node)
                .map_err(|fault| problems.add(path, fault))
                .ok()
        });
        let chap = ChapConfig::optional(problems, &object, "chap");
        let dhchap = DhchapConfig::optional(problems, &object, "dhchap");
        let luns = read_luns(problems, &object);
        Some(Self {
            name: name?,
            initiators,
            default: default.unwrap_or(false),
            chap,
            dhchap,
            luns,
        })
    }
}

fn read_luns(problems: &mut Problems, object: &Object<'_>) -> BTreeMap<u16, LunConfig> {
    let mut luns = BTreeMap::new();
    let Some(node) = object.get("luns") else {
        return luns;
    };
    let path = object.path("luns");
    for (key, device) in problems.entries(node, &path).unwrap_or_default() {
        let at = super::document::join(&path, key);
        let lun = parse_lun(key)
            .map_err(|fault| problems.add(&at, fault))
            .ok();
        let device = LunConfig::read(problems, device, &at);
        if let (Some(lun), Some(device)) = (lun, device) {
            luns.insert(lun, device);
        }
    }
    luns
}

impl LunConfig {
    fn read(problems: &mut Problems, node: &Node, path: &str) -> Option<Self> {
        match node {
            Node::String(_) => Name::read(node)
                .map_err(|fault| problems.add(path, fault))
                .ok()
                .map(Self::from),
            Node::Object(_) => {
                let object = problems.object(node, path, &["device", "read_only"])?;
                let device = object.required(problems, "device", "\"disk0\"", Name::read);
                let read_only = object.optional(problems, "read_only", boolean);
                Some(Self {
                    device: device?,
                    read_only: read_only.unwrap_or(false),
                })
            }
            other => {
                let wanted = "a device's name in double quotes, or { \"device\": \"disk0\", \"read_only\": true }";
                problems.add(path, Fault::expected(other, wanted));
                None
            }
        }
    }
}

// The signature is serde's.
fn is_false(value: &bool) -> bool {
    !*value
}

/// A LUN in plain decimal: one way to write each.
pub(super) fn parse_lun(text: &str) -> Result<u16, Fault> {
    text.parse::<u16>()
        .ok()
        .filter(|lun| *lun <= GroupConfig::LUN_MAX && lun.to_string() == text)
        .ok_or_else(|| {
            Fault::new(
                format!("{} is not a LUN", show(text)),
                format!("give a number from \"0\" to \"{}\"", GroupConfig::LUN_MAX),
            )
        })
}
