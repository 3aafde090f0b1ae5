//! Names and patterns that people choose.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::document::{Fault, Node, show, string};

/// The name of a device, a target or a group.
///
/// Letters, digits, `-`, `_` and `.`, at most 64, beginning with a letter or digit: it is safe as part of a file name,
/// of an IQN and of an NQN. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// Characters, at most.
    pub const LONGEST: usize = 64;

    /// `text` as a name, if it is one.
    pub fn new(text: &str) -> Option<Self> {
        let good = text.len() <= Self::LONGEST
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        good.then(|| Self(text.into()))
    }

    pub(super) fn read(node: &Node) -> Result<Self, Fault> {
        let text = string(node)?;
        Self::new(text).ok_or_else(|| {
            Fault::new(
                format!("{} is not a name", show(text)),
                "use letters, digits, '-', '_' and '.', at most 64, beginning with a letter or digit",
            )
        })
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// An initiator pattern: `*`, `?`, and a leading `!` that turns it round.
pub(super) fn pattern(node: &Node) -> Result<String, Fault> {
    let text = string(node)?;
    pattern_text(text)
}

/// As [`pattern`], of a text.
pub(super) fn pattern_text(text: &str) -> Result<String, Fault> {
    const LONGEST: usize = 255;
    let body = text.strip_prefix('!').unwrap_or(text);
    let good = !body.is_empty()
        && text.len() <= LONGEST
        && body.chars().all(|c| !c.is_whitespace() && !c.is_control());
    if good {
        return Ok(text.to_owned());
    }
    Err(Fault::new(
        format!("{} is not an initiator pattern", show(text)),
        "give an initiator's name, with '*' and '?' for what may vary and a leading '!' for \"not\"; \"*\" is everybody",
    ))
}

/// An iSCSI name (RFC 7143 section 4.2.7), as far as initiators care.
pub(super) fn iqn(node: &Node) -> Result<String, Fault> {
    let text = string(node)?;
    let good = text.len() <= 223
        && ["iqn.", "eui.", "naa."]
            .iter()
            .any(|kind| text.starts_with(kind))
        && text
            .chars()
            .all(|c| !c.is_whitespace() && !c.is_control() && !c.is_ascii_uppercase());
    good.then(|| text.to_owned()).ok_or_else(|| {
        Fault::new(
            format!("{} is not an iSCSI name", show(text)),
            "give one such as \"iqn.2026-11.io.pagecast:store\", in small letters, at most 223 bytes",
        )
    })
}

/// An NVMe qualified name (NVMe base specification 2.0, section 4.5).
pub(super) fn nqn(node: &Node) -> Result<String, Fault> {
    let text = string(node)?;
    let good = text.len() <= 223
        && text.starts_with("nqn.")
        && text.chars().all(|c| !c.is_whitespace() && !c.is_control());
    good.then(|| text.to_owned()).ok_or_else(|| {
        Fault::new(
            format!("{} is not an NVMe qualified name", show(text)),
            "give one such as \"nqn.2026-11.io.pagecast:store\", at most 223 bytes",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["disk0", "0", "a-b_c.d", "Store", &"x".repeat(64)] {
            assert_eq!(Name::new(good).as_deref(), Some(good));
        }
        for bad in [
            "",
            ".",
            "..",
            "-x",
            "a/b",
            "a b",
            "ä",
            "a\0",
            "x\n",
            &"x".repeat(65),
        ] {
            assert_eq!(Name::new(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn patterns() {
        for good in [
            "*",
            "!*",
            "iqn.*:h?",
            "0x00000000000000000002c90300a1b2c3",
            "10.99.0.?",
            "fe80::1",
        ] {
            assert_eq!(pattern_text(good).as_deref(), Ok(good));
        }
        for bad in ["", "!", "a b", "a\n"] {
            assert!(pattern_text(bad).is_err(), "{bad:?}");
        }
    }
}
