//! Disks that fail, or are full.

use std::fs;
use std::process::Command;
use std::sync::Arc;

use pagecast_core::reservations::{Registrant, Table};
use pagecastd::device::reservations::{SaveError, Step};
use rustix::io::Errno;

use crate::support::{LIMIT, Recorder, Scratch, is_link, kept, tables};

/// Saves a table, has saving another go wrong as told, and returns what is there then.
struct Trial {
    directory: Scratch,
    recorder: Arc<Recorder>,
    tables: Vec<Table>,
    file: pagecastd::device::reservations::ReservationFile,
}

impl Trial {
    fn new(with_file: bool) -> Self {
        let directory = Scratch::new();
        let recorder = Arc::new(Recorder::default());
        let file = directory.watched(Arc::clone(&recorder) as Arc<_>);
        let tables = tables();
        if with_file {
            // Twice, so that there is a generation before as well.
            file.save(&tables[1]).expect("saved");
            file.save(&tables[0]).expect("saved");
        }
        recorder.take();
        Self {
            directory,
            recorder,
            tables,
            file,
        }
    }

    /// How the second table is saved when all goes well.
    fn steps(with_file: bool, links: bool) -> Vec<Step> {
        let trial = Self::new(with_file);
        trial
            .recorder
            .fail(move |_, step| (!links && is_link(step)).then_some(Errno::PERM));
        trial.file.save(&trial.tables[1]).expect("saved");
        trial.recorder.take()
    }

    fn save(&self, number: usize) -> Result<(), SaveError> {
        self.file.save(&self.tables[number])
    }

    fn found(&self) -> Option<Table> {
        self.directory.load()
    }
}

#[test]
fn a_step_that_fails_leaves_the_table_before() {
    for (with_file, links) in [(true, true), (true, false), (false, true)] {
        let steps = Trial::steps(with_file, links);
        for (failing, step) in steps.iter().enumerate() {
            for errno in [Errno::NOSPC, Errno::IO] {
                let trial = Trial::new(with_file);
                let before = trial.found();
                trial.recorder.fail(move |before, step| {
                    let link = !links && is_link(step);
                    (before.len() == failing)
                        .then_some(errno)
                        .or(link.then_some(Errno::PERM))
                });
                let saved = trial.save(1);
                if *step == Step::Done {
                    saved.expect("nothing was left to fail");
                    assert_eq!(trial.found(), kept(&trial.tables[1]));
                    continue;
                }
                let error = saved.expect_err("it failed");
                assert!(
                    matches!(error, SaveError::Failed { .. }),
                    "{step:?}: {error}"
                );
                let text = error.to_string();
                assert!(
                    text.contains("the reservations stay as they were"),
                    "{text}"
                );
                assert_eq!(trial.found(), before, "{step:?}");
                // And when that is over, life goes on.
                trial.recorder.no_longer();
                trial.save(2).expect("saved");
                assert_eq!(trial.found(), kept(&trial.tables[2]), "{step:?}");
                if with_file {
                    let previous = trial.directory.load_previous();
                    assert_eq!(previous, kept(&trial.tables[0]), "{step:?}");
                    assert_eq!(trial.directory.names(), ["disk0", "disk0~previous"]);
                }
            }
        }
    }
}

#[test]
fn a_disk_that_fails_from_some_step_on() {
    for with_file in [true, false] {
        let steps = Trial::steps(with_file, true);
        for (failing, step) in steps.iter().enumerate() {
            if *step == Step::Done {
                continue;
            }
            let trial = Trial::new(with_file);
            let before = trial.found();
            let after = kept(&trial.tables[1]);
            trial
                .recorder
                .fail(move |before, _| (before.len() >= failing).then_some(Errno::IO));
            let error = trial.save(1).expect_err("it failed");
            // As it is seen without a loss of power; leftovers cannot be removed, and do no harm.
            if *step == Step::SyncDirectory {
                assert!(matches!(error, SaveError::Unsettled { .. }), "{error}");
                let found = trial.found();
                assert!(found == before || found == after, "{found:?}");
            } else {
                assert!(matches!(error, SaveError::Failed { .. }), "{error}");
                assert_eq!(trial.found(), before, "{step:?}");
            }
            // Still the same.
            trial.recorder.fail(|_, _| Some(Errno::IO));
            trial.save(1).expect_err("it failed");
            trial.recorder.no_longer();
            trial.save(2).expect("saved");
            assert_eq!(trial.found(), kept(&trial.tables[2]), "{step:?}");
            // The generation before is the one that was in force, and not the one that was never promised.
            if with_file {
                assert_eq!(trial.directory.load_previous(), before, "{step:?}");
            }
        }
    }
}

/// After the directory could not be made durable twice, what bears the name may be the table that nobody was promised; what is
/// put back after the next failure is the one in force.
#[test]
fn an_unsettled_file_settles_on_the_table_in_force() {
    for with_file in [true, false] {
        let trial = Trial::new(with_file);
        let before = trial.found();
        for (number, failures) in [(1, 2), (2, 2), (1, 1)] {
            let left = std::sync::atomic::AtomicU32::new(failures);
            trial.recorder.fail(move |_, step| {
                let counts = *step == Step::SyncDirectory
                    && left
                        .fetch_update(
                            std::sync::atomic::Ordering::SeqCst,
                            std::sync::atomic::Ordering::SeqCst,
                            |left| left.checked_sub(1),
                        )
                        .is_ok();
                counts.then_some(Errno::IO)
            });
            let error = trial.save(number).expect_err("it failed");
            let unsettled = matches!(error, SaveError::Unsettled { .. });
            assert_eq!(unsettled, failures == 2, "{error}");
        }
        assert_eq!(trial.found(), before);
        if !with_file {
            assert_eq!(trial.directory.names(), [""; 0]);
        }
    }
}

#[test]
fn other_failures_of_links_are_failures() {
    let trial = Trial::new(true);
    let before = trial.found();
    trial
        .recorder
        .fail(|_, step| is_link(step).then_some(Errno::NOSPC));
    trial.save(1).expect_err("no room");
    assert_eq!(trial.found(), before);
    // A file with as many names as it may have is copied.
    trial
        .recorder
        .fail(|_, step| is_link(step).then_some(Errno::MLINK));
    trial.save(1).expect("saved");
    assert_eq!(trial.directory.load_previous(), before);
}

/// Takes a file system away again.
struct Mounted<'a>(&'a Scratch);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let unmounting = Command::new("umount").arg(self.0.path()).status();
        assert!(unmounting.is_ok_and(|status| status.success()), "umount");
    }
}

#[test]
fn a_full_disk() {
    let directory = Scratch::new();
    let mounting = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k,mode=755", "none"])
        .arg(directory.path())
        .output();
    match mounting {
        Ok(output) if output.status.success() => {}
        other => return eprintln!("skipped: cannot mount a file system: {other:?}"),
    }
    let _mounted = Mounted(&directory);
    let file = directory.open();
    let small = tables().remove(0);
    file.save(&small).expect("saved");
    // More than there is room for.
    let many = (0..2000_u128).map(|host| {
        let host = host.to_be_bytes();
        (Registrant::Nvme { host }, 1)
    });
    let large = Table::restore(2000, many.collect(), None).expect("good");
    let error = file.save(&large).expect_err("no room").to_string();
    assert!(error.contains("No space left on device"), "{error}");
    assert_eq!(directory.load(), Some(small.clone()));
    assert_eq!(directory.names(), ["disk0"]);
    // Not a page is left.
    let filler = directory.path().join("filler");
    let _ = fs::write(&filler, vec![1; 1 << 20]);
    let next = tables().remove(1);
    file.save(&next).expect_err("no room");
    assert_eq!(directory.load(), Some(small.clone()));
    fs::remove_file(filler).expect("removed");
    file.save(&next).expect("saved");
    assert_eq!(directory.open().load(LIMIT).expect("good"), Some(next));
    assert_eq!(directory.load_previous(), Some(small));
}
