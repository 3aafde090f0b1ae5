//! The command line itself.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use serde_json::{Value, json};

/// The daemon answered, and said no.
pub(crate) const EXIT_REFUSED: u8 = 1;
/// There was no daemon, or no answer that made sense.
pub(crate) const EXIT_UNREACHABLE: u8 = 3;

/// Asks a running pagecastd about its devices, targets and sessions, and changes what can change while it runs.
#[derive(Debug, Parser)]
#[command(name = "pagecast", version, max_term_width = 100)]
#[command(after_help = "\
Exit codes:
  0  done
  1  the daemon said no, for example because there is no device of that name
  2  wrong command line
  3  no daemon, or no answer from it

Examples:
  pagecast status
  pagecast device show disk0
  pagecast --json device show disk0 | jq .read_bytes_zero_copy
  pagecast device resize disk0      takes over the size that its file has by now
  pagecast device resize disk0 20G  makes its file that large first
  pagecast reservation show disk0   says who keeps whom from writing
  pagecast target show store        prints what to type on an initiator")]
pub(crate) struct Cli {
    /// The daemon's control socket
    #[arg(
        long,
        value_name = "PATH",
        global = true,
        default_value = "/run/pagecast/control.sock"
    )]
    pub(crate) socket: PathBuf,

    /// Print the result object of the call as JSON, for programs
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The daemon at a glance: what it serves, to how many, and what it warns about
    Status,
    /// What is served
    #[command(subcommand)]
    Device(Device),
    /// Which hosts keep which others from a device
    #[command(subcommand)]
    Reservation(Reservation),
    /// What initiators log in to
    #[command(subcommand)]
    Target(Target),
    /// Who is logged in
    #[command(subcommand)]
    Session(Session),
    /// What the daemon as a whole uses and has done
    Stats,
    /// The control socket's protocol, JSON-RPC 2.0
    #[command(subcommand)]
    Rpc(Rpc),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Device {
    /// All devices, one line each
    List,
    /// One device: size, zero-copy mode in force and why, queue depth, counters
    Show {
        /// The device's name
        name: String,
    },
    /// Another size, while the device is served
    ///
    /// Initiators are told. Without SIZE the device gets the size that its file or block device has by now; with SIZE its file,
    /// or its memory, is made that large first.
    Resize {
        /// The device's name
        name: String,
        /// Bytes, or a number with a unit: KiB, MiB, GiB, TiB (or K, M, G, T)
        size: Option<String>,
        /// Also if data are lost by it: what is beyond a smaller size is gone for good
        #[arg(long)]
        force: bool,
    },
}

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

#[derive(Debug, Subcommand)]
pub(crate) enum Target {
    /// All targets, one line each
    List,
    /// One target: names, portals, access groups, and the commands that log an initiator in
    Show {
        /// The target's name
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Session {
    /// All sessions, one line each
    List,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Rpc {
    /// The methods that the daemon answers, with their parameters
    Schema,
}

/// A call to the daemon.
#[derive(Debug)]
pub(crate) struct Request {
    /// `noun.verb`.
    pub(crate) method: &'static str,
    pub(crate) params: Value,
}

impl Command {
    pub(crate) fn request(&self) -> Request {
        let none = json!({});
        let (method, params) = match self {
            Self::Status => ("status", none),
            Self::Device(Device::List) => ("device.list", none),
            Self::Device(Device::Show { name }) => ("device.show", json!({ "name": name })),
            Self::Device(Device::Resize { name, size, force }) => {
                let mut params = json!({ "name": name });
                if let Some(size) = size {
                    params["size"] = json!(size);
                }
                if *force {
                    params["force"] = json!(true);
                }
                ("device.resize", params)
            }
            Self::Reservation(Reservation::Show { name }) => {
                let params = match name {
                    Some(name) => json!({ "name": name }),
                    None => none,
                };
                ("reservation.show", params)
            }
            Self::Reservation(Reservation::Clear { name, force }) => {
                let mut params = json!({ "name": name });
                if *force {
                    params["force"] = json!(true);
                }
                ("reservation.clear", params)
            }
            Self::Target(Target::List) => ("target.list", none),
            Self::Target(Target::Show { name }) => ("target.show", json!({ "name": name })),
            Self::Session(Session::List) => ("session.list", none),
            Self::Stats => ("stats", none),
            Self::Rpc(Rpc::Schema) => ("rpc.schema", none),
        };
        Request { method, params }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }
}
