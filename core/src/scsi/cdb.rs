//! A command descriptor block (SAM-5 5.2, SPC-4 4.3).

/// The longest CDB in the command set, in bytes.
pub(crate) const MAX_CDB: usize = 16;

/// A CDB of a known command: at least as long as the command's. What follows that is of no meaning.
///
/// Offsets are the standard's and constant, hence below [`MAX_CDB`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cdb([u8; MAX_CDB]);

impl Cdb {
    /// Takes the CDB from what arrived, if that is long enough for a command with CDBs of `length` bytes.
    pub(crate) fn new(bytes: &[u8], length: usize) -> Option<Self> {
        // Most transports carry this many, whatever the command.
        if let Some(all) = bytes.first_chunk() {
            return Some(Self(*all));
        }
        let bytes = bytes.get(..length.min(MAX_CDB))?;
        let mut cdb = [0; MAX_CDB];
        cdb[..bytes.len()].copy_from_slice(bytes);
        Some(Self(cdb))
    }

    pub(crate) fn byte(&self, at: usize) -> u8 {
        self.0[at]
    }

    pub(crate) fn bit(&self, at: usize, bit: u8) -> bool {
        self.0[at] >> bit & 1 == 1
    }

    pub(crate) fn u16(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.0[at], self.0[at + 1]])
    }

    pub(crate) fn u24(&self, at: usize) -> u32 {
        u32::from_be_bytes([0, self.0[at], self.0[at + 1], self.0[at + 2]])
    }

    pub(crate) fn u32(&self, at: usize) -> u32 {
        u32::from(self.u16(at)) << 16 | u32::from(self.u16(at + 2))
    }

    pub(crate) fn u64(&self, at: usize) -> u64 {
        u64::from(self.u32(at)) << 32 | u64::from(self.u32(at + 4))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_big_endian() {
        let bytes: Vec<u8> = (1..=16).collect();
        let cdb = Cdb::new(&bytes, 16).expect("long enough");
        assert_eq!(cdb.u16(2), 0x0304);
        assert_eq!(cdb.u24(1), 0x02_0304);
        assert_eq!(cdb.u32(2), 0x0304_0506);
        assert_eq!(cdb.u64(8), 0x090a_0b0c_0d0e_0f10);
        assert!(cdb.bit(0, 0) && !cdb.bit(0, 1));
    }

    #[test]
    fn too_short_is_no_cdb() {
        assert!(Cdb::new(&[0; 9], 10).is_none());
        let cdb = Cdb::new(&[0xff; 12], 10).expect("long enough");
        assert_eq!((cdb.byte(9), cdb.byte(10)), (0xff, 0));
        let whole = Cdb::new(&[7; 32], 6).expect("long enough");
        assert_eq!(whole.byte(5), 7);
    }
}
