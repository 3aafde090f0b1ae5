//! Faults on demand.

use super::*;
use crate::fabric::AdapterEvent;

const OK: CompletionStatus = CompletionStatus::SUCCESS;
const FLUSHED: CompletionStatus = CompletionStatus::FLUSHED;

fn nothing() -> Operation {
    Operation::RdmaWrite { address: 0, key: 0 }
}

#[test]
fn the_nth_post_fails_once() {
    let mut pair = Pair::new(1);
    assert!(pair.net.faults().fail_send_post("a", 2));
    assert!(!pair.net.faults().fail_send_post("nobody", 2));
    pair.a.post(1, nothing(), &[]);
    let failed = pair.a.try_post(2, nothing(), true, &[]);
    assert_eq!(failed, Err(PostError::Failed(libc::EIO)));
    pair.a.post(3, nothing(), &[]);
    pair.b.post(4, nothing(), &[]);
    pair.net.run_until_idle();
    assert_eq!(pair.a.results(), [(1, OK), (3, OK)]);

    let into = pair.a.register(64, Access::LOCAL_WRITE);
    let sge = into.sge(0, 64).unwrap();
    pair.net.faults().fail_receive_post("a", 1);
    let failed = pair.a.queue().post_receive(WorkId(1), sge);
    assert_eq!(failed, Err(PostError::Failed(libc::EIO)));
    pair.a.queue().post_receive(WorkId(1), sge).unwrap();
}

#[test]
fn the_nth_registration_fails_for_want_of_memory() {
    let pair = Pair::new(2);
    pair.net.faults().fail_registration("a", 2);
    let register = || {
        let memory = Arc::new(Anonymous::new(64).unwrap());
        pair.a.adapter.register(memory, 0..64, ALL)
    };
    register().unwrap();
    assert!(register().unwrap_err().is_out_of_memory());
    register().unwrap();
}

#[test]
fn a_broken_queue_pair_flushes_and_is_reported() {
    let mut pair = Pair::new(3);
    let into = pair.a.register(64, Access::LOCAL_WRITE);
    pair.a.receive(1, &into, 0, 64);
    let number = pair.a.number();
    assert!(pair.net.faults().break_queue_pair(number));
    assert!(!pair.net.faults().break_queue_pair(1));
    pair.net.run_until_idle();
    assert_eq!(pair.a.results(), [(1, FLUSHED)]);
    let event = AdapterEvent::QueuePairError(number);
    assert_eq!(pair.a.adapter.next_event(), Some(event));
}

#[test]
fn a_paused_queue_pair_keeps_its_work_and_no_other() {
    let mut pair = Pair::new(4);
    let number = pair.a.number();
    pair.net.faults().pause(number);
    pair.a.post(1, nothing(), &[]);
    pair.b.post(2, nothing(), &[]);
    pair.net.run_until_idle();
    assert_eq!(pair.a.results(), []);
    assert_eq!(pair.b.results(), [(2, OK)]);
    pair.net.faults().resume(number);
    pair.net.run_until_idle();
    assert_eq!(pair.a.results(), [(1, OK)]);
}

#[test]
fn a_delayed_queue_pair_lets_others_go_first() {
    for seed in 0..8 {
        let mut pair = Pair::new(seed);
        pair.net.faults().delay(pair.a.number(), 8);
        pair.a.post(1, nothing(), &[]);
        for id in 0..8 {
            pair.b.post(id, nothing(), &[]);
        }
        for _ in 0..8 {
            pair.net.step();
        }
        assert_eq!(pair.b.poll().len(), 8);
        assert_eq!(pair.a.results(), []);
        pair.net.run_until_quiet();
        assert_eq!(pair.a.results(), [(1, OK)]);
        // Nothing else to do: the delay ends, given time.
        pair.net.faults().delay(pair.a.number(), 1000);
        pair.a.post(2, nothing(), &[]);
        assert_eq!(pair.net.run_until_quiet(), 0);
        assert_eq!(pair.net.run_until_idle(), 2);
        assert_eq!(pair.a.results(), [(2, OK)]);
    }
}

#[test]
fn receives_can_be_made_to_run_dry() {
    let mut pair = Pair::new(5);
    let into = pair.b.register(64, Access::LOCAL_WRITE);
    pair.b.receive(1, &into, 0, 64);
    pair.net.faults().dry_receives(pair.b.number(), 5);
    pair.a.post(1, Operation::Send, &[]);
    assert_eq!(pair.net.run_until_quiet(), 0);
    assert_eq!(pair.net.run_until_idle(), 6);
    assert_eq!(pair.a.results(), [(1, OK)]);
    assert_eq!(pair.net.queue_pairs()[0].traffic.not_ready, 5);
}

#[test]
fn lost_requests_and_replies_fail_the_attempt() {
    for seed in 0..4 {
        for lost in [CmMessage::Request, CmMessage::Reply, CmMessage::Reject] {
            let net = SimNet::new(seed);
            let setup = Setup::default();
            let (mut a, mut b) = (
                Side::new(&net, "a", A, &setup),
                Side::new(&net, "b", B, &setup),
            );
            b.cm.listen(ListenAddress::Ip(at(B)), 8).unwrap();
            a.connection = a.cm.resolve(at(B)).unwrap();
            net.run_until_idle();
            a.event();
            a.create_queue_pair(&setup);
            net.faults().lose(lost, 1);
            a.cm.connect(a.connection, &setup.params).unwrap();
            net.run_until_idle();
            if lost != CmMessage::Request {
                b.connection = request(b.event()).connection;
                if lost == CmMessage::Reply {
                    b.create_queue_pair(&setup);
                    b.cm.accept(b.connection, &setup.params).unwrap();
                } else {
                    b.cm.reject(b.connection, &[]).unwrap();
                }
                net.run_until_idle();
            }
            assert!(matches!(a.event(), CmEvent::Failed { .. }), "{lost:?}");
            if lost == CmMessage::Reply {
                assert!(matches!(b.event(), CmEvent::Failed { .. }));
            }
            a.no_event();
            b.no_event();
        }
    }
}

#[test]
fn data_makes_up_for_a_lost_ready_to_use() {
    let mut pair = Pair::requested(6, &Setup::default());
    let into = pair.b.register(64, Access::LOCAL_WRITE);
    pair.b.receive(1, &into, 0, 64);
    pair.net.faults().lose(CmMessage::ReadyToUse, 1);
    let params = ConnectParams::default();
    pair.b.cm.accept(pair.b.connection, &params).unwrap();
    pair.net.run_until_quiet();
    assert!(matches!(pair.a.event(), CmEvent::Established { .. }));
    pair.b.no_event();
    pair.a.post(1, Operation::Send, &[]);
    pair.net.run_until_quiet();
    assert_eq!(pair.b.results(), [(1, OK)]);
    pair.b.cm.notify_established(pair.b.connection).unwrap();
    assert!(matches!(pair.b.event(), CmEvent::Established { .. }));
    pair.net.run_until_idle();
    pair.b.no_event();

    // And without data, the passive side gives up.
    let mut pair = Pair::requested(7, &Setup::default());
    pair.net.faults().lose(CmMessage::ReadyToUse, 1);
    pair.b.cm.accept(pair.b.connection, &params).unwrap();
    pair.net.run_until_idle();
    assert!(matches!(pair.b.event(), CmEvent::Failed { .. }));
}

#[test]
fn a_lost_disconnect_ends_on_one_side() {
    for lost in [CmMessage::DisconnectRequest, CmMessage::DisconnectReply] {
        let mut pair = Pair::new(8);
        pair.net.faults().lose(lost, 1);
        pair.a.cm.disconnect(pair.a.connection).unwrap();
        pair.net.run_until_quiet();
        if lost == CmMessage::DisconnectReply {
            assert!(matches!(pair.b.event(), CmEvent::Disconnected { .. }));
            pair.b.cm.disconnect(pair.b.connection).unwrap();
        }
        pair.net.run_until_idle();
        assert!(matches!(pair.a.event(), CmEvent::Disconnected { .. }));
        pair.b.no_event();
    }
}

#[test]
fn a_removed_adapter_tells_everybody_and_takes_nothing_more() {
    let mut pair = Pair::new(9);
    let into = pair.b.register(64, Access::LOCAL_WRITE);
    pair.b.receive(1, &into, 0, 64);
    assert!(pair.net.faults().remove_adapter("b"));
    assert_eq!(pair.b.adapter.next_event(), Some(AdapterEvent::Fatal));
    let (mut told, mut listeners) = (Vec::new(), Vec::new());
    while let Some(event) = pair.b.cm.next_event().unwrap() {
        match event {
            CmEvent::AdapterRemoved { connection } => told.push(connection),
            CmEvent::ListenerRemoved { listener } => listeners.push(listener),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        (told, listeners),
        (vec![pair.b.connection], vec![pair.listener])
    );
    pair.net.run_until_idle();
    assert_eq!(pair.b.results(), [(1, FLUSHED)]);
    assert!(pair.b.fabric.adapters().unwrap().is_empty());
    let memory = Arc::new(Anonymous::new(64).unwrap());
    assert!(pair.b.adapter.register(memory, 0..64, ALL).is_err());
    assert!(pair.b.adapter.completion_queue(1).is_err());
    assert!(pair.b.cm.listen(ListenAddress::Ip(at(B)), 1).is_err());
    pair.a.post(1, nothing(), &[]);
    pair.net.run_until_idle();
    assert_eq!(pair.a.results(), [(1, CompletionStatus::RETRY_EXCEEDED)]);
    pair.a.cm.resolve(at(B)).unwrap();
    pair.net.run_until_idle();
    assert!(matches!(pair.a.event(), CmEvent::Failed { .. }));
    // All of it can still be released.
    pair.b.cm.unlisten(pair.listener);
    pair.b.queue_pair = None;
    pair.b.cm.forget(pair.b.connection);
}
