//! What tests of this module share: a controller with namespaces, and admin commands for it.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::reservations::Registrant;
use crate::scsi::testing::{luns, model, port, thin_model, unit_of};
use crate::scsi::{DiskModel, LogicalUnit, ScsiChannel, ScsiSession};

pub(crate) const SUBSYSTEM: &str = "nqn.2026-11.org.example:pagecast";
pub(crate) const HOST_ID: [u8; 16] = *b"0123456789abcdef";
/// CC as Linux sets it for an I/O controller: IOSQES 6, IOCQES 4, all command sets, EN.
pub(crate) const LINUX_CC: u32 = 0x0046_0061;

pub(crate) fn setup(kind: Kind) -> ControllerSetup {
    ControllerSetup {
        kind,
        id: 0x1234,
        subsystem: SUBSYSTEM.into(),
        host: Host {
            nqn: "nqn.2014-08.org.nvmexpress:uuid:host".into(),
            id: HOST_ID,
        },
        serial: "SERIAL-7".into(),
        port: 1,
        queue_depth: 128,
        queues: 4,
        in_capsule: 4096,
        max_transfer: 1 << 20,
        keep_alive: Duration::from_secs(5),
        now: Duration::from_secs(100),
    }
}

/// Knows a log page of its own.
#[derive(Debug)]
pub(crate) struct Source;

impl DiscoverySource for Source {
    fn log_page(&self) -> Vec<u8> {
        vec![0xd5; 2048]
    }

    fn generation(&self) -> u64 {
        7
    }
}

pub(crate) fn discovery() -> Kind {
    Kind::Discovery(Arc::new(Source))
}

/// Namespace 1 is fully provisioned, 2 thin with blocks of 4096 bytes, 5 read-only.
pub(crate) fn disks() -> Vec<(u32, Arc<LogicalUnit>)> {
    let mut large = thin_model();
    large.block_size = 4096;
    large.physical_exponent = 0;
    large.identity.uuid =
        Some(*b"\x11\x22\x33\x44\x55\x66\x47\x88\x99\xaa\xbb\xcc\xdd\xee\xff\x01");
    large.limits.optimal_transfer_blocks = 64;
    let read_only = DiskModel {
        read_only: true,
        rotational: true,
        ..model()
    };
    [(0, model()), (1, large), (4, read_only)]
        .map(|(number, model)| (number, Arc::new(unit_of(model))))
        .into()
}

/// Whom registrations of a host belong to.
pub(crate) fn registrant(host: [u8; 16]) -> Registrant {
    Registrant::Nvme { host }
}

/// An admin queue.
pub(crate) struct Admin {
    pub(crate) queue: Queue,
    pub(crate) units: ScsiChannel,
    pub(crate) disks: Vec<(u32, Arc<LogicalUnit>)>,
}

impl Admin {
    /// Of a controller that has just been connected to.
    pub(crate) fn connected(setup: ControllerSetup) -> Self {
        let disks = disks();
        let map: Vec<_> = disks.iter().map(|(number, unit)| (*number, unit)).collect();
        Self {
            queue: Queue::new(Controller::new(setup), 0),
            units: ScsiSession::new(port(), Some(registrant(HOST_ID)), &luns(&map)).channel(),
            disks,
        }
    }

    /// Of an enabled controller.
    pub(crate) fn enabled(kind: Kind) -> Self {
        let mut admin = Self::connected(setup(kind));
        let cc = if admin.controller().is_discovery() {
            0x0046_0001
        } else {
            LINUX_CC
        };
        admin.set_property(0x14, cc);
        assert!(admin.controller().is_enabled());
        admin
    }

    pub(crate) fn controller(&self) -> &Controller {
        self.queue.controller()
    }

    pub(crate) fn plan(&mut self, command: &Command) -> Plan {
        self.queue.plan(command, &mut self.units)
    }

    #[track_caller]
    pub(crate) fn reply(&mut self, command: &Command) -> Vec<u8> {
        match self.plan(command) {
            Plan::Reply(data) => data,
            other => panic!("not data: {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn respond(&mut self, command: &Command) -> Completion {
        match self.plan(command) {
            Plan::Respond(completion) => completion,
            other => panic!("not a completion: {other:?}"),
        }
    }

    /// The result of a command that has to succeed.
    #[track_caller]
    pub(crate) fn result(&mut self, command: &Command) -> u64 {
        let completion = self.respond(command);
        assert_eq!(completion.status, Status::SUCCESS, "{command:?}");
        completion.result
    }

    /// The status of a command that has to fail.
    #[track_caller]
    pub(crate) fn refused(&mut self, command: &Command) -> Status {
        let completion = self.respond(command);
        assert!(!completion.status.is_success(), "{command:?}");
        assert_eq!(completion.result, 0);
        completion.status
    }

    /// Runs a command that has data from the host.
    #[track_caller]
    pub(crate) fn send(&mut self, command: &Command, data: &[u8]) -> Status {
        match self.plan(command) {
            Plan::Fetch { length, pending } => {
                assert_eq!(length as usize, data.len());
                match self.queue.data(pending, data, &mut self.units) {
                    Plan::Respond(completion) => completion.status,
                    other => panic!("not a completion: {other:?}"),
                }
            }
            Plan::Respond(completion) => completion.status,
            other => panic!("neither data nor a completion: {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn identify(&mut self, cns: u8, nsid: u32) -> Vec<u8> {
        let data = self.reply(&identify(cns, nsid));
        assert_eq!(data.len(), 4096);
        data
    }

    /// Get Features with Select.
    #[track_caller]
    pub(crate) fn feature(&mut self, id: u8, select: u32) -> u64 {
        self.result(&get_features(id, select, 0))
    }

    #[track_caller]
    pub(crate) fn property(&mut self, offset: u32) -> u64 {
        let eight = u32::from(offset == 0);
        self.result(&property_get(eight, offset))
    }

    #[track_caller]
    pub(crate) fn set_property(&mut self, offset: u32, value: u32) -> Plan {
        let plan = self.plan(&property_set(offset, value));
        if let Plan::Respond(completion) = &plan {
            assert_eq!(completion.status, Status::SUCCESS);
        }
        plan
    }
}

/// A command with room for a page of data.
pub(crate) fn command(opcode: u8, nsid: u32, dwords: &[u32]) -> Command {
    let mut cdw10 = [0; 6];
    cdw10[..dwords.len()].copy_from_slice(dwords);
    Command {
        opcode,
        fuse: Fuse::Normal,
        cid: 7,
        nsid,
        cdw2: [0; 2],
        cdw10,
        data_length: 4096,
    }
}

pub(crate) fn identify(cns: u8, nsid: u32) -> Command {
    command(0x06, nsid, &[cns.into()])
}

pub(crate) fn get_features(id: u8, select: u32, value: u32) -> Command {
    command(0x0a, 0, &[u32::from(id) | select << 8, value])
}

pub(crate) fn set_features(id: u8, value: u32) -> Command {
    command(0x09, 0, &[id.into(), value])
}

pub(crate) fn property_get(attributes: u32, offset: u32) -> Command {
    let command = command(0x7f, 0x04, &[attributes, offset]);
    Command {
        data_length: 0,
        ..command
    }
}

pub(crate) fn property_set(offset: u32, value: u32) -> Command {
    let command = command(0x7f, 0x00, &[0, offset, value]);
    Command {
        data_length: 0,
        ..command
    }
}

pub(crate) fn u16_at(data: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(data[at..at + 2].try_into().expect("two bytes"))
}

pub(crate) fn u32_at(data: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(data[at..at + 4].try_into().expect("four bytes"))
}

pub(crate) fn u64_at(data: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(data[at..at + 8].try_into().expect("eight bytes"))
}
