use serde_json::json;

use super::*;
use crate::import::lio;

#[test]
fn storage_objects() {
    let imported = good(lio(CHAP));
    assert_eq!(
        at(&imported, "/devices"),
        &json!([
            { "name": "mail", "backend": "file", "path": "/srv/images/mail.img",
              "serial": "924a476a-482f-414e-8011-83909d8b3b6e", "naa": "6001405924a476a482f414e801183909" },
            { "name": "mail-2", "backend": "block", "path": "/dev/vg0/db", "block_size": 4096, "read_only": true,
              "write_cache": false, "reservations": false,
              "serial": "27d9d921-5803-4fc0-a6bf-651b1a8ae519", "naa": "600140527d9d92158034fc0a6bf651b1" },
            { "name": "ram0", "backend": "memory", "size": 1_052_672,
              "serial": "9ea6da68-aec0-4560-baa8-834383f1cc6d", "naa": "60014059ea6da68aec04560baa883438" },
        ])
    );
    says(
        &imported,
        &[
            "storage_objects[0]: size: a device is as large as its file",
            "storage_objects[0].attributes: emulate_model_alias: ",
            "emulate_tpu, is_nonrot, unmap_granularity: ",
            "storage_objects[1]: write_back false: ",
            "storage_objects[1].alua_tpgs[0]: the ALUA group \"secondary\" (access state 1) is not imported",
            "storage_objects[1].attributes.future: \"future\" is not known here",
            "storage_objects[1]: device \"mail\" is called mail-2 here",
            "storage_objects[2].size: 1048577 bytes are 1052672 here",
            "storage_objects[2].nullio: LIO stores nothing",
            "the storage object \"/backstores/pscsi/tape\" is not imported",
            "the storage object \"/backstores/user/rbd0\" is not imported",
        ],
    );
}

#[test]
fn who_proves_what() {
    let imported = good(lio(CHAP));
    assert_eq!(
        at(&imported, "/discovery_chap"),
        &json!({ "user": "finder", "secret": "12charsecret0" })
    );
    assert_eq!(
        at(&imported, "/targets"),
        &json!([{
            "name": "sn.5edcfa9fc80a",
            "iqn": "iqn.2003-01.org.linux-iscsi.store:sn.5edcfa9fc80a",
            "portals": [
                { "transport": "iscsi-tcp", "address": "10.0.0.1", "port": 3260 },
                { "transport": "iscsi-tcp", "address": "2001:db8::1", "port": 3261 },
                { "transport": "iser", "address": "2001:db8::1", "port": 3261 },
            ],
            "groups": [
                { "name": "web1", "initiators": ["iqn.1993-08.org.debian:01:web1"],
                  "chap": { "user": "web", "secret": "12charsecret1",
                            "mutual_user": "store", "mutual_secret": "12charsecret9" },
                  "luns": { "0": "mail", "7": { "device": "ram0", "read_only": true } } },
                { "name": "open", "initiators": ["iqn.1993-08.org.debian:01:open"], "luns": { "0": "mail-2" } },
                // These would get in without CHAP.
                { "name": "nobody", "initiators": [], "luns": { "0": "mail-2" } },
                { "name": "brief", "initiators": [], "luns": {} },
            ],
        }])
    );
    says(
        &imported,
        &[
            "targets[0].tpgs[0].luns[2]: LUN 2 is not imported: its storage object \"/backstores/pscsi/tape\" is not",
            "mapped_luns[2]: LUN 8 is not imported: LUN 2 of the portal group is not imported",
            "mapped_luns[3]: LUN 9 is not imported: LUN 99 of the portal group is not there",
            "alua_tg_pt_gp_name: pagecast has no ALUA groups",
            "luns[0].alias, ",
            " and 3 more: alias: ",
            "node_acls[0]: tag: ",
            "group nobody has no initiators: LIO asks this initiator for CHAP and has no user",
            "the CHAP user of group brief is not imported: its secret",
            "group brief has no initiators: this initiator could get in without CHAP",
            "portals[1]: iser: ",
            "tpgs[0]: parameters: ",
        ],
    );
}

#[test]
fn demo_mode_portal_groups_and_srp() {
    let imported = good(lio(FABRICS));
    assert_eq!(
        at(&imported, "/targets/0"),
        &json!({
            "name": "srp-0002c9030005f34b",
            "portals": [{ "transport": "srp", "address": "0.0.0.0", "port": 5555 }],
            "groups": [
                { "name": "0x00000000000000000002c90300a1b2c3",
                  "initiators": ["0x00000000000000000002c90300a1b2c3"], "luns": { "0": "disk" } },
                { "name": "0002c90300a1b2c4", "initiators": ["0002c90300a1b2c4"],
                  "luns": { "1": { "device": "disk", "read_only": true } } },
            ],
        })
    );
    assert_eq!(
        at(&imported, "/targets/1/groups"),
        &json!([
            { "name": "writer", "initiators": ["iqn.2026-11.org.example:writer"], "luns": { "0": "disk" } },
            { "name": "default", "default": true, "luns": { "0": { "device": "disk", "read_only": true } } },
        ])
    );
    // The second portal group has its own address, which the first one's wildcard does not go with over TCP.
    assert_eq!(
        at(&imported, "/targets/1/portals"),
        &json!([
            { "transport": "iscsi-tcp", "address": "10.0.0.2", "port": 3260 },
            { "transport": "iser", "address": "0.0.0.0", "port": 3260 },
        ])
    );
    assert_eq!(
        at(&imported, "/targets/2"),
        &json!({
            "name": "demo.tpg2",
            "iqn": "iqn.2003-01.org.example:demo.tpg2",
            "portals": [{ "transport": "iscsi-tcp", "address": "10.0.0.2", "port": 3260 }],
            "groups": [{ "name": "default", "default": true, "luns": { "0": "disk" } }],
        })
    );
    assert_eq!(
        at(&imported, "/targets/3"),
        &json!({ "name": "demo.tpg3", "iqn": "iqn.2003-01.org.example:demo.tpg3", "portals": [], "groups": [] })
    );
    says(
        &imported,
        &[
            "targets[0].tpgs[0]: SRP portals: ",
            "the CHAP user and secret are not imported: LIO does not ask for them",
            "has several portal groups, which are a target each here: this one is demo.tpg2",
            "LUN 1 is not imported: there is no storage object \"/backstores/block/gone\"",
            "LUN 20000 is not imported: LUNs are numbers",
            "the portal \"fe80::1\" of target demo.tpg2 is not imported: it is link-local",
            "whoever has no ACL proves itself with CHAP in LIO",
            "target demo.tpg3 is not enabled in LIO",
            "of the fabric \"loopback\" is not imported",
            "of the fabric \"tcm_fc\" is not imported",
            "target demo was at every address",
        ],
    );
}

#[test]
fn what_is_no_such_file() {
    for (text, error) in [
        (
            "",
            "line 1: not valid JSON: EOF while parsing a value; a saveconfig.json was expected",
        ),
        (
            "HANDLER x {\n}\n",
            "line 1: not valid JSON: expected value; ",
        ),
        ("{\n\"targets\": [}", "line 2: not valid JSON: "),
        ("[]", "this is not a saveconfig.json: it is no object; "),
        ("{}", "this is not a saveconfig.json: it has none of them; "),
        (
            "{\"targets\": {}}",
            "this is not a saveconfig.json: \"targets\" is no list; ",
        ),
        (
            &"[".repeat(100_000),
            "line 1: not valid JSON: recursion limit exceeded; ",
        ),
    ] {
        let found = lio(text).expect_err(text).to_string();
        assert!(found.starts_with(error), "{found}");
    }
    let empty = good(lio(
        r#"{ "storage_objects": [], "targets": [], "fabric_modules": [], "new": 1 }"#,
    ));
    assert_eq!(empty.config, json!({ "devices": [], "targets": [] }));
    says(&empty, &["new: \"new\" is not known here"]);
}

#[test]
fn one_acl() {
    let import = |acl: Value| {
        good(lio(&json!({
            "storage_objects": [{ "plugin": "ramdisk", "name": "r", "size": "8192", "wwn": "r" }],
            "targets": [{ "fabric": "iscsi", "wwn": "iqn.a:b", "tpgs": [{
                "attributes": { "authentication": "0", "prod_mode_write_protect": 1 },
                "luns": [{ "index": 0, "storage_object": "/backstores/ramdisk/r" }],
                "node_acls": [acl],
            }] }],
        })
        .to_string()))
    };
    let acl = |wwn: &str| json!({ "node_wwn": wwn, "mapped_luns": [{ "index": 0, "tpg_lun": 0 }] });
    let imported = import(acl("iqn.a:host"));
    assert_eq!(
        at(&imported, "/targets/0/groups"),
        &json!([{ "name": "host", "initiators": ["iqn.a:host"],
                  "luns": { "0": { "device": "r", "read_only": true } } }])
    );
    says(&imported, &["target b has no portals"]);
    // LIO knows no wildcards, so that these are nobody's names.
    for wwn in ["*", "iqn.a:*", "!iqn.a:b", "iqn.a b"] {
        let imported = import(acl(wwn));
        assert_eq!(
            at(&imported, "/targets/0/groups/0/initiators"),
            &json!([]),
            "{wwn}"
        );
        says(
            &imported,
            &["is not imported: it is no name of an initiator here"],
        );
    }
    says(
        &import(json!({})),
        &["an ACL without node_wwn is not imported"],
    );
    says(
        &import(json!(7)),
        &["node_acls[0]: this is no object, and not imported"],
    );
    let wrong =
        json!({ "node_wwn": "iqn.a:host", "mapped_luns": [{ "index": -1, "tpg_lun": [] }] });
    says(
        &import(wrong),
        &["index is not a number", "tpg_lun is not a number"],
    );
}

/// What hosts are told of a cache, and whether there is one, are two things in LIO.
#[test]
fn write_caches() {
    let told_none =
        "write_back true with emulate_write_cache 0: LIO tells hosts that there is no write cache";
    let told_one = "write_back false with emulate_write_cache 1: LIO tells hosts of a write cache";
    for (plugin, write_back, told, write_cache, note) in [
        ("fileio", true, Some(1), true, None),
        ("fileio", true, None, true, None),
        ("fileio", true, Some(0), false, Some(told_none)),
        ("fileio", false, Some(0), false, None),
        ("fileio", false, None, false, None),
        ("fileio", false, Some(1), true, Some(told_one)),
        ("block", true, Some(0), false, Some(told_none)),
        ("block", false, Some(0), false, Some("write_back false: ")),
        // Blocks are not opened with O_DSYNC whatever it says.
        ("block", false, Some(1), true, None),
    ] {
        let mut attributes = json!({});
        if let Some(told) = told {
            attributes["emulate_write_cache"] = json!(told);
        }
        let imported = good(lio(&json!({
            "storage_objects": [{ "plugin": plugin, "name": "d", "dev": "/dev/d", "wwn": "d",
                                  "write_back": write_back, "attributes": attributes }],
            "targets": [],
        })
        .to_string()));
        let case = format!("{plugin} {write_back} {told:?}: {:?}", imported.unmapped);
        let found = at(&imported, "/devices/0").get("write_cache");
        assert_eq!(found.is_none(), write_cache, "{case}");
        assert_eq!(found, (!write_cache).then_some(&json!(false)), "{case}");
        let mut notes = imported.unmapped.iter().map(ToString::to_string);
        let about = notes.find(|text| text.contains("write_back"));
        match note {
            Some(note) => assert!(about.is_some_and(|text| text.contains(note)), "{case}"),
            None => assert_eq!(about, None, "{case}"),
        }
    }
}
