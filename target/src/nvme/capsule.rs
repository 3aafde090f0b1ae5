//! Capsules (NVMe base 2.0 section 3.3.2, RDMA transport 1.0 section 3.2): a submission queue entry with its data, or a completion
//! queue entry.

use std::ops::Range;

use pagecast_core::nvme::{Command, Completion, SQE_SIZE, Status};
use pagecast_rdma::fabric::RemoteBuffer;
use thiserror::Error;

/// Bytes in a response capsule.
pub const CQE_SIZE: usize = 16;

/// Bytes that may follow a submission queue entry (ICD).
pub const IN_CAPSULE: u32 = 4096;

/// A command capsule.
#[derive(Clone, Debug)]
pub struct Capsule<'a> {
    /// The submission queue entry as it came.
    pub entry: &'a [u8; SQE_SIZE],
    /// The command in it.
    pub command: Command,
    /// Where its data are, or why that cannot be.
    pub data: Result<Data, Status>,
}

/// Where a command's data are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// There are none.
    None,
    /// In the capsule, at these bytes of the message.
    InCapsule(Range<usize>),
    /// In the host's memory.
    Keyed {
        /// Where.
        remote: RemoteBuffer,
        /// The response is to invalidate its key.
        invalidate: bool,
    },
}

/// A message that is no capsule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a command capsule of {0} bytes, fewer than the {SQE_SIZE} of a submission queue entry")]
pub struct TooShort(usize);

impl<'a> Capsule<'a> {
    /// Reads a message.
    #[inline]
    pub fn parse(message: &'a [u8]) -> Result<Self, TooShort> {
        let entry: &[u8; SQE_SIZE] = message.first_chunk().ok_or(TooShort(message.len()))?;
        let data = data_pointer(entry, message.len());
        let length = match &data {
            Ok(Data::InCapsule(range)) => range.len() as u32,
            Ok(Data::Keyed { remote, .. }) => remote.length,
            Ok(Data::None) | Err(_) => 0,
        };
        Ok(Self {
            entry,
            command: Command::parse(entry, length),
            data,
        })
    }
}

/// Reads SGL descriptor 1 (NVMe base 2.0 section 4.3.2): there is no other, since MSDBD is 1.
#[inline]
fn data_pointer(entry: &[u8; SQE_SIZE], arrived: usize) -> Result<Data, Status> {
    // PSDT (bits 7:6 of byte 1): SGLs are all that fabrics have; Linux says 01b.
    if entry[1] >> 6 == 0b00 && entry[24..40].iter().any(|&byte| byte != 0) {
        return Err(Status::INVALID_FIELD);
    }
    if entry[1] >> 6 == 0b11 {
        return Err(Status::INVALID_FIELD);
    }
    let address = u64::from_le_bytes([
        entry[24], entry[25], entry[26], entry[27], entry[28], entry[29], entry[30], entry[31],
    ]);
    match entry[39] {
        // Keyed SGL data block, with an address; 4Fh asks for its key to be invalidated.
        kind @ (0x40 | 0x4f) => {
            let length = u32::from_le_bytes([entry[32], entry[33], entry[34], 0]);
            let key = u32::from_le_bytes([entry[35], entry[36], entry[37], entry[38]]);
            if length == 0 {
                return Ok(Data::None);
            }
            if address.checked_add(u64::from(length)).is_none() {
                return Err(Status::INVALID_SGL_SEGMENT);
            }
            Ok(Data::Keyed {
                remote: RemoteBuffer {
                    address,
                    key,
                    length,
                },
                invalidate: kind == 0x4f,
            })
        }
        // SGL data block with an offset into the capsule.
        0x01 => {
            let length = u32::from_le_bytes([entry[32], entry[33], entry[34], entry[35]]);
            if length > IN_CAPSULE {
                return Err(Status::DATA_SGL_LENGTH_INVALID);
            }
            let start = usize::try_from(address)
                .ok()
                .and_then(|offset| offset.checked_add(SQE_SIZE))
                .ok_or(Status::SGL_OFFSET_INVALID)?;
            let end = start
                .checked_add(length as usize)
                .filter(|&end| end <= arrived)
                .ok_or(Status::SGL_OFFSET_INVALID)?;
            if length == 0 {
                return Ok(Data::None);
            }
            Ok(Data::InCapsule(start..end))
        }
        // An entry without data may have none at all.
        0x00 if entry[24..39].iter().all(|&byte| byte == 0) => Ok(Data::None),
        _ => Err(Status::SGL_TYPE_INVALID),
    }
}

/// Writes a completion queue entry (NVMe base 2.0 section 3.3.3.2); returns its length.
#[inline]
pub fn emit(completion: &Completion, cid: u16, head: u16, out: &mut [u8]) -> usize {
    let Some(out) = out.first_chunk_mut::<CQE_SIZE>() else {
        return 0;
    };
    out[..8].copy_from_slice(&completion.result.to_le_bytes());
    out[8..10].copy_from_slice(&head.to_le_bytes());
    // The submission queue identifier is reserved over fabrics.
    out[10..12].fill(0);
    out[12..14].copy_from_slice(&cid.to_le_bytes());
    out[14..16].copy_from_slice(&completion.status.field().to_le_bytes());
    CQE_SIZE
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A write of 4096 bytes with a keyed SGL as Linux sends it, to be invalidated.
    const WRITE: [u8; SQE_SIZE] = {
        let mut entry = [0; SQE_SIZE];
        entry[0] = 0x01;
        entry[1] = 0x40;
        entry[2] = 0x34;
        entry[3] = 0x12;
        entry[4] = 1;
        // Address, length of three bytes, key, descriptor type and subtype.
        entry[24] = 0x88;
        entry[31] = 0x11;
        entry[33] = 0x10;
        entry[35] = 0x78;
        entry[36] = 0x56;
        entry[37] = 0x34;
        entry[38] = 0x12;
        entry[39] = 0x4f;
        entry
    };

    fn data(message: &[u8]) -> Result<Data, Status> {
        Capsule::parse(message).expect("long enough").data
    }

    /// A write with data in its capsule: `offset`, `length`, and `arrived` bytes after the entry.
    fn in_capsule(offset: u64, length: u32, arrived: usize) -> Result<Data, Status> {
        let mut message = WRITE.to_vec();
        message[24..32].copy_from_slice(&offset.to_le_bytes());
        message[32..36].copy_from_slice(&length.to_le_bytes());
        message[36..39].fill(0);
        message[39] = 0x01;
        message.resize(SQE_SIZE + arrived, 0xee);
        data(&message)
    }

    #[test]
    fn a_keyed_write_of_linux() {
        let capsule = Capsule::parse(&WRITE).expect("long enough");
        let remote = RemoteBuffer {
            address: 0x1100_0000_0000_0088,
            key: 0x1234_5678,
            length: 4096,
        };
        assert_eq!(
            capsule.data,
            Ok(Data::Keyed {
                remote,
                invalidate: true
            })
        );
        assert_eq!(capsule.command.cid, 0x1234);
        assert_eq!(capsule.command.data_length, 4096);
        let mut kept = WRITE;
        kept[39] = 0x40;
        assert_eq!(
            data(&kept),
            Ok(Data::Keyed {
                remote,
                invalidate: false
            })
        );
    }

    #[test]
    fn no_data_in_all_forms() {
        // Linux has a keyed SGL of length zero in every command without data.
        let mut linux = WRITE;
        linux[24..39].fill(0);
        linux[39] = 0x40;
        assert_eq!(data(&linux), Ok(Data::None));
        linux[39] = 0;
        assert_eq!(data(&linux), Ok(Data::None));
        // As somebody would who thinks of PRPs.
        linux[1] = 0;
        assert_eq!(data(&linux), Ok(Data::None));
        assert_eq!(in_capsule(0, 0, 0), Ok(Data::None));
    }

    #[test]
    fn data_in_the_capsule() {
        assert_eq!(in_capsule(0, 4096, 4096), Ok(Data::InCapsule(64..4160)));
        assert_eq!(in_capsule(512, 512, 1024), Ok(Data::InCapsule(576..1088)));
        // More than announced, more than came, before the beginning.
        assert_eq!(
            in_capsule(0, 4097, 8192),
            Err(Status::DATA_SGL_LENGTH_INVALID)
        );
        assert_eq!(in_capsule(0, 512, 511), Err(Status::SGL_OFFSET_INVALID));
        assert_eq!(in_capsule(1, 512, 512), Err(Status::SGL_OFFSET_INVALID));
        for offset in [u64::MAX, u64::MAX - 63, u64::MAX - 575, 1 << 63] {
            assert_eq!(
                in_capsule(offset, 512, 4096),
                Err(Status::SGL_OFFSET_INVALID)
            );
        }
    }

    #[test]
    fn descriptors_that_will_not_do() {
        let with = |at: usize, value: u8| {
            let mut entry = WRITE;
            entry[at] = value;
            data(&entry)
        };
        // Segments, bit buckets, transport data blocks, subtypes that are not there.
        for kind in [
            0x00, 0x02, 0x0f, 0x10, 0x20, 0x30, 0x31, 0x41, 0x50, 0x5a, 0xff,
        ] {
            assert_eq!(with(39, kind), Err(Status::SGL_TYPE_INVALID), "{kind:#x}");
        }
        // PRPs, and what PSDT does not know.
        assert_eq!(with(1, 0x00), Err(Status::INVALID_FIELD));
        assert_eq!(with(1, 0xc0), Err(Status::INVALID_FIELD));
        // Around the end of the address space.
        let mut entry = WRITE;
        entry[24..32].fill(0xff);
        assert_eq!(data(&entry), Err(Status::INVALID_SGL_SEGMENT));
    }

    #[test]
    fn a_message_too_short() {
        for length in [0, 1, 63] {
            let error = Capsule::parse(&WRITE[..length]).expect_err("short");
            assert_eq!(error, TooShort(length));
        }
    }

    #[test]
    fn a_response_on_the_wire() {
        let completion = Completion {
            result: 0x1122_3344_5566_7788,
            status: Status::CONNECT_INVALID_PARAMETERS,
        };
        let mut out = [0xee; 20];
        assert_eq!(emit(&completion, 0x1234, 0x0102, &mut out), CQE_SIZE);
        assert_eq!(
            out,
            *b"\x88\x77\x66\x55\x44\x33\x22\x11\x02\x01\0\0\x34\x12\x04\x83\xee\xee\xee\xee"
        );
        assert_eq!(emit(&completion, 1, 1, &mut out[..15]), 0);
    }

    proptest! {
        #[test]
        fn what_is_found_is_there(message in prop::collection::vec(any::<u8>(), 0..6000), kind in 0usize..3) {
            let mut message = message;
            if message.len() > 39 {
                message[1] = 0x40;
                message[39] = [0x01, 0x40, message[39]][kind];
                // Small offsets and lengths, so that some of them fit.
                if kind == 0 {
                    message[26..32].fill(0);
                    message[34..36].fill(0);
                }
            }
            let Ok(capsule) = Capsule::parse(&message) else {
                prop_assert!(message.len() < SQE_SIZE);
                return Ok(());
            };
            match capsule.data {
                Ok(Data::InCapsule(range)) => {
                    prop_assert!(range.start >= SQE_SIZE && range.end <= message.len());
                    prop_assert!(!range.is_empty() && range.len() <= IN_CAPSULE as usize);
                    prop_assert_eq!(capsule.command.data_length as usize, range.len());
                }
                Ok(Data::Keyed { remote, .. }) => {
                    prop_assert!(remote.address.checked_add(remote.length.into()).is_some());
                    prop_assert!(remote.length > 0);
                }
                Ok(Data::None) | Err(_) => prop_assert_eq!(capsule.command.data_length, 0),
            }
        }
    }
}
