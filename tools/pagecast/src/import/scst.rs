//! SCST's `/etc/scst.conf`, as `scstadmin` reads and writes it (scst.conf(5)).

mod devices;
mod facts;
mod iscsi;
mod parse;
mod srpt;
mod targets;

use super::draft::Draft;
use super::notes::{Notes, Place, show};
use super::{ImportError, Imported, check_length};

use parse::Entry;

/// The configuration that does what this one of SCST does, as far as pagecast can.
pub(crate) fn scst(text: &str) -> Result<Imported, ImportError> {
    check_length(text)?;
    let mut draft = Draft::default();
    let entries = parse::parse(text, &mut draft.notes)?;
    if !entries.is_empty() && !entries.iter().any(is_ours) {
        let line = entries.first().map_or(0, |entry| entry.line);
        return Err(ImportError::new(
            line,
            "this is not an scst.conf",
            "HANDLER, TARGET_DRIVER or another entry that SCST knows was expected",
        ));
    }
    let top = Section::top(&entries);
    // Devices first: LUNs name them, wherever they are in the file.
    for handler in top.named(&mut draft.notes, "HANDLER") {
        devices::import(&mut draft, &handler);
    }
    let drivers = top.named(&mut draft.notes, "TARGET_DRIVER");
    for driver in drivers.iter().filter(|driver| driver.name() == "iscsi") {
        for target in driver.entries.iter().filter(|entry| entry.is("TARGET")) {
            draft.reserve_iqn(&target.word(1).to_ascii_lowercase());
        }
    }
    for driver in &drivers {
        targets::import(&mut draft, driver);
    }
    for group in top.named(&mut draft.notes, "DEVICE_GROUP") {
        draft.notes.add(
            &group.place,
            format!(
                "the device group {} is not imported, with all that is in it",
                show(group.name())
            ),
            facts::ALUA_REMEDY,
        );
    }
    top.attributes(
        &mut draft.notes,
        &["HANDLER", "TARGET_DRIVER", "DEVICE_GROUP"],
        &[facts::GLOBAL],
    );
    Ok(draft.finish())
}

fn is_ours(entry: &Entry) -> bool {
    ["HANDLER", "TARGET_DRIVER", "DEVICE_GROUP"]
        .iter()
        .any(|keyword| entry.is(keyword))
        || facts::GLOBAL.iter().any(|fact| entry.is(fact.name))
}

/// A section with its name, and what is in it.
struct Section<'a> {
    place: Place,
    words: &'a [String],
    entries: &'a [Entry],
}

impl<'a> Section<'a> {
    fn top(entries: &'a [Entry]) -> Self {
        Self {
            place: Place {
                full: String::new(),
                short: String::new(),
                line: 0,
            },
            words: &[],
            entries,
        }
    }

    fn inner(&self, entry: &'a Entry) -> Self {
        Self {
            place: self.place_of(entry),
            words: &entry.words,
            entries: &entry.body,
        }
    }

    fn name(&self) -> &'a str {
        self.words.get(1).map_or("", String::as_str)
    }

    fn place_of(&self, entry: &Entry) -> Place {
        const LONGEST: usize = 60;
        let short = format!("line {}", entry.line);
        // What an attribute is set to may be a secret.
        let words = match entry.is_section() {
            true => entry.words.get(..2).unwrap_or(&entry.words).join(" "),
            false => entry.word(0).to_owned(),
        };
        let words: String = words
            .chars()
            .filter(|c| !c.is_control())
            .take(LONGEST)
            .collect();
        let around = match self.place.full.split_once(": ") {
            Some((_, around)) => format!("{around}, "),
            None => String::new(),
        };
        Place {
            full: format!("{short}: {around}{words}"),
            short,
            line: entry.line,
        }
    }

    /// The sections of a kind. Of several with one name the last counts, as for scstadmin.
    fn named(&self, notes: &mut Notes, keyword: &str) -> Vec<Section<'a>> {
        let mut last = std::collections::HashMap::new();
        let all: Vec<&Entry> = self.entries.iter().filter(|e| e.is(keyword)).collect();
        for (i, entry) in all.iter().enumerate() {
            last.insert(key(entry), i);
        }
        let mut sections = Vec::new();
        for (i, entry) in all.iter().enumerate() {
            let section = self.inner(entry);
            if entry.words.len() < 2 {
                notes.add(
                    &section.place,
                    format!("{keyword} has no name, and is not imported"),
                    "give it one if it is needed",
                );
            } else if last.get(&key(entry)) != Some(&i) {
                notes.add(
                    &section.place,
                    format!(
                        "{keyword} {} is there again further down, and the last one alone is imported, as scstadmin does it",
                        show(section.name())
                    ),
                    "put into one section what belongs together",
                );
            } else {
                if entry.words.len() > entry.arguments() + 1 {
                    notes.add(
                        &section.place,
                        format!(
                            "there is more behind the name of this {keyword}, which is not read"
                        ),
                        "put names with blanks in quotes",
                    );
                }
                sections.push(section);
            }
        }
        sections
    }

    /// Every attribute that is not one of `handled`, by what the tables say of it.
    fn attributes(
        &self,
        notes: &mut Notes,
        handled: &[&str],
        tables: &[&'static [super::notes::Fact]],
    ) {
        for entry in self.entries {
            let name = entry.word(0);
            let place = self.place_of(entry);
            if handled
                .iter()
                .any(|known| known.eq_ignore_ascii_case(base(name)))
            {
                self.excess(notes, entry, &place);
                continue;
            }
            let value = entry.words.get(1..).unwrap_or_default().join(" ");
            if entry.body.is_empty() && notes.known(tables, &place, base(name), &value) {
                continue;
            }
            let what = if entry.body.is_empty() {
                format!("{} is not known here, and not imported", show(name))
            } else {
                format!(
                    "the section {} is not known here, and not imported with all that is in it",
                    show(name)
                )
            };
            notes.add(
                &place,
                what,
                "look up what it does, and whether it is needed",
            );
        }
    }

    /// Says what is not read of an attribute that is.
    fn excess(&self, notes: &mut Notes, entry: &Entry, place: &Place) {
        if entry.is_section() {
            return;
        }
        // A name and a secret may be two words or one in quotes.
        let most = match entry.is_attribute("IncomingUser") || entry.is_attribute("OutgoingUser") {
            true => 3,
            false => 2,
        };
        let what = match entry.words.len() {
            1 => "has no value, and is not imported",
            words if words > most || !entry.body.is_empty() => {
                "has more behind its value, which is not read"
            }
            _ => return,
        };
        notes.add(
            place,
            format!("{} {what}", entry.word(0)),
            "give it one value, in quotes if there are blanks in it",
        );
    }

    /// The last value of an attribute that is there once.
    fn value(&self, name: &str) -> Option<(&'a str, Place)> {
        let entry = self
            .entries
            .iter()
            .rfind(|entry| entry.is_attribute(name))?;
        Some((entry.word(1), self.place_of(entry)))
    }

    /// Says which values of the attribute `name` do not count.
    fn once(&self, notes: &mut Notes, name: &str) {
        let mut all = self.entries.iter().filter(|entry| entry.is_attribute(name));
        let last = all.next_back();
        for entry in all {
            if Some(&entry.words) != last.map(|last| &last.words) {
                notes.add(
                    &self.place_of(entry),
                    format!("{name} is there again further down, with another value that counts"),
                    "keep one of them",
                );
            }
        }
    }

    /// An attribute that is 0 or 1.
    fn flag(&self, notes: &mut Notes, name: &str) -> Option<bool> {
        self.once(notes, name);
        let (value, place) = self.value(name)?;
        match value.to_ascii_lowercase().as_str() {
            "0" | "no" | "false" => Some(false),
            "1" | "yes" | "true" => Some(true),
            _ => {
                notes.add(
                    &place,
                    format!(
                        "{} is not a value that {name} can have, and not imported",
                        show(value)
                    ),
                    "give 0 or 1",
                );
                None
            }
        }
    }

    /// An attribute that is a word.
    fn word(&self, notes: &mut Notes, name: &str) -> Option<(&'a str, Place)> {
        self.once(notes, name);
        let (value, place) = self.value(name)?;
        (!value.is_empty()).then_some((value, place))
    }
}

/// What tells sections of a kind apart.
fn key(entry: &Entry) -> &[String] {
    entry
        .words
        .get(1..=entry.arguments())
        .unwrap_or_else(|| entry.words.get(1..).unwrap_or_default())
}

/// An attribute's name without the number that several of a name have in sysfs.
fn base(name: &str) -> &str {
    let numbered = ["incominguser", "outgoinguser", "allowed_portal"];
    let bare = name.trim_end_matches(|c: char| c.is_ascii_digit());
    match numbered
        .iter()
        .any(|known| known.eq_ignore_ascii_case(bare))
    {
        true => bare,
        false => name,
    }
}
