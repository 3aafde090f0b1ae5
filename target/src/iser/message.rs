//! A message: iSER header, basic header segment, additional header segments, data segment.

use thiserror::Error;

use super::header::{HEADER_SIZE, HeaderError, Tags};

/// Bytes of a basic header segment (RFC 7143 11.2).
pub const BHS_SIZE: usize = 48;
/// Bytes in front of additional header segments or data.
pub const MESSAGE_HEADERS: usize = HEADER_SIZE + BHS_SIZE;
/// Bytes in front of data at most: TotalAHSLength counts up to 255 words (RFC 7143 11.2.1.5).
pub const MAX_HEADERS: usize = MESSAGE_HEADERS + 255 * 4;

/// What an initiator sent, cut into its parts. All of it lies in what arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Memory that goes with it.
    pub tags: Tags,
    /// Basic header segment.
    pub bhs: &'a [u8; BHS_SIZE],
    /// Additional header segments.
    pub ahs: &'a [u8],
    /// The data segment, without padding.
    pub data: &'a [u8],
    /// Where in the message the data segment starts.
    pub data_at: usize,
}

impl<'a> Message<'a> {
    /// Cuts the bytes that arrived. What is behind the data segment is not looked at: some initiators pad it to words, others
    /// do not, and there are no digests (RFC 7145 6.1).
    pub fn parse(bytes: &'a [u8]) -> Result<Self, MessageError> {
        let tags = Tags::decode(bytes)?;
        let cut = MessageError::NoBasicHeader(bytes.len());
        let rest = bytes.get(HEADER_SIZE..).ok_or(cut)?;
        let (bhs, rest) = rest.split_first_chunk::<BHS_SIZE>().ok_or(cut)?;
        // Bytes 4 to 7: TotalAHSLength in words, DataSegmentLength in bytes (RFC 7143 11.2.1.5, 11.2.1.6).
        let ahs_length = usize::from(bhs[4]) * 4;
        let data_length = u32::from_be_bytes([0, bhs[5], bhs[6], bhs[7]]) as usize;
        let (ahs, rest) = rest.split_at_checked(ahs_length).ok_or(MessageError::Ahs {
            declared: ahs_length,
            arrived: rest.len(),
        })?;
        let data = rest.get(..data_length).ok_or(MessageError::Data {
            declared: data_length,
            arrived: rest.len(),
        })?;
        Ok(Self {
            tags,
            bhs,
            ahs,
            data,
            data_at: MESSAGE_HEADERS + ahs_length,
        })
    }
}

/// A message that is not one. The connection cannot go on: nothing says which command was meant (RFC 7145 10.1.3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MessageError {
    /// The iSER header.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// Shorter than its headers.
    #[error("message of {0} bytes ends inside its headers")]
    NoBasicHeader(usize),
    /// Additional header segments beyond the end.
    #[error("additional headers of {declared} bytes announced, {arrived} arrived")]
    Ahs {
        /// By TotalAHSLength.
        declared: usize,
        /// Bytes behind the basic header segment.
        arrived: usize,
    },
    /// A data segment beyond the end.
    #[error("data segment of {declared} bytes announced, {arrived} arrived")]
    Data {
        /// By DataSegmentLength.
        declared: usize,
        /// Bytes behind the headers.
        arrived: usize,
    },
}
