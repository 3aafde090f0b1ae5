//! The directory of the files, and what is done to it: one step at a time, so that tests can stop, fail or write down each.

use std::fmt::Debug;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
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
pub(super) struct Unwatched;

impl Watch for Unwatched {
    fn before(&self, _step: &Step) -> io::Result<()> {
        Ok(())
    }
}

/// A directory of our own.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    watch: Arc<dyn Watch>,
}

impl Directory {
    pub(super) fn new(path: PathBuf, watch: Arc<dyn Watch>) -> Self {
        Self { path, watch }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Makes it, for nobody else to look into, and says whether it was not there. Not its parents: a wrong path should not become a
    /// new state.
    pub(super) fn make(&self) -> io::Result<bool> {
        self.watch.before(&Step::MakeDirectory)?;
        match DirBuilder::new().mode(0o700).create(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            made => made.map(|()| true),
        }
    }

    pub(super) fn sync_parent(&self) -> io::Result<()> {
        self.watch.before(&Step::SyncParent)?;
        File::open(self.path.parent().unwrap_or(Path::new("/")))?.sync_all()
    }

    /// Makes a file that is durable before its name is anything that somebody looks for.
    pub(super) fn write(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        self.watch.before(&Step::Create(name.to_owned()))?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.of(name))?;
        self.watch
            .before(&Step::Write(name.to_owned(), contents.to_vec()))?;
        file.write_all(contents)?;
        self.watch.before(&Step::SyncFile(name.to_owned()))?;
        file.sync_all()
    }

    /// What a file holds: of one that is longer than `most` a byte more than that. Only plain files: whatever else is there under
    /// the name is none of ours, and might keep us waiting.
    pub(super) fn read(&self, name: &str, most: u64) -> io::Result<Vec<u8>> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(self.of(name))?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a plain file"));
        }
        let mut contents = Vec::new();
        file.take(most.saturating_add(1))
            .read_to_end(&mut contents)?;
        Ok(contents)
    }

    pub(super) fn link(&self, from: &str, to: &str) -> io::Result<()> {
        self.watch
            .before(&Step::Link(from.to_owned(), to.to_owned()))?;
        fs::hard_link(self.of(from), self.of(to))
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.watch
            .before(&Step::Rename(from.to_owned(), to.to_owned()))?;
        fs::rename(self.of(from), self.of(to))
    }

    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        self.watch.before(&Step::Remove(name.to_owned()))?;
        match fs::remove_file(self.of(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.watch.before(&Step::SyncDirectory)?;
        File::open(&self.path)?.sync_all()
    }

    pub(super) fn done(&self) -> io::Result<()> {
        self.watch.before(&Step::Done)
    }

    /// The names of all files.
    pub(super) fn names(&self) -> io::Result<Vec<String>> {
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
