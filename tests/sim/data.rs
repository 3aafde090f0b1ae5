//! Data: every byte right, in every form, and on the way that it should take.

use pagecast_initiator::{Command, Data, Format, scsi};
use pagecast_tests::world::{read, write};
use pagecast_tests::{Setup, World, pattern, seeds};

const LENGTHS: [usize; 8] = [512, 1024, 4096, 4608, 65_536, 66_048, 262_144, 1 << 20];

fn disks() -> [(&'static str, &'static str); 3] {
    [
        (
            "windows",
            r#"{ "name": "disk0", "backend": "memory", "size": "4MiB" }"#,
        ),
        (
            "staged",
            r#"{ "name": "disk0", "backend": "memory", "size": "4MiB", "zero_copy": "off" }"#,
        ),
        (
            "4k",
            r#"{ "name": "disk0", "backend": "memory", "size": "4MiB", "write_cache": false }"#,
        ),
    ]
}

#[test]
fn every_length_and_form() {
    for seed in seeds(0..3) {
        for (name, disk) in disks() {
            let mut world = Setup::new(seed).device(disk).build();
            let channel = world.log_in(0);
            for (turn, &length) in LENGTHS.iter().enumerate() {
                // Immediate data first, where it fits.
                let lba = world.random.below(8192 - length as u64 / 512);
                let blocks = (length / 512) as u32;
                if length <= 4608 {
                    let bytes = pattern(length, turn as u64 ^ 77);
                    let data = Data::Immediate(bytes.clone());
                    let command = Command::new(0, scsi::write16(lba, blocks, false), data);
                    assert!(world.execute(0, channel, &command).is_good());
                    assert!(world.read(0, channel, lba, blocks) == bytes);
                }
                for (from, to, out, into) in [
                    (0, 0, Format::Direct, Format::Direct),
                    (4096, 65_536, Format::Indirect, Format::Indirect),
                    (
                        length / 7 + 1,
                        length / 13 + 1,
                        Format::Indirect,
                        Format::Indirect,
                    ),
                    (5000, 4096, Format::External(2), Format::External(0)),
                    (
                        length / 3 + 1,
                        length / 250 + 1,
                        Format::External(1),
                        Format::Indirect,
                    ),
                ] {
                    let what = format!("seed {seed}, {name}, {length} bytes, {out:?}, {into:?}");
                    if out == Format::Indirect && from > 0 && length.div_ceil(from) > 255 {
                        continue;
                    }
                    let bytes = pattern(length, seed ^ (turn as u64) << 8 ^ from as u64);
                    let source = world.buffer(0, channel, length);
                    source.write(0, &bytes).expect("within the buffer");
                    let cut = |buffer: &pagecast_initiator::Buffer, size: usize| match size {
                        0 => buffer.whole().expect("all of it"),
                        size => buffer.pieces(size).expect("all of it"),
                    };
                    let data = Data::Out(cut(&source, from), out);
                    let command = Command::new(0, scsi::write16(lba, blocks, turn % 2 == 1), data);
                    assert!(world.execute(0, channel, &command).is_good(), "{what}");
                    // Twice: the first may be the miss that fills the windows.
                    for _ in 0..2 {
                        let target = world.buffer(0, channel, length);
                        let data = Data::In(cut(&target, to), into);
                        let command = Command::new(0, scsi::read16(lba, blocks), data);
                        let reply = world.execute(0, channel, &command);
                        assert!(reply.is_good(), "{what}: {:?}", reply.sense());
                        assert!(reply.data() == bytes, "{what}: wrong bytes");
                    }
                }
            }
            world.finish();
        }
    }
}

#[test]
fn a_second_read_comes_from_the_page_cache() {
    for seed in seeds(0..4) {
        let mut world = Setup::new(seed).build();
        let channel = world.log_in(0);
        let bytes = pattern(4 << 20, seed);
        for (at, part) in bytes.chunks(1 << 20).enumerate() {
            world.write(0, channel, at as u64 * 2048, part);
        }
        for at in 0..4 {
            world.read(0, channel, at * 2048, 2048);
        }
        let before = world.written_from();
        for (at, part) in bytes.chunks(1 << 20).enumerate() {
            assert!(world.read(0, channel, at as u64 * 2048, 2048) == part);
        }
        // The net's own books of what was sent from where, not the daemon's.
        let after = world.written_from();
        assert_eq!(after.0 - before.0, 4 << 20, "seed {seed}: from windows");
        assert_eq!(after.1 - before.1, 0, "seed {seed}: from staging memory");
        // And the daemon's agree.
        let device = &world.daemon.shared.inventory().devices[0];
        let counted = device.total(|counters| &counters.read_bytes_zero_copy);
        assert_eq!(counted, after.0, "seed {seed}");
        world.finish();
    }
}

#[test]
fn without_windows_nothing_comes_from_the_page_cache() {
    let mut world = Setup::new(5).staged().build();
    let channel = world.log_in(0);
    for _ in 0..3 {
        world.read(0, channel, 0, 128);
    }
    let (windows, staged) = world.written_from();
    assert_eq!((windows, staged), (0, 3 * 65_536));
    world.finish();
}

#[test]
fn writes_show_in_windows() {
    for seed in seeds(0..12) {
        let mut world = Setup::new(seed).build();
        let one = world.log_in(0);
        let two = world.log_in(1);
        world.read(1, two, 0, 256);
        world.read(1, two, 0, 256);
        for round in 0..6 {
            let lba = world.random.below(200);
            let bytes = pattern(512 * 40, seed * 100 + round);
            world.write(0, one, lba, &bytes);
            let before = world.written_from();
            assert!(world.read(1, two, lba, 40) == bytes, "seed {seed}");
            let after = world.written_from();
            assert_eq!(
                after.0 - before.0,
                512 * 40,
                "seed {seed}: not from windows"
            );
        }
        world.finish();
    }
}

/// Overlapping commands in flight: each block is one that somebody wrote, and after all of them it is what the last write that
/// overlapped nothing said.
#[test]
fn overlapping_commands_in_flight() {
    for seed in seeds(0..12) {
        let mut world = Setup::new(seed).build();
        let channels = [world.log_in(0), world.log_in(1)];
        const BLOCKS: u64 = 64;
        let mut waiting = Vec::new();
        let mut salt = 1;
        for _ in 0..60 {
            let host = world.random.index(2);
            let lba = world.random.below(BLOCKS - 8);
            if world.random.once_in(2) {
                let source = world.buffer(host, channels[host], 4096);
                // Every block is full of one byte, and a byte is of one write.
                source.fill(salt).expect("a buffer");
                salt = salt % 250 + 1;
                let tag = world.send(host, channels[host], &write(&source, lba));
                waiting.push((host, tag, false));
            } else {
                let target = world.buffer(host, channels[host], 4096);
                let tag = world.send(host, channels[host], &read(&target, lba, 8));
                waiting.push((host, tag, true));
            }
        }
        for (host, tag, is_read) in waiting {
            let reply = world.reply(host, channels[host], tag);
            assert!(reply.is_good(), "seed {seed}");
            if is_read {
                let data = reply.data();
                assert_eq!(data.len(), 4096);
                for block in data.chunks(512) {
                    assert!(
                        block.iter().all(|&byte| byte == block[0]),
                        "seed {seed}: a torn block"
                    );
                }
            }
        }
        let data = world.read(0, channels[0], 0, BLOCKS as u32);
        assert!(data == world.read(1, channels[1], 0, BLOCKS as u32));
        world.finish();
    }
}

#[test]
fn more_or_less_room_than_the_command_wants() {
    for disk in disks() {
        let mut world = Setup::new(3).device(disk.1).build();
        let channel = world.log_in(0);
        let bytes = pattern(8192, 9);
        world.write(0, channel, 0, &bytes);
        for _ in 0..2 {
            // Room for half of it.
            let small = world.buffer(0, channel, 4096);
            let reply = world.execute(0, channel, &read(&small, 0, 16));
            assert_eq!((reply.status(), reply.response.residual_in), (0, -4096));
            assert!(small.read(0, 4096).expect("a buffer") == bytes[..4096]);
            // Room for twice as much: what is beyond stays as it was.
            let large = world.buffer(0, channel, 16_384);
            large.fill(0xee).expect("a buffer");
            let reply = world.execute(0, channel, &read(&large, 0, 16));
            assert_eq!((reply.status(), reply.response.residual_in), (0, 8192));
            assert!(reply.data() == bytes);
            let rest = large.read(8192, 8192).expect("a buffer");
            assert!(rest.iter().all(|&byte| byte == 0xee));
        }
        world.finish();
    }
}

#[test]
fn tiny_staging_memory_makes_progress() {
    for seed in seeds(0..6) {
        let mut setup = Setup::new(seed)
            .staged()
            .setting("\"staging_memory\": \"4MiB\"")
            .setting("\"queue_depth\": 32");
        setup.shards = 1;
        let mut world = setup.build();
        let channels = [world.log_in(0), world.log_in(1)];
        // 32 MiB wanted at once.
        let mut waiting = Vec::new();
        for turn in 0..32 {
            let host = turn % 2;
            let buffer = world.buffer(host, channels[host], 1 << 20);
            let lba = (turn as u64 / 2 % 4) * 2048;
            let command = if turn % 3 == 0 {
                buffer.fill(turn as u8).expect("a buffer");
                write(&buffer, lba)
            } else {
                read(&buffer, lba, 2048)
            };
            let tag = world.send(host, channels[host], &command);
            waiting.push((host, tag));
        }
        for (host, tag) in waiting {
            assert!(
                world.reply(host, channels[host], tag).is_good(),
                "seed {seed}"
            );
        }
        world.finish();
    }
}

/// Whatever the limits say that a command may move has to fit the staging memory, however little there is.
#[test]
fn the_longest_command_fits_the_smallest_staging_memory() {
    for shards in [1, 2, 4, 64] {
        let mut setup = Setup::new(1)
            .device(
                r#"{ "name": "disk0", "backend": "memory", "size": "16MiB", "zero_copy": "off" }"#,
            )
            .setting("\"staging_memory\": \"4MiB\"");
        setup.shards = shards;
        let mut world = setup.build();
        let channel = world.log_in(0);
        let limits = world.buffer(0, channel, 64);
        let data = Data::In(limits.whole().expect("all of it"), Format::Direct);
        let reply = world.execute(
            0,
            channel,
            &Command::new(0, scsi::inquiry(Some(0xb0), 64), data),
        );
        let page = reply.data();
        let blocks = u32::from_be_bytes(page[8..12].try_into().expect("four bytes"));
        assert!(blocks >= 128, "{blocks}");
        let bytes = pattern(blocks as usize * 512, 3);
        world.write(0, channel, 0, &bytes);
        assert!(world.read(0, channel, 0, blocks) == bytes);
        // VERIFY with BYTCHK needs both sides of the comparison in memory.
        let source = world.buffer(0, channel, bytes.len());
        source.write(0, &bytes).expect("within the buffer");
        let mut cdb = scsi::read16(0, blocks);
        (cdb[0], cdb[1]) = (0x8f, 2);
        let data = Data::Out(source.whole().expect("all of it"), Format::Direct);
        let reply = world.execute(0, channel, &Command::new(0, cdb, data));
        assert!(reply.is_good(), "{shards} shards: {:?}", reply.sense());
        world.finish();
    }
}

#[test]
fn tiny_queue_depth() {
    for seed in seeds(0..6) {
        let mut world = Setup::new(seed).setting("\"queue_depth\": 2").build();
        let channel = world.log_in(0);
        for round in 0..20 {
            let bytes = pattern(70_000 / 512 * 512, round);
            world.write(0, channel, round * 7, &bytes);
            assert!(world.read(0, channel, round * 7, bytes.len() as u32 / 512) == bytes);
        }
        world.finish();
    }
}

#[test]
fn the_daemons_own_engines() {
    for engine in ["auto", "threads"] {
        let mut setup = Setup::new(2)
            .device(
                r#"{ "name": "disk0", "backend": "memory", "size": "4MiB", "zero_copy": "off" }"#,
            )
            .setting(&format!("\"io_engine\": \"{engine}\""));
        setup.real_io = true;
        let mut world = setup.build();
        let channel = world.log_in(0);
        round_trips(&mut world, channel);
        world.finish();
    }
}

#[test]
fn a_file() {
    let mut setup = Setup::new(2).device(
        r#"{ "name": "disk0", "backend": "file", "path": "$DIR/../pagecast-sim-file.img" }"#,
    );
    let path = std::env::temp_dir().join(format!("pagecast-sim-file-{}.img", std::process::id()));
    std::fs::write(&path, vec![0; 4 << 20]).expect("a file");
    setup.devices[0] =
        setup.devices[0].replace("$DIR/../pagecast-sim-file.img", &path.to_string_lossy());
    let mut world = setup.build();
    let channel = world.log_in(0);
    round_trips(&mut world, channel);
    world.write(0, channel, 8, &pattern(4096, 42));
    let flush = Command::new(0, scsi::synchronize_cache(), Data::None);
    assert!(world.execute(0, channel, &flush).is_good());
    world.finish();
    let on_disk = std::fs::read(&path).expect("the file");
    std::fs::remove_file(&path).expect("removed");
    assert!(on_disk[4096..8192] == pattern(4096, 42));
}

fn round_trips(world: &mut World, channel: pagecast_initiator::ChannelId) {
    for round in 0..10 {
        let bytes = pattern(100_352, round);
        world.write(0, channel, round * 11, &bytes);
        assert!(world.read(0, channel, round * 11, 196) == bytes);
    }
}

/// What all the others rely on, so that a seed that fails does so again.
#[test]
fn equal_seeds_give_equal_histories() {
    for windows in [false, true] {
        let history = |seed: u64| {
            let setup = Setup::new(seed);
            let mut world = if windows { setup } else { setup.staged() }.build();
            let channels = [world.log_in(0), world.log_in(1)];
            // One at a time, until every window is there: threads fill them, and commands of one turn may find them or not.
            for lba in (0..1152).step_by(128).chain((0..1152).step_by(128)) {
                world.read(0, channels[0], lba, 128);
                world.settle();
            }
            let mut waiting = Vec::new();
            for turn in 0..60 {
                let host = world.random.index(2);
                let lba = world.random.below(1000);
                let buffer = world.buffer(host, channels[host], 20_480);
                let command = match turn % 3 {
                    0 => write(&buffer, lba),
                    _ => read(&buffer, lba, 40),
                };
                waiting.push((host, world.send(host, channels[host], &command)));
            }
            for (host, tag) in waiting {
                world.reply(host, channels[host], tag);
            }
            world.net.trace()
        };
        let (one, again, other) = (history(7), history(7), history(8));
        assert!(one == again, "windows: {windows}");
        assert!(one != other);
    }
}
