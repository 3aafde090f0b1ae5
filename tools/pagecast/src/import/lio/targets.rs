//! Targets: the fabrics iscsi and srpt. Each of a target's portal groups becomes a target.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};

use super::{Object, facts};
use crate::import::draft::{Chap, Draft, Group, LUN_MAX, Lun, Portal, Target, Transport};
use crate::import::names::{Names, is_pattern, iscsi_name, short_iscsi};
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
enum Fabric {
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

/// What is said of a portal group as a whole.
struct Rules {
    fabric: Fabric,
    /// Initiators prove themselves, unless their ACL says otherwise.
    authentication: bool,
    /// Who has no ACL gets all LUNs.
    demo: bool,
    demo_read_only: bool,
    acl_read_only: bool,
}

impl Rules {
    fn read(draft: &mut Draft, tpg: &Object<'_>, fabric: Fabric) -> Self {
        let notes = &mut draft.notes;
        let attributes = tpg.object(notes, "attributes");
        let mut flag = |name: &str, default: bool| {
            let found = attributes.as_ref().and_then(|a| a.flag(notes, name));
            found.unwrap_or(default)
        };
        // The defaults are LIO's, for files that were written by hand.
        let rules = Self {
            fabric,
            authentication: fabric == Fabric::Iscsi && flag("authentication", true),
            demo: flag("generate_node_acls", false),
            demo_read_only: flag("demo_mode_write_protect", true),
            acl_read_only: flag("prod_mode_write_protect", false),
        };
        if let Some(attributes) = &attributes {
            attributes.rest(
                notes,
                &[
                    "authentication",
                    "generate_node_acls",
                    "demo_mode_write_protect",
                    "prod_mode_write_protect",
                ],
                &[facts::TPG_ATTRIBUTES],
            );
        }
        rules
    }
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
        groups.extend(group(draft, &acl, &rules, &luns, &mut names));
    }
    let own = chap(draft, tpg, &format!("of target {name}"));
    if rules.demo {
        groups.extend(demo(draft, tpg, &rules, &luns, &mut names, own));
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
    handled.extend(CHAP_KEYS);
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
type Luns = BTreeMap<u64, Option<(String, bool)>>;

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

/// A LUN as a group has it, or a note.
fn number(draft: &mut Draft, place: &Place, index: u64) -> Option<u16> {
    let number = u16::try_from(index).ok().filter(|n| *n <= LUN_MAX);
    if number.is_none() {
        draft.notes.add(
            place,
            format!("LUN {index} is not imported: LUNs are numbers from 0 to {LUN_MAX}"),
            "give the device another LUN; its hosts find it there after a rescan",
        );
    }
    number
}

/// Whoever has no ACL.
fn demo(
    draft: &mut Draft,
    tpg: &Object<'_>,
    rules: &Rules,
    luns: &Luns,
    names: &mut Names,
    own: Result<Option<Chap>, Refused>,
) -> Option<Group> {
    let chap = match (rules.authentication, own) {
        (true, Ok(Some(chap))) => Some(chap),
        (true, _) => {
            draft.notes.add(
                &tpg.place,
                "whoever has no ACL proves itself with CHAP in LIO, and there is no user and secret that pagecast takes: no group admits them",
                "add a group with \"default\": true, and \"chap\" with a secret of 12 bytes or more",
            );
            return None;
        }
        (false, Ok(None)) => None,
        (false, _) => {
            unasked(draft, &tpg.place);
            None
        }
    };
    let mut map = BTreeMap::new();
    for (index, found) in luns {
        let Some((device, read_only)) = found.clone() else {
            continue;
        };
        if let Some(number) = number(draft, &tpg.place, *index) {
            let read_only = read_only || rules.demo_read_only;
            map.insert(number, Lun { device, read_only });
        }
    }
    Some(Group {
        name: names.give("default", "default"),
        default: true,
        initiators: Vec::new(),
        chap,
        luns: map,
    })
}

fn unasked(draft: &mut Draft, place: &Place) {
    draft.notes.add(
        place,
        "the CHAP user and secret are not imported: LIO does not ask for them (authentication is 0)",
        "set \"chap\" if initiators are to prove themselves",
    );
}

/// An ACL: one initiator, and its LUNs.
fn group(
    draft: &mut Draft,
    acl: &Object<'_>,
    rules: &Rules,
    luns: &Luns,
    names: &mut Names,
) -> Option<Group> {
    let notes = &mut draft.notes;
    let Some(wwn) = acl.text(notes, "node_wwn") else {
        notes.add(
            &acl.place,
            "an ACL without node_wwn is not imported",
            "add a group by hand if it is needed",
        );
        return None;
    };
    let mut initiators = match rules.fabric {
        Fabric::Srp => srp::patterns(wwn),
        Fabric::Iscsi => vec![wwn.to_owned()],
    };
    // In LIO these are characters like others.
    let wild = wwn.contains(['*', '?', '!']);
    if wild || !initiators.iter().all(|name| is_pattern(name)) {
        initiators.clear();
    }
    if initiators.is_empty() {
        notes.add(
            &acl.place,
            format!(
                "the initiator {} is not imported: it is no name of an initiator here",
                show(wwn)
            ),
            "log in, see what it is called in the log, and add that name to its group",
        );
    }
    let wanted = match rules.fabric {
        Fabric::Srp => initiators.first().map_or(wwn, String::as_str),
        Fabric::Iscsi => wwn.rsplit(':').next().unwrap_or(wwn),
    };
    let name = names.give(wanted, "group");
    let chap = match acl_chap(draft, acl, rules, &name) {
        Ok(chap) => chap,
        Err(Refused) => {
            initiators.clear();
            None
        }
    };
    let mut handled = vec!["node_wwn", "mapped_luns", "attributes"];
    if rules.fabric == Fabric::Iscsi {
        handled.extend(CHAP_KEYS);
    }
    acl.rest(&mut draft.notes, &handled, &[facts::ACL]);
    Some(Group {
        name,
        default: false,
        initiators,
        chap,
        luns: mapped(draft, acl, rules, luns),
    })
}

/// What the initiator of an ACL proves itself with.
fn acl_chap(
    draft: &mut Draft,
    acl: &Object<'_>,
    rules: &Rules,
    name: &str,
) -> Result<Option<Chap>, Refused> {
    let mut asked = rules.authentication;
    if let Some(attributes) = acl.object(&mut draft.notes, "attributes") {
        // -1 is what the portal group says.
        let inherited = attributes.value("authentication").and_then(|v| v.as_i64()) == Some(-1);
        if !inherited && rules.fabric == Fabric::Iscsi {
            let own = attributes.flag(&mut draft.notes, "authentication");
            asked = own.unwrap_or(asked);
        }
        attributes.rest(
            &mut draft.notes,
            &["authentication"],
            &[facts::ACL_ATTRIBUTES],
        );
    }
    if rules.fabric == Fabric::Srp {
        return Ok(None);
    }
    match (asked, chap(draft, acl, &format!("of group {name}"))) {
        (true, Ok(Some(chap))) => Ok(Some(chap)),
        (true, found) => {
            let why = match found {
                Ok(_) => "LIO asks this initiator for CHAP and has no user and secret for it",
                Err(Refused) => "this initiator could get in without CHAP",
            };
            draft.notes.add(
                &acl.place,
                format!("group {name} has no initiators: {why}"),
                format!("set \"chap\" of the group with a secret of 12 bytes or more, then `pagecast initiator add TARGET {name} INITIATOR`"),
            );
            Err(Refused)
        }
        (false, Ok(None)) => Ok(None),
        (false, _) => {
            unasked(draft, &acl.place);
            Ok(None)
        }
    }
}

fn mapped(draft: &mut Draft, acl: &Object<'_>, rules: &Rules, luns: &Luns) -> BTreeMap<u16, Lun> {
    let mut map: BTreeMap<u16, Lun> = BTreeMap::new();
    for lun in acl.list(&mut draft.notes, "mapped_luns") {
        let notes = &mut draft.notes;
        lun.rest(notes, &["index", "tpg_lun", "write_protect"], &[facts::LUN]);
        let write_protect = lun.flag(notes, "write_protect").unwrap_or(false);
        let (Some(index), Some(tpg_lun)) =
            (lun.number(notes, "index"), lun.number(notes, "tpg_lun"))
        else {
            notes.add(
                &lun.place,
                "a mapped LUN without index or tpg_lun is not imported",
                "map the device by hand if it is needed",
            );
            continue;
        };
        let (device, read_only) = match luns.get(&tpg_lun) {
            Some(Some(found)) => found.clone(),
            found => {
                let what = match found {
                    Some(_) => "is not imported",
                    None => "is not there",
                };
                notes.add(
                    &lun.place,
                    format!(
                        "LUN {index} is not imported: LUN {tpg_lun} of the portal group {what}"
                    ),
                    "map the device by hand if it is needed",
                );
                continue;
            }
        };
        let Some(number) = number(draft, &lun.place, index) else {
            continue;
        };
        if map.contains_key(&number) {
            draft.notes.add(
                &lun.place,
                format!("LUN {number} is there already, and this one is not imported"),
                "give one of them another number",
            );
            continue;
        }
        let read_only = read_only || write_protect || rules.acl_read_only;
        map.insert(number, Lun { device, read_only });
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

/// CHAP of discovery.
pub(super) fn discovery(draft: &mut Draft, fabric: &Object<'_>) {
    let notes = &mut draft.notes;
    let name = fabric.text(notes, "name").unwrap_or_default();
    let mut handled = vec!["name", "discovery_enable_auth"];
    handled.extend(CHAP_KEYS);
    fabric.rest(notes, &handled, &[facts::FABRIC]);
    let asked = fabric.flag(notes, "discovery_enable_auth").unwrap_or(true);
    match (asked, chap(draft, fabric, "of discovery")) {
        (_, Ok(None)) => {}
        (false, _) => unasked(draft, &fabric.place),
        (true, Ok(chap)) if name == "iscsi" => draft.discovery_chap = chap,
        (true, Ok(_)) => draft.notes.add(
            &fabric.place,
            format!("CHAP of discovery of the fabric {} is not imported", show(name)),
            "pagecast has it for iSCSI alone",
        ),
        (true, Err(Refused)) => draft.notes.add(
            &fabric.place,
            "discovery asks for no CHAP now: initiators are told of the targets that admit them without it",
            "set \"discovery_chap\" with a secret of 12 bytes or more",
        ),
    }
}

/// There is CHAP, and the daemon would not take it.
struct Refused;

/// What versions of rtslib put before the names of the keys.
const CHAP_KEYS: [&str; 12] = [
    "chap_userid",
    "chap_password",
    "chap_mutual_userid",
    "chap_mutual_password",
    "discovery_userid",
    "discovery_password",
    "discovery_mutual_userid",
    "discovery_mutual_password",
    "userid",
    "password",
    "mutual_userid",
    "mutual_password",
];

fn chap(draft: &mut Draft, object: &Object<'_>, whose: &str) -> Result<Option<Chap>, Refused> {
    let mut value = HashMap::new();
    for key in CHAP_KEYS {
        let base = key
            .strip_prefix("chap_")
            .or_else(|| key.strip_prefix("discovery_"))
            .unwrap_or(key);
        if let Some(text) = object.text(&mut draft.notes, key) {
            value.entry(base).or_insert(text);
        }
    }
    let part = |key| value.get(key).copied();
    let given = |user: Option<&str>, secret: Option<&str>| user.is_some() || secret.is_some();
    let (user, secret) = (part("userid"), part("password"));
    let mutual = (part("mutual_userid"), part("mutual_password"));
    if !given(user, secret) {
        if given(mutual.0, mutual.1) {
            draft.notes.add(
                &object.place,
                format!("the mutual CHAP user {whose} is not imported: without userid and password the target proves nothing either"),
                "set \"chap\" as a whole if initiators are to prove themselves",
            );
        }
        return Ok(None);
    }
    let mut chap = match Chap::new(user.unwrap_or_default(), secret.unwrap_or_default()) {
        Ok(chap) => chap,
        Err(what) => {
            draft.notes.add(
                &object.place,
                format!("the CHAP user {whose} is not imported: {what}"),
                "choose another secret, here and at the initiators",
            );
            return Err(Refused);
        }
    };
    if given(mutual.0, mutual.1)
        && let Err(what) =
            chap.set_mutual(mutual.0.unwrap_or_default(), mutual.1.unwrap_or_default())
    {
        draft.notes.add(
            &object.place,
            format!("the mutual CHAP user {whose} is not imported: {what}"),
            "initiators that ask the target to prove itself do not log in; set \"mutual_user\" and \"mutual_secret\"",
        );
    }
    Ok(Some(chap))
}
