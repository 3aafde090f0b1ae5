//! SMART / Health Information (NVMe base 2.0 section 5.16.1.3).

use std::collections::HashSet;

use super::{Request, put};
use crate::nvme::controller::Controller;
use crate::nvme::status::Status;
use crate::scsi::{ScsiChannel, Statistics};

/// Data units are thousands of 512 bytes, rounded up.
const DATA_UNIT: u128 = 512_000;

/// The page for a namespace, or for all that the controller has. Nothing wears out and nothing has a temperature, which leaves
/// those fields zero.
pub(super) fn page(
    controller: &Controller,
    request: &Request,
    units: &mut ScsiChannel,
) -> Result<Vec<u8>, Status> {
    let statistics = statistics(request.namespace, units)?;
    let sum = |field: fn(&Statistics) -> u64| {
        let fields = statistics.iter().map(|one| u128::from(field(one)));
        fields.sum::<u128>()
    };

    let mut data = vec![0; 512];
    // Available spare, in percent.
    put(&mut data, 3, &[100]);
    let errors = controller.lock().errors.count();
    for (at, value) in [
        (32, sum(|one| one.read_bytes).div_ceil(DATA_UNIT)),
        (48, sum(|one| one.write_bytes).div_ceil(DATA_UNIT)),
        (64, sum(|one| one.reads)),
        (80, sum(|one| one.writes)),
        // Media and data integrity errors.
        (
            160,
            sum(|one| one.read_errors) + sum(|one| one.write_errors),
        ),
        (176, errors.into()),
    ] {
        put(&mut data, at, &value.to_le_bytes());
    }
    Ok(data)
}

fn statistics(namespace: u32, units: &mut ScsiChannel) -> Result<Vec<Statistics>, Status> {
    if matches!(namespace, 0 | u32::MAX) {
        let mut all: Vec<_> = units.units().map(|(_, unit)| unit).collect();
        // One that has two numbers still counts once.
        let mut seen = HashSet::new();
        all.retain(|unit| seen.insert(*unit));
        let statistics = all.iter().map(|unit| units.unit(*unit).statistics());
        return Ok(statistics.collect());
    }
    let unit = units
        .unit_numbered(namespace - 1)
        .ok_or(Status::INVALID_NAMESPACE)?;
    Ok(vec![units.unit(unit).statistics()])
}
