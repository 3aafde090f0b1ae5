//! Targets, portals and groups come and go.

use serde_json::Value;

use super::luns::{check_devices, sort_group};
use super::{free, group_of, group_position, is_default, read, some_of, sound};
use crate::config::document::{Fault, Node, Problems, join, show};
use crate::config::edit::EditError;
use crate::config::target::{GroupConfig, Portal, TargetConfig};
use crate::config::tree;

pub(super) fn add_target(root: &mut Node, value: &Value) -> Result<(), EditError> {
    let (mut node, target) = read(value, &TargetConfig::KEYS, TargetConfig::read)?;
    free(
        tree::items(root, "targets"),
        &target.name,
        &format!("target {}", target.name),
    )?;
    let mut problems = Problems::default();
    for (g, group) in target.groups.iter().enumerate() {
        let path = format!("groups[{g}]");
        check_devices(&mut problems, root, group, &path);
        check_patterns(&mut problems, group, &path);
    }
    sound(problems)?;
    for portal in tree::items_mut(&mut node, "portals") {
        tree::sort(portal, &Portal::KEYS);
    }
    for group in tree::items_mut(&mut node, "groups") {
        sort_group(group);
    }
    tree::push(root, "targets", node);
    Ok(())
}

/// A group that is added has each pattern once. In one that was written by hand a second one is harmless, and worth a warning.
fn check_patterns(problems: &mut Problems, group: &GroupConfig, path: &str) {
    for (at, pattern, first) in group.repeated() {
        let what = format!("{} is there already, as {}", show(pattern), show(first));
        let path = format!("{}[{at}]", join(path, "initiators"));
        problems.add(
            &path,
            Fault::new(what, "leave one of them out: case does not count"),
        );
    }
}

pub(super) fn add_portal(target: &mut Node, value: &Value) -> Result<(), EditError> {
    let (node, portal) = read(value, &Portal::KEYS, Portal::read)?;
    if portals(target).contains(&Some(portal)) {
        return Err(EditError::Refused {
            what: format!(
                "target {} has the portal {portal} already",
                tree::name(target)
            ),
            remedy: "give another address or port, or leave it as it is".to_owned(),
        });
    }
    tree::push(target, "portals", node);
    Ok(())
}

pub(super) fn remove_portal(target: &mut Node, value: &Value) -> Result<(), EditError> {
    let (_, portal) = read(value, &Portal::KEYS, Portal::read)?;
    let portals = portals(target);
    match portals.iter().position(|one| *one == Some(portal)) {
        Some(at) => {
            tree::remove(target, "portals", at);
            Ok(())
        }
        None => Err(EditError::NotFound {
            kind: "portal",
            name: format!("{portal} of target {}", tree::name(target)),
            remedy: match portals.is_empty() {
                true => "it has none".to_owned(),
                false => {
                    let portals = portals.iter().flatten().map(Portal::to_string);
                    format!("it has {}", some_of(&portals.collect::<Vec<_>>(), ", "))
                }
            },
        }),
    }
}

/// The portals of a target, each at its place in the list.
fn portals(target: &Node) -> Vec<Option<Portal>> {
    let portals = tree::items(target, "portals").iter();
    portals
        .map(|portal| Portal::read(&mut Problems::default(), portal, ""))
        .collect()
}

pub(super) fn add_group(
    root: &mut Node,
    target: &str,
    value: &Value,
    before: Option<&str>,
) -> Result<(), EditError> {
    let (mut node, group) = read(value, &GroupConfig::KEYS, GroupConfig::read)?;
    let mut problems = Problems::default();
    check_devices(&mut problems, root, &group, "");
    check_patterns(&mut problems, &group, "");
    let target = super::target(root, target)?;
    let groups = tree::items(target, "groups");
    let shown = format!("group {} in target {}", group.name, tree::name(target));
    free(groups, &group.name, &shown)?;
    let has_default = groups.iter().find(|group| is_default(group));
    if let Some(default) = has_default.filter(|_| group.default) {
        return Err(EditError::Refused {
            what: format!("{} is the default already", group_of(default, target)),
            remedy: "remove that group first, or leave \"default\" out".to_owned(),
        });
    }
    let at = match before {
        Some(before) => group_position(target, before)?,
        None => groups.len(),
    };
    sound(problems)?;
    sort_group(&mut node);
    tree::insert(target, "groups", at, node);
    Ok(())
}
