//! What has to hold between the parts of a configuration.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::IpAddr;

use super::device::DeviceConfig;
use super::document::{Fault, Problems, join, show};
use super::metrics::MetricsConfig;
use super::name::Name;
use super::nearest::suggestion;
use super::target::{Endpoint, GroupConfig, LunConfig, Portal, TargetConfig};
use crate::identity;

/// Names are there once, also those of what has other problems. Items that have none are `None`.
pub(super) fn names(problems: &mut Problems, devices: &[Option<Name>], targets: &[Option<Name>]) {
    let mut unique = |list: &str, names: &[Option<Name>], mut known: Unique<Name>| {
        for (i, name) in names.iter().enumerate() {
            let Some(name) = name else { continue };
            let at = format!("{list}[{i}].name");
            known.add(problems, name.clone(), &show(name), at);
        }
    };
    let remedy = "devices have different names";
    unique("devices", devices, Unique::new("device name", remedy));
    let remedy = "targets have different names";
    unique("targets", targets, Unique::new("target name", remedy));
}

/// Items that did not parse are `None`: their problems are known already.
pub(super) fn check(
    problems: &mut Problems,
    names: &[Option<Name>],
    devices: &[Option<DeviceConfig>],
    targets: &[Option<TargetConfig>],
    metrics: Option<&MetricsConfig>,
) {
    check_devices(problems, devices);
    check_targets(problems, targets);
    check_portals(problems, targets);
    if let Some(metrics) = metrics {
        check_metrics(problems, metrics, targets);
    }
    // A device whose name did not parse would make every LUN that names it a problem too.
    let names: Option<Vec<&str>> = names.iter().map(Option::as_deref).collect();
    if let Some(names) = names {
        check_luns(problems, &names, targets);
    }
}

fn check_devices(problems: &mut Problems, devices: &[Option<DeviceConfig>]) {
    let mut serials = Unique::new("serial", "initiators tell devices apart by it");
    let mut naas = Unique::new("NAA designator", "initiators tell devices apart by it");
    let mut uuids = Unique::new("UUID", "initiators tell devices apart by it");
    let mut paths = Unique::new("path", "two devices cannot have the same store");
    for (i, device) in devices.iter().enumerate() {
        let Some(device) = device else { continue };
        let at = |key: &str| format!("devices[{i}].{key}");
        if let Some(serial) = &device.serial {
            serials.add(problems, serial.clone(), &show(serial), at("serial"));
        }
        if let Some(naa) = device.naa {
            naas.add(problems, naa, &naa.to_string(), at("naa"));
        }
        if let Some(uuid) = device.uuid {
            uuids.add(problems, uuid, &uuid.to_string(), at("uuid"));
        }
        if let Some(path) = device.store.path() {
            paths.add(problems, path.clone(), &format!("{path:?}"), at("path"));
        }
    }
}

fn check_targets(problems: &mut Problems, targets: &[Option<TargetConfig>]) {
    let mut iqns = Unique::new(
        "iSCSI name",
        "give each target its own \"iqn\", in which capitals do not count",
    );
    let mut nqns = Unique::new("NVMe qualified name", "give each target its own \"nqn\"");
    let mut ports = Unique::new(
        "SRP target port identifier",
        "give each target its own \"srp_id_ext\" or \"srp_ioc_guid\"",
    );
    for (i, target) in targets.iter().enumerate() {
        let Some(target) = target else { continue };
        let at = |key: &str| format!("targets[{i}].{key}");
        // The default of one target may be what another was given.
        let iqn = target
            .iqn
            .clone()
            .unwrap_or_else(|| identity::default_iqn(&target.name));
        // Initiators write names in small letters, or compare them as if they had (RFC 7143 section 4.2.7.1): of two that differ in
        // case alone, a login would find the first.
        let shown = format!("{} of target {}", show(&iqn), target.name);
        let whose = format!("{} (target {})", at("iqn"), target.name);
        iqns.add_of(problems, iqn.to_lowercase(), &shown, at("iqn"), whose);
        let nqn = target
            .nqn
            .clone()
            .unwrap_or_else(|| identity::default_nqn(&target.name));
        nqns.add(problems, nqn.clone(), &show(&nqn), at("nqn"));
        if let (Some(id_ext), Some(ioc_guid)) = (target.srp_id_ext, target.srp_ioc_guid) {
            let text = format!("{id_ext}:{ioc_guid}");
            ports.add(problems, (id_ext, ioc_guid), &text, at("srp_id_ext"));
        }
        let mut groups = Unique::new("group name", "groups of a target have different names");
        for (g, group) in target.groups.iter().enumerate() {
            let at = at(&format!("groups[{g}].name"));
            groups.add(problems, group.name.clone(), &show(&group.name), at);
        }
        check_defaults(problems, &target.groups, &at("groups"));
    }
}

fn check_defaults(problems: &mut Problems, groups: &[GroupConfig], path: &str) {
    let mut defaults = (groups.iter().enumerate()).filter(|(_, group)| group.default);
    let Some((_, first)) = defaults.next() else {
        return;
    };
    for (g, _) in defaults {
        let what = format!(
            "the group {} is the default of this target already",
            show(&first.name)
        );
        let remedy = "keep \"default\" in one of them";
        problems.add(&format!("{path}[{g}].default"), Fault::new(what, remedy));
    }
}

/// One target may not ask twice for the same place. Two may share it, if they speak the same protocol there.
fn check_portals(problems: &mut Problems, targets: &[Option<TargetConfig>]) {
    let mut seen: Vec<(usize, String, Portal)> = Vec::new();
    for (t, target) in targets.iter().enumerate() {
        for (p, &portal) in target.iter().flat_map(|target| &target.portals).enumerate() {
            let at = format!("targets[{t}].portals[{p}]");
            let clash = seen.iter().find_map(|(owner, path, other)| {
                clash(portal, *other, t == *owner).map(|fault| (path, fault))
            });
            if let Some((path, why)) = clash {
                let what = format!("{portal} {why} {path}");
                problems.add(
                    &at,
                    Fault::new(what, "remove it, or give it another address or port"),
                );
            }
            seen.push((t, at, portal));
        }
    }
}

/// Why both cannot be listened on.
fn clash(portal: Portal, other: Portal, same_target: bool) -> Option<&'static str> {
    if portal == other {
        return same_target.then_some("is there twice: see");
    }
    let (
        Endpoint::Ip {
            address: a,
            port: ap,
        },
        Endpoint::Ip {
            address: b,
            port: bp,
        },
    ) = (portal.endpoint, other.endpoint)
    else {
        return (portal.endpoint == other.endpoint).then_some("is taken by");
    };
    if ap != bp || portal.transport.is_rdma() != other.transport.is_rdma() {
        return None;
    }
    if a == b {
        return Some("is taken by");
    }
    (covers(a, b) || covers(b, a)).then_some("overlaps with")
}

/// Whether a listener on the wildcard `wide` takes what comes for `address`, in which case the RDMA/CM refuses to have both.
/// The IPv6 wildcard takes IPv4 as well, but leaves it to an IPv4 portal if there is one.
fn covers(wide: IpAddr, address: IpAddr) -> bool {
    wide.is_unspecified() && wide.is_ipv6() == address.is_ipv6()
}

/// They are read over TCP, and so are disks over iSCSI.
fn check_metrics(
    problems: &mut Problems,
    metrics: &MetricsConfig,
    targets: &[Option<TargetConfig>],
) {
    // The IPv6 wildcard takes IPv4 as well, here.
    let takes = |wide: IpAddr, address: IpAddr| {
        wide.is_unspecified() && (wide.is_ipv6() || address.is_ipv4())
    };
    for (t, target) in targets.iter().enumerate() {
        for (p, portal) in target.iter().flat_map(|target| &target.portals).enumerate() {
            let Endpoint::Ip { address, port } = portal.endpoint else {
                continue;
            };
            let own = metrics.address;
            let same = address == own || takes(address, own) || takes(own, address);
            if same && port == metrics.port && !portal.transport.is_rdma() {
                let what = format!("{} is taken by targets[{t}].portals[{p}]", metrics.socket());
                let remedy = "give it another address or port";
                problems.add("metrics", Fault::new(what, remedy));
            }
        }
    }
}

fn check_luns(problems: &mut Problems, devices: &[&str], targets: &[Option<TargetConfig>]) {
    let known: HashSet<&str> = devices.iter().copied().collect();
    for (t, target) in targets.iter().enumerate() {
        for (g, group) in target.iter().flat_map(|target| &target.groups).enumerate() {
            for (lun, LunConfig { device, .. }) in &group.luns {
                if !known.contains(&**device) {
                    let at = join(&format!("targets[{t}].groups[{g}].luns"), &lun.to_string());
                    let what = format!("there is no device {}", show(device));
                    problems.add(&at, Fault::new(what, suggestion(device, devices)));
                }
            }
        }
    }
}

/// Finds values that are there twice.
struct Unique<T> {
    kind: &'static str,
    remedy: &'static str,
    seen: HashMap<T, String>,
}

impl<T: Hash + Eq> Unique<T> {
    fn new(kind: &'static str, remedy: &'static str) -> Self {
        Self {
            kind,
            remedy,
            seen: HashMap::new(),
        }
    }

    fn add(&mut self, problems: &mut Problems, value: T, shown: &str, at: String) {
        let whose = at.clone();
        self.add_of(problems, value, shown, at, whose);
    }

    /// The same, with what a message about another one calls this.
    fn add_of(
        &mut self,
        problems: &mut Problems,
        value: T,
        shown: &str,
        at: String,
        whose: String,
    ) {
        match self.seen.get(&value) {
            None => {
                self.seen.insert(value, whose);
            }
            Some(first) => {
                let what = format!("the {} {shown} is already that of {first}", self.kind);
                problems.add(&at, Fault::new(what, self.remedy));
            }
        }
    }
}
