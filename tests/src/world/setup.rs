//! How a world is made.

use pagecast_rdma::fabric::Capabilities;

use super::World;

/// How a [`World`] is made.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Decides the order of everything.
    pub seed: u64,
    /// Further settings of the process, as JSON members, each followed by a comma.
    pub settings: String,
    /// Device objects, as JSON.
    pub devices: Vec<String>,
    /// The target's access groups, as JSON.
    pub groups: String,
    /// The configuration is in a file, `$DIR/pagecast.json`, in which changes are kept.
    pub kept: bool,
    /// Machines with an initiator each.
    pub hosts: usize,
    /// Shards.
    pub shards: u32,
    /// The target's iSER portals, from port 3260 on.
    pub iser: u16,
    /// The target's NVMe portals, from port 4420 on.
    pub nvme: u16,
    /// Use the daemon's own I/O engine, with its threads.
    pub real_io: bool,
    /// What the initiators' adapters can do is changed by this.
    pub adjust: fn(&mut Capabilities),
    /// Adapters can be put into the daemon's machine and taken out.
    pub pluggable: bool,
    /// Further portals of the target, as JSON objects, each after a comma.
    pub portals: String,
}

impl Setup {
    /// One disk of 4 MiB in memory, two hosts, two shards, windows of 64 KiB, 8 credits.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            settings: String::new(),
            devices: vec![r#"{ "name": "disk0", "backend": "memory", "size": "4MiB" }"#.to_owned()],
            groups: r#"[{ "name": "everyone", "initiators": ["*"], "luns": { "0": "disk0" } }]"#
                .to_owned(),
            kept: false,
            hosts: 2,
            shards: 2,
            iser: 0,
            nvme: 0,
            real_io: false,
            adjust: |_| {},
            pluggable: false,
            portals: String::new(),
        }
    }

    /// On a machine into which adapters can be put while it runs.
    pub fn pluggable(mut self) -> Self {
        self.pluggable = true;
        self
    }

    /// With another portal of the target.
    pub fn portal(mut self, transport: &str, address: &str, port: u16) -> Self {
        self.portals.push_str(&format!(
            r#", {{ "transport": "{transport}", "address": "{address}", "port": {port} }}"#
        ));
        self
    }

    /// With another device in place of the disk; its name must be `disk0`.
    pub fn device(mut self, json: &str) -> Self {
        self.devices = vec![json.to_owned()];
        self
    }

    /// The disk without windows: everything is staged.
    pub fn staged(self) -> Self {
        self.device(
            r#"{ "name": "disk0", "backend": "memory", "size": "4MiB", "zero_copy": "off" }"#,
        )
    }

    /// With a setting of the process: `"queue_depth": 2`.
    pub fn setting(mut self, member: &str) -> Self {
        self.settings.push_str(member);
        self.settings.push(',');
        self
    }

    /// With an iSER portal, and initiators for it.
    pub fn iser(self) -> Self {
        self.iser_portals(1)
    }

    /// With so many of them.
    pub fn iser_portals(mut self, count: u16) -> Self {
        self.iser = count;
        self
    }

    /// With an NVMe portal, and hosts for it.
    pub fn nvme(self) -> Self {
        self.nvme_portals(1)
    }

    /// With so many of them.
    pub fn nvme_portals(mut self, count: u16) -> Self {
        self.nvme = count;
        self
    }

    /// With its configuration in a file.
    pub fn kept(mut self) -> Self {
        self.kept = true;
        self
    }

    /// Builds it.
    pub fn build(self) -> World {
        World::new(self)
    }

    pub(super) fn json(&self) -> String {
        // Settings given later win, so these are defaults.
        let mut settings = String::new();
        for (key, value) in [
            ("window_size", "\"64KiB\""),
            ("pinned_memory", "\"64MiB\""),
            ("staging_memory", "\"16MiB\""),
            ("queue_depth", "8"),
        ] {
            if !self.settings.contains(&format!("\"{key}\"")) {
                settings.push_str(&format!("\"{key}\": {value},"));
            }
        }
        let iser = (0..self.iser).map(|number| ("iser", 3260 + number));
        let nvme = (0..self.nvme).map(|number| ("nvme-rdma", 4420 + number));
        let more: String = iser
            .chain(nvme)
            .map(|(transport, port)| {
                format!(
                    r#", {{ "transport": "{transport}", "address": "0.0.0.0", "port": {port} }}"#
                )
            })
            .collect();
        format!(
            r#"{{ {settings} {} "shards": {}, "devices": [{}],
                "targets": [{{ "name": "store", "portals": [{{ "transport": "srp", "address": "0.0.0.0", "port": 5555 }}{more}{}],
                "groups": {} }}] }}"#,
            self.settings,
            self.shards,
            self.devices.join(","),
            self.portals,
            self.groups
        )
    }
}
