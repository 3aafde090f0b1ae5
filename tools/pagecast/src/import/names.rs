//! Names that fit pagecast's rules, and are there once.

use std::collections::{HashMap, HashSet};

/// Characters of a name, at most.
const LONGEST: usize = 64;
/// Bytes of an iSCSI name, at most (RFC 7143 section 4.2.7.1).
const LONGEST_ISCSI: usize = 223;
/// Bytes of an initiator pattern, at most.
const LONGEST_PATTERN: usize = 255;

/// Names of one kind that were given.
#[derive(Debug, Default)]
pub(super) struct Names {
    taken: HashSet<String>,
    /// The next number to try, by what it would be put behind.
    next: HashMap<String, usize>,
}

impl Names {
    /// Keeps a name from being given.
    pub(super) fn reserve(&mut self, name: &str) {
        self.taken.insert(name.to_owned());
    }

    /// A name like `wanted` that nothing else has; `fallback` is for when nothing of it is left.
    pub(super) fn give(&mut self, wanted: &str, fallback: &str) -> String {
        let base = match fitting(wanted) {
            base if base.is_empty() => fallback.to_owned(),
            base => base,
        };
        if self.taken.insert(base.clone()) {
            return base;
        }
        let next = self.next.entry(base.clone()).or_insert(2);
        loop {
            let suffix = format!("-{next}");
            *next += 1;
            // All of it is ASCII.
            let kept: String = base.chars().take(LONGEST - suffix.len()).collect();
            let name = kept + &suffix;
            if self.taken.insert(name.clone()) {
                return name;
            }
        }
    }
}

/// Letters, digits, `-`, `_` and `.`, at most 64, beginning with a letter or digit.
fn fitting(text: &str) -> String {
    let mapped = text.chars().map(|c| match c {
        c if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') => c,
        _ => '-',
    });
    mapped
        .skip_while(|c| !c.is_ascii_alphanumeric())
        .take(LONGEST)
        .collect()
}

/// An iSCSI name as the configuration has it: in small letters, in which names compare (RFC 3722).
pub(super) fn iscsi_name(text: &str) -> Option<String> {
    let name = text.to_ascii_lowercase();
    let good = name.len() <= LONGEST_ISCSI
        && ["iqn.", "eui.", "naa."]
            .iter()
            .any(|kind| name.starts_with(kind))
        && !name.chars().any(|c| c.is_whitespace() || c.is_control());
    good.then_some(name)
}

/// What is left of an iSCSI name for a name of our own: what stands behind the date and the authority, if anything does.
pub(super) fn short_iscsi(name: &str) -> &str {
    match name.split_once(':') {
        Some((_, rest)) if rest.chars().any(|c| c.is_ascii_alphanumeric()) => rest,
        _ => name,
    }
}

/// Whether the configuration takes `text` as an initiator pattern.
pub(super) fn is_pattern(text: &str) -> bool {
    let body = text.strip_prefix('!').unwrap_or(text);
    !body.is_empty()
        && text.len() <= LONGEST_PATTERN
        && !body.chars().any(|c| c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_differ() {
        let mut names = Names::default();
        for (wanted, given) in [
            ("disk0", "disk0"),
            ("disk0", "disk0-2"),
            ("disk0", "disk0-3"),
            ("disk0-2", "disk0-2-2"),
            ("1:0:0:0", "1-0-0-0"),
            ("..", "device"),
            ("", "device-2"),
            ("_a b/ä", "a-b--"),
        ] {
            assert_eq!(names.give(wanted, "device"), given, "{wanted}");
        }
        let long = "x".repeat(100);
        assert_eq!(names.give(&long, "device"), "x".repeat(64));
        assert_eq!(names.give(&long, "device"), "x".repeat(62) + "-2");
    }

    #[test]
    fn iscsi_names() {
        assert_eq!(
            iscsi_name("iqn.2019-05.com.ubuntu:iSer.SAN").as_deref(),
            Some("iqn.2019-05.com.ubuntu:iser.san")
        );
        for bad in [
            "",
            "tgt",
            "iqn.a b",
            "iqn.a\n",
            &format!("iqn.{}", "x".repeat(220)),
        ] {
            assert_eq!(iscsi_name(bad), None, "{bad:?}");
        }
        assert_eq!(short_iscsi("iqn.2006-10.net.vlnb:tgt"), "tgt");
        assert_eq!(
            short_iscsi("iqn.2006-10.net.vlnb:"),
            "iqn.2006-10.net.vlnb:"
        );
        assert_eq!(short_iscsi("eui.02004567a425678d"), "eui.02004567a425678d");
    }
}
