//! Third-party copy (SPC-4 7.8.17).

use crate::scsi::copy::LIMITS;
use crate::scsi::opcodes::{self, THIRD_PARTY_COPY_IN, THIRD_PARTY_COPY_OUT};
use crate::scsi::port::TargetPort;
use crate::scsi::unit::LogicalUnit;

/// Third-party copy: one descriptor after the other.
pub(super) fn page(unit: &LogicalUnit, _: &TargetPort) -> Vec<u8> {
    [
        supported_commands(unit),
        parameter_data(),
        supported_descriptors(),
        supported_cscd_ids(),
        general_operations(),
    ]
    .concat()
}

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
    for opcode in [THIRD_PARTY_COPY_OUT, THIRD_PARTY_COPY_IN] {
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
    body[4..6].copy_from_slice(&LIMITS.targets.to_be_bytes());
    body[6..8].copy_from_slice(&LIMITS.segments.to_be_bytes());
    body[8..12].copy_from_slice(&LIMITS.list_length.to_be_bytes());
    body[12..16].copy_from_slice(&LIMITS.inline_data.to_be_bytes());
    descriptor(0x0004, &body)
}

/// Supported descriptors, by their type codes.
fn supported_descriptors() -> Vec<u8> {
    let mut body = vec![LIMITS.descriptor_types.len() as u8];
    body.extend(LIMITS.descriptor_types);
    descriptor(0x0008, &body)
}

/// Supported CSCD descriptor IDs: none but those of the descriptors in the list.
fn supported_cscd_ids() -> Vec<u8> {
    descriptor(0x000c, &[0, 0])
}

/// General copy operations.
fn general_operations() -> Vec<u8> {
    let mut body = [0; 32];
    // TOTAL CONCURRENT COPIES, MAXIMUM IDENTIFIED CONCURRENT COPIES.
    let concurrent = u32::from(LIMITS.concurrent).to_be_bytes();
    body[..4].copy_from_slice(&concurrent);
    body[4..8].copy_from_slice(&concurrent);
    body[8..12].copy_from_slice(&LIMITS.segment_length.to_be_bytes());
    // DATA SEGMENT GRANULARITY, INLINE DATA GRANULARITY.
    body[12] = LIMITS.granularity;
    descriptor(0x8001, &body)
}
