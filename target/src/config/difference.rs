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
