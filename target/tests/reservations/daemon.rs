//! A daemon that starts with what is in its state directory.

use std::fs;
use std::sync::Arc;
use std::time::Instant;

use pagecast_rdma::late::LateFabric;
use pagecastd::config::{Config, Document};
use pagecastd::control::{ClearError, Management};
use pagecastd::daemon::{Daemon, StartError};
use pagecastd::identity::MachineId;

use crate::support::{Scratch, kept, names, tables};

fn start(directory: &Scratch, keys: &str) -> Result<Daemon, StartError> {
    let names = names();
    let config = format!(
        r#"{{ "shards": 1, "staging_memory": "4MiB", "devices": [ {{ "name": "disk0", "backend": "memory", "size": "1MiB",
            "naa": "{}", "uuid": "{}"{keys} }} ] }}"#,
        names.naa, names.uuid
    );
    let config = Config::parse(&config, "test").expect("good");
    let machine = MachineId::from_bytes([7; 16]);
    let fabric = Arc::new(LateFabric::never());
    Daemon::build(
        (Document::from_config(&config), config),
        &machine,
        directory.path(),
        fabric,
        Instant::now(),
    )
}

#[test]
fn reservations_are_there_after_a_restart() {
    let directory = Scratch::new();
    let daemon = start(&directory, "").expect("started");
    let device = &daemon.shared.inventory().devices[0];
    assert!(
        device
            .unit
            .reservations()
            .table()
            .registrations()
            .is_empty()
    );
    assert_eq!(device.unit.model().limits.max_registrants, 4096);
    device.reservations.save(&tables()[1]).expect("saved");
    drop(daemon);
    let daemon = start(&directory, r#", "max_registrants": 16"#).expect("started");
    let device = &daemon.shared.inventory().devices[0];
    assert_eq!(device.unit.model().limits.max_registrants, 16);
    assert_eq!(
        Some((*device.unit.reservations().table()).clone()),
        kept(&tables()[1])
    );
}

#[test]
fn a_device_without_reservations_starts_with_none() {
    let directory = Scratch::new();
    let daemon = start(&directory, r#", "reservations": false"#).expect("started");
    assert_eq!(
        daemon.shared.inventory().devices[0]
            .unit
            .model()
            .limits
            .max_registrants,
        0
    );
    directory.open().save(&tables()[0]).expect("saved");
    let error = start(&directory, r#", "reservations": false"#).expect_err("there are some");
    let text = error.to_string();
    assert!(text.contains("1 registrants, and there may be 0"), "{text}");
}

#[test]
fn a_bad_file_keeps_the_daemon_from_starting() {
    let directory = Scratch::new();
    directory.open().save(&tables()[0]).expect("saved");
    fs::write(directory.file("disk0"), "nonsense").expect("written");
    let text = start(&directory, "").expect_err("a bad file").to_string();
    let path = directory.file("disk0").display().to_string();
    assert_eq!(
        text,
        format!(
            "device disk0: cannot use its reservations, {path}: it does not begin with \"pagecast-reservations\"; restore it from \
             a backup, or move it away to start without reservations"
        )
    );
}

#[test]
fn an_operator_sees_reservations_and_ends_them() {
    let directory = Scratch::new();
    directory.open().save(&tables()[1]).expect("saved");
    let daemon = start(&directory, "").expect("started");
    let shared = &daemon.shared;
    let report = shared.reservations().remove(0);
    assert_eq!(report.name, "disk0");
    assert!(report.enabled && report.persistent && !report.held_by_all);
    let kind = Some("write-exclusive-registrants-only".to_owned());
    assert_eq!(report.kind, kind);
    let iscsi = "iqn.1993-08.org.debian:01:\u{e4} \"quoted\",i,0x00023d000001";
    assert_eq!(report.holders, [iscsi]);
    let shown: Vec<_> = report
        .registrants
        .iter()
        .map(|one| {
            let at = (one.target.as_deref(), one.target_port);
            assert!(!one.live, "nobody is logged in");
            (
                one.key.as_str(),
                one.protocol.as_str(),
                one.initiator.as_str(),
                at,
                one.holder,
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            (
                "0x0000000000000001",
                "srp",
                "0x00696e69746961746f7220706f7274ff",
                (Some("store"), Some(1)),
                false
            ),
            (
                "0xffffffffffffffff",
                "iscsi",
                iscsi,
                (Some("store"), Some(2)),
                true
            ),
            (
                "0x0000000000000abc",
                "nvme",
                "abababab-abab-abab-abab-abababababab",
                (None, None),
                false
            ),
        ]
    );
    let short = shared.devices().remove(0).reservations;
    assert_eq!((short.kind, short.registrants), (kind.clone(), 3));

    let unknown = shared.clear_reservations("disk1", false);
    assert_eq!(unknown.expect_err("unknown"), ClearError::NoDevice);
    let cleared = shared.clear_reservations("disk0", false).expect("done");
    assert_eq!((cleared.kind, cleared.registrants), (kind, 3));
    let report = shared.reservations().remove(0);
    assert_eq!((report.kind, report.registrants), (None, Vec::new()));
    let found = directory.load();
    assert!(found.is_none_or(|table| table.registrations().is_empty()));
}

#[test]
fn what_cannot_be_saved_is_not_cleared() {
    let directory = Scratch::new();
    directory.open().save(&tables()[1]).expect("saved");
    let daemon = start(&directory, r#", "max_registrants": 16"#).expect("started");
    let path = directory.path().join("reservations");
    fs::rename(&path, directory.path().join("elsewhere")).expect("renamed");
    fs::write(&path, "in the way").expect("written");
    let error = daemon.shared.clear_reservations("disk0", true);
    let text = error.expect_err("nowhere to save").to_string();
    assert!(
        text.contains("the reservations stay as they were"),
        "{text}"
    );
    let there = daemon.shared.inventory().devices[0]
        .unit
        .reservations()
        .table();
    assert_eq!(Some((*there).clone()), kept(&tables()[1]));
    fs::remove_file(&path).expect("removed");
    fs::rename(directory.path().join("elsewhere"), &path).expect("renamed");
    assert_eq!(directory.load(), kept(&tables()[1]));
    daemon
        .shared
        .clear_reservations("disk0", false)
        .expect("done");
    assert!(
        directory
            .load()
            .is_none_or(|table| table.registrations().is_empty())
    );
}
