//! The daemon, initiators, and the net between them.

use std::collections::HashMap;
use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use pagecast_backends::testing::FaultyBackend;
use pagecast_backends::{Backend, IoQueue};
use pagecast_initiator::iser::{ConnectionHandle, IserInitiator};
use pagecast_initiator::nvme::{NvmeHost, QueueHandle};
use pagecast_initiator::{
    Buffer, ChannelId, ChannelState, Command, Data, Format, Initiator, InitiatorError,
    LoginOptions, Reply, Task, scsi,
};
use pagecast_rdma::fabric::{Capabilities, Fabric};
use pagecast_rdma::sim::{SimFabric, SimMachine, SimNet};
use pagecastd::config::{Config, DeviceConfig, Document};
use pagecastd::control::Management;
use pagecastd::daemon::{Daemon, Parts};
use pagecastd::identity::MachineId;

use crate::io::Io;
use crate::random::Random;

/// Rounds that anything may take before it counts as stuck.
const PATIENCE: u64 = 400_000;

/// The node that the daemon runs on.
pub const TARGET: &str = "target";

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

/// Names a machine with an initiator.
pub type Host = usize;

/// Everything, and its time.
#[derive(Debug)]
pub struct World {
    /// Its seed.
    pub seed: u64,
    /// The net.
    pub net: SimNet,
    /// An initiator on each host.
    pub initiators: Vec<Initiator>,
    /// One for iSER on each host, where the target has a portal for them.
    pub iser: Vec<IserInitiator>,
    /// One for NVMe on each host, where the target has a portal for them.
    pub nvme: Vec<NvmeHost>,
    /// The daemon, which is turned by hand.
    pub daemon: Daemon,
    /// The stores of the devices, by name, to make them fail.
    pub stores: HashMap<String, Arc<FaultyBackend>>,
    /// Backend operations.
    pub io: Io,
    /// Virtual time.
    pub now: Instant,
    /// Choices of the test.
    pub random: Random,
    order: Random,
    target_port: [u8; 16],
    real_io: bool,
    /// Windows are filled by threads; wait for them, so that the seed decides.
    settles_windows: bool,
    channels: Vec<(Host, ChannelId)>,
    /// Who disconnects at the end.
    pub iser_connections: Vec<(Host, ConnectionHandle)>,
    /// The same, over NVMe.
    pub nvme_queues: Vec<(Host, QueueHandle)>,
    machine: Option<Arc<SimMachine>>,
    // The nodes live as long as these.
    fabrics: Vec<Arc<SimFabric>>,
    directory: Arc<Directory>,
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

    fn json(&self) -> String {
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

struct TestParts {
    io: Option<Io>,
    stores: HashMap<String, Arc<FaultyBackend>>,
}

impl Parts for TestParts {
    fn store(&mut self, config: &DeviceConfig, opened: Arc<dyn Backend>) -> Arc<dyn Backend> {
        let store = FaultyBackend::new(opened);
        self.stores
            .insert(config.name.to_string(), Arc::clone(&store));
        store
    }

    fn io_queue(&mut self, _shard: usize) -> Option<Box<dyn IoQueue>> {
        self.io.as_ref().map(Io::queue)
    }
}

impl World {
    /// Builds the world.
    pub fn new(setup: Setup) -> Self {
        Self::in_directory(&setup, Arc::new(Directory::new()))
    }

    /// Ends the world as a loss of power does, and builds another one with its files: a daemon that was started again.
    pub fn restarted(self, setup: &Setup) -> Self {
        let directory = Arc::clone(&self.directory);
        drop(self);
        Self::in_directory(setup, directory)
    }

    fn in_directory(setup: &Setup, directory: Arc<Directory>) -> Self {
        let config = setup
            .json()
            .replace("$DIR", &directory.path.to_string_lossy());
        Self::with_config(setup, &config, directory)
    }

    fn with_config(setup: &Setup, config: &str, directory: Arc<Directory>) -> Self {
        let net = SimNet::new(setup.seed);
        let target = net
            .fabric(TARGET, &[address(0).ip()])
            .expect("the target's fabric");
        let configuration = if setup.kept {
            let file = directory.path.join("pagecast.json");
            // Whoever comes back finds what it has kept.
            if !file.exists() {
                std::fs::write(&file, config).expect("a file");
            }
            Document::from_file(&file)
        } else {
            Config::parse(config, "test.json")
                .map(|config| (Document::from_config(&config), config))
        };
        let configuration = configuration.unwrap_or_else(|error| panic!("{error}"));
        let state = directory.path.join("state");
        let machine = MachineId::load(&state).expect("a machine id");
        let io = Io::new(setup.seed);
        let mut parts = TestParts {
            io: (!setup.real_io).then(|| io.clone()),
            stores: HashMap::new(),
        };
        let machine_fabric = setup.pluggable.then(|| {
            let machine = Arc::new(SimMachine::default());
            machine.plug(Arc::clone(&target));
            machine
        });
        let fabric: Arc<dyn Fabric> = match &machine_fabric {
            Some(machine) => Arc::clone(machine) as _,
            None => Arc::clone(&target) as _,
        };
        let daemon = Daemon::build_with(
            configuration,
            &machine,
            &state,
            fabric,
            Instant::now(),
            &mut parts,
        )
        .unwrap_or_else(|error| panic!("{error}"));
        // Virtual time starts here; what noted the time while it was built saw an earlier one.
        let now = Instant::now();
        let mut fabrics = vec![target];
        let mut initiators = Vec::new();
        let (mut iser, mut nvme) = (Vec::new(), Vec::new());
        for host in 0..setup.hosts {
            let ip = host_address(host);
            let fabric = net
                .fabric_with(&host_name(host), &[ip], setup.adjust)
                .expect("a host's fabric");
            initiators.push(Initiator::new(&*fabric).expect("an initiator"));
            if setup.iser > 0 {
                iser.push(IserInitiator::new(&*fabric).expect("an initiator"));
            }
            if setup.nvme > 0 {
                nvme.push(NvmeHost::new(&*fabric).expect("a host"));
            }
            fabrics.push(fabric);
        }
        let target_port = daemon.shared.inventory().targets[0].port_id().0;
        Self {
            seed: setup.seed,
            net,
            initiators,
            iser,
            nvme,
            daemon,
            stores: parts.stores,
            io,
            now,
            random: Random::new(setup.seed.wrapping_mul(31)),
            order: Random::new(setup.seed),
            target_port,
            real_io: setup.real_io,
            settles_windows: true,
            channels: Vec::new(),
            iser_connections: Vec::new(),
            nvme_queues: Vec::new(),
            machine: machine_fabric,
            fabrics,
            directory,
        }
    }

    /// The file of its configuration, if that is [kept](Setup::kept) in one.
    pub fn configuration_file(&self) -> PathBuf {
        self.directory.path.join("pagecast.json")
    }

    /// Where the files of this world are; `$DIR` in its configuration.
    pub fn directory(&self) -> &Path {
        &self.directory.path
    }

    /// The store of the only disk.
    pub fn store(&self) -> &Arc<FaultyBackend> {
        &self.stores["disk0"]
    }

    /// How a host logs in, unless a test wants it otherwise.
    pub fn options(&self, host: Host) -> LoginOptions {
        LoginOptions::new([0xa0 + host as u8; 16], self.target_port)
    }

    // --- hardware ------------------------------------------------------------------------------------------------

    /// Puts another adapter into the daemon's machine, by the name of a node that there was not. The daemon finds it when it looks around.
    pub fn plug(&mut self, name: &str, ip: IpAddr) {
        let machine = self.machine.as_ref().expect("a pluggable machine");
        let adapter = self.net.fabric(name, &[ip]).expect("an adapter");
        machine.plug(Arc::clone(&adapter));
        self.fabrics.push(adapter);
    }

    /// Takes an adapter out.
    pub fn unplug(&mut self, name: &str) {
        assert!(self.net.faults().remove_adapter(name), "no node {name}");
    }

    /// The same, but its driver tells nobody, and waits until nobody uses it.
    pub fn unplug_in_silence(&mut self, name: &str) {
        let faults = self.net.faults();
        assert!(faults.remove_adapter_in_silence(name), "no node {name}");
    }

    // --- letting things happen -----------------------------------------------------------------------------------

    /// A few things happen. Returns whether anything did.
    pub fn pump(&mut self) -> bool {
        self.now += Duration::from_micros(5);
        let mut moved = false;
        for _ in 0..=self.order.below(4) {
            moved |= self.net.step();
        }
        if self.order.once_in(3) {
            moved |= self.daemon.control.turn();
        }
        for shard in 0..self.daemon.shards.len() {
            if self.order.once_in(2) {
                moved |= self.turn_shard(shard);
            }
        }
        for host in 0..self.initiators.len() {
            if self.order.once_in(2) {
                moved |= self.turn_initiator(host);
            }
        }
        for host in 0..self.iser.len() {
            if self.order.once_in(2) {
                moved |= self.turn_iser(host);
            }
        }
        for host in 0..self.nvme.len() {
            if self.order.once_in(2) {
                moved |= self.turn_nvme(host);
            }
        }
        moved
    }

    /// Turns one shard.
    pub fn turn_shard(&mut self, shard: usize) -> bool {
        let moved = self.daemon.shards[shard].turn(self.now);
        if moved && self.settles_windows {
            while self.daemon.shared.windows.statistics().queued > 0 {
                std::thread::yield_now();
            }
        }
        moved
    }

    fn turn_initiator(&mut self, host: Host) -> bool {
        let turned = self.initiators[host].turn();
        turned.unwrap_or_else(|error| panic!("the target broke the protocol: {error}"))
    }

    /// Lets window threads run behind our back from now on.
    pub fn leave_windows_alone(&mut self) {
        self.settles_windows = false;
    }

    /// Pumps until `done` has something, or panics.
    pub fn run_until<T>(&mut self, mut done: impl FnMut(&mut Self) -> Option<T>) -> T {
        let mut idle = 0;
        for _ in 0..PATIENCE {
            if let Some(result) = done(self) {
                return result;
            }
            idle = if self.pump() { 0 } else { idle + 1 };
            if idle > 100 {
                // Threads may have something to say: engines and the window service.
                std::thread::sleep(Duration::from_micros(200));
            }
            assert!(
                idle < 20_000,
                "seed {}: stuck, and nothing moves any more",
                self.seed
            );
        }
        panic!("seed {}: nothing came of {PATIENCE} rounds", self.seed);
    }

    /// Pumps until nothing moves any more.
    pub fn settle(&mut self) {
        let mut idle = 0;
        for _ in 0..PATIENCE {
            idle = if self.pump() { 0 } else { idle + 1 };
            let busy = self.real_io || idle % 10 == 9;
            if busy {
                std::thread::sleep(Duration::from_micros(100));
            }
            if idle >= 60 {
                return;
            }
        }
        panic!("seed {}: it never settles", self.seed);
    }

    /// Lets virtual time pass, with whatever timers there are.
    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        for shard in 0..self.daemon.shards.len() {
            self.turn_shard(shard);
        }
        self.settle();
    }

    // --- initiators ----------------------------------------------------------------------------------------------

    /// Logs in, or says why not.
    pub fn connect(&mut self, host: Host, options: LoginOptions) -> (ChannelId, ChannelState) {
        self.connect_to(host, address(0), options)
    }

    /// The same at another address.
    pub fn connect_to(
        &mut self,
        host: Host,
        to: SocketAddr,
        options: LoginOptions,
    ) -> (ChannelId, ChannelState) {
        let channel = self.initiators[host]
            .connect(to, options)
            .expect("a connection");
        let state = self.run_until(|world| {
            let state = world.initiators[host].state(channel);
            (*state != ChannelState::Connecting).then(|| state.clone())
        });
        (channel, state)
    }

    /// Logs in as usual.
    pub fn log_in(&mut self, host: Host) -> ChannelId {
        let options = self.options(host);
        self.log_in_with(host, options)
    }

    /// Logs in; that must succeed.
    pub fn log_in_with(&mut self, host: Host, options: LoginOptions) -> ChannelId {
        let (channel, state) = self.connect(host, options);
        self.channels.push((host, channel));
        assert_eq!(state, ChannelState::Up, "seed {}", self.seed);
        channel
    }

    /// Memory of a host.
    pub fn buffer(&mut self, host: Host, channel: ChannelId, length: usize) -> Buffer {
        self.initiators[host]
            .allocate(channel, length)
            .expect("a buffer")
    }

    /// Sends a command as soon as there is a credit.
    pub fn send(&mut self, host: Host, channel: ChannelId, command: &Command) -> u64 {
        self.run_until(|world| {
            let initiator = &world.initiators[host];
            (initiator.can_send(channel) || !initiator.is_up(channel)).then_some(())
        });
        self.initiators[host]
            .send(channel, command)
            .unwrap_or_else(|error| panic!("seed {}: {error}", self.seed))
    }

    /// Waits for a reply.
    pub fn try_reply(
        &mut self,
        host: Host,
        channel: ChannelId,
        tag: u64,
    ) -> Result<Reply, InitiatorError> {
        self.run_until(|world| {
            let initiator = &mut world.initiators[host];
            match initiator.take_reply(channel, tag) {
                Some(reply) => Some(Ok(reply)),
                None if initiator.is_up(channel) => None,
                None => Some(Err(InitiatorError::NotUp(initiator.state(channel).clone()))),
            }
        })
    }

    /// Waits for a reply, which must come.
    pub fn reply(&mut self, host: Host, channel: ChannelId, tag: u64) -> Reply {
        self.try_reply(host, channel, tag)
            .unwrap_or_else(|error| panic!("seed {}: {error}", self.seed))
    }

    /// Executes a command.
    pub fn execute(&mut self, host: Host, channel: ChannelId, command: &Command) -> Reply {
        let tag = self.send(host, channel, command);
        self.reply(host, channel, tag)
    }

    /// Executes a task management function and returns the response code.
    pub fn manage(&mut self, host: Host, channel: ChannelId, task: Task) -> u8 {
        let tag = self.initiators[host]
            .task(channel, task)
            .unwrap_or_else(|error| panic!("seed {}: {error}", self.seed));
        let reply = self.reply(host, channel, tag);
        reply.response.code.expect("a response code")
    }

    /// Waits until a channel is over.
    pub fn over(&mut self, host: Host, channel: ChannelId) -> ChannelState {
        self.run_until(|world| {
            let state = world.initiators[host].state(channel);
            let over = matches!(
                state,
                ChannelState::Closed(_) | ChannelState::Failed(_) | ChannelState::Refused { .. }
            );
            over.then(|| state.clone())
        })
    }

    /// READ(16) of LUN 0 into one piece of memory.
    pub fn read(&mut self, host: Host, channel: ChannelId, lba: u64, blocks: u32) -> Vec<u8> {
        let buffer = self.buffer(host, channel, blocks as usize * 512);
        let reply = self.execute(host, channel, &read(&buffer, lba, blocks));
        assert!(
            reply.is_good(),
            "seed {}: READ of {blocks} blocks at {lba}: {:?}",
            self.seed,
            reply.sense()
        );
        reply.data()
    }

    /// WRITE(16) of LUN 0 from one piece of memory.
    pub fn write(&mut self, host: Host, channel: ChannelId, lba: u64, bytes: &[u8]) {
        let buffer = self.buffer(host, channel, bytes.len());
        buffer.write(0, bytes).expect("within the buffer");
        let reply = self.execute(host, channel, &write(&buffer, lba));
        assert!(
            reply.is_good(),
            "seed {}: WRITE of {} bytes at {lba}: {:?}",
            self.seed,
            bytes.len(),
            reply.sense()
        );
    }

    // --- witnesses -----------------------------------------------------------------------------------------------

    /// Bytes of windows, and of staging memory, that were the source of RDMA WRITEs of the target.
    pub fn written_from(&self) -> (u64, u64) {
        let mut sums = (0, 0);
        for region in self.net.regions() {
            if region.node == TARGET {
                match region.memory.contains("Anonymous") {
                    false => sums.0 += region.rdma_written_from,
                    true => sums.1 += region.rdma_written_from,
                }
            }
        }
        sums
    }

    /// Queue pairs of the target that exist, by number.
    pub fn target_queue_pairs(&self) -> Vec<u32> {
        let on_target = self.net.queue_pairs().into_iter();
        on_target
            .filter(|pair| pair.node.starts_with(TARGET))
            .map(|pair| pair.number)
            .collect()
    }

    /// Ends every channel and checks that the daemon holds nothing any more.
    pub fn finish(mut self) {
        for store in self.stores.values() {
            store.clear();
        }
        self.io.release();
        for &(host, channel) in &self.channels {
            self.initiators[host]
                .disconnect(channel)
                .expect("a disconnect");
        }
        for &(host, connection) in &self.iser_connections {
            self.iser[host]
                .disconnect(connection)
                .expect("a disconnect");
        }
        for &(host, queue) in &self.nvme_queues {
            self.nvme[host].disconnect(queue).expect("a disconnect");
        }
        self.settle();
        self.assert_nothing_held();
    }

    /// Sessions, tasks, queue pairs, staging memory, leases: nothing is left.
    pub fn assert_nothing_held(&mut self) {
        let seed = self.seed;
        self.pass(Duration::from_millis(300));
        // A command may wait for window threads, and those for a processor.
        for _ in 0..2000 {
            if self.daemon.shared.stats().sessions == 0 {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
            self.pump();
        }
        self.pass(Duration::from_millis(300));
        let stats = self.daemon.shared.stats();
        assert_eq!(stats.sessions, 0, "seed {seed}: sessions");
        assert_eq!(stats.connections, 0, "seed {seed}: connections");
        assert_eq!(stats.staged_bytes, 0, "seed {seed}: staging memory");
        let tasks: u64 = self
            .daemon
            .shared
            .gauges
            .iter()
            .map(|g| g.tasks.load(Relaxed))
            .sum();
        assert_eq!(tasks, 0, "seed {seed}: tasks");
        let pairs = self.target_queue_pairs();
        assert!(pairs.is_empty(), "seed {seed}: queue pairs {pairs:?}");
        for device in &self.daemon.shared.inventory().devices {
            let busy = device.total(|counters| &counters.in_flight);
            assert_eq!(busy, 0, "seed {seed}: commands on {}", device.name);
            assert!(
                device.locks.is_idle(),
                "seed {seed}: locks of {}",
                device.name
            );
            if let Some(windows) = &device.windows {
                let revoked = windows.revoke_and_wait(0..u64::MAX, Duration::from_secs(10));
                assert!(revoked.is_ok(), "seed {seed}: leases on {}", device.name);
            }
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for store in self.stores.values() {
            store.clear();
        }
        if std::thread::panicking() {
            let trace = self.net.trace();
            eprintln!("the end of what happened:");
            for entry in trace.iter().skip(trace.len().saturating_sub(40)) {
                eprintln!("{entry}");
            }
            eprintln!("SEED={} runs this again", self.seed);
        }
    }
}

/// READ(16) of LUN 0 into all of `buffer`, directly.
pub fn read(buffer: &Buffer, lba: u64, blocks: u32) -> Command {
    let pieces = buffer.whole().expect("all of it");
    Command::new(
        0,
        scsi::read16(lba, blocks),
        Data::In(pieces, Format::Direct),
    )
}

/// WRITE(16) of LUN 0 of all of `buffer`, directly.
pub fn write(buffer: &Buffer, lba: u64) -> Command {
    let pieces = buffer.whole().expect("all of it");
    let blocks = (buffer.length() / 512) as u32;
    Command::new(
        0,
        scsi::write16(lba, blocks, false),
        Data::Out(pieces, Format::Direct),
    )
}

/// Bytes that differ from place to place and from `salt` to `salt`.
pub fn pattern(length: usize, salt: u64) -> Vec<u8> {
    let mut random = Random::new(salt);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend(random.next_u64().to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// The name of a host's node.
pub fn host_name(host: Host) -> String {
    format!("host{host}")
}

/// A host's IP address.
pub fn host_address(host: Host) -> IpAddr {
    address(host + 1).ip()
}

fn address(node: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1 + node as u8], 5555))
}

/// A directory that goes with its world.
#[derive(Debug)]
struct Directory {
    path: PathBuf,
}

impl Directory {
    fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Relaxed);
        let name = format!("pagecast-sim-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a directory");
        Self { path }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
