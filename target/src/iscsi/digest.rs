//! Header and data digests: CRC32C (RFC 7143 section 13.1).

use pagecast_memory::Slice;

/// Bytes of a digest on the wire.
pub const DIGEST: usize = 4;

/// Bytes copied at a time out of memory that cannot be looked at in place.
const STEP: usize = 2048;

/// The digest of bytes that come in pieces.
#[derive(Clone, Copy, Debug, Default)]
pub struct Digest(u32);

impl Digest {
    /// The digest of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> [u8; DIGEST] {
        let mut digest = Self::new();
        digest.update(bytes);
        digest.value()
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0 = crc32c::crc32c_append(self.0, bytes);
    }

    /// Adds the bytes of a slice.
    pub fn update_slice(&mut self, slice: &Slice) {
        let mut copy = [0; STEP];
        let mut at = 0;
        while at < slice.len() {
            let length = STEP.min(slice.len() - at);
            // It lies inside, by the line above.
            if slice.read(at, &mut copy[..length]).is_err() {
                return;
            }
            self.update(&copy[..length]);
            at += length;
        }
    }

    /// As it is sent: the lowest byte first.
    pub fn value(self) -> [u8; DIGEST] {
        self.0.to_le_bytes()
    }
}

/// Bytes of padding behind `length` bytes of data (RFC 7143 section 11.7.7: to whole four-byte words).
pub fn padding(length: usize) -> usize {
    length.wrapping_neg() % 4
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pagecast_memory::Anonymous;

    use super::*;

    /// RFC 7143 appendix A.4 (RFC 3720 appendix B.4).
    #[test]
    fn examples_of_the_standard() {
        let ascending: Vec<u8> = (0..32).collect();
        let descending: Vec<u8> = (0..32).rev().collect();
        let mut command = [0; 48];
        command[0] = 0x01;
        command[1] = 0xc0;
        command[16..20].copy_from_slice(&[0x14, 0, 0, 0]);
        command[22..24].copy_from_slice(&[0x04, 0]);
        command[27] = 0x14;
        command[31] = 0x18;
        command[32] = 0x28;
        command[40] = 0x02;
        let table: [(&[u8], [u8; 4]); 5] = [
            (&[0; 32], [0xaa, 0x36, 0x91, 0x8a]),
            (&[0xff; 32], [0x43, 0xab, 0xa8, 0x62]),
            (&ascending, [0x4e, 0x79, 0xdd, 0x46]),
            (&descending, [0x5c, 0xdb, 0x3f, 0x11]),
            (&command, [0x56, 0x3a, 0x96, 0xd9]),
        ];
        for (bytes, expected) in table {
            assert_eq!(Digest::of(bytes), expected, "{bytes:02x?}");
        }
    }

    #[test]
    fn pieces_make_the_digest_of_the_whole() {
        let bytes: Vec<u8> = (0..10_000_u32).map(|i| (i * 7 / 3) as u8).collect();
        let memory = Slice::whole(Arc::new(Anonymous::new(bytes.len()).unwrap()));
        memory.write(0, &bytes).unwrap();
        let mut digest = Digest::new();
        digest.update(&bytes[..1000]);
        digest.update_slice(&memory.part(1000..9000).unwrap());
        digest.update(&[]);
        digest.update(&bytes[9000..]);
        assert_eq!(digest.value(), Digest::of(&bytes));
    }

    #[test]
    fn data_is_padded_to_words() {
        let paddings: Vec<usize> = (0..6).map(padding).collect();
        assert_eq!(paddings, [0, 3, 2, 1, 0, 3]);
    }
}
