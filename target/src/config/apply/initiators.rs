//! Patterns come, go, and move between the groups of a target.

use pagecast_core::access::{Admission, Pattern, first_group, is_same_pattern};

use super::{group_of, group_position, invalid, is_default, some_of};
use crate::config::document::{Node, show};
use crate::config::edit::EditError;
use crate::config::name::pattern_text;
use crate::config::nearest::{nearest, suggestion};
use crate::config::tree;

/// A group from which the last pattern went that says whom it admits, so that those that it does not exclude are in it from then on.
pub(crate) struct Opened {
    target: String,
    group: String,
    /// The pattern.
    initiator: String,
}

impl Opened {
    /// Refuses it, unless something that came later has put it right.
    pub(crate) fn refuse(&self, root: &Node) -> Result<(), EditError> {
        let named = |object, key, name: &str| {
            let mut items = tree::items(object, key).iter();
            items.find(|item| tree::name(item) == name)
        };
        let group = named(root, "targets", &self.target)
            .and_then(|target| named(target, "groups", &self.group));
        if !group.is_some_and(only_excludes) {
            return Ok(());
        }
        let Self {
            target,
            group,
            initiator,
        } = self;
        Err(EditError::Refused {
            what: format!(
                "without {} all patterns of group {group} of target {target} exclude, and it would admit everybody else",
                show(initiator)
            ),
            remedy: "remove those with '!' first, or add one for whom it is to admit; \"*\" is everybody"
                .to_owned(),
        })
    }
}

/// Whether a group admits whoever it does not exclude. A default group does so anyway.
fn only_excludes(group: &Node) -> bool {
    let mut patterns = patterns(group).peekable();
    !is_default(group) && patterns.peek().is_some() && patterns.all(excludes)
}

fn excludes(pattern: &str) -> bool {
    pattern.starts_with('!')
}

pub(super) fn add_initiator(
    target: &mut Node,
    group: &str,
    initiator: &str,
) -> Result<(), EditError> {
    pattern_text(initiator).map_err(|fault| invalid("initiator", fault))?;
    let at = group_position(target, group)?;
    not_in(target, at, initiator, "there is nothing to do")?;
    insert_initiator(target, at, initiator);
    Ok(())
}

fn not_in(target: &Node, group: usize, initiator: &str, remedy: &str) -> Result<(), EditError> {
    let group = tree::items(target, "groups").get(group);
    match group.and_then(|group| Some((group, written(group, initiator)?))) {
        Some((group, written)) => Err(EditError::Refused {
            what: format!("{} has {} already", group_of(group, target), show(written)),
            remedy: remedy.to_owned(),
        }),
        None => Ok(()),
    }
}

fn insert_initiator(target: &mut Node, group: usize, initiator: &str) {
    if let Some(group) = tree::items_mut(target, "groups").get_mut(group) {
        tree::push(group, "initiators", Node::String(initiator.to_owned()));
    }
}

/// Takes it out, however often and with whatever capitals it is there: nobody is to come in by it afterwards. Says whether it opened the
/// group.
fn delete_initiator(target: &mut Node, group: usize, initiator: &str) -> Option<Opened> {
    let of = tree::name(target).to_owned();
    let group = tree::items_mut(target, "groups").get_mut(group)?;
    tree::retain(group, "initiators", |pattern| !is(pattern, initiator));
    (!excludes(initiator) && only_excludes(group)).then(|| Opened {
        target: of,
        group: tree::name(group).to_owned(),
        initiator: initiator.to_owned(),
    })
}

pub(super) fn remove_initiator(
    target: &mut Node,
    group: &str,
    initiator: &str,
) -> Result<Option<Opened>, EditError> {
    let at = group_position(target, group)?;
    in_group(target, at, initiator)?;
    Ok(delete_initiator(target, at, initiator))
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
        name: format!("{} in {}", show(initiator), group_of(group, target)),
        remedy: match known.is_empty() {
            true => "it has none".to_owned(),
            false => suggestion(initiator, &known),
        },
    })
}

pub(super) fn move_initiator(
    target: &mut Node,
    initiator: &str,
    from: Option<&str>,
    to: &str,
) -> Result<Option<Opened>, EditError> {
    let to = group_position(target, to)?;
    let from = match from {
        Some(from) => {
            let from = group_position(target, from)?;
            in_group(target, from, initiator)?;
            from
        }
        None => only_group(target, initiator)?,
    };
    let remedy = match from == to {
        true => "there is nothing to do",
        false => "`pagecast initiator remove` takes it out of the other one",
    };
    not_in(target, to, initiator, remedy)?;
    // As it was written.
    let group = tree::items(target, "groups").get(from);
    let written = group.and_then(|group| written(group, initiator));
    let written = written.unwrap_or(initiator).to_owned();
    let opened = delete_initiator(target, from, initiator);
    insert_initiator(target, to, &written);
    Ok(opened)
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
    let admitting = admitting(groups, initiator);
    let pattern = admitting.and_then(|group| {
        patterns(group).find(|pattern| {
            let pattern = Pattern::new(*pattern);
            !pattern.excludes() && pattern.matches(&[initiator])
        })
    });
    let mut similar = (groups.iter().flat_map(patterns))
        .filter(|pattern| excludes(pattern) == excludes(initiator));
    match (admitting, pattern) {
        (Some(group), Some(pattern)) => format!(
            "group {} admits that name by its pattern {}, which stays where it is; {add}",
            tree::name(group),
            show(pattern)
        ),
        (admitting, _) => match (nearest(initiator, &mut similar), admitting) {
            (Some(near), _) => format!("did you mean `{near}`? {add}"),
            (None, Some(group)) if is_default(group) => format!(
                "group {}, the default, admits that name; {add}",
                tree::name(group)
            ),
            (None, Some(group)) => format!(
                "group {} admits that name, because none of its patterns excludes it; {add}",
                tree::name(group)
            ),
            (None, None) => format!("no group admits that name; {add}"),
        },
    }
}

/// The group that admits an initiator of that name, if it has no other.
fn admitting<'n>(groups: &'n [Node], initiator: &str) -> Option<&'n Node> {
    let all: Vec<Vec<Pattern>> = (groups.iter())
        .map(|group| patterns(group).map(Pattern::new).collect())
        .collect();
    let admissions = groups.iter().zip(&all).map(|(group, patterns)| {
        let default = is_default(group);
        (group, Admission { patterns, default })
    });
    first_group(admissions, &[initiator])
}

fn patterns(group: &Node) -> impl Iterator<Item = &str> {
    let items = tree::items(group, "initiators").iter();
    items.filter_map(|pattern| match pattern {
        Node::String(text) => Some(text.as_str()),
        _ => None,
    })
}

/// A pattern as a group has it, which may be with other capitals.
fn written<'n>(group: &'n Node, initiator: &str) -> Option<&'n str> {
    patterns(group).find(|pattern| is_same_pattern(pattern, initiator))
}

fn lists(group: &Node, initiator: &str) -> bool {
    written(group, initiator).is_some()
}

fn is(pattern: &Node, text: &str) -> bool {
    matches!(pattern, Node::String(pattern) if is_same_pattern(pattern, text))
}
