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
