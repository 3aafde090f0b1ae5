//! A process that saves one table after the other is killed before every step that it takes.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use pagecastd::device::reservations::{ReservationFile, Step, Watch};
use rustix::io::Errno;
use rustix::process::{Signal, getpid, kill_process};

use crate::support::{Scratch, is_link, kept, names, tables};

/// What the child is told: where, before which step it dies, and on what kind of disk.
const DIRECTORY: &str = "PAGECAST_CRASH_DIRECTORY";
const STEP: &str = "PAGECAST_CRASH_STEP";
const DISK: &str = "PAGECAST_CRASH_DISK";

/// Kinds of disks.
const GOOD: &str = "good";
const WITHOUT_LINKS: &str = "without links";
/// Every third time that the directory is to be made durable, it is not: every other table is put back.
const FAILS_AT_TIMES: &str = "fails at times";

/// Says what is done, and is killed at its time.
#[derive(Debug)]
struct Deadly {
    /// Steps that are left.
    left: AtomicUsize,
    syncs: AtomicUsize,
    disk: String,
}

impl Watch for Deadly {
    fn before(&self, step: &Step) -> io::Result<()> {
        if self.left.fetch_sub(1, SeqCst) == 0 {
            kill_process(getpid(), Signal::KILL).expect("killed");
            std::process::abort();
        }
        let shown = match step {
            // Its contents are long.
            Step::Write(name, _) => format!("Write({name:?})"),
            other => format!("{other:?}"),
        };
        tell(&format!("step {shown}"));
        let fails = match step {
            _ if is_link(step) && self.disk == WITHOUT_LINKS => Some(Errno::PERM),
            Step::SyncDirectory if self.disk == FAILS_AT_TIMES => {
                let fails = self.syncs.fetch_add(1, SeqCst) % 3 == 1;
                fails.then_some(Errno::IO)
            }
            _ => None,
        };
        fails.map_or(Ok(()), |errno| Err(errno.into()))
    }
}

/// The process that is killed. In the test run itself it does nothing.
#[test]
fn child() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let variable = |name| std::env::var(name).expect("told");
    let deadly = Deadly {
        left: AtomicUsize::new(variable(STEP).parse().expect("a number")),
        syncs: AtomicUsize::new(0),
        disk: variable(DISK),
    };
    let directory = PathBuf::from(directory);
    let file = ReservationFile::watched(&directory, "disk0", names(), Arc::new(deadly));
    for table in tables() {
        match file.save(&table) {
            Ok(()) => tell("saved"),
            Err(_) => tell("failed"),
        }
    }
    tell("all");
}

/// On standard error, past libtest, and in one piece.
fn tell(line: &str) {
    let line = format!("\n@ {line}\n");
    io::stderr().write_all(line.as_bytes()).expect("told");
}

/// What the child said before it died.
fn run(directory: &Scratch, step: usize, disk: &str) -> Vec<String> {
    let output = Command::new(std::env::current_exe().expect("a program"))
        .args(["--exact", "crash::child", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory.path())
        .env(STEP, step.to_string())
        .env(DISK, disk)
        .output()
        .expect("run");
    let text = String::from_utf8(output.stderr).expect("text");
    let lines = text.lines().filter_map(|line| line.strip_prefix("@ "));
    let lines: Vec<String> = lines.map(str::to_owned).collect();
    let whole = lines.last().is_some_and(|line| line == "all");
    assert_eq!(output.status.success(), whole, "{step}: {text}");
    lines
}

/// Kills the child before each of its steps in turn, and looks at what it left. Returns how many steps there were.
fn kill_everywhere(disk: &str) -> usize {
    let tables = tables();
    let mut in_the_middle = 0;
    for step in 0.. {
        let directory = Scratch::new();
        let said = run(&directory, step, disk);
        // As many as were acknowledged, one way or the other, and the last that was promised.
        let mut promised = None;
        let mut next = 0;
        let mut replaced = false;
        for line in &said {
            match line.as_str() {
                "saved" => promised = Some(next),
                "failed" => {}
                "all" => return in_the_middle,
                // It was announced and done: the child died at the next one.
                step => {
                    replaced |= step == "step Rename(\"disk0~new\", \"disk0\")";
                    continue;
                }
            }
            next += 1;
            replaced = false;
        }
        let before = promised.and_then(|last: usize| kept(&tables[last]));
        let after = tables.get(next).and_then(kept);
        let found = directory.load();
        assert!(
            found == before || found == after,
            "{disk}, {step}: {found:?} is neither {before:?} nor {after:?}; {said:#?}"
        );
        if disk == GOOD {
            // To the letter: the name was taken over, or was not.
            let expected = if replaced { &after } else { &before };
            assert_eq!(found, *expected, "{step}: {said:#?}");
            in_the_middle += usize::from(replaced);
        } else {
            in_the_middle += usize::from(found == after && found != before);
        }
        // Nothing is left behind but the two generations.
        for name in directory.names() {
            assert!(
                ["disk0", "disk0~previous"].contains(&name.as_str()),
                "{step}: {name}"
            );
        }
        // Life goes on.
        let last = tables.last().expect("a table");
        directory.open().save(last).expect("saved");
        assert_eq!(directory.load(), kept(last), "{step}");
    }
    unreachable!("the child ends")
}

#[test]
fn a_process_that_is_killed_leaves_the_table_before_or_the_one_after() {
    assert!(kill_everywhere(GOOD) >= tables().len());
}

#[test]
fn so_it_does_without_hard_links() {
    assert!(kill_everywhere(WITHOUT_LINKS) > 0);
}

#[test]
fn so_it_does_where_the_table_before_is_put_back() {
    assert!(kill_everywhere(FAILS_AT_TIMES) > 0);
}
