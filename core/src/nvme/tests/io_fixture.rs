//! Namespaces and commands for tests of I/O.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::nvme::command::{Command, Fuse};
use crate::nvme::controller::{Controller, ControllerSetup, Host, Kind};
use crate::nvme::plan::{Completion, Plan};
use crate::nvme::queue::Queue;
use crate::nvme::status::Status;
use crate::nvme::testing::registrant;
use crate::reservations::Registrant;
use crate::scsi::testing::{CAPACITY, luns, model, port, thin_model};
use crate::scsi::{BlockCommand, DiskModel, LogicalUnit, ScsiChannel, ScsiSession, UnitId};

/// Namespace 1: 512 byte blocks, fully provisioned.
pub(super) const PLAIN: u32 = 1;
/// Namespace 2: 512 byte blocks, thin.
pub(super) const THIN: u32 = 2;
/// Namespace 3: nobody may write.
pub(super) const READ_ONLY: u32 = 3;
/// Namespace 5: 4096 byte blocks, no volatile cache.
pub(super) const LARGE: u32 = 5;

/// The host.
pub(super) const HOST: [u8; 16] = [9; 16];

/// Blocks of each of them.
pub(super) const BLOCKS: u64 = CAPACITY;
pub(super) const MAX_TRANSFER: u32 = 1 << 20;

pub(super) struct Io {
    pub(super) queue: Queue,
    pub(super) units: ScsiChannel,
    pub(super) session: Arc<ScsiSession>,
    pub(super) disks: Vec<(u32, Arc<LogicalUnit>)>,
}

impl Io {
    pub(super) fn new() -> Self {
        let read_only = DiskModel {
            read_only: true,
            ..thin_model()
        };
        let large = DiskModel {
            block_size: 4096,
            physical_exponent: 0,
            write_cache: false,
            ..model()
        };
        Self::of_models([
            (PLAIN, model()),
            (THIN, thin_model()),
            (READ_ONLY, read_only),
            (LARGE, large),
        ])
    }

    /// With namespaces like these.
    pub(super) fn of_models<const COUNT: usize>(models: [(u32, DiskModel); COUNT]) -> Self {
        let disk = |(nsid, model): (u32, DiskModel)| {
            let unit = LogicalUnit::new(UnitId(nsid), model).expect("a valid model");
            (nsid - 1, Arc::new(unit))
        };
        Self::of_disks(models.map(disk).into(), Some(registrant(HOST)))
    }

    /// Of a host with a session of its own for these disks.
    pub(super) fn of_disks(
        disks: Vec<(u32, Arc<LogicalUnit>)>,
        registrant: Option<Registrant>,
    ) -> Self {
        let map: Vec<_> = disks.iter().map(|(number, unit)| (*number, unit)).collect();
        let session = ScsiSession::new(port(), registrant, &luns(&map));
        let controller = controller(Kind::Io);
        controller.ready.store(true, Ordering::Release);
        Self {
            queue: Queue::new(controller, 1),
            units: session.channel(),
            session,
            disks,
        }
    }

    /// Another host, or the same one with another controller.
    pub(super) fn other(&self, registrant: Option<Registrant>) -> Self {
        Self::of_disks(self.disks.clone(), registrant)
    }

    /// The same with the admin queue of a controller that is enabled.
    pub(super) fn admin() -> Self {
        Self::admin_of(Kind::Io)
    }

    pub(super) fn admin_of(kind: Kind) -> Self {
        Self::new().into_admin(kind)
    }

    pub(super) fn into_admin(self, kind: Kind) -> Self {
        let mut io = self;
        io.queue = Queue::new(controller(kind), 0);
        // Property Set of CC: entries of 64 and 16 bytes, enabled.
        let mut enable = command(0x7f, 0, 0, 1);
        enable.cdw10 = [0, 0x14, 0x0046_0001, 0, 0, 0];
        assert_eq!(io.status(&enable), Status::SUCCESS);
        assert!(io.controller().is_enabled());
        io
    }

    pub(super) fn controller(&self) -> &Arc<Controller> {
        self.queue.controller()
    }

    /// Changes the LUN map to these numbers, which are those of the disks at the same place.
    pub(super) fn map(&self, numbers: &[u32]) {
        let disks = numbers.iter().zip(&self.disks);
        let map: Vec<_> = disks.map(|(number, (_, unit))| (*number, unit)).collect();
        self.session.set_luns(&luns(&map));
    }

    #[track_caller]
    pub(super) fn reply(&mut self, command: &Command) -> Vec<u8> {
        match self.plan(command) {
            Plan::Reply(data) => data,
            other => panic!("no data: {other:?}"),
        }
    }

    /// Reads so many bytes of a log page.
    #[track_caller]
    pub(super) fn log(&mut self, page: u8, bytes: u32) -> Vec<u8> {
        let data = self.reply(&get_log(page, bytes));
        assert_eq!(data.len(), bytes as usize);
        data
    }

    pub(super) fn plan(&mut self, command: &Command) -> Plan {
        self.queue.plan(command, &mut self.units)
    }

    #[track_caller]
    pub(super) fn block(&mut self, command: &Command) -> BlockCommand {
        block(self.plan(command))
    }

    #[track_caller]
    pub(super) fn status(&mut self, command: &Command) -> Status {
        status(self.plan(command))
    }

    /// Plans a command that fetches these data.
    #[track_caller]
    pub(super) fn with_data(&mut self, command: &Command, data: &[u8]) -> Plan {
        match self.plan(command) {
            Plan::Fetch { length, pending } => {
                assert_eq!(length as usize, data.len());
                self.queue.data(pending, data, &mut self.units)
            }
            other => panic!("nothing is fetched: {other:?}"),
        }
    }
}

pub(super) fn controller(kind: Kind) -> Arc<Controller> {
    Controller::new(ControllerSetup {
        kind,
        id: 7,
        subsystem: "nqn.2026-11.example:disks".into(),
        host: Host {
            nqn: "nqn.2026-11.example:host".into(),
            id: HOST,
        },
        serial: "0123456789".into(),
        port: 1,
        queue_depth: 128,
        queues: 4,
        in_capsule: 4096,
        max_transfer: MAX_TRANSFER,
        keep_alive: Duration::from_secs(5),
        now: Duration::ZERO,
    })
}

/// A command on a range, its data pointer large enough for all that one may move. Blocks are counted from one here.
pub(super) fn command(opcode: u8, nsid: u32, lba: u64, blocks: u32) -> Command {
    Command {
        opcode,
        fuse: Fuse::Normal,
        cid: 0x1234,
        nsid,
        cdw2: [0; 2],
        cdw10: [lba as u32, (lba >> 32) as u32, blocks - 1, 0, 0, 0],
        data_length: u32::MAX,
    }
}

/// Get Log Page, with a data pointer for as much as is asked for.
pub(super) fn get_log(page: u8, bytes: u32) -> Command {
    let dwords = bytes / 4 - 1;
    let mut command = command(0x02, u32::MAX, 0, 1);
    command.cdw10 = [u32::from(page) | dwords << 16, dwords >> 16, 0, 0, 0, 0];
    command.data_length = bytes;
    command
}

#[track_caller]
pub(super) fn block(plan: Plan) -> BlockCommand {
    match plan {
        Plan::Block(block) => block,
        other => panic!("not a block operation: {other:?}"),
    }
}

#[track_caller]
pub(super) fn status(plan: Plan) -> Status {
    match plan {
        Plan::Respond(Completion { result: 0, status }) => status,
        other => panic!("not just a status: {other:?}"),
    }
}
