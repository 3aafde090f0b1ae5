//! Backing stores that fail, shrink and change under us.

use std::time::Duration;

use pagecast_backends::BackendError;
use pagecast_backends::testing::{Fault, Kind};
use pagecast_initiator::{ChannelId, Command, Data, Format, scsi};
use pagecast_tests::world::{read, write};
use pagecast_tests::{Setup, World, pattern, seeds};

const EIO: BackendError = BackendError::Medium(5);

fn flush() -> Command {
    Command::new(0, scsi::synchronize_cache(), Data::None)
}

#[test]
fn errors_of_the_store() {
    for seed in seeds(0..4) {
        let mut world = Setup::new(seed).staged().build();
        let channel = world.log_in(0);
        let bystander = world.log_in(1);
        let buffer = world.buffer(0, channel, 4096);
        let cases = [
            (Kind::Read, EIO, read(&buffer, 64, 8), (3, 0x11, 0)),
            (Kind::Write, EIO, write(&buffer, 64), (3, 0x0c, 0)),
            (
                Kind::Write,
                BackendError::NoSpace,
                write(&buffer, 64),
                (7, 0x27, 7),
            ),
            (
                Kind::Write,
                BackendError::ReadOnly,
                write(&buffer, 64),
                (7, 0x27, 0),
            ),
            (
                Kind::Read,
                BackendError::Failed(19),
                read(&buffer, 64, 8),
                (4, 0x44, 0),
            ),
            (Kind::Flush, EIO, flush(), (3, 0x0c, 0)),
            (
                Kind::Read,
                BackendError::PastEnd,
                read(&buffer, 64, 8),
                (3, 0x11, 0),
            ),
        ];
        for (kind, error, command, sense) in cases {
            let fault = Fault::every(kind, error.clone()).within(64 * 512..72 * 512);
            world.store().inject(fault.times(1));
            let reply = world.execute(0, channel, &command);
            assert_eq!(reply.sense(), Some(sense), "seed {seed}, {kind:?}, {error}");
            assert_eq!(reply.status(), 2);
            // What the target did not send, it says so.
            if kind == Kind::Read {
                assert_eq!(reply.response.residual_in, 4096, "seed {seed}");
            }
            // Once, and only there.
            assert!(world.execute(0, channel, &command).is_good(), "seed {seed}");
            world.read(1, bystander, 0, 8);
        }
        // The flush that failed may have lost anybody's writes.
        let told = world.execute(1, bystander, &flush());
        assert_eq!(told.sense(), Some((3, 0x0c, 0)), "seed {seed}");
        // No thread or memory for it: the host is to try again.
        for (kind, command) in [
            (Kind::Read, read(&buffer, 64, 8)),
            (Kind::Write, write(&buffer, 64)),
            (Kind::Flush, flush()),
        ] {
            let fault = Fault::every(kind, BackendError::Busy).within(64 * 512..72 * 512);
            world.store().inject(fault.times(1));
            let reply = world.execute(0, channel, &command);
            assert_eq!((reply.status(), reply.sense()), (8, None), "seed {seed}");
            assert!(world.execute(0, channel, &command).is_good(), "seed {seed}");
        }
        // A flush that was not even tried has lost nothing.
        assert!(world.execute(1, bystander, &flush()).is_good());
        world.finish();
    }
}

/// A bad sector under a window: it stays staged, and the READ that needs it says MEDIUM ERROR.
#[test]
fn a_bad_sector_never_becomes_a_window() {
    for seed in seeds(0..4) {
        let mut world = Setup::new(seed).build();
        let channel = world.log_in(0);
        let bad = 300 * 512..301 * 512;
        for kind in [Kind::Read, Kind::Populate] {
            world
                .store()
                .inject(Fault::every(kind, EIO).within(bad.clone()));
        }
        for _ in 0..3 {
            let buffer = world.buffer(0, channel, 8 * 512);
            let reply = world.execute(0, channel, &read(&buffer, 296, 8));
            assert_eq!(reply.sense(), Some((3, 0x11, 0)), "seed {seed}");
            world.read(0, channel, 304, 8);
        }
        assert_eq!(world.written_from().0, 0, "seed {seed}: from a window");
        // The other windows are as ever.
        world.read(0, channel, 0, 8);
        world.read(0, channel, 0, 8);
        assert_eq!(world.written_from().0, 4096, "seed {seed}");
        world.finish();
    }
}

#[test]
fn a_store_that_shrinks_shows_nothing_stale() {
    for seed in seeds(0..4) {
        for disk in [Setup::new(seed), Setup::new(seed).staged()] {
            let mut world = disk.build();
            let channel = world.log_in(0);
            let bytes = pattern(64 * 512, seed);
            for lba in [0, 4096] {
                world.write(0, channel, lba, &bytes);
                world.read(0, channel, lba, 64);
                assert!(world.read(0, channel, lba, 64) == bytes);
            }
            world.store().shrink_to(1 << 20);
            world.pass(Duration::from_millis(2));
            for _ in 0..3 {
                let buffer = world.buffer(0, channel, 64 * 512);
                let reply = world.execute(0, channel, &read(&buffer, 4096, 64));
                assert_eq!(reply.sense(), Some((3, 0x11, 0)), "seed {seed}");
                let moved = buffer.read(0, 64 * 512).expect("a buffer");
                assert!(
                    moved.iter().all(|&byte| byte == 0),
                    "seed {seed}: stale data"
                );
                assert!(world.read(0, channel, 0, 64) == bytes, "seed {seed}");
            }
            assert!(world.daemon.shared.inventory().devices[0].is_failed());
            // Windows are gone beyond the end, as soon as nobody uses them.
            world.store().clear();
            world.pass(Duration::from_millis(2));
            assert!(world.read(0, channel, 4096, 64) == bytes, "seed {seed}");
            world.finish();
        }
    }
}

#[test]
fn a_file_that_is_truncated_and_comes_back() {
    for seed in seeds(0..2) {
        let path =
            std::env::temp_dir().join(format!("pagecast-sim-{}-shrink-{seed}", std::process::id()));
        std::fs::write(&path, pattern(1 << 20, seed)).expect("a file");
        let mut world = Setup::new(seed)
            .device(&format!(
                r#"{{ "name": "disk0", "backend": "file", "path": "{}" }}"#,
                path.display()
            ))
            .build();
        let channel = world.log_in(0);
        for _ in 0..2 {
            let data = world.read(0, channel, 0, 2048);
            assert!(data == pattern(1 << 20, seed), "seed {seed}");
        }
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .expect("the file");
        file.set_len(256 << 10).expect("truncated");
        world.pass(Duration::from_millis(2));
        let buffer = world.buffer(0, channel, 4096);
        let reply = world.execute(0, channel, &read(&buffer, 1024, 8));
        assert_eq!(reply.sense(), Some((3, 0x11, 0)), "seed {seed}");
        let reply = world.execute(0, channel, &write(&buffer, 1024));
        assert_eq!(
            reply.sense(),
            Some((3, 0x0c, 0)),
            "seed {seed}: a write must not bring the lost range back"
        );
        assert_eq!(file.metadata().expect("the file").len(), 256 << 10);
        world.read(0, channel, 0, 8);
        // Back again, as zeros.
        file.set_len(1 << 20).expect("grown");
        world.pass(Duration::from_millis(2));
        for _ in 0..3 {
            let data = world.read(0, channel, 1024, 64);
            assert!(
                data.iter().all(|&byte| byte == 0),
                "seed {seed}: stale data"
            );
        }
        world.finish();
        std::fs::remove_file(&path).expect("removed");
    }
}

/// UNMAP of one range.
pub(crate) fn unmap(
    world: &mut World,
    host: usize,
    channel: ChannelId,
    lba: u64,
    blocks: u32,
) -> Command {
    let list = world.buffer(host, channel, 24);
    let mut bytes = [0; 24];
    bytes[..2].copy_from_slice(&22_u16.to_be_bytes());
    bytes[2..4].copy_from_slice(&16_u16.to_be_bytes());
    bytes[8..16].copy_from_slice(&lba.to_be_bytes());
    bytes[16..20].copy_from_slice(&blocks.to_be_bytes());
    list.write(0, &bytes).expect("within the buffer");
    let cdb = vec![0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0];
    let pieces = list.whole().expect("all of it");
    Command::new(0, cdb, Data::Out(pieces, Format::Direct))
}

/// WRITE SAME(16) of one block.
pub(crate) fn write_same(
    world: &mut World,
    host: usize,
    channel: ChannelId,
    lba: u64,
    blocks: u32,
    block: &[u8],
    unmap: bool,
) -> Command {
    let source = world.buffer(host, channel, 512);
    source.write(0, block).expect("within the buffer");
    let mut cdb = scsi::write16(lba, blocks, false);
    cdb[0] = 0x93;
    cdb[1] = u8::from(unmap) << 3;
    let pieces = source.whole().expect("all of it");
    Command::new(0, cdb, Data::Out(pieces, Format::Direct))
}

/// A range that is discarded while it is being read from windows: old bytes or zeros until the UNMAP has ended, only zeros
/// afterwards.
#[test]
fn discards_under_reads_from_windows() {
    for seed in seeds(0..16) {
        let mut world = Setup::new(seed).build();
        let one = world.log_in(0);
        let other = world.log_in(1);
        for round in 0..4 {
            let bytes = pattern(512 * 512, seed * 10 + round);
            world.write(0, one, 0, &bytes);
            world.read(0, one, 0, 512);
            world.read(0, one, 0, 512);
            let hits = world.written_from().0;
            let mut reads = Vec::new();
            for _ in 0..4 {
                let lba = world.random.below(256);
                let buffer = world.buffer(1, other, 256 * 512);
                let tag = world.send(1, other, &read(&buffer, lba, 256));
                reads.push((lba as usize, tag));
            }
            for _ in 0..world.random.below(40) {
                world.pump();
            }
            let command = match round {
                0 | 1 => unmap(&mut world, 0, one, 0, 512),
                2 => write_same(&mut world, 0, one, 0, 512, &[0; 512], true),
                _ => write_same(&mut world, 0, one, 0, 512, &[0; 512], false),
            };
            let reply = world.execute(0, one, &command);
            assert!(
                reply.is_good(),
                "seed {seed}, round {round}: {:?}",
                reply.sense()
            );
            for _ in 0..3 {
                let data = world.read(0, one, 0, 512);
                assert!(
                    data.iter().all(|&byte| byte == 0),
                    "seed {seed}: not discarded"
                );
            }
            for (lba, tag) in reads {
                let reply = world.reply(1, other, tag);
                assert!(reply.is_good(), "seed {seed}");
                for (at, block) in reply.data().chunks(512).enumerate() {
                    let old = &bytes[(lba + at) * 512..(lba + at + 1) * 512];
                    assert!(
                        block == old || block.iter().all(|&b| b == 0),
                        "seed {seed}: made up"
                    );
                }
            }
            assert!(
                world.written_from().0 > hits,
                "seed {seed}: no read was from a window"
            );
        }
        world.finish();
    }
}

/// READs that come while a discard is at work find no window, and none is made before it is over.
#[test]
fn reads_during_a_discard() {
    for seed in seeds(0..8) {
        let mut world = Setup::new(seed).build();
        let one = world.log_in(0);
        let other = world.log_in(1);
        let bytes = pattern(128 * 512, seed);
        world.write(0, one, 0, &bytes);
        world.read(0, one, 0, 128);
        world.read(0, one, 0, 128);
        world.io.hold(Kind::Discard);
        let command = unmap(&mut world, 0, one, 0, 128);
        let tag = world.send(0, one, &command);
        world.run_until(|world| (world.io.waiting() == 1).then_some(()));
        let before = world.written_from().0;
        for _ in 0..3 {
            assert!(world.read(1, other, 0, 128) == bytes, "seed {seed}");
        }
        assert_eq!(
            world.written_from().0,
            before,
            "seed {seed}: a window in a revoked range"
        );
        world.io.release();
        assert!(world.reply(0, one, tag).is_good());
        for _ in 0..3 {
            let data = world.read(1, other, 0, 128);
            assert!(
                data.iter().all(|&byte| byte == 0),
                "seed {seed}: stale data"
            );
        }
        assert!(
            world.written_from().0 > before,
            "seed {seed}: windows come back"
        );
        world.finish();
    }
}

#[test]
fn one_block_over_and_over() {
    for seed in seeds(0..3) {
        for disk in [Setup::new(seed), Setup::new(seed).staged()] {
            let mut world = disk.build();
            let channel = world.log_in(0);
            world.read(0, channel, 0, 64);
            let block = pattern(512, seed);
            let command = write_same(&mut world, 0, channel, 3, 4000, &block, false);
            assert!(world.execute(0, channel, &command).is_good(), "seed {seed}");
            for (lba, blocks) in [(0, 64), (2000, 64), (3990, 64)] {
                let data = world.read(0, channel, lba, blocks);
                for (at, got) in data.chunks(512).enumerate() {
                    let inside = (3..4003).contains(&(lba + at as u64));
                    let zero = got.iter().all(|&byte| byte == 0);
                    assert!(if inside { got == block } else { zero }, "seed {seed}");
                }
            }
            world.finish();
        }
    }
}
