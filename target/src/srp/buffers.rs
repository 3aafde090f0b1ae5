//! Data buffer descriptors: where in the initiator's memory the data of a command is (SRP r16a 6.8).

use std::ops::Range;

use pagecast_rdma::fabric::RemoteBuffer;
use thiserror::Error;

use super::iu::Refusal;
use super::wire::{array, be32, be64};

/// Bytes of one memory descriptor.
pub const DESCRIPTOR_SIZE: usize = 16;

/// Most entries of a descriptor table that we take, in the information unit or in initiator memory. 64 KiB of table; at one page
/// an entry that is 16 MiB of data, more than any initiator is known to put into one command.
pub const MAX_TABLE_ENTRIES: u32 = 4096;

/// Bytes of an indirect descriptor before its list: a memory descriptor of the table, and the total length.
const INDIRECT_HEADER: usize = 20;
/// Bytes of an immediate data descriptor.
const IMMEDIATE_DESCRIPTOR: usize = 4;

/// The data of a command, and which way it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data<'a> {
    /// No data.
    None,
    /// From the initiator to us.
    Out(DataBuffer<'a>),
    /// From us to the initiator.
    In(DataBuffer<'a>),
}

impl Data<'_> {
    /// Bytes that the initiator provides for data out.
    pub fn out_length(&self) -> u32 {
        match self {
            Self::Out(buffer) => buffer.length(),
            _ => 0,
        }
    }

    /// Bytes that the initiator provides for data in.
    pub fn in_length(&self) -> u32 {
        match self {
            Self::In(buffer) => buffer.length(),
            _ => 0,
        }
    }
}

/// Where the data of one direction is. A buffer without bytes is always `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataBuffer<'a> {
    /// There is none.
    None,
    /// In one piece of initiator memory.
    Direct(RemoteBuffer),
    /// In several pieces of initiator memory.
    Indirect(Indirect<'a>),
    /// In the information unit itself, at this range of the bytes that arrived. Data out only.
    Immediate(Range<usize>),
}

impl DataBuffer<'_> {
    /// Bytes in it.
    pub fn length(&self) -> u32 {
        match self {
            Self::None => 0,
            Self::Direct(buffer) => buffer.length,
            Self::Indirect(indirect) => indirect.total,
            // The range lies inside an information unit, whose length came as a `u32`.
            Self::Immediate(range) => u32::try_from(range.len()).unwrap_or(u32::MAX),
        }
    }
}

/// An indirect data buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Indirect<'a> {
    /// Bytes in all pieces together.
    pub total: u32,
    /// The pieces listed in the information unit: all of them, in order, unless there is a `table`; else the first few.
    pub descriptors: Descriptors<'a>,
    /// The whole table in initiator memory, when the information unit has only a part of it. Its length is a multiple of
    /// [`DESCRIPTOR_SIZE`] and at most [`MAX_TABLE_ENTRIES`] entries. Fetch it with RDMA READ, then
    /// [`parse_descriptor_table`].
    pub table: Option<RemoteBuffer>,
}

/// Memory descriptors, in order, without those that have no bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptors<'a> {
    bytes: &'a [u8],
}

impl Descriptors<'_> {
    /// Sum of the lengths; cannot overflow, since the number of entries is bounded by the bytes.
    fn total(&self) -> u64 {
        self.clone().map(|buffer| u64::from(buffer.length)).sum()
    }
}

impl Iterator for Descriptors<'_> {
    type Item = RemoteBuffer;

    fn next(&mut self) -> Option<RemoteBuffer> {
        loop {
            let (first, rest) = self.bytes.split_at_checked(DESCRIPTOR_SIZE)?;
            self.bytes = rest;
            let buffer = descriptor(first, 0)?;
            if buffer.length > 0 {
                return Some(buffer);
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.bytes.len() / DESCRIPTOR_SIZE))
    }
}

/// A descriptor that cannot be used. All of them are answered with a CHECK CONDITION: the request itself was readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BufferError {
    /// The bytes that arrived end before the descriptor or the immediate data does.
    #[error("information unit ends inside its data buffer descriptor")]
    TooShort,
    /// A format that SRP does not define, or immediate data as data in.
    #[error("unknown data buffer descriptor format {0:#x}")]
    UnknownFormat(u8),
    /// Data out and data in at once; no command that we serve has both.
    #[error("data buffers in both directions")]
    Bidirectional,
    /// Immediate data on a channel whose login did not agree on it.
    #[error("immediate data was not negotiated")]
    ImmediateNotNegotiated,
    /// Immediate data that would start before its descriptor ends.
    #[error("immediate data overlaps the command")]
    ImmediateOverlap,
    /// The table is not a whole number of descriptors.
    #[error("descriptor table of {0} bytes")]
    TableLength(u32),
    /// The table has more entries than we take.
    #[error("descriptor table of {0} entries")]
    TableTooLong(u32),
    /// The pieces do not add up to the announced total.
    #[error("descriptors hold {sum} bytes of {total}")]
    Total {
        /// What the pieces hold.
        sum: u64,
        /// What was announced.
        total: u32,
    },
}

impl BufferError {
    /// How to answer the command.
    pub fn refusal(self) -> Refusal {
        match self {
            Self::TooShort => Refusal::IU_TOO_SHORT,
            _ => Refusal::INVALID_FIELD_IN_IU,
        }
    }
}

/// Parses a descriptor table that was fetched from initiator memory; `total` is what the command announced.
pub fn parse_descriptor_table(bytes: &[u8], total: u32) -> Result<Descriptors<'_>, BufferError> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    table_entries(length)?;
    let descriptors = Descriptors { bytes };
    match descriptors.total() {
        sum if sum == u64::from(total) => Ok(descriptors),
        sum => Err(BufferError::Total { sum, total }),
    }
}

/// Where in a command its descriptors are, and what its header says about them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header<'a> {
    /// Everything that arrived.
    pub(super) bytes: &'a [u8],
    /// First byte after the additional CDB.
    pub(super) at: usize,
    /// Format byte: data out in the high nibble, data in in the low one.
    pub(super) formats: u8,
    /// Descriptors of data out in the information unit.
    pub(super) out_count: u8,
    /// Descriptors of data in in the information unit.
    pub(super) in_count: u8,
}

impl<'a> Header<'a> {
    /// Reads the descriptors. `immediate` is the offset of immediate data that login agreed on.
    pub(super) fn data(&self, immediate: Option<u16>) -> Result<Data<'a>, BufferError> {
        let (out_format, in_format) = (self.formats >> 4, self.formats & 0x0f);
        match (out_format, in_format) {
            (0, 0) => Ok(Data::None),
            (3, 0) => Ok(match self.immediate(immediate)? {
                DataBuffer::None => Data::None,
                buffer => Data::Out(buffer),
            }),
            (_, 0) => Ok(match self.remote(out_format, self.out_count)? {
                DataBuffer::None => Data::None,
                buffer => Data::Out(buffer),
            }),
            (0, _) => Ok(match self.remote(in_format, self.in_count)? {
                DataBuffer::None => Data::None,
                buffer => Data::In(buffer),
            }),
            _ => Err(BufferError::Bidirectional),
        }
    }

    fn remote(&self, format: u8, count: u8) -> Result<DataBuffer<'a>, BufferError> {
        match format {
            1 => {
                let buffer = descriptor(self.bytes, self.at).ok_or(BufferError::TooShort)?;
                Ok(match buffer.length {
                    0 => DataBuffer::None,
                    _ => DataBuffer::Direct(buffer),
                })
            }
            2 => self.indirect(count),
            other => Err(BufferError::UnknownFormat(other)),
        }
    }

    fn indirect(&self, count: u8) -> Result<DataBuffer<'a>, BufferError> {
        let table = descriptor(self.bytes, self.at).ok_or(BufferError::TooShort)?;
        let total = be32(self.bytes, self.at + DESCRIPTOR_SIZE).ok_or(BufferError::TooShort)?;
        let entries = table_entries(table.length)?;
        // Initiators that announce more descriptors than their table has are read by the table, as other targets do.
        let listed = u32::from(count).min(entries);
        let start = self.at + INDIRECT_HEADER;
        let end = start + listed as usize * DESCRIPTOR_SIZE;
        let descriptors = Descriptors {
            bytes: self.bytes.get(start..end).ok_or(BufferError::TooShort)?,
        };
        let sum = descriptors.total();
        let partial = listed < entries;
        if sum > u64::from(total) || (!partial && sum != u64::from(total)) {
            return Err(BufferError::Total { sum, total });
        }
        if total == 0 {
            return Ok(DataBuffer::None);
        }
        Ok(DataBuffer::Indirect(Indirect {
            total,
            descriptors,
            table: partial.then_some(table),
        }))
    }

    fn immediate(&self, offset: Option<u16>) -> Result<DataBuffer<'a>, BufferError> {
        let start = usize::from(offset.ok_or(BufferError::ImmediateNotNegotiated)?);
        let length = be32(self.bytes, self.at).ok_or(BufferError::TooShort)?;
        if self.at + IMMEDIATE_DESCRIPTOR > start {
            return Err(BufferError::ImmediateOverlap);
        }
        if length == 0 {
            return Ok(DataBuffer::None);
        }
        // In 64 bits: a length close to 2^32 must not wrap around to a small end.
        let end = start as u64 + u64::from(length);
        match usize::try_from(end) {
            Ok(end) if end <= self.bytes.len() => Ok(DataBuffer::Immediate(start..end)),
            _ => Err(BufferError::TooShort),
        }
    }
}

fn table_entries(length: u32) -> Result<u32, BufferError> {
    if !length.is_multiple_of(DESCRIPTOR_SIZE as u32) {
        return Err(BufferError::TableLength(length));
    }
    match length / DESCRIPTOR_SIZE as u32 {
        entries if entries <= MAX_TABLE_ENTRIES => Ok(entries),
        entries => Err(BufferError::TableTooLong(entries)),
    }
}

fn descriptor(bytes: &[u8], at: usize) -> Option<RemoteBuffer> {
    // One bounds check for the three fields.
    let bytes: [u8; DESCRIPTOR_SIZE] = array(bytes, at)?;
    Some(RemoteBuffer {
        address: be64(&bytes, 0)?,
        key: be32(&bytes, 8)?,
        length: be32(&bytes, 12)?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::iu::tests::{command, descriptor};
    use super::super::iu::{Command, InformationUnit};
    use super::*;

    fn parse(bytes: &[u8]) -> Command<'_> {
        match InformationUnit::parse(bytes) {
            Ok(InformationUnit::Command(command)) => command,
            other => panic!("not a command: {other:?}"),
        }
    }

    fn error(bytes: &[u8], immediate: Option<u16>) -> BufferError {
        parse(bytes).data(immediate).unwrap_err()
    }

    fn indirect(count: u8, table_length: u32, total: u32, list: &[(u64, u32, u32)]) -> Vec<u8> {
        let mut bytes = command(0x02, &[]);
        bytes[7] = count;
        bytes.extend(descriptor(0x7000, 9, table_length));
        bytes.extend(total.to_be_bytes());
        for &(address, key, length) in list {
            bytes.extend(descriptor(address, key, length));
        }
        bytes
    }

    #[test]
    fn direct() {
        let mut bytes = command(0x01, &[]);
        bytes.extend(descriptor(0x1122_3344_5566_7788, 0x99aa_bbcc, 4096));
        let expected = RemoteBuffer {
            address: 0x1122_3344_5566_7788,
            key: 0x99aa_bbcc,
            length: 4096,
        };
        assert_eq!(
            parse(&bytes).data(None),
            Ok(Data::In(DataBuffer::Direct(expected)))
        );
        bytes[5] = 0x10;
        let data = parse(&bytes).data(None).unwrap();
        assert_eq!(data, Data::Out(DataBuffer::Direct(expected)));
        assert_eq!((data.out_length(), data.in_length()), (4096, 0));

        // Found behind an additional CDB.
        let mut long = command(0x01, &[0; 16]);
        long.extend(descriptor(0x1122_3344_5566_7788, 0x99aa_bbcc, 4096));
        assert_eq!(
            parse(&long).data(None),
            Ok(Data::In(DataBuffer::Direct(expected)))
        );

        assert_eq!(error(&bytes[..63], None), BufferError::TooShort);
        bytes[60..64].fill(0);
        assert_eq!(parse(&bytes).data(None), Ok(Data::None));
    }

    #[test]
    fn indirect_in_the_unit() {
        let bytes = indirect(3, 48, 12288, &[(1, 2, 4096), (3, 4, 0), (5, 6, 8192)]);
        let Data::In(DataBuffer::Indirect(found)) = parse(&bytes).data(None).unwrap() else {
            panic!("not indirect")
        };
        assert_eq!(found.total, 12288);
        assert_eq!(found.table, None);
        let pieces: Vec<_> = found.descriptors.map(|b| (b.address, b.length)).collect();
        assert_eq!(pieces, [(1, 4096), (5, 8192)]);

        assert_eq!(
            error(&bytes[..bytes.len() - 1], None),
            BufferError::TooShort
        );
        assert_eq!(error(&bytes[..60], None), BufferError::TooShort);
        for total in [12287u32, 12289, 0, u32::MAX] {
            let mut wrong = bytes.clone();
            wrong[64..68].copy_from_slice(&total.to_be_bytes());
            assert_eq!(
                error(&wrong, None),
                BufferError::Total { sum: 12288, total }
            );
        }
        // A sum that would wrap 32 bits to the announced total.
        let wrap = indirect(2, 32, 0, &[(0, 0, 1 << 31), (0, 0, 1 << 31)]);
        assert!(matches!(
            error(&wrap, None),
            BufferError::Total { sum, .. } if sum == 1 << 32
        ));
        assert_eq!(parse(&indirect(0, 0, 0, &[])).data(None), Ok(Data::None));
    }

    #[test]
    fn indirect_with_the_table_in_initiator_memory() {
        let bytes = indirect(1, 32, 8192, &[(1, 2, 4096)]);
        let Data::In(DataBuffer::Indirect(found)) = parse(&bytes).data(None).unwrap() else {
            panic!("not indirect")
        };
        let table = RemoteBuffer {
            address: 0x7000,
            key: 9,
            length: 32,
        };
        assert_eq!(found.table, Some(table));
        assert_eq!(found.descriptors.count(), 1);

        let mut fetched = descriptor(1, 2, 4096).to_vec();
        fetched.extend(descriptor(3, 4, 4096));
        assert_eq!(
            parse_descriptor_table(&fetched, 8192).map(Iterator::count),
            Ok(2)
        );
        assert_eq!(
            parse_descriptor_table(&fetched, 4096),
            Err(BufferError::Total {
                sum: 8192,
                total: 4096
            })
        );
        assert_eq!(
            parse_descriptor_table(&fetched[..31], 8192),
            Err(BufferError::TableLength(31))
        );

        // What is listed already exceeds the total.
        assert!(matches!(
            error(&indirect(1, 32, 4095, &[(1, 2, 4096)]), None),
            BufferError::Total { .. }
        ));
        let entries = MAX_TABLE_ENTRIES + 1;
        assert_eq!(
            error(&indirect(0, entries * 16, 4096, &[]), None),
            BufferError::TableTooLong(entries)
        );
        assert_eq!(
            error(&indirect(0, 24, 4096, &[]), None),
            BufferError::TableLength(24)
        );
    }

    #[test]
    fn immediate() {
        let mut bytes = command(0x30, &[]);
        bytes.extend(5u32.to_be_bytes());
        bytes.resize(68, 0);
        bytes.extend(b"hello");
        assert_eq!(
            parse(&bytes).data(Some(68)),
            Ok(Data::Out(DataBuffer::Immediate(68..73)))
        );
        assert_eq!(error(&bytes, None), BufferError::ImmediateNotNegotiated);
        assert_eq!(error(&bytes, Some(69)), BufferError::TooShort);
        assert_eq!(error(&bytes, Some(51)), BufferError::ImmediateOverlap);
        for length in [6u32, u32::MAX, u32::MAX - 67, u32::MAX - 68] {
            bytes[48..52].copy_from_slice(&length.to_be_bytes());
            assert_eq!(error(&bytes, Some(68)), BufferError::TooShort);
        }
        // As data in it does not exist.
        bytes[5] = 0x03;
        assert_eq!(error(&bytes, Some(68)), BufferError::UnknownFormat(3));
    }

    #[test]
    fn formats_that_do_not_exist() {
        let mut bytes = command(0x11, &[]);
        bytes.extend([0; 40]);
        assert_eq!(error(&bytes, None), BufferError::Bidirectional);
        bytes[5] = 0x40;
        assert_eq!(error(&bytes, None), BufferError::UnknownFormat(4));
        bytes[5] = 0x0f;
        assert_eq!(error(&bytes, None), BufferError::UnknownFormat(15));
        assert_eq!(
            error(&bytes, None).refusal(),
            Refusal::CheckCondition {
                asc: 0x0e,
                ascq: 0x03
            }
        );
    }
}
