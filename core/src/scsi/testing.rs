//! Disks and sessions for tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;

pub(crate) const CAPACITY: u64 = 0x1_0000;

pub(crate) fn model() -> DiskModel {
    let naa = "600140500000000000000000000000aa".parse().expect("valid");
    DiskModel {
        physical_exponent: 3,
        ..DiskModel::new(Identity::new("serial-1", naa), 512, CAPACITY)
    }
}

pub(crate) fn thin_model() -> DiskModel {
    let limits = Limits {
        max_write_same_blocks: 0x8000,
        ..Limits::default()
    };
    let provisioning = Provisioning {
        zeroes: true,
        granularity_blocks: 8,
        max_unmap_blocks: 0x1000,
        max_unmap_descriptors: 4,
    };
    DiskModel {
        provisioning: Some(provisioning),
        limits,
        ..model()
    }
}

pub(crate) fn unit() -> LogicalUnit {
    unit_of(model())
}

pub(crate) fn unit_of(model: DiskModel) -> LogicalUnit {
    LogicalUnit::new(UnitId(5), model).expect("a valid model")
}

pub(crate) fn port() -> TargetPort {
    TargetPort {
        relative_identifier: 1,
        group: 2,
        name: PortName::Srp(*b"\x11\x22\x33\x44\x55\x66\x77\x88\x02\0\0\xff\xfe\x01\x02\x03"),
    }
}

pub(crate) fn luns(units: &[(u32, &Arc<LogicalUnit>)]) -> BTreeMap<u32, Mapping> {
    units
        .iter()
        .map(|(number, unit)| (*number, Mapping::from((*unit).clone())))
        .collect()
}

/// The same, write protected.
pub(crate) fn protected(units: &[(u32, &Arc<LogicalUnit>)]) -> BTreeMap<u32, Mapping> {
    let mut luns = luns(units);
    luns.values_mut()
        .for_each(|mapping| mapping.read_only = true);
    luns
}

/// A channel that sees one disk as LUN 0.
pub(crate) fn channel_of(model: DiskModel) -> ScsiChannel {
    let unit = Arc::new(unit_of(model));
    ScsiSession::new(port(), None, &luns(&[(0, &unit)])).channel()
}

/// A command for LUN 0, with more than enough room for data.
pub(crate) fn command(cdb: &[u8]) -> Command<'_> {
    Command {
        lun: [0; 8],
        cdb,
        attribute: TaskAttribute::Simple,
        data_out_length: 1 << 40,
        data_in_length: 1 << 40,
    }
}

#[track_caller]
pub(crate) fn respond(plan: Plan) -> Response {
    match plan {
        Plan::Respond(response) => response,
        other => panic!("not a response: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn block(plan: Plan) -> BlockCommand {
    match plan {
        Plan::Block(block) => block,
        other => panic!("not a block operation: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn sense_of(response: &Response) -> Sense {
    assert_eq!(response.status, Status::CheckCondition);
    response.sense.expect("sense data")
}

/// The parameter data of a command that has to succeed.
#[track_caller]
pub(crate) fn data(channel: &mut ScsiChannel, cdb: &[u8]) -> Vec<u8> {
    let response = respond(channel.plan(&command(cdb)));
    assert_eq!(response.status, Status::Good, "{response:?}");
    response.data
}

/// The sense data of a command that has to fail.
#[track_caller]
pub(crate) fn refused(channel: &mut ScsiChannel, cdb: &[u8]) -> Sense {
    let response = respond(channel.plan(&command(cdb)));
    assert_eq!(response.data, []);
    sense_of(&response)
}

/// Runs a command that has parameter data.
#[track_caller]
pub(crate) fn select(channel: &mut ScsiChannel, cdb: &[u8], list: &[u8]) -> Plan {
    match channel.plan(&command(cdb)) {
        Plan::Parameters { length, pending } => {
            assert_eq!(length as usize, list.len());
            channel.parameters(pending, list)
        }
        other => other,
    }
}

/// CDBs of one family for an address and a number of blocks, with byte 1 as given.
pub(crate) fn cdb(opcode: u8, byte1: u8, lba: u64, blocks: u32) -> Vec<u8> {
    let lba8 = lba.to_be_bytes();
    let [_, _, high, low] = blocks.to_be_bytes();
    match opcode >> 5 {
        0 => vec![opcode, lba8[5], lba8[6], lba8[7], low, 0],
        1 | 2 => [&[opcode, byte1], &lba8[4..], &[0, high, low, 0]].concat(),
        4 => [&[opcode, byte1], &lba8[..], &blocks.to_be_bytes(), &[0, 0]].concat(),
        5 => [&[opcode, byte1], &lba8[4..], &blocks.to_be_bytes(), &[0, 0]].concat(),
        _ => panic!("{opcode:02x}"),
    }
}

/// A command whose initiator has just so many bytes.
pub(crate) fn sending(cdb: &[u8], data_out_length: u64) -> Command<'_> {
    Command {
        data_out_length,
        ..command(cdb)
    }
}
