//! Targets: the fabrics iscsi and srpt. Each of a target's portal groups becomes a target.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};

use super::acls::{self, Rules};
use super::{Object, chap, facts};
use crate::import::draft::{Draft, Portal, Target, Transport};
use crate::import::names::{Names, iscsi_name, short_iscsi};
use crate::import::notes::{Place, show};
use crate::import::{portals, srp};

/// What everybody uses for SRP with the RDMA/CM; none is assigned.
const SRP_PORT: u16 = 5555;
const ISCSI_PORT: u64 = 3260;

/// Names that may be there once.
#[derive(Default)]
pub(super) struct Taken {
    iqns: HashSet<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fabric {
    Iscsi,
    Srp,
}

pub(super) fn import(draft: &mut Draft, target: &Object<'_>, taken: &mut Taken) {
    let notes = &mut draft.notes;
    let (Some(name), Some(wwn)) = (target.text(notes, "fabric"), target.text(notes, "wwn")) else {
        notes.add(
            &target.place,
            "a target without fabric or wwn is not imported",
            "add it by hand if it is needed",
        );
        return;
    };
    let fabric = match name {
        "iscsi" => Fabric::Iscsi,
        "srpt" | "ib_srpt" => Fabric::Srp,
        other => {
            let (what, remedy) = facts::fabric(other);
            notes.add(
                &target.place,
                format!(
                    "the target {} of the fabric {} is not imported, with all that is in it: {what}",
                    show(wwn),
                    show(other)
                ),
                remedy,
            );
            return;
        }
    };
    target.rest(notes, &["fabric", "wwn", "tpgs"], &[facts::TARGET]);
    let tpgs = target.list(notes, "tpgs");
    if tpgs.is_empty() {
        notes.add(
            &target.place,
            format!(
                "the target {} has no portal groups, and is not imported",
                show(wwn)
            ),
            "nothing has to be done: nobody could log in to it",
        );
    }
    for (i, tpg) in tpgs.iter().enumerate() {
        let (name, iqn) = names(draft, &tpg.place, fabric, wwn, i, taken);
        portal_group(draft, tpg, fabric, name, iqn);
    }
}

/// The name and the iSCSI name of the target that a portal group becomes. The first one has the target's own.
fn names(
    draft: &mut Draft,
    place: &Place,
    fabric: Fabric,
    wwn: &str,
    index: usize,
    taken: &mut Taken,
) -> (String, Option<String>) {
    if fabric == Fabric::Srp {
        let wanted = match srp::gid_guid(wwn).or_else(|| srp::colon_guid(wwn)) {
            Some(guid) => format!("srp-{guid}"),
            None => wwn.to_owned(),
        };
        return (draft.target_names.give(&wanted, "srp"), None);
    }
    let own = iscsi_name(wwn);
    let iqn = match (&own, index) {
        (Some(own), 1..) => iscsi_name(&format!("{own}.tpg{}", index + 1)),
        _ => own.clone(),
    };
    let iqn = iqn.filter(|iqn| taken.iqns.insert(iqn.clone()));
    let name = draft
        .target_names
        .give(short_iscsi(iqn.as_deref().unwrap_or(wwn)), "target");
    match &iqn {
        None => draft.notes.add(
            place,
            format!("{} is no iSCSI name, or there twice: target {name} has one that follows from its own", show(wwn)),
            "initiators log in with the new name; `pagecast target show` prints it",
        ),
        Some(iqn) if index > 0 => draft.notes.add(
            place,
            format!("the target {} has several portal groups, which are a target each here: this one is {name}, {}", show(wwn), show(iqn)),
            "initiators that came in by its portals log in with the new name",
        ),
        Some(iqn) if iqn != wwn => draft.notes.add(
            place,
            format!("the iSCSI name of target {name} is {} here, in small letters", show(iqn)),
            "names compare in small letters (RFC 3722); open-iscsi's records of it may have to be discovered again",
        ),
        Some(_) => {}
    }
    (name, iqn)
}

fn portal_group(
    draft: &mut Draft,
    tpg: &Object<'_>,
    fabric: Fabric,
    name: String,
    iqn: Option<String>,
) {
    let rules = Rules::read(draft, tpg, fabric);
    let luns = luns(draft, tpg);
    let mut groups = Vec::new();
    let mut names = Names::default();
    for acl in tpg.list(&mut draft.notes, "node_acls") {
        groups.extend(acls::group(draft, &acl, &rules, &luns, &mut names));
    }
    let own = chap::chap(draft, tpg, &format!("of target {name}"));
    if rules.demo {
        groups.extend(acls::demo(draft, tpg, &rules, &luns, &mut names, own));
    } else if !matches!(own, Ok(None)) {
        draft.notes.add(
            &tpg.place,
            format!("the CHAP user of target {name} is not imported: in LIO it is for initiators without an ACL, and they do not get in"),
            "nothing has to be done",
        );
    }
    let mut portals = match fabric {
        Fabric::Iscsi => iscsi_portals(draft, tpg, &name),
        Fabric::Srp => srp_portals(draft, tpg),
    };
    let mut handled = vec![
        "tag",
        "enable",
        "attributes",
        "luns",
        "portals",
        "node_acls",
    ];
    handled.extend(chap::KEYS);
    tpg.rest(&mut draft.notes, &handled, &[facts::TPG]);
    if tpg.flag(&mut draft.notes, "enable") == Some(false) {
        portals.clear();
        draft.notes.add(
            &tpg.place,
            format!("target {name} is not enabled in LIO, and imported without portals: nobody can log in"),
            format!("if it is to serve, give it some: `pagecast portal add {name} ...`"),
        );
    }
    draft.targets.push(Target {
        place: tpg.place.clone(),
        name,
        iqn,
        srp_guid: None,
        chap: None,
        portals,
        groups,
    });
}

/// What a LUN of a portal group is: a device and whether it is read-only, or nothing that was imported.
pub(super) type Luns = BTreeMap<u64, Option<(String, bool)>>;

fn luns(draft: &mut Draft, tpg: &Object<'_>) -> Luns {
    let mut map = Luns::new();
    for lun in tpg.list(&mut draft.notes, "luns") {
        let notes = &mut draft.notes;
        lun.rest(notes, &["index", "storage_object"], &[facts::LUN]);
        let (Some(index), Some(key)) = (
            lun.number(notes, "index"),
            lun.text(notes, "storage_object"),
        ) else {
            notes.add(
                &lun.place,
                "a LUN without index or storage_object is not imported",
                "map the device by hand if it is needed",
            );
            continue;
        };
        let found = match draft.devices.find(key) {
            Some(Some(found)) => Some(found),
            Some(None) => {
                draft.notes.add(
                    &lun.place,
                    format!(
                        "LUN {index} is not imported: its storage object {} is not",
                        show(key)
                    ),
                    "see what is said of the storage object",
                );
                None
            }
            None => {
                draft.notes.add(
                    &lun.place,
                    format!(
                        "LUN {index} is not imported: there is no storage object {}",
                        show(key)
                    ),
                    "add the device, then map it",
                );
                None
            }
        };
        if map.contains_key(&index) {
            draft.notes.add(
                &lun.place,
                format!("LUN {index} is there already, and this one is not imported"),
                "give one of them another number",
            );
            continue;
        }
        map.insert(index, found);
    }
    map
}

fn iscsi_portals(draft: &mut Draft, tpg: &Object<'_>, name: &str) -> Vec<Portal> {
    let mut found = Vec::new();
    for portal in tpg.list(&mut draft.notes, "portals") {
        let notes = &mut draft.notes;
        portal.rest(notes, &["ip_address", "port", "iser"], &[facts::PORTAL]);
        let text = portal.text(notes, "ip_address").unwrap_or_default();
        let port = portal.number(notes, "port").unwrap_or(ISCSI_PORT);
        let port = u16::try_from(port).ok().filter(|port| *port != 0);
        let iser = portal.flag(notes, "iser").unwrap_or(false);
        let (address, port) = match (portals::address(text), port) {
            (Ok(address), Some(port)) => (address, port),
            (address, _) => {
                let what = address.err().unwrap_or("it has no port from 1 to 65535");
                notes.add(
                    &portal.place,
                    format!(
                        "the portal {} of target {name} is not imported: {what}",
                        show(text)
                    ),
                    "add one with an address of this machine",
                );
                continue;
            }
        };
        let mut add = |transport| {
            found.push(Portal {
                transport,
                address,
                port,
            });
        };
        add(Transport::IscsiTcp);
        if iser {
            notes.group(
                &portal.place,
                "iser",
                "a portal of LIO with iser serves iSCSI over TCP as well: here they are two",
                "remove the one that is not needed; give the two different ports with iWARP",
            );
            add(Transport::Iser);
        }
    }
    if found.is_empty() {
        draft.notes.add(
            &tpg.place,
            format!("target {name} has no portals: nobody can log in"),
            format!(
                "if it is to serve, give it some: `pagecast portal add {name} iscsi-tcp:0.0.0.0`"
            ),
        );
    }
    found
}

fn srp_portals(draft: &mut Draft, tpg: &Object<'_>) -> Vec<Portal> {
    for portal in tpg.list(&mut draft.notes, "portals") {
        draft.notes.add(
            &portal.place,
            "portals of SRP targets mean nothing to LIO, and this one is not imported",
            "nothing has to be done",
        );
    }
    draft.notes.group(
        &tpg.place,
        "SRP portals",
        "they are at every address, port 5555, of the RDMA/CM. LIO's target is one InfiniBand port, its service is one \
         that the kernel keeps to itself, and id_ext and ioc_guid are an adapter's node GUID, which is not in this file",
        "give a portal the address of one port to keep its target there; initiators log in with what `pagecast target show` prints",
    );
    vec![Portal {
        transport: Transport::Srp,
        address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        port: SRP_PORT,
    }]
}
