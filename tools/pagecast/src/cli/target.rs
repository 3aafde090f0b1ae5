//! `pagecast target` and `pagecast portal`.
#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "these are help texts, where brackets are brackets"
)]

use clap::{Args, Subcommand};
use serde_json::Value;

use super::Request;
use super::params::Params;
use super::values;

#[derive(Debug, Subcommand)]
pub(crate) enum Target {
    /// All targets, one line each
    List,
    /// One target: names, portals, access groups, and the commands that log an initiator in
    Show {
        /// The target's name
        name: String,
    },
    /// One more target
    ///
    /// Listens at once, but lets nobody in before it has a group that does (`pagecast group add`). Names that initiators know it by
    /// follow from NAME unless they are given.
    #[command(after_help = "\
Examples:
  pagecast target add store
  pagecast target add backup --portal iser:10.0.0.1 --portal 'srp:[2001:db8::1]:5555'
  pagecast target add ib --portal srp:service_id=00000000010615b3")]
    Add(Add),
    /// A target less, with its portals and groups; devices stay
    ///
    /// Refused while somebody is logged in, unless forced.
    Remove {
        /// The target's name
        name: String,
        /// Also if somebody is logged in: sessions are closed
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The target's name: letters, digits, '-', '_' and '.'
    name: String,

    /// Where it listens: TRANSPORT[:ADDRESS[:PORT]]; may be given several times, and is every transport on [::] otherwise
    ///
    /// The transport is srp, iser, nvme-rdma or iscsi-tcp. Without an address it is [::], which is every address of the machine;
    /// without a port it is the usual one. IPv6 addresses go in brackets. SRP over the native InfiniBand connection manager is
    /// srp:service_id=ID.
    #[arg(long = "portal", value_name = "PORTAL", value_parser = values::Portal::parse)]
    portals: Vec<values::Portal>,

    /// iSCSI name
    #[arg(long, value_name = "NAME")]
    iqn: Option<String>,

    /// NVMe qualified name
    #[arg(long, value_name = "NAME")]
    nqn: Option<String>,

    /// First half of the SRP target port identifier, 16 hex digits
    #[arg(long, value_name = "HEX")]
    srp_id_ext: Option<String>,

    /// Second half of the SRP target port identifier, 16 hex digits
    #[arg(long, value_name = "HEX")]
    srp_ioc_guid: Option<String>,
}

impl Target {
    pub(super) fn request(self) -> Request {
        let (method, params) = match self {
            Self::List => ("target.list", Params::new()),
            Self::Show { name } => ("target.show", Params::new().with("name", name)),
            Self::Add(add) => ("target.add", add.params()),
            Self::Remove { name, force } => (
                "target.remove",
                Params::new().with("name", name).flag("force", force),
            ),
        };
        Request::new(method, params)
    }
}

impl Add {
    fn params(self) -> Params {
        let portals = if self.portals.is_empty() {
            values::Portal::every()
        } else {
            self.portals
        };
        let portals: Vec<Value> = portals
            .into_iter()
            .map(values::Portal::into_value)
            .collect();
        Params::new()
            .with("name", self.name)
            .with("portals", portals)
            .maybe("iqn", self.iqn)
            .maybe("nqn", self.nqn)
            .maybe("srp_id_ext", self.srp_id_ext)
            .maybe("srp_ioc_guid", self.srp_ioc_guid)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Portal {
    /// One more way to a target
    ///
    /// The target listens there at once. Several targets may share a portal.
    #[command(after_help = "\
Examples:
  pagecast portal add store iser
  pagecast portal add store iser:10.0.0.1
  pagecast portal add store 'nvme-rdma:[2001:db8::1]:4420'")]
    Add(Place),
    /// A way to a target less
    ///
    /// Sessions that came in there go on.
    #[command(after_help = "\
Examples:
  pagecast portal remove store iser:10.0.0.1")]
    Remove(Place),
}

#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The target's name
    target: String,

    /// TRANSPORT[:ADDRESS[:PORT]], with IPv6 addresses in brackets
    ///
    /// The transport is srp, iser, nvme-rdma or iscsi-tcp. Without an address it is [::], which is every address of the machine;
    /// without a port it is the usual one. SRP over the native InfiniBand connection manager is srp:service_id=ID.
    #[arg(value_parser = values::Portal::parse)]
    portal: values::Portal,
}

impl Place {
    fn params(self) -> Params {
        Params::new()
            .with("target", self.target)
            .merge(self.portal.into_value())
    }
}

impl Portal {
    pub(super) fn request(self) -> Request {
        match self {
            Self::Add(place) => Request::new("portal.add", place.params()),
            Self::Remove(place) => Request::new("portal.remove", place.params()),
        }
    }
}
