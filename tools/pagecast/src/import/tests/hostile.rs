//! Files with a few things wrong in them, at random: an error or a configuration that the daemon takes, never a panic.

use proptest::prelude::*;

use super::*;
use crate::import::{lio, scst};

/// What has a meaning, or nearly so.
const WORDS: [&str; 36] = [
    "HANDLER",
    "DEVICE",
    "TARGET_DRIVER",
    "TARGET",
    "GROUP",
    "LUN",
    "INITIATOR",
    "{",
    "}",
    "\"",
    "#",
    "\\",
    "\n",
    " ",
    "iscsi",
    "ib_srpt",
    "vdisk_fileio",
    "filename",
    "enabled 1",
    "allowed_portal",
    "0.0.0.0",
    "::",
    "10.0.0.1",
    "fe80::1",
    "*",
    "!",
    "0",
    "16384",
    "4096",
    "naa_id",
    "IncomingUser",
    "iqn.2026-11.io.pagecast:one",
    "é",
    "\0",
    "/",
    "default",
];

/// Values to put somewhere.
const VALUES: [&str; 22] = [
    "null",
    "true",
    "0",
    "1",
    "-1",
    "4096",
    "70000",
    "1e99",
    "18446744073709551615",
    "\"\"",
    "\"*\"",
    "\"::\"",
    "\"0.0.0.0\"",
    "\"[::0]\"",
    "\"10.0.0.2\"",
    "\"iscsi\"",
    "\"srpt\"",
    "\"ramdisk\"",
    "\"iqn.2026-11.io.pagecast:one\"",
    "\"/\\u0000\"",
    "[]",
    "{}",
];

#[derive(Clone, Debug)]
enum Change {
    /// Part of the text goes.
    Cut(usize, usize),
    /// A word comes in.
    Insert(usize, usize),
    /// Part of the text is there again somewhere else.
    Copy(usize, usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let place = 0..10_000_usize;
    let length = 1..120_usize;
    prop_oneof![
        (place.clone(), length.clone()).prop_map(|(at, length)| Change::Cut(at, length)),
        (place.clone(), 0..WORDS.len()).prop_map(|(at, word)| Change::Insert(at, word)),
        (place.clone(), length, place).prop_map(|(at, length, to)| Change::Copy(at, length, to)),
    ]
}

fn changed(text: &str, changes: &[Change]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for change in changes {
        let place = |at: usize| at % (chars.len() + 1);
        match *change {
            Change::Cut(at, length) => {
                let at = place(at);
                let end = (at + length).min(chars.len());
                chars.drain(at..end);
            }
            Change::Insert(at, word) => {
                let at = place(at);
                chars.splice(at..at, WORDS[word].chars());
            }
            Change::Copy(at, length, to) => {
                let (at, to) = (place(at), place(to));
                let end = (at + length).min(chars.len());
                let copy = chars[at..end].to_vec();
                chars.splice(to..to, copy);
            }
        }
    }
    chars.into_iter().collect()
}

/// Where the values of a document are.
fn paths(value: &Value, path: &str, found: &mut Vec<String>) {
    found.push(path.to_owned());
    match value {
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                paths(item, &format!("{path}/{i}"), found);
            }
        }
        Value::Object(fields) => {
            for (key, item) in fields {
                paths(item, &format!("{path}/{key}"), found);
            }
        }
        _ => {}
    }
}

/// Puts a value, or one that is elsewhere in the document, in another's place.
fn replaced(text: &str, changes: &[(usize, usize, usize)]) -> String {
    let mut document: Value = serde_json::from_str(text).expect("a sample");
    for &(to, from, value) in changes {
        let mut all = Vec::new();
        paths(&document, "", &mut all);
        let new = match VALUES.get(value) {
            Some(value) => serde_json::from_str(value).expect("a value"),
            None => document
                .pointer(&all[from % all.len()])
                .cloned()
                .unwrap_or_default(),
        };
        if let Some(old) = document.pointer_mut(&all[to % all.len()]) {
            // One more of a list, rather than another list.
            match old {
                Value::Array(items) if value % 2 == 0 => items.push(new),
                old => *old = new,
            }
        }
    }
    document.to_string()
}

fn accepted(imported: Result<Imported, ImportError>) {
    if imported.is_ok() {
        good(imported);
    }
}

/// Takes lines apart and puts other words into them, and leaves the braces where they are.
fn mixed(text: &str, changes: &[(usize, usize, usize)]) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let is_plain = |line: &str| !line.contains(['{', '}']);
    for &(to, from, word) in changes {
        let (to, from) = (to % lines.len(), from % lines.len());
        let other: Vec<&str> = lines[from].split_whitespace().collect();
        let mut words: Vec<&str> = lines[to].split_whitespace().collect();
        let new = match WORDS.get(word) {
            Some(new) if is_plain(new) && !new.contains('"') => new,
            _ => other.get(word % 3).copied().unwrap_or("0"),
        };
        match word % 4 {
            0 if is_plain(&lines[from]) => {
                let copy = lines[from].clone();
                lines.insert(to, copy);
            }
            1 if is_plain(&lines[to]) => lines[to].clear(),
            _ => {
                if let Some(old) = words.get_mut(word % 3).filter(|old| is_plain(old)) {
                    *old = if is_plain(new) { new } else { "x" };
                }
                lines[to] = words.join(" ");
            }
        }
    }
    lines.join("\n")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn scst_texts(sample in 0..4_usize, changes in prop::collection::vec(change(), 1..4)) {
        let text = [HOSTS, INFINIBAND, APPLIANCE, TERSE][sample];
        accepted(scst(&changed(text, &changes)));
    }

    #[test]
    fn scst_lines(
        sample in 0..4_usize,
        changes in prop::collection::vec((0..10_000_usize, 0..10_000_usize, 0..3 * WORDS.len()), 1..20),
    ) {
        let text = [HOSTS, INFINIBAND, APPLIANCE, TERSE][sample];
        accepted(scst(&mixed(text, &changes)));
    }

    #[test]
    fn words(words in prop::collection::vec(0..WORDS.len(), 0..60)) {
        let text: Vec<&str> = words.into_iter().map(|word| WORDS[word]).collect();
        accepted(scst(&text.join(" ")));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lio_values(
        sample in 0..2_usize,
        changes in prop::collection::vec((0..10_000_usize, 0..10_000_usize, 0..2 * VALUES.len()), 1..8),
    ) {
        accepted(lio(&replaced([CHAP, FABRICS][sample], &changes)));
    }

    #[test]
    fn lio_texts(changes in prop::collection::vec(change(), 1..3)) {
        accepted(lio(&changed(FABRICS, &changes)));
    }
}

/// Nothing in an import takes more than its share of time for each byte.
#[test]
fn many_of_everything() {
    let devices: String = (0..6_000)
        .map(|i| format!("DEVICE d {{\nfilename /d{i}\n}}\nDEVICE d{} {{\nfilename /e{}\nusn s\nmystery 1\n}}\n", i % 3, i % 5))
        .collect();
    let groups: String = (0..6_000)
        .map(|i| format!("GROUP \"g {i}\" {{\nINITIATOR x\nLUN {i} d\n}}\n"))
        .collect();
    let targets: String = (0..1_500)
        .map(|i| format!("TARGET iqn.a:{} {{\nenabled 1\nallowed_portal 10.0.{}.{}\n}}\nTARGET iqn.b:{i} {{\nenabled 1\n}}\n", i % 7, i / 250, i % 250))
        .collect();
    let text = format!(
        "HANDLER vdisk_fileio {{\n{devices}}}\nTARGET_DRIVER iscsi {{\nenabled 1\n{targets}TARGET iqn.c:d {{\n{groups}}}\n}}\n"
    );
    let begun = std::time::Instant::now();
    let imported = scst(&text).expect("a file");
    let taken = begun.elapsed();
    assert!(taken.as_secs() < 30, "{taken:?}");
    assert!(imported.unmapped.len() <= 10_100);
    says(&imported, &["more notes are not shown"]);
}
