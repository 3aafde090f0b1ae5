//! The daemon, initiators, and the net between them.

mod directory;
mod end;
mod setup;
mod srp;

use std::collections::HashMap;
use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pagecast_backends::testing::FaultyBackend;
use pagecast_backends::{Backend, IoQueue};
use pagecast_initiator::iser::{ConnectionHandle, IserInitiator};
use pagecast_initiator::nvme::{NvmeHost, QueueHandle};
use pagecast_initiator::{ChannelId, Initiator};
use pagecast_rdma::fabric::Fabric;
use pagecast_rdma::sim::{SimFabric, SimMachine, SimNet};
use pagecastd::config::{Config, DeviceConfig, Document};
use pagecastd::daemon::{Daemon, Parts};
use pagecastd::identity::MachineId;

pub use self::setup::Setup;
pub use self::srp::{read, write};

use self::directory::Directory;
use crate::io::Io;
use crate::random::Random;

/// Rounds that anything may take before it counts as stuck.
const PATIENCE: u64 = 400_000;

/// The node that the daemon runs on.
pub const TARGET: &str = "target";

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

    /// The daemon looks for adapters, as it does every few seconds.
    pub fn look_around(&mut self) {
        self.daemon.control.look_around(self.now);
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
