//! What is wrong with a document, and what is said of it.

use super::*;

#[test]
fn wrong_keys_name_the_nearest() {
    for (text, expected) in [
        (
            r#"{ "device": [] }"#.to_owned(),
            "device: unknown key \"device\"; did you mean `devices`?",
        ),
        (
            with_device(r#"{ "name": "d", "backend": "file", "path": "/d", "blok_size": 512 }"#),
            "devices[0].blok_size: unknown key \"blok_size\"; did you mean `block_size`?",
        ),
        (
            with_device(
                r#"{ "name": "d", "backend": "file", "path": "/d", "reservation": false }"#,
            ),
            "devices[0].reservation: unknown key \"reservation\"; did you mean `reservations`?",
        ),
        (
            with_target(
                r#""portals": [ { "transport": "srp", "adress": "::", "address": "::" } ]"#,
            ),
            "targets[0].portals[0].adress: unknown key \"adress\"; did you mean `address`?",
        ),
        (
            with_target(r#""groups": [ { "name": "g", "initiators": [], "frobnicate": 1 } ]"#),
            "targets[0].groups[0].frobnicate: unknown key \"frobnicate\"; known are `name`, `initiators`, `default`, `chap`, `dhchap`, `luns`",
        ),
        (
            r#"{ "poll-time": 1 }"#.to_owned(),
            "poll-time: unknown key \"poll-time\"; did you mean `poll_time`?",
        ),
        (
            r#"{ "a b\n": 1 }"#.to_owned(),
            "[\"a b\\n\"]: unknown key \"a b\\n\"; known are `devices`, `targets`, `discovery_chap`, `discovery_referrals`, `metrics`, `io_engine`, `shards`, `poll_time`, `window_size`, `pinned_memory`, `staging_memory`, `queue_depth`, `max_sessions`, `nvme_io_queues`, `max_it_iu_len`, `nop_interval`, `nop_timeout`",
        ),
    ] {
        assert_eq!(problems(&text), [expected]);
    }
}

#[test]
fn wrong_devices() {
    let wanted_timeout = "give a time with its unit, such as \"1h\", from \"1s\" to \"1h\"";
    for (device, expected) in [
        (
            "7",
            "devices[0]: 7 is not what belongs here; give an object: { ... }",
        ),
        (
            r#"{ "backend": "file", "path": "/d" }"#,
            "devices[0]: the key \"name\" is missing; add \"name\": \"disk0\"",
        ),
        (
            r#"{ "name": "d" }"#,
            "devices[0]: the key \"backend\" is missing; add \"backend\": \"file\"",
        ),
        (
            r#"{ "name": "d", "backend": "fiel", "path": "/d" }"#,
            "devices[0].backend: \"fiel\" is not known here; did you mean `file`?",
        ),
        (
            r#"{ "name": "d", "backend": "file" }"#,
            "devices[0]: the key \"path\" is missing; add \"path\": \"/srv/disk0.img\"",
        ),
        (
            r#"{ "name": "d", "backend": "file", "path": "/d", "size": "1GiB" }"#,
            "devices[0].size: only memory devices have a size here; remove it: the device is as large as what is at its path",
        ),
        (
            r#"{ "name": "d", "backend": "memory", "size": "1GiB", "path": "/d" }"#,
            "devices[0].path: a memory device has no path; remove it, or use \"backend\": \"file\"",
        ),
        (
            r#"{ "name": "d", "backend": "memory" }"#,
            "devices[0]: the key \"size\" is missing; add \"size\": \"1GiB\"",
        ),
        (
            r#"{ "name": "d", "backend": "memory", "size": "1GB" }"#,
            "devices[0].size: \"1GB\" is not a size; give bytes as a number, or a size such as \"1GiB\", from \"4KiB\" to \"64TiB\"",
        ),
        (
            r#"{ "name": "d", "backend": "memory", "size": -1 }"#,
            "devices[0].size: -1 is too small; give bytes as a number, or a size such as \"1GiB\", from \"4KiB\" to \"64TiB\"",
        ),
        (
            r#"{ "name": "d", "backend": "memory", "size": 1e3 }"#,
            "devices[0].size: 1000 is not what belongs here; give bytes as a number, or a size such as \"1GiB\", from \"4KiB\" to \"64TiB\"",
        ),
        (
            r#"{ "name": "d", "backend": "memory", "size": 5000, "block_size": 512 }"#,
            "devices[0].size: 5000 is not a multiple of the block size (512); round it up",
        ),
        (
            r#"{ "name": "a/b", "backend": "file", "path": "/d" }"#,
            "devices[0].name: \"a/b\" is not a name; use letters, digits, '-', '_' and '.', at most 64, beginning with a letter or digit",
        ),
        (
            r#"{ "name": "d", "backend": "file", "path": "/d", "block_size": 1024 }"#,
            "devices[0].block_size: 1024 is not a block size; give 512 or 4096",
        ),
        (
            r#"{ "name": "d", "backend": "file", "path": "/d", "read_only": "yes" }"#,
            "devices[0].read_only: \"yes\" is not what belongs here; give true or false, without quotes",
        ),
        (
            r#"{ "name": "d", "backend": "file", "path": "/d", "zero_copy": "of" }"#,
            "devices[0].zero_copy: \"of\" is not known here; did you mean `off`?",
        ),
        (
            r#"{ "name": "d", "backend": "file", "path": "/d", "command_timeout": "30" }"#,
            &format!("devices[0].command_timeout: \"30\" is not a time; {wanted_timeout}"),
        ),
        (
            r#"{ "name": "d", "backend": "file", "path": "/d", "command_timeout": 0 }"#,
            &format!("devices[0].command_timeout: 0 is out of range; {wanted_timeout}"),
        ),
        (
            r#"{ "name": "d", "backend": "file", "path": "/d", "queue_depth_max": 0 }"#,
            "devices[0].queue_depth_max: 0 is too small; give a number from 1 to 4096",
        ),
        (
            r#"{ "name": "d", "backend": "file", "path": "/d", "reservations": 0 }"#,
            "devices[0].reservations: 0 is not what belongs here; give true or false, without quotes",
        ),
        (
            r#"{ "name": "d", "backend": "file", "path": "/d", "max_registrants": 65537 }"#,
            "devices[0].max_registrants: 65537 is too large; give a number from 1 to 65536",
        ),
        (
            r#"{ "name": "d", "backend": "file", "path": "/d", "max_registrants": 0 }"#,
            "devices[0].max_registrants: 0 is too small; give a number from 1 to 65536",
        ),
        (
            r#"{ "name": "d", "backend": "file", "path": "/d/" }"#,
            "devices[0].path: \"/d/\" is not the path of a file; give one such as \"/srv/disk0.img\"",
        ),
        (
            r#"{ "name": "d", "backend": "file", "path": "/d", "serial": "" }"#,
            "devices[0].serial: \"\" is not a serial number; give 1 to 64 printable ASCII characters, with no space at either end",
        ),
        (
            r#"{ "name": "d", "backend": "file", "path": "/d", "naa": "1234" }"#,
            "devices[0].naa: \"1234\" is not an NAA designator; give 16 hex digits that begin with 2, 3 or 5, or 32 that begin with 6",
        ),
        (
            r#"{ "name": "d", "backend": "file", "path": "/d", "uuid": "00000000-0000-0000-0000-000000000000" }"#,
            "devices[0].uuid: \"00000000-0000-0000-0000-000000000000\" is not a UUID; give one such as uuidgen prints: 8-4-4-4-12 hex digits, not all zero",
        ),
        (
            r#"{ "name": "d", "backend": "file", "path": "/d", "path": "/e" }"#,
            "devices[0].path: the key \"path\" is there more than once; keep one of them",
        ),
    ] {
        assert_eq!(problems(&with_device(device)), [expected], "{device}");
    }
}

#[test]
fn wrong_targets() {
    for (rest, expected) in [
        (
            r#""portals": {}"#,
            "targets[0].portals: an object is not what belongs here; give a list: [ ... ]",
        ),
        (
            r#""portals": [ { "transport": "srp", "address": "::", "port": 70000 } ]"#,
            "targets[0].portals[0].port: 70000 is too large; give a number from 1 to 65535",
        ),
        (
            r#""portals": [ { "transport": "srp", "address": "::", "port": "5555" } ]"#,
            "targets[0].portals[0].port: \"5555\" is not what belongs here; give a number from 1 to 65535",
        ),
        (
            r#""portals": [ { "transport": "srpt", "address": "::" } ]"#,
            "targets[0].portals[0].transport: \"srpt\" is not known here; did you mean `srp`?",
        ),
        (
            r#""portals": [ { "transport": "srp" } ]"#,
            "targets[0].portals[0]: the key \"address\" is missing; add \"address\": \"0.0.0.0\"",
        ),
        (
            r#""portals": [ { "transport": "srp", "address": "store.example" } ]"#,
            "targets[0].portals[0].address: \"store.example\" is not an IP address; give one such as \"10.0.0.1\" or \"2001:db8::1\", or \"0.0.0.0\" or \"::\" for all of the machine's",
        ),
        (
            r#""portals": [ { "transport": "srp", "address": "fe80::1" } ]"#,
            "targets[0].portals[0].address: \"fe80::1\" is link-local, and means nothing without its interface; give an address of this machine, or \"0.0.0.0\" or \"::\" for all of them",
        ),
        (
            r#""portals": [ { "transport": "srp", "address": "224.0.0.1" } ]"#,
            "targets[0].portals[0].address: \"224.0.0.1\" is a multicast address; give an address of this machine, or \"0.0.0.0\" or \"::\" for all of them",
        ),
        (
            r#""portals": [ { "transport": "srp", "service_id": "0000000001070001" } ]"#,
            "targets[0].portals[0].service_id: \"0000000001070001\" is not a service id that the kernel gives to processes; give \"000000000106pppp\" or \"00000000013fpppp\", where pppp are four hex digits, not all zero",
        ),
        (
            r#""portals": [ { "transport": "srp", "service_id": "0000000001060001", "port": 1 } ]"#,
            "targets[0].portals[0].port: a portal has \"service_id\" or \"port\", not both; remove one of them, or make two portals",
        ),
        (
            r#""portals": [ { "transport": "iser", "service_id": "0000000001060001" } ]"#,
            "targets[0].portals[0].service_id: iser has no service id of its own; give \"address\" and \"port\" instead",
        ),
        (
            r#""iqn": "store""#,
            "targets[0].iqn: \"store\" is not an iSCSI name; give one such as \"iqn.2026-11.io.pagecast:store\", in small letters, at most 223 bytes",
        ),
        (
            r#""nqn": "store""#,
            "targets[0].nqn: \"store\" is not an NVMe qualified name; give one such as \"nqn.2026-11.io.pagecast:store\", at most 223 bytes",
        ),
        (
            r#""srp_id_ext": "1""#,
            "targets[0].srp_id_ext: \"1\" is not a GUID; give 16 hex digits that are not all zero, such as \"020000c0ffee0001\"",
        ),
        (
            r#""groups": [ { "name": "g" } ]"#,
            "targets[0].groups[0]: the key \"initiators\" is missing; add \"initiators\": [\"*\"] to let everybody in, or name who may; \"default\": true admits whoever no other group does",
        ),
        (
            r#""groups": [ { "name": "g", "default": false } ]"#,
            "targets[0].groups[0]: the key \"initiators\" is missing; add \"initiators\": [\"*\"] to let everybody in, or name who may; \"default\": true admits whoever no other group does",
        ),
        (
            r#""groups": [ { "name": "g", "default": true }, { "name": "h", "initiators": [] }, { "name": "i", "default": true } ]"#,
            "targets[0].groups[2].default: the group \"g\" is the default of this target already; keep \"default\" in one of them",
        ),
        (
            r#""groups": [ { "name": "g", "initiators": [], "luns": { "0": 7 } } ]"#,
            "targets[0].groups[0].luns[\"0\"]: 7 is not what belongs here; give a device's name in double quotes, or { \"device\": \"disk0\", \"read_only\": true }",
        ),
        (
            r#""groups": [ { "name": "g", "initiators": [], "luns": { "0": { "read_only": true } } } ]"#,
            "targets[0].groups[0].luns[\"0\"]: the key \"device\" is missing; add \"device\": \"disk0\"",
        ),
        (
            r#""groups": [ { "name": "g", "initiators": [], "luns": { "0": { "device": "d", "readonly": true } } } ]"#,
            "targets[0].groups[0].luns[\"0\"].readonly: unknown key \"readonly\"; did you mean `read_only`?",
        ),
        (
            r#""groups": [ { "name": "g", "initiators": [], "luns": { "0": { "device": "d", "read_only": 1 } } } ]"#,
            "targets[0].groups[0].luns[\"0\"].read_only: 1 is not what belongs here; give true or false, without quotes",
        ),
        (
            r#""groups": [ { "name": "g", "initiators": [], "luns": { "0": { "device": "e", "read_only": true } } } ]"#,
            "targets[0].groups[0].luns[\"0\"]: there is no device \"e\"; did you mean `d`?",
        ),
        (
            r#""groups": [ { "name": "g", "initiators": ["*", ""] } ]"#,
            "targets[0].groups[0].initiators[1]: \"\" is not an initiator pattern; give an initiator's name, with '*' and '?' for what may vary and a leading '!' for \"not\"; \"*\" is everybody",
        ),
        (
            r#""groups": [ { "name": "g", "initiators": [], "luns": { "00": "d" } } ]"#,
            "targets[0].groups[0].luns[\"00\"]: \"00\" is not a LUN; give a number from \"0\" to \"16383\"",
        ),
        (
            r#""groups": [ { "name": "g", "initiators": [], "luns": { "16384": "d" } } ]"#,
            "targets[0].groups[0].luns[\"16384\"]: \"16384\" is not a LUN; give a number from \"0\" to \"16383\"",
        ),
        (
            r#""groups": [ { "name": "g", "initiators": [], "luns": { "0": "d", "0": "d" } } ]"#,
            "targets[0].groups[0].luns[\"0\"]: the key \"0\" is there more than once; keep one of them",
        ),
        (
            r#""groups": [ { "name": "g", "initiators": [], "luns": { "0": "e" } } ]"#,
            "targets[0].groups[0].luns[\"0\"]: there is no device \"e\"; did you mean `d`?",
        ),
        (
            r#""groups": [ { "name": "g", "initiators": [], "luns": { "0": "other" } } ]"#,
            "targets[0].groups[0].luns[\"0\"]: there is no device \"other\"; known are `d`",
        ),
        (
            r#""groups": [ { "name": "g", "initiators": [] }, { "name": "g", "initiators": [] } ]"#,
            "targets[0].groups[1].name: the group name \"g\" is already that of targets[0].groups[0].name; groups of a target have different names",
        ),
        (
            r#""portals": [ { "transport": "srp", "address": "::" }, { "transport": "srp", "address": "::", "port": 5555 } ]"#,
            "targets[0].portals[1]: srp [::]:5555 is there twice: see targets[0].portals[0]; remove it, or give it another address or port",
        ),
        (
            r#""portals": [ { "transport": "srp", "address": "10.0.0.1" }, { "transport": "srp", "address": "::ffff:10.0.0.1" } ]"#,
            "targets[0].portals[1]: srp 10.0.0.1:5555 is there twice: see targets[0].portals[0]; remove it, or give it another address or port",
        ),
        (
            r#""portals": [ { "transport": "srp", "address": "10.0.0.1" }, { "transport": "iser", "address": "10.0.0.1", "port": 5555 } ]"#,
            "targets[0].portals[1]: iser 10.0.0.1:5555 is taken by targets[0].portals[0]; remove it, or give it another address or port",
        ),
        (
            r#""portals": [ { "transport": "srp", "address": "10.0.0.1" }, { "transport": "srp", "address": "0.0.0.0" } ]"#,
            "targets[0].portals[1]: srp 0.0.0.0:5555 overlaps with targets[0].portals[0]; remove it, or give it another address or port",
        ),
    ] {
        assert_eq!(problems(&with_target(rest)), [expected], "{rest}");
    }
}

#[test]
fn names_are_taken_once() {
    let text = r#"{
        "devices": [ { "name": "d", "backend": "file", "path": "/d" },
                     { "name": "d", "backend": "block", "path": "/d", "serial": "s" },
                     { "name": "e", "backend": "memory", "size": "1MiB", "serial": "s" } ],
        "targets": [ { "name": "t" }, { "name": "u", "iqn": "iqn.2026-11.io.pagecast:t" }, { "name": "t" } ]
    }"#;
    assert_eq!(
        problems(text),
        [
            "devices[1].name: the device name \"d\" is already that of devices[0].name; devices have different names",
            "targets[2].name: the target name \"t\" is already that of targets[0].name; targets have different names",
            "devices[1].path: the path \"/d\" is already that of devices[0].path; two devices cannot have the same store",
            "devices[2].serial: the serial \"s\" is already that of devices[1].serial; initiators tell devices apart by it",
            "targets[1].iqn: the iSCSI name \"iqn.2026-11.io.pagecast:t\" of target u is already that of targets[0].iqn (target t); give each target its own \"iqn\", in which capitals do not count",
            "targets[2].iqn: the iSCSI name \"iqn.2026-11.io.pagecast:t\" of target t is already that of targets[0].iqn (target t); give each target its own \"iqn\", in which capitals do not count",
            "targets[2].nqn: the NVMe qualified name \"nqn.2026-11.io.pagecast:t\" is already that of targets[0].nqn; give each target its own \"nqn\"",
        ]
    );
}

/// iSCSI names are the same in capitals and in small letters, NVMe's are not.
#[test]
fn names_that_differ_in_case_alone() {
    let text = r#"{ "targets": [ { "name": "UP" }, { "name": "up" }, { "name": "x", "iqn": "iqn.2026-11.io.pagecast:up" } ] }"#;
    let remedy = "give each target its own \"iqn\", in which capitals do not count";
    assert_eq!(
        problems(text),
        [
            format!(
                "targets[1].iqn: the iSCSI name \"iqn.2026-11.io.pagecast:up\" of target up is already that of targets[0].iqn (target UP); {remedy}"
            ),
            format!(
                "targets[2].iqn: the iSCSI name \"iqn.2026-11.io.pagecast:up\" of target x is already that of targets[0].iqn (target UP); {remedy}"
            ),
        ]
    );
    let text = r#"{ "targets": [ { "name": "a", "iqn": "iqn.x:Ü" }, { "name": "b", "iqn": "iqn.x:ü" } ] }"#;
    assert_eq!(problems(text).len(), 1);

    // With names of their own over iSCSI, they are two for NVMe.
    let text = r#"{ "targets": [ { "name": "UP", "iqn": "iqn.x:one" }, { "name": "up" } ] }"#;
    assert_eq!(good(text).targets.len(), 2);
}

#[test]
fn wrong_settings() {
    for (text, expected) in [
        (
            r#"{ "io_engine": "uring" }"#,
            "io_engine: \"uring\" is not known here; did you mean `io_uring`?",
        ),
        (
            r#"{ "shards": 0 }"#,
            "shards: 0 is too small; give a number from 1 to 256",
        ),
        (
            r#"{ "poll_time": "1s" }"#,
            "poll_time: \"1s\" is out of range; give a time with its unit, such as \"100ms\", from \"0s\" to \"100ms\"",
        ),
        (
            r#"{ "window_size": "3MiB" }"#,
            "window_size: \"3MiB\" is not a power of two; give \"2MiB\" or \"4MiB\"",
        ),
        (
            r#"{ "staging_memory": "1MiB" }"#,
            "staging_memory: \"1MiB\" is too small; give bytes as a number, or a size such as \"1GiB\", from \"4MiB\" to \"64TiB\"",
        ),
        (
            r#"{ "queue_depth": 1.5 }"#,
            "queue_depth: 1.5 is not what belongs here; give a number from 2 to 4096",
        ),
        (
            r#"{ "max_sessions": null }"#,
            "max_sessions: null is not what belongs here; give a number from 1 to 65536",
        ),
        (
            r#"{ "max_it_iu_len": 99999999999999999999 }"#,
            "max_it_iu_len: 100000000000000000000 is not what belongs here; give a number from 512 to 65536",
        ),
        (
            r#"{ "nvme_io_queues": 65 }"#,
            "nvme_io_queues: 65 is too large; give a number from 1 to 64",
        ),
        (
            r#"{ "metrics": true }"#,
            "metrics: true is not what belongs here; give an object: { ... }",
        ),
        (
            r#"{ "metrics": { "port": 0 } }"#,
            "metrics.port: 0 is too small; give a number from 1 to 65535",
        ),
        (
            r#"{ "metrics": { "adress": "::1" } }"#,
            "metrics.adress: unknown key \"adress\"; did you mean `address`?",
        ),
        (
            r#"{ "nop_timeout": 0 }"#,
            "nop_timeout: 0 is out of range; give a time with its unit, such as \"10min\", from \"1s\" to \"10min\"",
        ),
        (
            "[]",
            "a list is not what belongs here; give an object: { ... }",
        ),
    ] {
        assert_eq!(problems(text), [expected], "{text}");
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let text = r#"{ "devices": [ { "name": "" }, 1 ], "shards": "x", "nonsense": 1 }"#;
    let error = Config::parse(text, "/etc/pagecast/config.json")
        .expect_err("bad")
        .to_string();
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), 5, "{error}");
    assert!(
        lines
            .iter()
            .all(|line| line.starts_with("/etc/pagecast/config.json: ")),
        "{error}"
    );

    // What is wrong with one thing hides nothing about others.
    let text = r#"{
        "devices": [ { "name": "d", "backend": "memory", "size": 1 }, { "name": "d", "backend": "file", "path": "/d" } ],
        "targets": [ { "name": "t", "iqn": "t", "groups": [ { "name": "g", "initiators": [], "luns": { "0": "d", "1": "e" } } ] },
                     { "name": "t", "portals": 1, "groups": [ {} ] } ]
    }"#;
    let told = problems(text);
    for expected in [
        "devices[0].size: 1 is too small; give bytes as a number, or a size such as \"1GiB\", from \"4KiB\" to \"64TiB\"",
        "devices[1].name: the device name \"d\" is already that of devices[0].name; devices have different names",
        "targets[1].name: the target name \"t\" is already that of targets[0].name; targets have different names",
        "targets[0].groups[0].luns[\"1\"]: there is no device \"e\"; did you mean `d`?",
    ] {
        assert!(
            told.iter().any(|line| line == expected),
            "{expected} in {told:?}"
        );
    }
    // One that has no name may be the one that a LUN names.
    let text = r#"{
        "devices": [ { "nam": "e", "backend": "memory", "size": "1MiB" } ],
        "targets": [ { "name": "t", "groups": [ { "name": "g", "initiators": [], "luns": { "0": "e" } } ] } ]
    }"#;
    assert_eq!(problems(text).len(), 2);

    // A document that is wrong everywhere is not echoed whole.
    let many = format!("[{}]", vec!["1"; 10_000].join(","));
    assert_eq!(problems(&format!(r#"{{ "devices": {many} }}"#)).len(), 50);
}

#[test]
fn text_that_is_not_json() {
    let error = Config::parse("{\n  \"devices\": [,]\n}", "c.json").expect_err("bad");
    assert_eq!(
        error.to_string(),
        "c.json:2:15: not valid JSON: expected value"
    );
    let error = Config::parse("", "c.json").expect_err("bad");
    assert_eq!(
        error.to_string(),
        "c.json:1:0: not valid JSON: EOF while parsing a value"
    );
    let deep = "[".repeat(100_000);
    assert!(matches!(
        Config::parse(&deep, "c.json"),
        Err(ConfigError::Syntax { .. })
    ));
}
