//! As many commands as the window has room for, and connections that are lost among them.

use pagecast_initiator::iser::ConnectionHandle;
use pagecast_tests::iser::{read, write};
use pagecast_tests::{Host, Setup, World, pattern, seeds};

use super::{ran_dry, sessions};

/// As many commands as the window has room for.
fn load(world: &mut World, host: Host, connection: ConnectionHandle) -> Vec<u32> {
    let mut tags = Vec::new();
    while world.iser[host].can_send(connection) {
        let blocks = 1 + world.random.below(300) as u32;
        let lba = world.random.below(4096 - u64::from(blocks));
        let length = blocks as usize * 512;
        let buffer = world.iser_buffer(host, connection, length);
        let command = match world.random.below(3) {
            0 => read(&buffer, lba, blocks),
            1 => write(&buffer, lba, length.min(8192)),
            _ => write(&buffer, lba, 0),
        };
        let sent = world.iser[host].send(connection, &command);
        tags.push(sent.expect("an open window"));
    }
    tags
}

#[test]
fn the_window_is_what_the_receives_are() {
    for seed in seeds(0..6) {
        let mut world = Setup::new(seed)
            .iser()
            .setting("\"queue_depth\": 5")
            .build();
        let connections = [world.iser_session(0), world.iser_session(1)];
        for _ in 0..20 {
            for (host, &connection) in connections.iter().enumerate() {
                let tags = load(&mut world, host, connection);
                assert!(tags.len() <= 5, "seed {seed}");
                // What is for immediate delivery comes on top.
                for _ in 0..3 {
                    let data = b"ping".to_vec();
                    let nop = world.iser[host]
                        .request(connection, |client| client.nop(true, data))
                        .expect("sent");
                    world.iser_reply(host, connection, nop);
                }
            }
            for _ in 0..world.random.below(100) {
                world.pump();
            }
            for (host, &connection) in connections.iter().enumerate() {
                while world.iser[host].next_reply(connection).is_some() {}
            }
        }
        world.settle();
        assert_eq!(ran_dry(&world), 0, "seed {seed}");
        world.finish();
    }
}

#[test]
fn connections_are_lost_under_load() {
    for seed in seeds(0..8) {
        for setup in [Setup::new(seed), Setup::new(seed).staged()] {
            let mut world = setup.iser().build();
            let bystander = world.iser_session(1);
            let kept = pattern(4096, seed);
            world.iser_write(1, bystander, 8000, &kept, 0);
            let connection = world.iser_session(0);
            load(&mut world, 0, connection);
            for _ in 0..world.random.below(120) {
                world.pump();
            }
            match world.random.below(3) {
                0 => world.iser[0].fail(connection).expect("a queue pair"),
                1 => world.iser[0].disconnect(connection).expect("a connection"),
                _ => {
                    world.iser[0]
                        .request(connection, |client| client.logout(0, 0))
                        .expect("sent");
                }
            }
            world.iser_over(0, connection);
            assert!(
                world.iser_read(1, bystander, 8000, 8) == kept,
                "seed {seed}"
            );
            world.settle();
            assert_eq!(sessions(&world), 1, "seed {seed}");
            assert_eq!(world.target_queue_pairs().len(), 1, "seed {seed}");
            let again = world.iser_session(0);
            world.iser_read(0, again, 0, 8);
            world.finish();
        }
    }
}
