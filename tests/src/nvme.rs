//! What hosts do over NVMe in a [`World`].

use std::net::SocketAddr;

use pagecast_initiator::nvme::admin::LogPage;
use pagecast_initiator::nvme::{
    Bringup, Command, Connect, Controller, ControllerOptions, Data, NvmeHost, QueueHandle,
    QueueOptions, QueueState, Reply, admin, discovery, io,
};
use pagecast_initiator::{Buffer, ChannelId, InitiatorError};

use crate::world::{Host, Setup, World};

/// The subsystem of every world.
pub const SUBSYSTEM: &str = "nqn.2026-11.io.pagecast:store";

/// The name of a host.
pub fn host_nqn(host: Host) -> String {
    format!("nqn.2026-11.io.pagecast.test:host{host}")
}

/// What a host says in Connect for an admin queue.
pub fn connect(host: Host) -> Connect {
    Connect::new(&host_nqn(host), [0x50 + host as u8; 16], SUBSYSTEM)
}

/// A whole controller, with two I/O queues of up to 128 entries, whose responses invalidate keys.
pub fn controller(host: Host) -> ControllerOptions {
    ControllerOptions {
        queues: 2,
        invalidate: true,
        ..ControllerOptions::new(connect(host))
    }
}

/// A discovery controller.
pub fn discovering(host: Host) -> ControllerOptions {
    let connect = Connect::new(&host_nqn(host), [0x50 + host as u8; 16], discovery::NQN);
    ControllerOptions::new(connect)
}

/// All of a buffer, for one command.
pub fn once(buffer: &Buffer) -> Data {
    Data::once(buffer.piece(0, buffer.length()).expect("all of it"))
}

/// All of a buffer, for as many commands as one likes.
pub fn keyed(buffer: &Buffer) -> Data {
    Data::keyed(buffer.piece(0, buffer.length()).expect("all of it"))
}

/// An I/O queue of a controller.
pub fn io_queue(host: Host, controller: &Controller, number: u16) -> QueueOptions {
    let mut connect = connect(host);
    connect.controller = controller.id;
    QueueOptions::new(number, 8).connecting(connect)
}

/// Status code type and status code of a Connect that was refused, and its result.
pub fn refusal(state: QueueState) -> ((u8, u8), u64) {
    match state {
        QueueState::Refused(entry) => (entry.status.code(), entry.result),
        other => panic!("{other:?}"),
    }
}

/// A world with a controller of host 0 and an SRP channel of host 1, who sees what is stored.
pub fn with_witness(setup: Setup) -> (World, Controller, ChannelId) {
    let mut world = setup.nvme().build();
    let controller = world.nvme_controller(0);
    let witness = world.log_in(1);
    (world, controller, witness)
}

/// Data of one of three kinds: in the capsule if they fit, by a key that lasts, by one that goes.
pub fn data_of(world: &World, queue: QueueHandle, bytes: &[u8], kind: u64) -> Data {
    match kind % 3 {
        0 if bytes.len() <= 4096 => Data::InCapsule(bytes.to_vec()),
        0 | 1 => keyed(&world.nvme_filled(0, queue, bytes)),
        _ => once(&world.nvme_filled(0, queue, bytes)),
    }
}

fn portal(number: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 4420 + number))
}

impl World {
    pub(crate) fn turn_nvme(&mut self, host: Host) -> bool {
        let turned = self.nvme[host].turn();
        turned.unwrap_or_else(|error| {
            panic!(
                "seed {}: the controller broke the protocol: {error}",
                self.seed
            )
        })
    }

    /// Connects a queue, or says why not.
    pub fn nvme_connect(&mut self, host: Host, options: QueueOptions) -> (QueueHandle, QueueState) {
        let queue = self.nvme[host]
            .connect(portal(0), options)
            .expect("a queue");
        self.nvme_queues.push((host, queue));
        let state = self.run_until(|world| {
            let state = world.nvme[host].state(queue);
            (*state != QueueState::Connecting).then(|| state.clone())
        });
        (queue, state)
    }

    /// Connects a queue; that must succeed.
    pub fn nvme_queue(&mut self, host: Host, options: QueueOptions) -> QueueHandle {
        let (queue, state) = self.nvme_connect(host, options);
        let up = matches!(state, QueueState::Up | QueueState::Established);
        assert!(up, "seed {}: {state:?}", self.seed);
        queue
    }

    /// Brings a controller up, or says why not.
    pub fn nvme_try_controller(
        &mut self,
        host: Host,
        options: ControllerOptions,
    ) -> Result<Controller, InitiatorError> {
        self.nvme_controller_at(host, 0, options)
    }

    /// The same, through another portal.
    pub fn nvme_controller_at(
        &mut self,
        host: Host,
        number: u16,
        options: ControllerOptions,
    ) -> Result<Controller, InitiatorError> {
        let mut bringup = Bringup::new(portal(number), options);
        let result = self.run_until(|world| bringup.step(&mut world.nvme[host]).transpose());
        let queues = bringup.queues().iter().map(|&queue| (host, queue));
        self.nvme_queues.extend(queues);
        result
    }

    /// Brings a controller up; that must succeed.
    pub fn nvme_controller_with(&mut self, host: Host, options: ControllerOptions) -> Controller {
        self.nvme_try_controller(host, options)
            .unwrap_or_else(|error| panic!("seed {}: {error}", self.seed))
    }

    /// Brings a controller up as usual.
    pub fn nvme_controller(&mut self, host: Host) -> Controller {
        self.nvme_controller_with(host, controller(host))
    }

    /// Memory of a host.
    pub fn nvme_buffer(&self, host: Host, queue: QueueHandle, length: usize) -> Buffer {
        self.nvme[host].allocate(queue, length).expect("a buffer")
    }

    /// The same, if there is still a queue to use it.
    pub fn nvme_buffer_if_alive(
        &self,
        host: Host,
        queue: QueueHandle,
        length: usize,
    ) -> Option<Buffer> {
        let nvme = &self.nvme[host];
        nvme.is_alive(queue)
            .then(|| self.nvme_buffer(host, queue, length))
    }

    /// Memory of a host with bytes in it.
    pub fn nvme_filled(&self, host: Host, queue: QueueHandle, bytes: &[u8]) -> Buffer {
        let buffer = self.nvme_buffer(host, queue, bytes.len());
        buffer.write(0, bytes).expect("within the buffer");
        buffer
    }

    /// Sends a command as soon as there is room in the queue.
    pub fn nvme_send(&mut self, host: Host, queue: QueueHandle, command: &Command) -> u16 {
        self.run_until(|world| {
            let nvme: &NvmeHost = &world.nvme[host];
            (nvme.can_send(queue) || !nvme.is_alive(queue)).then_some(())
        });
        self.nvme[host]
            .send(queue, command)
            .unwrap_or_else(|error| panic!("seed {}: {error}", self.seed))
    }

    /// Waits for a reply.
    pub fn nvme_try_reply(
        &mut self,
        host: Host,
        queue: QueueHandle,
        cid: u16,
    ) -> Result<Reply, InitiatorError> {
        self.run_until(|world| world.nvme[host].poll_reply(queue, cid))
    }

    /// Waits for a reply, which must come.
    pub fn nvme_reply(&mut self, host: Host, queue: QueueHandle, cid: u16) -> Reply {
        self.nvme_try_reply(host, queue, cid)
            .unwrap_or_else(|error| panic!("seed {}: {error}", self.seed))
    }

    /// Executes a command.
    pub fn nvme_execute(&mut self, host: Host, queue: QueueHandle, command: &Command) -> Reply {
        let cid = self.nvme_send(host, queue, command);
        self.nvme_reply(host, queue, cid)
    }

    /// Executes a command that must succeed.
    pub fn nvme_succeed(&mut self, host: Host, queue: QueueHandle, command: &Command) -> Reply {
        let reply = self.nvme_execute(host, queue, command);
        assert!(
            reply.is_success(),
            "seed {}: {command:?} ended with {:?}",
            self.seed,
            reply.status()
        );
        reply
    }

    /// Read of namespace 1 in blocks of 512 bytes, by memory whose key goes.
    pub fn nvme_read(&mut self, host: Host, queue: QueueHandle, lba: u64, blocks: u32) -> Vec<u8> {
        let buffer = self.nvme_buffer(host, queue, blocks as usize * 512);
        let read = io::read(1, lba, blocks, once(&buffer));
        self.nvme_succeed(host, queue, &read).data()
    }

    /// Write of namespace 1 in blocks of 512 bytes: in the capsule as far as that is possible and the seed wants it.
    pub fn nvme_write(&mut self, host: Host, queue: QueueHandle, lba: u64, bytes: &[u8]) {
        let blocks = (bytes.len() / 512) as u32;
        let data = if bytes.len() <= 4096 && self.random.once_in(2) {
            Data::InCapsule(bytes.to_vec())
        } else {
            once(&self.nvme_filled(host, queue, bytes))
        };
        self.nvme_succeed(host, queue, &io::write(1, lba, blocks, data));
    }

    /// Identify data.
    pub fn nvme_identify(
        &mut self,
        host: Host,
        queue: QueueHandle,
        structure: u8,
        nsid: u32,
    ) -> Vec<u8> {
        let buffer = self.nvme_buffer(host, queue, 4096);
        let identify = admin::identify(structure, nsid, once(&buffer));
        self.nvme_succeed(host, queue, &identify).data()
    }

    /// A log page, or as much of it as is asked for.
    pub fn nvme_log_page(&mut self, host: Host, queue: QueueHandle, page: LogPage) -> Vec<u8> {
        let buffer = self.nvme_buffer(host, queue, page.length as usize);
        let get = admin::get_log_page(page, once(&buffer));
        self.nvme_succeed(host, queue, &get).data()
    }

    /// Waits until a queue is over.
    pub fn nvme_over(&mut self, host: Host, queue: QueueHandle) -> QueueState {
        self.run_until(|world| {
            let nvme = &world.nvme[host];
            (!nvme.is_alive(queue)).then(|| nvme.state(queue).clone())
        })
    }

    /// Disconnects all queues of a controller, admin queue last, and waits until they are over.
    pub fn nvme_disconnect(&mut self, host: Host, controller: &Controller) {
        for queue in controller.io.iter().copied().chain([controller.admin]) {
            self.nvme[host].disconnect(queue).expect("a disconnect");
            self.nvme_over(host, queue);
        }
    }
}
