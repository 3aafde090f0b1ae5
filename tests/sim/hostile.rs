//! Bad input: the standard's response or the end of that channel, and of nothing else.

use pagecast_initiator::codec::{Descriptor, Direction, encode_command, encode_task_management};
use pagecast_initiator::{ChannelId, Command, Data, Format, scsi};
use pagecast_rdma::fabric::RemoteBuffer;
use pagecast_tests::{Setup, World, pattern, seeds};

const TAG: u64 = 0x7a67;

/// What came of something hostile.
#[derive(Debug, PartialEq)]
enum Outcome {
    Sense(u8, u8, u8),
    Code(u8),
    Good,
    Over,
}

/// Sends it on a new channel, with a bystander whose I/O goes on meanwhile.
fn outcome(world: &mut World, bystander: ChannelId, unit: &[u8]) -> Outcome {
    let channel = world.log_in(0);
    world.initiators[0].expect(channel, TAG);
    world.initiators[0]
        .send_raw(channel, unit, 1)
        .expect("sent");
    let bytes = pattern(8192, world.random.next_u64());
    world.write(1, bystander, 1024, &bytes);
    assert!(world.read(1, bystander, 1024, 16) == bytes);
    let result = match world.try_reply(0, channel, TAG) {
        Err(_) => Outcome::Over,
        Ok(reply) => match (reply.sense(), reply.response.code) {
            (Some((key, code, qualifier)), _) => Outcome::Sense(key, code, qualifier),
            (None, Some(code)) => Outcome::Code(code),
            (None, None) => Outcome::Good,
        },
    };
    assert!(world.initiators[1].is_up(bystander));
    if result != Outcome::Over {
        // The channel is as good as before.
        world.read(0, channel, 0, 8);
        assert_eq!(world.initiators[0].request_limit(channel), 8);
        world.initiators[0].disconnect(channel).expect("a channel");
        world.over(0, channel);
    }
    result
}

fn command(cdb: &[u8], direction: Direction, descriptor: Descriptor<'_>) -> Vec<u8> {
    encode_command(TAG, scsi::lun(0), 0, cdb, direction, descriptor).expect("a command")
}

fn remote(length: u32) -> RemoteBuffer {
    RemoteBuffer {
        address: 0x1000,
        key: 0x1234,
        length,
    }
}

#[test]
fn units_that_lie_about_themselves() {
    for seed in seeds(0..3) {
        let mut world = Setup::new(seed).build();
        let bystander = world.log_in(1);
        let read = scsi::read16(0, 8);
        let direct = command(&read, Direction::In, Descriptor::Direct(remote(4096)));
        let list = [remote(512); 8];
        let indirect = command(
            &read,
            Direction::In,
            Descriptor::Indirect {
                table: RemoteBuffer {
                    length: 8 * 16,
                    ..remote(0)
                },
                list: &list,
                total: 4096,
            },
        );
        let immediate = command(
            &scsi::write16(0, 8, false),
            Direction::Out,
            Descriptor::Immediate {
                offset: 68,
                bytes: &[7; 4096],
            },
        );
        let with = |unit: &[u8], at: usize, bytes: &[u8]| {
            let mut unit = unit.to_vec();
            unit[at..at + bytes.len()].copy_from_slice(bytes);
            unit
        };
        let mut units: Vec<(&str, Vec<u8>)> = vec![
            ("no byte but the type", vec![2]),
            ("no tag", direct[..15].to_vec()),
            ("no CDB", direct[..40].to_vec()),
            ("half a descriptor", direct[..56].to_vec()),
            (
                "more additional CDB than arrived",
                with(&direct, 31, &[0xfc]),
            ),
            ("more descriptors than arrived", with(&indirect, 7, &[255])),
            (
                "more descriptors than in the table",
                with(&indirect, 7, &[7]),
            ),
            ("half of the list", indirect[..indirect.len() - 60].to_vec()),
            (
                "a table of no whole entries",
                with(&indirect, 60, &[0, 0, 0, 127]),
            ),
            (
                "a table of 4 GiB",
                with(&indirect, 60, &[0xff, 0xff, 0xff, 0xf0]),
            ),
            (
                "a total that is not the sum",
                with(&indirect, 64, &[0, 0, 0x20, 0]),
            ),
            ("lengths that wrap", with(&indirect, 80, &[0xff; 4])),
            ("a total that wraps", with(&indirect, 64, &[0xff; 4])),
            (
                "more immediate data than arrived",
                immediate[..2000].to_vec(),
            ),
            ("immediate data of 4 GiB", with(&immediate, 48, &[0xff; 4])),
            ("immediate data in", with(&immediate, 5, &[0x03])),
            ("an unknown format", with(&direct, 5, &[0x0f])),
            ("both directions at once", with(&direct, 5, &[0x11])),
            ("an unknown type", with(&direct, 0, &[0x55])),
            ("a type that targets send", with(&direct, 0, &[0xc1])),
            (
                "task management, too short",
                encode_task_management(TAG, scsi::lun(0), 1, 5)[..40].to_vec(),
            ),
            ("an answer without a question", with(&direct, 0, &[0x42])),
        ];
        let mut long = direct.clone();
        long.resize(9000, 0);
        units.push(("longer than agreed", long));
        for (what, unit) in units {
            let got = outcome(&mut world, bystander, &unit);
            let fits = match &got {
                Outcome::Over => true,
                // REQUEST FIELDS INVALID, or a sense key that says that the request is to blame.
                Outcome::Code(code) => *code == 2 || *code == 1,
                Outcome::Sense(key, ..) => *key == 5 || *key == 4 || *key == 0xb,
                Outcome::Good => false,
            };
            assert!(fits, "seed {seed}, {what}: {got:?}");
        }
        world.finish();
    }
}

#[test]
fn commands_that_the_standard_has_an_answer_to() {
    let mut world = Setup::new(2).build();
    let bystander = world.log_in(1);
    let last = 8192;
    let mut unknown = scsi::read16(0, 8);
    unknown[0] = 0xff;
    // What it is, the CDB, and sense key, additional sense code and qualifier.
    type Case = (&'static str, Vec<u8>, (u8, u8, u8));
    let cases: [Case; 5] = [
        ("an unknown operation", unknown, (5, 0x20, 0)),
        ("an LBA past the end", scsi::read16(last, 1), (5, 0x21, 0)),
        (
            "a range past the end",
            scsi::read16(last - 4, 8),
            (5, 0x21, 0),
        ),
        (
            "a range that wraps",
            scsi::read16(u64::MAX - 3, 8),
            (5, 0x21, 0),
        ),
        (
            "a WRITE past the end",
            scsi::write16(last, 1, false),
            (5, 0x21, 0),
        ),
    ];
    for (what, cdb, (key, code, qualifier)) in cases {
        let direction = if cdb[0] == 0x8a {
            Direction::Out
        } else {
            Direction::In
        };
        let unit = command(&cdb, direction, Descriptor::Direct(remote(4096)));
        let got = outcome(&mut world, bystander, &unit);
        assert_eq!(got, Outcome::Sense(key, code, qualifier), "{what}");
    }
    for lun in [scsi::lun(1), scsi::lun(0x3fff), [0xff; 8]] {
        let descriptor = Descriptor::Direct(remote(4096));
        let cdb = scsi::read16(0, 8);
        let unit = encode_command(TAG, lun, 0, &cdb, Direction::In, descriptor).expect("a command");
        let got = outcome(&mut world, bystander, &unit);
        assert_eq!(got, Outcome::Sense(5, 0x25, 0), "{lun:02x?}");
    }
    world.finish();
}

/// Keys, bounds and rights: the channel whose key does not work dies, and no other.
#[test]
fn keys_that_do_not_work() {
    for seed in seeds(0..6) {
        for disk in [Setup::new(seed), Setup::new(seed).staged()] {
            let mut world = disk.build();
            let bystander = world.log_in(1);
            world.read(1, bystander, 0, 64);
            for out in [false, true] {
                for wrong in ["key", "address", "length", "table"] {
                    let channel = world.log_in(0);
                    let buffer = world.buffer(0, channel, 8192);
                    let mut pieces = buffer.pieces(4096).expect("all of it");
                    match wrong {
                        "key" => pieces[1].remote.key ^= 0xff00,
                        "address" => pieces[1].remote.address = u64::MAX - 100,
                        "length" => pieces[1].remote.length += 512,
                        _ => {}
                    }
                    let format = if wrong == "table" {
                        Format::External(1)
                    } else {
                        Format::Indirect
                    };
                    let blocks = if wrong == "length" { 17 } else { 16 };
                    let command = if out {
                        Command::new(
                            0,
                            scsi::write16(0, blocks, false),
                            Data::Out(pieces, format),
                        )
                    } else {
                        Command::new(0, scsi::read16(0, blocks), Data::In(pieces, format))
                    };
                    let tag = world.send(0, channel, &command);
                    if wrong == "table" {
                        // The table's memory goes before it is read.
                        world.initiators[0].abandon(channel, tag);
                        world.initiators[0].expect(channel, tag);
                    }
                    let bytes = pattern(4096, seed);
                    world.write(1, bystander, 4000, &bytes);
                    let state = world.try_reply(0, channel, tag);
                    assert!(state.is_err(), "seed {seed}, {wrong}, {out}: {state:?}");
                    world.over(0, channel);
                    assert!(world.read(1, bystander, 4000, 8) == bytes);
                }
            }
            world.settle();
            assert_eq!(world.daemon.shared.sessions().len(), 1, "seed {seed}");
            world.finish();
        }
    }
}

#[test]
fn more_requests_than_credits() {
    for seed in seeds(0..6) {
        let mut world = Setup::new(seed).build();
        let bystander = world.log_in(1);
        let mut options = world.options(0);
        options.obey_credits = false;
        let channel = world.log_in_with(0, options);
        let unit = command(&scsi::test_unit_ready(), Direction::Out, Descriptor::None);
        // More than there are receives: what finds none waits, and is taken when the channel is over at the latest.
        for _ in 0..30 {
            let _ = world.initiators[0].send_raw(channel, &unit, 1);
        }
        world.run_until(|world| {
            let state = format!("{:?}", world.initiators[0].state(channel));
            let alive = world.initiators[0].is_up(channel);
            let settled = world.initiators[0].take_events(channel).len();
            (!alive || settled > 0).then_some(state)
        });
        world.settle();
        let bytes = pattern(4096, seed);
        world.write(1, bystander, 0, &bytes);
        assert!(world.read(1, bystander, 0, 8) == bytes);
        world.finish();
    }
}
