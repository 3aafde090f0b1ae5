use serde_json::Value;

use super::*;

fn add_portal(target: &str, portal: Value) -> Edit {
    Edit::AddPortal {
        target: target.to_owned(),
        portal,
    }
}

fn remove_portal(target: &str, portal: Value) -> Edit {
    Edit::RemovePortal {
        target: target.to_owned(),
        portal,
    }
}

fn add_group(target: &str, group: Value, before: Option<&str>) -> Edit {
    Edit::AddGroup {
        target: target.to_owned(),
        group,
        before: before.map(str::to_owned),
    }
}

fn remove_group(target: &str, name: &str) -> Edit {
    Edit::RemoveGroup {
        target: target.to_owned(),
        name: name.to_owned(),
    }
}

#[test]
fn a_target_is_added() {
    changes(
        Edit::AddTarget(json!({
            "portals": [ { "port": 7, "address": "10.0.0.1", "transport": "srp" } ],
            "groups": [ {
                "luns": { "10": "disk0", "9": { "read_only": true, "device": "ram0" } },
                "initiators": ["*"], "name": "all"
            } ],
            "chap": { "user": "u", "secret": "twelve bytes" },
            "name": "new",
        })),
        &[(
            r#"{ "name": "bare" }"#,
            r#"{ "name": "bare" },
               { "name": "new",
                 "chap": { "secret": "twelve bytes", "user": "u" },
                 "portals": [ { "transport": "srp", "address": "10.0.0.1", "port": 7 } ],
                 "groups": [ { "name": "all", "initiators": ["*"],
                               "luns": { "9": { "device": "ram0", "read_only": true }, "10": "disk0" } } ] }"#,
        )],
    );
}

#[test]
fn targets_that_are_not_added() {
    for (target, expected) in [
        (
            json!({ "name": "store" }),
            "refused: there is a target store already; choose another name, or remove that one first",
        ),
        (
            json!({ "name": "new", "iqn": "store" }),
            "invalid: iqn: \"store\" is not an iSCSI name; give one such as \"iqn.2026-11.io.pagecast:store\", in small letters, at most 223 bytes",
        ),
        (
            json!({ "name": "new", "portals": [ { "transport": "srp", "address": "10.0.0.1", "port": 0 } ] }),
            "invalid: portals[0].port: 0 is too small; give a number from 1 to 65535",
        ),
        (
            json!({ "name": "new", "groups": [ { "name": "g", "initiators": [], "luns": { "3": "disk9" } } ] }),
            "invalid: groups[0].luns[\"3\"]: there is no device \"disk9\"; did you mean `disk0`?",
        ),
        (
            json!({ "name": "new", "chap": { "user": "u", "secret": "short" } }),
            "invalid: chap.secret: the secret is 5 bytes long; give a string of 12 to 255 bytes (12 to 16 for Windows initiators)",
        ),
        (
            json!({ "name": "new", "iqn": "iqn.2026-11.io.pagecast:store" }),
            "config: the configuration after the change: targets[2].iqn: the iSCSI name \"iqn.2026-11.io.pagecast:store\" of \
             target new is already that of targets[0].iqn (target store); give each target its own \"iqn\", in which capitals do not count",
        ),
        (
            json!({ "name": "new", "groups": [ { "name": "g", "initiators": ["iqn.a:1", "IQN.A:1"] } ] }),
            "invalid: groups[0].initiators[1]: \"IQN.A:1\" is there already, as \"iqn.a:1\"; leave one of them out: case does not count",
        ),
        (
            json!({ "name": "STORE" }),
            "config: the configuration after the change: targets[2].iqn: the iSCSI name \"iqn.2026-11.io.pagecast:store\" of \
             target STORE is already that of targets[0].iqn (target store); give each target its own \"iqn\", in which capitals do not count",
        ),
    ] {
        assert_eq!(refused(Edit::AddTarget(target)), expected);
    }
}

#[test]
fn a_target_is_removed() {
    changes(
        Edit::RemoveTarget {
            name: "bare".to_owned(),
        },
        &[(
            r#""port": 3260 } ] },
    { "name": "bare" }"#,
            r#""port": 3260 } ] }"#,
        )],
    );
    assert_eq!(
        refused(Edit::RemoveTarget {
            name: "stare".to_owned()
        }),
        "not found: there is no target \"stare\"; did you mean `store`?"
    );
}

#[test]
fn portals_come_and_go() {
    changes(
        add_portal("store", json!({ "address": "::", "transport": "iser" })),
        &[(
            r#""port": 3260 } ]"#,
            r#""port": 3260 }, { "transport": "iser", "address": "::" } ]"#,
        )],
    );
    changes(
        add_portal(
            "bare",
            json!({ "transport": "iscsi-tcp", "address": "0.0.0.0" }),
        ),
        &[(
            r#"{ "name": "bare" }"#,
            r#"{ "name": "bare", "portals": [ { "transport": "iscsi-tcp", "address": "0.0.0.0" } ] }"#,
        )],
    );
    // It was written without its port, and with.
    for port in [json!(5555), Value::Null] {
        let mut portal = json!({ "transport": "srp", "address": "0.0.0.0", "port": port });
        portal
            .as_object_mut()
            .unwrap()
            .retain(|_, value| !value.is_null());
        changes(
            remove_portal("store", portal),
            &[(r#"{ "transport": "srp", "address": "0.0.0.0" },"#, "")],
        );
    }
}

#[test]
fn portals_that_are_not_added_or_removed() {
    let tcp = |address: &str| json!({ "transport": "iscsi-tcp", "address": address });
    for (edit, expected) in [
        (
            add_portal("store", tcp("::ffff:0.0.0.0")),
            "refused: target store has the portal iscsi-tcp 0.0.0.0:3260 already; give another address or port, or leave it as it is",
        ),
        (
            add_portal("store", json!({ "transport": "tcp", "address": "::" })),
            "invalid: transport: \"tcp\" is not known here; did you mean `iscsi-tcp`?",
        ),
        (
            add_portal("stor", tcp("::")),
            "not found: there is no target \"stor\"; did you mean `store`?",
        ),
        (
            add_portal("bare", tcp("10.0.0.1")),
            "config: the configuration after the change: targets[1].portals[0]: iscsi-tcp 10.0.0.1:3260 overlaps with \
             targets[0].portals[1]; remove it, or give it another address or port",
        ),
        (
            remove_portal("store", tcp("::")),
            "not found: there is no portal iscsi-tcp [::]:3260 of target store; it has srp 0.0.0.0:5555, iscsi-tcp 0.0.0.0:3260",
        ),
        (
            remove_portal("bare", tcp("::")),
            "not found: there is no portal iscsi-tcp [::]:3260 of target bare; it has none",
        ),
        (
            remove_portal("store", json!({ "transport": "srp" })),
            "invalid: the key \"address\" is missing; add \"address\": \"0.0.0.0\"",
        ),
    ] {
        assert_eq!(refused(edit), expected);
    }
}

#[test]
fn groups_come_and_go() {
    let group =
        json!({ "luns": { "1": "ram0", "0": "disk0" }, "initiators": ["10.0.0.9"], "name": "lab" });
    let written =
        r#"{ "name": "lab", "initiators": ["10.0.0.9"], "luns": { "0": "disk0", "1": "ram0" } }"#;
    changes(
        add_group("store", group.clone(), None),
        &[(
            r#"{ "name": "rest", "default": true }"#,
            &format!(r#"{{ "name": "rest", "default": true }}, {written}"#),
        )],
    );
    changes(
        add_group("store", group.clone(), Some("db")),
        &[(
            r#"{ "name": "db","#,
            &format!(r#"{written}, {{ "name": "db","#),
        )],
    );
    changes(
        add_group("bare", group, None),
        &[(
            r#"{ "name": "bare" }"#,
            &format!(r#"{{ "name": "bare", "groups": [ {written} ] }}"#),
        )],
    );
    changes(
        add_group("bare", json!({ "name": "all", "default": true }), None),
        &[(
            r#"{ "name": "bare" }"#,
            r#"{ "name": "bare", "groups": [ { "name": "all", "default": true } ] }"#,
        )],
    );
    changes(
        remove_group("store", "rest"),
        &[(
            r#""luns": { "0": "disk1" } },
        { "name": "rest", "default": true }"#,
            r#""luns": { "0": "disk1" } }"#,
        )],
    );
}

#[test]
fn groups_that_are_not_added_or_removed() {
    let named = |name: &str| json!({ "name": name, "initiators": ["*"] });
    for (edit, expected) in [
        (
            add_group("store", named("web"), None),
            "refused: there is a group web in target store already; choose another name, or remove that one first",
        ),
        (
            add_group("store", named("new"), Some("wed")),
            "not found: there is no group \"wed\" in target store; did you mean `web`?",
        ),
        (
            add_group("bare", named("new"), Some("web")),
            "not found: there is no group \"web\" in target bare; there are none yet",
        ),
        (
            add_group("shop", named("new"), None),
            "not found: there is no target \"shop\"; known are `store`, `bare`",
        ),
        (
            add_group("store", json!({ "name": "new", "default": true }), None),
            "refused: group rest of target store is the default already; remove that group first, or leave \"default\" out",
        ),
        (
            add_group(
                "store",
                json!({ "name": "new", "initiators": ["*", "A", "*", "a"] }),
                None,
            ),
            "invalid: initiators[2]: \"*\" is there already, as \"*\"; leave one of them out: case does not count; \
             initiators[3]: \"a\" is there already, as \"A\"; leave one of them out: case does not count",
        ),
        (
            add_group("store", json!({ "name": "new" }), None),
            "invalid: the key \"initiators\" is missing; add \"initiators\": [\"*\"] to let everybody in, or name who may; \
             \"default\": true admits whoever no other group does",
        ),
        (
            add_group(
                "store",
                json!({ "name": "new", "initiators": ["a b"] }),
                None,
            ),
            "invalid: initiators[0]: \"a b\" is not an initiator pattern; give an initiator's name, with '*' and '?' for what may \
             vary and a leading '!' for \"not\"; \"*\" is everybody",
        ),
        (
            add_group(
                "store",
                json!({ "name": "new", "initiators": [], "luns": { "0": "dsk0" } }),
                None,
            ),
            "invalid: luns[\"0\"]: there is no device \"dsk0\"; did you mean `disk0`?",
        ),
        (
            remove_group("store", "all"),
            "not found: there is no group \"all\" in target store; known are `web`, `db`, `rest`",
        ),
        (
            remove_group("", "all"),
            "not found: there is no target \"\"; known are `store`, `bare`",
        ),
    ] {
        assert_eq!(refused(edit), expected);
    }
}
