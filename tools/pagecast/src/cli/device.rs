//! `pagecast device`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::params::{Params, absolute};
use super::{Request, UsageError};

#[derive(Debug, Subcommand)]
pub(crate) enum Device {
    /// All devices, one line each
    List,
    /// One device: size, zero-copy mode in force and why, queue depth, counters
    Show {
        /// The device's name
        name: String,
    },
    /// One more device
    ///
    /// Opens a file or a block device, or takes memory, and keeps it in the configuration under NAME. Nobody sees it before it is mapped
    /// (`pagecast group map`). A relative path is relative to the directory that this command is run in. Without options it has the defaults of the configuration file: blocks of 512 bytes, a volatile write
    /// cache, zero copy as this machine is able to, reservations, and identities that follow from NAME.
    #[command(after_help = "\
Examples:
  pagecast device add disk1 --file /srv/disk1.img
  pagecast device add lv7 --block /dev/vg0/lv7 --block-size 4096 --read-only
  pagecast device add ram0 --memory 1GiB")]
    Add(Box<Add>),
    /// A device less; its file stays as it is
    ///
    /// Refused while a group maps the device, unless forced.
    Remove {
        /// The device's name
        name: String,
        /// Also if it is mapped: its LUNs are unmapped first. Commands in flight are waited for, and initiators are told
        #[arg(long)]
        force: bool,
    },
    /// Another size, while the device is served
    ///
    /// Initiators are told. Without SIZE the device gets the size that its file or block device has by now; with SIZE its file,
    /// or its memory, is made that large first.
    #[command(after_help = "\
Examples:
  pagecast device resize disk0              takes over the size that its file has by now
  pagecast device resize disk0 20G          makes its file that large first
  pagecast device resize disk0 5G --force   smaller: what is beyond is lost")]
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

#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The device's name: letters, digits, '-', '_' and '.'
    name: String,

    #[command(flatten)]
    store: Store,

    /// The path of a --backend that has one
    #[arg(long, value_name = "PATH", requires = "backend", conflicts_with_all = ["file", "block", "memory"])]
    path: Option<PathBuf>,

    /// The size of a --backend that has one
    #[arg(long, value_name = "SIZE", requires = "backend", conflicts_with_all = ["file", "block", "memory"])]
    size: Option<String>,

    /// Bytes of a logical block, 512 or 4096
    #[arg(long, value_name = "BYTES")]
    block_size: Option<u64>,

    /// Nobody may write
    #[arg(long)]
    read_only: bool,

    /// Report no volatile write cache: every write is durable before it is answered, and slower
    #[arg(long)]
    no_write_cache: bool,

    /// How copies are avoided: auto, pinned, odp or off
    #[arg(long, value_name = "MODE")]
    zero_copy: Option<String>,

    /// How long initiators wait for a command, such as 30s; the queue depth follows from it
    #[arg(long, value_name = "TIME")]
    command_timeout: Option<String>,

    /// Commands in flight, at most
    #[arg(long, value_name = "COUNT")]
    queue_depth_max: Option<u64>,

    /// Initiators may not reserve it
    #[arg(long)]
    no_reservations: bool,

    /// Registrants of persistent reservations, at most
    #[arg(long, value_name = "COUNT")]
    max_registrants: Option<u64>,

    /// Unit serial number, instead of one that follows from the name
    #[arg(long, value_name = "TEXT")]
    serial: Option<String>,

    /// NAA designator, 16 or 32 hex digits, instead of one that follows from the name
    #[arg(long, value_name = "HEX")]
    naa: Option<String>,

    /// UUID, instead of one that follows from the name
    #[arg(long, value_name = "UUID")]
    uuid: Option<String>,
}

/// What keeps the bytes.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Store {
    /// Serve a file
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,

    /// Serve a block device
    #[arg(long, value_name = "PATH")]
    block: Option<PathBuf>,

    /// Serve memory of the daemon, which is empty at first and gone when it ends
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,

    /// Serve a file, a block device or memory (file, block, memory) by the keys of the configuration, with --path or --size
    #[arg(long, value_name = "KIND")]
    backend: Option<String>,
}

impl Store {
    fn params(self) -> Result<Params, UsageError> {
        let params = Params::new();
        Ok(if let Some(path) = self.file {
            params
                .with("backend", "file")
                .with("path", absolute(&path)?)
        } else if let Some(path) = self.block {
            params
                .with("backend", "block")
                .with("path", absolute(&path)?)
        } else if let Some(size) = self.memory {
            params.with("backend", "memory").with("size", size)
        } else {
            params.maybe("backend", self.backend)
        })
    }
}

impl Add {
    fn params(self) -> Result<Params, UsageError> {
        let mut params = self
            .store
            .params()?
            .with("name", self.name)
            .maybe("path", self.path.as_deref().map(absolute).transpose()?)
            .maybe("size", self.size)
            .maybe("block_size", self.block_size)
            .flag("read_only", self.read_only)
            .maybe("zero_copy", self.zero_copy)
            .maybe("command_timeout", self.command_timeout)
            .maybe("queue_depth_max", self.queue_depth_max)
            .maybe("max_registrants", self.max_registrants)
            .maybe("serial", self.serial)
            .maybe("naa", self.naa)
            .maybe("uuid", self.uuid);
        for (key, off) in [
            ("write_cache", self.no_write_cache),
            ("reservations", self.no_reservations),
        ] {
            if off {
                params = params.with(key, json!(false));
            }
        }
        Ok(params)
    }
}

impl Device {
    pub(super) fn request(self) -> Result<Request, UsageError> {
        let (method, params) = match self {
            Self::List => ("device.list", Params::new()),
            Self::Show { name } => ("device.show", Params::new().with("name", name)),
            Self::Add(add) => ("device.add", add.params()?),
            Self::Remove { name, force } => (
                "device.remove",
                Params::new().with("name", name).flag("force", force),
            ),
            Self::Resize { name, size, force } => (
                "device.resize",
                Params::new()
                    .with("name", name)
                    .maybe("size", size)
                    .flag("force", force),
            ),
        };
        Ok(Request::new(method, params))
    }
}
