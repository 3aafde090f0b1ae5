//! Devices that get another size while they are served.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use pagecast_backends::Backend;
use pagecast_backends::testing::Kind;
use pagecast_initiator::{Buffer, ChannelId, Command, Data, Format, Reply, scsi};
use pagecast_tests::world::{read, write};
use pagecast_tests::{Host, Setup, World, pattern, seeds};
use pagecastd::control::Management;
use pagecastd::device::resize::{ResizeError, Resized};

const MIB: u64 = 1 << 20;
/// Blocks in that.
const MIB_BLOCKS: u64 = MIB / 512;
const CAPACITY_CHANGED: Option<(u8, u8, u8)> = Some((6, 0x2a, 9));
const OUT_OF_RANGE: Option<(u8, u8, u8)> = Some((5, 0x21, 0));

/// The ways in which a disk of that size can be there.
fn each_disk(size: u64, test: impl Fn(World, u64)) {
    for seed in seeds(0..4) {
        let memory = format!(r#""name": "disk0", "backend": "memory", "size": {size}"#);
        let file = TemporaryFile::new(size);
        for keys in [
            memory.clone(),
            format!(r#"{memory}, "zero_copy": "off""#),
            file.device(),
        ] {
            let setup = Setup::new(seed).device(&format!("{{ {keys} }}"));
            test(setup.build(), seed);
        }
    }
}

struct TemporaryFile(PathBuf);

impl TemporaryFile {
    fn new(size: u64) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (process, number) = (std::process::id(), NEXT.fetch_add(1, Relaxed));
        let name = format!("pagecast-sim-{process}-resize-{number}");
        let path = std::env::temp_dir().join(name);
        let file = File::create_new(&path).expect("a file");
        file.set_len(size).expect("its size");
        Self(path)
    }

    /// What a device has to say of it.
    fn device(&self) -> String {
        let path = self.0.display();
        format!(r#""name": "disk0", "backend": "file", "path": "{path}""#)
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn start(
    world: &World,
    size: Option<u64>,
    force: bool,
    patience: Duration,
) -> JoinHandle<Result<Resized, ResizeError>> {
    let device = Arc::clone(&world.daemon.shared.inventory().devices[0]);
    std::thread::spawn(move || device.resize(size, force, patience))
}

/// As a control thread does it, while everything else goes on.
fn resize(world: &mut World, size: Option<u64>, force: bool) -> Result<Resized, ResizeError> {
    let resizing = start(world, size, force, Duration::from_secs(60));
    finish(world, resizing)
}

fn finish(
    world: &mut World,
    resizing: JoinHandle<Result<Resized, ResizeError>>,
) -> Result<Resized, ResizeError> {
    world.run_until(|_| resizing.is_finished().then_some(()));
    resizing.join().expect("no panic")
}

fn sense_of_test_unit_ready(
    world: &mut World,
    host: Host,
    channel: ChannelId,
) -> Option<(u8, u8, u8)> {
    let command = Command::new(0, scsi::test_unit_ready(), Data::None);
    world.execute(host, channel, &command).sense()
}

/// What READ CAPACITY says, in bytes.
fn capacity(world: &mut World, host: Host, channel: ChannelId) -> u64 {
    let buffer = world.buffer(host, channel, 32);
    let pieces = buffer.whole().expect("all of it");
    let data = Data::In(pieces, Format::Direct);
    let command = Command::new(0, scsi::read_capacity16(32), data);
    let reply = world.execute(host, channel, &command);
    assert!(reply.is_good(), "{:?}", reply.sense());
    let last: [u8; 8] = reply.data()[..8].try_into().expect("eight bytes");
    (u64::from_be_bytes(last) + 1) * 512
}

fn reported_size(world: &World) -> u64 {
    world.daemon.shared.devices()[0].size
}

fn store_size(world: &World) -> u64 {
    world.store().current_size().expect("a store")
}

fn read_at(world: &mut World, channel: ChannelId, lba: u64) -> Reply {
    let buffer = world.buffer(0, channel, 4096);
    world.execute(0, channel, &read(&buffer, lba, 8))
}

/// Reads until nothing is staged any more, if the disk has windows: those that a resize drops come back after a while.
fn read_from_windows(world: &mut World, channel: ChannelId, lba: u64, blocks: u32) -> Vec<u8> {
    for _ in 0..100 {
        let before = world.written_from();
        let data = world.read(0, channel, lba, blocks);
        let after = world.written_from();
        let moved = (after.0 - before.0, after.1 - before.1);
        let has_windows = world.daemon.shared.inventory().devices[0].windows.is_some();
        if !has_windows || moved == (u64::from(blocks) * 512, 0) {
            return data;
        }
        world.settle();
    }
    panic!("seed {}: never from a window", world.seed);
}

/// Writes and reads in all of the disk, on both channels, as they come.
fn traffic(
    world: &mut World,
    channels: [ChannelId; 2],
    blocks: u64,
    salt: u64,
) -> Vec<(Host, ChannelId, u64, Buffer)> {
    let mut sent = Vec::new();
    for number in 0..8 {
        let host = number % 2;
        let channel = channels[host];
        let lba = world.random.below(blocks - 64);
        let buffer = world.buffer(host, channel, 64 * 512);
        let command = if world.random.once_in(2) {
            buffer.write(0, &pattern(64 * 512, salt)).expect("fits");
            write(&buffer, lba)
        } else {
            read(&buffer, lba, 64)
        };
        let tag = world.send(host, channel, &command);
        sent.push((host, channel, tag, buffer));
    }
    for _ in 0..world.random.below(60) {
        world.pump();
    }
    sent
}

#[test]
fn growing_under_io() {
    // The last window is a piece of one.
    let size = 4 * MIB + 20 * 1024;
    each_disk(size, |mut world, seed| {
        let channels = [world.log_in(0), world.log_in(1)];
        let tail = pattern(40 * 512, seed);
        world.write(0, channels[0], size / 512 - 40, &tail);
        for _ in 0..3 {
            world.read(0, channels[0], size / 512 - 40, 40);
        }
        let beyond = read_at(&mut world, channels[0], size / 512);
        assert_eq!(beyond.sense(), OUT_OF_RANGE);
        let sent = traffic(&mut world, channels, size / 512 - 40, seed);
        let resized = resize(&mut world, Some(9 * MIB), false);
        let expected = Resized {
            before: size,
            now: 9 * MIB,
        };
        assert_eq!(resized, Ok(expected), "seed {seed}");
        assert_eq!(store_size(&world), 9 * MIB);
        let mut told = [false; 2];
        for (host, channel, tag, _buffer) in sent {
            let reply = world.reply(host, channel, tag);
            if !reply.is_good() {
                assert_eq!(reply.sense(), CAPACITY_CHANGED, "seed {seed}");
                assert!(!std::mem::replace(&mut told[host], true), "told twice");
            }
        }
        for host in 0..2 {
            let sense = sense_of_test_unit_ready(&mut world, host, channels[host]);
            let expected = if told[host] { None } else { CAPACITY_CHANGED };
            assert_eq!(sense, expected, "seed {seed}, host {host}");
            assert_eq!(capacity(&mut world, host, channels[host]), 9 * MIB);
        }
        assert_eq!(reported_size(&world), 9 * MIB);
        assert!(!world.daemon.shared.inventory().devices[0].is_failed());

        // What is new works like the rest, the window that was a piece included.
        let channel = channels[0];
        let at = size / 512 - 40;
        assert_eq!(world.read(0, channel, at, 40), tail, "seed {seed}");
        let new = pattern(128 * 512, seed + 1);
        world.write(0, channel, at + 40, &new);
        world.write(1, channels[1], 9 * MIB_BLOCKS - 128, &new);
        for lba in [at + 40, 9 * MIB_BLOCKS - 128] {
            assert!(world.read(0, channel, lba, 128) == new, "seed {seed}");
            assert!(read_from_windows(&mut world, channel, lba, 128) == new);
        }
        let end = read_at(&mut world, channel, 9 * MIB_BLOCKS);
        assert_eq!(end.sense(), OUT_OF_RANGE);
        world.finish();
    });
}

#[test]
fn the_present_size_is_taken_over() {
    each_disk(4 * MIB, |mut world, seed| {
        let channel = world.log_in(0);
        world.store().set_size(6 * MIB).expect("grown");
        world.pass(Duration::from_millis(2));
        world.read(0, channel, 0, 8);
        // Nobody has asked for it so far.
        let beyond = read_at(&mut world, channel, 5 * MIB_BLOCKS);
        assert_eq!(beyond.sense(), OUT_OF_RANGE, "seed {seed}");
        assert!(!world.daemon.shared.inventory().devices[0].is_failed());
        let resized = resize(&mut world, None, false).expect("resized");
        assert_eq!((resized.before, resized.now), (4 * MIB, 6 * MIB));
        let sense = sense_of_test_unit_ready(&mut world, 0, channel);
        assert_eq!(sense, CAPACITY_CHANGED);
        let data = read_from_windows(&mut world, channel, 5 * MIB_BLOCKS, 8);
        assert_eq!(data, [0; 4096], "seed {seed}");
        // Once more, and nobody is told of nothing.
        let again = resize(&mut world, None, false).expect("resized");
        assert_eq!((again.before, again.now), (6 * MIB, 6 * MIB));
        assert_eq!(sense_of_test_unit_ready(&mut world, 0, channel), None);
        world.finish();
    });
}

#[test]
fn shrinking_takes_force() {
    each_disk(4 * MIB, |mut world, seed| {
        let channels = [world.log_in(0), world.log_in(1)];
        let channel = channels[0];
        let bytes = pattern(64 * 512, seed);
        for lba in [0, 3 * MIB_BLOCKS] {
            world.write(0, channel, lba, &bytes);
            for _ in 0..3 {
                assert!(world.read(0, channel, lba, 64) == bytes);
            }
        }
        let refused = resize(&mut world, Some(MIB), false);
        let expected = ResizeError::Destructive {
            size: MIB,
            present: 4 * MIB,
        };
        assert_eq!(refused, Err(expected));
        assert_eq!(sense_of_test_unit_ready(&mut world, 0, channel), None);
        assert!(world.read(0, channel, 3 * MIB_BLOCKS, 64) == bytes);

        let resized = resize(&mut world, Some(MIB), true).expect("resized");
        assert_eq!((resized.before, resized.now), (4 * MIB, MIB));
        assert_eq!(store_size(&world), MIB, "seed {seed}");
        assert_eq!(reported_size(&world), MIB);
        world.pass(Duration::from_millis(2));
        for (host, channel) in channels.into_iter().enumerate() {
            let sense = sense_of_test_unit_ready(&mut world, host, channel);
            assert_eq!(sense, CAPACITY_CHANGED, "seed {seed}");
        }
        assert!(world.read(0, channel, 0, 64) == bytes, "seed {seed}");
        let beyond = read_at(&mut world, channel, 3 * MIB_BLOCKS);
        assert_eq!(beyond.sense(), OUT_OF_RANGE);
        assert!(!world.daemon.shared.inventory().devices[0].is_failed());
        assert_eq!(world.daemon.shared.status().warnings, Vec::<String>::new());

        // And back: nothing of it comes again.
        resize(&mut world, Some(4 * MIB), false).expect("resized");
        let sense = sense_of_test_unit_ready(&mut world, 0, channel);
        assert_eq!(sense, CAPACITY_CHANGED);
        for _ in 0..3 {
            let data = world.read(0, channel, 3 * MIB_BLOCKS, 64);
            assert!(data.iter().all(|&byte| byte == 0), "seed {seed}: stale");
        }
        world.finish();
    });
}

/// Whatever was on its way is done, or hears that there is nothing; and no write brings the rest back.
#[test]
fn shrinking_under_io() {
    each_disk(4 * MIB, |mut world, seed| {
        let channels = [world.log_in(0), world.log_in(1)];
        // Some of them are served from windows.
        for lba in (0..4 * MIB_BLOCKS).step_by(1024) {
            world.read(0, channels[0], lba, 64);
        }
        let mut size = 4 * MIB;
        for round in 0..3 {
            let sent = traffic(&mut world, channels, size / 512, seed + round);
            let smaller = size - MIB;
            resize(&mut world, Some(smaller), true).expect("resized");
            for (host, channel, tag, _buffer) in sent {
                let reply = world.reply(host, channel, tag);
                let expected = [None, OUT_OF_RANGE, CAPACITY_CHANGED];
                assert!(
                    expected.contains(&reply.sense()),
                    "seed {seed}: {:?}",
                    reply.sense()
                );
            }
            world.settle();
            assert_eq!(store_size(&world), smaller, "seed {seed}: grown back");
            for (host, channel) in channels.into_iter().enumerate() {
                // Unless that was among the replies.
                let sense = sense_of_test_unit_ready(&mut world, host, channel);
                assert!([None, CAPACITY_CHANGED].contains(&sense));
            }
            size = smaller;
        }
        resize(&mut world, Some(4 * MIB), false).expect("resized");
        sense_of_test_unit_ready(&mut world, 0, channels[0]);
        for lba in (size / 512..4 * MIB_BLOCKS).step_by(1024) {
            let data = world.read(0, channels[0], lba, 1024);
            assert!(data.iter().all(|&byte| byte == 0), "seed {seed}: at {lba}");
        }
        world.finish();
    });
}

/// A READ from a window beyond the new end is on its way to the initiator: the pages stay until it is there.
#[test]
fn what_is_sent_from_windows_is_waited_for() {
    for seed in seeds(0..8) {
        let mut world = Setup::new(seed).build();
        let channel = world.log_in(0);
        let bytes = pattern(64 * 512, seed);
        world.write(0, channel, 3 * MIB_BLOCKS, &bytes);
        read_from_windows(&mut world, channel, 3 * MIB_BLOCKS, 64);
        // Those are over, to the last completion.
        world.settle();
        let before = world.written_from();
        let buffer = world.buffer(0, channel, 64 * 512);
        let tag = world.send(0, channel, &read(&buffer, 3 * MIB_BLOCKS, 64));
        let device = Arc::clone(&world.daemon.shared.inventory().devices[0]);
        world.run_until(|_| (device.total(|counters| &counters.in_flight) == 1).then_some(()));
        for shard in [0, 1, 0, 1] {
            world.turn_shard(shard);
        }
        // The net stands still.
        let patience = Duration::from_millis(50);
        let result = device.resize(Some(MIB), true, patience);
        assert_eq!(result, Err(ResizeError::InUse(patience)), "seed {seed}");
        assert_eq!(store_size(&world), 4 * MIB);
        let resizing = start(&world, Some(MIB), true, Duration::from_secs(60));
        let reply = world.reply(0, channel, tag);
        assert!(reply.is_good() && reply.data() == bytes, "seed {seed}");
        finish(&mut world, resizing).expect("resized");
        let after = world.written_from();
        assert_eq!((after.0 - before.0, after.1), (64 * 512, before.1));
        world.finish();
    }
}

/// A WRITE beyond the new end that the store has in hand is waited for.
#[test]
fn what_the_store_has_in_hand_is_waited_for() {
    each_disk(4 * MIB, |mut world, seed| {
        let channel = world.log_in(0);
        let before = pattern(4096, seed);
        world.write(0, channel, 3 * MIB_BLOCKS, &before);
        world.io.hold(Kind::Write);
        let buffer = world.buffer(0, channel, 4096);
        let stuck = world.send(0, channel, &write(&buffer, 3 * MIB_BLOCKS));
        world.run_until(|world| (world.io.waiting() == 1).then_some(()));

        // Somebody with less patience gives up, and everything is as it was but for what initiators were told.
        let patience = Duration::from_millis(50);
        let resizing = start(&world, Some(MIB), true, patience);
        let result = finish(&mut world, resizing);
        assert_eq!(result, Err(ResizeError::InUse(patience)), "seed {seed}");
        assert_eq!(
            (store_size(&world), reported_size(&world)),
            (4 * MIB, 4 * MIB)
        );
        let sense = sense_of_test_unit_ready(&mut world, 0, channel);
        assert_eq!(sense, CAPACITY_CHANGED);
        assert_eq!(capacity(&mut world, 0, channel), 4 * MIB);
        world.read(0, channel, 2 * MIB_BLOCKS, 8);

        let resizing = start(&world, Some(MIB), true, Duration::from_secs(60));
        // New commands hear of it at once.
        world.run_until(|world| (reported_size(world) == MIB).then_some(()));
        world.settle();
        assert!(!resizing.is_finished(), "seed {seed}");
        assert_eq!(store_size(&world), 4 * MIB);
        let sense = sense_of_test_unit_ready(&mut world, 0, channel);
        assert_eq!(sense, CAPACITY_CHANGED);
        let beyond = read_at(&mut world, channel, 3 * MIB_BLOCKS);
        assert_eq!(beyond.sense(), OUT_OF_RANGE);
        let busy = world.daemon.shared.inventory().devices[0].resize(None, true, patience);
        assert_eq!(busy, Err(ResizeError::Busy));
        // What is not beyond goes on meanwhile, as far as the store is concerned.
        world.read(0, channel, 0, 8);

        world.io.release();
        assert!(world.reply(0, channel, stuck).is_good(), "seed {seed}");
        finish(&mut world, resizing).expect("resized");
        assert_eq!(store_size(&world), MIB);
        world.write(0, channel, 0, &before);
        world.finish();
    });
}

/// A READ that is stuck in the store when its end is cut off.
#[test]
fn a_read_that_comes_too_late_is_out_of_range() {
    for seed in seeds(0..4) {
        let mut world = Setup::new(seed).staged().build();
        let channel = world.log_in(0);
        world.io.hold(Kind::Read);
        let buffer = world.buffer(0, channel, 4096);
        let stuck = world.send(0, channel, &read(&buffer, 3 * MIB_BLOCKS, 8));
        let kept = world.send(0, channel, &read(&buffer, 0, 8));
        world.run_until(|world| (world.io.waiting() == 2).then_some(()));
        resize(&mut world, Some(MIB), true).expect("resized");
        world.io.release();
        assert_eq!(world.reply(0, channel, stuck).sense(), OUT_OF_RANGE);
        assert!(world.reply(0, channel, kept).is_good(), "seed {seed}");
        world.finish();
    }
}

/// Nobody announced it: it is a failure, and stays one until somebody says that it is as it should be.
#[test]
fn a_store_that_somebody_else_cut_off() {
    each_disk(4 * MIB, |mut world, seed| {
        let channel = world.log_in(0);
        for _ in 0..3 {
            world.read(0, channel, 3 * MIB_BLOCKS, 8);
        }
        world.store().set_size(MIB).expect("cut off");
        world.pass(Duration::from_millis(2));
        let reply = read_at(&mut world, channel, 3 * MIB_BLOCKS);
        assert_eq!(reply.sense(), Some((3, 0x11, 0)), "seed {seed}");
        assert!(world.daemon.shared.inventory().devices[0].is_failed());
        for size in [None, Some(MIB), Some(4 * MIB), Some(8 * MIB)] {
            let truncated = ResizeError::Truncated {
                left: MIB,
                served: 4 * MIB,
            };
            assert_eq!(resize(&mut world, size, false), Err(truncated));
        }
        assert!(world.daemon.shared.inventory().devices[0].is_failed());
        assert_eq!(sense_of_test_unit_ready(&mut world, 0, channel), None);

        let wanted = [None, Some(2 * MIB), Some(8 * MIB)][seed as usize % 3];
        let resized = resize(&mut world, wanted, true).expect("resized");
        let now = wanted.unwrap_or(MIB);
        assert_eq!((resized.before, resized.now), (4 * MIB, now));
        assert_eq!(store_size(&world), now);
        let sense = sense_of_test_unit_ready(&mut world, 0, channel);
        assert_eq!(sense, CAPACITY_CHANGED);
        world.pass(Duration::from_millis(2));
        assert!(!world.daemon.shared.inventory().devices[0].is_failed());
        for _ in 0..3 {
            let reply = read_at(&mut world, channel, 3 * MIB_BLOCKS);
            if now > 3 * MIB {
                assert_eq!(reply.data(), [0; 4096], "seed {seed}: stale");
            } else {
                assert_eq!(reply.sense(), OUT_OF_RANGE, "seed {seed}");
            }
        }
        world.read(0, channel, 0, 8);
        world.finish();
    });
}

#[test]
fn sizes_that_cannot_be() {
    each_disk(4 * MIB, |mut world, seed| {
        let channel = world.log_in(0);
        for (size, expected) in [
            (0, ResizeError::Empty),
            (
                4 * MIB + 511,
                ResizeError::Unaligned {
                    size: 4 * MIB + 511,
                    block_size: 512,
                },
            ),
            (1 << 63, ResizeError::TooLarge { size: 1 << 63 }),
        ] {
            let refused = resize(&mut world, Some(size), true);
            assert_eq!(refused, Err(expected.clone()), "seed {seed}");
            assert_ne!(expected.to_string(), "");
        }
        world.store().set_size(4 * MIB + 1).expect("grown");
        let expected = ResizeError::StoreUnaligned {
            size: 4 * MIB + 1,
            block_size: 512,
        };
        assert_eq!(resize(&mut world, None, true), Err(expected));
        // What is more than is served may be lost as well.
        let refused = resize(&mut world, Some(4 * MIB), false);
        assert!(matches!(refused, Err(ResizeError::Destructive { .. })));
        resize(&mut world, Some(4 * MIB), true).expect("resized");
        assert_eq!(store_size(&world), 4 * MIB);
        assert_eq!(sense_of_test_unit_ready(&mut world, 0, channel), None);
        assert_eq!(capacity(&mut world, 0, channel), 4 * MIB);
        let nobody = world.daemon.shared.resize("disk1", None, false);
        assert_eq!(nobody.unwrap_err(), ResizeError::NoDevice);
        world.finish();
    });
}

#[test]
fn stores_that_cannot_be_changed() {
    let file = TemporaryFile::new(MIB);
    let keys = file.device();
    let setup = Setup::new(1).device(&format!(r#"{{ {keys}, "read_only": true }}"#));
    let mut world = setup.build();
    let channel = world.log_in(0);
    let refused = resize(&mut world, Some(2 * MIB), false);
    assert_eq!(refused, Err(ResizeError::ReadOnly));
    assert_eq!(
        resize(&mut world, Some(512), true),
        Err(ResizeError::ReadOnly)
    );
    assert_eq!(sense_of_test_unit_ready(&mut world, 0, channel), None);
    assert_eq!(capacity(&mut world, 0, channel), MIB);
    world.read(0, channel, MIB_BLOCKS - 8, 8);
    let other = File::options().write(true).open(&file.0);
    other.expect("the file").set_len(2 * MIB).expect("grown");
    resize(&mut world, None, false).expect("resized");
    sense_of_test_unit_ready(&mut world, 0, channel);
    world.read(0, channel, 2 * MIB_BLOCKS - 8, 8);
    world.finish();
}
