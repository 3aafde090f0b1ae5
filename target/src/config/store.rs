//! The document of a configuration: as it was written, changed by [`Edit`]s, and kept in its file.

mod look;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::document::Node;
use super::edit::{Edit, EditError};
use super::{Config, ConfigError, apply, layout, node};
use crate::durable::{self, Directory, ReplaceError, Unwatched, Watch};

use look::Known;
pub(crate) use look::Look;

/// Bytes of a configuration file, at most, as it is read and as it is written.
const LONGEST: u64 = 16 << 20;

/// A configuration as it was written: with the order of its keys, relative paths, secrets, and without defaults.
///
/// It is always a good one: whatever makes one checks it whole. Cloning takes time and memory with its size.
#[derive(Clone)]
pub struct Document {
    root: Node,
    file: Option<PathBuf>,
    /// What the file had when it was read or saved last, by this document or one that it was made from.
    known: Arc<Mutex<Known>>,
    watch: Arc<dyn Watch>,
}

impl fmt::Debug for Document {
    /// Without its contents: there are secrets in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Document {
    /// Says the same in the same order, and is kept in the same file.
    fn eq(&self, other: &Self) -> bool {
        self.root == other.root && self.file == other.file
    }
}

impl Document {
    /// Reads a configuration file, and says what it means. Relative paths in it are relative to its directory.
    pub fn from_file(file: &Path) -> Result<(Self, Config), ConfigError> {
        let read_error = |cause| ConfigError::Read {
            file: file.to_owned(),
            cause,
        };
        let mut text = String::new();
        durable::open_plain(file)
            .and_then(|open| open.take(LONGEST + 1).read_to_string(&mut text))
            .map_err(read_error)?;
        if text.len() as u64 > LONGEST {
            return Err(ConfigError::TooLong {
                file: file.to_owned(),
                limit: LONGEST,
            });
        }
        let origin = file.display().to_string();
        let document = Self {
            root: node(&text, &origin)?,
            file: Some(std::path::absolute(file).map_err(read_error)?),
            known: Arc::new(Mutex::new(Known::of(text.as_bytes()))),
            watch: Arc::new(Unwatched),
        };
        let config = Config::from_node(&document.root, &origin, document.directory())?;
        Ok((document, config))
    }

    /// The document of a configuration that is in no file. Secrets are not in it; `--file` knows none.
    pub fn from_config(config: &Config) -> Self {
        // What a configuration writes is JSON.
        let root = node(&config.to_json(), "the command line").unwrap_or(Node::Object(Vec::new()));
        Self {
            root,
            file: None,
            known: Arc::new(Mutex::new(Known::Nothing)),
            watch: Arc::new(Unwatched),
        }
    }

    /// The same, with somebody who looks at every step that is taken to save it, or documents made from it.
    pub fn watched(self, watch: Arc<dyn Watch>) -> Self {
        Self { watch, ..self }
    }

    /// Where it is kept: an absolute path.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// What relative paths are relative to.
    fn directory(&self) -> Option<&Path> {
        let file = self.file.as_ref()?;
        Some(file.parent().unwrap_or(Path::new("/")))
    }

    /// This document after all `edits`, in their order, and what it means then. Everything that it has to be is checked once they
    /// all are made; what an edit adds, and what it names, when it is made.
    pub fn edited(&self, edits: &[Edit]) -> Result<(Self, Config), EditError> {
        let mut document = self.clone();
        let one_of = |index, error| match edits.len() {
            1 => error,
            _ => EditError::OneOf {
                index,
                error: Box::new(error),
            },
        };
        let mut opened = Vec::new();
        for (index, edit) in edits.iter().enumerate() {
            let group = apply::apply(&mut document.root, edit);
            let group = group.map_err(|error| one_of(index, error))?;
            opened.extend(group.map(|group| (index, group)));
        }
        for (index, group) in opened {
            (group.refuse(&document.root)).map_err(|error| one_of(index, error))?;
        }
        let origin = "the configuration after the change";
        let config = Config::from_node(&document.root, origin, document.directory())?;
        // Nobody could read it again.
        let bytes = document.to_text().len() as u64;
        if bytes > LONGEST {
            return Err(EditError::Refused {
                what: format!(
                    "the configuration would have {bytes} bytes, and {LONGEST} are the most"
                ),
                remedy: "leave something out; one pattern with '*' or '?' does for many names"
                    .to_owned(),
            });
        }
        Ok((document, config))
    }

    /// The text, secrets included.
    pub fn to_text(&self) -> String {
        layout::text(&self.root)
    }

    /// Writes it to its file. Whenever the machine stops, and when this fails, the file has the text before or this one, whole; when
    /// it returns, this one.
    ///
    /// A file that somebody has edited since it was read is left alone: the edits would be lost. Two may not save at the same
    /// time.
    pub fn save(&self) -> io::Result<()> {
        let Some(file) = &self.file else {
            let what = "there is no configuration file";
            return Err(io::Error::new(io::ErrorKind::NotFound, what));
        };
        self.write(file, &self.to_text(), false).map(drop)
    }

    /// Writes it to another file, for its owner alone, and returns how many bytes that took. The file is made or, if it holds a
    /// configuration, replaced with `force`. In another directory relative paths become absolute ones, so that it means the same
    /// there.
    pub fn save_to(&self, file: &Path, force: bool) -> io::Result<u64> {
        if !file.is_absolute() {
            let what = "the path is relative, and means nothing to the daemon: give the whole path";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let text = match self.directory() {
            Some(directory) if file.parent() != Some(directory) => {
                let mut root = self.root.clone();
                if !apply::make_absolute(&mut root, directory) {
                    let what = "the path of the configuration file's directory is not UTF-8, and relative paths in it are none \
                                elsewhere: save it in the same directory";
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
                }
                layout::text(&root)
            }
            _ => self.to_text(),
        };
        self.refuse_device(file)?;
        if force {
            self.write(file, &text, true)?;
        } else {
            create(file, text.as_bytes())?;
            // It was gone, and is what was saved last.
            if self.is_own(file) {
                *self.known() = Known::of(text.as_bytes());
            }
        }
        Ok(text.len() as u64)
    }

    /// Refuses to write where a device has its data, or would have them.
    fn refuse_device(&self, file: &Path) -> io::Result<()> {
        let config = Config::from_node(&self.root, "the configuration", self.directory());
        // What has no place is not written to, and the document is a good one.
        let (Ok(here), Ok(config)) = (place(file), config) else {
            return Ok(());
        };
        for device in &config.devices {
            let Some(path) = device.store.path() else {
                continue;
            };
            if path == file || place(path).is_ok_and(|there| there == here) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("device {} has its data there; name another", device.name),
                ));
            }
        }
        Ok(())
    }

    /// Whether that is where it is kept. This may take as long as the file systems on the way to it.
    pub(crate) fn is_own(&self, file: &Path) -> bool {
        let Some(own) = &self.file else {
            return false;
        };
        own == file || place(own).is_ok_and(|own| place(file).is_ok_and(|file| own == file))
    }

    /// It is replaced whole, so a panic elsewhere does not spoil it.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces `file`, or the one that it is a link to.
    fn write(&self, file: &Path, text: &str, force: bool) -> io::Result<()> {
        let own = self.is_own(file);
        let (directory, name) = place(file)?;
        let directory = Directory::new(directory, Arc::clone(&self.watch));
        let mut before = directory.before(&name, LONGEST)?;
        if let Some(before) = &mut before {
            let too_long = before.contents.len() as u64 > LONGEST;
            match own {
                // Nor could it be put back: that is not all of it.
                true if too_long => {
                    return Err(io::Error::other(format!(
                        "it was edited, and has more than {LONGEST} bytes now; make it shorter, or move it away"
                    )));
                }
                true => {}
                false if too_long || !is_configuration(&before.contents) => {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "what is there is no configuration, and is left alone; name another file, or remove that one first",
                    ));
                }
                // Secrets are nobody else's to read.
                false => before.keep_private(),
            }
        }
        let replace = || directory.replace(&name, text.as_bytes(), before.as_ref());
        let replaced = match own {
            true => {
                let mut known = self.known();
                let now = Known::of(text.as_bytes());
                if let Some(before) = before.as_ref().filter(|_| !force) {
                    let found = Known::of(&before.contents);
                    if *known != Known::Nothing && found != *known && found != now {
                        return Err(io::Error::other(
                            "it was edited since it was read; run `pagecast config reload` first to have what is in it now",
                        ));
                    }
                }
                let replaced = replace();
                match &replaced {
                    Ok(()) => *known = now,
                    Err(ReplaceError::AsBefore(_)) => {}
                    Err(ReplaceError::Unsettled { .. }) => *known = Known::Nothing,
                }
                replaced
            }
            false => replace(),
        };
        replaced.map_err(|error| match error {
            ReplaceError::AsBefore(cause) => cause,
            ReplaceError::Unsettled { cause, again } => io::Error::new(
                cause.kind(),
                format!(
                    "{cause}; nor could what was there before be put back ({again}): look at what is in it before the daemon is \
                     started again"
                ),
            ),
        })
    }
}

/// Whether a file holds a configuration, though one of another place, or of another time.
fn is_configuration(contents: &[u8]) -> bool {
    let text = str::from_utf8(contents).ok();
    text.and_then(|text| node(text, "the file").ok())
        .is_some_and(|root| Config::from_node(&root, "the file", None).is_ok())
}

/// Makes a file that must not be there. A crash may leave a part of it: nobody was promised it.
fn create(file: &Path, contents: &[u8]) -> io::Result<()> {
    let mut open = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => io::Error::new(
                io::ErrorKind::AlreadyExists,
                "it is there already; name another, or replace it (\"force\", --force)",
            ),
            _ => error,
        })?;
    let written = open
        .write_all(contents)
        .and_then(|()| open.sync_all())
        .and_then(|()| File::open(file.parent().unwrap_or(Path::new("/")))?.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(file);
    }
    written
}

/// The directory of a file and its name there, after all links.
fn place(file: &Path) -> io::Result<(PathBuf, String)> {
    let real = match fs::canonicalize(file) {
        // It may have to be made. A link that leads nowhere is somebody's mistake.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !file.is_symlink() => {
            match (file.parent(), file.file_name()) {
                (Some(parent), Some(name)) => fs::canonicalize(parent)?.join(name),
                _ => file.to_owned(),
            }
        }
        real => real?,
    };
    let name = real.file_name().and_then(|name| name.to_str());
    match (real.parent(), name) {
        (Some(directory), Some(name)) => Ok((directory.to_owned(), name.to_owned())),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "its path has to end in a file's name, in UTF-8",
        )),
    }
}
