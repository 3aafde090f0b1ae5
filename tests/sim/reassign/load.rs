//! I/O on LUN 0 that never ends, on all transports at once, whose data and times are looked at.

use std::time::{Duration, Instant};

use pagecast_initiator::nvme::io;
use pagecast_initiator::scsi;
use pagecast_tests::luns::LUNS_CHANGED;
use pagecast_tests::nvme::once;
use pagecast_tests::reservations::{Cluster, Flight, Outcome, Scsi, Transfer};
use pagecast_tests::{Host, Random, pattern};

/// Commands of a host at a time.
const DEPTH: usize = 2;

/// Blocks that a command may change, each its own.
const AREA: u64 = 256;

/// Blocks of a command at most.
const LONGEST: u64 = 40;

/// Blocks of most commands, at most: comparing bytes takes time.
const SHORT: u64 = 4;

/// Writes, and then compares what is there with what was written.
#[derive(Debug)]
pub(super) struct Load {
    random: Random,
    places: Vec<Place>,
    /// Whether commands may be ORDERED.
    pub(super) ordered: bool,
    /// Commands that worked, by host.
    pub(super) good: Vec<u64>,
    /// Times that a host was told that there are other LUNs.
    pub(super) told: Vec<u64>,
    /// The longest that a command took, of those that were sent since this was set to zero.
    pub(super) longest: Duration,
}

#[derive(Debug)]
struct Place {
    host: Host,
    start: u64,
    /// What there is, once something was written.
    block: u64,
    bytes: Vec<u8>,
    written: bool,
    flight: Option<(Flight, Instant)>,
}

impl Load {
    /// Of these hosts.
    pub(super) fn new(seed: u64, hosts: &[Host]) -> Self {
        let places = hosts.iter().flat_map(|&host| {
            (0..DEPTH).map(move |depth| Place {
                host,
                start: (host * DEPTH + depth) as u64 * AREA,
                block: 0,
                bytes: Vec::new(),
                written: false,
                flight: None,
            })
        });
        let count = hosts.iter().max().map_or(0, |last| last + 1);
        Self {
            random: Random::new(seed ^ 0x10ad),
            places: places.collect(),
            ordered: false,
            good: vec![0; count],
            told: vec![0; count],
            longest: Duration::ZERO,
        }
    }

    /// Sends what is to be sent, and looks at what has ended.
    pub(super) fn go_on(&mut self, cluster: &mut Cluster) {
        for at in 0..self.places.len() {
            self.collect(cluster, at);
            if self.places[at].flight.is_none() {
                self.launch(cluster, at);
            }
        }
    }

    fn collect(&mut self, cluster: &mut Cluster, at: usize) {
        let place = &mut self.places[at];
        let Some((flight, since)) = place.flight else {
            return;
        };
        let Some(outcome) = cluster.landed(&flight) else {
            return;
        };
        place.flight = None;
        self.longest = self.longest.max(cluster.world.now - since);
        match outcome {
            Outcome::Good => {
                self.good[place.host] += 1;
                place.written = !place.written;
            }
            // It is sent again, as it was.
            LUNS_CHANGED => self.told[place.host] += 1,
            other => panic!(
                "seed {}: host {}: {other:?} of {} blocks at {}, written: {}",
                cluster.world.seed,
                place.host,
                place.bytes.len() / 512,
                place.block,
                place.written
            ),
        }
        if outcome == Outcome::Good && !place.written {
            place.bytes.clear();
        }
    }

    fn launch(&mut self, cluster: &mut Cluster, at: usize) {
        let place = &mut self.places[at];
        if place.bytes.is_empty() {
            let most = match self.random.once_in(10) {
                true => LONGEST,
                false => SHORT,
            };
            let blocks = 1 + self.random.below(most);
            place.block = place.start + self.random.below(AREA - blocks);
            place.bytes = pattern(blocks as usize * 512, self.random.next_u64());
        }
        let (lba, blocks) = (place.block, (place.bytes.len() / 512) as u32);
        let flight = if cluster.is_scsi(place.host) {
            let cdb = match place.written {
                true => scsi::verify16(lba, blocks, 1),
                false => scsi::write16(lba, blocks, false),
            };
            let command = Scsi {
                ordered: self.ordered && self.random.once_in(4),
                way: [0, 0, 1, 3][self.random.index(4)],
                ..Scsi::new(cdb, Transfer::Out(place.bytes.clone()))
            };
            cluster.launch_scsi(place.host, &command)
        } else {
            let queue = at % 2;
            let handle = cluster.controller(place.host).io[queue];
            let buffer = cluster.world.nvme_filled(place.host, handle, &place.bytes);
            let command = match place.written {
                true => io::compare(1, lba, blocks, once(&buffer)),
                false => io::write(1, lba, blocks, once(&buffer)),
            };
            cluster.launch_nvme(place.host, queue, &command)
        };
        let now = cluster.world.now;
        self.places[at].flight = flight.map(|flight| (flight, now));
    }

    /// Goes on for so many rounds.
    pub(super) fn run(&mut self, cluster: &mut Cluster, rounds: u64) {
        for _ in 0..rounds {
            self.go_on(cluster);
            cluster.world.pump();
        }
    }

    /// Goes on until something is so.
    pub(super) fn run_until(
        &mut self,
        cluster: &mut Cluster,
        what: &str,
        mut done: impl FnMut(&mut Self, &mut Cluster) -> bool,
    ) {
        for _ in 0..400_000 {
            if done(self, cluster) {
                return;
            }
            self.run(cluster, 1);
        }
        panic!("seed {}: never: {what}", cluster.world.seed);
    }

    /// Goes on until each of its hosts has got so many commands further.
    pub(super) fn progress(&mut self, cluster: &mut Cluster, commands: u64) {
        let before = self.good.clone();
        self.run_until(cluster, "LUN 0 gets on", |load, _| {
            (load.places.iter()).all(|place| load.good[place.host] >= before[place.host] + commands)
        });
    }

    /// Waits for what is under way.
    pub(super) fn stop(&mut self, cluster: &mut Cluster) {
        for at in 0..self.places.len() {
            for _ in 0..400_000 {
                self.collect(cluster, at);
                if self.places[at].flight.is_none() {
                    break;
                }
                cluster.world.pump();
            }
            assert!(
                self.places[at].flight.is_none(),
                "seed {}: a command of host {} never ends",
                cluster.world.seed,
                self.places[at].host
            );
        }
    }
}
