//! What an [`Edit`] does to a document. Everything else in it stays as it was written.

mod credentials;
mod devices;
mod initiators;
mod luns;
mod targets;

#[cfg(test)]
mod tests;

use std::path::Path;

use serde_json::Value;

use super::document::{Fault, Node, Problems, show};
use super::edit::{Edit, EditError};
use super::error::Problem;
use super::nearest::suggestion;
use super::tree;
use credentials::{remove_credentials, set_credentials};
use devices::{add_device, remove_device, resize_device};
pub(super) use initiators::Opened;
use initiators::{add_initiator, move_initiator, remove_initiator};
use luns::{map, unmap};
use targets::{add_group, add_portal, add_target, remove_portal};

/// Makes one change to the document `root`, which may be half done if this fails. Says which group it opened, if it did so without
/// saying so.
pub(super) fn apply(root: &mut Node, edit: &Edit) -> Result<Option<Opened>, EditError> {
    match edit {
        Edit::AddDevice(device) => add_device(root, device)?,
        Edit::RemoveDevice { name, force } => remove_device(root, name, *force)?,
        Edit::ResizeDevice { name, size } => resize_device(root, name, *size)?,
        Edit::AddTarget(target) => add_target(root, target)?,
        Edit::RemoveTarget { name } => {
            let at = position(tree::items(root, "targets"), "target", name)?;
            tree::remove(root, "targets", at);
        }
        Edit::AddPortal { target, portal } => add_portal(self::target(root, target)?, portal)?,
        Edit::RemovePortal { target, portal } => {
            remove_portal(self::target(root, target)?, portal)?;
        }
        Edit::AddGroup {
            target,
            group,
            before,
        } => add_group(root, target, group, before.as_deref())?,
        Edit::RemoveGroup { target, name } => {
            let target = self::target(root, target)?;
            let at = group_position(target, name)?;
            tree::remove(target, "groups", at);
        }
        Edit::Map {
            target,
            group,
            lun,
            device,
            read_only,
            replace,
        } => {
            let mapping = (device.as_str(), *read_only);
            map(root, (target, group), *lun, mapping, *replace)?;
        }
        Edit::Unmap { target, group, lun } => unmap(self::target(root, target)?, group, *lun)?,
        Edit::SetCredentials {
            target,
            group,
            scheme,
            credentials,
        } => {
            let target = self::target(root, target)?;
            set_credentials(target, group.as_deref(), *scheme, credentials)?;
        }
        Edit::RemoveCredentials {
            target,
            group,
            scheme,
        } => {
            let target = self::target(root, target)?;
            remove_credentials(target, group.as_deref(), *scheme)?;
        }
        Edit::AddInitiator {
            target,
            group,
            initiator,
        } => add_initiator(self::target(root, target)?, group, initiator)?,
        Edit::MoveInitiator {
            target,
            initiator,
            from,
            to,
        } => {
            let target = self::target(root, target)?;
            return move_initiator(target, initiator, from.as_deref(), to);
        }
        Edit::RemoveInitiator {
            target,
            group,
            initiator,
        } => return remove_initiator(self::target(root, target)?, group, initiator),
    }
    Ok(None)
}

/// Makes the paths of devices absolute: relative ones are in `directory`. Returns whether that can be written down.
pub(super) fn make_absolute(root: &mut Node, directory: &Path) -> bool {
    for device in tree::items_mut(root, "devices") {
        if let Some(Node::String(path)) = tree::field_mut(device, "path") {
            match directory.join(&*path).to_str() {
                Some(whole) => *path = whole.to_owned(),
                None => return false,
            }
        }
    }
    true
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

/// Refuses a name that is taken. `shown` is what it names, for a message.
fn free(items: &[Node], name: &str, shown: &str) -> Result<(), EditError> {
    match find(items, name) {
        None => Ok(()),
        Some(_) => Err(EditError::Refused {
            what: format!("there is a {shown} already"),
            remedy: "choose another name, or remove that one first".to_owned(),
        }),
    }
}

fn is_default(group: &Node) -> bool {
    matches!(tree::field(group, "default"), Some(Node::Bool(true)))
}

/// A group for a message.
fn group_of(group: &Node, target: &Node) -> String {
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
