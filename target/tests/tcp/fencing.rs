//! PREEMPT AND ABORT of initiators that are in the middle of something.

use std::time::Duration;

use pagecast_initiator::iscsi::request::Direction;
use pagecast_initiator::iscsi::response::Incoming;
use pagecast_initiator::scsi::reserve::{Parameters, action, persistent_reserve_out};

use crate::world::{BLOCK, Command, Host, World, read, write};

const GOOD: u8 = 0x00;
const CHECK_CONDITION: u8 = 0x02;
const RESERVATION_CONFLICT: u8 = 0x18;

/// PERSISTENT RESERVE OUT; the type is Write Exclusive – Registrants Only.
fn change(service: u8, key: u64, other: u64) -> Command {
    let data = Parameters::keys(key, other).encode();
    Command {
        cdb: persistent_reserve_out(service, 5, data.len() as u32),
        direction: Direction::Out,
        expected: data.len(),
        data,
    }
}

fn succeed(world: &mut World, host: &mut Host, command: &Command) {
    let outcome = host.execute(world, command);
    assert_eq!(outcome.response.status, GOOD, "{command:?}");
}

/// Two initiators that are registered with keys 1 and 2. The first one holds the reservation.
fn pair(world: &mut World, initial_r2t: bool) -> (Host, Host) {
    let mut victim = world.host_with(|options| {
        let wanted = if initial_r2t { "Yes" } else { "No" };
        options.offer("InitialR2T", wanted);
    });
    assert_eq!(victim.initial_r2t, initial_r2t);
    let mut other = world.host();
    for (host, key) in [(&mut victim, 1), (&mut other, 2)] {
        host.ready(world);
        succeed(world, host, &change(action::REGISTER, 0, key));
    }
    succeed(world, &mut victim, &change(action::RESERVE, 1, 0));
    (victim, other)
}

fn assert_fenced(world: &mut World, victim: &mut Host, other: &mut Host) {
    let found = other.execute(world, &read(0, 400));
    assert!(found.data == world.content[..400 * BLOCK], "a late write");
    // REGISTRATIONS PREEMPTED, and then what follows from it.
    let told = victim.execute(world, &write(0, &[1; BLOCK]));
    assert_eq!(told.response.status, CHECK_CONDITION);
    let refused = victim.execute(world, &write(0, &[1; BLOCK]));
    assert_eq!(refused.response.status, RESERVATION_CONFLICT);
    succeed(world, victim, &change(action::REGISTER, 0, 3));
    succeed(world, victim, &write(0, &[1; BLOCK]));
}

#[test]
fn data_that_comes_after_the_status_means_nothing() {
    let mut world = World::new("");
    let (mut victim, mut other) = pair(&mut world, true);
    let data = vec![0xee; 400 * BLOCK];
    let itt = victim.start(&mut world, &write(0, &data));
    let r2t = victim.next(&mut world).unwrap();
    succeed(
        &mut world,
        &mut other,
        &change(action::PREEMPT_AND_ABORT, 2, 1),
    );
    // It was on its way already.
    victim.answer(&mut world, &r2t, &data);
    world.pass(Duration::from_millis(20));
    victim.client().abandon(itt);
    assert_fenced(&mut world, &mut victim, &mut other);
}

#[test]
fn unsolicited_data_that_comes_after_the_status_means_nothing() {
    let mut world = World::new("");
    let (mut victim, mut other) = pair(&mut world, false);
    // All of it is the first burst, in many small PDUs.
    victim.segment = 8192;
    let data = vec![0xee; 100 * BLOCK];
    let (itt, mut pdus) = victim.requests(&write(0, &data));
    assert!(data.len() <= victim.first_burst && pdus.len() > 1);
    let rest = pdus.split_off(pdus.len() / 2);
    for pdu in pdus {
        victim.send(&mut world, &pdu);
    }
    world.pass(Duration::from_millis(20));
    succeed(
        &mut world,
        &mut other,
        &change(action::PREEMPT_AND_ABORT, 2, 1),
    );
    for pdu in rest {
        victim.send(&mut world, &pdu);
    }
    world.pass(Duration::from_millis(20));
    victim.client().abandon(itt);
    assert_fenced(&mut world, &mut victim, &mut other);
}

/// Data on its way to somebody who takes none of it is waited for, but not for ever.
#[test]
fn an_initiator_that_takes_nothing_loses_its_connection() {
    let mut world = World::new("");
    let (mut victim, mut other) = pair(&mut world, true);
    // More than sockets hold.
    let size = 4 << 20;
    for at in 0..4 {
        victim.start(&mut world, &read(at * size / BLOCK, size / BLOCK));
    }
    world.until_full(&victim);
    let sessions = world.sessions();
    other.start(&mut world, &change(action::PREEMPT_AND_ABORT, 2, 1));
    world.later(Duration::from_millis(1500));
    assert_eq!(world.sessions(), sessions, "too soon");
    world.later(Duration::from_millis(600));
    let Some(Incoming::Response(response)) = other.next(&mut world) else {
        panic!("no response");
    };
    assert_eq!(response.status, GOOD);
    assert_eq!(world.sessions(), sessions - 1);
    assert!(victim.is_closed(&mut world));
    succeed(&mut world, &mut other, &write(0, &[1; BLOCK]));
}
