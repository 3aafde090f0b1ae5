//! Making the control socket, and never taking one from a daemon that lives.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use thiserror::Error;

/// Owner and group may connect: what the socket tells and does is not for everybody.
const MODE: u32 = 0o660;

/// Why there is no control socket.
#[derive(Debug, Error)]
pub enum SocketError {
    /// A daemon answers there.
    #[error("another daemon serves the control socket {}; stop it, or give this one another with --socket", path.display())]
    Taken {
        /// Where.
        path: PathBuf,
    },
    /// Something else is there.
    #[error("{} is there already and is not a socket; name another with --socket", path.display())]
    NotASocket {
        /// Where.
        path: PathBuf,
    },
    /// The path does not fit into a socket address.
    #[error("the path of the control socket is too long: {}; name one of at most 107 bytes with --socket", path.display())]
    TooLong {
        /// Where.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot make the control socket {}: {cause}; name one in a directory that the daemon may write with --socket", path.display())]
    System {
        /// Where.
        path: PathBuf,
        /// What it said.
        cause: io::Error,
    },
}

/// A listening socket; its file is removed when it is dropped.
#[derive(Debug)]
pub(super) struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the file, to tell it from one that came after.
    file: (u64, u64),
    /// When it was made.
    access: Access,
}

/// Whose a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Access {
    /// The daemon's user.
    pub(super) owner: u32,
    /// Who may use it besides.
    pub(super) group: u32,
}

impl AsFd for ControlSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl ControlSocket {
    pub(super) fn bind(path: &Path) -> Result<Self, SocketError> {
        let address = SocketAddrUnix::new(path).map_err(|_| SocketError::TooLong {
            path: path.to_owned(),
        })?;
        let system = |cause: io::Error| SocketError::System {
            path: path.to_owned(),
            cause,
        };
        let errno = |errno: Errno| system(errno.into());

        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(parent)
            .map_err(system)?;
        // One daemon at a time: of two that find the same stale socket, the slower one must not remove what the faster
        // one has made. Released when it is closed.
        let lock = File::open(parent).map_err(system)?;
        flock(&lock, FlockOperation::LockExclusive).map_err(errno)?;

        clear(path, &address)?;
        let socket = new_socket(SocketFlags::CLOEXEC).map_err(errno)?;
        rustix::net::bind(&socket, &address).map_err(errno)?;
        // Before it listens: nobody gets in who may not.
        fs::set_permissions(path, fs::Permissions::from_mode(MODE)).map_err(system)?;
        let metadata = fs::metadata(path).map_err(system)?;
        rustix::net::listen(&socket, 64).map_err(errno)?;
        Ok(Self {
            listener: socket.into(),
            path: path.to_owned(),
            file: (metadata.dev(), metadata.ino()),
            access: Access {
                owner: metadata.uid(),
                group: metadata.gid(),
            },
        })
    }

    /// Whose it is now: somebody may have given it another group.
    pub(super) fn access(&self) -> Access {
        match fs::symlink_metadata(&self.path) {
            Ok(metadata) if (metadata.dev(), metadata.ino()) == self.file => Access {
                group: metadata.gid(),
                ..self.access
            },
            _ => self.access,
        }
    }

    pub(super) fn listener(&self) -> &UnixListener {
        &self.listener
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.file);
        if ours {
            // It may be gone by now, and there is nobody to tell.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes what a dead daemon left behind.
fn clear(path: &Path, address: &SocketAddrUnix) -> Result<(), SocketError> {
    let system = |cause: io::Error| SocketError::System {
        path: path.to_owned(),
        cause,
    };
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(SocketError::NotASocket {
                path: path.to_owned(),
            });
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(system(cause)),
    }
    // Without waiting: a daemon with a full backlog is alive too.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let probe = new_socket(flags).map_err(|errno| system(errno.into()))?;
    match rustix::net::connect(&probe, address) {
        Err(Errno::CONNREFUSED) => fs::remove_file(path).map_err(system),
        Ok(()) | Err(Errno::AGAIN | Errno::INPROGRESS) => Err(SocketError::Taken {
            path: path.to_owned(),
        }),
        Err(errno) => Err(system(errno.into())),
    }
}

fn new_socket(flags: SocketFlags) -> Result<OwnedFd, Errno> {
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}
