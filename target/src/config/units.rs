//! Sizes and durations as people write them.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::document::{Fault, Node, show};

/// A number of bytes. Written as an integer, or with a binary unit: `"512MiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

impl ByteSize {
    const UNITS: [(&'static str, u64); 5] = [
        ("TiB", 1 << 40),
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
        ("B", 1),
    ];

    /// Bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// A number of mebibytes.
    pub const fn mib(count: u32) -> Self {
        Self((count as u64) << 20)
    }

    /// Reads `1GiB`, `512 MiB`, `1G` (binary too, as in other storage tools) or a plain number of bytes.
    pub fn parse(text: &str) -> Option<Self> {
        let (number, unit) = split_number(text)?;
        let scale = match unit {
            "" => 1,
            "K" => 1 << 10,
            "M" => 1 << 20,
            "G" => 1 << 30,
            "T" => 1 << 40,
            unit => Self::UNITS.iter().find(|(name, _)| *name == unit)?.1,
        };
        number.checked_mul(scale).map(Self)
    }

    pub(super) fn read(node: &Node, low: Self, high: Self) -> Result<Self, Fault> {
        let wanted = || {
            format!("bytes as a number, or a size such as \"1GiB\", from \"{low}\" to \"{high}\"")
        };
        let size = match node {
            Node::Integer(value) => u64::try_from(*value).ok().map(Self),
            Node::String(text) => match Self::parse(text) {
                None => {
                    let what = format!("{} is not a size", show(text));
                    return Err(Fault::new(what, format!("give {}", wanted())));
                }
                size => size,
            },
            other => return Err(Fault::expected(other, &wanted())),
        };
        match size {
            Some(size) if (low..=high).contains(&size) => Ok(size),
            size => {
                let side = if size.is_none_or(|s| s < low) {
                    "small"
                } else {
                    "large"
                };
                Err(Fault::new(
                    format!("{} is too {side}", node.show()),
                    format!("give {}", wanted()),
                ))
            }
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = Self::UNITS
            .iter()
            .find(|(_, scale)| self.0.is_multiple_of(*scale) && self.0 >= *scale);
        let (unit, scale) = exact.unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / scale)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A span of time. Written with a unit: `"30s"`, `"50us"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

impl Span {
    const UNITS: [(&'static str, u64); 5] = [
        ("h", 3_600_000_000),
        ("min", 60_000_000),
        ("s", 1_000_000),
        ("ms", 1_000),
        ("us", 1),
    ];

    /// A number of seconds.
    pub const fn seconds(count: u64) -> Self {
        Self(Duration::from_secs(count))
    }

    /// A number of microseconds.
    pub const fn micros(count: u64) -> Self {
        Self(Duration::from_micros(count))
    }

    /// As the standard library has it.
    pub const fn duration(self) -> Duration {
        self.0
    }

    /// Reads `30s`, `1min`, `2h`, `500ms`, `50us` or `0`.
    pub fn parse(text: &str) -> Option<Self> {
        let (number, unit) = split_number(text)?;
        let scale = match unit {
            "" if number == 0 => 1,
            "m" => 60_000_000,
            "µs" => 1,
            unit => Self::UNITS.iter().find(|(name, _)| *name == unit)?.1,
        };
        number.checked_mul(scale).map(Self::micros)
    }

    /// `unit` is what a bare number counts.
    pub(super) fn read(node: &Node, unit: Self, low: Self, high: Self) -> Result<Self, Fault> {
        let wanted =
            || format!("a time with its unit, such as \"{high}\", from \"{low}\" to \"{high}\"");
        let span = match node {
            Node::Integer(value) => u32::try_from(*value)
                .ok()
                .and_then(|count| unit.0.checked_mul(count).map(Self)),
            Node::String(text) => match Self::parse(text) {
                None => {
                    let what = format!("{} is not a time", show(text));
                    return Err(Fault::new(what, format!("give {}", wanted())));
                }
                span => span,
            },
            other => return Err(Fault::expected(other, &wanted())),
        };
        match span {
            Some(span) if (low..=high).contains(&span) => Ok(span),
            _ => Err(Fault::new(
                format!("{} is out of range", node.show()),
                format!("give {}", wanted()),
            )),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        if micros == 0 {
            return f.write_str("0s");
        }
        let exact = Self::UNITS
            .iter()
            .find(|(_, scale)| micros.is_multiple_of(u128::from(*scale)));
        let (unit, scale) = exact.unwrap_or(&("us", 1));
        write!(f, "{}{unit}", micros / u128::from(*scale))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Splits `512 MiB` into 512 and `MiB`.
fn split_number(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    Some((number.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("512", Some(512)),
            ("512B", Some(512)),
            ("1KiB", Some(1024)),
            ("1 GiB", Some(1 << 30)),
            ("2T", Some(2 << 40)),
            ("1GB", None),
            ("1.5GiB", None),
            ("-1", None),
            ("", None),
            ("GiB", None),
            ("99999999999999999999", None),
            ("99999999TiB", None),
        ] {
            assert_eq!(ByteSize::parse(text).map(ByteSize::bytes), bytes, "{text}");
        }
    }

    #[test]
    fn sizes_print_as_they_are_read() {
        for bytes in [
            0,
            1,
            512,
            1000,
            1024,
            1536,
            1 << 20,
            3 << 30,
            5 << 40,
            u64::MAX,
        ] {
            let text = ByteSize(bytes).to_string();
            assert_eq!(ByteSize::parse(&text), Some(ByteSize(bytes)), "{text}");
        }
        assert_eq!(ByteSize(3 << 30).to_string(), "3GiB");
        assert_eq!(ByteSize(1536).to_string(), "1536B");
    }

    #[test]
    fn spans() {
        for (text, micros) in [
            ("0", Some(0)),
            ("30s", Some(30_000_000)),
            ("1min", Some(60_000_000)),
            ("1m", Some(60_000_000)),
            ("2h", Some(7_200_000_000)),
            ("50us", Some(50)),
            ("50µs", Some(50)),
            ("5 ms", Some(5_000)),
            ("30", None),
            ("30 parsecs", None),
            ("1.5s", None),
        ] {
            let expected = micros.map(Span::micros);
            assert_eq!(Span::parse(text), expected, "{text}");
            if let Some(span) = expected {
                assert_eq!(Span::parse(&span.to_string()), Some(span));
            }
        }
        assert_eq!(Span::seconds(90).to_string(), "90s");
        assert_eq!(Span::seconds(120).to_string(), "2min");
    }
}
