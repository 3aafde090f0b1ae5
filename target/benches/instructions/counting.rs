//! Counting: the program runs itself under callgrind, and reads the profile.

use std::process::Command as Process;

use crate::{Operation, ROUNDS, STAND_INS, STAND_INS_WITHIN};

/// What an operation cost.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) command: u64,
    pub(crate) around: u64,
    pub(crate) stand_ins: u64,
    pub(crate) allocations: u64,
}

pub(crate) fn measure(operation: &Operation) -> Row {
    let (profile, allocations) = callgrind(operation.name);
    let calls = Calls::read(&profile);
    let stand_ins = calls.cost_of(&STAND_INS);
    let completed = calls.cost_of(&[&["shard::Shard", "::completed"]]);
    assert!(
        completed > 0,
        "the function that handles completions has another name now"
    );
    let within = calls.cost_of(&STAND_INS_WITHIN);
    let command = completed - within;
    Row {
        name: operation.name,
        command: command / ROUNDS,
        around: (calls.total - stand_ins - command) / ROUNDS,
        stand_ins: stand_ins / ROUNDS,
        allocations,
    }
}

/// Runs this program under callgrind: the profile of `counted_turn`, and allocations.
fn callgrind(name: &str) -> (String, u64) {
    let out = std::env::temp_dir().join(format!("pagecast-callgrind-{name}"));
    let mut process = Process::new("valgrind");
    process
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg("--compress-strings=no")
        .arg("--compress-pos=no")
        .arg("--toggle-collect=*counted_turn*");
    let program = std::env::current_exe().expect("a program");
    process.arg(program).arg("--under-callgrind").arg(name);
    let ran = match process.output() {
        Ok(ran) => ran,
        Err(error) => {
            eprintln!("cannot run valgrind: {error}; install it (apt-get install valgrind)");
            std::process::exit(1);
        }
    };
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(
        ran.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    let profile = std::fs::read_to_string(&out).expect("callgrind's result");
    // Kept for callgrind_annotate, if anybody wants to know where it all goes.
    if std::env::var_os("KEEP_PROFILES").is_none() {
        let _ = std::fs::remove_file(&out);
    }
    let allocations = said
        .lines()
        .find_map(|line| line.strip_prefix("allocations "))
        .and_then(|count| count.parse().ok());
    (profile, allocations.expect("a count of allocations"))
}

/// Who called whom in a profile, at what cost.
struct Calls<'a> {
    total: u64,
    /// Caller, called, instructions with all that was called from there.
    calls: Vec<(&'a str, &'a str, u64)>,
}

impl<'a> Calls<'a> {
    fn read(profile: &'a str) -> Self {
        let (mut caller, mut called, mut next_is_cost) = ("", "", false);
        let mut calls = Vec::new();
        let mut total = 0;
        for line in profile.lines() {
            if let Some(name) = line.strip_prefix("fn=") {
                caller = name;
            } else if let Some(name) = line.strip_prefix("cfn=") {
                called = name;
            } else if line.starts_with("calls=") {
                next_is_cost = true;
            } else if let Some(sum) = line
                .strip_prefix("totals:")
                .or(line.strip_prefix("summary:"))
            {
                total = sum.trim().parse().unwrap_or(total);
            } else if std::mem::take(&mut next_is_cost) {
                let cost = line.split_whitespace().last();
                let cost = cost.and_then(|cost| cost.parse().ok()).unwrap_or(0);
                calls.push((caller, called, cost));
            }
        }
        assert!(total > 0, "an empty profile");
        Self { total, calls }
    }

    /// Instructions in calls of functions whose name has all the parts of one of `names`, from functions that have not.
    fn cost_of(&self, names: &[&[&str]]) -> u64 {
        let is_one = |name: &str| {
            names
                .iter()
                .any(|parts| parts.iter().all(|part| name.contains(part)))
        };
        self.calls
            .iter()
            .filter(|(caller, called, _)| is_one(called) && !is_one(caller))
            .map(|(_, _, cost)| cost)
            .sum()
    }
}
