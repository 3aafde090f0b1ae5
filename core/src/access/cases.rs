//! What patterns, their order and default groups come to, as one table for every transport.

use super::{Admission, Pattern, first_group};

/// Who comes in where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// What it is about.
    pub what: &'static str,
    /// The groups of a target, in order.
    pub groups: Vec<Group>,
    /// The name of the group that admits the initiator, if one does.
    pub admitted: Option<&'static str>,
}

/// An access group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name, which no other group of the case has.
    pub name: &'static str,
    /// Its patterns.
    pub patterns: Vec<String>,
    /// Whether it is the default group.
    pub default: bool,
}

impl Case {
    /// The name of the group that [`first_group`] finds for an initiator with these names.
    pub fn outcome(&self, names: &[&str]) -> Option<&'static str> {
        let patterns = |group: &Group| group.patterns.iter().map(Pattern::new).collect();
        let patterns: Vec<Vec<Pattern>> = self.groups.iter().map(patterns).collect();
        let groups = self.groups.iter().zip(&patterns);
        let groups = groups.map(|(group, patterns)| {
            let admission = Admission {
                patterns,
                default: group.default,
            };
            (group.name, admission)
        });
        first_group(groups, names)
    }
}

/// The table for an initiator that goes by a name, and maybe by others that are nothing like it.
///
/// The name has at least four bytes, all of them ASCII, and none of them `*`, `?`, `!` or a brace. It should have letters.
pub fn cases(name: &str) -> Vec<Case> {
    let (head, tail) = name.split_at(name.len() / 2);
    let forms = [
        ("{name}", name),
        ("{upper}", &name.to_ascii_uppercase()),
        ("{lower}", &name.to_ascii_lowercase()),
        ("{head}", head),
        ("{tail}", tail),
        ("{rest}", tail.get(1..).unwrap_or_default()),
        ("{marks}", &"?".repeat(tail.len())),
    ];
    let form = |pattern: &str| {
        forms
            .iter()
            .fold(pattern.to_owned(), |pattern, (from, to)| {
                pattern.replace(from, to)
            })
    };
    let group = |(name, patterns): &(&'static str, &[&str])| Group {
        name,
        patterns: patterns.iter().map(|pattern| form(pattern)).collect(),
        default: name.starts_with("default"),
    };
    let case = |(what, groups, admitted): &Row| Case {
        what,
        groups: groups.iter().map(group).collect(),
        admitted: *admitted,
    };
    TABLE.iter().map(case).collect()
}

/// What it is about; groups with their patterns, of which those are default groups that are called so; who admits the initiator.
///
/// In patterns `{name}` stands for its name, `{upper}` and `{lower}` for the same in such letters, `{head}` and `{tail}` for the halves of
/// it, `{rest}` for what follows the first character of the second half, `{marks}` for as many `?` as that half has characters.
type Row = (
    &'static str,
    &'static [(&'static str, &'static [&'static str])],
    Option<&'static str>,
);

#[rustfmt::skip]
static TABLE: &[Row] = &[
    ("without groups nobody comes in", &[], None),
    ("a group without patterns admits nobody", &[("one", &[])], None),
    ("a name", &[("one", &["{name}"])], Some("one")),
    ("another name", &[("one", &["nobody"])], None),
    ("a part of the name is not the name", &[("one", &["{head}", "{tail}"])], None),
    ("more than the name is not the name", &[("one", &["{name}x", "x{name}"])], None),
    ("one of several patterns", &[("one", &["nobody", "{name}"])], Some("one")),
    ("upper case", &[("one", &["{upper}"])], Some("one")),
    ("lower case", &[("one", &["{lower}"])], Some("one")),
    ("a star is everybody", &[("one", &["*"])], Some("one")),
    ("a star at the end", &[("one", &["{head}*"])], Some("one")),
    ("a star at the beginning", &[("one", &["*{tail}"])], Some("one")),
    ("a star in the middle", &[("one", &["{head}*{rest}"])], Some("one")),
    ("a star may be nothing", &[("one", &["{head}*{tail}"])], Some("one")),
    ("several stars", &[("one", &["*{head}*{tail}*"])], Some("one")),
    ("stars do not change the order", &[("one", &["*{tail}*{head}x*"])], None),
    ("a question mark is one character", &[("one", &["{head}?{rest}"])], Some("one")),
    ("and not none", &[("one", &["{head}?{tail}", "{name}?", "?{name}"])], None),
    ("question marks", &[("one", &["{head}{marks}"])], Some("one")),
    ("one too many", &[("one", &["{head}{marks}?"])], None),
    ("stars and question marks", &[("one", &["{head}?*"])], Some("one")),

    ("the first group that admits", &[("one", &["{name}"]), ("two", &["{name}"])], Some("one")),
    ("however little its pattern says", &[("one", &["*"]), ("two", &["{name}"])], Some("one")),
    ("the order is that of the groups", &[("two", &["{name}"]), ("one", &["*"])], Some("two")),
    ("those that do not admit are passed over", &[("one", &["nobody"]), ("two", &["{head}*"])], Some("two")),

    ("everybody but one", &[("one", &["*", "!{name}"])], None),
    ("in whatever order", &[("one", &["!{name}", "*"])], None),
    ("also if named", &[("one", &["{name}", "!{name}"])], None),
    ("everybody but some", &[("one", &["*", "!{head}*"])], None),
    ("exclusion knows no case", &[("one", &["*", "!{upper}"])], None),
    ("exclusion with a question mark", &[("one", &["*", "!{head}?{rest}"])], None),
    ("everybody but somebody else", &[("one", &["*", "!nobody"])], Some("one")),
    ("a group that only excludes admits everybody else", &[("one", &["!nobody"])], Some("one")),
    ("but not whom it excludes", &[("one", &["!{name}"])], None),
    ("a group that does not only exclude does not", &[("one", &["somebody", "!nobody"])], None),
    ("who is excluded from one may be in the next", &[("one", &["*", "!{name}"]), ("two", &["{name}"])], Some("two")),
    ("two exclusions", &[("one", &["*", "!nobody", "!{head}*"]), ("two", &["*", "!*{tail}"])], None),

    ("a default group admits whoever is left", &[("default", &[])], Some("default")),
    ("after the others", &[("one", &["nobody"]), ("default", &[])], Some("default")),
    ("and before them", &[("default", &[]), ("one", &["nobody"])], Some("default")),
    ("but not whom another one admits", &[("one", &["{name}"]), ("default", &[])], Some("one")),
    ("wherever it is", &[("default", &[]), ("one", &["{name}"])], Some("one")),
    ("also if that has only a star", &[("default", &[]), ("one", &["*"])], Some("one")),
    ("whoever another one excludes is left", &[("one", &["*", "!{name}"]), ("default", &[])], Some("default")),
    ("it may exclude", &[("default", &["!{name}"])], None),
    ("with patterns", &[("default", &["!{head}*"])], None),
    ("but not from others", &[("default", &["!{name}"]), ("one", &["{name}"])], Some("one")),
    ("to exclude somebody is to admit nobody first", &[("default", &["!nobody"]), ("one", &["{name}"])], Some("one")),
    ("and everybody last", &[("default", &["!nobody"]), ("one", &["somebody"])], Some("default")),
    ("whom it names it admits in its place", &[("default", &["{name}"]), ("one", &["{name}"])], Some("default")),
    ("and no sooner", &[("one", &["{name}"]), ("default", &["{name}"])], Some("one")),
    ("to name somebody else changes nothing", &[("default", &["nobody"]), ("one", &["{name}"])], Some("one")),
    ("nor does it keep anybody out", &[("default", &["nobody"]), ("one", &["somebody"])], Some("default")),
    ("exclusion is stronger than a name", &[("default", &["{name}", "!{head}*"])], None),
    ("excluded everywhere", &[("one", &["!{name}"]), ("default", &["!*{tail}"])], None),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Names as transports have them, with others of the same initiators.
    const INITIATORS: [&[&str]; 4] = [
        &[
            "0x00000000000000010002c90300a1b2c3",
            "0002c90300a1b2c3",
            "10.99.0.2",
        ],
        &["iqn.2026-11.org.example:host1", "10.99.0.2"],
        &[
            "nqn.2014-08.org.nvmexpress:uuid:0f3a1c5e-9a3b-4f6e-8d2c-1b2a3c4d5e6f",
            "2001:db8::2",
        ],
        &["host"],
    ];

    #[test]
    fn the_table_holds_for_every_kind_of_name() {
        for names in INITIATORS {
            for case in cases(names[0]) {
                let found = case.outcome(names);
                assert_eq!(found, case.admitted, "{}: {case:?}", names[0]);
            }
        }
    }

    #[test]
    fn a_case_has_groups_with_names_of_their_own() {
        for (what, groups, admitted) in TABLE {
            let mut names: Vec<_> = groups.iter().map(|(name, _)| *name).collect();
            assert!(admitted.is_none_or(|name| names.contains(&name)), "{what}");
            assert!(
                names
                    .iter()
                    .filter(|name| name.starts_with("default"))
                    .count()
                    <= 1
            );
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), groups.len(), "{what}");
        }
        let of = |name| cases(name).into_iter().flat_map(|case| case.groups);
        let patterns: Vec<_> = of("host").flat_map(|group| group.patterns).collect();
        assert!(patterns.contains(&"!ho?t".into()) && patterns.contains(&"ho???".into()));
    }
}
