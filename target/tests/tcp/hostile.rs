//! Peers that break the rules lose their connection, and nobody else's.

use std::time::Duration;

use pagecast_initiator::iscsi::pdu::{NO_TAG, Pdu};
use pagecast_initiator::iscsi::request;
use pagecast_initiator::iscsi::response::Incoming;

use crate::world::{BLOCK, Host, World, read, write};

/// A host that was served before somebody else did something is served after.
struct Witness(Host);

impl Witness {
    fn new(world: &mut World) -> Self {
        let mut host = world.host();
        host.ready(world);
        Self(host)
    }

    fn is_well(&mut self, world: &mut World) {
        let found = self.0.execute(world, &read(100, 33));
        assert!(found.data == world.content[100 * BLOCK..][..33 * BLOCK]);
        world.until("the other one to be gone", |world| {
            (world.sessions() == 1).then_some(())
        });
    }
}

/// Whatever `attack` sends, the connection is closed.
fn closes(digests: bool, attack: impl Fn(&mut World, &mut Host)) {
    let mut world = World::new("");
    let mut witness = Witness::new(&mut world);
    let mut host = world.host_with(|options| {
        if digests {
            options.offer("HeaderDigest", "CRC32C");
            options.offer("DataDigest", "CRC32C");
        }
    });
    host.ready(&mut world);
    attack(&mut world, &mut host);
    assert!(host.is_closed(&mut world));
    witness.is_well(&mut world);
}

#[test]
fn wrong_digests() {
    for byte in [0, 30, 49, 60, 52 + 512] {
        closes(true, |world, host| {
            let (_, pdus) = host.requests(&write(0, &[7; 512]));
            let mut bytes = host.digests.encode(&pdus[0]);
            bytes[byte] ^= 1;
            host.send_bytes(world, &bytes);
        });
    }
}

#[test]
fn lengths_that_lie() {
    for length in [262_145_u32, 0xff_ffff] {
        closes(false, |world, host| {
            let mut pdu = host.client().nop(false, Vec::new());
            pdu.bhs[5..8].copy_from_slice(&length.to_be_bytes()[1..]);
            host.send(world, &pdu);
        });
    }
    // Before the login is over it is 8192.
    let mut world = World::new("");
    let mut stranger = world.connect();
    let mut pdu = Pdu::new(0x43);
    pdu.bhs[5..8].copy_from_slice(&[0, 0x20, 1]);
    stranger.send(&mut world, &pdu);
    assert!(stranger.is_closed(&mut world));
}

/// A write that waits for data; its R2T.
fn waiting_write(world: &mut World, host: &mut Host) -> (u32, u32, u32) {
    // No unsolicited data but what is immediate.
    host.initial_r2t = true;
    host.start(world, &write(0, &vec![1; 400 * BLOCK]));
    match host.next(world) {
        Some(Incoming::R2t {
            itt, ttt, offset, ..
        }) => (itt, ttt, offset),
        other => panic!("{other:?}"),
    }
}

#[test]
fn data_that_was_not_asked_for() {
    type Change = fn(&mut Pdu);
    let changes: [(&str, Change); 6] = [
        ("another number", |pdu| pdu.set_word(36, 1)),
        ("another offset", |pdu| pdu.set_word(40, pdu.word(40) + 512)),
        ("an offset before", |pdu| pdu.set_word(40, 0)),
        ("an end too early", |pdu| pdu.bhs[1] |= 0x80),
        ("an R2T that never was", |pdu| {
            pdu.set_word(20, pdu.word(20) + 1);
        }),
        ("an R2T that never was", |pdu| pdu.set_word(20, 0x8000_0000)),
    ];
    for (what, change) in changes {
        closes(false, |world, host| {
            let (itt, ttt, offset) = waiting_write(world, host);
            let mut pdu = request::data_out(itt, [0; 8], ttt, 0, offset, vec![2; 512], false);
            change(&mut pdu);
            host.send(world, &pdu);
            let _ = what;
        });
    }
    // More than was asked for.
    closes(false, |world, host| {
        let (itt, ttt, offset) = waiting_write(world, host);
        let most = host.max_burst.min(400 * BLOCK - offset as usize);
        for pdu in host.data_out(itt, ttt, offset as usize, &vec![2; most + 512]) {
            host.send(world, &pdu);
        }
    });
    // More unsolicited data than was agreed to.
    closes(false, |world, host| {
        let (itt, mut pdus) = host.requests(&write(0, &vec![1; 1000 * BLOCK]));
        pdus.truncate(1);
        let sent = pdus[0].data.len();
        pdus[0].bhs[1] &= 0x7f;
        pdus.extend(host.data_out(itt, NO_TAG, sent, &vec![2; host.first_burst - sent + 512]));
        for pdu in pdus {
            host.send(world, &pdu);
        }
    });
}

#[test]
fn peers_that_vanish_leave_nothing_behind() {
    let mut world = World::new("");
    let mut witness = Witness::new(&mut world);
    for round in 0..80 {
        let mut host = world.host();
        host.ready(&mut world);
        // Reads whose data nobody takes, and a write whose data never comes.
        for i in 0..4 {
            host.start(&mut world, &read(i * 2048, 2048));
        }
        host.initial_r2t = true;
        host.start(&mut world, &write(0, &vec![1; 400 * BLOCK]));
        if round % 2 == 0 {
            world.turn();
        }
        drop(host);
        world.until("it to be gone", |world| {
            (world.sessions() == 1).then_some(())
        });
    }
    let before = world.counters();
    witness.is_well(&mut world);
    let after = world.counters();
    // Its READ found a pipe: none was lost.
    assert_eq!(after.1 - before.1, 33 * 512);
}

#[test]
fn strangers_are_bounded() {
    let mut world = World::new("");
    let mut witness = Witness::new(&mut world);
    let mut strangers = Vec::new();
    for _ in 0..200 {
        strangers.push(world.connect());
        world.turn();
    }
    let refused = world.until("some to be refused", |_| {
        let closed: usize = strangers
            .iter_mut()
            .map(|host| usize::from(host.is_gone()))
            .sum();
        (closed >= 168).then_some(closed)
    });
    assert_eq!(refused, 168, "one address has room for 32");
    drop(strangers);
    witness.is_well(&mut world);
    let mut late = world.host();
    late.ready(&mut world);
}

#[test]
fn peers_that_answer_nothing_but_pings() {
    let mut world = World::new("");
    let mut witness = Witness::new(&mut world);
    let mut host = world.host();
    host.ready(&mut world);
    waiting_write(&mut world, &mut host);
    world.later(Duration::from_secs(29));
    witness.0.ready(&mut world);
    assert_eq!(world.sessions(), 2);
    world.later(Duration::from_secs(2));
    assert!(host.is_closed(&mut world));
    witness.is_well(&mut world);
}

#[test]
fn peers_that_take_nothing() {
    let mut world = World::new("");
    let mut witness = Witness::new(&mut world);
    let mut host = world.host();
    host.ready(&mut world);
    for i in 0..4 {
        host.start(&mut world, &read(i * 8192, 8192));
    }
    world.until_full(&host);
    // Its kernel may find room for a little more even then, with which the half minute begins again.
    for _ in 0..20 {
        world.later(Duration::from_secs(31));
        witness.0.ready(&mut world);
        if world.sessions() == 1 {
            break;
        }
    }
    witness.is_well(&mut world);
    drop(host);
}

#[test]
fn pdus_that_are_broken_at_random() {
    let mut world = World::new("");
    let mut witness = Witness::new(&mut world);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: usize| {
        // Xorshift.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    for round in 0..150 {
        let mut host = world.host_with(|options| {
            options.offer("InitialR2T", if round % 2 == 0 { "No" } else { "Yes" });
        });
        host.segment = 512 << (round % 8);
        host.ready(&mut world);
        let size = (1 + next(200)) * BLOCK;
        let lba = 1024 + next(1024);
        let mut pdus = vec![host.client().nop(next(2) == 0, vec![1; next(100)])];
        pdus.push(host.client().task([0; 8], next(9) as u8, NO_TAG));
        for _ in 0..4 {
            pdus.extend(host.requests(&write(lba, &vec![round as u8; size])).1);
            pdus.extend(host.requests(&read(lba, size / BLOCK)).1);
        }
        for _ in 0..1 + next(4) {
            let at = next(pdus.len());
            // Mostly the header, which is where it matters; but not what a CDB says, or the witness's data would go.
            let byte = next(32);
            pdus[at].bhs[byte] ^= 1 << next(8);
        }
        if next(4) == 0 {
            pdus.remove(next(pdus.len()));
        }
        for pdu in &pdus {
            host.send(&mut world, pdu);
        }
        world.turn();
        drop(host);
    }
    world.pass(Duration::from_millis(100));
    // Some of it reset the logical unit.
    witness.0.ready(&mut world);
    witness.is_well(&mut world);
}
