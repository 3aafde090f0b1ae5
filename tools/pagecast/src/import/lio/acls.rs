//! Who sees what: the ACLs of a portal group, and whoever has none.

use std::collections::BTreeMap;

use super::targets::{Fabric, Luns};
use super::{Object, chap, facts};
use crate::import::draft::{Chap, Draft, Group, LUN_MAX, Lun};
use crate::import::names::{Names, is_pattern};
use crate::import::notes::{Place, show};
use crate::import::srp;

use chap::Refused;

/// What is said of a portal group as a whole.
pub(super) struct Rules {
    pub(super) fabric: Fabric,
    /// Initiators prove themselves, unless their ACL says otherwise.
    authentication: bool,
    /// Who has no ACL gets all LUNs.
    pub(super) demo: bool,
    demo_read_only: bool,
    acl_read_only: bool,
}

impl Rules {
    pub(super) fn read(draft: &mut Draft, tpg: &Object<'_>, fabric: Fabric) -> Self {
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

/// Whoever has no ACL.
pub(super) fn demo(
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
            chap::unasked(draft, &tpg.place);
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

/// An ACL: one initiator, and its LUNs.
pub(super) fn group(
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
        handled.extend(chap::KEYS);
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
    match (asked, chap::chap(draft, acl, &format!("of group {name}"))) {
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
            chap::unasked(draft, &acl.place);
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
