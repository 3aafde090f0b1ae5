//! What a configuration has that another one has not.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use super::device::{DeviceConfig, Store};
use super::name::Name;
use super::settings::Settings;
use super::target::{Portal, TargetConfig};
use super::{Config, Listener};

/// What has changed between two configurations. Things are the same if they have the same name; their order means nothing here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// In the order of the configuration that has them, as everywhere here.
    pub devices_added: Vec<Name>,
    /// These are not there any more.
    pub devices_removed: Vec<Name>,
    /// These are not what they were, in these keys.
    pub devices_changed: Vec<(Name, Vec<&'static str>)>,
    /// These are new.
    pub targets_added: Vec<Name>,
    /// These are not there any more.
    pub targets_removed: Vec<Name>,
    /// Something of these is not what it was: names, portals, groups, secrets.
    pub targets_changed: Vec<Name>,
    /// Places to listen on, over all targets.
    pub portals_added: Vec<Portal>,
    /// Places where no target listens any more.
    pub portals_removed: Vec<Portal>,
    /// Keys at the top level that are read when the daemon starts.
    pub settings_changed: Vec<&'static str>,
}

impl Difference {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What is in `now` and was not `before`. `metrics`, `discovery_chap` and `discovery_referrals` are not looked at.
pub fn difference(before: &Config, now: &Config) -> Difference {
    let device =
        |config: &Config| -> Vec<Name> { config.devices.iter().map(|d| d.name.clone()).collect() };
    let target =
        |config: &Config| -> Vec<Name> { config.targets.iter().map(|t| t.name.clone()).collect() };
    let (devices_added, devices_removed) = apart(&device(before), &device(now));
    let (targets_added, targets_removed) = apart(&target(before), &target(now));
    let portals = |config: &Config| -> Vec<Portal> {
        let listeners: Vec<Listener> = config.listeners();
        listeners.iter().map(|listener| listener.portal).collect()
    };
    let (portals_added, portals_removed) = apart(&portals(before), &portals(now));
    Difference {
        devices_added,
        devices_removed,
        devices_changed: devices_changed(before, now),
        targets_added,
        targets_removed,
        targets_changed: targets_changed(before, now),
        portals_added,
        portals_removed,
        settings_changed: settings_changed(&before.settings, &now.settings),
    }
}

/// What only the second has, and what only the first has.
fn apart<T: Clone + Eq + Hash>(before: &[T], now: &[T]) -> (Vec<T>, Vec<T>) {
    let only = |these: &[T], those: &[T]| {
        let those: HashSet<&T> = those.iter().collect();
        let these = these.iter().filter(|item| !those.contains(item));
        these.cloned().collect()
    };
    (only(now, before), only(before, now))
}

fn devices_changed(before: &Config, now: &Config) -> Vec<(Name, Vec<&'static str>)> {
    let known: HashMap<&Name, &DeviceConfig> =
        before.devices.iter().map(|d| (&d.name, d)).collect();
    let changed = now.devices.iter().filter_map(|device| {
        let keys = keys_changed(known.get(&device.name)?, device);
        (!keys.is_empty()).then(|| (device.name.clone(), keys))
    });
    changed.collect()
}

fn targets_changed(before: &Config, now: &Config) -> Vec<Name> {
    let known: HashMap<&Name, &TargetConfig> =
        before.targets.iter().map(|t| (&t.name, t)).collect();
    let changed = now.targets.iter().filter(|target| {
        known
            .get(&target.name)
            .is_some_and(|before| before != target)
    });
    changed.map(|target| target.name.clone()).collect()
}

fn keys_changed(before: &DeviceConfig, now: &DeviceConfig) -> Vec<&'static str> {
    // All fields, so that none is forgotten when there is one more.
    let DeviceConfig {
        name: _,
        store,
        block_size,
        read_only,
        write_cache,
        zero_copy,
        command_timeout,
        queue_depth_max,
        reservations,
        max_registrants,
        serial,
        naa,
        uuid,
    } = before;
    let size = |store: &Store| match store {
        Store::Memory { size } => Some(*size),
        Store::File { .. } | Store::Block { .. } => None,
    };
    chosen([
        ("backend", store.backend() != now.store.backend()),
        ("path", store.path() != now.store.path()),
        ("size", size(store) != size(&now.store)),
        ("block_size", *block_size != now.block_size),
        ("read_only", *read_only != now.read_only),
        ("write_cache", *write_cache != now.write_cache),
        ("zero_copy", *zero_copy != now.zero_copy),
        ("command_timeout", *command_timeout != now.command_timeout),
        ("queue_depth_max", *queue_depth_max != now.queue_depth_max),
        ("reservations", *reservations != now.reservations),
        ("max_registrants", *max_registrants != now.max_registrants),
        ("serial", *serial != now.serial),
        ("naa", *naa != now.naa),
        ("uuid", *uuid != now.uuid),
    ])
}

impl Settings {
    /// The keys that are others in `now`.
    pub fn changed(&self, now: &Self) -> Vec<&'static str> {
        settings_changed(self, now)
    }
}

fn settings_changed(before: &Settings, now: &Settings) -> Vec<&'static str> {
    let Settings {
        io_engine,
        shards,
        poll_time,
        window_size,
        pinned_memory,
        staging_memory,
        queue_depth,
        max_sessions,
        nvme_io_queues,
        max_it_iu_len,
        nop_interval,
        nop_timeout,
    } = before;
    chosen([
        ("io_engine", *io_engine != now.io_engine),
        ("shards", *shards != now.shards),
        ("poll_time", *poll_time != now.poll_time),
        ("window_size", *window_size != now.window_size),
        ("pinned_memory", *pinned_memory != now.pinned_memory),
        ("staging_memory", *staging_memory != now.staging_memory),
        ("queue_depth", *queue_depth != now.queue_depth),
        ("max_sessions", *max_sessions != now.max_sessions),
        ("nvme_io_queues", *nvme_io_queues != now.nvme_io_queues),
        ("max_it_iu_len", *max_it_iu_len != now.max_it_iu_len),
        ("nop_interval", *nop_interval != now.nop_interval),
        ("nop_timeout", *nop_timeout != now.nop_timeout),
    ])
}

fn chosen<const N: usize>(keys: [(&'static str, bool); N]) -> Vec<&'static str> {
    let chosen = keys.into_iter().filter(|(_, changed)| *changed);
    chosen.map(|(key, _)| key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = r#"{
      "devices": [ { "name": "a", "backend": "memory", "size": "1MiB" },
                   { "name": "b", "backend": "file", "path": "/b" },
                   { "name": "c", "backend": "file", "path": "/c" } ],
      "targets": [ { "name": "t", "portals": [ { "transport": "srp", "address": "0.0.0.0" } ],
                     "groups": [ { "name": "g", "initiators": ["*"], "luns": { "0": "a" } } ] },
                   { "name": "u", "portals": [ { "transport": "srp", "address": "0.0.0.0" },
                                               { "transport": "iser", "address": "0.0.0.0" } ] } ],
      "queue_depth": 64
    }"#;

    fn read(text: &str) -> Config {
        Config::parse(text, "c.json").unwrap_or_else(|error| panic!("{error}"))
    }

    /// The difference that replacing texts makes.
    fn made(pairs: &[(&str, &str)]) -> Difference {
        let mut text = BEFORE.to_owned();
        for (from, to) in pairs {
            assert_eq!(text.matches(from).count(), 1, "{from}");
            text = text.replace(from, to);
        }
        difference(&read(BEFORE), &read(&text))
    }

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn nothing() {
        assert!(made(&[]).is_empty());
        // Defaults that are spelled out, other ways to write a value, another order.
        let same = made(&[
            (r#""path": "/b""#, r#""path": "/b", "read_only": false"#),
            ("1MiB", "1024 KiB"),
            (
                r#""queue_depth": 64"#,
                r#""nop_timeout": "30s", "queue_depth": 64"#,
            ),
            (r#"{ "0": "a" }"#, r#"{ "0": { "device": "a" } }"#),
        ]);
        assert!(same.is_empty(), "{same:?}");
    }

    #[test]
    fn devices() {
        let found = made(&[
            (r#"{ "name": "b", "backend": "file", "path": "/b" },"#, ""),
            (
                r#"{ "name": "c", "backend": "file", "path": "/c" }"#,
                r#"{ "name": "c", "backend": "memory", "size": "2MiB", "serial": "x" },
                   { "name": "d", "backend": "file", "path": "/b" }"#,
            ),
            ("1MiB", "3MiB"),
        ]);
        let expected = Difference {
            devices_added: vec![name("d")],
            devices_removed: vec![name("b")],
            devices_changed: vec![
                (name("a"), vec!["size"]),
                (name("c"), vec!["backend", "path", "size", "serial"]),
            ],
            ..Difference::default()
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn every_key_of_a_device() {
        let keys = DeviceConfig::KEYS.iter().filter(|key| **key != "name");
        for &key in keys {
            let a = r#"{ "devices": [ { "name": "a", "backend": "file", "path": "/a" } ] }"#;
            let value = match key {
                "backend" => r#""block""#,
                "path" => r#""/b""#,
                "block_size" => "4096",
                "read_only" => "true",
                "write_cache" | "reservations" => "false",
                "zero_copy" => r#""off""#,
                "command_timeout" => r#""7s""#,
                "queue_depth_max" | "max_registrants" => "7",
                "serial" => r#""7""#,
                "naa" => r#""3000000000000001""#,
                "uuid" => r#""f81d4fae-7dec-81d0-a765-00a0c91e6bf6""#,
                "size" => continue,
                other => panic!("{other} is new"),
            };
            let b = match key {
                "backend" => a.replace("\"file\"", value),
                "path" => a.replace("\"/a\"", value),
                key => a.replace("\"/a\"", &format!("\"/a\", \"{key}\": {value}")),
            };
            let found = difference(&read(a), &read(&b)).devices_changed;
            assert_eq!(found, [(name("a"), vec![key])]);
        }
    }

    #[test]
    fn targets_and_portals() {
        let found = made(&[
            (r#""initiators": ["*"]"#, r#""initiators": ["x"]"#),
            (r#""name": "u""#, r#""name": "v""#),
            (
                r#"{ "transport": "iser", "address": "0.0.0.0" }"#,
                r#"{ "transport": "iser", "address": "10.0.0.1" }"#,
            ),
        ]);
        let portal = |text: &str, found: &[Portal]| {
            let texts: Vec<String> = found.iter().map(Portal::to_string).collect();
            assert_eq!(texts, [text]);
        };
        assert_eq!(found.targets_added, [name("v")]);
        assert_eq!(found.targets_removed, [name("u")]);
        assert_eq!(found.targets_changed, [name("t")]);
        // Somebody listens on the other one as before.
        portal("iser 10.0.0.1:3260", &found.portals_added);
        portal("iser 0.0.0.0:3260", &found.portals_removed);
        assert!(found.devices_changed.is_empty() && found.settings_changed.is_empty());
    }

    #[test]
    fn settings() {
        let found = made(&[(r#""queue_depth": 64"#, r#""shards": 2, "queue_depth": 65"#)]);
        assert_eq!(found.settings_changed, ["shards", "queue_depth"]);
        for live in [
            r#""metrics": {}"#,
            r#""discovery_chap": { "user": "u", "secret": "twelve bytes" }"#,
            r#""discovery_referrals": [ { "address": "10.0.0.2" } ]"#,
        ] {
            let found = made(&[(
                r#""queue_depth": 64"#,
                &format!(r#""queue_depth": 64, {live}"#),
            )]);
            assert!(found.is_empty(), "{live}");
        }
    }

    #[test]
    fn every_setting() {
        for key in Settings::KEYS {
            let value = match key {
                "io_engine" => r#""threads""#,
                "poll_time" => r#""7us""#,
                "window_size" => r#""4MiB""#,
                "pinned_memory" | "staging_memory" => r#""64MiB""#,
                "nop_interval" | "nop_timeout" => r#""7s""#,
                "max_it_iu_len" => "600",
                _ => "7",
            };
            let now = read(&format!("{{ \"{key}\": {value} }}"));
            let found = difference(&Config::default(), &now).settings_changed;
            assert_eq!(found, [key]);
        }
    }
}
