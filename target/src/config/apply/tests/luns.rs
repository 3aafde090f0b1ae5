use super::*;

fn map(group: &str, lun: u16, device: &str, read_only: bool) -> Edit {
    Edit::Map {
        target: "store".to_owned(),
        group: group.to_owned(),
        lun,
        device: device.to_owned(),
        read_only,
        replace: false,
    }
}

/// The same, whatever the number is by now.
fn replace(group: &str, lun: u16, device: &str, read_only: bool) -> Edit {
    let mut edit = map(group, lun, device, read_only);
    if let Edit::Map { replace, .. } = &mut edit {
        *replace = true;
    }
    edit
}

fn unmap(group: &str, lun: u16) -> Edit {
    Edit::Unmap {
        target: "store".to_owned(),
        group: group.to_owned(),
        lun,
    }
}

#[test]
fn luns_are_mapped_in_their_order() {
    changes(
        map("web", 1, "ram0", false),
        &[(r#""0": "disk0","#, r#""0": "disk0", "1": "ram0","#)],
    );
    changes(
        map("web", 16383, "ram0", true),
        &[(
            r#""device": "disk1" } }"#,
            r#""device": "disk1" }, "16383": { "device": "ram0", "read_only": true } }"#,
        )],
    );
    changes(
        map("rest", 0, "disk0", true),
        &[(
            r#""default": true }"#,
            r#""default": true, "luns": { "0": { "device": "disk0", "read_only": true } } }"#,
        )],
    );
}

#[test]
fn luns_that_are_not_mapped() {
    for (edit, expected) in [
        (
            map("web", 0, "ram0", false),
            "refused: LUN 0 of group web of target store is device disk0 already; replace it (\"replace\", --replace), or take another: 1 is free",
        ),
        (
            map("web", 5, "ram0", false),
            "refused: LUN 5 of group web of target store is device disk1 already; replace it (\"replace\", --replace), or take another: 1 is free",
        ),
        (
            map("web", 16384, "ram0", false),
            "invalid: lun: 16384 is too large; give a number from 0 to 16383",
        ),
        (
            map("web", 1, "ram", false),
            "not found: there is no device \"ram\"; did you mean `ram0`?",
        ),
        (
            map("web2", 1, "ram0", false),
            "not found: there is no group \"web2\" in target store; did you mean `web`?",
        ),
        (
            unmap("web", 1),
            "not found: there is no LUN 1 in group web of target store; mapped are 0, 5",
        ),
        (
            unmap("rest", 1),
            "not found: there is no LUN 1 in group rest of target store; no LUN of it is mapped",
        ),
        (
            unmap("wed", 1),
            "not found: there is no group \"wed\" in target store; did you mean `web`?",
        ),
    ] {
        assert_eq!(refused(edit), expected);
    }
}

#[test]
fn luns_are_replaced_where_they_are() {
    changes(
        replace("web", 0, "ram0", false),
        &[(r#""0": "disk0","#, r#""0": "ram0","#)],
    );
    changes(
        replace("web", 5, "disk1", false),
        &[(
            r#""5": { "read_only": true, "device": "disk1" }"#,
            r#""5": "disk1""#,
        )],
    );
    changes(
        replace("db", 0, "disk1", true),
        &[(
            r#"{ "0": "disk1" }"#,
            r#"{ "0": { "device": "disk1", "read_only": true } }"#,
        )],
    );
    // One that is free is mapped, and what is not there is no device.
    changes(
        replace("web", 1, "ram0", false),
        &[(r#""0": "disk0","#, r#""0": "disk0", "1": "ram0","#)],
    );
    assert_eq!(
        refused(replace("web", 0, "ram", false)),
        "not found: there is no device \"ram\"; did you mean `ram0`?"
    );
}

#[test]
fn luns_are_unmapped() {
    changes(unmap("db", 0), &[(r#"{ "0": "disk1" }"#, "{}")]);
    changes(
        unmap("web", 5),
        &[(r#", "5": { "read_only": true, "device": "disk1" } }"#, " }")],
    );
}

#[test]
fn a_map_that_is_full() {
    let luns: Vec<String> = (0..=16383).map(|lun| format!("\"{lun}\": \"d\"")).collect();
    let text = format!(
        r#"{{ "devices": [ {{ "name": "d", "backend": "memory", "size": "1MiB" }} ],
              "targets": [ {{ "name": "store", "groups": [ {{ "name": "g", "initiators": [], "luns": {{ {} }} }} ] }} ] }}"#,
        luns.join(",")
    );
    let (full, config) = document(&text);
    assert_eq!(config.targets[0].groups[0].luns.len(), 16384);
    let error = full.edited(&[map("g", 9, "d", false)]).expect_err("full");
    assert_eq!(
        error.to_string(),
        "LUN 9 of group g of target store is device d already; replace it (\"replace\", --replace)"
    );
    let swapped = full.edited(&[unmap("g", 9), map("g", 9, "d", true)]);
    let (swapped, config) = swapped.unwrap();
    assert!(config.targets[0].groups[0].luns[&9].read_only);
    let text = swapped.to_text();
    let lines: Vec<&str> = text.lines().collect();
    let at = |line: &str| lines.iter().position(|l| l.trim() == line);
    let nine = at(r#""9": { "device": "d", "read_only": true },"#);
    assert!(nine.is_some() && nine == at(r#""8": "d","#).map(|eight| eight + 1));
}
