//! What is written, and what of it is read.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use pagecast_core::reservations::{InitiatorPort, Registrant, Table};
use pagecastd::device::reservations::{DeviceNames, Flaw, LoadError, ReservationFile};

use crate::support::{LIMIT, Scratch, iscsi, kept, names, tables};

#[test]
fn what_is_saved_is_loaded() {
    let directory = Scratch::new();
    let file = directory.open();
    assert_eq!(file.load(LIMIT).expect("nothing"), None);
    assert_eq!(directory.names(), [""; 0], "nothing is made for nothing");
    let mut before = None;
    for table in tables() {
        file.save(&table).expect("saved");
        assert_eq!(directory.load(), kept(&table));
        if let Some(before) = &before {
            assert_eq!(directory.load_previous(), kept(before));
        }
        before = Some(table);
    }
    assert_eq!(directory.names(), ["disk0", "disk0~previous"]);
}

/// Files have to be read for years.
#[test]
fn the_format_never_changes() {
    let directory = Scratch::new();
    directory.open().save(&tables()[1]).expect("saved");
    let expected = include_str!("table.txt");
    let text = String::from_utf8(directory.read("disk0")).expect("text");
    assert!(text == expected, "{text}");
}

#[test]
fn only_the_daemon_may_look() {
    let directory = Scratch::new();
    directory.open().save(&tables()[0]).expect("saved");
    let mode = |path: &std::path::Path| fs::metadata(path).expect("there").mode() & 0o777;
    assert_eq!(mode(&directory.path().join("reservations")), 0o700);
    assert_eq!(mode(&directory.file("disk0")), 0o600);
}

#[test]
fn saves_are_counted_across_restarts() {
    let directory = Scratch::new();
    for count in 1..4 {
        let file = directory.open();
        file.load(LIMIT).expect("good");
        file.save(&tables()[0]).expect("saved");
        let text = String::from_utf8(directory.read("disk0")).expect("text");
        assert!(text.contains(&format!("\"saves\": {count},")), "{text}");
    }
}

#[test]
fn as_many_as_there_may_be() {
    const MANY: u32 = 65536;
    let registrant = |number: u32| Registrant::Scsi {
        initiator: InitiatorPort::Iscsi {
            name: format!("iqn.2026-11.org.example:{number:0>199}"),
            isid: [0xff; 6],
        },
        target: "t".repeat(64).into(),
        port: 2,
    };
    let all: BTreeMap<_, _> = (0..MANY)
        .map(|number| (registrant(number), u64::MAX))
        .collect();
    let table = Table::restore(MANY as usize, all, None).expect("good");
    let directory = Scratch::new();
    let file = directory.open();
    file.save(&table).expect("saved");
    assert_eq!(file.load(MANY as usize).expect("good"), Some(table));
    let error = file
        .load(MANY as usize - 1)
        .expect_err("too many")
        .to_string();
    assert!(
        error.contains("65536 registrants, and there may be 65535"),
        "{error}"
    );
    assert!(error.contains("raise \"max_registrants\""), "{error}");
}

#[test]
fn devices_do_not_share_files() {
    let directory = Scratch::new();
    let other = DeviceNames {
        naa: "3000000000000001".to_owned(),
        ..names()
    };
    // Names that would be in each other's way if what is added to them could be part of a name.
    for name in ["disk0", "disk0.previous", "disk0.new", "disk0.old"] {
        let device = if name == "disk0" {
            names()
        } else {
            other.clone()
        };
        let file = ReservationFile::new(directory.path(), name, device);
        for table in tables().iter().take(2) {
            file.save(table).expect("saved");
        }
    }
    assert_eq!(directory.names().len(), 8);
    assert_eq!(directory.load(), kept(&tables()[1]));
}

#[test]
fn another_devices_file_is_refused() {
    for (naa, uuid) in [
        ("3000000000000001", names().uuid.as_str()),
        (names().naa.as_str(), "00000000-0000-8000-8000-000000000001"),
    ] {
        let directory = Scratch::new();
        let (naa, uuid) = (naa.to_owned(), uuid.to_owned());
        let other = DeviceNames { naa, uuid };
        let file = ReservationFile::new(directory.path(), "disk0", other.clone());
        file.save(&tables()[0]).expect("saved");
        let error = directory.open().load(LIMIT).expect_err("foreign");
        assert!(matches!(error, LoadError::Foreign { .. }), "{error}");
        let text = error.to_string();
        let path = directory.file("disk0").display().to_string();
        for part in [&path, &other.naa, &other.uuid, &names().naa, "move it away"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}

#[test]
fn a_device_that_was_renamed_does_not_lose_its_reservations() {
    let directory = Scratch::new();
    directory.open().save(&tables()[1]).expect("saved");
    let renamed = ReservationFile::new(directory.path(), "store0", names());
    let error = renamed.load(LIMIT).expect_err("it has another name");
    assert!(matches!(error, LoadError::Elsewhere { .. }), "{error}");
    let text = error.to_string();
    for name in ["disk0", "store0"] {
        let path = directory.file(name).display().to_string();
        assert!(text.contains(&path), "{text}");
    }
    fs::rename(directory.file("disk0"), directory.file("store0")).expect("renamed");
    assert_eq!(renamed.load(LIMIT).expect("good"), kept(&tables()[1]));
    // An empty one is nothing to lose, nor is one of the generations before.
    fs::remove_file(directory.file("store0")).expect("removed");
    directory.open().save(&tables()[0]).expect("saved");
    directory.open().save(&Table::new(LIMIT)).expect("saved");
    assert_eq!(renamed.load(LIMIT).expect("nothing"), None);
    fs::remove_file(directory.file("disk0")).expect("removed");
    assert_eq!(renamed.load(LIMIT).expect("nothing"), None);
}

#[test]
fn a_file_that_was_moved_away_is_not_missed() {
    let directory = Scratch::new();
    for table in tables().iter().take(2) {
        directory.open().save(table).expect("saved");
    }
    fs::remove_file(directory.file("disk0")).expect("removed");
    assert_eq!(directory.load(), None);
    directory.open().save(&tables()[2]).expect("saved");
    assert_eq!(directory.load(), kept(&tables()[2]));
}

/// What a file with these bytes is refused for.
fn refused(bytes: &[u8]) -> LoadError {
    let directory = Scratch::new();
    fs::create_dir(directory.path().join("reservations")).expect("made");
    fs::write(directory.file("disk0"), bytes).expect("written");
    let error = directory.open().load(LIMIT).expect_err("it is not good");
    let text = error.to_string();
    let path = directory.file("disk0").display().to_string();
    for part in [path.as_str(), "restore it from a backup, or move it away"] {
        let version = matches!(
            error,
            LoadError::Damaged {
                flaw: Flaw::Version(_),
                ..
            }
        );
        assert!(text.contains(part) || version, "{text}");
    }
    error
}

fn good() -> Vec<u8> {
    let directory = Scratch::new();
    directory.open().save(&tables()[1]).expect("saved");
    directory.read("disk0")
}

#[test]
fn every_byte_counts() {
    let good = good();
    for length in 0..good.len() {
        refused(&good[..length]);
    }
    for place in 0..good.len() {
        let mut bad = good.clone();
        bad[place] ^= 1 << (place % 8);
        refused(&bad);
    }
    for more in [&b"\n"[..], b"\0", b"{}"] {
        refused(&[&good, more].concat());
    }
}

#[test]
fn what_is_wrong_is_named() {
    let good = String::from_utf8(good()).expect("text");
    let flaw = |bytes: &str| match refused(bytes.as_bytes()) {
        LoadError::Damaged { flaw, .. } => flaw,
        other => panic!("{other}"),
    };
    assert!(matches!(flaw(""), Flaw::Magic));
    assert!(matches!(flaw("hello\n"), Flaw::Magic));
    assert!(matches!(flaw("pagecast-reservations"), Flaw::Header));
    assert!(matches!(flaw("pagecast-reservations \n"), Flaw::Header));
    let version = good.replacen(" 1 ", " 2 ", 1);
    assert!(matches!(flaw(&version), Flaw::Version(2)));
    let half = &good[..good.len() / 2];
    assert!(matches!(flaw(half), Flaw::Length { .. }));
    let changed = good.replace("store", "stare");
    assert!(matches!(flaw(&changed), Flaw::Checksum));
    // The same number, written otherwise.
    let loose = good.replacen(" 1 ", " 01 ", 1);
    assert!(matches!(flaw(&loose), Flaw::Checksum));
}

/// A file with this body, and with the right checksum.
fn sealed(body: &str) -> String {
    let checksum = crc32c::crc32c(body.as_bytes());
    format!(
        "pagecast-reservations 1 {} {checksum:08x}\n{body}",
        body.len()
    )
}

#[test]
fn bodies_that_make_no_sense() {
    let good = String::from_utf8(good()).expect("text");
    let (_, body) = good.split_once('\n').expect("lines");
    let try_body = |body: &str| match refused(sealed(body).as_bytes()) {
        LoadError::Damaged { flaw, .. } => flaw,
        other => panic!("{other}"),
    };
    let directory = Scratch::new();
    fs::create_dir(directory.path().join("reservations")).expect("made");
    fs::write(directory.file("disk0"), sealed(body)).expect("written");
    assert_eq!(directory.load(), kept(&tables()[1]), "so far it is good");
    for (from, to) in [
        ("\"saves\": 1", "\"saves\": 1, \"color\": \"red\""),
        ("\"saves\": 1", "\"saves\": -1"),
        ("\"saves\": 1,", ""),
        ("\"naa\"", "\"nab\""),
        ("\"host\"", "\"colour\": 1, \"host\""),
        ("\"kind\": \"nvme\"", "\"kind\": \"nvmf\""),
        ("\"key\"", "\"Key\""),
        (
            "write-exclusive-registrants-only",
            "write-exclusive-registrant-only",
        ),
        ("0000000000000abc", "0000000000000ABC"),
        ("0000000000000abc", "0x00000000000abc"),
        ("0000000000000abc", "+000000000000abc"),
        ("0000000000000abc", "abc"),
        ("0000000000000abc", "0000000000000abc0"),
        ("0000000000000abc", "00000000000000ä"),
        ("\"target_port\": 1", "\"target_port\": 65536"),
        ("\"persistent\": true", "\"persistent\": 1"),
    ] {
        assert!(body.contains(from), "{from}");
        let flaw = try_body(&body.replacen(from, to, 1));
        assert!(matches!(flaw, Flaw::Body(_)), "{to}: {flaw}");
    }
    let flaw = try_body(&body.replace("0000000000000abc", "0000000000000000"));
    assert!(matches!(flaw, Flaw::Table(_)), "{flaw}");
    let flaw = try_body(&body.replace("-registrants-only", "-all-registrants"));
    assert!(
        matches!(flaw, Flaw::Table(_)),
        "a holder where all hold: {flaw}"
    );
    let flaw = try_body(&body.replacen("00023d000001", "00023d000002", 1));
    assert!(
        matches!(flaw, Flaw::Table(_)),
        "a holder that is not registered: {flaw}"
    );
    let flaw = try_body(&body.replace("\"persistent\": true", "\"persistent\": false"));
    assert!(matches!(flaw, Flaw::NotKept), "{flaw}");
    let Registrant::Scsi { .. } = iscsi() else {
        unreachable!()
    };
    let mut value: serde_json::Value = serde_json::from_str(body).expect("JSON");
    let list = value["registrants"].as_array_mut().expect("a list");
    list.push(list[0].clone());
    assert!(matches!(try_body(&value.to_string()), Flaw::Twice));
    assert!(matches!(try_body("[]"), Flaw::Body(_)));
    assert!(matches!(try_body(""), Flaw::Body(_)));
}

#[test]
fn the_generation_before_is_offered() {
    let directory = Scratch::new();
    for table in tables().iter().take(2) {
        directory.open().save(table).expect("saved");
    }
    fs::write(directory.file("disk0"), "nonsense").expect("written");
    let text = directory.open().load(LIMIT).expect_err("bad").to_string();
    let previous = directory.file("disk0~previous").display().to_string();
    assert!(
        text.contains(&format!("put {previous} in its place")),
        "{text}"
    );
    fs::rename(directory.file("disk0~previous"), directory.file("disk0")).expect("renamed");
    assert_eq!(directory.load(), kept(&tables()[0]));
}

#[test]
fn what_is_no_plain_file_is_refused() {
    type Make = fn(&std::path::Path);
    let make: [(&str, Make); 3] = [
        ("a directory", |path| {
            fs::create_dir(path).expect("made");
        }),
        ("a link", |path| {
            symlink("/etc/hostname", path).expect("made");
        }),
        ("a pipe", |path| {
            let mode = rustix::fs::Mode::RUSR;
            let kind = rustix::fs::FileType::Fifo;
            rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0).expect("made");
        }),
    ];
    for (what, make) in make {
        let directory = Scratch::new();
        fs::create_dir(directory.path().join("reservations")).expect("made");
        make(&directory.file("disk0"));
        let error = directory.open().load(LIMIT).expect_err(what);
        assert!(matches!(error, LoadError::Read { .. }), "{what}: {error}");
        assert!(error.to_string().contains("move it away"), "{error}");
    }
}

#[test]
fn a_file_that_may_not_be_read() {
    let directory = Scratch::new();
    directory.open().save(&tables()[0]).expect("saved");
    fs::set_permissions(directory.file("disk0"), fs::Permissions::from_mode(0o0)).expect("set");
    // Root may read everything.
    if !rustix::process::geteuid().is_root() {
        let error = directory.open().load(LIMIT).expect_err("not readable");
        assert!(matches!(error, LoadError::Read { .. }), "{error}");
    }
}

#[test]
fn what_a_crash_leaves_goes() {
    let directory = Scratch::new();
    directory.open().save(&tables()[0]).expect("saved");
    for leftover in ["disk0~new", "disk0~old"] {
        fs::write(directory.file(leftover), "half a ta").expect("written");
    }
    assert_eq!(directory.load(), kept(&tables()[0]));
    assert_eq!(directory.names(), ["disk0"]);
}
