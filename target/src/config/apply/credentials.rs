//! What initiators prove themselves with comes and goes.

use serde_json::Value;

use super::{group_of, group_position, read};
use crate::config::chap::ChapConfig;
use crate::config::dhchap::DhchapConfig;
use crate::config::document::Node;
use crate::config::edit::{EditError, Scheme};
use crate::config::target::{GroupConfig, TargetConfig};
use crate::config::tree;

pub(super) fn set_credentials(
    target: &mut Node,
    group: Option<&str>,
    scheme: Scheme,
    value: &Value,
) -> Result<(), EditError> {
    let node = match scheme {
        Scheme::Chap => read(value, &ChapConfig::KEYS, ChapConfig::read)?.0,
        Scheme::Dhchap => read(value, &DhchapConfig::KEYS, DhchapConfig::read)?.0,
    };
    let (owner, order) = owner(target, group)?;
    tree::set(owner, scheme.key(), order, node);
    Ok(())
}

pub(super) fn remove_credentials(
    target: &mut Node,
    group: Option<&str>,
    scheme: Scheme,
) -> Result<(), EditError> {
    let key = scheme.key();
    let of_target = tree::field(target, key).is_some();
    let missing = match group {
        None => format!("for target {}", tree::name(target)),
        Some(name) => {
            let at = group_position(target, name)?;
            let group = tree::items(target, "groups").get(at);
            group.map_or_else(String::new, |group| {
                format!("for {}", group_of(group, target))
            })
        }
    };
    let (owner, _) = owner(target, group)?;
    if tree::take(owner, key) {
        return Ok(());
    }
    Err(EditError::NotFound {
        kind: key,
        name: missing,
        remedy: match (group, of_target) {
            (Some(_), true) => {
                "what it asks for is its target's: leave the group out to remove that".to_owned()
            }
            _ => "there is nothing to do".to_owned(),
        },
    })
}

/// A group, or the target itself, with the usual order of its keys.
fn owner<'n>(
    target: &'n mut Node,
    group: Option<&str>,
) -> Result<(&'n mut Node, &'static [&'static str]), EditError> {
    let Some(name) = group else {
        return Ok((target, &TargetConfig::KEYS));
    };
    let at = group_position(target, name)?;
    let found = tree::items_mut(target, "groups").get_mut(at);
    let not_found = || super::not_found("group", name.to_owned(), name, &[]);
    Ok((found.ok_or_else(not_found)?, &GroupConfig::KEYS))
}
