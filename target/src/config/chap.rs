//! CHAP names and secrets (RFC 1994, RFC 7143 section 12.1.3) as the configuration has them.
//!
//! A secret never leaves this module but through [`Secret::expose`] and the conversion to what logins compute with: it is
//! not in messages, `Debug` output or documents that are written.

use std::fmt;

use serde::{Serialize, Serializer};

use super::document::{Fault, Node, Object, Problems, show, string};
use crate::iscsi::directory::{self, Credentials};

/// What an initiator proves itself with, and what we prove ourselves with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChapConfig {
    /// The name that the initiator gives.
    pub user: String,
    /// What it proves to know.
    pub secret: Secret,
    /// How we answer when it asks who we are: the keys `mutual_user` and `mutual_secret`.
    #[serde(flatten)]
    pub mutual: Option<MutualChap>,
}

/// What we prove ourselves with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MutualChap {
    /// The name that we give.
    #[serde(rename = "mutual_user")]
    pub user: String,
    /// What we prove to know. Never the initiator's own secret (RFC 7143 section 9.2.1): it could be reflected.
    #[serde(rename = "mutual_secret")]
    pub secret: Secret,
}

/// A CHAP secret. It prints and serialises as `(set)`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// What is shown in its place; too short to be read back as a secret.
    const SHOWN: &'static str = "(set)";
    /// 96 bits, the least that RFC 7143 section 9.2.1 allows without IPsec.
    const SHORTEST: usize = 12;
    const LONGEST: usize = 255;

    /// For those who compute with it.
    pub fn expose(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::SHOWN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(Self::SHOWN)
    }
}

impl From<&ChapConfig> for Credentials {
    fn from(chap: &ChapConfig) -> Self {
        let secret = |secret: &Secret| directory::Secret::new(secret.expose());
        Self {
            user: chap.user.clone(),
            secret: secret(&chap.secret),
            mutual: (chap.mutual.as_ref())
                .map(|mutual| (mutual.user.clone(), secret(&mutual.secret))),
        }
    }
}

impl ChapConfig {
    pub(crate) const KEYS: [&'static str; 4] = ["user", "secret", "mutual_user", "mutual_secret"];

    /// The value of `key`, if it is there.
    pub(super) fn optional(
        problems: &mut Problems,
        object: &Object<'_>,
        key: &str,
    ) -> Option<Self> {
        Self::read(problems, object.get(key)?, &object.path(key))
    }

    pub(super) fn read(problems: &mut Problems, node: &Node, path: &str) -> Option<Self> {
        // A secret that was put here by mistake is not to be shown either.
        if !matches!(node, Node::Object(_)) {
            let remedy = "give an object: { \"user\": \"...\", \"secret\": \"...\" }";
            problems.add(path, Fault::new("this is not an object", remedy));
            return None;
        }
        let object = problems.object(node, path, &Self::KEYS)?;
        let name = object.required(problems, "user", "\"NAME\"", user);
        let secret = object.required(problems, "secret", "12 to 255 bytes", Secret::read);
        let given = |key| object.get(key).is_some();
        let mut mutual = None;
        if given("mutual_user") || given("mutual_secret") {
            let name = object.required(problems, "mutual_user", "\"NAME\"", user);
            let own = object.required(problems, "mutual_secret", "12 to 255 bytes", Secret::read);
            if own.is_some() && own == secret {
                let what = "the target must not prove itself with the initiator's secret";
                problems.add(
                    &object.path("mutual_secret"),
                    Fault::new(what, "give a different one"),
                );
            }
            mutual = Some(MutualChap {
                user: name?,
                secret: own?,
            });
        }
        Some(Self {
            user: name?,
            secret: secret?,
            mutual,
        })
    }
}

fn user(node: &Node) -> Result<String, Fault> {
    let text = string(node)?;
    let good = (1..=255).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte == b' ' || byte.is_ascii_graphic());
    good.then(|| text.to_owned()).ok_or_else(|| {
        Fault::new(
            format!("{} is not a CHAP name", show(text)),
            "give 1 to 255 printable ASCII characters",
        )
    })
}

impl Secret {
    /// Says what is wrong with it without saying what it is.
    fn read(node: &Node) -> Result<Self, Fault> {
        let remedy = format!(
            "give a string of {} to {} bytes (12 to 16 for Windows initiators)",
            Self::SHORTEST,
            Self::LONGEST
        );
        let Node::String(text) = node else {
            return Err(Fault::new("a secret is a string", remedy));
        };
        if text.contains(char::is_control) {
            let what = "the secret has a control character in it";
            return Err(Fault::new(what, "remove it"));
        }
        if !(Self::SHORTEST..=Self::LONGEST).contains(&text.len()) {
            let what = format!("the secret is {} bytes long", text.len());
            return Err(Fault::new(what, remedy));
        }
        Ok(Self(text.clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::{Config, ConfigError};

    /// A document whose target has `chap`, with a group that has its own and one that has not.
    fn document(chap: &str) -> String {
        format!(
            r#"{{ "targets": [ {{ "name": "t", "chap": {chap},
                 "groups": [ {{ "name": "own", "initiators": [],
                                "chap": {{ "user": "own", "secret": "its own secret" }} }},
                             {{ "name": "plain", "initiators": [] }} ] }} ],
                 "discovery_chap": {{ "user": "finder", "secret": "ask me nothing" }} }}"#
        )
    }

    const MUTUAL: &str = r#"{ "user": "web 1", "secret": "correct horse",
                              "mutual_user": "store", "mutual_secret": "battery staple" }"#;
    const SECRETS: [&str; 4] = [
        "correct horse",
        "battery staple",
        "its own secret",
        "ask me nothing",
    ];

    fn good(text: &str) -> Config {
        Config::parse(text, "c.json").unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn groups_may_have_their_own() {
        let config = good(&document(MUTUAL));
        let target = &config.targets[0];
        let user = |group: usize| target.chap_of(&target.groups[group]).map(|c| &c.user[..]);
        assert_eq!((user(0), user(1)), (Some("own"), Some("web 1")));
        assert_eq!(
            config.discovery_chap.as_ref().expect("there").user,
            "finder"
        );

        let credentials = Credentials::from(target.chap.as_ref().expect("there"));
        assert_eq!(credentials.user, "web 1");
        assert_eq!(credentials.secret.expose(), b"correct horse");
        let (name, secret) = credentials.mutual.expect("there");
        assert_eq!(
            (&name[..], secret.expose()),
            ("store", &b"battery staple"[..])
        );
    }

    #[test]
    fn secrets_are_never_shown() {
        let config = good(&document(MUTUAL));
        for text in [format!("{config:?}"), config.to_json()] {
            assert!(text.contains("(set)"), "{text}");
            assert!(
                !SECRETS.iter().any(|secret| text.contains(secret)),
                "{text}"
            );
        }
        // What is shown cannot be taken for a secret.
        assert!(Config::parse(&config.to_json(), "c.json").is_err());
    }

    #[test]
    fn what_is_wrong_is_told_without_the_secret() {
        let remedy = "give a string of 12 to 255 bytes (12 to 16 for Windows initiators)";
        let long = format!(r#"{{ "user": "u", "secret": "{}" }}"#, "sesame".repeat(43));
        for (chap, expected) in [
            (
                r#""open sesame now""#,
                "targets[0].chap: this is not an object; give an object: { \"user\": \"...\", \"secret\": \"...\" }".to_owned(),
            ),
            (
                r#"{ "secret": "open sesame now" }"#,
                "targets[0].chap: the key \"user\" is missing; add \"user\": \"NAME\"".to_owned(),
            ),
            (
                r#"{ "user": "u" }"#,
                "targets[0].chap: the key \"secret\" is missing; add \"secret\": 12 to 255 bytes".to_owned(),
            ),
            (
                r#"{ "user": "u", "secret": "open sesame", "sekret": 1 }"#,
                "targets[0].chap.sekret: unknown key \"sekret\"; did you mean `secret`?".to_owned(),
            ),
            (
                r#"{ "user": "", "secret": "open sesame now" }"#,
                "targets[0].chap.user: \"\" is not a CHAP name; give 1 to 255 printable ASCII characters".to_owned(),
            ),
            (
                r#"{ "user": "u", "secret": "open sesame" }"#,
                format!("targets[0].chap.secret: the secret is 11 bytes long; {remedy}"),
            ),
            (
                &long,
                format!("targets[0].chap.secret: the secret is 258 bytes long; {remedy}"),
            ),
            (
                r#"{ "user": "u", "secret": ["open sesame now"] }"#,
                format!("targets[0].chap.secret: a secret is a string; {remedy}"),
            ),
            (
                r#"{ "user": "u", "secret": "open sesame now\n" }"#,
                "targets[0].chap.secret: the secret has a control character in it; remove it".to_owned(),
            ),
            (
                r#"{ "user": "u", "secret": "open sesame now", "mutual_user": "m" }"#,
                "targets[0].chap: the key \"mutual_secret\" is missing; add \"mutual_secret\": 12 to 255 bytes".to_owned(),
            ),
            (
                r#"{ "user": "u", "secret": "open sesame now", "mutual_secret": "open sesame too" }"#,
                "targets[0].chap: the key \"mutual_user\" is missing; add \"mutual_user\": \"NAME\"".to_owned(),
            ),
            (
                r#"{ "user": "u", "secret": "open sesame now", "mutual_user": "m", "mutual_secret": "open sesame now" }"#,
                "targets[0].chap.mutual_secret: the target must not prove itself with the initiator's secret; give a different one".to_owned(),
            ),
        ] {
            let error = Config::parse(&document(chap), "c.json").expect_err("bad");
            let ConfigError::Invalid { problems, .. } = &error else {
                panic!("{error}");
            };
            let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
            let first = told.first().expect("a problem");
            if chap.contains("sekret") {
                assert!(told.contains(&expected), "{told:?}");
            } else {
                assert_eq!((first, told.len()), (&expected, 1));
            }
            assert!(!format!("{error} {error:?}").contains("sesame"), "{error}");
        }
    }

    #[test]
    fn other_doors_are_warned_of() {
        let with = |transport: &str| {
            good(&format!(
                r#"{{ "targets": [ {{ "name": "t", "chap": {MUTUAL},
                     "portals": [ {{ "transport": "{transport}", "address": "::" }} ],
                     "groups": [ {{ "name": "g", "initiators": ["*"] }} ] }} ] }}"#
            ))
        };
        assert_eq!(
            with("srp").warnings(),
            [
                "target t asks for CHAP, which srp [::]:5555 does not have: who comes in there proves nothing"
            ]
        );
        assert!(with("iser").warnings().is_empty());
        assert!(with("iscsi-tcp").warnings().is_empty());
    }

    #[test]
    fn a_file_that_everybody_reads_is_warned_of() {
        let dir = std::env::temp_dir().join(format!("pagecast-secrets-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("made");
        let file = dir.join("c.json");
        fs::write(&file, document(MUTUAL)).expect("written");
        let exposed = |text: &str, mode| {
            fs::set_permissions(&file, PermissionsExt::from_mode(mode)).expect("changed");
            good(text).exposed(&file)
        };
        let warning = exposed(&document(MUTUAL), 0o644).expect("a warning");
        assert!(warning.ends_with(&format!("(mode 644); chmod o= {}", file.display())));
        assert_eq!(exposed(&document(MUTUAL), 0o640), None);
        assert_eq!(exposed("{}", 0o644), None);
        fs::remove_dir_all(&dir).expect("removed");
    }
}
