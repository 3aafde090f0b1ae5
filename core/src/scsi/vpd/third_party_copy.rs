//! Third-party copy (SPC-4 7.8.17).

use crate::scsi::opcodes::{self, EXTENDED_COPY, RECEIVE_COPY_RESULTS};
use crate::scsi::port::TargetPort;
use crate::scsi::unit::LogicalUnit;

/// Third-party copy: one descriptor after the other.
pub(super) fn page(unit: &LogicalUnit, _: &TargetPort) -> Vec<u8> {
    [
        supported_commands(unit),
        parameter_data(),
        supported_descriptors(),
        supported_cscd_ids(),
        general_operations(unit),
    ]
    .concat()
}

/// The most CSCD descriptors that an EXTENDED COPY may have.
const MAX_CSCDS: u16 = 2;
/// The most segment descriptors that it may have.
const MAX_SEGMENTS: u16 = 8;
/// The most bytes of both together.
const MAX_DESCRIPTORS_LENGTH: u32 = MAX_CSCDS as u32 * 32 + MAX_SEGMENTS as u32 * 28;
/// Block device to block device, and identification descriptor CSCD (SPC-4 6.4).
const DESCRIPTOR_TYPES: [u8; 2] = [0x02, 0xe4];
/// The most bytes that a segment may copy.
const MAX_SEGMENT_LENGTH: u32 = 16 << 20;

/// A third-party copy descriptor, padded to four bytes.
fn descriptor(kind: u16, body: &[u8]) -> Vec<u8> {
    let length = (body.len() + 4).next_multiple_of(4);
    let mut bytes = kind.to_be_bytes().to_vec();
    bytes.extend((length as u16 - 4).to_be_bytes());
    bytes.extend(body);
    bytes.resize(length, 0);
    bytes
}

/// Supported commands: each operation code with its service actions.
fn supported_commands(unit: &LogicalUnit) -> Vec<u8> {
    let mut commands = Vec::new();
    for opcode in [EXTENDED_COPY, RECEIVE_COPY_RESULTS] {
        let rows = opcodes::available(opcode, unit.model());
        let actions: Vec<u8> = rows.map(|row| row.service_action.unwrap_or(0)).collect();
        if !actions.is_empty() {
            commands.extend([opcode, actions.len() as u8]);
            commands.extend(actions);
        }
    }
    // COMMANDS LIST LENGTH.
    commands.insert(0, commands.len() as u8);
    descriptor(0x0001, &commands)
}

/// Parameter data: what a parameter list of EXTENDED COPY may have.
fn parameter_data() -> Vec<u8> {
    let mut body = [0; 28];
    body[4..6].copy_from_slice(&MAX_CSCDS.to_be_bytes());
    body[6..8].copy_from_slice(&MAX_SEGMENTS.to_be_bytes());
    body[8..12].copy_from_slice(&MAX_DESCRIPTORS_LENGTH.to_be_bytes());
    // MAXIMUM INLINE DATA LENGTH is 0.
    descriptor(0x0004, &body)
}

/// Supported descriptors, by their type codes.
fn supported_descriptors() -> Vec<u8> {
    let mut body = vec![DESCRIPTOR_TYPES.len() as u8];
    body.extend(DESCRIPTOR_TYPES);
    descriptor(0x0008, &body)
}

/// Supported CSCD descriptor IDs: none but those of the descriptors in the list.
fn supported_cscd_ids() -> Vec<u8> {
    descriptor(0x000c, &[0, 0])
}

/// General copy operations.
fn general_operations(unit: &LogicalUnit) -> Vec<u8> {
    let mut body = [0; 32];
    // TOTAL CONCURRENT COPIES, MAXIMUM IDENTIFIED CONCURRENT COPIES: each is finished before its status.
    body[..4].copy_from_slice(&1_u32.to_be_bytes());
    body[4..8].copy_from_slice(&1_u32.to_be_bytes());
    body[8..12].copy_from_slice(&MAX_SEGMENT_LENGTH.to_be_bytes());
    // DATA SEGMENT GRANULARITY, as a power of two: a block.
    body[12] = unit.block_size().trailing_zeros() as u8;
    descriptor(0x8001, &body)
}
