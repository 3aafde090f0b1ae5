//! Whether a configuration file still has the text that was read or saved last.

use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use sha2::{Digest, Sha256};

use super::{Document, LONGEST};
use crate::durable;

/// What is known of a file's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It has this digest.
    Text([u8; 32]),
    /// Nothing: it could not be made durable, or there never was any.
    Nothing,
}

impl Known {
    pub(super) fn of(text: &[u8]) -> Self {
        Self::Text(Sha256::digest(text).into())
    }
}

/// What tells a file that was touched from one that was not: device, inode, size, and when its text and itself were changed.
type Stamp = (u64, u64, u64, [i64; 4]);

fn stamp(found: &Metadata) -> Stamp {
    let times = [
        found.mtime(),
        found.mtime_nsec(),
        found.ctime(),
        found.ctime_nsec(),
    ];
    (found.dev(), found.ino(), found.size(), times)
}

/// Looks at the file of a document whenever somebody asks. It is read only if it was touched since the last time.
#[derive(Debug, Default)]
pub(crate) struct Look(Mutex<Last>);

#[derive(Debug, Default)]
struct Last {
    /// The file as it was when it had this text.
    seen: Option<(Stamp, Known)>,
    warning: Option<String>,
}

impl Look {
    /// What to do if the file has something else by now, which the next start would read. This may take as long as the file system that
    /// it is on, but not as long as a change: while one is made, the answer is the last one.
    pub(crate) fn warning(&self, document: &Mutex<Document>) -> Option<String> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = match document.try_lock() {
            Ok(document) => Some((document.file.clone(), Arc::clone(&document.known))),
            Err(TryLockError::Poisoned(error)) => {
                let document = error.into_inner();
                Some((document.file.clone(), Arc::clone(&document.known)))
            }
            Err(TryLockError::WouldBlock) => None,
        };
        let Some((file, known)) = kept else {
            return last.warning.clone();
        };
        let file = file?;
        // Held, so that nobody saves it at the same time.
        let known = match known.try_lock() {
            Ok(known) => known,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            Err(TryLockError::WouldBlock) => return last.warning.clone(),
        };
        last.warning = last.look(&file, *known);
        last.warning.clone()
    }
}

impl Last {
    fn look(&mut self, file: &Path, known: Known) -> Option<String> {
        let shown = file.display();
        match self.text(file) {
            _ if known == Known::Nothing => None,
            Ok(found) if found == known => None,
            Ok(_) => Some(format!(
                "{shown}: it was edited by hand since it was read; `pagecast config reload` takes the edits over, and until then no \
                 change can be saved"
            )),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(format!(
                "{shown}: it is gone; `pagecast config save {shown}` writes it again"
            )),
            Err(error) => Some(format!(
                "{shown}: it cannot be read any more: {error}; see to that before the daemon is started again"
            )),
        }
    }

    fn text(&mut self, file: &Path) -> io::Result<Known> {
        let now = stamp(&fs::metadata(file)?);
        if let Some((before, text)) = self.seen
            && before == now
        {
            return Ok(text);
        }
        let mut text = Vec::new();
        // What is longer is no text of ours.
        durable::open_plain(file)?
            .take(LONGEST + 1)
            .read_to_end(&mut text)?;
        let text = Known::of(&text);
        self.seen = Some((now, text));
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::edit::Edit;

    #[test]
    fn what_a_hand_has_edited_is_told() {
        let name = format!("pagecast-look-{}.json", std::process::id());
        let file: PathBuf = std::env::temp_dir().join(name);
        let text = r#"{ "targets": [ { "name": "store" } ] }"#;
        fs::write(&file, text).unwrap();
        let document = Mutex::new(Document::from_file(&file).unwrap().0);
        let look = Look::default();
        let warning = || look.warning(&document).unwrap_or_default();
        assert_eq!(warning(), "");

        let edited = format!(
            "{}: it was edited by hand since it was read; `pagecast config reload` takes the edits over, and until then no change can \
             be saved",
            file.display()
        );
        for by_hand in ["garbage", "{}", &format!("{text}\n")] {
            fs::write(&file, by_hand).unwrap();
            assert_eq!(warning(), edited);
            // While a change is made, it is what it was.
            let change = document.lock().unwrap();
            assert_eq!(warning(), edited);
            drop(change);
        }
        // Nobody has edited what is as it was.
        fs::write(&file, text).unwrap();
        assert_eq!(warning(), "");

        // Nor is what the daemon writes an edit.
        let save = |name: &str| {
            let mut kept = document.lock().unwrap();
            let edit = Edit::AddTarget(serde_json::json!({ "name": name }));
            *kept = kept.edited(&[edit]).unwrap().0;
            kept.save().unwrap();
        };
        save("a");
        assert_eq!(warning(), "");
        fs::remove_file(&file).unwrap();
        let gone = format!(
            "{0}: it is gone; `pagecast config save {0}` writes it again",
            file.display()
        );
        assert_eq!(warning(), gone);
        document.lock().unwrap().save_to(&file, false).unwrap();
        assert_eq!(warning(), "");
        save("b");
        assert_eq!(warning(), "");

        // Read again, it is known again.
        fs::write(&file, "{}").unwrap();
        assert_eq!(warning(), edited);
        *document.lock().unwrap() = Document::from_file(&file).unwrap().0;
        assert_eq!(warning(), "");

        // One that is in no file has nothing to be edited.
        *document.lock().unwrap() = Document::from_config(&Default::default());
        assert_eq!(warning(), "");
        fs::remove_file(&file).unwrap();
    }

    #[test]
    fn a_file_that_was_not_touched_is_not_read() {
        let name = format!("pagecast-untouched-{}.json", std::process::id());
        let file: PathBuf = std::env::temp_dir().join(name);
        fs::write(&file, "{}").unwrap();
        let mut last = Last::default();
        assert_eq!(last.text(&file).unwrap(), Known::of(b"{}"));
        let (seen, _) = last.seen.unwrap();
        last.seen = Some((seen, Known::Nothing));
        assert_eq!(last.text(&file).unwrap(), Known::Nothing);
        fs::write(&file, "{ }").unwrap();
        assert_eq!(last.text(&file).unwrap(), Known::of(b"{ }"));
        fs::remove_file(&file).unwrap();
    }
}
