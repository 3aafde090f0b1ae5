//! Bad input over iSER: the standard's answer or the end of that connection, and of nothing else.

use pagecast_initiator::iscsi::pdu::opcode;
use pagecast_initiator::iscsi::{Incoming, Login, LoginOptions, Pdu, Step};
use pagecast_initiator::iser::wire::{HEADER_SIZE, encode};
use pagecast_initiator::iser::{Command, ConnectionHandle, Data, Event, Options, State};
use pagecast_initiator::scsi;
use pagecast_tests::iser::{login, read, write};
use pagecast_tests::{Setup, World, pattern, seeds};

/// Where the fields of a message are.
const BHS: usize = HEADER_SIZE;
const FLAGS: usize = BHS + 1;
const AHS_LENGTH: usize = BHS + 4;
const DATA_LENGTH: usize = BHS + 5;
const ITT: usize = BHS + 16;
const EXPECTED: usize = BHS + 20;
const CMD_SN: usize = BHS + 24;

/// What came of something hostile.
#[derive(Debug, PartialEq)]
enum Outcome {
    Good,
    Sense(u8, u8, u8),
    Reject(u8),
    Silence,
    Over,
}

/// Sends what `change` makes of a message on a new connection, with a bystander whose I/O goes on meanwhile.
fn outcome(
    world: &mut World,
    bystander: ConnectionHandle,
    command: impl FnOnce(&World, ConnectionHandle) -> Command,
    change: impl FnOnce(&mut Vec<u8>),
) -> Outcome {
    let connection = world.iser_session(0);
    let command = command(world, connection);
    let (itt, mut message) = world.iser[0]
        .prepare(connection, &command)
        .expect("a session");
    change(&mut message);
    world.iser[0].send_raw(connection, &message).expect("sent");
    let bytes = pattern(8192, world.random.next_u64());
    world.iser_write(1, bystander, 1024, &bytes, 4096);
    assert!(world.iser_read(1, bystander, 1024, 16) == bytes);
    world.settle();
    let reply = world.iser[0].take_reply(connection, itt);
    let events = world.iser[0].take_events(connection);
    let rejected = events.iter().find_map(|event| match event {
        Event::Incoming(Incoming::Reject { reason, .. }) => Some(*reason),
        _ => None,
    });
    assert!(world.iser[1].is_up(bystander));
    if !world.iser[0].is_up(connection) {
        world.iser_over(0, connection);
        return Outcome::Over;
    }
    let result = match (reply, rejected) {
        (Some(reply), None) => match reply.sense() {
            Some((key, code, qualifier)) => Outcome::Sense(key, code, qualifier),
            None if reply.status() == 0 => Outcome::Good,
            None => panic!("{reply:?}"),
        },
        (None, Some(reason)) => Outcome::Reject(reason),
        (None, None) => Outcome::Silence,
        both => panic!("two answers: {both:?}"),
    };
    // The connection is as good as before, if the numbers are right.
    if let Some(client) = world.iser[0].client_mut(connection) {
        client.abandon(itt);
        client.cmd_sn = client.cmd_sn.max(client.exp_cmd_sn);
    }
    let ping = world.iser[0].request(connection, |client| client.nop(true, Vec::new()));
    world.iser_reply(0, connection, ping.expect("sent"));
    world.iser[0].disconnect(connection).expect("a connection");
    world.iser_over(0, connection);
    result
}

fn reads(world: &World, connection: ConnectionHandle) -> Command {
    read(&world.iser_buffer(0, connection, 512), 0, 1)
}

fn writes(world: &World, connection: ConnectionHandle) -> Command {
    write(&world.iser_buffer(0, connection, 1024), 0, 512)
}

fn put(message: &mut [u8], at: usize, value: u32) {
    message[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

#[test]
fn messages_that_lie_about_themselves() {
    let mut world = Setup::new(1).iser().build();
    let bystander = world.iser_session(1);
    for length in [1, 4, 27, 28, 29, 47, 48, 75] {
        let cut = outcome(&mut world, bystander, reads, |m| m.truncate(length));
        assert_eq!(cut, Outcome::Over, "{length} bytes");
    }
    for (what, wanted, change) in [
        (
            "more data than arrived",
            Outcome::Over,
            (|m: &mut Vec<u8>| m[DATA_LENGTH + 1] = 0x20) as fn(&mut Vec<u8>),
        ),
        ("16 MiB of data", Outcome::Over, |m| {
            m[DATA_LENGTH..DATA_LENGTH + 3].fill(0xff);
        }),
        ("additional headers beyond the end", Outcome::Over, |m| {
            m[AHS_LENGTH] = 1;
        }),
        (
            "additional headers of no known type",
            Outcome::Reject(9),
            |m| {
                m[AHS_LENGTH] = 1;
                m.splice(76..76, [0, 1, 99, 0]);
            },
        ),
        ("padding and more", Outcome::Good, |m| m.extend([0xee; 99])),
        ("Hello", Outcome::Over, |m| m[0] = 0x20),
        ("HelloReply", Outcome::Over, |m| m[0] = 0x30),
        ("no iSER header type", Outcome::Over, |m| m[0] = 0x04),
        ("a login after the login", Outcome::Over, |m| m[BHS] = 0x43),
        ("an unknown operation", Outcome::Reject(5), |m| {
            m[BHS] = 0x1e;
        }),
        ("SNACK", Outcome::Reject(4), |m| m[BHS] = opcode::SNACK),
        ("a target's operation", Outcome::Reject(5), |m| {
            m[BHS] = opcode::NOP_IN;
        }),
        ("data that nobody asked for", Outcome::Over, |m| {
            m[BHS] = opcode::DATA_OUT;
        }),
        ("a reserved tag", Outcome::Reject(9), |m| {
            put(m, ITT, 0xffff_ffff);
        }),
        ("a command from the future", Outcome::Over, |m| {
            m[CMD_SN + 3] = m[CMD_SN + 3].wrapping_add(1);
        }),
        ("a command from far away", Outcome::Silence, |m| {
            m[CMD_SN] ^= 0x40;
        }),
        ("a command from the past", Outcome::Silence, |m| {
            m[CMD_SN + 3] = m[CMD_SN + 3].wrapping_sub(1);
        }),
        ("a reserved attribute", Outcome::Reject(9), |m| {
            m[FLAGS] |= 0x07;
        }),
    ] {
        let got = outcome(&mut world, bystander, reads, change);
        assert_eq!(got, wanted, "{what}");
    }
    world.finish();
}

#[test]
fn memory_that_is_not_there() {
    for seed in seeds(0..2) {
        let mut world = Setup::new(seed).iser().build();
        let bystander = world.iser_session(1);
        // 5/0e/03: INVALID FIELD IN COMMAND INFORMATION UNIT
        for (what, wanted, change) in [
            (
                "a READ without a tag",
                Outcome::Sense(5, 0x0e, 3),
                (|m: &mut Vec<u8>| m[0] = 0x10) as fn(&mut Vec<u8>),
            ),
            ("a READ with a write tag", Outcome::Sense(5, 0x0e, 3), |m| {
                m[0] = 0x18;
            }),
            ("a wrong key", Outcome::Over, |m| m[16] ^= 0x55),
            ("a wrong address", Outcome::Over, |m| m[20] ^= 0x7f),
            ("the end of all addresses", Outcome::Over, |m| {
                m[20..28].fill(0xff);
            }),
            ("4 GiB of room", Outcome::Good, |m| {
                put(m, EXPECTED, u32::MAX);
            }),
            // A READ that moves nothing for want of room needs no tag.
            ("no room", Outcome::Good, |m| {
                m[0] = 0x10;
                put(m, EXPECTED, 0);
            }),
        ] {
            let got = outcome(&mut world, bystander, reads, change);
            assert_eq!(got, wanted, "{what}");
        }
        for (what, wanted, change) in [
            (
                "a WRITE without a tag",
                Outcome::Sense(5, 0x0e, 3),
                (|m: &mut Vec<u8>| m[0] = 0x10) as fn(&mut Vec<u8>),
            ),
            ("a wrong key", Outcome::Over, |m| m[4] ^= 0x55),
            ("a wrong address", Outcome::Over, |m| m[8] ^= 0x7f),
            // 0b/0c/0d: more than the command is about.
            ("too much data", Outcome::Sense(0x0b, 0x0c, 0x0d), |m| {
                put(m, EXPECTED, 511);
            }),
            // 0b/0c/0c: unsolicited data where InitialR2T=Yes.
            ("data to follow", Outcome::Sense(0x0b, 0x0c, 0x0c), |m| {
                m[FLAGS] &= 0x7f;
            }),
            ("both directions", Outcome::Sense(5, 0x0e, 3), |m| {
                m[FLAGS] |= 0x40;
            }),
            (
                "data of a command that writes nothing",
                Outcome::Reject(9),
                |m| {
                    m[FLAGS] ^= 0x60;
                },
            ),
        ] {
            let got = outcome(&mut world, bystander, writes, change);
            assert_eq!(got, wanted, "{what}");
        }
        world.finish();
    }
}

#[test]
fn too_many_rejects_end_the_connection() {
    let mut world = Setup::new(1).iser().build();
    let connection = world.iser_session(0);
    let mut nonsense = Pdu::new(0x5e);
    nonsense.set_word(16, 1);
    let message = encode(None, None, &nonsense);
    for _ in 0..65 {
        world.run_until(|world| {
            let sent = world.iser[0].send_raw(connection, &message).is_ok();
            (sent || !world.iser[0].is_up(connection)).then_some(())
        });
    }
    world.iser_over(0, connection);
    world.finish();
}

#[test]
fn immediate_requests_beyond_all_bounds() {
    for seed in seeds(0..3) {
        let mut world = Setup::new(seed).iser().build();
        let bystander = world.iser_session(1);
        let connection = world.iser_session(0);
        // More than there are receives for: some wait, some are rejected, and none is lost.
        let mut tags = Vec::new();
        for turn in 0..60 {
            world.run_until(|world| {
                let nop = world.iser[0].request(connection, |client| client.nop(true, vec![turn]));
                match nop {
                    Ok(itt) => {
                        tags.push(itt);
                        Some(())
                    }
                    Err(_) => None,
                }
            });
        }
        world.settle();
        assert!(world.iser[0].is_up(connection), "seed {seed}");
        let rejected = world.iser[0].take_events(connection).len();
        let answered = tags
            .iter()
            .filter(|&&itt| world.iser[0].take_reply(connection, itt).is_some())
            .count();
        assert_eq!(rejected + answered, 60, "seed {seed}");
        world.iser_read(0, connection, 0, 8);
        world.iser_read(1, bystander, 0, 8);
        world.finish();
    }
}

// --- before the login --------------------------------------------------------------------------------------------

/// The first request of a login.
fn first(options: LoginOptions) -> Pdu {
    match Login::start(options).1 {
        Step::Send { pdu, .. } => pdu,
        other => panic!("{other:?}"),
    }
}

/// What the target says to these messages of a stranger, one after the other, and whether it still talks to it then.
fn stranger(world: &mut World, messages: &[Vec<u8>]) -> (Vec<Vec<u8>>, bool) {
    let (connection, state) = world.iser_connect(0, Options::raw());
    assert_eq!(state, State::Up, "seed {}", world.seed);
    let mut said = Vec::new();
    for message in messages {
        if world.iser[0].send_raw(connection, message).is_err() {
            break;
        }
        world.settle();
        for event in world.iser[0].take_events(connection) {
            if let Event::Message(bytes) = event {
                said.push(bytes);
            }
        }
    }
    let up = world.iser[0].is_up(connection);
    if up {
        world.iser[0].disconnect(connection).expect("a connection");
    }
    world.iser_over(0, connection);
    world.settle();
    (said, up)
}

#[test]
fn strangers_that_do_not_log_in() {
    let mut world = Setup::new(1).iser().build();
    let bystander = world.iser_session(1);
    let good = encode(None, None, &first(login(0)));
    for length in [1, 27, 28, 75, 76, 100] {
        let cut = good[..length.min(good.len() - 1)].to_vec();
        let (said, up) = stranger(&mut world, &[cut]);
        assert_eq!((said.len(), up), (0, false), "{length} bytes");
    }
    for operation in [0x01, 0x02, 0x04, 0x05, 0x06, 0x00, 0x1f, 0x23] {
        let mut pdu = Pdu::new(operation);
        pdu.bhs[1] = 0x80;
        let (said, up) = stranger(&mut world, &[encode(None, None, &pdu)]);
        assert_eq!((said.len(), up), (0, false), "{operation:#x}");
    }
    // Two requests at once.
    let (connection, _) = world.iser_connect(0, Options::raw());
    for _ in 0..2 {
        world.iser[0].send_raw(connection, &good).expect("sent");
    }
    world.iser_over(0, connection);
    assert!(world.iser[1].is_up(bystander));
    world.iser_read(1, bystander, 0, 8);
    world.settle();
    assert_eq!(world.target_queue_pairs().len(), 1);
    world.finish();
}

#[test]
fn texts_that_are_none() {
    let mut world = Setup::new(1).iser().build();
    let bystander = world.iser_session(1);
    for text in [
        b"InitiatorName".to_vec(),
        b"=\0=\0=\0".to_vec(),
        vec![0xff; 300],
        vec![0; 8192],
        b"InitiatorName=iqn.a\0SessionType=Normal\0".to_vec(),
        b"InitiatorName=\0SessionType=Discovery\0AuthMethod=None\0".to_vec(),
        b"A=1\0".repeat(2000),
    ] {
        let mut pdu = first(login(0));
        pdu.set_data(text.clone());
        let (said, up) = stranger(&mut world, &[encode(None, None, &pdu)]);
        // Refused in so many words, or just dropped: never let in.
        let status: Vec<u8> = said.iter().map(|message| message[BHS + 36]).collect();
        assert!(!up && !status.contains(&0), "{status:?}");
        assert!(world.iser[1].is_up(bystander));
    }
    world.iser_read(1, bystander, 0, 8);
    world.finish();
}

#[test]
fn noise() {
    for seed in seeds(0..12) {
        let mut world = Setup::new(seed).iser().build();
        let bystander = world.iser_session(1);
        let kept = pattern(4096, seed);
        world.iser_write(1, bystander, 64, &kept, 0);
        for _ in 0..6 {
            let messages: Vec<Vec<u8>> = (0..4)
                .map(|_| {
                    let length = world.random.below(300) as usize;
                    let mut noise = pattern(length, world.random.next_u64());
                    // Most of it gets past the first byte.
                    if let Some(first) = noise.first_mut() {
                        *first = if world.random.once_in(4) {
                            *first
                        } else {
                            0x10
                        };
                    }
                    noise
                })
                .filter(|noise| !noise.is_empty())
                .collect();
            stranger(&mut world, &messages);
        }
        // The same from somebody who is logged in: a good message with a few bits turned.
        for _ in 0..10 {
            let options = Options {
                tolerant: true,
                ..Options::new(login(0))
            };
            let (connection, state) = world.iser_connect(0, options);
            assert_eq!(state, State::Up, "seed {seed}");
            for _ in 0..8 {
                let buffer = world.iser_buffer(0, connection, 1024);
                let command = match world.random.below(3) {
                    0 => read(&buffer, 0, 2),
                    1 => write(&buffer, 0, 512),
                    _ => Command::new(0, scsi::test_unit_ready(), Data::None),
                };
                let Ok((_, mut message)) = world.iser[0].prepare(connection, &command) else {
                    break;
                };
                for _ in 0..=world.random.below(3) {
                    let at = world.random.below(message.len() as u64) as usize;
                    message[at] ^= 1 << world.random.below(8);
                }
                if world.iser[0].send_raw(connection, &message).is_err() {
                    break;
                }
                for _ in 0..40 {
                    world.pump();
                }
            }
            world.iser[0].disconnect(connection).expect("a connection");
            world.iser_over(0, connection);
        }
        assert!(world.iser[1].is_up(bystander), "seed {seed}");
        assert!(world.iser_read(1, bystander, 64, 8) == kept, "seed {seed}");
        world.finish();
    }
}
