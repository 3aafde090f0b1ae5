//! Posting, polling and stepping allocate nothing once the queues are warm: what is measured on the simulated network
//! is the program's own.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use pagecast_memory::{Anonymous, CountingAllocator};
use pagecast_rdma::fabric::{
    Access, Adapter, Chain, CmEvent, Completion, CompletionQueue, ConnectParams, ConnectionManager,
    Fabric, ListenAddress, Operation, QueuePair, QueuePairConfig, WorkId,
};
use pagecast_rdma::region::Region;
use pagecast_rdma::sim::{SimConnectionManager, SimNet};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

struct Side {
    adapter: Arc<dyn Adapter>,
    completions: Arc<dyn CompletionQueue>,
    cm: SimConnectionManager,
}

impl Side {
    fn new(net: &SimNet, name: &str, address: [u8; 4]) -> Self {
        let fabric = net.fabric(name, &[IpAddr::from(address)]).unwrap();
        let adapter = fabric.adapters().unwrap().remove(0);
        Self {
            completions: adapter.completion_queue(64).unwrap(),
            cm: fabric.sim_connection_manager().unwrap(),
            adapter,
        }
    }

    fn register(&self, bytes: usize) -> Region {
        let memory = Arc::new(Anonymous::new(bytes).unwrap());
        let access = Access {
            remote_write: true,
            ..Access::LOCAL_WRITE
        };
        self.adapter.register(memory, 0..bytes, access).unwrap()
    }
}

#[test]
fn the_hot_path_allocates_nothing() {
    const CONFIG: QueuePairConfig = QueuePairConfig {
        send_requests: 32,
        receive_requests: 32,
        send_sge: 4,
    };
    let net = SimNet::new(1);
    let mut target = Side::new(&net, "target", [10, 0, 0, 1]);
    let mut initiator = Side::new(&net, "initiator", [10, 0, 0, 2]);
    let at = SocketAddr::new(IpAddr::from([10, 0, 0, 1]), 5555);
    target.cm.listen(ListenAddress::Ip(at), 1).unwrap();
    let active = initiator.cm.resolve(at).unwrap();
    net.run_until_idle();
    let mut theirs = initiator
        .cm
        .create_queue_pair(active, CONFIG, &initiator.completions)
        .unwrap();
    let params = ConnectParams::default();
    initiator.cm.connect(active, &params).unwrap();
    net.run_until_idle();
    let Some(CmEvent::ConnectRequest(request)) = target.cm.next_event().unwrap() else {
        panic!("no request");
    };
    let passive = request.connection;
    let mut ours = target
        .cm
        .create_queue_pair(passive, CONFIG, &target.completions)
        .unwrap();
    target.cm.accept(passive, &params).unwrap();
    net.run_until_idle();

    let (cache, messages) = (target.register(1 << 16), target.register(4096));
    let (buffer, requests) = (initiator.register(1 << 16), initiator.register(4096));
    let remote = buffer.remote(0, 1 << 16).unwrap();
    let mut chain = Chain::with_capacity(8);
    let mut command = Chain::with_capacity(1);
    let mut done = [Completion::default(); 16];
    let mut round = |net: &SimNet, ours: &mut dyn QueuePair, theirs: &mut dyn QueuePair| {
        ours.post_receive(WorkId(1), messages.sge(0, 64).unwrap())
            .unwrap();
        theirs
            .post_receive(WorkId(1), requests.sge(64, 64).unwrap())
            .unwrap();
        command.clear();
        let sge = requests.sge(0, 64).unwrap();
        command.push(WorkId(2), Operation::Send, true, [sge]);
        theirs.post_send(&command).unwrap();
        net.run_until_idle();
        target.completions.arm().unwrap();
        assert_eq!(target.completions.poll(&mut done).unwrap(), 1);
        chain.clear();
        let write = Operation::RdmaWrite {
            address: remote.address,
            key: remote.key,
        };
        let pages = (0..4).map(|page| cache.sge(page << 14, 1 << 14).unwrap());
        chain.push(WorkId(3), write, false, pages);
        let sge = messages.sge(64, 64).unwrap();
        chain.push(WorkId(4), Operation::Send, true, [sge]);
        ours.post_send(&chain).unwrap();
        net.run_until_idle();
        assert_eq!(target.completions.poll(&mut done).unwrap(), 1);
        assert_eq!(done[0].id, WorkId(4));
        target.completions.acknowledge().unwrap();
        assert_eq!(initiator.completions.poll(&mut done).unwrap(), 2);
    };
    for _ in 0..4 {
        round(&net, &mut *ours, &mut *theirs);
    }
    let before = CountingAllocator::allocations();
    for _ in 0..100 {
        round(&net, &mut *ours, &mut *theirs);
    }
    assert_eq!(CountingAllocator::allocations() - before, 0);
    let written = net.traffic_of(&cache).unwrap().rdma_written_from;
    assert_eq!(written, 104 << 16);
}
