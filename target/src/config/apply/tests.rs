//! Every edit, good and bad.

mod credentials;
mod devices;
mod initiators;
mod luns;
mod targets;

use std::path::PathBuf;

use serde_json::json;

use super::*;
use crate::config::edit::Scheme;
use crate::config::{Config, Document};

/// As a hand may have written it: keys in no order, a relative path, defaults spelled out, secrets.
const DOCUMENT: &str = r#"{
  "shards": 2,
  "targets": [
    { "groups": [
        { "name": "web", "initiators": ["iqn.2026-11.org.example:web1", "10.0.0.7"],
          "luns": { "0": "disk0", "5": { "read_only": true, "device": "disk1" } },
          "chap": { "secret": "correct horse", "user": "web" } },
        { "name": "db", "initiators": ["iqn.*:db?", "!iqn.*:db0", "10.0.0.7"], "luns": { "0": "disk1" } },
        { "name": "rest", "default": true }
      ],
      "name": "store",
      "portals": [ { "transport": "srp", "address": "0.0.0.0" },
                   { "transport": "iscsi-tcp", "address": "0.0.0.0", "port": 3260 } ] },
    { "name": "bare" }
  ],
  "devices": [
    { "name": "disk0", "backend": "file", "path": "images/disk0.img", "block_size": 512 },
    { "name": "disk1", "backend": "memory", "size": "1GiB" },
    { "name": "ram0", "backend": "memory", "block_size": 4096, "size": 8192 }
  ]
}"#;

/// A document that was read from a file, without the file.
fn document(text: &str) -> (Document, Config) {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("pagecast-edits-{}-{count}.json", std::process::id());
    let file: PathBuf = std::env::temp_dir().join(name);
    std::fs::write(&file, text).unwrap();
    let read = Document::from_file(&file).unwrap_or_else(|error| panic!("{error}"));
    std::fs::remove_file(&file).unwrap();
    read
}

/// What one edit makes of [`DOCUMENT`].
fn edited(edit: Edit) -> (Document, Config) {
    let (document, _) = document(DOCUMENT);
    let text = document.to_text();
    let edited = document
        .edited(&[edit])
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(document.to_text(), text, "it is another one");
    edited
}

/// The document's text with some of it replaced.
fn replaced(pairs: &[(&str, &str)]) -> String {
    let mut text = DOCUMENT.to_owned();
    for (from, to) in pairs {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        text = text.replace(from, to);
    }
    text
}

/// One edit changes the text just so.
fn changes(edit: Edit, pairs: &[(&str, &str)]) {
    let expected = document(&replaced(pairs));
    let (document, config) = edited(edit);
    assert_eq!(document.to_text(), expected.0.to_text());
    assert_eq!(config, expected.1);
}

/// Why one edit is refused, with the kind of the error.
fn refused(edit: Edit) -> String {
    let (document, _) = document(DOCUMENT);
    let text = document.to_text();
    let error = document.edited(&[edit]).expect_err("it is refused");
    assert_eq!(document.to_text(), text);
    let kind = match &error {
        EditError::NotFound { .. } => "not found",
        EditError::Refused { .. } => "refused",
        EditError::Invalid(_) => "invalid",
        EditError::Config(_) => "config",
        EditError::OneOf { .. } => "one of several",
    };
    format!("{kind}: {error}")
}

#[test]
fn what_a_hand_wrote_stays() {
    let (document, config) = document(DOCUMENT);
    let text = document.to_text();
    // The order of keys, what was left out and what was spelled out.
    assert!(text.find("\"shards\"") < text.find("\"targets\""));
    assert!(text.find("\"targets\"") < text.find("\"devices\""));
    for part in [
        r#""path": "images/disk0.img", "block_size": 512"#,
        r#"{ "read_only": true, "device": "disk1" }"#,
        r#""chap": { "secret": "correct horse", "user": "web" }"#,
        r#"{ "name": "rest", "default": true }"#,
        r#"{ "transport": "srp", "address": "0.0.0.0" }"#,
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let path = config.devices[0].store.path().unwrap();
    assert_eq!(*path, std::env::temp_dir().join("images/disk0.img"));
    // No edit is no change.
    let (same, again) = document.edited(&[]).unwrap();
    assert_eq!((same, again), (document, config));
}

#[test]
fn edits_are_made_in_order_and_checked_once() {
    let (document, _) = document(DOCUMENT);
    let add = Edit::AddDevice(json!({ "name": "new", "backend": "memory", "size": "1MiB" }));
    let map = Edit::Map {
        target: "store".to_owned(),
        group: "rest".to_owned(),
        lun: 0,
        device: "new".to_owned(),
        read_only: false,
        replace: false,
    };
    let both = document.edited(&[add.clone(), map.clone()]).unwrap();
    let first = document.edited(std::slice::from_ref(&add)).unwrap();
    assert_eq!(both, first.0.edited(std::slice::from_ref(&map)).unwrap());
    let error = document.edited(&[map, add]).expect_err("not yet there");
    assert_eq!(
        error.to_string(),
        "changes[0]: there is no device \"new\"; known are `disk0`, `disk1`, `ram0`"
    );

    // What would not do by itself does as a step: the wildcard takes the place of the addresses in it.
    let portal = |address: &str| json!({ "transport": "srp", "address": address });
    let target = || "store".to_owned();
    let add = Edit::AddPortal {
        target: target(),
        portal: portal("10.0.0.1"),
    };
    let remove = Edit::RemovePortal {
        target: target(),
        portal: portal("0.0.0.0"),
    };
    assert!(matches!(
        document.edited(std::slice::from_ref(&add)),
        Err(EditError::Config(_))
    ));
    let (_, config) = document.edited(&[add, remove]).unwrap();
    assert_eq!(
        config.targets[0].portals[1].to_string(),
        "srp 10.0.0.1:5555"
    );
}

#[test]
fn all_or_none() {
    let (document, _) = document(DOCUMENT);
    let text = document.to_text();
    let good = Edit::RemoveTarget {
        name: "bare".to_owned(),
    };
    let bad = Edit::RemoveTarget {
        name: "bar".to_owned(),
    };
    assert!(document.edited(&[good, bad]).is_err());
    assert_eq!(document.to_text(), text);
}

#[test]
fn documents_are_shown_without_their_contents() {
    let (document, _) = document(DOCUMENT);
    let shown = format!("{document:?}");
    assert!(
        shown.contains("pagecast-edits") && !shown.contains("horse"),
        "{shown}"
    );
    assert!(document.to_text().contains("correct horse"));
}
