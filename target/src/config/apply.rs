//! What an [`Edit`] does to a document. Everything else in it stays as it was written.

use std::path::Path;

use pagecast_core::access::Pattern;
use serde_json::Value;

use super::device::{DeviceConfig, Store, memory_size};
use super::document::{Fault, Node, Problems, join, show};
use super::edit::{Edit, EditError};
use super::error::Problem;
use super::name::pattern_text;
use super::nearest::suggestion;
use super::target::{GroupConfig, Portal, TargetConfig};
use super::tree;
use super::units::ByteSize;

/// Makes one change to the document `root`, which may be half done if this fails.
pub(super) fn apply(root: &mut Node, edit: &Edit) -> Result<(), EditError> {
    match edit {
        Edit::AddDevice(device) => add_device(root, device),
        Edit::RemoveDevice { name, force } => remove_device(root, name, *force),
        Edit::ResizeDevice { name, size } => resize_device(root, name, *size),
        Edit::AddTarget(target) => add_target(root, target),
        Edit::RemoveTarget { name } => {
            let at = position(tree::items(root, "targets"), "target", name)?;
            tree::remove(root, "targets", at);
            Ok(())
        }
        Edit::AddPortal { target, portal } => add_portal(self::target(root, target)?, portal),
        Edit::RemovePortal { target, portal } => remove_portal(self::target(root, target)?, portal),
        Edit::AddGroup {
            target,
            group,
            before,
        } => add_group(root, target, group, before.as_deref()),
        Edit::RemoveGroup { target, name } => {
            let target = self::target(root, target)?;
            let at = group_position(target, name)?;
            tree::remove(target, "groups", at);
            Ok(())
        }
        Edit::Map {
            target,
            group,
            lun,
            device,
            read_only,
        } => map(root, (target, group), *lun, device, *read_only),
        Edit::Unmap { target, group, lun } => unmap(self::target(root, target)?, group, *lun),
        Edit::AddInitiator {
            target,
            group,
            initiator,
        } => add_initiator(self::target(root, target)?, group, initiator),
        Edit::MoveInitiator {
            target,
            initiator,
            from,
            to,
        } => move_initiator(self::target(root, target)?, initiator, from.as_deref(), to),
        Edit::RemoveInitiator {
            target,
            group,
            initiator,
        } => remove_initiator(self::target(root, target)?, group, initiator),
    }
}

/// Makes the paths of devices absolute: relative ones are in `directory`.
pub(super) fn make_absolute(root: &mut Node, directory: &Path) {
    for device in tree::items_mut(root, "devices") {
        if let Some(Node::String(path)) = tree::field_mut(device, "path")
            // Both came from texts.
            && let Some(whole) = directory.join(&*path).to_str()
        {
            *path = whole.to_owned();
        }
    }
}

fn add_device(root: &mut Node, value: &Value) -> Result<(), EditError> {
    let (node, device) = read(value, &DeviceConfig::KEYS, DeviceConfig::read)?;
    let devices = tree::items(root, "devices");
    free(devices, "device", &device.name)?;
    if let Some(path) = device.store.path().filter(|path| !path.is_absolute()) {
        let what = format!(
            "{} is relative, and to what nobody knows",
            show(&path.to_string_lossy())
        );
        let remedy = "give the whole path, such as \"/srv/disk0.img\"";
        return Err(invalid("path", Fault::new(what, remedy)));
    }
    tree::push(root, "devices", node);
    Ok(())
}

fn remove_device(root: &mut Node, name: &str, force: bool) -> Result<(), EditError> {
    let at = position(tree::items(root, "devices"), "device", name)?;
    let mapped = mapped_to(root, name);
    if !mapped.is_empty() && !force {
        return Err(EditError::Refused {
            what: format!("device {name} is mapped: {}", some_of(&mapped, "; ")),
            remedy: "unmap it there first, or have it done (\"force\", --force)".to_owned(),
        });
    }
    for target in tree::items_mut(root, "targets") {
        for group in tree::items_mut(target, "groups") {
            if let Some(luns) = tree::fields_mut(group, "luns") {
                luns.retain(|(_, mapped)| device_of(mapped) != Some(name));
            }
        }
    }
    tree::remove(root, "devices", at);
    Ok(())
}

/// Where a device is mapped, for a message.
fn mapped_to(root: &Node, device: &str) -> Vec<String> {
    let mut mapped = Vec::new();
    for target in tree::items(root, "targets") {
        for group in tree::items(target, "groups") {
            let luns = tree::fields(group, "luns").iter();
            let luns = luns.filter(|(_, mapped)| device_of(mapped) == Some(device));
            let luns: Vec<String> = luns.map(|(lun, _)| lun.clone()).collect();
            if !luns.is_empty() {
                mapped.push(format!(
                    "LUN {} of {}",
                    some_of(&luns, ", "),
                    place(group, target)
                ));
            }
        }
    }
    mapped
}

/// What a LUN map's entry names.
fn device_of(mapped: &Node) -> Option<&str> {
    match mapped {
        Node::String(device) => Some(device),
        other => tree::text(other, "device"),
    }
}

fn resize_device(root: &mut Node, name: &str, size: u64) -> Result<(), EditError> {
    let at = position(tree::items(root, "devices"), "device", name)?;
    let Some(device) = tree::items_mut(root, "devices").get_mut(at) else {
        return Ok(());
    };
    let config = DeviceConfig::read(&mut Problems::default(), device, "");
    let Some(config) = config.filter(|config| matches!(config.store, Store::Memory { .. })) else {
        return Err(EditError::Refused {
            what: format!(
                "device {name} is as large as what is at its path, and has no size in the configuration"
            ),
            remedy: "resize that".to_owned(),
        });
    };
    memory_size(&Node::Integer(size.into()), config.block_size)
        .map_err(|fault| invalid("size", fault))?;
    if let Some(node) = tree::field_mut(device, "size") {
        // As it was written.
        *node = match node {
            Node::Integer(_) => Node::Integer(size.into()),
            _ => Node::String(ByteSize(size).to_string()),
        };
    }
    Ok(())
}

fn add_target(root: &mut Node, value: &Value) -> Result<(), EditError> {
    let (mut node, target) = read(value, &TargetConfig::KEYS, TargetConfig::read)?;
    free(tree::items(root, "targets"), "target", &target.name)?;
    let mut problems = Problems::default();
    for (g, group) in target.groups.iter().enumerate() {
        check_devices(&mut problems, root, group, &format!("groups[{g}]"));
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

fn add_portal(target: &mut Node, value: &Value) -> Result<(), EditError> {
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

fn remove_portal(target: &mut Node, value: &Value) -> Result<(), EditError> {
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

fn add_group(
    root: &mut Node,
    target: &str,
    value: &Value,
    before: Option<&str>,
) -> Result<(), EditError> {
    let (mut node, group) = read(value, &GroupConfig::KEYS, GroupConfig::read)?;
    let mut problems = Problems::default();
    check_devices(&mut problems, root, &group, "");
    let target = self::target(root, target)?;
    let groups = tree::items(target, "groups");
    let kind = format!("group of target {}", tree::name(target));
    free(groups, &kind, &group.name)?;
    let has_default = (groups.iter())
        .find(|group| matches!(tree::field(group, "default"), Some(Node::Bool(true))));
    if let Some(default) = has_default.filter(|_| group.default) {
        return Err(EditError::Refused {
            what: format!("{} is the default already", place(default, target)),
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

/// Every device of a group's map is there.
fn check_devices(problems: &mut Problems, root: &Node, group: &GroupConfig, path: &str) {
    if group.luns.is_empty() {
        return;
    }
    let known = names(tree::items(root, "devices"));
    let set: std::collections::HashSet<&str> = known.iter().copied().collect();
    for (lun, mapped) in &group.luns {
        if !set.contains(&*mapped.device) {
            let what = format!("there is no device {}", show(&mapped.device));
            let at = join(&join(path, "luns"), &lun.to_string());
            problems.add(&at, Fault::new(what, suggestion(&mapped.device, &known)));
        }
    }
}

fn map(
    root: &mut Node,
    (target, group): (&str, &str),
    lun: u16,
    device: &str,
    read_only: bool,
) -> Result<(), EditError> {
    if lun > GroupConfig::LUN_MAX {
        let remedy = format!("give a number from 0 to {}", GroupConfig::LUN_MAX);
        return Err(invalid(
            "lun",
            Fault::new(format!("{lun} is too large"), remedy),
        ));
    }
    position(tree::items(root, "devices"), "device", device)?;
    let target = self::target(root, target)?;
    let at = group_position(target, group)?;
    let Some(group) = tree::items(target, "groups").get(at) else {
        return Ok(());
    };
    let luns = tree::fields(group, "luns");
    let number = |key: &str| key.parse::<u16>().ok();
    if let Some((_, taken)) = luns.iter().find(|(key, _)| number(key) == Some(lun)) {
        let used: std::collections::BTreeSet<u16> =
            luns.iter().filter_map(|(key, _)| number(key)).collect();
        let next = (0..=GroupConfig::LUN_MAX).find(|lun| !used.contains(lun));
        return Err(EditError::Refused {
            what: format!(
                "LUN {lun} of {} is device {} already",
                place(group, target),
                device_of(taken).unwrap_or_default()
            ),
            remedy: match next {
                Some(next) => format!("unmap it first, or take another: {next} is free"),
                None => "unmap it first".to_owned(),
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
        let after = (luns.iter()).position(|(key, _)| number(key).is_some_and(|key| key > lun));
        luns.insert(after.unwrap_or(luns.len()), (lun.to_string(), value));
    }
    Ok(())
}

fn unmap(target: &mut Node, group: &str, lun: u16) -> Result<(), EditError> {
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
        name: format!("{lun} in {}", place(group, target)),
        remedy: match luns.is_empty() {
            true => "no LUN of it is mapped".to_owned(),
            false => format!("mapped are {}", some_of(&luns, ", ")),
        },
    })
}

fn add_initiator(target: &mut Node, group: &str, initiator: &str) -> Result<(), EditError> {
    pattern_text(initiator).map_err(|fault| invalid("initiator", fault))?;
    let at = group_position(target, group)?;
    not_in(target, at, initiator)?;
    insert_initiator(target, at, initiator);
    Ok(())
}

fn not_in(target: &Node, group: usize, initiator: &str) -> Result<(), EditError> {
    match tree::items(target, "groups").get(group) {
        Some(group) if lists(group, initiator) => Err(EditError::Refused {
            what: format!("{} has {} already", place(group, target), show(initiator)),
            remedy: "there is nothing to do".to_owned(),
        }),
        _ => Ok(()),
    }
}

fn insert_initiator(target: &mut Node, group: usize, initiator: &str) {
    if let Some(group) = tree::items_mut(target, "groups").get_mut(group) {
        tree::push(group, "initiators", Node::String(initiator.to_owned()));
    }
}

fn delete_initiator(target: &mut Node, group: usize, initiator: &str) {
    if let Some(group) = tree::items_mut(target, "groups").get_mut(group) {
        tree::retain(group, "initiators", |pattern| !is(pattern, initiator));
    }
}

fn remove_initiator(target: &mut Node, group: &str, initiator: &str) -> Result<(), EditError> {
    let at = group_position(target, group)?;
    in_group(target, at, initiator)?;
    delete_initiator(target, at, initiator);
    Ok(())
}

fn in_group(target: &Node, group: usize, initiator: &str) -> Result<(), EditError> {
    let Some(group) = tree::items(target, "groups").get(group) else {
        return Ok(());
    };
    if lists(group, initiator) {
        return Ok(());
    }
    let known: Vec<&str> = patterns(group).collect();
    Err(EditError::NotFound {
        kind: "pattern",
        name: format!("{} in {}", show(initiator), place(group, target)),
        remedy: match known.is_empty() {
            true => "it has none".to_owned(),
            false => suggestion(initiator, &known),
        },
    })
}

fn move_initiator(
    target: &mut Node,
    initiator: &str,
    from: Option<&str>,
    to: &str,
) -> Result<(), EditError> {
    let to = group_position(target, to)?;
    let from = match from {
        Some(from) => {
            let from = group_position(target, from)?;
            in_group(target, from, initiator)?;
            from
        }
        None => only_group(target, initiator)?,
    };
    not_in(target, to, initiator)?;
    delete_initiator(target, from, initiator);
    insert_initiator(target, to, initiator);
    Ok(())
}

/// The one group that lists a pattern.
fn only_group(target: &Node, initiator: &str) -> Result<usize, EditError> {
    let groups = tree::items(target, "groups");
    let having = groups.iter().enumerate();
    let having: Vec<(usize, &Node)> = having
        .filter(|(_, group)| lists(group, initiator))
        .collect();
    match &having[..] {
        [(at, _)] => Ok(*at),
        [] => Err(EditError::NotFound {
            kind: "pattern",
            name: format!("{} in target {}", show(initiator), tree::name(target)),
            remedy: unlisted(target, initiator),
        }),
        several => {
            let names: Vec<String> = (several.iter())
                .map(|(_, group)| tree::name(group).to_owned())
                .collect();
            Err(EditError::Refused {
                what: format!(
                    "several groups of target {} have {}: {}",
                    tree::name(target),
                    show(initiator),
                    some_of(&names, ", ")
                ),
                remedy: "say which one it is to leave (\"from\", --from)".to_owned(),
            })
        }
    }
}

/// What to do about a name that no group has as it is, and that one of them may admit all the same.
fn unlisted(target: &Node, initiator: &str) -> String {
    let add = "`pagecast initiator add` gives a group one more";
    let groups = tree::items(target, "groups");
    let mut all = groups.iter().flat_map(patterns);
    if let Some(admitting) = groups.iter().find(|group| admits(group, initiator)) {
        let by = patterns(admitting).find(|pattern| {
            let pattern = Pattern::new(*pattern);
            !pattern.excludes() && pattern.matches(&[initiator])
        });
        let by = match by {
            Some(pattern) => format!("by its pattern {}", show(pattern)),
            None => "because none of its patterns excludes it".to_owned(),
        };
        return format!(
            "group {} admits that name {by}, which stays where it is; {add}",
            tree::name(admitting)
        );
    }
    match super::nearest::nearest(initiator, &mut all) {
        Some(near) => format!("did you mean `{near}`? {add}"),
        None => format!("no group admits that name; {add}"),
    }
}

fn admits(group: &Node, initiator: &str) -> bool {
    let patterns: Vec<Pattern> = patterns(group).map(Pattern::new).collect();
    pagecast_core::access::admits(&patterns, &[initiator])
}

fn patterns(group: &Node) -> impl Iterator<Item = &str> {
    let items = tree::items(group, "initiators").iter();
    items.filter_map(|pattern| match pattern {
        Node::String(text) => Some(text.as_str()),
        _ => None,
    })
}

fn lists(group: &Node, initiator: &str) -> bool {
    patterns(group).any(|pattern| pattern == initiator)
}

fn is(pattern: &Node, text: &str) -> bool {
    matches!(pattern, Node::String(pattern) if pattern == text)
}

/// Reads what an edit adds, which has to be good in itself, and puts its keys in order.
fn read<T>(
    value: &Value,
    keys: &[&str],
    read: impl FnOnce(&mut Problems, &Node, &str) -> Option<T>,
) -> Result<(Node, T), EditError> {
    let mut node = Node::from(value);
    let mut problems = Problems::default();
    let item = read(&mut problems, &node, "");
    sound(problems)?;
    tree::sort(&mut node, keys);
    // What is not read has problems.
    item.map(|item| (node, item))
        .ok_or_else(|| EditError::Invalid(Vec::new()))
}

fn sound(problems: Problems) -> Result<(), EditError> {
    match problems.into_list() {
        none if none.is_empty() => Ok(()),
        problems => Err(EditError::Invalid(problems)),
    }
}

fn invalid(path: &str, Fault { what, remedy }: Fault) -> EditError {
    EditError::Invalid(vec![Problem {
        path: path.to_owned(),
        what,
        remedy,
    }])
}

fn sort_group(group: &mut Node) {
    tree::sort(group, &GroupConfig::KEYS);
    if let Some(luns) = tree::fields_mut(group, "luns") {
        luns.sort_by_key(|(lun, _)| lun.parse().unwrap_or(u16::MAX));
        for (_, mapped) in luns {
            tree::sort(mapped, &["device", "read_only"]);
        }
    }
}

fn target<'n>(root: &'n mut Node, name: &str) -> Result<&'n mut Node, EditError> {
    let at = position(tree::items(root, "targets"), "target", name)?;
    let found = tree::items_mut(root, "targets").get_mut(at);
    found.ok_or_else(|| not_found("target", show(name), name, &[]))
}

fn group_position(target: &Node, name: &str) -> Result<usize, EditError> {
    let groups = tree::items(target, "groups");
    find(groups, name).ok_or_else(|| {
        let shown = format!("{} in target {}", show(name), tree::name(target));
        not_found("group", shown, name, &names(groups))
    })
}

fn position(items: &[Node], kind: &'static str, name: &str) -> Result<usize, EditError> {
    find(items, name).ok_or_else(|| not_found(kind, show(name), name, &names(items)))
}

fn find(items: &[Node], name: &str) -> Option<usize> {
    items.iter().position(|item| tree::name(item) == name)
}

fn names(items: &[Node]) -> Vec<&str> {
    items.iter().map(tree::name).collect()
}

fn not_found(kind: &'static str, shown: String, name: &str, known: &[&str]) -> EditError {
    EditError::NotFound {
        kind,
        name: shown,
        remedy: suggestion(name, known),
    }
}

/// Refuses a name that is taken.
fn free(items: &[Node], kind: &str, name: &str) -> Result<(), EditError> {
    match find(items, name) {
        None => Ok(()),
        Some(_) => Err(EditError::Refused {
            what: format!("there is a {kind} {} already", show(name)),
            remedy: "choose another name, or remove that one first".to_owned(),
        }),
    }
}

/// A group for a message.
fn place(group: &Node, target: &Node) -> String {
    format!(
        "group {} of target {}",
        tree::name(group),
        tree::name(target)
    )
}

/// The first few of a list.
fn some_of(list: &[String], between: &str) -> String {
    const MOST: usize = 8;
    let (shown, more) = list.split_at(list.len().min(MOST));
    let text = shown.join(between);
    match more.len() {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}
