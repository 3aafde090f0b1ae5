//! The initiators that commands come from.

use pagecast_initiator::iser::{self, ConnectionHandle};
use pagecast_initiator::nvme::{self, QueueHandle};
use pagecast_initiator::{Buffer, ChannelId, Command, Data, Format, scsi};
use pagecast_tests::World;
use pagecast_tests::nvme::{controller, keyed};

use crate::{Kind, Operation, Over};

/// The only one, and its command.
pub(crate) enum Host {
    Srp(ChannelId, Command),
    Iser(ConnectionHandle, iser::Command),
    /// Its key lasts: one that the response invalidates would be good for one command.
    Nvme(QueueHandle, nvme::Command),
}

/// Where the commands go.
const LBA: u64 = 2048;

impl Host {
    pub(crate) fn new(world: &mut World, operation: &Operation) -> Self {
        match operation.over {
            Over::Srp => Self::srp(world, operation),
            Over::Iser => Self::iser(world, operation),
            Over::Nvme => Self::nvme(world, operation),
        }
    }

    fn srp(world: &mut World, operation: &Operation) -> Self {
        let channel = world.log_in(0);
        for lba in (0..32_768).step_by(2048) {
            world.read(0, channel, lba, 2048);
        }
        let buffer = world.buffer(0, channel, operation.bytes);
        let data = match operation.kind {
            Kind::Read | Kind::End => Data::In(pieces(&buffer, operation), format(operation)),
            Kind::Write => Data::Out(pieces(&buffer, operation), format(operation)),
            Kind::Immediate => Data::Immediate(vec![0x5a; operation.bytes]),
        };
        Self::Srp(channel, Command::new(0, cdb(operation), data))
    }

    fn iser(world: &mut World, operation: &Operation) -> Self {
        let connection = world.iser_session(0);
        for lba in (0..32_768).step_by(2048) {
            world.iser_read(0, connection, lba, 2048);
        }
        let buffer = world.iser_buffer(0, connection, operation.bytes);
        let piece = buffer.piece(0, operation.bytes).expect("all of it");
        let immediate = match operation.kind {
            Kind::Immediate => operation.bytes,
            _ => 0,
        };
        let data = match operation.kind {
            Kind::Read | Kind::End => iser::Data::In(piece),
            Kind::Write | Kind::Immediate => iser::Data::Out { piece, immediate },
        };
        Self::Iser(connection, iser::Command::new(0, cdb(operation), data))
    }

    fn nvme(world: &mut World, operation: &Operation) -> Self {
        let mut options = controller(0);
        options.queues = 1;
        let queue = world.nvme_controller_with(0, options).io[0];
        let whole = world.nvme_buffer(0, queue, 1 << 20);
        for lba in (0..32_768).step_by(2048) {
            let read = nvme::io::read(1, lba, 2048, keyed(&whole));
            world.nvme_succeed(0, queue, &read);
        }
        let blocks = (operation.bytes / 512) as u32;
        let buffer = world.nvme_buffer(0, queue, operation.bytes);
        let command = match operation.kind {
            Kind::Read | Kind::End => nvme::io::read(1, LBA, blocks, keyed(&buffer)),
            Kind::Write => nvme::io::write(1, LBA, blocks, keyed(&buffer)),
            Kind::Immediate => {
                let data = nvme::Data::InCapsule(vec![0x5a; operation.bytes]);
                nvme::io::write(1, LBA, blocks, data)
            }
        };
        Self::Nvme(queue, command)
    }

    pub(crate) fn send(&self, world: &mut World) -> u64 {
        match self {
            Self::Srp(channel, command) => {
                let sent = world.initiators[0].send(*channel, command);
                sent.expect("a credit")
            }
            Self::Iser(connection, command) => {
                let sent = world.iser[0].send(*connection, command);
                u64::from(sent.expect("an open window"))
            }
            Self::Nvme(queue, command) => {
                let sent = world.nvme[0].send(*queue, command);
                u64::from(sent.expect("room in the queue"))
            }
        }
    }

    pub(crate) fn is_answered(&self, world: &mut World) -> bool {
        match self {
            Self::Srp(channel, _) => {
                world.initiators[0].turn().expect("good manners");
                world.initiators[0].outstanding(*channel) == 0
            }
            Self::Iser(connection, _) => {
                world.iser[0].turn().expect("good manners");
                let client = world.iser[0].client(*connection);
                client.expect("a session").outstanding() == 0
            }
            Self::Nvme(queue, _) => {
                world.nvme[0].turn().expect("good manners");
                world.nvme[0].outstanding(*queue) == 0
            }
        }
    }

    pub(crate) fn is_good(&self, world: &mut World, tag: u64) -> bool {
        match self {
            Self::Srp(channel, _) => {
                let reply = world.initiators[0].take_reply(*channel, tag);
                reply.expect("a reply").is_good()
            }
            Self::Iser(connection, _) => {
                let reply = world.iser[0].take_reply(*connection, tag as u32);
                reply.expect("a reply").is_good()
            }
            Self::Nvme(queue, _) => {
                let reply = world.nvme[0].take_reply(*queue, tag as u16);
                reply.expect("a reply").is_success()
            }
        }
    }
}

fn cdb(operation: &Operation) -> Vec<u8> {
    let blocks = (operation.bytes / 512) as u32;
    match operation.kind {
        Kind::Read | Kind::End => scsi::read16(LBA, blocks),
        Kind::Write | Kind::Immediate => scsi::write16(LBA, blocks, false),
    }
}

fn pieces(buffer: &Buffer, operation: &Operation) -> Vec<pagecast_initiator::Piece> {
    let size = operation.bytes / operation.descriptors;
    buffer.pieces(size).expect("all of it")
}

fn format(operation: &Operation) -> Format {
    match operation.descriptors {
        1 => Format::Direct,
        _ => Format::Indirect,
    }
}
