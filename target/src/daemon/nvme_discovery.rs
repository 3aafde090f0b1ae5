//! What a discovery controller tells its host: every way to every target that the host may see, and who else may know more.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use pagecast_core::nvme::DiscoverySource;

use super::Shared;
use super::inventory::Inventory;
use super::targets::Target;
use crate::config::{Endpoint, Portal, Referral, Transport};
use crate::identity::fingerprint;
use crate::nvme::discovery::{Kind, Record, log_page};

/// The discovery log page for one host that came in at one portal. It follows the configuration in force.
#[derive(Debug)]
pub(super) struct DiscoveryLog {
    shared: Arc<Shared>,
    /// The host's names.
    names: Vec<String>,
    /// Where it came in, as it dialled it.
    local: Option<SocketAddr>,
    /// The page as it was made last, and of what. What is gone must not be kept for it.
    made: Mutex<(Weak<Inventory>, Arc<Page>)>,
}

impl DiscoverySource for DiscoveryLog {
    fn log_page(&self) -> Vec<u8> {
        let page = self.page();
        log_page(page.generation, &page.records)
    }

    fn generation(&self) -> u64 {
        self.page().generation
    }
}

impl DiscoveryLog {
    /// `names` are the host's, `local` is where it came in, as it dialled it.
    pub(super) fn new(shared: Arc<Shared>, names: Vec<String>, local: Option<SocketAddr>) -> Self {
        Self {
            shared,
            names,
            local,
            made: Mutex::default(),
        }
    }

    fn page(&self) -> Arc<Page> {
        let inventory = self.shared.inventory();
        // It is replaced whole, so a panic elsewhere does not spoil it.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.0.as_ptr() != Arc::as_ptr(&inventory) {
            let referrals = &inventory.config.discovery_referrals;
            let page = Page::new(&inventory.targets, referrals, &self.names, self.local);
            *made = (Arc::downgrade(&inventory), Arc::new(page));
        }
        Arc::clone(&made.1)
    }
}

/// What the page says.
#[derive(Debug, Default)]
struct Page {
    generation: u64,
    records: Vec<Record>,
}

impl Page {
    fn new(
        targets: &[Arc<Target>],
        referrals: &[Referral],
        names: &[String],
        local: Option<SocketAddr>,
    ) -> Self {
        let portals = portals(targets);
        let mut records = Vec::new();
        let mut add = |record: Record| {
            let known =
                |other: &Record| other.kind == record.kind && other.address == record.address;
            if !records.iter().any(known) {
                records.push(record);
            }
        };
        if let Some(local) = local {
            let here = |&portal: &&(IpAddr, u16)| seen_as(*portal, Some(local)) == Some(local);
            let port = portals.iter().position(|portal| here(&portal));
            add(Record {
                kind: Kind::Current,
                address: local,
                port: port_id(port.unwrap_or_default()),
            });
        }
        for target in targets
            .iter()
            .filter(|target| target.group_of(names).is_some())
        {
            for portal in target.config.portals.iter().filter_map(nvme) {
                let number = portals.iter().position(|&other| other == portal);
                let Some(address) = seen_as(portal, local) else {
                    continue;
                };
                add(Record {
                    kind: Kind::Subsystem(target.identity.nqn.clone()),
                    address,
                    port: port_id(number.unwrap_or_default()),
                });
            }
        }
        for referral in referrals {
            add(Record {
                kind: Kind::Referral,
                address: referral.socket(),
                port: 0,
            });
        }
        // Whoever reads the page in pieces notices by it that another daemon has taken over with another configuration.
        let generation = fingerprint(&log_page(0, &records));
        Self {
            generation,
            records,
        }
    }
}

/// Every portal for NVMe once, in the order of the configuration.
fn portals(targets: &[Arc<Target>]) -> Vec<(IpAddr, u16)> {
    let mut list = Vec::new();
    for target in targets {
        for portal in target.config.portals.iter().filter_map(nvme) {
            if !list.contains(&portal) {
                list.push(portal);
            }
        }
    }
    list
}

fn nvme(portal: &Portal) -> Option<(IpAddr, u16)> {
    match portal.endpoint {
        Endpoint::Ip { address, port } if portal.transport == Transport::NvmeRdma => {
            Some((address, port))
        }
        _ => None,
    }
}

/// Where a host reaches a portal: on a wildcard, at the address that it has dialled already, if the wildcard takes such.
fn seen_as((address, port): (IpAddr, u16), local: Option<SocketAddr>) -> Option<SocketAddr> {
    if !address.is_unspecified() {
        return Some(SocketAddr::new(address, port));
    }
    let local = local?.ip().to_canonical();
    (address.is_ipv6() || local.is_ipv4()).then(|| SocketAddr::new(local, port))
}

/// PORTID, which counts from one.
fn port_id(number: usize) -> u16 {
    u16::try_from(number + 1).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::targets;
    use super::*;
    use crate::config::Config;
    use crate::identity::MachineId;

    const CONFIG: &str = r#"{ "discovery_referrals": [ { "address": "10.0.0.99" } ], "targets": [
        { "name": "a", "nqn": "nqn.2026-11.io.pagecast:a",
          "portals": [ { "transport": "nvme-rdma", "address": "0.0.0.0" },
                       { "transport": "nvme-rdma", "address": "10.0.1.1", "port": 4421 },
                       { "transport": "iser", "address": "10.0.1.1" } ],
          "groups": [ { "name": "g", "initiators": [ "nqn.host:one" ] } ] },
        { "name": "b", "nqn": "nqn.2026-11.io.pagecast:b",
          "portals": [ { "transport": "nvme-rdma", "address": "::", "port": 4430 },
                       { "transport": "nvme-rdma", "address": "10.0.1.1", "port": 4421 } ],
          "groups": [ { "name": "g", "initiators": [ "10.0.0.*" ] } ] } ] }"#;

    const REFERRAL: &str = "Referral 10.0.0.99:4420 0";

    fn log(names: &[&str], local: Option<&str>) -> Page {
        let config = Config::parse(CONFIG, "c.json").expect("good");
        let targets = targets::of(&config, &MachineId::from_bytes([1; 16]), &[]);
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let local = local.map(|local| local.parse().expect("an address"));
        Page::new(&targets, &config.discovery_referrals, &names, local)
    }

    /// As lines of kind, address and port.
    fn lines(log: &Page) -> Vec<String> {
        let line = |record: &Record| {
            let kind = match &record.kind {
                Kind::Subsystem(name) => name.rsplit(':').next().unwrap_or_default().to_owned(),
                other => format!("{other:?}"),
            };
            format!("{kind} {} {}", record.address, record.port)
        };
        log.records.iter().map(line).collect()
    }

    #[test]
    fn a_host_sees_what_admits_it() {
        let one = log(&["nqn.host:one", "10.9.0.1"], Some("10.0.0.1:4420"));
        assert_eq!(
            lines(&one),
            [
                "Current 10.0.0.1:4420 1",
                "a 10.0.0.1:4420 1",
                "a 10.0.1.1:4421 2",
                REFERRAL
            ]
        );
        let two = log(&["nqn.host:two", "10.0.0.7"], Some("10.0.0.1:4420"));
        assert_eq!(
            lines(&two),
            [
                "Current 10.0.0.1:4420 1",
                "b 10.0.0.1:4430 3",
                "b 10.0.1.1:4421 2",
                REFERRAL
            ]
        );
        let both = log(&["nqn.host:one", "10.0.0.7"], Some("10.0.1.1:4421"));
        assert_eq!(lines(&both).len(), 6);
        assert_eq!(lines(&both)[0], "Current 10.0.1.1:4421 2");
        let nobody = log(&["nqn.host:no", "10.9.0.1"], Some("10.0.0.1:4420"));
        assert_eq!(lines(&nobody), ["Current 10.0.0.1:4420 1", REFERRAL]);
        assert_ne!(one.generation, two.generation);
        let page = log_page(one.generation, &one.records);
        assert_eq!(page[..8], one.generation.to_le_bytes());
    }

    #[test]
    fn a_wildcard_takes_its_own_kind_of_address() {
        let six = log(&["nqn.host:one", "10.0.0.7"], Some("[fd00::1]:4430"));
        assert_eq!(
            lines(&six),
            [
                "Current [fd00::1]:4430 3",
                "a 10.0.1.1:4421 2",
                "b [fd00::1]:4430 3",
                "b 10.0.1.1:4421 2",
                REFERRAL
            ]
        );
        let unknown = log(&["nqn.host:one", "fe80::1"], None);
        assert_eq!(lines(&unknown), ["a 10.0.1.1:4421 2", REFERRAL]);
    }
}
