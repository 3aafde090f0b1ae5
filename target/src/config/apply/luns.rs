//! LUN maps.

use std::collections::{BTreeSet, HashSet};

use super::{group_of, group_position, invalid, names, position, some_of};
use crate::config::document::{Fault, Node, Problems, join, show};
use crate::config::edit::EditError;
use crate::config::nearest::suggestion;
use crate::config::target::GroupConfig;
use crate::config::tree;

/// What to do about a number that is mapped already.
const OTHERWISE: &str = "replace it (\"replace\", --replace)";

/// Every device of a group's map is there.
pub(super) fn check_devices(problems: &mut Problems, root: &Node, group: &GroupConfig, path: &str) {
    if group.luns.is_empty() {
        return;
    }
    let known = names(tree::items(root, "devices"));
    let set: HashSet<&str> = known.iter().copied().collect();
    for (lun, mapped) in &group.luns {
        if !set.contains(&*mapped.device) {
            let what = format!("there is no device {}", show(&mapped.device));
            let at = join(&join(path, "luns"), &lun.to_string());
            problems.add(&at, Fault::new(what, suggestion(&mapped.device, &known)));
        }
    }
}

pub(super) fn map(
    root: &mut Node,
    (target, group): (&str, &str),
    lun: u16,
    (device, read_only): (&str, bool),
    replace: bool,
) -> Result<(), EditError> {
    if lun > GroupConfig::LUN_MAX {
        let remedy = format!("give a number from 0 to {}", GroupConfig::LUN_MAX);
        return Err(invalid(
            "lun",
            Fault::new(format!("{lun} is too large"), remedy),
        ));
    }
    position(tree::items(root, "devices"), "device", device)?;
    let target = super::target(root, target)?;
    let at = group_position(target, group)?;
    let Some(group) = tree::items(target, "groups").get(at) else {
        return Ok(());
    };
    let luns = tree::fields(group, "luns");
    let number = |key: &str| key.parse::<u16>().ok();
    let taken = luns.iter().find(|(key, _)| number(key) == Some(lun));
    if let Some((_, taken)) = taken.filter(|_| !replace) {
        let used: BTreeSet<u16> = luns.iter().filter_map(|(key, _)| number(key)).collect();
        let next = (0..=GroupConfig::LUN_MAX).find(|lun| !used.contains(lun));
        return Err(EditError::Refused {
            what: format!(
                "LUN {lun} of {} is device {} already",
                group_of(group, target),
                device_of(taken).unwrap_or_default()
            ),
            remedy: match next {
                Some(next) => format!("{OTHERWISE}, or take another: {next} is free"),
                None => OTHERWISE.to_owned(),
            },
        });
    }
    let device = Node::String(device.to_owned());
    let value = if read_only {
        Node::Object(vec![
            ("device".to_owned(), device),
            ("read_only".to_owned(), Node::Bool(true)),
        ])
    } else {
        device
    };
    if let Some(group) = tree::items_mut(target, "groups").get_mut(at)
        && let Some(luns) = tree::object(group, "luns")
    {
        match luns.iter_mut().find(|(key, _)| number(key) == Some(lun)) {
            Some((_, taken)) => *taken = value,
            None => {
                let above = |key: &str| number(key).is_some_and(|key| key > lun);
                let after = luns.iter().position(|(key, _)| above(key));
                luns.insert(after.unwrap_or(luns.len()), (lun.to_string(), value));
            }
        }
    }
    Ok(())
}

pub(super) fn unmap(target: &mut Node, group: &str, lun: u16) -> Result<(), EditError> {
    let at = group_position(target, group)?;
    let key = lun.to_string();
    let Some(group) = tree::items_mut(target, "groups").get_mut(at) else {
        return Ok(());
    };
    if let Some(luns) = tree::fields_mut(group, "luns")
        && let Some(found) = luns.iter().position(|(lun, _)| *lun == key)
    {
        luns.remove(found);
        return Ok(());
    }
    let Some(group) = tree::items(target, "groups").get(at) else {
        return Ok(());
    };
    let luns = tree::fields(group, "luns").iter();
    let luns: Vec<String> = luns.map(|(lun, _)| lun.clone()).collect();
    Err(EditError::NotFound {
        kind: "LUN",
        name: format!("{lun} in {}", group_of(group, target)),
        remedy: match luns.is_empty() {
            true => "no LUN of it is mapped".to_owned(),
            false => format!("mapped are {}", some_of(&luns, ", ")),
        },
    })
}

/// What a LUN map's entry names.
pub(super) fn device_of(mapped: &Node) -> Option<&str> {
    match mapped {
        Node::String(device) => Some(device),
        other => tree::text(other, "device"),
    }
}

/// Puts the keys of a group, and of what its map holds, in order.
pub(super) fn sort_group(group: &mut Node) {
    tree::sort(group, &GroupConfig::KEYS);
    if let Some(luns) = tree::fields_mut(group, "luns") {
        luns.sort_by_key(|(lun, _)| lun.parse().unwrap_or(u16::MAX));
        for (_, mapped) in luns {
            tree::sort(mapped, &["device", "read_only"]);
        }
    }
}
