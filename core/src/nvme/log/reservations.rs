//! Reservation Notification (NVMe base 2.0 section 5.16.1.24, log page 80h).

use super::Request;
use crate::nvme::controller::Controller;
use crate::nvme::reservations::NOTIFICATION_SIZE as SIZE;
use crate::nvme::status::Status;
use crate::scsi::ScsiChannel;

/// The oldest notification that was not read yet. Reading takes it away.
pub(super) fn page(
    controller: &Controller,
    request: &Request,
    units: &mut ScsiChannel,
) -> Result<Vec<u8>, Status> {
    controller.collect_reservation_notices(units);
    // Behind a page there is none that could be taken.
    if request.offset >= SIZE as u64 {
        return Ok(vec![0; SIZE]);
    }
    let mut state = controller.lock();
    Ok(state.events.reservations.read(request.retain))
}
