//! What people are told about an import.

use std::collections::{BTreeSet, HashMap};

use super::Note;

/// Where something is in the source.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// With the sections around it.
    pub(super) full: String,
    /// Short, for lists.
    pub(super) short: String,
    /// Notes are in the order of these.
    pub(super) line: usize,
}

/// An attribute that the other target has and pagecast has not, and why that may not matter.
pub(super) struct Fact {
    pub(super) name: &'static str,
    /// Values that mean what pagecast does anyway: nothing is lost.
    pub(super) same: &'static [&'static str],
    pub(super) why: &'static str,
    pub(super) remedy: &'static str,
}

/// Collects notes, in the order of the source. Those about attributes without a counterpart are one for each reason.
#[derive(Debug, Default)]
pub(super) struct Notes {
    list: Vec<Entry>,
    groups: HashMap<(&'static str, &'static str), usize>,
    /// Notes that there was no room for.
    more: usize,
}

#[derive(Debug)]
enum Entry {
    Single(usize, Note),
    Group {
        names: BTreeSet<&'static str>,
        first: Vec<Place>,
        places: usize,
        why: &'static str,
        remedy: &'static str,
    },
}

impl Notes {
    /// More than that nobody reads, and the source may be hostile.
    const MOST: usize = 10_000;
    /// Places that a note about several names.
    const SHOWN: usize = 3;

    /// One thing that somebody should look at.
    pub(super) fn add(
        &mut self,
        place: &Place,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        if self.list.len() >= Self::MOST {
            self.more += 1;
            return;
        }
        let note = Note {
            at: place.full.clone(),
            what: what.into(),
            remedy: remedy.into(),
        };
        self.list.push(Entry::Single(place.line, note));
    }

    /// `name` is there and has no counterpart, for a reason that others share.
    pub(super) fn group(
        &mut self,
        place: &Place,
        name: &'static str,
        why: &'static str,
        remedy: &'static str,
    ) {
        // Reasons are in the program: there are only so many.
        let next = self.list.len();
        let index = *self.groups.entry((why, remedy)).or_insert(next);
        if index == next {
            self.list.push(Entry::Group {
                names: BTreeSet::new(),
                first: Vec::new(),
                places: 0,
                why,
                remedy,
            });
        }
        if let Some(Entry::Group {
            names,
            first,
            places,
            ..
        }) = self.list.get_mut(index)
        {
            names.insert(name);
            *places += 1;
            if first.len() < Self::SHOWN {
                first.push(place.clone());
            }
        }
    }

    /// Whether a table knows the attribute `name`, in upper or lower case; notes what is lost with its value, if anything is.
    pub(super) fn known(
        &mut self,
        tables: &[&'static [Fact]],
        place: &Place,
        name: &str,
        value: &str,
    ) -> bool {
        let mut facts = tables.iter().flat_map(|table| table.iter());
        let Some(fact) = facts.find(|fact| fact.name.eq_ignore_ascii_case(name)) else {
            return false;
        };
        if !fact
            .same
            .iter()
            .any(|same| same.eq_ignore_ascii_case(value))
        {
            self.group(place, fact.name, fact.why, fact.remedy);
        }
        true
    }

    pub(super) fn into_list(mut self) -> Vec<Note> {
        self.list.sort_by_key(Entry::line);
        let mut list: Vec<Note> = self.list.into_iter().map(Entry::into_note).collect();
        if self.more != 0 {
            list.push(Note {
                at: "elsewhere".to_owned(),
                what: format!("{} more notes are not shown", self.more),
                remedy: "deal with those that are, and import again".to_owned(),
            });
        }
        list
    }
}

impl Entry {
    fn line(&self) -> usize {
        match self {
            Self::Single(line, _) => *line,
            Self::Group { first, .. } => first.first().map_or(0, |place| place.line),
        }
    }

    fn into_note(self) -> Note {
        match self {
            Self::Single(_, note) => note,
            Self::Group {
                names,
                first,
                places,
                why,
                remedy,
            } => {
                let names: Vec<&str> = names.into_iter().collect();
                let names = names.join(", ");
                Note {
                    at: at(&first, places, &names),
                    what: format!("{names}: {why}"),
                    remedy: remedy.to_owned(),
                }
            }
        }
    }
}

fn at(first: &[Place], places: usize, names: &str) -> String {
    if let [only] = first {
        // The name stands in the note already.
        let around = only
            .full
            .strip_suffix(names)
            .and_then(|around| around.strip_suffix([' ', '.']));
        return around
            .map_or(only.full.as_str(), |around| {
                around.trim_end_matches([',', ':'])
            })
            .to_owned();
    }
    let shown: Vec<&str> = first.iter().map(|place| place.short.as_str()).collect();
    match places - first.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// `text` in quotes, escaped, and cut when it is long.
pub(super) fn show(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}...", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}
