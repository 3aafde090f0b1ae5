//! Logical unit numbers (SAM-5 4.7), single level.

/// Whom a command is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lun {
    /// A number in the LUN map, however it was addressed.
    Unit(u32),
    /// The REPORT LUNS well-known logical unit.
    ReportLuns,
    /// An address that cannot be one of ours.
    Unknown,
}

/// The REPORT LUNS well-known logical unit (SPC-4).
pub(crate) const REPORT_LUNS_ADDRESS: [u8; 8] = [0xc1, 0x01, 0, 0, 0, 0, 0, 0];

impl Lun {
    /// Numbers in a LUN map are below this: what the extended flat method holds.
    pub const LIMIT: u32 = 1 << 24;

    /// Decodes the eight bytes of a LUN field.
    pub fn decode(lun: [u8; 8]) -> Self {
        let [first, second, third, fourth, rest @ ..] = lun;
        let single_level = rest == [0; 4];
        let short = single_level && third == 0 && fourth == 0;
        match first >> 6 {
            // Peripheral device addressing (SAM-5 4.7), bus 0.
            0 if short && first == 0 => Self::Unit(second.into()),
            // Flat space addressing (SAM-5 4.7).
            1 if short => Self::Unit(u32::from(first & 0x3f) << 8 | u32::from(second)),
            3 if lun == REPORT_LUNS_ADDRESS => Self::ReportLuns,
            // Extended flat space addressing (SAM-5 4.7): length 01b, method 2h.
            3 if single_level && first == 0xd2 => {
                Self::Unit(u32::from_be_bytes([0, second, third, fourth]))
            }
            _ => Self::Unknown,
        }
    }

    /// The address that REPORT LUNS reports for a number below [`Self::LIMIT`]: the shortest form.
    pub fn encode(number: u32) -> [u8; 8] {
        let [_, high, middle, low] = number.to_be_bytes();
        match number {
            0..=0xff => [0, low, 0, 0, 0, 0, 0, 0],
            0x100..=0x3fff => [0x40 | middle, low, 0, 0, 0, 0, 0, 0],
            _ => [0xd2, high, middle, low, 0, 0, 0, 0],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addressing_methods() {
        let cases: [([u8; 8], Lun); 14] = [
            ([0, 0, 0, 0, 0, 0, 0, 0], Lun::Unit(0)),
            ([0, 255, 0, 0, 0, 0, 0, 0], Lun::Unit(255)),
            ([1, 3, 0, 0, 0, 0, 0, 0], Lun::Unknown),
            ([0, 3, 0, 1, 0, 0, 0, 0], Lun::Unknown),
            ([0x40, 0, 0, 0, 0, 0, 0, 0], Lun::Unit(0)),
            ([0x41, 2, 0, 0, 0, 0, 0, 0], Lun::Unit(258)),
            ([0x7f, 0xff, 0, 0, 0, 0, 0, 0], Lun::Unit(16383)),
            ([0x40, 0, 0, 0, 0, 0, 0, 1], Lun::Unknown),
            ([0x80, 0, 0, 0, 0, 0, 0, 0], Lun::Unknown),
            ([0xc1, 1, 0, 0, 0, 0, 0, 0], Lun::ReportLuns),
            ([0xc1, 2, 0, 0, 0, 0, 0, 0], Lun::Unknown),
            ([0xd2, 1, 2, 3, 0, 0, 0, 0], Lun::Unit(0x01_0203)),
            ([0xd2, 1, 2, 3, 4, 0, 0, 0], Lun::Unknown),
            ([0xff; 8], Lun::Unknown),
        ];
        for (bytes, lun) in cases {
            assert_eq!(Lun::decode(bytes), lun, "{bytes:02x?}");
        }
    }

    #[test]
    fn what_is_reported_is_understood() {
        for number in [0, 1, 255, 256, 300, 16383, 16384, Lun::LIMIT - 1] {
            assert_eq!(Lun::decode(Lun::encode(number)), Lun::Unit(number));
        }
    }
}
