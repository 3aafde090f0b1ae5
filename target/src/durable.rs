//! Files that a crash leaves as they were or as they were to be: a directory, and what is done to it, one step at a time, so that
//! tests can stop, fail or write down each.

use std::fmt::Debug;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;

/// Something that is done to the file system. Names are those of files in the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The directory is made, unless it is there.
    MakeDirectory,
    /// The entry of the directory becomes durable.
    SyncParent,
    /// An empty file is made.
    Create(String),
    /// A file gets its contents.
    Write(String, Vec<u8>),
    /// The contents of a file become durable.
    SyncFile(String),
    /// A file gets another name as well.
    Link(String, String),
    /// A name is taken over by a file that has another.
    Rename(String, String),
    /// A name goes, if it is there.
    Remove(String),
    /// All names become durable.
    SyncDirectory,
    /// Nothing is left to do.
    Done,
}

/// Who looks at every step before it is done, and may have it fail.
pub trait Watch: Debug + Send + Sync {
    /// The step is about to be done, or fails with what this returns.
    fn before(&self, step: &Step) -> io::Result<()>;
}

/// Nobody looks.
#[derive(Debug)]
pub(crate) struct Unwatched;

impl Watch for Unwatched {
    fn before(&self, _step: &Step) -> io::Result<()> {
        Ok(())
    }
}

/// A file before it is replaced.
#[derive(Debug)]
pub(crate) struct Before {
    pub(crate) contents: Vec<u8>,
    metadata: Metadata,
    private: bool,
}

impl Before {
    /// What replaces it is for its owner alone, whoever else may read it.
    pub(crate) fn keep_private(&mut self) {
        self.private = true;
    }
}

/// Why a file is not what it was to be.
#[derive(Debug)]
pub(crate) enum ReplaceError {
    /// It is what it was.
    AsBefore(io::Error),
    /// Nobody knows which of the two a loss of power would leave.
    Unsettled {
        /// Why.
        cause: io::Error,
        /// What became of the second try.
        again: io::Error,
    },
}

/// A directory that has files of ours.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    watch: Arc<dyn Watch>,
}

impl Directory {
    pub(crate) fn new(path: PathBuf, watch: Arc<dyn Watch>) -> Self {
        Self { path, watch }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Makes it, for nobody else to look into, and says whether it was not there. Not its parents: a wrong path should not become a
    /// new state.
    pub(crate) fn make(&self) -> io::Result<bool> {
        self.watch.before(&Step::MakeDirectory)?;
        match DirBuilder::new().mode(0o700).create(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            made => made.map(|()| true),
        }
    }

    pub(crate) fn sync_parent(&self) -> io::Result<()> {
        self.watch.before(&Step::SyncParent)?;
        File::open(self.path.parent().unwrap_or(Path::new("/")))?.sync_all()
    }

    /// Makes a file that is durable before its name is anything that somebody looks for.
    pub(crate) fn write(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        self.write_like(name, contents, None)
    }

    /// The same, with the owner and of the mode what is in a mask, of another file.
    fn write_like(
        &self,
        name: &str,
        contents: &[u8],
        like: Option<(&Metadata, u32)>,
    ) -> io::Result<()> {
        self.watch.before(&Step::Create(name.to_owned()))?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.of(name))?;
        if let Some((like, mask)) = like {
            // Before there is anything in it to read.
            make_like(&file, like, mask)?;
        }
        self.watch
            .before(&Step::Write(name.to_owned(), contents.to_vec()))?;
        file.write_all(contents)?;
        self.watch.before(&Step::SyncFile(name.to_owned()))?;
        file.sync_all()
    }

    /// Gives a file new contents, whole or not at all. `before` is what it has now, if it is there; the new one has its owner
    /// and mode, as far as we may give them. While it is being done, and after a crash, there is a file `NAME~new`, which goes the
    /// next time.
    ///
    /// One at a time: two that replace the same file are in each other's way.
    pub(crate) fn replace(
        &self,
        name: &str,
        contents: &[u8],
        before: Option<&Before>,
    ) -> Result<(), ReplaceError> {
        let new = format!("{name}~new");
        let put = |contents: &[u8], mask| {
            self.remove(&new)?;
            let like = before.map(|before| (&before.metadata, mask));
            self.write_like(&new, contents, like)?;
            self.rename(&new, name)
        };
        let mask = match before {
            Some(Before { private: true, .. }) => 0o600,
            _ => 0o777,
        };
        if let Err(cause) = put(contents, mask) {
            // If that fails, it goes the next time.
            let _ = self.remove(&new);
            return Err(ReplaceError::AsBefore(cause));
        }
        let Err(cause) = self.sync() else {
            return Ok(());
        };
        // Back to what was there, in new steps, which have to reach the disk even if the system believes that those before have.
        let back = match before {
            Some(before) => put(&before.contents, 0o777),
            None => self.remove(name),
        };
        match back.and_then(|()| self.sync()) {
            Ok(()) => Err(ReplaceError::AsBefore(cause)),
            Err(again) => {
                let _ = self.remove(&new);
                Err(ReplaceError::Unsettled { cause, again })
            }
        }
    }

    /// What a file is now, for [`replace`](Self::replace); none if it is not there. As [`read`](Self::read) says.
    pub(crate) fn before(&self, name: &str, most: u64) -> io::Result<Option<Before>> {
        match self.read_with(name, most) {
            Ok(before) => Ok(Some(before)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What a file holds: of one that is longer than `most` a byte more than that. Only plain files: whatever else is there under
    /// the name is none of ours, and might keep us waiting.
    pub(crate) fn read(&self, name: &str, most: u64) -> io::Result<Vec<u8>> {
        self.read_with(name, most).map(|before| before.contents)
    }

    fn read_with(&self, name: &str, most: u64) -> io::Result<Before> {
        let (file, metadata) = open(&self.of(name), OFlags::NOFOLLOW)?;
        let mut contents = Vec::new();
        file.take(most.saturating_add(1))
            .read_to_end(&mut contents)?;
        Ok(Before {
            contents,
            metadata,
            private: false,
        })
    }

    pub(crate) fn link(&self, from: &str, to: &str) -> io::Result<()> {
        self.watch
            .before(&Step::Link(from.to_owned(), to.to_owned()))?;
        fs::hard_link(self.of(from), self.of(to))
    }

    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.watch
            .before(&Step::Rename(from.to_owned(), to.to_owned()))?;
        fs::rename(self.of(from), self.of(to))
    }

    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        self.watch.before(&Step::Remove(name.to_owned()))?;
        match fs::remove_file(self.of(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.watch.before(&Step::SyncDirectory)?;
        File::open(&self.path)?.sync_all()
    }

    pub(crate) fn done(&self) -> io::Result<()> {
        self.watch.before(&Step::Done)
    }

    /// The names of all files.
    pub(crate) fn names(&self) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        // Names of other bytes are none of ours.
        let names = entries.filter_map(|entry| match entry {
            Ok(entry) => entry.file_name().into_string().ok().map(Ok),
            Err(error) => Some(Err(error)),
        });
        names.collect()
    }
}

/// Opens a file to read it, after all links. Only plain files: whatever else is there might keep us waiting.
pub(crate) fn open_plain(path: &Path) -> io::Result<File> {
    open(path, OFlags::empty()).map(|(file, _)| file)
}

fn open(path: &Path, flags: OFlags) -> io::Result<(File, Metadata)> {
    let flags = flags | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    let metadata = file.metadata()?;
    match metadata.is_file() {
        true => Ok((file, metadata)),
        // As a directory says when it is read.
        false if metadata.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        false => Err(io::Error::other("it is not a plain file")),
    }
}

/// Gives a new file the owner, the group and, within a mask, the mode of another, as far as we may. A group that is not the other's may not do what
/// the other's may.
fn make_like(file: &File, like: &Metadata, mask: u32) -> io::Result<()> {
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
        // One may be allowed without the other.
        let _ = fchown(file, Some(like.uid()), None);
        let _ = fchown(file, None, Some(like.gid()));
    }
    let mut mode = like.mode() & mask;
    if file.metadata()?.gid() != like.gid() {
        mode &= !0o070;
    }
    match file.set_permissions(Permissions::from_mode(mode)) {
        // It has been given away already, and is nobody else's to read but its owner's.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        set => set,
    }
}
