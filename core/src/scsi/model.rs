//! What a disk is: everything about it that does not change while it is in use.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The description of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskModel {
    /// Who it is.
    pub identity: Identity,
    /// Bytes in a logical block: 512 or 4096.
    pub block_size: u32,
    /// Logical blocks per physical block, as a power of two.
    pub physical_exponent: u8,
    /// Logical blocks at first.
    pub capacity: u64,
    /// Nobody may write.
    pub read_only: bool,
    /// Whether writes may stay in a volatile cache, until MODE SELECT says otherwise.
    pub write_cache: bool,
    /// The medium spins.
    pub rotational: bool,
    /// Present if blocks can be deallocated.
    pub provisioning: Option<Provisioning>,
    /// How much one command may do.
    pub limits: Limits,
    /// What initiators should wait for a command, in seconds. 0 if that is not known.
    pub command_timeout: u32,
    /// Relative identifiers of all target ports that the disk is seen through at first. That of a session's own port may be left out.
    pub ports: Vec<u16>,
}

impl DiskModel {
    /// A fully provisioned disk with a write cache and moderate limits.
    pub fn new(identity: Identity, block_size: u32, capacity: u64) -> Self {
        Self {
            identity,
            block_size,
            physical_exponent: 0,
            capacity,
            read_only: false,
            write_cache: true,
            rotational: false,
            provisioning: None,
            limits: Limits::default(),
            command_timeout: 30,
            ports: Vec::new(),
        }
    }

    /// Whether the description makes sense, and will not make an initiator's kernel complain.
    pub(crate) fn check(&self) -> Result<(), ModelError> {
        if !matches!(self.block_size, 512 | 4096) {
            return Err(ModelError::BlockSize(self.block_size));
        }
        if self.physical_exponent > 15 {
            return Err(ModelError::PhysicalExponent(self.physical_exponent));
        }
        if self.capacity == 0 || self.capacity.checked_mul(self.block_size.into()).is_none() {
            return Err(ModelError::Capacity(self.capacity));
        }
        // Linux warns about an optimal transfer length that is odd or that it may not use.
        let Limits {
            max_transfer_blocks: max,
            optimal_transfer_blocks: optimal,
            ..
        } = self.limits;
        let odd = optimal % (1 << self.physical_exponent) != 0;
        let small = u64::from(optimal) * u64::from(self.block_size) < 4096;
        let large = optimal > 0xffff || (max != 0 && optimal > max);
        if optimal != 0 && (odd || small || large) {
            return Err(ModelError::OptimalTransfer(optimal));
        }
        self.identity.check()
    }
}

/// Who a disk is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// T10 vendor identification.
    pub vendor: [u8; 8],
    /// Product identification, padded with spaces.
    pub product: [u8; 16],
    /// Product revision level, padded with spaces.
    pub revision: [u8; 4],
    /// Unit serial number: 1 to 64 printable ASCII characters.
    pub serial: String,
    /// Name that no other disk has.
    pub naa: Naa,
    /// The same as a UUID.
    pub uuid: Option<[u8; 16]>,
}

impl Identity {
    /// A pagecast disk.
    pub fn new(serial: impl Into<String>, naa: Naa) -> Self {
        Self {
            vendor: *b"PAGECAST",
            product: *b"DISK            ",
            revision: *b"0001",
            serial: serial.into(),
            naa,
            uuid: None,
        }
    }

    fn check(&self) -> Result<(), ModelError> {
        let printable = |bytes: &[u8]| bytes.iter().all(|byte| matches!(byte, 0x20..=0x7e));
        let serial = self.serial.as_bytes();
        if !(1..=64).contains(&serial.len()) || !printable(serial) {
            return Err(ModelError::Serial(self.serial.clone()));
        }
        if !printable(&self.vendor) || !printable(&self.product) || !printable(&self.revision) {
            return Err(ModelError::Product);
        }
        Ok(())
    }
}

/// An NAA name (SPC-4 7.8): 8 bytes, or 16 for an IEEE registered extended one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Naa {
    bytes: [u8; 16],
    length: usize,
}

impl Naa {
    /// Takes a name whose first half byte says what kind it is: 2h, 3h and 5h have 8 bytes, 6h has 16.
    pub fn new(name: &[u8]) -> Result<Self, ModelError> {
        let length = match name.first().map(|byte| byte >> 4) {
            Some(2 | 3 | 5) => 8,
            Some(6) => 16,
            _ => return Err(ModelError::Naa),
        };
        if name.len() != length {
            return Err(ModelError::Naa);
        }
        let mut bytes = [0; 16];
        bytes[..length].copy_from_slice(name);
        Ok(Self { bytes, length })
    }

    /// A locally assigned name (NAA 3h) from 60 bits; the upper four are ignored.
    pub fn local(name: u64) -> Self {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&(name & !(0xf << 60) | 0x3 << 60).to_be_bytes());
        Self { bytes, length: 8 }
    }

    /// The bytes of the name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl FromStr for Naa {
    type Err = ModelError;

    /// Parses hexadecimal digits, after `naa.` or `0x` if there is one.
    fn from_str(text: &str) -> Result<Self, ModelError> {
        let digits = text
            .strip_prefix("naa.")
            .or_else(|| text.strip_prefix("0x"))
            .unwrap_or(text);
        let mut bytes = [0; 16];
        let length = digits.len() / 2;
        let fits = matches!(digits.len(), 16 | 32);
        if !fits || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(ModelError::Naa);
        }
        let value = u128::from_str_radix(digits, 16).map_err(|_| ModelError::Naa)?;
        bytes[..length].copy_from_slice(&value.to_be_bytes()[16 - length..]);
        Self::new(&bytes[..length])
    }
}

impl fmt::Display for Naa {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes()
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Naa {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Naa({self})")
    }
}

/// How blocks are deallocated (SBC-3 4.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provisioning {
    /// Deallocated blocks read as zeros.
    pub zeroes: bool,
    /// Blocks in the smallest range that is worth deallocating. 0 if unknown.
    pub granularity_blocks: u32,
    /// Most blocks that one UNMAP may name.
    pub max_unmap_blocks: u32,
    /// Most ranges that one UNMAP may have.
    pub max_unmap_descriptors: u32,
}

impl Default for Provisioning {
    fn default() -> Self {
        Self {
            zeroes: true,
            granularity_blocks: 0,
            // Test suites distrust more, short of "no limit".
            max_unmap_blocks: 1 << 20,
            max_unmap_descriptors: 256,
        }
    }
}

/// How much one command may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most blocks that one command may transfer. 0 if there is no limit.
    pub max_transfer_blocks: u32,
    /// Blocks in a transfer that suits the disk best. 0 if there is no such thing.
    pub optimal_transfer_blocks: u32,
    /// Most blocks that one WRITE SAME may write. 0 if there is no WRITE SAME.
    pub max_write_same_blocks: u32,
    /// Most blocks that one COMPARE AND WRITE may compare; less if twice as many are too long a transfer. 0 if there is no
    /// such command.
    pub max_compare_and_write_blocks: u8,
    /// Most blocks that are written whole or not at all. 0 if there is no WRITE ATOMIC.
    pub max_atomic_blocks: u32,
    /// Most registrations of persistent reservations. 0 if it can hold no reservation.
    pub max_registrants: u32,
}

impl Limits {
    /// Whether it can hold reservations at all.
    pub(crate) fn can_reserve(&self) -> bool {
        self.max_registrants != 0
    }

    /// MAXIMUM COMPARE AND WRITE LENGTH (SBC-3): both halves of the data have to fit into one transfer.
    pub fn compare_and_write_blocks(&self) -> u8 {
        match self.max_transfer_blocks / 2 {
            0 if self.max_transfer_blocks == 0 => self.max_compare_and_write_blocks,
            half => u8::try_from(half)
                .unwrap_or(u8::MAX)
                .min(self.max_compare_and_write_blocks),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_transfer_blocks: 32768,
            optimal_transfer_blocks: 0,
            max_write_same_blocks: 0,
            max_compare_and_write_blocks: u8::MAX,
            max_atomic_blocks: 0,
            max_registrants: 4096,
        }
    }
}

/// A description that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ModelError {
    /// Neither 512 nor 4096.
    #[error("block size {0} is neither 512 nor 4096")]
    BlockSize(u32),
    /// More than the field holds.
    #[error("a physical block of 2^{0} logical blocks is too large")]
    PhysicalExponent(u8),
    /// Nothing, or more bytes than can be counted.
    #[error("a capacity of {0} blocks is not possible")]
    Capacity(u64),
    /// Linux would not use it, and say so.
    #[error(
        "an optimal transfer of {0} blocks must be at least 4096 bytes, at most 65535 blocks, whole physical blocks, and within the maximum"
    )]
    OptimalTransfer(u32),
    /// Empty, too long, or not printable.
    #[error("serial number {0:?} is not 1 to 64 printable ASCII characters")]
    Serial(String),
    /// Not printable.
    #[error("vendor, product and revision must be printable ASCII characters")]
    Product,
    /// Wrong length or kind.
    #[error("an NAA name is 16 hexadecimal digits starting with 2, 3 or 5, or 32 starting with 6")]
    Naa,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> DiskModel {
        DiskModel::new(Identity::new("1", Naa::local(1)), 512, 1000)
    }

    #[test]
    fn naa_names() {
        assert_eq!(
            Naa::local(0xf000_0000_0000_0012).to_string(),
            "3000000000000012"
        );
        let long = "naa.60014051234567890abcdef012345678"
            .parse::<Naa>()
            .expect("valid");
        assert_eq!(long.as_bytes().len(), 16);
        assert_eq!(long.to_string(), "60014051234567890abcdef012345678");
        assert_eq!(
            "0x5000c50012345678"
                .parse::<Naa>()
                .expect("valid")
                .as_bytes()
                .len(),
            8
        );
        for bad in [
            "",
            "naa.",
            "5000c5001234567",
            "6000c50012345678",
            "4000c50012345678",
            "+000c50012345678",
            "30000000000000000000000000000000",
            "300000000000000g",
        ] {
            assert_eq!(bad.parse::<Naa>(), Err(ModelError::Naa), "{bad}");
        }
    }

    #[test]
    fn descriptions_are_checked() {
        assert_eq!(model().check(), Ok(()));
        assert_eq!(
            DiskModel {
                block_size: 520,
                ..model()
            }
            .check(),
            Err(ModelError::BlockSize(520))
        );
        assert_eq!(
            DiskModel {
                capacity: 0,
                ..model()
            }
            .check(),
            Err(ModelError::Capacity(0))
        );
        assert!(
            DiskModel {
                capacity: u64::MAX,
                ..model()
            }
            .check()
            .is_err()
        );
        assert!(
            DiskModel {
                physical_exponent: 16,
                ..model()
            }
            .check()
            .is_err()
        );
        assert!(
            DiskModel {
                identity: Identity::new("", Naa::local(1)),
                ..model()
            }
            .check()
            .is_err()
        );
        assert!(
            DiskModel {
                identity: Identity::new("\u{e9}", Naa::local(1)),
                ..model()
            }
            .check()
            .is_err()
        );
    }

    #[test]
    fn both_halves_of_a_compare_and_write_fit_into_a_transfer() {
        let blocks = |max_transfer_blocks, max_compare_and_write_blocks| {
            let limits = Limits {
                max_transfer_blocks,
                max_compare_and_write_blocks,
                ..Limits::default()
            };
            limits.compare_and_write_blocks()
        };
        for (transfer, most, expected) in [
            (0, 255, 255),
            (32768, 255, 255),
            (511, 255, 255),
            (509, 255, 254),
            (1, 255, 0),
            (32768, 0, 0),
        ] {
            assert_eq!(blocks(transfer, most), expected, "{transfer} {most}");
        }
    }

    #[test]
    fn optimal_transfers_that_linux_would_warn_about_are_refused() {
        let optimal = |blocks, physical_exponent| {
            let limits = Limits {
                optimal_transfer_blocks: blocks,
                ..Limits::default()
            };
            DiskModel {
                limits,
                physical_exponent,
                ..model()
            }
            .check()
        };
        assert_eq!(optimal(2048, 3), Ok(()));
        assert!(optimal(7, 0).is_err());
        assert!(optimal(2049, 3).is_err());
        assert!(optimal(65536, 3).is_err());
        assert!(optimal(32768 + 8, 3).is_err());
    }
}
