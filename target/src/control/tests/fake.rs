//! A daemon that is made up, and records what it is asked for.

use super::*;

/// A daemon that is made up.
#[derive(Default)]
pub(super) struct Fake {
    /// The changes that it was asked for, one after the other.
    pub(super) changes: Mutex<Vec<Vec<Edit>>>,
    /// What it has told of reloads, files that were saved and sessions that were closed.
    pub(super) done: Mutex<Vec<String>>,
    /// What the next change fails with.
    pub(super) refusal: Mutex<Option<ChangeError>>,
    /// What the next change comes to, if it is not the usual.
    pub(super) report: Mutex<Option<ChangeReport>>,
    pub(super) events: Events,
    /// How often it was asked for its status; every answer is larger than what a socket buffers.
    pub(super) chatty: Option<Arc<AtomicU32>>,
    /// How many bytes it says then.
    pub(super) words: Option<usize>,
    /// Its target has all that a target may have.
    pub(super) rich: bool,
    /// Its list of devices panics.
    pub(super) broken: bool,
    /// Its list of devices waits for this.
    pub(super) hangs: Option<Box<dyn Fn() + Send + Sync>>,
}

impl Fake {
    pub(super) fn taken(&self) -> Vec<Edit> {
        let changes = std::mem::take(&mut *self.changes.lock().expect("nobody panicked"));
        changes.into_iter().flatten().collect()
    }

    pub(super) fn did(&self, what: String) {
        self.done.lock().expect("nobody panicked").push(what);
    }

    pub(super) fn refuse(&self, error: impl Into<ChangeError>) {
        *self.refusal.lock().expect("nobody panicked") = Some(error.into());
    }

    pub(super) fn reply(&self, report: ChangeReport) {
        *self.report.lock().expect("nobody panicked") = Some(report);
    }

    fn refused(&self) -> Result<(), ChangeError> {
        match self.refusal.lock().expect("nobody panicked").take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn outcome(&self) -> Result<ChangeReport, ChangeError> {
        self.refused()?;
        let report = self.report.lock().expect("nobody panicked").take();
        Ok(report.unwrap_or_else(change_report))
    }
}

const COUNTERS: DeviceCounters = DeviceCounters {
    reads: 200,
    read_bytes: 200 << 20,
    read_bytes_zero_copy: 198 << 20,
    writes: 10,
    write_bytes: 40960,
    write_bytes_zero_copy: 0,
    flushes: 2,
    discards: 0,
    window_hits: 198,
    window_misses: 2,
    window_registrations: 96,
    window_evictions: 0,
    windows: 96,
    pinned_bytes: 192 << 20,
    errors: 0,
    read_errors: 0,
    write_errors: 0,
    lost_writes: 0,
};

/// A thousand reads, of which most took 20 microseconds.
fn latency() -> Latency {
    Latency {
        read: LatencySummary {
            count: 1000,
            sum_us: 21_480,
            p50_us: 24,
            p90_us: 30,
            p99_us: 31,
            p999_us: 32,
            max_us: 1500,
        },
        ..Latency::default()
    }
}

fn latency_buckets() -> LatencyBuckets {
    let mut buckets = LatencyBuckets::default();
    buckets.read[5] = 999;
    buckets.read[11] = 1;
    buckets
}

impl Management for Fake {
    fn status(&self) -> Status {
        let mut warnings = vec!["targets[0].portals[1]: iser is not served".to_owned()];
        if let Some(asked) = &self.chatty {
            asked.fetch_add(1, Relaxed);
            warnings.push("x".repeat(self.words.unwrap_or(4 << 20)));
        }
        Status {
            state: DaemonState::Running,
            version: "0.1.0".to_owned(),
            pid: 4711,
            uptime_seconds: 93784,
            devices: 2,
            targets: 1,
            sessions: 1,
            connections: 4,
            adapters: vec![AdapterReport {
                name: "rxe0".to_owned(),
                node_guid: Guid(0x5054_00ff_fe00_0001).to_string(),
                on_demand_paging: false,
            }],
            warnings,
        }
    }

    fn devices(&self) -> Vec<DeviceReport> {
        assert!(!self.broken, "a report that panics");
        if let Some(hangs) = &self.hangs {
            hangs();
        }
        vec![DeviceReport {
            name: "disk0".to_owned(),
            backend: "file".to_owned(),
            path: Some("/srv/disk0.img".to_owned()),
            store: "file on ext4".to_owned(),
            state: DeviceState::Online,
            why: None,
            size: 192 << 20,
            block_size: 512,
            read_only: false,
            write_cache: true,
            naa: "37eb8b81d3ef3b1b".to_owned(),
            serial: "5af1d05e7a5ff7ae".to_owned(),
            uuid: "f86491d4-f922-8592-a9c3-147d80a5c7f4".to_owned(),
            zero_copy: ZeroCopyReport {
                mode: "pinned".to_owned(),
                why: "read-only registration of the page cache works".to_owned(),
            },
            reservations: DeviceReservations {
                enabled: true,
                kind: Some("write-exclusive-registrants-only".to_owned()),
                registrants: 3,
            },
            queue_depth: 128,
            queue_depth_max: 256,
            in_flight: 3,
            worst_time_us: 1500,
            counters: COUNTERS,
            latency: latency(),
            latency_buckets: latency_buckets(),
        }]
    }

    fn resize(
        &self,
        name: &str,
        size: Option<u64>,
        force: bool,
    ) -> Result<ResizeReport, ResizeError> {
        match (name, size) {
            ("disk0", Some(0)) => Err(ResizeError::Empty),
            ("disk0", Some(512)) if !force => Err(ResizeError::Destructive {
                size: 512,
                present: 192 << 20,
            }),
            ("disk0", size) => Ok(ResizeReport {
                name: name.to_owned(),
                size: size.unwrap_or(256 << 20),
                size_before: 192 << 20,
                block_size: 512,
            }),
            _ => Err(ResizeError::NoDevice),
        }
    }

    fn reservations(&self) -> Vec<ReservationReport> {
        let registrant =
            |key: u64, protocol: &str, initiator: &str, port: Option<u16>| RegistrantReport {
                key: format!("{key:#018x}"),
                protocol: protocol.to_owned(),
                initiator: initiator.to_owned(),
                target: port.map(|_| "store".to_owned()),
                target_port: port,
                holder: port == Some(2),
                live: port.is_some(),
            };
        let iscsi = "iqn.1993-08.org.debian:01:web,i,0x00023d000001";
        let none = ReservationReport {
            name: "ram0".to_owned(),
            enabled: false,
            kind: None,
            held_by_all: false,
            holders: Vec::new(),
            generation: 0,
            persistent: false,
            registrants_max: 0,
            registrants: Vec::new(),
        };
        let some = ReservationReport {
            name: "disk0".to_owned(),
            enabled: true,
            kind: Some("write-exclusive-registrants-only".to_owned()),
            held_by_all: false,
            holders: vec![iscsi.to_owned()],
            generation: 7,
            persistent: true,
            registrants_max: 4096,
            registrants: vec![
                registrant(1, "srp", "0x0000000000000000505400fffe000002", Some(1)),
                registrant(u64::MAX, "iscsi", iscsi, Some(2)),
                registrant(0xabc, "nvme", "f86491d4-f922-4592-a9c3-147d80a5c7f4", None),
            ],
        };
        vec![some, none]
    }

    fn clear_reservations(
        &self,
        name: &str,
        force: bool,
    ) -> Result<ReservationsCleared, ClearError> {
        match name {
            "disk0" if !force => Err(ClearError::InUse {
                one: "0x0000000000000000505400fffe000002".to_owned(),
                more: 1,
            }),
            "disk0" => Ok(ReservationsCleared {
                name: name.to_owned(),
                kind: Some("write-exclusive-registrants-only".to_owned()),
                registrants: 3,
            }),
            _ => Err(ClearError::NoDevice),
        }
    }

    fn targets(&self) -> Vec<TargetReport> {
        let config = if self.rich { rich_target() } else { target() };
        let guid = Guid(0x7667_f24a_bc42_0cde);
        let lines = ["10.99.0.1:5555", "[2001:db8::1]:5555"]
            .map(|at| format!("id_ext={guid},ioc_guid={guid},dest={at}"));
        let service_id = ServiceId::new(0x0106_15b3).expect("good");
        let iqn = "iqn.2026-11.io.pagecast:store";
        let login = Login {
            transport: Transport::Iser,
            iqn,
            chap: None,
            discovery_chap: None,
            lun: 0,
        };
        let mut commands = login.commands("10.99.0.1:3260".parse().expect("an address"));
        commands.truncate(2);
        vec![TargetReport {
            name: config.name.to_string(),
            iqn: iqn.to_owned(),
            nqn: "nqn.2026-11.io.pagecast:store".to_owned(),
            srp: SrpReport {
                id_ext: guid.to_string(),
                ioc_guid: guid.to_string(),
            },
            portals: vec![
                PortalReport {
                    portal: config.portals[0],
                    listening: true,
                    why: None,
                },
                PortalReport {
                    portal: Portal {
                        transport: Transport::Srp,
                        endpoint: Endpoint::Service { service_id },
                    },
                    listening: false,
                    why: Some("no InfiniBand port".to_owned()),
                },
                PortalReport {
                    portal: config.portals[1],
                    listening: true,
                    why: None,
                },
            ],
            chap: config.chap,
            dhchap: config.dhchap,
            groups: config.groups,
            sessions: 1,
            initiator_commands: [
                (Transport::Srp, lines.to_vec()),
                (Transport::Iser, commands),
            ]
            .into(),
        }]
    }

    fn sessions(&self) -> Vec<SessionReport> {
        let web = SessionReport {
            id: 2,
            initiator: "iqn.1993-08.org.debian:01:web".to_owned(),
            target: "store".to_owned(),
            group: "web".to_owned(),
            transport: "iser".to_owned(),
            peer: "10.99.0.3".to_owned(),
            connections: 1,
            in_flight: 0,
            counters: SessionCounters::default(),
            latency: Latency::default(),
            latency_buckets: LatencyBuckets::default(),
        };
        let old = SessionReport {
            id: 1,
            initiator: "0x0000000000000000505400fffe000002".to_owned(),
            target: "store".to_owned(),
            group: "web".to_owned(),
            transport: "srp".to_owned(),
            peer: "10.99.0.2".to_owned(),
            connections: 4,
            in_flight: 3,
            counters: SessionCounters {
                reads: 1000,
                read_bytes: 4_096_000,
                writes: 10,
                write_bytes: 40_960,
                other: 5,
            },
            latency: latency(),
            latency_buckets: latency_buckets(),
        };
        vec![old, web]
    }

    fn stats(&self) -> Stats {
        Stats {
            uptime_seconds: 93784,
            shards: 2,
            io_engine: "io_uring".to_owned(),
            io_engine_why: "this kernel allows it".to_owned(),
            sessions: 1,
            connections: 4,
            logins: 7,
            refusals: 2,
            registered_bytes: 336_592_896,
            staged_bytes: 1 << 20,
            staged_limit_bytes: 128 << 20,
            staging_waits: 3,
            pinned_bytes: 192 << 20,
            pinned_limit_bytes: 2 << 30,
            total: COUNTERS,
        }
    }

    fn change(&self, edits: &[Edit]) -> Result<ChangeReport, ChangeError> {
        let mut changes = self.changes.lock().expect("nobody panicked");
        let report = self.outcome()?;
        changes.push(edits.to_vec());
        Ok(report)
    }

    fn reload(&self, force: bool) -> Result<ChangeReport, ChangeError> {
        self.did(format!("reload {force}"));
        self.outcome()
    }

    fn config(&self) -> ConfigReport {
        ConfigReport {
            file: Some("/etc/pagecast/pagecast.json".to_owned()),
            config: json!({
                "devices": [ { "name": "ram0", "backend": "memory", "size": "1GiB" } ],
                "targets": []
            }),
        }
    }

    fn save_config(&self, file: &Path, force: bool) -> Result<SaveReport, ChangeError> {
        self.did(format!("save {} {force}", file.display()));
        self.refused()?;
        Ok(SaveReport {
            file: file.display().to_string(),
            bytes: 1234,
        })
    }

    fn close_session(&self, id: u64) -> Option<SessionReport> {
        let report = self
            .sessions()
            .into_iter()
            .find(|session| session.id == id)?;
        self.did(format!("close {id}"));
        Some(report)
    }

    fn events(&self) -> Subscription {
        self.events.subscribe()
    }
}

pub(super) fn change_report() -> ChangeReport {
    let moved = SessionChange {
        id: 1,
        initiator: "0x0000000000000000505400fffe000002".to_owned(),
        target: "store".to_owned(),
        transport: "srp".to_owned(),
        peer: "10.99.0.2".to_owned(),
        group_before: "web".to_owned(),
        group: Some("database".to_owned()),
        closed: None,
        luns_added: vec![1, 2],
        luns_removed: vec![7],
    };
    let closed = SessionChange {
        id: 2,
        initiator: "iqn.1993-08.org.debian:01:web".to_owned(),
        transport: "iser".to_owned(),
        peer: "10.99.0.3".to_owned(),
        group: None,
        closed: Some(Closed::NotAdmitted),
        luns_added: Vec::new(),
        luns_removed: vec![0, 7],
        ..moved.clone()
    };
    ChangeReport {
        file: Some("/etc/pagecast/pagecast.json".to_owned()),
        sessions: vec![moved, closed],
        restart_needed: vec!["shards".to_owned()],
        warnings: vec!["device disk1 is offline: No such file or directory".to_owned()],
    }
}

/// One of each kind, as a watcher is told of them.
pub(super) fn every_event() -> Vec<EventKind> {
    let initiator = || "0x0000000000000000505400fffe000002".to_owned();
    let text = |text: &str| text.to_owned();
    vec![
        EventKind::Login {
            session: 1,
            initiator: initiator(),
            target: text("store"),
            group: text("web"),
            transport: text("srp"),
            peer: text("10.99.0.2"),
        },
        EventKind::Logout {
            session: 1,
            initiator: initiator(),
            target: text("store"),
            transport: text("srp"),
            peer: text("10.99.0.2"),
        },
        EventKind::Refused {
            initiator: Some(text("iqn.1993-08.org.debian:01:evil")),
            target: Some(text("store")),
            transport: text("iser"),
            peer: text("10.99.0.9"),
            why: text("no access group admits it"),
        },
        EventKind::Reassigned {
            session: 2,
            initiator: text("iqn.1993-08.org.debian:01:web"),
            target: text("store"),
            transport: text("iser"),
            peer: text("10.99.0.3"),
            group_before: text("web"),
            group: None,
            closed: Some(Closed::NotAuthenticated),
            luns_added: Vec::new(),
            luns_removed: vec![0, 7],
        },
        EventKind::Configured {
            by: text("group.map"),
        },
        EventKind::Reservation {
            device: text("disk0"),
            action: text("preempt"),
            initiator: None,
            kind: Some(text("write-exclusive")),
            registrants: 2,
        },
        EventKind::QueueDepth {
            device: text("disk0"),
            before: 128,
            now: 64,
            why: text("a command took 7 s"),
        },
        EventKind::DeviceOnline {
            device: text("disk0"),
        },
        EventKind::DeviceOffline {
            device: text("disk0"),
            why: text("Input/output error"),
        },
        EventKind::AdapterAdded {
            adapter: text("rxe0"),
        },
        EventKind::AdapterRemoved {
            adapter: text("rxe0"),
        },
        EventKind::Error {
            what: text("something went wrong"),
        },
    ]
}

fn rich_target() -> TargetConfig {
    let text = r#"{
        "devices": [ { "name": "disk0", "backend": "memory", "size": "1MiB" } ],
        "targets": [ { "name": "store",
            "portals": [ { "transport": "srp", "address": "::" }, { "transport": "nvme-rdma", "address": "::" } ],
            "groups": [ { "name": "web", "initiators": ["10.*"],
                          "chap": { "user": "web", "secret": "open sesame now" },
                          "dhchap": { "key": "DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:" },
                          "luns": { "0": { "device": "disk0", "read_only": true }, "1": "disk0" } },
                        { "name": "rest", "default": true } ] } ] }"#;
    Config::parse(text, "test").expect("good").targets.remove(0)
}

fn target() -> TargetConfig {
    let text = r#"{
        "devices": [ { "name": "disk0", "backend": "memory", "size": "1MiB" },
                     { "name": "ram0", "backend": "memory", "size": "1MiB" } ],
        "targets": [ { "name": "store",
            "chap": { "user": "web", "secret": "open sesame now",
                      "mutual_user": "store", "mutual_secret": "close it again" },
            "portals": [ { "transport": "srp", "address": "0.0.0.0" },
                         { "transport": "iser", "address": "10.99.0.1" } ],
            "groups": [ { "name": "web", "initiators": ["10.99.0.?", "!10.99.0.9"],
                          "luns": { "0": "disk0", "7": "ram0" } },
                        { "name": "nobody", "initiators": [], "chap": { "user": "none", "secret": "open sesame now" } } ] } ] }"#;
    Config::parse(text, "test").expect("good").targets.remove(0)
}
