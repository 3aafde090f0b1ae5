//! Identify data structures of controllers (section 5.17.2.1, figure 275; NVM command set 1.0 section 4.1.5).

use super::{Data, MAX_NSID};
use crate::nvme::controller::{Controller, Kind};
use crate::nvme::properties::{GRANULARITY, VERSION};
use crate::nvme::{MAX_NQN, SQE_SIZE, events, features, io, log, opcodes, reservations};
use crate::scsi::ScsiChannel;

/// MNAN, unless there are nearly as many already: hosts make room for that many when they connect, and more may come later.
const USUAL_NAMESPACES: u32 = 1024;
/// ANATT, in seconds. No state ever changes.
const ANA_TRANSITION_TIME: u8 = 10;
/// CNTRLTYPE.
const IO_CONTROLLER: u8 = 1;
const DISCOVERY_CONTROLLER: u8 = 2;
/// DCTYPE: a direct discovery controller.
const DIRECT: u8 = 1;
/// Compare and Write in blocks (ACWU), counted from zero: one, as for everything else that is atomic.
const ATOMIC: u16 = 0;

/// Of a controller for I/O.
pub(super) fn io(controller: &Controller, units: &mut ScsiChannel) -> Data {
    let setup = &controller.setup;
    let mut data = common(controller);
    // CMIC: several ports, several controllers, ANA reporting.
    data.put(76, &[1 | 1 << 1 | 1 << 3]);
    data.put(77, &[io::mdts(setup)]);
    data.put(111, &[IO_CONTROLLER]);
    // OACS: nothing. ACL: Abort commands at a time, counted from zero.
    data.put(258, &[3]);
    // FRMW: one slot for firmware, which is read-only.
    data.put(260, &[1 | 1 << 1]);
    // No power states but one, no temperatures, no host memory buffer.
    data.put(342, &[ANA_TRANSITION_TIME]);
    // ANACAP: optimized is reported, and namespaces do not change their groups.
    data.put(343, &[1 | 1 << 6]);
    // ANAGRPMAX, NANAGRPID.
    data.put_u32(344, log::ANA_GROUP);
    data.put_u32(348, 1);
    // SQES, CQES: required and maximum size, as powers of two.
    data.put(512, &[0x66, 0x44]);
    data.put_u32(516, MAX_NSID);
    let reservations = match reservations::reservable(units).next() {
        None => 0,
        Some(_) => opcodes::ONCS_RESERVATIONS,
    };
    data.put_u16(520, opcodes::ONCS | features::ONCS | reservations);
    data.put_u16(522, opcodes::FUSES);
    // VWC: there may be one (MODE SELECT can switch it on at any time), and Flush is for one namespace.
    data.put(525, &[1 | 0b10 << 1]);
    // AWUN, AWUPF: one block.
    data.put_u16(532, ATOMIC);
    // OCFS: format 0 of Copy.
    data.put_u16(534, 1);
    let count = u32::try_from(units.units().count()).unwrap_or(u32::MAX);
    let room = count.saturating_mul(2);
    data.put_u32(540, room.clamp(USUAL_NAMESPACES, MAX_NSID));
    // IOCCSZ, IORCSZ: sizes of capsules, in units of 16 bytes.
    let capsule = SQE_SIZE as u32 + setup.in_capsule;
    data.put_u32(1792, capsule / 16);
    data.put_u32(1796, 1);
    data
}

/// Of a discovery controller (figure 26). What it has not is zero there.
pub(super) fn discovery(controller: &Controller) -> Data {
    let mut data = common(controller);
    // CMIC: several ports, several controllers.
    data.put(76, &[1 | 1 << 1]);
    data.put(77, &[io::mdts(&controller.setup)]);
    data.put(111, &[DISCOVERY_CONTROLLER]);
    data.put(1806, &[DIRECT]);
    data
}

/// What all of them have.
fn common(controller: &Controller) -> Data {
    let setup = &controller.setup;
    let mut data = Data::zeros();
    data.put_text(4, 20, &setup.serial);
    data.put_text(24, 40, "pagecast");
    data.put(64, &log::FIRMWARE_REVISION);
    data.put_u16(78, setup.id);
    data.put_u32(80, VERSION);
    data.put_u32(92, events::supported(&setup.kind));
    // CTRATT: host identifiers have 128 bits, keep-alive is traffic based.
    data.put_u32(96, 1 | 1 << 6);
    // AERL, LPA, ELPE; the first and the last are counted from zero.
    data.put(259, &[events::REQUEST_LIMIT - 1]);
    let log_attributes = match setup.kind {
        Kind::Io => log::LPA,
        // Extended data.
        Kind::Discovery(_) => log::LPA & 1 << 2,
    };
    data.put(261, &[log_attributes]);
    data.put(262, &[log::ELPE]);
    // KAS, in units of 100 ms.
    data.put_u16(320, (GRANULARITY.as_millis() / 100) as u16);
    data.put_u16(514, setup.queue_depth);
    // SGLS: supported, without alignment; keyed; in capsules, by offset.
    let in_capsule = u32::from(setup.in_capsule != 0);
    data.put_u32(536, 1 | 1 << 2 | in_capsule << 20);
    let name = setup.subsystem.as_bytes();
    data.put(768, &name[..name.len().min(MAX_NQN)]);
    // ICDOFF, FCATT: in-capsule data are not offset, controllers are dynamic. MSDBD: one SGL descriptor.
    data.put(1803, &[1]);
    data
}

/// Of a controller for the NVM command set (NVM command set 1.0 figure 105).
pub(super) fn nvm_specific() -> Data {
    let mut data = Data::zeros();
    // VSL, WZSL; there is no Write Uncorrectable to limit (WUSL).
    data.put(0, &[io::VSL, io::WZSL]);
    data.put(3, &[io::DMRL]);
    data.put_u32(4, io::DMRSL);
    data.put_u64(8, io::DMSL);
    data
}
