//! What the control socket shows.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use pagecast_rdma::fabric::{Adapter, ServiceId};
use pagecast_rdma::windows::{Mode, Statistics};

use super::Shared;
use super::addresses::{infiniband_ports, rdma_addresses};
use super::inventory::Inventory;
use super::offline;
use super::reservation_reports;
use super::targets::Target;
use crate::config::edit::Edit;
use crate::config::{DeviceConfig, Endpoint, Portal, Store, Transport, ZeroCopy};
use crate::control::initiator_commands::{Login, lowest_lun, nvme_commands, tcp_addresses};
use crate::control::reports::{
    AdapterReport, ChangeReport, ConfigReport, DaemonState, DeviceCounters, DeviceReport,
    DeviceState, PortalReport, ReservationReport, ReservationsCleared, ResizeReport, SaveReport,
    SessionCounters, SessionReport, SrpReport, Stats, Status, TargetReport, ZeroCopyReport,
};
use crate::control::{ChangeError, ClearError, Management};
use crate::device::Device;
use crate::device::resize::{PATIENCE, ResizeError};
use crate::events::Subscription;
use crate::session::Session;
use crate::srp::names::{PortId, login_line, login_line_native};

impl Management for Shared {
    fn status(&self) -> Status {
        let (sessions, connections) = self.logged_in();
        let inventory = self.inventory();
        Status {
            state: if self.stopping.load(SeqCst) {
                DaemonState::Stopping
            } else {
                DaemonState::Running
            },
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: self.started.elapsed().as_secs(),
            devices: inventory.config.devices.len(),
            targets: inventory.targets.len(),
            sessions,
            connections,
            adapters: self.adapters().iter().map(adapter_report).collect(),
            warnings: self.warnings(&inventory),
        }
    }

    fn devices(&self) -> Vec<DeviceReport> {
        let adapters = self.adapters().clone();
        let inventory = self.inventory();
        let described = |wanted: &DeviceConfig| match inventory.device(&wanted.name) {
            Some(device) => Some(self.device_report(device, &adapters)),
            None => Some(offline::report(
                inventory.offline(&wanted.name)?,
                &self.machine,
            )),
        };
        inventory
            .config
            .devices
            .iter()
            .filter_map(described)
            .collect()
    }

    fn resize(
        &self,
        name: &str,
        size: Option<u64>,
        force: bool,
    ) -> Result<ResizeReport, ResizeError> {
        // Not all of them, for as long as it takes.
        let find = || {
            let missing = |why: Option<_>| why.map_or(ResizeError::NoDevice, ResizeError::Offline);
            self.served(name).map_err(missing)
        };
        let mut device = find()?;
        if size.is_some() && matches!(device.config.store, Store::Memory { .. }) {
            // Whoever waits for its turn there keeps no device open.
            drop(device);
            self.can_keep_sizes()?;
            device = find()?;
        }
        if self.stopping.load(SeqCst) {
            return Err(ResizeError::Stopping);
        }
        let resized = device.resize(size, force, PATIENCE)?;
        let report = ResizeReport {
            name: device.name.clone(),
            size: resized.now,
            size_before: resized.before,
            block_size: device.unit.block_size(),
        };
        if matches!(device.config.store, Store::Memory { .. }) {
            let weak = Arc::downgrade(&device);
            drop(device);
            self.keep_size(weak)?;
        }
        Ok(report)
    }

    fn reservations(&self) -> Vec<ReservationReport> {
        self.reservation_reports()
    }

    fn clear_reservations(
        &self,
        name: &str,
        force: bool,
    ) -> Result<ReservationsCleared, ClearError> {
        self.wipe_reservations(name, force)
    }

    fn targets(&self) -> Vec<TargetReport> {
        let inventory = self.inventory();
        let report = |target: &Arc<Target>| self.target_report(&inventory, target);
        inventory.targets.iter().map(report).collect()
    }

    fn sessions(&self) -> Vec<SessionReport> {
        Shared::sessions(self)
            .values()
            .map(session_report)
            .collect()
    }

    fn stats(&self) -> Stats {
        let windows = self.windows.statistics();
        let gauge = |read: fn(&crate::shard::Gauges) -> u64| -> u64 {
            self.gauges.iter().map(|gauge| read(gauge)).sum()
        };
        let staging = gauge(|gauge| gauge.staging_total.load(Relaxed));
        let mut total = DeviceCounters::default();
        for device in &self.inventory().devices {
            add(&mut total, &counters(device));
        }
        let (sessions, connections) = self.logged_in();
        Stats {
            uptime_seconds: self.started.elapsed().as_secs(),
            shards: self.gauges.len(),
            io_engine: self.engine.0.clone(),
            io_engine_why: self.engine.1.clone(),
            sessions,
            connections,
            logins: self.logins.load(Relaxed),
            refusals: self.refused.load(Relaxed),
            registered_bytes: windows.pinned_bytes + staging + self.message_bytes.load(Relaxed),
            staged_bytes: gauge(|gauge| gauge.staging_used.load(Relaxed)),
            staged_limit_bytes: staging,
            staging_waits: gauge(|gauge| gauge.staging_waits.load(Relaxed)),
            pinned_bytes: windows.pinned_bytes,
            pinned_limit_bytes: windows.limit_bytes,
            total,
        }
    }

    fn change(&self, edits: &[Edit]) -> Result<ChangeReport, ChangeError> {
        self.make_changes(edits)
    }

    fn reload(&self, force: bool) -> Result<ChangeReport, ChangeError> {
        self.read_again(force)
    }

    fn config(&self) -> ConfigReport {
        ConfigReport {
            file: self.kept.file(),
            // Names, numbers and paths that came from JSON text: nothing in it can fail.
            config: serde_json::to_value(&self.inventory().config).unwrap_or_default(),
        }
    }

    fn save_config(&self, file: &Path, force: bool) -> Result<SaveReport, ChangeError> {
        self.save_elsewhere(file, force)
    }

    fn close_session(&self, id: u64) -> Option<SessionReport> {
        self.end_session(id)
    }

    fn events(&self) -> Subscription {
        self.events.subscribe()
    }
}

impl Shared {
    /// How many sessions and connections there are.
    fn logged_in(&self) -> (usize, u64) {
        let sessions = Shared::sessions(self);
        let connections = sessions
            .values()
            .map(|session| u64::from(session.connections.load(Relaxed)))
            .sum();
        (sessions.len(), connections)
    }

    fn is_listening(&self) -> bool {
        self.ready.load(SeqCst) && !self.stopping.load(SeqCst)
    }

    fn warnings(&self, inventory: &Inventory) -> Vec<String> {
        let windows = self.windows.statistics();
        let mut warnings = inventory.warnings.clone();
        if windows.limit_bytes < self.windows.settings().budget_bytes {
            warnings.push(format!(
                "the kernel refused to pin more than {} MiB of page cache; raise RLIMIT_MEMLOCK (LimitMEMLOCK=infinity)",
                windows.limit_bytes >> 20
            ));
        }
        for device in &inventory.offline {
            let name = &*device.config.name;
            let why = offline::plain(name, &device.why);
            warnings.push(format!("device {name}: offline, and tried again: {why}"));
        }
        for device in &inventory.devices {
            let misplaced = || self.troubles.of_place(device).map(|it| it.to_string());
            if let Some(why) = self.why(device).or_else(misplaced) {
                warnings.push(format!("device {}: {why}", device.name));
            }
        }
        for (portal, why) in self.troubles.portals().iter() {
            warnings.push(format!("{portal}: not listening, and tried again: {why}"));
        }
        let waiting = self.settings.changed(&inventory.config.settings);
        if !waiting.is_empty() {
            warnings.push(format!(
                "changed in the configuration, and in force when the daemon is started again: {}",
                waiting.join(", ")
            ));
        }
        warnings.extend(self.kept.warning());
        warnings
    }

    /// What is wrong with a device that has failed.
    fn why(&self, device: &Device) -> Option<String> {
        let lost = self.troubles.of_device(device);
        let why = lost.map_or_else(
            || "its store is smaller than it was, or gone".to_owned(),
            |lost| lost.to_string(),
        );
        device.is_failed().then_some(why)
    }

    fn device_report(&self, device: &Device, adapters: &[Arc<dyn Adapter>]) -> DeviceReport {
        let mut report = report(device, adapters, self.why(device));
        if let Some(misplaced) = self.troubles.of_place(device) {
            report.why.get_or_insert_with(|| misplaced.to_string());
        }
        report
    }

    /// What to type on an initiator of iSCSI or iSER, for each way to a portal.
    fn iscsi_commands(inventory: &Inventory, target: &Target, portal: &Portal) -> Vec<String> {
        let config = &target.config;
        // Groups may differ; the one that comes first is the example.
        let group_chap = config.groups.iter().find_map(|group| config.chap_of(group));
        let login = Login {
            transport: portal.transport,
            iqn: &target.identity.iqn,
            chap: group_chap.or(config.chap.as_ref()),
            discovery_chap: inventory.config.discovery_chap.as_ref(),
            lun: lowest_lun(config),
        };
        let commands = |portal| login.commands(portal);
        reachable(portal).into_iter().flat_map(commands).collect()
    }

    fn target_report(&self, inventory: &Inventory, target: &Target) -> TargetReport {
        let mut commands: BTreeMap<Transport, Vec<String>> = BTreeMap::new();
        for portal in &target.config.portals {
            let lines = match portal.transport {
                Transport::Srp => login_lines(target.port_id(), portal),
                Transport::Iser | Transport::IscsiTcp => {
                    Self::iscsi_commands(inventory, target, portal)
                }
                Transport::NvmeRdma => nvme_lines(target, portal),
            };
            commands.entry(portal.transport).or_default().extend(lines);
        }
        let sessions = Shared::sessions(self)
            .values()
            .filter(|session| session.target == target.name)
            .count();
        TargetReport {
            name: target.name.clone(),
            iqn: target.identity.iqn.clone(),
            nqn: target.identity.nqn.clone(),
            srp: SrpReport {
                id_ext: target.identity.srp.id_ext.to_string(),
                ioc_guid: target.identity.srp.ioc_guid.to_string(),
            },
            chap: target.config.chap.clone(),
            dhchap: target.config.dhchap.clone(),
            portals: target
                .config
                .portals
                .iter()
                .map(|&portal| {
                    let why = self.troubles.of_portal(portal);
                    PortalReport {
                        portal,
                        listening: why.is_none() && self.is_listening(),
                        why,
                    }
                })
                .collect(),
            groups: target.config.groups.clone(),
            sessions,
            initiator_commands: commands,
        }
    }
}

/// Where a portal can be reached: one on a wildcard wherever its transport reaches this machine.
fn reachable(portal: &Portal) -> Vec<SocketAddr> {
    let Endpoint::Ip { address, port } = portal.endpoint else {
        return Vec::new();
    };
    let addresses = match portal.transport {
        _ if !address.is_unspecified() => vec![address],
        Transport::IscsiTcp => tcp_addresses(),
        _ => rdma_addresses(),
    };
    addresses
        .into_iter()
        .filter(|found| address.is_ipv6() || found.is_ipv4())
        .map(|found| SocketAddr::new(found, port))
        .collect()
}

/// What to type on an NVMe host, for each way to a portal.
fn nvme_lines(target: &Target, portal: &Portal) -> Vec<String> {
    let config = &target.config;
    // Groups may differ; the one that comes first is the example.
    let group_keys = (config.groups.iter()).find_map(|group| config.dhchap_of(group));
    let dhchap = group_keys.or(config.dhchap.as_ref());
    let commands = |at| nvme_commands(&target.identity.nqn, dhchap, at);
    reachable(portal).into_iter().flat_map(commands).collect()
}

/// What to write to an initiator's `add_target`, for each way to a portal.
fn login_lines(target: PortId, portal: &Portal) -> Vec<String> {
    match portal.endpoint {
        Endpoint::Ip { .. } => reachable(portal)
            .into_iter()
            .map(|dest| login_line(target, dest))
            .collect(),
        Endpoint::Service { service_id } => infiniband_ports()
            .into_iter()
            .map(|port| {
                let service = ServiceId(service_id.value());
                login_line_native(target, service, port.gid, port.pkey)
            })
            .collect(),
    }
}

fn report(device: &Device, adapters: &[Arc<dyn Adapter>], why: Option<String>) -> DeviceReport {
    let properties = device.backend.properties();
    let model = device.unit.model();
    let identity = &model.identity;
    let measured = device.measured();
    DeviceReport {
        name: device.name.clone(),
        backend: device.config.store.backend().to_owned(),
        path: device
            .config
            .store
            .path()
            .map(|path| path.display().to_string()),
        store: properties.description.clone(),
        state: match why {
            Some(_) => DeviceState::Failed,
            None => DeviceState::Online,
        },
        why,
        size: device.unit.capacity() * u64::from(model.block_size),
        block_size: model.block_size,
        read_only: model.read_only,
        write_cache: device.unit.write_cache(),
        naa: identity.naa.to_string(),
        serial: identity.serial.clone(),
        uuid: identity
            .uuid
            .map_or_else(String::new, |uuid| crate::config::Uuid(uuid).to_string()),
        zero_copy: zero_copy(device, adapters),
        reservations: reservation_reports::summary(device),
        queue_depth: device.config.queue_depth_max,
        queue_depth_max: device.config.queue_depth_max,
        in_flight: device.total(|counters| &counters.in_flight),
        worst_time_us: device.worst_time_us(),
        counters: counters(device),
        latency: measured.latency(),
        latency_buckets: measured.latency_buckets(),
    }
}

/// What is in force, and why: as each adapter's probe found it.
fn zero_copy(device: &Device, adapters: &[Arc<dyn Adapter>]) -> ZeroCopyReport {
    let off = |why: &str| ZeroCopyReport {
        mode: "off".to_owned(),
        why: why.to_owned(),
    };
    if device.config.zero_copy == ZeroCopy::Off {
        return off("\"zero_copy\": \"off\" in the configuration");
    }
    let Some(windows) = &device.windows else {
        return off("the store has no page cache that can be mapped");
    };
    let caches: Vec<_> = adapters
        .iter()
        .filter_map(|adapter| windows.cache(adapter))
        .collect();
    let pinned = caches.iter().find(|cache| cache.mode().works());
    let Some(cache) = pinned else {
        let reasons = caches
            .iter()
            .map(|cache| format!("{}: {}", cache.adapter().name(), cache.mode()));
        return off(&reasons.collect::<Vec<_>>().join("; "));
    };
    let adapter = cache.adapter().name();
    let mut why = match cache.mode() {
        Mode::ReadOnlyMapping => format!(
            "{adapter} registers read-only mappings of the page cache; READs are sent from them, WRITEs are staged"
        ),
        mode => format!("{adapter}: {mode}"),
    };
    if device.config.zero_copy == ZeroCopy::Odp {
        why.push_str("; on-demand paging, as configured, is not built yet in this version");
    }
    ZeroCopyReport {
        mode: "pinned".to_owned(),
        why,
    }
}

fn adapter_report(adapter: &Arc<dyn Adapter>) -> AdapterReport {
    AdapterReport {
        name: adapter.name().to_owned(),
        node_guid: format!("{:016x}", adapter.capabilities().node_guid),
        on_demand_paging: adapter.capabilities().on_demand_paging,
    }
}

fn counters(device: &Device) -> DeviceCounters {
    let windows = device
        .windows
        .as_ref()
        .map_or_else(Statistics::default, |windows| windows.statistics());
    DeviceCounters {
        reads: device.total(|counters| &counters.reads),
        read_bytes: device.total(|counters| &counters.read_bytes),
        read_bytes_zero_copy: device.total(|counters| &counters.read_bytes_zero_copy),
        writes: device.total(|counters| &counters.writes),
        write_bytes: device.total(|counters| &counters.write_bytes),
        write_bytes_zero_copy: device.total(|counters| &counters.write_bytes_zero_copy),
        flushes: device.total(|counters| &counters.flushes),
        discards: device.total(|counters| &counters.discards),
        window_hits: windows.hits,
        window_misses: windows.misses,
        window_registrations: windows.registrations,
        window_evictions: windows.evictions,
        windows: windows.windows,
        pinned_bytes: windows.pinned_bytes,
        errors: device.total(|counters| &counters.errors),
        read_errors: device.total(|counters| &counters.read_errors),
        write_errors: device.total(|counters| &counters.write_errors),
        lost_writes: device.lost_writes(),
    }
}

fn add(sum: &mut DeviceCounters, one: &DeviceCounters) {
    sum.reads += one.reads;
    sum.read_bytes += one.read_bytes;
    sum.read_bytes_zero_copy += one.read_bytes_zero_copy;
    sum.writes += one.writes;
    sum.write_bytes += one.write_bytes;
    sum.write_bytes_zero_copy += one.write_bytes_zero_copy;
    sum.flushes += one.flushes;
    sum.discards += one.discards;
    sum.window_hits += one.window_hits;
    sum.window_misses += one.window_misses;
    sum.window_registrations += one.window_registrations;
    sum.window_evictions += one.window_evictions;
    sum.windows += one.windows;
    sum.pinned_bytes += one.pinned_bytes;
    sum.errors += one.errors;
    sum.read_errors += one.read_errors;
    sum.write_errors += one.write_errors;
    sum.lost_writes += one.lost_writes;
}

pub(super) fn session_report(session: &Arc<Session>) -> SessionReport {
    let done = session.meters.total();
    SessionReport {
        id: session.id.0,
        initiator: session.initiator.clone(),
        target: session.target.clone(),
        group: session.group().to_string(),
        transport: session.transport.to_string(),
        peer: session.peer.clone(),
        connections: session.connections.load(Relaxed),
        in_flight: session.in_flight.load(Relaxed),
        counters: SessionCounters {
            reads: done.read.times.count(),
            read_bytes: done.read.bytes,
            writes: done.write.times.count(),
            write_bytes: done.write.bytes,
            other: done.other.times.count(),
        },
        latency: done.latency(),
        latency_buckets: done.latency_buckets(),
    }
}
