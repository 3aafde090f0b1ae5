//! TARGET_DRIVER sections, and what targets of all drivers have: LUN maps and groups of initiators.

use std::collections::BTreeMap;

use super::{Section, facts, iscsi, srpt};
use crate::import::draft::{Draft, Group, LUN_MAX, Lun};
use crate::import::names::{Names, is_pattern};
use crate::import::notes::{Place, show};

/// What this module reads of a target.
pub(super) const READ: [&str; 3] = ["LUN", "GROUP", "enabled"];

pub(super) fn import(draft: &mut Draft, driver: &Section<'_>) {
    match driver.name() {
        "iscsi" => iscsi::driver(draft, driver),
        "ib_srpt" => srpt::driver(draft, driver),
        other => {
            let (what, remedy) = facts::driver(other);
            let targets = driver.entries.iter().filter(|e| e.is("TARGET")).count();
            draft.notes.add(
                &driver.place,
                format!(
                    "the target driver {} is not imported, with the targets in it ({targets}): {what}",
                    show(other)
                ),
                remedy,
            );
        }
    }
}

/// Whether a target, or a driver, takes logins; SCST has them off unless something else is said.
pub(super) fn enabled(draft: &mut Draft, section: &Section<'_>) -> bool {
    section
        .flag(&mut draft.notes, "enabled")
        .unwrap_or_default()
}

/// Says that a target gets no portals since it took no logins.
pub(super) fn disabled(draft: &mut Draft, place: &Place, name: &str, example: &str) {
    draft.notes.add(
        place,
        format!(
            "target {name} is not enabled in SCST, and imported without portals: nobody can log in"
        ),
        format!("if it is to serve, give it some: `pagecast portal add {name} {example}`"),
    );
}

/// The default LUNs of a target, or those of a group.
pub(super) fn luns(draft: &mut Draft, section: &Section<'_>) -> BTreeMap<u16, Lun> {
    let mut map: BTreeMap<u16, Lun> = BTreeMap::new();
    for lun in section.named(&mut draft.notes, "LUN") {
        let read_only = lun.flag(&mut draft.notes, "read_only").unwrap_or(false);
        lun.attributes(&mut draft.notes, &["read_only"], &[facts::LUN]);
        let number = lun.name();
        let device = lun.words.get(2).map_or("", String::as_str);
        let mut left = |what: String, remedy: &str| {
            draft.notes.add(
                &lun.place,
                format!("LUN {} is not imported: {what}", show(number)),
                remedy,
            );
        };
        let Some(number) = number.parse::<u16>().ok().filter(|n| *n <= LUN_MAX) else {
            left(
                format!("LUNs are numbers from 0 to {LUN_MAX}"),
                "give the device another LUN; its hosts find it there after a rescan",
            );
            continue;
        };
        match draft.devices.find(device) {
            None => left(
                format!("there is no device {} in this file", show(device)),
                "add the device, then map it",
            ),
            Some(None) => left(
                format!("its device {} is not", show(device)),
                "see what is said of the device",
            ),
            Some(Some(_)) if map.contains_key(&number) => left(
                "it is there already, with another device".to_owned(),
                "give one of them another number",
            ),
            Some(Some((device, device_read_only))) => {
                let read_only = read_only || device_read_only;
                map.insert(number, Lun { device, read_only });
            }
        }
    }
    map
}

/// The groups of a target, and its default LUNs as the group of everybody else.
///
/// `initiators` makes patterns of one of SCST's, or says why there are none.
pub(super) fn groups(
    draft: &mut Draft,
    target: &Section<'_>,
    mut initiators: impl FnMut(&mut Draft, &Place, &str) -> Result<Vec<String>, &'static str>,
) -> Vec<Group> {
    let mut names = Names::default();
    let mut groups = Vec::new();
    for section in target.named(&mut draft.notes, "GROUP") {
        let name = names.give(section.name(), "group");
        if name != section.name() {
            draft.notes.add(
                &section.place,
                format!("the group {} is called {name} here", show(section.name())),
                "names have letters, digits, '-', '_' and '.', at most 64; choose another one if you like",
            );
        }
        let mut patterns: Vec<String> = Vec::new();
        for initiator in section.entries.iter().filter(|e| e.is("INITIATOR")) {
            let text = initiator.word(1);
            let place = section.place_of(initiator);
            if initiator.words.len() > 2 || !initiator.body.is_empty() {
                draft.notes.add(
                    &place,
                    "there is more behind the initiator's name, which is not read",
                    "give each initiator a line of its own",
                );
            }
            let found = match is_pattern(text) {
                true => initiators(draft, &place, text),
                false => Err("it is no name: names have no blanks in them, and at most 255 bytes"),
            };
            match found {
                Ok(found) => {
                    for pattern in found {
                        if !patterns.contains(&pattern) {
                            patterns.push(pattern);
                        }
                    }
                }
                Err(what) => draft.notes.add(
                    &place,
                    format!("the initiator {} is not imported: {what}", show(text)),
                    format!("log in, see what it is called with `pagecast session list` or in the log, and add that name to group {name}"),
                ),
            }
        }
        exclusions(draft, &section.place, &patterns);
        section.attributes(&mut draft.notes, &["LUN", "INITIATOR"], &[facts::GROUP]);
        groups.push(Group {
            name,
            initiators: patterns,
            luns: luns(draft, &section),
            ..Group::default()
        });
    }
    if target.entries.iter().any(|entry| entry.is("LUN")) {
        groups.push(Group {
            name: names.give("default", "default"),
            default: true,
            luns: luns(draft, target),
            ..Group::default()
        });
    }
    groups
}

/// For SCST a group's initiators are those that match one of its patterns, `!x` being everybody but x. Here what `!` excludes is
/// out, whatever else matches.
fn exclusions(draft: &mut Draft, place: &Place, patterns: &[String]) {
    let excluding = patterns.iter().filter(|p| p.starts_with('!')).count();
    if excluding != 0 && patterns.len() > 1 {
        draft.notes.add(
            place,
            "'!' stands beside other patterns: SCST admits whoever matches any of them, pagecast nobody that '!' excludes",
            "check who is to be in this group; the patterns are imported as they are",
        );
    }
    if patterns
        .iter()
        .any(|p| p.get(1..).unwrap_or_default().contains('!'))
    {
        draft.notes.add(
            place,
            "'!' in the middle of a pattern: for SCST it turns round the rest of it, here it is a character like others",
            "put '!' at the beginning, or write what is meant without it",
        );
    }
}
