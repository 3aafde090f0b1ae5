//! RECEIVE COPY RESULTS (SPC-4; its service actions have commands' names there).

use super::LIMITS;
use super::notes::Outcome;
use crate::scsi::cdb::Cdb;
use crate::scsi::plan::{Context, Planned};
use crate::scsi::response::Status;
use crate::scsi::sense::Sense;

/// COPY STATUS (RECEIVE COPY STATUS (LID1)).
pub(crate) fn status(context: &Context<'_>, cdb: &Cdb) -> Planned {
    let notes = context.session.copies();
    let outcome = notes
        .take_status(context.unit.id(), cdb.byte(2))
        .ok_or(Sense::cdb_byte(2))?;
    context.data(status_data(&outcome), cdb.u32(10))
}

fn status_data(outcome: &Outcome) -> Vec<u8> {
    // COPY MANAGER STATUS; HDD is zero, since no data are held.
    let status = match outcome.result {
        None => 0x00,
        Some(Ok(())) => 0x01,
        Some(Err(_)) => 0x02,
    };
    let segments = u16::try_from(outcome.segments).unwrap_or(u16::MAX);
    let (units, count) = transfer_count(outcome.bytes);
    let mut data = vec![0, 0, 0, 8, status];
    data.extend(segments.to_be_bytes());
    data.push(units);
    data.extend(count.to_be_bytes());
    data
}

/// TRANSFER COUNT UNITS and TRANSFER COUNT: 0 is bytes, 1 is KiB, 2 is MiB, 3 is GiB.
fn transfer_count(bytes: u64) -> (u8, u32) {
    let units = (0..=3_u8).find_map(|units| {
        let count = u32::try_from(bytes >> (10 * units)).ok()?;
        Some((units, count))
    });
    units.unwrap_or((3, u32::MAX))
}

/// OPERATING PARAMETERS (RECEIVE COPY OPERATING PARAMETERS).
pub(crate) fn operating_parameters(context: &Context<'_>, cdb: &Cdb) -> Planned {
    let mut data = vec![0; 44];
    let mut put = |at: usize, bytes: &[u8]| data[at..at + bytes.len()].copy_from_slice(bytes);
    // SNLID: a list without an identifier is taken.
    put(4, &[1]);
    put(8, &LIMITS.targets.to_be_bytes());
    put(10, &LIMITS.segments.to_be_bytes());
    put(12, &LIMITS.list_length.to_be_bytes());
    put(16, &LIMITS.segment_length.to_be_bytes());
    put(20, &LIMITS.inline_data.to_be_bytes());
    put(24, &LIMITS.held_data.to_be_bytes());
    put(34, &u16::from(LIMITS.concurrent).to_be_bytes());
    put(36, &[LIMITS.concurrent, LIMITS.granularity]);
    put(43, &[LIMITS.descriptor_types.len() as u8]);
    data.extend(LIMITS.descriptor_types);
    let available = data.len() as u32 - 4;
    data[..4].copy_from_slice(&available.to_be_bytes());
    context.data(data, cdb.u32(10))
}

/// FAILED SEGMENT DETAILS (RECEIVE COPY FAILURE DETAILS (LID1)). Where there are none, AVAILABLE DATA says so.
pub(crate) fn failed_segment_details(context: &Context<'_>, cdb: &Cdb) -> Planned {
    let notes = context.session.copies();
    let failure = notes.take_failure(context.unit.id(), cdb.byte(2));
    let data = failure.map_or(vec![0; 4], |sense| failure_data(&sense));
    context.data(data, cdb.u32(10))
}

fn failure_data(sense: &Sense) -> Vec<u8> {
    let mut encoded = [0; Sense::MAX_LENGTH];
    let length = sense.encode(&mut encoded);
    let mut data = vec![0; 60];
    data[..4].copy_from_slice(&(56 + length as u32).to_be_bytes());
    data[56] = Status::CheckCondition as u8;
    data[58..60].copy_from_slice(&(length as u16).to_be_bytes());
    data.extend(&encoded[..length]);
    data
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scsi::sense::codes;

    #[test]
    fn counts_use_the_smallest_unit_that_fits() {
        assert_eq!(transfer_count(0), (0, 0));
        assert_eq!(transfer_count(u32::MAX.into()), (0, u32::MAX));
        assert_eq!(transfer_count(1 << 32), (1, 1 << 22));
        assert_eq!(transfer_count(1 << 43), (2, 1 << 23));
        assert_eq!(transfer_count(u64::MAX), (3, u32::MAX));
    }

    #[test]
    fn failures_have_their_sense_data() {
        let data = failure_data(&codes::COPY_DEVICE_FAILURE.into());
        assert_eq!(data.len(), 60 + 18);
        assert_eq!(data[..4], [0, 0, 0, 74]);
        assert_eq!(data[56..63], [0x02, 0, 0, 18, 0x70, 0, 0x0a]);
        assert_eq!(data[72..74], [0x0d, 0x01]);
    }
}
