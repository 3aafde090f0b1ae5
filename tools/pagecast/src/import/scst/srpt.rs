//! The driver ib_srpt: SRP.

use std::net::{IpAddr, Ipv4Addr};

use super::targets::{READ, disabled, enabled, groups};
use super::{Section, facts};
use crate::import::draft::{Draft, Portal, Target, Transport};
use crate::import::notes::show;
use crate::import::srp::{colon_guid, gid_guid, patterns};

/// What everybody uses with the RDMA/CM; none is assigned.
pub(in crate::import) const PORT: u16 = 5555;

pub(super) fn driver(draft: &mut Draft, driver: &Section<'_>) {
    let mut given = Vec::new();
    for target in driver.named(&mut draft.notes, "TARGET") {
        import(draft, &target, &mut given);
    }
    driver.attributes(&mut draft.notes, &["TARGET"], &[facts::DRIVER]);
}

fn import(draft: &mut Draft, section: &Section<'_>, given: &mut Vec<String>) {
    let node = colon_guid(section.name());
    let guid = node.clone().or_else(|| gid_guid(section.name()));
    let wanted = match &guid {
        Some(guid) => format!("srp-{guid}"),
        None => section.name().to_owned(),
    };
    let name = draft.target_names.give(&wanted, "srp");
    let enabled = enabled(draft, section);
    if enabled {
        draft.notes.group(
            &section.place,
            "SRP portals",
            "they are at every address, port 5555, of the RDMA/CM. SCST's target is one InfiniBand port, \
             and its service is one that the kernel keeps to itself",
            "give a portal the address of one port to keep its target there; initiators log in with what `pagecast target show` prints",
        );
    } else {
        disabled(draft, &section.place, &name, "srp:0.0.0.0");
    }
    // Only a node's GUID is what SCST has in its target port identifiers; a GID has that of a port.
    let own = node.filter(|guid| !given.contains(guid));
    let srp_guid = own.as_deref().and_then(number);
    given.extend(own);
    if srp_guid.is_none() {
        draft.notes.group(
            &section.place,
            "id_ext, ioc_guid",
            "SCST makes them of the adapter's node GUID, which is not in this file; here they follow from the target's name",
            "set \"srp_id_ext\" and \"srp_ioc_guid\" of one target to the node GUID (ibstat), if initiators are to find the old ones",
        );
    }
    let groups = groups(draft, section, |_, _, text| match patterns(text) {
        found if found.is_empty() => Err(
            "SRP initiators are known by their port identifier (0x and 32 hex digits), its GUID half (16) and their IP address",
        ),
        found => Ok(found),
    });
    section.attributes(&mut draft.notes, &READ, &[facts::TARGET]);
    if name != wanted {
        draft.notes.add(
            &section.place,
            format!("the target {} is called {name} here", show(section.name())),
            "choose another name if you like",
        );
    }
    let portal = Portal {
        transport: Transport::Srp,
        address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        port: PORT,
    };
    draft.targets.push(Target {
        place: section.place.clone(),
        name,
        iqn: None,
        srp_guid,
        chap: None,
        portals: if enabled { vec![portal] } else { Vec::new() },
        groups,
    });
}

fn number(guid: &str) -> Option<u64> {
    u64::from_str_radix(guid, 16).ok().filter(|guid| *guid != 0)
}
