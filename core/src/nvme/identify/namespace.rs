//! Identify data structures of namespaces (section 5.17.2.3 to 5.17.2.8; NVM command set 1.0 section 4.1.5).

use super::Data;
use crate::nvme::io::CopyLimits;
use crate::nvme::{log, reservations};
use crate::scsi::{DiskModel, Nexus};

/// NMIC: other controllers may have it, too.
const SHARED: u8 = 1;
/// NVM, among command sets.
const NVM: u8 = 0;

/// Of a namespace of the NVM command set (NVM command set 1.0 figure 97).
pub(super) fn nvm(nexus: &Nexus) -> Data {
    let unit = &*nexus.unit;
    let model = unit.model();
    let capacity = unit.capacity();
    let mut data = Data::zeros();
    // NSZE, NCAP, NUSE: nobody counts what is stored, so all of it is in use.
    for at in [0, 8, 16] {
        data.put_u64(at, capacity);
    }
    // NSFEAT: OPTPERF, the preferred sizes below mean something.
    data.put(24, &[1 << 4]);
    // NLBAF, FLBAS: one format, without metadata.
    data.put(30, &[SHARED]);
    data.put(31, &[reservations::capabilities(unit)]);
    data.put(33, &[deallocation(model)]);
    let bytes = u128::from(capacity) * u128::from(model.block_size);
    data.put(48, &bytes.to_le_bytes());
    put_preferences(&mut data, model);
    let copy = CopyLimits::of(model.block_size);
    data.put_u16(74, copy.mssrl);
    data.put_u32(76, copy.mcl);
    data.put(80, &[copy.msrc]);
    data.put_u32(92, log::ANA_GROUP);
    data.put(99, &[write_protected(nexus)]);
    data.put(104, &nguid(model));
    // LBADS of format 0: bytes in a block, as a power of two.
    data.put(130, &[model.block_size.trailing_zeros() as u8]);
    data
}

/// Of a namespace, whatever its command set (figure 280).
pub(super) fn any(nexus: &Nexus) -> Data {
    let unit = &*nexus.unit;
    let mut data = Data::zeros();
    // NSFEAT: RMEDIA, the medium spins. That there is no write cache is not said: it can be switched on.
    data.put(0, &[u8::from(unit.model().rotational) << 4]);
    data.put(1, &[SHARED]);
    data.put(2, &[reservations::capabilities(unit)]);
    data.put_u32(4, log::ANA_GROUP);
    data.put(8, &[write_protected(nexus)]);
    // NSTAT: ready.
    data.put(14, &[1]);
    data
}

/// What is special to the NVM command set (NVM command set 1.0 figure 100): protection information, which there is not.
pub(super) fn nvm_specific(_: &Nexus) -> Data {
    Data::zeros()
}

/// Namespace Identification Descriptor list (figure 277).
pub(super) fn identifiers(nexus: &Nexus) -> Data {
    let model = nexus.unit.model();
    let mut list = Vec::new();
    // NIDT, NIDL, two reserved bytes, NID.
    let mut descriptor = |kind: u8, id: &[u8]| {
        list.extend([kind, id.len() as u8, 0, 0]);
        list.extend(id);
    };
    descriptor(2, &nguid(model));
    if let Some(uuid) = &model.identity.uuid {
        descriptor(3, uuid);
    }
    descriptor(4, &[NVM]);
    let mut data = Data::zeros();
    data.put(0, &list);
    data
}

/// Namespace Globally Unique Identifier: the UUID, if there is one, or the NAA name, as hosts that come over other protocols see
/// them.
fn nguid(model: &DiskModel) -> [u8; 16] {
    let identity = &model.identity;
    identity.uuid.unwrap_or_else(|| {
        let mut id = [0; 16];
        let name = identity.naa.as_bytes();
        // There are names of 8 and of 16 bytes.
        id.iter_mut().zip(name).for_each(|(to, from)| *to = *from);
        id
    })
}

/// DLFEAT: deallocated blocks read as zeros, and Write Zeroes can deallocate. Neither is known without thin provisioning.
fn deallocation(model: &DiskModel) -> u8 {
    match model.provisioning {
        Some(provisioning) if provisioning.zeroes => 1 | 1 << 3,
        _ => 0,
    }
}

/// NPWG, NPWA, NPDG, NPDA and NOWS: what suits the disk best, in blocks and counted from zero.
fn put_preferences(data: &mut Data, model: &DiskModel) {
    let field = |blocks: u32| u16::try_from(blocks.saturating_sub(1)).unwrap_or(u16::MAX);
    let physical = 1 << model.physical_exponent.min(15);
    let unmap = model
        .provisioning
        .map_or(0, |provisioning| provisioning.granularity_blocks)
        .max(physical);
    data.put_u16(64, field(physical));
    data.put_u16(66, field(physical));
    data.put_u16(68, field(unmap));
    data.put_u16(70, field(unmap));
    data.put_u16(72, field(model.limits.optimal_transfer_blocks));
}

/// NSATTR: currently write protected.
fn write_protected(nexus: &Nexus) -> u8 {
    nexus.write_protected().into()
}
