//! Vital product data pages (SPC-4 7.8, SBC-3 vital product data parameters).

mod third_party_copy;

use super::model::Limits;
use super::port::{PortName, TargetPort};
use super::unit::LogicalUnit;

type Build = fn(&LogicalUnit, &TargetPort) -> Vec<u8>;

/// Every page, in ascending order, with what follows its header.
const PAGES: &[(u8, Build)] = &[
    (SUPPORTED_PAGES, supported_pages),
    (0x80, serial_number),
    (DEVICE_IDENTIFICATION, device_identification),
    (0x86, extended_inquiry),
    (0x87, mode_page_policy),
    (0x8f, third_party_copy::page),
    (0xb0, block_limits),
    (0xb1, block_device_characteristics),
    (PROVISIONING, provisioning),
];

const SUPPORTED_PAGES: u8 = 0x00;
pub(crate) const DEVICE_IDENTIFICATION: u8 = 0x83;
const PROVISIONING: u8 = 0xb2;

/// The page, header included, if there is one of that code.
pub(crate) fn page(code: u8, unit: &LogicalUnit, port: &TargetPort) -> Option<Vec<u8>> {
    let build = available(unit).find(|(other, _)| *other == code)?.1;
    let body = build(unit, port);
    // Peripheral qualifier and device type are zero.
    let mut page = vec![0, code];
    page.extend((body.len() as u16).to_be_bytes());
    page.extend(body);
    Some(page)
}

fn available(unit: &LogicalUnit) -> impl Iterator<Item = &'static (u8, Build)> {
    let thin = unit.model().provisioning.is_some();
    PAGES
        .iter()
        .filter(move |(code, _)| *code != PROVISIONING || thin)
}

fn supported_pages(unit: &LogicalUnit, _: &TargetPort) -> Vec<u8> {
    available(unit).map(|(code, _)| *code).collect()
}

fn serial_number(unit: &LogicalUnit, _: &TargetPort) -> Vec<u8> {
    unit.model().identity.serial.clone().into_bytes()
}

/// Code sets of designators (SPC-4).
const BINARY: u8 = 1;
const ASCII: u8 = 2;
const UTF8: u8 = 3;

/// Associations of designators (SPC-4), in their place.
const OF_UNIT: u8 = 0x00;
const OF_PORT: u8 = 0x10;
const OF_TARGET: u8 = 0x20;

fn device_identification(unit: &LogicalUnit, port: &TargetPort) -> Vec<u8> {
    let identity = &unit.model().identity;
    let mut page = Vec::new();
    let mut designator = |code_set: u8, kind: u8, bytes: &[u8]| {
        // A protocol identifier is only meant for ports and targets (PIV).
        let (protocol, valid) = match kind & 0x30 {
            OF_UNIT => (0, 0),
            _ => (port.name.protocol() << 4, 0x80),
        };
        page.extend([protocol | code_set, valid | kind, 0, bytes.len() as u8]);
        page.extend(bytes);
    };

    // T10 vendor ID based (SPC-4 7.8).
    let vendor = [&identity.vendor, identity.serial.as_bytes()].concat();
    designator(ASCII, OF_UNIT | 0x1, &vendor);
    designator(BINARY, OF_UNIT | 0x3, identity.naa.as_bytes());
    if let Some(uuid) = &identity.uuid {
        // UUID (SPC-5): type 1, locally assigned.
        designator(
            BINARY,
            OF_UNIT | 0xa,
            &[&[0x10, 0], uuid.as_slice()].concat(),
        );
    }

    let [high, low] = port.relative_identifier.to_be_bytes();
    designator(BINARY, OF_PORT | 0x4, &[0, 0, high, low]);
    let [high, low] = port.group.to_be_bytes();
    designator(BINARY, OF_PORT | 0x5, &[0, 0, high, low]);
    match &port.name {
        // EUI-64 based with identifier extension (SPC-4 7.8): what SRP target port identifiers are.
        PortName::Srp(identifier) => designator(BINARY, OF_PORT | 0x2, identifier),
        PortName::Iscsi {
            target,
            portal_group,
        } => {
            designator(
                UTF8,
                OF_PORT | 0x8,
                &padded(format!("{target},t,0x{portal_group:04x}")),
            );
            designator(UTF8, OF_TARGET | 0x8, &padded(target.clone()));
        }
    }
    page
}

/// SCSI name strings end with zero and are padded to four bytes (SPC-4 7.8). Their length field has one byte.
fn padded(name: String) -> Vec<u8> {
    let mut bytes = name.into_bytes();
    bytes.truncate(251);
    bytes.resize((bytes.len() + 1).next_multiple_of(4), 0);
    bytes
}

/// Extended INQUIRY data (SPC-4).
fn extended_inquiry(_: &LogicalUnit, _: &TargetPort) -> Vec<u8> {
    let mut page = vec![0; 0x3c];
    // HEADSUP, ORDSUP, SIMPSUP; no protection information, no groups, no priorities.
    page[1] = 0x07;
    // V_SUP: MODE SELECT can switch a volatile cache on.
    page[2] = 0x01;
    // LUICLR: REPORT LUNS answers "REPORTED LUNS DATA HAS CHANGED" at all logical units.
    page[3] = 0x01;
    page
}

/// Mode page policy (SPC-4): all initiators share all pages and subpages.
fn mode_page_policy(_: &LogicalUnit, _: &TargetPort) -> Vec<u8> {
    vec![0x3f, 0xff, 0x00, 0]
}

/// Block limits (SBC-3).
fn block_limits(unit: &LogicalUnit, _: &TargetPort) -> Vec<u8> {
    let model = unit.model();
    let Limits {
        max_transfer_blocks,
        optimal_transfer_blocks,
        max_write_same_blocks,
        max_atomic_blocks,
        ..
    } = model.limits;
    let mut page = vec![0; 0x3c];
    let mut put = |at: usize, bytes: &[u8]| {
        // Offsets are those of the standard, which counts from the header on.
        page[at - 4..at - 4 + bytes.len()].copy_from_slice(bytes);
    };
    // WSNZ: WRITE SAME does not take zero for "to the end".
    put(4, &[1, model.limits.compare_and_write_blocks()]);
    // OPTIMAL TRANSFER LENGTH GRANULARITY: a physical block.
    put(6, &(1_u16 << model.physical_exponent).to_be_bytes());
    put(8, &max_transfer_blocks.to_be_bytes());
    put(12, &optimal_transfer_blocks.to_be_bytes());
    if let Some(provisioning) = model.provisioning {
        put(20, &provisioning.max_unmap_blocks.to_be_bytes());
        put(24, &provisioning.max_unmap_descriptors.to_be_bytes());
        put(28, &provisioning.granularity_blocks.to_be_bytes());
        // UGAVALID, with alignment 0.
        put(
            32,
            &(u32::from(provisioning.granularity_blocks != 0) << 31).to_be_bytes(),
        );
    }
    put(36, &u64::from(max_write_same_blocks).to_be_bytes());
    // MAXIMUM ATOMIC TRANSFER LENGTH (SBC-4), of any alignment and granularity, and without boundaries.
    put(44, &max_atomic_blocks.to_be_bytes());
    page
}

/// Block device characteristics (SBC-3).
fn block_device_characteristics(unit: &LogicalUnit, _: &TargetPort) -> Vec<u8> {
    let mut page = vec![0; 0x3c];
    // MEDIUM ROTATION RATE: 1 is "does not rotate", 0 is "not reported".
    page[1] = u8::from(!unit.model().rotational);
    page
}

/// Logical block provisioning (SBC-3).
fn provisioning(unit: &LogicalUnit, _: &TargetPort) -> Vec<u8> {
    let model = unit.model();
    let zeroes = model
        .provisioning
        .is_some_and(|provisioning| provisioning.zeroes);
    // LBPU, then LBPWS and LBPWS10 if there is a WRITE SAME, then LBPRZ.
    let write_same = if model.limits.max_write_same_blocks != 0 {
        0x60
    } else {
        0
    };
    let zeroes = if zeroes { 0x04 } else { 0 };
    // No threshold; PROVISIONING TYPE 2 is thin.
    vec![0, 0x80 | write_same | zeroes, 0x02, 0]
}
