//! Documents under many edits of any kind.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::Value;

use super::*;
use crate::config::document::Problems;
use crate::config::edit::Scheme;
use crate::config::target::Portal;
use crate::config::tree;

/// With relative paths, secrets, defaults spelled out, and keys in no order.
const START: &str = r#"{
  "nop_timeout": "30s",
  "targets": [
    { "portals": [ { "port": 5555, "address": "0.0.0.0", "transport": "srp" } ], "name": "t",
      "groups": [
        { "luns": { "2": "a", "0": { "read_only": false, "device": "b" } }, "name": "g", "initiators": ["*:a", "!*:b"],
          "chap": { "user": "u", "secret": "correct horse" } },
        { "name": "h", "initiators": [] }
      ] },
    { "name": "u", "iqn": "iqn.2026-11.org.example:u" }
  ],
  "devices": [
    { "path": "./a.img", "name": "a", "backend": "file" },
    { "name": "b", "backend": "memory", "size": "1MiB", "write_cache": true }
  ],
  "discovery_referrals": [ { "address": "10.0.0.2" } ]
}"#;

fn document(text: &str) -> Document {
    Document {
        root: node(text, "random").unwrap(),
        file: None,
        known: Arc::new(Mutex::new(Known::Nothing)),
        watch: Arc::new(Unwatched),
    }
}

fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(words).prop_map(str::to_owned)
}

fn device() -> impl Strategy<Value = String> {
    one_of(&["a", "b", "c", "d", "e"])
}

fn target() -> impl Strategy<Value = String> {
    one_of(&["t", "t", "t", "u", "v"])
}

fn group() -> impl Strategy<Value = String> {
    one_of(&["g", "g", "h", "i", "j"])
}

fn pattern() -> impl Strategy<Value = String> {
    one_of(&["*:a", "!*:b", "*", "x", "10.0.0.?", ""])
}

fn new_device() -> impl Strategy<Value = Value> {
    let size = prop::sample::select(vec![json!("1MiB"), json!(8192), json!("8 KiB"), json!(1)]);
    let path = one_of(&["/srv/1", "/srv/2", "relative", "/"]);
    prop_oneof![
        4 => (device(), size).prop_map(|(name, size)| json!({ "size": size, "name": name, "backend": "memory" })),
        2 => (device(), path).prop_map(|(name, path)| json!({ "path": path, "name": name, "backend": "file", "naa": null })
            .as_object()
            .map(|fields| fields.iter().filter(|(_, value)| !value.is_null()).map(|(k, v)| (k.clone(), v.clone())).collect())
            .unwrap()),
        1 => Just(json!({ "name": "a b" })),
    ]
}

fn new_portal() -> impl Strategy<Value = Value> {
    let address = one_of(&["0.0.0.0", "10.0.0.1", "::", "nowhere"]);
    let transport = one_of(&["srp", "iser", "iscsi-tcp"]);
    (transport, address, prop::option::of(5555..5557_u16)).prop_map(|(transport, address, port)| {
        match port {
            Some(port) => json!({ "port": port, "transport": transport, "address": address }),
            None => json!({ "transport": transport, "address": address }),
        }
    })
}

fn new_group() -> impl Strategy<Value = Value> {
    let luns = prop::collection::btree_map(0..4_u16, device(), 0..3);
    let initiators = prop::collection::vec(pattern(), 0..3);
    (group(), initiators, luns, prop::bool::weighted(0.2)).prop_map(
        |(name, initiators, luns, default)| {
            let luns: serde_json::Map<String, Value> = (luns.into_iter())
                .map(|(lun, device)| (lun.to_string(), json!(device)))
                .collect();
            let mut group = json!({ "name": name, "luns": luns, "initiators": initiators });
            if default {
                group["default"] = json!(true);
            }
            group
        },
    )
}

fn new_chap() -> impl Strategy<Value = Value> {
    let secret = one_of(&["correct horse", "battery staple", "short"]);
    secret.prop_map(|secret| json!({ "user": "u", "secret": secret }))
}

fn new_target() -> impl Strategy<Value = Value> {
    let portals = prop::collection::vec(new_portal(), 0..2);
    let groups = prop::collection::vec(new_group(), 0..2);
    (target(), portals, groups).prop_map(
        |(name, portals, groups)| json!({ "portals": portals, "name": name, "groups": groups }),
    )
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        3 => new_device().prop_map(Edit::AddDevice),
        1 => (device(), any::<bool>()).prop_map(|(name, force)| Edit::RemoveDevice { name, force }),
        1 => (device(), prop::sample::select(vec![4096, 8192, 1 << 20, 5]))
            .prop_map(|(name, size)| Edit::ResizeDevice { name, size }),
        1 => new_target().prop_map(Edit::AddTarget),
        1 => one_of(&["u", "v", "w"]).prop_map(|name| Edit::RemoveTarget { name }),
        1 => (target(), new_portal()).prop_map(|(target, portal)| Edit::AddPortal { target, portal }),
        1 => (target(), new_portal()).prop_map(|(target, portal)| Edit::RemovePortal { target, portal }),
        2 => (target(), new_group(), prop::option::of(group()))
            .prop_map(|(target, group, before)| Edit::AddGroup { target, group, before }),
        1 => (target(), group()).prop_map(|(target, name)| Edit::RemoveGroup { target, name }),
        4 => (target(), group(), 0..4_u16, device(), any::<bool>(), any::<bool>()).prop_map(
            |(target, group, lun, device, read_only, replace)| Edit::Map { target, group, lun, device, read_only, replace }
        ),
        2 => (target(), group(), 0..4_u16).prop_map(|(target, group, lun)| Edit::Unmap { target, group, lun }),
        2 => (target(), prop::option::of(group()), new_chap()).prop_map(|(target, group, credentials)| {
            Edit::SetCredentials { target, group, scheme: Scheme::Chap, credentials }
        }),
        1 => (target(), prop::option::of(group()))
            .prop_map(|(target, group)| Edit::RemoveCredentials { target, group, scheme: Scheme::Chap }),
        3 => (target(), group(), pattern())
            .prop_map(|(target, group, initiator)| Edit::AddInitiator { target, group, initiator }),
        4 => (target(), pattern(), prop::option::of(group()), group())
            .prop_map(|(target, initiator, from, to)| Edit::MoveInitiator { target, initiator, from, to }),
        2 => (target(), group(), pattern())
            .prop_map(|(target, group, initiator)| Edit::RemoveInitiator { target, group, initiator }),
    ]
}

/// A document without what an edit is about, and without lists and maps that are empty then.
fn without(document: &Document, edit: &Edit) -> Node {
    let mut root = document.root.clone();
    let name_of = |value: &Value| value["name"].as_str().unwrap_or_default().to_owned();
    match edit {
        Edit::AddDevice(device) => drop_named(&mut root, "devices", &name_of(device)),
        Edit::RemoveDevice { name, .. } => {
            drop_named(&mut root, "devices", name);
            for target in tree::items_mut(&mut root, "targets") {
                for group in tree::items_mut(target, "groups") {
                    if let Some(luns) = tree::fields_mut(group, "luns") {
                        luns.retain(|(_, mapped)| {
                            let device = tree::text(mapped, "device");
                            *mapped != Node::String(name.clone()) && device != Some(name)
                        });
                    }
                }
            }
        }
        Edit::ResizeDevice { name, .. } => {
            for device in tree::items_mut(&mut root, "devices") {
                if tree::name(device) == name {
                    *tree::field_mut(device, "size").unwrap() = Node::Null;
                }
            }
        }
        Edit::AddTarget(target) => drop_named(&mut root, "targets", &name_of(target)),
        Edit::RemoveTarget { name } => drop_named(&mut root, "targets", name),
        Edit::AddPortal { target, portal } | Edit::RemovePortal { target, portal } => {
            let read = |node: &Node| Portal::read(&mut Problems::default(), node, "");
            let portal = read(&Node::from(portal));
            let target = in_target(&mut root, target);
            tree::retain(target, "portals", |other| read(other) != portal);
        }
        Edit::AddGroup { target, group, .. } => {
            drop_named(in_target(&mut root, target), "groups", &name_of(group));
        }
        Edit::RemoveGroup { target, name } => {
            drop_named(in_target(&mut root, target), "groups", name);
        }
        Edit::Map {
            target, group, lun, ..
        }
        | Edit::Unmap { target, group, lun } => {
            let group = in_group(in_target(&mut root, target), group);
            if let Some(luns) = tree::fields_mut(group, "luns") {
                luns.retain(|(key, _)| *key != lun.to_string());
            }
        }
        Edit::SetCredentials {
            target,
            group,
            scheme,
            ..
        }
        | Edit::RemoveCredentials {
            target,
            group,
            scheme,
        } => {
            let target = in_target(&mut root, target);
            let owner = match group {
                Some(group) => in_group(target, group),
                None => target,
            };
            tree::take(owner, scheme.key());
        }
        Edit::AddInitiator {
            target,
            group,
            initiator,
        }
        | Edit::RemoveInitiator {
            target,
            group,
            initiator,
        } => drop_pattern(in_group(in_target(&mut root, target), group), initiator),
        Edit::MoveInitiator {
            target,
            initiator,
            from,
            to,
        } => {
            let target = in_target(&mut root, target);
            drop_pattern(in_group(target, to), initiator);
            match from {
                Some(from) => drop_pattern(in_group(target, from), initiator),
                None => {
                    for group in tree::items_mut(target, "groups") {
                        drop_pattern(group, initiator);
                    }
                }
            }
        }
    }
    drop_empty(&mut root);
    root
}

fn drop_named(object: &mut Node, key: &str, name: &str) {
    tree::retain(object, key, |item| tree::name(item) != name);
}

fn drop_pattern(group: &mut Node, pattern: &str) {
    let pattern = Node::String(pattern.to_owned());
    tree::retain(group, "initiators", |other| *other != pattern);
}

fn in_target<'n>(root: &'n mut Node, name: &str) -> &'n mut Node {
    named(root, "targets", name)
}

fn in_group<'n>(target: &'n mut Node, name: &str) -> &'n mut Node {
    named(target, "groups", name)
}

fn named<'n>(object: &'n mut Node, key: &str, name: &str) -> &'n mut Node {
    let mut items = tree::items_mut(object, key).iter_mut();
    items.find(|item| tree::name(item) == name).unwrap()
}

fn drop_empty(node: &mut Node) {
    match node {
        Node::Array(items) => items.iter_mut().for_each(drop_empty),
        Node::Object(fields) => {
            fields.iter_mut().for_each(|(_, value)| drop_empty(value));
            fields.retain(|(_, value)| {
                !matches!(value, Node::Array(items) if items.is_empty())
                    && !matches!(value, Node::Object(fields) if fields.is_empty())
            });
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn one_edit_after_the_other(edits in prop::collection::vec(edit(), 1..24)) {
        let start = document(START);
        let mut now = start.clone();
        let mut made = Vec::new();
        for edit in edits {
            let text = now.to_text();
            let Ok((next, config)) = now.edited(std::slice::from_ref(&edit)) else {
                prop_assert_eq!(now.to_text(), text);
                continue;
            };
            // It is what its text says.
            let again = document(&next.to_text());
            prop_assert_eq!(&again.root, &next.root);
            prop_assert_eq!(&Config::parse(&next.to_text(), "again").unwrap(), &config);
            // Nothing else has changed.
            prop_assert_eq!(without(&now, &edit), without(&next, &edit), "{:?}", edit);
            now = next;
            made.push(edit);
        }
        // All at once are the same.
        let (all, _) = start.edited(&made).unwrap();
        prop_assert_eq!(all.root, now.root);
    }

    #[test]
    fn what_was_added_and_removed_was_never_there(edits in prop::collection::vec(edit(), 0..8)) {
        let mut now = document(START);
        for edit in edits {
            now = now.edited(&[edit]).map_or(now, |(next, _)| next);
        }
        let name = || "new".to_owned();
        let pairs = [
            (ram("new"), Edit::RemoveDevice { name: name(), force: false }),
            (
                Edit::AddTarget(json!({ "name": "new" })),
                Edit::RemoveTarget { name: name() },
            ),
            (
                Edit::AddGroup { target: "t".to_owned(), group: json!({ "name": "new", "initiators": ["*"] }), before: None },
                Edit::RemoveGroup { target: "t".to_owned(), name: name() },
            ),
        ];
        for (add, remove) in pairs {
            let added = now.edited(std::slice::from_ref(&add)).unwrap().0;
            prop_assert_ne!(&added.root, &now.root);
            let mut back = added.edited(&[remove]).unwrap().0.root;
            let mut root = now.root.clone();
            drop_empty(&mut back);
            drop_empty(&mut root);
            prop_assert_eq!(back, root);
        }
    }
}

/// Otherwise the properties say little.
#[test]
fn enough_edits_are_good() {
    let mut runner = TestRunner::deterministic();
    let mut now = document(START);
    let mut good = 0;
    for number in 0..2000 {
        if number % 24 == 0 {
            now = document(START);
        }
        let edit = edit().new_tree(&mut runner).unwrap().current();
        if let Ok((next, _)) = now.edited(&[edit]) {
            now = next;
            good += 1;
        }
    }
    assert!(good > 300, "{good}");
}
