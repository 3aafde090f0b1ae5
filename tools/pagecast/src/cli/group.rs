//! `pagecast group`.

use clap::{Args, Subcommand};

use super::params::Params;
use super::values::{self, Lun};
use super::{Request, UsageError};

#[derive(Debug, Subcommand)]
pub(crate) enum Group {
    /// All groups, in the order in which initiators are matched
    List {
        /// Those of this target; all if none is given
        target: Option<String>,
    },
    /// One more group
    ///
    /// An initiator is in the first group of a target that has a pattern for it. Patterns are names or addresses of initiators
    /// with '*' and '?' for what may vary; a leading '!' keeps those who match out of the group, whatever its other patterns say, and a group of such patterns alone admits everybody else. With
    /// --default the group admits whoever no other group does. Sessions that are in another group by this see its LUNs from now on.
    #[command(after_help = "\
Examples:
  pagecast group add store web 'iqn.2026-11.com.example:web*' 10.0.0.7 --lun 0=disk0 --lun 1=iso:ro
  pagecast group add store lab '10.0.1.*' '!10.0.1.9' --before web
  pagecast group add store guests --default --lun 0=iso:ro")]
    Add(Add),
    /// A group less
    ///
    /// Its sessions go to the next group that admits them. Those that no group admits are closed.
    Remove {
        /// The target's name
        target: String,
        /// The group's name
        group: String,
    },
    /// A device gets a number in a group
    ///
    /// Hosts of the group are told, and see it without a new login. For NVMe hosts LUN n is namespace n + 1.
    #[command(after_help = "\
Examples:
  pagecast group map store web 1 disk1
  pagecast group map store web 2 iso --read-only
  pagecast group map store web 1 disk2 --replace              another device, in one step
  pagecast group map store web 1 disk2 --replace --read-only  the same one, for reading only")]
    Map {
        /// The target's name
        target: String,
        /// The group's name
        group: String,
        /// A number from 0 to 16383, which is free in the group unless it is to be replaced
        #[arg(value_parser = values::lun_number)]
        lun: u64,
        /// The device's name
        device: String,
        /// The group's initiators may not write
        #[arg(long)]
        read_only: bool,
        /// Also if the number is mapped: it is this device from now on, and writable unless --read-only is given
        #[arg(long)]
        replace: bool,
    },
    /// A number of a group is free again
    ///
    /// Commands in flight are waited for; then hosts are told that the LUN is gone. Unmount it there first.
    Unmap {
        /// The target's name
        target: String,
        /// The group's name
        group: String,
        /// The number
        #[arg(value_parser = values::lun_number)]
        lun: u64,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The target's name
    target: String,

    /// The group's name: letters, digits, '-', '_' and '.'
    group: String,

    /// Whom it admits: names or addresses of initiators, with '*' and '?', and '!' for "not"
    #[arg(value_name = "PATTERN")]
    initiators: Vec<String>,

    /// The group that it comes before; it is the last one otherwise
    #[arg(long, value_name = "GROUP")]
    before: Option<String>,

    /// It admits whoever no other group does
    #[arg(long)]
    default: bool,

    /// What its initiators see, as LUN=DEVICE, or LUN=DEVICE:ro for reading only; may be given several times
    #[arg(long = "lun", value_name = "LUN=DEVICE[:ro]", value_parser = Lun::parse)]
    luns: Vec<Lun>,
}

impl Add {
    fn params(self) -> Result<Params, UsageError> {
        let mut params = Params::new()
            .with("target", self.target)
            .with("name", self.group)
            .maybe("before", self.before)
            .flag("default", self.default);
        // A default group is complete without; another one says that it is for nobody yet.
        if !(self.default && self.initiators.is_empty()) {
            params = params.with("initiators", self.initiators);
        }
        if !self.luns.is_empty() {
            params = params.with("luns", values::lun_map(&self.luns)?);
        }
        Ok(params)
    }
}

impl Group {
    pub(super) fn request(self) -> Result<Request, UsageError> {
        let named = |target: String, group: String| {
            Params::new().with("target", target).with("group", group)
        };
        let (method, params) = match self {
            Self::List { target } => ("group.list", Params::new().maybe("target", target)),
            Self::Add(add) => ("group.add", add.params()?),
            Self::Remove { target, group } => (
                "group.remove",
                Params::new().with("target", target).with("name", group),
            ),
            Self::Map {
                target,
                group,
                lun,
                device,
                read_only,
                replace,
            } => (
                "group.map",
                named(target, group)
                    .with("lun", lun)
                    .with("device", device)
                    .flag("read_only", read_only)
                    .flag("replace", replace),
            ),
            Self::Unmap { target, group, lun } => {
                ("group.unmap", named(target, group).with("lun", lun))
            }
        };
        Ok(Request::new(method, params))
    }
}
