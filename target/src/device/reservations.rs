//! The file that a device's reservations are kept in.
//!
//! Three names are in use for the device `disk0`: `disk0` is the table in force, `disk0~previous` the one before it, and
//! `disk0~new` and `disk0~old` are there while a table is being saved, or after a crash. No device's name has a `~` in it.
//!
//! A table is saved in this order, so that whenever the machine stops `disk0` is the table before or the one after, whole:
//!
//! 1. `disk0~new` is written and made durable;
//! 2. `disk0` gets the second name `disk0~old` (or is copied to it, where the file system has no hard links), which takes over
//!    `disk0~previous`;
//! 3. `disk0~new` takes over `disk0`;
//! 4. the directory is made durable. Only now is the table in force.
//!
//! An error before step 3 leaves `disk0` as it was. After an error of step 4 nobody knows which of the two a loss of power would
//! leave: the one before is put back, and if that cannot be made durable either the file is *unsettled* until a table has
//! been saved again, whichever; until then a restart may find the table that nobody was promised. A host whose command failed has
//! to look at the reservations before it relies on them, as after any command that failed.

mod format;
pub(crate) mod names;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pagecast_core::reservations::{RestoreError, Table};
use rustix::io::Errno;
use thiserror::Error;

use crate::durable::{Directory, Unwatched};
pub use crate::durable::{Step, Watch};
pub use format::{DeviceNames, Flaw};
use format::{Document, LONGEST};

/// Where a device keeps its reservations.
#[derive(Debug)]
pub struct ReservationFile {
    directory: Directory,
    device: DeviceNames,
    name: String,
    /// The generation before.
    previous: String,
    /// A name for it before it takes over `previous`.
    old: String,
    /// The generation to come.
    new: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// How often the reservations have been saved.
    saves: u64,
    /// The directory's own entry is durable.
    made: bool,
    standing: Standing,
}

/// What is known of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It is the table in force, and none if it is not there.
    Settled,
    /// It may be the table in force, or one that could not be made durable.
    Unsettled {
        /// The table in force is the generation before; otherwise there was none.
        before: bool,
    },
}

/// Reservations that cannot be loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error(
        "cannot read its reservations, {}: {cause}; let the user of the daemon read the file, or move it away to start \
         without reservations", path.display()
    )]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// What it holds is not what was saved, or not for us.
    #[error("cannot use its reservations, {}: {flaw}; {remedy}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        flaw: Flaw,
        /// What to do.
        remedy: String,
    },
    /// It is another device's.
    #[error(
        "the reservations in {} are those of another device (naa {}, uuid {}; this one has {} and {}); put its own file there, or \
         move it away to start without reservations", path.display(), found.naa, found.uuid, own.naa, own.uuid
    )]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// Whose reservations they are.
        found: Box<DeviceNames>,
        /// Who we are.
        own: Box<DeviceNames>,
    },
    /// There is no file for its name, and its reservations are under another.
    #[error(
        "its reservations are in {}, from when it had that name; move that file to {} to keep them, or elsewhere to start \
         without reservations", found.display(), path.display()
    )]
    Elsewhere {
        /// Where they should be.
        path: PathBuf,
        /// Where they are.
        found: PathBuf,
    },
}

/// A table that was not saved.
#[derive(Debug, Error)]
pub enum SaveError {
    /// The file is as it was.
    #[error("cannot {what} in {}: {cause}; the reservations stay as they were", directory.display())]
    Failed {
        /// What could not be done.
        what: &'static str,
        /// Where.
        directory: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Nobody knows what a loss of power would leave.
    #[error(
        "cannot make {} durable: {cause}; nor could what was there before be put back ({again}): until a change of its \
         reservations succeeds, a restart may find them changed. Look at the disk of the state directory", path.display()
    )]
    Unsettled {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
        /// What became of the second try.
        again: io::Error,
    },
    /// There is more of it than would be read.
    #[error("{0} bytes are more than a file of reservations may have ({LONGEST})")]
    TooLong(usize),
    /// It cannot be written down.
    #[error(transparent)]
    Encode(#[from] serde_json::Error),
}

impl ReservationFile {
    /// The file of the device `name` in a state directory.
    pub fn new(state_directory: &Path, name: &str, device: DeviceNames) -> Self {
        Self::watched(state_directory, name, device, Arc::new(Unwatched))
    }

    /// The same, with somebody who looks at every step that is taken.
    pub fn watched(
        state_directory: &Path,
        name: &str,
        device: DeviceNames,
        watch: Arc<dyn Watch>,
    ) -> Self {
        Self {
            directory: Directory::new(state_directory.join("reservations"), watch),
            device,
            name: name.to_owned(),
            previous: format!("{name}~previous"),
            old: format!("{name}~old"),
            new: format!("{name}~new"),
            state: Mutex::new(State {
                saves: 0,
                made: false,
                standing: Standing::Settled,
            }),
        }
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.directory.of(&self.name)
    }

    /// The table that was saved last, with room for so many registrants; none if there never was one, or if it was not to be
    /// kept. Removes what a crash has left behind.
    pub fn load(&self, limit: usize) -> Result<Option<Table>, LoadError> {
        for leftover in [&self.new, &self.old] {
            if let Err(error) = self.directory.remove(leftover) {
                let path = self.directory.of(leftover);
                tracing::warn!(path = %path.display(), %error, "cannot remove what a crash has left");
            }
        }
        let read = self.directory.read(&self.name, LONGEST);
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return self.look_elsewhere().map(|()| None);
            }
            Err(cause) => return Err(self.read_error(cause)),
        };
        let document = Document::decode(&bytes).map_err(|flaw| self.damaged(flaw))?;
        if document.device != self.device {
            return Err(LoadError::Foreign {
                path: self.path(),
                found: Box::new(document.device),
                own: Box::new(self.device.clone()),
            });
        }
        self.lock().saves = document.saves;
        document.table(limit).map_err(|flaw| self.damaged(flaw))
    }

    /// Makes a table durable. What was there before is there still, whenever that fails, unless the error says otherwise.
    pub fn save(&self, table: &Table) -> Result<(), SaveError> {
        let mut state = self.lock();
        let saves = state.saves.saturating_add(1);
        let bytes = Document::of(&self.device, saves, table).encode()?;
        if bytes.len() as u64 > LONGEST {
            return Err(SaveError::TooLong(bytes.len()));
        }
        let before = match self.prepare(&mut state, &bytes) {
            Ok(before) => before,
            Err((what, cause)) => {
                self.tidy();
                return Err(SaveError::Failed {
                    what,
                    directory: self.directory.path().to_owned(),
                    cause,
                });
            }
        };
        if let Err(cause) = self.directory.sync() {
            return Err(self.put_back(&mut state, before, cause));
        }
        state.saves = saves;
        state.standing = Standing::Settled;
        // Everything is done already.
        let _ = self.directory.done();
        Ok(())
    }

    /// Everything but the last step. Returns whether there was a file before.
    fn prepare(&self, state: &mut State, bytes: &[u8]) -> Result<bool, (&'static str, io::Error)> {
        let directory = &self.directory;
        let to = |what: &'static str| move |cause: io::Error| (what, cause);
        let new = directory.make().map_err(to("make the directory"))?;
        if new || !state.made {
            state.made = false;
            directory
                .sync_parent()
                .map_err(to("make the directory durable"))?;
            state.made = true;
        }
        let remove = to("remove what is left of another time");
        directory.remove(&self.new).map_err(remove)?;
        directory.remove(&self.old).map_err(remove)?;
        directory
            .write(&self.new, bytes)
            .map_err(to("write the reservations"))?;
        let before = match state.standing {
            Standing::Settled => self
                .keep_previous()
                .map_err(to("keep the reservations before"))?,
            // What has the name may never have been in force: what is kept already is better.
            Standing::Unsettled { before } => before,
        };
        directory
            .rename(&self.new, &self.name)
            .map_err(to("replace the reservations"))?;
        Ok(before)
    }

    /// Makes the file the generation before as well. Returns whether there is one.
    fn keep_previous(&self) -> io::Result<bool> {
        if let Err(error) = self.duplicate(&self.name, &self.old) {
            return match error.kind() {
                io::ErrorKind::NotFound => Ok(false),
                _ => Err(error),
            };
        }
        self.directory.rename(&self.old, &self.previous)?;
        // Renaming one name of a file to another of its names does nothing, and that is what a crash can leave.
        self.directory.remove(&self.old)?;
        Ok(true)
    }

    /// Gives a file a second name, or a copy where there are no second names.
    fn duplicate(&self, from: &str, to: &str) -> io::Result<()> {
        match self.directory.link(from, to) {
            Err(error) if has_no_links(&error) => {
                let bytes = self.directory.read(from, LONGEST)?;
                self.directory.write(to, &bytes)
            }
            linked => linked,
        }
    }

    /// The directory could not be made durable: back to what was there before, in new steps, which have to reach the disk even if
    /// the system believes that those before have.
    fn put_back(&self, state: &mut State, before: bool, cause: io::Error) -> SaveError {
        let back = if before {
            self.directory
                .remove(&self.new)
                .and_then(|()| self.duplicate(&self.previous, &self.new))
                .and_then(|()| self.directory.rename(&self.new, &self.name))
        } else {
            self.directory.remove(&self.name)
        };
        match back.and_then(|()| self.directory.sync()) {
            Ok(()) => {
                state.standing = Standing::Settled;
                SaveError::Failed {
                    what: "make the reservations durable",
                    directory: self.directory.path().to_owned(),
                    cause,
                }
            }
            Err(again) => {
                state.standing = Standing::Unsettled { before };
                self.tidy();
                SaveError::Unsettled {
                    path: self.path(),
                    cause,
                    again,
                }
            }
        }
    }

    /// Removes what is of no use. If that fails, it goes the next time.
    fn tidy(&self) {
        for name in [&self.new, &self.old] {
            let _ = self.directory.remove(name);
        }
    }

    /// A device that was given another name must not lose its reservations silently.
    fn look_elsewhere(&self) -> Result<(), LoadError> {
        let names = self.directory.names().map_err(|cause| LoadError::Read {
            path: self.directory.path().to_owned(),
            cause,
        })?;
        let others = names
            .into_iter()
            .filter(|name| *name != self.name && !name.contains('~'));
        for name in others {
            // What cannot be read is for the device of that name to complain of.
            if self.is_in(&name) {
                return Err(LoadError::Elsewhere {
                    path: self.path(),
                    found: self.directory.of(&name),
                });
            }
        }
        Ok(())
    }

    fn is_in(&self, name: &str) -> bool {
        /// Within these the device is named.
        const START: u64 = 512;
        let start = self.directory.read(name, START).unwrap_or_default();
        let naa = self.device.naa.as_bytes();
        if !start.windows(naa.len().max(1)).any(|bytes| bytes == naa) {
            return false;
        }
        let bytes = self.directory.read(name, LONGEST).unwrap_or_default();
        Document::decode(&bytes)
            .is_ok_and(|document| document.device == self.device && !document.is_empty())
    }

    fn read_error(&self, cause: io::Error) -> LoadError {
        LoadError::Read {
            path: self.path(),
            cause,
        }
    }

    fn damaged(&self, flaw: Flaw) -> LoadError {
        let previous = self.directory.of(&self.previous);
        let instead = match flaw {
            Flaw::Version(_) => "start the version of the daemon that wrote it".to_owned(),
            Flaw::Table(RestoreError::TooMany(..)) => {
                "raise \"max_registrants\" of the device (\"reservations\": false allows none)"
                    .to_owned()
            }
            _ if previous.exists() => {
                let previous = previous.display();
                format!("put {previous} in its place, which is one change older")
            }
            _ => "restore it from a backup".to_owned(),
        };
        LoadError::Damaged {
            path: self.path(),
            flaw,
            remedy: format!("{instead}, or move it away to start without reservations"),
        }
    }

    /// Every state is a good one, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What link(2) says where a file system has no hard links, or no more of them.
fn has_no_links(error: &io::Error) -> bool {
    let errors = [
        Errno::PERM,
        Errno::OPNOTSUPP,
        Errno::NOSYS,
        Errno::MLINK,
        Errno::XDEV,
    ];
    errors
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
