//! PERSISTENT RESERVE IN (SPC-4 section 6.15).

use super::transport_id;
use crate::reservations::{Registrant, ReservationType, Table};
use crate::scsi::cdb::Cdb;
use crate::scsi::plan::{Context, Planned};

/// READ KEYS.
pub(crate) fn read_keys(context: &Context<'_>, cdb: &Cdb) -> Planned {
    report(context, cdb, |table, list| {
        for key in table.registrations().values() {
            list.add(8, || key.to_be_bytes().to_vec());
        }
    })
}

/// READ RESERVATION.
pub(crate) fn read_reservation(context: &Context<'_>, cdb: &Cdb) -> Planned {
    report(context, cdb, |table, list| {
        let Some(holder) = table.holder() else {
            return;
        };
        // What all registrants hold is held under no key.
        let holds = holder.registrant.as_ref();
        let key = holds.and_then(|holder| table.registrations().get(holder));
        list.add(16, || {
            let mut descriptor = key.copied().unwrap_or(0).to_be_bytes().to_vec();
            descriptor.extend([0, 0, 0, 0, 0, scope_and_type(holder.kind), 0, 0]);
            descriptor
        });
    })
}

/// REPORT CAPABILITIES.
pub(crate) fn report_capabilities(context: &Context<'_>, cdb: &Cdb) -> Planned {
    if context.unit.reservations().is_reserved() {
        return context.conflict();
    }
    let activated = context.unit.reservations().table().persistent();
    // CRH, SIP_C, ATP_C, PTPL_C.
    let capabilities = 0x10 | 0x08 | 0x04 | 0x01;
    // TMV, ALLOW COMMANDS 011b: TEST UNIT READY is allowed through every type; MODE SENSE, REPORT SUPPORTED OPERATION CODES, REPORT
    // SUPPORTED TASK MANAGEMENT FUNCTIONS and READ DEFECT DATA through Write Exclusive types. PTPL_A.
    let flags = 0x80 | 3 << 4 | u8::from(activated);
    let types = ReservationType::ALL.map(type_mask);
    let [high, low] = types
        .into_iter()
        .fold(0, |mask, kind| mask | kind)
        .to_be_bytes();
    let data = vec![0, 8, capabilities, flags, high, low, 0, 0];
    context.data(data, cdb.u16(7).into())
}

/// READ FULL STATUS.
pub(crate) fn read_full_status(context: &Context<'_>, cdb: &Cdb) -> Planned {
    report(context, cdb, |table, list| {
        add_full_status(table, list, transport_id::encode);
    })
}

/// Thousands may be registered, of which few fit: only for those are there TransportIDs.
fn add_full_status(table: &Table, list: &mut List, encode: impl Fn(&Registrant) -> Vec<u8>) {
    for (registrant, key) in table.registrations() {
        let length = STATUS_HEADER + transport_id::encoded_length(registrant);
        list.add(length, || {
            full_status(table, registrant, *key, &encode(registrant))
        });
    }
}

/// Bytes of a full status descriptor before its TransportID.
const STATUS_HEADER: usize = 24;

fn full_status(table: &Table, registrant: &Registrant, key: u64, id: &[u8]) -> Vec<u8> {
    // An NVMe host is registered whichever port it comes through, and none of them is SCSI's.
    let (port, all_ports) = match registrant {
        Registrant::Scsi { port, .. } => (*port, 0),
        Registrant::Nvme { .. } => (0, ALL_TG_PT),
    };
    let held = table.holder().filter(|_| table.is_holder(registrant));
    let (held, kind) = held.map_or((0, 0), |holder| (R_HOLDER, scope_and_type(holder.kind)));
    let mut descriptor = key.to_be_bytes().to_vec();
    descriptor.extend([0, 0, 0, 0, all_ports | held, kind, 0, 0, 0, 0]);
    descriptor.extend(port.to_be_bytes());
    descriptor.extend(length(id.len()));
    descriptor.extend(id);
    descriptor
}

const ALL_TG_PT: u8 = 0x02;
const R_HOLDER: u8 = 0x01;

/// SCOPE, which is LU_SCOPE, and TYPE.
fn scope_and_type(kind: ReservationType) -> u8 {
    kind.scsi()
}

/// The bit of a type in the PERSISTENT RESERVATION TYPE MASK: types 0 to 7 are in the first byte, from bit 0 on, and the
/// others in the second one.
fn type_mask(kind: ReservationType) -> u16 {
    match kind.scsi() {
        code @ 0..8 => 0x100 << code,
        code => 1 << (code - 8),
    }
}

/// Descriptors, of which only as many are made as there is room for.
struct List {
    data: Vec<u8>,
    room: usize,
    /// Bytes of all of them.
    length: usize,
}

impl List {
    fn add(&mut self, length: usize, descriptor: impl FnOnce() -> Vec<u8>) {
        self.length = self.length.saturating_add(length);
        if self.data.len() < self.room {
            self.data.extend(descriptor());
        }
    }
}

/// PRGENERATION, ADDITIONAL LENGTH, which is that of the whole list whatever is cut off, and the list.
fn report(context: &Context<'_>, cdb: &Cdb, fill: impl FnOnce(&Table, &mut List)) -> Planned {
    // While it is reserved by RESERVE, these conflict for everybody (SPC-2 section 5.5.1).
    if context.unit.reservations().is_reserved() {
        return context.conflict();
    }
    let room = cdb.u16(7);
    let table = context.unit.reservations().table();
    let mut list = List {
        data: vec![0; 8],
        room: room.into(),
        length: 0,
    };
    fill(&table, &mut list);
    let (generation, additional) = (table.generation().to_be_bytes(), length(list.length));
    let mut data = list.data;
    if let Some(header) = data.first_chunk_mut::<8>() {
        header[..4].copy_from_slice(&generation);
        header[4..].copy_from_slice(&additional);
    }
    context.data(data, room.into())
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn only_what_fits_is_encoded() {
        let hosts = (0..100).map(|number| (Registrant::Nvme { host: [number; 16] }, 1));
        let table = Table::restore(100, BTreeMap::from_iter(hosts), None).expect("good");
        for (room, fit) in [(0, 0), (8, 0), (9, 1), (56, 1), (57, 2), (5000, 100)] {
            let mut list = List {
                data: vec![0; 8],
                room,
                length: 0,
            };
            let encoded = Cell::new(0);
            add_full_status(&table, &mut list, |registrant| {
                encoded.set(encoded.get() + 1);
                transport_id::encode(registrant)
            });
            assert_eq!((encoded.get(), list.length), (fit, 4800), "{room}");
            assert_eq!(list.data.len(), 8 + fit * 48);
        }
    }
}
