//! Submission queue entries (NVMe base 2.0 section 3.3.3.1).

/// Bytes in a submission queue entry.
pub const SQE_SIZE: usize = 64;

/// A submission queue entry without its data pointer, which only the transport understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// What to do; its lower two bits say which way data go.
    pub opcode: u8,
    /// Whether it is half of a fused operation.
    pub fuse: Fuse,
    /// The host's name for it.
    pub cid: u16,
    /// The namespace.
    pub nsid: u32,
    /// Dwords 2 and 3.
    pub cdw2: [u32; 2],
    /// Dwords 10 to 15.
    pub cdw10: [u32; 6],
    /// Bytes that the data pointer names, whichever way they go.
    pub data_length: u32,
}

/// Fused operation (NVMe base 2.0, figure 87).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fuse {
    /// A command of its own.
    Normal,
    /// The first of two.
    First,
    /// The second of two.
    Second,
    /// Not defined.
    Reserved,
}

impl Command {
    /// Reads an entry. The transport has understood its data pointer already.
    #[inline]
    pub fn parse(entry: &[u8; SQE_SIZE], data_length: u32) -> Self {
        let dword = |number: usize| {
            let at = number * 4;
            u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]])
        };
        Self {
            opcode: entry[0],
            fuse: match entry[1] & 3 {
                0 => Fuse::Normal,
                1 => Fuse::First,
                2 => Fuse::Second,
                _ => Fuse::Reserved,
            },
            cid: u16::from_le_bytes([entry[2], entry[3]]),
            nsid: dword(1),
            cdw2: [dword(2), dword(3)],
            // Written out, since this is on the way of every command.
            cdw10: [
                dword(10),
                dword(11),
                dword(12),
                dword(13),
                dword(14),
                dword(15),
            ],
            data_length,
        }
    }

    /// Dword 10 to 15, by its number.
    #[inline]
    pub fn cdw<const NUMBER: usize>(&self) -> u32 {
        const {
            assert!(
                NUMBER >= 10 && NUMBER <= 15,
                "dwords 10 to 15 are the command's"
            );
        };
        self.cdw10[NUMBER - 10]
    }

    /// Starting LBA of I/O commands: dwords 10 and 11.
    #[inline]
    pub fn slba(&self) -> u64 {
        u64::from(self.cdw::<10>()) | u64::from(self.cdw::<11>()) << 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_little_endian() {
        let mut entry = [0; SQE_SIZE];
        entry[0] = 0x02;
        entry[1] = 0x41;
        entry[2..4].copy_from_slice(&0x1234u16.to_le_bytes());
        entry[4..8].copy_from_slice(&7u32.to_le_bytes());
        entry[40..48].copy_from_slice(&0x1_0000_0002u64.to_le_bytes());
        entry[60..64].copy_from_slice(&9u32.to_le_bytes());
        let command = Command::parse(&entry, 4096);
        assert_eq!(command.opcode, 2);
        assert_eq!(command.fuse, Fuse::First);
        assert_eq!((command.cid, command.nsid), (0x1234, 7));
        assert_eq!(command.slba(), 0x1_0000_0002);
        assert_eq!(command.cdw::<15>(), 9);
        assert_eq!(command.data_length, 4096);
    }
}
