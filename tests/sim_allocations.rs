//! A hot READ allocates nothing: not when it arrives, not when its response has left.

use pagecast_initiator::nvme::io;
use pagecast_initiator::{Command, Data, Format, scsi};
use pagecast_memory::CountingAllocator;
use pagecast_tests::Setup;
use pagecast_tests::nvme::keyed;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[test]
fn hot_reads_allocate_nothing() {
    let mut setup = Setup::new(1).setting(r#""window_size": "1MiB""#);
    setup.shards = 1;
    setup.hosts = 1;
    let mut world = setup.build();
    let channel = world.log_in(0);
    for _ in 0..2 {
        for lba in (0..8192).step_by(1024) {
            world.read(0, channel, lba, 1024);
        }
    }
    for (bytes, piece) in [
        (4096, 4096),
        (1 << 20, 1 << 20),
        (4096, 512),
        (1 << 20, 1 << 17),
    ] {
        // Two windows, where it is long.
        let lba = 1024;
        let buffer = world.buffer(0, channel, bytes);
        let pieces = buffer.pieces(piece).expect("all of it");
        let format = if bytes == piece {
            Format::Direct
        } else {
            Format::Indirect
        };
        let command = Command::new(
            0,
            scsi::read16(lba, bytes as u32 / 512),
            Data::In(pieces, format),
        );
        let mut allocations = 0;
        let before = world.written_from();
        for round in 0..40 {
            let tag = world.initiators[0]
                .send(channel, &command)
                .expect("a credit");
            world.net.run_until_quiet();
            // One turn for the command, one for the completion of its response.
            for _ in 0..2 {
                let now = world.now;
                let before = CountingAllocator::allocations();
                world.daemon.shards[0].turn(now);
                if round >= 20 {
                    allocations += CountingAllocator::allocations() - before;
                }
                world.net.run_until_quiet();
            }
            world.initiators[0].turn().expect("good manners");
            let reply = world.initiators[0].take_reply(channel, tag);
            assert!(reply.expect("a reply").is_good());
        }
        let after = world.written_from();
        assert_eq!(
            (after.0 - before.0, after.1 - before.1),
            (40 * bytes as u64, 0)
        );
        assert_eq!(allocations, 0, "{bytes} bytes in pieces of {piece}");
    }
    world.finish();
}

#[test]
fn hot_reads_over_nvme_allocate_nothing() {
    let mut setup = Setup::new(1).setting(r#""window_size": "1MiB""#).nvme();
    setup.shards = 1;
    setup.hosts = 1;
    let mut world = setup.build();
    let controller = world.nvme_controller(0);
    let queue = controller.io[0];
    for _ in 0..2 {
        for lba in (0..8192).step_by(1024) {
            world.nvme_read(0, queue, lba, 1024);
        }
    }
    for bytes in [4096, 1 << 20] {
        // Two windows, where it is long.
        let buffer = world.nvme_buffer(0, queue, bytes);
        let command = io::read(1, 1024, bytes as u32 / 512, keyed(&buffer));
        let mut allocations = 0;
        let before = world.written_from();
        for round in 0..40 {
            let cid = world.nvme[0].send(queue, &command).expect("room");
            world.net.run_until_quiet();
            // One turn for the command, one for the completion of its response.
            for _ in 0..2 {
                let now = world.now;
                let before = CountingAllocator::allocations();
                world.daemon.shards[0].turn(now);
                if round >= 20 {
                    allocations += CountingAllocator::allocations() - before;
                }
                world.net.run_until_quiet();
            }
            world.nvme[0].turn().expect("good manners");
            let reply = world.nvme[0].take_reply(queue, cid);
            assert!(reply.expect("a reply").is_success());
        }
        let after = world.written_from();
        assert_eq!(
            (after.0 - before.0, after.1 - before.1),
            (40 * bytes as u64, 0)
        );
        assert_eq!(allocations, 0, "{bytes} bytes");
    }
    world.finish();
}
