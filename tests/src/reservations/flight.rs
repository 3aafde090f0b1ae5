//! Commands that a test does not wait for.

use pagecast_initiator::iser::ConnectionHandle;
use pagecast_initiator::nvme::reservation::{self, Acquire};
use pagecast_initiator::nvme::{Command as NvmeCommand, QueueHandle};
use pagecast_initiator::scsi::reserve::{Parameters, action, persistent_reserve_out};
use pagecast_initiator::{ChannelId, Command, Data, Format, iser};

use super::cluster::Member;
use super::commands::{nvme_outcome, scsi_outcome};
use super::{Cluster, Kind, Outcome, Transfer};
use crate::world::Host;

/// A command on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flight {
    /// Who sent it.
    pub host: Host,
    name: Name,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Srp(ChannelId, u64),
    Iser(ConnectionHandle, u32),
    Nvme(QueueHandle, u16),
}

impl Flight {
    /// Its initiator's name for it.
    pub fn tag(&self) -> u64 {
        match self.name {
            Name::Srp(_, tag) => tag,
            Name::Iser(_, itt) => itt.into(),
            Name::Nvme(_, cid) => cid.into(),
        }
    }
}

/// A SCSI command, in detail.
#[derive(Clone, Debug)]
pub struct Scsi {
    /// The logical unit.
    pub lun: u16,
    /// Its CDB.
    pub cdb: Vec<u8>,
    /// Its data.
    pub transfer: Transfer,
    /// ORDERED, and not SIMPLE.
    pub ordered: bool,
    /// One of the ways in which data may be described, or may come with the command.
    pub way: u64,
}

impl Scsi {
    /// A simple command at LUN 0.
    pub fn new(cdb: Vec<u8>, transfer: Transfer) -> Self {
        Self {
            lun: 0,
            cdb,
            transfer,
            ordered: false,
            way: 0,
        }
    }
}

impl Cluster {
    /// Sends a SCSI command, if there is a credit for it.
    pub fn launch_scsi(&mut self, host: Host, scsi: &Scsi) -> Option<Flight> {
        let name = match self.members[host] {
            Some(Member::Srp(channel)) => {
                if !self.world.initiators[host].can_send(channel) {
                    return None;
                }
                let mut command = Command::new(scsi.lun, scsi.cdb.clone(), Data::None);
                command.attribute = if scsi.ordered { 2 } else { 0 };
                command.data = self.srp_data(host, channel, scsi);
                let tag = self.world.initiators[host].send(channel, &command);
                Name::Srp(channel, tag.expect("a credit"))
            }
            Some(Member::Iser(connection)) => {
                if !self.world.iser[host].can_send(connection) {
                    return None;
                }
                let mut command = iser::Command::new(scsi.lun, scsi.cdb.clone(), iser::Data::None);
                command.attribute = if scsi.ordered { 2 } else { 1 };
                command.data = self.iser_data(host, connection, scsi);
                let itt = self.world.iser[host].send(connection, &command);
                Name::Iser(connection, itt.expect("a place in the window"))
            }
            ref other => panic!("host {host}: {other:?}"),
        };
        Some(Flight { host, name })
    }

    fn srp_data(&mut self, host: Host, channel: ChannelId, scsi: &Scsi) -> Data {
        let (length, bytes) = match &scsi.transfer {
            Transfer::None => return Data::None,
            Transfer::In(length) => (*length, None),
            Transfer::Out(bytes) if scsi.way % 4 == 3 && bytes.len() <= 4096 => {
                return Data::Immediate(bytes.clone());
            }
            Transfer::Out(bytes) => (bytes.len(), Some(bytes)),
        };
        let buffer = self.world.buffer(host, channel, length);
        if let Some(bytes) = bytes {
            buffer.write(0, bytes).expect("within the buffer");
        }
        let pieces = |size: usize| buffer.pieces(size).expect("all of it");
        let (pieces, format) = match scsi.way % 4 {
            1 => (pieces(length.div_ceil(8)), Format::Indirect),
            2 => (pieces(length.div_ceil(40)), Format::External(1)),
            _ => (pieces(length), Format::Direct),
        };
        match bytes {
            Some(_) => Data::Out(pieces, format),
            None => Data::In(pieces, format),
        }
    }

    fn iser_data(&mut self, host: Host, connection: ConnectionHandle, scsi: &Scsi) -> iser::Data {
        let length = match &scsi.transfer {
            Transfer::None => return iser::Data::None,
            Transfer::In(length) => *length,
            Transfer::Out(bytes) => bytes.len(),
        };
        let buffer = self.world.iser_buffer(host, connection, length);
        let piece = buffer.piece(0, length).expect("all of it");
        match &scsi.transfer {
            Transfer::Out(bytes) => {
                buffer.write(0, bytes).expect("within the buffer");
                let most = length.min(8192);
                let immediate = [0, most, most / 2, most.min(512)][(scsi.way % 4) as usize];
                iser::Data::Out { piece, immediate }
            }
            _ => iser::Data::In(piece),
        }
    }

    /// Sends an NVMe command over one of the host's I/O queues, if there is room in it.
    pub fn launch_nvme(
        &mut self,
        host: Host,
        queue: usize,
        command: &NvmeCommand,
    ) -> Option<Flight> {
        let queues = &self.controller(host).io;
        let queue = queues[queue % queues.len()];
        if !self.world.nvme[host].can_send(queue) {
            return None;
        }
        let cid = self.world.nvme[host].send(queue, command).expect("room");
        let name = Name::Nvme(queue, cid);
        Some(Flight { host, name })
    }

    /// Sends a PREEMPT AND ABORT, or what NVMe has for it, as soon as there is room.
    pub fn launch_preempt_and_abort(
        &mut self,
        host: Host,
        key: u64,
        victim: u64,
        kind: Kind,
    ) -> Flight {
        for _ in 0..100_000 {
            let flight = if self.is_scsi(host) {
                let list = Parameters::keys(key, victim).encode();
                let cdb = persistent_reserve_out(action::PREEMPT_AND_ABORT, kind.scsi(), 24);
                self.launch_scsi(host, &Scsi::new(cdb, Transfer::Out(list)))
            } else {
                let abort = Acquire::PreemptAndAbort;
                let command = reservation::acquire(1, abort, kind.nvme(), key, victim);
                self.launch_nvme(host, 0, &command)
            };
            match flight {
                Some(flight) => return flight,
                None => _ = self.world.pump(),
            }
        }
        panic!("seed {}: there is never room", self.world.seed);
    }

    /// How a command has ended, if it has.
    pub fn landed(&mut self, flight: &Flight) -> Option<Outcome> {
        let host = flight.host;
        match flight.name {
            Name::Srp(channel, tag) => {
                let reply = self.world.initiators[host].take_reply(channel, tag)?;
                Some(scsi_outcome(reply.status(), reply.sense()))
            }
            Name::Iser(connection, itt) => {
                let reply = self.world.iser[host].take_reply(connection, itt)?;
                Some(scsi_outcome(reply.status(), reply.sense()))
            }
            Name::Nvme(queue, cid) => {
                let reply = self.world.nvme[host].take_reply(queue, cid)?;
                Some(nvme_outcome(&reply))
            }
        }
    }

    /// Waits until a command has ended.
    pub fn land(&mut self, flight: &Flight) -> Outcome {
        // Nobody but the world can wait, and it knows no clusters.
        for round in 0..400_000 {
            if let Some(outcome) = self.landed(flight) {
                return outcome;
            }
            if !self.world.pump() && round % 10 == 9 {
                std::thread::sleep(std::time::Duration::from_micros(50));
            }
        }
        panic!("seed {}: {flight:?} never lands", self.world.seed);
    }

    /// A command that was aborted without a word is forgotten.
    pub fn forget(&mut self, flight: &Flight) {
        let host = flight.host;
        match flight.name {
            Name::Srp(channel, tag) => self.world.initiators[host].abandon(channel, tag),
            Name::Iser(connection, itt) => self.world.iser[host].abandon(connection, itt),
            Name::Nvme(queue, cid) => self.world.nvme[host].abandon(queue, cid),
        }
    }

    /// Everything goes on for a while but the control thread, which makes changes of reservations.
    pub fn pump_shards(&mut self, rounds: u64) {
        let world = &mut self.world;
        for _ in 0..rounds {
            world.net.step();
            for shard in 0..world.daemon.shards.len() {
                world.turn_shard(shard);
            }
            for host in 0..self.transports.len() {
                world.initiators[host].turn().expect("SRP");
                world.iser[host].turn().expect("iSER");
                world.nvme[host].turn().expect("NVMe");
            }
        }
    }

    /// Whether all connections of a host are up.
    pub fn is_up(&self, host: Host) -> bool {
        match &self.members[host] {
            Some(Member::Srp(channel)) => self.world.initiators[host].is_up(*channel),
            Some(Member::Iser(connection)) => self.world.iser[host].is_up(*connection),
            Some(Member::Nvme(controller)) => controller
                .queues()
                .all(|queue| self.world.nvme[host].is_up(queue)),
            None => false,
        }
    }
}
