//! Tasks that are aborted, and connections that end.

use std::time::Duration;

use pagecast_backends::testing::Kind;
use pagecast_initiator::iscsi::pdu::NO_TAG;
use pagecast_initiator::iscsi::response::Incoming;
use pagecastd::shard::messages::ControlMessage;

use crate::world::{BLOCK, World, read, write};

const ABORT_TASK: u8 = 1;
const LOGICAL_UNIT_RESET: u8 = 5;

#[test]
fn data_of_an_aborted_write_means_nothing() {
    let mut world = World::new("");
    let mut host = world.host();
    host.ready(&mut world);
    host.initial_r2t = true;
    let data = vec![0xee; 400 * BLOCK];
    let itt = host.start(&mut world, &write(0, &data));
    let r2t = host.next(&mut world).unwrap();
    let abort = host.client().task([0; 8], ABORT_TASK, itt);
    host.send(&mut world, &abort);
    assert!(matches!(
        host.next(&mut world),
        Some(Incoming::Task { response: 0, .. })
    ));
    // It was on its way already.
    host.answer(&mut world, &r2t, &data);
    let found = host.execute(&mut world, &read(0, 400));
    assert!(found.data == world.content[..400 * BLOCK]);
}

#[test]
fn reads_are_aborted_wherever_they_are() {
    let mut world = World::new("");
    let mut host = world.host();
    host.ready(&mut world);
    world.store.hold(Kind::Splice);
    let itt = host.start(&mut world, &read(0, 100));
    let store = std::sync::Arc::clone(&world.store);
    world.until("the store to be asked", |_| {
        (store.held() == 1).then_some(())
    });
    let abort = host.client().task([0; 8], ABORT_TASK, itt);
    host.send(&mut world, &abort);
    world.pass(Duration::from_millis(20));
    world.store.release();
    assert!(matches!(
        host.next(&mut world),
        Some(Incoming::Task { response: 0, .. })
    ));
    let found = host.execute(&mut world, &read(3, 100));
    assert!(found.data == world.content[3 * BLOCK..][..100 * BLOCK]);
}

#[test]
fn a_reset_ends_what_is_half_sent() {
    let mut world = World::new("");
    let mut host = world.host();
    let mut other = world.host();
    host.ready(&mut world);
    other.ready(&mut world);
    // Nobody takes what is sent, so that it waits everywhere on its way: 16 MiB are more than sockets hold.
    let size = 4 << 20;
    let tags: Vec<u32> = (0..4)
        .map(|i| host.start(&mut world, &read(i * size / BLOCK, size / BLOCK)))
        .collect();
    world.pass(Duration::from_millis(100));
    let reset = other.client().task([0; 8], LOGICAL_UNIT_RESET, NO_TAG);
    other.send(&mut world, &reset);
    world.pass(Duration::from_millis(20));
    // Data comes whole, or not at all; nothing of it is anybody else's.
    let mut ended = 0;
    let content = world.content.clone();
    let nop = host.client().nop(false, b"still there".to_vec());
    host.send(&mut world, &nop);
    loop {
        match host.next(&mut world).expect("the connection to last") {
            Incoming::DataIn {
                itt,
                offset,
                data,
                status,
                ..
            } => {
                let first = tags.iter().position(|&tag| tag == itt).unwrap() * size;
                assert!(data == content[first + offset as usize..][..data.len()]);
                ended += usize::from(status.is_some());
            }
            Incoming::Response(_) => ended += 1,
            Incoming::Pong { data, .. } => {
                assert_eq!(data, b"still there");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(ended < 4);
    assert!(matches!(
        other.next(&mut world),
        Some(Incoming::Task { response: 0, .. })
    ));
    for host in [&mut host, &mut other] {
        for itt in &tags {
            host.client().abandon(*itt);
        }
        host.ready(&mut world);
        let found = host.execute(&mut world, &read(1, 2));
        assert!(found.data == content[BLOCK..][..2 * BLOCK]);
    }
}

#[test]
fn large_reads_leave_room_for_small_ones() {
    let mut world = World::new("");
    let mut host = world.host();
    host.ready(&mut world);
    let large = host.start(&mut world, &read(0, (4 << 20) / BLOCK));
    let small = host.start(&mut world, &read(0, 1));
    let mut before = 0;
    loop {
        match host.next(&mut world).unwrap() {
            Incoming::DataIn {
                itt, data, status, ..
            } if itt == large => {
                assert!(status.is_none(), "the small one came last");
                before += data.len();
            }
            Incoming::DataIn { itt, .. } => {
                assert_eq!(itt, small);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(before < 4 << 20);
}

#[test]
fn a_logout_is_answered_before_the_end() {
    let mut world = World::new("");
    let mut host = world.host();
    host.ready(&mut world);
    let logout = host.client().logout(0, 0);
    host.send(&mut world, &logout);
    assert!(matches!(
        host.next(&mut world),
        Some(Incoming::Logout { response: 0, .. })
    ));
    assert!(host.next(&mut world).is_none());
    drop(host);
    world.until("the session to be gone", |world| {
        (world.sessions() == 0).then_some(())
    });
}

#[test]
fn a_daemon_that_stops_tells_its_initiators() {
    let mut world = World::new("");
    let mut host = world.host();
    host.ready(&mut world);
    world.daemon.control_address.send(ControlMessage::Shutdown);
    match host.next(&mut world) {
        Some(Incoming::Async { event, .. }) => assert!((1..=3).contains(&event)),
        other => panic!("{other:?}"),
    }
    assert!(host.is_closed(&mut world));
    drop(host);
    world.until("it to stop", |world| {
        world.daemon.control.is_stopped().then_some(())
    });
}

#[test]
fn a_response_waits_for_the_data_that_was_announced() {
    let mut world = World::new("");
    let mut host = world.host_with(|options| options.offer("InitialR2T", "No"));
    host.ready(&mut world);
    host.segment = 4096;
    // Far behind the end of the disk.
    let (itt, pdus) = host.requests(&write(1 << 40, &[1; 16_384]));
    assert_eq!(pdus.len(), 4);
    for pdu in &pdus[..3] {
        host.send(&mut world, pdu);
    }
    let nop = host.client().nop(true, Vec::new());
    host.send(&mut world, &nop);
    assert!(matches!(host.next(&mut world), Some(Incoming::Pong { .. })));
    host.send(&mut world, &pdus[3]);
    match host.next(&mut world) {
        Some(Incoming::Response(response)) => {
            assert_eq!((response.itt, response.status), (itt, 2));
            assert_eq!(response.sense[12], 0x21);
        }
        other => panic!("{other:?}"),
    }
}
