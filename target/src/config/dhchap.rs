//! DH-HMAC-CHAP keys of NVMe hosts (NVMe base 2.0 section 8.13.5) as the configuration has them.
//!
//! As with CHAP secrets, a key is not in messages, `Debug` output or documents that are written.

use serde::{Serialize, Serializer};

use super::document::{Fault, Node, Object, Problems, word};
use crate::nvme::auth::{Credentials, DhGroup, Hash, Key, KeyError};

/// What a host proves itself with, and what we prove ourselves with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DhchapConfig {
    /// What the host proves to know.
    #[serde(serialize_with = "hide")]
    pub key: Key,
    /// What we prove to know when it asks who we are.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "hide")]
    pub controller_key: Option<Key>,
    /// Hash functions that may be used; never empty.
    pub hashes: Vec<Hash>,
    /// Diffie-Hellman groups that may be used; never empty.
    pub groups: Vec<DhGroup>,
}

fn hide<T, S: Serializer>(_: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str("(set)")
}

impl From<&DhchapConfig> for Credentials {
    fn from(dhchap: &DhchapConfig) -> Self {
        Self::new(
            dhchap.key.clone(),
            dhchap.controller_key.clone(),
            dhchap.hashes.clone(),
            dhchap.groups.clone(),
        )
    }
}

impl DhchapConfig {
    pub(crate) const KEYS: [&'static str; 4] = ["key", "controller_key", "hashes", "groups"];

    /// The value of `key`, if it is there.
    pub(super) fn optional(
        problems: &mut Problems,
        object: &Object<'_>,
        key: &str,
    ) -> Option<Self> {
        Self::read(problems, object.get(key)?, &object.path(key))
    }

    pub(super) fn read(problems: &mut Problems, node: &Node, path: &str) -> Option<Self> {
        // A key that was put here by mistake is not to be shown either.
        if !matches!(node, Node::Object(_)) {
            let remedy = "give an object: { \"key\": \"DHHC-1:...\" }";
            problems.add(path, Fault::new("this is not an object", remedy));
            return None;
        }
        let object = problems.object(node, path, &Self::KEYS)?;
        let host = object.required(problems, "key", "\"DHHC-1:...\"", key);
        let controller = object.optional(problems, "controller_key", key);
        if let (Some(host), Some(controller)) = (&host, &controller)
            && host.same_secret(controller)
        {
            let what = "the target must not prove itself with the host's key";
            problems.add(
                &object.path("controller_key"),
                Fault::new(what, "give a different one"),
            );
        }
        let hashes = choice(
            problems,
            &object,
            "hashes",
            &Hash::ALL.map(|hash| (hash.as_str(), hash)),
        );
        let groups = choice(
            problems,
            &object,
            "groups",
            &DhGroup::ALL.map(|group| (group.as_str(), group)),
        );
        Some(Self {
            key: host?,
            // A bad one is a problem already, and the document fails for it.
            controller_key: controller,
            hashes,
            groups,
        })
    }
}

/// Says what is wrong with it without saying what it is.
fn key(node: &Node) -> Result<Key, Fault> {
    let remedy = "give one as `nvme gen-dhchap-key` prints it: \"DHHC-1:00:...:\"";
    let Node::String(text) = node else {
        return Err(Fault::new("a key is a string", remedy));
    };
    Key::parse(text).map_err(|error| {
        let remedy = match error {
            KeyError::Checksum | KeyError::Base64 => {
                "copy the whole key again, both colons and the equals signs at the end included"
            }
            KeyError::Mismatch { .. } => {
                "make one with `nvme gen-dhchap-key --hmac=1`, 2 or 3, and no --key-length"
            }
            _ => remedy,
        };
        Fault::new(error.to_string(), remedy)
    })
}

/// Some of `words`; all of them if nothing is said.
fn choice<T: Copy>(
    problems: &mut Problems,
    object: &Object<'_>,
    key: &str,
    words: &[(&'static str, T)],
) -> Vec<T> {
    let Some(node) = object.get(key) else {
        return words.iter().map(|&(_, value)| value).collect();
    };
    if matches!(node, Node::Array(items) if items.is_empty()) {
        let known: Vec<&str> = words.iter().map(|&(word, _)| word).collect();
        let remedy = format!(
            "remove it to allow all, or name some of {}",
            known.join(", ")
        );
        problems.add(
            &object.path(key),
            Fault::new("nothing is allowed, so nobody could log in", remedy),
        );
    }
    object.list(problems, key, |problems, node, path| {
        word(node, words)
            .map_err(|fault| problems.add(path, fault))
            .ok()
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::{Config, ConfigError, Portal};

    const KEY: &str = "DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:";
    const OTHER: &str =
        "DHHC-1:02:d4gmzh5i0I3npDMWAmJX/nAvAw7ioKmS2w44ceutFeObYDFG/r6zOB3UW0FLzevsI7XDJg==:";

    /// A document whose target has `dhchap`, with a group that has its own and one that has not.
    fn document(dhchap: &str) -> String {
        format!(
            r#"{{ "targets": [ {{ "name": "t", "dhchap": {dhchap},
                 "portals": [ {{ "transport": "iscsi-tcp", "address": "::" }} ],
                 "groups": [ {{ "name": "own", "initiators": [], "dhchap": {{ "key": "{OTHER}" }} }},
                             {{ "name": "plain", "initiators": [] }} ] }} ] }}"#
        )
    }

    fn mutual() -> String {
        format!(
            r#"{{ "key": "{KEY}", "controller_key": "{OTHER}", "hashes": ["sha512", "sha256"], "groups": ["ffdhe3072"] }}"#
        )
    }

    fn good(text: &str) -> Config {
        Config::parse(text, "c.json").unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn groups_may_have_their_own() {
        let config = good(&document(&mutual()));
        let target = &config.targets[0];
        let of = |group: usize| target.dhchap_of(&target.groups[group]).expect("there");
        let (own, plain) = (of(0), of(1));
        assert_eq!(Ok(&own.key), Key::parse(OTHER).as_ref());
        assert_eq!(own.controller_key, None);
        assert_eq!(
            (&own.hashes[..], &own.groups[..]),
            (&Hash::ALL[..], &DhGroup::ALL[..])
        );
        assert_eq!(Ok(&plain.key), Key::parse(KEY).as_ref());
        assert_eq!(plain.controller_key, Key::parse(OTHER).ok());
        assert_eq!(plain.hashes, [Hash::Sha512, Hash::Sha256]);
        assert_eq!(plain.groups, [DhGroup::Ffdhe3072]);
    }

    #[test]
    fn keys_are_never_shown() {
        let config = good(&document(&mutual()));
        let credentials = Credentials::from(config.targets[0].dhchap.as_ref().expect("there"));
        for text in [
            format!("{config:?}"),
            format!("{credentials:?}"),
            config.to_json(),
        ] {
            assert!(!text.contains("ia6zG") && !text.contains("d4gmz"), "{text}");
            assert!(
                !text.contains("DHHC") && !text.contains("137, 174"),
                "{text}"
            );
            assert!(
                text.contains("ffdhe3072") || text.contains("Ffdhe3072"),
                "{text}"
            );
        }
        // What is shown cannot be taken for a key.
        assert!(config.to_json().contains(r#""key": "(set)""#));
        assert!(Config::parse(&config.to_json(), "c.json").is_err());
    }

    #[test]
    fn what_is_wrong_is_told_without_the_key() {
        let form = "give one as `nvme gen-dhchap-key` prints it: \"DHHC-1:00:...:\"";
        let again =
            "copy the whole key again, both colons and the equals signs at the end included";
        let key = |key: &str| format!(r#"{{ "key": "{key}" }}"#);
        let with = |rest: &str| format!(r#"{{ "key": "{KEY}", {rest} }}"#);
        for (dhchap, expected) in [
            (
                format!("{KEY:?}"),
                "targets[0].dhchap: this is not an object; give an object: { \"key\": \"DHHC-1:...\" }".to_owned(),
            ),
            (
                "{}".to_owned(),
                "targets[0].dhchap: the key \"key\" is missing; add \"key\": \"DHHC-1:...\"".to_owned(),
            ),
            (
                format!(r#"{{ "key": ["{KEY}"] }}"#),
                format!("targets[0].dhchap.key: a key is a string; {form}"),
            ),
            (
                key("ia6zGodOr4SEG0Zz"),
                format!("targets[0].dhchap.key: the key does not have the form DHHC-1:HH:BASE64:; {form}"),
            ),
            (
                key(&KEY.replace(":00:", ":09:")),
                format!("targets[0].dhchap.key: the hash of the key is none of 00, 01, 02 and 03; {form}"),
            ),
            (
                key(&KEY.replace("aQ2n", "aQ2")),
                format!("targets[0].dhchap.key: what follows DHHC-1:HH: is not base64; {again}"),
            ),
            (
                key(&KEY.replace("aQ2n", "")),
                format!("targets[0].dhchap.key: the secret in the key has 29 bytes, not 32, 48 or 64; {form}"),
            ),
            (
                key(&KEY.replace("aQ2n", "aQ2m")),
                format!("targets[0].dhchap.key: the checksum of the key is wrong; {again}"),
            ),
            (
                key(&KEY.replace(":00:", ":03:")),
                "targets[0].dhchap.key: the secret in the key has 32 bytes, which do not go with hash 03; make one with `nvme gen-dhchap-key --hmac=1`, 2 or 3, and no --key-length".to_owned(),
            ),
            (
                with(&format!(r#""controller_key": "{}""#, KEY.replace(":00:", ":01:"))),
                "targets[0].dhchap.controller_key: the target must not prove itself with the host's key; give a different one".to_owned(),
            ),
            (
                with(&format!(r#""controller_key": "{}""#, OTHER.replace("DHHC", "DHCC"))),
                format!("targets[0].dhchap.controller_key: the key does not have the form DHHC-1:HH:BASE64:; {form}"),
            ),
            (
                with(r#""hashes": ["sha256", "sha265"]"#),
                "targets[0].dhchap.hashes[1]: \"sha265\" is not known here; did you mean `sha256`?".to_owned(),
            ),
            (
                with(r#""groups": []"#),
                "targets[0].dhchap.groups: nothing is allowed, so nobody could log in; remove it to allow all, or name some of null, ffdhe2048, ffdhe3072, ffdhe4096, ffdhe6144, ffdhe8192".to_owned(),
            ),
            (
                with(r#""controller_kee": 1"#),
                "targets[0].dhchap.controller_kee: unknown key \"controller_kee\"; did you mean `controller_key`?".to_owned(),
            ),
        ] {
            let error = Config::parse(&document(&dhchap), "c.json").expect_err("bad");
            let ConfigError::Invalid { problems, .. } = &error else {
                panic!("{error}");
            };
            let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
            assert_eq!(told, [expected], "{dhchap}");
            let text = format!("{error} {error:?}");
            assert!(!text.contains("ia6zG") && !text.contains("d4gmz"), "{text}");
        }
    }

    #[test]
    fn other_doors_are_warned_of() {
        let config = good(&document(&mutual()));
        assert_eq!(
            config.warnings(),
            [
                "target t asks for DH-HMAC-CHAP, and has no \"chap\" for iscsi-tcp [::]:3260: who comes in there proves nothing"
            ]
        );

        let around = |target: &str, transport: &str| {
            let groups = r#""groups": [ { "name": "g", "initiators": ["*"] } ]"#;
            let portals =
                format!(r#""portals": [ {{ "transport": "{transport}", "address": "::" }} ]"#);
            let text =
                format!(r#"{{ "targets": [ {{ "name": "t", {target} {portals}, {groups} }} ] }}"#);
            let config = good(&text);
            let target = &config.targets[0];
            let portal: &Portal = &target.portals[0];
            target.way_around(portal)
        };
        let dhchap = format!(r#""dhchap": {{ "key": "{KEY}" }},"#);
        let chap = r#""chap": { "user": "u", "secret": "correct horse" },"#;
        assert_eq!(around(&dhchap, "nvme-rdma"), None);
        assert_eq!(around("", "nvme-rdma"), None);
        assert_eq!(
            around(chap, "nvme-rdma").as_deref(),
            Some(
                "target t asks for CHAP, and has no \"dhchap\" for nvme-rdma [::]:4420: who comes in there proves nothing"
            )
        );
        assert_eq!(
            around(&dhchap, "srp").as_deref(),
            Some(
                "target t asks for DH-HMAC-CHAP, which srp [::]:5555 does not have: who comes in there proves nothing"
            )
        );
        assert_eq!(around(&format!("{chap}{dhchap}"), "iser"), None);
        assert_eq!(around(&format!("{chap}{dhchap}"), "nvme-rdma"), None);
    }

    #[test]
    fn a_file_that_everybody_reads_is_warned_of() {
        let dir = std::env::temp_dir().join(format!("pagecast-keys-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("made");
        let file = dir.join("c.json");
        fs::write(&file, document(&mutual())).expect("written");
        let mode = PermissionsExt::from_mode(0o644);
        fs::set_permissions(&file, mode).expect("changed");
        let warning = good(&document(&mutual()))
            .exposed(&file)
            .expect("a warning");
        assert!(
            warning.contains("the secrets in it (mode 644); chmod o="),
            "{warning}"
        );
        // A group's key alone is enough.
        let text = document(&mutual()).replace(&format!(r#""dhchap": {},"#, mutual()), "");
        assert!(good(&text).exposed(&file).is_some());
        fs::remove_dir_all(&dir).expect("removed");
    }
}
