//! Single commands of a cluster's hosts.

use pagecast_initiator::nvme::admin;
use pagecast_initiator::nvme::reservation::NOTIFICATION_MASK;
use pagecast_initiator::nvme::{Command as NvmeCommand, Data as NvmeData, Reply as NvmeReply, io};
use pagecast_initiator::scsi::reserve::{persistent_reserve_in, persistent_reserve_out};
use pagecast_initiator::{Buffer, Command, Data, Format, iser, scsi};

use super::cluster::Member;
use super::{Cluster, Outcome};
use crate::nvme::once;
use crate::world::Host;

/// The data of a SCSI command.
#[derive(Clone, Debug)]
pub enum Transfer {
    /// None.
    None,
    /// So many bytes from the target.
    In(usize),
    /// To the target.
    Out(Vec<u8>),
}

/// All of a buffer for one NVMe command, or no data.
pub fn once_or_none(buffer: Option<&Buffer>) -> NvmeData {
    buffer.map_or(NvmeData::None, once)
}

impl Cluster {
    /// Executes a SCSI command at [`Cluster::lun`].
    pub fn scsi(&mut self, host: Host, cdb: Vec<u8>, transfer: Transfer) -> (Outcome, Vec<u8>) {
        let length = match &transfer {
            Transfer::None => 0,
            Transfer::In(length) => *length,
            Transfer::Out(bytes) => bytes.len(),
        };
        let fill = |buffer: &Buffer| {
            if let Transfer::Out(bytes) = &transfer {
                buffer.write(0, bytes).expect("within the buffer");
            }
        };
        // All data that go out are taken, if it works.
        let takes_all = |outcome, residual: bool| {
            let left = !matches!(transfer, Transfer::In(_)) && outcome == Outcome::Good && residual;
            assert!(!left, "host {host}: data were left");
            outcome
        };
        match self.members[host] {
            Some(Member::Srp(channel)) => {
                let data = if length == 0 {
                    Data::None
                } else {
                    let buffer = self.world.buffer(host, channel, length);
                    fill(&buffer);
                    let pieces = buffer.whole().expect("all of it");
                    match transfer {
                        Transfer::Out(_) => Data::Out(pieces, Format::Direct),
                        _ => Data::In(pieces, Format::Direct),
                    }
                };
                let command = Command::new(self.lun, cdb, data);
                let reply = self.world.execute(host, channel, &command);
                let outcome = scsi_outcome(reply.status(), reply.sense());
                (takes_all(outcome, !reply.is_good()), reply.data())
            }
            Some(Member::Iser(connection)) => {
                let data = if length == 0 {
                    iser::Data::None
                } else {
                    let buffer = self.world.iser_buffer(host, connection, length);
                    fill(&buffer);
                    let piece = buffer.piece(0, length).expect("all of it");
                    match transfer {
                        Transfer::Out(_) => iser::Data::Out {
                            piece,
                            immediate: length.min(512),
                        },
                        _ => iser::Data::In(piece),
                    }
                };
                let command = iser::Command::new(self.lun, cdb, data);
                let reply = self.world.iser_execute(host, connection, &command);
                let outcome = scsi_outcome(reply.status(), reply.sense());
                (takes_all(outcome, !reply.is_good()), reply.data())
            }
            ref other => panic!("host {host}: {other:?}"),
        }
    }

    /// Executes an NVMe I/O command.
    pub fn nvme_io(&mut self, host: Host, command: &NvmeCommand) -> (Outcome, NvmeReply) {
        let queue = self.queue(host);
        let reply = self.world.nvme_execute(host, queue, command);
        (nvme_outcome(&reply), reply)
    }

    /// Executes an NVMe I/O command that `build` makes of memory for its data.
    pub fn nvme_in(
        &mut self,
        host: Host,
        length: usize,
        build: impl FnOnce(NvmeData) -> NvmeCommand,
    ) -> (Outcome, Vec<u8>) {
        let buffer = self.world.nvme_buffer(host, self.queue(host), length);
        let (outcome, reply) = self.nvme_io(host, &build(once(&buffer)));
        (outcome, reply.data())
    }

    /// Executes an NVMe admin command.
    pub fn nvme_admin(&mut self, host: Host, command: &NvmeCommand) -> (Outcome, NvmeReply) {
        let admin = self.controller(host).admin;
        let reply = self.world.nvme_execute(host, admin, command);
        (nvme_outcome(&reply), reply)
    }

    /// PERSISTENT RESERVE OUT.
    pub fn reserve_out(&mut self, host: Host, action: u8, kind: u8, list: &[u8]) -> Outcome {
        let cdb = persistent_reserve_out(action, kind, list.len() as u32);
        self.scsi(host, cdb, Transfer::Out(list.to_vec())).0
    }

    /// PERSISTENT RESERVE IN, which must work.
    pub fn reserve_in(&mut self, host: Host, action: u8) -> Vec<u8> {
        let cdb = persistent_reserve_in(action, 4096);
        let (outcome, data) = self.scsi(host, cdb, Transfer::In(4096));
        assert_eq!(outcome, Outcome::Good, "PERSISTENT RESERVE IN {action}");
        data
    }

    /// TEST UNIT READY
    pub fn test_unit_ready(&mut self, host: Host) -> Outcome {
        self.scsi(host, scsi::test_unit_ready(), Transfer::None).0
    }

    /// Reads a block.
    pub fn read(&mut self, host: Host, lba: u64) -> (Outcome, Vec<u8>) {
        if self.is_scsi(host) {
            self.scsi(host, scsi::read16(lba, 1), Transfer::In(512))
        } else {
            self.nvme_in(host, 512, |data| io::read(1, lba, 1, data))
        }
    }

    /// Writes blocks.
    pub fn write(&mut self, host: Host, lba: u64, bytes: &[u8]) -> Outcome {
        let blocks = (bytes.len() / 512) as u32;
        if self.is_scsi(host) {
            let cdb = scsi::write16(lba, blocks, false);
            return self.scsi(host, cdb, Transfer::Out(bytes.to_vec())).0;
        }
        let buffer = self.world.nvme_filled(host, self.queue(host), bytes);
        let write = io::write(1, lba, blocks, once(&buffer));
        self.nvme_io(host, &write).0
    }

    /// Masks reservation notifications: bit 1 registrations preempted, 2 reservations released, 3 reservations preempted.
    pub fn mask(&mut self, host: Host, nsid: u32, mask: u32) -> Outcome {
        let set = admin::set_features(NOTIFICATION_MASK, nsid, mask, NvmeData::None);
        self.nvme_admin(host, &set).0
    }
}

pub(super) fn scsi_outcome(status: u8, sense: Option<(u8, u8, u8)>) -> Outcome {
    match (status, sense) {
        (0x00, _) => Outcome::Good,
        (0x18, _) => Outcome::Conflict,
        (0x02, Some((key, code, qualifier))) => Outcome::Sense(key, code, qualifier),
        (other, _) => Outcome::Scsi(other),
    }
}

pub(super) fn nvme_outcome(reply: &NvmeReply) -> Outcome {
    match reply.code() {
        (0, 0) => Outcome::Good,
        (0, 0x83) => Outcome::Conflict,
        (kind, code) => Outcome::Nvme(kind, code),
    }
}
