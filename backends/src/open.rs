//! Opening what holds a device's bytes, and refusing clearly what cannot.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use thiserror::Error;

use crate::Usage;
use crate::descriptor;
use crate::holder;

/// What to open, and how.
#[derive(Clone, Debug)]
pub struct FileOptions {
    /// A regular file or a block device.
    pub path: PathBuf,
    /// Open without the right to write.
    pub read_only: bool,
}

/// Why a store could not be opened. Each message says what to do.
#[derive(Debug, Error)]
pub enum OpenError {
    /// There is nothing at that path.
    #[error("{path} does not exist; create it first, for example: truncate -s 10G {path}")]
    NotFound {
        /// As configured.
        path: PathBuf,
    },
    /// The path is a directory.
    #[error("{path} is a directory; name a file in it or a block device")]
    Directory {
        /// As configured.
        path: PathBuf,
    },
    /// The path is a socket, a pipe or a character device.
    #[error("{path} is a {kind}; name a regular file or a block device")]
    WrongKind {
        /// As configured.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// The store has no bytes.
    #[error("{path} is empty; give it a size first, for example: truncate -s 10G {path}")]
    Empty {
        /// As configured.
        path: PathBuf,
    },
    /// The store does not consist of whole blocks.
    #[error(
        "{path} is {size} bytes long, which is not a multiple of 512; round it up: truncate -s %512 {path}"
    )]
    Unaligned {
        /// As configured.
        path: PathBuf,
        /// Bytes.
        size: u64,
    },
    /// Somebody else uses the store.
    #[error("{path} is in use by {holder}; stop that first, or export another file")]
    InUse {
        /// As configured.
        path: PathBuf,
        /// Who it is, as far as that can be told.
        holder: String,
    },
    /// The rights do not suffice.
    #[error(
        "no permission to open {path} for {access}; give the user that runs pagecastd (uid {uid}) that right{hint}"
    )]
    Permission {
        /// As configured.
        path: PathBuf,
        /// What was wanted.
        access: &'static str,
        /// Who asked.
        uid: u32,
        /// What else helps.
        hint: &'static str,
    },
    /// The store cannot be written where it is.
    #[error(
        "{path} is on a read-only medium; set \"read_only\": true on the device, or remount it"
    )]
    ReadOnlyMedium {
        /// As configured.
        path: PathBuf,
    },
    /// The file system knows no locks.
    #[error(
        "{path} cannot be locked ({source}); keep it on a file system that supports locks, so that no second program can use it"
    )]
    NoLocks {
        /// As configured.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Memory for a memory device could not be had.
    #[error("cannot create a memory device of {size} bytes ({source}); give it a smaller size")]
    Memory {
        /// Bytes wanted.
        size: u64,
        /// What the kernel said.
        source: io::Error,
    },
    /// Anything else.
    #[error("cannot open {path}: {source}")]
    Io {
        /// As configured.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl OpenError {
    /// Whether the store is not there (yet), so that waiting for it may help: nothing is at the path, the device behind it is gone,
    /// has no medium or does not answer, or the file is still being filled. Everything else takes somebody to mend it.
    pub fn is_missing(&self) -> bool {
        match self {
            Self::NotFound { .. } | Self::Empty { .. } => true,
            Self::Io { source, .. } => source
                .raw_os_error()
                .is_some_and(|errno| MISSING.contains(&Errno::from_raw_os_error(errno))),
            _ => false,
        }
    }
}

/// What the kernel says of devices and file systems that went away or are not ready. EMEDIUMTYPE is what DRBD says while the other
/// node has the device.
const MISSING: [Errno; 14] = [
    Errno::NXIO,
    Errno::NODEV,
    Errno::NOMEDIUM,
    Errno::MEDIUMTYPE,
    Errno::IO,
    Errno::REMOTEIO,
    Errno::SHUTDOWN,
    Errno::STALE,
    Errno::NOTCONN,
    Errno::HOSTDOWN,
    Errno::HOSTUNREACH,
    Errno::TIMEDOUT,
    // The path came to be something else while it was opened.
    Errno::AGAIN,
    Errno::INTR,
];

/// Whether there is something at the path that could be opened, and how many bytes it has. Claims and locks nothing, and leaves
/// whoever uses it alone.
pub fn present_size(path: &Path) -> Result<u64, OpenError> {
    let options = FileOptions {
        path: path.to_owned(),
        read_only: true,
    };
    let opening = Opening(&options);
    let kind = opening.kind(&rustix::fs::stat(path).map_err(|e| opening.failed(e))?)?;
    let flags = OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::RDONLY;
    let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| opening.failed(e))?;
    let size = Store { fd, kind }.size().map_err(|e| opening.failed(e))?;
    opening.check_size(size)?;
    Ok(size)
}

/// Where the bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    BlockDevice,
    Memory,
}

/// An open store.
#[derive(Debug)]
pub(crate) struct Store {
    fd: OwnedFd,
    kind: Kind,
}

impl Store {
    /// Opens and locks what `options` name.
    pub(crate) fn open(options: &FileOptions) -> Result<Self, OpenError> {
        let opening = Opening(options);
        let kind =
            opening.kind(&rustix::fs::stat(&options.path).map_err(|e| opening.failed(e))?)?;
        let store = Self {
            fd: opening.open(kind)?,
            kind,
        };
        let stat = rustix::fs::fstat(&store.fd).map_err(|e| opening.failed(e))?;
        if opening.kind(&stat)? != kind {
            return Err(opening.failed(Errno::AGAIN));
        }
        opening.lock(&store, &stat)?;
        opening.check_size(store.size().map_err(|e| opening.failed(e))?)?;
        Ok(store)
    }

    /// Makes an anonymous file of `size` bytes in memory.
    pub(crate) fn in_memory(size: u64) -> Result<Self, OpenError> {
        use rustix::fs::MemfdFlags;
        let path = PathBuf::from("a memory device");
        match size {
            0 => return Err(OpenError::Empty { path }),
            size if size % 512 != 0 => return Err(OpenError::Unaligned { path, size }),
            _ => {}
        }
        let failed = |errno: Errno| OpenError::Memory {
            size,
            source: errno.into(),
        };
        let fd = rustix::fs::memfd_create("pagecast", MemfdFlags::CLOEXEC).map_err(failed)?;
        rustix::fs::ftruncate(&fd, size).map_err(failed)?;
        Ok(Self {
            fd,
            kind: Kind::Memory,
        })
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// How much room it takes and could still take.
    pub(crate) fn usage(&self) -> Result<Usage, Errno> {
        let size = self.size()?;
        let mut usage = Usage {
            used: size,
            available: None,
        };
        if self.kind != Kind::BlockDevice {
            let stat = rustix::fs::fstat(&self.fd)?;
            // In units of 512 bytes, whatever the block size. What a file system needs for its own books counts in.
            let used =
                u64::try_from(stat.st_blocks).map_or(size, |blocks| blocks.saturating_mul(512));
            usage.used = used.min(size);
        }
        if self.kind == Kind::File {
            let system = rustix::fs::fstatvfs(&self.fd)?;
            let free = system.f_bavail.saturating_mul(system.f_frsize);
            usage.available = Some(free.min(size - usage.used));
        }
        Ok(usage)
    }

    /// Bytes that are there now.
    pub(crate) fn size(&self) -> Result<u64, Errno> {
        match self.kind {
            Kind::BlockDevice => match descriptor::block_device_size(self.as_fd())? {
                0 => Err(Errno::NXIO),
                size => Ok(size),
            },
            Kind::File | Kind::Memory => {
                let stat = rustix::fs::fstat(&self.fd)?;
                u64::try_from(stat.st_size).map_err(|_| Errno::OVERFLOW)
            }
        }
    }
}

impl Store {
    /// Cuts the store off, or makes it longer.
    pub(crate) fn set_size(&self, size: u64) -> Result<(), Errno> {
        if self.kind == Kind::BlockDevice {
            return Err(Errno::OPNOTSUPP);
        }
        // To go beyond the limit would not only fail but end the process (SIGXFSZ).
        let limit = getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX);
        if i64::try_from(size).is_err() || size > limit {
            return Err(Errno::FBIG);
        }
        rustix::fs::ftruncate(&self.fd, size).map_err(|errno| match errno {
            // What some file systems say of a size that they cannot have.
            Errno::INVAL | Errno::OVERFLOW => Errno::FBIG,
            errno => errno,
        })
    }
}

impl AsFd for Store {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The steps of opening, which share what their errors name.
struct Opening<'a>(&'a FileOptions);

impl Opening<'_> {
    fn kind(&self, stat: &Stat) -> Result<Kind, OpenError> {
        let wrong = |kind| {
            Err(OpenError::WrongKind {
                path: self.path(),
                kind,
            })
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(Kind::File),
            FileType::BlockDevice => Ok(Kind::BlockDevice),
            FileType::Directory => Err(OpenError::Directory { path: self.path() }),
            FileType::CharacterDevice => wrong("character device"),
            FileType::Fifo => wrong("pipe"),
            FileType::Socket => wrong("socket"),
            _ => wrong("special file"),
        }
    }

    fn open(&self, kind: Kind) -> Result<OwnedFd, OpenError> {
        let mut flags = OFlags::CLOEXEC | OFlags::NOCTTY;
        flags |= if self.0.read_only {
            OFlags::RDONLY
        } else {
            OFlags::RDWR
        };
        if kind == Kind::BlockDevice {
            // Claims the device against mounts, other holders and other exclusive opens.
            flags |= OFlags::EXCL;
        }
        rustix::fs::open(self.0.path.as_path(), flags, Mode::empty()).map_err(|e| self.failed(e))
    }

    fn lock(&self, store: &Store, stat: &Stat) -> Result<(), OpenError> {
        match descriptor::lock(store.as_fd(), !self.0.read_only) {
            Ok(()) => Ok(()),
            Err(Errno::AGAIN | Errno::ACCESS) => Err(OpenError::InUse {
                path: self.path(),
                holder: holder::of_lock(stat),
            }),
            Err(errno) => Err(OpenError::NoLocks {
                path: self.path(),
                source: errno.into(),
            }),
        }
    }

    fn check_size(&self, size: u64) -> Result<(), OpenError> {
        match size {
            0 => Err(OpenError::Empty { path: self.path() }),
            size if size % 512 != 0 => Err(OpenError::Unaligned {
                path: self.path(),
                size,
            }),
            _ => Ok(()),
        }
    }

    fn failed(&self, errno: Errno) -> OpenError {
        let path = self.path();
        match errno {
            Errno::NOENT | Errno::NOTDIR => OpenError::NotFound { path },
            Errno::ISDIR => OpenError::Directory { path },
            Errno::ACCESS | Errno::PERM => OpenError::Permission {
                path,
                access: if self.0.read_only {
                    "reading"
                } else {
                    "reading and writing"
                },
                uid: rustix::process::geteuid().as_raw(),
                hint: if self.0.read_only {
                    ""
                } else {
                    ", or set \"read_only\": true on the device"
                },
            },
            Errno::ROFS => OpenError::ReadOnlyMedium { path },
            Errno::BUSY => OpenError::InUse {
                holder: holder::of_block_device(&path),
                path,
            },
            errno => OpenError::Io {
                path,
                source: errno.into(),
            },
        }
    }

    fn path(&self) -> PathBuf {
        Path::to_owned(&self.0.path)
    }
}
