//! Commands that wait for their turn.

use std::collections::HashMap;
use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pagecast_backends::testing::Kind;
use pagecast_initiator::iscsi::request::Direction;
use pagecast_initiator::iscsi::response::Incoming;

use crate::world::{BLOCK, Host, World, read, write};

const ORDERED: u8 = 2;

/// A READ that is stuck in the store; returns its tag.
fn stuck(world: &mut World, host: &mut Host) -> u32 {
    host.ready(world);
    world.store.hold(Kind::Splice);
    let itt = host.start(world, &read(0, 1));
    let store = Arc::clone(&world.store);
    world.until("the store to be asked", |_| {
        (store.held() == 1).then_some(())
    });
    itt
}

/// `turn` says that there is nothing to do only if there is nothing: the thread sleeps then.
#[test]
fn no_turn_is_forgotten() {
    const BEHIND: usize = 8;
    let mut world = World::new("");
    let mut host = world.host();
    stuck(&mut world, &mut host);
    for _ in 0..BEHIND {
        let (cdb, direction) = ([0; 6], Direction::None);
        let pdu = host
            .client()
            .command([0; 8], ORDERED, &cdb, direction, 0, Vec::new());
        host.send(&mut world, &pdu);
    }
    world.pass(Duration::from_millis(20));
    world.store.release();
    // Once the store has answered, each command brings about the next.
    let (mut bytes, mut answered) = (Vec::new(), 0);
    let mut take = |host: &mut Host| {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = host.socket.read(&mut buffer) {
            bytes.extend(&buffer[..read]);
        }
        while let Ok(Some(_)) = host.digests.take(&mut bytes) {
            answered += 1;
        }
        answered
    };
    world.until("the store", |_| (take(&mut host) > 0).then_some(()));
    let shard = &mut world.daemon.shards[0];
    while shard.turn(Instant::now()) {}
    assert_eq!(take(&mut host), 1 + BEHIND);
}

/// What an ORDERED command changes counts for those behind it (SAM-5 8.6.3), although they came before it was done.
#[test]
fn commands_see_what_those_before_them_changed() {
    let mut world = World::new("");
    let mut host = world.host();
    let first = stuck(&mut world, &mut host);
    // The control mode page with SWP (SPC-4).
    let mut list = vec![0; 16];
    list[4..9].copy_from_slice(&[0x0a, 0x0a, 0x20, 0x10, 0x08]);
    list[12..14].copy_from_slice(&[0xff, 0xff]);
    let (cdb, direction) = ([0x15, 0x10, 0, 0, 16, 0], Direction::Out);
    let select = host
        .client()
        .command([0; 8], ORDERED, &cdb, direction, 16, list);
    host.send(&mut world, &select);
    let write = host.start(&mut world, &write(5, &[0xee; BLOCK]));
    let (cdb, direction) = ([0x1a, 0x08, 0x0a, 0, 64, 0], Direction::In);
    let sense = host
        .client()
        .command([0; 8], 1, &cdb, direction, 64, Vec::new());
    host.send(&mut world, &sense);
    world.pass(Duration::from_millis(20));
    world.store.release();
    let (mut statuses, mut page) = (HashMap::new(), Vec::new());
    while statuses.len() < 4 {
        match host.next(&mut world).unwrap() {
            Incoming::Response(response) => _ = statuses.insert(response.itt, response.status),
            Incoming::DataIn {
                itt, data, status, ..
            } => {
                if itt == sense.itt() {
                    page = data;
                }
                if let Some(response) = status {
                    statuses.insert(itt, response.status);
                }
            }
            _ => {}
        }
    }
    for itt in [first, select.itt(), sense.itt()] {
        assert_eq!(statuses[&itt], 0);
    }
    // WP and SWP.
    assert_eq!((page[2] & 0x80, page[8] & 0x08), (0x80, 0x08));
    assert_eq!(statuses[&write], 2);
    let found = host.execute(&mut world, &read(5, 1));
    assert!(found.data == world.content[5 * BLOCK..][..BLOCK]);
}
