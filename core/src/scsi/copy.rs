//! Third-party copy (SPC-4): EXTENDED COPY (LID1) between block devices, and RECEIVE COPY RESULTS.
//!
//! The copy manager is part of the target: it reaches the logical units of the session that asks, by the names that their
//! device identification pages have for them, and no others.

mod list;
mod notes;
mod results;

pub(crate) use list::{extended_copy, extended_copy_list};
pub(crate) use notes::CopyNotes;
pub(crate) use results::{failed_segment_details, operating_parameters, status};

/// What the copy manager takes. RECEIVE COPY RESULTS and the third-party copy VPD page tell the same.
#[derive(Debug)]
pub(crate) struct CopyLimits {
    /// MAXIMUM CSCD DESCRIPTOR COUNT.
    pub(crate) targets: u16,
    /// MAXIMUM SEGMENT DESCRIPTOR COUNT.
    pub(crate) segments: u16,
    /// MAXIMUM DESCRIPTOR LIST LENGTH, in bytes.
    pub(crate) list_length: u32,
    /// MAXIMUM SEGMENT LENGTH, in bytes.
    pub(crate) segment_length: u32,
    /// MAXIMUM INLINE DATA LENGTH, in bytes.
    pub(crate) inline_data: u32,
    /// HELD DATA LIMIT, in bytes.
    pub(crate) held_data: u32,
    /// MAXIMUM CONCURRENT COPIES, and TOTAL CONCURRENT COPIES.
    pub(crate) concurrent: u8,
    /// DATA SEGMENT GRANULARITY, as a power of two: the smallest block.
    pub(crate) granularity: u8,
    /// Descriptor type codes, of segments and then of targets, in ascending order.
    pub(crate) descriptor_types: [u8; 2],
}

/// The limits of every disk's copy manager. All the largest lists of both kinds of descriptor fit, and a list that has too
/// many of one kind still fits if it has few of the other.
pub(crate) const LIMITS: CopyLimits = CopyLimits {
    targets: 4,
    segments: 64,
    list_length: 4 * TARGET_LENGTH as u32 + 64 * SEGMENT_LENGTH as u32,
    segment_length: 64 << 20,
    inline_data: 0,
    held_data: 0,
    concurrent: 8,
    granularity: 9,
    descriptor_types: [BLOCK_TO_BLOCK, IDENTIFICATION],
};

/// Bytes of an EXTENDED COPY parameter list before its descriptors.
const HEADER_LENGTH: usize = 16;
/// Bytes of a CSCD descriptor ("target" in SPC-3).
const TARGET_LENGTH: usize = 32;
/// Bytes of a block device to block device segment descriptor.
const SEGMENT_LENGTH: usize = 28;

/// Identification descriptor CSCD descriptor.
const IDENTIFICATION: u8 = 0xe4;
/// Block device to block device segment descriptor.
const BLOCK_TO_BLOCK: u8 = 0x02;
