//! Asymmetric Namespace Access (NVMe base 2.0 section 5.16.1, log page 0Ch): all namespaces are in one group, which all ports
//! reach alike.

use super::{Request, put};
use crate::nvme::controller::Controller;
use crate::nvme::status::Status;
use crate::scsi::ScsiChannel;

/// ANA Group Identifier of all namespaces.
pub(crate) const GROUP: u32 = 1;

const HEADER: usize = 16;
const DESCRIPTOR: usize = 32;
/// ANA Optimized state.
const OPTIMIZED: u8 = 1;
/// Return Groups Only, of the log specific parameter.
const GROUPS_ONLY: u8 = 1;

pub(super) fn page(
    controller: &Controller,
    request: &Request,
    units: &mut ScsiChannel,
) -> Result<Vec<u8>, Status> {
    let namespaces: Vec<u32> = if request.specific & GROUPS_ONLY != 0 {
        Vec::new()
    } else {
        units.units().map(|(number, _)| number + 1).collect()
    };
    let changes = controller.lock().events.changes().to_le_bytes();

    let mut data = vec![0; HEADER + DESCRIPTOR];
    put(&mut data, 0, &changes);
    put(&mut data, 8, &1u16.to_le_bytes());
    put(&mut data, HEADER, &GROUP.to_le_bytes());
    let count = u32::try_from(namespaces.len()).unwrap_or(u32::MAX);
    put(&mut data, HEADER + 4, &count.to_le_bytes());
    put(&mut data, HEADER + 8, &changes);
    put(&mut data, HEADER + 16, &[OPTIMIZED]);
    data.extend(namespaces.iter().flat_map(|number| number.to_le_bytes()));
    Ok(data)
}
