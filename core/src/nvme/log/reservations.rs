//! Reservation Notification (NVMe base 2.0 section 5.16.1.24, log page 80h).

use super::Request;
use crate::nvme::controller::Controller;
use crate::nvme::status::Status;
use crate::scsi::ScsiChannel;

/// The oldest notification that was not read yet.
pub(super) fn page(
    controller: &Controller,
    request: &Request,
    units: &mut ScsiChannel,
) -> Result<Vec<u8>, Status> {
    controller.collect_reservation_notices(units);
    let mut state = controller.lock();
    // What cannot be told is not to be lost.
    let retain = request.retain || request.offset >= 64;
    Ok(state.events.reservations.read(retain))
}
