//! Hosts that change a disk as fast as they may.

use pagecast_backends::{Backend, Operation};
use pagecast_initiator::nvme::{Command, Data, Fuse, io};
use pagecast_initiator::scsi;
use pagecast_memory::{Anonymous, Slice};
use pagecast_tests::nvme::{keyed, once};
use pagecast_tests::reservations::{Cluster, Flight, Outcome, Scsi, Transfer};
use pagecast_tests::{Random, pattern};
use std::sync::Arc;

use super::{ATTENTION, BYSTANDER, PREEMPTED, VICTIM};

/// Blocks at the start of the disk that the victim changes. What is behind them is the bystander's.
pub(super) const AREA: u64 = 4096;

/// Blocks of a command at most.
const LONGEST: u64 = 600;

/// The first blocks of the disk, as the store has them.
pub(super) fn contents(cluster: &Cluster, blocks: u64) -> Vec<u8> {
    let length = blocks as usize * 512;
    let memory = Slice::whole(Arc::new(Anonymous::new(length).expect("memory")));
    let read = Operation::Read {
        offset: 0,
        buffers: vec![memory.clone()],
    };
    cluster.world.store().execute(&read).expect("a store");
    memory.to_vec()
}

/// What the victim and the bystander have under way.
#[derive(Debug)]
pub(super) struct Load {
    random: Random,
    /// The victim's commands, and whether they were sent after it was all over.
    flights: Vec<(Flight, bool)>,
    other: Option<Flight>,
    over: bool,
    pub(super) turns: u64,
    /// The victim's that worked.
    pub(super) good: u64,
    /// The victim's that did not, because of reservations.
    pub(super) refused: u64,
    /// The bystander's.
    pub(super) bystander: u64,
}

impl Load {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed ^ 0xfe),
            flights: Vec::new(),
            other: None,
            over: false,
            turns: 0,
            good: 0,
            refused: 0,
            bystander: 0,
        }
    }

    /// The victim is preempted: what it sends from now on has to be refused.
    pub(super) fn is_over(&mut self) {
        self.over = true;
    }

    /// Sends what there is room for, and looks at what has ended.
    pub(super) fn go_on(&mut self, cluster: &mut Cluster) {
        self.turns += 1;
        self.collect(cluster);
        if cluster.is_up(VICTIM) && self.flights.len() < 40 {
            let flights = if cluster.is_scsi(VICTIM) {
                let command = self.scsi();
                cluster.launch_scsi(VICTIM, &command).into_iter().collect()
            } else {
                self.nvme(cluster)
            };
            let over = self.over;
            self.flights
                .extend(flights.into_iter().map(|flight| (flight, over)));
        }
        if self.other.is_none() {
            self.other = self.bystanders(cluster);
        }
    }

    fn collect(&mut self, cluster: &mut Cluster) {
        let seed = cluster.world.seed;
        let (mut good, mut refused) = (0, 0);
        self.flights.retain(|(flight, over)| {
            let Some(outcome) = cluster.landed(flight) else {
                return true;
            };
            match outcome {
                // Reads are good for everybody.
                Outcome::Good => good += 1,
                Outcome::Conflict => refused += 1,
                ATTENTION => {}
                // It compares with anything.
                Outcome::Sense(14, 0x1d, 0) | Outcome::Nvme(2, 0x85) | Outcome::Nvme(0, 9) => {}
                // There was no room for the other half, or it did not want any.
                Outcome::Nvme(0, 0x0a) => {}
                PREEMPTED if !over => {}
                other => panic!("seed {seed}: {other:?}, over: {over}"),
            }
            false
        });
        self.good += good;
        self.refused += refused;
        if let Some(flight) = &self.other
            && let Some(outcome) = cluster.landed(flight)
        {
            assert_eq!(outcome, Outcome::Good, "seed {seed}: the bystander");
            self.other = None;
            self.bystander += 1;
        }
    }

    /// Nothing new is sent; what is under way ends, but for SCSI commands that were aborted.
    pub(super) fn stop(&mut self, cluster: &mut Cluster) {
        cluster.world.settle();
        self.collect(cluster);
        if !cluster.is_scsi(VICTIM) && cluster.is_up(VICTIM) {
            // The first half of a fused operation waits for what comes next.
            for queue in 0..2 {
                let flight = cluster.launch_nvme(VICTIM, queue, &io::flush(1));
                self.flights.extend(flight.map(|flight| (flight, false)));
            }
            cluster.world.settle();
            self.collect(cluster);
        }
        assert_eq!(self.other, None, "seed {}", cluster.world.seed);
        for (flight, over) in self.flights.drain(..) {
            let silent = cluster.is_scsi(VICTIM) && !over;
            assert!(silent || !cluster.is_up(VICTIM), "{flight:?} never ends");
            if cluster.is_up(VICTIM) {
                cluster.forget(&flight);
            }
        }
    }

    fn range(&mut self) -> (u64, u32) {
        let most = if self.random.once_in(3) { LONGEST } else { 16 };
        let blocks = 1 + self.random.below(most);
        (self.random.below(AREA - blocks), blocks as u32)
    }

    fn bytes(&mut self, blocks: u32) -> Vec<u8> {
        let salt = self.random.next_u64();
        pattern(blocks as usize * 512, salt)
    }

    fn scsi(&mut self) -> Scsi {
        let (lba, blocks) = self.range();
        let (cdb, transfer) = match self.random.below(12) {
            0 => {
                let bytes = Transfer::Out(self.bytes(1));
                (scsi::write_same16(lba, blocks, false, false), bytes)
            }
            1 => {
                let zeros = Transfer::Out(vec![0; 512]);
                (scsi::write_same16(lba, blocks, true, false), zeros)
            }
            2 => {
                let (cdb, list) = scsi::unmap(&[(lba, blocks), (lba / 2, 7)]);
                (cdb, Transfer::Out(list))
            }
            3 => {
                let bytes = Transfer::Out(self.bytes(2));
                (scsi::compare_and_write(lba, 1, false), bytes)
            }
            4 => {
                let bytes = Transfer::Out(self.bytes(blocks.min(8)));
                (scsi::orwrite16(lba, blocks.min(8)), bytes)
            }
            5 => {
                let bytes = Transfer::Out(self.bytes(blocks));
                (scsi::write_and_verify16(lba, blocks, 1), bytes)
            }
            6 => {
                let room = Transfer::In(blocks as usize * 512);
                (scsi::read16(lba, blocks), room)
            }
            _ => {
                let fua = self.random.once_in(5);
                let bytes = Transfer::Out(self.bytes(blocks));
                (scsi::write16(lba, blocks, fua), bytes)
            }
        };
        Scsi {
            ordered: self.random.once_in(10),
            way: self.random.next_u64(),
            ..Scsi::new(cdb, transfer)
        }
    }

    /// Data of the victim's.
    fn data(&mut self, cluster: &Cluster, bytes: &[u8]) -> Data {
        let buffer = || {
            let queue = cluster.queue(VICTIM);
            cluster.world.nvme_filled(VICTIM, queue, bytes)
        };
        match self.random.below(3) {
            0 if bytes.len() <= 4096 => Data::InCapsule(bytes.to_vec()),
            1 => once(&buffer()),
            _ => keyed(&buffer()),
        }
    }

    fn nvme(&mut self, cluster: &mut Cluster) -> Vec<Flight> {
        let (lba, blocks) = self.range();
        // Where there is little memory, controllers take no more at once.
        let blocks = blocks.min(200);
        let queue = self.random.index(2);
        let mut commands: Vec<Command> = Vec::new();
        match self.random.below(12) {
            0 => commands.push(io::write_zeroes(1, lba, blocks, self.random.once_in(2))),
            1 => {
                let range = io::Blocks { lba, count: blocks };
                let list = io::dataset_ranges(&[range]);
                let data = self.data(cluster, &list);
                commands.push(io::deallocate(1, 1, data));
            }
            2 | 3 => {
                let (old, new) = (self.bytes(2), self.bytes(2));
                let (old, new) = (self.data(cluster, &old), self.data(cluster, &new));
                let compare = io::compare(1, lba, 2, old);
                commands.push(compare.fused(Fuse::First));
                // Or else it waits for what never comes.
                if !self.random.once_in(4) {
                    commands.push(io::write(1, lba, 2, new).fused(Fuse::Second));
                }
            }
            4 => {
                // What overlaps with where it goes is refused.
                let lba = lba % 3000;
                let list = io::copy_ranges(&[io::Blocks { lba, count: blocks }]);
                let data = self.data(cluster, &list);
                commands.push(io::copy(1, AREA - LONGEST, 1, data));
            }
            5 => {
                let buffer =
                    cluster
                        .world
                        .nvme_buffer(VICTIM, cluster.queue(VICTIM), blocks as usize * 512);
                commands.push(io::read(1, lba, blocks, once(&buffer)));
            }
            _ => {
                let bytes = self.bytes(blocks);
                let data = self.data(cluster, &bytes);
                commands.push(io::write(1, lba, blocks, data));
            }
        }
        let launched = commands
            .iter()
            .map_while(|command| cluster.launch_nvme(VICTIM, queue, command));
        launched.collect()
    }

    /// A write behind the victim's area.
    fn bystanders(&mut self, cluster: &mut Cluster) -> Option<Flight> {
        let lba = AREA + self.random.below(4000);
        let bytes = self.bytes(16);
        if cluster.is_scsi(BYSTANDER) {
            let write = scsi::write16(lba, 16, false);
            let write = Scsi {
                way: self.random.next_u64(),
                ..Scsi::new(write, Transfer::Out(bytes))
            };
            return cluster.launch_scsi(BYSTANDER, &write);
        }
        let queue = cluster.queue(BYSTANDER);
        let data = keyed(&cluster.world.nvme_filled(BYSTANDER, queue, &bytes));
        cluster.launch_nvme(BYSTANDER, 0, &io::write(1, lba, 16, data))
    }
}
