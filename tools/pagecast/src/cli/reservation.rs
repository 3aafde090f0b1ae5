//! `pagecast reservation`.

use clap::Subcommand;

use super::Request;
use super::params::Params;

#[derive(Debug, Subcommand)]
pub(crate) enum Reservation {
    /// Type, holder, and registrants with their keys
    ///
    /// Persistent reservations of SCSI and NVMe hosts, which share one table per device. Registrants are shown by SRP port
    /// identifier, iSCSI name and session identifier, or NVMe host identifier. LIVE says whether a registrant is logged in now: a
    /// registration stays when its host goes.
    Show {
        /// The device's name; all devices if none is given
        name: Option<String>,
    },
    /// End the reservation and all registrations of a device
    ///
    /// For reservations whose hosts are gone for good and cannot end them. Hosts that are still there are told that they were
    /// preempted. A cluster that relies on the reservation to keep a host out is no longer protected, so this is refused
    /// while a registrant is logged in, unless forced.
    Clear {
        /// The device's name
        name: String,
        /// Also if somebody who is registered is logged in
        #[arg(long)]
        force: bool,
    },
}

impl Reservation {
    pub(super) fn request(self) -> Request {
        match self {
            Self::Show { name } => {
                Request::new("reservation.show", Params::new().maybe("name", name))
            }
            Self::Clear { name, force } => Request::new(
                "reservation.clear",
                Params::new().with("name", name).flag("force", force),
            ),
        }
    }
}
