//! The importers against files such as there are in the field, and against what nobody would write.
//!
//! Whatever comes out is read by the daemon's own reader.

mod hostile;
mod lio;
mod scst;

use pagecastd::config::Config;
use serde_json::Value;

use super::{ImportError, Imported};

const HOSTS: &str = include_str!("tests/samples/hosts.conf");
const INFINIBAND: &str = include_str!("tests/samples/infiniband.conf");
const APPLIANCE: &str = include_str!("tests/samples/appliance.conf");
const TERSE: &str = include_str!("tests/samples/terse.conf");
const CHAP: &str = include_str!("tests/samples/chap.json");
const FABRICS: &str = include_str!("tests/samples/fabrics.json");

/// What came out, which the daemon takes.
fn good(imported: Result<Imported, ImportError>) -> Imported {
    let imported = imported.unwrap_or_else(|error| panic!("{error}"));
    if let Err(error) = Config::parse(&imported.config.to_string(), "imported") {
        panic!("{error}\n{:#}", imported.config);
    }
    imported
}

/// All notes, one on a line.
fn told(imported: &Imported) -> String {
    let notes = imported.unmapped.iter().map(|note| format!("{note}\n"));
    notes.collect()
}

/// Checks that the notes say all of it; no secret is ever in them.
fn says(imported: &Imported, wanted: &[&str]) {
    let told = told(imported);
    for text in wanted {
        assert!(told.contains(text), "{text:?} is not in\n{told}");
    }
    assert!(
        !told.contains("secret1") && !told.contains("tooshort"),
        "{told}"
    );
}

/// The value at a path such as `/devices/0/name`.
#[track_caller]
fn at<'a>(imported: &'a Imported, path: &str) -> &'a Value {
    imported
        .config
        .pointer(path)
        .unwrap_or_else(|| panic!("no {path} in {:#}", imported.config))
}
