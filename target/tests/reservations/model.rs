//! A disk that loses everything that was not made durable: whatever of it a loss of power leaves, it is the table before or the
//! one after.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;

use pagecast_core::reservations::Table;
use pagecastd::device::reservations::Step;
use rustix::io::Errno;

use crate::support::{Recorder, Scratch, is_link, kept, tables};

type Names = BTreeMap<String, usize>;
/// Files by their names; none if there is no directory.
type Leftovers = Option<BTreeMap<String, Vec<u8>>>;

/// A directory in which what is done is in memory first.
#[derive(Clone, Debug, Default)]
struct Disk {
    directory: Existence,
    files: Vec<Contents>,
    durable: Names,
    /// The names after every change since, in this order.
    later: Vec<Names>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Existence {
    #[default]
    None,
    Made,
    Durable,
}

#[derive(Clone, Debug, Default)]
struct Contents {
    written: Vec<u8>,
    durable: bool,
}

impl Disk {
    fn do_step(&mut self, step: &Step) {
        let mut names = self.later.last().unwrap_or(&self.durable).clone();
        match step {
            Step::MakeDirectory => {
                if self.directory == Existence::None {
                    self.directory = Existence::Made;
                }
            }
            Step::SyncParent => self.directory = Existence::Durable,
            Step::Create(name) => {
                assert!(!names.contains_key(name), "{name} is there");
                names.insert(name.clone(), self.files.len());
                self.files.push(Contents::default());
            }
            Step::Write(name, bytes) => self.files[names[name]].written = bytes.clone(),
            Step::SyncFile(name) => self.files[names[name]].durable = true,
            Step::Link(from, to) => {
                assert!(!names.contains_key(to), "{to} is there");
                if let Some(file) = names.get(from).copied() {
                    names.insert(to.clone(), file);
                }
            }
            // Of two names of one file both stay.
            Step::Rename(from, to) if names.get(to) == names.get(from) => {}
            Step::Rename(from, to) => {
                let file = names.remove(from).expect("a file");
                names.insert(to.clone(), file);
            }
            Step::Remove(name) => {
                names.remove(name);
            }
            Step::SyncDirectory => {
                self.durable = names;
                self.later.clear();
                return;
            }
            Step::Done => {}
        }
        self.later.push(names);
    }

    /// Everything that a loss of power may leave now.
    fn leftovers(&self) -> BTreeSet<Leftovers> {
        let mut all = BTreeSet::new();
        if self.directory != Existence::Durable {
            all.insert(None);
        }
        for names in std::iter::once(&self.durable).chain(&self.later) {
            // Of what was not made durable there may be anything.
            for part in [0.0, 0.5, 1.0] {
                let contents = |(name, file): (&String, &usize)| {
                    let file = &self.files[*file];
                    let part = if file.durable { 1.0 } else { part };
                    let length = (file.written.len() as f64 * part) as usize;
                    (name.clone(), file.written[..length].to_vec())
                };
                all.insert(Some(names.iter().map(contents).collect()));
            }
        }
        all
    }
}

/// What somebody finds who starts on that.
fn load(leftovers: &Leftovers) -> Option<Table> {
    let directory = Scratch::new();
    if let Some(files) = leftovers {
        fs::create_dir(directory.path().join("reservations")).expect("made");
        for (name, contents) in files {
            fs::write(directory.file(name), contents).expect("written");
        }
    }
    directory.load()
}

/// Saves all tables, lets the power fail at every moment, and looks at what is left.
fn lose_power_everywhere(
    recorder: &Arc<Recorder>,
    fails: fn(usize, &[Step], &Step) -> Option<Errno>,
) {
    let directory = Scratch::new();
    let file = directory.watched(Arc::clone(recorder) as Arc<_>);
    let mut disk = Disk::default();
    let mut before = None;
    for (round, table) in tables().into_iter().enumerate() {
        recorder.fail(move |before, step| fails(round, before, step));
        let saved = file.save(&table).is_ok();
        let after = kept(&table);
        let mut both = BTreeSet::new();
        let steps = recorder.take();
        for (number, step) in steps.iter().enumerate() {
            if fails(round, &steps[..number], step).is_some() {
                continue;
            }
            disk.do_step(step);
            for leftovers in disk.leftovers() {
                let found = load(&leftovers);
                assert!(
                    found == before || found == after,
                    "{step:?}: {found:?} is neither {before:?} nor {after:?}"
                );
                both.insert(found == after);
            }
        }
        // The model would notice.
        assert_eq!(both.len(), 2, "{before:?} and {after:?}");
        let promised = if saved { after } else { before };
        for leftovers in disk.leftovers() {
            assert_eq!(load(&leftovers), promised, "acknowledged: {saved}");
        }
        before = promised;
    }
}

#[test]
fn a_loss_of_power_leaves_the_table_before_or_the_one_after() {
    lose_power_everywhere(&Arc::default(), |_, _, _| None);
}

#[test]
fn so_it_does_without_hard_links() {
    let fails = |_: usize, _: &[Step], step: &Step| is_link(step).then_some(Errno::OPNOTSUPP);
    lose_power_everywhere(&Arc::default(), fails);
}

/// At every other table, the first time that the directory is to be made durable it is not.
#[test]
fn so_it_does_where_the_table_before_is_put_back() {
    lose_power_everywhere(&Arc::default(), |round, before, step| {
        first_sync(before, step).filter(|_| round % 2 == 0)
    });
    lose_power_everywhere(&Arc::default(), |round, before, step| {
        first_sync(before, step).filter(|_| round % 2 == 1)
    });
}

fn first_sync(before: &[Step], step: &Step) -> Option<Errno> {
    let first = *step == Step::SyncDirectory && !before.contains(step);
    first.then_some(Errno::IO)
}

/// Nothing gets a name that is looked for before its contents are durable, and nothing is acknowledged before its name is.
#[test]
fn steps_are_taken_in_order() {
    let directory = Scratch::new();
    let recorder = Arc::new(Recorder::default());
    let file = directory.watched(Arc::clone(&recorder) as Arc<_>);
    let name = |name: &str| name.to_owned();
    let [new, old, previous, disk] =
        ["disk0~new", "disk0~old", "disk0~previous", "disk0"].map(name);
    for (number, table) in tables().iter().enumerate() {
        file.save(table).expect("saved");
        let contents = directory.read("disk0");
        let mut expected = vec![Step::MakeDirectory];
        if number == 0 {
            expected.push(Step::SyncParent);
        }
        expected.extend([
            Step::Remove(new.clone()),
            Step::Remove(old.clone()),
            Step::Create(new.clone()),
            Step::Write(new.clone(), contents),
            Step::SyncFile(new.clone()),
            Step::Link(disk.clone(), old.clone()),
        ]);
        if number > 0 {
            expected.push(Step::Rename(old.clone(), previous.clone()));
            expected.push(Step::Remove(old.clone()));
        }
        expected.extend([
            Step::Rename(new.clone(), disk.clone()),
            Step::SyncDirectory,
            Step::Done,
        ]);
        assert_eq!(recorder.take(), expected, "{number}");
    }
}
