//! Changes made at random, good ones and bad ones.

use pagecastd::config::Config;
use pagecastd::config::edit::Edit;
use serde_json::{Value, json};

/// Where they come from.
pub(crate) struct Changes {
    state: u64,
}

impl Changes {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % limit
    }

    pub(crate) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn name(&mut self, kind: &str, count: u64) -> String {
        format!("{kind}{}", self.below(count))
    }

    /// One more. Most are about something that is there.
    pub(crate) fn next(&mut self, config: &Config) -> Edit {
        let (mut target, mut group) = (self.name("t", 20), self.name("g", 5));
        let targets = config.targets.iter();
        let places: Vec<_> = targets
            .flat_map(|target| target.groups.iter().map(move |group| (target, group)))
            .collect();
        if !places.is_empty() && !self.one_in(8) {
            let (there, place) = places[self.below(places.len() as u64) as usize];
            target = there.name.to_string();
            group = place.name.to_string();
        }
        match self.below(14) {
            0 | 1 => Edit::AddDevice(json!({
                "name": self.name("d", 12), "backend": "memory", "size": "1MiB",
            })),
            2 => Edit::RemoveDevice {
                name: self.name("d", 12),
                force: self.one_in(2),
            },
            3 => Edit::AddTarget(json!({ "name": self.name("t", 20) })),
            4 => match self.one_in(4) {
                false => Edit::RemoveTarget {
                    name: self.name("t", 20),
                },
                true => Edit::AddTarget(
                    json!({ "name": target, "portals": [ { "transport": "no such" } ] }),
                ),
            },
            5 | 6 => Edit::AddGroup {
                target,
                group: json!({ "name": self.name("g", 5), "initiators": [self.name("iqn.x:i", 60)], "luns": {} }),
                before: self.one_in(2).then(|| "g0".to_owned()),
            },
            7 if self.one_in(2) => Edit::RemoveGroup {
                target,
                name: group,
            },
            8 | 9 => Edit::Map {
                target,
                group,
                lun: self.below(12) as u16,
                device: self.name("d", 12),
                read_only: self.one_in(2),
                replace: self.one_in(2),
            },
            10 => Edit::Unmap {
                target,
                group,
                lun: self.below(12) as u16,
            },
            11 | 12 => Edit::AddInitiator {
                target,
                group,
                initiator: self.name("iqn.x:i", 60),
            },
            _ => Edit::MoveInitiator {
                target,
                initiator: self.name("iqn.x:i", 60),
                from: None,
                to: group,
            },
        }
    }
}

/// How the control socket is asked for it.
pub(crate) fn request(edit: &Edit) -> (&'static str, String) {
    let (method, params): (_, Value) = match edit {
        Edit::AddDevice(device) => ("device.add", device.clone()),
        Edit::RemoveDevice { name, force } => {
            ("device.remove", json!({ "name": name, "force": force }))
        }
        Edit::AddTarget(target) => ("target.add", target.clone()),
        Edit::RemoveTarget { name } => ("target.remove", json!({ "name": name })),
        Edit::AddGroup {
            target,
            group,
            before,
        } => {
            let mut params = group.clone();
            params["target"] = json!(target);
            params["before"] = json!(before);
            ("group.add", params)
        }
        Edit::RemoveGroup { target, name } => {
            ("group.remove", json!({ "target": target, "name": name }))
        }
        Edit::Map {
            target,
            group,
            lun,
            device,
            read_only,
            replace,
        } => (
            "group.map",
            json!({ "target": target, "group": group, "lun": lun, "device": device, "read_only": read_only,
                    "replace": replace }),
        ),
        Edit::Unmap { target, group, lun } => (
            "group.unmap",
            json!({ "target": target, "group": group, "lun": lun }),
        ),
        Edit::AddInitiator {
            target,
            group,
            initiator,
        } => (
            "initiator.add",
            json!({ "target": target, "group": group, "initiator": initiator }),
        ),
        Edit::MoveInitiator {
            target,
            initiator,
            to,
            ..
        } => (
            "initiator.move",
            json!({ "target": target, "initiator": initiator, "to": to }),
        ),
        other => panic!("not made here: {other:?}"),
    };
    (method, params.to_string())
}
