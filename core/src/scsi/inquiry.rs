//! INQUIRY (SPC-4).

use super::cdb::Cdb;
use super::lun::Lun;
use super::plan::{Context, Plan, Planned};
use super::port::TargetPort;
use super::response::Response;
use super::sense::Sense;
use super::vpd;

/// Bytes of standard INQUIRY data: up to the reserved field behind the version descriptors.
const LENGTH: usize = 96;

/// INQUIRY at a logical unit.
pub(crate) fn of_unit(context: &Context<'_>, cdb: &Cdb) -> Planned {
    let request = Request::new(cdb)?;
    let data = match request.page {
        Some(page) => {
            vpd::page(page, context.unit, context.session.port()).ok_or(Sense::cdb_byte(2))?
        }
        None => {
            let identity = &context.unit.model().identity;
            let names = (&identity.vendor, &identity.product, &identity.revision);
            let mut data = standard(DISK, names, context.session.port());
            // TPGS 1: implicit asymmetric logical unit access. 3PC: EXTENDED COPY.
            data[5] = 0x18;
            data
        }
    };
    // It says who the unit is, to whoever took it for another one.
    if matches!(request.page, None | Some(vpd::DEVICE_IDENTIFICATION)) {
        context.slot.nexus.introduce();
    }
    context.data(data, request.allocation_length)
}

/// INQUIRY where there is no logical unit, or a well-known one.
pub(crate) fn without_unit(port: &TargetPort, lun: Lun, cdb: &Cdb) -> Planned {
    let request = Request::new(cdb)?;
    if request.page.is_some() {
        return Err(Sense::cdb_byte(2));
    }
    let device = if lun == Lun::ReportLuns {
        WELL_KNOWN
    } else {
        NOT_THERE
    };
    let data = standard(device, (b"PAGECAST", b"TARGET          ", b"0001"), port);
    Ok(Plan::Respond(Response::with_data(
        data,
        request.allocation_length,
    )))
}

/// Peripheral qualifier and device type: a direct access block device.
const DISK: u8 = 0x00;
/// A well-known logical unit.
const WELL_KNOWN: u8 = 0x1e;
/// Qualifier 011b, type 1Fh: nothing here, and nothing can be.
const NOT_THERE: u8 = 0x7f;

struct Request {
    /// Vital product data page, unless standard data are wanted.
    page: Option<u8>,
    allocation_length: u32,
}

impl Request {
    fn new(cdb: &Cdb) -> Result<Self, Sense> {
        // CMDDT is obsolete.
        if cdb.bit(1, 1) {
            return Err(Sense::cdb_bits(1, 1));
        }
        let page = cdb.bit(1, 0).then_some(cdb.byte(2));
        if page.is_none() && cdb.byte(2) != 0 {
            return Err(Sense::cdb_byte(2));
        }
        Ok(Self {
            page,
            allocation_length: cdb.u16(3).into(),
        })
    }
}

/// Standard INQUIRY data (SPC-4).
fn standard(device: u8, names: (&[u8; 8], &[u8; 16], &[u8; 4]), port: &TargetPort) -> Vec<u8> {
    let mut data = vec![0; LENGTH];
    data[0] = device;
    // VERSION: SPC-4.
    data[2] = 0x06;
    // HISUP, RESPONSE DATA FORMAT 2.
    data[3] = 0x12;
    data[4] = LENGTH as u8 - 5;
    // MULTIP: the unit may be seen through several ports.
    data[6] = 0x10;
    // CMDQUE.
    data[7] = 0x02;
    data[8..16].copy_from_slice(names.0);
    data[16..32].copy_from_slice(names.1);
    data[32..36].copy_from_slice(names.2);
    // SAM-5, the transport, SPC-4, SBC-3 (SPC-4).
    let versions = [0x00a0, port.name.version_descriptor(), 0x0460, 0x04c0];
    for (descriptor, version) in data[58..74].chunks_exact_mut(2).zip(versions) {
        descriptor.copy_from_slice(&u16::to_be_bytes(version));
    }
    data
}
