//! What a [`Cluster`]'s hosts find at their LUNs, whatever they speak: namespace n is LUN n - 1.

use pagecast_initiator::iser::{Options, State};
use pagecast_initiator::nvme::{QueueOptions, io};
use pagecast_initiator::{ChannelState, scsi};

use crate::iser::{initiator_name, login};
use crate::nvme::{connect, host_nqn, once, refusal};
use crate::reservations::{Cluster, Flight, Outcome, Scsi, Transfer, Transport};
use crate::world::{Host, World, pattern};

/// LOGICAL UNIT NOT SUPPORTED
pub const NO_SUCH_UNIT: Outcome = Outcome::Sense(5, 0x25, 0);
/// Invalid Namespace or Format
pub const NO_SUCH_NAMESPACE: Outcome = Outcome::Nvme(0, 0x0b);
/// REPORTED LUNS DATA HAS CHANGED
pub const LUNS_CHANGED: Outcome = Outcome::Sense(6, 0x3f, 0x0e);
/// INQUIRY DATA HAS CHANGED
pub const OTHER_UNIT: Outcome = Outcome::Sense(6, 0x3f, 0x03);
/// MODE PARAMETERS CHANGED
pub const MODE_CHANGED: Outcome = Outcome::Sense(6, 0x2a, 0x01);
/// WRITE PROTECTED
pub const PROTECTED: Outcome = Outcome::Sense(7, 0x27, 0);
/// Namespace is Write Protected
pub const NAMESPACE_PROTECTED: Outcome = Outcome::Nvme(0, 0x20);

/// CHANNEL LIMIT REACHED FOR INITIATOR, of SRP_LOGIN_REJ
const SRP_REFUSAL: u32 = 0x0001_0006;
/// The initiator is not allowed access to the target (RFC 7143 section 11.13.5).
const ISCSI_REFUSAL: (u8, u8) = (2, 2);
/// Connect Invalid Host
const NVME_REFUSAL: (u8, u8) = (1, 0x84);

impl Cluster {
    /// A name that access groups know a host by.
    pub fn name(&self, host: Host) -> String {
        name(self.transport(host), host)
    }

    /// What a command without data comes to at a LUN, again and again until there is nothing left to be told. A SCSI host's.
    pub fn hears(&mut self, host: Host, lun: u16) -> Vec<Outcome> {
        let mut heard = Vec::new();
        loop {
            let (outcome, _) = self.scsi_at(host, lun, scsi::test_unit_ready(), Transfer::None);
            heard.push(outcome);
            if !matches!(outcome, Outcome::Sense(6, ..)) {
                return heard;
            }
            assert!(heard.len() < 6, "{heard:?}");
        }
    }

    /// Executes a SCSI command at a LUN.
    pub fn scsi_at(
        &mut self,
        host: Host,
        lun: u16,
        cdb: Vec<u8>,
        transfer: Transfer,
    ) -> (Outcome, Vec<u8>) {
        let before = std::mem::replace(&mut self.lun, lun);
        let result = self.scsi(host, cdb, transfer);
        self.lun = before;
        result
    }

    /// Reads a block of a LUN.
    pub fn read_at(&mut self, host: Host, lun: u16, lba: u64) -> (Outcome, Vec<u8>) {
        if self.is_scsi(host) {
            return self.scsi_at(host, lun, scsi::read16(lba, 1), Transfer::In(512));
        }
        let nsid = u32::from(lun) + 1;
        self.nvme_in(host, 512, |data| io::read(nsid, lba, 1, data))
    }

    /// Writes a block of a LUN.
    pub fn write_at(&mut self, host: Host, lun: u16, lba: u64, bytes: &[u8]) -> Outcome {
        if self.is_scsi(host) {
            let data = Transfer::Out(bytes.to_vec());
            return self
                .scsi_at(host, lun, scsi::write16(lba, 1, false), data)
                .0;
        }
        let buffer = self.world.nvme_filled(host, self.queue(host), bytes);
        let write = io::write(u32::from(lun) + 1, lba, 1, once(&buffer));
        self.nvme_io(host, &write).0
    }

    /// The LUNs that a host finds when it asks.
    pub fn luns(&mut self, host: Host) -> Vec<u16> {
        if self.is_scsi(host) {
            let report = scsi::report_luns(4096);
            let (outcome, data) = self.scsi(host, report, Transfer::In(4096));
            assert_eq!(outcome, Outcome::Good, "REPORT LUNS");
            let length = u32::from_be_bytes(data[..4].try_into().expect("four bytes"));
            let lun = |entry: &[u8]| u16::from_be_bytes([entry[0], entry[1]]) & 0x3fff;
            return data[8..8 + length as usize].chunks(8).map(lun).collect();
        }
        let admin = self.controller(host).admin;
        // Active namespace ID list.
        let list = self.world.nvme_identify(host, admin, 2, 0);
        namespaces(&list).iter().map(|id| *id as u16 - 1).collect()
    }

    /// Whether what a host finds at a LUN is a certain device.
    pub fn finds(&mut self, host: Host, lun: u16, device: &str) -> bool {
        let (data, wanted) = if self.is_scsi(host) {
            let page = scsi::inquiry(Some(0x83), 1024);
            let (outcome, page) = self.scsi_at(host, lun, page, Transfer::In(1024));
            assert_eq!(outcome, Outcome::Good, "INQUIRY");
            (page, naa(&self.world, device))
        } else {
            let admin = self.controller(host).admin;
            let nsid = u32::from(lun) + 1;
            // Namespace identification descriptor list.
            let list = self.world.nvme_identify(host, admin, 3, nsid);
            let device = self.world.device(device).expect("a device");
            let uuid = device.unit.model().identity.uuid.expect("a UUID");
            (list, uuid.to_vec())
        };
        data.windows(wanted.len()).any(|window| window == wanted)
    }

    /// Sends reads and writes of 4 KiB each at a LUN, as far as there is room for them.
    pub fn launch_at(&mut self, host: Host, lun: u16, count: u64) -> Vec<Flight> {
        let one = |number| self.launch_one(host, lun, number);
        (0..count).filter_map(one).collect()
    }

    fn launch_one(&mut self, host: Host, lun: u16, number: u64) -> Option<Flight> {
        let (lba, bytes) = (number * 8, pattern(4096, number));
        if self.is_scsi(host) {
            let (cdb, transfer) = match number % 2 {
                0 => (scsi::write16(lba, 8, false), Transfer::Out(bytes)),
                _ => (scsi::read16(lba, 8), Transfer::In(4096)),
            };
            let command = Scsi {
                lun,
                way: number,
                ..Scsi::new(cdb, transfer)
            };
            return self.launch_scsi(host, &command);
        }
        let queues = &self.controller(host).io;
        let queue = queues[number as usize % queues.len()];
        let data = once(&self.world.nvme_filled(host, queue, &bytes));
        let nsid = u32::from(lun) + 1;
        let command = match number % 2 {
            0 => io::write(nsid, lba, 8, data),
            _ => io::read(nsid, lba, 8, data),
        };
        self.launch_nvme(host, number as usize, &command)
    }

    /// Whether a host that is not logged in is refused, in the way of its transport. If not, it is in.
    pub fn is_refused(&mut self, host: Host) -> bool {
        match self.transport(host) {
            Transport::Srp => {
                let options = self.world.options(host);
                let (channel, state) = self.world.connect(host, options);
                if let ChannelState::Refused { rejection, .. } = state {
                    let reason = rejection.expect("SRP_LOGIN_REJ").reason;
                    assert_eq!(reason, SRP_REFUSAL);
                    return true;
                }
                drop(self.world.initiators[host].disconnect(channel));
            }
            Transport::Iser => {
                let (handle, state) = self.world.iser_connect(host, Options::new(login(host)));
                if let State::Refused { class, detail } = state {
                    assert_eq!((class, detail), ISCSI_REFUSAL);
                    return true;
                }
                drop(self.world.iser[host].disconnect(handle));
            }
            Transport::Nvme => {
                let options = QueueOptions::new(0, 32).connecting(connect(host));
                let (queue, state) = self.world.nvme_connect(host, options);
                if !self.world.nvme[host].is_up(queue) {
                    assert_eq!(refusal(state).0, NVME_REFUSAL);
                    return true;
                }
            }
        }
        false
    }

    /// Waits until every connection of a host is over.
    pub fn is_thrown_out(&mut self, host: Host) {
        match self.transport(host) {
            Transport::Srp => drop(self.world.over(host, self.channel(host))),
            Transport::Iser => drop(self.world.iser_over(host, self.connection(host))),
            Transport::Nvme => {
                let queues: Vec<_> = self.controller(host).queues().collect();
                for queue in queues {
                    self.world.nvme_over(host, queue);
                }
            }
        }
    }
}

/// A name that access groups know a host by.
pub fn name(transport: Transport, host: Host) -> String {
    match transport {
        Transport::Srp => format!("0x{}", format!("{:02x}", 0xa0 + host).repeat(16)),
        Transport::Iser => initiator_name(host),
        Transport::Nvme => host_nqn(host),
    }
}

/// The NAA identifier of a device.
pub fn naa(world: &World, device: &str) -> Vec<u8> {
    let device = world.device(device).expect("a device");
    device.unit.model().identity.naa.as_bytes().to_vec()
}

/// A list of namespace identifiers, which ends with zeroes.
pub fn namespaces(list: &[u8]) -> Vec<u32> {
    let ids = list.chunks(4);
    let ids = ids.map(|id| u32::from_le_bytes(id.try_into().expect("four bytes")));
    ids.take_while(|id| *id != 0).collect()
}
