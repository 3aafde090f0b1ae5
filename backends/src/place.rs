//! Whether the path of a store still leads to what is open.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Stat, fstat, major, minor, stat};
use rustix::io::Errno;
use thiserror::Error;

/// Where a store was when it was opened.
#[derive(Clone, Debug)]
pub struct Place {
    path: PathBuf,
    /// What the path led to. File systems made of others may tell another story of the same file once it is open.
    led_to: Option<Identity>,
    /// Some file systems count no links.
    had_links: bool,
}

/// What has become of the path of a store that still works. Each message says what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Misplaced {
    /// No directory has the file any more, and nothing is in its place.
    #[error(
        "its file {path} was deleted: what is written is lost when the daemon ends; stop its initiators, copy it (cp --sparse=always {open} COPY), put the copy in its place, and start the daemon again"
    )]
    Deleted {
        /// As configured.
        path: PathBuf,
        /// Where its bytes can still be had.
        open: String,
    },
    /// No directory has the file any more, and another one is in its place.
    #[error(
        "its file was deleted, and {path} is another one, which is served when the daemon is started again: what is written until then is lost; to keep it, stop its initiators and copy it (cp --sparse=always {open} COPY); to serve the other one, remove the device and add it again"
    )]
    Overwritten {
        /// As configured.
        path: PathBuf,
        /// Where its bytes can still be had.
        open: String,
    },
    /// The file is elsewhere.
    #[error(
        "its file is not at {path} any more, and not found when the daemon is started again: it was renamed, or its file system was unmounted; put it back"
    )]
    Moved {
        /// As configured.
        path: PathBuf,
    },
    /// The file is elsewhere, and another one is in its place.
    #[error(
        "its file is not at {path} any more: there is another one, which is served when the daemon is started again; put the right one back, or to serve the other one, remove the device and add it again"
    )]
    Replaced {
        /// As configured.
        path: PathBuf,
    },
    /// No name leads to the block device any more.
    #[error(
        "{path} is not there any more, so that its block device ({device}) is not found when the daemon is started again; see that it comes back (udevadm trigger), or configure a path that stays with the device (/dev/disk/by-id/...)"
    )]
    Nameless {
        /// As configured.
        path: PathBuf,
        /// Major and minor number.
        device: String,
    },
    /// The path leads elsewhere.
    #[error(
        "{path} does not lead to its block device ({device}) any more but elsewhere, and what is there is served when the daemon is started again; configure a path that stays with the device (/dev/disk/by-id/...), or to serve what is there, remove the device and add it again"
    )]
    Renamed {
        /// As configured.
        path: PathBuf,
        /// Major and minor number.
        device: String,
    },
}

/// What tells one store from another while it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Identity {
    File { device: u64, inode: u64 },
    // There may be any number of nodes for one device, on any file system.
    BlockDevice { number: u64 },
}

impl Identity {
    fn of(stat: &Stat) -> Self {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::BlockDevice => Self::BlockDevice {
                number: stat.st_rdev,
            },
            _ => Self::File {
                device: stat.st_dev,
                inode: stat.st_ino,
            },
        }
    }
}

impl Place {
    /// The place of a store that was opened by `path` just now.
    pub fn of(path: &Path, open: Option<BorrowedFd<'_>>) -> Self {
        let links = open.and_then(|open| fstat(open).ok());
        Self {
            path: path.to_owned(),
            led_to: stat(path).ok().map(|stat| Identity::of(&stat)),
            had_links: links.is_some_and(|stat| stat.st_nlink > 0),
        }
    }

    /// Looks whether the path still leads to what is open; an error if that cannot be told. May hang where the file system does.
    pub fn look(&self, open: Option<BorrowedFd<'_>>) -> io::Result<Option<Misplaced>> {
        let there = match stat(&self.path) {
            Ok(stat) => Some(Identity::of(&stat)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => None,
            Err(errno) => return Err(errno.into()),
        };
        let Some(fd) = open else {
            // All that is known is what the path led to.
            let path = self.path.clone();
            return Ok(match there {
                _ if there == self.led_to => None,
                Some(_) => Some(Misplaced::Replaced { path }),
                None => Some(Misplaced::Moved { path }),
            });
        };
        let stat = fstat(fd)?;
        let opened = Identity::of(&stat);
        // As ever, or as whoever copied the file to another layer has left it.
        let in_place = there.is_some() && (there == self.led_to || there == Some(opened));
        let path = self.path.clone();
        if let Identity::BlockDevice { number } = opened {
            // The node that it was opened by does not matter.
            let device = format!("{}:{}", major(number), minor(number));
            return Ok(match there {
                _ if in_place => None,
                Some(_) => Some(Misplaced::Renamed { path, device }),
                None => Some(Misplaced::Nameless { path, device }),
            });
        }
        // Also where a bind mount of the file alone still leads to it.
        let is_deleted = stat.st_nlink == 0 && (self.had_links || !in_place);
        let open = || format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd());
        Ok(match there {
            Some(_) if is_deleted && !in_place => {
                let open = open();
                Some(Misplaced::Overwritten { path, open })
            }
            _ if is_deleted => {
                let open = open();
                Some(Misplaced::Deleted { path, open })
            }
            _ if in_place => None,
            Some(_) => Some(Misplaced::Replaced { path }),
            None => Some(Misplaced::Moved { path }),
        })
    }
}
