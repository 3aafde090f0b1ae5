//! READs and WRITEs: whence their data comes, where it goes, and the keys that it takes.

use pagecast_initiator::iser::wire::{LIBISCSI, LINUX};
use pagecast_initiator::iser::{Command, Data, Options};
use pagecast_initiator::scsi;
use pagecast_rdma::sim::OperationKind;
use pagecast_tests::iser::{login, read, write};
use pagecast_tests::{Setup, pattern, seeds};

use super::{executed, ran_dry};

const LENGTHS: [usize; 8] = [512, 1024, 4096, 8192, 12_288, 65_536, 262_144, 1 << 20];

#[test]
fn data_of_every_length_with_and_without_immediate_data() {
    for seed in seeds(0..3) {
        for setup in [Setup::new(seed), Setup::new(seed).staged()] {
            let mut world = setup.iser().build();
            let connection = world.iser_session(0);
            for (turn, &length) in LENGTHS.iter().enumerate() {
                let lba = world.random.below(8192 - length as u64 / 512);
                for immediate in [0, 512, 4096, 8192] {
                    let immediate = immediate.min(length);
                    let bytes = pattern(length, seed ^ (turn as u64) << 8 ^ immediate as u64);
                    world.iser_write(0, connection, lba, &bytes, immediate);
                    for _ in 0..2 {
                        let found = world.iser_read(0, connection, lba, (length / 512) as u32);
                        assert!(
                            found == bytes,
                            "seed {seed}: {length} bytes, {immediate} immediate"
                        );
                    }
                }
            }
            assert_eq!(ran_dry(&world), 0, "seed {seed}");
            world.finish();
        }
    }
}

#[test]
fn a_second_read_comes_from_the_page_cache() {
    for seed in seeds(0..4) {
        let mut world = Setup::new(seed).iser().build();
        let connection = world.iser_session(0);
        let bytes = pattern(1 << 20, seed);
        world.iser_write(0, connection, 0, &bytes, 0);
        world.iser_read(0, connection, 0, 2048);
        let before = world.written_from();
        assert!(world.iser_read(0, connection, 0, 2048) == bytes);
        // The net's own books of what was sent from where.
        let after = world.written_from();
        assert_eq!(after.0 - before.0, 1 << 20, "seed {seed}: from windows");
        assert_eq!(after.1 - before.1, 0, "seed {seed}: from staging memory");
        world.finish();
    }
}

#[test]
fn data_that_came_with_the_command_is_not_asked_for() {
    let mut world = Setup::new(2).iser().build();
    let connection = world.iser_session(0);
    let bytes = pattern(8192, 4);
    world.iser_write(0, connection, 100, &bytes, 8192);
    assert_eq!(executed(&world, OperationKind::RdmaRead), 0);
    world.iser_write(0, connection, 100, &bytes, 4096);
    assert_eq!(executed(&world, OperationKind::RdmaRead), 1);
    assert!(world.iser_read(0, connection, 100, 16) == bytes);
    world.finish();
}

#[test]
fn more_or_less_room_than_the_command_wants() {
    for setup in [Setup::new(3), Setup::new(3).staged()] {
        let mut world = setup.iser().build();
        let connection = world.iser_session(0);
        let bytes = pattern(8192, 9);
        world.iser_write(0, connection, 0, &bytes, 0);
        for _ in 0..2 {
            let small = world.iser_buffer(0, connection, 4096);
            let reply = world.iser_execute(0, connection, &read(&small, 0, 16));
            let residual = reply.response().expect("a response").residual;
            assert_eq!((reply.status(), residual), (0, -4096));
            assert!(small.read(0, 4096).expect("a buffer") == bytes[..4096]);
            let large = world.iser_buffer(0, connection, 16_384);
            large.fill(0xee).expect("a buffer");
            let reply = world.iser_execute(0, connection, &read(&large, 0, 16));
            let residual = reply.response().expect("a response").residual;
            assert_eq!((reply.status(), residual), (0, 8192));
            assert!(reply.data() == bytes);
            let rest = large.read(8192, 8192).expect("a buffer");
            assert!(rest.iter().all(|&byte| byte == 0xee));
        }
        // A write with more data than its CDB wants, all of it immediate.
        let buffer = world.iser_filled(0, connection, &bytes);
        let mut command = write(&buffer, 50, 8192);
        command.cdb = scsi::write16(50, 8, false);
        let reply = world.iser_execute(0, connection, &command);
        let residual = reply.response().expect("a response").residual;
        assert_eq!((reply.status(), residual), (0, 4096));
        assert!(world.iser_read(0, connection, 50, 8) == bytes[..4096]);
        world.finish();
    }
}

/// One disk, whoever speaks what: both see what either wrote, from windows or staged.
#[test]
fn srp_and_iser_share_a_disk() {
    for seed in seeds(0..6) {
        for setup in [Setup::new(seed), Setup::new(seed).staged()] {
            let mut world = setup.iser().build();
            let channel = world.log_in(0);
            let connection = world.iser_session(1);
            for round in 0..12 {
                let blocks = 1 + world.random.below(200);
                let lba = world.random.below(2048 - blocks);
                let bytes = pattern(blocks as usize * 512, seed << 8 | round);
                if world.random.once_in(2) {
                    world.write(0, channel, lba, &bytes);
                } else {
                    world.iser_write(1, connection, lba, &bytes, bytes.len().min(4096));
                }
                assert!(world.read(0, channel, lba, blocks as u32) == bytes);
                assert!(world.iser_read(1, connection, lba, blocks as u32) == bytes);
            }
            world.finish();
        }
    }
}

/// READs and WRITEs of pieces of the disk that are each command's own, as many as the window has room for, all checked.
#[test]
fn many_at_once() {
    for seed in seeds(0..3) {
        for setup in [Setup::new(seed), Setup::new(seed).staged()] {
            let mut world = setup.iser().setting("\"queue_depth\": 16").build();
            let connections = [world.iser_session(0), world.iser_session(1)];
            let mut model = vec![vec![0; 16_384]; 32];
            for _ in 0..5 {
                let mut flights = Vec::new();
                for (host, &connection) in connections.iter().enumerate() {
                    for place in (0..16).map(|at| at * 2 + host) {
                        if !world.iser[host].can_send(connection) || world.random.once_in(3) {
                            continue;
                        }
                        let lba = place as u64 * 32;
                        let buffer = world.iser_buffer(host, connection, 16_384);
                        let command = if world.random.once_in(2) {
                            read(&buffer, lba, 32)
                        } else {
                            model[place] = pattern(16_384, world.random.next_u64());
                            buffer.write(0, &model[place]).expect("a buffer");
                            let immediate = [0, 512, 8192][world.random.below(3) as usize];
                            write(&buffer, lba, immediate)
                        };
                        let itt = world.iser_send(host, connection, &command);
                        flights.push((host, connection, itt, place));
                    }
                }
                for (host, connection, itt, place) in flights {
                    let reply = world.iser_reply(host, connection, itt);
                    assert!(reply.is_good(), "seed {seed}: {reply:?}");
                    if reply.piece.is_some() {
                        assert!(reply.data() == model[place], "seed {seed}, {place}");
                    }
                }
            }
            world.finish();
        }
    }
}

#[test]
fn commands_without_data_and_with_sense() {
    let mut world = Setup::new(1).iser().build();
    let connection = world.iser_session(0);
    let plain = |cdb| Command::new(0, cdb, Data::None);
    assert!(
        world
            .iser_execute(0, connection, &plain(scsi::test_unit_ready()))
            .is_good()
    );
    assert!(
        world
            .iser_execute(0, connection, &plain(scsi::synchronize_cache()))
            .is_good()
    );
    let nonsense = world.iser_execute(0, connection, &plain(vec![0xff; 16]));
    assert_eq!(
        (nonsense.status(), nonsense.sense()),
        (2, Some((5, 0x20, 0)))
    );
    let buffer = world.iser_buffer(0, connection, 512);
    let beyond = world.iser_execute(0, connection, &read(&buffer, 8192, 1));
    assert_eq!((beyond.status(), beyond.sense()), (2, Some((5, 0x21, 0))));
    assert_eq!(beyond.response().expect("a response").residual, 512);
    let reply = world.iser_execute(
        0,
        connection,
        &Command::new(
            0,
            scsi::inquiry(None, 255),
            Data::In(
                world
                    .iser_buffer(0, connection, 255)
                    .piece(0, 255)
                    .expect("it"),
            ),
        ),
    );
    assert_eq!(reply.data()[8..16], *b"PAGECAST");
    world.finish();
}

#[test]
fn keys_are_invalidated_for_those_who_want_it() {
    for seed in seeds(0..4) {
        let mut world = Setup::new(seed).iser().build();
        let mut options = Options::new(login(0));
        options.private_data = LINUX.to_vec();
        let connection = world.iser_log_in(0, options);
        assert_eq!(world.iser[0].answer(connection)[..4], [0x80, 0, 0, 0]);
        let buffer = world.iser_buffer(0, connection, 4096);
        let reply = world.iser_execute(0, connection, &read(&buffer, 0, 8));
        assert!(reply.is_good());
        world.iser_write(0, connection, 0, &pattern(4096, 1), 0);
        world.iser_write(0, connection, 0, &pattern(4096, 2), 4096);
        let inquiry = Command::new(0, scsi::test_unit_ready(), Data::None);
        assert!(world.iser_execute(0, connection, &inquiry).is_good());
        // One read, one write; there was no key in the others.
        assert_eq!(executed(&world, OperationKind::SendWithInvalidate), 2);
        // The key is gone: using it again breaks the connection.
        let itt = world.iser_send(0, connection, &read(&buffer, 0, 8));
        assert!(world.iser_try_reply(0, connection, itt).is_err());
        world.iser_over(0, connection);
        world.finish();
    }
}

#[test]
fn keys_of_others_are_left_alone() {
    for private_data in [LIBISCSI.to_vec(), Vec::new()] {
        let mut world = Setup::new(8).iser().build();
        let mut options = Options::new(login(0));
        options.private_data = private_data;
        let connection = world.iser_log_in(0, options);
        assert_eq!(world.iser[0].answer(connection)[..4], [0xc0, 0, 0, 0]);
        let buffer = world.iser_buffer(0, connection, 4096);
        for _ in 0..3 {
            let reply = world.iser_execute(0, connection, &read(&buffer, 0, 8));
            assert!(reply.is_good());
        }
        assert_eq!(executed(&world, OperationKind::SendWithInvalidate), 0);
        world.finish();
    }
}
