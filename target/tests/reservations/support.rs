//! Tables to save, directories to save them in, and somebody who looks on.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use pagecast_core::reservations::{Holder, InitiatorPort, Registrant, ReservationType, Table};
use pagecastd::device::reservations::{DeviceNames, ReservationFile, Step, Watch};
use rustix::io::Errno;

/// Registrants that there may be.
pub(crate) const LIMIT: usize = 16;

pub(crate) fn names() -> DeviceNames {
    DeviceNames {
        naa: "37eb8b81d3ef3b1b".to_owned(),
        uuid: "f86491d4-f922-8592-a9c3-147d80a5c7f4".to_owned(),
    }
}

pub(crate) fn srp() -> Registrant {
    Registrant::Scsi {
        initiator: InitiatorPort::Srp(*b"\x00initiator port\xff"),
        target: "store".into(),
        port: 1,
    }
}

pub(crate) fn iscsi() -> Registrant {
    Registrant::Scsi {
        initiator: InitiatorPort::Iscsi {
            name: "iqn.1993-08.org.debian:01:\u{e4} \"quoted\"".to_owned(),
            isid: [0x00, 0x02, 0x3d, 0, 0, 1],
        },
        target: "store".into(),
        port: 2,
    }
}

pub(crate) fn nvme() -> Registrant {
    Registrant::Nvme { host: [0xab; 16] }
}

fn table(
    registrants: &[(Registrant, u64)],
    holder: Option<(ReservationType, Option<usize>)>,
) -> Table {
    let holder = holder.map(|(kind, who)| Holder {
        kind,
        registrant: who.map(|who| registrants[who].0.clone()),
    });
    let registrations: BTreeMap<_, _> = registrants.iter().cloned().collect();
    Table::restore(LIMIT, registrations, holder).expect("a good table")
}

/// Tables that differ, one after the other as they might be saved. The fourth is not to be kept.
pub(crate) fn tables() -> Vec<Table> {
    vec![
        table(&[(srp(), 1)], None),
        table(
            &[(srp(), 1), (iscsi(), u64::MAX), (nvme(), 0xabc)],
            Some((ReservationType::WriteExclusiveRegistrantsOnly, Some(1))),
        ),
        table(
            &[(iscsi(), 7), (nvme(), 0xabc)],
            Some((ReservationType::ExclusiveAccessAllRegistrants, None)),
        ),
        Table::new(LIMIT),
        table(
            &[(nvme(), 2)],
            Some((ReservationType::WriteExclusive, Some(0))),
        ),
        // To be kept, and empty.
        table(&[], None),
    ]
}

/// What is to be found again of a table that was saved.
pub(crate) fn kept(table: &Table) -> Option<Table> {
    table.persistent().then(|| table.clone())
}

/// A directory of a test's own, which goes with it.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "pagecast-reservations-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("a directory");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A file of the directory `reservations` in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join("reservations").join(name)
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.file(name)).expect("a file")
    }

    /// What is in there.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.join("reservations"));
        let mut names: Vec<String> = entries
            .into_iter()
            .flatten()
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .into_string()
                    .expect("a name")
            })
            .collect();
        names.sort();
        names
    }

    pub(crate) fn open(&self) -> ReservationFile {
        ReservationFile::new(self.path(), "disk0", names())
    }

    pub(crate) fn watched(&self, watch: Arc<dyn Watch>) -> ReservationFile {
        ReservationFile::watched(self.path(), "disk0", names(), watch)
    }

    /// What somebody who starts now finds.
    pub(crate) fn load(&self) -> Option<Table> {
        self.open()
            .load(LIMIT)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// What somebody finds who puts the generation before in the place of the last.
    pub(crate) fn load_previous(&self) -> Option<Table> {
        let other = Self::new();
        fs::create_dir(other.path().join("reservations")).expect("made");
        fs::copy(self.file("disk0~previous"), other.file("disk0")).expect("copied");
        other.load()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Writes down what is done, and lets those steps fail that it is told to.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    pub(crate) log: Mutex<Vec<Step>>,
    pub(crate) fails: Mutex<Option<Fails>>,
}

/// Says of a step, and those before it, whether it fails.
pub(crate) struct Fails(Box<Fault>);

type Fault = dyn Fn(&[Step], &Step) -> Option<Errno> + Send;

impl std::fmt::Debug for Fails {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fails")
    }
}

impl Recorder {
    pub(crate) fn fail(&self, fails: impl Fn(&[Step], &Step) -> Option<Errno> + Send + 'static) {
        self.log.lock().expect("good").clear();
        *self.fails.lock().expect("good") = Some(Fails(Box::new(fails)));
    }

    pub(crate) fn no_longer(&self) {
        *self.fails.lock().expect("good") = None;
    }

    pub(crate) fn take(&self) -> Vec<Step> {
        std::mem::take(&mut self.log.lock().expect("good"))
    }
}

impl Watch for Recorder {
    fn before(&self, step: &Step) -> io::Result<()> {
        let mut log = self.log.lock().expect("good");
        let fails = self.fails.lock().expect("good");
        let errno = fails.as_ref().and_then(|fails| fails.0(&log, step));
        // Steps that fail are there as well, so that each has its number.
        log.push(step.clone());
        match errno {
            Some(errno) => Err(errno.into()),
            None => Ok(()),
        }
    }
}

pub(crate) fn is_link(step: &Step) -> bool {
    matches!(step, Step::Link(..))
}
