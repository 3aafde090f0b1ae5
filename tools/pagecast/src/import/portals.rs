//! Portals that the daemon can have all at once.
//!
//! A wildcard and an address of the same family exclude each other at one port, and a port of the RDMA/CM speaks one
//! protocol. The files of other targets may well have both: SCST, for one, listens everywhere and looks at the address afterwards.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use super::draft::{Portal, Target, Transport};
use super::notes::Notes;

/// Addresses that a wildcard is replaced by, at most.
const MOST_ADDRESSES: usize = 64;

/// What listeners share or dispute: the port space, the port, and whether it is IPv6.
type Space = (bool, u16, bool);

fn space(portal: &Portal) -> Space {
    (
        portal.transport.is_rdma(),
        portal.port,
        portal.address.is_ipv6(),
    )
}

/// Makes the portals of all targets go together. Nothing listens where it was not to.
pub(super) fn settle(targets: &mut [Target], notes: &mut Notes) {
    let mut addresses: HashMap<Space, BTreeSet<IpAddr>> = HashMap::new();
    for portal in targets.iter().flat_map(|target| &target.portals) {
        if !portal.address.is_unspecified() {
            addresses
                .entry(space(portal))
                .or_default()
                .insert(portal.address);
        }
    }
    let mut taken: HashMap<(bool, u16, IpAddr), Transport> = HashMap::new();
    for target in targets {
        let Target {
            place,
            name,
            portals,
            ..
        } = target;
        let mut seen = HashSet::new();
        let mut kept = Vec::new();
        for portal in portals.iter().copied() {
            let among = match addresses.get(&space(&portal)) {
                Some(others) if portal.address.is_unspecified() => others,
                _ => {
                    kept.push(portal);
                    continue;
                }
            };
            let (listed, now, remedy): (Vec<IpAddr>, _, _) = if among.len() > MOST_ADDRESSES {
                (
                    Vec::new(),
                    "it has none",
                    "add portals with the addresses that it is to have",
                )
            } else {
                (
                    among.iter().copied().collect(),
                    "it has one at each of those addresses",
                    "add portals with the other addresses of this machine that it is to have",
                )
            };
            notes.add(
                place,
                format!(
                    "target {name} was at every address and others were at some, which one port cannot have both: \
                     instead of the {} portal at {} port {} {now}",
                    portal.transport.as_str(),
                    portal.address,
                    portal.port,
                ),
                remedy,
            );
            kept.extend(
                listed
                    .into_iter()
                    .map(|address| Portal { address, ..portal }),
            );
        }
        kept.retain(|portal| {
            if !seen.insert(*portal) {
                return false;
            }
            match taken.entry((portal.transport.is_rdma(), portal.port, portal.address)) {
                Entry::Vacant(free) => {
                    free.insert(portal.transport);
                    true
                }
                Entry::Occupied(owner) if *owner.get() == portal.transport => true,
                Entry::Occupied(owner) => {
                    notes.add(
                        place,
                        format!(
                            "target {name} has no {} portal at {} port {}: {} is spoken there",
                            portal.transport.as_str(),
                            portal.address,
                            portal.port,
                            owner.get().as_str(),
                        ),
                        "add one with another port",
                    );
                    false
                }
            }
        });
        *portals = kept;
    }
}

/// An address that a portal may have. An IPv4 address in IPv6 clothes is IPv4.
pub(super) fn address(text: &str) -> Result<IpAddr, &'static str> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    let Ok(address) = bare.parse::<IpAddr>() else {
        return Err("it is not an IP address");
    };
    let address = address.to_canonical();
    match address {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
            Err("it is link-local, and means nothing without its interface")
        }
        _ if address.is_multicast() => Err("it is a multicast address"),
        _ => Ok(address),
    }
}
