//! I/O commands (NVM command set 1.0 section 3).

use super::command::{Command, Data};

/// Opcodes.
pub mod opcode {
    /// Flush
    pub const FLUSH: u8 = 0x00;
    /// Write
    pub const WRITE: u8 = 0x01;
    /// Read
    pub const READ: u8 = 0x02;
    /// Write Uncorrectable
    pub const WRITE_UNCORRECTABLE: u8 = 0x04;
    /// Compare
    pub const COMPARE: u8 = 0x05;
    /// Write Zeroes
    pub const WRITE_ZEROES: u8 = 0x08;
    /// Dataset Management
    pub const DATASET_MANAGEMENT: u8 = 0x09;
    /// Verify
    pub const VERIFY: u8 = 0x0c;
    /// Copy
    pub const COPY: u8 = 0x19;
}

/// A range of blocks, for Dataset Management and Copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks {
    /// The first.
    pub lba: u64,
    /// How many; at least one.
    pub count: u32,
}

/// A command over blocks: dwords 10 and 11 say where, the lower half of 12 how many, less one.
pub fn over(opcode: u8, nsid: u32, lba: u64, blocks: u32) -> Command {
    let count = blocks.wrapping_sub(1) & 0xffff;
    Command::new(opcode, nsid).quad(10, lba).dword(12, count)
}

/// Reads blocks into `data`.
pub fn read(nsid: u32, lba: u64, blocks: u32, data: Data) -> Command {
    over(opcode::READ, nsid, lba, blocks).with(data)
}

/// Writes blocks from `data`.
pub fn write(nsid: u32, lba: u64, blocks: u32, data: Data) -> Command {
    over(opcode::WRITE, nsid, lba, blocks).with(data)
}

/// Compares blocks with `data`.
pub fn compare(nsid: u32, lba: u64, blocks: u32, data: Data) -> Command {
    over(opcode::COMPARE, nsid, lba, blocks).with(data)
}

/// Makes everything durable that was written.
pub fn flush(nsid: u32) -> Command {
    Command::new(opcode::FLUSH, nsid)
}

/// Writes zeroes, and perhaps deallocates.
pub fn write_zeroes(nsid: u32, lba: u64, blocks: u32, deallocate: bool) -> Command {
    let mut command = over(opcode::WRITE_ZEROES, nsid, lba, blocks);
    if deallocate {
        command.entry.0[51] |= 0x02;
    }
    command
}

/// Reads blocks and sends nothing.
pub fn verify(nsid: u32, lba: u64, blocks: u32) -> Command {
    over(opcode::VERIFY, nsid, lba, blocks)
}

/// Deallocates ranges, whose [`dataset_ranges`] are in `data`.
pub fn deallocate(nsid: u32, ranges: usize, data: Data) -> Command {
    let count = (ranges as u32).wrapping_sub(1) & 0xff;
    Command::new(opcode::DATASET_MANAGEMENT, nsid)
        .dword(10, count)
        .dword(11, 1 << 2)
        .with(data)
}

/// Ranges for Dataset Management (NVM command set 1.0 figure 40).
pub fn dataset_ranges(ranges: &[Blocks]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ranges.len() * 16);
    for range in ranges {
        bytes.extend([0; 4]);
        bytes.extend(range.count.to_le_bytes());
        bytes.extend(range.lba.to_le_bytes());
    }
    bytes
}

/// Copies ranges, whose [`copy_ranges`] are in `data`, to `lba` one after the other.
pub fn copy(nsid: u32, lba: u64, ranges: usize, data: Data) -> Command {
    let count = (ranges as u32).wrapping_sub(1) & 0xff;
    Command::new(opcode::COPY, nsid)
        .quad(10, lba)
        .dword(12, count)
        .with(data)
}

/// Source ranges for Copy, format 0h (NVM command set 1.0 figure 29).
pub fn copy_ranges(ranges: &[Blocks]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ranges.len() * 32);
    for range in ranges {
        bytes.extend([0; 8]);
        bytes.extend(range.lba.to_le_bytes());
        bytes.extend((range.count.wrapping_sub(1) as u16).to_le_bytes());
        bytes.extend([0; 14]);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_the_standard_has_them() {
        let command = write(7, 0x1_0000_0002, 8, Data::None).force_unit_access();
        let entry = command.entry.0;
        assert_eq!((entry[0], entry[4]), (1, 7));
        assert_eq!(entry[40..48], [2, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(entry[48..52], [7, 0, 0, 0x40]);
        let zeroes = write_zeroes(1, 0, 0x1_0000, true).entry.0;
        assert_eq!(zeroes[48..52], [0xff, 0xff, 0, 2]);
        let range = Blocks { lba: 5, count: 3 };
        assert_eq!(
            dataset_ranges(&[range]),
            [0, 0, 0, 0, 3, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]
        );
        let source = copy_ranges(&[range]);
        assert_eq!((source.len(), source[8], source[16]), (32, 5, 2));
        assert_eq!(copy(1, 9, 2, Data::None).entry.0[48], 1);
    }
}
