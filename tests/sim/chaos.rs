//! Everything at once, against a model of what the disk holds.
//!
//! Two hosts do what comes to mind, on ranges that no command in flight changes. A command that got no status (its channel
//! was lost, it was aborted) may have changed its blocks or not: the model keeps both contents until a READ shows which.

use std::collections::VecDeque;
use std::time::Duration;

use pagecast_backends::BackendError;
use pagecast_backends::testing::{Fault, Kind};
use pagecast_initiator::{Buffer, ChannelId, Command, Data, Format, Piece, Reply, Task, scsi};
use pagecast_rdma::sim::QueuePairState;
use pagecast_tests::world::{TARGET, host_name, write};
use pagecast_tests::{Setup, World, pattern, seeds};

use crate::faults::{unmap, write_same};

const BLOCKS: u64 = 2048;

/// What a block may hold: the salt of its pattern, 0 for zeros.
type Contents = Vec<u64>;

struct Flight {
    host: usize,
    channel: ChannelId,
    tag: u64,
    lba: u64,
    blocks: u64,
    change: Change,
    buffer: Option<Buffer>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    /// It only reads.
    None,
    /// Every block becomes that of a salt.
    To(u64),
    /// It touches no block.
    Nothing,
}

struct Chaos {
    world: World,
    channels: [Option<ChannelId>; 2],
    flights: Vec<Flight>,
    blocks: Vec<Contents>,
    salt: u64,
    log: VecDeque<String>,
    /// Whether commands may fail because faults were injected.
    faulty: bool,
}

#[test]
fn with_windows() {
    for seed in seeds(0..6) {
        Chaos::new(Setup::new(seed), false).run();
    }
}

#[test]
fn staged() {
    for seed in seeds(100..106) {
        let setup = Setup::new(seed)
            .staged()
            .setting("\"staging_memory\": \"4MiB\"");
        Chaos::new(setup, false).run();
    }
}

#[test]
fn with_a_store_that_fails() {
    for seed in seeds(200..206) {
        Chaos::new(Setup::new(seed), true).run();
    }
}

#[test]
fn with_little_pinned_memory() {
    for seed in seeds(300..304) {
        let setup = Setup::new(seed)
            .setting("\"pinned_memory\": \"256KiB\"")
            .setting("\"queue_depth\": 3");
        Chaos::new(setup, false).run();
    }
}

/// What a block of that salt holds.
fn block(lba: u64, salt: u64) -> Vec<u8> {
    match salt {
        0 => vec![0; 512],
        // WRITE SAME writes the same everywhere.
        same if same % 5 == 0 => pattern(512, same),
        _ => pattern(512, salt << 16 | lba),
    }
}

impl Chaos {
    fn new(setup: Setup, faulty: bool) -> Self {
        Self {
            world: setup.build(),
            channels: [None; 2],
            flights: Vec::new(),
            blocks: vec![vec![0]; BLOCKS as usize],
            salt: 0,
            log: VecDeque::new(),
            faulty,
        }
    }

    fn run(mut self) {
        for _ in 0..500 {
            self.act();
            for _ in 0..self.world.random.below(8) {
                self.world.pump();
            }
            self.collect();
        }
        self.world.store().clear();
        self.drain();
        // Twice: staged perhaps, and then from windows.
        for _ in 0..2 {
            self.check_everything();
        }
        self.world.finish();
    }

    fn note(&mut self, what: String) {
        self.log.push_back(what);
        if self.log.len() > 60 {
            self.log.pop_front();
        }
    }

    fn act(&mut self) {
        let host = self.world.random.index(2);
        let Some(channel) = self.channels[host] else {
            return self.log_in(host);
        };
        if !self.world.initiators[host].is_up(channel) {
            return self.lost(host);
        }
        match self.world.random.below(400) {
            0..2 => self.break_something(host, channel),
            2..6 => self.manage(host, channel),
            6..10 if self.faulty => self.fail_once(),
            10 => self.world.pass(Duration::from_millis(400)),
            _ if self.world.initiators[host].can_send(channel) => self.command(host, channel),
            _ => {}
        }
    }

    fn log_in(&mut self, host: usize) {
        self.note(format!("log in {host}"));
        self.channels[host] = Some(self.world.log_in(host));
    }

    fn break_something(&mut self, host: usize, channel: ChannelId) {
        self.note(format!("break {host}"));
        match self.world.random.below(3) {
            0 => self.world.initiators[host]
                .fail(channel)
                .expect("a channel"),
            1 => self.world.initiators[host]
                .disconnect(channel)
                .expect("a channel"),
            _ => {
                let name = host_name(host);
                let pairs = self.world.net.queue_pairs();
                let ready = pairs
                    .iter()
                    .filter(|pair| pair.state == QueuePairState::Ready);
                let mine = ready
                    .filter(|pair| pair.node == name)
                    .filter_map(|pair| pair.peer);
                for number in mine {
                    self.world.net.faults().break_queue_pair(number);
                }
            }
        }
        self.world.over(host, channel);
        self.lost(host);
    }

    /// A channel is over. Until the daemon is done with it, its commands may still write.
    fn lost(&mut self, host: usize) {
        self.note(format!("lost {host}"));
        self.world.settle();
        self.collect();
        self.channels[host] = None;
        self.give_up(|flight| flight.host == host);
    }

    /// Nothing will be heard of these any more.
    fn give_up(&mut self, of: impl Fn(&Flight) -> bool) {
        let (gone, kept) = std::mem::take(&mut self.flights)
            .into_iter()
            .partition(|f| of(f));
        self.flights = kept;
        for flight in gone {
            self.note(format!(
                "no status: {:?} at {}+{}",
                flight.change, flight.lba, flight.blocks
            ));
            self.maybe_changed(&flight);
        }
    }

    fn maybe_changed(&mut self, flight: &Flight) {
        if let Change::To(salt) = flight.change {
            for lba in flight.lba..flight.lba + flight.blocks {
                let contents = &mut self.blocks[lba as usize];
                if !contents.contains(&salt) {
                    contents.push(salt);
                }
            }
        }
    }

    fn manage(&mut self, host: usize, channel: ChannelId) {
        if self.world.initiators[host].request_limit(channel) < 1 {
            return;
        }
        let mine: Vec<u64> = self
            .flights
            .iter()
            .filter(|f| f.host == host)
            .map(|f| f.tag)
            .collect();
        let reset = self.world.random.once_in(3);
        let tag = match mine.len() {
            0 => 1,
            count => mine[self.world.random.index(count)],
        };
        self.note(format!("manage {host}, reset: {reset}, task {tag:#x}"));
        let function = if reset { 8 } else { 1 };
        let task = Task {
            lun: scsi::lun(0),
            function,
            tag,
        };
        let code = self.world.manage(host, channel, task);
        assert_eq!(code, 0, "seed {}", self.world.seed);
        // What was answered was answered before.
        self.world.settle();
        self.collect();
        let aborted: Vec<(usize, ChannelId, u64)> = self
            .flights
            .iter()
            .filter(|flight| reset || (flight.host == host && flight.tag == tag))
            .map(|flight| (flight.host, flight.channel, flight.tag))
            .collect();
        for &(host, channel, tag) in &aborted {
            self.world.initiators[host].abandon(channel, tag);
        }
        self.give_up(|flight| aborted.contains(&(flight.host, flight.channel, flight.tag)));
    }

    fn fail_once(&mut self) {
        let kinds = [
            Kind::Read,
            Kind::Write,
            Kind::Discard,
            Kind::WriteZeroes,
            Kind::Populate,
        ];
        let kind = kinds[self.world.random.index(kinds.len())];
        let errors = [
            BackendError::Medium(5),
            BackendError::NoSpace,
            BackendError::Failed(19),
        ];
        let error = errors[self.world.random.index(errors.len())].clone();
        self.note(format!("the next {kind:?} fails: {error}"));
        self.world
            .store()
            .inject(Fault::every(kind, error).times(1));
    }

    /// A range that no command in flight changes, nor reads if this one changes it.
    fn range(&mut self, changes: bool) -> Option<(u64, u64)> {
        for _ in 0..4 {
            let most = if self.world.random.once_in(6) {
                600
            } else {
                40
            };
            let blocks = 1 + self.world.random.below(most);
            let lba = self.world.random.below(BLOCKS - blocks);
            let meets = self.flights.iter().any(|flight| {
                let apart = flight.lba + flight.blocks <= lba || lba + blocks <= flight.lba;
                !apart && (changes || flight.change != Change::None)
            });
            if !meets {
                return Some((lba, blocks));
            }
        }
        None
    }

    fn pieces(&mut self, buffer: &Buffer) -> (Vec<Piece>, Format) {
        let all = || buffer.whole().expect("all of it");
        match self.world.random.below(4) {
            0 => (all(), Format::Direct),
            1 => (
                buffer.pieces(buffer.length() / 5 + 1).expect("all of it"),
                Format::Indirect,
            ),
            2 => (
                buffer.pieces(buffer.length() / 200 + 1).expect("all of it"),
                Format::Indirect,
            ),
            _ => (buffer.pieces(4000).expect("all of it"), Format::External(1)),
        }
    }

    fn command(&mut self, host: usize, channel: ChannelId) {
        let kind = self.world.random.below(20);
        let changes = kind >= 9;
        let Some((lba, blocks)) = self.range(changes) else {
            return;
        };
        let bytes = blocks as usize * 512;
        self.salt += 5;
        let salt = self.salt + 1;
        let full = |salt: u64| -> Vec<u8> {
            (lba..lba + blocks)
                .flat_map(|lba| block(lba, salt))
                .collect()
        };
        let (command, change, buffer) = match kind {
            0..8 => {
                let buffer = self.world.buffer(host, channel, bytes);
                let (pieces, format) = self.pieces(&buffer);
                let command = Command::new(
                    0,
                    scsi::read16(lba, blocks as u32),
                    Data::In(pieces, format),
                );
                (command, Change::None, Some(buffer))
            }
            8 => {
                let flush = Command::new(0, scsi::synchronize_cache(), Data::None);
                (flush, Change::Nothing, None)
            }
            9..11 => {
                let command = unmap(&mut self.world, host, channel, lba, blocks as u32);
                (command, Change::To(0), None)
            }
            11 => {
                // The next multiple of five.
                let salt = self.salt;
                let block = block(lba, salt);
                let command = write_same(
                    &mut self.world,
                    host,
                    channel,
                    lba,
                    blocks as u32,
                    &block,
                    false,
                );
                (command, Change::To(salt), None)
            }
            12 => {
                let command = write_same(
                    &mut self.world,
                    host,
                    channel,
                    lba,
                    blocks as u32,
                    &[0; 512],
                    true,
                );
                (command, Change::To(0), None)
            }
            13 if bytes <= 8192 => {
                let cdb = scsi::write16(lba, blocks as u32, false);
                (
                    Command::new(0, cdb, Data::Immediate(full(salt))),
                    Change::To(salt),
                    None,
                )
            }
            _ => {
                let buffer = self.world.buffer(host, channel, bytes);
                buffer.write(0, &full(salt)).expect("within the buffer");
                let (pieces, format) = self.pieces(&buffer);
                let mut command = write(&buffer, lba);
                command.data = Data::Out(pieces, format);
                (command, Change::To(salt), Some(buffer))
            }
        };
        let Ok(tag) = self.world.initiators[host].send(channel, &command) else {
            return;
        };
        self.note(format!(
            "{host} sends {:#04x} {tag:#x}: {change:?} at {lba}+{blocks}",
            command.cdb[0]
        ));
        self.flights.push(Flight {
            host,
            channel,
            tag,
            lba,
            blocks,
            change,
            buffer,
        });
    }

    /// Takes the replies that came.
    fn collect(&mut self) {
        for host in 0..2 {
            let Some(channel) = self.channels[host] else {
                continue;
            };
            while let Some(reply) = self.world.initiators[host].next_reply(channel) {
                let at = self.flights.iter().position(|flight| {
                    (flight.host, flight.channel, flight.tag) == (host, channel, reply.response.tag)
                });
                let flight = self.flights.swap_remove(at.expect("a command in flight"));
                self.ended(&flight, &reply);
            }
        }
    }

    fn ended(&mut self, flight: &Flight, reply: &Reply) {
        let seed = self.world.seed;
        self.note(format!(
            "{} {:#x}: {:?}",
            flight.host,
            flight.tag,
            reply.sense()
        ));
        match (reply.sense(), flight.change) {
            (None, Change::To(salt)) => {
                assert!(reply.is_good(), "seed {seed}: {reply:?}");
                for lba in flight.lba..flight.lba + flight.blocks {
                    self.blocks[lba as usize] = vec![salt];
                }
            }
            (None, Change::None) => {
                assert!(reply.is_good(), "seed {seed}: {reply:?}");
                let data = reply.data();
                assert_eq!(data.len() as u64, flight.blocks * 512, "seed {seed}");
                self.check(flight.lba, &data);
            }
            (None, Change::Nothing) => assert!(reply.is_good(), "seed {seed}"),
            // BUS DEVICE RESET FUNCTION OCCURRED: it was not executed.
            (Some((6, 0x29, _)), _) => {}
            (Some(sense), _) => {
                assert!(
                    self.faulty,
                    "seed {seed}: {sense:?} for {:?}\n{}",
                    flight.change,
                    self.history()
                );
                self.maybe_changed(flight);
            }
        }
        drop(flight.buffer.clone());
    }

    fn check(&mut self, first: u64, data: &[u8]) {
        for (lba, got) in (first..).zip(data.chunks(512)) {
            let contents = &self.blocks[lba as usize];
            let held = contents.iter().find(|&&salt| block(lba, salt) == got);
            let Some(&held) = held else {
                panic!(
                    "seed {}: block {lba} holds none of {contents:?} but {:02x?}...\n{}",
                    self.world.seed,
                    &got[..16],
                    self.history()
                );
            };
            self.blocks[lba as usize] = vec![held];
        }
    }

    fn history(&self) -> String {
        let lines: Vec<&str> = self.log.iter().map(String::as_str).collect();
        lines.join("\n")
    }

    /// Waits for everything in flight.
    fn drain(&mut self) {
        for _ in 0..10_000 {
            if self.flights.is_empty() {
                return;
            }
            self.world.pump();
            self.collect();
            for host in 0..2 {
                let over =
                    self.channels[host].is_some_and(|c| !self.world.initiators[host].is_up(c));
                if over {
                    self.lost(host);
                }
            }
            if self.world.random.once_in(50) {
                std::thread::sleep(Duration::from_micros(100));
            }
        }
        let left: Vec<_> = self.flights.iter().map(|f| (f.host, f.tag)).collect();
        panic!(
            "seed {}: {left:x?} never end\n{}",
            self.world.seed,
            self.history()
        );
    }

    fn check_everything(&mut self) {
        let channel = match self.channels[0] {
            Some(channel) => channel,
            None => self.world.log_in(0),
        };
        self.channels[0] = Some(channel);
        // A unit attention may be waiting.
        let command = Command::new(0, scsi::test_unit_ready(), Data::None);
        while self.world.execute(0, channel, &command).status() != 0 {}
        for lba in (0..BLOCKS).step_by(256) {
            let data = self.world.read(0, channel, lba, 256);
            self.check(lba, &data);
        }
        assert!(self.world.target_queue_pairs().len() <= 2);
        assert!(
            self.world
                .net
                .queue_pairs()
                .iter()
                .any(|pair| pair.node == TARGET)
        );
    }
}
