//! The host against a controller that says whatever a test wants.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use pagecast_rdma::fabric::{
    Chain, CmEvent, Completion, CompletionQueue, ConnectParams, ConnectionManager, Fabric,
    ListenAddress, Operation, QueuePair, QueuePairConfig, RemoteBuffer, WorkId,
};
use pagecast_rdma::sim::{SimFabric, SimNet};
use pagecast_rdma::slots::Slots;

use super::*;
use crate::InitiatorError;

const THERE: ([u8; 4], u16) = ([10, 0, 0, 1], 4420);

/// A controller that remembers what it gets.
struct Fake {
    net: SimNet,
    cm: Box<dyn ConnectionManager>,
    queue_pair: Box<dyn QueuePair>,
    completions: Arc<dyn CompletionQueue>,
    receives: Slots,
    sends: Slots,
    got: Vec<Vec<u8>>,
    private_data: Vec<u8>,
    _fabrics: [Arc<SimFabric>; 2],
}

/// A host with a queue of 4 entries that was accepted with these private data, and its controller.
fn pair(options: QueueOptions, reply: &[u8]) -> (NvmeHost, QueueHandle, Fake) {
    let net = SimNet::new(1);
    let there = net.fabric("there", &[IpAddr::from(THERE.0)]).unwrap();
    let here = net.fabric("here", &[IpAddr::from([10, 0, 0, 2])]).unwrap();
    let mut cm = there.connection_manager().unwrap();
    let address = SocketAddr::from(THERE);
    cm.listen(ListenAddress::Ip(address), 4).unwrap();
    let mut host = NvmeHost::new(&*here).unwrap();
    let queue = host.connect(address, options).unwrap();
    let request = loop {
        host.turn().unwrap();
        net.step();
        if let Some(CmEvent::ConnectRequest(request)) = cm.next_event().unwrap() {
            break request;
        }
    };
    let completions = request.adapter.completion_queue(64).unwrap();
    let config = QueuePairConfig {
        send_requests: 16,
        receive_requests: 16,
        send_sge: 1,
    };
    let mut queue_pair = cm
        .create_queue_pair(request.connection, config, &completions)
        .unwrap();
    let mut receives = Slots::allocate(&*request.adapter, 8192, 16).unwrap();
    for slot in 0..16 {
        let sge = receives.lend(slot, 8192).unwrap();
        queue_pair.post_receive(WorkId(slot as u64), sge).unwrap();
    }
    let params = ConnectParams {
        private_data: reply,
        ..ConnectParams::default()
    };
    cm.accept(request.connection, &params).unwrap();
    let fake = Fake {
        net,
        cm,
        queue_pair,
        completions,
        receives,
        sends: Slots::allocate(&*request.adapter, 64, 16).unwrap(),
        got: Vec::new(),
        private_data: request.private_data,
        _fabrics: [there, here],
    };
    (host, queue, fake)
}

impl Fake {
    fn turn(&mut self) {
        self.net.run_until_idle();
        while self.cm.next_event().unwrap().is_some() {}
        let mut out = [Completion::default(); 8];
        loop {
            let count = self.completions.poll(&mut out).unwrap();
            for done in &out[..count] {
                if done.id.0 < 16 && done.status.is_success() {
                    let slot = done.id.0 as usize;
                    self.receives.take_back(slot);
                    let message = self.receives.bytes(slot, done.byte_len as usize);
                    self.got.push(message.to_vec());
                }
            }
            if count == 0 {
                return;
            }
        }
    }

    fn send(&mut self, number: usize, message: &[u8], operation: Operation) {
        self.sends.bytes_mut(number)[..message.len()].copy_from_slice(message);
        let sge = self.sends.lend(number, message.len());
        let mut chain = Chain::default();
        chain.push(WorkId(100 + number as u64), operation, true, sge);
        self.queue_pair.post_send(&chain).unwrap();
        self.turn();
    }
}

fn entry(result: u64, head: u16, cid: u16, field: u16) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&result.to_le_bytes());
    bytes[8..10].copy_from_slice(&head.to_le_bytes());
    bytes[12..14].copy_from_slice(&cid.to_le_bytes());
    bytes[14..].copy_from_slice(&field.to_le_bytes());
    bytes
}

fn accepting(entries: u8) -> [u8; 32] {
    let mut reply = [0; 32];
    reply[2] = entries;
    reply
}

/// A queue that is up: its Connect was command 0.
fn up() -> (NvmeHost, QueueHandle, Fake) {
    let connect = Connect::new("nqn.host", [1; 16], "nqn.subsystem");
    let options = QueueOptions::new(1, 4).connecting(connect);
    let (mut host, queue, mut fake) = pair(options, &accepting(4));
    fake.turn();
    host.turn().unwrap();
    fake.turn();
    assert_eq!(*host.state(queue), QueueState::Connecting);
    fake.send(0, &entry(0x2_0007, 1, 0, 0), Operation::Send);
    host.turn().unwrap();
    assert!(host.is_up(queue));
    (host, queue, fake)
}

/// What the host makes of a message while command 1, a flush, is outstanding.
fn answered(message: &[u8], operation: Operation) -> Result<Reply, ProtocolError> {
    let (mut host, queue, mut fake) = up();
    let cid = host.send(queue, &io::flush(1)).unwrap();
    assert_eq!(cid, 1);
    fake.turn();
    fake.send(1, message, operation);
    match host.turn() {
        Ok(_) => Ok(host.take_reply(queue, cid).expect("a reply")),
        Err(InitiatorError::Nvme(error)) => Err(error),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn what_is_said_to_connect() {
    let (host, queue, fake) = up();
    assert_eq!(fake.private_data[..8], [0, 0, 1, 0, 4, 0, 3, 0]);
    assert_eq!(fake.got.len(), 1);
    assert_eq!(fake.got[0].len(), 64 + 1024);
    assert_eq!(fake.got[0][24..40], sgl::in_capsule(0, 1024));
    assert_eq!(fake.got[0][44], 3);
    let connected = host.connected(queue).unwrap();
    assert_eq!(connected.controller, 7);
    assert!(connected.authentication_required);
    assert_eq!(host.receive_entries(queue), 4);
}

#[test]
fn responses_that_are_right_and_wrong() {
    let good = answered(&entry(9, 2, 1, 0x8002), Operation::Send).unwrap();
    assert_eq!((good.result(), good.code()), (9, (0, 1)));
    assert!(good.status().do_not_retry());
    for head in [1, 3, 4, 0xffff] {
        let wrong = answered(&entry(0, head, 1, 0), Operation::Send);
        assert!(
            matches!(wrong, Err(ProtocolError::Head { .. })),
            "{head}: {wrong:?}"
        );
    }
    let wrong = answered(&entry(0, 2, 2, 0), Operation::Send).unwrap_err();
    assert_eq!(wrong, ProtocolError::UnknownCommand(2));
    let wrong = answered(&entry(0, 2, 1, 1), Operation::Send).unwrap_err();
    assert_eq!(wrong, ProtocolError::Phase(1));
    let wrong = answered(&entry(0, 2, 1, 0)[..15], Operation::Send).unwrap_err();
    assert_eq!(wrong, ProtocolError::Length(15));
}

#[test]
fn only_the_key_that_was_named_may_go() {
    for (once, wanted) in [(true, true), (false, false)] {
        let (mut host, queue, mut fake) = up();
        let buffer = host.allocate(queue, 512).unwrap();
        let piece = buffer.piece(0, 512).unwrap();
        let RemoteBuffer { key, .. } = piece.remote;
        let invalidate = once;
        let data = Data::Keyed { piece, invalidate };
        let cid = host.send(queue, &io::read(1, 0, 1, data)).unwrap();
        fake.turn();
        assert_eq!(fake.got[1][39], if once { 0x4f } else { 0x40 });
        fake.send(
            1,
            &entry(0, 2, cid, 0),
            Operation::SendWithInvalidate { key },
        );
        let turned = host.turn();
        if wanted {
            turned.unwrap();
            let reply = host.take_reply(queue, cid).unwrap();
            assert_eq!(reply.invalidated, Some(key));
        } else {
            let error = turned.unwrap_err();
            assert!(
                matches!(
                    error,
                    InitiatorError::Nvme(ProtocolError::Invalidated { .. })
                ),
                "{error}"
            );
        }
    }
}

#[test]
fn a_queue_is_kept_within_unless_it_is_not_to_be() {
    let (mut host, queue, mut fake) = up();
    for _ in 0..4 {
        host.send(queue, &io::flush(1)).unwrap();
    }
    let full = host.send(queue, &io::flush(1));
    assert!(matches!(full, Err(InitiatorError::NoCredit)));
    // The head goes round: 1 + 4 commands of 4 entries. The last may be answered first.
    fake.turn();
    fake.send(1, &entry(0, 1, 4, 0), Operation::Send);
    fake.send(2, &entry(0, 1, 2, 0), Operation::Send);
    host.turn().unwrap();
    assert_eq!(host.outstanding(queue), 2);
    assert!(host.take_reply(queue, 4).is_some() && host.take_reply(queue, 2).is_some());
    let mut options = QueueOptions::new(1, 2);
    options.keep_within = false;
    let (mut host, queue, mut fake) = pair(options, &accepting(2));
    fake.turn();
    host.turn().unwrap();
    assert_eq!(*host.state(queue), QueueState::Established);
    for _ in 0..8 {
        host.send(queue, &io::flush(1)).unwrap();
    }
    fake.turn();
    assert_eq!(fake.got.len(), 8);
}

#[test]
fn acceptances_that_are_wrong() {
    let (mut host, _, mut fake) = pair(QueueOptions::new(1, 4), &[0; 32]);
    fake.turn();
    let error = host.turn().unwrap_err();
    assert!(
        matches!(error, InitiatorError::Nvme(ProtocolError::PrivateData(_))),
        "{error}"
    );
}
