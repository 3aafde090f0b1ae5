//! The connection manager.

use super::*;
use crate::fabric::{Gid, PeerAddress, ServiceId};

#[test]
fn handshake_carries_padded_private_data_both_ways() {
    for seed in 0..8 {
        let net = SimNet::new(seed);
        let setup = Setup::default();
        let (mut a, mut b) = (
            Side::new(&net, "a", A, &setup),
            Side::new(&net, "b", B, &setup),
        );
        let any = SocketAddr::new(ip([0; 4]), PORT);
        let listener = b.cm.listen(ListenAddress::Ip(any), 8).unwrap();
        a.connection = a.cm.resolve(at(B)).unwrap();
        assert!(!readable(a.cm.event_fd()));
        net.run_until_idle();
        assert!(readable(a.cm.event_fd()));
        let CmEvent::Resolved { adapter, .. } = a.event() else {
            panic!("not resolved")
        };
        assert!(Arc::ptr_eq(&adapter, &a.adapter));
        assert!(!readable(a.cm.event_fd()));
        a.create_queue_pair(&setup);
        let params = ConnectParams {
            private_data: b"hello",
            responder_resources: 3,
            initiator_depth: 2,
            ..ConnectParams::default()
        };
        a.cm.connect(a.connection, &params).unwrap();
        net.run_until_idle();
        let request = request(b.event());
        assert_eq!(request.private_data.len(), 56);
        assert_eq!(&request.private_data[..6], b"hello\0");
        assert_eq!(request.listener, listener);
        assert_eq!(request.peer.ip(), Some(ip(A)));
        assert_eq!(request.local, PeerAddress::Ip(at(B)));
        assert_eq!(request.peer_responder_resources, 3);
        assert_eq!(request.peer_initiator_depth, 2);
        assert!(Arc::ptr_eq(&request.adapter, &b.adapter));
        b.connection = request.connection;
        b.create_queue_pair(&setup);
        let params = ConnectParams {
            private_data: b"welcome",
            ..params
        };
        b.cm.accept(b.connection, &params).unwrap();
        net.run_until_idle();
        let CmEvent::Established {
            connection,
            private_data,
        } = a.event()
        else {
            panic!("not established")
        };
        assert_eq!(connection, a.connection);
        assert_eq!(private_data.len(), 196);
        assert_eq!(&private_data[..8], b"welcome\0");
        let CmEvent::Established {
            connection,
            private_data,
        } = b.event()
        else {
            panic!("not established")
        };
        assert_eq!((connection, private_data.len()), (b.connection, 0));
        // The active side's depths are what the reply says of the other side.
        let depths: Vec<_> = net
            .queue_pairs()
            .iter()
            .map(|q| q.initiator_depth)
            .collect();
        assert_eq!(depths, [3, 2]);
    }
}

#[test]
fn reject_carries_its_data_and_forgets() {
    let mut pair = Pair::requested(1, &Setup::default());
    let here = pair.a.register(64, Access::LOCAL_WRITE);
    pair.a.receive(1, &here, 0, 64);
    pair.b.cm.reject(pair.b.connection, b"no").unwrap();
    let unknown = pair
        .b
        .cm
        .accept(pair.b.connection, &ConnectParams::default());
    assert!(matches!(unknown, Err(FabricError::UnknownConnection)));
    pair.net.run_until_idle();
    let CmEvent::Rejected {
        connection,
        reason,
        private_data,
    } = pair.a.event()
    else {
        panic!("not rejected")
    };
    assert_eq!((connection, reason), (pair.a.connection, 28));
    assert_eq!(private_data.len(), 148);
    assert_eq!(&private_data[..3], b"no\0");
    assert_eq!(pair.a.results(), [(1, CompletionStatus::FLUSHED)]);
    pair.b.no_event();
}

#[test]
fn nobody_listens_and_nobody_is_there() {
    let net = SimNet::new(2);
    let setup = Setup::default();
    let mut a = Side::new(&net, "a", A, &setup);
    let _b = Side::new(&net, "b", B, &setup);
    a.connection = a.cm.resolve(at([10, 0, 0, 9])).unwrap();
    net.run_until_idle();
    assert!(matches!(a.event(), CmEvent::Failed { connection, .. } if connection == a.connection));
    // Other address family: no way there.
    let _six = net.fabric("six", &[IpAddr::from([1; 16])]).unwrap();
    a.connection = a.cm.resolve(SocketAddr::new([1; 16].into(), PORT)).unwrap();
    net.run_until_idle();
    assert!(matches!(a.event(), CmEvent::Failed { .. }));
    a.connection = a.cm.resolve(at(B)).unwrap();
    net.run_until_idle();
    assert!(matches!(a.event(), CmEvent::Resolved { .. }));
    a.create_queue_pair(&setup);
    a.cm.connect(a.connection, &setup.params).unwrap();
    net.run_until_idle();
    assert!(matches!(a.event(), CmEvent::Rejected { reason: 8, .. }));
}

#[test]
fn listeners_do_not_share() {
    let net = SimNet::new(3);
    let setup = Setup::default();
    let mut b = Side::new(&net, "b", B, &setup);
    let mut other = b.fabric.sim_connection_manager().unwrap();
    let errno = |result: Result<ListenerId, FabricError>| match result {
        Err(FabricError::Call { source, .. }) => source.raw_os_error().unwrap(),
        other => panic!("{other:?}"),
    };
    let one = b.cm.listen(ListenAddress::Ip(at(B)), 8).unwrap();
    let any = ListenAddress::Ip(SocketAddr::new(ip([0; 4]), PORT));
    for taken in [ListenAddress::Ip(at(B)), any] {
        assert_eq!(errno(other.listen(taken, 8)), libc::EADDRINUSE);
    }
    let elsewhere = ListenAddress::Ip(at(A));
    assert_eq!(errno(other.listen(elsewhere, 8)), libc::EADDRNOTAVAIL);
    let six = ListenAddress::Ip(SocketAddr::new(IpAddr::from([0; 16]), PORT));
    other.listen(six, 8).unwrap();
    // Not somebody else's.
    other.unlisten(one);
    assert_eq!(errno(other.listen(any, 8)), libc::EADDRINUSE);
    b.cm.unlisten(one);
    other.listen(any, 8).unwrap();
    drop(other);
    b.cm.listen(ListenAddress::Ip(at(B)), 8).unwrap();
    for bad in [0, 0x0000_0000_0107_0001, 0x0000_0000_013e_ffff, u64::MAX] {
        let bad = ListenAddress::Service(ServiceId(bad));
        assert_eq!(errno(b.cm.listen(bad, 8)), libc::EPROTONOSUPPORT);
    }
    let service = ListenAddress::Service(ServiceId(0x0106_15b3));
    b.cm.listen(service, 8).unwrap();
    assert_eq!(errno(b.cm.listen(service, 8)), libc::EADDRINUSE);
    b.cm.listen(ListenAddress::Service(ServiceId(0x013f_0000)), 8)
        .unwrap();
}

#[test]
fn native_connections_know_gids_and_have_more_room() {
    let net = SimNet::new(4);
    let setup = Setup::default();
    let (mut a, mut b) = (
        Side::new(&net, "a", A, &setup),
        Side::new(&net, "b", B, &setup),
    );
    let service = ServiceId(0x0106_15b3);
    b.cm.listen(ListenAddress::Service(service), 8).unwrap();
    a.connection = a.cm.resolve_service(Gid([9; 16]), service).unwrap();
    net.run_until_idle();
    assert!(matches!(a.event(), CmEvent::Failed { .. }));
    a.connection = a.cm.resolve_service(b.fabric.gid(), service).unwrap();
    net.run_until_idle();
    assert!(matches!(a.event(), CmEvent::Resolved { .. }));
    a.create_queue_pair(&setup);
    let data = [7; 93];
    let mut params = ConnectParams {
        private_data: &data,
        ..ConnectParams::default()
    };
    assert!(a.cm.connect(a.connection, &params).is_err());
    params.private_data = &data[..64];
    a.cm.connect(a.connection, &params).unwrap();
    net.run_until_idle();
    let request = request(b.event());
    assert_eq!(request.private_data.len(), 92);
    assert_eq!(request.private_data[..64], [7; 64]);
    assert_eq!(request.private_data[64..], [0; 28]);
    assert_eq!(request.peer, PeerAddress::Gid(a.fabric.gid()));
    assert_eq!(request.local, PeerAddress::Gid(b.fabric.gid()));
    assert_ne!(a.fabric.gid(), b.fabric.gid());
}

#[test]
fn calls_out_of_turn_are_refused() {
    let setup = Setup::default();
    let mut pair = Pair::requested(5, &setup);
    let long = [0; 197];
    let too_long = ConnectParams {
        private_data: &long,
        ..setup.params
    };
    let too_deep = ConnectParams {
        initiator_depth: 17,
        ..setup.params
    };
    let (a, b) = (pair.a.connection, pair.b.connection);
    assert!(pair.a.cm.connect(a, &setup.params).is_err());
    assert!(pair.a.cm.accept(a, &setup.params).is_err());
    assert!(pair.a.cm.disconnect(a).is_err());
    assert!(pair.a.cm.accept(b, &setup.params).is_err());
    assert!(pair.b.cm.connect(b, &setup.params).is_err());
    assert!(pair.b.cm.accept(b, &too_long).is_err());
    assert!(pair.b.cm.accept(b, &too_deep).is_err());
    assert!(pair.b.cm.reject(b, &long[..149]).is_err());
    // One queue pair each, on completion queues of its own adapter, within limits.
    let queue = Arc::clone(&pair.b.completions);
    let other = Arc::clone(&pair.a.completions);
    let mut make = |config, queue| pair.b.cm.create_queue_pair(b, config, queue).is_err();
    assert!(make(setup.queue_pair, &queue));
    pair.b.queue_pair = None;
    let mut bad = setup.queue_pair;
    bad.send_sge = 31;
    let mut make = |config, queue| pair.b.cm.create_queue_pair(b, config, queue).is_err();
    assert!(make(bad, &queue));
    assert!(make(setup.queue_pair, &other));
    assert!(!make(setup.queue_pair, &queue));
    // That one was dropped at once.
    assert!(pair.b.cm.accept(b, &setup.params).is_err());
    pair.b.create_queue_pair(&setup);
    let mut chain = Chain::default();
    chain.push(WorkId(0), Operation::Send, true, []);
    assert_eq!(
        pair.b.queue().post_send(&chain),
        Err(PostError::Failed(libc::EINVAL))
    );
    pair.b.cm.accept(b, &setup.params).unwrap();
}

#[test]
fn data_may_come_before_established_does() {
    let mut early = 0;
    for seed in 0..32 {
        let mut pair = Pair::requested(seed, &Setup::default());
        let into = pair.b.register(64, Access::LOCAL_WRITE);
        pair.b.receive(1, &into, 0, 64);
        pair.b
            .cm
            .accept(pair.b.connection, &ConnectParams::default())
            .unwrap();
        while pair.a.cm.next_event().unwrap().is_none() {
            assert!(pair.net.step());
        }
        pair.a.post(1, Operation::Send, &[]);
        let mut received = Vec::new();
        while received.is_empty() {
            assert!(pair.net.step());
            received = pair.b.results();
        }
        assert_eq!(received, [(1, CompletionStatus::SUCCESS)]);
        if pair.b.cm.next_event().unwrap().is_none() {
            early += 1;
            pair.b.cm.notify_established(pair.b.connection).unwrap();
            assert!(matches!(pair.b.event(), CmEvent::Established { .. }));
        }
        // Once is enough.
        pair.b.cm.notify_established(pair.b.connection).unwrap();
        pair.net.run_until_idle();
        pair.b.no_event();
    }
    assert!((1..32).contains(&early), "{early} of 32");
}

#[test]
fn the_passive_side_may_send_before_the_active_side_is_ready() {
    for seed in 0..8 {
        let mut pair = Pair::requested(seed, &Setup::default());
        let into = pair.a.register(64, Access::LOCAL_WRITE);
        pair.a.receive(1, &into, 0, 64);
        pair.b
            .cm
            .accept(pair.b.connection, &ConnectParams::default())
            .unwrap();
        pair.b.post(2, Operation::Send, &[]);
        let mut received = Vec::new();
        while received.is_empty() {
            assert!(pair.net.step());
            received = pair.a.results();
        }
        assert_eq!(received, [(1, CompletionStatus::SUCCESS)]);
        // But it got there only once the reply had.
        assert!(matches!(pair.a.event(), CmEvent::Established { .. }));
        assert_eq!(pair.b.results(), [(2, CompletionStatus::SUCCESS)]);
    }
}

#[test]
fn messages_of_one_side_keep_their_order() {
    for seed in 0..16 {
        let mut pair = Pair::requested(seed, &Setup::default());
        let params = ConnectParams::default();
        pair.b.cm.accept(pair.b.connection, &params).unwrap();
        while pair.a.cm.next_event().unwrap().is_none() {
            assert!(pair.net.step());
        }
        pair.a.cm.disconnect(pair.a.connection).unwrap();
        pair.net.run_until_quiet();
        assert!(matches!(pair.b.event(), CmEvent::Established { .. }));
        assert!(matches!(pair.b.event(), CmEvent::Disconnected { .. }));
    }
}

#[test]
fn disconnect_flushes_both_sides_and_tells_them() {
    for seed in 0..16 {
        let mut pair = Pair::new(seed);
        let here = pair.a.register(64, Access::LOCAL_WRITE);
        let there = pair.b.register(64, Access::LOCAL_WRITE);
        pair.a.receive(1, &here, 0, 64);
        pair.b.receive(2, &there, 0, 64);
        pair.a.cm.disconnect(pair.a.connection).unwrap();
        pair.a.cm.disconnect(pair.a.connection).unwrap();
        pair.net.run_until_quiet();
        assert_eq!(pair.a.results(), [(1, CompletionStatus::FLUSHED)]);
        let b = pair.b.connection;
        assert!(matches!(pair.b.event(), CmEvent::Disconnected { connection } if connection == b));
        // As the kernel has it: the other side's queue pair is its owner's business.
        assert_eq!(pair.b.results(), []);
        pair.a.no_event();
        pair.b.cm.disconnect(b).unwrap();
        pair.net.run_until_quiet();
        assert_eq!(pair.b.results(), [(2, CompletionStatus::FLUSHED)]);
        assert!(matches!(pair.a.event(), CmEvent::Disconnected { .. }));
        pair.net.run_until_idle();
        pair.a.no_event();
        pair.b.no_event();
    }
}

#[test]
fn both_may_disconnect_at_once_and_nobody_must_answer() {
    for seed in 0..16 {
        let mut pair = Pair::new(seed);
        pair.a.cm.disconnect(pair.a.connection).unwrap();
        pair.b.cm.disconnect(pair.b.connection).unwrap();
        pair.net.run_until_quiet();
        assert!(matches!(pair.a.event(), CmEvent::Disconnected { .. }));
        assert!(matches!(pair.b.event(), CmEvent::Disconnected { .. }));
        pair.net.run_until_idle();
        pair.a.no_event();
        pair.b.no_event();

        let mut pair = Pair::new(seed);
        pair.a.cm.disconnect(pair.a.connection).unwrap();
        pair.net.run_until_idle();
        assert!(matches!(pair.a.event(), CmEvent::Disconnected { .. }));
        pair.a.no_event();
    }
}

#[test]
fn forgetting_swallows_events_and_tells_the_peer() {
    // Established: as a disconnect.
    let mut pair = Pair::new(7);
    pair.a.cm.forget(pair.a.connection);
    pair.net.run_until_idle();
    assert!(matches!(pair.b.event(), CmEvent::Disconnected { .. }));
    pair.b.cm.forget(pair.b.connection);
    pair.b.cm.forget(pair.b.connection);
    pair.net.run_until_idle();
    pair.a.no_event();
    assert!(matches!(
        pair.b.cm.disconnect(pair.b.connection),
        Err(FabricError::UnknownConnection)
    ));
    // Requested: a refusal; and what was reported but not taken goes.
    let mut pair = Pair::requested(8, &Setup::default());
    pair.b.cm.forget(pair.b.connection);
    pair.net.run_until_idle();
    assert!(matches!(
        pair.a.event(),
        CmEvent::Rejected { reason: 28, .. }
    ));
    // Connecting: the passive side learns that nobody waits for it any more.
    let mut pair = Pair::requested(9, &Setup::default());
    pair.a.cm.forget(pair.a.connection);
    pair.b
        .cm
        .accept(pair.b.connection, &ConnectParams::default())
        .unwrap();
    pair.net.run_until_idle();
    assert!(matches!(pair.b.event(), CmEvent::Failed { .. }));
    pair.b.no_event();
    assert_eq!(pair.state(pair.b.number()), QueuePairState::Error);
    // The queue pair may be dropped after.
    let mut pair = Pair::new(10);
    pair.a.cm.forget(pair.a.connection);
    pair.a.queue_pair = None;
    let mut pair = Pair::new(11);
    pair.a.queue_pair = None;
    pair.a.cm.disconnect(pair.a.connection).unwrap();
    pair.net.run_until_idle();
    assert!(matches!(pair.a.event(), CmEvent::Disconnected { .. }));
}

#[test]
fn backlog_bounds_the_requests_that_wait() {
    let net = SimNet::new(12);
    let setup = Setup::default();
    let (mut a, mut b) = (
        Side::new(&net, "a", A, &setup),
        Side::new(&net, "b", B, &setup),
    );
    let listener = b.cm.listen(ListenAddress::Ip(at(B)), 2).unwrap();
    let mut queue_pairs = Vec::new();
    let mut dial = |a: &mut Side| {
        a.connection = a.cm.resolve(at(B)).unwrap();
        net.run_until_idle();
        assert!(matches!(a.event(), CmEvent::Resolved { .. }));
        a.create_queue_pair(&setup);
        queue_pairs.push(a.queue_pair.take());
        a.cm.connect(a.connection, &setup.params).unwrap();
        net.run_until_idle();
    };
    dial(&mut a);
    dial(&mut a);
    a.no_event();
    dial(&mut a);
    assert!(matches!(a.event(), CmEvent::Rejected { reason: 28, .. }));
    request(b.event());
    dial(&mut a);
    a.no_event();
    // Those that nobody took are refused with the listener.
    b.cm.unlisten(listener);
    net.run_until_idle();
    assert!(matches!(a.event(), CmEvent::Rejected { .. }));
    assert!(matches!(a.event(), CmEvent::Rejected { .. }));
    a.no_event();
    b.no_event();
}

#[test]
fn the_listener_outlives_its_connections_and_they_outlive_it() {
    let mut pair = Pair::new(13);
    pair.b.cm.unlisten(pair.listener);
    let into = pair.b.register(64, Access::LOCAL_WRITE);
    pair.b.receive(1, &into, 0, 64);
    pair.a.post(1, Operation::Send, &[]);
    pair.net.run_until_idle();
    assert_eq!(pair.a.results(), [(1, CompletionStatus::SUCCESS)]);
    let b = Side::new(&pair.net, "b", B, &Setup::default());
    drop(b);
    pair.b.cm.listen(ListenAddress::Ip(at(B)), 8).unwrap();
}
