//! Data that arrives as it was sent.

use std::time::Duration;

use pagecast_backends::BackendError;
use pagecast_backends::testing::{Fault, Kind};
use pagecast_initiator::iscsi::response::Incoming;

use crate::world::{BLOCK, World, read, write};

const SIZES: [usize; 6] = [512, 4096 + 512, 65_536, 262_144 + 1024, 1 << 20, 3 << 20];

fn pattern(seed: usize, length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| (at / BLOCK * 7 + at * 3 + seed) as u8)
        .collect()
}

#[test]
fn reads_and_writes_with_every_kind_of_digest() {
    let mut world = World::new("");
    for (header, data) in [
        ("None", "None"),
        ("CRC32C", "None"),
        ("None", "CRC32C"),
        ("CRC32C", "CRC32C"),
    ] {
        let mut host = world.host_with(|options| {
            options.offer("HeaderDigest", header);
            options.offer("DataDigest", data);
        });
        assert_eq!(
            (host.digests.header, host.digests.data),
            (header == "CRC32C", data == "CRC32C")
        );
        host.ready(&mut world);
        let before = world.counters();
        for (round, size) in SIZES.into_iter().enumerate() {
            let bytes = pattern(round, size);
            let lba = round * 1000 + 3;
            let written = host.execute(&mut world, &write(lba, &bytes));
            assert_eq!((written.response.status, written.response.residual), (0, 0));
            let found = host.execute(&mut world, &read(lba, size / BLOCK));
            assert_eq!((found.response.status, found.response.residual), (0, 0));
            assert!(found.data == bytes, "{size} bytes, digests {header} {data}");
        }
        let after = world.counters();
        let (read, uncopied) = (after.0 - before.0, after.1 - before.1);
        // Pages that nobody looks at go from the cache to the socket.
        assert_eq!(uncopied, if data == "None" { read } else { 0 });
    }
}

#[test]
fn every_way_to_send_data_is_understood() {
    let mut world = World::new("");
    for initial_r2t in ["Yes", "No"] {
        for immediate in ["Yes", "No"] {
            for (segment, first, most) in [
                ("512", "512", "512"),
                ("8192", "16384", "32768"),
                ("262144", "262144", "16776192"),
            ] {
                let mut host = world.host_with(|options| {
                    options.offer("InitialR2T", initial_r2t);
                    options.offer("ImmediateData", immediate);
                    options.offer("MaxRecvDataSegmentLength", segment);
                    options.offer("FirstBurstLength", first);
                    options.offer("MaxBurstLength", most);
                });
                // We may as well send less at a time than the target takes.
                host.segment = host.segment.min(segment.parse().unwrap());
                host.ready(&mut world);
                let commands: Vec<_> = (0..8)
                    .map(|i| write(i * 100, &pattern(i, (i * i + 1) * BLOCK)))
                    .collect();
                for outcome in host.execute_all(&mut world, &commands) {
                    assert_eq!(outcome.response.status, 0);
                }
                let reads: Vec<_> = (0..8).map(|i| read(i * 100, i * i + 1)).collect();
                for (found, command) in host.execute_all(&mut world, &reads).iter().zip(&commands) {
                    assert!(found.data == command.data);
                }
            }
        }
    }
}

#[test]
fn bytes_may_come_one_at_a_time() {
    let mut world = World::new("");
    let mut host = world.host_with(|options| options.offer("HeaderDigest", "CRC32C"));
    host.ready(&mut world);
    let (_, pdus) = host.requests(&write(5, &pattern(9, 1024)));
    for pdu in pdus {
        for byte in host.digests.encode(&pdu) {
            host.send_bytes(&mut world, &[byte]);
        }
    }
    host.next(&mut world).unwrap();
    assert!(host.execute(&mut world, &read(5, 2)).data == pattern(9, 1024));
}

#[test]
fn residuals_are_told() {
    let mut world = World::new("");
    let mut host = world.host();
    host.ready(&mut world);
    // (buffer, blocks, bytes that move, residual)
    for (expected, blocks, moved, residual) in [
        (10_000, 1, 512, 9488),
        (200, 1, 200, -312),
        (512, 2, 512, -512),
        (513, 2, 513, -511),
    ] {
        let mut command = read(7, blocks);
        command.expected = expected;
        let found = host.execute(&mut world, &command);
        assert_eq!(
            (found.response.status, found.response.residual),
            (0, residual)
        );
        assert!(found.data == world.content[7 * BLOCK..][..moved]);
    }
}

#[test]
fn failing_stores_fail_the_command_and_nothing_else() {
    let mut world = World::new("");
    let mut host = world.host();
    host.ready(&mut world);
    let medium = BackendError::Medium(5);
    // Behind what fits into one pipe.
    let late = Fault::every(Kind::Splice, medium.clone())
        .within(3 << 20..(3 << 20) + 1)
        .times(1);
    world.store.inject(late);
    let early = Fault::every(Kind::Splice, medium).within(0..1).times(1);
    world.store.inject(early);
    for (lba, blocks) in [(0, 8), ((2 << 20) / BLOCK, (2 << 20) / BLOCK)] {
        let failed = host.execute(&mut world, &read(lba, blocks));
        assert_eq!(failed.response.status, 2);
        assert_eq!(
            (failed.response.sense[2] & 15, failed.response.sense[12]),
            (3, 0x11)
        );
        let found = host.execute(&mut world, &read(lba, blocks));
        assert!(found.data == world.content[lba * BLOCK..][..blocks * BLOCK]);
    }
    // A store that cannot splice is read from in the usual way.
    world
        .store
        .inject(Fault::every(Kind::Splice, BackendError::Unsupported));
    let before = world.counters();
    let found = host.execute(&mut world, &read(9, 300));
    assert!(found.data == world.content[9 * BLOCK..][..300 * BLOCK]);
    let after = world.counters();
    assert_eq!((after.0 - before.0, after.1 - before.1), (300 * 512, 0));
}

#[test]
fn commands_wait_for_memory_with_their_data() {
    // The least that there may be: 64 writes of 64 KiB.
    let mut world = World::new(r#""staging_memory": "4MiB","#);
    let mut hosts = [
        world.host(),
        world.host_with(|options| options.offer("InitialR2T", "No")),
    ];
    // One sends it with the command, the other one most of it after.
    hosts[1].segment = 8192;
    for host in &mut hosts {
        host.ready(&mut world);
    }
    world.store.hold(Kind::Write);
    let data = |number, i| pattern(i * 3 + number, 64 << 10);
    for (number, host) in hosts.iter_mut().enumerate() {
        for i in 0..50 {
            let lba = number * 8192 + i * 128;
            host.start(&mut world, &write(lba, &data(number, i)));
        }
    }
    world.pass(Duration::from_millis(100));
    world.store.release();
    for host in &mut hosts {
        for _ in 0..50 {
            match host.next(&mut world) {
                Some(Incoming::Response(response)) => assert_eq!(response.status, 0),
                other => panic!("{other:?}"),
            }
        }
    }
    for (number, host) in hosts.iter_mut().enumerate() {
        for i in 0..50 {
            let found = host.execute(&mut world, &read(number * 8192 + i * 128, 128));
            assert!(found.data == data(number, i), "host {number}, {i}");
        }
    }
}

#[test]
fn a_storm_of_commands() {
    let mut world = World::new("");
    let mut random = 42_u64;
    let mut next = move |below: usize| {
        // An LCG; its upper bits are good enough.
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (random >> 33) as usize % below
    };
    for round in 0..12 {
        let mut host = world.host_with(|options| {
            let digest = |on: bool| if on { "CRC32C" } else { "None" };
            options.offer("HeaderDigest", digest(round % 2 == 0));
            options.offer("DataDigest", digest(round % 3 == 0));
            options.offer("InitialR2T", if round % 4 < 2 { "Yes" } else { "No" });
            options.offer("MaxBurstLength", ["4096", "65536", "1048576"][round % 3]);
            options.offer(
                "MaxRecvDataSegmentLength",
                ["512", "10000", "262144"][round % 3],
            );
        });
        host.segment = host.segment.min(512 << (round % 10));
        host.ready(&mut world);
        let mut content = world.content.clone();
        for _ in 0..3 {
            // Each command has a part of the disk to itself, so that their order does not matter.
            let part = content.len() / BLOCK / 16;
            let commands: Vec<_> = (0..16)
                .map(|i| {
                    let blocks = 1 + next([8, 128, part][i % 3]);
                    let lba = i * part + next(part - blocks + 1);
                    match next(2) {
                        0 => read(lba, blocks),
                        _ => write(lba, &pattern(next(256), blocks * BLOCK)),
                    }
                })
                .collect();
            let outcomes = host.execute_all(&mut world, &commands);
            for (command, outcome) in commands.iter().zip(&outcomes) {
                assert_eq!((outcome.response.status, outcome.response.residual), (0, 0));
                let at = command.lba() * BLOCK;
                let place = &mut content[at..at + command.expected];
                if command.data.is_empty() {
                    assert!(outcome.data == place, "round {round}");
                } else {
                    place.copy_from_slice(&command.data);
                }
            }
        }
        world.content = content;
    }
}
