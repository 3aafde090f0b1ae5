use serde_json::json;

use super::*;
use crate::import::scst;

#[test]
fn hosts_of_an_iscsi_target() {
    let imported = good(scst(HOSTS));
    assert_eq!(
        at(&imported, "/devices"),
        &json!([
            { "name": "mail", "backend": "file", "path": "/srv/images/mail.img", "serial": "mail0001",
              "naa": "6589cfc000000d9f095196d274132652" },
            { "name": "archive", "backend": "file", "path": "/srv/images/archive.img", "block_size": 4096,
              "read_only": true, "serial": "arch-2019" },
            { "name": "journal", "backend": "file", "path": "/srv/images/a journal.img", "write_cache": false },
            { "name": "db", "backend": "block", "path": "/dev/vg0/db", "serial": "db0001",
              "naa": "6589cfc000000d9f095196d274132653" },
        ])
    );
    assert_eq!(
        at(&imported, "/targets/0"),
        &json!({
            "name": "store.one",
            "iqn": "iqn.2019-05.org.example:store.one",
            "chap": { "user": "web", "secret": "12charsecret1" },
            "portals": [
                { "transport": "iser", "address": "10.10.101.11", "port": 3260 },
                { "transport": "iscsi-tcp", "address": "10.10.101.11", "port": 3260 },
                { "transport": "iser", "address": "10.10.103.11", "port": 3260 },
                { "transport": "iscsi-tcp", "address": "10.10.103.11", "port": 3260 },
            ],
            "groups": [
                { "name": "web",
                  "initiators": ["iqn.1993-08.org.debian:01:web?", "iqn.1993-08.org.debian:01:front"],
                  "luns": { "0": "mail", "1": { "device": "db", "read_only": true } } },
                { "name": "backup-hosts", "initiators": ["iqn.*:backup*", "!iqn.*:backup9"],
                  "luns": { "0": "db", "1": "mail" } },
                { "name": "default", "default": true, "luns": { "0": "archive" } },
            ],
        })
    );
    assert_eq!(
        at(&imported, "/discovery_chap"),
        &json!({ "user": "finder", "secret": "12charsecret0",
                 "mutual_user": "store", "mutual_secret": "12charsecret9" })
    );
    // It took no logins, and takes none.
    assert_eq!(at(&imported, "/targets/1/portals"), &json!([]));
    // A wildcard and an address do not go together.
    assert_eq!(
        at(&imported, "/targets/2/portals/0"),
        &json!({ "transport": "iser", "address": "10.10.101.11", "port": 3260 })
    );
    says(
        &imported,
        &[
            "line 4: setup_id: pagecast's identities",
            "line 7: HANDLER vdisk_fileio, DEVICE mail: nv_cache 1: ",
            "line 12: HANDLER vdisk_fileio, DEVICE mail: threads_num: ",
            "DEVICE archive: t10_dev_id: it is the serial number now",
            "line 15, line 22: no naa_id: ",
            "line 25, line 34: rotational, thin_provisioned: ",
            "copy_manager\" is not imported, with the targets in it (1)",
            "is \"iqn.2019-05.org.example:store.one\" here, in small letters",
            "the user \"other\" of target store.one is not imported",
            "TARGET iqn.2019-05.org.example:Store.One: QueuedCommands: ",
            "rel_tgt_id: ",
            "HeaderDigest: ",
            "GROUP web, LUN 20000: LUN \"20000\" is not imported: LUNs are numbers from 0 to 16383",
            "the group \"backup hosts\" is called backup-hosts here",
            "'!' stands beside other patterns",
            "GROUP backup hosts: cpu_mask: ",
            "LUN \"2\" is not imported: there is no device \"nothing\" in this file",
            "target two is not enabled in SCST, and imported without portals",
            "target three was at every address",
            "line 49, line 87: iSER portals: ",
        ],
    );
    // In the order of the file.
    assert_eq!(imported.unmapped[0].at, "line 4");
    assert!(!told(&imported).contains("12charsecret"));
}

#[test]
fn srp_targets_and_what_is_not_for_pagecast() {
    let imported = good(scst(INFINIBAND));
    assert_eq!(
        at(&imported, "/devices"),
        &json!([{ "name": "lun0", "backend": "block", "path": "/dev/md0", "naa": "5000c50012345678" }])
    );
    let portals = json!([{ "transport": "srp", "address": "0.0.0.0", "port": 5555 }]);
    assert_eq!(
        at(&imported, "/targets"),
        &json!([
            { "name": "srp-0002c9030005f34b",
              "portals": portals,
              "groups": [
                { "name": "hosts",
                  "initiators": ["0002c9030005f34f", "0x00000000000000010002c90300a1b2c3", "10.99.0.*"],
                  "luns": { "0": "lun0" } },
                { "name": "default", "default": true, "luns": {} },
              ] },
            { "name": "srp-0002c9030005f34a",
              "srp_id_ext": "0002c9030005f34a",
              "srp_ioc_guid": "0002c9030005f34a",
              "portals": portals,
              "groups": [ { "name": "default", "default": true, "luns": { "0": "lun0" } } ] },
        ])
    );
    says(
        &imported,
        &[
            "device \"1:0:0:0\" is not imported: pagecast does not pass SCSI commands on",
            "device \"nowhere\" is not imported: it stores nothing",
            "device \"cdrom1\" is not imported: pagecast serves disks alone",
            "device \"odd\" is not imported: its block size is 2048",
            "line 29, line 48: SRP portals: ",
            "id_ext, ioc_guid: SCST makes them of the adapter's node GUID",
            "the initiator \"21:00:00:24:ff:58:98:57:00\" is not imported",
            "GROUP hosts: io_grouping_type: ",
            "GROUP hosts: black_hole: ",
            "LUN \"1\" is not imported: its device \"1:0:0:0\" is not",
            "LUN \"2\" is not imported: its device \"odd\" is not",
            "LUN 0: LUN \"0\" is not imported: its device \"nowhere\" is not",
            "the target driver \"qla2x00t\" is not imported, with the targets in it (1): pagecast has no Fibre Channel",
            "the target driver \"iser\" is not imported",
            "the device group \"dgroup1\" is not imported",
        ],
    );
}

#[test]
fn portals_in_patterns() {
    let imported = good(scst(APPLIANCE));
    let addresses: Vec<_> = at(&imported, "/targets/0/portals")
        .as_array()
        .expect("a list")
        .iter()
        .map(|portal| portal["address"].as_str().expect("a text"))
        .collect();
    assert_eq!(addresses, ["10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.2"]);
    assert_eq!(
        at(&imported, "/targets/0/groups/0/initiators"),
        &json!(["iqn.1998-01.com.vmware:*"])
    );
    // Without CHAP, nobody.
    assert_eq!(at(&imported, "/targets/1/portals"), &json!([]));
    assert!(imported.config.pointer("/targets/1/chap").is_none());
    says(
        &imported,
        &[
            "line 11, line 13: prod_id, t10_vend_id: ",
            "the IncomingUser of target all is not imported: its secret is not one of 12 to 255 bytes",
            "target all is imported without portals, so that nobody gets in without CHAP",
            "alias: ",
            "iSNSServer: ",
        ],
    );
    assert!(!told(&imported).contains("per_portal_acl"));

    let mixed = APPLIANCE.replace("vmware:*\\#10.0.0.2", "other:*\\#10.0.0.2");
    says(
        &good(scst(&mixed)),
        &["which initiator of target vms comes in through which portal is not imported"],
    );
    let never = APPLIANCE.replace("vmware:*\\#10.0.0.2", "vmware:one");
    says(&good(scst(&never)), &["and this one never matches"]);
}

#[test]
fn what_is_short_or_there_twice() {
    let imported = good(scst(TERSE));
    assert_eq!(
        at(&imported, "/devices"),
        &json!([
            { "name": "a", "backend": "file", "path": "/srv/a" },
            { "name": "1-2", "backend": "block", "path": "/srv/b" },
            { "name": "twice", "backend": "block", "path": "/srv/e" },
        ])
    );
    assert_eq!(
        at(&imported, "/targets/0/groups"),
        &json!([ { "name": "default", "default": true, "luns": {
            "0": { "device": "a", "read_only": true },
            "1": "1-2",
            "2": { "device": "1-2", "read_only": true },
            "3": "twice",
        } } ])
    );
    // Two names that differ in upper and lower case are one.
    assert!(imported.config.pointer("/targets/1/iqn").is_none());
    assert!(imported.config.pointer("/targets/2/iqn").is_none());
    says(
        &imported,
        &[
            "line 3: HANDLER vdisk_blockio, DEVICE 1:2: device \"1:2\" is called 1-2 here",
            "device \"b_ro\" has the same store as 1-2",
            "device \"none\" is not imported: it has no filename",
            "line 7: HANDLER vdisk_blockio, DEVICE twice: DEVICE \"twice\" is there again further down",
            "line 8: HANDLER vdisk_blockio, DEVICE twice, filename: filename is there again",
            "\"mystery\" is not known here",
            "LUN 3: LUN \"3\" is not imported: it is there already",
            "the section \"SURPRISE\" is not known here",
            "\"tgt\" is no iSCSI name",
        ],
    );
}

#[test]
fn the_form_of_the_file() {
    let initiators = |lines: &str| {
        let text =
            format!("TARGET_DRIVER iscsi {{\nTARGET iqn.a:b {{\nGROUP g {{\n{lines}\n}}\n}}\n}}\n");
        let imported = good(scst(&text));
        let groups = at(&imported, "/targets/0/groups/0/initiators").clone();
        (groups, told(&imported))
    };
    for (lines, expected) in [
        ("INITIATOR x # all of it", json!(["x"])),
        ("INITIATOR \"x\"", json!(["x"])),
        ("# INITIATOR y\n  INITIATOR x\r\n", json!(["x"])),
        ("INITIATOR x\nINITIATOR x", json!(["x"])),
        ("INITIATOR x\\y\\\\", json!(["xy\\"])),
        ("INITIATOR iqn.é", json!(["iqn.é"])),
    ] {
        assert_eq!(initiators(lines).0, expected, "{lines}");
    }
    for (lines, note) in [
        ("INITIATOR x#y", "a '#' with no blank before it"),
        ("INITIATOR \"x y\"", "names have no blanks in them"),
        ("INITIATOR x y", "there is more behind the initiator's name"),
        ("INITIATOR", "the initiator \"\" is not imported"),
        ("INITIATOR x\\#y", "without per_portal_acl"),
        ("INITIATOR x!y", "'!' in the middle of a pattern"),
        ("LUN", "LUN has no name"),
        ("LUN x", "LUN \"x\" is not imported: LUNs are numbers"),
        ("LUN 0 \"a#b\"", "a '#' in quotes"),
    ] {
        let told = initiators(lines).1;
        assert!(told.contains(note), "{lines}: {told}");
    }
    let deep = "a {\n".repeat(17);
    for (text, error) in [
        (
            "HANDLER x {\n",
            "line 1: the section HANDLER is not closed; a '}' is missing",
        ),
        (
            "\nHANDLER x { }\n}\n",
            "line 3: a '}' that closes nothing; ",
        ),
        (
            "HANDLER x\n{\n}\n",
            "line 2: a '{' with no section's name before it",
        ),
        (
            "setup_id \"0x1\n",
            "line 1: a quote is opened here and not closed",
        ),
        (
            "[HANDLER vdisk]\nDEVICE d,/d,,512\n",
            "line 1: this is the form that scst.conf had before SCST 2.0",
        ),
        (
            "{ \"devices\": [] }",
            "line 1: a '{' with no section's name before it",
        ),
        ("hello\nworld\n", "line 1: this is not an scst.conf; "),
        (&deep, "line 17: more than 16 sections are in one another"),
    ] {
        let found = scst(text).expect_err(text).to_string();
        assert!(found.starts_with(error), "{found}");
    }
    for empty in [
        "",
        "# nothing yet\n",
        "setup_id 0x1234\n",
        "HANDLER vdisk_fileio {\n}\n",
    ] {
        assert_eq!(
            good(scst(empty)).config,
            json!({ "devices": [], "targets": [] }),
            "{empty}"
        );
    }
}

#[test]
fn who_proves_what() {
    let target = |driver: &str, lines: &str| {
        good(scst(&format!(
            "TARGET_DRIVER iscsi {{\nenabled 1\n{driver}\nTARGET iqn.a:b {{\nenabled 1\n{lines}\n}}\n}}\n"
        )))
    };
    let one = target("", "IncomingUser me mysecret1234");
    assert_eq!(
        at(&one, "/targets/0/chap"),
        &json!({ "user": "me", "secret": "mysecret1234" })
    );
    // As sysfs numbers them.
    let numbered = target(
        "",
        "IncomingUser1 \"me mysecret1234\"\nOutgoingUser \"it mysecret1234\"",
    );
    assert!(
        numbered
            .config
            .pointer("/targets/0/chap/mutual_user")
            .is_none()
    );
    says(
        &numbered,
        &["the OutgoingUser of target b is not imported: it has the initiator's"],
    );
    let none = target("IncomingUser \"\"", "OutgoingUser \"it mysecret1234\"");
    assert!(none.config.pointer("/discovery_chap").is_none());
    assert!(
        !at(&none, "/targets/0/portals")
            .as_array()
            .expect("a list")
            .is_empty()
    );
    says(
        &none,
        &["without IncomingUser the target proves nothing either"],
    );
    // Portals that are added later would let everybody in.
    let off = target("", "IncomingUser \"me short\"").config.clone();
    assert_eq!(off.pointer("/targets/0/portals"), Some(&json!([])));
    let off = target("enabled 0", "IncomingUser \"me short\"");
    says(
        &off,
        &[
            "is not enabled in SCST",
            "so that nobody gets in without CHAP",
        ],
    );
    let discovery = target("IncomingUser \"me short\"", "");
    says(&discovery, &["discovery asks for no CHAP now"]);
    assert!(!told(&discovery).contains("short"));
}

#[test]
fn what_daemons_tell_apart() {
    let text = "HANDLER vdisk_fileio {
        DEVICE a { filename /a
            usn s
            naa_id 0x3000000000000001 }
        DEVICE b { filename /b
            usn s
            naa_id 3000000000000001 }
        DEVICE c { filename /c
            usn \" c\"
            naa_id 0x4000000000000001 }
        DEVICE d { filename /d/ }
        DEVICE e { filename e
            blocksize half }
        DEVICE f { filename /a
            blocksize 4096 }
    }
    TARGET_DRIVER iscsi {
        TARGET iqn.2026-11.io.pagecast:tgt { }
    }
    TARGET_DRIVER ib_srpt {
        TARGET tgt { enabled 1 }
        TARGET 0002:c903:0005:f34a { enabled 1 }
        TARGET 00:02:c9:03:00:05:f3:4a { enabled 1 }
    }";
    let imported = good(scst(text));
    assert_eq!(
        at(&imported, "/devices"),
        &json!([
            { "name": "a", "backend": "file", "path": "/a", "serial": "s", "naa": "3000000000000001" },
            { "name": "b", "backend": "file", "path": "/b" },
            { "name": "c", "backend": "file", "path": "/c" },
            { "name": "e", "backend": "file", "path": "e" },
        ])
    );
    let names: Vec<_> = (0..4)
        .map(|i| at(&imported, &format!("/targets/{i}/name")).clone())
        .collect();
    // The name that the first one's iSCSI name would be derived from is kept free.
    assert_eq!(
        json!(names),
        json!([
            "tgt-2",
            "tgt-3",
            "srp-0002c9030005f34a",
            "srp-0002c9030005f34a-2"
        ])
    );
    assert!(imported.config.pointer("/targets/3/srp_id_ext").is_none());
    says(
        &imported,
        &[
            "the serial number \"s\" is that of another device",
            "the NAA designator 3000000000000001 is that of another device",
            "the serial number \" c\" is not 1 to 64",
            "\"0x4000000000000001\" is not an NAA designator",
            "device \"d\" is not imported: \"/d/\" is not the path of a file",
            "the path \"e\" is relative",
            "\"half\" is not a block size; 512 is taken",
            "device \"f\" is not imported: a has the same store with another block size",
            "the target \"00:02:c9:03:00:05:f3:4a\" is called srp-0002c9030005f34a-2 here",
        ],
    );
}

#[test]
fn portals_of_different_protocols() {
    let conf = |address: &str| {
        format!("TARGET iqn.a:{address} {{\nenabled 1\nallowed_portal {address}\n}}\n")
    };
    let text = format!(
        "TARGET_DRIVER iscsi {{\nenabled 1\n{}{}{}{}}}\n",
        conf("*"),
        conf("::ffff:10.0.0.9"),
        conf("2001:db8::1"),
        conf("10.0.*"),
    );
    let imported = good(scst(&text));
    let first = |i| {
        imported
            .config
            .pointer(&format!("/targets/{i}/portals/0/address"))
            .and_then(Value::as_str)
    };
    assert_eq!(first(0), Some("10.0.0.9"));
    assert_eq!(first(1), Some("10.0.0.9"));
    assert_eq!(first(2), Some("2001:db8::1"));
    assert_eq!(first(3), None);
    says(
        &imported,
        &["gets no portals for \"10.0.*\": it is not an IP address"],
    );
}
