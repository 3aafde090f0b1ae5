//! The rules of the simulated network, each with its test.

mod connections;
mod errors;
mod faults;
mod transfers;
mod whole;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use pagecast_memory::Anonymous;

use super::*;
use crate::fabric::{
    Access, Adapter, Chain, CmEvent, Completion, CompletionQueue, CompletionStatus, ConnectParams,
    ConnectRequest, ConnectionId, ConnectionManager, Fabric, ListenAddress, ListenerId, Operation,
    PostError, QueuePair, QueuePairConfig, Sge, WorkId,
};

const A: [u8; 4] = [10, 0, 0, 1];
const B: [u8; 4] = [10, 0, 0, 2];
const PORT: u16 = 5555;

fn ip(address: [u8; 4]) -> IpAddr {
    IpAddr::from(address)
}

fn at(address: [u8; 4]) -> SocketAddr {
    SocketAddr::new(ip(address), PORT)
}

const ALL: Access = Access {
    local_write: true,
    remote_read: true,
    remote_write: true,
    on_demand: false,
};

/// A node with what it takes to have one connection.
struct Side {
    fabric: Arc<SimFabric>,
    adapter: Arc<dyn Adapter>,
    completions: Arc<dyn CompletionQueue>,
    cm: SimConnectionManager,
    connection: ConnectionId,
    queue_pair: Option<Box<dyn QueuePair>>,
}

/// Two nodes; A is the active side.
struct Pair {
    net: SimNet,
    a: Side,
    b: Side,
    listener: ListenerId,
}

#[derive(Clone, Copy)]
struct Setup {
    queue_pair: QueuePairConfig,
    completions: u32,
    params: ConnectParams<'static>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            queue_pair: QueuePairConfig {
                send_requests: 16,
                receive_requests: 16,
                send_sge: 4,
            },
            completions: 64,
            params: ConnectParams::default(),
        }
    }
}

impl Side {
    fn new(net: &SimNet, name: &str, address: [u8; 4], setup: &Setup) -> Self {
        let fabric = net.fabric(name, &[ip(address)]).unwrap();
        let adapter = fabric.adapters().unwrap().remove(0);
        Self {
            completions: adapter.completion_queue(setup.completions).unwrap(),
            cm: fabric.sim_connection_manager().unwrap(),
            connection: ConnectionId(0),
            queue_pair: None,
            adapter,
            fabric,
        }
    }

    fn create_queue_pair(&mut self, setup: &Setup) {
        let made = self
            .cm
            .create_queue_pair(self.connection, setup.queue_pair, &self.completions);
        self.queue_pair = Some(made.unwrap());
    }

    fn event(&mut self) -> CmEvent {
        self.cm.next_event().unwrap().expect("an event")
    }

    fn no_event(&mut self) {
        let event = self.cm.next_event().unwrap();
        assert!(event.is_none(), "{event:?}");
    }

    fn register(&self, bytes: usize, access: Access) -> Region {
        let memory = Arc::new(Anonymous::new(bytes).unwrap());
        self.adapter.register(memory, 0..bytes, access).unwrap()
    }

    fn queue(&mut self) -> &mut dyn QueuePair {
        self.queue_pair.as_deref_mut().expect("a queue pair")
    }

    fn number(&self) -> u32 {
        self.queue_pair.as_ref().unwrap().number()
    }

    /// Posts one signaled request.
    fn post(&mut self, id: u64, operation: Operation, sges: &[Sge]) {
        self.try_post(id, operation, true, sges).unwrap();
    }

    fn try_post(
        &mut self,
        id: u64,
        operation: Operation,
        signaled: bool,
        sges: &[Sge],
    ) -> Result<(), PostError> {
        let mut chain = Chain::default();
        chain.push(WorkId(id), operation, signaled, sges.iter().copied());
        self.queue().post_send(&chain)
    }

    fn receive(&mut self, id: u64, region: &Region, offset: usize, length: usize) {
        let sge = region.sge(offset, length).unwrap();
        self.queue().post_receive(WorkId(id), sge).unwrap();
    }

    fn poll(&self) -> Vec<Completion> {
        let mut out = [Completion::default(); 64];
        let mut all = Vec::new();
        loop {
            let count = self.completions.poll(&mut out).unwrap();
            all.extend_from_slice(&out[..count]);
            if count == 0 {
                return all;
            }
        }
    }

    /// What completed, as (id, status).
    fn results(&self) -> Vec<(u64, CompletionStatus)> {
        let all = self.poll();
        all.iter().map(|done| (done.id.0, done.status)).collect()
    }
}

impl Pair {
    fn new(seed: u64) -> Self {
        Self::with(seed, &Setup::default())
    }

    fn with(seed: u64, setup: &Setup) -> Self {
        let mut pair = Self::requested(seed, setup);
        pair.b.cm.accept(pair.b.connection, &setup.params).unwrap();
        pair.net.run_until_idle();
        assert!(matches!(pair.a.event(), CmEvent::Established { .. }));
        assert!(matches!(pair.b.event(), CmEvent::Established { .. }));
        pair
    }

    /// Up to where the passive side has its request and its queue pair, and has not answered.
    fn requested(seed: u64, setup: &Setup) -> Self {
        let net = SimNet::new(seed);
        let mut a = Side::new(&net, "a", A, setup);
        let mut b = Side::new(&net, "b", B, setup);
        let listener = b.cm.listen(ListenAddress::Ip(at(B)), 8).unwrap();
        a.connection = a.cm.resolve(at(B)).unwrap();
        net.run_until_idle();
        assert!(
            matches!(a.event(), CmEvent::Resolved { connection, .. } if connection == a.connection)
        );
        a.create_queue_pair(setup);
        a.cm.connect(a.connection, &setup.params).unwrap();
        net.run_until_idle();
        b.connection = request(b.event()).connection;
        b.create_queue_pair(setup);
        Self {
            net,
            a,
            b,
            listener,
        }
    }

    fn state(&self, number: u32) -> QueuePairState {
        let all = self.net.queue_pairs();
        all.iter().find(|one| one.number == number).unwrap().state
    }

    fn both_broken(&self) {
        assert_eq!(self.state(self.a.number()), QueuePairState::Error);
        assert_eq!(self.state(self.b.number()), QueuePairState::Error);
    }
}

fn request(event: CmEvent) -> ConnectRequest {
    match event {
        CmEvent::ConnectRequest(request) => request,
        other => panic!("{other:?} instead of a request"),
    }
}

fn fill(region: &Region, from: u8) {
    let bytes: Vec<u8> = (0..region.len())
        .map(|i| from.wrapping_add(i as u8))
        .collect();
    region.slice().write(0, &bytes).unwrap();
}

fn bytes(region: &Region, offset: usize, length: usize) -> Vec<u8> {
    let part = region.slice().part(offset..offset + length).unwrap();
    part.to_vec()
}

fn write_to(region: &Region, offset: usize, length: usize) -> Operation {
    let to = region.remote(offset, length).unwrap();
    Operation::RdmaWrite {
        address: to.address,
        key: to.key,
    }
}

fn read_from(region: &Region, offset: usize, length: usize) -> Operation {
    let from = region.remote(offset, length).unwrap();
    Operation::RdmaRead {
        address: from.address,
        key: from.key,
    }
}

/// Whether an event loop would wake up for it.
fn readable(fd: std::os::fd::BorrowedFd<'_>) -> bool {
    use std::os::fd::AsRawFd;
    let mut poll = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one entry, ours, and no waiting.
    unsafe { libc::poll(&raw mut poll, 1, 0) == 1 }
}
