//! A daemon, and initiators that are connected to it.

use std::collections::{HashMap, HashSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use pagecast_backends::Backend;
use pagecast_backends::testing::FaultyBackend;
use pagecast_initiator::iscsi::client::Client;
use pagecast_initiator::iscsi::login::{Login, LoginOptions, Negotiated, Step};
use pagecast_initiator::iscsi::pdu::{NO_TAG, Pdu};
use pagecast_initiator::iscsi::request::{self, Direction};
use pagecast_initiator::iscsi::response::{Incoming, ScsiResponse};
use pagecast_initiator::iscsi::stream::Digests;
use pagecast_rdma::late::LateFabric;
use pagecastd::config::{Config, DeviceConfig, Document};
use pagecastd::daemon::{Daemon, Parts};
use pagecastd::identity::MachineId;

/// How long anything may take before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(20);

/// The target's name.
const TARGET: &str = "iqn.2026-11.io.pagecast:tcp";

/// Bytes of the disk.
pub(crate) const DISK: usize = 16 << 20;

/// Bytes in a block.
pub(crate) const BLOCK: usize = 512;

/// A daemon with a disk that can be made to fail, one shard, and one portal.
pub(crate) struct World {
    pub(crate) daemon: Daemon,
    pub(crate) store: Arc<FaultyBackend>,
    pub(crate) content: Vec<u8>,
    address: SocketAddr,
    hosts: u8,
    /// How far the daemon's time is ahead.
    ahead: Duration,
    directory: PathBuf,
}

struct Stores(Option<Arc<FaultyBackend>>);

impl Parts for Stores {
    fn store(&mut self, _config: &DeviceConfig, opened: Arc<dyn Backend>) -> Arc<dyn Backend> {
        let store = FaultyBackend::new(opened);
        self.0 = Some(Arc::clone(&store));
        store
    }
}

impl World {
    /// `settings` are members of the configuration, each with a comma behind it.
    pub(crate) fn new(settings: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("pagecast-tcp-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir(&directory).unwrap();
        // Each block has its number in it.
        let mut content: Vec<u8> =
            std::array::from_fn::<u8, BLOCK, _>(|at| at as u8).repeat(DISK / BLOCK);
        for (number, block) in content.chunks_mut(BLOCK).enumerate() {
            block[9..17].copy_from_slice(&(number as u64).to_le_bytes());
        }
        let disk = directory.join("disk");
        std::fs::write(&disk, &content).unwrap();
        let machine = MachineId::load(&directory.join("state")).unwrap();
        // Somebody else may take the port in between.
        for _ in 0..10 {
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = free.local_addr().unwrap();
            drop(free);
            let text = format!(
                r#"{{ {settings} "shards": 1,
                  "devices": [ {{ "name": "disk", "backend": "file", "path": {disk:?} }} ],
                  "targets": [ {{ "name": "tcp", "iqn": "{TARGET}",
                    "portals": [ {{ "transport": "iscsi-tcp", "address": "127.0.0.1", "port": {} }} ],
                    "groups": [ {{ "name": "all", "initiators": ["*"], "luns": {{ "0": "disk" }} }} ] }} ] }}"#,
                address.port()
            );
            let config = Config::parse(&text, "test").unwrap_or_else(|error| panic!("{error}"));
            let mut stores = Stores(None);
            let built = Daemon::build_with(
                (Document::from_config(&config), config),
                &machine,
                &directory.join("state"),
                Arc::new(LateFabric::never()),
                Instant::now(),
                &mut stores,
            );
            if let Ok(daemon) = built {
                return Self {
                    daemon,
                    store: stores.0.unwrap(),
                    content,
                    address,
                    hosts: 0,
                    ahead: Duration::ZERO,
                    directory,
                };
            }
        }
        panic!("no port to listen on");
    }

    /// Everybody does what there is to do.
    pub(crate) fn turn(&mut self) {
        self.daemon.control.turn();
        let now = Instant::now() + self.ahead;
        for shard in &mut self.daemon.shards {
            shard.turn(now);
        }
    }

    /// Makes the daemon believe that so much time has passed.
    pub(crate) fn later(&mut self, time: Duration) {
        self.ahead += time;
        self.pass(Duration::from_millis(10));
    }

    /// Turns until `done` says so.
    pub(crate) fn until<T>(
        &mut self,
        what: &str,
        mut done: impl FnMut(&mut Self) -> Option<T>,
    ) -> T {
        let start = Instant::now();
        loop {
            self.turn();
            if let Some(value) = done(self) {
                return value;
            }
            assert!(start.elapsed() < PATIENCE, "stuck: {what}");
        }
    }

    /// Turns for a while, and some times whoever else has the processor meanwhile.
    pub(crate) fn pass(&mut self, time: Duration) {
        let start = Instant::now();
        let mut turns = 0;
        while start.elapsed() < time || turns < 20 {
            self.turn();
            turns += 1;
        }
    }

    /// Turns until data waits at a host that takes none, and no more of it comes.
    pub(crate) fn until_full(&mut self, host: &Host) {
        let mut before = 0;
        self.until("data to wait", |world| {
            world.pass(Duration::from_millis(100));
            let waiting = rustix::io::ioctl_fionread(&host.socket).unwrap();
            let last = std::mem::replace(&mut before, waiting);
            (waiting > 0 && waiting == last).then_some(())
        });
    }

    /// A connection that says nothing yet.
    pub(crate) fn connect(&mut self) -> Host {
        let socket = TcpStream::connect(self.address).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.set_nodelay(true).unwrap();
        self.hosts += 1;
        Host {
            socket,
            number: self.hosts,
            digests: Digests::default(),
            arrived: Vec::new(),
            client: None,
            login: None,
            segment: 8192,
            first_burst: 65_536,
            max_burst: 262_144,
            initial_r2t: true,
            immediate: true,
            reads: HashMap::new(),
        }
    }

    /// An initiator that has logged in with the usual offers.
    pub(crate) fn host(&mut self) -> Host {
        self.host_with(|_| {})
    }

    /// The same with others.
    pub(crate) fn host_with(&mut self, adjust: impl FnOnce(&mut LoginOptions)) -> Host {
        let mut host = self.connect();
        let name = format!("iqn.2026-11.io.pagecast:host{}", host.number);
        let mut options = LoginOptions::tcp(&name, TARGET);
        adjust(&mut options);
        host.log_in(self, options);
        host
    }

    /// Sessions that are logged in.
    pub(crate) fn sessions(&self) -> usize {
        self.daemon.shared.sessions().len()
    }

    pub(crate) fn counters(&self) -> (u64, u64) {
        let counters = &self.daemon.shared.inventory().devices[0].counters[0];
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        (
            load(&counters.read_bytes),
            load(&counters.read_bytes_zero_copy),
        )
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// An initiator.
pub(crate) struct Host {
    pub(crate) socket: TcpStream,
    number: u8,
    pub(crate) digests: Digests,
    arrived: Vec<u8>,
    client: Option<Client>,
    pub(crate) login: Option<Negotiated>,
    /// Longest data segment that we may send.
    pub(crate) segment: usize,
    pub(crate) first_burst: usize,
    pub(crate) max_burst: usize,
    pub(crate) initial_r2t: bool,
    pub(crate) immediate: bool,
    /// What came of reads under way.
    reads: HashMap<u32, Reading>,
}

/// Data that has come for a command.
#[derive(Debug, Default)]
struct Reading {
    data: Vec<u8>,
    pdus: u32,
    in_burst: usize,
}

/// A command that is to be executed.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    pub(crate) cdb: Vec<u8>,
    pub(crate) direction: Direction,
    pub(crate) expected: usize,
    pub(crate) data: Vec<u8>,
}

impl Command {
    /// Where it reads or writes.
    pub(crate) fn lba(&self) -> usize {
        let bytes = self.cdb[2..10].try_into().unwrap();
        u64::from_be_bytes(bytes) as usize
    }
}

/// What came of a command.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) response: ScsiResponse,
    pub(crate) data: Vec<u8>,
}

pub(crate) fn read(lba: usize, blocks: usize) -> Command {
    Command {
        cdb: cdb16(0x88, lba, blocks),
        direction: Direction::In,
        expected: blocks * BLOCK,
        data: Vec::new(),
    }
}

pub(crate) fn write(lba: usize, data: &[u8]) -> Command {
    Command {
        cdb: cdb16(0x8a, lba, data.len() / BLOCK),
        direction: Direction::Out,
        expected: data.len(),
        data: data.to_vec(),
    }
}

fn cdb16(opcode: u8, lba: usize, blocks: usize) -> Vec<u8> {
    let mut cdb = vec![opcode, 0];
    cdb.extend((lba as u64).to_be_bytes());
    cdb.extend((blocks as u32).to_be_bytes());
    cdb.extend([0, 0]);
    cdb
}

impl Host {
    fn log_in(&mut self, world: &mut World, options: LoginOptions) {
        let offered: HashMap<String, String> = options.keys.iter().cloned().collect();
        let (mut login, mut step) = Login::start(options);
        let negotiated = loop {
            match step {
                Step::Send { pdu, .. } => self.send(world, &pdu),
                Step::Done(negotiated) => break negotiated,
                Step::Refused { class, detail } => panic!("refused: {class} {detail}"),
            }
            let answer = self.next_pdu(world).expect("an answer");
            step = login
                .receive(&answer)
                .unwrap_or_else(|error| panic!("{error}"));
        };
        let value = |key: &str| {
            negotiated
                .value(key)
                .or(offered.get(key).map(String::as_str))
        };
        let number = |key: &str| value(key).and_then(|value| value.parse().ok());
        self.digests = Digests {
            header: value("HeaderDigest") == Some("CRC32C"),
            data: value("DataDigest") == Some("CRC32C"),
        };
        self.segment = negotiated
            .number("MaxRecvDataSegmentLength")
            .map_or(8192, |n| n as usize);
        self.first_burst = number("FirstBurstLength").unwrap_or(65_536);
        self.max_burst = number("MaxBurstLength").unwrap_or(262_144);
        self.initial_r2t = value("InitialR2T") != Some("No");
        self.immediate = value("ImmediateData") != Some("No");
        self.client = Some(Client::new(&negotiated));
        self.login = Some(negotiated);
    }

    pub(crate) fn client(&mut self) -> &mut Client {
        self.client.as_mut().expect("logged in")
    }

    /// Sends a PDU with its digests.
    pub(crate) fn send(&mut self, world: &mut World, pdu: &Pdu) {
        let bytes = self.digests.encode(pdu);
        self.send_bytes(world, &bytes);
    }

    /// Sends bytes, taking in what arrives meanwhile. If the target has closed, they are lost.
    pub(crate) fn send_bytes(&mut self, world: &mut World, mut bytes: &[u8]) {
        let start = Instant::now();
        while !bytes.is_empty() {
            match self.socket.write(bytes) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
            world.turn();
            self.drain();
            assert!(start.elapsed() < PATIENCE, "stuck in sending");
        }
    }

    /// Takes in what has arrived; `false` if no more will.
    fn drain(&mut self) -> bool {
        let mut buffer = [0; 65_536];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return false,
                Ok(read) => self.arrived.extend(&buffer[..read]),
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }

    /// The next PDU, or none any more.
    pub(crate) fn next_pdu(&mut self, world: &mut World) -> Option<Pdu> {
        world.until("waiting for a PDU", |_| {
            let open = self.drain();
            match self.digests.take(&mut self.arrived) {
                Ok(Some(pdu)) => Some(Some(pdu)),
                Ok(None) if !open => Some(None),
                Ok(None) => None,
                Err(error) => panic!("{error}"),
            }
        })
    }

    /// The next PDU of the full feature phase. Pings are answered.
    pub(crate) fn next(&mut self, world: &mut World) -> Option<Incoming> {
        loop {
            let pdu = self.next_pdu(world)?;
            match self.client().receive(&pdu) {
                Ok(Incoming::Ping(answer)) => self.send(world, &answer),
                Ok(incoming) => return Some(incoming),
                Err(error) => panic!("{error}: {pdu:02x?}"),
            }
        }
    }

    /// Whether the target has closed the connection.
    pub(crate) fn is_gone(&mut self) -> bool {
        !self.drain()
    }

    /// Whether the target closes the connection, whatever it says before.
    pub(crate) fn is_closed(&mut self, world: &mut World) -> bool {
        while self.next_pdu(world).is_some() {}
        true
    }

    /// Sends a command with as much unsolicited data as was agreed to; returns its tag.
    pub(crate) fn start(&mut self, world: &mut World, command: &Command) -> u32 {
        let (itt, pdus) = self.requests(command);
        for pdu in pdus {
            self.send(world, &pdu);
        }
        itt
    }

    /// The PDUs of a command: itself, and unsolicited data.
    pub(crate) fn requests(&mut self, command: &Command) -> (u32, Vec<Pdu>) {
        let unsolicited = command.data.len().min(self.first_burst);
        let immediate = if self.immediate {
            unsolicited.min(self.segment)
        } else {
            0
        };
        let data = command.data[..immediate].to_vec();
        let expected = command.expected as u32;
        let (cdb, direction) = (&command.cdb, command.direction);
        let mut pdu = self
            .client()
            .command([0; 8], 1, cdb, direction, expected, data);
        let itt = pdu.itt();
        let mut pdus = Vec::new();
        if !self.initial_r2t && immediate < unsolicited {
            pdu.bhs[1] &= 0x7f;
            pdus = self.data_out(
                itt,
                NO_TAG,
                immediate,
                &command.data[immediate..unsolicited],
            );
        }
        pdus.insert(0, pdu);
        (itt, pdus)
    }

    /// Data-Out PDUs of a sequence that starts at `offset`.
    pub(crate) fn data_out(&mut self, itt: u32, ttt: u32, offset: usize, data: &[u8]) -> Vec<Pdu> {
        let count = data.len().div_ceil(self.segment);
        let pieces = data.chunks(self.segment).enumerate();
        let mut at = offset;
        let mut pdus = Vec::new();
        for (number, piece) in pieces {
            let last = number + 1 == count;
            let pdu = request::data_out(
                itt,
                [0; 8],
                ttt,
                number as u32,
                at as u32,
                piece.to_vec(),
                last,
            );
            pdus.push(self.client().number(pdu));
            at += piece.len();
        }
        pdus
    }

    /// Sends what an R2T asks for, after checking it.
    pub(crate) fn answer(&mut self, world: &mut World, r2t: &Incoming, data: &[u8]) {
        let &Incoming::R2t {
            itt,
            ttt,
            offset,
            length,
            ..
        } = r2t
        else {
            panic!("not an R2T: {r2t:?}");
        };
        assert!(length > 0 && length as usize <= self.max_burst);
        let (from, to) = (offset as usize, (offset + length) as usize);
        for pdu in self.data_out(itt, ttt, from, &data[from..to]) {
            self.send(world, &pdu);
        }
    }

    /// Executes commands, all at once, and returns what came of them in their order.
    pub(crate) fn execute_all(&mut self, world: &mut World, commands: &[Command]) -> Vec<Outcome> {
        let mut tags: Vec<u32> = Vec::new();
        let mut outcomes: HashMap<u32, Outcome> = HashMap::new();
        let mut r2ts: HashSet<(u32, u32)> = HashSet::new();
        while outcomes.len() < commands.len() {
            if tags.len() < commands.len() && self.client().can_send() {
                let command = &commands[tags.len()];
                let itt = self.start(world, command);
                tags.push(itt);
                continue;
            }
            match self.next(world).expect("the connection to last") {
                ref r2t @ Incoming::R2t { itt, r2t_sn, .. } => {
                    assert!(r2ts.insert((itt, r2t_sn)));
                    let at = tags.iter().position(|&tag| tag == itt).unwrap();
                    self.answer(world, r2t, &commands[at].data);
                }
                Incoming::DataIn {
                    itt,
                    data_sn,
                    offset,
                    data,
                    last,
                    status,
                } => {
                    let reading = self.reads.entry(itt).or_default();
                    assert_eq!(data_sn, reading.pdus);
                    assert_eq!(offset as usize, reading.data.len());
                    reading.pdus += 1;
                    reading.in_burst += data.len();
                    assert!(reading.in_burst <= self.max_burst);
                    reading.data.extend(data);
                    if last {
                        reading.in_burst = 0;
                    }
                    if let Some(response) = status {
                        let data = self.reads.remove(&itt).unwrap().data;
                        outcomes.insert(itt, Outcome { response, data });
                    }
                }
                Incoming::Response(response) => {
                    let reading = self.reads.remove(&response.itt).unwrap_or_default();
                    let asked = r2ts.iter().filter(|(itt, _)| *itt == response.itt).count();
                    assert_eq!(response.exp_data_sn, reading.pdus + asked as u32);
                    let data = reading.data;
                    outcomes.insert(response.itt, Outcome { response, data });
                }
                Incoming::Numbers => {}
                other => panic!("unexpected: {other:?}"),
            }
        }
        tags.iter()
            .map(|tag| outcomes.remove(tag).unwrap())
            .collect()
    }

    pub(crate) fn execute(&mut self, world: &mut World, command: &Command) -> Outcome {
        self.execute_all(world, std::slice::from_ref(command))
            .remove(0)
    }

    /// Takes the unit attentions that a new session has.
    pub(crate) fn ready(&mut self, world: &mut World) {
        let test_unit_ready = Command {
            cdb: vec![0; 6],
            direction: Direction::None,
            expected: 0,
            data: Vec::new(),
        };
        for _ in 0..4 {
            if self.execute(world, &test_unit_ready).response.status == 0 {
                return;
            }
        }
        panic!("not ready");
    }
}
