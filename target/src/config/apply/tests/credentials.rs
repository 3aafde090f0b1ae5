use super::*;

const KEY: &str = "DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:";

fn set(group: Option<&str>, scheme: Scheme, credentials: Value) -> Edit {
    Edit::SetCredentials {
        target: "store".to_owned(),
        group: group.map(str::to_owned),
        scheme,
        credentials,
    }
}

fn remove(group: Option<&str>, scheme: Scheme) -> Edit {
    Edit::RemoveCredentials {
        target: "store".to_owned(),
        group: group.map(str::to_owned),
        scheme,
    }
}

#[test]
fn credentials_are_set() {
    let chap = json!({ "secret": "battery staple", "user": "db" });
    // In place of others, and where there are none; their keys in order, whatever order they came in.
    changes(
        set(Some("web"), Scheme::Chap, chap.clone()),
        &[(
            r#"{ "secret": "correct horse", "user": "web" }"#,
            r#"{ "user": "db", "secret": "battery staple" }"#,
        )],
    );
    changes(
        set(Some("rest"), Scheme::Chap, chap.clone()),
        &[(
            r#""default": true }"#,
            r#""default": true, "chap": { "user": "db", "secret": "battery staple" } }"#,
        )],
    );
    let (_, config) = edited(set(None, Scheme::Chap, chap));
    let target = &config.targets[0];
    let user = |group: usize| &target.chap_of(&target.groups[group]).expect("one").user;
    assert_eq!((&user(0)[..], &user(1)[..]), ("web", "db"));

    let (_, config) = edited(set(
        Some("db"),
        Scheme::Dhchap,
        json!({ "key": KEY, "groups": ["ffdhe2048"] }),
    ));
    let dhchap = config.targets[0].groups[1].dhchap.as_ref().expect("set");
    assert_eq!((dhchap.groups.len(), dhchap.hashes.len()), (1, 3));
}

#[test]
fn credentials_are_removed() {
    changes(
        remove(Some("web"), Scheme::Chap),
        &[(
            r#",
          "chap": { "secret": "correct horse", "user": "web" } }"#,
            " }",
        )],
    );
    let (document, _) = edited(set(None, Scheme::Dhchap, json!({ "key": KEY })));
    let (document, config) = document.edited(&[remove(None, Scheme::Dhchap)]).unwrap();
    assert_eq!(config.targets[0].dhchap, None);
    assert_eq!(document.to_text(), edited_by_nothing());
}

/// The text of [`DOCUMENT`] as it is written.
fn edited_by_nothing() -> String {
    document(DOCUMENT).0.to_text()
}

#[test]
fn credentials_that_will_not_do() {
    let good = || json!({ "user": "u", "secret": "correct horse" });
    for (edit, expected) in [
        (
            set(
                Some("web"),
                Scheme::Chap,
                json!({ "user": "u", "secret": "sesame" }),
            ),
            "invalid: secret: the secret is 6 bytes long; give a string of 12 to 255 bytes (12 to 16 for Windows initiators)",
        ),
        (
            set(None, Scheme::Dhchap, json!({ "key": "sesame" })),
            "invalid: key: the key does not have the form DHHC-1:HH:BASE64:; give one as `nvme gen-dhchap-key` prints it: \"DHHC-1:00:...:\"",
        ),
        (
            set(Some("wed"), Scheme::Chap, good()),
            "not found: there is no group \"wed\" in target store; did you mean `web`?",
        ),
        (
            remove(Some("wed"), Scheme::Chap),
            "not found: there is no group \"wed\" in target store; did you mean `web`?",
        ),
        (
            remove(Some("db"), Scheme::Chap),
            "not found: there is no chap for group db of target store; there is nothing to do",
        ),
        (
            remove(None, Scheme::Dhchap),
            "not found: there is no dhchap for target store; there is nothing to do",
        ),
    ] {
        assert_eq!(refused(edit), expected);
    }
    let (document, _) = edited(set(None, Scheme::Chap, good()));
    let error = (document.edited(&[remove(Some("db"), Scheme::Chap)])).expect_err("not its own");
    assert_eq!(
        error.to_string(),
        "there is no chap for group db of target store; what it asks for is its target's: leave the group out to remove that"
    );
}
