//! I/O over NVMe: data on the way that they should take, and every command against what the other protocols see.

use pagecast_backends::testing::Kind;
use pagecast_initiator::nvme::io::{self, Blocks};
use pagecast_initiator::nvme::{Command, Data, Fuse};
use pagecast_tests::nvme::{data_of, keyed, once, with_witness};
use pagecast_tests::{Setup, World, pattern, seeds};

const LENGTHS: [usize; 8] = [512, 1024, 4096, 8192, 12_288, 65_536, 262_144, 1 << 20];

// Status code type and status code.
const INVALID_OPCODE: (u8, u8) = (0, 0x01);
const INVALID_FIELD: (u8, u8) = (0, 0x02);
const INVALID_NAMESPACE: (u8, u8) = (0, 0x0b);
const SGL_LENGTH: (u8, u8) = (0, 0x0f);
const OUT_OF_RANGE: (u8, u8) = (0, 0x80);
const COMPARE_FAILURE: (u8, u8) = (2, 0x85);

// --- data --------------------------------------------------------------------------------------------------------

#[test]
fn data_of_every_length_in_capsules_and_by_keys() {
    for seed in seeds(0..3) {
        for setup in [Setup::new(seed), Setup::new(seed).staged()] {
            let (mut world, controller, witness) = with_witness(setup);
            let [namespace] = &controller.namespaces[..] else {
                panic!("{:?}", controller.namespaces);
            };
            assert_eq!((namespace.id, namespace.blocks), (1, 8192));
            assert_eq!(namespace.block_size, 512);
            for (turn, &length) in LENGTHS.iter().enumerate() {
                let blocks = (length / 512) as u32;
                let lba = world.random.below(8192 - u64::from(blocks));
                for kind in 0..3 {
                    let queue = controller.io[turn % 2];
                    let bytes = pattern(length, seed ^ (turn as u64) << 8 ^ kind);
                    let data = data_of(&world, queue, &bytes, kind);
                    world.nvme_succeed(0, queue, &io::write(1, lba, blocks, data));
                    assert!(world.read(1, witness, lba, blocks) == bytes, "seed {seed}");
                    for _ in 0..2 {
                        let found = world.nvme_read(0, queue, lba, blocks);
                        assert!(found == bytes, "seed {seed}: {length} bytes, kind {kind}");
                    }
                }
            }
            world.finish();
        }
    }
}

#[test]
fn keys_go_when_that_is_asked_for_and_only_then() {
    let mut world = Setup::new(1).nvme().build();
    let queue = world.nvme_controller(0).io[0];
    for blocks in [1, 100] {
        let buffer = world.nvme_buffer(0, queue, blocks * 512);
        let key = buffer.piece(0, 1).expect("a byte").remote.key;
        let blocks = blocks as u32;
        for _ in 0..2 {
            for command in [
                io::read(1, 0, blocks, keyed(&buffer)),
                io::write(1, 0, blocks, keyed(&buffer)),
                // The standard's answer does not need the memory.
                io::read(9, 0, blocks, keyed(&buffer)),
            ] {
                let reply = world.nvme_execute(0, queue, &command);
                assert_eq!(reply.invalidated, None);
            }
        }
        let last = world.nvme_succeed(0, queue, &io::write(1, 0, blocks, once(&buffer)));
        assert_eq!(last.invalidated, Some(key));
        // An error invalidates as well: the host takes the key for gone.
        let buffer = world.nvme_buffer(0, queue, 512);
        let key = buffer.piece(0, 1).expect("a byte").remote.key;
        let failed = world.nvme_execute(0, queue, &io::read(1, 1 << 40, 1, once(&buffer)));
        assert_eq!(failed.code(), OUT_OF_RANGE);
        assert_eq!(failed.invalidated, Some(key));
    }
    world.finish();
}

#[test]
fn warm_reads_come_from_windows() {
    for seed in seeds(0..4) {
        let mut world = Setup::new(seed).nvme().build();
        let queue = world.nvme_controller(0).io[0];
        let bytes = pattern(1 << 20, seed);
        for (number, chunk) in bytes.chunks(65_536).enumerate() {
            world.nvme_write(0, queue, number as u64 * 128, chunk);
        }
        // Once to warm them.
        for number in 0..16 {
            world.nvme_read(0, queue, number * 128, 128);
        }
        let counted = |world: &World| {
            let device = &world.daemon.shared.inventory().devices[0];
            let all = device.total(|counters| &counters.read_bytes);
            let zero_copy = device.total(|counters| &counters.read_bytes_zero_copy);
            (all, zero_copy, world.written_from())
        };
        let before = counted(&world);
        let mut moved = 0;
        for (lba, blocks) in [(0, 1), (5, 8), (128, 128), (1000, 64), (127, 130)] {
            let read = world.nvme_read(0, queue, lba, blocks);
            let at = lba as usize * 512;
            assert!(read == bytes[at..at + blocks as usize * 512]);
            moved += u64::from(blocks) * 512;
        }
        let after = counted(&world);
        assert_eq!(after.0 - before.0, moved);
        assert_eq!(after.1 - before.1, moved, "seed {seed}: without copying");
        // The net's own books agree.
        assert_eq!(after.2.0 - before.2.0, moved, "seed {seed}: from windows");
        assert_eq!(after.2.1, before.2.1, "seed {seed}: from staging memory");
        world.finish();
    }
}

#[test]
fn many_commands_at_once() {
    for seed in seeds(0..6) {
        for setup in [Setup::new(seed), Setup::new(seed).staged()] {
            let (mut world, controller, witness) = with_witness(setup);
            let mut model = vec![0; 4 << 20];
            for _ in 0..6 {
                // Writes of places of their own, all outstanding together.
                let mut waiting = Vec::new();
                for place in 0..16 {
                    let queue = controller.io[world.random.index(2)];
                    let length = 512 * (1 + world.random.index(120));
                    let lba = place * 512 + world.random.below(8);
                    let bytes = pattern(length, world.random.next_u64());
                    let kind = world.random.next_u64();
                    let data = data_of(&world, queue, &bytes, kind);
                    let command = io::write(1, lba, (length / 512) as u32, data);
                    waiting.push((queue, world.nvme_send(0, queue, &command)));
                    let at = lba as usize * 512;
                    model[at..at + length].copy_from_slice(&bytes);
                }
                for (queue, cid) in waiting {
                    assert!(world.nvme_reply(0, queue, cid).is_success());
                }
                let mut waiting = Vec::new();
                for _ in 0..16 {
                    let queue = controller.io[world.random.index(2)];
                    let blocks = 1 + world.random.below(200);
                    let lba = world.random.below(8192 - blocks);
                    let buffer = world.nvme_buffer(0, queue, blocks as usize * 512);
                    let command = io::read(1, lba, blocks as u32, once(&buffer));
                    let cid = world.nvme_send(0, queue, &command);
                    waiting.push((queue, cid, lba as usize * 512));
                }
                for (queue, cid, at) in waiting {
                    let data = world.nvme_reply(0, queue, cid).data();
                    assert!(data == model[at..at + data.len()], "seed {seed}");
                }
            }
            for chunk in 0..4 {
                let at = chunk << 20;
                let stored = world.read(1, witness, (at / 512) as u64, 2048);
                assert!(stored == model[at..at + (1 << 20)], "seed {seed}");
            }
            world.finish();
        }
    }
}

/// What all the others rely on, so that a seed that fails does so again.
#[test]
fn equal_seeds_give_equal_histories() {
    let history = |seed: u64| {
        let mut world = Setup::new(seed).staged().nvme().build();
        let controllers = [world.nvme_controller(0), world.nvme_controller(1)];
        let mut waiting = Vec::new();
        for turn in 0..60 {
            let host = world.random.index(2);
            let queue = controllers[host].io[world.random.index(2)];
            let lba = world.random.below(1000);
            let buffer = world.nvme_buffer(host, queue, 20_480);
            let command = match turn % 3 {
                0 => io::write(1, lba, 40, once(&buffer)),
                _ => io::read(1, lba, 40, once(&buffer)),
            };
            waiting.push((host, queue, world.nvme_send(host, queue, &command)));
        }
        for (host, queue, cid) in waiting {
            world.nvme_reply(host, queue, cid);
        }
        world.net.trace()
    };
    let (one, again, other) = (history(7), history(7), history(8));
    assert!(one == again);
    assert!(one != other);
}

#[test]
fn one_disk_for_srp_iser_and_nvme() {
    for seed in seeds(0..3) {
        let mut world = Setup::new(seed).iser().nvme().build();
        let srp = world.log_in(0);
        let iser = world.iser_session(1);
        let nvme = world.nvme_controller(0).io[1];
        for turn in 0..12 {
            let length = LENGTHS[world.random.index(6)];
            let blocks = (length / 512) as u32;
            let lba = world.random.below(8192 - u64::from(blocks));
            let bytes = pattern(length, seed << 8 | turn);
            match turn % 3 {
                0 => world.write(0, srp, lba, &bytes),
                1 => world.iser_write(1, iser, lba, &bytes, 512),
                _ => world.nvme_write(0, nvme, lba, &bytes),
            }
            assert!(world.read(0, srp, lba, blocks) == bytes, "seed {seed}");
            assert!(world.iser_read(1, iser, lba, blocks) == bytes);
            assert!(world.nvme_read(0, nvme, lba, blocks) == bytes);
        }
        assert_eq!(world.daemon.shared.sessions().len(), 3);
        world.finish();
    }
}

// --- the other commands ------------------------------------------------------------------------------------------

#[test]
fn compare_compares() {
    for setup in [Setup::new(1), Setup::new(1).staged()] {
        let (mut world, controller, witness) = with_witness(setup);
        let queue = controller.io[0];
        for length in [512, 4096, 65_536] {
            let blocks = (length / 512) as u32;
            let bytes = pattern(length, 9);
            world.write(1, witness, 77, &bytes);
            for kind in 0..3 {
                let data = data_of(&world, queue, &bytes, kind);
                world.nvme_succeed(0, queue, &io::compare(1, 77, blocks, data));
                let mut other = bytes.clone();
                other[length - 1] ^= 1;
                let data = data_of(&world, queue, &other, kind);
                let reply = world.nvme_execute(0, queue, &io::compare(1, 77, blocks, data));
                assert_eq!(reply.code(), COMPARE_FAILURE, "{length} bytes");
                assert!(reply.status().do_not_retry());
            }
            assert!(world.read(1, witness, 77, blocks) == bytes);
        }
        world.finish();
    }
}

#[test]
fn zeroes_are_written_and_deallocated() {
    for setup in [Setup::new(1), Setup::new(1).staged()] {
        let (mut world, controller, witness) = with_witness(setup);
        let queue = controller.io[0];
        for deallocate in [false, true] {
            let bytes = pattern(256 * 512, 3);
            world.write(1, witness, 100, &bytes);
            world.io.take_executed();
            let zeroes = io::write_zeroes(1, 101, 200, deallocate);
            world.nvme_succeed(0, queue, &zeroes);
            let executed = world.io.take_executed();
            let discards = executed.contains(&Kind::Discard);
            assert_eq!(discards, deallocate, "{executed:?}");
            let mut expected = bytes.clone();
            expected[512..201 * 512].fill(0);
            assert!(world.read(1, witness, 100, 256) == expected);
        }
        // Ranges of all kinds: an empty one, some that touch.
        let bytes = pattern(256 * 512, 4);
        for kind in 0..2 {
            world.write(1, witness, 100, &bytes);
            let ranges = [(100, 1), (110, 0), (120, 8), (128, 8), (355, 1)];
            let ranges = ranges.map(|(lba, count)| Blocks { lba, count });
            let data = data_of(&world, queue, &io::dataset_ranges(&ranges), kind);
            world.nvme_succeed(0, queue, &io::deallocate(1, ranges.len(), data));
            let mut expected = bytes.clone();
            for range in ranges {
                let at = (range.lba as usize - 100) * 512;
                expected[at..at + range.count as usize * 512].fill(0);
            }
            assert!(world.read(1, witness, 100, 256) == expected);
        }
        // One that is beyond the end: nothing happens at all.
        let ranges = [(0, 8), (8191, 2)].map(|(lba, count)| Blocks { lba, count });
        world.write(1, witness, 0, &bytes);
        let data = Data::InCapsule(io::dataset_ranges(&ranges));
        let reply = world.nvme_execute(0, queue, &io::deallocate(1, 2, data));
        assert_eq!(reply.code(), OUT_OF_RANGE);
        assert!(world.read(1, witness, 0, 256) == bytes);
        world.finish();
    }
}

#[test]
fn ranges_are_copied() {
    for setup in [Setup::new(1), Setup::new(1).staged()] {
        let (mut world, controller, witness) = with_witness(setup);
        let queue = controller.io[0];
        let bytes = pattern(256 * 512, 5);
        world.write(1, witness, 0, &bytes);
        let ranges = [(3, 1), (128, 100), (8, 8)].map(|(lba, count)| Blocks { lba, count });
        for kind in 0..3 {
            let to = 1000 + 500 * kind;
            let data = data_of(&world, queue, &io::copy_ranges(&ranges), kind);
            world.nvme_succeed(0, queue, &io::copy(1, to, 3, data));
            let expected: Vec<u8> = ranges
                .iter()
                .flat_map(|range| {
                    let at = range.lba as usize * 512;
                    bytes[at..at + range.count as usize * 512].to_vec()
                })
                .collect();
            assert!(world.read(1, witness, to, 109) == expected);
            assert!(world.read(1, witness, 0, 256) == bytes);
        }
        let ranges = [Blocks { lba: 0, count: 8 }];
        for (to, from, wanted) in [
            (8190, 0, OUT_OF_RANGE),
            (0, 8190, OUT_OF_RANGE),
            (0, u64::MAX - 2, OUT_OF_RANGE),
            (4, 0, INVALID_FIELD),
        ] {
            let ranges = ranges.map(|range| Blocks { lba: from, ..range });
            let data = Data::InCapsule(io::copy_ranges(&ranges));
            let reply = world.nvme_execute(0, queue, &io::copy(1, to, 1, data));
            assert_eq!(reply.code(), wanted, "{from} to {to}");
        }
        world.finish();
    }
}

#[test]
fn what_must_be_durable_is() {
    let (mut world, controller, _) = with_witness(Setup::new(1).staged());
    let queue = controller.io[0];
    let write = |world: &World| {
        let bytes = pattern(1024, 1);
        io::write(1, 5, 2, once(&world.nvme_filled(0, queue, &bytes)))
    };
    for (command, kinds, volatile) in [
        (write(&world), [Kind::Write], 1),
        (write(&world).force_unit_access(), [Kind::Write], 0),
        (
            io::write_zeroes(1, 5, 9, false).force_unit_access(),
            [Kind::WriteZeroes],
            0,
        ),
        (io::flush(1), [Kind::Flush], 0),
        (io::verify(1, 0, 8), [Kind::Read], 0),
    ] {
        world.io.take_executed();
        world.io.take_volatile();
        world.nvme_succeed(0, queue, &command);
        assert_eq!(world.io.take_executed(), kinds, "{command:?}");
        assert_eq!(world.io.take_volatile(), volatile, "{command:?}");
    }
    world.finish();
}

#[test]
fn commands_that_are_refused() {
    let (mut world, controller, witness) = with_witness(Setup::new(1));
    let queue = controller.io[0];
    let kept = pattern(64 * 512, 8);
    world.write(1, witness, 0, &kept);
    let buffer = world.nvme_buffer(0, queue, 1 << 20);
    let mut part = buffer.piece(0, 4096).expect("a part");
    let page = Data::keyed(part.clone());
    part.remote.length = 4095;
    let short = Data::keyed(part.clone());
    part.remote.length = 512;
    let block = Data::keyed(part);
    let capsule = |length: usize| Data::InCapsule(vec![0; length]);
    let largest = u32::from(controller.identify[77]);
    // MDTS is a power of two, and may be half of what is really taken.
    let beyond = 2 * (4096 << largest) / 512;
    for (what, wanted, command) in [
        (
            "past the end",
            OUT_OF_RANGE,
            io::read(1, 8190, 8, page.clone()),
        ),
        (
            "at the end of all numbers",
            OUT_OF_RANGE,
            io::write(1, u64::MAX, 8, page.clone()),
        ),
        ("flush of nothing", INVALID_NAMESPACE, io::flush(0)),
        (
            "flush of everything",
            INVALID_NAMESPACE,
            io::flush(u32::MAX),
        ),
        (
            "namespace 2",
            INVALID_NAMESPACE,
            io::read(2, 0, 8, page.clone()),
        ),
        (
            "too little memory to read",
            SGL_LENGTH,
            io::read(1, 0, 8, short.clone()),
        ),
        (
            "too little memory to write",
            SGL_LENGTH,
            io::write(1, 0, 8, short),
        ),
        (
            "one block of eight",
            SGL_LENGTH,
            io::write(1, 0, 8, block.clone()),
        ),
        (
            "no memory at all",
            SGL_LENGTH,
            io::read(1, 0, 8, Data::None),
        ),
        (
            "too little in the capsule",
            SGL_LENGTH,
            io::write(1, 0, 8, capsule(4095)),
        ),
        (
            "a read into the capsule",
            INVALID_FIELD,
            io::read(1, 0, 1, capsule(512)),
        ),
        (
            "more than MDTS",
            INVALID_FIELD,
            io::read(1, 0, beyond, keyed(&buffer)),
        ),
        (
            "fewer ranges than announced",
            SGL_LENGTH,
            io::deallocate(1, 2, capsule(16)),
        ),
        (
            "copy in format 1",
            INVALID_FIELD,
            io::copy(1, 0, 1, capsule(32)).dword(12, 1 << 8),
        ),
        ("write uncorrectable", INVALID_OPCODE, io::over(4, 1, 0, 1)),
        (
            "reservation register of key zero",
            INVALID_FIELD,
            Command::new(0x0d, 1).with(block.clone()),
        ),
        (
            "a vendor's command",
            INVALID_OPCODE,
            Command::new(0xc1, 1).with(block.clone()),
        ),
        (
            "both directions",
            INVALID_OPCODE,
            Command::new(0x83, 1).with(block.clone()),
        ),
        ("keep alive", INVALID_OPCODE, Command::new(0x18, 0)),
        (
            "fuse 3",
            INVALID_FIELD,
            io::read(1, 0, 1, block).fused(Fuse::Reserved),
        ),
    ] {
        let reply = world.nvme_execute(0, queue, &command);
        assert_eq!(reply.code(), wanted, "{what}");
        assert!(reply.status().do_not_retry(), "{what}");
    }
    assert!(world.read(1, witness, 0, 64) == kept);
    world.finish();
}
