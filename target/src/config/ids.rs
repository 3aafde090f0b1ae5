//! Identifiers of fixed form: GUIDs, NAA designators, UUIDs, service ids.

use std::fmt;

use serde::{Serialize, Serializer};

use super::document::{Fault, Node, show, string};

/// A 64-bit GUID, in host order. Written as 16 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid(pub u64);

impl Guid {
    /// Reads exactly 16 hex digits, with or without `0x`.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        (digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
            .then(|| u64::from_str_radix(digits, 16).ok().map(Self))?
    }

    pub(super) fn read(node: &Node) -> Result<Self, Fault> {
        let text = string(node)?;
        Self::parse(text).filter(|guid| guid.0 != 0).ok_or_else(|| {
            Fault::new(
                format!("{} is not a GUID", show(text)),
                "give 16 hex digits that are not all zero, such as \"020000c0ffee0001\"",
            )
        })
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for Guid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An InfiniBand CM service id that the kernel lets a process listen on, in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(u64);

impl ServiceId {
    /// The two port spaces (upper 48 bits) that the RDMA/CM maps AF_IB listeners to: RDMA_PS_TCP and RDMA_PS_IB.
    const SPACES: [u64; 2] = [0x0106, 0x013f];

    /// `value`, if a process may have it.
    pub fn new(value: u64) -> Option<Self> {
        (Self::SPACES.contains(&(value >> 16)) && value & 0xffff != 0).then_some(Self(value))
    }

    /// In host order.
    pub fn value(self) -> u64 {
        self.0
    }

    pub(super) fn read(node: &Node) -> Result<Self, Fault> {
        let text = string(node)?;
        Guid::parse(text).and_then(|guid| Self::new(guid.0)).ok_or_else(|| {
            Fault::new(
                format!("{} is not a service id that the kernel gives to processes", show(text)),
                "give \"000000000106pppp\" or \"00000000013fpppp\", where pppp are four hex digits, not all zero",
            )
        })
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for ServiceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An NAA designator (SPC-4 section 7.8.6.6): 8 bytes for the types 2, 3 and 5, 16 bytes for type 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Naa {
    bytes: [u8; 16],
    length: usize,
}

impl Naa {
    /// A locally assigned designator (NAA 3h, SPC-4 section 7.8.6.6.4) from the low 60 bits of `value`.
    pub fn local(value: u64) -> Self {
        let mut bytes = [0; 16];
        let designator = (value & (u64::MAX >> 4)) | (0x3 << 60);
        bytes[..8].copy_from_slice(&designator.to_be_bytes());
        Self { bytes, length: 8 }
    }

    /// The designator as it goes on the wire; 8 or 16 bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&self.bytes)
    }

    /// Reads 16 or 32 hex digits, with or without `0x` or `naa.`.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text
            .strip_prefix("0x")
            .or_else(|| text.strip_prefix("naa."))
            .unwrap_or(text);
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let length = match (digits.bytes().next()?, digits.len()) {
            (b'2' | b'3' | b'5', 16) => 8,
            (b'6', 32) => 16,
            _ => return None,
        };
        let mut bytes = [0; 16];
        let value = u128::from_str_radix(digits, 16).ok()?.to_be_bytes();
        bytes[..length].copy_from_slice(&value[16 - length..]);
        Some(Self { bytes, length })
    }

    pub(super) fn read(node: &Node) -> Result<Self, Fault> {
        let text = string(node)?;
        Self::parse(text).ok_or_else(|| {
            Fault::new(
                format!("{} is not an NAA designator", show(text)),
                "give 16 hex digits that begin with 2, 3 or 5, or 32 that begin with 6",
            )
        })
    }
}

impl fmt::Display for Naa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes()
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Naa {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A UUID (RFC 9562), in wire order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// Version 8 (RFC 9562 section 5.8: made in our own way) from 122 of the bits of `value`.
    pub fn custom(value: u128) -> Self {
        let mut bytes = value.to_be_bytes();
        bytes[6] = (bytes[6] & 0x0f) | 0x80;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Self(bytes)
    }

    /// Reads the form with four hyphens (RFC 9562 section 4).
    pub fn parse(text: &str) -> Option<Self> {
        let hyphens = text.bytes().enumerate().all(|(i, b)| {
            if matches!(i, 8 | 13 | 18 | 23) {
                b == b'-'
            } else {
                b.is_ascii_hexdigit()
            }
        });
        if text.len() != 36 || !hyphens {
            return None;
        }
        u128::from_str_radix(&text.replace('-', ""), 16)
            .ok()
            .map(|value| Self(value.to_be_bytes()))
    }

    pub(super) fn read(node: &Node) -> Result<Self, Fault> {
        let text = string(node)?;
        Self::parse(text)
            .filter(|uuid| uuid.0 != [0; 16])
            .ok_or_else(|| {
                Fault::new(
                    format!("{} is not a UUID", show(text)),
                    "give one such as uuidgen prints: 8-4-4-4-12 hex digits, not all zero",
                )
            })
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            let hyphen = if matches!(i, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{hyphen}{byte:02x}")?;
        }
        Ok(())
    }
}

impl Serialize for Uuid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guids() {
        assert_eq!(
            Guid::parse("0200c0ffee000001"),
            Some(Guid(0x0200_c0ff_ee00_0001))
        );
        assert_eq!(
            Guid::parse("0x0200c0ffee000001"),
            Some(Guid(0x0200_c0ff_ee00_0001))
        );
        assert_eq!(Guid(1).to_string(), "0000000000000001");
        for bad in [
            "",
            "1",
            "+200c0ffee000001",
            "0200c0ffee0000012",
            "0200:c0ff:ee00:1",
        ] {
            assert_eq!(Guid::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn service_ids() {
        let id = ServiceId::new(0x0106_15b3);
        assert_eq!(
            id.map(|id| id.to_string()).as_deref(),
            Some("00000000010615b3")
        );
        assert!(ServiceId::new(0x013f_0001).is_some());
        for bad in [0, 0x0106_0000, 0x0107_0001, 0x1_0106_0001, u64::MAX] {
            assert_eq!(ServiceId::new(bad), None, "{bad:x}");
        }
    }

    #[test]
    fn naa_designators() {
        for (text, length) in [
            ("3123456789abcdef", 8),
            ("5000c50012345678", 8),
            ("2000000000000001", 8),
            ("600508b1001c4d5e6f708192a3b4c5d6", 16),
        ] {
            let naa = Naa::parse(text).expect(text);
            assert_eq!(naa.bytes().len(), length);
            assert_eq!(naa.to_string(), text);
            assert_eq!(Naa::parse(&format!("naa.{text}")), Some(naa));
        }
        for bad in [
            "",
            "4123456789abcdef",
            "6123456789abcdef",
            "3123",
            "3123456789abcdeg",
        ] {
            assert_eq!(Naa::parse(bad), None, "{bad}");
        }
        assert_eq!(Naa::local(u64::MAX).to_string(), "3fffffffffffffff");
        assert_eq!(Naa::local(0).bytes(), [0x30, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn uuids() {
        let text = "f81d4fae-7dec-81d0-a765-00a0c91e6bf6";
        assert_eq!(
            Uuid::parse(text).map(|uuid| uuid.to_string()).as_deref(),
            Some(text)
        );
        for bad in [
            "",
            "f81d4fae7dec81d0a76500a0c91e6bf6",
            "f81d4fae-7dec-81d0-a765-00a0c91e6bfg",
        ] {
            assert_eq!(Uuid::parse(bad), None, "{bad}");
        }
        assert_eq!(
            Uuid::custom(0).to_string(),
            "00000000-0000-8000-8000-000000000000"
        );
        assert_eq!(
            Uuid::custom(u128::MAX).to_string(),
            "ffffffff-ffff-8fff-bfff-ffffffffffff"
        );
    }
}
