use super::*;

fn add(group: &str, initiator: &str) -> Edit {
    Edit::AddInitiator {
        target: "store".to_owned(),
        group: group.to_owned(),
        initiator: initiator.to_owned(),
    }
}

fn remove(group: &str, initiator: &str) -> Edit {
    Edit::RemoveInitiator {
        target: "store".to_owned(),
        group: group.to_owned(),
        initiator: initiator.to_owned(),
    }
}

fn to(initiator: &str, from: Option<&str>, to: &str) -> Edit {
    Edit::MoveInitiator {
        target: "store".to_owned(),
        initiator: initiator.to_owned(),
        from: from.map(str::to_owned),
        to: to.to_owned(),
    }
}

const WEB1: &str = "iqn.2026-11.org.example:web1";

#[test]
fn patterns_come_and_go() {
    changes(
        add("web", "!10.0.0.?"),
        &[(
            r#"web1", "10.0.0.7"]"#,
            r#"web1", "10.0.0.7", "!10.0.0.?"]"#,
        )],
    );
    // Of a default group, which had none, and from then on has its place.
    changes(
        add("rest", "!10.0.0.9"),
        &[(
            r#""name": "rest", "#,
            r#""name": "rest", "initiators": ["!10.0.0.9"], "#,
        )],
    );
    changes(
        remove("web", "10.0.0.7"),
        &[(r#"web1", "10.0.0.7"]"#, r#"web1"]"#)],
    );
    changes(remove("db", "!iqn.*:db0"), &[(r#""!iqn.*:db0", "#, "")]);
    let (_, config) = document(DOCUMENT)
        .0
        .edited(&[remove("web", "10.0.0.7"), remove("web", WEB1)])
        .unwrap();
    assert!(config.targets[0].groups[0].initiators.is_empty());
}

#[test]
fn patterns_that_are_not_added_or_removed() {
    for (edit, expected) in [
        (
            add("web", "10.0.0.7"),
            "refused: group web of target store has \"10.0.0.7\" already; there is nothing to do",
        ),
        (
            add("web", "IQN.2026-11.org.EXAMPLE:web1"),
            "refused: group web of target store has \"iqn.2026-11.org.example:web1\" already; there is nothing to do",
        ),
        (
            add("web", "!"),
            "invalid: initiator: \"!\" is not an initiator pattern; give an initiator's name, with '*' and '?' for what may vary \
             and a leading '!' for \"not\"; \"*\" is everybody",
        ),
        (
            add("wep", "*"),
            "not found: there is no group \"wep\" in target store; did you mean `web`?",
        ),
        (
            remove("web", "10.0.0.8"),
            "not found: there is no pattern \"10.0.0.8\" in group web of target store; did you mean `10.0.0.7`?",
        ),
        (
            remove("rest", "*"),
            "not found: there is no pattern \"*\" in group rest of target store; it has none",
        ),
    ] {
        assert_eq!(refused(edit), expected);
    }
}

#[test]
fn a_pattern_moves_to_the_end_of_another_group() {
    changes(
        to(WEB1, None, "db"),
        &[
            (
                r#"["iqn.2026-11.org.example:web1", "10.0.0.7"]"#,
                r#"["10.0.0.7"]"#,
            ),
            (
                r#""!iqn.*:db0", "10.0.0.7"]"#,
                r#""!iqn.*:db0", "10.0.0.7", "iqn.2026-11.org.example:web1"]"#,
            ),
        ],
    );
    changes(
        to("iqn.*:db?", Some("db"), "rest"),
        &[
            (r#""iqn.*:db?", "#, ""),
            (
                r#""name": "rest", "#,
                r#""name": "rest", "initiators": ["iqn.*:db?"], "#,
            ),
        ],
    );
    // Several groups have it: the one that it leaves is named.
    changes(
        to("10.0.0.7", Some("db"), "rest"),
        &[
            (
                r#", "10.0.0.7"], "luns": { "0": "disk1" }"#,
                r#"], "luns": { "0": "disk1" }"#,
            ),
            (
                r#""name": "rest", "#,
                r#""name": "rest", "initiators": ["10.0.0.7"], "#,
            ),
        ],
    );
}

#[test]
fn patterns_that_do_not_move() {
    for (edit, expected) in [
        (
            to("10.0.0.7", None, "rest"),
            "refused: several groups of target store have \"10.0.0.7\": web, db; say which one it is to leave (\"from\", --from)",
        ),
        (
            to("10.0.0.7", Some("db"), "web"),
            "refused: group web of target store has \"10.0.0.7\" already; `pagecast initiator remove` takes it out of the other one",
        ),
        (
            to(WEB1, None, "web"),
            "refused: group web of target store has \"iqn.2026-11.org.example:web1\" already; there is nothing to do",
        ),
        (
            to(WEB1, Some("db"), "rest"),
            "not found: there is no pattern \"iqn.2026-11.org.example:web1\" in group db of target store; known are `iqn.*:db?`, \
             `!iqn.*:db0`, `10.0.0.7`",
        ),
        (
            to(WEB1, None, "dbs"),
            "not found: there is no group \"dbs\" in target store; did you mean `db`?",
        ),
        (
            to(WEB1, Some("wep"), "db"),
            "not found: there is no group \"wep\" in target store; did you mean `web`?",
        ),
        (
            to("iqn.2026-11.org.example:db1", None, "web"),
            "not found: there is no pattern \"iqn.2026-11.org.example:db1\" in target store; group db admits that name by its pattern \
             \"iqn.*:db?\", which stays where it is; `pagecast initiator add` gives a group one more",
        ),
        (
            to("10.0.0.77", None, "web"),
            "not found: there is no pattern \"10.0.0.77\" in target store; did you mean `10.0.0.7`? `pagecast initiator add` gives a \
             group one more",
        ),
        (
            to("somebody", None, "web"),
            "not found: there is no pattern \"somebody\" in target store; group rest, the default, admits that name; `pagecast \
             initiator add` gives a group one more",
        ),
    ] {
        assert_eq!(refused(edit), expected);
    }
}

#[test]
fn a_group_that_only_excludes_admits_the_others() {
    let (document, _) = document(
        r#"{ "targets": [ { "name": "store", "groups": [
               { "name": "a", "initiators": ["!10.0.0.7"] }, { "name": "b", "initiators": [] } ] } ] }"#,
    );
    let refused = |edit| {
        document
            .edited(&[edit])
            .expect_err("not listed")
            .to_string()
    };
    assert_eq!(
        refused(to("x", None, "b")),
        "there is no pattern \"x\" in target store; group a admits that name, because none of its patterns excludes it; \
         `pagecast initiator add` gives a group one more"
    );
    assert_eq!(
        refused(to("10.0.0.7", None, "b")),
        "there is no pattern \"10.0.0.7\" in target store; no group admits that name; `pagecast initiator add` gives a group one more"
    );
    let nobody = document.edited(&[remove("a", "!10.0.0.7")]).unwrap().0;
    assert_eq!(
        nobody
            .edited(&[to("x", None, "b")])
            .expect_err("nobody")
            .to_string(),
        "there is no pattern \"x\" in target store; no group admits that name; `pagecast initiator add` gives a group one more"
    );
}

#[test]
fn a_group_is_not_opened_by_taking_somebody_out() {
    let text = r#"{ "targets": [ { "name": "store", "groups": [
        { "name": "h", "initiators": ["iqn.a", "!iqn.b"] },
        { "name": "i", "initiators": ["iqn.c"] },
        { "name": "all", "default": true, "initiators": ["iqn.d", "!iqn.e"] } ] } ] }"#;
    let (document, _) = document(text);
    let refused = |edits: &[Edit]| document.edited(edits).expect_err("opened").to_string();
    let why = "without \"iqn.a\" all patterns of group h of target store exclude, and it would admit everybody else; remove \
               those with '!' first, or add one for whom it is to admit; \"*\" is everybody";
    assert_eq!(refused(&[remove("h", "iqn.a")]), why);
    assert_eq!(refused(&[to("iqn.a", None, "i")]), why);
    let both = [add("i", "iqn.z"), to("iqn.a", Some("h"), "i")];
    assert_eq!(refused(&both), format!("changes[1]: {why}"));

    // In either order it is put right.
    for edits in [
        [remove("h", "iqn.a"), add("h", "iqn.f")],
        [add("h", "iqn.f"), remove("h", "iqn.a")],
        [remove("h", "iqn.a"), remove("h", "!iqn.b")],
        [remove("h", "!iqn.b"), remove("h", "iqn.a")],
        [
            remove("h", "iqn.a"),
            Edit::RemoveGroup {
                target: "store".to_owned(),
                name: "h".to_owned(),
            },
        ],
    ] {
        document.edited(&edits).expect("it admits nobody more");
    }
    // The last of all admits nobody, and the default group everybody anyway.
    for edit in [remove("i", "iqn.c"), remove("all", "iqn.d")] {
        document.edited(&[edit]).expect("as it was");
    }
}

/// Access groups do not tell capitals from small letters, and neither does who takes somebody out.
#[test]
fn whoever_is_taken_out_is_out_in_whatever_letters() {
    let text = r#"{ "targets": [ { "name": "store", "groups": [
        { "name": "g", "initiators": ["iqn.r:1", "iqn.r:2", "IQN.R:1", "!IQN.R:3"] },
        { "name": "h", "initiators": ["Iqn.H:1"] } ] } ] }"#;
    let (document, config) = document(text);
    assert_eq!(
        config.warnings(),
        [
            "target store, group g: \"initiators\" has \"IQN.R:1\" more than once, first as \"iqn.r:1\"; keep one of them: case \
             does not count"
        ]
    );
    let groups = |edit: Edit| {
        let (_, config) = document.edited(&[edit]).expect("done");
        assert!(config.warnings().is_empty());
        let groups = config.targets[0].groups.iter();
        groups
            .map(|group| group.initiators.join(" "))
            .collect::<Vec<_>>()
    };
    for name in ["iqn.r:1", "IQN.R:1", "iqn.R:1"] {
        assert_eq!(groups(remove("g", name)), ["iqn.r:2 !IQN.R:3", "Iqn.H:1"]);
        for from in [None, Some("g")] {
            let moved = groups(to(name, from, "h"));
            assert_eq!(moved, ["iqn.r:2 !IQN.R:3", "Iqn.H:1 iqn.r:1"]);
        }
    }
    let refused = |edit: Edit| document.edited(&[edit]).expect_err("refused").to_string();
    assert_eq!(
        refused(add("g", "iqn.R:2")),
        "group g of target store has \"iqn.r:2\" already; there is nothing to do"
    );
    assert!(refused(remove("g", "!iqn.r:1")).starts_with("there is no pattern \"!iqn.r:1\""));

    // Where it is in both, it stays in neither unnoticed.
    let edits = [add("g", "IQN.h:1"), to("iqn.h:1", Some("h"), "g")];
    assert_eq!(
        document.edited(&edits).expect_err("there").to_string(),
        "changes[1]: group g of target store has \"IQN.h:1\" already; `pagecast initiator remove` takes it out of the other one"
    );
    assert_eq!(
        document
            .edited(&[add("g", "IQN.h:1"), to("iqn.h:1", None, "g")])
            .expect_err("in two")
            .to_string(),
        "changes[1]: several groups of target store have \"iqn.h:1\": g, h; say which one it is to leave (\"from\", --from)"
    );
}
