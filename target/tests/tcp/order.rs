//! Commands that wait for their turn.

use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pagecast_backends::testing::Kind;
use pagecast_initiator::iscsi::request::Direction;

use crate::world::{Host, World, read};

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
