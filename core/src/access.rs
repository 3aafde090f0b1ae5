//! Which access group an initiator belongs to.
//!
//! A group has patterns, and an initiator goes by several names (see [`names`](crate::names)). In a pattern `*` stands for
//! any characters, `?` for one (of UTF-8, not a byte), and a leading `!` excludes. Upper and lower case of ASCII letters are the same.

use std::fmt;

#[cfg(any(test, feature = "testing"))]
pub mod cases;

/// A pattern for initiator names.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    text: String,
}

impl Pattern {
    /// Every text is a pattern.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it excludes what it matches.
    pub fn excludes(&self) -> bool {
        self.text.starts_with('!')
    }

    /// Whether one of the names matches, leaving aside a leading `!`.
    pub fn matches<N: AsRef<str>>(&self, names: &[N]) -> bool {
        let pattern = self.text.strip_prefix('!').unwrap_or(&self.text);
        names
            .iter()
            .any(|name| glob(pattern.as_bytes(), name.as_ref().as_bytes()))
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, formatter)
    }
}

/// Whether two texts are one pattern: they may differ in the case of ASCII letters, which no transport's names are told apart by.
pub fn is_same_pattern(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// Whether an initiator with these names belongs to a group with these patterns.
///
/// It does if a pattern matches and none that excludes does. In a group that only excludes, everybody else belongs.
pub fn admits<N: AsRef<str>>(patterns: &[Pattern], names: &[N]) -> bool {
    let (excluding, including): (Vec<_>, Vec<_>) =
        patterns.iter().partition(|pattern| pattern.excludes());
    if excluding.iter().any(|pattern| pattern.matches(names)) {
        return false;
    }
    match including.as_slice() {
        [] => !excluding.is_empty(),
        including => including.iter().any(|pattern| pattern.matches(names)),
    }
}

/// Whom an access group admits.
#[derive(Clone, Copy, Debug)]
pub struct Admission<'a> {
    /// Who belongs to it.
    pub patterns: &'a [Pattern],
    /// It also admits whoever no other group admits, unless one of its patterns excludes them.
    pub default: bool,
}

/// The first of the groups that admits an initiator. To be excluded from one group is not to be excluded from the next.
///
/// A default group has its place among the others for those whom one of its patterns names. For everybody else its place does not
/// matter: they belong to it if no other group admits them. There should be one at most; of several, the first counts.
pub fn first_group<'a, G, N: AsRef<str>>(
    groups: impl IntoIterator<Item = (G, Admission<'a>)>,
    names: &[N],
) -> Option<G> {
    let mut otherwise = None;
    for (group, Admission { patterns, default }) in groups {
        if !default {
            if admits(patterns, names) {
                return Some(group);
            }
            continue;
        }
        let (excluding, including): (Vec<_>, Vec<_>) =
            patterns.iter().partition(|pattern| pattern.excludes());
        if excluding.iter().any(|pattern| pattern.matches(names)) {
            continue;
        }
        if including.iter().any(|pattern| pattern.matches(names)) {
            return Some(group);
        }
        otherwise = otherwise.or(Some(group));
    }
    otherwise
}

/// Matches without recursion: on a mismatch the last `*` takes one character more, which is at most the product of the lengths.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(b'?') => {
                p += 1;
                n = after(name, n);
            }
            Some(byte) if byte.eq_ignore_ascii_case(&name[n]) => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((star_at, taken)) = star else {
                    return false;
                };
                n = after(name, taken);
                star = Some((star_at, n));
                p = star_at + 1;
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Where the character ends that begins at `at` (RFC 3629 section 3: what goes on has the bits 10 first).
fn after(name: &[u8], at: usize) -> usize {
    let rest = name.get(at + 1..).unwrap_or_default();
    at + 1 + rest.iter().take_while(|&&byte| byte & 0xc0 == 0x80).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        texts.iter().map(|text| Pattern::new(*text)).collect()
    }

    #[test]
    fn patterns_match_names() {
        let cases = [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything", true),
            ("?", "", false),
            ("?", "a", true),
            ("?", "ab", false),
            ("iqn.*:host1", "iqn.2026-11.org.example:host1", true),
            ("iqn.*:host1", "iqn.2026-11.org.example:host11", false),
            ("iqn.*:host?", "iqn.2026-11.org.example:host1", true),
            ("10.99.0.*", "10.99.0.17", true),
            ("10.99.0.*", "10.99.1.17", false),
            ("0xFE80*", "0xfe800000000000000000000000000001", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-c-", false),
            ("**a", "bba", true),
            ("*?a", "a", false),
            ("*ab", "aab", true),
            ("a.c", "abc", false),
            ("[ab]", "a", false),
            ("?", "\u{fc}", true),
            ("??", "\u{fc}", false),
            ("h?s", "h\u{20ac}s", true),
            ("h???s", "h\u{20ac}s", false),
            ("*?", "\u{1f4be}", true),
            ("*??", "\u{1f4be}", false),
            ("*??*", "\u{fc}", false),
            ("*\u{fc}?", "\u{20ac}\u{fc}\u{fc}", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(
                Pattern::new(pattern).matches(&[name]),
                expected,
                "{pattern} {name}"
            );
        }
    }

    /// Against one that is plain and slow.
    #[test]
    fn patterns_match_characters() {
        fn matches(pattern: &[char], name: &[char]) -> bool {
            match pattern {
                [] => name.is_empty(),
                ['*', rest @ ..] => (0..=name.len()).any(|taken| matches(rest, &name[taken..])),
                ['?', rest @ ..] => !name.is_empty() && matches(rest, &name[1..]),
                [one, rest @ ..] => name.first() == Some(one) && matches(rest, &name[1..]),
            }
        }
        let words = |alphabet: &[char], longest: u32| -> Vec<Vec<char>> {
            let base = alphabet.len();
            let of = |length: u32| (0..base.pow(length)).map(move |number| (number, length));
            (0..=longest)
                .flat_map(of)
                .map(|(number, length)| {
                    (0..length)
                        .map(|digit| alphabet[number / base.pow(digit) % base])
                        .collect()
                })
                .collect()
        };
        for pattern in words(&['*', '?', 'a', '\u{fc}'], 4) {
            let text: String = pattern.iter().collect();
            for name in words(&['a', '\u{fc}', '\u{20ac}'], 4) {
                let whole: String = name.iter().collect();
                let expected = matches(&pattern, &name);
                assert_eq!(
                    Pattern::new(&text).matches(&[&whole]),
                    expected,
                    "{text} {whole}"
                );
            }
        }
    }

    /// What is one pattern matches the same names.
    #[test]
    fn patterns_that_differ_in_case_are_one() {
        let texts = [
            "iqn.r:1", "IQN.R:1", "iqn.R:?", "!iqn.r:1", "\u{fc}", "\u{dc}",
        ];
        let names = ["iqn.r:1", "Iqn.r:1", "IQN.R:2", "\u{fc}", "\u{dc}"];
        for one in texts {
            for other in texts {
                let matches = |text: &str| {
                    let pattern = Pattern::new(text);
                    (
                        pattern.excludes(),
                        names.map(|name| pattern.matches(&[name])),
                    )
                };
                let same = matches(one) == matches(other);
                assert_eq!(is_same_pattern(one, other), same, "{one} {other}");
            }
        }
    }

    #[test]
    fn groups_admit_initiators() {
        let names = [
            "0x00000000000000010002c90300a1b2c3",
            "0002c90300a1b2c3",
            "10.99.0.2",
        ];
        let cases: [(&[&str], bool); 11] = [
            (&[], false),
            (&["*"], true),
            (&["nobody"], false),
            (&["nobody", "10.99.0.2"], true),
            (&["0002c903*"], true),
            (&["*", "!10.99.0.2"], false),
            (&["!10.99.0.2", "*"], false),
            (&["*", "!10.99.0.3"], true),
            (&["!10.99.0.3"], true),
            (&["!10.99.*"], false),
            (&["nobody", "!10.99.0.3"], false),
        ];
        for (texts, expected) in cases {
            assert_eq!(admits(&patterns(texts), &names), expected, "{texts:?}");
        }
    }

    #[test]
    fn the_first_group_wins() {
        let groups = [
            ("lab", patterns(&["10.99.*", "!10.99.0.66"])),
            ("one", patterns(&["10.99.0.2", "10.99.0.66"])),
            ("rest", patterns(&["*"])),
        ];
        let group = |name| {
            let admission = |patterns| Admission {
                patterns,
                default: false,
            };
            let groups = groups.iter();
            let groups = groups.map(|(group, patterns)| (*group, admission(&patterns[..])));
            first_group(groups, &[name])
        };
        assert_eq!(group("10.99.0.2"), Some("lab"));
        assert_eq!(group("10.99.0.66"), Some("one"));
        assert_eq!(group("192.0.2.1"), Some("rest"));
        let none: [(&str, Admission<'_>); 0] = [];
        assert_eq!(first_group(none, &["10.99.0.2"]), None);
    }

    #[test]
    fn a_hostile_pattern_takes_bounded_time() {
        let pattern = Pattern::new("*a".repeat(200));
        assert!(!pattern.matches(&["a".repeat(10_000) + "b"]));
    }
}
