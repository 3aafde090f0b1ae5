//! What a device is to be.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::document::{Fault, Node, Object, Problems, boolean, integer32, show, string, word};
use super::ids::{Naa, Uuid};
use super::name::Name;
use super::units::{ByteSize, Span};

/// One device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeviceConfig {
    /// Unique among devices.
    pub name: Name,
    /// What keeps its bytes: the keys `backend`, and `path` or `size`.
    #[serde(flatten)]
    pub store: Store,
    /// Logical block size in bytes: 512 or 4096.
    pub block_size: u32,
    /// Refuse writes, whatever the store allows.
    #[serde(skip_serializing_if = "is_false")]
    pub read_only: bool,
    /// Report a volatile write cache; without one, every write is durable before its status.
    #[serde(skip_serializing_if = "is_true")]
    pub write_cache: bool,
    /// How READs (and WRITEs) may avoid copies.
    #[serde(skip_serializing_if = "ZeroCopy::is_default")]
    pub zero_copy: ZeroCopy,
    /// How long initiators wait for a command; the queue depth follows from it.
    pub command_timeout: Span,
    /// Commands in flight, at most.
    pub queue_depth_max: u32,
    /// Initiators may reserve it.
    #[serde(skip_serializing_if = "is_true")]
    pub reservations: bool,
    /// Registrants of persistent reservations, at most.
    pub max_registrants: u32,
    /// Unit serial number; derived from the name if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// NAA designator; derived from the name if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub naa: Option<Naa>,
    /// UUID; derived from the name if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<Uuid>,
}

/// What keeps the bytes of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "backend", rename_all = "lowercase")]
pub enum Store {
    /// A regular file (a block device will do as well), through the page cache.
    File {
        /// Where it is.
        path: PathBuf,
    },
    /// A block device, through the page cache.
    Block {
        /// Where it is.
        path: PathBuf,
    },
    /// Memory of this process; gone when it ends.
    Memory {
        /// Bytes; a multiple of the block size.
        size: ByteSize,
    },
}

impl Store {
    /// The path of stores that have one.
    pub fn path(&self) -> Option<&PathBuf> {
        match self {
            Self::File { path } | Self::Block { path } => Some(path),
            Self::Memory { .. } => None,
        }
    }

    /// As in the configuration: `file`, `block`, `memory`.
    pub fn backend(&self) -> &'static str {
        match self {
            Self::File { .. } => "file",
            Self::Block { .. } => "block",
            Self::Memory { .. } => "memory",
        }
    }
}

/// How copies may be avoided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ZeroCopy {
    /// What works best on this machine.
    #[default]
    Auto,
    /// Windows of pinned page cache.
    Pinned,
    /// One region with on-demand paging.
    Odp,
    /// Always staged.
    Off,
}

impl ZeroCopy {
    /// As in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Pinned => "pinned",
            Self::Odp => "odp",
            Self::Off => "off",
        }
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl DeviceConfig {
    /// What Linux initiators wait for a disk command, unless told otherwise.
    pub const DEFAULT_COMMAND_TIMEOUT: Span = Span::seconds(30);
    /// Enough to keep any disk busy.
    pub const DEFAULT_QUEUE_DEPTH: u32 = 256;
    /// Every path of every host of a large cluster.
    pub const DEFAULT_REGISTRANTS: u32 = 4096;

    /// In the order in which they are written.
    pub(crate) const KEYS: [&'static str; 15] = [
        "name",
        "backend",
        "path",
        "size",
        "block_size",
        "read_only",
        "write_cache",
        "zero_copy",
        "command_timeout",
        "queue_depth_max",
        "reservations",
        "max_registrants",
        "serial",
        "naa",
        "uuid",
    ];

    /// A device with the defaults.
    pub fn new(name: Name, store: Store) -> Self {
        Self {
            name,
            store,
            block_size: 512,
            read_only: false,
            write_cache: true,
            zero_copy: ZeroCopy::Auto,
            command_timeout: Self::DEFAULT_COMMAND_TIMEOUT,
            queue_depth_max: Self::DEFAULT_QUEUE_DEPTH,
            reservations: true,
            max_registrants: Self::DEFAULT_REGISTRANTS,
            serial: None,
            naa: None,
            uuid: None,
        }
    }

    /// The device with its path, if that is relative, taken as one in `directory`.
    pub(super) fn within(mut self, directory: Option<&Path>) -> Self {
        if let Store::File { path } | Store::Block { path } = &mut self.store
            && let Some(directory) = directory
        {
            *path = directory.join(&*path);
        }
        self
    }

    pub(super) fn read(problems: &mut Problems, node: &Node, path: &str) -> Option<Self> {
        let object = problems.object(node, path, &Self::KEYS)?;
        let name = object.required(problems, "name", "\"disk0\"", Name::read);
        let block_size = object
            .optional(problems, "block_size", block_size)
            .unwrap_or(512);
        let store = read_store(problems, &object, block_size);
        let read_only = object.optional(problems, "read_only", boolean);
        let write_cache = object.optional(problems, "write_cache", boolean);
        let zero_copy = object.optional(problems, "zero_copy", |node| {
            word(
                node,
                &[
                    ("auto", ZeroCopy::Auto),
                    ("pinned", ZeroCopy::Pinned),
                    ("odp", ZeroCopy::Odp),
                    ("off", ZeroCopy::Off),
                ],
            )
        });
        let command_timeout = object.optional(problems, "command_timeout", |node| {
            Span::read(
                node,
                Span::seconds(1),
                Span::seconds(1),
                Span::seconds(3600),
            )
        });
        let queue_depth_max =
            object.optional(problems, "queue_depth_max", |node| integer32(node, 1, 4096));
        let reservations = object.optional(problems, "reservations", boolean);
        let max_registrants = object.optional(problems, "max_registrants", |node| {
            integer32(node, 1, 65536)
        });
        let serial = object.optional(problems, "serial", serial);
        let naa = object.optional(problems, "naa", Naa::read);
        let uuid = object.optional(problems, "uuid", Uuid::read);
        let mut device = Self::new(name?, store?);
        device.block_size = block_size;
        device.read_only = read_only.unwrap_or(device.read_only);
        device.write_cache = write_cache.unwrap_or(device.write_cache);
        device.zero_copy = zero_copy.unwrap_or(device.zero_copy);
        device.command_timeout = command_timeout.unwrap_or(device.command_timeout);
        device.queue_depth_max = queue_depth_max.unwrap_or(device.queue_depth_max);
        device.reservations = reservations.unwrap_or(device.reservations);
        device.max_registrants = max_registrants.unwrap_or(device.max_registrants);
        device.serial = serial;
        device.naa = naa;
        device.uuid = uuid;
        Some(device)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Block,
    Memory,
}

fn read_store(problems: &mut Problems, object: &Object<'_>, block_size: u32) -> Option<Store> {
    let kind = object.required(problems, "backend", "\"file\"", |node| {
        word(
            node,
            &[
                ("file", Kind::File),
                ("block", Kind::Block),
                ("memory", Kind::Memory),
            ],
        )
    })?;
    let refuse = |problems: &mut Problems, key: &str, fault: Fault| {
        if object.get(key).is_some() {
            problems.add(&object.path(key), fault);
        }
    };
    if kind == Kind::Memory {
        refuse(
            problems,
            "path",
            Fault::new(
                "a memory device has no path",
                "remove it, or use \"backend\": \"file\"",
            ),
        );
        let size = object.required(problems, "size", "\"1GiB\"", |node| {
            memory_size(node, block_size)
        })?;
        return Some(Store::Memory { size });
    }
    refuse(
        problems,
        "size",
        Fault::new(
            "only memory devices have a size here",
            "remove it: the device is as large as what is at its path",
        ),
    );
    let path = object.required(problems, "path", "\"/srv/disk0.img\"", file_path)?;
    Some(if kind == Kind::File {
        Store::File { path }
    } else {
        Store::Block { path }
    })
}

pub(super) fn memory_size(node: &Node, block_size: u32) -> Result<ByteSize, Fault> {
    let size = ByteSize::read(node, ByteSize(4096), ByteSize(1 << 46))?;
    if size.bytes() % u64::from(block_size) == 0 {
        return Ok(size);
    }
    Err(Fault::new(
        format!(
            "{} is not a multiple of the block size ({block_size})",
            node.show()
        ),
        "round it up",
    ))
}

fn file_path(node: &Node) -> Result<PathBuf, Fault> {
    let text = string(node)?;
    if text.is_empty() || text.contains('\0') || text.ends_with('/') {
        let what = format!("{} is not the path of a file", show(text));
        return Err(Fault::new(what, "give one such as \"/srv/disk0.img\""));
    }
    Ok(text.into())
}

fn block_size(node: &Node) -> Result<u32, Fault> {
    match node {
        Node::Integer(512) => Ok(512),
        Node::Integer(4096) => Ok(4096),
        other => Err(Fault::new(
            format!("{} is not a block size", other.show()),
            "give 512 or 4096",
        )),
    }
}

/// PRODUCT SERIAL NUMBER is ASCII, right-aligned with spaces (SPC-4 section 7.8.18): no spaces at its ends.
fn serial(node: &Node) -> Result<String, Fault> {
    let text = string(node)?;
    let good = (1..=64).contains(&text.len())
        && text.chars().all(|c| c == ' ' || c.is_ascii_graphic())
        && text.trim() == text;
    good.then(|| text.to_owned()).ok_or_else(|| {
        Fault::new(
            format!("{} is not a serial number", show(text)),
            "give 1 to 64 printable ASCII characters, with no space at either end",
        )
    })
}

// The signatures are serde's.
fn is_false(value: &bool) -> bool {
    !*value
}

fn is_true(value: &bool) -> bool {
    *value
}
